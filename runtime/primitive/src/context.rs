//! What an operation is handed beside its arguments.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use hob_model::{OnDoubt, OpError, Timestamp, Value};

use crate::EventSource;

/// The source of time. Everything that needs the time has one injected.
pub trait Clock: Send + Sync {
    /// Now, to the microsecond.
    fn now(&self) -> Timestamp;
}

/// The adapters that primitives reach the world through, by the type of their port.
///
/// ```
/// use std::sync::Arc;
/// trait Door: Send + Sync { fn knock(&self) -> &'static str; }
/// struct Wooden;
/// impl Door for Wooden { fn knock(&self) -> &'static str { "tock" } }
///
/// let mut ports = hob_primitive::Ports::default();
/// ports.insert::<dyn Door>(Arc::new(Wooden));
/// assert_eq!(ports.get::<dyn Door>().unwrap().knock(), "tock");
/// ```
#[derive(Default)]
pub struct Ports {
    adapters: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    lists: HashMap<TypeId, Vec<Box<dyn Any + Send + Sync>>>,
    sources: Vec<Arc<dyn EventSource>>,
}

impl Ports {
    /// Adds or replaces the adapter of port `P`.
    pub fn insert<P: ?Sized + Send + Sync + 'static>(&mut self, adapter: Arc<P>) {
        self.adapters.insert(TypeId::of::<P>(), Box::new(adapter));
    }

    /// The adapter of port `P`.
    #[must_use]
    pub fn get<P: ?Sized + Send + Sync + 'static>(&self) -> Option<Arc<P>> {
        self.adapters.get(&TypeId::of::<P>())?.downcast_ref::<Arc<P>>().cloned()
    }

    /// Adds an adapter of port `P`, of which there are several.
    pub fn add<P: ?Sized + Send + Sync + 'static>(&mut self, adapter: Arc<P>) {
        self.lists.entry(TypeId::of::<P>()).or_default().push(Box::new(adapter));
    }

    /// All adapters of port `P` that were added, in that order.
    #[must_use]
    pub fn all<P: ?Sized + Send + Sync + 'static>(&self) -> Vec<Arc<P>> {
        let list = self.lists.get(&TypeId::of::<P>()).into_iter().flatten();
        list.filter_map(|adapter| adapter.downcast_ref::<Arc<P>>().cloned()).collect()
    }

    /// Adds something that tells of changes.
    pub fn add_source(&mut self, source: Arc<dyn EventSource>) {
        self.sources.push(source);
    }

    /// What tells of changes.
    #[must_use]
    pub fn sources(&self) -> &[Arc<dyn EventSource>] {
        &self.sources
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ports({})", self.adapters.len())
    }
}

/// How far a long effect is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is going on: `downloading debian.iso`.
    pub message: String,
    /// How much is done.
    pub done: u64,
    /// How much there is, if that is known.
    pub total: Option<u64>,
    /// Whether these are bytes (otherwise items).
    pub bytes: bool,
}

/// A flag that says "stop now", which blocking code can poll and async code can await.
#[derive(Clone, Default)]
pub struct Cancel(Arc<CancelInner>);

#[derive(Default)]
struct CancelInner {
    flag: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
    condvar: Condvar,
}

impl Cancel {
    /// Sets the flag; it stays set.
    pub fn cancel(&self) {
        self.0.flag.store(true, Ordering::SeqCst);
        let mut wakers = self.0.wakers.lock().expect("no code panics while holding this lock");
        wakers.drain(..).for_each(Waker::wake);
        self.0.condvar.notify_all();
    }

