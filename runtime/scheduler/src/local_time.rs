//! From civil times to instants: what happens where a zone's clock is put forward or back.
//!
//! Instants are walked in stretches of constant offset, so that each pass of an hour that exists twice and
//! each jump over times that do not exist is seen as such. Within a stretch, civil time runs evenly.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::calendar::SEARCH_YEARS_MAX;

/// What becomes of a local time that does not exist because the clock was put forward over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gap {
    /// It fires at the first moment after the gap, if that is on the same calendar day.
    RunAfter,
    /// It does not fire.
    Skip,
}

/// What becomes of a local time that exists twice because the clock was put back over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OverlapHour {
    /// It fires in the first pass alone.
    First,
    /// It fires in both passes.
    Both,
}

/// The zone in which civil times are meant, and what was said about the changes of its clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Where the civil times are meant, unless an expression names its own zone.
    pub zone: TimeZone,
    /// `None` is [`Gap::RunAfter`] for fixed times and [`Gap::Skip`] for what follows the clock.
    pub gap: Option<Gap>,
    /// `None` is [`OverlapHour::First`] for fixed times and [`OverlapHour::Both`] for what follows the clock.
    pub overlap_hour: Option<OverlapHour>,
}

impl LocalTime {
    /// A zone with nothing said about its changes.
    #[must_use]
    pub fn of(zone: TimeZone) -> Self {
        Self { zone, gap: None, overlap_hour: None }
    }

    /// It as a text that stays the same from one version to the next, for comparing what was recorded.
    #[must_use]
    pub fn identity(&self) -> String {
        let zone = self.zone.iana_name().map_or_else(|| format!("{:?}", self.zone), str::to_owned);
        let gap = match self.gap {
            None => "-",
            Some(Gap::RunAfter) => "run_after",
            Some(Gap::Skip) => "skip",
        };
        let overlap = match self.overlap_hour {
            None => "-",
            Some(OverlapHour::First) => "first",
            Some(OverlapHour::Both) => "both",
        };
        format!("{zone} {gap} {overlap}")
    }
}

/// The shortest step of time that an expression can name.
const TICK: SignedDuration = SignedDuration::from_micros(1);

/// How far a civil time read as UTC can be from its instant, and how long one change of a clock can be,
/// each at most: offsets go up to 26 hours, the longest change on record is one of 24.
const OFFSET_AND_CHANGE_MAX: SignedDuration = SignedDuration::from_hours(72);

/// Civil times in a zone with everything decided.
pub(crate) struct Mapping<'z> {
    pub(crate) zone: &'z TimeZone,
    pub(crate) gap: Gap,
    pub(crate) overlap_hour: OverlapHour,
}

impl<'z> Mapping<'z> {
    pub(crate) fn of(rules: &LocalTime, zone: &'z TimeZone, follows_clock: bool) -> Self {
        let (gap, overlap_hour) = match follows_clock {
            true => (Gap::Skip, OverlapHour::Both),
            false => (Gap::RunAfter, OverlapHour::First),
        };
        Self { zone, gap: rules.gap.unwrap_or(gap), overlap_hour: rules.overlap_hour.unwrap_or(overlap_hour) }
    }

    /// The first instant after `after` that a civil time stands for. `first_from` gives the first civil time
    /// at or after another.
    pub(crate) fn next(
        &self,
        first_from: impl Fn(DateTime) -> Option<DateTime>,
        after: Timestamp,
    ) -> Option<Timestamp> {
        let mut at = next_tick(after)?;
        let horizon = self.zone.to_offset(at).to_datetime(at).year().saturating_add(SEARCH_YEARS_MAX);
        // Each turn moves `at` on: to the end of a stretch, past a second pass, or near a far civil time.
        loop {
            let offset = self.zone.to_offset(at);
            let local = offset.to_datetime(at);
            if self.gap == Gap::RunAfter && self.jumped_over(&first_from, at, local) {
                return Some(at);
            }
            let end = self.zone.following(at).next().map(|change| change.timestamp());
            let Some(civil) = first_from(local).filter(|civil| civil.year() <= horizon) else {
                // Nothing ahead on this stretch, but a change close by may repeat what `at` has passed.
                at = end.filter(|end| is_close(at, *end))?;
                continue;
            };
            let found = offset.to_timestamp(civil).ok()?;
            match end {
                Some(end) if found >= end => at = skip_ahead(at, end, civil),
                _ => match self.end_of_second_pass(found, civil) {
                    Some(end) if self.overlap_hour == OverlapHour::First => at = end,
                    _ => return Some(found),
                },
            }
        }
    }

    /// Whether the clock was put forward at this very moment, over a named time of the same day.
    fn jumped_over(
        &self,
        first_from: impl Fn(DateTime) -> Option<DateTime>,
        at: Timestamp,
        local: DateTime,
    ) -> bool {
        let Ok(before) = at.checked_sub(TICK) else {
            return false;
        };
        let Some(expected) = local_after(self.zone, before) else {
            return false;
        };
        if expected >= local {
            return false;
        }
        let from = expected.max(local.date().to_datetime(jiff::civil::Time::midnight()));
        from < local && first_from(from).is_some_and(|civil| civil < local)
    }

    /// The instant at which the second pass of a repeated hour is over, if `found` stands in one.
    fn end_of_second_pass(&self, found: Timestamp, civil: DateTime) -> Option<Timestamp> {
        if self.overlap_hour == OverlapHour::Both {
            return None;
        }
        let AmbiguousOffset::Fold { before, after } = self.zone.to_ambiguous_timestamp(civil).offset() else {
            return None;
        };
        if after.to_timestamp(civil).ok()? != found {
            return None;
        }
        let mut changes = self.zone.preceding(found.checked_add(TICK).ok()?).map(|change| change.timestamp());
        let put_back = changes.find(|change| {
            change.checked_sub(TICK).is_ok_and(|earlier| self.zone.to_offset(earlier) == before)
        })?;
        after.to_timestamp(before.to_datetime(put_back)).ok()
    }
}

/// What the clock would show one tick after `before`, were it not changed.
fn local_after(zone: &TimeZone, before: Timestamp) -> Option<DateTime> {
    zone.to_offset(before).to_datetime(before).checked_add(TICK).ok()
}

/// Whether a change at `end` may repeat times that `at` has already passed.
fn is_close(at: Timestamp, end: Timestamp) -> bool {
    at.duration_until(end) < OFFSET_AND_CHANGE_MAX
}

/// The end of the stretch, or a point shortly before a civil time that is far beyond it.
fn skip_ahead(at: Timestamp, end: Timestamp, civil: DateTime) -> Timestamp {
    if is_close(at, end) {
        return end;
    }
    let near = jiff::tz::Offset::UTC
        .to_timestamp(civil)
        .and_then(|instant| instant.checked_sub(OFFSET_AND_CHANGE_MAX));
    near.map_or(end, |near| near.max(end))
}

/// The first whole microsecond after an instant.
fn next_tick(after: Timestamp) -> Option<Timestamp> {
    let micros = after.as_nanosecond().div_euclid(1_000) + 1;
    Timestamp::from_microsecond(i64::try_from(micros).ok()?).ok()
}
