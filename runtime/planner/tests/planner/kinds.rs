//! Services that are kept by a primitive.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use expect_test::expect;
use hob_model::{OpError, Value};
use hob_planner::declaration::{Asked, Gate, Kind, Listens, Published, TierGate, UPDATE_SETTLE};
use hob_planner::{Goal, Observed, Outdated, Plan, ServiceState, progress};
use serde_json::json;

use crate::plans::running;
use crate::{homelab, raws, read, shown};

/// A kind as a primitive would provide it.
pub(crate) struct Boxes;

impl Kind for Boxes {
    fn name(&self) -> &'static str {
        "box"
    }
    fn option(&self) -> &'static str {
        "lid"
    }
    fn options(&self) -> BTreeSet<&'static str> {
        BTreeSet::from(["lid", "color", "user", "network", "env"])
    }
    fn has_gate(&self, gate: &Gate) -> bool {
        !matches!(gate, Gate::Log { .. })
    }
    fn shares_network(&self) -> bool {
        true
    }
    fn has_updates(&self) -> bool {
        true
    }
    fn listens(&self, fields: &BTreeMap<String, Value>) -> Listens {
        let color = fields.get("color").and_then(Value::as_str).unwrap_or_default();
        let published =
            color.parse().ok().map(|port| Published { address: None, port, protocol: "tcp".to_owned() });
        Listens { apart: color != "open", published: published.into_iter().collect() }
    }
    fn alone(&self, fields: &BTreeMap<String, Value>) -> Option<String> {
        let is_oak = fields.get("lid").is_some_and(|lid| lid.as_str() == Some("oak"));
        (!is_oak).then(|| "there is one such lid".to_owned())
    }
    fn read(&self, asked: &Asked<'_>) -> Result<BTreeMap<String, Value>, Vec<OpError>> {
        let mut fields = asked.options.clone();
        if fields.get("color").is_some_and(|color| color.as_str() == Some("infrared")) {
            return Err(vec![OpError::invalid("`color`: nobody sees it").hint("choose red")]);
        }
        fields.insert("shared".to_owned(), Value::from(asked.via.map(str::to_owned)));
        Ok(fields)
    }
    fn warnings(&self, fields: &BTreeMap<String, Value>) -> Vec<String> {
        let is_open = fields.get("lid").is_some_and(|lid| lid.as_str() == Some("open"));
        is_open.then(|| "its lid is open".to_owned()).into_iter().collect()
    }
}

fn via(service: &str) -> serde_json::Value {
    json!({ "network": "via", "of": service })
}

