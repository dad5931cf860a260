//! A container as Podman's own API takes it (`SpecGenerator` of `pkg/specgen` in Podman 4), from the body of the Docker
//! Engine API.
//!
//! It is used for what Podman passes over in Docker's API: devices by CDI name. All else of the body is carried over, so
//! that a container is the same whichever way it was made; what cannot be carried over is refused.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig};
use serde_json::{Map, Value as Json, json};

use crate::port::ListTells;

/// The kind of a [`bollard::models::DeviceRequest`] that names devices by CDI name.
pub const CDI: &str = "cdi";

/// What can be written to in a read-only container of Podman.
const WRITABLE: [&str; 3] = ["/run", "/tmp", "/var/tmp"];

/// The first version, major and minor, whose `podman update` outlasts the life that it changes, so that an inspection shows
/// it.
const UPDATES_SINCE: (u32, u32) = (5, 1);

/// How much a list of Podman in this version tells.
#[must_use]
pub fn list_tells(version: &str) -> ListTells {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) < UPDATES_SINCE => ListTells::All,
        _ => ListTells::AllButUpdates,
    }
}

/// The CDI names in a body; empty for none.
#[must_use]
pub fn cdi_names(body: &ContainerCreateBody) -> Vec<String> {
    let requests = body.host_config.as_ref().and_then(|host| host.device_requests.as_ref());
    let cdi = requests.into_iter().flatten().filter(|request| request.driver.as_deref() == Some(CDI));
    cdi.flat_map(|request| request.device_ids.iter().flatten().cloned()).collect()
}

/// The specification of a container named `name`.
///
/// # Errors
/// With the option that has no counterpart.
pub fn specification(name: &str, body: &ContainerCreateBody) -> Result<Json, String> {
    let host = body.host_config.clone().unwrap_or_default();
    let mut spec = json!({
        "name": name,
        "image": body.image,
        "command": body.cmd,
        "entrypoint": body.entrypoint,
        "env": body.env.as_ref().map(|env| split_all(env)),
        "labels": body.labels,
        "user": body.user,
        "work_dir": body.working_dir,
        "hostname": body.hostname,
        "terminal": body.tty,
        "stdin": body.open_stdin,
        "stop_signal": body.stop_signal.as_deref().map(signal).transpose()?,
        "stop_timeout": body.stop_timeout,
        "healthconfig": body.healthcheck.clone().map(with_defaults),
        "expose": exposed(body)?,
    });
    let parts =
        [storage(body, &host), security(&host)?, resources(&host)?, network(body, &host)?, life(&host)?];
    let all = spec.as_object_mut().expect("it was just written as a map");
    parts.into_iter().for_each(|part| all.extend(part));
    all.retain(|_, value| !value.is_null());
    Ok(spec)
}

/// A health check with what Docker's API takes for granted.
fn with_defaults(mut health: HealthConfig) -> HealthConfig {
    const INTERVAL_NS: i64 = 30_000_000_000;
    const TIMEOUT_NS: i64 = 30_000_000_000;
    const RETRIES: i64 = 3;
    health.interval.get_or_insert(INTERVAL_NS);
    health.timeout.get_or_insert(TIMEOUT_NS);
    health.retries.get_or_insert(RETRIES);
    health
}

