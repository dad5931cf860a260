//! A broker, once in memory and once a real mosquitto.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hob_lab::mosquitto::{Mosquitto, account, missing};
use hob_model::{ErrorKind, OpError, Value};
use hob_primitive::{EventSink, EventSource, Subscribing as _, Wanted};
use hob_std_mqtt::{FakeBroker, LiveMqtt, MqttPort, MqttSources};
use hob_testkit::Harness;
use serde_json::{Value as Json, json};
use tokio::task::JoinHandle;

/// How long a message may take on a loaded machine.
const HEARD_WITHIN: Duration = Duration::from_secs(60);
/// The topic of a message that tells that all before it was confirmed.
const MARK: &str = "mark/of/the/test";

/// The surroundings of a case.
pub(crate) struct World {
    pub(crate) name: &'static str,
    pub(crate) harness: Harness,
    pub(crate) url: String,
    port: Arc<dyn MqttPort>,
    away: Box<dyn Fn(bool)>,
}

/// Both, for anybody or for one user alone.
pub(crate) fn everywhere(user: Option<(&'static str, &'static str)>, case: impl Fn(&World)) {
    let fake = FakeBroker::default();
    if let Some((user, password)) = user {
        fake.account(user, password);
    }
    let port: Arc<dyn MqttPort> = Arc::new(fake.clone());
    case(&World::new("fake", "mqtt://127.0.0.1:1".into(), port, Box::new(move |away| fake.away(away))));
    let lines = |dir: &Path| match user {
        Some((user, password)) => account(dir, user, password),
        None => "allow_anonymous true".to_owned(),
    };
    let Some(broker) = hob_lab::started("a broker", missing(), || Mosquitto::start(lines)) else { return };
    let url = format!("mqtt://127.0.0.1:{}", broker.port());
    let broker = RefCell::new(broker);
    let away = Box::new(move |away| broker.borrow_mut().away(away));
    case(&World::new("mosquitto", url, Arc::new(LiveMqtt), away));
}

impl World {
    fn new(name: &'static str, url: String, port: Arc<dyn MqttPort>, away: Box<dyn Fn(bool)>) -> Self {
        Self { name, harness: Harness::new().port(Arc::clone(&port)), url, port, away }
    }

    /// The broker goes away with all connections, or comes back.
    pub(crate) fn away(&self, away: bool) {
        (self.away)(away);
    }

    pub(crate) fn publish(&self, topic: &str, payload: Json, options: Json) -> Result<Value, OpError> {
        let args = json!([self.url, topic, payload, options]);
        self.harness.call(&hob_std_mqtt::primitive(), "mqtt::publish", args)
    }

    pub(crate) fn refused(&self, topic: &str, options: Json, kind: ErrorKind) -> OpError {
        let error = self.publish(topic, json!("x"), options).unwrap_err();
        assert_eq!(error.kind, kind, "{}: {error}", self.name);
        error
    }

    pub(crate) fn source(&self, filter: &str, options: Json) -> Arc<dyn EventSource> {
        let mut all = BTreeMap::from([("broker".to_owned(), Value::from(self.url.as_str()))]);
        if let Value::Map(more) = Value::from_json(options).unwrap() {
            all.extend(more);
        }
        let owner = format!("host/{}", self.name);
        let wanted =
            Wanted { of: filter, options: &all, directory: Path::new("/nonexistent"), owner: &owner };
        MqttSources::new(Arc::clone(&self.port)).source(&wanted).unwrap()
    }

    /// Listens to a source.
    pub(crate) fn listen(&self, source: &Arc<dyn EventSource>) -> Ear {
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let sink = EventSink::new(move |name, payload| {
            assert_eq!(name, "mqtt.message");
            tell.lock().unwrap().send(payload).is_ok()
        });
        let task = self.harness.runtime().spawn(Arc::clone(source).listen(sink));
        Ear { told, task }
    }

    /// Stops listening once all that was heard so far is confirmed. The source must hear everything.
    pub(crate) fn hush(&self, ear: Ear, options: Json) {
        for _ in 0..2 {
            self.publish(MARK, json!("here"), options.clone()).unwrap();
            while ear.next_of_all()["topic"] != MARK {}
        }
        ear.task.abort();
        let _ = self.harness.runtime().block_on(ear.task);
    }

    /// How listening ends.
    pub(crate) fn end(&self, ear: Ear) -> Result<(), OpError> {
        self.harness.runtime().block_on(ear.task).unwrap()
    }
}

/// Hears what a source tells.
pub(crate) struct Ear {
    told: Receiver<Value>,
    task: JoinHandle<Result<(), OpError>>,
}

impl Ear {
    fn next_of_all(&self) -> Json {
        self.told.recv_timeout(HEARD_WITHIN).expect("it is heard").to_json().unwrap()
    }

    /// The next message.
    pub(crate) fn next(&self) -> Json {
        loop {
            let heard = self.next_of_all();
            if heard["topic"] != MARK {
                return heard;
            }
        }
    }

    /// The topic and text of the next message, and whether it was retained.
    pub(crate) fn heard(&self) -> (String, String, bool) {
        let heard = self.next();
        let text = |key: &str| heard[key].as_str().unwrap_or_default().to_owned();
        (text("topic"), text("text"), heard["retained"] == true)
    }

    /// Nobody listens to it any more: the next message is not confirmed.
    pub(crate) fn deaf(self) -> JoinHandle<Result<(), OpError>> {
        self.task
    }
}
