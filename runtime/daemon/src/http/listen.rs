//! Accepting connections, and what a connection may cost.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hob_model::{Code, Diagnostic};
use http::StatusCode;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::access::{Access, Peer};
use super::reply::Refusal;

/// Connections over TCP that are served at one time; more wait to be accepted.
const TCP_CONNECTIONS_MAX: usize = 512;
/// Connections over the socket, counted apart: a flood over TCP never keeps the owner out.
const SOCKET_CONNECTIONS_MAX: usize = 128;
/// Headers of one request.
const HEADERS_MAX: usize = 100;
/// The largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long requests under way may take when hob stops.
const GRACE: Duration = Duration::from_secs(5);
/// How long a peer that is refused may take to read why.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// How much of a refused peer's request is read before the answer: enough for the whole of what hob itself sends.
const FAREWELL_READ_BYTES: usize = 4 * 1024;
/// The pause after a failed accept: what the system lacks (file descriptors) comes back when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all connections share.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) router: Router,
    pub(crate) access: Arc<Access>,
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// How long the head of a request may take.
    pub(crate) head_read_max: Duration,
}

impl Front {
    pub(crate) async fn accept_tcp(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(TCP_CONNECTIONS_MAX));
        loop {
            let Some((place, accepted)) = self.next(&places, listener.accept()).await else { return };
            match accepted {
                Ok((stream, address)) => {
                    // Answers are small and whole: waiting for more to send would only delay them.
                    let _ = stream.set_nodelay(true);
                    self.serve(stream, Peer::Tcp(address), place);
                }
                Err(error) => pause_after(&error).await,
            }
        }
    }

    pub(crate) async fn accept_unix(self, listener: UnixListener) {
        let owner = rustix::process::geteuid().as_raw();
        let places = Arc::new(Semaphore::new(SOCKET_CONNECTIONS_MAX));
        loop {
            let Some((place, accepted)) = self.next(&places, listener.accept()).await else { return };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            };
            match stream.peer_cred().map(|peer| peer.uid()) {
                Ok(uid) if uid == owner || uid == 0 => self.serve(stream, Peer::Socket(uid), place),
                other => {
                    tracing::warn!(?other, "a stranger on the socket is refused");
                    self.tasks.spawn(async move {
                        let _place = place;
                        let _ = tokio::time::timeout(FAREWELL_MAX, farewell(stream, owner)).await;
                    });
                }
            }
        }
    }

    /// The next connection, once there is a place for it; `None` when hob stops.
    async fn next<T>(
        &self,
        places: &Arc<Semaphore>,
        accept: impl Future<Output = T>,
    ) -> Option<(tokio::sync::OwnedSemaphorePermit, T)> {
        let place = tokio::select! {
            place = Arc::clone(places).acquire_owned() => place.ok()?,
            () = self.closing.cancelled() => return None,
        };
        tokio::select! {
            accepted = accept => Some((place, accepted)),
            () = self.closing.cancelled() => None,
        }
    }

    fn serve<S>(&self, stream: S, peer: Peer, place: tokio::sync::OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let front = self.clone();
        self.tasks.spawn(async move {
            let _place = place;
            let service = service_fn(|request| front.answer(request, peer));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(front.head_read_max)
                .max_headers(HEADERS_MAX)
                .max_header_size(HEAD_BYTES_MAX)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = front.closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, ?peer, "a connection broke");
            }
        });
    }

    async fn answer(&self, request: http::Request<Incoming>, peer: Peer) -> Result<Response, Infallible> {
        let (mut head, body) = request.into_parts();
        let response = match self.access.admit(peer, &head) {
            Err(refusal) => refusal.into_response(),
            Ok(()) => {
                head.extensions.insert(peer);
                let request = http::Request::from_parts(head, Body::new(body));
                let answer = self.router.clone().call(request);
                // A panic is a bug of hob; it costs one request its answer, not hob its service.
                match AssertUnwindSafe(answer).catch_unwind().await {
                    Ok(Ok(response)) => response,
                    Ok(Err(never)) => match never {},
                    Err(_) => {
                        tracing::error!("a request panicked");
                        let text = "hob failed to answer; its log says more";
                        Refusal::new(
                            StatusCode::INTERNAL_SERVER_ERROR,
                            Diagnostic::error(Code::OperationFailed, text),
                        )
                        .into_response()
                    }
                }
            }
        };
        crate::metrics::answered(response.status());
        Ok(response)
    }
}

async fn pause_after(error: &std::io::Error) {
    tracing::warn!(%error, "a connection cannot be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Tells another user's process why it is not answered.
async fn farewell(mut stream: tokio::net::UnixStream, owner: u32) -> std::io::Result<()> {
    // A client that is answered while it still writes may take that for a broken connection.
    let _ = stream.read(&mut [0; FAREWELL_READ_BYTES]).await?;
    let text = format!("this socket answers the user with id {owner} and root only");
    let body = crate::view::problem_json(&Diagnostic::error(Code::Unauthorized, text)).to_string();
    let head = "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\nconnection: close";
    stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    stream.shutdown().await
}

/// Binds a TCP port.
pub(crate) async fn bind_tcp(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Diagnostic> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    };
    bound.await.map_err(|error: std::io::Error| {
        let text = format!("hob cannot listen on {address}: {error}");
        Diagnostic::error(Code::Usage, text).hint("name another address with --listen")
    })
}
