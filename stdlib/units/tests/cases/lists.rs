//! Lists and the status of several units and of the system.

use hob_model::{ErrorKind, Value};
use serde_json::json;

use crate::world::{FAILING, SLEEPER, WORKING, everywhere, items, names, text};

#[test]
fn lists_by_pattern_state_and_type() {
    everywhere(|w| {
        w.unit("list-a-luxnix", SLEEPER);
        w.unit("list-b-luxnix", WORKING);
        w.unit("list-c-luxnix", FAILING);
        w.unit("list-d-luxnix.target", "[Unit]\nDescription=All of it\n");
        for unit in ["list-a-luxnix", "list-b-luxnix", "list-d-luxnix.target"] {
            w.call("start", json!([unit]));
        }
        w.refused("start", json!(["list-c-luxnix"]), ErrorKind::Failed);
        let (a, b, c, d) = (
            "list-a-luxnix.service",
            "list-b-luxnix.service",
            "list-c-luxnix.service",
            "list-d-luxnix.target",
        );
        for (args, expected) in [
            (json!(["list-*-luxnix*"]), vec![a, b, c, d]),
            (json!(["list-*-luxnix.service"]), vec![a, b, c]),
            (json!([["list-a*", "list-d*"]]), vec![a, d]),
            (json!(["list-[ab]-luxnix*"]), vec![a, b]),
            (json!(["list-?-luxnix*", {"state": "active"}]), vec![a, b, d]),
            (json!(["list-?-luxnix*", {"state": "running"}]), vec![a]),
            (json!(["list-?-luxnix*", {"state": ["failed", "exited"]}]), vec![b, c]),
            (json!(["list-?-luxnix*", {"type": "target"}]), vec![d]),
            (json!(["list-?-luxnix*", {"type": ["target", "service"], "state": "active"}]), vec![a, b, d]),
            (json!(["list-a-luxnix"]), vec![a]),
            (json!(["luxnix"]), vec![]),
        ] {
            assert_eq!(names(&w.call("list", args.clone())), expected, "{}: {args}", w.name);
        }
        assert!(names(&w.call("failed", json!([]))).contains(&c), "{}", w.name);
        assert!(names(&w.call("targets", json!([]))).contains(&d), "{}", w.name);
        let row = &items(&w.call("list", json!(["list-a-luxnix"])))[0].clone();
        assert_eq!(
            (text(row, "type"), text(row, "sub"), text(row, "description")),
            ("service", "running", "Sleeps")
        );

        w.call("stop", json!(["list-a-luxnix"]));
        assert_eq!(names(&w.call("list", json!(["list-a-*"]))), Vec::<&str>::new(), "{}", w.name);
        w.refused("list", json!(["*", {"type": "servce"}]), ErrorKind::Invalid);
        w.refused("list", json!(["["]), ErrorKind::Invalid);
    });
}

#[test]
fn inactive_units_are_listed_when_asked_for() {
    everywhere(|w| {
        // A unit without a file stays loaded while something refers to it.
        w.unit("list-inactive", SLEEPER);
        w.unit("list-inactive-user", &format!("[Unit]\nAfter=list-inactive.service\n{WORKING}"));
        w.call("start", json!(["list-inactive-user"]));
        assert_eq!(names(&w.call("list", json!(["list-inactive"]))), Vec::<&str>::new(), "{}", w.name);
        for options in [json!({"all": true}), json!({"state": "inactive"}), json!({"state": "dead"})] {
            let listed = w.call("list", json!(["list-inactive", options]));
            assert_eq!(names(&listed), ["list-inactive.service"], "{}: {options}", w.name);
        }
    });
}

#[test]
fn the_status_of_several_and_of_the_system() {
    everywhere(|w| {
        w.unit("status-a", WORKING);
        w.call("start", json!(["status-a"]));
        let all = w.call("status", json!([["status-a", "no-such-thing"], {"lines": 0}]));
        assert_eq!(text(&items(&all)[0], "sub"), "exited", "{}", w.name);
        assert_eq!(text(&items(&all)[1], "load"), "not-found", "{}", w.name);
        assert_eq!(items(items(&all)[0].get("log").unwrap()).len(), 0);

        w.unit("status-failed", FAILING);
        w.refused("start", json!(["status-failed"]), ErrorKind::Failed);
        let system = w.call("status", json!([]));
        assert_eq!(text(&system, "state"), "degraded", "{}", w.name);
        assert!(items(system.get("failed").unwrap()).contains(&Value::from("status-failed.service")));
        assert!(text(&system, "since").ends_with('Z'));
    });
}

#[test]
fn timers() {
    everywhere(|w| {
        w.unit("ticking", WORKING);
        w.unit("ticking.timer", "[Timer]\nOnCalendar=*-*-* 10:00:00\nOnActiveSec=5m\n");
        w.call("start", json!(["ticking.timer"]));
        let timers = w.call("timers", json!([]));
        let timer = items(&timers).iter().find(|timer| text(timer, "name") == "ticking.timer").unwrap();
        assert_eq!((text(timer, "unit"), text(timer, "active")), ("ticking.service", "active"), "{}", w.name);
        assert!(text(timer, "next").ends_with('Z'));
        let when = items(timer.get("when").unwrap());
        assert!(when.contains(&Value::from("OnCalendar=*-*-* 10:00:00")), "{}: {when:?}", w.name);
        assert!(when.contains(&Value::from("OnActiveSec=5m")), "{}: {when:?}", w.name);
        assert_eq!(text(w.status("ticking.timer").get("timer").unwrap(), "unit"), "ticking.service");
        w.call("stop", json!(["ticking.timer"]));
    });
}
