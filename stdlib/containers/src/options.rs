//! What a container may be made with: the keys of a service in the Compose specification.

use std::time::Duration;

use hob_model::OpError;
use hob_primitive::{Choice, FromOptions, OptionMap, OptionSpec, Options, Size};

use crate::devices::Devices;
use crate::parts::{Command, HealthCheck, Logging, Mounts, Networks, Ports, Restart, Secrets, Ulimits};
use crate::read::{ImageName, Pairs, Texts, Variables};

/// When an image is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum PullPolicy {
    /// When it is not here.
    Missing,
    /// Each time.
    Always,
    /// Never.
    Never,
}

/// Options of `containers::create` and `containers::ensure`.
#[derive(Clone, Debug, Options)]
pub struct Spec {
    /// The image, by its full name: `docker.io/library/nginx:1.27`.
    pub image: ImageName,
    /// The arguments, or the whole command where the image has no entrypoint.
    pub command: Option<Command>,
    /// The program, instead of the image's.
    pub entrypoint: Option<Command>,
    /// Variables of its environment. Whoever may inspect the container reads them, also those that are secrets: `secrets`
    /// are files that no inspection shows.
    #[option(default = "Variables::default()")]
    pub environment: Variables,
    /// Published ports: `"8080:80"`, `"127.0.0.1:53:53/udp"`, `80` (the engine chooses the other side),
    /// `#{ target, published, host_ip, protocol }`.
    #[option(default = "Ports::default()")]
    pub ports: Ports,
    /// Ports that are documented but not published: `["80", "53/udp"]`.
    #[option(default = "Texts::default()")]
    pub expose: Texts,
    /// Volumes and binds: `"/srv/media:/media:ro"`, `"name:/data"`, `#{ type, source, target, read_only }`.
    #[option(default = "Mounts::default()")]
    pub volumes: Mounts,
    /// Paths with a file system in memory: `["/tmp", "/run:size=64m"]`.
    #[option(default = "Texts::default()")]
    pub tmpfs: Texts,
    /// Files that appear read-only as `/run/secrets/NAME`, with secrets, or of the host:
    /// `#{ db: secret("postgres"), tls: "/srv/keys/tls" }`.
    #[option(default = "Secrets::default()")]
    pub secrets: Secrets,
    /// User, and group, that it runs as: `"1000:1000"`.
    pub user: Option<String>,
    /// Further groups.
    #[option(default = "Texts::default()")]
    pub group_add: Texts,
    /// The directory it starts in.
    pub working_dir: Option<String>,
    /// Its host name.
    pub hostname: Option<String>,
    /// Its domain.
    pub domainname: Option<String>,
    /// Labels.
    #[option(default = "Pairs::default()")]
    pub labels: Pairs,
    /// Capabilities that it gets: `["NET_ADMIN"]`.
    #[option(default = "Texts::default()")]
    pub cap_add: Texts,
    /// Capabilities that are taken from it.
    #[option(default = "Texts::default()")]
    pub cap_drop: Texts,
    /// Devices: `"/dev/dri"`, `"/dev/ttyUSB0:/dev/zigbee:rwm"`, `#{ source, target, permissions }`, CDI names such as
    /// `"nvidia.com/gpu=all"`.
    #[option(default = "Devices::default()")]
    pub devices: Devices,
    /// Rules for devices: `["c 189:* rmw"]`.
    #[option(default = "Texts::default()")]
    pub device_cgroup_rules: Texts,
    /// Whether it may do everything that root may.
    #[option(default = "false")]
    pub privileged: bool,
    /// `["no-new-privileges"]`, `["seccomp=unconfined"]`, …
    #[option(default = "Texts::default()")]
    pub security_opt: Texts,
    /// Whether its own file system cannot be written to.
    #[option(default = "false")]
    pub read_only: bool,
    /// How many processors: `1.5`.
    pub cpus: Option<f64>,
    /// Its weight among others that want the processor; 1024 is usual.
    pub cpu_shares: Option<i64>,
    /// Which processors: `"0-3"`.
    pub cpuset: Option<String>,
    /// The most memory.
    pub mem_limit: Option<Size>,
    /// Memory that is kept for it.
    pub mem_reservation: Option<Size>,
    /// The most memory and swap together.
    pub memswap_limit: Option<Size>,
    /// The most processes.
    pub pids_limit: Option<i64>,
    /// How likely it is ended when memory runs out: -1000 to 1000.
    pub oom_score_adj: Option<i64>,
    /// The size of `/dev/shm`.
    pub shm_size: Option<Size>,
    /// Kernel parameters of its own: `#{ "net.ipv4.ip_forward": 1 }`.
    #[option(default = "Pairs::default()")]
    pub sysctls: Pairs,
    /// Limits: `#{ nofile: #{ soft: 1024, hard: 4096 } }`.
    #[option(default = "Ulimits::default()")]
    pub ulimits: Ulimits,
    /// Where its output goes: `#{ driver, options }`.
    pub logging: Option<Logging>,
    /// What happens when it ends: `"no"`, `"always"`, `"on-failure:3"`, `"unless-stopped"`.
    pub restart: Option<Restart>,
    /// `"host"`, `"none"`, `"bridge"`, or `"container:NAME"` (also `"service:NAME"`) for that one's network.
    pub network_mode: Option<String>,
    /// Networks: `["media"]`, `#{ media: #{ aliases, ipv4_address, ipv6_address, mac_address } }`.
    #[option(default = "Networks::default()")]
    pub networks: Networks,
    /// Name servers.
    #[option(default = "Texts::default()")]
    pub dns: Texts,
    /// Domains in which short names are looked for.
    #[option(default = "Texts::default()")]
    pub dns_search: Texts,
    /// Options of the resolver.
    #[option(default = "Texts::default()")]
    pub dns_opt: Texts,
    /// Further names: `["nas:192.168.1.5"]`, or a map.
    pub extra_hosts: Option<hob_model::Value>,
    /// Whether a small program as process 1 hands signals on and collects dead processes.
    pub init: Option<bool>,
    /// The signal that asks it to stop.
    pub stop_signal: Option<String>,
    /// How long it may take to stop before it is killed.
    pub stop_grace_period: Option<Duration>,
    /// How the engine finds out whether it is well: `#{ test, interval, timeout, retries, start_period }`.
    pub healthcheck: Option<HealthCheck>,
    /// `"host"`, `"private"`, `"shareable"` or `"container:NAME"`.
    pub ipc: Option<String>,
    /// `"host"` or `"container:NAME"`.
    pub pid: Option<String>,
    /// `"host"`, or what the engine knows besides.
    pub userns_mode: Option<String>,
    /// `"host"`
    pub uts: Option<String>,
    /// `"host"` or `"private"`.
    pub cgroup: Option<String>,
    /// The control group under which its own is made.
    pub cgroup_parent: Option<String>,
    /// The runtime of the engine: `"runc"`, `"nvidia"`.
    pub runtime: Option<String>,
    /// Whether it has a terminal.
    #[option(default = "false")]
    pub tty: bool,
    /// Whether its standard input stays open.
    #[option(default = "false")]
    pub stdin_open: bool,
    /// The platform of the image: `"linux/arm64"`.
    pub platform: Option<String>,
    /// When the image is fetched: `"missing"`, `"always"`, `"never"`.
    #[option(default = "PullPolicy::Missing")]
    pub pull_policy: PullPolicy,
    /// Credentials for the image's registry: `#{ username, password }`. Not a key of Compose.
    pub auth: Option<crate::images::Auth>,
    /// Whether it is to run. Not a key of Compose.
    pub start: Option<bool>,
    /// The engine's socket: a path, `unix://…` or `tcp://…`. Not a key of Compose.
    pub socket: Option<String>,
}

/// [`Spec`], with a reason for each key of Compose that is refused.
#[derive(Clone, Debug)]
pub struct ComposeSpec(pub Spec);

impl FromOptions for ComposeSpec {
    const SPECS: &'static [OptionSpec] = Spec::SPECS;
    const REFUSED: &'static [(&'static str, &'static str)] = crate::compose::REFUSED;

    fn from_options(map: &mut OptionMap) -> Result<Self, OpError> {
        Spec::from_options(map).map(Self)
    }
}
