//! One look at one schedule.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hob_journal::{Commit, RunFilter, RunRow, Slot, Write};
use hob_model::{RunId, RunStatus, Timestamp, Value};
use hob_runs::{Begin, Firing, NewRun, RunError};
use hob_scheduler::slots::ON_TIME_SECONDS_MAX;
use hob_scheduler::{CatchUp, Decision, Due, LiveRun, LiveState, Progress};
use jiff::SignedDuration;

use super::ahead::Ahead;
use super::memory::{Memory, queue_of};
use super::{Firings, Scheduling, Timed};
use crate::overdue::Overdue;

/// Claimed slots that one look reads of each schedule, besides those after now: a clock may have been put back.
pub(super) const SLOTS_READ: usize = 64;

/// How far the next look at a schedule must be that rests until then.
const REST_MIN: SignedDuration = SignedDuration::from_mins(5);

/// Live runs of schedules that one look at all of them reads.
const BUSY_MAX: usize = 10_000;

/// The runs of a schedule that wait their turn, oldest first.
#[derive(Default)]
pub(super) struct Queues {
    /// Those of its slots.
    pub(super) slots: VecDeque<RunId>,
    /// Those of its backfills, behind the others.
    pub(super) backfill: VecDeque<RunId>,
}

/// Where a schedule stands. There may be 100,000 of them, and nearly all wait for a time that is far: each of those costs
/// these 48 bytes, beside the 32 of its [`hob_scheduler::Schedule`] and the 8 of what it runs.
pub(super) struct Look {
    /// One for all that began together.
    pub(super) memory: Arc<Memory>,
    /// When it is to be looked at next; `None` where no further slot comes and nothing is to be watched.
    pub(super) wake: Option<Timestamp>,
    /// Something of it waits for the end of a run.
    pub(super) awaits_ends: bool,
    /// The audit found that it does not fire, and said so.
    pub(super) stuck: bool,
    /// None while it rests.
    active: Option<Box<Active>>,
}

const _: () = assert!(size_of::<Look>() == 48);

/// What is known of a schedule that fires or will soon.
#[derive(Default)]
pub(super) struct Active {
    /// When this process looked at its slots last, where the clock was then before the schedule's begin: it was put back.
    looked: Option<Timestamp>,
    /// The latest claimed slots up to now, and all after it, ascending; this process alone claims any. None when they are to be read again.
    claimed: Option<Vec<Timestamp>>,
    /// The next slot, made ready before its time; none where few are due at that time.
    pub(super) ahead: Option<Box<Ahead>>,
    /// Its runs that wait their turn.
    pub(super) queues: Queues,
    /// Its runs whose timeout has passed.
    pub(super) overdue: Overdue,
}

impl Queues {
    fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.backfill.is_empty()
    }
}

impl Look {
    /// It is looked at in the next round.
    pub(super) fn new(memory: Arc<Memory>, now: Timestamp) -> Self {
        Self { memory, wake: Some(now), awaits_ends: false, stuck: false, active: None }
    }

    /// What is remembered of it, to be changed.
    pub(super) fn memory(&mut self) -> &mut Memory {
        Arc::make_mut(&mut self.memory)
    }

    /// What is known of it, to be changed.
    pub(super) fn active(&mut self) -> &mut Active {
        self.active.get_or_insert_default()
    }

    /// Gives up what can be read again, where it is not needed soon.
    pub(super) fn rest(&mut self, now: Timestamp) {
        let is_far = self.wake.is_none_or(|wake| wake.duration_since(now) > REST_MIN);
        let is_needed = |active: &Active| {
            active.looked.is_some() || !active.queues.is_empty() || !active.overdue.is_empty()
        };
        if is_far && !self.active.as_deref().is_some_and(is_needed) {
            self.active = None;
        }
    }

    /// Something about its runs that wait their turn.
    pub(super) fn queued<T: Default>(&self, tell: impl FnOnce(&Queues) -> T) -> T {
        self.active.as_ref().map(|active| tell(&active.queues)).unwrap_or_default()
    }

    /// Whether a run of a backfill waits.
    fn is_backfilled(&self) -> bool {
        self.queued(|queues| !queues.backfill.is_empty())
    }

    /// Whether a run of it waits its turn.
    pub(super) fn has_queued(&self) -> bool {
        self.queued(|queues| !queues.is_empty())
    }

    /// Reads again what is claimed.
    pub(super) fn forget(&mut self) {
        if let Some(active) = &mut self.active {
            (active.claimed, active.ahead) = (None, None);
        }
    }

