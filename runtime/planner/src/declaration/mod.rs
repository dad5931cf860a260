//! What `homelab.rhai` declares: read from option maps, typed, and checked as a whole.

mod alert;
mod backup;
mod body;
mod channel;
mod check;
mod fields;
mod gate;
mod gpu;
mod health;
mod homelab;
mod hooks;
mod host;
mod options;
mod ports;
mod raw;
mod replicas;
mod secret;
mod service;
mod storage;
mod trigger;
mod update;
mod work;

pub use alert::{Alert, Heard, Looks, WHEN as ALERT_WHEN, labels_by};
pub use backup::{BACKUP_ACTS, Backup};
pub use body::{Asked, Body, Kept, Kind, Listens, PROCESS, Process, Published};
pub use channel::{Channel, DEFAULT_CHANNEL};
pub(crate) use fields::is_common;
pub use gpu::{Encode, Full, GPU_DEVICE, Gpu, Pick};
pub use hooks::{HOOK_TIMEOUT, Hook, Hooks, UNLOAD_TIMEOUT};
pub use raw::{Declaration, Raw};
pub use replicas::{REPLICA_VARIABLE, REPLICAS_MAX, Replica};
pub use secret::{ReloadSignal, SECRETS_FIELD, SecretUse, SecretValue};
pub use storage::{MOUNT_PATIENCE, MOUNT_TIMEOUT};
pub use trigger::Subscription;
pub use update::{UPDATE_SETTLE, Update, successor};
pub use work::Setup;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hob_model::{Code, Diagnostic, OnDoubt, Source, Value};
use hob_scheduler::{Schedule, When};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::graph::Graph;
use crate::restart::{OnDrift, Restart};

/// How many characters a name may have: it becomes part of file names and of variables.
pub const NAME_CHARS_MAX: usize = 64;

/// How long a service may take to become ready unless it says otherwise.
pub const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a service may take to end after SIGTERM, before SIGKILL, unless it says otherwise.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What declarations are read against.
#[derive(Clone)]
pub struct Surroundings<'a> {
    /// The time zones that may be named.
    pub zones: &'a TimeZoneDatabase,
    /// The zone of a homelab that names none.
    pub zone: TimeZone,
    /// The homelab's directory, absolute: where services work unless they say otherwise.
    pub directory: &'a Path,
    /// What services can be beside processes.
    pub kinds: &'a [&'a dyn Kind],
    /// The name of this machine: the services that name no host are its.
    pub host: Option<&'a str>,
}

/// Everything that a homelab declares.
///
/// Where there were errors, it holds what could be read; such a homelab is not to be planned.
#[derive(Clone, Debug)]
pub struct Homelab {
    /// Its name; `homelab` unless it was given one.
    pub name: String,
    /// The domain under which it is reached.
    pub domain: Option<String>,
    /// The time zone of its schedules.
    pub timezone: TimeZone,
    /// Its directory, absolute.
    pub directory: PathBuf,
    /// Where its secrets are, absolute; where they usually are when nothing is said.
    pub secrets: Vec<PathBuf>,
    /// Its machines.
    pub hosts: Vec<Host>,
    /// Its boot stages, as they were declared.
    pub tiers: Vec<Tier>,
    /// What should run, as it was declared.
    pub services: Vec<Service>,
    /// The file systems that services stand on.
    pub mounts: Vec<Mount>,
    /// The directories with data.
    pub datasets: Vec<Dataset>,
    /// What of services is backed up.
    pub service_backups: Vec<ServiceBackup>,
    /// How people are told.
    pub channels: Vec<Channel>,
    /// What is looked for, and whom it is told.
    pub alerts: Vec<Alert>,
    /// The Alertmanager that hears of alerts, too: its address.
    pub alertmanager: Option<String>,
    /// What runs at times.
    pub schedules: Vec<ScheduleDeclaration>,
    /// What can be started.
    pub workflows: Vec<Workflow>,
    /// What is done once.
    pub setups: Vec<Setup>,
    /// The order of services and tiers.
    pub graph: Graph,
}

/// A machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Under which name or address it is reached.
    pub address: Option<String>,
    /// The options of its services that are others there, by the names of these.
    pub services: BTreeMap<String, BTreeMap<String, Value>>,
    /// Where it was declared.
    pub source: Source,
}