#[test]
fn a_kind_reads_its_own_options_and_lends_its_network() {
    let house = homelab(&[
        ("service", "vpn", json!({ "lid": "oak", "port": 80 })),
        ("service", "web", json!({ "lid": "oak", "network": via("vpn"), "health": { "gate": "healthy" } })),
    ]);
    let web = house.service("web").unwrap();
    assert_eq!((web.body.kind(), web.via.as_deref()), ("box", Some("vpn")));
    assert_eq!(web.needs, ["vpn"], "what lends its network is needed");
    assert_eq!(web.body.fields()["shared"].as_str(), Some("vpn"));
    assert_eq!(web.health.as_ref().unwrap().gate, Gate::Healthy);
    expect![[r#"
        + create    vpn  it does not exist yet
        + create    web  it does not exist yet
        2 to create"#]]
    .assert_eq(&Plan::new(&house, &[], Goal::Up).to_string());
}

#[test]
fn mistakes_of_kinds_are_reported_with_all_others() {
    let (_, diagnostics) = read(&raws(&[
        ("service", "none", json!({ "port": 80 })),
        ("service", "both", json!({ "lid": "oak", "command": "x" })),
        ("service", "process", json!({ "command": "x", "color": "red", "network": "host" })),
        (
            "service",
            "seen",
            json!({ "lid": "oak", "color": "infrared", "ready": { "gate": "log", "pattern": "x" } }),
        ),
        ("service", "open", json!({ "lid": "open" })),
        ("service", "deep", json!({ "lid": "oak", "network": via("deeper") })),
        ("service", "deeper", json!({ "lid": "oak", "network": via("open") })),
        ("service", "alien", json!({ "lid": "oak", "network": via("plain") })),
        ("service", "plain", json!({ "command": "x", "health": { "gate": "healthy" } })),
    ]));
    expect![[r#"
        error[HOB-0501]: service `none`: it has nothing to run (homelab.rhai:1:1)
          help: give `lid` for a box, or `command` for a program that hob runs and watches
        error[HOB-0105]: service `both`: `command` is an option of a process, and this is a box (homelab.rhai:2:1)
          help: remove it
        error[HOB-0105]: service `process`: `color` is an option of a box, and this is a process (homelab.rhai:3:1)
          help: remove it
        error[HOB-0501]: service `process`: `network` cannot be chosen for it (homelab.rhai:3:1)
          help: only containers have networks of their own
        error[HOB-0105]: service `seen`: `color`: nobody sees it (homelab.rhai:4:1)
          help: choose red
        error[HOB-0501]: service `seen`: `ready`: log("x") says nothing about a box (homelab.rhai:4:1)
        warning[HOB-0501]: service `open`: its lid is open (homelab.rhai:5:1)
        error[HOB-0501]: service `deep`: `network`: `deeper` has the network of `open` itself (homelab.rhai:6:1)
          help: name the container that owns the network
        error[HOB-0501]: service `alien`: `network`: `plain` is a process, and lends its network to no box (homelab.rhai:8:1)
          help: name the container that owns the network
        error[HOB-0501]: service `plain`: `health`: healthy() says nothing about a process (homelab.rhai:9:1)
    "#]].assert_eq(&shown(&diagnostics));
}

#[test]
fn gates_and_tiers_that_can_never_be_reached_are_mistakes() {
    let (_, diagnostics) = read(&raws(&[
        ("tier", "one", json!({ "gate": "critical" })),
        ("tier", "two", json!({ "after": "one", "gate": 3 })),
        (
            "service",
            "db",
            json!({ "command": "db", "tier": "one", "ready": { "gate": "http", "path": "/", "port": 80 } }),
        ),
        ("service", "proxy", json!({ "command": "proxy", "tier": "two", "port": 80 })),
        ("service", "log", json!({ "command": "x", "health": { "check": { "gate": "completed" } } })),
        ("service", "open", json!({ "command": "x", "public": true, "bypass_auth": true })),
    ]));
    expect![[r#"
        error[HOB-0501]: tier `one` waits for critical services and has none (homelab.rhai:1:1)
          help: a service is critical with `critical: true`
        error[HOB-0501]: tier `two` waits for 3 services and has 1 (homelab.rhai:2:1)
          help: it would never be reached: lower `gate`
        error[HOB-0501]: service `db` waits for http("/", #{ port: 80 }), which is the port of `proxy`, and that one starts after it (homelab.rhai:3:1)
          4: `proxy` is declared here
          help: only a later service can make this gate hold: look at one of its own ports
        error[HOB-0501]: service `log`: `health`: completed() cannot cease to hold (homelab.rhai:5:1)
          help: look with tcp, http, exec, file or healthy
        note[HOB-0501]: service `open` is reached from the internet without authentication (homelab.rhai:6:1)
          help: remove `bypass_auth`, unless it asks for a login itself
    "#]].assert_eq(&shown(&diagnostics));
}

#[test]
fn a_tier_is_reached_by_its_gate() {
    let house = |gate: serde_json::Value, on_failure: &str| {
        homelab(&[
            ("tier", "one", json!({ "gate": gate, "on_failure": on_failure })),
            ("tier", "two", json!({ "after": "one" })),
            ("service", "a", json!({ "command": "x", "tier": "one", "critical": true })),
            ("service", "b", json!({ "command": "x", "tier": "one" })),
            ("service", "c", json!({ "command": "x", "tier": "one" })),
            ("service", "later", json!({ "command": "x", "tier": "two" })),
        ])
    };
    use ServiceState::{Failed, Ready, Starting};
    // gate, on_failure, states of a, b and c, and what becomes of the later one
    let cases = [
        (json!("all"), "stop", [Ready, Ready, Starting], "waits"),
        (json!("all"), "stop", [Ready, Ready, Failed], "blocked"),
        (json!("all"), "continue", [Ready, Starting, Failed], "waits"),
        (json!("all"), "continue", [Ready, Ready, Failed], "starts"),
        (json!("critical"), "stop", [Ready, Starting, Failed], "starts"),
        (json!("critical"), "stop", [Failed, Ready, Ready], "blocked"),
        (json!(2), "stop", [Ready, Ready, Starting], "starts"),
        (json!(2), "stop", [Ready, Starting, Starting], "waits"),
        (json!(2), "stop", [Ready, Failed, Starting], "waits"),
        (json!(2), "stop", [Failed, Failed, Starting], "blocked"),
        (json!(2), "continue", [Failed, Failed, Starting], "waits"),
        (json!(2), "continue", [Failed, Failed, Ready], "starts"),
    ];
    for (gate, on_failure, states, expected) in cases {
        let house = house(gate.clone(), on_failure);
        let state = |name: &str| match name {
            "a" => states[0],
            "b" => states[1],
            "c" => states[2],
            _ => ServiceState::Stopped,
        };
        let decided = progress(&house, state);
        let found = match () {
            () if decided.start.contains(&"later".to_owned()) => "starts",
            () if decided.blocked.contains_key("later") => "blocked",
            () => "waits",
        };
        assert_eq!(found, expected, "{gate} {on_failure} {states:?}");
    }
    assert_eq!(house(json!(2), "stop").tiers[0].gate, TierGate::Quorum(2));
}

#[test]
fn a_tier_starts_no_more_at_one_time_than_it_says() {
    let house = homelab(&[
        ("tier", "one", json!({ "parallel": 2 })),
        ("service", "a", json!({ "command": "x", "tier": "one" })),
        ("service", "b", json!({ "command": "x", "tier": "one" })),
        ("service", "c", json!({ "command": "x", "tier": "one" })),
        ("service", "free", json!({ "command": "x" })),
    ]);
    let none = progress(&house, |_| ServiceState::Stopped);
    assert_eq!(none.start, ["a", "b", "free"]);
    let state = |name: &str| if name == "a" { ServiceState::Starting } else { ServiceState::Stopped };
    let one = progress(&house, state);
    assert_eq!(one.start, ["b", "free"]);
    assert!(one.waiting.contains_key("c"));
    let ready = |name: &str| if name == "a" { ServiceState::Ready } else { ServiceState::Stopped };
    assert_eq!(progress(&house, ready).start, ["b", "c", "free"]);
}

#[test]
fn who_shares_a_network_is_restarted_with_it() {
    let lab = |lid: &str| {
        homelab(&[
            ("service", "vpn", json!({ "lid": lid })),
            ("service", "torrents", json!({ "lid": "oak", "network": via("vpn") })),
            ("service", "other", json!({ "lid": "oak", "needs": "vpn" })),
        ])
    };
    let observed: Vec<_> = lab("oak").services.iter().map(crate::plans::running).collect();
    expect![[r#"
        ± recreate  vpn       `lid` changed
              lid: "oak" → "elm"
        ↻ restart   torrents  it shares the network of `vpn`, which is to recreate
        1 to recreate, 1 to restart, 1 unchanged"#]]
    .assert_eq(&Plan::new(&lab("elm"), &observed, Goal::Up).to_string());
    assert!(Plan::new(&lab("oak"), &observed, Goal::Up).is_empty());
}

#[test]
fn updates_are_read_with_their_functions() {
    let at = |of: &str| json!({ "trigger": "cron", "of": of });
    let mut hooked = raws(&[(
        "service",
        "a",
        json!({ "lid": "oak", "update": { "when": at("0 3 * * *"), "window": "2h" } }),
    )]);
    hooked[0].closures = vec!["update.before".to_owned()];
    let (house, diagnostics) = read(&hooked);
    assert_eq!(shown(&diagnostics), "");
    let update = house.service("a").unwrap().update.clone().unwrap();
    let schedule = update.schedule.unwrap();
    assert_eq!(
        (schedule.when.to_string(), schedule.window),
        ("0 3 * * *".to_owned(), Some(Duration::from_secs(7200)))
    );
    assert_eq!((update.before, update.after, update.settle), (true, false, UPDATE_SETTLE));
    let short = homelab(&[("service", "a", json!({ "lid": "oak", "update": at("@daily") }))]);
    assert!(short.services[0].update.as_ref().unwrap().schedule.is_some());
    assert_eq!(
        short.services[0].digest(),
        house.services[0].digest(),
        "when it is updated is no part of what it is"
    );

    let (_, diagnostics) = read(&raws(&[
        ("service", "a", json!({ "command": ["a"], "update": at("@daily") })),
        (
            "service",
            "b",
            json!({ "lid": "oak", "update": { "when": at("0 25 * * *"), "before": "x", "every": "1d" } }),
        ),
        ("service", "c", json!({ "lid": "oak", "update": { "rolling": "yes", "window": "1h" } })),
    ]));
    expect![[r#"
        error[HOB-0501]: service `a`: `update`: a process has no image that a registry could have a newer one of (homelab.rhai:1:1)
          help: remove it
        error[HOB-0105]: service `b`, option `update`: there is no option `every` (homelab.rhai:2:1)
          note: allowed are after, before, rolling, settle, when, window
        error[HOB-0105]: service `b`, option `update`: `before`: expected a function such as || process::run(["backup"]), found "x" (homelab.rhai:2:1)
        error[HOB-0501]: the time of a schedule cannot be read: column 3 (hour): found `25`, expected 0-23 (homelab.rhai:2:1)
          note: 0 25 * * *
          ^^
        error[HOB-0105]: service `c`, option `update`: `rolling`: expected true or false, found "yes" (homelab.rhai:3:1)
        error[HOB-0501]: service `c`, option `update`: `window` says how late `when` may be, which is not given (homelab.rhai:3:1)
          help: give `when: "0 3 * * *"`, or remove `window`
    "#]].assert_eq(&shown(&diagnostics));
}

#[test]
fn a_rolling_update_needs_room_for_two() {
    let rolling = |more: serde_json::Value| {
        let mut options = json!({ "lid": "oak", "update": { "rolling": true } });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        options
    };
    let house = homelab(&[("service", "a", rolling(json!({})))]);
    assert!(house.services[0].update.as_ref().unwrap().rolling);
    let (_, diagnostics) = read(&raws(&[
        ("service", "a", rolling(json!({}))),
        ("service", "a.next", json!({ "lid": "oak" })),
        ("service", "b", rolling(json!({ "lid": "ash" }))),
        ("service", "vpn", rolling(json!({}))),
        ("service", "c", rolling(json!({ "network": via("vpn") }))),
    ]));
    expect![[r#"
        error[HOB-0501]: `a.next` is what the next `a` is called while it gets ready (homelab.rhai:2:1)
          help: give it another name
        error[HOB-0501]: service `b`: `update`: `rolling` cannot be, since there is one such lid: no second one can run beside it (homelab.rhai:3:1)
          help: remove it: the old one stops, the new one starts, and is rolled back if it does not do well
        error[HOB-0501]: service `vpn`: `update`: `rolling` cannot be, since `c` has its network (homelab.rhai:4:1)
          help: remove it: the old one stops, the new one starts, and is rolled back if it does not do well
        error[HOB-0501]: service `c`: `update`: `rolling` cannot be, since it has the network of `vpn`: no second one can run beside it (homelab.rhai:5:1)
          help: remove it: the old one stops, the new one starts, and is rolled back if it does not do well
    "#]].assert_eq(&shown(&diagnostics));
}

#[test]
fn ports_clash_within_one_network_only() {
    let taken = |name: &'static str, more: serde_json::Value| {
        let mut options = json!({ "lid": "oak", "port": 80 });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("service", name, options)
    };
    let apart = [
        taken("a", json!({})),
        taken("b", json!({})),
        ("service", "c", json!({ "command": ["c"], "port": 80 })),
    ];
    assert_eq!(shown(&read(&raws(&apart)).1), "");
    let (_, diagnostics) = read(&raws(&[
        taken("vpn", json!({})),
        taken("a", json!({ "network": via("vpn") })),
        taken("b", json!({ "color": "open" })),
        ("service", "c", json!({ "command": ["c"], "port": 80 })),
        taken("d", json!({ "color": "80" })),
        taken("e", json!({ "color": "443" })),
        taken("f", json!({ "color": "443" })),
    ]));
    expect![[r#"
        error[HOB-0501]: services `vpn` and `a` both have the port 80 (homelab.rhai:2:1)
          1: `vpn` has it first
        error[HOB-0501]: services `b` and `c` both have the port 80 (homelab.rhai:4:1)
          3: `b` has it first
        error[HOB-0501]: services `b` and `d` both have the port 80 (homelab.rhai:5:1)
          3: `b` has it first
        error[HOB-0501]: services `e` and `f` both have the port 443 (homelab.rhai:7:1)
          6: `e` has it first
    "#]]
    .assert_eq(&shown(&diagnostics));
}

#[test]
fn an_older_image_is_told_and_left() {
    let house = homelab(&[("service", "a", json!({ "lid": "oak" }))]);
    let outdated = Some(Outdated { used: "old".to_owned(), named: "new".to_owned() });
    let found = Observed { outdated, ..running(&house.services[0]) };
    let plan = Plan::new(&house, &[found], Goal::Up);
    assert!(plan.is_empty(), "an update is no plan's business");
    expect![[r#"
        # service `a` is made from an older image than its name stands for: `hob update a`
        nothing to do, 1 unchanged"#]]
    .assert_eq(&plan.to_string());
    assert_eq!(plan.to_json()["outdated"], json!([{ "service": "a", "used": "old", "named": "new" }]));
}
