//! The bus, as workflows see it: events start them.
//!
//! Events are recorded in order, so the bus is a queue on disk, and what is remembered of it is how far it was served.
//! Each event is looked at at least once, and starts each workflow at most once: the pair is claimed as a slot.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use hob_journal::{Commit, EventRow, Write};
use hob_model::pattern::{fits, wildcard};
use hob_model::{OpError, Timestamp, Value};
use hob_planner::Homelab;
use hob_planner::declaration::{RunPolicy, Trigger};
use hob_primitive::{BusEvent, EventBus};
use hob_runs::{RunError, Runs, WeakRuns, event_value};

use crate::schedules::Launch;

/// Events that are read at one time.
const EVENTS_AT_ONCE: usize = 1_000;
/// Runs under way beyond which no event starts another one: events wait on disk, in order, until runs have ended.
pub const TRIGGERED_RUNS_MAX: usize = 1_000;
/// Runs under way beyond which nothing more is taken from outside.
pub const LIVE_RUNS_MAX: usize = 10_000;
/// Events that wait for workflows beyond which no more are taken from outside.
pub const EVENTS_WAITING_MAX: u64 = 100_000;

/// The fact that says up to which event triggers were served.
const CURSOR: &str = "triggers/cursor";

/// A workflow that an event starts.
struct Waiting {
    workflow: String,
    policy: RunPolicy,
    /// Patterns of names with filters of payloads.
    events: Vec<(String, Value)>,
}

/// The workflows that wait for events.
pub struct EventTriggers {
    waiting: Vec<Waiting>,
    /// Who serves has the turn; it is for one thread at a time.
    turn: Mutex<()>,
    /// Something came while another thread had the turn.
    again: AtomicBool,
    /// Events wait for room, or for a journal that takes runs again.
    behind: AtomicBool,
}

impl EventTriggers {
    /// Those of a homelab.
    #[must_use]
    pub fn new(homelab: &Homelab) -> Self {
        let mut failures = failures(homelab);
        let waiting = homelab.workflows.iter().filter_map(|workflow| {
            let mut events: Vec<(String, Value)> = workflow
                .triggers
                .iter()
                .filter_map(|trigger| match trigger {
                    Trigger::Event { pattern, filter } => Some((pattern.clone(), filter.clone())),
                    Trigger::Subscription(wanted) => Some(wanted.event()),
                    _ => None,
                })
                .collect();
            events.extend(failures.remove(&*workflow.name).unwrap_or_default());
            let (workflow, policy) = (workflow.name.clone(), workflow.policy.clone());
            (!events.is_empty()).then_some(Waiting { workflow, policy, events })
        });
        Self {
            waiting: waiting.collect(),
            turn: Mutex::default(),
            again: AtomicBool::new(false),
            behind: AtomicBool::new(false),
        }
    }

