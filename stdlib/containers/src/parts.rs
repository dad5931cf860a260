//! Options that have a form of their own: ports, volumes, devices, networks and their like.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models;
use hob_model::{Secret, Value};
use hob_primitive::{FromValue, Mismatch, Nested, Options, PathText, Size};

use crate::read::{Name, Pairs, Texts, Words, limited, mismatch, scalar};

/// Limits and seconds of the API: a duration in nanoseconds.
pub(crate) fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A size as the API wants it.
pub(crate) fn bytes(size: Size) -> i64 {
    i64::try_from(size.0).unwrap_or(i64::MAX)
}

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The address on the host; empty for all.
    pub host_ip: String,
    /// The port on the host; empty for one that the engine chooses.
    pub host_port: String,
    /// `80/tcp`
    pub container: String,
}

/// Published ports: `"8080:80"`, `"127.0.0.1:8080:80/udp"`, `"8000-8010:8000-8010"`, `80` (the engine chooses the port of
/// the host), `#{ target, published, host_ip, protocol }`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ports(pub Vec<Port>);

#[derive(Options)]
struct LongPort {
    /// The port in the container.
    target: u16,
    /// The port on the host.
    published: Option<Value>,
    /// The address on the host.
    host_ip: Option<String>,
    /// `tcp`, `udp` or `sctp`.
    protocol: Option<String>,
}

impl FromValue for Ports {
    const KIND: &'static str = "array";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let Value::Array(items) = value else { return Err(Mismatch::of::<Self>(&value)) };
        let mut ports = Vec::new();
        for item in limited(items)? {
            match item {
                Value::Map(_) => {
                    let long: LongPort = Nested::read(item)?;
                    let published = long.published.map(scalar).transpose();
                    let published =
                        published.map_err(|other| Mismatch::of::<String>(&other))?.unwrap_or_default();
                    let protocol = long.protocol.unwrap_or_else(|| "tcp".to_owned());
                    let ip = long.host_ip.unwrap_or_default();
                    short_port(&format!("{published}:{}/{protocol}", long.target), &ip, &mut ports)?;
                }
                other => match scalar(other) {
                    Ok(text) => short_port(&text, "", &mut ports)?,
                    Err(other) => return Err(Mismatch::of::<String>(&other)),
                },
            }
        }
        limited(ports).map(Self)
    }
}

fn short_port(text: &str, ip: &str, ports: &mut Vec<Port>) -> Result<(), Mismatch> {
    let wrong = || {
        mismatch(
            format!("\"{text}\" is no port"),
            "write \"8080:80\", \"127.0.0.1:8080:80/udp\" or \"8000-8010:8000-8010\"",
        )
    };
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if !["tcp", "udp", "sctp"].contains(&protocol) {
        return Err(wrong());
    }
    let (rest, container) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (host_ip, host) = match rest.rsplit_once(':') {
        Some((ip, port)) => (ip.trim_start_matches('[').trim_end_matches(']'), port),
        None => (ip, rest),
    };
    if !host_ip.is_empty() && host_ip.parse::<std::net::IpAddr>().is_err() {
        return Err(wrong());
    }
    let inner = range(container).ok_or_else(wrong)?;
    let outer = match host {
        "" => None,
        host => Some(range(host).filter(|outer| outer.len() == inner.len()).ok_or_else(wrong)?),
    };
    for (at, port) in inner.enumerate() {
        let host_port =
            outer.clone().and_then(|mut outer| outer.nth(at)).map_or_else(String::new, |p| p.to_string());
        let container = format!("{port}/{protocol}");
        ports.push(Port { host_ip: host_ip.to_owned(), host_port, container });
    }
    Ok(())
}

fn range(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (from.parse::<u16>().ok()?, to.parse::<u16>().ok()?);
    (from > 0 && from <= to).then_some(from..=to)
}

/// One volume, bind or tmpfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// A path on the host, or the name of a volume; `None` for a volume without a name.
    pub source: Option<String>,
    /// Where it appears in the container.
    pub target: String,
    /// Further options: `ro`, `Z`, `rshared`.
    pub options: Vec<String>,
}

/// Volumes and binds: `"/host:/container"`, `"./data:/data:ro,rshared"`, `"name:/data"`, `"/data"`, or
/// `#{ type, source, target, read_only, … }`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Mounts(pub Vec<Mount>);

/// What may stand behind the second colon.
const MOUNT_OPTIONS: &[&str] = &[
    "ro", "rw", "z", "Z", "U", "O", "nocopy", "copy", "shared", "rshared", "slave", "rslave", "private",
    "rprivate", "bind", "rbind", "exec", "noexec", "dev", "nodev", "suid", "nosuid", "idmap",
];

#[derive(Options)]
struct LongMount {
    /// `bind` or `volume`.
    r#type: Option<String>,
    /// A path on the host, or the name of a volume.
    source: Option<String>,
    /// Where it appears in the container.
    target: PathText,
    /// Whether it cannot be written to.
    read_only: Option<bool>,
    /// `#{ propagation, selinux }`
    bind: Option<BTreeMap<String, Value>>,
    /// `#{ nocopy }`
    volume: Option<BTreeMap<String, Value>>,
}

