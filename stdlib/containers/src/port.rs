//! The trait through which a container engine is reached.
//!
//! Its data are those of the Docker Engine API, as [`bollard::models`] has them: Docker and Podman both speak it, and the
//! fake does too.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;

use bollard::models;
use bytes::Bytes;
use futures_util::Stream;

/// What an asynchronous method of the port returns.
pub type PortFuture<T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send>>;

/// What arrives bit by bit.
pub type PortStream<T> = Pin<Box<dyn Stream<Item = Result<T, EngineError>> + Send>>;

/// What a program in a container reads, bit by bit.
pub type Input = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// The engines of this machine.
pub trait ContainersPort: Send + Sync {
    /// The engine at `socket` (a path, `unix://…` or `tcp://…`), or the one that convention finds: see
    /// [`crate::sockets`]. `env` is the environment of the run, which may name it.
    ///
    /// # Errors
    /// When there is none, or it does not answer.
    fn engine(&self, socket: Option<&str>, env: &[(String, String)]) -> PortFuture<Arc<dyn Engine>>;
}

/// One container engine.
pub trait Engine: Send + Sync {
    /// Where it is reached.
    fn address(&self) -> String;

    /// What it is.
    fn version(&self) -> PortFuture<models::SystemVersion>;
    /// Where the output of containers goes that do not say it themselves; empty where the engine does not tell.
    fn log_driver(&self) -> PortFuture<String>;
    /// How much of what may change of a container its list tells.
    fn list_tells(&self) -> ListTells;
    /// Containers that all of `filters` fit (`label`, `name`, `status`, …); `all` with those that do not run.
    fn list(&self, all: bool, filters: Filters) -> PortFuture<Vec<models::ContainerSummary>>;
    /// All that is known about a container.
    fn inspect(&self, id: &str) -> PortFuture<models::ContainerInspectResponse>;
    /// Makes a container; gives its id.
    fn create(&self, name: &str, body: models::ContainerCreateBody) -> PortFuture<String>;
    /// Starts it; one that runs stays as it is.
    fn start(&self, id: &str) -> PortFuture<()>;
    /// Stops it: its stop signal, and SIGKILL after `seconds`, or after its own stop timeout.
    fn stop(&self, id: &str, seconds: Option<i32>) -> PortFuture<()>;
    /// Stops and starts it.
    fn restart(&self, id: &str, seconds: Option<i32>) -> PortFuture<()>;
    /// Sends it a signal.
    fn kill(&self, id: &str, signal: &str) -> PortFuture<()>;
    /// Removes it; `force` if it runs, `volumes` with its anonymous volumes.
    fn remove(&self, id: &str, force: bool, volumes: bool) -> PortFuture<()>;
    /// Gives it another name.
    fn rename(&self, id: &str, name: &str) -> PortFuture<()>;
    /// Its output.
    fn logs(&self, id: &str, query: LogQuery) -> PortStream<Chunk>;
    /// One sample of what it uses.
    fn stats(&self, id: &str) -> PortFuture<models::ContainerStatsResponse>;
    /// Prepares a program in it; gives the id of the exec.
    fn exec(&self, id: &str, config: models::ExecConfig) -> PortFuture<String>;
    /// Starts the prepared program with `stdin` and gives what it writes until it ends.
    fn exec_start(&self, exec: &str, stdin: Option<Input>) -> PortStream<Chunk>;
    /// The exit code of a program that ended.
    fn exec_code(&self, exec: &str) -> PortFuture<Option<i64>>;
    /// Removes containers that do not run and that `filters` fit; their ids, and the bytes that got free.
    fn prune(&self, filters: Filters) -> PortFuture<(Vec<String>, u64)>;