/// A file system that must be mounted before a service starts whose files are on it. hob looks, and mounts nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its name.
    pub name: String,
    /// Where it is to be mounted, absolute.
    pub path: PathBuf,
    /// What is to be mounted there: `UUID=…`, `LABEL=…`, a device, `server:/export`; anything when absent.
    pub device: Option<String>,
    /// The type that it is to have; any when absent.
    pub fs_type: Option<String>,
    /// How long services wait for it before they count as failed.
    pub timeout: Duration,
    /// How long it may take to answer.
    pub patience: Duration,
    /// Where it was declared.
    pub source: Source,
}

/// A directory with data that outlives services: it must exist before a service starts that uses it, and hob never removes
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// The directory, absolute.
    pub path: PathBuf,
    /// How it is backed up.
    pub backup: Option<Backup>,
    /// Where it was declared.
    pub source: Source,
}

/// How a service is backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceBackup {
    /// The service.
    pub service: String,
    /// How.
    pub backup: Backup,
    /// Where it was declared.
    pub source: Source,
}

/// What becomes of later tiers when a service of this one does not get ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// They do not start.
    #[default]
    Stop,
    /// They start all the same; services that need the failed one do not.
    Continue,
}

/// When a tier counts as reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TierGate {
    /// When all its services are ready.
    #[default]
    All,
    /// When those are that have `critical: true`.
    Critical,
    /// When so many are.
    Quorum(usize),
}

/// A boot stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Its name.
    pub name: String,
    /// The tiers whose services must be ready first.
    pub after: Vec<String>,
    /// What must be ready for later tiers to start.
    pub gate: TierGate,
    /// What a failure in it means for later tiers.
    pub on_failure: OnFailure,
    /// How many of its services get ready at one time; as many as are free to when absent.
    pub parallel: Option<usize>,
    /// Where it was declared.
    pub source: Source,
}

/// What must hold before a service counts as ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Its program runs, or has ended well.
    Alive,
    /// Something on this machine accepts connections at the port.
    Tcp {
        /// The port.
        port: u16,
    },
    /// A GET request to this machine is answered well.
    Http {
        /// The port.
        port: u16,
        /// Path and query, beginning with `/`.
        path: String,
        /// The status it must have; any from 200 to 399 when absent.
        status: Option<u16>,
    },
    /// A command ends with code 0.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
    },
    /// The service wrote a line that matches.
    Log {
        /// A regular expression.
        pattern: String,
    },
    /// A file exists.
    File {
        /// Its path, absolute.
        path: PathBuf,
    },
    /// Its own health check passes: that of its image, or of the service.
    Healthy,
    /// Its program has ended with code 0.
    Completed,
}

/// When a service counts as ready, and how long that may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// What must hold.
    pub gate: Gate,
    /// From the start of the service.
    pub timeout: Duration,
}

/// Who may reach a service from outside. Kept for those who route to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    /// Reachable from the internet.
    pub public: bool,
    /// Without the authentication that stands before the others.
    pub bypass_auth: bool,
    /// Through a Tailscale funnel.
    pub tailscale_funnel: bool,
}

/// How a ready service is looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What must go on to hold.
    pub gate: Gate,
    /// The pause between two looks.
    pub interval: Duration,
    /// How long one look may take.
    pub timeout: Duration,
    /// How many looks in a row must fail until it counts as degraded.
    pub retries: u32,
    /// Whether it is restarted then.
    pub restart: bool,
}

