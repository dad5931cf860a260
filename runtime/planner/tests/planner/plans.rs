use std::collections::BTreeMap;

use expect_test::expect;
use hob_model::Value;
use hob_planner::declaration::Body;
use hob_planner::plan::{FILE_DRIFT, FieldChange};
use hob_planner::{Action, Goal, Homelab, Observed, Plan, Resource, Service, ServiceState};
use proptest::prelude::*;
use serde_json::json;

use crate::homelab;
use crate::order::{acyclic, tiered};

/// A service that runs as it is declared.
pub(crate) fn running(service: &Service) -> Observed {
    Observed {
        name: service.name.clone(),
        state: ServiceState::Ready,
        kind: service.body.kind().to_owned(),
        held: false,
        digest: Some(service.digest()),
        fields: service.fields(),
        drift: Vec::new(),
        outdated: None,
    }
}

/// What the world is after a plan was carried out.
fn carried_out(plan: &Plan, homelab: &Homelab, observed: &[Observed]) -> Vec<Observed> {
    let mut world: BTreeMap<String, Observed> =
        observed.iter().map(|it| (it.name.clone(), it.clone())).collect();
    let declared = |name: &str| homelab.service(name).expect("plans start what is declared");
    for change in &plan.changes {
        let name = &change.resource.name;
        match change.action {
            Action::Remove => drop(world.remove(name)),
            Action::Stop => {
                world.get_mut(name).expect("plans stop what is there").state = ServiceState::Stopped
            }
            Action::Update => {
                world.get_mut(name).expect("plans stop what is there").fields = declared(name).fields()
            }
            _ => drop(world.insert(name.clone(), running(declared(name)))),
        }
    }
    world.into_values().collect()
}

