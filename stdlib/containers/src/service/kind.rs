//! How a service that is a container is declared: in hob's words where all services have them, else in Compose's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hob_model::{OpError, Value, duration};
use hob_planner::declaration::{Asked, Gate, Kind, Listens, Published};

use super::{context, spec_of};
use crate::body;
use crate::compose::SUPPORTED;
use crate::parts::Membership;

/// Keys of Compose that services have in words of hob, or that are hob's to decide.
const OTHERWISE: [&str; 6] =
    ["environment", "network_mode", "networks", "restart", "stop_grace_period", "working_dir"];

/// hob's words: those of all services that run a program, and those of Compose that read better here.
const OURS: [&str; 6] = ["args", "env", "limits", "network", "shm_size", "workdir"];

/// The limits, and what they are called in Compose.
const LIMITS: [(&str, &str); 5] = [
    ("memory", "mem_limit"),
    ("reservation", "mem_reservation"),
    ("swap", "memswap_limit"),
    ("cpus", "cpus"),
    ("pids", "pids_limit"),
];

/// How many mistakes of one service are told.
const MISTAKES_MAX: usize = 20;

/// What services that are containers are called.
pub(super) const KIND: &str = "container";

/// Containers.
pub(super) struct ContainerKind;

impl Kind for ContainerKind {
    fn name(&self) -> &'static str {
        KIND
    }

    fn option(&self) -> &'static str {
        "image"
    }

    fn options(&self) -> BTreeSet<&'static str> {
        SUPPORTED.iter().copied().filter(|key| !OTHERWISE.contains(key)).chain(OURS).collect()
    }

    fn has_gate(&self, _: &Gate) -> bool {
        true
    }

    fn shares_network(&self) -> bool {
        true
    }

    fn takes_signals(&self) -> bool {
        true
    }

    fn has_updates(&self) -> bool {
        true
    }

    fn listens(&self, fields: &BTreeMap<String, Value>) -> Listens {
        let Ok(spec) = spec_of(fields) else { return Listens::default() };
        let published = spec.ports.0.iter().filter_map(|port| {
            let protocol = port.container.split_once('/').map_or("tcp", |(_, protocol)| protocol);
            // The engine chooses one that is free where none is named.
            let number = port.host_port.parse().ok()?;
            Some(Published {
                address: port.host_ip.parse().ok(),
                port: number,
                protocol: protocol.to_owned(),
            })
        });
        Listens { apart: spec.network_mode.as_deref() != Some("host"), published: published.collect() }
    }

    fn alone(&self, fields: &BTreeMap<String, Value>) -> Option<String> {
        let spec = spec_of(fields).ok()?;
        let fixed = |one: &Membership| one.ipv4_address.is_some() || one.ipv6_address.is_some();
        if let Some(mode) = &spec.network_mode {
            return Some(format!("it has the network `{mode}`"));
        }
        if !spec.ports.0.is_empty() {
            return Some("it publishes ports of this machine".to_owned());
        }
        let fixed = spec.networks.0.values().any(|one| fixed(one) || one.mac_address.is_some());
        fixed.then(|| "its address in a network is fixed".to_owned())
    }

    fn read(&self, asked: &Asked<'_>) -> Result<BTreeMap<String, Value>, Vec<OpError>> {
        let mut mistakes = Vec::new();
        let mut fields = asked.options.clone();
        for (ours, theirs) in [("env", "environment"), ("workdir", "working_dir")] {
            if let Some(value) = fields.remove(ours) {
                fields.insert(theirs.to_owned(), value);
            }
        }
        if let Some(device) = &asked.device {
            add_device(&mut fields, device);
        }
        command(&mut fields, &mut mistakes);
        limits(&mut fields, &mut mistakes);
        network(asked, &mut fields);
        if fields.get("secrets").is_some_and(Value::has_secret) {
            fields.remove("secrets");
            let mistake = OpError::invalid("`secrets`: files of this machine, and no secrets, belong here");
            mistakes.push(mistake.hint("hand a secret over with `env`: #{ DB_FILE: secret_file(\"db\") }"));
        }
        for key in ["volumes", "secrets"] {
            if let Some(value) = fields.get_mut(key) {
                absolute(asked.directory, value);
            }
        }
        fields.insert("stop_grace_period".to_owned(), Value::from(duration::format(asked.stop_timeout)));
        mistakes.extend(problems(&fields, asked.via));
        if mistakes.is_empty() { Ok(fields) } else { Err(mistakes) }
    }

    fn paths(&self, fields: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        let Ok(spec) = spec_of(fields) else { return Vec::new() };
        let sources = spec.volumes.0.into_iter().filter_map(|volume| volume.source);
        sources.map(PathBuf::from).filter(|source| source.is_absolute()).collect()
    }

    fn warnings(&self, fields: &BTreeMap<String, Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        let image = fields.get("image").and_then(Value::as_str).unwrap_or_default();
        let last = image.rsplit('/').next().unwrap_or_default();
        if !image.contains('@') && (!last.contains(':') || last.ends_with(":latest")) {
            warnings.push(format!("`image`: {image} is another image some day: name a version"));
        }
        if fields.get("privileged") == Some(&Value::Bool(true)) {
            warnings.push(
                "`privileged`: it may do whatever root may: name `devices` and `cap_add` instead".to_owned(),
            );
        }
        warnings
    }
}

