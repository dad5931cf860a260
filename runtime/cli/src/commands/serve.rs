//! Serving the socket of a state directory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hob_daemon::http::{self, Serving, Settings, Waiters};
use hob_daemon::hub::{Hub, Order, WebhookMatch};
use hob_daemon::node::Node;
use hob_daemon::performer::AsyncCore;
use hob_journal::Ticket;
use hob_model::{Code, Diagnostic, RunId};
use hob_primitive::ServiceRequest;
use hob_runs::Runs;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// How long open connections may take to end.
const CLOSE_GRACE: Duration = Duration::from_secs(3);
/// A run that ends sooner is not worth a socket.
const WORTH_SERVING: Duration = Duration::from_millis(100);

/// A served API; it ends when [`Served::end`] is called.
pub(crate) struct Served {
    core: AsyncCore,
    shutdown: CancellationToken,
    serving: Serving,
}

impl Served {
    /// Serves `hub` on the socket of the state directory and over TCP, for requests to `hosts` too.
    ///
    /// # Errors
    /// When an address is taken, or the socket cannot be made.
    pub(crate) fn begin(
        context: &Context,
        core: &AsyncCore,
        hub: Arc<dyn Hub>,
        waiters: Arc<Waiters>,
        (listen, hosts): (SocketAddr, Vec<String>),
    ) -> Result<Self, Diagnostic> {
        let shutdown = CancellationToken::new();
        let settings = Settings { allowed_hosts: hosts, ..Settings::in_state(&context.state, Some(listen)) };
        let serving = core.runtime().block_on(http::serve(hub, waiters, settings, shutdown.clone()))?;
        Ok(Self { core: core.clone(), shutdown, serving })
    }

    /// The bound TCP address.
    #[must_use]
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.serving.address
    }

    /// Takes no new connections and lets the open ones end.
    pub(crate) fn end(self) {
        self.shutdown.cancel();
        let closed = self.serving.closed();
        let _ = self.core.runtime().block_on(async { tokio::time::timeout(CLOSE_GRACE, closed).await });
    }
}

/// A process that runs one playbook in the foreground: other commands can talk to it about its runs.
struct Foreground {
    runs: Runs,
}

fn not_serving() -> Diagnostic {
    Diagnostic::error(Code::NoDaemon, "this process runs a playbook and serves no homelab")
        .hint("`hob up DIR` serves one, with another state directory")
}

impl Hub for Foreground {
    fn runs(&self) -> &Runs {
        &self.runs
    }
    fn ready(&self) -> bool {
        false
    }
    fn webhook(&self, _: &str, _: &str) -> Option<WebhookMatch> {
        None
    }
    fn start(&self, _: RunId, _: Order<'_>) -> Result<Ticket, Diagnostic> {
        Err(not_serving())
    }
    fn status(&self) -> Json {
        json!({ "tiers": [], "services": [] })
    }
    fn schedules(&self) -> Json {
        json!([])
    }
    fn service(&self, _: &str, _: &ServiceRequest) -> Result<Json, Diagnostic> {
        Err(not_serving())
    }
    fn living(&self, key: &str) -> Vec<u32> {
        crate::assemble::living(key)
    }
}

/// Serves the socket beside a foreground run, once the run has lasted long enough to be worth it.
pub(crate) struct Beside {
    quit: std::sync::mpsc::Sender<()>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.quit.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts to serve beside `node`, in the background. `waiters` must be among the node's listeners.
pub(crate) fn beside(context: &Context, node: &Node, waiters: Arc<Waiters>) -> Beside {
    let (quit, over) = std::sync::mpsc::channel::<()>();
    let (hub, core) = (Arc::new(Foreground { runs: node.runs.clone() }), node.core.clone());
    let settings = Settings::in_state(&context.state, None);
    let serve = move || {
        if over.recv_timeout(WORTH_SERVING) != Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            return;
        }
        let shutdown = CancellationToken::new();
        match core.runtime().block_on(http::serve(hub, waiters, settings, shutdown.clone())) {
            Ok(serving) => {
                let _ = over.recv();
                shutdown.cancel();
                let _ = core
                    .runtime()
                    .block_on(async { tokio::time::timeout(CLOSE_GRACE, serving.closed()).await });
            }
            Err(problem) => tracing::warn!(%problem, "other commands cannot talk to this run"),
        }
    };
    let thread = std::thread::Builder::new().name("hob-beside".into()).spawn(serve).ok();
    Beside { quit, thread }
}
