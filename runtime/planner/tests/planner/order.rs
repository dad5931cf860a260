use std::cell::RefCell;
use std::collections::BTreeMap;

use expect_test::expect;
use hob_planner::progress::tier_state;
use hob_planner::{Homelab, Node, ServiceState, progress};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::{homelab, raws, read, shown};

/// A service that waits for others.
fn service(tier: Option<&str>, needs: &[&str], wants: &[&str]) -> Json {
    json!({ "command": ["x"], "tier": tier, "needs": needs, "wants": wants })
}

#[test]
fn circles_are_shown_as_circles() {
    let (lab, diagnostics) = read(&raws(&[
        ("tier", "storage", json!({})),
        ("tier", "core", json!({ "after": "storage" })),
        ("service", "vpn", service(Some("core"), &[], &[])),
        ("service", "db", service(Some("storage"), &["vpn"], &[])),
        ("service", "a", service(None, &["c"], &[])),
        ("service", "b", service(None, &["a"], &[])),
        ("service", "c", service(None, &["b"], &[])),
        ("service", "self", service(None, &["self"], &[])),
        ("service", "d", service(None, &["e"], &[])),
        ("service", "e", service(None, &[], &["d"])),
        ("tier", "x", json!({ "after": "y" })),
        ("tier", "y", json!({ "after": "x" })),
    ]));
    expect![[r#"
        error[HOB-0502]: `db` and `vpn` wait for each other (homelab.rhai:4:1)
          4: `db` is in the tier `storage` and needs `vpn`
          3: `vpn` is in the tier `core`, which comes after `storage`
          help: remove one of these edges
        error[HOB-0502]: `a` waits for `c`, which waits for `b`, which waits for `a` (homelab.rhai:5:1)
          5: `a` needs `c`
          7: `c` needs `b`
          6: `b` needs `a`
          help: remove one of these edges
        error[HOB-0502]: `self` waits for itself (homelab.rhai:8:1)
          8: `self` needs `self`
          help: remove one of these edges
        warning[HOB-0502]: `d` and `e` wait for each other (homelab.rhai:9:1)
          9: `d` needs `e`
          10: `e` wants `d`
          note: so that `e` wants `d` is passed over
          help: remove one of these edges
        error[HOB-0502]: `x` and `y` wait for each other (homelab.rhai:11:1)
          11: `x` comes after `y`
          12: `y` comes after `x`
          help: remove one of these edges
    "#]]
    .assert_eq(&shown(&diagnostics));
    assert_eq!(lab.graph.order().count(), lab.graph.nodes().len());
}

fn lab() -> Homelab {
    homelab(&[
        ("tier", "one", json!({})),
        ("tier", "two", json!({ "after": "one" })),
        ("tier", "three", json!({ "after": "two", "on_failure": "continue" })),
        ("tier", "four", json!({ "after": "three" })),
        ("service", "db", service(Some("one"), &[], &[])),
        ("service", "cache", service(Some("three"), &[], &[])),
        ("service", "api", service(Some("three"), &["cache"], &["mail"])),
        ("service", "mail", service(Some("three"), &[], &[])),
        ("service", "web", service(Some("four"), &[], &[])),
        ("service", "free", service(None, &[], &[])),
    ])
}

#[test]
fn tiers_gate_even_when_empty() {
    let lab = lab();
    let names: Vec<&str> = lab.graph.order().map(Node::name).collect();
    let at = |name: &str| names.iter().position(|it| *it == name).unwrap();
    assert!(at("db") < at("cache") && at("mail") < at("api") && at("api") < at("web"), "{names:?}");
    let dependents = lab.graph.dependents(&Node::Service("db".into()));
    assert_eq!(dependents.into_iter().collect::<Vec<_>>(), ["api", "cache", "mail", "web"]);
}

#[test]
fn what_may_start_what_waits_and_what_is_blocked() {
    use ServiceState::{Completed, Failed, Ready, Starting, Stopped};
    type Case<'c> = (&'c [(&'c str, ServiceState)], &'c [&'c str], &'c [(&'c str, &'c str)]);
    let cases: [Case<'_>; 6] = [
        (&[], &["db", "free"], &[]),
        (&[("db", Starting), ("free", Ready)], &[], &[]),
        (&[("db", Ready), ("free", Ready)], &["cache", "mail"], &[]),
        // A tier that stops at failure blocks all that come after it.
        (&[("db", Failed)], &["free"], &[("cache", "db"), ("mail", "db"), ("api", "db"), ("web", "db")]),
        // One that goes on blocks only what needs the failed service; `wants` does not mind.
        (&[("db", Completed), ("free", Ready), ("mail", Failed), ("cache", Ready)], &["api"], &[]),
        (
            &[("db", Ready), ("free", Ready), ("mail", Ready), ("cache", Failed)],
            &["web"],
            &[("api", "cache")],
        ),
    ];
    for (states, start, blocked) in cases {
        let states: BTreeMap<&str, ServiceState> = states.iter().copied().collect();
        let found = progress(&lab(), |name| states.get(name).copied().unwrap_or(Stopped));
        assert_eq!(found.start, start, "{states:?}");
        let found: BTreeMap<String, String> = found
            .blocked
            .into_iter()
            .map(|(name, roots)| (name, roots.into_iter().collect::<Vec<_>>().join(",")))
            .collect();
        let blocked = blocked.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        assert_eq!(found, blocked.collect(), "{states:?}");
    }
}

#[test]
fn a_tier_is_as_its_worst_service() {
    use ServiceState::{Blocked, Completed, Failed, Ready, Starting, Stopped};
    for (cache, api, expected) in [
        (Ready, Ready, Ready),
        (Completed, Completed, Completed),
        (Completed, Ready, Ready),
        (Ready, Starting, Starting),
        (Failed, Blocked, Failed),
        (Stopped, Stopped, Stopped),
    ] {
        let state = tier_state(&lab(), "three", |name| match name {
            "cache" => cache,
            _ => api,
        });
        assert_eq!(state, expected, "{cache} and {api}");
    }
    assert_eq!(tier_state(&lab(), "two", |_| Failed), Ready, "an empty tier");
}

/// Up to three tiers in a row, services with backward edges only, so that there is no circle.
pub(crate) fn acyclic() -> impl Strategy<Value = Vec<(String, Json)>> {
    let service = (0..4_usize, any::<[bool; 8]>(), any::<[bool; 8]>(), any::<bool>());
    prop::collection::vec(service, 1..8).prop_map(|services| {
        let mut tiers: Vec<usize> = services.iter().map(|it| it.0).collect();
        tiers.sort_unstable();
        let name = |at: usize| format!("s{at}");
        (0..)
            .zip(&services)
            .map(|(at, (_, needs, wants, ports))| {
                let tier = tiers[at];
                let pick = |set: &[bool; 8]| (0..at).filter(|it| set[*it]).map(name).collect::<Vec<_>>();
                let port = ports.then_some(1000 + at);
                let tier = (tier > 0).then(|| format!("t{tier}"));
                let options = json!({ "command": ["x"], "tier": tier, "port": port,
                    "needs": pick(needs), "wants": pick(wants) });
                (name(at), options)
            })
            .collect()
    })
}

pub(crate) fn tiered(services: &[(String, Json)]) -> Homelab {
    let mut declared = vec![
        ("tier", "t1", json!({})),
        ("tier", "t2", json!({ "after": "t1" })),
        ("tier", "t3", json!({ "after": "t2", "on_failure": "continue" })),
    ];
    declared.extend(services.iter().map(|(name, options)| ("service", name.as_str(), options.clone())));
    homelab(&declared)
}

proptest! {
    /// Starting what may start, with any failures and in any order of getting ready, comes to an end; nothing is
    /// started before what it needs is ready, and each service ends ready, failed or blocked.
    #[test]
    fn boots_end_and_keep_all_gates(services in acyclic(), fails in any::<[bool; 8]>(), picks in any::<[u8; 16]>()) {
        let lab = tiered(&services);
        let states = RefCell::new(BTreeMap::<String, ServiceState>::new());
        let state = |name: &str| states.borrow().get(name).copied().unwrap_or(ServiceState::Stopped);
        for pick in picks.iter().cycle().take(100) {
            let next = progress(&lab, state);
            for name in &next.start {
                for need in &lab.service(name).unwrap().needs {
                    prop_assert_eq!(state(need), ServiceState::Ready);
                }
                states.borrow_mut().insert(name.clone(), ServiceState::Starting);
            }
            let starting: Vec<String> = states.borrow().iter()
                .filter(|(_, it)| **it == ServiceState::Starting).map(|(name, _)| name.clone()).collect();
            let Some(name) = starting.get(usize::from(*pick) % starting.len().max(1)) else { break };
            let number: usize = name[1..].parse().unwrap();
            let end = if fails[number] { ServiceState::Failed } else { ServiceState::Ready };
            states.borrow_mut().insert(name.clone(), end);
        }
        let end = progress(&lab, state);
        prop_assert!(end.start.is_empty() && end.waiting.is_empty(), "{:?}", end);
        for (name, roots) in &end.blocked {
            prop_assert!(roots.iter().all(|root| state(root) == ServiceState::Failed));
            prop_assert!(roots.iter().all(|root| lab.graph.dependents(&Node::Service(root.clone())).contains(name.as_str())));
        }
        prop_assert_eq!(end.blocked.is_empty(), states.borrow().len() == lab.services.len());
    }
}
