//! Deadlines: each schedule is its own dead-man switch.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};

use crate::local_time::{Gap, Mapping, OverlapHour};
use crate::schedule::{Deadline, Schedule};
use crate::slots::{earlier, later};

/// How many missed deadlines one look reports; the next look goes on from there.
pub const MISSED_DEADLINES_MAX: usize = 1_000;

/// The shortest step of time that a deadline can differ by.
const TICK: Duration = Duration::from_micros(1);

/// The longest distance between two deadlines that are times of day: a day, and one that a zone skipped.
const DAILY_HOURS_MAX: u64 = 72;

/// A deadline by which a slot had not succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MissedDeadline {
    /// The slot; the first of them where several share a deadline.
    pub nominal: Timestamp,
    /// When it should have succeeded.
    pub deadline: Timestamp,
}

/// What a look at the deadlines finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// What was missed, by deadline.
    pub missed: Vec<MissedDeadline>,
    /// Up to where the look went: the `looked` of the next one. Before `now` where more was missed than one
    /// look reports.
    pub looked: Timestamp,
}

impl Schedule {
    /// By when the slot must have succeeded; `None` without the option `deadline`.
    #[must_use]
    pub fn deadline_of(&self, nominal: Timestamp) -> Option<Timestamp> {
        match self.deadline? {
            Deadline::After(duration) => Some(later(nominal, duration)),
            Deadline::By(time) => self.next_daily(time, nominal),
        }
    }

    /// When deadlines are to be looked at after `now`: no deadline lies in between. `None` where there is none.
    #[must_use]
    pub fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        match self.deadline? {
            Deadline::After(duration) => {
                let first = self.next(earlier(now, duration))?;
                Some(later(first, duration))
            }
            Deadline::By(time) => self.next_daily(time, now),
        }
    }

    /// The deadlines after `looked` and up to `now` that were missed, also those that passed while nothing ran.
    ///
    /// Slots up to `since` (see [`crate::Progress`]) do not count. `succeeded` says when this slot, or one
    /// after it, first succeeded.
    pub fn missed_deadlines(
        &self,
        since: Timestamp,
        looked: Timestamp,
        now: Timestamp,
        succeeded: impl Fn(Timestamp) -> Option<Timestamp>,
    ) -> Deadlines {
        let nothing = Deadlines { missed: Vec::new(), looked: now };
        let before_first = match self.deadline {
            None => return nothing,
            _ if self.paused => return nothing,
            Some(Deadline::After(duration)) => earlier(looked, duration),
            Some(Deadline::By(time)) => self.last_daily(time, looked),
        };
        let from = before_first.max(since);
        let mut missed = Vec::new();
        for nominal in self.when.fires(from, &self.local_time).take_while(|nominal| *nominal <= now) {
            let Some(deadline) = self.deadline_of(nominal) else {
                break;
            };
            if deadline > now {
                break;
            }
            let in_time = succeeded(nominal).is_some_and(|at| at <= deadline);
            if deadline <= looked || in_time {
                continue;
            }
            if missed.last().is_some_and(|last: &MissedDeadline| last.deadline == deadline) {
                continue;
            }
            if missed.len() == MISSED_DEADLINES_MAX {
                let looked = earlier(deadline, TICK);
                return Deadlines { missed, looked };
            }
            missed.push(MissedDeadline { nominal, deadline });
        }
        Deadlines { missed, looked: now }
    }

    /// The first such time of the schedule's clock after `after`.
    fn next_daily(&self, time: Time, after: Timestamp) -> Option<Timestamp> {
        let zone = &self.local_time.zone;
        let daily = Mapping { zone, gap: Gap::RunAfter, overlap_hour: OverlapHour::First };
        let first_from = |from: DateTime| match from.time() <= time {
            true => Some(from.date().to_datetime(time)),
            false => Some(from.date().tomorrow().ok()?.to_datetime(time)),
        };
        daily.next(first_from, after)
    }

    /// Just before the last such time at or before `until`: earlier slots have earlier deadlines.
    fn last_daily(&self, time: Time, until: Timestamp) -> Timestamp {
        let start = earlier(until, Duration::from_secs(DAILY_HOURS_MAX * 3600));
        let daily = std::iter::successors(self.next_daily(time, start), |last| self.next_daily(time, *last));
        earlier(daily.take_while(|at| *at <= until).last().unwrap_or(start), TICK)
    }
}
