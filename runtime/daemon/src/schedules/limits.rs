//! Timeouts and deadlines: each schedule is its own dead-man switch.

use std::collections::HashMap;
use std::time::Duration;

use hob_journal::{Commit, RunFilter};
use hob_model::{EntryKind, RunId, RunStatus, Timestamp, Value, duration};
use hob_runs::RunError;
use hob_scheduler::LiveState;

use super::look::{Look, SLOTS_READ};
use super::{Scheduling, Timed};

/// What stands before the nominal time in the trigger of a backfilled run.
pub(super) const BACKFILL: &str = "backfill:";

impl Scheduling {
    /// Ends runs that went on for longer than the schedule's timeout; when to look at them again.
    pub(super) fn end_overdue(
        &self,
        timed: &Timed,
        look: &mut Look,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, RunError> {
        let Some(timeout) = timed.schedule.timeout else { return Ok(None) };
        let rows = self.live_rows(timed)?;
        let running = rows.iter().filter(|row| self.state_of(row) == LiveState::Running);
        look.active().overdue.end(&self.launch.runs, running, timeout, now, |run| {
            let fields =
                [("run", Value::from(run.to_string())), ("timeout", Value::from(duration::format(timeout)))];
            let event = self.event(timed, "schedule.timeout", fields);
            self.launch.runs.journal().submit(Commit::one(event));
        })
    }

    /// Raises `schedule.missed` for deadlines that passed without a success, also while nothing ran; when to look
    /// again. How far was looked is recorded with what was found, so that each is raised once.
    pub(super) fn report_missed(
        &self,
        timed: &Timed,
        look: &mut Look,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, RunError> {
        let schedule = &timed.schedule;
        if schedule.deadline.is_none() {
            return Ok(None);
        }
        if look.memory.deadlines > now {
            // The clock was put back. They are watched from now on, and not once that time has come again.
            look.memory().deadlines = now;
            self.launch.runs.journal().submit(Commit::one(look.memory.write(timed)));
        }
        let (since, looked) = (look.memory.since, look.memory.deadlines);
        let since = if since > now { looked } else { since };
        // Most looks end here: no deadline has passed since the last one.
        if schedule.missed_deadlines(since, looked, now, |_| None).missed.is_empty() {
            return Ok(schedule.next_deadline(now));
        }
        let succeeded = self.successes(timed, now)?;
        let first_success = |nominal: Timestamp| {
            succeeded.iter().filter(|(of, _)| *of >= nominal).map(|(_, ended)| *ended).min()
        };
        let found = schedule.missed_deadlines(since, looked, now, first_success);
        let event = |nominal: Timestamp, deadline: Timestamp| {
            let fields = [
                ("nominal", Value::from(nominal.to_string())),
                ("deadline", Value::from(deadline.to_string())),
                ("reason", Value::from("it had not succeeded by its deadline")),
            ];
            self.event(timed, "schedule.missed", fields)
        };
        look.memory().deadlines = found.looked;
        let missed = found.missed.iter().map(|missed| event(missed.nominal, missed.deadline));
        self.launch.runs.journal().submit(missed.chain([look.memory.write(timed)]).collect());
        Ok(if found.looked < now { Some(now) } else { schedule.next_deadline(now) })
    }

    /// The latest successes: the nominal time, and when it had succeeded. A run that a person started counts for the
    /// time at which that was; a backfilled one for no later slot than its own.
    fn successes(&self, timed: &Timed, now: Timestamp) -> Result<Vec<(Timestamp, Timestamp)>, RunError> {
        let journal = self.launch.runs.journal();
        let mut nominals: HashMap<RunId, Timestamp> = HashMap::new();
        for slot in self.latest_slots(timed, now)? {
            // The slot of a run is the first with its id: a later one was skipped because of it.
            let first = nominals.entry(slot.run).or_insert(slot.nominal);
            *first = slot.nominal.min(*first);
        }
        let (kind, name) = timed.target();
        let filter = RunFilter {
            status: vec![RunStatus::Succeeded],
            name: Some(name.to_owned()),
            kind: Some(kind.to_owned()),
            // Those of a clock that was put back since must not hide the others.
            until: now.checked_add(Duration::from_secs(1)).ok(),
            limit: Some(SLOTS_READ),
            ..RunFilter::default()
        };
        let mut successes = Vec::new();
        for row in journal.runs(&filter)? {
            let nominal = match nominals.get(&row.run) {
                Some(nominal) => Some(*nominal),
                None if self.is_backfilled(row.run)? => None,
                None => Some(row.created),
            };
            successes.extend(nominal.map(|nominal| (nominal, row.updated)));
        }
        Ok(successes)
    }

    fn is_backfilled(&self, run: RunId) -> Result<bool, RunError> {
        let first = self.launch.runs.journal().entries(run, 0, 1)?;
        Ok(first.first().is_some_and(|entry| match &entry.kind {
            EntryKind::Started(started) => started.trigger.starts_with(BACKFILL),
            _ => false,
        }))
    }
}