#[derive(Options)]
struct BindPart {
    /// `rprivate`, `rslave`, `rshared`, …
    propagation: Option<String>,
    /// `z` or `Z`.
    selinux: Option<String>,
}

#[derive(Options)]
struct VolumePart {
    /// Whether the volume stays empty instead of taking what the image has there.
    nocopy: Option<bool>,
}

impl FromValue for Mounts {
    const KIND: &'static str = "array";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let Value::Array(items) = value else { return Err(Mismatch::of::<Self>(&value)) };
        let read = |item| match item {
            Value::String(text) => short_mount(&text),
            Value::Map(_) => long_mount(Nested::read(item)?),
            other => Err(Mismatch::of::<String>(&other)),
        };
        limited(items)?.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

fn short_mount(text: &str) -> Result<Mount, Mismatch> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => return Err(mount_problem(text)),
    };
    let options: Vec<String> = options.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect();
    mount(source.map(str::to_owned), target.to_owned(), options)
}

fn long_mount(long: LongMount) -> Result<Mount, Mismatch> {
    let kind = long.r#type.as_deref().unwrap_or("volume");
    if !["bind", "volume"].contains(&kind) {
        return Err(mismatch(
            format!("a mount of type \"{kind}\" is not taken here"),
            "use `tmpfs: [..]` for tmpfs",
        ));
    }
    let mut options: Vec<String> = Vec::new();
    if long.read_only == Some(true) {
        options.push("ro".to_owned());
    }
    if let Some(bind) = long.bind {
        let bind: BindPart = Nested::read(Value::Map(bind))?;
        options.extend(bind.propagation);
        options.extend(bind.selinux);
    }
    if let Some(volume) = long.volume
        && Nested::<VolumePart>::read(Value::Map(volume))?.nocopy == Some(true)
    {
        options.push("nocopy".to_owned());
    }
    if kind == "bind" && !long.source.as_deref().is_some_and(|source| source.starts_with(['/', '.'])) {
        return Err(mismatch("a bind needs a `source` that is a path", "such as /srv/data or ./data"));
    }
    mount(long.source, long.target.0, options)
}

fn mount(source: Option<String>, target: String, options: Vec<String>) -> Result<Mount, Mismatch> {
    let named = source.as_ref().is_none_or(|source| {
        source.starts_with(['/', '.']) || Name::from_value(Value::from(source.as_str())).is_ok()
    });
    let shown = source.as_deref().unwrap_or_default();
    if !target.starts_with('/') || !named || target.contains([':', '\0']) || shown.contains([':', '\0']) {
        return Err(mount_problem(&format!("{shown}:{target}")));
    }
    if let Some(unknown) = options.iter().find(|option| !MOUNT_OPTIONS.contains(&option.as_str())) {
        return Err(Mismatch::choice(unknown, MOUNT_OPTIONS));
    }
    Ok(Mount { source, target, options })
}

fn mount_problem(text: &str) -> Mismatch {
    mismatch(
        format!("\"{text}\" is no volume"),
        "write \"/host:/container\", \"./data:/data:ro\" or \"name:/data\"; the part in the container begins with /",
    )
}

/// Limits of processes: `#{ nofile: 4096 }`, `#{ nofile: #{ soft: 1024, hard: 4096 } }`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Ulimits(pub Vec<models::ResourcesUlimits>);

#[derive(Options)]
struct LongUlimit {
    /// What a process begins with.
    soft: i64,
    /// How far it may raise it.
    hard: i64,
}

impl FromValue for Ulimits {
    const KIND: &'static str = "map";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let read = |(name, item): (String, Value)| {
            let (soft, hard) = match item {
                Value::Int(both) => (both, both),
                other => Nested::<LongUlimit>::read(other).map(|long| (long.soft, long.hard))?,
            };
            Ok(models::ResourcesUlimits { name: Some(name), soft: Some(soft), hard: Some(hard) })
        };
        BTreeMap::<String, Value>::from_value(value)?
            .into_iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// A network that a container is in.
#[derive(Clone, Debug, PartialEq, Eq, Default, Options)]
pub struct Membership {
    /// Further names that others in it find the container by.
    pub aliases: Option<Texts>,
    /// Its fixed address.
    pub ipv4_address: Option<String>,
    /// Its fixed IPv6 address.
    pub ipv6_address: Option<String>,
    /// Its hardware address there.
    pub mac_address: Option<String>,
}

/// Networks: `["media"]`, or `#{ media: #{ aliases: ["db"], ipv4_address: "10.9.0.5" } }`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Networks(pub BTreeMap<String, Membership>);

