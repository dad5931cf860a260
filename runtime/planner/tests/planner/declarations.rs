use std::time::Duration;

use expect_test::expect;
use hob_model::{Level, Value};
use hob_planner::declaration::{Gate, Respond, Trigger};
use hob_planner::restart::Policy;
use hob_planner::{Goal, Plan, Raw};
use proptest::prelude::*;
use serde_json::json;

use crate::{homelab, raw, raws, read, shown};

#[test]
fn a_whole_homelab_is_read() {
    let lab = homelab(&[
        ("homelab", "", json!({ "name": "house", "domain": "example.net", "timezone": "Europe/Berlin" })),
        ("tier", "core", json!({})),
        ("tier", "media", json!({ "after": "core", "on_failure": "continue" })),
        (
            "service",
            "db",
            json!({ "tier": "core", "command": "db --listen 5432", "port": 5432,
            "env": { "N": 1, "ON": true, "T": "x" } }),
        ),
        (
            "service",
            "web",
            json!({ "tier": "media", "command": ["web"], "args": ["-v"], "port": 80,
            "needs": ["db"], "wants": "cache", "workdir": "web", "user": 33, "stop_timeout": "3s",
            "ready": { "gate": "http", "path": "/health", "status": 204 }, "ready_timeout": "2m",
            "restart": { "policy": "on-failure", "backoff": "2s", "max": "10s" }, "public": true }),
        ),
        ("service", "setup", json!({ "command": ["true"], "ready": { "gate": "completed" } })),
        ("schedule", "tick", json!({ "when": { "trigger": "every", "of": "5s" }, "on_doubt": "skip" })),
        (
            "workflow",
            "ingest",
            json!({ "on": [
            { "trigger": "webhook", "of": "POST /media/:kind", "options": { "respond": "last", "secret": "s" } },
            { "trigger": "event", "of": "unit.*" }, { "trigger": "cron", "of": "0 3 * * *" } ] }),
        ),
    ]);
    assert_eq!((lab.name.as_str(), lab.timezone.iana_name()), ("house", Some("Europe/Berlin")));
    let db = lab.service("db").unwrap();
    assert_eq!(db.body.process().unwrap().command, ["db", "--listen", "5432"]);
    assert_eq!(db.body.process().unwrap().env.values().collect::<Vec<_>>(), ["1", "true", "x"]);
    assert_eq!((&db.ready.gate, db.restart.policy), (&Gate::Tcp { port: 5432 }, Policy::Always));
    let web = lab.service("web").unwrap();
    assert_eq!(web.body.process().unwrap().command, ["web", "-v"]);
    assert_eq!(web.body.process().unwrap().workdir.to_str(), Some("/srv/home/web"));
    assert_eq!(web.ready.gate, Gate::Http { port: 80, path: "/health".into(), status: Some(204) });
    assert_eq!((web.ready.timeout, web.stop_timeout), (Duration::from_secs(120), Duration::from_secs(3)));
    assert_eq!(web.body.process().unwrap().user.as_deref(), Some("33"));
    let setup = lab.service("setup").unwrap();
    assert_eq!((&setup.ready.gate, setup.restart.policy), (&Gate::Completed, Policy::OnFailure));
    assert_eq!(lab.schedules[0].policy.on_doubt, Some(hob_model::OnDoubt::Skip));
    let Trigger::Webhook(hook) = &lab.workflows[0].triggers[0] else { panic!("{:?}", lab.workflows) };
    assert_eq!((hook.method.as_str(), hook.path.as_str()), ("POST", "/media/:kind"));
    assert_eq!((hook.respond, hook.secret.as_deref()), (Respond::Last, Some("s")));
    assert_eq!(lab.workflows[0].triggers.len(), 3);
}

