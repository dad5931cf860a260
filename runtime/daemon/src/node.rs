//! A node: the process that holds a state directory, with everything that runs need.

use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use hob_journal::Journal;
use hob_model::{Diagnostic, RunEnd, RunId, RunStatus};
use hob_primitive::{Channels, EventBus, Ports, Progress, Registry, Services};
use hob_runs::{Listener, Parts, Recovered, RunError, Runs, ScriptThreads};
use hob_supervisor::graphics::Leases;

use crate::bus::JournalBus;
use crate::clock::{SystemClock, entropy};
use crate::keeper::KeptServices;
use crate::notices::channels::KeptChannels;
use crate::performer::{AsyncCore, LivePerformer};
use crate::timers::{TimerBell, Timers};

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It acts.
    Act,
    /// It observes and tells what it would do, over a journal that is forgotten.
    Rehearse,
    /// It only replays: the journal is somebody else's, and nothing is written.
    Look,
}

/// What a node is made of.
pub struct NodeParts {
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// The operations.
    pub registry: Arc<Registry>,
    /// The live adapters.
    pub ports: Ports,
    /// The async core.
    pub core: AsyncCore,
    /// Who hears what happens to runs.
    pub listeners: Vec<Arc<dyn Listener>>,
    /// What it is for.
    pub purpose: Purpose,
}

/// The process that holds a state directory, with everything that runs need.
pub struct Node {
    /// All runs.
    pub runs: Runs,
    /// The async core.
    pub core: AsyncCore,
    /// The services that runs see.
    pub services: Arc<KeptServices>,
    /// The channels that runs see.
    pub channels: Arc<KeptChannels>,
    settled: Arc<Settled>,
    bell: TimerBell,
    // Dropped before the runs they wake.
    _timers: Option<Timers>,
}

impl Node {
    /// A node over `journal`, with the live adapters in `ports`. No clock wakes a run before [`Node::recover`].
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(parts: NodeParts) -> std::io::Result<Self> {
        let bell = TimerBell::default();
        let settled = Arc::new(Settled::default());
        let mut all = parts.listeners;
        all.push(Arc::clone(&settled) as Arc<dyn Listener>);
        let bus = Arc::new(JournalBus::default());
        let mut ports = parts.ports;
        ports.insert::<dyn EventBus>(Arc::clone(&bus) as Arc<dyn EventBus>);
        let services = Arc::new(KeptServices::default());
        ports.insert::<dyn Services>(Arc::clone(&services) as Arc<dyn Services>);
        ports.insert::<dyn Leases>(Arc::clone(&services) as Arc<dyn Leases>);
        let channels = Arc::new(KeptChannels::default());
        ports.insert::<dyn Channels>(Arc::clone(&channels) as Arc<dyn Channels>);
        let runs = Runs::new(Parts {
            journal: parts.journal,
            registry: parts.registry,
            ports: Arc::new(ports),
            clock: Arc::new(SystemClock),
            performer: Arc::new(LivePerformer::new(parts.core.clone())),
            spawner: Arc::new(ScriptThreads::default()),
            listener: Arc::new(Chorus { all, bell: bell.clone() }),
            turns: None,
            entropy: Box::new(entropy),
            dry: parts.purpose == Purpose::Rehearse,
        });
        bus.serve(&runs);
        let timers = match parts.purpose {
            Purpose::Look => None,
            Purpose::Act | Purpose::Rehearse => Some(Timers::start(runs.clone(), bell.clone())?),
        };
        Ok(Self { runs, core: parts.core, services, channels, settled, bell, _timers: timers })
    }

