//! From what a script writes to what the API takes.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models;
use hob_model::{OpError, Value};
use hob_primitive::{Ctx, FromValue};

use crate::compare;
use crate::options::Spec;
use crate::parts::{Membership, Mount, bytes};
use crate::read::{Pairs, Texts};

/// The label with the idempotency key of the effect that made the container.
pub const LABEL_EFFECT: &str = "hob.effect";

/// The label with what was declared: a JSON map of fields to digests of their values.
pub const LABEL_DECLARED: &str = "hob.declared";

/// The label with the secrets that the container is handed: a JSON map of variables and files to what names them.
pub const LABEL_SECRETS: &str = "hob.secrets";

/// What labels of hob's own begin with.
const LABEL_PREFIX: &str = "hob.";

/// How long a container may take to stop unless it says otherwise, as in Compose. Podman would kill it at once.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Where secrets appear in a container.
pub(crate) const SECRETS_DIR: &str = "/run/secrets";

/// The request that makes a container of `spec`. `shared` is the id of the container whose network it takes, where
/// `network_mode` names one.
pub fn body(cx: &Ctx, spec: &Spec, shared: Option<&str>) -> Result<models::ContainerCreateBody, OpError> {
    check(spec)?;
    let (binds, anonymous) = binds(cx, spec);
    let networks = &spec.networks.0;
    let mode = match (shared, &spec.network_mode) {
        (Some(id), _) => Some(format!("container:{id}")),
        (None, Some(mode)) => Some(mode.clone()),
        // Docker wants one of the networks here, and Podman takes it.
        (None, None) => networks.keys().next().cloned(),
    };
    let mut exposed: Vec<String> = spec.ports.0.iter().map(|port| port.container.clone()).collect();
    exposed.extend(
        spec.expose
            .0
            .iter()
            .map(|port| if port.contains('/') { port.clone() } else { format!("{port}/tcp") }),
    );
    exposed.sort();
    exposed.dedup();
    let grace = spec.stop_grace_period.unwrap_or(STOP_GRACE);
    let mut body = models::ContainerCreateBody {
        image: Some(spec.image.0.clone()),
        cmd: spec.command.clone().map(|words| words.0),
        entrypoint: spec.entrypoint.clone().map(|words| words.0),
        env: some(spec.environment.plain.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        exposed_ports: some(exposed),
        volumes: some(anonymous),
        user: spec.user.clone(),
        working_dir: spec.working_dir.clone(),
        hostname: spec.hostname.clone(),
        domainname: spec.domainname.clone(),
        tty: spec.tty.then_some(true),
        open_stdin: spec.stdin_open.then_some(true),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: Some(i64::try_from(grace.as_secs()).unwrap_or(i64::MAX)),
        healthcheck: spec.healthcheck.clone().map(|check| check.0),
        networking_config: (!networks.is_empty()).then(|| models::NetworkingConfig {
            endpoints_config: Some(
                networks.iter().map(|(name, one)| (name.clone(), endpoint(one))).collect(),
            ),
        }),
        host_config: Some(host_config(spec, binds, mode)?),
        ..Default::default()
    };
    body.labels = Some(spec.labels.0.clone().into_iter().collect());
    if let Some(named) = crate::secrets::named(spec) {
        body.labels.get_or_insert_default().insert(LABEL_SECRETS.to_owned(), named);
    }
    let declared = compare::digests(&compare::wanted(&body));
    let labels = body.labels.get_or_insert_default();
    labels.insert(LABEL_DECLARED.to_owned(), declared);
    labels.insert(LABEL_EFFECT.to_owned(), cx.key().to_owned());
    Ok(body)
}

/// What no engine would refuse with a message that helps.
fn check(spec: &Spec) -> Result<(), OpError> {
    if let Some(name) = spec.labels.0.keys().find(|name| name.starts_with(LABEL_PREFIX)) {
        return Err(OpError::invalid(format!("the label {name} is hob's own")).hint("choose another prefix"));
    }
    if let Some(path) = spec.tmpfs.0.iter().find(|path| !path.starts_with('/')) {
        return Err(OpError::invalid(format!("option `tmpfs`: \"{path}\" is no absolute path")));
    }
    let Some(mode) = &spec.network_mode else { return Ok(()) };
    if !spec.networks.0.is_empty() {
        return Err(OpError::invalid("options `network_mode` and `networks` exclude each other"));
    }
    if shared_with(mode).is_some() && !spec.ports.0.is_empty() {
        return Err(OpError::invalid("a container in another one's network publishes no ports")
            .hint("publish them on the container whose network it is"));
    }
    Ok(())
}

/// The container that `network_mode` names: `container:NAME`, or Compose's `service:NAME`.
pub fn shared_with(mode: &str) -> Option<&str> {
    mode.strip_prefix("container:").or_else(|| mode.strip_prefix("service:"))
}

fn host_config(spec: &Spec, binds: Vec<String>, mode: Option<String>) -> Result<models::HostConfig, OpError> {
    let mut ports: models::PortMap = HashMap::new();
    for port in &spec.ports.0 {
        let binding = models::PortBinding {
            host_ip: Some(port.host_ip.clone()),
            host_port: Some(port.host_port.clone()),
        };
        ports.entry(port.container.clone()).or_default().get_or_insert_default().push(binding);
    }
    let cdi = (!spec.devices.cdi.is_empty()).then(|| {
        vec![models::DeviceRequest {
            driver: Some(crate::podman::CDI.to_owned()),
            device_ids: Some(spec.devices.cdi.clone()),
            ..Default::default()
        }]
    });
    let tmpfs = spec.tmpfs.0.iter().map(|text| {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        (path.to_owned(), options.to_owned())
    });
    let cgroup = spec.cgroup.as_deref().map(str::parse).transpose();
    let cgroup = cgroup.map_err(|_| OpError::invalid("option `cgroup`: \"host\" or \"private\""))?;
    Ok(models::HostConfig {
        binds: some(binds),
        port_bindings: (!ports.is_empty()).then_some(ports),
        tmpfs: pairs(tmpfs.collect()),
        network_mode: mode,
        restart_policy: spec.restart.clone().map(|restart| restart.0),
        cap_add: texts(&spec.cap_add),
        cap_drop: texts(&spec.cap_drop),
        group_add: texts(&spec.group_add),
        devices: some(spec.devices.paths.clone()),
        device_requests: cdi,
        device_cgroup_rules: texts(&spec.device_cgroup_rules),
        privileged: spec.privileged.then_some(true),
        security_opt: texts(&spec.security_opt),
        readonly_rootfs: spec.read_only.then_some(true),
        nano_cpus: spec.cpus.map(nano_cpus).transpose()?,
        cpu_shares: spec.cpu_shares,
        cpuset_cpus: spec.cpuset.clone(),
        memory: spec.mem_limit.map(bytes),
        memory_reservation: spec.mem_reservation.map(bytes),
        memory_swap: spec.memswap_limit.map(bytes),
        pids_limit: spec.pids_limit,
        oom_score_adj: spec.oom_score_adj,
        shm_size: spec.shm_size.map(bytes),
        sysctls: pairs(spec.sysctls.0.clone().into_iter().collect()),
        ulimits: some(spec.ulimits.0.clone()),
        log_config: spec.logging.as_ref().map(|logging| models::HostConfigLogConfig {
            typ: logging.0.driver.clone(),
            config: logging.0.options.clone().map(|options| options.0.into_iter().collect()),
        }),
        dns: texts(&spec.dns),
        dns_search: texts(&spec.dns_search),
        dns_options: texts(&spec.dns_opt),
        extra_hosts: some(extra_hosts(spec.extra_hosts.clone())?),
        init: spec.init,
        ipc_mode: spec.ipc.clone(),
        pid_mode: spec.pid.clone(),
        userns_mode: spec.userns_mode.clone(),
        uts_mode: spec.uts.clone(),
        cgroupns_mode: cgroup,
        cgroup_parent: spec.cgroup_parent.clone(),
        runtime: spec.runtime.clone(),
        ..Default::default()
    })
}

/// Processors in billionths.
fn nano_cpus(cpus: f64) -> Result<i64, OpError> {
    /// More than any machine has.
    const CPUS_MAX: f64 = 10_000.0;
    if !(cpus > 0.0 && cpus <= CPUS_MAX) {
        return Err(OpError::invalid(format!("option `cpus`: {cpus} is no number of processors")));
    }
    #[allow(clippy::cast_possible_truncation)] // it was just compared with a bound far below
    Ok((cpus * 1e9).round() as i64)
}

/// The binds, and the targets of volumes without a name.
fn binds(cx: &Ctx, spec: &Spec) -> (Vec<String>, Vec<String>) {
    let (mut binds, mut anonymous) = (Vec::new(), Vec::new());
    for Mount { source, target, options } in &spec.volumes.0 {
        let Some(source) = source else {
            anonymous.push(target.clone());
            continue;
        };
        let source = match source.starts_with(['/', '.']) {
            true => cx.resolve(source).to_string_lossy().into_owned(),
            false => source.clone(),
        };
        let options = if options.is_empty() { String::new() } else { format!(":{}", options.join(",")) };
        binds.push(format!("{source}:{target}{options}"));
    }
    for (name, path) in &spec.secrets.files {
        binds.push(format!("{}:{SECRETS_DIR}/{name}:ro", cx.resolve(path).display()));
    }
    (binds, anonymous)
}

fn endpoint(one: &Membership) -> models::EndpointSettings {
    let fixed = one.ipv4_address.is_some() || one.ipv6_address.is_some();
    models::EndpointSettings {
        aliases: one.aliases.as_ref().and_then(texts),
        mac_address: one.mac_address.clone(),
        ipam_config: fixed.then(|| models::EndpointIpamConfig {
            ipv4_address: one.ipv4_address.clone(),
            ipv6_address: one.ipv6_address.clone(),
            link_local_ips: None,
        }),
        ..Default::default()
    }
}

/// `"nas:192.168.1.5"` or `"nas=192.168.1.5"`, or a map.
fn extra_hosts(value: Option<Value>) -> Result<Vec<String>, OpError> {
    let wrong = |said: String| {
        OpError::invalid(format!("option `extra_hosts`: {said}")).hint("write \"nas:192.168.1.5\", or a map")
    };
    let hosts = match value {
        None | Some(Value::Unit) => BTreeMap::new(),
        Some(Value::Map(map)) => Pairs::from_value(Value::Map(map)).map_err(|m| wrong(m.message))?.0,
        Some(other) => {
            let split = |text: String| match text.split_once(['=', ':']) {
                Some((name, address)) => Ok((name.to_owned(), address.to_owned())),
                None => Err(wrong(format!("\"{text}\" has no address"))),
            };
            let texts = Texts::from_value(other).map_err(|m| wrong(m.message))?;
            texts.0.into_iter().map(split).collect::<Result<_, _>>()?
        }
    };
    Ok(hosts.into_iter().map(|(name, address)| format!("{name}:{address}")).collect())
}

fn some<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

fn texts(items: &Texts) -> Option<Vec<String>> {
    some(items.0.clone())
}

fn pairs(items: HashMap<String, String>) -> Option<HashMap<String, String>> {
    (!items.is_empty()).then_some(items)
}
