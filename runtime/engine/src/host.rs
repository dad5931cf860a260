//! What the engine needs from the process it runs in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hob_journal::Journal;
use hob_model::{OpError, Position, RunId, RunStarted, Value, Wait};
use hob_primitive::{Args, Clock, Ctx, Look, Operation, Ports, Probe, Progress, Registry};

/// Carries out one effect and blocks until its reply.
///
/// The live performer runs blocking operations on the calling thread and hands asynchronous ones to the async core;
/// the simulator releases one reply at a time, in seeded order.
pub trait Performer: Send + Sync {
    /// Carries out `operation`, no longer than [`Ctx::timeout`] and [`Ctx::cancel`] allow.
    ///
    /// # Errors
    /// Whatever the operation failed with.
    fn perform(&self, operation: &Arc<Operation>, ctx: &Ctx, args: Args) -> Result<Value, OpError>;

    /// Takes the note of an intent, within the limits of `ctx`.
    ///
    /// # Errors
    /// Whatever the look failed with.
    fn note(&self, intent: Look<Value>, ctx: &Ctx, args: Args) -> Result<Value, OpError> {
        look_inline(intent, ctx, args)
    }

    /// Asks the world whether an effect happened, within the limits of `ctx`.
    ///
    /// # Errors
    /// Whatever the look failed with.
    fn probe(&self, probe: Look<Probe>, ctx: &Ctx, args: Args) -> Result<Probe, OpError> {
        look_inline(probe, ctx, args)
    }

    /// Waits before another attempt; `false` when `ctx` was cancelled meanwhile.
    fn pause(&self, ctx: &Ctx, duration: Duration) -> bool {
        !ctx.cancel().wait_timeout(duration)
    }
}

/// Hears what happens to a run while it is evaluated.
pub trait Observer: Send + Sync {
    /// A branch came to wait. It may be fulfilled already: a signal that came early, an event, a run that has ended.
    fn waiting(&self, _run: RunId, _position: &Position, _wait: &Wait) {}
    /// Something was put on the event bus.
    fn emitted(&self) {}
    /// How the workflow `name` starts, as a child of `parent`.
    ///
    /// # Errors
    /// When there is no such workflow.
    fn workflow(&self, _parent: &RunStarted, name: &str, _input: Value) -> Result<RunStarted, OpError> {
        Err(OpError::not_found(format!("there is no workflow `{name}`")))
    }
    /// A line of the log, the first time it is written.
    fn log(&self, _run: RunId, _level: &str, _message: &str) {}
    /// A long effect tells how far it is.
    fn progress(&self, _run: RunId, _operation: &str, _progress: Progress) {}
    /// A dry run tells what would have been done; `modelled` says whether the result is a model's.
    fn dry(&self, _run: RunId, _text: &str, _modelled: bool) {}
}

/// An observer that hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// Decides which of the threads that evaluate branches goes on. In production all do; the simulator lets exactly one
/// at a time go on, so that a seed decides the order.
pub trait Turns: Send + Sync {
    /// Whether threads must pass their turn instead of sleeping on a condition variable.
    fn cooperative(&self) -> bool {
        false
    }
    /// Registers a thread that is about to be spawned, and returns its number.
    fn register(&self) -> u64 {
        0
    }
    /// Blocks the new thread until it is its turn.
    fn begin(&self, _thread: u64) {}
    /// Lets another thread go on, and blocks until it is this thread's turn again.
    fn pass(&self) {}
    /// The thread ends.
    fn end(&self) {}
}

/// All threads go on.
#[derive(Clone, Copy, Debug, Default)]
pub struct FreeTurns;

impl Turns for FreeTurns {}

/// Threads beyond the caller's that branches may use at one time, of all runs together.
pub const BRANCH_THREADS_MAX: usize = 128;

/// What the engine needs from the process it runs in. One per process.
pub struct Host {
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// The operations.
    pub registry: Arc<Registry>,
    /// The adapters.
    pub ports: Arc<Ports>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Carries out effects.
    pub performer: Arc<dyn Performer>,
    /// Hears what happens.
    pub observer: Arc<dyn Observer>,
    /// Orders threads.
    pub turns: Arc<dyn Turns>,
    /// The modules of operations and controls that every engine shares.
    pub(crate) library: crate::library::Library,
    /// Threads that branches use now.
    pub(crate) branch_threads: std::sync::atomic::AtomicUsize,
}

impl Host {
    /// A host of these parts, with production's turns and no observer.
    #[must_use]
    pub fn new(
        journal: Arc<dyn Journal>,
        registry: Arc<Registry>,
        ports: Arc<Ports>,
        clock: Arc<dyn Clock>,
        performer: Arc<dyn Performer>,
    ) -> Self {
        let library = crate::library::Library::new(&registry);
        Self {
            journal,
            registry,
            ports,
            clock,
            performer,
            observer: Arc::new(NoObserver),
            turns: Arc::new(FreeTurns),
            library,
            branch_threads: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    /// This host with an observer.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// This host with turns.
    #[must_use]
    pub fn in_turns(mut self, turns: Arc<dyn Turns>) -> Self {
        self.turns = turns;
        self
    }
}

/// A performer for tests and for `hob check`: blocking operations run on the calling thread, asynchronous ones are
/// refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct InlinePerformer;

impl Performer for InlinePerformer {
    fn perform(&self, operation: &Arc<Operation>, ctx: &Ctx, args: Args) -> Result<Value, OpError> {
        match operation.handler {
            hob_primitive::Handler::Pure(f) => f(args),
            hob_primitive::Handler::Blocking(f) => f(ctx, args),
            hob_primitive::Handler::Async(_) => Err(needs_async_core()),
        }
    }
}

fn look_inline<T>(look: Look<T>, ctx: &Ctx, args: Args) -> Result<T, OpError> {
    match look {
        Look::Blocking(f) => f(ctx, args),
        Look::Async(_) => Err(needs_async_core()),
    }
}

fn needs_async_core() -> OpError {
    OpError::unavailable("asynchronous operations need the async core").retryable(false)
}

/// The absolute form of `cwd`, or the root when it is none.
pub(crate) fn cwd_of(cwd: &str) -> PathBuf {
    let path = PathBuf::from(cwd);
    if path.is_absolute() { path } else { PathBuf::from("/") }
}