#[test]
fn the_default_gate_is_the_best_known() {
    for (options, gate) in [
        (json!({ "command": "x", "port": 1 }), Gate::Tcp { port: 1 }),
        (json!({ "command": "x" }), Gate::Alive),
    ] {
        assert_eq!(homelab(&[("service", "s", options)]).services[0].ready.gate, gate);
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let (_, diagnostics) = read(&raws(&[
        ("homelab", "", json!({ "timezone": "Europe/Berlni", "nmae": "x" })),
        ("tier", "core", json!({ "on_failure": "explode" })),
        (
            "service",
            "a",
            json!({ "command": ["a"], "tier": "cor", "needs": ["bb"], "prot": 1, "port": 99999 }),
        ),
        ("service", "b", json!({ "image": "docker.io/x:1" })),
        ("service", "c", json!({ "command": "it's", "env": { "HOB_STATE": "x", "A": [] } })),
        ("service", "d", json!({})),
        ("service", "a", json!({ "command": ["a"] })),
        ("service", "e", json!({ "command": ["e"], "port": 80, "limits": {}, "stop_timeout": "9" })),
        ("service", "f", json!({ "command": ["f"], "port": 80, "ready": { "gate": "healthy" } })),
        ("service", "../g", json!({ "command": ["g"] })),
        (
            "service",
            "h",
            json!({ "command": ["h"], "ready": { "gate": "http", "path": "/" }, "restart": "often" }),
        ),
        ("service", "i", json!({ "command": ["i"], "restart": { "police": "never" }, "bypass_auth": true })),
        ("schedule", "s", json!({ "when": "0 25 * * *", "catchup": "last" })),
        ("workflow", "s", json!({})),
        ("workflow", "w", json!({ "on": { "trigger": "webhook", "of": "media" } })),
        ("workflow", "x", json!({ "on": { "trigger": "watch", "of": "/tmp/{a" } })),
        ("alert", "y", json!({})),
    ]));
    expect![[r#"
        error[HOB-0105]: homelab: there is no option `nmae` (homelab.rhai:1:1)
          note: allowed are alertmanager, domain, name, secrets, timezone
          help: did you mean `name`?
        error[HOB-0501]: homelab: there is no time zone `Europe/Berlni` (homelab.rhai:1:1)
          help: did you mean `Europe/Berlin`?
        error[HOB-0105]: tier `core`: `on_failure`: expected one of "stop", "continue", found "explode" (homelab.rhai:2:1)
        error[HOB-0105]: service `a`: there is no option `prot` (homelab.rhai:3:1)
          note: allowed are args, backup, bypass_auth, command, critical, drift, env, gpu, health, hooks, host, needs, network, port, public, ready, ready_timeout, reload, replicas, restart, stop_on_exit, stop_timeout, tailscale_funnel, tier, update, user, wants, workdir
          help: did you mean `port`?
        error[HOB-0105]: service `a`: `port`: expected a port from 1 to 65535, found 99999 (homelab.rhai:3:1)
        error[HOB-0501]: service `a` belongs to the tier `cor`, which is not declared (homelab.rhai:3:1)
          help: did you mean `core`?
        error[HOB-0501]: service `a` needs the service `bb`, which is not declared (homelab.rhai:3:1)
          help: did you mean `b`?
        error[HOB-0501]: service `b`: it has nothing to run (homelab.rhai:4:1)
          help: give `lid` for a box, or `command` for a program that hob runs and watches
        error[HOB-0105]: service `c`: `command`: expected a text or an array of texts such as ["caddy", "run"], found "it's" (homelab.rhai:5:1)
        error[HOB-0105]: service `c`: `env.A`: expected a text, a number, or true or false, found array (homelab.rhai:5:1)
        error[HOB-0501]: service `c`: `env`: `HOB_STATE` is not yours to set (homelab.rhai:5:1)
          help: by variables that begin with HOB_ hob finds its processes again
        error[HOB-0501]: service `d`: it has nothing to run (homelab.rhai:6:1)
          help: give `lid` for a box, or `command` for a program that hob runs and watches
        error[HOB-0501]: service `a` is declared twice (homelab.rhai:7:1)
          3: first declared here
        error[HOB-0105]: service `e`: there is no option `limits` (homelab.rhai:8:1)
          note: allowed are args, backup, bypass_auth, command, critical, drift, env, gpu, health, hooks, host, needs, network, port, public, ready, ready_timeout, reload, replicas, restart, stop_on_exit, stop_timeout, tailscale_funnel, tier, update, user, wants, workdir
        error[HOB-0105]: service `e`: `stop_timeout`: `9` is no duration: a unit is missing; write for example "90s", "1h30m", "7d" or "250ms" (homelab.rhai:8:1)
        error[HOB-0501]: service `f`: `ready`: healthy() says nothing about a process (homelab.rhai:9:1)
        error[HOB-0501]: services `e` and `f` both have the port 80 (homelab.rhai:9:1)
          8: `e` has it first
        error[HOB-0501]: service `../g`: this is no name (homelab.rhai:10:1)
          help: use up to 64 letters, digits, `-`, `_` and `.`, a letter or digit first
        error[HOB-0501]: service `h`: `ready`: http(…) does not know which port to ask (homelab.rhai:11:1)
          help: give the service a `port`, or this gate: http("/health", #{ port: 8080 })
        error[HOB-0105]: service `h`: `restart`: expected "always", "on-failure", "never" or a map with `policy`, `backoff` and `max`, found "often" (homelab.rhai:11:1)
        error[HOB-0105]: service `i`, option `restart`: there is no option `police` (homelab.rhai:12:1)
          note: allowed are backoff, max, policy
          help: did you mean `policy`?
        warning[HOB-0501]: service `i` has `bypass_auth` and is not `public`, so nothing is bypassed (homelab.rhai:12:1)
        error[HOB-0105]: schedule `s`: there is no option `catchup` (homelab.rhai:13:1)
          note: allowed are allow, catch_up, conflicts, deadline, deny, gap, jitter, on_doubt, on_error, overlap, overlap_hour, paused, tags, timeout, timezone, when, window
          help: did you mean `catch_up`?
        error[HOB-0501]: the time of a schedule cannot be read: column 3 (hour): found `25`, expected 0-23 (homelab.rhai:13:1)
          note: 0 25 * * *
          ^^
        error[HOB-0501]: workflow `s` has the name of a schedule (homelab.rhai:14:1)
          13: first declared here
        error[HOB-0105]: workflow `w`: `on: webhook`: expected a method and a path such as "POST /media/:kind", found "media" (homelab.rhai:15:1)
        error[HOB-0501]: workflow `x`: `on: watch`: `/tmp/{a` is no pattern of paths: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?) (homelab.rhai:16:1)
          help: write it as in watch("/mnt/hot/**/*.mkv")
        error[HOB-0501]: alert `y`: it has no function `when`, and no `on` (homelab.rhai:17:1)
          help: write #{ when: |now| now.value("hob_host_load", #{ window: "5m" }) > 8.0 }
    "#]]
    .assert_eq(&shown(&diagnostics));
}

#[test]
fn functions_where_none_belong_are_refused() {
    let mut service = raw(1, "service", "a", json!({ "command": ["a"], "user": null }));
    service.closures = vec!["user".to_owned()];
    let mut schedule = raw(2, "schedule", "s", json!({ "when": "@daily" }));
    schedule.closures.clear();
    expect![[r#"
        error[HOB-0105]: service `a`: `user` takes no function (homelab.rhai:1:1)
        error[HOB-0501]: schedule `s`: it has no function to run (homelab.rhai:2:1)
    "#]]
    .assert_eq(&shown(&read(&[service, schedule]).1));
}

#[test]
fn clashes_are_found_over_all_declarations() {
    let hook = |path: &str| json!({ "on": { "trigger": "webhook", "of": format!("POST {path}") } });
    let (_, diagnostics) = read(&raws(&[
        ("host", "one", json!({})),
        ("host", "two", json!({ "address": "10.0.0.2" })),
        ("service", "a", json!({ "command": ["a"], "host": "one", "port": 80 })),
        ("service", "b", json!({ "command": ["b"], "host": "two", "port": 80 })),
        ("workflow", "v", hook("/media/:kind")),
        ("workflow", "w", hook("/media/:id")),
    ]));
    expect![[r#"
        error[HOB-0501]: services `a` and `b` both have the port 80 (homelab.rhai:4:1)
          3: `a` has it first
        error[HOB-0501]: service `b` runs on `two` and others on `one` (homelab.rhai:4:1)
          help: this version of hob runs the services of one machine: give each its own homelab
        error[HOB-0501]: workflows `v` and `w` both take POST /media/:id (homelab.rhai:6:1)
          5: `v` takes it first
    "#]]
    .assert_eq(&shown(&diagnostics));
}

/// Any options, with the keys and values that come close to right ones.
fn options() -> impl Strategy<Value = Value> {
    let words = ["", "a", "b", "core", "5m", "never", "/x", "POST /x", "0 3 * * *", "\u{0}", "x y 'z"];
    let leaf = prop_oneof![
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        (-1..70_000_i64).prop_map(Value::Int),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::Float(f64::NAN)),
        Just(Value::Unit),
    ];
    let keys = [
        "command", "args", "env", "port", "needs", "wants", "tier", "after", "ready", "gate", "path",
        "restart", "policy", "when", "on", "trigger", "of", "options", "image", "timeout", "name",
        "timezone", "x",
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(
                prop::sample::select(keys.to_vec()).prop_map(str::to_owned),
                inner,
                0..6
            )
            .prop_map(Value::Map),
        ]
    })
}

proptest! {
    /// Whatever is declared: reading ends with a homelab or with errors that have a place, and what has no error can
    /// be planned.
    #[test]
    fn nothing_that_is_declared_makes_reading_fail(
        declared in prop::collection::vec(
            (
                prop::sample::select(vec!["homelab", "host", "tier", "service", "schedule", "workflow", "mount"]),
                prop::sample::select(vec!["a", "b", "core", "../x", ""]),
                options(),
                prop::collection::vec(prop::sample::select(vec!["", "on.0", "port"]), 0..2),
            ),
            0..6,
        )
    ) {
        let raws: Vec<Raw> = (1..).zip(declared).map(|(line, (kind, name, options, closures))| Raw {
            options,
            closures: closures.into_iter().map(str::to_owned).collect(),
            ..raw(line, kind, name, json!({}))
        }).collect();
        let (homelab, diagnostics) = read(&raws);
        prop_assert!(diagnostics.iter().all(|it| it.spans.iter().all(|span| span.source.line > 0) && !it.spans.is_empty()));
        if diagnostics.iter().all(|it| it.level < Level::Error) {
            let names = homelab.services.len() + homelab.tiers.len();
            prop_assert_eq!(homelab.graph.order().count(), names);
            prop_assert_eq!(Plan::new(&homelab, &[], Goal::Up).changes.len(), homelab.services.len());
        }
    }
}
