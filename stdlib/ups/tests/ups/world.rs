//! A server of power supplies, once in memory and once a real `upsd`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hob_lab::nut::{Nut, SUPPLY, missing};
use hob_model::{OpError, Value};
use hob_primitive::{EventSink, Subscribing as _, Wanted};
use hob_std_ups::{FakeUps, LiveUps, UpsPort, UpsSources};
use hob_testkit::Harness;
use serde_json::{Value as Json, json};

/// How often sources look.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long a change may take on a loaded machine; the driver looks each second.
const HEARD_WITHIN: Duration = Duration::from_secs(60);

/// A variable and its value.
pub(crate) type Variable = (&'static str, &'static str);
type Set = Box<dyn Fn(&[Variable])>;
type Away = Box<dyn Fn(bool)>;

/// The surroundings of a case.
pub(crate) struct World {
    pub(crate) name: &'static str,
    pub(crate) harness: Harness,
    server: String,
    port: Arc<dyn UpsPort>,
    set: Set,
    away: Away,
}

/// Both, with a supply that has these variables.
pub(crate) fn everywhere(variables: &[Variable], case: impl Fn(&World)) {
    let fake = FakeUps::default();
    fake.set(SUPPLY, variables);
    let port: Arc<dyn UpsPort> = Arc::new(fake.clone());
    let away = fake.clone();
    let set = Box::new(move |variables: &[Variable]| fake.set(SUPPLY, variables));
    case(&World::new("fake", "localhost:1".into(), port, set, Box::new(move |gone| away.away(gone))));

    let start = || Nut::start(variables);
    let Some(nut) = hob_lab::started("a server of power supplies", missing(), start) else { return };
    let server = format!("127.0.0.1:{}", nut.port());
    let nut = Arc::new(Mutex::new(nut));
    let away = Arc::clone(&nut);
    let set = Box::new(move |variables: &[Variable]| nut.lock().unwrap().set(variables).unwrap());
    let away = Box::new(move |gone| away.lock().unwrap().away(gone));
    let world = World::new("upsd", server, Arc::new(LiveUps), set, away);
    let begun = Instant::now();
    // The server is there before its driver is.
    while world.status(SUPPLY).is_err() || world.state() == "unknown" {
        assert!(begun.elapsed() < HEARD_WITHIN, "{:?}", world.status(SUPPLY));
        std::thread::sleep(Duration::from_millis(50));
    }
    case(&world);
}

impl World {
    fn new(name: &'static str, server: String, port: Arc<dyn UpsPort>, set: Set, away: Away) -> Self {
        Self { name, harness: Harness::new().port(Arc::clone(&port)), server, port, set, away }
    }

    /// The supply has these variables from now on.
    pub(crate) fn set(&self, variables: &[Variable]) {
        (self.set)(variables);
    }

    /// The server goes away, or comes back.
    pub(crate) fn away(&self, away: bool) {
        (self.away)(away);
    }

    fn call(&self, operation: &str, args: Json) -> Result<Json, OpError> {
        let told = self.harness.call(&hob_std_ups::primitive(), operation, args)?;
        Ok(told.to_json().unwrap())
    }

    pub(crate) fn list(&self) -> Result<Json, OpError> {
        self.call("ups::list", json!([{ "server": self.server }]))
    }

    pub(crate) fn status(&self, supply: &str) -> Result<Json, OpError> {
        self.call("ups::status", json!([format!("{supply}@{}", self.server)]))
    }

    fn state(&self) -> Json {
        self.status(SUPPLY).unwrap()["state"].clone()
    }

    /// Listens to the supply.
    pub(crate) fn listen(&self) -> Ear {
        let options = BTreeMap::new();
        let of = format!("{SUPPLY}@{}", self.server);
        let wanted =
            Wanted { of: &of, options: &options, directory: Path::new("/nonexistent"), owner: "host" };
        let sources = Arc::new(UpsSources::new(Arc::clone(&self.port)).looking_every(LOOK_EVERY));
        let source = sources.source(&wanted).unwrap();
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let sink = EventSink::new(move |name, payload| {
            assert_eq!(name, "ups.changed");
            tell.lock().unwrap().send(payload).is_ok()
        });
        self.harness.runtime().spawn(source.listen(sink));
        Ear { told: RefCell::new(told), sources }
    }
}

/// Hears what a source tells.
pub(crate) struct Ear {
    told: RefCell<Receiver<Value>>,
    pub(crate) sources: Arc<UpsSources>,
}

impl Ear {
    /// What comes next.
    pub(crate) fn next(&self) -> Json {
        let told = self.told.borrow().recv_timeout(HEARD_WITHIN).expect("it is heard");
        told.to_json().unwrap()
    }
}