/// Something that should run.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its boot stage; a service without one waits only for what it needs.
    pub tier: Option<String>,
    /// The machine it belongs to; the only one when absent.
    pub host: Option<String>,
    /// What it is.
    pub body: Body,
    /// The port it listens on.
    pub port: Option<u16>,
    /// The service whose network it shares: it is among those it needs, and never runs in the network of an instance that
    /// has ended.
    pub via: Option<String>,
    /// What must be ready before it starts.
    pub needs: Vec<String>,
    /// What it starts after, where that is declared.
    pub wants: Vec<String>,
    /// The mounts that its files are on.
    pub mounts: Vec<String>,
    /// The datasets that it uses.
    pub datasets: Vec<String>,
    /// When it counts as ready.
    pub ready: Readiness,
    /// How it is looked after once it is.
    pub health: Option<Health>,
    /// When it is started again after it ended.
    pub restart: Restart,
    /// What becomes of what somebody changes of it past hob.
    pub drift: OnDrift,
    /// How long it may take to end after SIGTERM.
    pub stop_timeout: Duration,
    /// What has it read new values of its secrets; it is started anew for them when absent.
    pub reload: Option<ReloadSignal>,
    /// Whether a tier with the gate `critical` waits for it.
    pub critical: bool,
    /// Whether it ends together with hob; as hob was told for all when absent.
    pub stop_on_exit: Option<bool>,
    /// Who may reach it.
    pub exposure: Exposure,
    /// When it is updated by itself, and how.
    pub update: Option<Update>,
    /// What runs around its start and its stop.
    pub hooks: Hooks,
    /// Which one it is of several that were declared as one.
    pub replica: Option<Replica>,
    /// What it needs of a graphics card.
    pub gpu: Option<Gpu>,
    /// Its options as they were written, with what its host says.
    pub options: Value,
    /// Where options were declared that are not its own, by their paths: `env.TZ`.
    pub set_by: BTreeMap<String, Source>,
    /// Where it was declared.
    pub source: Source,
}

/// What a run may do and what becomes of its doubts; each absent unless it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunPolicy {
    /// What to do with `once` effects whose outcome is unknown.
    pub on_doubt: Option<OnDoubt>,
    /// The permissions it is narrowed to.
    pub allow: Option<Vec<String>>,
    /// The permissions it lacks.
    pub deny: Vec<String>,
    /// The workflow that is started when a run of it fails.
    pub on_error: Option<String>,
    /// What its runs are found by.
    pub tags: Vec<String>,
}

/// How many runs of a workflow go on at one time, which comes first, and how long each may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkLimits {
    /// Runs of it at one time; further ones wait their turn. As many as come when absent.
    pub concurrency: Option<usize>,
    /// Of runs that wait, those of higher priority begin first.
    pub priority: i64,
    /// A run is ended after this.
    pub timeout: Option<Duration>,
}

/// What runs at times.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleDeclaration {
    /// Its times and options.
    pub schedule: Schedule,
    /// What its runs may do; kept once for all that may the same.
    pub policy: Arc<RunPolicy>,
    /// Where it was declared.
    pub source: Source,
}

/// What is answered to the caller of a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Respond {
    /// The id of the run, as soon as it is durable.
    #[default]
    Accepted,
    /// The value of the run when it has ended.
    Last,
}

/// What starts a workflow.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// Times.
    Time(When),
    /// An event.
    Event {
        /// Its name; `*` stands for any part of it.
        pattern: String,
        /// What it must carry (see [`hob_model::pattern::fits`]); `()` for anything.
        filter: Value,
    },
    /// A request.
    Webhook(Webhook),
    /// Files.
    Watch(Watch),
    /// What something outside tells only who asks for it: messages of a broker, changes of a power supply.
    Subscription(Subscription),
    /// A person.
    Manual,
}

/// Files that start a workflow, each when it is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The pattern of their paths, absolute.
    pub pattern: String,
    /// How long a file must not have changed.
    pub settle: Duration,
}

/// A request that starts a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// Its path below `/hooks`, beginning with `/`; a segment `:name` takes any value.
    pub path: String,
    /// What the caller must know.
    pub secret: Option<String>,
    /// What is answered.
    pub respond: Respond,
    /// How many requests it takes; without it, only the limits of the whole hold.
    pub rate: Option<Rate>,
    /// The largest body, in bytes; without it, the limit of all webhooks holds.
    pub body_bytes_max: Option<u64>,
}

/// So many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many, also at once.
    pub count: u32,
    /// In which time.
    pub per: Duration,
}

/// What can be started, by a trigger or by a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Workflow {
    /// Its name.
    pub name: String,
    /// What starts it; a person always may.
    pub triggers: Vec<Trigger>,
    /// Its graph, where it is declared as one.
    pub graph: Option<hob_flow::Graph>,
    /// What its runs may do.
    pub policy: RunPolicy,
    /// How many of them go on, and for how long.
    pub limits: WorkLimits,
    /// Where it was declared.
    pub source: Source,
}

impl Service {
    /// The name of its declaration, in which its functions are.
    #[must_use]
    pub fn declared(&self) -> &str {
        self.replica.as_ref().map_or(&self.name, |replica| &replica.of)
    }
}

/// A mistake in a declaration.
fn bad(source: &Source, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(Code::BadDeclaration, message).at(source.clone())
}
