//! What only shows when all declarations are looked at together.

use std::collections::{BTreeMap, BTreeSet};

use hob_model::{Diagnostic, Level, Span};

use super::{Declaration, Homelab, Service, TierGate, Trigger, Workflow, bad};

/// The declarations whose name is theirs alone; further ones of the same kind and name are reported. There is one
/// homelab, whatever its name.
pub(super) fn unique<'r, D: Declaration>(declared: &'r [D], diagnostics: &mut Vec<Diagnostic>) -> Vec<&'r D> {
    let mut first: BTreeMap<(&str, &str), &D> = BTreeMap::new();
    let mut unique = Vec::new();
    for raw in declared {
        let name = if raw.kind() == "homelab" { "" } else { raw.name() };
        let space = match raw.kind() {
            // A person starts schedules and workflows by name alone.
            "schedule" => "workflow",
            // The backups of a service, which the engine declares beside it.
            "dataset" if raw.open().options.get("service").is_some() => "dataset",
            // What a service needs is any of these.
            "mount" | "dataset" => "service",
            kind => kind,
        };
        if let Some(earlier) = first.get(&(space, name)) {
            let message = match (name, earlier.kind() == raw.kind()) {
                ("", _) => "`homelab` is declared twice".to_owned(),
                (_, true) => format!("{} `{name}` is declared twice", raw.kind()),
                (_, false) => format!("{} `{name}` has the name of a {}", raw.kind(), earlier.kind()),
            };
            diagnostics.push(bad(raw.source(), message).span(Span {
                label: "first declared here".to_owned(),
                ..Span::point(earlier.source().clone())
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
pub(super) fn references<D: Declaration>(
    declared: &[D],
    homelab: &Homelab,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let names = |kind: &str| -> BTreeSet<&str> {
        declared.iter().filter(|raw| raw.kind() == kind).map(D::name).collect()
    };
    let (tiers, declared_services, hosts) = (names("tier"), names("service"), names("host"));
    let mut services = declared_services.clone();
    services.extend(homelab.services.iter().filter(|it| it.replica.is_some()).map(|it| it.name.as_str()));
    let workflows = names("workflow");
    // One that was refused for another mistake was not taken from what services need.
    let storage: BTreeSet<&str> = names("mount").union(&names("dataset")).copied().collect();
    let needable: BTreeSet<&str> = services.union(&storage).copied().collect();
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
    let on_error = homelab.workflows.iter().map(|it| ("workflow", &*it.name, &it.policy, &it.source));
    let schedules = homelab.schedules.iter();
    let on_error =
        on_error.chain(schedules.map(|it| ("schedule", &*it.schedule.name, &*it.policy, &it.source)));
    for (kind, name, policy, source) in on_error {
        if let Some(handler) = &policy.on_error {
            check(&workflows, "workflow", handler, format!("{kind} `{name}` hands errors to"), source);
        }
    }
    for tier in &homelab.tiers {
        for after in &tier.after {
            check(&tiers, "tier", after, format!("tier `{}` comes after", tier.name), &tier.source);
        }
    }
    for host in &homelab.hosts {
        for name in host.services.keys() {
            check(&declared_services, "service", name, format!("host `{}` changes", host.name), &host.source);
        }
    }
    for setup in &homelab.setups {
        for need in &setup.needs {
            check(&services, "service", need, format!("setup `{}` needs", setup.name), &setup.source);
        }
    }
    for service in &homelab.services {
        let from = |what: &str| format!("service `{}` {what}", service.name);
        if let Some(tier) = &service.tier {
            check(&tiers, "tier", tier, from("belongs to"), &service.source);
        }
        for need in &service.needs {
            check(&needable, "service", need, from("needs"), &service.source);
        }
        if let Some(host) = &service.host {
            check(&hosts, "host", host, from("runs on"), &service.source);
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

/// What reaches the world without what is usual before it.
pub(super) fn exposure(service: &Service, diagnostics: &mut Vec<Diagnostic>) {
    if service.exposure.bypass_auth && !service.exposure.public {
        let message = format!(
            "service `{}` has `bypass_auth` and is not `public`, so nothing is bypassed",
            service.name
        );
        diagnostics.push(Diagnostic { level: Level::Warning, ..bad(&service.source, message) });
    }
    if service.exposure.bypass_auth && service.exposure.public {
        let message =
            format!("service `{}` is reached from the internet without authentication", service.name);
        let note =
            bad(&service.source, message).hint("remove `bypass_auth`, unless it asks for a login itself");
        diagnostics.push(Diagnostic { level: Level::Note, ..note });
    }
}

/// Only what has a network of its own lends it.
pub(super) fn networks(homelab: &Homelab, diagnostics: &mut Vec<Diagnostic>) {
    for service in &homelab.services {
        let Some(lender) = service.via.as_deref().and_then(|via| homelab.service(via)) else { continue };
        let problem = if lender.body.kind() != service.body.kind() {
            format!(
                "`{}` is a {}, and lends its network to no {}",
                lender.name,
                lender.body.kind(),
                service.body.kind()
            )
        } else if let Some(other) = &lender.via {
            format!("`{}` has the network of `{other}` itself", lender.name)
        } else {
            continue;
        };
        let message = format!("service `{}`: `network`: {problem}", service.name);
        diagnostics.push(bad(&service.source, message).hint("name the container that owns the network"));
    }
}

/// A tier that waits for what it does not have is never reached.
pub(super) fn tiers(homelab: &Homelab, diagnostics: &mut Vec<Diagnostic>) {
    for tier in &homelab.tiers {
        let members = homelab.services.iter().filter(|it| it.tier.as_deref() == Some(&tier.name));
        let (message, hint) = match tier.gate {
            TierGate::Quorum(count) if members.clone().count() < count => (
                format!("tier `{}` waits for {count} services and has {}", tier.name, members.count()),
                "it would never be reached: lower `gate`",
            ),
            TierGate::Critical if !members.clone().any(|it| it.critical) => (
                format!("tier `{}` waits for critical services and has none", tier.name),
                "a service is critical with `critical: true`",
            ),
            _ => continue,
        };
        diagnostics.push(bad(&tier.source, message).hint(hint));
    }
}

/// A workflow that takes the errors of others hands its own to nobody: two of them could go on for ever.
pub(super) fn error_workflows(homelab: &Homelab, diagnostics: &mut Vec<Diagnostic>) {
    let policies = homelab.workflows.iter().map(|it| &it.policy);
    let policies = policies.chain(homelab.schedules.iter().map(|it| &*it.policy));
    let handlers: BTreeSet<&str> = policies.filter_map(|policy| policy.on_error.as_deref()).collect();
    for workflow in &homelab.workflows {
        if let (true, Some(other)) = (handlers.contains(&*workflow.name), &workflow.policy.on_error) {
            let name = &workflow.name;
            let message = format!("workflow `{name}` takes errors of others and hands its own to `{other}`");
            let hint = "handle them in it with try and catch";
            diagnostics.push(bad(&workflow.source, message).hint(hint));
        }
    }
}
