//! Whether a container is what was declared, field by field.
//!
//! Both sides become maps of fields. What an engine reports is compared with what is wanted. What it does not report, or
//! reports in other words (Podman: sysctls, log options, rights of devices), is compared by a digest that the
//! container carries as a label; so is found what was declared once and is no more.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerSummary, EndpointSettings, HealthConfig,
    HostConfig,
};

use hob_model::Value;

use crate::body::{LABEL_DECLARED, LABEL_EFFECT};
use crate::port::ListTells;

/// Fields with their values, written so that the same is the same text.
pub type Fields = BTreeMap<String, String>;

/// How many hexadecimal digits of a digest are kept: enough to see a change, too few to guess a secret by.
const DIGEST_DIGITS: usize = 8;

/// What fields about networks begin with.
const NETWORK: &str = "network ";

/// What fields begin with that `update` of an engine may change.
const UPDATED: [&str; 9] = [
    "cpus",
    "cpu_shares",
    "cpuset",
    "mem",
    "pids_limit",
    "restart",
    "healthcheck ",
    "environment ",
    "ulimit ",
];

/// The value of a volume that the engine is to name.
const ANONYMOUS: &str = "without a name";

/// The parts of a declaration and of an inspection that have the same form.
struct Shape<'a> {
    env: &'a Option<Vec<String>>,
    cmd: &'a Option<Vec<String>>,
    entrypoint: &'a Option<Vec<String>>,
    labels: &'a Option<HashMap<String, String>>,
    texts: [(&'static str, &'a Option<String>); 3],
    flags: [(&'static str, Option<bool>); 2],
    stop_timeout: Option<i64>,
    health: Option<&'a HealthConfig>,
    host: Option<&'a HostConfig>,
    networks: Option<&'a HashMap<String, EndpointSettings>>,
}

/// The fields that are declared.
#[must_use]
pub fn wanted(body: &ContainerCreateBody) -> Fields {
    let mut fields = shared(&Shape {
        env: &body.env,
        cmd: &body.cmd,
        entrypoint: &body.entrypoint,
        labels: &body.labels,
        texts: [("user", &body.user), ("working_dir", &body.working_dir), ("hostname", &body.hostname)],
        flags: [("tty", body.tty), ("stdin_open", body.open_stdin)],
        stop_timeout: body.stop_timeout,
        health: body.healthcheck.as_ref(),
        host: body.host_config.as_ref(),
        networks: body.networking_config.as_ref().and_then(|config| config.endpoints_config.as_ref()),
    });
    // Docker wants the first network there too, Podman says `bridge`.
    if fields.get("network_mode").is_some_and(|mode| fields.contains_key(&format!("network {mode}"))) {
        fields.remove("network_mode");
    }
    unreported(body, &mut fields);
    fields
}

/// The fields that the engine reports.
#[must_use]
pub fn observed(found: &ContainerInspectResponse) -> Fields {
    let config = found.config.clone().unwrap_or_default();
    let settings = found.network_settings.as_ref();
    shared(&Shape {
        env: &config.env,
        cmd: &config.cmd,
        entrypoint: &config.entrypoint,
        labels: &config.labels,
        texts: [("user", &config.user), ("working_dir", &config.working_dir), ("hostname", &config.hostname)],
        flags: [("tty", config.tty), ("stdin_open", config.open_stdin)],
        stop_timeout: config.stop_timeout,
        health: config.healthcheck.as_ref(),
        host: found.host_config.as_ref(),
        networks: settings.and_then(|settings| settings.networks.as_ref()),
    })
}

fn shared(shape: &Shape<'_>) -> Fields {
    let mut fields = Fields::new();
    let mut put = |name: String, value: String| drop(fields.insert(name, value));
    for pair in shape.env.iter().flatten() {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        put(format!("environment {key}"), value.to_owned());
    }
    for (key, value) in shape.labels.iter().flatten() {
        if ![LABEL_DECLARED, LABEL_EFFECT].contains(&key.as_str()) {
            put(format!("label {key}"), value.clone());
        }
    }
    // Podman splits an entrypoint at its spaces.
    for (name, words) in [("command", shape.cmd), ("entrypoint", shape.entrypoint)] {
        if let Some(words) = words {
            put(name.to_owned(), words.join(" "));
        }
    }
    for (name, text) in shape.texts {
        if let Some(text) = text {
            put(name.to_owned(), text.clone());
        }
    }
    for (name, flag) in shape.flags {
        if let Some(flag) = flag {
            put(name.to_owned(), flag.to_string());
        }
    }
    if let Some(seconds) = shape.stop_timeout {
        put("stop_grace_period".to_owned(), format!("{seconds}s"));
    }
    if let Some(health) = shape.health {
        let numbers = [
            ("interval", health.interval),
            ("timeout", health.timeout),
            ("retries", health.retries),
            ("start_period", health.start_period),
        ];
        for (name, number) in numbers.into_iter().filter_map(|(name, number)| Some((name, number?))) {
            put(format!("healthcheck {name}"), number.to_string());
        }
        if let Some(test) = &health.test {
            put("healthcheck test".to_owned(), test.join(" "));
        }
    }
    fields.extend(networks(shape.networks));
    if let Some(host) = shape.host {
        host_fields(host, &mut fields);
    }
    fields
}

/// The networks that a container is in, and how it is known there.
fn networks(networks: Option<&HashMap<String, EndpointSettings>>) -> Fields {
    let mut fields = Fields::new();
    for (name, one) in networks.into_iter().flatten() {
        fields.insert(format!("{NETWORK}{name}"), "connected".to_owned());
        for alias in one.aliases.iter().flatten() {
            fields.insert(format!("{NETWORK}{name} alias {alias}"), "yes".to_owned());
        }
        let fixed = one.ipam_config.as_ref().and_then(|config| config.ipv4_address.as_ref());
        if let Some(address) = fixed.or(one.ip_address.as_ref()).filter(|address| !address.is_empty()) {
            fields.insert(format!("{NETWORK}{name} ipv4_address"), address.clone());
        }
    }
    fields
}

fn host_fields(host: &HostConfig, fields: &mut Fields) {
    let mut put = |name: String, value: String| drop(fields.insert(name, value));
    for bind in host.binds.iter().flatten() {
        let mut parts = bind.splitn(3, ':');
        if let (Some(source), Some(target)) = (parts.next(), parts.next()) {
            let read_only =
                parts.next().is_some_and(|options| options.split(',').any(|option| option == "ro"));
            put(format!("volume {target}"), format!("{source} {}", if read_only { "ro" } else { "rw" }));
        }
    }
    for (port, bindings) in host.port_bindings.iter().flatten() {
        let mut shown: Vec<String> = bindings.iter().flatten().map(binding).collect();
        shown.sort();
        put(format!("port {port}"), shown.join(", "));
    }
    for (name, caps) in [("cap_add", &host.cap_add), ("cap_drop", &host.cap_drop)] {
        for cap in caps.iter().flatten() {
            let upper = cap.to_uppercase();
            put(format!("{name} {}", upper.trim_start_matches("CAP_")), "yes".to_owned());
        }
    }
    for device in host.devices.iter().flatten() {
        let inner = device.path_in_container.as_deref().unwrap_or_default();
        put(format!("device {inner}"), device.path_on_host.clone().unwrap_or_default());
    }
    for limit in host.ulimits.iter().flatten() {
        let name = limit.name.as_deref().unwrap_or_default().to_lowercase();
        let both = format!("{}:{}", limit.soft.unwrap_or_default(), limit.hard.unwrap_or_default());
        put(format!("ulimit {}", name.trim_start_matches("rlimit_")), both);
    }
    scalar_fields(host, put);
}

/// What of the host's part is a number, a switch, a list or a word.
fn scalar_fields(host: &HostConfig, mut put: impl FnMut(String, String)) {
    for (name, number) in [
        ("cpus", host.nano_cpus),
        ("cpu_shares", host.cpu_shares),
        ("mem_limit", host.memory),
        ("mem_reservation", host.memory_reservation),
        ("memswap_limit", host.memory_swap),
        // Engines write "no limit" as 0 or -1.
        ("pids_limit", host.pids_limit.map(|limit| if limit <= 0 { -1 } else { limit })),
        ("oom_score_adj", host.oom_score_adj),
        ("shm_size", host.shm_size),
    ] {
        if let Some(number) = number {
            put(name.to_owned(), number.to_string());
        }
    }
    for (name, flag) in [("privileged", host.privileged), ("read_only", host.readonly_rootfs)] {
        if let Some(flag) = flag {
            put(name.to_owned(), flag.to_string());
        }
    }
    for (name, list) in [
        ("dns", &host.dns),
        ("dns_search", &host.dns_search),
        ("dns_opt", &host.dns_options),
        ("extra_hosts", &host.extra_hosts),
    ] {
        if let Some(list) = list {
            put(name.to_owned(), list.join(", "));
        }
    }
    if let Some(policy) = &host.restart_policy {
        let name = policy.name.map_or_else(String::new, |name| name.to_string());
        let count = policy.maximum_retry_count.filter(|count| *count > 0);
        put("restart".to_owned(), count.map_or(name.clone(), |count| format!("{name}:{count}")));
    }
    if let Some(mode) = &host.network_mode {
        put("network_mode".to_owned(), mode.clone());
    }
    if let Some(cpuset) = &host.cpuset_cpus {
        put("cpuset".to_owned(), cpuset.clone());
    }
}

fn binding(binding: &bollard::models::PortBinding) -> String {
    let ip = binding.host_ip.as_deref().filter(|ip| !["", "0.0.0.0"].contains(ip));
    let port = binding.host_port.as_deref().filter(|port| !port.is_empty()).unwrap_or("any");
    ip.map_or(port.to_owned(), |ip| format!("{ip}:{port}"))
}

/// What no engine, or not every one, gives back as it was given.
fn unreported(body: &ContainerCreateBody, fields: &mut Fields) {
    let mut put = |name: String, value: String| drop(fields.insert(name, value));
    let texts = [("stop_signal", &body.stop_signal), ("domainname", &body.domainname)];
    for target in body.volumes.iter().flatten() {
        put(format!("volume {target}"), ANONYMOUS.to_owned());
    }
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
        put(name.to_owned(), text.clone());
    }
    let Some(host) = &body.host_config else { return };
    for bind in host.binds.iter().flatten() {
        let mut parts = bind.splitn(3, ':').skip(1);
        if let (Some(target), Some(options)) = (parts.next(), parts.next()) {
            put(format!("volume {target} options"), options.to_owned());
        }
    }
    for (path, options) in host.tmpfs.iter().flatten() {
        put(format!("tmpfs {path}"), format!("with {options}"));
    }
    for (name, value) in host.sysctls.iter().flatten() {
        put(format!("sysctl {name}"), value.clone());
    }
    for device in host.devices.iter().flatten() {
        let inner = device.path_in_container.as_deref().unwrap_or_default();
        put(format!("device {inner} rights"), device.cgroup_permissions.clone().unwrap_or_default());
    }
    for name in host.device_requests.iter().flatten().flat_map(|request| request.device_ids.iter().flatten())
    {
        put(format!("device {name}"), "by its CDI name".to_owned());
    }
    if let Some(log) = &host.log_config {
        let options: BTreeMap<_, _> = log.config.iter().flatten().collect();
        put("logging".to_owned(), format!("{} {options:?}", log.typ.as_deref().unwrap_or("default")));
    }
    for (name, list) in [
        ("group_add", &host.group_add),
        ("security_opt", &host.security_opt),
        ("device_cgroup_rules", &host.device_cgroup_rules),
    ] {
        if let Some(list) = list {
            put(name.to_owned(), list.join(", "));
        }
    }
    for (name, text) in [
        ("ipc", &host.ipc_mode),
        ("pid", &host.pid_mode),
        ("userns_mode", &host.userns_mode),
        ("uts", &host.uts_mode),
        ("cgroup_parent", &host.cgroup_parent),
        ("runtime", &host.runtime),
    ] {
        if let Some(text) = text {
            put(name.to_owned(), text.clone());
        }
    }
    if let Some(init) = host.init {
        put("init".to_owned(), init.to_string());
    }
    if let Some(mode) = host.cgroupns_mode {
        put("cgroup".to_owned(), mode.to_string());
    }
}

