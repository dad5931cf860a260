//! Which services may start now, which must wait, and which are blocked by what failed.
//!
//! The one rule for boot, apply, crash and recovery: whoever drives services asks again after each change of a state.

use std::collections::{BTreeMap, BTreeSet};

use crate::declaration::{Homelab, OnFailure, Tier, TierGate};
use crate::graph::{Node, Reason};
use crate::observed::ServiceState;

/// What there is to do next; services that are ready, or have failed by themselves, appear nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Not running, and nothing stands in the way: to be started, in this order.
    pub start: Vec<String>,
    /// Not running, each with the services and tiers that it waits for itself; with its own tier, when that has as many
    /// starting as it allows.
    pub waiting: BTreeMap<String, Vec<Node>>,
    /// Not running, each with the services whose failure is the cause.
    pub blocked: BTreeMap<String, BTreeSet<String>>,
}

/// How far a node is, for those that wait for it.
#[derive(Clone)]
enum Standing {
    Ready,
    Pending,
    /// It will not get ready before somebody else goes.
    PutOff,
    /// It will not get ready, because these services failed.
    Failed(BTreeSet<String>),
}

/// What there is to do next, given the state of each service.
#[must_use]
pub fn progress(homelab: &Homelab, state: impl Fn(&str) -> ServiceState) -> Progress {
    progress_without(homelab, state, |_| false)
}

/// As [`progress()`], where some services are put off until who knows when: what needs them waits, their tier does not.
#[must_use]
pub fn progress_without(
    homelab: &Homelab,
    state: impl Fn(&str) -> ServiceState,
    put_off: impl Fn(&str) -> bool,
) -> Progress {
    let mut progress = Progress::default();
    let mut standings: BTreeMap<&Node, Standing> = BTreeMap::new();
    for node in homelab.graph.order() {
        let standing = match node {
            Node::Tier(name) => match homelab.tier(name) {
                Some(tier) => tier_standing(homelab, node, tier, &standings),
                None => Standing::Ready,
            },
            Node::Service(name) => match state(name) {
                state if state.is_ready() => Standing::Ready,
                ServiceState::Failed => Standing::Failed(BTreeSet::from([name.clone()])),
                state if state.is_alive() => Standing::Pending,
                _ => match idle_standing(homelab, node, &standings, &mut progress) {
                    Standing::Pending if put_off(name) => Standing::PutOff,
                    standing => standing,
                },
            },
        };
        standings.insert(node, standing);
    }
    hold_back(homelab, &state, &mut progress);
    progress
}

/// Leaves no more starting in a tier than it allows at one time.
fn hold_back(homelab: &Homelab, state: &impl Fn(&str) -> ServiceState, progress: &mut Progress) {
    for (tier, at_once) in homelab.tiers.iter().filter_map(|tier| Some((tier, tier.parallel?))) {
        let is_member =
            |name: &str| homelab.service(name).and_then(|it| it.tier.as_ref()) == Some(&tier.name);
        let members = homelab.services.iter().filter(|it| is_member(&it.name));
        let starting = members.filter(|it| state(&it.name) == ServiceState::Starting).count();
        let mut free = at_once.saturating_sub(starting);
        let node = Node::Tier(tier.name.clone());
        progress.start.retain(|name| {
            let goes = !is_member(name) || free > 0;
            if goes && is_member(name) {
                free -= 1;
            } else if !goes {
                progress.waiting.insert(name.clone(), vec![node.clone()]);
            }
            goes
        });
    }
}

/// A tier stands on the tiers before it, and on so many of its services as its gate asks for.
fn tier_standing(
    homelab: &Homelab,
    node: &Node,
    tier: &Tier,
    standings: &BTreeMap<&Node, Standing>,
) -> Standing {
    let (mut failed, mut pending, mut ready) = (BTreeSet::new(), 0, 0);
    let (mut failed_members, mut before_pending) = (BTreeSet::new(), false);
    for (before, reason) in homelab.graph.waits_for(node) {
        let is_member = reason == Reason::Member;
        let counts = tier.gate != TierGate::Critical
            || homelab.service(before.name()).is_none_or(|service| service.critical);
        match &standings[before] {
            Standing::Failed(roots) if !is_member => failed.extend(roots.iter().cloned()),
            Standing::Pending | Standing::PutOff if !is_member => before_pending = true,
            _ if !is_member || !counts => {}
            Standing::PutOff => {}
            Standing::Ready => ready += 1,
            Standing::Pending => pending += 1,
            Standing::Failed(roots) => failed_members.extend(roots.iter().cloned()),
        }
    }
    let (reached, lost) = match tier.gate {
        TierGate::Quorum(wanted) => (ready >= wanted, ready + pending < wanted),
        TierGate::All | TierGate::Critical => (pending == 0, !failed_members.is_empty()),
    };
    if lost && tier.on_failure == OnFailure::Stop {
        failed.extend(failed_members);
    }
    match (failed.is_empty(), reached || (lost && pending == 0)) {
        (false, _) => Standing::Failed(failed),
        (true, true) if !before_pending => Standing::Ready,
        _ => Standing::Pending,
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
            Standing::Pending | Standing::PutOff => waits.push(before.clone()),
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

/// The state of a tier as a whole; an empty one is ready.
#[must_use]
pub fn tier_state(homelab: &Homelab, tier: &str, state: impl Fn(&str) -> ServiceState) -> ServiceState {
    let members = homelab.services.iter().filter(|it| it.tier.as_deref() == Some(tier));
    overall(&members.map(|it| state(&it.name)).collect::<Vec<_>>())
}

/// The state of several services as a whole: the one that is of most concern. None at all are ready.
#[must_use]
pub fn overall(states: &[ServiceState]) -> ServiceState {
    const BY_CONCERN: [ServiceState; 7] = [
        ServiceState::Failed,
        ServiceState::Blocked,
        ServiceState::Unknown,
        ServiceState::Degraded,
        ServiceState::Starting,
        ServiceState::Stopped,
        ServiceState::Ready,
    ];
    if !states.is_empty() && states.iter().all(|state| *state == ServiceState::Completed) {
        return ServiceState::Completed;
    }
    BY_CONCERN.into_iter().find(|concern| states.contains(concern)).unwrap_or(ServiceState::Ready)
}
