//! From observed to desired: the changes, why each is made, and in which order.

mod draw;
mod edges;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hob_model::{Digest, Value};
use serde_json::json;

use crate::declaration::{Gate, Homelab, Service, is_common};
use crate::graph::{Node, Reason};
use crate::observed::{Observed, Outdated, ServiceState};
use crate::restart::Policy;

/// The field under which [`Observed::drift`] has the secrets of a service that have another value now, by their names.
pub const SECRET_DRIFT: &str = "secret";

/// The field under which [`Observed::drift`] has files that say what a service is, and are its owner's: it runs as it was
/// before they were changed.
pub const FILE_DRIFT: &str = "file";

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// It does not exist: it is started for the first time.
    Create,
    /// It goes on; what is noted about it changes.
    Update,
    /// It is stopped and started as it is declared now.
    Recreate,
    /// It exists and does not run: it is started.
    Start,
    /// It is stopped and stays known.
    Stop,
    /// It is stopped and started unchanged.
    Restart,
    /// It is not declared any more: it is stopped where it runs, and forgotten.
    Remove,
}

impl Action {
    /// The name that people and programs see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Recreate => "recreate",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Remove => "remove",
        }
    }

    /// Whether the resource is to run when it is done.
    #[must_use]
    pub fn is_up(self) -> bool {
        !matches!(self, Self::Stop | Self::Remove)
    }
}

/// A declared thing. Ordered by kind, then name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// `service` or `tier`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

impl Resource {
    /// A service.
    pub fn service(name: impl Into<String>) -> Self {
        Self { kind: "service", name: name.into() }
    }
}

impl From<&Node> for Resource {
    fn from(node: &Node) -> Self {
        let kind = match node {
            Node::Tier(_) => "tier",
            Node::Service(_) => "service",
        };
        Self { kind, name: node.name().to_owned() }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldChange {
    /// Its name; keys of maps follow after a dot: `env.TZ`.
    pub field: String,
    /// What it is now; `()` when it is not there or not known.
    pub from: Value,
    /// What it will be; `()` when it goes away.
    pub to: Value,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What is done.
    pub action: Action,
    /// To what.
    pub resource: Resource,
    /// The boot stage of the resource.
    pub tier: Option<String>,
    /// Why, in a few words.
    pub cause: String,
    /// What differs.
    pub diff: Vec<FieldChange>,
}

/// An order between two resources of a plan: `before` is done (and ready, where it starts) before `after` begins.
///
/// A tier stands for all its services; it may appear though nothing in it changes, as the gate it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// What comes first.
    pub before: Resource,
    /// What waits for it.
    pub after: Resource,
    /// Why.
    pub reason: Reason,
}

/// What a plan is to bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// All that is declared runs, and nothing else.
    Up,
    /// Nothing runs; all stays known. Also what is held stops: it is a person who asks.
    Down,
}

/// The changes that lead from what was observed to what is declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is done, in an order that keeps all edges.
    pub changes: Vec<Change>,
    /// Which change waits for which.
    pub edges: Vec<Edge>,
    /// What is as declared.
    pub unchanged: Vec<Resource>,
    /// What would change, and is held.
    pub held: Vec<Resource>,
    /// What is made from another image than its name stands for by now: a plan does not change that, an update does.
    pub outdated: Vec<(Resource, Outdated)>,
    /// The digest of what was observed; see [`Plan::is_stale`].
    pub basis: Digest,
}

impl Plan {
    /// The plan that brings about `goal`.
    ///
    /// `homelab` must be free of errors. An unchanged world gives an empty plan.
    #[must_use]
    pub fn new(homelab: &Homelab, observed: &[Observed], goal: Goal) -> Self {
        let mut plan = Self {
            changes: Vec::new(),
            edges: Vec::new(),
            unchanged: Vec::new(),
            held: Vec::new(),
            outdated: Vec::new(),
            basis: basis(observed),
        };
        let seen: BTreeMap<&str, &Observed> = observed.iter().map(|it| (it.name.as_str(), it)).collect();
        match goal {
            Goal::Up => {
                for service in &homelab.services {
                    let found = seen.get(service.name.as_str()).copied();
                    plan.add(found, Resource::service(&service.name), bring_up(service, found));
                    let outdated = found.and_then(|found| found.outdated.clone());
                    plan.outdated.extend(outdated.map(|it| (Resource::service(&service.name), it)));
                }
                plan.restart_borrowers(homelab, &seen);
                for orphan in observed.iter().filter(|it| homelab.service(&it.name).is_none()) {
                    let cause = "it is not declared any more".to_owned();
                    let change = change(Action::Remove, orphan, recorded_tier(orphan), cause);
                    plan.add(Some(orphan), Resource::service(&orphan.name), Some(change));
                }
            }
            Goal::Down => {
                for it in observed {
                    let tier = homelab.service(&it.name).and_then(|service| service.tier.clone());
                    let change = change(
                        Action::Stop,
                        it,
                        tier.or_else(|| recorded_tier(it)),
                        "everything stops".to_owned(),
                    );
                    // What is held is held against the reconciler, not against a person.
                    plan.add(None, Resource::service(&it.name), it.state.is_alive().then_some(change));
                }
            }
        }
        edges::order(&mut plan, homelab, &seen);
        plan
    }

