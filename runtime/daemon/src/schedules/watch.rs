//! What is watched beside the schedules: the machine's clocks, and that nothing dies silently.

use std::collections::HashSet;
use std::time::Duration;

use hob_journal::{RunFilter, RunRow};
use hob_model::{RunId, RunOwner, RunStatus, Timestamp, Value};
use hob_runs::RunError;
use hob_scheduler::{ClockChange, Clocks};
use jiff::SignedDuration;

use super::look::Look;
use super::{Scheduling, Timed};

/// How long slots wait at most for a clock that is not yet synchronised.
const CLOCK_WAIT: Duration = Duration::from_secs(120);
/// How often it is looked at meanwhile.
pub(super) const CLOCK_AGAIN: Duration = Duration::from_secs(1);
/// How often everything is audited.
const AUDIT_EVERY: Duration = Duration::from_secs(60);
/// Runs that one audit looks at; of those that wait, the next audit takes the next ones.
const AUDITED_RUNS_MAX: usize = 1_000;
/// How far the clock may be behind what is recorded, at the start, before that is told.
const BEHIND_MIN: Duration = Duration::from_secs(1);

/// What is remembered between two looks.
#[derive(Default)]
pub(super) struct Watch {
    /// The clocks when this process began to watch, and at the last look.
    clocks: Option<(Clocks, Clocks)>,
    /// The clock is taken for right, or was waited for long enough.
    trusts_clock: bool,
    told_unsynchronised: bool,
    audited: Option<Timestamp>,
    /// Runs that nobody seemed to own at the last audit.
    suspects: HashSet<RunId>,
    /// Down to where waiting runs were audited.
    waiting_before: Option<RunId>,
}

impl Scheduling {
    fn watched(&self) -> std::sync::MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn raise(&self, name: &str, payload: Value) {
        if let Err(error) = self.launch.runs.emit(name, payload, "hob") {
            tracing::error!(name, %error, "an event cannot be recorded");
        }
    }

    /// Raises an event where the clock was set or the machine slept; whether all schedules are to be looked at.
    pub(super) fn watch_clock(&self, now: Timestamp) -> bool {
        let clocks = self.machine.clocks();
        let mut watch = self.watched();
        let Some((began, last)) = watch.clocks else {
            watch.clocks = Some((clocks, clocks));
            drop(watch);
            self.tell_behind(now);
            self.shorten_waits();
            return true;
        };
        watch.clocks = Some((began, clocks));
        drop(watch);
        let ClockChange { stepped, suspended } = clocks.change_since(&last);
        if !stepped.is_zero() {
            tracing::warn!(seconds = stepped.as_secs(), "the clock was set");
            self.raise("clock.stepped", seconds(stepped));
            if stepped.is_negative() {
                self.shorten_waits();
            }
        }
        if !suspended.is_zero() {
            tracing::info!(seconds = suspended.as_secs(), "the machine was suspended");
            let suspended = SignedDuration::try_from(suspended).unwrap_or(SignedDuration::MAX);
            self.raise("machine.resumed", seconds(suspended));
        }
        !stepped.is_zero() || !suspended.is_zero()
    }

    /// Tells at the start that the clock is behind what is recorded: it was set back, or is not set yet.
    fn tell_behind(&self, now: Timestamp) {
        let newest = match self.newest_record() {
            Ok(newest) => newest,
            Err(error) => {
                tracing::error!(%error, "the newest record cannot be read");
                return;
            }
        };
        let behind = newest.map(|newest| now.duration_until(newest)).unwrap_or_default();
        if behind >= SignedDuration::try_from(BEHIND_MIN).unwrap_or_default() {
            tracing::warn!(seconds = behind.as_secs(), "the clock is behind what is recorded");
            self.raise("clock.stepped", seconds(-behind));
        }
    }

    /// Pauses that began by a clock that was ahead keep nothing waiting until its time comes again.
    fn shorten_waits(&self) {
        if let Err(error) = self.launch.runs.clock_was_put_back() {
            tracing::error!(%error, "waits cannot be compared with the clock");
        }
    }

    /// The time of the newest event: each end of a run is one.
    fn newest_record(&self) -> Result<Option<Timestamp>, RunError> {
        let journal = self.launch.runs.journal();
        let last = journal.last_event()?;
        Ok(journal.events(last.saturating_sub(1), 1)?.first().map(|event| event.at))
    }

    /// Whether the slots wait for a clock that is known not to be right yet, as after the start of a machine without
    /// one that is buffered. They do not wait for ever: a network may never come.
    pub(super) fn awaits_clock(&self, now: Timestamp) -> bool {
        let mut watch = self.watched();
        if watch.trusts_clock {
            return false;
        }
        if self.machine.synchronised() != Some(false) {
            watch.trusts_clock = true;
            return false;
        }
        let waited = watch
            .clocks
            .map_or(Duration::ZERO, |(began, last)| last.monotonic.saturating_sub(began.monotonic));
        watch.trusts_clock = waited >= CLOCK_WAIT;
        let (waits, told) = (!watch.trusts_clock, std::mem::replace(&mut watch.told_unsynchronised, true));
        drop(watch);
        if !told {
            tracing::warn!(%now, "the clock is not synchronised yet; schedules wait for it for up to two minutes");
            self.raise("clock.unsynchronised", Value::map([("now", Value::from(now.to_string()))]));
        }
        waits
    }