    /// Whether its next slot is ready.
    pub(super) fn is_ahead(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.ahead.is_some())
    }

    /// Its next slot, where that is ready.
    pub(super) fn take_ahead(&mut self) -> Option<Box<Ahead>> {
        self.active.as_mut()?.ahead.take()
    }

    /// Its next slot is made ready anew.
    pub(super) fn give_up_ahead(&mut self) {
        drop(self.take_ahead());
    }

    /// A slot is decided at `now`, and nothing else of it is to be decided then.
    pub(super) fn fired(&mut self, nominal: Timestamp, now: Timestamp) {
        self.claim(nominal);
        self.looked(now);
    }

    /// All that was due at `now` is decided.
    fn looked(&mut self, now: Timestamp) {
        let is_put_back = self.memory.since > now;
        if let Some(active) = &mut self.active {
            active.looked = Some(now).filter(|_| is_put_back);
        }
    }

    /// A slot is decided.
    fn claim(&mut self, nominal: Timestamp) {
        let Some(claimed) = self.active.as_mut().and_then(|active| active.claimed.as_mut()) else { return };
        let at = claimed.binary_search(&nominal).unwrap_or_else(|at| {
            claimed.insert(at, nominal);
            at
        });
        claimed.drain(..(at + 1).saturating_sub(SLOTS_READ));
    }

    pub(super) fn is_due(&self, now: Timestamp, ended: bool) -> bool {
        self.wake.is_some_and(|wake| wake <= now) || (ended && self.awaits_ends)
    }
}

impl Scheduling {
    /// Whether no slot of it fires now.
    pub(super) fn is_paused(timed: &Timed, look: &Look) -> bool {
        timed.schedule.paused || look.memory.pause.is_some()
    }

    /// Looks at one schedule. What can be claimed together with the slots of others is left in `firings`.
    pub(super) fn look_at(
        &self,
        timed: &Timed,
        look: &mut Look,
        now: Timestamp,
        firings: &mut Firings,
    ) -> Result<(), RunError> {
        look.awaits_ends = false;
        if self.fire_ready(timed, look, now, firings) {
            return Ok(());
        }
        let limit = self.end_overdue(timed, look, now)?;
        let paused = Self::is_paused(timed, look);
        let deadline = if paused { None } else { self.report_missed(timed, look, now)? };
        let slot = if paused { None } else { self.fire_due(timed, look, now, firings)? };
        look.wake = [limit, deadline, slot].into_iter().flatten().min();
        Ok(())
    }

    /// Lets begin what may, and decides the slots that are due; when to look again.
    fn fire_due(
        &self,
        timed: &Timed,
        look: &mut Look,
        now: Timestamp,
        firings: &mut Firings,
    ) -> Result<Option<Timestamp>, RunError> {
        self.begin_queued(timed, look)?;
        self.read_claimed(timed, look, now)?;
        let due = self.due(timed, look, now)?;
        // What bears on others that are due now, or on the next slot, is claimed before those are decided.
        let alone = due.fire.len() == 1 && timed.schedule.conflicts.is_empty() && !timed.target.shared;
        for slot in due.fire {
            let lateness = now.duration_since(slot.due);
            let late = lateness.unsigned_abs() > Duration::from_secs(ON_TIME_SECONDS_MAX);
            look.claim(slot.nominal);
            let is_idle = alone && firings.knows_idle(timed);
            let live = if is_idle { vec![] } else { self.live_runs(timed)? };
            if let Some(firing) = self.settle(timed, look, (slot.nominal, late), &live)? {
                if alone {
                    firings.all.push(self.launch.runs.ready(firing));
                } else {
                    self.start_slot(firing)?;
                }
            }
        }
        look.looked(now);
        Ok(due.wake)
    }

    /// Reads which of its slots are claimed, where that is not known.
    pub(super) fn read_claimed(
        &self,
        timed: &Timed,
        look: &mut Look,
        now: Timestamp,
    ) -> Result<(), RunError> {
        if look.active().claimed.is_none() {
            look.active().claimed = Some(self.claimed(timed, now)?);
        }
        Ok(())
    }

    /// Which slots are due, by what is claimed.
    pub(super) fn due(&self, timed: &Timed, look: &Look, now: Timestamp) -> Result<Due, RunError> {
        let read;
        let active = look.active.as_deref();
        let claimed = match active.and_then(|active| active.claimed.as_ref()) {
            Some(claimed) => claimed,
            None => {
                read = self.claimed(timed, now)?;
                &read
            }
        };
        let looked = active.and_then(|active| active.looked);
        let progress = Progress { since: look.memory.since, claimed, looked };
        Ok(timed.schedule.due(progress, now))
    }

    /// The latest claimed slots up to now, and all after it, ascending.
    fn claimed(&self, timed: &Timed, now: Timestamp) -> Result<Vec<Timestamp>, RunError> {
        let slots = self.latest_slots(timed, now)?;
        let mut claimed: Vec<Timestamp> = slots.iter().map(|slot| slot.nominal).collect();
        claimed.sort_unstable();
        Ok(claimed)
    }

