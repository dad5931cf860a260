//! Which services may start now, which must wait, and which are blocked by what failed.
//!
//! The one rule for boot, apply, crash and recovery: whoever drives services asks again after each change of a state.

use std::collections::{BTreeMap, BTreeSet};

use crate::declaration::{Homelab, OnFailure};
use crate::graph::{Node, Reason};
use crate::observed::ServiceState;

/// What there is to do next; services that are ready, or have failed by themselves, appear nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Not running, and nothing stands in the way: to be started, in this order.
    pub start: Vec<String>,
    /// Not running, each with the services and tiers that it waits for itself.
    pub waiting: BTreeMap<String, Vec<Node>>,
    /// Not running, each with the services whose failure is the cause.
    pub blocked: BTreeMap<String, BTreeSet<String>>,
}

/// How far a node is, for those that wait for it.
#[derive(Clone)]
enum Standing {
    Ready,
    Pending,
    /// It will not get ready, because these services failed.
    Failed(BTreeSet<String>),
}

/// What there is to do next, given the state of each service.
#[must_use]
pub fn progress(homelab: &Homelab, state: impl Fn(&str) -> ServiceState) -> Progress {
    let mut progress = Progress::default();
    let mut standings: BTreeMap<&Node, Standing> = BTreeMap::new();
    for node in homelab.graph.order() {
        let standing = match node {
            Node::Tier(name) => {
                let goes_on = homelab.tier(name).is_some_and(|it| it.on_failure == OnFailure::Continue);
                tier_standing(homelab, node, goes_on, &standings)
            }
            Node::Service(name) => match state(name) {
                state if state.is_ready() => Standing::Ready,
                ServiceState::Failed => Standing::Failed(BTreeSet::from([name.clone()])),
                state if state.is_alive() => Standing::Pending,
                _ => idle_standing(homelab, node, &standings, &mut progress),
            },
        };
        standings.insert(node, standing);
    }
    progress
}

fn tier_standing(
    homelab: &Homelab,
    node: &Node,
    goes_on: bool,
    standings: &BTreeMap<&Node, Standing>,
) -> Standing {
    let (mut failed, mut pending) = (BTreeSet::new(), false);
    for (before, reason) in homelab.graph.waits_for(node) {
        match &standings[before] {
            Standing::Ready => {}
            Standing::Pending => pending = true,
            Standing::Failed(_) if goes_on && reason == Reason::Member => {}
            Standing::Failed(roots) => failed.extend(roots.iter().cloned()),
        }
    }
    match (failed.is_empty(), pending) {
        (false, _) => Standing::Failed(failed),
        (true, true) => Standing::Pending,
        (true, false) => Standing::Ready,
    }
}

/// A service that does not run: it starts, waits or is blocked.
fn idle_standing(
    homelab: &Homelab,
    node: &Node,
    standings: &BTreeMap<&Node, Standing>,
    progress: &mut Progress,
) -> Standing {
    let (mut failed, mut waits) = (BTreeSet::new(), Vec::new());
    for (before, reason) in homelab.graph.waits_for(node) {
        match &standings[before] {
            Standing::Ready => {}
            Standing::Pending => waits.push(before.clone()),
            Standing::Failed(_) if reason == Reason::Wants => {}
            Standing::Failed(roots) => failed.extend(roots.iter().cloned()),
        }
    }
    let name = node.name().to_owned();
    if !failed.is_empty() {
        progress.blocked.insert(name, failed.clone());
        return Standing::Failed(failed);
    }
    if waits.is_empty() {
        progress.start.push(name);
    } else {
        progress.waiting.insert(name, waits);
    }
    Standing::Pending
}

/// The state of a tier as a whole: the one of its services that is of most concern. An empty tier is ready.
#[must_use]
pub fn tier_state(homelab: &Homelab, tier: &str, state: impl Fn(&str) -> ServiceState) -> ServiceState {
    const BY_CONCERN: [ServiceState; 7] = [
        ServiceState::Failed,
        ServiceState::Blocked,
        ServiceState::Unknown,
        ServiceState::Degraded,
        ServiceState::Starting,
        ServiceState::Stopped,
        ServiceState::Ready,
    ];
    let members = homelab.services.iter().filter(|it| it.tier.as_deref() == Some(tier));
    let states: Vec<ServiceState> = members.map(|it| state(&it.name)).collect();
    if !states.is_empty() && states.iter().all(|state| *state == ServiceState::Completed) {
        return ServiceState::Completed;
    }
    BY_CONCERN.into_iter().find(|concern| states.contains(concern)).unwrap_or(ServiceState::Ready)
}