    /// At the start and every minute: each enabled schedule has a next instant, and each live run an owner or a
    /// wake-up. Where not, an event is raised, and what can be mended is.
    pub(super) fn audit(&self, now: Timestamp) {
        {
            let mut watch = self.watched();
            let since = watch.audited.map(|last| now.duration_since(last).unsigned_abs());
            if since.is_some_and(|since| since < AUDIT_EVERY) {
                return;
            }
            watch.audited = Some(now);
        }
        self.audit_schedules(now);
        if let Err(error) = self.audit_runs() {
            tracing::error!(%error, "the live runs cannot be audited now");
        }
    }

    fn audit_schedules(&self, now: Timestamp) {
        let mut stuck = Vec::new();
        for (timed, look) in self.timed.iter().zip(self.looks().iter_mut()) {
            let schedule = &timed.schedule;
            let next = schedule.next(now).map(|nominal| schedule.slot(nominal).due);
            let why = match next {
                _ if Self::is_paused(timed, look) => None,
                Some(due) if look.wake.is_none_or(|wake| wake > due) && self.is_late(timed, look, now) => {
                    Some("it was not going to be looked at in time")
                }
                None if schedule.when.recurs() => Some("its expression names no further time"),
                _ => None,
            };
            if why.is_some() && next.is_some() {
                look.wake = Some(now);
            }
            if let Some(why) = why.filter(|_| !look.stuck) {
                tracing::error!(schedule = %schedule.name, why, "a schedule was stuck");
                stuck.push((schedule.name.to_string(), why));
            }
            look.stuck = why.is_some();
        }
        for (schedule, why) in stuck {
            let fields = [("schedule", Value::from(schedule)), ("why", Value::from(why))];
            self.raise("schedule.stuck", Value::map(fields));
        }
    }

    /// Whether a slot that nobody claimed is due before the next look. After a clock was set back, slots that come are
    /// claimed already.
    fn is_late(&self, timed: &Timed, look: &Look, now: Timestamp) -> bool {
        let Ok(due) = self.due(timed, look, now) else { return false };
        let next = if due.fire.is_empty() { due.wake } else { Some(now) };
        next.is_some_and(|next| look.wake.is_none_or(|wake| wake > next))
    }

    /// Whether nobody evaluates the run and nothing will wake it.
    fn is_orphan(&self, row: &RunRow) -> Result<bool, RunError> {
        let runs = &self.launch.runs;
        let owned = row.bundle.is_none()
            || row.owner == RunOwner::Foreground
            || runs.is_active(row.run)
            || runs.waits_turn(row.run)
            || runs.is_held(row.run);
        if owned {
            return Ok(false);
        }
        let waits = row.status == RunStatus::Waiting;
        Ok(!waits || runs.journal().waits(None, Some(row.run), 1)?.is_empty())
    }

    fn audit_runs(&self) -> Result<(), RunError> {
        let runs = &self.launch.runs;
        // After a failed write nothing goes on, which is told elsewhere.
        runs.journal().may_act()?;
        let page = |status: Vec<RunStatus>, before| RunFilter {
            status,
            before,
            limit: Some(AUDITED_RUNS_MAX),
            ..RunFilter::default()
        };
        let before = self.watched().waiting_before;
        let working = runs.journal().runs(&page(vec![RunStatus::Queued, RunStatus::Running], None))?;
        let waiting = runs.journal().runs(&page(vec![RunStatus::Waiting], before))?;
        let next = waiting.last().filter(|_| waiting.len() == AUDITED_RUNS_MAX).map(|row| row.run);
        let (mut suspects, mut keeps_page) = (HashSet::new(), false);
        let mut orphans = Vec::new();
        let known = std::mem::take(&mut self.watched().suspects);
        for row in working.into_iter().chain(waiting) {
            if !self.is_orphan(&row)? {
                continue;
            }
            // It may come or go just now: who is seen so twice has been so for a minute.
            if known.contains(&row.run) {
                orphans.push(row);
            } else {
                keeps_page |= row.status == RunStatus::Waiting;
                suspects.insert(row.run);
            }
        }
        {
            let mut watch = self.watched();
            // A suspect among those that wait is looked at again before the next ones.
            watch.waiting_before = if keeps_page { before } else { next };
            watch.suspects = suspects;
        }
        for row in orphans {
            tracing::error!(run = %row.run, status = %row.status, "a live run was left by all");
            self.raise(
                "run.orphaned",
                Value::map([
                    ("run", Value::from(row.run.to_string())),
                    ("name", Value::from(row.name.as_str())),
                    ("status", Value::from(row.status.as_str())),
                ]),
            );
            runs.revive(row.run);
        }
        Ok(())
    }
}

fn seconds(duration: SignedDuration) -> Value {
    Value::map([("seconds", Value::from(duration.as_secs()))])
}
