//! The thread that fires schedules.
//!
//! Next fire times are computed from the expression and the claimed slots at each look, never chained: a schedule
//! cannot die silently, whatever a run of it does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use hob_engine::Bundle;
use hob_journal::{Commit, RunFilter, RunRow, Slot, Write};
use hob_model::{OnDoubt, RunEntry, RunId, RunOwner, RunStarted, RunStatus, Timestamp, Value};
use hob_planner::declaration::RunPolicy;
use hob_runs::{Listener, NewRun, RunError, Runs};
use hob_scheduler::{Decision, LiveRun, LiveState, Progress, Schedule};

/// How long it sleeps at most before it looks again: a clock that jumps is noticed by then.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How often the journal is looked after.
const MAINTAIN_EVERY: Duration = Duration::from_secs(3600);
/// Claimed slots that one look reads of each schedule.
const SLOTS_READ: usize = 64;

/// Something that fires at times.
pub struct Timed {
    /// When, and what holds for its slots; its name names its slots.
    pub schedule: Schedule,
    /// The declaration to run: kind and name.
    pub target: (String, String),
    /// What its runs may do.
    pub policy: RunPolicy,
}

/// What declared runs are started with.
pub struct Launch {
    /// All runs.
    pub runs: Runs,
    /// The adopted homelab.
    pub bundle: Arc<Bundle>,
    /// Its directory.
    pub directory: String,
}

impl Launch {
    /// A run of a declaration.
    #[must_use]
    pub fn new_run(
        &self,
        kind: &str,
        name: &str,
        policy: &RunPolicy,
        input: Value,
        trigger: String,
    ) -> NewRun {
        let started = RunStarted {
            name: name.to_owned(),
            entry: RunEntry::Declared { kind: kind.to_owned(), name: name.to_owned() },
            bundle: None,
            input,
            owner: RunOwner::Daemon,
            parent: None,
            cwd: self.directory.clone(),
            env: vec![],
            allow: policy.allow.clone().unwrap_or_default(),
            deny: policy.deny.clone(),
            trusted: policy.allow.is_none(),
            on_doubt: policy.on_doubt.unwrap_or(OnDoubt::Ask),
            trigger,
        };
        NewRun { id: self.runs.new_id(), started, bundle: Arc::clone(&self.bundle) }
    }
}

/// Says that a run ended, so that slots that wait for it may go on.
#[derive(Default)]
pub struct ScheduleBell {
    stale: Mutex<bool>,
    changed: Condvar,
    stopping: AtomicBool,
    /// A slot waits for the end of a run, or may come to as all are looked at now.
    awaits_ends: AtomicBool,
}

impl ScheduleBell {
    /// Look again.
    pub fn ring(&self) {
        if let Ok(mut stale) = self.stale.lock() {
            *stale = true;
        }
        self.changed.notify_all();
    }

    /// A run ended. All schedules are looked at again if one waits for that, and not at each end of any run.
    pub fn run_ended(&self) {
        if self.awaits_ends.load(Ordering::SeqCst) {
            self.ring();
        }
    }

    /// The thread ends.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.ring();
    }
}

impl Listener for ScheduleBell {
    fn changed(&self, _: RunId, status: RunStatus, _: Option<&hob_model::RunEnd>) {
        if status.ended() {
            self.run_ended();
        }
    }
}

/// Fires schedules until the bell says stop; calls `maintain` now and then.
pub fn serve(launch: &Launch, all: &[Timed], bell: &ScheduleBell, maintain: &dyn Fn()) {
    let mut state: HashMap<String, Look> = HashMap::new();
    let mut maintained: Option<Timestamp> = None;
    while !bell.stopping.load(Ordering::SeqCst) {
        let now = launch.runs.now();
        if maintained.is_none_or(|last| now.duration_since(last).unsigned_abs() >= MAINTAIN_EVERY) {
            maintained = Some(now);
            maintain();
        }
        let mut wake: Option<Timestamp> = None;
        // Before anything is read: an end that comes after the reading rings.
        bell.awaits_ends.store(true, Ordering::SeqCst);
        let mut awaits_ends = false;
        for timed in all {
            let look = state.entry(timed.schedule.name.clone()).or_default();
            look.awaits_ends = false;
            let next = look_at(launch, all, timed, look, now);
            awaits_ends |= look.awaits_ends;
            match next {
                Ok(next) => wake = [wake, next].into_iter().flatten().min(),
                Err(error) => {
                    tracing::error!(schedule = timed.schedule.name, %error, "the schedule cannot be served now")
                }
            }
        }
        bell.awaits_ends.store(awaits_ends, Ordering::SeqCst);
        let pause = wake.map_or(LOOK_AGAIN, |at| {
            Duration::try_from(at.duration_since(launch.runs.now())).unwrap_or_default()
        });
        let Ok(stale) = bell.stale.lock() else { return };
        let Ok((mut stale, _)) =
            bell.changed.wait_timeout_while(stale, pause.min(LOOK_AGAIN), |stale| !*stale)
        else {
            return;
        };
        *stale = false;
    }
}