    /// Takes over what the previous process left, as [`Runs::recover`], and has clocks wake runs from then on: one
    /// that was woken before would be evaluated while it is still told what has become of it.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub fn recover(&self, take_over: bool) -> Result<Recovered, RunError> {
        let recovered = self.runs.recover(take_over)?;
        self.bell.begin();
        Ok(recovered)
    }

    /// Blocks as long as the run goes on by itself; its status then.
    ///
    /// # Errors
    /// When the journal cannot be read, or has stopped the run: the problem that the run met.
    pub fn follow(&self, run: RunId) -> Result<RunStatus, Diagnostic> {
        let mut seen = self.settled.count();
        loop {
            let standing = self.runs.standing(run).map_err(|error| error.diagnostic())?;
            if !standing.goes_on {
                return Ok(standing.row.status);
            }
            if let Some(problem) = self.settled.stopped(run) {
                return Err(problem);
            }
            seen = self.settled.wait(seen);
        }
    }

    /// Lets what is under way come to its next effect, for at most `grace`.
    #[allow(clippy::disallowed_methods)] // a grace period is measured in real time
    pub fn close(&self, grace: Duration) {
        self.runs.close();
        let begun = Instant::now();
        while self.runs.active() > 0 && begun.elapsed() < grace {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.runs.journal().flush();
    }
}

/// Counts changes, so that a thread can wait for the next one.
#[derive(Default)]
struct Settled {
    changes: Mutex<u64>,
    changed: Condvar,
    stopped: Mutex<Vec<(RunId, Diagnostic)>>,
}

/// How long a follower sleeps at most: a change that was heard before it began to listen is seen by then.
const FOLLOW_AGAIN: Duration = Duration::from_millis(500);

impl Settled {
    fn count(&self) -> u64 {
        self.changes.lock().map_or(0, |count| *count)
    }

    fn wait(&self, seen: u64) -> u64 {
        let Ok(count) = self.changes.lock() else { return seen };
        if *count != seen {
            return *count;
        }
        self.changed.wait_timeout(count, FOLLOW_AGAIN).map_or(seen, |(count, _)| *count)
    }

    fn stopped(&self, run: RunId) -> Option<Diagnostic> {
        let stopped = self.stopped.lock().ok()?;
        stopped.iter().find(|(stopped, _)| *stopped == run).map(|(_, problem)| problem.clone())
    }
}

impl Listener for Settled {
    fn changed(&self, _: RunId, _: RunStatus, _: Option<&RunEnd>) {
        if let Ok(mut count) = self.changes.lock() {
            *count += 1;
        }
        self.changed.notify_all();
    }

    fn failed(&self, run: RunId, diagnostic: &Diagnostic) {
        use hob_model::Code::{DiskFull, JournalCorrupt, JournalStopped};
        if matches!(diagnostic.code, DiskFull | JournalCorrupt | JournalStopped)
            && let Ok(mut stopped) = self.stopped.lock()
        {
            stopped.push((run, diagnostic.clone()));
        }
    }
}

/// Hands each word to all listeners.
struct Chorus {
    all: Vec<Arc<dyn Listener>>,
    bell: TimerBell,
}

impl Listener for Chorus {
    fn changed(&self, run: RunId, status: RunStatus, end: Option<&RunEnd>) {
        self.all.iter().for_each(|listener| listener.changed(run, status, end));
    }
    fn failed(&self, run: RunId, diagnostic: &Diagnostic) {
        self.all.iter().for_each(|listener| listener.failed(run, diagnostic));
    }
    fn timer(&self) {
        self.bell.ring();
        self.all.iter().for_each(|listener| listener.timer());
    }
    fn emitted(&self) {
        self.all.iter().for_each(|listener| listener.emitted());
    }
    fn log(&self, run: RunId, level: &str, message: &str) {
        self.all.iter().for_each(|listener| listener.log(run, level, message));
    }
    fn progress(&self, run: RunId, operation: &str, progress: Progress) {
        self.all.iter().for_each(|listener| listener.progress(run, operation, progress.clone()));
    }
    fn dry(&self, run: RunId, text: &str, modelled: bool) {
        self.all.iter().for_each(|listener| listener.dry(run, text, modelled));
    }
}

/// A listener that is set after the thing it listens to was made.
#[derive(Default)]
pub struct LateListener(OnceLock<Arc<dyn Listener>>);

impl LateListener {
    /// Sets it; the first one stays.
    pub fn set(&self, listener: Arc<dyn Listener>) {
        let _ = self.0.set(listener);
    }
}

impl Listener for LateListener {
    fn changed(&self, run: RunId, status: RunStatus, end: Option<&RunEnd>) {
        if let Some(listener) = self.0.get() {
            listener.changed(run, status, end);
        }
    }
    fn emitted(&self) {
        if let Some(listener) = self.0.get() {
            listener.emitted();
        }
    }
}