/// What stands for the devices of a graphics card goes among the devices.
fn add_device(fields: &mut BTreeMap<String, Value>, device: &str) {
    let mut devices = match fields.remove("devices") {
        None => Vec::new(),
        Some(Value::Array(devices)) => devices,
        Some(other) => vec![other],
    };
    devices.push(Value::from(device));
    fields.insert("devices".to_owned(), Value::Array(devices));
}

/// `args` go after `command`, as for processes.
fn command(fields: &mut BTreeMap<String, Value>, mistakes: &mut Vec<OpError>) {
    let Some(args) = fields.remove("args") else { return };
    let Value::Array(args) = args else {
        mistakes.push(OpError::invalid(format!(
            "`args`: expected an array of texts, found {}",
            args.type_name()
        )));
        return;
    };
    let words = match fields.remove("command") {
        None => Some(Vec::new()),
        Some(Value::Array(words)) => Some(words),
        Some(Value::String(text)) => {
            shlex::split(&text).map(|words| words.into_iter().map(Value::from).collect())
        }
        Some(_) => None,
    };
    match words {
        Some(words) => drop(fields.insert("command".to_owned(), Value::Array([words, args].concat()))),
        None => mistakes.push(OpError::invalid("`command`: expected a text or an array of texts")),
    }
}

/// `limits: #{ memory, reservation, swap, cpus, pids }`
fn limits(fields: &mut BTreeMap<String, Value>, mistakes: &mut Vec<OpError>) {
    let known = LIMITS.map(|(name, _)| name);
    match fields.remove("limits") {
        None => {}
        Some(Value::Map(map)) => {
            for (name, value) in map {
                match LIMITS.iter().find(|(ours, _)| *ours == name) {
                    Some((_, theirs)) => drop(fields.insert((*theirs).to_owned(), value)),
                    None => {
                        let mistake = OpError::invalid(format!("`limits`: there is no limit `{name}`"));
                        mistakes.push(match hob_model::names::nearest(&name, known) {
                            Some(near) => mistake.hint(format!("did you mean `{near}`?")),
                            None => mistake.hint(format!("there are {}", known.join(", "))),
                        });
                    }
                }
            }
        }
        Some(other) => {
            let message = format!("`limits`: expected a map of limits, found {}", other.type_name());
            mistakes.push(OpError::invalid(message));
        }
    }
}

