//! Runs on real threads: what comes from outside while a pass begins is neither lost nor recorded twice.

#![allow(clippy::unwrap_used)] // tests

mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use hob_engine::{Bundle, InlinePerformer};
use hob_journal::MemoryJournal;
use hob_model::{RunEnd, RunEntry, RunId, RunStarted, RunStatus, Value};
use hob_primitive::{Ports, Registry};
use hob_runs::{Listener, NewRun, Parts, Runs, ScriptThreads};
use world::HandClock;

/// How many runs are tried: a pass and a signal meet in some of them.
const ROUNDS: u64 = 300;
const SIGNALS: [&str; 4] = ["a", "b", "c", "d"];

/// Tells of each run that came to rest, and of what went wrong.
struct Ears(mpsc::Sender<(RunStatus, Option<RunEnd>)>);

impl Listener for Ears {
    fn changed(&self, _: RunId, status: RunStatus, end: Option<&RunEnd>) {
        if !matches!(status, RunStatus::Queued | RunStatus::Running) {
            self.0.send((status, end.cloned())).unwrap();
        }
    }
    fn failed(&self, _: RunId, problem: &hob_model::Diagnostic) {
        panic!("{problem}");
    }
}

fn runs() -> (Runs, mpsc::Receiver<(RunStatus, Option<RunEnd>)>) {
    let (sender, rests) = mpsc::channel();
    let ids = AtomicU64::new(0);
    let runs = Runs::new(Parts {
        journal: Arc::new(MemoryJournal::default()),
        registry: Arc::new(Registry::new(vec![]).unwrap()),
        ports: Arc::new(Ports::default()),
        clock: Arc::new(HandClock::default()),
        performer: Arc::new(InlinePerformer),
        spawner: Arc::new(ScriptThreads::default()),
        listener: Arc::new(Ears(sender)),
        turns: None,
        entropy: Box::new(move || {
            let mut bytes = [0; 10];
            bytes[2..].copy_from_slice(&ids.fetch_add(1, Ordering::SeqCst).to_be_bytes());
            bytes
        }),
        dry: false,
    });
    (runs, rests)
}

fn start(runs: &Runs, script: &str) -> RunId {
    let bundle = Arc::new(Bundle::of_text("test.rhai", script, "/", "host"));
    let started = RunStarted {
        input: Value::Map(BTreeMap::new()),
        trigger: "test".into(),
        ..RunStarted::trusted("test", RunEntry::Playbook("test.rhai".into()))
    };
    let id = runs.new_id();
    runs.start(NewRun { id, started, bundle }).unwrap();
    id
}

#[test]
fn signals_from_all_sides_reach_a_run_that_just_wakes() {
    let (runs, rests) = runs();
    let waits: Vec<String> = SIGNALS.iter().map(|name| format!("|| wait_signal(\"{name}\")")).collect();
    let script = format!("parallel([{}]).len()", waits.join(", "));
    for round in 0..ROUNDS {
        let run = start(&runs, &script);
        // In half of the rounds the signals meet the first pass, else the passes that they cause themselves.
        if round % 2 == 0 {
            assert_eq!(rests.recv().unwrap().0, RunStatus::Waiting);
        }
        std::thread::scope(|scope| {
            for name in SIGNALS {
                let runs = &runs;
                scope.spawn(move || runs.signal(run, name, Value::Unit).unwrap());
            }
        });
        let end = rests.iter().find_map(|(_, end)| end);
        assert_eq!(end, Some(RunEnd::Succeeded(Value::Int(4))), "round {round}");
    }
}

#[test]
fn a_cancel_reaches_a_run_that_was_just_started() {
    let (runs, rests) = runs();
    for round in 0..ROUNDS {
        let run = start(&runs, "sleep(\"1h\")");
        runs.cancel(run, "test").unwrap();
        let end = rests.iter().find_map(|(_, end)| end);
        assert_eq!(end, Some(RunEnd::Cancelled), "round {round}");
    }
}