/// Whether a declared field leaves it to the engine which port or which volume it is.
fn leaves_choice(name: &str, value: &str) -> bool {
    (name.starts_with("port ") && value.contains("any"))
        || (name.starts_with("volume ") && value == ANONYMOUS)
}

/// Whether a field is about a network, of a container that runs and so is in all of its networks that nobody has had it
/// leave.
fn is_left(name: &str, found: &ContainerInspectResponse) -> bool {
    let runs = found.state.as_ref().and_then(|state| state.running).unwrap_or_default();
    let told = found.network_settings.as_ref().is_some_and(|settings| settings.networks.is_some());
    runs && told && name.starts_with(NETWORK)
}

/// Whether what an engine lists of a container that hob made leaves no doubt that it is what `body` declares: it was made
/// for the same, which cannot change, and what may change since is in the list, and as declared.
#[must_use]
pub fn is_proven(body: &ContainerCreateBody, listed: &ContainerSummary, tells: ListTells) -> bool {
    let label = |labels: &Option<HashMap<String, String>>| labels.as_ref()?.get(LABEL_DECLARED).cloned();
    if label(&listed.labels).is_none() || label(&listed.labels) != label(&body.labels) {
        return false;
    }
    let settings = listed.network_settings.as_ref();
    let (wanted, now) = (wanted(body), networks(settings.and_then(|settings| settings.networks.as_ref())));
    wanted.iter().all(|(name, value)| match tells {
        ListTells::Less => false,
        _ if name.starts_with(NETWORK) => now.get(name) == Some(value),
        ListTells::All => true,
        ListTells::AllButUpdates => !UPDATED.iter().any(|updated| name.starts_with(updated)),
    })
}

