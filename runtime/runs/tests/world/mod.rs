//! A small world for tests of runs: a journal in memory, a clock moved by hand, and operations that count.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test binary uses a part of it

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hob_engine::{Bundle, InlinePerformer};
use hob_journal::{Journal, MemoryJournal};
use hob_model::{
    Diagnostic, OnDoubt, Position, RunEnd, RunEntry, RunId, RunStarted, RunStatus, Timestamp, Value,
};
use hob_primitive::{Clock, Ports, Registry};
use hob_runs::{InlineSpawner, Listener, NewRun, Parts, Runs};

/// A clock that stands still until it is moved.
pub struct HandClock(AtomicI64);

impl Default for HandClock {
    fn default() -> Self {
        Self(AtomicI64::new(1_800_000_000_000_000))
    }
}

impl HandClock {
    pub fn advance(&self, text: &str) {
        let by = hob_model::duration::parse(text).unwrap();
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// What the operations of the test primitive did.
#[derive(Default)]
pub struct Ledger {
    pub done: Mutex<Vec<String>>,
    pub by_key: Mutex<BTreeMap<String, String>>,
    pub fail_next: Mutex<Vec<hob_model::OpError>>,
}

impl Ledger {
    pub fn done(&self) -> Vec<String> {
        self.done.lock().unwrap().clone()
    }
    fn act(&self, what: &str) -> Result<(), hob_model::OpError> {
        if let Some(error) = self.fail_next.lock().unwrap().pop() {
            return Err(error);
        }
        self.done.lock().unwrap().push(what.to_owned());
        Ok(())
    }
}

/// The test primitive.
#[hob_primitive::primitive(name = "world")]
pub mod ops {
    use super::Ledger;
    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Probe};

    type Result<T> = std::result::Result<T, OpError>;

    /// Looks.
    ///
    /// ```rhai
    /// world::look("x")
    /// ```
    #[operation(observe)]
    fn look(cx: &Ctx, what: String) -> Result<String> {
        cx.port::<Ledger>()?.act(&format!("look {what}"))?;
        Ok(format!("saw {what}"))
    }

    /// Ensures.
    ///
    /// ```rhai
    /// world::make("x")
    /// ```
    #[operation(ensure)]
    fn make(cx: &Ctx, what: String) -> Result<String> {
        cx.port::<Ledger>()?.act(&format!("make {what}"))?;
        Ok(what)
    }

    /// Acts once per key.
    ///
    /// ```rhai
    /// world::put("x")
    /// ```
    #[operation(keyed, probe = probe_put)]
    fn put(cx: &Ctx, what: String) -> Result<String> {
        let ledger = cx.port::<Ledger>()?;
        ledger.act(&format!("put {what}"))?;
        ledger.by_key.lock().unwrap().insert(cx.key().to_owned(), what.clone());
        Ok(what)
    }

    fn probe_put(cx: &Ctx, _: Args) -> Result<Probe> {
        let found = cx.port::<Ledger>()?.by_key.lock().unwrap().get(cx.key()).cloned();
        Ok(found.map_or(Probe::NotDone, |what| Probe::Done(Value::from(what))))
    }

    /// Acts.
    ///
    /// ```rhai
    /// world::fire("x")
    /// ```
    #[operation(once)]
    fn fire(cx: &Ctx, what: String) -> Result<String> {
        cx.port::<Ledger>()?.act(&format!("fire {what}"))?;
        Ok(what)
    }

    /// Fails.
    ///
    /// ```rhai
    /// try { world::fail("x") } catch (e) { e.kind == "failed" }
    /// ```
    #[operation(observe)]
    fn fail(cx: &Ctx, what: String) -> Result<()> {
        cx.port::<Ledger>()?.act(&format!("fail {what}"))?;
        Err(OpError::failed(what))
    }
}

/// What the listener heard.
#[derive(Default)]
pub struct Heard {
    pub failures: Mutex<Vec<Diagnostic>>,
    pub logs: Mutex<Vec<String>>,
}

impl Listener for Heard {
    fn failed(&self, _: RunId, diagnostic: &Diagnostic) {
        self.failures.lock().unwrap().push(diagnostic.clone());
    }
    fn log(&self, _: RunId, level: &str, message: &str) {
        self.logs.lock().unwrap().push(format!("{level} {message}"));
    }
}

/// The world.
pub struct World {
    pub runs: Runs,
    pub journal: Arc<MemoryJournal>,
    pub clock: Arc<HandClock>,
    pub ledger: Arc<Ledger>,
    pub spawner: InlineSpawner,
    pub heard: Arc<Heard>,
    ids: Arc<AtomicU64>,
}

impl Default for World {
    fn default() -> Self {
        Self::over(Arc::new(MemoryJournal::default()), Arc::default(), Arc::default(), Arc::default())
    }
}

impl World {
    fn over(
        journal: Arc<MemoryJournal>,
        clock: Arc<HandClock>,
        ledger: Arc<Ledger>,
        ids: Arc<AtomicU64>,
    ) -> Self {
        let spawner = InlineSpawner::default();
        let heard = Arc::new(Heard::default());
        let mut ports = Ports::default();
        ports.insert::<Ledger>(Arc::clone(&ledger));
        let counter = Arc::clone(&ids);
        let runs = Runs::new(Parts {
            journal: Arc::clone(&journal) as Arc<dyn Journal>,
            registry: Arc::new(Registry::new(vec![ops::primitive()]).unwrap()),
            ports: Arc::new(ports),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            performer: Arc::new(InlinePerformer),
            spawner: Arc::new(spawner.clone()),
            listener: Arc::clone(&heard) as Arc<dyn Listener>,
            turns: None,
            entropy: Box::new(move || {
                let mut bytes = [0; 10];
                bytes[2..].copy_from_slice(&counter.fetch_add(1, Ordering::SeqCst).to_be_bytes());
                bytes
            }),
            dry: false,
        });
        Self { runs, journal, clock, ledger, spawner, heard, ids }
    }