/// The fields of a part; `json!` with braces makes nothing else.
fn fields(part: Json) -> Map<String, Json> {
    match part {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

/// `NAME=value`, as a map.
fn split_all(pairs: &[String]) -> BTreeMap<&str, &str> {
    pairs.iter().map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect()
}

/// `"80/tcp"`
fn port(text: &str) -> Result<(u16, &str), String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number = number.parse().map_err(|_| format!("\"{text}\" is no port"))?;
    Ok((number, protocol))
}

fn exposed(body: &ContainerCreateBody) -> Result<HashMap<u16, &str>, String> {
    body.exposed_ports.iter().flatten().map(|text| port(text)).collect()
}

fn storage(body: &ContainerCreateBody, host: &HostConfig) -> Map<String, Json> {
    let (mut mounts, mut volumes) = (Vec::new(), Vec::new());
    for bind in host.binds.iter().flatten() {
        let mut parts = bind.splitn(3, ':');
        let (source, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let options: Vec<&str> = parts.next().map(|text| text.split(',').collect()).unwrap_or_default();
        match source.starts_with('/') {
            true => mounts
                .push(json!({"type": "bind", "source": source, "destination": target, "options": options})),
            false => volumes.push(json!({"Name": source, "Dest": target, "Options": options})),
        }
    }
    volumes.extend(body.volumes.iter().flatten().map(|target| json!({"Name": "", "Dest": target})));
    for (path, options) in host.tmpfs.iter().flatten() {
        let options: Vec<&str> = options.split(',').filter(|option| !option.is_empty()).collect();
        mounts.push(json!({"type": "tmpfs", "source": "tmpfs", "destination": path, "options": options}));
    }
    if host.readonly_rootfs == Some(true) {
        let taken = |path: &&str| {
            let is_at = |one: &Json, key: &str| one[key].as_str() == Some(path);
            mounts.iter().any(|one| is_at(one, "destination")) || volumes.iter().any(|one| is_at(one, "Dest"))
        };
        let free: Vec<&str> = WRITABLE.into_iter().filter(|path| !taken(path)).collect();
        mounts.extend(free.into_iter().map(|path| {
            let options = ["rw", "rprivate", "nosuid", "nodev", "tmpcopyup"];
            json!({"type": "tmpfs", "source": "tmpfs", "destination": path, "options": options})
        }));
    }
    let paths = host.devices.iter().flatten().map(|device| {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        let (outer, inner) = (part(&device.path_on_host), part(&device.path_in_container));
        format!("{outer}:{inner}:{}", part(&device.cgroup_permissions))
    });
    let devices: Vec<Json> = paths.chain(cdi_names(body)).map(|path| json!({"path": path})).collect();
    fields(json!({
        "mounts": (!mounts.is_empty()).then_some(mounts),
        "volumes": (!volumes.is_empty()).then_some(volumes),
        "devices": devices,
        "shm_size": host.shm_size,
        "init": host.init,
    }))
}

fn security(host: &HostConfig) -> Result<Map<String, Json>, String> {
    let mut part = fields(json!({
        "privileged": host.privileged,
        "cap_add": host.cap_add,
        "cap_drop": host.cap_drop,
        "groups": host.group_add,
        "read_only_filesystem": host.readonly_rootfs,
        "userns": host.userns_mode.as_deref().map(namespace),
    }));
    let (mut labels, mut annotations) = (Vec::new(), Map::new());
    for option in host.security_opt.iter().flatten() {
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        // By these it tells what it was made with.
        annotations.insert(format!("io.podman.annotations.{name}"), Json::from(value));
        let (field, value) = match name {
            "no-new-privileges" => ("no_new_privileges", Json::from(value != "false")),
            "seccomp" => ("seccomp_profile_path", Json::from(value)),
            "apparmor" => ("apparmor_profile", Json::from(value)),
            "mask" => ("mask", value.split(':').collect()),
            "unmask" => ("unmask", value.split(':').collect()),
            "label" => {
                labels.push(value);
                continue;
            }
            _ => return Err(format!("`security_opt: {option}` cannot be given together with CDI names")),
        };
        part.insert(field.to_owned(), value);
    }
    if !labels.is_empty() {
        part.insert("selinux_opts".to_owned(), json!(labels));
    }
    if !annotations.is_empty() {
        part.insert("annotations".to_owned(), Json::Object(annotations));
    }
    Ok(part)
}

fn resources(host: &HostConfig) -> Result<Map<String, Json>, String> {
    /// The period in which a quota of processors is counted, in microseconds.
    const CPU_PERIOD_US: i64 = 100_000;
    /// How many of the billionths that the API counts are one microsecond of that period.
    const NANO_CPUS_PER_US: i64 = 10_000;
    let quota = host.nano_cpus.map(|nano| nano / NANO_CPUS_PER_US);
    let present = |part: Json| {
        let part: Map<_, _> = fields(part).into_iter().filter(|(_, value)| !value.is_null()).collect();
        (!part.is_empty()).then_some(part)
    };
    let limits = json!({
        "cpu": present(json!({
            "shares": host.cpu_shares,
            "cpus": host.cpuset_cpus,
            "quota": quota,
            "period": quota.map(|_| CPU_PERIOD_US),
        })),
        "memory": present(json!({
            "limit": host.memory,
            "reservation": host.memory_reservation,
            "swap": host.memory_swap,
        })),
        "pids": present(json!({"limit": host.pids_limit})),
    });
    let limit = |one: &bollard::models::ResourcesUlimits| json!({"type": one.name, "soft": one.soft, "hard": one.hard});
    let ulimits = host.ulimits.as_ref().map(|limits| limits.iter().map(limit).collect::<Vec<_>>());
    let rules = host.device_cgroup_rules.iter().flatten().map(|text| device_rule(text));
    let rules = rules.collect::<Result<Vec<_>, _>>()?;
    Ok(fields(json!({
        "resource_limits": present(limits),
        "r_limits": ulimits,
        "oom_score_adj": host.oom_score_adj,
        "device_cgroup_rule": (!rules.is_empty()).then_some(rules),
    })))
}

/// `"c 189:* rmw"`
fn device_rule(text: &str) -> Result<Json, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |text: &str| if text == "*" { Some(-1) } else { text.parse::<i64>().ok() };
    let rule = match words[..] {
        [kind, numbers, access] => numbers.split_once(':').and_then(|(major, minor)| {
            Some(json!({
                "allow": true, "type": kind, "major": number(major)?, "minor": number(minor)?, "access": access,
            }))
        }),
        _ => None,
    };
    rule.ok_or_else(|| format!("option `device_cgroup_rules`: \"{text}\" is no rule such as \"c 189:* rmw\""))
}

fn network(body: &ContainerCreateBody, host: &HostConfig) -> Result<Map<String, Json>, String> {
    let mut published = Vec::new();
    for (inner, bindings) in host.port_bindings.iter().flatten() {
        let (number, protocol) = port(inner)?;
        for binding in bindings.iter().flatten() {
            let outer = binding.host_port.as_deref().filter(|port| !port.is_empty());
            let outer = outer.map(|port| port.parse::<u16>().map_err(|_| format!("\"{port}\" is no port")));
            published.push(json!({
                "container_port": number, "protocol": protocol, "host_port": outer.transpose()?.unwrap_or(0),
                "host_ip": binding.host_ip.clone().unwrap_or_default(),
            }));
        }
    }
    let endpoints = body.networking_config.as_ref().and_then(|config| config.endpoints_config.as_ref());
    let networks: HashMap<&String, Json> =
        endpoints.into_iter().flatten().map(|(name, one)| (name, endpoint(one))).collect();
    let mode = match host.network_mode.as_deref() {
        // The first of the networks, as Docker wants it.
        Some(mode) if networks.keys().any(|name| *name == mode) => Some(json!({"nsmode": "bridge"})),
        mode => mode.map(namespace),
    };
    Ok(fields(json!({
        "netns": mode,
        "networks": (!networks.is_empty()).then_some(networks),
        "portmappings": (!published.is_empty()).then_some(published),
        "dns_server": host.dns,
        "dns_search": host.dns_search,
        "dns_option": host.dns_options,
        "hostadd": host.extra_hosts,
    })))
}

fn endpoint(one: &EndpointSettings) -> Json {
    let fixed = one.ipam_config.iter().flat_map(|config| [&config.ipv4_address, &config.ipv6_address]);
    let fixed: Vec<&String> = fixed.flatten().collect();
    let mut part = fields(json!({
        "aliases": one.aliases,
        "static_ips": (!fixed.is_empty()).then_some(fixed),
        "static_mac": one.mac_address,
    }));
    part.retain(|_, value| !value.is_null());
    Json::Object(part)
}

/// `"host"`, `"container:ID"`
fn namespace(mode: &str) -> Json {
    match mode.split_once(':') {
        Some((mode, value)) => json!({"nsmode": mode, "value": value}),
        None => json!({"nsmode": mode}),
    }
}

fn life(host: &HostConfig) -> Result<Map<String, Json>, String> {
    let log = host.log_config.as_ref().map(|log| {
        let mut options = log.config.clone().unwrap_or_default();
        let size = options.remove("max-size").map(|text| {
            hob_model::size::parse(&text).map_err(|error| format!("option `logging`: max-size: {error}"))
        });
        Ok::<_, String>(json!({
            "driver": log.typ, "path": options.remove("path").unwrap_or_default(),
            "size": size.transpose()?.unwrap_or(0), "options": options,
        }))
    });
    let policy = host.restart_policy.as_ref();
    Ok(fields(json!({
        "restart_policy": policy.and_then(|policy| policy.name).map(|name| name.to_string()),
        "restart_tries": policy.and_then(|policy| policy.maximum_retry_count),
        "log_configuration": log.transpose()?,
        "sysctl": host.sysctls,
        "ipcns": host.ipc_mode.as_deref().map(namespace),
        "pidns": host.pid_mode.as_deref().map(namespace),
        "utsns": host.uts_mode.as_deref().map(namespace),
        "cgroupns": host.cgroupns_mode.map(|mode| namespace(mode.as_ref())),
        "cgroup_parent": host.cgroup_parent,
        "oci_runtime": host.runtime,
    })))
}

/// The number of a signal (signal(7), on the architectures that engines run on).
fn signal(name: &str) -> Result<i32, String> {
    const NAMES: [(&str, i32); 14] = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("CONT", 18),
        ("STOP", 19),
        ("WINCH", 28),
        ("PWR", 30),
    ];
    /// `SIGRTMIN` as programs see it.
    const RTMIN: i32 = 34;
    let upper = name.to_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = || bare.strip_prefix("RTMIN+")?.parse::<i32>().ok().map(|more| RTMIN + more);
    let known = NAMES.iter().find(|(known, _)| *known == bare).map(|(_, number)| *number);
    let number = known.or_else(|| bare.parse().ok()).or_else(real_time);
    number.ok_or_else(|| format!("option `stop_signal`: there is no signal {name}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (name, number) in [("SIGTERM", 15), ("term", 15), ("9", 9), ("SIGRTMIN+3", 37)] {
            assert_eq!(signal(name), Ok(number));
        }
        assert!(signal("SIGNAL").is_err());
    }

    #[test]
    fn what_updates_change_by_version() {
        for (version, tells) in [
            ("4.3.1", ListTells::All),
            ("5.0.3", ListTells::All),
            ("5.1.0", ListTells::AllButUpdates),
            ("10.0.0", ListTells::AllButUpdates),
            ("new", ListTells::AllButUpdates),
        ] {
            assert_eq!(list_tells(version), tells, "{version}");
        }
    }

    #[test]
    fn rules_for_devices() {
        let rule = device_rule("c 189:* rmw").unwrap();
        assert_eq!((rule["major"].as_i64(), rule["minor"].as_i64()), (Some(189), Some(-1)));
        for wrong in ["", "c 189 rmw", "c a:* rmw"] {
            assert!(device_rule(wrong).is_err(), "{wrong}");
        }
    }
}