fn digest(value: &str) -> String {
    blake3::hash(value.as_bytes()).to_hex()[..DIGEST_DIGITS].to_owned()
}

/// The text of the label: a digest of each field.
#[must_use]
pub fn digests(fields: &Fields) -> String {
    let digests: BTreeMap<&String, String> =
        fields.iter().map(|(name, value)| (name, digest(value))).collect();
    serde_json::to_string(&digests).expect("a map of texts has a JSON form")
}

/// Fields that limit what a container may use.
const LIMITS: [&str; 7] =
    ["cpus", "cpu_shares", "cpuset", "mem_limit", "mem_reservation", "memswap_limit", "pids_limit"];

/// Whether `body` declares any limit.
#[must_use]
pub fn has_limits(body: &ContainerCreateBody) -> bool {
    let wanted = wanted(body);
    LIMITS.iter().any(|limit| wanted.contains_key(*limit))
}

/// The limits that `body` declares and that `found`, which was made of it, does not have: the engine passed them over.
#[must_use]
pub fn limits_passed_over(body: &ContainerCreateBody, found: &ContainerInspectResponse) -> Vec<&'static str> {
    let (wanted, observed) = (wanted(body), observed(found));
    let none = |value: &String| ["", "0", "-1"].contains(&value.as_str());
    let passed_over = |limit: &&str| {
        wanted.get(*limit).is_some_and(|value| !none(value)) && observed.get(*limit).is_none_or(none)
    };
    LIMITS.into_iter().filter(passed_over).collect()
}

