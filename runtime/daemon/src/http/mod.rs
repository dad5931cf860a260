//! The HTTP API: health, metrics, webhooks and `/api/v1`, over TCP and over the socket in the state directory.
//!
//! | module | holds |
//! |---|---|
//! | `access` | who may ask |
//! | `listen`, `socket` | connections and their limits |
//! | `webhook` | `/hooks/…` |
//! | `links` | `/links/…`: answers to approvals |
//! | `route` | what a route of the API is: from one declaration come its checks and its documentation |
//! | `api` | the routes |
//! | `waiters` | waiting for runs in async code |

mod access;
mod api;
mod app;
mod body;
mod deliveries;
mod links;
mod listen;
mod openapi;
mod query;
mod reply;
mod route;
pub(crate) mod socket;
mod stream;
mod token;
mod waiters;
mod webhook;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hob_model::Diagnostic;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use token::load_or_create as load_or_create_key;
pub use waiters::{Expectation, Settled, Waiters};

use crate::hub::Hub;
use access::Access;
use app::App;
use listen::Front;

/// The address that `hob up` listens on when none is named.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:4620";
/// The name of the socket in the state directory.
pub const SOCKET_NAME: &str = "hob.sock";
/// The name of the token file in the state directory.
pub const TOKEN_NAME: &str = "token";

/// Where and for whom to serve.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The TCP address; port 0 takes a free one. `None`: the socket alone.
    pub listen: Option<SocketAddr>,
    /// The Unix socket.
    pub socket: PathBuf,
    /// The file with the token that opens the API over TCP; made when it does not exist.
    pub token_file: PathBuf,
    /// Names and addresses beside loopback that a request's `Host` may have, without a port.
    pub allowed_hosts: Vec<String>,
    /// How long peers and runs are waited for.
    pub limits: Limits,
}

/// How long peers and runs are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The head of a request, and so the next request on an idle connection.
    pub head_read: Duration,
    /// The body of a request.
    pub body_read: Duration,
    /// The end of a run that a webhook with `respond: "last"` started.
    pub respond_last: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_read: Duration::from_secs(10),
            body_read: Duration::from_secs(30),
            respond_last: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// The usual settings for a state directory.
    #[must_use]
    pub fn in_state(state: &std::path::Path, listen: Option<SocketAddr>) -> Self {
        Self {
            listen,
            socket: state.join(SOCKET_NAME),
            token_file: state.join(TOKEN_NAME),
            allowed_hosts: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// An API that is being served.
pub struct Serving {
    /// The bound TCP address.
    pub address: Option<SocketAddr>,
    tasks: TaskTracker,
    _socket: socket::Bound,
}

impl Serving {
    /// Returns when all connections have ended after the shutdown.
    pub async fn closed(self) {
        self.tasks.wait().await;
    }
}

/// Serves until `shutdown` is cancelled; returns once both listeners are bound. The caller holds the state lock.
///
/// # Errors
/// When an address is taken, or the socket or the token file cannot be used.
pub async fn serve(
    hub: Arc<dyn Hub>,
    waiters: Arc<Waiters>,
    settings: Settings,
    shutdown: CancellationToken,
) -> Result<Serving, Diagnostic> {
    let (listener, bound) = socket::bind(&settings.socket)?;
    let listener = UnixListener::from_std(listener).map_err(|error| {
        Diagnostic::error(hob_model::Code::StateUnusable, format!("the socket cannot be served: {error}"))
    })?;
    let tcp = match settings.listen {
        Some(address) => Some(listen::bind_tcp(address).await?),
        None => None,
    };
    let address = tcp.as_ref().map(|(_, address)| *address);
    let access = Access {
        token: tcp.is_some().then(|| token::load_or_create(&settings.token_file)).transpose()?,
        hosts: settings.allowed_hosts,
        listen: address.map(|address| address.ip()).filter(|ip| !ip.is_unspecified()),
    };
    crate::metrics::recorder();
    let tasks = TaskTracker::new();
    let app = Arc::new(App::new(hub, waiters, settings.limits, shutdown.clone(), tasks.clone()));
    let front = Front {
        router: app::router(app),
        access: Arc::new(access),
        closing: shutdown,
        tasks: tasks.clone(),
        head_read_max: settings.limits.head_read,
    };
    tasks.spawn(front.clone().accept_unix(listener));
    if let Some((listener, address)) = tcp {
        tracing::info!(%address, "listening");
        tasks.spawn(front.accept_tcp(listener));
    }
    tasks.close();
    Ok(Serving { address, tasks, _socket: bound })
}