/// The network of another service, or of the host, or those that are named; else that of the homelab, in which services
/// reach each other by name.
fn network(asked: &Asked<'_>, fields: &mut BTreeMap<String, Value>) {
    let named = |names: Vec<Value>| {
        let alone =
            |name: &Value| (name.as_str().unwrap_or_default().to_owned(), aliased(asked.name, Value::Unit));
        Value::Map(names.iter().map(alone).collect())
    };
    let (key, value) = match (asked.via, fields.remove("network")) {
        (Some(lender), _) => ("network_mode", Value::from(format!("service:{lender}"))),
        (None, None) => ("networks", named(vec![Value::from(asked.homelab)])),
        (None, Some(Value::String(mode))) if is_mode(&mode) => ("network_mode", Value::from(mode)),
        (None, Some(Value::String(name))) => ("networks", named(vec![Value::from(name)])),
        (None, Some(Value::Array(names))) => ("networks", named(names)),
        (None, Some(Value::Map(map))) => (
            "networks",
            Value::Map(map.into_iter().map(|(name, one)| (name, aliased(asked.name, one))).collect()),
        ),
        (None, Some(other)) => ("networks", other),
    };
    fields.insert(key.to_owned(), value);
}

fn is_mode(text: &str) -> bool {
    ["host", "none", "bridge"].contains(&text) || text.starts_with("container:")
}

/// The membership of a network under the name of the service, too.
fn aliased(service: &str, membership: Value) -> Value {
    let mut map = match membership {
        Value::Map(map) => map,
        Value::Unit => BTreeMap::new(),
        other => return other,
    };
    if let Value::Array(names) = map.entry("aliases".to_owned()).or_insert_with(|| Value::Array(Vec::new()))
        && !names.iter().any(|name| name.as_str() == Some(service))
    {
        names.push(Value::from(service));
    }
    Value::Map(map)
}

/// Has paths of the host begin at the directory of the homelab.
fn absolute(directory: &Path, value: &mut Value) {
    match value {
        Value::String(text) if text.starts_with("./") || text.starts_with("../") || text == "." => {
            let (path, rest) =
                text.split_once(':').map_or((text.as_str(), None), |(path, rest)| (path, Some(rest)));
            let path = hob_primitive::resolve(directory, path).to_string_lossy().into_owned();
            *text = rest.map_or(path.clone(), |rest| format!("{path}:{rest}"));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| absolute(directory, item)),
        Value::Map(map) => map.values_mut().for_each(|item| absolute(directory, item)),
        _ => {}
    }
}

/// Everything that is wrong with what an engine would be asked for.
fn problems(fields: &BTreeMap<String, Value>, via: Option<&str>) -> Vec<OpError> {
    let (mut fields, mut problems) = (fields.clone(), Vec::new());
    while problems.len() < MISTAKES_MAX {
        let error = match spec_of(&fields) {
            // The lender has an id only when it runs.
            Ok(spec) => match body::body(&context(None, ""), &spec, via) {
                Ok(_) => return problems,
                Err(error) => return [problems, vec![in_our_words(error)]].concat(),
            },
            Err(error) => error,
        };
        let option =
            error.details.get(hob_primitive::OPTION_DETAIL).and_then(Value::as_str).map(str::to_owned);
        problems.push(in_our_words(error));
        // Without the wrong option, the next mistake shows.
        if option.and_then(|option| fields.remove(&option)).is_none() {
            break;
        }
    }
    problems
}

/// `option `mem_limit`` is `limits.memory` here.
fn in_our_words(mut error: OpError) -> OpError {
    let limits = LIMITS.map(|(ours, theirs)| (format!("limits.{ours}"), theirs));
    let others = [
        ("env".to_owned(), "environment"),
        ("workdir".to_owned(), "working_dir"),
        ("network".to_owned(), "networks"),
    ];
    for (ours, theirs) in limits.into_iter().chain(others) {
        error.message = error.message.replace(&format!("`{theirs}`"), &format!("`{ours}`"));
    }
    error.message = error.message.replacen("option `", "`", 1);
    error
}
