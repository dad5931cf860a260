//! Servers as functions, for tests.

use std::sync::Mutex;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::port::{HttpPort, Reply, Request, SendError, Sending, Stage};

/// What a scripted server does with a request.
#[derive(Clone, Debug, Default)]
pub struct Scripted {
    /// The status code; 0 for no answer at all.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body, in the pieces in which it arrives.
    pub body: Vec<Bytes>,
    /// Whether the connection breaks after the body.
    pub breaks: bool,
    /// Whether nothing comes any more after the body, though the connection stays.
    pub hangs: bool,
}

impl Scripted {
    /// An answer with a body.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, body: vec![body.into()], ..Self::default() }
    }

    /// The connection ends after the request, without an answer.
    #[must_use]
    pub fn no_answer() -> Self {
        Self::default()
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Breaks the connection after the body.
    #[must_use]
    pub fn breaks(mut self) -> Self {
        self.breaks = true;
        self
    }

    /// Stays silent after the body.
    #[must_use]
    pub fn hangs(mut self) -> Self {
        self.hangs = true;
        self
    }
}

type Script = Box<dyn Fn(&Request) -> Result<Scripted, SendError> + Send + Sync>;

/// An adapter whose servers are one function; it remembers the requests.
pub struct FakeHttp {
    script: Script,
    seen: Mutex<Vec<Request>>,
}

impl FakeHttp {
    /// An adapter that answers by `script`; its errors are those of connections that do not come about.
    pub fn new(script: impl Fn(&Request) -> Result<Scripted, SendError> + Send + Sync + 'static) -> Self {
        Self { script: Box::new(script), seen: Mutex::default() }
    }

    /// The requests so far.
    ///
    /// # Panics
    /// Never, unless the script panicked.
    #[must_use]
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("no code panics while holding this lock").clone()
    }
}

impl HttpPort for FakeHttp {
    fn send(&self, request: Request) -> Sending<'_> {
        Box::pin(async move {
            self.seen.lock().expect("no code panics while holding this lock").push(request.clone());
            let scripted = (self.script)(&request)?;
            if scripted.status == 0 {
                return Err(SendError::new(Stage::Sent, "connection closed before message completed"));
            }
            let mut headers = HeaderMap::new();
            for (name, value) in &scripted.headers {
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| malformed(&error))?;
                headers.append(name, HeaderValue::from_str(value).map_err(|error| malformed(&error))?);
            }
            let announced = !headers.contains_key("content-length") && !scripted.breaks && !scripted.hangs;
            if announced {
                let length: usize = scripted.body.iter().map(Bytes::len).sum();
                headers.insert("content-length", HeaderValue::from(length));
            }
            let chunks = if request.method == http::Method::HEAD { Vec::new() } else { scripted.body };
            let broken = scripted.breaks.then(|| SendError::new(Stage::Body, "connection broken"));
            let end = stream::iter(broken.map(Err));
            let body = stream::iter(chunks.into_iter().map(Ok)).chain(end);
            Ok(Reply {
                status: scripted.status,
                headers,
                certificate: None,
                body: if scripted.hangs { Box::pin(body.chain(stream::pending())) } else { Box::pin(body) },
            })
        })
    }
}

/// A script with a header that no server can send.
fn malformed(error: &dyn std::fmt::Display) -> SendError {
    SendError::new(Stage::Sent, error.to_string())
}
