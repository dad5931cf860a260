//! The order of a plan's changes.

use std::collections::{BTreeMap, BTreeSet};

use hob_model::Value;

use super::{Action, Change, Edge, Plan, Resource};
use crate::declaration::Homelab;
use crate::graph::{Node, Reason};
use crate::observed::Observed;

/// Fills in the edges and sorts the changes by them.
///
/// What starts follows the graph; what stops goes against it. What is not declared any more stops in the reverse of
/// what was recorded of it, and before anything starts on its port.
pub(super) fn order(plan: &mut Plan, homelab: &Homelab, seen: &BTreeMap<&str, &Observed>) {
    let mut edges = BTreeSet::new();
    let actions: BTreeMap<&Resource, Action> =
        plan.changes.iter().map(|it| (&it.resource, it.action)).collect();
    // Tiers count with the direction of the plan, so that it goes on through those in which nothing changes.
    let any_up = plan.changes.iter().any(|it| it.action.is_up());
    let direction = |node: &Node, resource: &Resource| match node {
        Node::Tier(_) => Some(any_up),
        Node::Service(_) => actions.get(resource).map(|action| action.is_up()),
    };
    for edge in homelab.graph.edges() {
        let (first, second) = (&homelab.graph.nodes()[edge.before], &homelab.graph.nodes()[edge.after]);
        let (before, after) = (Resource::from(first), Resource::from(second));
        match (direction(first, &before), direction(second, &after)) {
            (Some(true), Some(true)) => drop(edges.insert(Edge { before, after, reason: edge.reason })),
            (Some(false), Some(false)) => {
                edges.insert(Edge { before: after, after: before, reason: edge.reason });
            }
            _ => {}
        }
    }
    add_orphans(&plan.changes, homelab, seen, &mut edges);
    prune_tiers(&mut edges);
    plan.edges = edges.into_iter().collect();
    sort(&mut plan.changes, &plan.edges, homelab);
}

/// The edges of what is removed.
fn add_orphans(
    changes: &[Change],
    homelab: &Homelab,
    seen: &BTreeMap<&str, &Observed>,
    edges: &mut BTreeSet<Edge>,
) {
    let removed: BTreeMap<&str, &Observed> = changes
        .iter()
        .filter(|it| !it.action.is_up() && homelab.service(&it.resource.name).is_none())
        .filter_map(|it| seen.get(it.resource.name.as_str()).map(|found| (it.resource.name.as_str(), *found)))
        .collect();
    for (name, orphan) in &removed {
        let needs = match orphan.fields.get("needs") {
            Some(Value::Array(needs)) => needs.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        // Two services that were recorded at different times may need each other: then neither waits.
        let need_it = |need: &str| match removed.get(need).and_then(|other| other.fields.get("needs")) {
            Some(Value::Array(back)) => back.iter().any(|it| it.as_str() == Some(name)),
            _ => false,
        };
        for need in needs.into_iter().filter(|need| removed.contains_key(need) && !need_it(need)) {
            edges.insert(Edge {
                before: Resource::service(*name),
                after: Resource::service(need),
                reason: Reason::Needs,
            });
        }
        let Some(port) = orphan.fields.get("port").and_then(Value::as_int) else { continue };
        for change in changes.iter().filter(|it| it.action.is_up()) {
            if homelab.service(&change.resource.name).and_then(|it| it.port).map(i64::from) == Some(port) {
                edges.insert(Edge {
                    before: Resource::service(*name),
                    after: change.resource.clone(),
                    reason: Reason::Wants,
                });
            }
        }
    }
}

/// Drops tiers that no change comes before or after.
fn prune_tiers(edges: &mut BTreeSet<Edge>) {
    loop {
        let befores: BTreeSet<Resource> = edges.iter().map(|it| it.before.clone()).collect();
        let afters: BTreeSet<Resource> = edges.iter().map(|it| it.after.clone()).collect();
        let count = edges.len();
        edges.retain(|edge| {
            let is_start = edge.before.kind == "tier" && !afters.contains(&edge.before);
            let is_end = edge.after.kind == "tier" && !befores.contains(&edge.after);
            !is_start && !is_end
        });
        if edges.len() == count {
            return;
        }
    }
}

/// Sorts topologically; where the edges leave it open, removals come first, then the order of the homelab, which a
/// plan that stops everything reverses.
fn sort(changes: &mut [Change], edges: &[Edge], homelab: &Homelab) {
    let place: BTreeMap<Resource, usize> =
        homelab.graph.order().enumerate().map(|(at, node)| (Resource::from(node), at)).collect();
    let rank = |change: &Change| match (change.action.is_up(), place.get(&change.resource)) {
        (true, at) => (1, at.copied().unwrap_or_default()),
        (false, at) => (0, usize::MAX - at.copied().unwrap_or_default()),
    };
    changes.sort_by(|a, b| (rank(a), &a.resource).cmp(&(rank(b), &b.resource)));
    let mut waits: BTreeMap<&Resource, usize> = BTreeMap::new();
    let mut followers: BTreeMap<&Resource, Vec<&Resource>> = BTreeMap::new();
    for edge in edges {
        *waits.entry(&edge.after).or_default() += 1;
        followers.entry(&edge.before).or_default().push(&edge.after);
    }
    let ranks: BTreeMap<Resource, usize> =
        changes.iter().enumerate().map(|(at, it)| (it.resource.clone(), at)).collect();
    // Tiers that only pass the order on go first.
    let key = |resource: &Resource| ranks.get(resource).map_or(0, |at| at + 1);
    let all: BTreeSet<&Resource> =
        ranks.keys().chain(edges.iter().flat_map(|it| [&it.before, &it.after])).collect();
    let mut free: BTreeSet<(usize, &Resource)> =
        all.into_iter().filter(|it| !waits.contains_key(it)).map(|it| (key(it), it)).collect();
    let mut order: BTreeMap<Resource, usize> = BTreeMap::new();
    while let Some((_, resource)) = free.pop_first() {
        order.insert(resource.clone(), order.len());
        for follower in followers.get(resource).into_iter().flatten() {
            let left = waits.entry(follower).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                free.insert((key(follower), follower));
            }
        }
    }
    changes.sort_by_key(|it| order.get(&it.resource).copied().unwrap_or(usize::MAX));
}