/// What is remembered between looks at one schedule.
#[derive(Default)]
struct Look {
    looked: Option<Timestamp>,
    skipped_in_row: u32,
    /// A slot is due and waits for the end of a run.
    awaits_ends: bool,
}

fn look_at(
    launch: &Launch,
    all: &[Timed],
    timed: &Timed,
    look: &mut Look,
    now: Timestamp,
) -> Result<Option<Timestamp>, RunError> {
    let schedule = &timed.schedule;
    let since = declared_at(launch, timed, now)?;
    let mut claimed: Vec<Timestamp> =
        launch.runs.journal().slots(&schedule.name, SLOTS_READ)?.iter().map(|slot| slot.nominal).collect();
    claimed.sort_unstable();
    let due = schedule.due(Progress { since, claimed: &claimed, looked: look.looked }, now);
    look.looked = Some(now);
    let limit = end_overdue(launch, timed, now)?;
    let deadline = report_missed(launch, timed, since, now)?;
    for slot in due.fire {
        let live = live_runs(launch, all, timed)?;
        match schedule.decide(&live, look.skipped_in_row) {
            Decision::Start => {
                look.skipped_in_row = 0;
                fire(launch, timed, slot.nominal)?;
            }
            Decision::Skip { because, missed } => {
                look.skipped_in_row += 1;
                skip(launch, timed, slot.nominal, because.first().copied(), missed)?;
            }
            Decision::CancelFirst { cancel, .. } => {
                for run in cancel {
                    // It may have ended meanwhile; then the slot starts at the next look.
                    let _ = launch.runs.cancel(run, "overlap: cancel_other");
                }
                look.awaits_ends = true;
                break;
            }
            // Not claimed, so it is due again when the run it waits for has ended.
            Decision::Queue { .. } => {
                look.awaits_ends = true;
                break;
            }
        }
    }
    Ok([due.wake, limit, deadline].into_iter().flatten().min())
}

/// Since when the present expression is declared: recorded once for each expression.
fn declared_at(launch: &Launch, timed: &Timed, now: Timestamp) -> Result<Timestamp, RunError> {
    let key = format!("schedule/{}", timed.schedule.name);
    let expression = format!("{:?}/{:?}", timed.schedule.when, timed.schedule.local_time);
    let digest = hob_model::Digest::of(expression.as_bytes()).to_string();
    if let Some(fact) = launch.runs.journal().fact(&key)?
        && fact.get("expression").and_then(Value::as_str) == Some(&digest)
        && let Some(since) = fact.get("since").and_then(Value::as_str).and_then(|text| text.parse().ok())
    {
        return Ok(since);
    }
    let value = Value::map([("expression", Value::from(digest)), ("since", Value::from(now.to_string()))]);
    launch.runs.journal().submit(Commit::one(Write::Fact { key, value: Some(value) }));
    Ok(now)
}

/// The states in which a run still occupies its schedule, or its conflict keys.
const LIVE: [RunStatus; 6] = [
    RunStatus::Queued,
    RunStatus::Running,
    RunStatus::Waiting,
    RunStatus::InDoubt,
    RunStatus::Paused,
    RunStatus::Interrupted,
];

/// The runs of a target that have not ended.
fn live_rows(launch: &Launch, timed: &Timed) -> Result<Vec<RunRow>, RunError> {
    let (kind, name) = timed.target.clone();
    let filter =
        RunFilter { status: LIVE.to_vec(), name: Some(name), kind: Some(kind), ..RunFilter::default() };
    Ok(launch.runs.journal().runs(&filter)?)
}

/// The runs that bear on whether a slot may start: its own, and those with a conflict key in common.
fn live_runs<'a>(
    launch: &Launch,
    all: &'a [Timed],
    timed: &Timed,
) -> Result<Vec<LiveRun<'a, RunId>>, RunError> {
    let state = |row: &RunRow| match row.status {
        RunStatus::InDoubt | RunStatus::Paused | RunStatus::Interrupted => LiveState::Parked,
        _ => LiveState::Running,
    };
    let mut live = Vec::new();
    for other in all {
        let own = other.schedule.name == timed.schedule.name;
        let conflicts = &other.schedule.conflicts;
        if own || conflicts.iter().any(|key| timed.schedule.conflicts.contains(key)) {
            let rows = live_rows(launch, other)?;
            live.extend(rows.iter().map(|row| LiveRun { id: row.run, own, state: state(row), conflicts }));
        }
    }
    Ok(live)
}

