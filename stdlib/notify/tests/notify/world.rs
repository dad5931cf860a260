//! Places to send messages to: servers that record what they get and answer as they are told.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use hob_model::{OnDoubt, OpError, Secret, SecretRef, Timestamp, Value};
use hob_primitive::{Channels, DeclaredChannel, Opened, Vault};
use hob_std_http::{FakeHttp, HttpPort, LiveHttp, Scripted};
use hob_std_notify::{FakeNotify, LiveNotify, NotifyPort, Paces};
use hob_testkit::Harness;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

/// A request that a server got.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// An answer: a status and `Retry-After`; status 0 ends the connection without one.
type Answer = (u16, Option<&'static str>);

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    seen: Vec<Seen>,
}

/// A server that takes everything unless it is told otherwise.
#[derive(Clone, Default)]
pub(crate) struct Server(Arc<Mutex<State>>);

impl Server {
    fn take(&self, seen: Seen) -> Answer {
        let mut state = self.0.lock().unwrap();
        state.seen.push(seen);
        state.answers.pop_front().unwrap_or((200, None))
    }

    /// How the next request is answered.
    pub(crate) fn answers(&self, status: u16, retry_after: Option<&'static str>) {
        self.0.lock().unwrap().answers.push_back((status, retry_after));
    }

    /// The requests since the last look.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock().unwrap().seen)
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut stream = stream;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let mut words = line.split_whitespace().map(str::to_owned);
            let (method, path) = (words.next()?, words.next()?);
            let mut headers = BTreeMap::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok()?;
                let Some((name, value)) = line.trim_end().split_once(':') else { break };
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let (status, retry_after) = self.take(Seen { method, path, headers, body });
            if status == 0 {
                return None;
            }
            let retry_after =
                retry_after.map(|after| format!("Retry-After: {after}\r\n")).unwrap_or_default();
            write!(stream, "HTTP/1.1 {status} X\r\n{retry_after}Content-Length: 4\r\n\r\nnope").ok()?;
        }
    }

    /// On loopback, until the test ends.
    fn live(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        format!("http://{address}")
    }

    fn fake(&self) -> FakeHttp {
        let server = self.clone();
        FakeHttp::new(move |request| {
            let text = |value: &str| value.to_owned();
            let headers = request.headers.iter();
            let headers = headers.map(|(name, value)| (text(name.as_str()), text(value.to_str().unwrap())));
            let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
            let (status, retry_after) = server.take(Seen {
                method: request.method.to_string(),
                path: format!("{}{query}", request.url.path()),
                headers: headers.collect(),
                body: request.body.to_vec(),
            });
            if status == 0 {
                return Ok(Scripted::no_answer());
            }
            let scripted = Scripted::new(status, "nope");
            Ok(match retry_after {
                Some(after) => scripted.header("retry-after", after),
                None => scripted,
            })
        })
    }
}

/// The value of each secret.
pub(crate) const SECRET: &str = "hunter2";

struct OneVault;

impl Vault for OneVault {
    fn open(&self, _: &std::path::Path, _: &SecretRef) -> Result<Opened, OpError> {
        Ok(Opened::new(format!("{SECRET}\n").into_bytes()))
    }
    fn seal(&self, value: Value) -> Value {
        value
    }
    fn conceal(&self, _: &str) -> Option<String> {
        None
    }
    fn version(&self, _: &std::path::Path, _: &str) -> Result<Option<String>, OpError> {
        Ok(None)
    }
}

/// A handle of a secret, as `secret("…")` gives it.
pub(crate) fn secret() -> Value {
    Value::Secret(Secret::named("token"))
}

/// Declared channels, and what they were given for later.
#[derive(Default)]
pub(crate) struct Declared {
    all: BTreeMap<String, BTreeMap<String, Value>>,
    pub(crate) held: Mutex<Vec<Value>>,
    pub(crate) serves: bool,
}

impl Channels for Declared {
    fn channel(&self, name: &str) -> Result<DeclaredChannel, OpError> {
        let options = self.all.get(name).cloned().ok_or_else(|| OpError::not_found("there is none"))?;
        let (name, zone) = (name.to_owned(), TimeZone::get("Europe/Berlin").unwrap());
        Ok(DeclaredChannel { name, options, zone, place: "/".into() })
    }

