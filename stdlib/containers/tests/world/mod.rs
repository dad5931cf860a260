//! The engines that cases run against: the fake, Podman with and without root, and Docker.
#![allow(dead_code)] // each test binary uses a part

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hob_lab::engine::{Engine, Kind};
use hob_model::{OpError, Value};
use hob_std_containers::{ContainersPort, fake::Fake, live::Live, primitives};
use hob_testkit::Harness;
use serde_json::{Value as Json, json};

/// An image that both engines have.
pub(crate) const IMAGE: &str = hob_lab::engine::IMAGE;

/// The real engines of this test binary, as far as this machine has them.
pub(crate) fn engines() -> impl Iterator<Item = &'static Engine> {
    static ENGINES: [OnceLock<Option<Engine>>; 3] = [const { OnceLock::new() }; 3];
    let kinds = [Kind::Podman, Kind::RootlessPodman, Kind::Docker];
    // They are never dropped: they end with this process.
    let started = |(slot, kind): (&'static OnceLock<_>, Kind)| slot.get_or_init(|| start(kind)).as_ref();
    ENGINES.iter().zip(kinds).filter_map(started)
}

/// An engine for one test, or `None` where there is none to be had.
pub(crate) fn start(kind: Kind) -> Option<Engine> {
    hob_lab::started(kind.name(), kind.missing(), || Engine::start(kind))
}

/// One engine, and the surroundings of calls.
pub(crate) struct Case {
    world: &'static str,
    harness: Harness,
    pub(crate) fake: Option<Fake>,
    pub(crate) engine: Option<&'static Engine>,
    number: u16,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.world)
    }
}

/// Numbers that tell cases, their ports and their addresses from each other.
fn next() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    NEXT.fetch_add(1, Ordering::SeqCst)
}

impl Case {
    pub(crate) fn fake() -> Self {
        let fake = Fake::new();
        let harness = Harness::new().port::<dyn ContainersPort>(Arc::new(fake.clone()));
        Self { world: "fake", harness, fake: Some(fake), engine: None, number: next() }
    }

    pub(crate) fn of(engine: &'static Engine) -> Self {
        let env = vec![("CONTAINER_HOST".to_owned(), engine.socket().to_string_lossy().into_owned())];
        let harness = Harness::new().port::<dyn ContainersPort>(Arc::new(Live::new(env)));
        Self { world: engine.kind().name(), harness, fake: None, engine: Some(engine), number: next() }
    }

    /// The same engine, for another effect.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        let it = match (&self.fake, self.engine) {
            (Some(fake), _) => {
                let harness = Harness::new().port::<dyn ContainersPort>(Arc::new(fake.clone()));
                Self { fake: Some(fake.clone()), harness, ..Self::fake() }
            }
            (None, engine) => Self::of(engine.expect("a case has one or the other")),
        };
        let harness = it.harness.key(&format!("{key} {}", self.number));
        Self { harness, number: self.number, ..it }
    }

    /// The same engine, for calls that may take so long.
    pub(crate) fn with_timeout(&self, timeout: Duration) -> Self {
        let it = self.with_key(&format!("within {timeout:?}"));
        Self { harness: it.harness.timeout(timeout), ..it }
    }

    /// Which real engine it is.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.engine.map(Engine::kind)
    }

    /// A name that no other case has.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{name}-{}", self.number)
    }

    /// A port inside the engine's own network that no other case has.
    pub(crate) fn port(&self) -> u16 {
        20_000 + self.number
    }

    /// A byte of an address that no other case has.
    pub(crate) fn octet(&self) -> u16 {
        self.number % 250
    }

    pub(crate) fn dir(&self) -> &Path {
        self.harness.dir()
    }

    pub(crate) fn harness(&self) -> &Harness {
        &self.harness
    }

    pub(crate) fn call(&self, name: &str, args: Json) -> Result<Value, OpError> {
        let primitives = primitives();
        let home =
            primitives.iter().find(|one| one.operations.iter().any(|operation| operation.name == name));
        self.harness.call(home.unwrap_or_else(|| panic!("no operation {name}")), name, args)
    }

    /// As an effect of its own: a harness has one key, with which a second `create` adopts the first.
    pub(crate) fn create(&self, name: &str, spec: Json) -> Result<Value, OpError> {
        self.with_key(&format!("create {name}")).call("containers::create", json!([name, whole(spec)]))
    }

    pub(crate) fn ensure(&self, name: &str, spec: Json) -> Result<Value, OpError> {
        self.call("containers::ensure", json!([name, whole(spec)]))
    }
}

/// `spec` with an image, and what containers need on the machines that tests run on.
pub(crate) fn whole(spec: Json) -> Json {
    let mut all = json!({
        "image": IMAGE,
        "ulimits": {"nofile": {"soft": 1024, "hard": 4096}, "nproc": 4096},
        "stop_signal": "SIGKILL",
    });
    let Json::Object(spec) = spec else { panic!("a specification is a map") };
    all.as_object_mut().expect("it was just written").extend(spec);
    all
}

/// Runs a case with every engine.
pub(crate) fn everywhere(run: impl Fn(&Case)) {
    run(&Case::fake());
    engines().for_each(|engine| run(&Case::of(engine)));
}

pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no text `{key}` in {value:?}"))
}

pub(crate) fn int(value: &Value, key: &str) -> i64 {
    value.get(key).and_then(Value::as_int).unwrap_or_else(|| panic!("no number `{key}` in {value:?}"))
}

pub(crate) fn flag(value: &Value, key: &str) -> bool {
    match value.get(key) {
        Some(Value::Bool(flag)) => *flag,
        other => panic!("no truth value `{key}`: {other:?}"),
    }
}

pub(crate) fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        other => panic!("no array: {other:?}"),
    }
}
