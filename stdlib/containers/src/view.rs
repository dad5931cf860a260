//! What scripts get to see of containers, images, networks and volumes.

use std::collections::HashMap;

use bollard::models;
use hob_model::Value;

use crate::body::{LABEL_DECLARED, LABEL_EFFECT};

/// How the API writes a time that never was.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// A container of a list.
#[must_use]
pub fn summary(it: models::ContainerSummary) -> Value {
    let name = it.names.unwrap_or_default().into_iter().next().unwrap_or_default();
    let networks = it.network_settings.and_then(|settings| settings.networks);
    let ports = it.ports.unwrap_or_default().into_iter().map(|port| {
        Value::map([
            ("container", Value::from(u32::from(port.private_port))),
            ("host", Value::from(port.public_port.map(u32::from))),
            ("ip", Value::from(port.ip.filter(|ip| !ip.is_empty()))),
            ("protocol", Value::from(port.typ.map(|typ| typ.to_string()))),
        ])
    });
    Value::map([
        ("id", Value::from(it.id)),
        ("name", Value::from(name.trim_start_matches('/'))),
        ("image", Value::from(it.image)),
        ("image_id", Value::from(it.image_id)),
        ("command", Value::from(it.command)),
        ("created_at", Value::from(it.created.and_then(seconds))),
        ("state", Value::from(it.state.map(|state| state.to_string()))),
        ("status", Value::from(it.status)),
        ("health", Value::from(it.health.and_then(|health| health.status).map(|status| status.to_string()))),
        ("ports", Value::Array(ports.collect())),
        ("labels", labels(it.labels)),
        ("networks", addresses(networks)),
        ("mounts", mounts(it.mounts)),
    ])
}

/// One container.
#[must_use]
pub fn details(it: &models::ContainerInspectResponse) -> Value {
    let state = it.state.clone().unwrap_or_default();
    let config = it.config.clone().unwrap_or_default();
    let settings = it.network_settings.clone().unwrap_or_default();
    let host = it.host_config.clone().unwrap_or_default();
    let time = |text: Option<String>| Value::from(text.filter(|text| !text.is_empty() && text != NEVER));
    let status = state.status.map(|status| status.to_string());
    let exited = matches!(status.as_deref(), Some("exited" | "dead" | "stopped"));
    let pid = state.pid.filter(|pid| *pid > 0);
    let health = state.health.and_then(|health| health.status).map(|status| status.to_string());
    Value::map([
        ("id", Value::from(it.id.clone())),
        ("name", Value::from(name(it))),
        ("image", Value::from(config.image)),
        ("image_id", Value::from(it.image.clone())),
        ("command", Value::from(command(it))),
        ("created_at", time(it.created.clone())),
        ("state", Value::from(status)),
        ("running", Value::from(state.running.unwrap_or_default())),
        ("started_at", time(state.started_at)),
        ("finished_at", time(state.finished_at)),
        ("exit_code", Value::from(state.exit_code.filter(|_| exited))),
        ("oom_killed", Value::from(state.oom_killed.unwrap_or_default())),
        ("pid", Value::from(pid)),
        ("health", Value::from(health.filter(|health| !["none", ""].contains(&health.as_str())))),
        ("restart_count", Value::from(it.restart_count.unwrap_or_default())),
        (
            "restart",
            Value::from(host.restart_policy.and_then(|policy| policy.name).map(|name| name.to_string())),
        ),
        ("network_mode", Value::from(host.network_mode)),
        ("ports", published(settings.ports)),
        ("labels", labels(config.labels)),
        ("networks", addresses(settings.networks)),
        ("mounts", mounts(it.mounts.clone())),
    ])
}

/// The name of a container, without the API's slash.
#[must_use]
pub fn name(it: &models::ContainerInspectResponse) -> String {
    it.name.as_deref().unwrap_or_default().trim_start_matches('/').to_owned()
}

fn command(it: &models::ContainerInspectResponse) -> Vec<String> {
    it.path.iter().chain(it.args.iter().flatten()).cloned().collect()
}

fn published(ports: Option<models::PortMap>) -> Value {
    let mut shown: Vec<(String, Value)> = Vec::new();
    for (container, bindings) in ports.into_iter().flatten() {
        let (number, protocol) = container.split_once('/').unwrap_or((&container, "tcp"));
        for binding in bindings.into_iter().flatten() {
            let host = binding.host_port.and_then(|port| port.parse::<u32>().ok());
            let ip = binding.host_ip.filter(|ip| !ip.is_empty());
            let one = Value::map([
                ("container", Value::from(number.parse::<u32>().ok())),
                ("host", Value::from(host)),
                ("ip", Value::from(ip)),
                ("protocol", Value::from(protocol)),
            ]);
            shown.push((container.clone(), one));
        }
    }
    shown.sort_by(|a, b| a.0.cmp(&b.0));
    Value::Array(shown.into_iter().map(|(_, one)| one).collect())
}

fn labels(labels: Option<HashMap<String, String>>) -> Value {
    let own = [LABEL_DECLARED, LABEL_EFFECT];
    let shown = labels.into_iter().flatten().filter(|(key, _)| !own.contains(&key.as_str()));
    Value::map(shown.map(|(key, value)| (key, Value::from(value))))
}

