//! Calls operations of a primitive the way a run does, without an engine or a journal.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hob_model::{OnDoubt, OpError, Timestamp, Value};
use hob_primitive::{
    Args, Cancel, Clock, Ctx, CtxParts, Handler, Look, Operation, Ports, Primitive, Probe, Progress,
};

/// Threads of the async core, as many as the binary has.
pub(crate) const WORKER_THREADS: usize = 2;

/// A clock that stands still until it is moved; it starts at 2026-01-02T03:04:05Z.
#[derive(Debug)]
pub struct TestClock(Mutex<Timestamp>);

impl Default for TestClock {
    fn default() -> Self {
        Self(Mutex::new("2026-01-02T03:04:05Z".parse().expect("it is RFC 3339")))
    }
}

impl TestClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves it forward.
    ///
    /// # Panics
    /// When that is past the year 9999.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().expect("no code panics while holding this lock");
        *now = now.checked_add(by).expect("tests stay within the calendar");
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no code panics while holding this lock")
    }
}

/// The surroundings of a call: adapters, an empty working directory, a clock, an environment.
///
/// ```
/// use hob_primitive::primitive;
/// use serde_json::json;
///
/// /// Words.
/// #[primitive(name = "words")]
/// mod api {
///     use hob_model::OpError;
///     use hob_primitive::Ctx;
///
///     /// Greets somebody.
///     #[operation(observe)]
///     fn greet(cx: &Ctx, name: String) -> Result<String, OpError> {
///         Ok(format!("{} {name}", cx.env("GREETING").unwrap_or("hello")))
///     }
/// }
///
/// let harness = hob_testkit::Harness::new().env("GREETING", "moin");
/// let answer = harness.call(&api::primitive(), "words::greet", json!(["Ada"])).unwrap();
/// assert_eq!(answer.as_str(), Some("moin Ada"));
/// ```
pub struct Harness {
    ports: Arc<Ports>,
    clock: Arc<TestClock>,
    temp: tempfile::TempDir,
    cwd: PathBuf,
    env: Vec<(String, String)>,
    key: String,
    timeout: Option<Duration>,
    on_doubt: OnDoubt,
    cancel: Cancel,
    progress: Arc<Mutex<Vec<Progress>>>,
    runtime: tokio::runtime::Runtime,
}

impl Default for Harness {
    fn default() -> Self {
        Self::new()
    }
}

impl Harness {
    /// No adapters, an empty temporary directory to work in, no environment, no time limit.
    ///
    /// # Panics
    /// When the machine gives no temporary directory or threads.
    #[must_use]
    pub fn new() -> Self {
        let temp = tempfile::tempdir().expect("tests need a temporary directory");
        let cwd = temp.path().canonicalize().expect("the directory was just made");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build();
        Self {
            ports: Arc::default(),
            clock: Arc::default(),
            cwd,
            env: Vec::new(),
            key: format!("test {}", temp.path().display()),
            timeout: None,
            on_doubt: OnDoubt::default(),
            cancel: Cancel::default(),
            progress: Arc::default(),
            temp,
            runtime: runtime.expect("tests need threads"),
        }
    }

