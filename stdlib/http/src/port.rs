//! How requests reach a server.

use std::path::PathBuf;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, Method};
use url::Url;

/// A body while it arrives.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, SendError>> + Send>>;

/// What sending gives, some time.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Reply, SendError>> + Send + 'a>>;

/// Sends one request and gives what the server answers to it. Redirects are not followed, nothing is tried again, and
/// no environment variable is looked at.
pub trait HttpPort: Send + Sync {
    /// Sends it. Dropping the future or the body gives the request up.
    fn send(&self, request: Request) -> Sending<'_>;
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The address, without user, password and fragment.
    pub url: Url,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// How the server is reached.
    pub route: Route,
}

/// How a server is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Route {
    /// Whether certificates of servers go unchecked.
    pub insecure: bool,
    /// A file with further certificate authorities (PEM).
    pub ca: Option<PathBuf>,
    /// Files with the client's certificate and its key (PEM).
    pub identity: Option<(PathBuf, PathBuf)>,
    /// A proxy: `http://…`, `https://…` or `socks5://…`.
    pub proxy: Option<Url>,
    /// A Unix socket that all connections are made to.
    pub unix_socket: Option<PathBuf>,
}

/// An answer whose body is still to come.
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The certificate that the server showed, in DER, where the connection is secured.
    pub certificate: Option<Vec<u8>>,
    /// The body, decompressed.
    pub body: BodyStream,
}

/// How far a request came before it failed: what may have happened depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A file that the route names cannot be used.
    Setup,
    /// The name of the host is not known.
    Resolve,
    /// No connection came about.
    Connect,
    /// The connection is not trusted, or TLS failed otherwise.
    Tls,
    /// The request was on its way, wholly or in part.
    Sent,
    /// The answer broke off.
    Body,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SendError {
    /// How far it came.
    pub stage: Stage,
    /// The innermost cause.
    pub message: String,
    /// Whether it took too long.
    pub timed_out: bool,
}

impl SendError {
    /// A failure that has nothing to do with time.
    pub fn new(stage: Stage, message: impl Into<String>) -> Self {
        Self { stage, message: message.into(), timed_out: false }
    }
}