    /// Whether it is set.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.flag.load(Ordering::SeqCst)
    }

    /// Blocks for `duration` or until it is set; whether it is set.
    #[must_use]
    pub fn wait_timeout(&self, duration: Duration) -> bool {
        let guard = self.0.wakers.lock().expect("no code panics while holding this lock");
        let waited = self.0.condvar.wait_timeout_while(guard, duration, |_| !self.is_cancelled());
        drop(waited);
        self.is_cancelled()
    }

    /// Resolves when it is set.
    pub async fn cancelled(&self) {
        std::future::poll_fn(|task| {
            if self.is_cancelled() {
                return Poll::Ready(());
            }
            let mut wakers = self.0.wakers.lock().expect("no code panics while holding this lock");
            if !wakers.iter().any(|waker| waker.will_wake(task.waker())) {
                wakers.push(task.waker().clone());
            }
            drop(wakers);
            if self.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cancel({})", self.is_cancelled())
    }
}

/// What a [`Ctx`] is made of. The engine fills it in for each effect.
pub struct CtxParts {
    /// The adapters.
    pub ports: Arc<Ports>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The run's id as text.
    pub run: String,
    /// The position of the effect as text.
    pub position: String,
    /// The idempotency key.
    pub key: String,
    /// The directory that relative paths start from.
    pub cwd: PathBuf,
    /// The environment that was handed to the run.
    pub env: Arc<[(String, String)]>,
    /// How long this effect may take.
    pub timeout: Option<Duration>,
    /// What becomes of a `once` effect whose outcome nobody knows.
    pub on_doubt: OnDoubt,
    /// What the intent noted, for `keyed` effects.
    pub noted: Value,
    /// Says "stop now".
    pub cancel: Cancel,
    /// Takes progress.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
    /// Whether the run may do what shows itself only while the effect goes on.
    pub permits: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

/// `path` made absolute against `cwd`, with `.` and `..` taken out, without touching the disk: permissions are checked
/// on exactly the path that is used.
///
/// ```
/// use std::path::Path;
/// let resolved = hob_primitive::resolve(Path::new("/mnt/media"), "../../etc/passwd");
/// assert_eq!(resolved, Path::new("/etc/passwd"));
/// ```
#[must_use]
pub fn resolve(cwd: &Path, path: &str) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in cwd.join(path).components() {
        match part {
            Component::ParentDir => drop(resolved.pop()),
            Component::CurDir => {}
            other => resolved.push(other),
        }
    }
    resolved
}

/// What an operation is handed beside its arguments. Cheap to clone.
#[derive(Clone)]
pub struct Ctx(Arc<CtxParts>);

/// A clock that stands still.
struct Epoch;

impl Clock for Epoch {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

impl Ctx {
    /// A context of these parts.
    #[must_use]
    pub fn new(parts: CtxParts) -> Self {
        Self(Arc::new(parts))
    }

    /// A context outside of any run, for what an adapter shares with operations: paths are absolute already, nobody waits for
    /// progress, and its clock stands still.
    #[must_use]
    pub fn outside(ports: Ports, key: &str) -> Self {
        Self::new(CtxParts {
            ports: Arc::new(ports),
            clock: Arc::new(Epoch),
            run: String::new(),
            position: String::new(),
            key: key.to_owned(),
            cwd: PathBuf::from("/"),
            env: Arc::from([]),
            timeout: None,
            on_doubt: OnDoubt::default(),
            noted: Value::Unit,
            cancel: Cancel::default(),
            progress: Arc::new(|_| ()),
            permits: Arc::new(|_| true),
        })
    }

    /// The adapter of port `P`.
    ///
    /// # Errors
    /// When this binary was put together without it.
    pub fn port<P: ?Sized + Send + Sync + 'static>(&self) -> Result<Arc<P>, OpError> {
        self.0.ports.get::<P>().ok_or_else(|| {
            OpError::unavailable(format!("this hob has no adapter for {}", type_name::<P>())).retryable(false)
        })
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The id of the run, as text.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.0.run
    }

    /// The position of this effect, as text.
    #[must_use]
    pub fn position(&self) -> &str {
        &self.0.position
    }

    /// The idempotency key of this effect: the same on each attempt, different for each effect.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// The directory that relative paths start from.
    #[must_use]
    pub fn cwd(&self) -> &Path {
        &self.0.cwd
    }

    /// `path` made absolute, as [`resolve`] does; `~` is not expanded.
    #[must_use]
    pub fn resolve(&self, path: &str) -> PathBuf {
        resolve(&self.0.cwd, path)
    }

    /// A variable of the environment that was handed to the run.
    #[must_use]
    pub fn env(&self, name: &str) -> Option<&str> {
        self.0.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All variables that were handed to the run.
    #[must_use]
    pub fn env_all(&self) -> &[(String, String)] {
        &self.0.env
    }

    /// How long this effect may take. Async operations are cut off by the caller, those with a grace after it;
    /// blocking ones look at it.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.0.timeout
    }

    /// What becomes of this effect where nobody knows whether it happened: an operation that tries several times itself goes by
    /// it.
    #[must_use]
    pub fn on_doubt(&self) -> OnDoubt {
        self.0.on_doubt
    }

    /// What the intent noted about the world; `()` for operations that note nothing.
    #[must_use]
    pub fn noted(&self) -> &Value {
        &self.0.noted
    }

    /// Says "stop now": an operation that waits must look at it.
    #[must_use]
    pub fn cancel(&self) -> &Cancel {
        &self.0.cancel
    }

    /// Refuses what the run may not do and what shows itself only while the effect goes on: where a redirect leads.
    ///
    /// # Errors
    /// `denied`, naming the permission.
    pub fn permit(&self, need: &str) -> Result<(), OpError> {
        if (self.0.permits)(need) {
            return Ok(());
        }
        let error = OpError::denied(format!("this run may not do `{need}`")).retryable(false);
        Err(error.hint(format!("grant it with --allow '{need}', or allow: [\"{need}\"] in the declaration")))
    }

    /// Tells how far a long effect is.
    pub fn progress(&self, progress: Progress) {
        (self.0.progress)(progress);
    }
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ctx({} {})", self.0.run, self.0.position)
    }
}