    fn approval_link(&self, run: &str, position: &str) -> Option<String> {
        self.serves.then(|| format!("https://hob.example/links/{run}-{position}"))
    }

    fn hold(&self, held: Value, _: &str) -> Result<bool, OpError> {
        self.held.lock().unwrap().push(held);
        Ok(self.serves)
    }
}

/// A place to send messages to.
pub(crate) struct World {
    pub(crate) name: &'static str,
    /// Where its server is.
    pub(crate) url: String,
    pub(crate) server: Server,
    pub(crate) harness: Harness,
    pub(crate) mails: Arc<FakeNotify>,
    pub(crate) channels: Arc<Declared>,
    http: Arc<dyn HttpPort>,
    port: Arc<dyn NotifyPort>,
}

fn harness(http: &Arc<dyn HttpPort>, port: &Arc<dyn NotifyPort>, channels: &Arc<Declared>) -> Harness {
    Harness::new()
        .port::<dyn HttpPort>(Arc::clone(http))
        .port::<dyn NotifyPort>(Arc::clone(port))
        .port::<Paces>(Arc::default())
        .port::<dyn Vault>(Arc::new(OneVault))
        .port::<dyn Channels>(Arc::clone(channels) as Arc<dyn Channels>)
        .key("k1")
}

impl World {
    fn new(live: bool, declare: impl Fn(&str) -> Json) -> Self {
        let server = Server::default();
        let (http, url): (Arc<dyn HttpPort>, _) = match live {
            true => (Arc::new(LiveHttp::new()), server.live()),
            false => (Arc::new(server.fake()), "http://fake.test".to_owned()),
        };
        let mails = Arc::new(FakeNotify::default());
        let port: Arc<dyn NotifyPort> = if live { Arc::new(LiveNotify) } else { Arc::clone(&mails) as _ };
        let mut channels = Declared { serves: true, ..Declared::default() };
        for (name, options) in declare(&url).as_object().unwrap() {
            let Value::Map(mut options) = Value::from_json(options.clone()).unwrap() else {
                panic!("{name}")
            };
            for option in options.values_mut().filter(|option| option.as_str() == Some("SECRET")) {
                *option = secret();
            }
            channels.all.insert(name.clone(), options);
        }
        let channels = Arc::new(channels);
        let harness = harness(&http, &port, &channels).on_doubt(OnDoubt::Retry);
        let name = if live { "live" } else { "fake" };
        Self { name, url, server, harness, mails, channels, http, port }
    }

    /// The same place, for calls that nobody knows the end of.
    pub(crate) fn doubting(&self, on_doubt: OnDoubt) -> Self {
        let harness = harness(&self.http, &self.port, &self.channels).on_doubt(on_doubt);
        let (http, port) = (Arc::clone(&self.http), Arc::clone(&self.port));
        let (mails, channels) = (Arc::clone(&self.mails), Arc::clone(&self.channels));
        let (name, url, server) = (self.name, self.url.clone(), self.server.clone());
        Self { name, url, server, harness, mails, channels, http, port }
    }

    pub(crate) fn send(&self, to: &str, message: Json) -> Result<Value, OpError> {
        self.harness.call(&hob_std_notify::primitive(), "notify::send", json!([to, message]))
    }

    pub(crate) fn deliver(&self, to: &str, message: Json, options: Json) -> Result<Value, OpError> {
        self.harness.call(&hob_std_notify::primitive(), "notify::deliver", json!([to, message, options]))
    }

    /// The one request since the last look.
    pub(crate) fn seen(&self) -> Seen {
        let mut seen = self.server.seen();
        assert_eq!(seen.len(), 1, "{}: {seen:?}", self.name);
        seen.remove(0)
    }
}

/// Does the same with scripted servers and with real ones, with the channels that `declare` makes of the server's address.
pub(crate) fn everywhere(declare: impl Fn(&str) -> Json, case: impl Fn(&World)) {
    for live in [false, true] {
        case(&World::new(live, &declare));
    }
}

/// A field of a result, as a text.
pub(crate) fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// When a message that is held may go.
pub(crate) fn not_before(value: &Value) -> Timestamp {
    text(value, "not_before").parse().unwrap()
}
