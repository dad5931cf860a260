//! Why a boot took as long as it did: what each service waited for, the critical path, and what blocked what.
//!
//! All times are milliseconds since the boot began, by a clock that never steps.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::declaration::Homelab;
use crate::graph::Node;
use crate::observed::ServiceState;
use crate::progress::progress;

/// What one service did in a boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootService {
    /// Its name.
    pub name: String,
    /// Its boot stage.
    pub tier: Option<String>,
    /// How it ended up: [`ServiceState::as_str`].
    pub state: String,
    /// For people: why.
    pub note: String,
    /// The services that it waits for, itself and over tiers.
    pub after: Vec<String>,
    /// When fetching what it needs began and ended; absent where nothing had to be fetched.
    pub fetch: Option<(u64, u64)>,
    /// When the call that starts it began; absent where it ran already, or was never started.
    pub call: Option<u64>,
    /// When that call returned, and its gate began to be looked at.
    pub called: Option<u64>,
    /// When it was ready, or had failed for the first time.
    pub settled: Option<u64>,
}

/// What is kept of a boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// When it began, RFC 3339.
    pub began: String,
    /// How long it took, in milliseconds: until nothing got ready any more.
    pub took: u64,
    /// All services, as they were declared.
    pub services: Vec<BootService>,
    /// The services that were not started, each with those whose failure is the cause.
    pub blocked: BTreeMap<String, BTreeSet<String>>,
}

/// One service of a critical path: why it was not ready earlier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// The service.
    pub service: String,
    /// The one that was ready last of those it waits for.
    pub waited_for: Option<String>,
    /// How long it waited for what it fetches, beyond that.
    pub fetch: u64,
    /// How long it waited for its turn: others were starting.
    pub turn: u64,
    /// How long the call took that starts it.
    pub start: u64,
    /// How long its gate took to hold.
    pub gate: u64,
    /// When it was ready.
    pub ready: u64,
    /// How much sooner the boot would have ended, had its start and its gate taken no time.
    pub saves: u64,
}

/// A failure, and exactly what it blocked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Root {
    /// The service that failed by itself.
    pub service: String,
    /// Why.
    pub note: String,
    /// What was not started because of it.
    pub blocked: Vec<String>,
}

impl Boot {
    /// The record of a boot whose services ended up in these states; times are filled in by whoever saw them.
    #[must_use]
    pub fn new(homelab: &Homelab, state: impl Fn(&str) -> ServiceState) -> Self {
        let blocked = progress(homelab, &state).blocked;
        let services = homelab.services.iter().map(|service| BootService {
            name: service.name.clone(),
            tier: service.tier.clone(),
            state: state(&service.name).as_str().to_owned(),
            after: waited_for(homelab, &service.name).into_iter().collect(),
            ..BootService::default()
        });
        Self { services: services.collect(), blocked, ..Self::default() }
    }

    /// The service of this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&BootService> {
        self.services.iter().find(|service| service.name == name)
    }

    /// The chain of services that the end of the boot waited for, first to last. Empty where nothing was started.
    #[must_use]
    pub fn critical_path(&self) -> Vec<Link> {
        let started = self.services.iter().filter(|it| it.call.is_some());
        let mut at = started.filter(|it| it.settled.is_some()).max_by_key(|it| it.settled);
        let all = self.end_without(None);
        let mut path = Vec::new();
        while let Some(service) = at {
            let (before, mut link) = self.link(service);
            link.saves = all.saturating_sub(self.end_without(Some(&service.name)));
            path.push(link);
            at = before.filter(|before| before.call.is_some() && path.len() < self.services.len());
        }
        path.reverse();
        path
    }

    /// What kept a service, and which other one it waited for last.
    fn link(&self, service: &BootService) -> (Option<&BootService>, Link) {
        let call = service.call.unwrap_or_default();
        let before = service.after.iter().filter_map(|name| self.service(name));
        let before = before.filter(|it| it.settled.is_some_and(|at| at <= call)).max_by_key(|it| it.settled);
        let open = before.and_then(|it| it.settled).unwrap_or_default();
        let fetched = service.fetch.map_or(open, |(_, end)| end.max(open)).min(call);
        let called = service.called.unwrap_or(call);
        let ready = service.settled.unwrap_or(called);
        let link = Link {
            service: service.name.clone(),
            waited_for: before.map(|it| it.name.clone()),
            fetch: fetched.saturating_sub(open),
            turn: call.saturating_sub(fetched),
            start: called.saturating_sub(call),
            gate: ready.saturating_sub(called),
            ready,
            saves: 0,
        };
        (before, link)
    }

    /// When the boot would have ended, had one service been ready as soon as it was started. How many start at one time is
    /// left out of account: each waits for its turn as long as it did.
    fn end_without(&self, instant: Option<&str>) -> u64 {
        let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
        // In the order in which they were ready, all that one waits for comes before it.
        let mut order: Vec<&BootService> = self.services.iter().filter(|it| it.call.is_some()).collect();
        order.sort_by_key(|it| it.settled);
        for service in order {
            let (_, link) = self.link(service);
            let open = service.after.iter().filter_map(|name| ends.get(name.as_str()));
            let open = open.copied().max().unwrap_or_default();
            let fetched = service.fetch.map_or(0, |(_, end)| end).max(open);
            let own = if instant == Some(&service.name) { 0 } else { link.start + link.gate };
            ends.insert(&service.name, fetched + link.turn + own);
        }
        ends.into_values().max().unwrap_or_default()
    }

    /// The failures that nothing else caused, each with all that it kept from starting.
    #[must_use]
    pub fn roots(&self) -> Vec<Root> {
        let failed = self.services.iter().filter(|it| it.state == ServiceState::Failed.as_str());
        let of = |name: &str| {
            self.blocked.iter().filter(|(_, roots)| roots.contains(name)).map(|it| it.0.clone()).collect()
        };
        let root = |it: &BootService| Root {
            service: it.name.clone(),
            note: it.note.clone(),
            blocked: of(&it.name),
        };
        failed.map(root).collect()
    }
}

/// The services that must be ready, or have failed, before this one starts: those it names, and over tiers all of theirs.
fn waited_for(homelab: &Homelab, name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut todo = vec![Node::Service(name.to_owned())];
    let mut seen = BTreeSet::new();
    while let Some(node) = todo.pop() {
        for (before, _) in homelab.graph.waits_for(&node) {
            match before {
                Node::Service(before) => drop(found.insert(before.clone())),
                Node::Tier(tier) if seen.insert(tier.clone()) => todo.push(before.clone()),
                Node::Tier(_) => {}
            }
        }
    }
    found
}