/// A field that is not as declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Its name.
    pub field: String,
    /// What it is; `()` where that is not known, or not to be shown.
    pub now: Value,
    /// What it is to be; `()` where it is to be nothing, or not to be shown.
    pub wanted: Value,
    /// In words.
    pub text: String,
}

impl Difference {
    fn new(field: &str, now: Option<&str>, wanted: Option<&str>, text: String) -> Self {
        let value = |text: Option<&str>| text.map_or(Value::Unit, Value::from);
        Self { field: field.to_owned(), now: value(now), wanted: value(wanted), text }
    }
}

/// Why the container `found` is not what `body` declares, in words; empty when it is.
#[must_use]
pub fn differences(body: &ContainerCreateBody, found: &ContainerInspectResponse) -> Vec<String> {
    changes(body, found).into_iter().map(|difference| difference.text).collect()
}

/// In which fields the container `found` is not what `body` declares.
///
/// Values of the environment are not shown: they may be secrets.
#[must_use]
pub fn changes(body: &ContainerCreateBody, found: &ContainerInspectResponse) -> Vec<Difference> {
    let (wanted, observed) = (wanted(body), observed(found));
    let label = found.config.as_ref().and_then(|config| config.labels.as_ref()?.get(LABEL_DECLARED));
    let declared: BTreeMap<String, String> =
        label.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut because = Vec::new();
    for (name, value) in &wanted {
        let secret = name.starts_with("environment ");
        match (observed.get(name), declared.get(name)) {
            (Some(now), _) if now == value => {}
            (Some(_), Some(then)) if leaves_choice(name, value) && *then == digest(value) => {}
            (None, Some(then)) if *then == digest(value) && !is_left(name, found) => {}
            (now, then) => {
                let text = match (now, then) {
                    (Some(now), _) if !secret => format!("{name}: {now} → {value}"),
                    (None, None) if secret => format!("{name} is new"),
                    (None, None) => format!("{name} is new: {value}"),
                    _ => format!("{name} changed"),
                };
                let shown = |text: &String| (!secret).then(|| text.clone());
                let (now, wanted) = (now.and_then(shown), shown(value));
                because.push(Difference::new(name, now.as_deref(), wanted.as_deref(), text));
            }
        }
    }
    let gone = declared.keys().filter(|name| !wanted.contains_key(*name));
    because
        .extend(gone.map(|name| Difference::new(name, None, None, format!("{name} is no longer declared"))));
    because
}
