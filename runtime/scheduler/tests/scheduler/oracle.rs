//! The scheduler against a model that looks at each minute.
//!
//! The model knows no fields to jump over and no transitions: it walks over all minutes around a change of the
//! clock, reads the wall clock, and asks each field. It is given numbers, not text, so it shares no parser either.

use hob_scheduler::{Gap, LocalTime, OverlapHour};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use proptest::prelude::*;

use crate::{when, zone};

const MINUTE: SignedDuration = SignedDuration::from_secs(60);

const ZONES: [&str; 14] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Africa/Casablanca",
    "Europe/Dublin",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "America/Nuuk",
    "Pacific/Kwajalein",
    "Antarctica/Troll",
    "Asia/Gaza",
    "America/Caracas",
    "Asia/Kathmandu",
];

/// One of the zones with changes of all kinds.
pub(crate) fn zone_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(ZONES.as_slice())
}

/// One field of a line.
#[derive(Clone, Debug)]
pub(crate) enum Field {
    Star,
    StarStep(u32),
    Range(u32, u32, u32),
    List(Vec<u32>),
}

impl Field {
    fn names(&self, n: u32, first: u32) -> bool {
        match self {
            Self::Star => true,
            Self::StarStep(step) => (n - first).is_multiple_of(*step),
            Self::Range(from, to, step) => (*from..=*to).contains(&n) && (n - from).is_multiple_of(*step),
            Self::List(list) => list.contains(&n),
        }
    }

    fn has_star(&self) -> bool {
        matches!(self, Self::Star | Self::StarStep(_))
    }

    fn text(&self) -> String {
        match self {
            Self::Star => "*".to_owned(),
            Self::StarStep(step) => format!("*/{step}"),
            Self::Range(from, to, step) => format!("{from}-{to}/{step}"),
            Self::List(list) => list.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
        }
    }
}

fn field(first: u32, last: u32) -> impl Strategy<Value = Field> {
    prop_oneof![
        2 => Just(Field::Star),
        1 => (2..=last.min(30)).prop_map(Field::StarStep),
        1 => (first..=last, first..=last, 1_u32..4)
            .prop_map(move |(a, b, step)| Field::Range(a.min(b), a.max(b), step.min(last - first))),
        2 => prop::collection::vec(first..=last, 1..4).prop_map(Field::List),
    ]
}

/// A crontab line, as its fields.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) minute: Field,
    pub(crate) hour: Field,
    pub(crate) day: Field,
    pub(crate) month: Field,
    pub(crate) weekday: Field,
}

impl Line {
    /// Once a day.
    pub(crate) fn daily(hour: u32, minute: u32) -> Self {
        let (day, month, weekday) = (Field::Star, Field::Star, Field::Star);
        Self { minute: Field::List(vec![minute]), hour: Field::List(vec![hour]), day, month, weekday }
    }

    /// Whether it names a time of the wall clock.
    pub(crate) fn names(&self, time: DateTime) -> bool {
        let n = |field: i8| u32::from(field.unsigned_abs());
        let weekday = n(time.weekday().to_sunday_zero_offset());
        let weekday = self.weekday.names(weekday, 0)
            || (weekday == 0
                && matches!(&self.weekday, Field::Range(..) | Field::List(_))
                && self.weekday.names(7, 0));
        let day = self.day.names(n(time.day()), 1);
        let days =
            if self.day.has_star() || self.weekday.has_star() { day && weekday } else { day || weekday };
        self.minute.names(n(time.minute()), 0)
            && self.hour.names(n(time.hour()), 0)
            && self.month.names(n(time.month()), 1)
            && time.second() == 0
            && days
    }

    /// Whether its minute or hour begins with `*`.
    pub(crate) fn follows_clock(&self) -> bool {
        self.minute.has_star() || self.hour.has_star()
    }

    /// As it stands in a crontab.
    pub(crate) fn text(&self) -> String {
        [&self.minute, &self.hour, &self.day, &self.month, &self.weekday].map(Field::text).join(" ")
    }
}

/// Any line.
pub(crate) fn line() -> impl Strategy<Value = Line> {
    // Months are mostly open and hours near the changes: otherwise few lines would name a time near one.
    let hour = prop_oneof![2 => field(0, 4), 1 => field(0, 23)];
    let month = prop_oneof![4 => Just(Field::Star), 1 => field(1, 12)];
    let day = prop_oneof![2 => Just(Field::Star), 1 => field(1, 28)];
    (field(0, 59), hour, day, month, field(0, 7)).prop_map(|(minute, hour, day, month, weekday)| Line {
        minute,
        hour,
        day,
        month,
        weekday,
    })
}

/// All fires after `from` and up to `to`, found minute by minute.
fn model(line: &Line, rules: &LocalTime, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let follows_clock = line.follows_clock();
    let gap = rules.gap.unwrap_or(if follows_clock { Gap::Skip } else { Gap::RunAfter });
    let overlap_hour =
        rules.overlap_hour.unwrap_or(if follows_clock { OverlapHour::Both } else { OverlapHour::First });
    let wall = |at: Timestamp| rules.zone.to_datetime(at);
    let mut found = Vec::new();
    // Early enough to see the first pass of what is a second pass at `from`.
    let mut at = from.checked_sub(SignedDuration::from_hours(26)).unwrap();
    let mut before = wall(at.checked_sub(MINUTE).unwrap());
    let mut latest = before;
    while at <= to {
        let now = wall(at);
        let is_second_pass = now <= latest;
        latest = latest.max(now);
        let mut fire = line.names(now) && !(is_second_pass && overlap_hour == OverlapHour::First);
        let mut missing = before.checked_add(1.minute()).unwrap();
        while missing < now {
            fire |= gap == Gap::RunAfter && missing.date() == now.date() && line.names(missing);
            missing = missing.checked_add(1.minute()).unwrap();
        }
        if fire && at > from {
            found.push(at);
        }
        before = now;
        at = at.checked_add(MINUTE).unwrap();
    }
    found
}

/// The changes of a zone's clock from 1973 (when offsets had come down to whole minutes) to 2040.
pub(crate) fn changes(zone: &TimeZone) -> Vec<Timestamp> {
    let (start, end) = (crate::time("1973-01-01T00:00:00Z"), crate::time("2040-01-01T00:00:00Z"));
    zone.following(start).map(|change| change.timestamp()).take_while(|at| *at < end).collect()
}

proptest! {
    #[test]
    fn agrees_minute_by_minute(
        line in line(),
        zone_name in zone_name(),
        change in any::<prop::sample::Index>(),
        minutes_before in 0_i64..2_000,
        gap in prop::option::of(prop_oneof![Just(Gap::RunAfter), Just(Gap::Skip)]),
        overlap_hour in prop::option::of(prop_oneof![Just(OverlapHour::First), Just(OverlapHour::Both)]),
    ) {
        let zone = zone(zone_name);
        let changes = changes(&zone);
        let change = changes[change.index(changes.len())];
        let from = change.checked_sub(SignedDuration::from_mins(minutes_before)).unwrap();
        let to = change.checked_add(SignedDuration::from_hours(26)).unwrap();
        let rules = LocalTime { zone, gap, overlap_hour };
        let text = line.text();
        let expected = model(&line, &rules, from, to);
        let found: Vec<_> = when(&text).fires(from, &rules).take_while(|at| *at <= to).collect();
        prop_assert_eq!(found, expected, "`{}` in {} after {}", text, zone_name, from);
    }
}
