//! Playing one test: its run, the clock, and what is sent to it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hob_journal::Journal;
use hob_model::{EntryKind, RunEnd, RunId, RunStatus, Value};
use hob_planner::declaration::RunPolicy;
use hob_primitive::{Clock, EventBus, Ports};
use hob_runs::{InlineSpawner, Listener, NewRun, Parts, RunError, Runs};

use super::mocks::{Mocks, SetClock};
use super::{Subject, Test, Trial};
use crate::bus::JournalBus;
use crate::schedules::started;

/// How often a test moves its clock: a run that sleeps for ever comes to an end.
const WAKES_MAX: usize = 10_000;
/// Calls that are named where a test fails.
const CALLS_SHOWN: usize = 20;
/// Lines of the log that are kept.
const LOG_LINES_MAX: usize = 10_000;
/// Waits of one kind that are looked at.
const WAITS_MAX: usize = 1_000;

/// What a run came to.
pub(super) struct Outcome {
    /// What the function of the test gets.
    pub(super) seen: Value,
    /// The same for people, in short.
    pub(super) told: String,
    /// Why the test fails whatever its function says.
    pub(super) problem: Option<String>,
}

/// Hears the log of the run, and where its script failed.
#[derive(Default)]
struct Ears {
    log: Mutex<Vec<Value>>,
}

impl Listener for Ears {
    fn log(&self, _: RunId, level: &str, message: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() < LOG_LINES_MAX {
            log.push(Value::map([("level", Value::from(level)), ("message", Value::from(message))]));
        }
    }
}

/// A test under way.
pub(super) struct Play<'t> {
    test: &'t Test,
    runs: Runs,
    spawner: InlineSpawner,
    clock: Arc<SetClock>,
    mocks: Arc<Mocks>,
    ears: Arc<Ears>,
    run: RunId,
    events: VecDeque<(String, Value)>,
}

impl<'t> Play<'t> {
    /// Starts the run; why it cannot be.
    pub(super) fn new(
        trial: &Trial,
        test: &'t Test,
        subject: &Subject<'_>,
        journal: Arc<dyn Journal>,
    ) -> Result<Self, String> {
        let (kind, policy) = target_of(test, subject)?;
        let clock = Arc::new(SetClock::at(test.now));
        let (host, bundle, declared) =
            (Arc::clone(&trial.host), Arc::clone(&trial.bundle), Arc::clone(&trial.declared));
        let name = test.name.clone();
        let function = move |operation: &str, args: &[Value]| {
            let declared = declared.find(super::KIND, &name);
            let path = format!("mocks.{operation}");
            let called = declared.and_then(|it| hob_engine::call_declared(&host, &bundle, it, &path, args));
            called.expect("a mock is a function where its declaration has one")
        };
        let mocks = Arc::new(Mocks::new(test.mocks.clone(), Box::new(function), Arc::clone(&clock)));
        let bus = Arc::new(JournalBus::default());
        let mut ports = Ports::default();
        ports.insert::<dyn EventBus>(Arc::clone(&bus) as Arc<dyn EventBus>);
        let (spawner, ears, counter) =
            (InlineSpawner::default(), Arc::new(Ears::default()), AtomicU64::new(0));
        let runs = Runs::new(Parts {
            journal,
            registry: Arc::clone(subject.registry),
            ports: Arc::new(ports),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            performer: Arc::clone(&mocks) as _,
            spawner: Arc::new(spawner.clone()),
            listener: Arc::clone(&ears) as _,
            turns: None,
            entropy: Box::new(move || {
                let mut bytes = [0; 10];
                bytes[2..].copy_from_slice(&counter.fetch_add(1, Ordering::Relaxed).to_be_bytes());
                bytes
            }),
            dry: false,
        });
        bus.serve(&runs);
        let input = test.input.clone().unwrap_or_else(|| match kind {
            "schedule" => Value::map([
                ("schedule", Value::from(test.run.as_str())),
                ("nominal", Value::from(test.now.to_string())),
            ]),
            _ => Value::Map(std::collections::BTreeMap::new()),
        });
        let directory = subject.homelab.directory.to_string_lossy().into_owned();
        let started = started(kind, &test.run, &policy, input, directory, "test".to_owned());
        let run = runs.new_id();
        let new = NewRun { id: run, started, bundle: Arc::clone(subject.bundle) };
        runs.start(new).map_err(|error| error.to_string())?;
        let events = test.events.iter().cloned().collect();
        Ok(Self { test, runs, spawner, clock, mocks, ears, run, events })
    }