impl FromValue for Networks {
    const KIND: &'static str = "array or map";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let pairs: Vec<(String, Membership)> = match value {
            Value::Map(map) => {
                let read = |(name, item): (String, Value)| match item {
                    Value::Unit => Ok((name, Membership::default())),
                    item => Nested::read(item).map(|one| (name, one)),
                };
                map.into_iter().map(read).collect::<Result<_, _>>()?
            }
            other => {
                Texts::from_value(other)?.0.into_iter().map(|name| (name, Membership::default())).collect()
            }
        };
        for (name, one) in &pairs {
            Name::from_value(Value::from(name.as_str()))?;
            let v4 = one.ipv4_address.as_ref().is_none_or(|ip| ip.parse::<std::net::Ipv4Addr>().is_ok());
            let v6 = one.ipv6_address.as_ref().is_none_or(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
            if !v4 || !v6 {
                return Err(mismatch(
                    format!("network {name}: that is no address"),
                    "such as 10.9.0.5, or fd00::5",
                ));
            }
        }
        Ok(Self(pairs.into_iter().collect()))
    }
}

/// How the engine finds out whether the container is well.
#[derive(Clone, Debug, PartialEq, Options)]
pub struct Health {
    /// `["CMD", "pg_isready"]`, `["CMD-SHELL", "curl …"]`, `["NONE"]`, or a text for the shell.
    pub test: Option<Value>,
    /// How often.
    pub interval: Option<Duration>,
    /// How long one check may take.
    pub timeout: Option<Duration>,
    /// How many failures in a row make it unhealthy.
    pub retries: Option<u32>,
    /// How long failures do not count after the start.
    pub start_period: Option<Duration>,
    /// How often during the start period.
    pub start_interval: Option<Duration>,
    /// Whether the check of the image is switched off.
    #[option(default = "false")]
    pub disable: bool,
}

/// `healthcheck`
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck(pub models::HealthConfig);

impl FromValue for HealthCheck {
    const KIND: &'static str = "map";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let health: Health = Nested::read(value)?;
        let test = match health.test {
            _ if health.disable => Some(vec!["NONE".to_owned()]),
            None => None,
            Some(Value::String(text)) => Some(vec!["CMD-SHELL".to_owned(), text]),
            Some(list) => {
                let Texts(words) = Texts::from_value(list)?;
                if !matches!(words.first().map(String::as_str), Some("CMD" | "CMD-SHELL" | "NONE")) {
                    return Err(mismatch(
                        "`test` begins with none of CMD, CMD-SHELL, NONE",
                        "write [\"CMD\", \"program\", \"argument\"]",
                    ));
                }
                Some(words)
            }
        };
        Ok(Self(models::HealthConfig {
            test,
            interval: health.interval.map(nanoseconds),
            timeout: health.timeout.map(nanoseconds),
            retries: health.retries.map(i64::from),
            start_period: health.start_period.map(nanoseconds),
            start_interval: health.start_interval.map(nanoseconds),
        }))
    }
}

/// Where the output goes: `#{ driver, options }`.
#[derive(Clone, Debug, PartialEq, Eq, Options)]
pub struct LoggingOptions {
    /// `json-file`, `k8s-file`, `journald`, `local`, `none`, …
    pub driver: Option<String>,
    /// `#{ "max-size": "10m" }`
    pub options: Option<Pairs>,
}

/// `logging`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging(pub LoggingOptions);

impl FromValue for Logging {
    const KIND: &'static str = "map";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        Nested::read(value).map(Self)
    }
}

/// What happens when the container ends: `"no"`, `"always"`, `"on-failure"`, `"on-failure:3"`, `"unless-stopped"`.
#[derive(Clone, Debug, PartialEq)]
pub struct Restart(pub models::RestartPolicy);

impl FromValue for Restart {
    const KIND: &'static str = "string";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        use models::RestartPolicyNameEnum as Policy;
        const KNOWN: &[&str] = &["no", "always", "on-failure", "on-failure:3", "unless-stopped"];
        let text = String::from_value(value)?;
        let (name, count) = match text.split_once(':') {
            Some((name, count)) => (name, Some(count.parse().map_err(|_| Mismatch::choice(&text, KNOWN))?)),
            None => (text.as_str(), None),
        };
        let name = match (name, count) {
            ("no", None) => Policy::NO,
            ("always", None) => Policy::ALWAYS,
            ("unless-stopped", None) => Policy::UNLESS_STOPPED,
            ("on-failure", _) => Policy::ON_FAILURE,
            _ => return Err(Mismatch::choice(&text, KNOWN)),
        };
        Ok(Self(models::RestartPolicy { name: Some(name), maximum_retry_count: count }))
    }
}

/// What appears read-only under `/run/secrets/NAME`: `#{ db: secret("postgres"), tls: "/srv/keys/tls" }`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Secrets {
    /// Files of the host, by name.
    pub files: BTreeMap<String, String>,
    /// Secrets, by the names of their files.
    pub secrets: BTreeMap<String, Secret>,
}

impl FromValue for Secrets {
    const KIND: &'static str = "map";
    const TAKES_SECRETS: bool = true;

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let mut it = Self::default();
        for (name, value) in BTreeMap::<String, Value>::from_value(value)? {
            Name::from_value(Value::from(name.as_str()))?;
            match value {
                Value::Secret(secret) => drop(it.secrets.insert(name, secret)),
                path => drop(it.files.insert(name, PathText::from_value(path)?.0)),
            }
        }
        Ok(it)
    }
}

/// A command that may be given or taken away: `[]` removes the image's entrypoint.
pub type Command = Words;
