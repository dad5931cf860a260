//! Alerts as they are declared.

use std::time::Duration;

use hob_alerts::Severity;
use hob_model::Value;
use hob_planner::Raw;
use hob_planner::declaration::Looks;
use serde_json::{Value as Json, json};

use crate::{raw, read, shown};

/// An alert that has a function `when`, unless its options say otherwise.
fn alert(line: u32, name: &str, options: &Json, has_function: bool) -> Raw {
    let closures = if has_function { vec!["when".to_owned()] } else { Vec::new() };
    Raw { closures, ..raw(line, "alert", name, options.clone()) }
}

#[test]
fn an_alert_says_what_it_looks_for_and_whom_it_tells() {
    let options = json!({
        "every": "10s", "when": null, "lasting": "5m", "severity": "critical", "group": "Storage",
        "labels": { "house": "north", "floor": 2 }, "notify": "ops", "repeat": false,
        "inhibit": { "alerts": "slow", "equal": ["path"] },
        "escalate": { "after": "30m", "notify": ["pager"] },
    });
    let channels = ["ops", "pager"].map(|name| raw(1, "channel", name, json!({ "url": "ntfy://x/y" })));
    let alerts = [alert(2, "full", &options, true), alert(3, "slow", &json!({ "when": null }), true)];
    let (homelab, found) = read(&[&channels[..], &alerts].concat());
    assert!(found.is_empty(), "{found:?}");
    let [full, slow] = &homelab.alerts[..] else { panic!("{:?}", homelab.alerts) };
    assert_eq!(full.looks, Looks::Every(Duration::from_secs(10)));
    let rule = &full.rule;
    assert_eq!((rule.severity, &*rule.group, rule.repeat), (Severity::Critical, "Storage", None));
    assert_eq!((rule.labels["house"].as_str(), rule.labels["floor"].as_str()), ("north", "2"));
    assert_eq!(
        (&rule.inhibit.alerts[..], &rule.inhibit.equal[..]),
        (&["slow".to_owned()][..], &["path".to_owned()][..])
    );
    assert_eq!(rule.escalate.as_ref().unwrap().after, Duration::from_secs(30 * 60));
    assert_eq!(
        (slow.looks.clone(), slow.rule.severity),
        (Looks::Every(Duration::from_secs(30)), Severity::Warning)
    );
    assert_eq!(
        (&slow.rule.notify[..], slow.rule.repeat),
        (&["default".to_owned()][..], Some(Duration::from_secs(14_400)))
    );
}

#[test]
fn an_alert_may_hear_events() {
    let event = |of: &str| json!({ "trigger": "event", "of": of });
    let options = json!({
        "on": [event("run.failed"), event("run.in_doubt")], "resolve_on": event("run.succeeded"), "by": "name",
    });
    let (homelab, found) = read(&[alert(1, "runs", &options, false)]);
    assert!(found.is_empty(), "{found:?}");
    let Looks::On(heard) = &homelab.alerts[0].looks else { panic!("{:?}", homelab.alerts) };
    assert_eq!(
        (heard.on.len(), heard.resolve_on[0].0.as_str(), &heard.by[..]),
        (2, "run.succeeded", &["name".to_owned()][..])
    );
    assert_eq!((&heard.on[0].1, heard.when), (&Value::Unit, false));
    assert_eq!(homelab.alerts[0].rule.resolve_after, Some(Duration::from_secs(3600)));
}

#[test]
fn mistakes_are_told_with_their_cure() {
    let event = json!({ "trigger": "event", "of": "run.failed" });
    let cron = json!({ "trigger": "cron", "of": "0 3 * * *" });
    let table = [
        (json!({}), false, "it has no function `when`, and no `on`"),
        (json!({ "when": true }), false, "expected a function that tells whether it is so"),
        (json!({ "every": "100ms" }), true, "it is asked once a second at most"),
        (json!({ "evry": "1m" }), true, "did you mean `every`?"),
        (json!({ "severity": "bad" }), true, "expected one of \"critical\", \"warning\", \"info\""),
        (json!({ "on": event, "lasting": "1m" }), false, "`lasting` does not go with `on`"),
        (json!({ "on": cron }), false, "an alert hears events alone"),
        (json!({ "by": ["name"] }), true, "`by` belongs to an alert with `on`"),
        (json!({ "notify": "opps" }), true, "there is no channel `opps`"),
        (json!({ "notify": "opps" }), true, "did you mean `ops`?"),
        (json!({ "inhibit": "othr" }), true, "did you mean `other`?"),
        (json!({ "escalate": { "after": "1h" } }), true, "it says after how long, and to whom"),
        (json!({ "escalate": { "after": "1h", "notify": "pagr" } }), true, "did you mean `pager`?"),
        (json!({ "repeat": "1s" }), true, "after a minute at the earliest"),
        (json!({ "labels": { "a": [1] } }), true, "expected a map of texts and numbers"),
    ];
    for (options, has_function, text) in table {
        let mut declared: Vec<Raw> =
            ["ops", "pager"].map(|name| raw(1, "channel", name, json!({ "url": "ntfy://x/y" }))).into();
        declared.push(alert(2, "other", &json!({}), true));
        declared.push(alert(3, "wrong", &options, has_function));
        let (_, found) = read(&declared);
        let said = shown(&found);
        assert!(said.contains(text) && said.contains("homelab.rhai:3"), "{options}:\n{said}");
    }
    let (_, found) = read(&[raw(1, "homelab", "", json!({ "alertmanager": "localhost:9093" }))]);
    assert!(shown(&found).contains("expected a URL such as \"http://localhost:9093\""), "{found:?}");
}