    /// The images that are here.
    fn images(&self) -> PortFuture<Vec<models::ImageSummary>>;
    /// All that is known about an image.
    fn image(&self, name: &str) -> PortFuture<models::ImageInspect>;
    /// Fetches an image; tells its progress.
    fn pull(&self, name: &str, login: Option<Login>, platform: Option<&str>) -> PortStream<Step>;
    /// Builds an image from a tar archive; tells its progress.
    fn build(&self, request: BuildRequest, context: Bytes) -> PortStream<Step>;
    /// Takes images from an archive that was saved.
    fn load(&self, archive: PortStream<Bytes>) -> PortStream<Step>;
    /// Removes an image; gives what was untagged and deleted.
    fn image_remove(&self, name: &str, force: bool) -> PortFuture<Vec<String>>;
    /// Removes images without a name, or with `all` every one that no container uses.
    fn images_prune(&self, all: bool) -> PortFuture<(Vec<String>, u64)>;

    /// All networks.
    fn networks(&self) -> PortFuture<Vec<models::Network>>;
    /// Makes a network; gives its id.
    fn network_create(&self, request: models::NetworkCreateRequest) -> PortFuture<String>;
    /// Has a container leave a network and join it again, with other settings there.
    fn network_rejoin(&self, network: &str, id: &str, settings: models::EndpointSettings) -> PortFuture<()>;
    /// Removes a network.
    fn network_remove(&self, name: &str) -> PortFuture<()>;

    /// All volumes.
    fn volumes(&self) -> PortFuture<Vec<models::Volume>>;
    /// Makes a volume.
    fn volume_create(&self, request: models::VolumeCreateRequest) -> PortFuture<models::Volume>;
    /// Removes a volume.
    fn volume_remove(&self, name: &str) -> PortFuture<()>;

    /// What happens to containers, and to networks, from now on, until the connection is lost.
    fn events(&self) -> PortStream<models::EventMessage>;
}

/// How much of what may change of a container once it is made an engine's list tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListTells {
    /// All of it: what it is connected to.
    All,
    /// All but what `update` changes: limits, the policy of restarts, checks of its health, variables.
    AllButUpdates,
    /// Less: not by what names it is reached.
    Less,
}

/// Filters of the API: each key with the values of which one must fit.
pub type Filters = HashMap<String, Vec<String>>;

/// Which part of the output of a container is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Whether to go on while it runs.
    pub follow: bool,
    /// Only so many of the last lines.
    pub tail: Option<u64>,
    /// From here: seconds since the epoch.
    pub since: Option<i64>,
    /// Up to here: seconds since the epoch.
    pub until: Option<i64>,
}

/// Where a program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Standard output, also that of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it was written.
    pub stream: Channel,
    /// What was written; logs have the time in front of each line.
    pub bytes: Bytes,
}

/// How far a pull, build or load is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Which layer.
    pub id: Option<String>,
    /// What is going on, or a line of the build.
    pub text: String,
    /// How many bytes are done, and of how many.
    pub bytes: Option<(u64, u64)>,
    /// The image that came about.
    pub image: Option<String>,
}

/// Credentials for a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password or token.
    pub password: String,
    /// The registry: `ghcr.io`.
    pub server: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({} at {})", self.user, self.server)
    }
}

/// What is to be built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildRequest {
    /// The name of the image.
    pub tag: String,
    /// The file with the instructions, within the context.
    pub dockerfile: String,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// The stage to stop at.
    pub target: Option<String>,
    /// Whether to build every layer anew.
    pub no_cache: bool,
    /// Whether to fetch newer base images.
    pub pull: bool,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
}

/// Why an engine did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is nothing at its address.
    NoSocket,
    /// hob may not open its socket.
    NoPermission,
    /// Nobody listens at its address.
    Refused,
    /// The connection broke: it may or may not have done it.
    Lost,
    /// It answered with this HTTP status.
    Status(u16),
    /// It failed in the middle of a stream, or answered what cannot be understood.
    Other,
}

/// An engine's refusal, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineError {
    /// What kind of failure it is.
    pub fault: Fault,
    /// What the engine, or the operating system, says.
    pub message: String,
}

impl EngineError {
    /// A failure of this kind.
    pub fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into() }
    }

    /// Whether the engine does not know what was named.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.fault == Fault::Status(404)
    }
}
