//! Machines, and what services are on one of them in another way than everywhere.

use std::collections::BTreeMap;

use hob_model::{Diagnostic, Source, Value};

use super::options::{ITEMS_MAX, Options};
use super::{Host, Raw};

/// Reads `host(name, #{ address, services: #{ NAME: OPTIONS } })`.
pub(super) fn read(raw: &Raw, diagnostics: &mut Vec<Diagnostic>) -> Host {
    let mut options = Options::open(raw, &["address", "services"], diagnostics);
    let address = options.text("address");
    let services = options.read("services", "a map of services, each with a map of its options", overrides);
    Host {
        name: raw.name.to_string(),
        address,
        services: services.unwrap_or_default(),
        source: raw.source.clone(),
    }
}

fn overrides(value: &Value) -> Option<BTreeMap<String, BTreeMap<String, Value>>> {
    let Value::Map(services) = value else { return None };
    let of = |(name, options): (&String, &Value)| match options {
        Value::Map(options) if options.len() <= ITEMS_MAX => Some((name.clone(), options.clone())),
        _ => None,
    };
    (services.len() <= ITEMS_MAX).then(|| services.iter().map(of).collect()).flatten()
}

/// The machine that a service belongs to: the one it names, else this one, if it is declared.
pub(super) fn of<'h>(raw: &Raw, hosts: &'h [Host], here: Option<&str>) -> Option<&'h Host> {
    let named = raw.options.get("host").and_then(Value::as_str).or(here)?;
    hosts.iter().find(|host| host.name == named)
}

/// Has a service be as its host wants it: what the host says takes the place of what the service says, in maps key by key.
/// Gives which options that are, by their paths.
pub(super) fn apply(raw: &mut Raw, host: &Host) -> BTreeMap<String, Source> {
    let mut set = BTreeMap::new();
    let (Some(wanted), Value::Map(options)) = (host.services.get(&*raw.name), &mut raw.options) else {
        return set;
    };
    merge("", options, wanted, &host.source, &mut set);
    // A function among the options that are replaced goes with them.
    raw.closures.retain(|path| !set.keys().any(|key| path == key || path.starts_with(&format!("{key}."))));
    set
}

fn merge(
    path: &str,
    options: &mut BTreeMap<String, Value>,
    wanted: &BTreeMap<String, Value>,
    source: &Source,
    set: &mut BTreeMap<String, Source>,
) {
    for (key, value) in wanted {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (options.get_mut(key), value) {
            // A gate or trigger is one value, although it is written as a map.
            (Some(Value::Map(ours)), Value::Map(theirs)) if !is_one(ours) && !is_one(theirs) => {
                merge(&path, ours, theirs, source, set);
            }
            _ => {
                options.insert(key.clone(), value.clone());
                set.insert(path, source.clone());
            }
        }
    }
}

fn is_one(map: &BTreeMap<String, Value>) -> bool {
    ["gate", "trigger", "network"].iter().any(|tag| map.contains_key(*tag))
}
