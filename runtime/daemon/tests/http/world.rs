//! A hob for these tests: real runs over a journal in memory, a few workflows, and the API over both doors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use hob_daemon::clock::{SystemClock, entropy};
use hob_daemon::http::{Limits, Serving, Settings, Waiters, serve};
use hob_daemon::hub::{Hub, Order, Respond, WebhookMatch};
use hob_engine::{Bundle, InlinePerformer};
use hob_journal::{Journal, MemoryJournal, Ticket};
use hob_model::{Code, Diagnostic, RunEntry, RunId, RunStarted, Value, names};
use hob_primitive::{Ports, Registry, ServiceRequest};
use hob_runs::{NewRun, Parts, Runs, ScriptThreads};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// A door that an operation waits at until the test opens it.
#[derive(Default)]
pub struct Door {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Door {
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
    fn pass(&self) {
        drop(self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
    }
}

/// The test primitive.
#[hob_primitive::primitive(name = "world")]
pub mod ops {
    use super::Door;
    use hob_model::OpError;
    use hob_primitive::Ctx;

    type Result<T> = std::result::Result<T, OpError>;

    /// Acts.
    ///
    /// ```rhai
    /// world::fire("x")
    /// ```
    #[operation(once)]
    fn fire(_cx: &Ctx, what: String) -> Result<String> {
        Ok(what)
    }

