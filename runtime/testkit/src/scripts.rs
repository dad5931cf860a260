//! Evaluates scripts as the binary does: the real engine, whatever adapters, a journal in memory.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hob_engine::{Bundle, Evaluated, Host, Mode, Performer, Records, RunCx, SCRIPT_STACK_BYTES, evaluate};
use hob_journal::{Commit, Journal, MemoryJournal, Write};
use hob_model::{Entry, EntryKind, OpError, RunEntry, RunId, RunOwner, RunStarted, Value};
use hob_primitive::{Args, Ctx, Handler, Operation, Ports, Registry};

use crate::TestClock;
use crate::call::WORKER_THREADS;

/// Carries out operations as the binary does.
struct Core(tokio::runtime::Runtime);

impl Performer for Core {
    fn perform(&self, operation: &Arc<Operation>, cx: &Ctx, args: Args) -> Result<Value, OpError> {
        match operation.handler {
            Handler::Pure(handler) => handler(args),
            Handler::Blocking(handler) => handler(cx, args),
            Handler::Async(handler) => self.0.block_on(handler(cx.clone(), args)),
        }
    }
}

/// Evaluates scripts, each as a run of its own, once and from the top.
///
/// The thread that calls needs the stack that the binary gives to scripts: see [`on_script_stack`].
pub struct Scripts {
    host: Arc<Host>,
    runs: AtomicU64,
}

impl Scripts {
    /// With these operations and adapters.
    ///
    /// # Panics
    /// When the system gives no threads.
    #[must_use]
    pub fn new(registry: Registry, ports: Ports) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let core = builder.worker_threads(WORKER_THREADS).enable_all().build();
        let core = Core(core.expect("the system gives two threads and an event queue"));
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let clock = Arc::new(TestClock::default());
        let host = Host::new(journal, Arc::new(registry), Arc::new(ports), clock, Arc::new(core));
        Self { host: Arc::new(host), runs: AtomicU64::new(0) }
    }

    /// What they are evaluated with.
    #[must_use]
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// What the text `script` comes to as a playbook, in the working directory `cwd`. `name` stands in its errors.
    #[must_use]
    pub fn run(&self, name: &str, script: &str, cwd: &Path) -> Evaluated {
        let bundle = Arc::new(Bundle::of_text(name, script, "test", ""));
        let input = Value::Map(Default::default());
        self.evaluate(&bundle, RunEntry::Playbook(name.to_owned()), input, cwd, Mode::Live)
    }

    /// What an entry of a bundle comes to.
    #[must_use]
    pub fn evaluate(
        &self,
        bundle: &Arc<Bundle>,
        entry: RunEntry,
        input: Value,
        cwd: &Path,
        mode: Mode,
    ) -> Evaluated {
        let started = RunStarted {
            bundle: Some(bundle.digest()),
            input,
            owner: RunOwner::Foreground,
            cwd: cwd.display().to_string(),
            trigger: String::new(),
            ..RunStarted::trusted("script", entry)
        };
        let id = self.next_id();
        let entry = Entry { seq: 0, at: self.host.clock.now(), kind: EntryKind::Started(started) };
        let writes = bundle.writes().into_iter().chain([Write::Entry(id, entry.clone())]);
        self.host.journal.submit(Commit::from_iter(writes));
        let cx = RunCx::new(Arc::clone(&self.host), id, Some(Arc::clone(bundle)), Records::of([entry]), mode);
        evaluate(&cx)
    }

    fn next_id(&self) -> RunId {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&self.runs.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        RunId::new(self.host.clock.now(), random)
    }
}

/// Works on a thread with the stack that the binary gives to scripts.
///
/// # Panics
/// As `work` does.
pub fn on_script_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(SCRIPT_STACK_BYTES).spawn(work);
    if let Err(panic) = thread.expect("the system gives a thread").join() {
        std::panic::resume_unwind(panic);
    }
}
