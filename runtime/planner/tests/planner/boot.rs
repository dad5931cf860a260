use std::collections::BTreeMap;

use hob_planner::boot::{BootService, Link};
use hob_planner::{Boot, ServiceState};
use proptest::prelude::*;
use serde_json::json;

use crate::homelab;
use crate::order::{acyclic, tiered};

/// A service that was called at a time, took so long to be called and to get ready.
fn started(name: &str, after: &[&str], call: u64, start: u64, gate: u64) -> BootService {
    BootService {
        name: name.to_owned(),
        state: "ready".to_owned(),
        after: after.iter().map(|it| (*it).to_owned()).collect(),
        call: Some(call),
        called: Some(call + start),
        settled: Some(call + start + gate),
        ..BootService::default()
    }
}

#[test]
fn the_critical_path_is_what_the_end_waited_for() {
    let slow_image = BootService { fetch: Some((0, 900)), ..started("db", &[], 910, 20, 300) };
    let services = vec![
        slow_image,
        started("cache", &[], 5, 10, 50),
        started("api", &["db", "cache"], 1250, 30, 200),
        started("web", &["api"], 1480, 20, 400),
        started("aside", &["cache"], 70, 10, 1500),
    ];
    let boot = Boot { services, took: 1900, ..Boot::default() };
    let path = boot.critical_path();
    let names: Vec<&str> = path.iter().map(|link| link.service.as_str()).collect();
    assert_eq!(names, ["db", "api", "web"]);
    let link =
        |service: &str, after: Option<&str>, [fetch, turn, start, gate, ready, saves]: [u64; 6]| Link {
            service: service.to_owned(),
            waited_for: after.map(str::to_owned),
            fetch,
            turn,
            start,
            gate,
            ready,
            saves,
        };
    // Without the gate of `web` the boot ends with `aside`, at 1580, or where `web` is called.
    assert_eq!(path[0], link("db", None, [900, 10, 20, 300, 1230, 320]));
    assert_eq!(path[1], link("api", Some("db"), [0, 20, 30, 200, 1480, 230]));
    assert_eq!(path[2], link("web", Some("api"), [0, 0, 20, 400, 1900, 320]));
}

#[test]
fn a_failure_names_exactly_what_it_blocked() {
    let house = homelab(&[
        ("tier", "core", json!({ "on_failure": "continue" })),
        ("tier", "apps", json!({ "after": "core" })),
        ("service", "db", json!({ "command": ["db"], "tier": "core" })),
        ("service", "dns", json!({ "command": ["dns"], "tier": "core" })),
        ("service", "api", json!({ "command": ["api"], "tier": "apps", "needs": ["db"] })),
        ("service", "web", json!({ "command": ["web"], "tier": "apps", "needs": ["api"] })),
        ("service", "wiki", json!({ "command": ["wiki"], "tier": "apps", "needs": ["dns"] })),
    ]);
    let states = BTreeMap::from([
        ("db", ServiceState::Failed),
        ("dns", ServiceState::Ready),
        ("wiki", ServiceState::Ready),
    ]);
    let boot = Boot::new(&house, |name| states.get(name).copied().unwrap_or(ServiceState::Stopped));
    let roots = boot.roots();
    assert_eq!(roots.len(), 1);
    assert_eq!(
        (roots[0].service.as_str(), &roots[0].blocked[..]),
        ("db", &["api", "web"].map(str::to_owned)[..])
    );
    assert_eq!(boot.service("web").unwrap().after, ["api", "db", "dns"]);
    let json = serde_json::to_value(&boot).unwrap();
    assert_eq!(serde_json::from_value::<Boot>(json).unwrap(), boot);
}

proptest! {
    /// Where each service is called as soon as all that it waits for are ready, the parts of the critical path add up to the
    /// whole, and nothing saves more than its own part.
    #[test]
    fn the_parts_add_up(services in acyclic(), times in prop::collection::vec((1..50_u64, 1..500_u64), 8)) {
        let lab = tiered(&services);
        let mut boot = Boot::new(&lab, |_| ServiceState::Ready);
        let mut ready: BTreeMap<String, u64> = BTreeMap::new();
        for (service, (start, gate)) in boot.services.iter_mut().zip(times) {
            let call = service.after.iter().filter_map(|name| ready.get(name)).max().copied().unwrap_or_default();
            service.call = Some(call);
            service.called = Some(call + start);
            service.settled = Some(call + start + gate);
            ready.insert(service.name.clone(), call + start + gate);
        }
        let path = boot.critical_path();
        let end = ready.values().max().copied().unwrap_or_default();
        prop_assert_eq!(path.iter().map(|it| it.fetch + it.turn + it.start + it.gate).sum::<u64>(), end);
        for link in &path {
            prop_assert!(link.saves <= link.start + link.gate);
        }
    }
}