    /// The process dies; of what was not waited for, `keep` commits reached the disk. A new one takes over.
    pub fn crash(&self, keep: usize) -> Self {
        self.crash_into(self.journal.crash(keep))
    }

    /// As [`World::crash`], with the journal that the new process finds.
    pub fn crash_into(&self, journal: MemoryJournal) -> Self {
        self.spawner.clear();
        let journal = Arc::new(journal);
        let world =
            Self::over(journal, Arc::clone(&self.clock), Arc::clone(&self.ledger), Arc::clone(&self.ids));
        world.runs.recover(true).unwrap();
        world.settle();
        world
    }

    /// Starts `script` as a playbook.
    pub fn start(&self, script: &str) -> RunId {
        self.start_with(script, Value::Map(BTreeMap::new()), OnDoubt::Ask)
    }

    pub fn start_with(&self, script: &str, input: Value, on_doubt: OnDoubt) -> RunId {
        self.start_entry(script, RunEntry::Playbook("test.rhai".into()), input, on_doubt)
    }

    /// Starts a workflow of the homelab `script` and goes on until nothing is left to do for now.
    pub fn run_workflow(&self, script: &str, name: &str) -> RunId {
        let run = self.start_workflow(script, name);
        self.settle();
        run
    }

    pub fn start_workflow(&self, script: &str, name: &str) -> RunId {
        let entry = RunEntry::Declared { kind: "workflow".into(), name: name.into() };
        self.start_entry(script, entry, Value::Unit, OnDoubt::Ask)
    }

    fn start_entry(&self, script: &str, entry: RunEntry, input: Value, on_doubt: OnDoubt) -> RunId {
        let bundle = Arc::new(Bundle::of_text("test.rhai", script, "/", "host"));
        let started = started(entry, input, on_doubt);
        let id = self.runs.new_id();
        self.runs.start(NewRun { id, started, bundle }).unwrap();
        id
    }

    /// Starts `script` and goes on until nothing is left to do for now.
    pub fn run(&self, script: &str) -> RunId {
        let run = self.start(script);
        self.settle();
        run
    }

    /// Goes on until nothing is left to do for now.
    pub fn settle(&self) {
        while self.spawner.run(0) {}
    }

    /// Moves the clock and wakes what is due.
    pub fn pass_time(&self, text: &str) {
        self.clock.advance(text);
        self.runs.fire_due().unwrap();
        self.settle();
    }

    pub fn status(&self, run: RunId) -> RunStatus {
        self.runs.row(run).unwrap().status
    }

    /// The value that a run ended with.
    pub fn value(&self, run: RunId) -> Value {
        match self.runs.row(run).unwrap().end {
            Some(RunEnd::Succeeded(value)) => value,
            other => panic!("{other:?}, {:?}", self.heard.failures.lock().unwrap()),
        }
    }

    pub fn error(&self, run: RunId) -> hob_model::OpError {
        match self.runs.row(run).unwrap().end {
            Some(RunEnd::Failed(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    /// The entries of a run, one word and position each.
    pub fn shape(&self, run: RunId) -> Vec<String> {
        let entries = self.journal.entries(run, 0, usize::MAX).unwrap();
        let word = |kind: &hob_model::EntryKind| {
            let text = format!("{kind:?}");
            text.split([' ', '(']).next().unwrap_or_default().to_owned()
        };
        let at = |kind: &hob_model::EntryKind| kind.position().map_or(String::new(), |p| format!(" {p}"));
        entries.iter().map(|entry| format!("{}{}", word(&entry.kind), at(&entry.kind))).collect()
    }
}

pub fn at(text: &str) -> Position {
    Position::parse(text).unwrap()
}

/// How runs of these tests start.
pub fn started(entry: RunEntry, input: Value, on_doubt: OnDoubt) -> RunStarted {
    RunStarted { input, on_doubt, trigger: "test".into(), ..RunStarted::trusted("test", entry) }
}