    /// The latest slots up to now, and all after it: where a clock was put back these are many, and must not hide the others.
    pub(super) fn latest_slots(&self, timed: &Timed, now: Timestamp) -> Result<Vec<Slot>, RunError> {
        let mut count = SLOTS_READ;
        loop {
            let slots = self.launch.runs.journal().slots(&timed.schedule.name, count)?;
            let ahead = slots.iter().filter(|slot| slot.nominal > now).count();
            if slots.len() < count || slots.len() - ahead >= SLOTS_READ {
                return Ok(slots);
            }
            count = ahead.saturating_add(SLOTS_READ).max(count.saturating_mul(2));
        }
    }

    /// Decides one slot, durably, but for one that may start at once: that is handed back.
    fn settle(
        &self,
        timed: &Timed,
        look: &mut Look,
        (nominal, late): (Timestamp, bool),
        live: &[LiveRun<'_, RunId>],
    ) -> Result<Option<Firing>, RunError> {
        let schedule = &timed.schedule;
        // `catch_up: "all"` promises each slot a run. And while a backfill waits, slots that come meanwhile are not its
        // victims: they wait before it.
        let promised = late && schedule.catch_up == CatchUp::All;
        let decision = if promised || look.is_backfilled() {
            schedule.decide_in_turn(live, look.memory.skipped)
        } else {
            schedule.decide(live, look.memory.skipped)
        };
        let queue = Some(queue_of(&schedule.name));
        match decision {
            Decision::Start => return Ok(Some(self.firing(timed, look, nominal, None))),
            Decision::Queue { .. } => self.enqueue(self.firing(timed, look, nominal, queue), look)?,
            Decision::CancelFirst { cancel, .. } => {
                // Claimed first: a crash after the cancel must not lose the slot for which it was made.
                self.enqueue(self.firing(timed, look, nominal, queue), look)?;
                self.cancel_others(&cancel, look);
            }
            Decision::Skip { because, missed } => {
                self.skip(timed, look, nominal, because.first().copied(), missed)?;
            }
        }
        Ok(None)
    }

    /// The slot with its run, which waits its turn where there is a `queue`. It ends a row of skipped slots.
    pub(super) fn firing(
        &self,
        timed: &Timed,
        look: &mut Look,
        nominal: Timestamp,
        queue: Option<String>,
    ) -> Firing {
        let schedule = timed.schedule.name.to_string();
        let mut beside = vec![];
        if look.memory.skipped > 0 {
            look.memory().skipped = 0;
            beside.push(look.memory.write(timed));
        }
        let new = self.run_of(timed, nominal, format!("schedule:{nominal}"));
        let queue = queue.or_else(|| self.ask(timed, new.id));
        Firing { schedule, nominal, new, begin: Begin { queue, beside } }
    }

    /// The queue in which a run waits that may begin by the schedule, for room among the runs of its workflow.
    pub(super) fn ask(&self, timed: &Timed, run: RunId) -> Option<String> {
        timed.target.workflow.as_ref().and_then(|workflow| self.launch.admission.ask(workflow, run))
    }

    fn start_slot(&self, firing: Firing) -> Result<bool, RunError> {
        let claimed = self.claim(vec![self.launch.runs.ready(firing)])?.pop();
        Ok(claimed.map(|claimed| self.launch.runs.begin_claimed(claimed)).is_some())
    }

    /// Claims a slot whose run waits its turn.
    fn enqueue(&self, firing: Firing, look: &mut Look) -> Result<(), RunError> {
        let run = firing.new.id;
        if self.start_slot(firing)? {
            look.active().queues.slots.push_back(run);
            look.awaits_ends = true;
        }
        Ok(())
    }

    pub(super) fn cancel_others(&self, cancel: &[RunId], look: &mut Look) {
        for run in cancel {
            // A second cancel would end the effect under way.
            if !self.launch.runs.is_cancelled(*run) {
                // It may have ended meanwhile.
                let _ = self.launch.runs.cancel(*run, "overlap: cancel_other");
            }
        }
        look.awaits_ends = true;
    }

    /// A slot that does not run is claimed all the same, so that it is decided once.
    fn skip(
        &self,
        timed: &Timed,
        look: &mut Look,
        nominal: Timestamp,
        because: Option<RunId>,
        missed: bool,
    ) -> Result<(), RunError> {
        let runs = &self.launch.runs;
        let run = because.unwrap_or_else(|| runs.new_id());
        let fields = [
            ("nominal", Value::from(nominal.to_string())),
            ("because", Value::from(because.map(|run| run.to_string()))),
        ];
        let skipped = look.memory.skipped.saturating_add(1);
        let mut writes = vec![self.event(timed, "schedule.skipped", fields.clone())];
        if missed {
            let reason = ("reason", Value::from(format!("{skipped} slots in a row were skipped")));
            writes.push(self.event(timed, "schedule.missed", fields.into_iter().chain([reason])));
        }
        look.memory().skipped = skipped;
        writes.push(look.memory.write(timed));
        let slot = Slot { schedule: timed.schedule.name.to_string(), nominal, run };
        runs.journal().claim(slot, Commit { writes })?;
        Ok(())
    }

    /// Lets runs begin whose turn it is.
    fn begin_queued(&self, timed: &Timed, look: &mut Look) -> Result<(), RunError> {
        let runs = &self.launch.runs;
        let Some(active) = &mut look.active else { return Ok(()) };
        let queues = &mut active.queues;
        loop {
            let queue = if queues.slots.is_empty() { &mut queues.backfill } else { &mut queues.slots };
            let Some(run) = queue.front().copied() else { return Ok(()) };
            if !runs.waits_turn(run) {
                queue.pop_front();
                continue;
            }
            if runs.is_held(run) || !timed.schedule.may_begin(&self.live_runs(timed)?) {
                look.awaits_ends = true;
                return Ok(());
            }
            runs.take_turn(run)?;
            queue.pop_front();
        }
    }

    /// A run for a nominal time, which is handed to the script.
    pub(super) fn run_of(&self, timed: &Timed, nominal: Timestamp, trigger: String) -> NewRun {
        let (kind, name) = timed.target();
        let input = Value::map([
            ("schedule", Value::from(&*timed.schedule.name)),
            ("nominal", Value::from(nominal.to_string())),
        ]);
        self.launch.new_run(kind, name, &timed.target.policy, input, trigger)
    }

    /// The runs of a target that have not ended.
    pub(super) fn live_rows(&self, timed: &Timed) -> Result<Vec<RunRow>, RunError> {
        let (kind, name) = timed.target();
        let filter = RunFilter {
            status: RunStatus::live(),
            name: Some(name.to_owned()),
            kind: Some(kind.to_owned()),
            ..RunFilter::default()
        };
        Ok(self.launch.runs.journal().runs(&filter)?)
    }

    /// What of a kind has runs that have not ended; none when they are too many to be read at once.
    pub(super) fn busy(&self, kind: &str) -> Result<Option<HashSet<String>>, RunError> {
        let filter = RunFilter {
            status: RunStatus::live(),
            kind: Some(kind.to_owned()),
            limit: Some(BUSY_MAX),
            ..RunFilter::default()
        };
        let rows = self.launch.runs.journal().runs(&filter)?;
        Ok((rows.len() < BUSY_MAX).then(|| rows.into_iter().map(|row| row.name).collect()))
    }

    pub(super) fn state_of(&self, row: &RunRow) -> LiveState {
        let runs = &self.launch.runs;
        match row.status {
            _ if runs.waits_turn(row.run) => LiveState::Queued,
            _ if runs.is_held(row.run) => LiveState::Parked,
            RunStatus::InDoubt | RunStatus::Paused | RunStatus::Interrupted => LiveState::Parked,
            _ => LiveState::Running,
        }
    }

    /// The runs that bear on whether a slot may start: its own, and those with a conflict key in common.
    pub(super) fn live_runs(&self, timed: &Timed) -> Result<Vec<LiveRun<'_, RunId>>, RunError> {
        let keys = &timed.schedule.conflicts;
        let mut live = Vec::new();
        let mut add = |other: &'_ Timed, own: bool, conflicts| -> Result<(), RunError> {
            let rows = self.live_rows(other)?;
            let run = |row: &RunRow| LiveRun { id: row.run, own, state: self.state_of(row), conflicts };
            live.extend(rows.iter().map(run));
            Ok(())
        };
        let conflicts_of = |name: &str| self.place_of(name).map(|at| &*self.timed[at].schedule.conflicts);
        add(timed, true, conflicts_of(&timed.schedule.name).unwrap_or_default())?;
        if !keys.is_empty() {
            for other in &self.timed {
                let shares = other.schedule.conflicts.iter().any(|key| keys.contains(key));
                if shares && other.schedule.name != timed.schedule.name {
                    add(other, false, &other.schedule.conflicts)?;
                }
            }
        }
        Ok(live)
    }

    /// An event about a schedule.
    pub(super) fn event(
        &self,
        timed: &Timed,
        name: &str,
        fields: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Write {
        let schedule = &*timed.schedule.name;
        Write::Event {
            name: name.to_owned(),
            payload: Value::map([("schedule", Value::from(schedule))].into_iter().chain(fields)),
            origin: format!("schedule:{schedule}"),
            at: self.launch.runs.now(),
        }
    }
}
