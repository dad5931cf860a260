//! Slots: a schedule and a nominal time. Which of them are to fire now.
//!
//! A slot fires at most once because it is claimed durably by (schedule, nominal time) before its run
//! starts. What is decided here follows from the claims, the expression and the time alone, never from a
//! chain of "each fire sets the next": a crash, a restart or a step of the clock loses nothing.

use std::time::Duration;

use hob_model::Digest;
use jiff::{SignedDuration, Timestamp};

use crate::schedule::{CatchUp, Schedule};

/// How late the latest slot may be looked at and still count as on time, whatever `catch_up` says.
pub const ON_TIME_SECONDS_MAX: u64 = 60;

/// How many slots one look hands out; the rest follows as soon as these are claimed.
pub const DUE_SLOTS_MAX: usize = 1_000;

/// One fire of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// When the expression says: the slot's name, handed to the script.
    pub nominal: Timestamp,
    /// When it fires: the nominal time and the jitter of its schedule.
    pub due: Timestamp,
}

/// What is known about a schedule's past.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// When the present expression was declared, or the schedule last resumed from a pause: slots up to
    /// here are never looked at.
    pub since: Timestamp,
    /// The nominal times of claimed slots, ascending: at least the latest up to now and all after it. A
    /// claim settles each older slot, so slots are claimed in the order in which they are handed out.
    pub claimed: &'a [Timestamp],
    /// The `now` of the previous look by this process, if there was one.
    pub looked: Option<Timestamp>,
}

/// What a look finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// What is to be claimed and fired now, oldest first.
    pub fire: Vec<Slot>,
    /// The oldest slot that has come and that `catch_up` does not let fire.
    pub passed_over: Option<Timestamp>,
    /// When to look again; `None` where no further slot comes.
    pub wake: Option<Timestamp>,
}

impl Schedule {
    /// How much later than its nominal time each slot fires: below the option `jitter`, spread evenly over
    /// names, and always the same for one name.
    #[must_use]
    pub fn jitter_offset(&self) -> Duration {
        let range = u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX);
        let digest = Digest::of(self.name.as_bytes());
        let number = digest.0.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        Duration::from_micros(number.checked_rem(range).unwrap_or(0))
    }

    /// The slot of a nominal time.
    #[must_use]
    pub fn slot(&self, nominal: Timestamp) -> Slot {
        Slot { nominal, due: later(nominal, self.jitter_offset()) }
    }

    /// The first `max` slots with a nominal time after `from` and up to `to`, for a backfill or a preview.
    #[must_use]
    pub fn slots(&self, from: Timestamp, to: Timestamp, max: usize) -> Vec<Slot> {
        let nominal = self.when.fires(from, &self.local_time);
        nominal.take_while(|nominal| *nominal <= to).take(max).map(|nominal| self.slot(nominal)).collect()
    }

    /// Which slots are to fire at `now`, and when to look again.
    ///
    /// Correct under steps of the clock: put forward, the slots in between are missed and `catch_up` decides;
    /// put back, slots that were claimed do not fire again, and those that were not fire when their time comes.
    #[must_use]
    pub fn due(&self, progress: Progress<'_>, now: Timestamp) -> Due {
        if self.paused {
            return Due::default();
        }
        // Instead of moving each slot by the jitter, time is moved the other way.
        let cutoff = earlier(now, self.jitter_offset());
        let settled = self.settled(progress, now, cutoff);
        let Some(oldest) = self.next(settled).filter(|nominal| *nominal <= cutoff) else {
            return Due { wake: self.wake_after(cutoff.max(settled), progress.claimed), ..Due::default() };
        };
        let window = match self.catch_up {
            CatchUp::None => Some(Duration::ZERO),
            CatchUp::Last | CatchUp::All => self.window,
        };
        let reach =
            window.map(|window| earlier(cutoff, window.max(Duration::from_secs(ON_TIME_SECONDS_MAX))));
        let from = reach.map_or(settled, |reach| reach.max(settled));
        let fire = match self.catch_up {
            CatchUp::All => self.slots(from, cutoff, DUE_SLOTS_MAX),
            CatchUp::Last | CatchUp::None => {
                self.latest(from, cutoff).map(|nominal| self.slot(nominal)).into_iter().collect()
            }
        };
        let is_full = fire.len() == DUE_SLOTS_MAX;
        let first = fire.first().map(|slot| slot.nominal);
        Due {
            passed_over: (first != Some(oldest)).then_some(oldest),
            wake: if is_full { Some(now) } else { self.wake_after(cutoff, progress.claimed) },
            fire,
        }
    }

    /// Up to where everything is decided: claimed, passed over by a claim, or before the declaration.
    fn settled(&self, progress: Progress<'_>, now: Timestamp, cutoff: Timestamp) -> Timestamp {
        let declared = if progress.since <= now {
            progress.since
        } else {
            // Declared in what is now the future: the clock was put back. Slots from here on are ahead.
            let looked = progress.looked.map(|looked| earlier(looked, self.jitter_offset()));
            looked.filter(|looked| *looked <= cutoff).unwrap_or(cutoff)
        };
        let claimed = progress.claimed.iter().copied().filter(|nominal| *nominal <= cutoff).max();
        claimed.map_or(declared, |claimed| claimed.max(declared))
    }

    /// The latest nominal time after `from` and up to `to`, by bisection: the distance may hold millions.
    fn latest(&self, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
        let up_to = |after| self.next(after).filter(|nominal| *nominal <= to);
        let mut found = up_to(from)?;
        let mut none_after = to;
        while let Some(next) = up_to(found) {
            let middle = later(found, Duration::from_micros(micros_between(found, none_after) / 2));
            match up_to(middle) {
                Some(nominal) => found = nominal,
                None => {
                    none_after = middle;
                    found = next;
                }
            }
        }
        Some(found)
    }

    /// When the first slot after `cutoff` that nobody claimed is due.
    fn wake_after(&self, cutoff: Timestamp, claimed: &[Timestamp]) -> Option<Timestamp> {
        let mut ahead = self.when.fires(cutoff, &self.local_time);
        ahead.find(|nominal| claimed.binary_search(nominal).is_err()).map(|nominal| self.slot(nominal).due)
    }
}

fn micros_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(from.duration_until(to).as_micros()).unwrap_or(0)
}

/// A moment later, or the end of time.
#[must_use]
pub fn later(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| at.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

/// A moment earlier, or the beginning of time.
#[must_use]
pub fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| at.checked_sub(by).ok()).unwrap_or(Timestamp::MIN)
}