    /// Serves what came while nobody did. Where no workflow waits for events, forgets how far they were looked at: whoever
    /// declares one later begins with what happens from then on, and nothing is recorded at each event until then.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn begin(&self, launch: &Launch) -> Result<(), RunError> {
        let journal = launch.runs.journal();
        match journal.fact(CURSOR)? {
            Some(_) if self.waiting.is_empty() => {
                journal.submit(Commit::one(Write::Fact { key: CURSOR.to_owned(), value: None }));
            }
            // Who is served for the first time begins with what happens from now on, over crashes, too.
            None if !self.waiting.is_empty() => {
                let value = Some(Value::from(journal.last_event()?));
                let ticket = journal.submit(Commit::one(Write::Fact { key: CURSOR.to_owned(), value }));
                journal.wait(ticket)?;
            }
            _ => {}
        }
        self.serve(launch);
        Ok(())
    }

    /// A run ended: there may be room again.
    pub fn run_ended(&self, launch: &Launch) {
        if launch.runs.active() < TRIGGERED_RUNS_MAX / 2 {
            self.go_on(launch);
        }
    }

    /// Serves what had to wait, if anything had.
    pub fn go_on(&self, launch: &Launch) {
        if self.behind.load(Ordering::SeqCst) {
            self.serve(launch);
        }
    }

    /// Starts the workflows that wait for events that came since the last look.
    pub fn serve(&self, launch: &Launch) {
        if self.waiting.is_empty() {
            return;
        }
        self.again.store(true, Ordering::SeqCst);
        // Whoever has the turn does it once more for those who came meanwhile.
        while self.again.load(Ordering::SeqCst) {
            let Ok(_turn) = self.turn.try_lock() else { return };
            self.again.store(false, Ordering::SeqCst);
            let done = self.serve_from_cursor(launch);
            self.behind.store(!matches!(done, Ok(true)), Ordering::SeqCst);
            if let Err(error) = done {
                tracing::error!(%error, "events cannot be served now");
            }
        }
    }

    /// Serves events in their order; whether all were.
    fn serve_from_cursor(&self, launch: &Launch) -> Result<bool, RunError> {
        let journal = launch.runs.journal();
        let begun = self.cursor(launch)?;
        let mut cursor = begun;
        let mut result = Ok(true);
        'all: loop {
            let events = journal.events(cursor, EVENTS_AT_ONCE)?;
            if events.is_empty() {
                break;
            }
            for event in &events {
                if launch.runs.active() >= TRIGGERED_RUNS_MAX || launch.admission.full().is_some() {
                    result = Ok(false);
                    break 'all;
                }
                if let Err(error) = self.serve_one(launch, event) {
                    result = Err(error);
                    break 'all;
                }
                cursor = event.id;
            }
        }
        if cursor > begun {
            let value = Some(Value::from(cursor));
            journal.submit(Commit::one(Write::Fact { key: CURSOR.to_owned(), value }));
        }
        result
    }

    fn cursor(&self, launch: &Launch) -> Result<u64, RunError> {
        let journal = launch.runs.journal();
        match journal.fact(CURSOR)? {
            Some(fact) => Ok(fact.as_int().and_then(|n| u64::try_from(n).ok()).unwrap_or(0)),
            None => Ok(journal.last_event()?),
        }
    }

    fn serve_one(&self, launch: &Launch, event: &EventRow) -> Result<(), RunError> {
        for waiting in &self.waiting {
            let wanted = waiting
                .events
                .iter()
                .any(|(pattern, filter)| wildcard(pattern, &event.name) && fits(filter, &event.payload));
            // An event that a workflow's own run raised must not start it again without end.
            let own = event.name.starts_with("run.")
                && event.payload.get("name").and_then(Value::as_str) == Some(&waiting.workflow);
            if wanted && !own {
                start_for(launch, waiting, event)?;
            }
        }
        Ok(())
    }

    /// Why no more work is taken from outside for now.
    #[must_use]
    pub fn full(&self, launch: &Launch) -> Option<String> {
        let active = launch.runs.active();
        if active >= LIVE_RUNS_MAX {
            return Some(format!("{active} runs are under way"));
        }
        if let Some(why) = launch.admission.full() {
            return Some(why);
        }
        if !self.behind.load(Ordering::SeqCst) {
            return None;
        }
        let last = launch.runs.journal().last_event().unwrap_or(0);
        let waiting = last.saturating_sub(self.cursor(launch).unwrap_or(last));
        (waiting >= EVENTS_WAITING_MAX).then(|| format!("{waiting} events wait for workflows"))
    }
}

/// By the workflow that `on_error` names, the failures that it is started for.
fn failures(homelab: &Homelab) -> HashMap<&str, Vec<(String, Value)>> {
    let workflows = homelab.workflows.iter().map(|it| ("workflow", &*it.name, &it.policy));
    let schedules = homelab.schedules.iter().map(|it| ("schedule", &*it.schedule.name, &*it.policy));
    let mut failures: HashMap<&str, Vec<(String, Value)>> = HashMap::new();
    for (kind, name, policy) in workflows.chain(schedules) {
        if let Some(handler) = &policy.on_error {
            let filter = Value::map([("kind", Value::from(kind)), ("name", Value::from(name))]);
            failures.entry(handler).or_default().push(("run.failed".to_owned(), filter));
        }
    }
    failures
}

/// The bus of a process's journal, for the operations of `events`.
#[derive(Default)]
pub struct JournalBus(OnceLock<WeakRuns>);

impl JournalBus {
    /// From now on it is that of `runs`, as long as those are there; the first ones stay.
    pub(crate) fn serve(&self, runs: &Runs) {
        let _ = self.0.set(runs.downgrade());
    }

    fn runs(&self) -> Result<Runs, OpError> {
        let runs = self.0.get().and_then(WeakRuns::upgrade);
        runs.ok_or_else(|| OpError::unavailable("hob is stopping"))
    }
}

fn unreadable(error: impl std::fmt::Display) -> OpError {
    OpError::unavailable(format!("the event bus: {error}"))
}

impl EventBus for JournalBus {
    fn emit(&self, name: &str, payload: Value, origin: &str) -> Result<(), OpError> {
        hob_model::event::check(name, &payload)?;
        self.runs()?.emit(name, payload, origin).map_err(unreadable)
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<BusEvent>, OpError> {
        let events = self.runs()?.journal().events(after, limit).map_err(unreadable)?;
        let one = |EventRow { id, name, payload, origin, at }| BusEvent { id, name, payload, origin, at };
        Ok(events.into_iter().map(one).collect())
    }

    fn last(&self) -> Result<u64, OpError> {
        self.runs()?.journal().last_event().map_err(unreadable)
    }
}

fn start_for(launch: &Launch, waiting: &Waiting, event: &EventRow) -> Result<(), RunError> {
    let name = &waiting.workflow;
    let new =
        launch.new_run("workflow", name, &waiting.policy, event_value(event), format!("event:{}", event.id));
    // The number of the event stands in for the time: the pair can be claimed once.
    let number =
        Timestamp::from_microsecond(i64::try_from(event.id).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX);
    launch.start_slot(format!("event/{name}"), number, new)?;
    Ok(())
}
