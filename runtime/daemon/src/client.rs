//! A blocking client of the API over the socket, for commands.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hob_model::{Code, Diagnostic};
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use crate::http::socket::Address;
use crate::view::problem_of;

/// How long a usual answer may take.
pub const ANSWER_MAX: Duration = Duration::from_secs(90);
/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 30;
/// The largest event of a stream, in bytes.
const EVENT_BYTES_MAX: usize = 64 << 20;

/// A name as one segment of a path.
#[must_use]
pub fn segment(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Why a call gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody serves the state directory.
    #[error("no hob answers on {0}")]
    NoDaemon(PathBuf),
    /// The socket is there and cannot be used.
    #[error("the socket {path} cannot be used: {error}")]
    Unusable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The daemon refused the call.
    #[error("{problem}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What it said.
        problem: Diagnostic,
    },
    /// The answer broke off, or is none.
    #[error("hob's answer cannot be read: {0}")]
    Broken(String),
    /// No answer came in time.
    #[error("hob did not answer within {} s", .0.as_secs())]
    Late(Duration),
}

impl ClientError {
    /// The problem for people.
    #[must_use]
    pub fn diagnostic(&self) -> Diagnostic {
        let text = self.to_string();
        match self {
            Self::NoDaemon(_) => {
                Diagnostic::error(Code::NoDaemon, text).hint("`hob up` serves a state directory")
            }
            Self::Unusable { .. } => Diagnostic::error(Code::StateUnusable, text)
                .hint("the socket answers its owner and root; run the command as that user"),
            Self::Refused { problem, .. } => problem.clone(),
            Self::Broken(_) | Self::Late(_) => {
                Diagnostic::error(Code::NoDaemon, text).hint("the log of `hob up` says more")
            }
        }
    }
}

/// A client of the hob that serves a state directory. Each call is a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    answer_max: Option<Duration>,
}

impl Client {
    /// A client of the hob behind this socket; nothing is connected yet.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), answer_max: Some(ANSWER_MAX) }
    }

    /// For commands about services, which may take as long as services do.
    #[must_use]
    pub fn without_limit(mut self) -> Self {
        self.answer_max = None;
        self
    }

    /// Whether a hob answers, ready or not.
    #[must_use]
    pub fn answers(&self) -> bool {
        !matches!(self.get("/healthz"), Err(ClientError::NoDaemon(_) | ClientError::Unusable { .. }))
    }

    /// Reads `path`: `/api/v1/runs?limit=5`.
    ///
    /// # Errors
    /// When nobody answers, the call is refused, or the answer breaks off.
    pub fn get(&self, path: &str) -> Result<Json, ClientError> {
        block_on(self.limited(self.call(Method::GET, path, None)))
    }

    /// Sends a command to `path`.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post(&self, path: &str, body: &Json) -> Result<Json, ClientError> {
        block_on(self.limited(self.call(Method::POST, path, Some(body))))
    }

    /// Reads a stream of events from `path` and hands each to `hear`, by name and data, until that breaks or the
    /// stream ends. It has no time limit.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn stream(
        &self,
        path: &str,
        mut hear: impl FnMut(&str, Json) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let runtime = runtime()?;
        let response = runtime.block_on(self.send(Method::GET, path, None))?;
        if response.status() != StatusCode::OK {
            return runtime.block_on(answer(response)).map(drop);
        }
        let mut body = response.into_body();
        let mut events = Events::default();
        // `hear` is called outside of the runtime, so that it may call this client in its turn.
        while let Some(frame) = runtime.block_on(body.frame()) {
            let frame = frame.map_err(|error| ClientError::Broken(error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            events.add(&data)?;
            while let Some((name, data)) = events.next()? {
                if hear(&name, data).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn limited<T>(&self, call: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
        match self.answer_max {
            Some(limit) => tokio::time::timeout(limit, call).await.map_err(|_| ClientError::Late(limit))?,
            None => call.await,
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Json>) -> Result<Json, ClientError> {
        answer(self.send(method, path, body).await?).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Json>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = self.connect().await?;
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to hob broke");
            }
        });
        let text = body.map(ToString::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(text)))
            .map_err(|error| ClientError::Broken(format!("`{path}` is no path: {error}")))?;
        sender.send_request(request).await.map_err(broken)
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        use std::io::ErrorKind::{ConnectionRefused, NotFound};
        let connected = async { UnixStream::connect(&Address::of(&self.socket)?.path).await };
        connected.await.map_err(|error| match error.kind() {
            NotFound | ConnectionRefused => ClientError::NoDaemon(self.socket.clone()),
            _ => ClientError::Unusable { path: self.socket.clone(), error },
        })
    }
}

/// Reads an answer whole. One that is no JSON (`/healthz`, `/metrics`) is a text.
async fn answer(response: Response<Incoming>) -> Result<Json, ClientError> {
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let bytes = body.map_err(|error| ClientError::Broken(error.to_string()))?.to_bytes();
    let json = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Json::String(String::from_utf8_lossy(&bytes).trim_end().to_owned()));
    if status.is_success() {
        return Ok(json);
    }
    match problem_of(&json) {
        Some(problem) => Err(ClientError::Refused { status, problem }),
        None => Err(ClientError::Broken(format!("status {status}: {json}"))),
    }
}

/// A small runtime: a command needs no more.
fn runtime() -> Result<Runtime, ClientError> {
    let built = Builder::new_current_thread().enable_io().enable_time().build();
    built.map_err(|error| ClientError::Broken(format!("no runtime: {error}")))
}

fn block_on<T>(call: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    runtime()?.block_on(call)
}

/// Reads server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), as hob writes them:
/// lines end with a line feed, and an event with an empty line.
#[derive(Default)]
struct Events {
    unread: Vec<u8>,
}

impl Events {
    fn add(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        if self.unread.len() + bytes.len() > EVENT_BYTES_MAX {
            return Err(ClientError::Broken(format!("an event is larger than {EVENT_BYTES_MAX} bytes")));
        }
        self.unread.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole event: its name and its data.
    fn next(&mut self) -> Result<Option<(String, Json)>, ClientError> {
        while let Some(end) = self.unread.windows(2).position(|two| two == b"\n\n") {
            let whole: Vec<u8> = self.unread.drain(..end + 2).collect();
            let text = String::from_utf8(whole).map_err(|error| ClientError::Broken(error.to_string()))?;
            let field = |name: &str| {
                text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_start)
            };
            // A comment keeps the connection alive and says nothing.
            let Some(data) = field("data") else { continue };
            let data = serde_json::from_str(data).map_err(|error| ClientError::Broken(error.to_string()))?;
            return Ok(Some((field("event").unwrap_or("message").to_owned(), data)));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text =
            b": hello\n\nevent: log\nid: 3\ndata: {\"message\":\"a\"}\n\ndata: 7\n\nevent: end\ndata: nu";
        for cut in 1..text.len() {
            let mut events = Events::default();
            let mut heard = Vec::new();
            for part in text.chunks(cut) {
                events.add(part).unwrap();
                while let Some(event) = events.next().unwrap() {
                    heard.push(event);
                }
            }
            let log = ("log".to_owned(), serde_json::json!({ "message": "a" }));
            assert_eq!(heard, [log, ("message".to_owned(), Json::from(7))], "cut at {cut}");
        }
    }

    #[test]
    fn an_event_that_is_no_json_is_an_error() {
        let mut events = Events::default();
        events.add(b"data: {\n\n").unwrap();
        assert!(matches!(events.next(), Err(ClientError::Broken(_))));
    }
}
