//! The real engine, runs and journal in this process, as `hob up` puts them together.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use hob_daemon::clock::{SystemClock, entropy};
use hob_daemon::performer::{AsyncCore, LivePerformer};
use hob_daemon::schedules::ScheduleBell;
use hob_daemon::timers::{TimerBell, Timers};
use hob_engine::Bundle;
use hob_journal::{Journal, JournalError, SqliteJournal};
use hob_model::{RunEnd, RunEntry, RunId, RunStarted, RunStatus, Timestamp, Value};
use hob_primitive::{Clock, Registry};
use hob_runs::{Listener, NewRun, Parts, Runs, ScriptThreads};

/// The workflows that are measured.
const HOMELAB: &str = r#"
homelab(#{ name: "bench" });
workflow("noop", #{ on: manual() }, |n| { for i in 0..n { step(`s${i}`, || i); } n });
workflow("act", #{ on: manual() }, |n| { for i in 0..n { bench::act(i); } n });
workflow("post", #{ on: manual() }, |a| { for i in 0..a.n { http::post(a.url); } a.n });
workflow("sleeper", #{ on: manual() }, |at| { sleep_until(at); });
workflow("long", #{ on: manual() }, |n| { for i in 0..n { bench::look(i); } wait_signal("go"); n });
"#;

/// Operations that cost nothing, so that what is measured is hob.
#[hob_primitive::primitive(name = "bench")]
mod ops {
    use super::Acts;
    use hob_model::OpError;
    use hob_primitive::Ctx;

    /// Looks at nothing.
    ///
    /// ```rhai
    /// bench::look(1) == 1
    /// ```
    #[operation(observe)]
    fn look(_cx: &Ctx, n: i64) -> Result<i64, OpError> {
        Ok(n)
    }

    /// Tells how late it is done.
    ///
    /// Class `once`: it stands for an effect that nobody can ask about.
    ///
    /// ```rhai
    /// bench::fire(time::now())
    /// ```
    #[operation(once)]
    fn fire(cx: &Ctx, nominal: String) -> Result<(), OpError> {
        cx.port::<super::Fires>()?.tell(&nominal);
        Ok(())
    }

    /// Counts that it was done.
    ///
    /// Class `once`: it stands for an effect that nobody can ask about.
    ///
    /// ```rhai
    /// bench::act(1) == 1
    /// ```
    #[operation(once)]
    fn act(cx: &Ctx, n: i64) -> Result<i64, OpError> {
        cx.port::<Acts>()?.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(n)
    }
}

/// How often `bench::act` was carried out.
#[derive(Default)]
pub(crate) struct Acts(pub(crate) AtomicU64);

/// How late `bench::fire` was carried out each time.
#[derive(Default)]
pub(crate) struct Fires(Mutex<Option<mpsc::Sender<Duration>>>);

impl Fires {
    /// Hears of each from now on.
    pub(crate) fn all(&self) -> mpsc::Receiver<Duration> {
        let (sender, receiver) = mpsc::channel();
        *self.0.lock().unwrap() = Some(sender);
        receiver
    }

    fn tell(&self, nominal: &str) {
        let nominal: Timestamp = nominal.parse().expect("the scheduler hands over the nominal time");
        let late = SystemClock.now().duration_since(nominal).unsigned_abs();
        if let Some(all) = &*self.0.lock().unwrap() {
            // Who heard enough has gone.
            let _ = all.send(late);
        }
    }
}

/// The system's clock and an offset: sleepers are woken without waiting for hours.
#[derive(Default)]
pub(crate) struct ShiftedClock(AtomicI64);

impl ShiftedClock {
    /// Makes it `now`.
    pub(crate) fn set(&self, now: Timestamp) {
        self.0.store(now.as_microsecond() - SystemClock.now().as_microsecond(), Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        let micros = SystemClock.now().as_microsecond() + self.0.load(Ordering::SeqCst);
        Timestamp::from_microsecond(micros).expect("it is shifted by hours, not by ages")
    }
}

/// Where a run came to rest, and when that was heard.
pub(crate) struct Rest {
    pub(crate) run: RunId,
    pub(crate) at: Instant,
    pub(crate) succeeded: bool,
}

/// Tells those who wait for a run that it came to rest.
#[derive(Default)]
pub(crate) struct Ears {
    one: Mutex<HashMap<RunId, mpsc::Sender<Rest>>>,
    all: Mutex<Option<mpsc::Sender<Rest>>>,
    begun: Mutex<Option<mpsc::Sender<Timestamp>>>,
    pub(crate) schedules: Arc<ScheduleBell>,
    bell: TimerBell,
}

impl Ears {
    /// Hears of every run from now on.
    pub(crate) fn all(&self) -> mpsc::Receiver<Rest> {
        let (sender, receiver) = mpsc::channel();
        *self.all.lock().unwrap() = Some(sender);
        receiver
    }

    /// Hears when each run is recorded from now on: a slot's is claimed, durably, by then.
    pub(crate) fn begun(&self) -> mpsc::Receiver<Timestamp> {
        let (sender, receiver) = mpsc::channel();
        *self.begun.lock().unwrap() = Some(sender);
        receiver
    }
}

impl Listener for Ears {
    fn changed(&self, run: RunId, status: RunStatus, end: Option<&RunEnd>) {
        if let (RunStatus::Queued, Some(begun)) = (status, &*self.begun.lock().unwrap()) {
            let _ = begun.send(SystemClock.now());
        }
        if matches!(status, RunStatus::Queued | RunStatus::Running) {
            return;
        }
        if status.ended() {
            self.schedules.run_ended();
        }
        let rest = Rest { run, at: Instant::now(), succeeded: matches!(end, Some(RunEnd::Succeeded(_))) };
        let one = self.one.lock().unwrap().remove(&run);
        if let Some(one) = one {
            one.send(rest).unwrap();
        } else if let Some(all) = &*self.all.lock().unwrap() {
            // Who heard enough has gone.
            let _ = all.send(rest);
        }
    }

    fn failed(&self, _: RunId, problem: &hob_model::Diagnostic) {
        panic!("a run of the benchmark failed: {problem}");
    }

    fn timer(&self) {
        self.bell.ring();
    }
}

/// How long the process that held a state directory before may take to let it go.
const RELEASED_WITHIN: Duration = Duration::from_secs(10);

fn open(state: &Path) -> Arc<dyn Journal> {
    let begun = Instant::now();
    loop {
        match SqliteJournal::open(state) {
            // The last script thread of an earlier lab may be about to end.
            Err(JournalError::Locked { .. }) if begun.elapsed() < RELEASED_WITHIN => std::thread::yield_now(),
            opened => return Arc::new(opened.unwrap()),
        }
    }
}

/// The real engine, runs and journal in this process.
pub(crate) struct Lab {
    pub(crate) runs: Runs,
    pub(crate) ears: Arc<Ears>,
    pub(crate) acts: Arc<Acts>,
    pub(crate) clock: Arc<ShiftedClock>,
    pub(crate) fires: Arc<Fires>,
    pub(crate) bundle: Arc<Bundle>,
    _timers: Timers,
}

impl Lab {
    /// Over the journal in `state`.
    pub(crate) fn open(state: &Path) -> Self {
        Self::of(state, HOMELAB)
    }

    /// The same with the homelab `text`.
    pub(crate) fn of(state: &Path, text: &str) -> Self {
        let mut primitives = hob_stdlib::primitives();
        primitives.push(ops::primitive());
        let registry = Arc::new(Registry::new(primitives).unwrap());
        let mut ports = hob_stdlib::live_ports();
        let (acts, ears, clock) =
            (Arc::<Acts>::default(), Arc::<Ears>::default(), Arc::<ShiftedClock>::default());
        let fires = Arc::<Fires>::default();
        ports.insert(Arc::clone(&acts));
        ports.insert(Arc::clone(&fires));
        let runs = Runs::new(Parts {
            journal: open(state),
            registry: Arc::clone(&registry),
            ports: Arc::new(ports),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            performer: Arc::new(LivePerformer::new(AsyncCore::default())),
            spawner: Arc::new(ScriptThreads::default()),
            listener: Arc::clone(&ears) as Arc<dyn Listener>,
            turns: None,
            entropy: Box::new(entropy),
            dry: false,
        });
        let timers = Timers::start(runs.clone(), ears.bell.clone()).unwrap();
        ears.bell.begin();
        let bundle = Bundle::of_text("homelab.rhai", text, "/bench", "bench");
        Self { runs, ears, acts, clock, fires, bundle: Arc::new(bundle), _timers: timers }
    }

    /// Looks at the clock again: it was set.
    pub(crate) fn clock_was_set(&self) {
        self.ears.bell.ring();
    }

    /// A run of one of the workflows.
    pub(crate) fn new_run(&self, workflow: &str, input: Value) -> NewRun {
        let started = RunStarted {
            input,
            trigger: "bench".to_owned(),
            ..RunStarted::trusted(
                workflow,
                RunEntry::Declared { kind: "workflow".to_owned(), name: workflow.to_owned() },
            )
        };
        NewRun { id: self.runs.new_id(), started, bundle: Arc::clone(&self.bundle) }
    }

    /// Starts a run and waits until it comes to rest.
    pub(crate) fn run(&self, workflow: &str, input: Value) -> Rest {
        let new = self.new_run(workflow, input);
        let rest = self.expect(new.id);
        self.runs.start(new).unwrap();
        rest.recv().unwrap()
    }

    /// Hears when `run` comes to rest the next time.
    pub(crate) fn expect(&self, run: RunId) -> mpsc::Receiver<Rest> {
        let (sender, receiver) = mpsc::channel();
        self.ears.one.lock().unwrap().insert(run, sender);
        receiver
    }
}
