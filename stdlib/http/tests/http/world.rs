//! A script that answers, once as a fake adapter and once as a real server.

use std::collections::BTreeMap;
use std::sync::Arc;

use hob_model::{OpError, Value};
use hob_std_http::port::Request;
use hob_std_http::{FakeHttp, HttpPort, LiveHttp, Scripted};
use hob_testkit::Harness;
use serde_json::json;

use crate::server::Server;

/// A script that can be used twice.
pub(crate) type Script = Arc<dyn Fn(&Request) -> Scripted + Send + Sync>;

/// The surroundings of a case.
pub(crate) struct World {
    pub(crate) harness: Harness,
    pub(crate) base: String,
    seen: Box<dyn Fn() -> Vec<Request>>,
}

impl World {
    pub(crate) fn fake(script: Script) -> Self {
        let fake = Arc::new(FakeHttp::new(move |request| Ok(script(request))));
        let port: Arc<dyn HttpPort> = fake.clone();
        Self {
            harness: Harness::new().port(port),
            base: "http://127.0.0.1:1".to_owned(),
            seen: Box::new(move || fake.seen()),
        }
    }

    pub(crate) fn live(script: Script) -> Self {
        let port: Arc<dyn HttpPort> = Arc::new(LiveHttp::new());
        let harness = Harness::new().port(port);
        let server = Server::start(harness.runtime(), script, None);
        Self {
            base: format!("http://127.0.0.1:{}", server.port),
            seen: Box::new(move || server.seen()),
            harness,
        }
    }

    /// Both, with the same script.
    pub(crate) fn both(script: impl Fn(&Request) -> Scripted + Send + Sync + 'static) -> [Self; 2] {
        let script: Script = Arc::new(script);
        [Self::fake(script.clone()), Self::live(script)]
    }

    /// Both, each with a script of its own: for scripts that remember.
    pub(crate) fn both_with(
        script: impl Fn() -> Box<dyn Fn(&Request) -> Scripted + Send + Sync>,
    ) -> [Self; 2] {
        [Self::fake(script().into()), Self::live(script().into())]
    }

    /// The requests that arrived.
    pub(crate) fn seen(&self) -> Vec<Request> {
        (self.seen)()
    }

    /// Calls `http::NAME`; the first argument is a path on the server.
    pub(crate) fn call(&self, name: &str, path: &str, options: serde_json::Value) -> Result<Value, OpError> {
        let url = format!("{}{path}", self.base);
        self.harness.call(&hob_std_http::primitive(), &format!("http::{name}"), json!([url, options]))
    }

    /// Downloads a path to `file.bin`.
    pub(crate) fn download(&self, path: &str, options: serde_json::Value) -> Result<Value, OpError> {
        let args = json!([format!("{}{path}", self.base), "file.bin", options]);
        self.harness.call(&hob_std_http::primitive(), "http::download", args)
    }

    /// The names of what lies in the working directory.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.harness.dir()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// An entry of an answer.
pub(crate) fn get<'a>(value: &'a Value, key: &str) -> &'a Value {
    value.get(key).unwrap_or_else(|| panic!("{value:?} has no {key}"))
}

/// A header of a request, as text.
pub(crate) fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.get(name).map(|value| value.to_str().unwrap())
}

/// Query parameters of a request.
pub(crate) fn query(request: &Request) -> BTreeMap<String, String> {
    request.url.query_pairs().into_owned().collect()
}
