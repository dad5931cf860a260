//! Unit files and the links that make units start.

use hob_model::{ErrorKind, Value};
use serde_json::json;

use crate::world::{SLEEPER, WORKING, everywhere, items, text, truth};

#[test]
fn a_unit_file_comes_and_goes() {
    everywhere(|w| {
        let args = || json!(["written", WORKING]);
        let written = w.call("write_unit", args());
        assert_eq!(text(&written, "path"), format!("{}/written.service", w.unit_dir()), "{}", w.name);
        assert!(truth(&written, "changed"));
        assert!(!truth(&w.call("write_unit", args()), "changed"), "{}: it has that text", w.name);
        let files = w.call("cat", json!(["written"]));
        assert_eq!(text(&items(&files)[0], "text"), WORKING);

        w.call("start", json!(["written"]));
        let other = WORKING.replace("all is well", "all is better");
        assert!(truth(&w.call("write_unit", json!(["written", other])), "changed"));
        assert!(!truth(&w.status("written"), "needs_reload"), "{}: it was read", w.name);
        assert_eq!(text(&w.status("written"), "active"), "active", "{}: it goes on", w.name);

        assert_eq!(w.call("remove_unit", json!(["written"])), Value::Bool(true));
        assert_eq!(w.call("remove_unit", json!(["written"])), Value::Bool(false));
        w.refused("status", json!(["written"]), ErrorKind::NotFound);
    });
}

#[test]
fn a_drop_in_comes_and_goes() {
    everywhere(|w| {
        w.unit("dropped-into", SLEEPER);
        let limits = json!(["dropped-into", "[Service]\nMemoryMax=64M\n", {"drop_in": "10-limits"}]);
        let written = w.call("write_unit", limits.clone());
        let path = format!("{}/dropped-into.service.d/10-limits.conf", w.unit_dir());
        assert_eq!(text(&written, "path"), path, "{}", w.name);
        assert!(!truth(&w.call("write_unit", limits), "changed"));
        let status = w.status("dropped-into");
        assert_eq!(items(status.get("drop_ins").unwrap()), [Value::from(path.as_str())], "{}", w.name);
        assert_eq!(items(&w.call("cat", json!(["dropped-into"]))).len(), 2);

        assert_eq!(
            w.call("remove_unit", json!(["dropped-into", {"drop_in": "10-limits.conf"}])),
            Value::Bool(true)
        );
        assert_eq!(items(w.status("dropped-into").get("drop_ins").unwrap()).len(), 0, "{}", w.name);
        for drop_in in ["", "../evil", ".hidden", "a/b"] {
            let args = json!(["dropped-into", "[Service]\n", {"drop_in": drop_in}]);
            w.refused("write_unit", args, ErrorKind::Invalid);
        }
    });
}

#[test]
fn a_file_with_errors_is_not_written() {
    everywhere(|w| {
        for (text, says) in [
            ("[Service]\nExecStart=/bin/true\nExec=oops\n", "Unknown key 'Exec'"),
            ("[Service]\nExecStart\n", "Missing '='"),
            ("[Service]\nType=oneshot\n", "ExecStart="),
        ] {
            let error = w.refused("write_unit", json!(["erroneous", text]), ErrorKind::Invalid);
            let problems = items(error.details.get("problems").unwrap());
            let said = problems.iter().map(|it| it.as_str().unwrap()).collect::<Vec<_>>().join("\n");
            assert!(said.contains(says), "{}: {text}: {said}", w.name);
            assert!(!items(&w.call("verify", json!(["erroneous", text]))).is_empty());
        }
        w.refused("status", json!(["erroneous"]), ErrorKind::NotFound);
        assert_eq!(items(&w.call("verify", json!(["sound", SLEEPER]))).len(), 0, "{}", w.name);

        // One that came another way is explained when it is started.
        w.call("write_unit", json!(["erroneous", "[Service]\nType=oneshot\n", {"verify": false}]));
        let error = w.refused("start", json!(["erroneous"]), ErrorKind::Invalid);
        let problems = items(error.details.get("problems").unwrap());
        assert!(
            problems.iter().any(|it| it.as_str().unwrap().contains("ExecStart=")),
            "{}: {error:?}",
            w.name
        );
        w.call("remove_unit", json!(["erroneous"]));
    });
}