fn addresses(networks: Option<HashMap<String, models::EndpointSettings>>) -> Value {
    let address = |one: models::EndpointSettings| Value::from(one.ip_address.filter(|ip| !ip.is_empty()));
    Value::map(networks.into_iter().flatten().map(|(name, one)| (name, address(one))))
}

fn mounts(mounts: Option<Vec<models::MountPoint>>) -> Value {
    let shown = mounts.unwrap_or_default().into_iter().map(|mount| {
        Value::map([
            ("type", Value::from(mount.typ.map(|typ| typ.to_string()))),
            ("name", Value::from(mount.name.filter(|name| !name.is_empty()))),
            ("source", Value::from(mount.source)),
            ("target", Value::from(mount.destination)),
            ("read_only", Value::from(mount.rw == Some(false))),
        ])
    });
    Value::Array(shown.collect())
}

/// An image of a list.
#[must_use]
pub fn image(it: models::ImageSummary) -> Value {
    Value::map([
        ("id", Value::from(it.id)),
        ("names", Value::from(it.repo_tags)),
        ("digests", Value::from(it.repo_digests)),
        ("created_at", Value::from(seconds(it.created))),
        ("bytes", Value::from(it.size)),
        ("labels", labels(Some(it.labels))),
    ])
}

/// A network.
#[must_use]
pub fn network(it: models::Network) -> Value {
    let ipam = it.ipam.unwrap_or_default().config.unwrap_or_default();
    let subnets: Vec<String> = ipam.iter().filter_map(|config| config.subnet.clone()).collect();
    let gateways: Vec<String> = ipam.into_iter().filter_map(|config| config.gateway).collect();
    Value::map([
        ("id", Value::from(it.id)),
        ("name", Value::from(it.name)),
        ("driver", Value::from(it.driver)),
        ("internal", Value::from(it.internal.unwrap_or_default())),
        ("ipv6", Value::from(it.enable_ipv6.unwrap_or_default())),
        ("subnets", Value::from(subnets)),
        ("gateways", Value::from(gateways)),
        ("labels", labels(it.labels)),
    ])
}

/// A volume.
#[must_use]
pub fn volume(it: models::Volume) -> Value {
    Value::map([
        ("name", Value::from(it.name)),
        ("driver", Value::from(it.driver)),
        ("path", Value::from(it.mountpoint)),
        ("options", labels(Some(it.options))),
        ("labels", labels(Some(it.labels))),
    ])
}

/// What a container uses.
#[must_use]
pub fn stats(it: &models::ContainerStatsResponse) -> Value {
    let memory = it.memory_stats.clone().unwrap_or_default();
    let usage = memory.usage.unwrap_or_default();
    // As `docker stats` does: pages that can be dropped do not count.
    let cache = memory
        .stats
        .as_ref()
        .and_then(|stats| stats.get("inactive_file").or(stats.get("total_inactive_file")));
    let networks = it.networks.clone().unwrap_or_default();
    let sum = |part: fn(&models::ContainerNetworkStats) -> Option<u64>| -> u64 {
        networks.values().filter_map(part).sum()
    };
    let block = |op: &str| -> u64 {
        let blkio = it.blkio_stats.clone().unwrap_or_default().io_service_bytes_recursive.unwrap_or_default();
        let fits = |entry: &&models::ContainerBlkioStatEntry| {
            entry.op.as_deref().is_some_and(|found| found.eq_ignore_ascii_case(op))
        };
        blkio.iter().filter(fits).filter_map(|entry| entry.value).sum()
    };
    Value::map([
        ("cpu_percent", Value::from(cpu_percent(it))),
        ("memory_bytes", Value::from(usage.saturating_sub(cache.copied().unwrap_or_default()))),
        ("memory_limit_bytes", Value::from(memory.limit)),
        ("processes", Value::from(it.pids_stats.as_ref().and_then(|pids| pids.current))),
        ("received_bytes", Value::from(sum(|network| network.rx_bytes))),
        ("sent_bytes", Value::from(sum(|network| network.tx_bytes))),
        ("read_bytes", Value::from(block("read"))),
        ("written_bytes", Value::from(block("write"))),
    ])
}

/// The share of one processor between two samples, in percent: 200 is two processors.
#[allow(clippy::cast_precision_loss)] // a percentage needs no 64 bits
fn cpu_percent(it: &models::ContainerStatsResponse) -> f64 {
    let sample = |stats: &Option<models::ContainerCpuStats>| {
        let stats = stats.clone().unwrap_or_default();
        let own = stats.cpu_usage.and_then(|usage| usage.total_usage).unwrap_or_default();
        (own, stats.system_cpu_usage.unwrap_or_default(), stats.online_cpus.unwrap_or(1))
    };
    let ((own, system, cpus), (own_before, system_before, _)) =
        (sample(&it.cpu_stats), sample(&it.precpu_stats));
    let (own, system) = (own.saturating_sub(own_before), system.saturating_sub(system_before));
    if system == 0 {
        return 0.0;
    }
    let percent = own as f64 / system as f64 * f64::from(cpus.max(1)) * 100.0;
    (percent * 100.0).round() / 100.0
}

fn seconds(since_epoch: i64) -> Option<String> {
    jiff::Timestamp::from_second(since_epoch).ok().map(|time| time.to_string())
}