    /// Adds or replaces the adapter of port `P`: `.port::<dyn FilesPort>(Arc::new(Fake::new()))`.
    ///
    /// # Panics
    /// While a context of this harness lives.
    #[must_use]
    pub fn port<P: ?Sized + Send + Sync + 'static>(mut self, adapter: Arc<P>) -> Self {
        Arc::get_mut(&mut self.ports).expect("ports are given before the first context").insert(adapter);
        self
    }

    /// Works in `cwd` instead of the temporary directory.
    #[must_use]
    pub fn cwd(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.cwd = cwd.into();
        self
    }

    /// Hands a variable to the run.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The idempotency key of the following calls; without it one that no other harness has.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = key.to_owned();
        self
    }

    /// The time limit of the following calls; async ones are dropped when it has passed, as in a run.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What becomes of the following calls where nobody knows whether they happened.
    #[must_use]
    pub fn on_doubt(mut self, on_doubt: OnDoubt) -> Self {
        self.on_doubt = on_doubt;
        self
    }

    /// The clock that the calls see.
    #[must_use]
    pub fn clock(&self) -> &TestClock {
        &self.clock
    }

    /// The flag that says "stop now" to the calls.
    #[must_use]
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// The working directory of the calls.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.cwd
    }

    /// The temporary directory that goes away with this value.
    #[must_use]
    pub fn temp(&self) -> &Path {
        self.temp.path()
    }

    /// The async core, for what a test does itself.
    #[must_use]
    pub fn runtime(&self) -> &tokio::runtime::Runtime {
        &self.runtime
    }

    /// The progress that calls told since the last look.
    ///
    /// # Panics
    /// Never, unless a call panicked while telling.
    #[must_use]
    pub fn take_progress(&self) -> Vec<Progress> {
        std::mem::take(&mut *self.progress.lock().expect("telling progress does not panic"))
    }

    /// Carries out an operation: its intent where it has one, then the operation itself.
    ///
    /// `args` is an array; a last map is read as options where the operation takes them.
    ///
    /// # Errors
    /// As the operation.
    pub fn call(&self, primitive: &Primitive, name: &str, args: serde_json::Value) -> Result<Value, OpError> {
        self.call_values(primitive, name, values(args))
    }

    /// As [`Harness::call`], with arguments that JSON cannot express (blobs).
    ///
    /// # Errors
    /// As the operation.
    pub fn call_values(&self, primitive: &Primitive, name: &str, args: Vec<Value>) -> Result<Value, OpError> {
        let operation = find(primitive, name);
        let noted = self.note(operation, args.clone())?;
        self.perform(operation, args, noted)
    }

    /// Only what a run does before it journals the intent: what the operation notes about the world.
    ///
    /// # Errors
    /// As the operation's `intent`.
    pub fn intent(
        &self,
        primitive: &Primitive,
        name: &str,
        args: serde_json::Value,
    ) -> Result<Value, OpError> {
        self.note(find(primitive, name), values(args))
    }

    /// Only the operation, with a note that [`Harness::intent`] gave earlier.
    ///
    /// # Errors
    /// As the operation.
    pub fn call_noted(
        &self,
        primitive: &Primitive,
        name: &str,
        args: serde_json::Value,
        noted: Value,
    ) -> Result<Value, OpError> {
        self.perform(find(primitive, name), values(args), noted)
    }

    /// Asks the world whether a `keyed` operation happened.
    ///
    /// # Errors
    /// As the operation's `probe`.
    ///
    /// # Panics
    /// When the operation is not `keyed`.
    pub fn probe(
        &self,
        primitive: &Primitive,
        name: &str,
        args: serde_json::Value,
        noted: Value,
    ) -> Result<Probe, OpError> {
        let operation = find(primitive, name);
        let keyed = operation.keyed.expect("only a keyed operation is probed");
        self.look(keyed.probe, self.context(noted), operation.read_args(values(args)))
    }

    /// What a dry run goes on with.
    ///
    /// # Errors
    /// As the operation's `model`.
    ///
    /// # Panics
    /// When the operation has none.
    pub fn model(
        &self,
        primitive: &Primitive,
        name: &str,
        args: serde_json::Value,
    ) -> Result<Value, OpError> {
        let operation = find(primitive, name);
        let model = operation.model.unwrap_or_else(|| panic!("{name} is not modelled"));
        model(&self.context(Value::Unit), operation.read_args(values(args)))
    }

    /// A context such as calls get.
    #[must_use]
    pub fn context(&self, noted: Value) -> Ctx {
        let progress = Arc::clone(&self.progress);
        Ctx::new(CtxParts {
            ports: Arc::clone(&self.ports),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            run: "test-run".to_owned(),
            position: "1".to_owned(),
            key: self.key.clone(),
            cwd: self.cwd.clone(),
            env: self.env.clone().into(),
            timeout: self.timeout,
            on_doubt: self.on_doubt,
            noted,
            cancel: self.cancel.clone(),
            progress: Arc::new(move |told| {
                progress.lock().expect("telling progress does not panic").push(told);
            }),
            permits: Arc::new(|_| true),
        })
    }

    fn note(&self, operation: &Operation, args: Vec<Value>) -> Result<Value, OpError> {
        match operation.keyed.and_then(|keyed| keyed.intent) {
            Some(intent) => self.look(intent, self.context(Value::Unit), operation.read_args(args)),
            None => Ok(Value::Unit),
        }
    }

    fn look<T>(&self, look: Look<T>, cx: Ctx, args: Args) -> Result<T, OpError> {
        match look {
            Look::Blocking(look) => look(&cx, args),
            Look::Async(look) => self.runtime.block_on(look(cx, args)),
        }
    }

    fn perform(&self, operation: &Operation, args: Vec<Value>, noted: Value) -> Result<Value, OpError> {
        let (cx, args) = (self.context(noted), operation.read_args(args));
        match operation.handler {
            Handler::Pure(handler) => handler(args),
            Handler::Blocking(handler) => handler(&cx, args),
            Handler::Async(handler) => self.runtime.block_on(async {
                match self.timeout {
                    None => handler(cx, args).await,
                    Some(limit) => tokio::time::timeout(limit + grace(operation), handler(cx, args))
                        .await
                        .unwrap_or_else(|_| Err(OpError::timeout(format!("took longer than {limit:?}")))),
                }
            }),
        }
    }
}

fn find<'a>(primitive: &'a Primitive, name: &str) -> &'a Operation {
    let found = primitive.operations.iter().find(|operation| operation.name == name);
    found.unwrap_or_else(|| panic!("{} has no operation {name}", primitive.name))
}

fn grace(operation: &Operation) -> Duration {
    let parsed = operation.grace.map(hob_model::duration::parse);
    parsed.map_or(Duration::ZERO, |parsed| parsed.expect("the registry checks it"))
}

fn values(args: serde_json::Value) -> Vec<Value> {
    match Value::from_json(args).expect("arguments of a test fit") {
        Value::Array(items) => items,
        other => panic!("arguments are an array, got {other:?}"),
    }
}