/// Cancels runs that went on for longer than the schedule's timeout; when the next one will have.
fn end_overdue(launch: &Launch, timed: &Timed, now: Timestamp) -> Result<Option<Timestamp>, RunError> {
    let Some(timeout) = timed.schedule.timeout else { return Ok(None) };
    let mut next = None;
    for row in live_rows(launch, timed)? {
        let Ok(limit) = row.created.checked_add(timeout) else { continue };
        if limit > now {
            next = [next, Some(limit)].into_iter().flatten().min();
        } else if !launch.runs.is_cancelled(row.run) {
            // It may have ended by itself in this moment.
            let _ = launch.runs.cancel(row.run, "the schedule's timeout");
        }
    }
    Ok(next)
}

/// Raises `schedule.missed` for deadlines that passed without a success, also while nothing ran. The look is recorded,
/// so that each is raised once.
fn report_missed(
    launch: &Launch,
    timed: &Timed,
    since: Timestamp,
    now: Timestamp,
) -> Result<Option<Timestamp>, RunError> {
    if timed.schedule.deadline.is_none() {
        return Ok(None);
    }
    let key = format!("schedule-deadline/{}", timed.schedule.name);
    let journal = launch.runs.journal();
    let looked = journal.fact(&key)?.and_then(|fact| fact.as_str()?.parse().ok()).unwrap_or(since);
    let (kind, name) = timed.target.clone();
    let done = RunFilter {
        status: vec![RunStatus::Succeeded],
        name: Some(name),
        kind: Some(kind),
        limit: Some(SLOTS_READ),
        ..RunFilter::default()
    };
    let succeeded: Vec<(Timestamp, Timestamp)> =
        journal.runs(&done)?.iter().map(|row| (row.created, row.updated)).collect();
    let first_success = |nominal: Timestamp| {
        succeeded.iter().filter(|(created, _)| *created >= nominal).map(|(_, ended)| *ended).min()
    };
    let found = timed.schedule.missed_deadlines(since, looked, now, first_success);
    let event = |nominal: Timestamp, deadline: Timestamp| Write::Event {
        name: "schedule.missed".to_owned(),
        payload: Value::map([
            ("schedule", Value::from(timed.schedule.name.as_str())),
            ("nominal", Value::from(nominal.to_string())),
            ("deadline", Value::from(deadline.to_string())),
        ]),
        origin: format!("schedule:{}", timed.schedule.name),
        at: now,
    };
    let missed = found.missed.iter().map(|missed| event(missed.nominal, missed.deadline));
    let fact = Write::Fact { key, value: Some(Value::from(found.looked.to_string())) };
    if !found.missed.is_empty() || looked < found.looked {
        journal.submit(missed.chain([fact]).collect());
    }
    Ok(timed.schedule.next(now).and_then(|nominal| timed.schedule.deadline_of(nominal)))
}

fn fire(launch: &Launch, timed: &Timed, nominal: Timestamp) -> Result<(), RunError> {
    let (kind, name) = &timed.target;
    let input = Value::map([
        ("schedule", Value::from(timed.schedule.name.as_str())),
        ("nominal", Value::from(nominal.to_string())),
    ]);
    let new = launch.new_run(kind, name, &timed.policy, input, format!("schedule:{nominal}"));
    if !launch.runs.start_slot(&timed.schedule.name, nominal, new)? {
        tracing::debug!(schedule = timed.schedule.name, %nominal, "the slot was claimed before");
    }
    Ok(())
}

/// A slot that does not run is claimed all the same, so that it is decided once.
fn skip(
    launch: &Launch,
    timed: &Timed,
    nominal: Timestamp,
    because: Option<RunId>,
    missed: bool,
) -> Result<(), RunError> {
    let run = because.unwrap_or_else(|| launch.runs.new_id());
    let payload = Value::map([
        ("schedule", Value::from(timed.schedule.name.as_str())),
        ("nominal", Value::from(nominal.to_string())),
        ("because", Value::from(because.map(|run| run.to_string()))),
    ]);
    let event = |name: &str| Write::Event {
        name: name.to_owned(),
        payload: payload.clone(),
        origin: format!("schedule:{}", timed.schedule.name),
        at: launch.runs.now(),
    };
    let mut writes = vec![event("schedule.skipped")];
    if missed {
        writes.push(event("schedule.missed"));
    }
    let slot = Slot { schedule: timed.schedule.name.clone(), nominal, run };
    launch.runs.journal().claim(slot, Commit { writes })?;
    Ok(())
}