    /// Waits until the test opens the door.
    ///
    /// ```rhai
    /// world::pass()
    /// ```
    #[operation(observe)]
    fn pass(cx: &Ctx) -> Result<()> {
        cx.port::<Door>()?.pass();
        Ok(())
    }
}

/// What the workflows do.
const WORKFLOWS: &[(&str, &str)] = &[
    ("echo", "input"),
    ("body", "input.body"),
    ("steps", r#"let a = step("one", || 1); let b = step("two", || a + 1); step("three", || b + 1)"#),
    ("fail", r#"world::fire("a"); throw "broken""#),
    ("signal", r#"log::info("waiting"); wait_signal("go")"#),
    ("approve", r#"approve("deploy?")"#),
    ("slow", r#"log::info("before"); world::pass(); log::warn("after"); 7"#),
    ("broken", "world::pass();\nthrow \"broken\""),
    ("nan", "0.0 / 0.0"),
    ("carry", r#"if input.get("n") == () { carry(#{ n: 1 }) } 1"#),
];

/// The core, as far as the API needs one.
pub struct FakeHub {
    pub runs: Runs,
    pub ready: AtomicBool,
    pub panics: AtomicBool,
    pub full: AtomicBool,
    pub commands: Mutex<Vec<(String, ServiceRequest)>>,
    pub hooks: Mutex<Vec<(&'static str, String, WebhookMatch)>>,
}

impl Hub for FakeHub {
    fn runs(&self) -> &Runs {
        &self.runs
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    fn full(&self) -> Option<String> {
        self.full.load(Ordering::SeqCst).then(|| "the test says so".to_owned())
    }

    fn webhook(&self, method: &str, path: &str) -> Option<WebhookMatch> {
        let hooks = self.hooks.lock().unwrap();
        hooks.iter().find_map(|(of, pattern, hook)| {
            let mut hook = hook.clone();
            let (wanted, given) = (pattern.split('/'), path.split('/'));
            let same_length = wanted.clone().count() == given.clone().count();
            let fits = wanted.zip(given).all(|(wanted, given)| match wanted.strip_prefix(':') {
                Some(name) => hook.params.insert(name.to_owned(), given.to_owned()).is_none(),
                None => wanted == given,
            });
            (*of == method && same_length && fits).then_some(hook)
        })
    }

    fn start(&self, run: RunId, order: Order<'_>) -> Result<Ticket, Diagnostic> {
        let Order { workflow, input, trigger, .. } = order;
        let Some((_, script)) = WORKFLOWS.iter().find(|(name, _)| *name == workflow) else {
            let near = names::nearest(workflow, WORKFLOWS.iter().map(|(name, _)| *name));
            let problem = Diagnostic::error(Code::UnknownName, format!("there is no workflow `{workflow}`"));
            return Err(problem.hint(format!("did you mean `{}`?", near.unwrap_or("echo"))));
        };
        let bundle = Arc::new(Bundle::of_text("test.rhai", script, "/", "host"));
        let started = started(workflow, input, trigger);
        self.runs.start(NewRun { id: run, started, bundle }).map_err(|error| error.diagnostic())
    }

    fn status(&self) -> Json {
        assert!(!self.panics.load(Ordering::SeqCst), "told to");
        json!({ "tiers": [], "services": [{ "name": "gitea", "state": "ready" }] })
    }

    fn bring_up(&self, basis: Option<&str>) -> Result<Json, Diagnostic> {
        match basis {
            Some("old") => Err(Diagnostic::error(Code::PlanStale, "told to be")),
            basis => Ok(json!({ "changes": [], "basis": basis })),
        }
    }

    fn bring_down(&self) -> Result<Json, Diagnostic> {
        Ok(json!({ "stopped": ["gitea"] }))
    }

    fn schedules(&self) -> Json {
        json!([{ "name": "backup" }])
    }

    fn service(&self, name: &str, request: &ServiceRequest) -> Result<Json, Diagnostic> {
        if name != "gitea" {
            return Err(Diagnostic::error(Code::UnknownName, format!("there is no service `{name}`")));
        }
        self.commands.lock().unwrap().push((name.to_owned(), request.clone()));
        Ok(json!({ "name": name, "state": "ready" }))
    }

    fn living(&self, _: &str) -> Vec<u32> {
        vec![]
    }
}

pub fn started(name: &str, input: Value, trigger: &str) -> RunStarted {
    RunStarted {
        input,
        trigger: trigger.into(),
        ..RunStarted::trusted(name, RunEntry::Playbook("test.rhai".into()))
    }
}

/// The served API.
pub struct World {
    pub hub: Arc<FakeHub>,
    pub waiters: Arc<Waiters>,
    pub door: Arc<Door>,
    pub settings: Settings,
    pub address: std::net::SocketAddr,
    pub token: String,
    pub shutdown: CancellationToken,
    pub dir: TempDir,
    serving: Option<Serving>,
    runtime: Runtime,
}

/// Long enough never to be reached.
const NEVER: Duration = Duration::from_secs(60);

impl Default for World {
    fn default() -> Self {
        Self::with(Limits { head_read: NEVER, body_read: NEVER, respond_last: NEVER })
    }
}

impl World {
    pub fn with(limits: Limits) -> Self {
        Self::over(Arc::new(MemoryJournal::default()), limits)
    }

    pub fn over(journal: Arc<dyn Journal>, limits: Limits) -> Self {
        let waiters = Arc::new(Waiters::default());
        let door = Arc::new(Door::default());
        let mut ports = Ports::default();
        ports.insert::<Door>(Arc::clone(&door));
        let runs = Runs::new(Parts {
            journal,
            registry: Arc::new(Registry::new(vec![ops::primitive()]).unwrap()),
            ports: Arc::new(ports),
            clock: Arc::new(SystemClock),
            performer: Arc::new(InlinePerformer),
            spawner: Arc::new(ScriptThreads::default()),
            listener: Arc::clone(&waiters) as Arc<_>,
            turns: None,
            entropy: Box::new(entropy),
            dry: false,
        });
        runs.recover(true).unwrap();
        let hub = Arc::new(FakeHub {
            runs,
            ready: AtomicBool::new(true),
            panics: AtomicBool::new(false),
            full: AtomicBool::new(false),
            commands: Mutex::default(),
            hooks: Mutex::default(),
        });
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            limits,
            allowed_hosts: vec!["hob.example.net".into()],
            ..Settings::in_state(dir.path(), Some("127.0.0.1:0".parse().unwrap()))
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let shutdown = CancellationToken::new();
        let served =
            serve(Arc::clone(&hub) as Arc<_>, Arc::clone(&waiters), settings.clone(), shutdown.clone());
        let serving = runtime.block_on(served).unwrap();
        let token = std::fs::read_to_string(&settings.token_file).unwrap().trim().to_owned();
        let address = serving.address.unwrap();
        Self { hub, waiters, door, settings, address, token, shutdown, dir, serving: Some(serving), runtime }
    }

    /// Declares a webhook.
    pub fn hook(
        &self,
        method: &'static str,
        path: &str,
        workflow: &str,
        respond: Respond,
        secret: Option<&str>,
    ) {
        let secret = secret.map(str::to_owned);
        let hook = WebhookMatch {
            workflow: workflow.into(),
            params: BTreeMap::new(),
            respond,
            secret,
            id: format!("{method} {path}"),
            rate: None,
            body_bytes_max: None,
        };
        self.hub.hooks.lock().unwrap().push((method, path.to_owned(), hook));
    }

    /// Changes the webhook that was declared last.
    pub fn last_hook(&self, change: impl FnOnce(&mut WebhookMatch)) {
        change(&mut self.hub.hooks.lock().unwrap().last_mut().unwrap().2);
    }

    /// Starts a workflow and returns its id.
    pub fn start(&self, workflow: &str) -> String {
        let started = self.api().post("/api/v1/runs", &json!({ "workflow": workflow })).unwrap();
        started["run"].as_str().unwrap().to_owned()
    }

    /// The run, once it has come to rest.
    pub fn rested(&self, run: &str) -> Json {
        self.api().get(&format!("/api/v1/runs/{run}?wait=30s")).unwrap()
    }

    /// The client that commands use.
    pub fn api(&self) -> hob_daemon::client::Client {
        hob_daemon::client::Client::new(&self.settings.socket)
    }

    /// Serves the same directory once more, as a second process would.
    pub fn serve_again(&self, settings: Settings) -> Result<Serving, Diagnostic> {
        let hub = Arc::clone(&self.hub) as Arc<_>;
        self.runtime.block_on(serve(hub, Arc::clone(&self.waiters), settings, CancellationToken::new()))
    }

    /// Stops serving and waits until all connections have ended.
    pub fn stop(&mut self) {
        self.shutdown.cancel();
        if let Some(serving) = self.serving.take() {
            self.runtime.block_on(serving.closed());
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.door.open();
        self.stop();
    }
}