#[test]
fn a_plan_reads_in_one_look() {
    let before = homelab(&[
        ("tier", "core", json!({})),
        ("service", "db", json!({ "tier": "core", "command": ["db"], "env": { "TZ": "UTC", "OLD": "1" } })),
        ("service", "old", json!({ "command": ["old"], "port": 80 })),
        ("service", "same", json!({ "command": ["same"] })),
        ("service", "held", json!({ "command": ["held"] })),
        ("service", "down", json!({ "command": ["down"] })),
        ("service", "slow", json!({ "command": ["slow"] })),
    ]);
    let after = homelab(&[
        ("tier", "core", json!({})),
        ("tier", "media", json!({ "after": "core" })),
        (
            "service",
            "db",
            json!({ "tier": "core", "command": ["db", "-v"], "env": { "TZ": "Europe/Berlin" } }),
        ),
        ("service", "new", json!({ "tier": "media", "command": ["new"], "port": 80, "needs": ["db"] })),
        ("service", "same", json!({ "command": ["same"] })),
        ("service", "held", json!({ "command": ["held", "more"] })),
        ("service", "down", json!({ "command": ["down"] })),
        ("service", "slow", json!({ "command": ["slow"], "stop_timeout": "1m" })),
    ]);
    let mut observed: Vec<Observed> = before.services.iter().map(running).collect();
    observed[3].held = true;
    observed[4].state = ServiceState::Failed;
    let plan = Plan::new(&after, &observed, Goal::Up);
    expect![[r#"
        - remove    old          it is not declared any more
        ± recreate  db    core   `command`, `env` changed
              command: ["db"] → ["db","-v"]
              env.OLD: "1" → (none)
              env.TZ: "UTC" → "Europe/Berlin"
        + create    new   media  it does not exist yet
        ▶ start     down         it has failed
        ~ update    slow         `stop_timeout` changed
              stop_timeout: "10s" → "1m"
        # service `held` differs and is held
        1 to create, 1 to update, 1 to recreate, 1 to start, 1 to remove, 1 held, 1 unchanged"#]]
    .assert_eq(&plan.to_string());
    let json = plan.to_json();
    assert_eq!(json["unchanged"], 1);
    let db = json["changes"].as_array().unwrap().iter().find(|it| it["resource"]["name"] == "db").unwrap();
    assert_eq!(db["action"], "recreate");
    assert_eq!(db["diff"][0], json!({ "field": "command", "from": ["db"], "to": ["db", "-v"] }));
    let at = |name: &str| plan.changes.iter().position(|it| it.resource.name == name).unwrap();
    assert!(at("old") < at("new"), "the port is free before the new one takes it");
    assert!(plan.waits_for(&Resource::service("new")).any(|edge| edge.before == Resource::service("db")));
}

#[test]
fn a_plan_can_be_drawn() {
    let lab = homelab(&[
        ("tier", "core", json!({})),
        ("tier", "apps", json!({ "after": "core" })),
        ("service", "db", json!({ "tier": "core", "command": ["db"] })),
        ("service", "api", json!({ "tier": "apps", "command": ["api"], "needs": ["db"] })),
        ("service", "web", json!({ "tier": "apps", "command": ["web"], "wants": ["api"] })),
    ]);
    let plan = Plan::new(&lab, &[], Goal::Up);
    expect![[r#"
        flowchart TD
            n1["create api"]
            n0["create db"]
            n2["create web"]
            n3{{"tier core"}}
            n1 -.-> n2
            n0 --> n1
            n0 --> n3
            n3 --> n1
            n3 --> n2
    "#]]
    .assert_eq(&plan.mermaid());
    expect![[r#"
        digraph {
            n1 [label="create api", shape=box];
            n0 [label="create db", shape=box];
            n2 [label="create web", shape=box];
            n3 [label="tier core", shape=hexagon];
            n1 -> n2 [style=dashed];
            n0 -> n1;
            n0 -> n3;
            n3 -> n1;
            n3 -> n2;
        }
    "#]]
    .assert_eq(&plan.dot());
}

#[test]
fn everything_stops_in_reverse() {
    let lab = homelab(&[
        ("tier", "core", json!({})),
        ("tier", "none", json!({ "after": "core" })),
        ("tier", "media", json!({ "after": "none" })),
        ("service", "db", json!({ "tier": "core", "command": ["db"] })),
        ("service", "api", json!({ "tier": "core", "command": ["api"], "needs": ["db"] })),
        ("service", "web", json!({ "tier": "media", "command": ["web"] })),
    ]);
    let mut observed: Vec<Observed> = lab.services.iter().map(running).collect();
    observed.push(Observed { name: "orphan".into(), state: ServiceState::Starting, ..Observed::default() });
    observed[0].held = true;
    let plan = Plan::new(&lab, &observed, Goal::Down);
    let order: Vec<&str> = plan.changes.iter().map(|it| it.resource.name.as_str()).collect();
    assert_eq!(order, ["web", "api", "db", "orphan"]);
    assert!(plan.changes.iter().all(|it| it.action == Action::Stop));
}

#[test]
fn what_was_completed_stays_so() {
    for (options, state, expected) in [
        (json!({ "command": ["x"], "ready": { "gate": "completed" } }), ServiceState::Completed, None),
        (json!({ "command": ["x"], "restart": "never" }), ServiceState::Completed, None),
        (json!({ "command": ["x"] }), ServiceState::Completed, Some(Action::Start)),
        (json!({ "command": ["x"], "restart": "never" }), ServiceState::Failed, Some(Action::Start)),
        (json!({ "command": ["x"] }), ServiceState::Degraded, None),
    ] {
        let lab = homelab(&[("service", "x", options)]);
        let observed = Observed { state, ..running(&lab.services[0]) };
        let plan = Plan::new(&lab, &[observed], Goal::Up);
        assert_eq!(plan.changes.first().map(|it| it.action), expected, "{state}");
    }
}

#[test]
fn a_stale_plan_is_told_from_a_fresh_one() {
    let lab = homelab(&[
        ("service", "x", json!({ "command": ["x"] })),
        ("service", "y", json!({ "command": ["y"] })),
    ]);
    let mut observed: Vec<Observed> = lab.services.iter().map(running).collect();
    let plan = Plan::new(&lab, &observed, Goal::Up);
    observed.reverse();
    observed[0].state = ServiceState::Degraded;
    assert!(!plan.is_stale(&observed), "order and readiness make no difference");
    for change in [
        (|it| it.state = ServiceState::Stopped) as fn(&mut Observed),
        |it| it.held = true,
        |it| it.digest = None,
        |it| it.fields = Value::Unit,
    ] {
        let mut changed = observed.clone();
        change(&mut changed[1]);
        assert!(plan.is_stale(&changed), "{changed:?}");
    }
    assert!(plan.is_stale(&observed[1..]));
}

#[test]
fn what_was_changed_by_hand_is_made_anew() {
    let house = homelab(&[("service", "db", json!({ "command": "db" }))]);
    let by_hand = FieldChange { field: "env.TZ".to_owned(), from: "UTC".into(), to: Value::Unit };
    let found = Observed { drift: vec![by_hand], ..running(&house.services[0]) };
    let plan = Plan::new(&house, &[found], Goal::Up);
    expect![[r#"
        ± recreate  db  `env` changed by hand
              env.TZ: "UTC" → (none)
        1 to recreate"#]]
    .assert_eq(&plan.to_string());
}

#[test]
fn what_runs_as_its_files_were_before_is_restarted() {
    let house = homelab(&[("service", "db", json!({ "command": "db" }))]);
    let file = |from: &str, to: &str| FieldChange {
        field: format!("{FILE_DRIFT}./etc/systemd/system/db.service"),
        from: from.into(),
        to: to.into(),
    };
    let edited = vec![file("as of 1", "as changed at 2")];
    let found = Observed { drift: edited.clone(), ..running(&house.services[0]) };
    let plan = Plan::new(&house, &[found], Goal::Up);
    expect![[r#"
        ↻ restart   db  its files were changed after it started
              file./etc/systemd/system/db.service: "as of 1" → "as changed at 2"
        1 to restart"#]]
    .assert_eq(&plan.to_string());
    // What else was changed takes more than that.
    let by_hand = FieldChange { field: "env.TZ".to_owned(), from: "UTC".into(), to: Value::Unit };
    let drift = edited.into_iter().chain([by_hand]).collect();
    let found = Observed { drift, ..running(&house.services[0]) };
    assert_eq!(Plan::new(&house, &[found], Goal::Up).changes[0].action, Action::Recreate);
}

proptest! {
    #[test]
    fn the_second_plan_is_empty_and_orders_are_kept(
        before in acyclic(), after in acyclic(), alive in any::<[bool; 8]>(), changed in any::<[bool; 8]>()
    ) {
        let (old, mut new) = (tiered(&before), tiered(&after));
        for (service, changed) in new.services.iter_mut().zip(changed) {
            if let (true, Body::Process(process)) = (changed, &mut service.body) {
                process.command.push("more".to_owned());
            }
        }
        let observed: Vec<Observed> = old.services.iter().zip(alive).map(|(service, alive)| {
            let state = if alive { ServiceState::Ready } else { ServiceState::Stopped };
            Observed { state, ..running(service) }
        }).collect();
        for goal in [Goal::Up, Goal::Down] {
            let plan = Plan::new(&new, &observed, goal);
            let place = |it: &Resource| plan.changes.iter().position(|change| change.resource == *it);
            for edge in &plan.edges {
                if let (Some(before), Some(after)) = (place(&edge.before), place(&edge.after)) {
                    prop_assert!(before < after, "{edge:?} in\n{plan}");
                }
            }
            let world = carried_out(&plan, &new, &observed);
            let second = Plan::new(&new, &world, goal);
            prop_assert!(second.is_empty(), "{plan}\n{second}");
        }
    }

    /// A change that starts comes after all that starts of what it needs and of earlier tiers.
    #[test]
    fn starts_follow_needs_and_tiers(services in acyclic()) {
        let lab = tiered(&services);
        let plan = Plan::new(&lab, &[], Goal::Up);
        let place = |name: &str| plan.changes.iter().position(|it| it.resource.name == name).unwrap();
        for it in &lab.services {
            for need in it.needs.iter().chain(&it.wants) {
                prop_assert!(place(need) < place(&it.name));
            }
            for other in lab.services.iter().filter(|other| other.tier.is_some() && other.tier < it.tier) {
                prop_assert!(place(&other.name) < place(&it.name), "{plan}");
            }
        }
    }
}
