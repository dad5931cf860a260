//! How a ready service is looked after.

use std::path::Path;
use std::time::Duration;

use hob_model::{Code, Value};

use super::gate::read_gate;
use super::options::Options;
use super::{Gate, Health, Raw};

/// The pause between two looks, unless the service says otherwise.
const INTERVAL: Duration = Duration::from_secs(30);

/// How long one look may take, unless the service says otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How many looks in a row must fail, unless the service says otherwise.
const RETRIES: u32 = 3;

/// The most looks in a row.
const RETRIES_MAX: i64 = 1_000;

/// `health: GATE`, or `health: #{ check, interval, timeout, retries, restart }`, where `check` is the gate `ready` unless
/// it is given.
pub(super) fn read_health(
    options: &mut Options<'_>,
    port: Option<u16>,
    workdir: &Path,
    ready: &Gate,
) -> Option<Health> {
    let value = options.take("health")?;
    let mut health =
        Health { gate: ready.clone(), interval: INTERVAL, timeout: TIMEOUT, retries: RETRIES, restart: true };
    if value.get("gate").is_some() {
        health.gate = read_gate(options, "health", &value, port, workdir)?;
        return lasting(options, health);
    }
    let Value::Map(map) = &value else {
        options.wrong(
            "health",
            "a gate such as http(\"/health\"), or a map with `check` and `interval`",
            &value,
        );
        return None;
    };
    let mut found = Vec::new();
    let inner = Raw { options: Value::Map(map.clone()), closures: Vec::new(), ..options.as_raw("health") };
    let known = ["check", "interval", "timeout", "retries", "restart"];
    let mut inner = Options::open(&inner, &known, &mut found);
    let check = inner.take("check");
    let gate = check.map(|value| read_gate(&mut inner, "check", &value, port, workdir));
    health.interval = inner.duration("interval").filter(|it| !it.is_zero()).unwrap_or(INTERVAL);
    health.timeout = inner.duration("timeout").unwrap_or(TIMEOUT);
    health.restart = inner.bool("restart").unwrap_or(true);
    let retries = inner.read("retries", "a number from 1 to 1000", |value| {
        value.as_int().filter(|it| (1..=RETRIES_MAX).contains(it)).and_then(|it| u32::try_from(it).ok())
    });
    health.retries = retries.unwrap_or(RETRIES);
    options.adopt(found);
    if let Some(gate) = gate {
        health.gate = gate?;
    }
    lasting(options, health)
}

/// Only a gate that can cease to hold tells of health.
fn lasting(options: &mut Options<'_>, health: Health) -> Option<Health> {
    if matches!(health.gate, Gate::Alive | Gate::Log { .. } | Gate::Completed) {
        let message = format!("`health`: {} cannot cease to hold", health.gate);
        options.report_with(Code::BadDeclaration, message, "look with tcp, http, exec, file or healthy");
        return None;
    }
    Some(health)
}