    /// Who shares the network of what is made anew is restarted with it, or it would hang in the network of before.
    fn restart_borrowers(&mut self, homelab: &Homelab, seen: &BTreeMap<&str, &Observed>) {
        for service in &homelab.services {
            let (Some(via), Some(found)) = (&service.via, seen.get(service.name.as_str())) else { continue };
            let lender = self.changes.iter().find(|it| it.resource == Resource::service(via));
            let Some(lender) = lender.filter(|it| it.action != Action::Update) else { continue };
            let resource = Resource::service(&service.name);
            let Some(at) =
                self.unchanged.iter().position(|it| *it == resource).filter(|_| found.state.is_alive())
            else {
                continue;
            };
            let cause = format!("it shares the network of `{via}`, which is to {}", lender.action.as_str());
            let change = change(Action::Restart, found, service.tier.clone(), cause);
            self.unchanged.remove(at);
            self.add(Some(found), resource, Some(change));
        }
    }

    fn add(&mut self, observed: Option<&Observed>, resource: Resource, change: Option<Change>) {
        match change {
            None => self.unchanged.push(resource),
            Some(_) if observed.is_some_and(|it| it.held) => self.held.push(resource),
            Some(change) => self.changes.push(change),
        }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether the world has changed since the plan was made, so that it is not to be carried out.
    #[must_use]
    pub fn is_stale(&self, observed: &[Observed]) -> bool {
        self.basis != basis(observed)
    }

    /// What `resource` waits for itself.
    pub fn waits_for<'p>(&'p self, resource: &Resource) -> impl Iterator<Item = &'p Edge> + use<'p> {
        let resource = resource.clone();
        self.edges.iter().filter(move |edge| edge.after == resource)
    }

    /// The form of `hob plan --json`: `changes` with `action`, `resource`, `tier`, `cause` and `diff`, the number
    /// of resources that are `unchanged`, and the services that are `outdated`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let json_of = |value: &Value| value.to_json().unwrap_or_default();
        let field =
            |it: &FieldChange| json!({ "field": it.field, "from": json_of(&it.from), "to": json_of(&it.to) });
        let change = |it: &Change| {
            json!({
                "action": it.action.as_str(),
                "resource": { "kind": it.resource.kind, "name": it.resource.name },
                "tier": it.tier,
                "cause": it.cause,
                "diff": it.diff.iter().map(field).collect::<Vec<_>>(),
            })
        };
        json!({
            "changes": self.changes.iter().map(change).collect::<Vec<_>>(),
            "unchanged": self.unchanged.len(),
            "outdated": self.outdated.iter().map(|(resource, it)| {
                json!({ "service": resource.name, "used": it.used, "named": it.named })
            }).collect::<Vec<_>>(),
        })
    }
}

/// The digest of all that plans look at, whatever the order of the list.
fn basis(observed: &[Observed]) -> Digest {
    let mut seen: Vec<Value> = observed.iter().map(observed_value).collect();
    seen.sort_by_key(Value::encode);
    Digest::of(&Value::Array(seen).encode())
}

fn observed_value(it: &Observed) -> Value {
    Value::Array(vec![
        Value::from(it.name.as_str()),
        Value::from(standing(it.state)),
        Value::from(it.held),
        Value::from(it.digest.map(|digest| digest.to_string())),
        it.fields.clone(),
        Value::from(it.drift.iter().map(|it| it.field.clone()).collect::<Vec<_>>()),
    ])
}