    /// Goes on until the run has ended, or nothing is left that could wake it.
    pub(super) fn finish(mut self) -> Result<Outcome, RunError> {
        for (name, payload) in &self.test.signals {
            self.runs.signal(self.run, name, payload.clone())?;
        }
        for _ in 0..WAKES_MAX {
            while self.spawner.run(0) {}
            if self.runs.row(self.run)?.status.ended() || !self.wake()? {
                return self.outcome(None);
            }
        }
        self.outcome(Some(format!("it was woken {WAKES_MAX} times, and goes on")))
    }

    /// Gives a run what it waits for; `false` when the test has nothing for it.
    fn wake(&mut self) -> Result<bool, RunError> {
        if let Some(yes) = self.test.approve {
            let waits = self.runs.journal().waits(Some("approval"), None, WAITS_MAX)?;
            for wait in &waits {
                self.runs.approve(wait.run, Some(&wait.position), yes, "the test")?;
            }
            if !waits.is_empty() {
                return Ok(true);
            }
        }
        if !self.runs.journal().waits(Some("event"), None, 1)?.is_empty()
            && let Some((name, payload)) = self.events.pop_front()
        {
            self.runs.emit(&name, payload, "test")?;
            return Ok(true);
        }
        let Some(due) = self.runs.next_due()? else { return Ok(false) };
        self.clock.reach(due);
        Ok(self.runs.fire_due()? > 0)
    }

    fn outcome(&self, problem: Option<String>) -> Result<Outcome, RunError> {
        let journal = self.runs.journal();
        let row = self.runs.row(self.run)?;
        let entries = journal.entries(self.run, 0, usize::MAX)?;
        let end = entries.iter().rev().find_map(|entry| match &entry.kind {
            EntryKind::Ended { end, .. } => Some(end.clone()),
            _ => None,
        });
        let (output, error) = match &end {
            Some(RunEnd::Succeeded(value)) => (value.clone(), Value::Unit),
            Some(RunEnd::Failed(error)) => (Value::Unit, error.to_value()),
            _ => (Value::Unit, Value::Unit),
        };
        let seen = self.mocks.seen();
        let mut called: Vec<String> =
            seen.calls.iter().take(CALLS_SHOWN).map(super::mocks::Call::text).collect();
        if seen.calls.len() > CALLS_SHOWN {
            called.push("…".to_owned());
        }
        let told = format!(
            "the run {}{}, after {}",
            status_text(row.status),
            match &end {
                Some(RunEnd::Failed(error)) => format!(" with `{}`", error.message),
                _ => String::new(),
            },
            if called.is_empty() { "no call".to_owned() } else { called.join(", ") }
        );
        let missing = seen.missing.first().map(|operation| {
            format!(
                "`{operation}` was called and has no mock: give one with mocks: #{{ \"{operation}\": … }}"
            )
        });
        let fields = [
            ("status", Value::from(row.status.as_str())),
            ("output", output),
            ("error", error),
            ("calls", Value::Array(seen.calls.iter().map(super::mocks::Call::value).collect())),
            ("log", Value::Array(self.ears.log.lock().unwrap_or_else(PoisonError::into_inner).clone())),
            ("events", self.events_of_scripts()?),
            ("now", Value::from(self.clock.now().to_string())),
        ];
        Ok(Outcome { seen: Value::map(fields), told, problem: missing.or(problem) })
    }

    /// What the runs put on the bus; what hob itself tells of runs is not among it.
    fn events_of_scripts(&self) -> Result<Value, RunError> {
        let events = self.runs.journal().events(0, usize::MAX)?;
        let own =
            events.into_iter().filter(|event| event.origin != "test" && !event.name.starts_with("run."));
        let one = |event: hob_journal::EventRow| {
            Value::map([("name", Value::from(event.name)), ("payload", event.payload)])
        };
        Ok(Value::Array(own.map(one).collect()))
    }
}

fn status_text(status: RunStatus) -> String {
    if status.ended() { status.as_str().to_owned() } else { format!("is {}", status.as_str()) }
}

/// The kind of what the test runs, and what that may do.
fn target_of(test: &Test, subject: &Subject<'_>) -> Result<(&'static str, RunPolicy), String> {
    let homelab = subject.homelab;
    if let Some(found) = homelab.workflows.iter().find(|it| it.name == test.run) {
        return Ok(("workflow", found.policy.clone()));
    }
    if let Some(found) = homelab.schedules.iter().find(|it| *it.schedule.name == *test.run) {
        return Ok(("schedule", RunPolicy::clone(&found.policy)));
    }
    let workflows = homelab.workflows.iter().map(|it| it.name.as_str());
    let names = workflows.chain(homelab.schedules.iter().map(|it| &*it.schedule.name));
    let near = hob_model::names::nearest(&test.run, names);
    let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    Err(format!("the homelab has no workflow or schedule `{}`{near}", test.run))
}