#[test]
fn enabling_and_disabling() {
    everywhere(|w| {
        w.unit("enabled-unit", SLEEPER);
        let enabled = w.call("enable", json!(["enabled-unit", {"now": true}]));
        assert_eq!(
            (text(&enabled, "enabled"), text(&enabled, "active")),
            ("enabled", "active"),
            "{}",
            w.name
        );
        assert!(truth(&enabled, "changed"));
        assert!(!truth(&w.call("enable", json!(["enabled-unit"])), "changed"), "{}", w.name);
        let disabled = w.call("disable", json!(["enabled-unit", {"now": true}]));
        assert_eq!(
            (text(&disabled, "enabled"), text(&disabled, "active")),
            ("disabled", "inactive"),
            "{}",
            w.name
        );
        assert!(!truth(&w.call("disable", json!(["enabled-unit"])), "changed"), "{}", w.name);

        w.unit("static-unit", WORKING);
        let error = w.refused("enable", json!(["static-unit"]), ErrorKind::Invalid);
        assert!(error.message.contains("no [Install] section"), "{}: {}", w.name, error.message);

        // One that is removed leaves no links.
        w.call("enable", json!(["enabled-unit"]));
        w.call("remove_unit", json!(["enabled-unit"]));
        w.unit("enabled-unit", SLEEPER);
        assert_eq!(text(&w.status("enabled-unit"), "enabled"), "disabled", "{}", w.name);
    });
}

#[test]
fn masking() {
    everywhere(|w| {
        let masked = w.call("mask", json!(["masked-unit"]));
        assert_eq!((text(&masked, "enabled"), truth(&masked, "changed")), ("masked", true), "{}", w.name);
        assert!(!truth(&w.call("mask", json!(["masked-unit"])), "changed"), "{}", w.name);
        let error = w.refused("start", json!(["masked-unit"]), ErrorKind::Conflict);
        assert_eq!(error.hint.as_deref(), Some("units::unmask allows it again"), "{}", w.name);
        assert!(error.nothing_happened);
        w.refused("write_unit", json!(["masked-unit", WORKING]), ErrorKind::Conflict);
        w.refused("remove_unit", json!(["masked-unit"]), ErrorKind::Conflict);
        assert!(truth(&w.call("unmask", json!(["masked-unit"])), "changed"));
        assert!(!truth(&w.call("unmask", json!(["masked-unit"])), "changed"), "{}", w.name);

        w.unit("not-to-be-masked", WORKING);
        w.refused("mask", json!(["not-to-be-masked"]), ErrorKind::Conflict);
    });
}

#[test]
fn who_edits_a_unit_leaves_a_trace() {
    everywhere(|w| {
        let edits = |unit: &str| w.harness.runtime().block_on(w.port.edits(w.scope(), unit)).unwrap();
        w.unit("edited", SLEEPER);
        w.call("write_unit", json!(["edited", "[Service]\nMemoryMax=64M\n", {"drop_in": "10-limits"}]));
        let file = format!("{}/edited.service", w.unit_dir());
        let drop_in = format!("{file}.d/10-limits.conf");
        let found = edits("edited.service");
        let paths: Vec<&str> = found.iter().map(|edit| edit.path.as_str()).collect();
        assert_eq!(paths, [file.as_str(), drop_in.as_str()], "{}", w.name);
        assert!(found[0].at <= found[1].at, "{}: {found:?}", w.name);
        w.unit("edited", WORKING);
        assert!(edits("edited.service")[0].at > found[0].at, "{}", w.name);
        assert_eq!(edits("another.service"), [], "{}", w.name);
        if w.name != "fake" {
            w.unit("edited@", SLEEPER);
            assert_eq!(edits("edited@one.service").len(), 1, "{}: that of its template", w.name);
        }
    });
}
