//! What only shows when all declarations are looked at together.

use std::collections::{BTreeMap, BTreeSet};

use hob_model::{Diagnostic, Span};

use super::{Homelab, Raw, Service, Trigger, Workflow, bad};

/// The declarations whose name is theirs alone; further ones of the same kind and name are reported. There is one
/// homelab, whatever its name.
pub(super) fn unique<'r>(declared: &'r [Raw], diagnostics: &mut Vec<Diagnostic>) -> Vec<&'r Raw> {
    let mut first: BTreeMap<(&str, &str), &Raw> = BTreeMap::new();
    let mut unique = Vec::new();
    for raw in declared {
        let name = if raw.kind == "homelab" { "" } else { raw.name.as_str() };
        // A person starts schedules and workflows by name alone, so they share one space of names.
        let space = if raw.kind == "schedule" { "workflow" } else { raw.kind.as_str() };
        if let Some(earlier) = first.get(&(space, name)) {
            let message = match (name, earlier.kind == raw.kind) {
                ("", _) => "`homelab` is declared twice".to_owned(),
                (_, true) => format!("{} `{name}` is declared twice", raw.kind),
                (_, false) => format!("{} `{name}` has the name of a {}", raw.kind, earlier.kind),
            };
            diagnostics.push(bad(&raw.source, message).span(Span {
                label: "first declared here".to_owned(),
                ..Span::point(earlier.source.clone())
            }));
            continue;
        }
        first.insert((space, name), raw);
        unique.push(raw);
    }
    unique
}

/// Tiers, services and hosts that are named must be declared. A declaration that was refused for another mistake
/// counts: one mistake is to be reported once.
pub(super) fn references(declared: &[Raw], homelab: &Homelab, diagnostics: &mut Vec<Diagnostic>) {
    let names = |kind: &str| -> BTreeSet<&str> {
        declared.iter().filter(|raw| raw.kind == kind).map(|raw| raw.name.as_str()).collect()
    };
    let (tiers, services, hosts) = (names("tier"), names("service"), names("host"));
    let mut check = |known: &BTreeSet<&str>, kind: &str, name: &str, from: String, source| {
        if known.contains(name) {
            return;
        }
        let found = bad(source, format!("{from} the {kind} `{name}`, which is not declared"));
        diagnostics.push(match hob_model::names::nearest(name, known.iter().copied()) {
            Some(near) => found.hint(format!("did you mean `{near}`?")),
            None => found.hint(format!("declare it: {kind}(\"{name}\", …)")),
        });
    };
    for tier in &homelab.tiers {
        for after in &tier.after {
            check(&tiers, "tier", after, format!("tier `{}` comes after", tier.name), &tier.source);
        }
    }
    for service in &homelab.services {
        let from = |what: &str| format!("service `{}` {what}", service.name);
        if let Some(tier) = &service.tier {
            check(&tiers, "tier", tier, from("belongs to"), &service.source);
        }
        for need in &service.needs {
            check(&services, "service", need, from("needs"), &service.source);
        }
        if let Some(host) = &service.host {
            check(&hosts, "host", host, from("runs on"), &service.source);
        }
    }
}

/// Two services of one machine cannot listen on the same port.
pub(super) fn ports(services: &[Service], diagnostics: &mut Vec<Diagnostic>) {
    let mut taken: BTreeMap<u16, &Service> = BTreeMap::new();
    for service in services {
        let Some(port) = service.port else { continue };
        if let Some(other) = taken.get(&port) {
            let message =
                format!("services `{}` and `{}` both have the port {port}", other.name, service.name);
            diagnostics.push(bad(&service.source, message).span(Span {
                label: format!("`{}` has it first", other.name),
                ..Span::point(other.source.clone())
            }));
        } else {
            taken.insert(port, service);
        }
    }
}

/// A request starts one workflow.
pub(super) fn webhooks(workflows: &[Workflow], diagnostics: &mut Vec<Diagnostic>) {
    let mut taken: BTreeMap<(String, String), &Workflow> = BTreeMap::new();
    for workflow in workflows {
        for trigger in &workflow.triggers {
            let Trigger::Webhook(hook) = trigger else { continue };
            // `/a/:x` and `/a/:y` are the same requests.
            let segments = hook.path.split('/').map(|s| if s.starts_with(':') { ":" } else { s });
            let path = segments.collect::<Vec<_>>().join("/");
            if let Some(other) = taken.insert((hook.method.clone(), path), workflow) {
                let message = format!(
                    "workflows `{}` and `{}` both take {} {}",
                    other.name, workflow.name, hook.method, hook.path
                );
                diagnostics.push(bad(&workflow.source, message).span(Span {
                    label: format!("`{}` takes it first", other.name),
                    ..Span::point(other.source.clone())
                }));
            }
        }
    }
}

/// Services of several machines need several hobs that know of each other, which this version has not.
pub(super) fn hosts(homelab: &Homelab, diagnostics: &mut Vec<Diagnostic>) {
    let named: BTreeSet<&str> = homelab.services.iter().filter_map(|it| it.host.as_deref()).collect();
    if named.len() < 2 {
        return;
    }
    let mut first: Option<&str> = None;
    for service in &homelab.services {
        let Some(host) = service.host.as_deref() else { continue };
        if *first.get_or_insert(host) != host {
            let message = format!(
                "service `{}` runs on `{host}` and others on `{}`",
                service.name,
                first.unwrap_or_default()
            );
            let hint = "this version of hob runs the services of one machine: give each its own homelab";
            diagnostics.push(bad(&service.source, message).hint(hint));
        }
    }
}
