//! Several of one service.

use std::collections::BTreeMap;

use expect_test::expect;
use hob_model::Value;
use hob_planner::declaration::{REPLICA_VARIABLE, Replica};
use hob_planner::{Goal, Plan};
use serde_json::json;

use crate::plans::running;
use crate::{homelab, raws, read, shown};

#[test]
fn each_is_a_service_and_the_name_stands_for_all() {
    let lab = |replicas: u32| {
        let mut declared = raws(&[
            ("tier", "apps", json!({ "gate": replicas.min(2) })),
            (
                "service",
                "worker",
                json!({ "command": "work", "tier": "apps", "replicas": replicas, "env": { "A": "b" } }),
            ),
            ("service", "box", json!({ "lid": "oak", "replicas": 2, "needs": ["worker"] })),
            (
                "service",
                "web",
                json!({ "command": "web", "needs": ["worker"], "wants": ["box", "worker-1"] }),
            ),
            ("setup", "once", json!({ "needs": ["worker"] })),
        ]);
        declared[4].closures.push(String::new());
        let (house, diagnostics) = read(&declared);
        assert_eq!(shown(&diagnostics), "");
        house
    };
    let house = lab(3);
    let names: Vec<&str> = house.services.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["worker-1", "worker-2", "worker-3", "box-1", "box-2", "web"]);
    let second = house.service("worker-2").unwrap();
    assert_eq!(second.replica, Some(Replica { of: "worker".to_owned(), number: 2 }));
    assert_eq!((second.declared(), house.service("web").unwrap().declared()), ("worker", "web"));
    let env =
        BTreeMap::from([("A", "b"), (REPLICA_VARIABLE, "2")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    assert_eq!(second.body.process().unwrap().env, env);
    let told = house.service("box-2").unwrap().body.fields()["env"].clone();
    assert_eq!(told, Value::map([(REPLICA_VARIABLE, Value::from("2"))]));
    let all = ["worker-1", "worker-2", "worker-3"];
    let web = house.service("web").unwrap();
    assert_eq!(web.needs, all);
    assert_eq!(web.wants, ["box-1", "box-2", "worker-1"]);
    assert_eq!(house.service("box-2").unwrap().needs, all);
    assert_eq!(house.setups[0].needs, all);
    assert_eq!(house.members("worker").len(), 3);
    assert_eq!(
        (house.members("web").len(), house.members("worker-2").len(), house.members("none").len()),
        (1, 1, 0)
    );

    // Fewer of them: those that are too many go, and the others stay as they are.
    let observed: Vec<_> = house.services.iter().map(running).collect();
    expect![[r#"
        - remove    worker-3  apps  it is not declared any more
        ~ update    box-1           `needs` changed
              needs: ["worker-1","worker-2","worker-3"] → ["worker-1","worker-2"]
        ~ update    box-2           `needs` changed
              needs: ["worker-1","worker-2","worker-3"] → ["worker-1","worker-2"]
        ~ update    web             `needs` changed
              needs: ["worker-1","worker-2","worker-3"] → ["worker-1","worker-2"]
        3 to update, 1 to remove, 2 unchanged"#]]
    .assert_eq(&Plan::new(&lab(2), &observed, Goal::Up).to_string());
    // One is as without the option.
    assert!(lab(1).service("worker").is_some_and(|it| it.replica.is_none()));
}

#[test]
fn what_cannot_be_several_is_reported_once_and_with_a_cure() {
    let (_, diagnostics) = read(&raws(&[
        ("service", "none", json!({ "command": "a", "replicas": 0 })),
        ("service", "many", json!({ "command": "a", "replicas": 101 })),
        ("service", "text", json!({ "command": "a", "replicas": "3" })),
        ("service", "port", json!({ "command": "a", "replicas": 2, "port": 80 })),
        ("service", "ash", json!({ "lid": "ash", "replicas": 2 })),
        ("service", "wrong", json!({ "command": "a", "replicas": 2, "colour": 1 })),
        ("service", "taken", json!({ "command": "a", "replicas": 2 })),
        ("service", "taken-2", json!({ "command": "a" })),
        ("dataset", "taken-1", json!({ "path": "/srv" })),
        ("service", "vpn", json!({ "lid": "oak", "replicas": 2 })),
        ("service", "via", json!({ "lid": "oak", "network": { "network": "via", "of": "vpn" } })),
        ("service", "one", json!({ "lid": "oak", "network": { "network": "via", "of": "vpn-2" } })),
        ("service", "far", json!({ "command": "a", "needs": ["vpn-3"] })),
        ("host", "nas", json!({ "services": { "vpn-1": { "color": "red" } } })),
    ]));
    expect![[r#"
        error[HOB-0501]: service `none`: `replicas`: 0 of a service is none (homelab.rhai:1:1)
          help: remove the declaration, and what runs of it stops; or `hob stop` it for a while
        error[HOB-0105]: service `many`: `replicas`: expected a number from 1 to 100, found 101 (homelab.rhai:2:1)
        error[HOB-0105]: service `text`: `replicas`: expected a number from 1 to 100, found "3" (homelab.rhai:3:1)
        error[HOB-0501]: services `port-1` and `port-2` both have the port 80 (homelab.rhai:4:1)
          4: `port-1` has it first
        error[HOB-0501]: service `ash`: `replicas` cannot be, since there is one such lid: no second one can run beside it (homelab.rhai:5:1)
          help: remove that, or `replicas`
        error[HOB-0105]: service `wrong`: there is no option `colour` (homelab.rhai:6:1)
          note: allowed are args, backup, bypass_auth, command, critical, drift, env, gpu, health, hooks, host, needs, network, port, public, ready, ready_timeout, reload, replicas, restart, stop_on_exit, stop_timeout, tailscale_funnel, tier, update, user, wants, workdir
        error[HOB-0501]: service `taken-2` has the name of a replica of `taken` (homelab.rhai:8:1)
          7: `taken` is declared here
          help: give it another name
        error[HOB-0501]: dataset `taken-1` has the name of a replica of `taken` (homelab.rhai:9:1)
          7: `taken` is declared here
          help: give it another name
        error[HOB-0501]: service `via`: `network`: `vpn` stands for 2 services, each with a network of its own (homelab.rhai:11:1)
          help: name one of them: via("vpn-1")
        error[HOB-0501]: service `far` needs the service `vpn-3`, which is not declared (homelab.rhai:13:1)
          help: did you mean `vpn-1`?
        error[HOB-0501]: host `nas` changes the service `vpn-1`, which is not declared (homelab.rhai:14:1)
          help: did you mean `vpn`?
    "#]].assert_eq(&shown(&diagnostics));
}

#[test]
fn a_host_says_how_many() {
    let house = homelab(&[
        ("host", "here", json!({ "services": { "worker": { "replicas": 2, "env": { "A": "c" } } } })),
        ("service", "worker", json!({ "command": "work", "env": { "A": "b" } })),
    ]);
    let env = |name: &str| house.service(name).unwrap().body.process().unwrap().env["A"].clone();
    assert_eq!((env("worker-1").as_str(), env("worker-2").as_str()), ("c", "c"));
}