/// What of a state makes a difference to a plan: one that gets ready while a person reads it does not.
fn standing(state: ServiceState) -> &'static str {
    match state {
        state if state.is_alive() => "runs",
        ServiceState::Completed => "completed",
        _ => "stopped",
    }
}

fn change(action: Action, observed: &Observed, tier: Option<String>, cause: String) -> Change {
    Change { action, resource: Resource::service(&observed.name), tier, cause, diff: Vec::new() }
}

fn recorded_tier(observed: &Observed) -> Option<String> {
    observed.fields.get("tier").and_then(Value::as_str).map(str::to_owned)
}

/// What one service needs to be as declared; `None` when it is.
fn bring_up(service: &Service, observed: Option<&Observed>) -> Option<Change> {
    let of = |action, cause: String, diff| Change {
        action,
        resource: Resource::service(&service.name),
        tier: service.tier.clone(),
        cause,
        diff,
    };
    let Some(observed) = observed else {
        return Some(of(Action::Create, "it does not exist yet".to_owned(), Vec::new()));
    };
    let diff = difference(&observed.fields, &service.fields());
    if observed.digest != Some(service.digest()) {
        let causes: BTreeSet<&str> = diff.iter().map(top).filter(|it| !is_common(it)).collect();
        let cause = match (observed.digest, causes.is_empty()) {
            (None, _) => "it is not known what it runs".to_owned(),
            (_, true) => "it runs something else than is declared".to_owned(),
            (_, false) => format!("{} changed", quoted(causes)),
        };
        return Some(of(Action::Recreate, cause, diff));
    }
    if !observed.drift.is_empty() {
        let only_files = observed.drift.iter().all(|it| top(it) == FILE_DRIFT);
        let cause = match observed.drift.iter().find(|it| is_secret(it)) {
            Some(secret) => format!("the {} has another value now", secret.field.replacen('.', " ", 1)),
            None if only_files => "its files were changed after it started".to_owned(),
            None => format!("{} changed by hand", quoted(observed.drift.iter().map(top).collect())),
        };
        let reads_them_again = service.reload.is_some() && observed.drift.iter().all(is_secret);
        let action = match (reads_them_again, only_files) {
            (true, _) => Action::Update,
            (_, true) => Action::Restart,
            _ => Action::Recreate,
        };
        return Some(of(action, cause, observed.drift.clone()));
    }
    let is_done = match observed.state {
        state if state.is_alive() => true,
        ServiceState::Completed => {
            service.ready.gate == Gate::Completed || service.restart.policy != Policy::Always
        }
        _ => false,
    };
    if !is_done {
        let cause = match observed.state {
            ServiceState::Failed => "it has failed".to_owned(),
            ServiceState::Completed => "it has ended".to_owned(),
            state => format!("it is {state}"),
        };
        return Some(of(Action::Start, cause, diff));
    }
    let fields: BTreeSet<&str> = diff.iter().map(top).collect();
    let cause = format!("{} changed", quoted(fields));
    (!diff.is_empty()).then(|| of(Action::Update, cause, diff))
}

fn quoted(names: BTreeSet<&str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Whether a secret of a service has another value than it was handed.
fn is_secret(change: &FieldChange) -> bool {
    top(change) == SECRET_DRIFT
}

/// The field itself, without the key of a map.
fn top(change: &FieldChange) -> &str {
    change.field.split_once('.').map_or(change.field.as_str(), |(top, _)| top)
}

/// What differs between two maps of fields; maps among them are compared key by key. Nothing where `from` is unknown.
fn difference(from: &Value, to: &Value) -> Vec<FieldChange> {
    let (Value::Map(from), Value::Map(to)) = (from, to) else {
        return Vec::new();
    };
    let mut changes = Vec::new();
    compare("", from, to, &mut changes);
    changes
}

fn compare(
    path: &str,
    from: &BTreeMap<String, Value>,
    to: &BTreeMap<String, Value>,
    changes: &mut Vec<FieldChange>,
) {
    let keys: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    for key in keys {
        let (before, after) = (from.get(key).unwrap_or(&Value::Unit), to.get(key).unwrap_or(&Value::Unit));
        let field = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (before, after) {
            (Value::Map(before), Value::Map(after)) => compare(&field, before, after, changes),
            _ if before == after => {}
            _ => changes.push(FieldChange { field, from: before.clone(), to: after.clone() }),
        }
    }
}
