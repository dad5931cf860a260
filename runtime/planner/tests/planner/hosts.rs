use std::collections::BTreeMap;

use expect_test::expect;
use serde_json::json;

use crate::{homelab, raw, raws, read, shown};

#[test]
fn a_host_has_the_last_word_on_its_services() {
    let house = homelab(&[
        (
            "service",
            "db",
            json!({ "command": ["db"], "port": 80, "env": { "TZ": "UTC", "A": "1" }, "ready": { "gate": "tcp" } }),
        ),
        ("service", "web", json!({ "command": ["web"], "port": 90 })),
        (
            "host",
            "here",
            json!({ "services": { "db": { "port": 81, "env": { "TZ": "Europe/Berlin" }, "ready": { "gate": "http", "path": "/" } } } }),
        ),
        ("host", "there", json!({ "services": { "web": { "port": 91 } } })),
    ]);
    let db = house.service("db").unwrap();
    let env = &db.body.process().unwrap().env;
    assert_eq!((db.port, env["TZ"].as_str(), env["A"].as_str()), (Some(81), "Europe/Berlin", "1"));
    assert_eq!(db.ready.gate.to_string(), "http(\"/\", #{ port: 81 })", "a gate is replaced as a whole");
    let set: BTreeMap<&str, u32> =
        db.set_by.iter().map(|(key, source)| (key.as_str(), source.line)).collect();
    assert_eq!(set, BTreeMap::from([("port", 3), ("env.TZ", 3), ("ready", 3)]));
    let web = house.service("web").unwrap();
    assert_eq!(
        (web.port, web.set_by.len()),
        (Some(90), 0),
        "it is a service of this machine, not of the other"
    );
    let moved = homelab(&[
        ("host", "there", json!({ "services": { "web": { "port": 91 } } })),
        ("service", "web", json!({ "command": ["web"], "port": 90, "host": "there" })),
    ]);
    assert_eq!(moved.services[0].port, Some(91));
}

#[test]
fn mistakes_of_a_host_are_told_where_they_are() {
    let (_, diagnostics) = read(&raws(&[
        ("service", "db", json!({ "command": ["db"] })),
        ("host", "here", json!({ "services": { "db": { "prot": 1 }, "bd": {} } })),
        ("host", "there", json!({ "services": { "db": 7 }, "adress": "x" })),
    ]));
    expect![[r#"
        error[HOB-0105]: service `db`: there is no option `prot` (homelab.rhai:1:1)
          note: allowed are args, backup, bypass_auth, command, critical, drift, env, gpu, health, hooks, host, needs, network, port, public, ready, ready_timeout, reload, replicas, restart, stop_on_exit, stop_timeout, tailscale_funnel, tier, update, user, wants, workdir
          note: host `here` sets `prot` at homelab.rhai:2:1
          help: did you mean `port`?
        error[HOB-0501]: host `here` changes the service `bd`, which is not declared (homelab.rhai:2:1)
          help: did you mean `db`?
        error[HOB-0105]: host `there`: there is no option `adress` (homelab.rhai:3:1)
          note: allowed are address, services
          help: did you mean `address`?
        error[HOB-0105]: host `there`: `services`: expected a map of services, each with a map of its options, found map (homelab.rhai:3:1)
    "#]].assert_eq(&shown(&diagnostics));
    let mut host = raw(1, "host", "here", json!({ "services": { "db": { "update": { "before": null } } } }));
    host.closures = vec!["services.db.update.before".to_owned()];
    expect![[r#"
        error[HOB-0105]: host `here`: `services.db.update.before` takes no function (homelab.rhai:1:1)
        error[HOB-0501]: host `here` changes the service `db`, which is not declared (homelab.rhai:1:1)
          help: declare it: service("db", …)
    "#]]
    .assert_eq(&shown(&read(&[host]).1));
}
