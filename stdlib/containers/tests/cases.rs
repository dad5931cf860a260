//! The same cases against the fake and every real engine.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // tests

mod world;

use std::time::Duration;

use hob_lab::engine::Kind;
use hob_model::{ErrorKind, Value};
use serde_json::json;
use world::{Case, IMAGE, engines, everywhere, flag, int, list, text, whole};

#[test]
fn from_making_to_removing() {
    everywhere(|case| {
        let name = case.name("life");
        let made = case.create(&name, json!({"command": ["sleep", "1000"]})).unwrap();
        assert_eq!(text(&made, "name"), name);
        let it = case.call("containers::get", json!([name])).unwrap();
        assert_eq!((text(&it, "state"), text(&it, "id")), ("created", text(&made, "id")), "{case}");
        assert_eq!(it.get("started_at"), Some(&Value::Unit));

        assert_eq!(case.call("containers::start", json!([name])).unwrap(), Value::Bool(true));
        assert_eq!(case.call("containers::start", json!([name])).unwrap(), Value::Bool(false));
        let it = case.call("containers::get", json!([name])).unwrap();
        assert_eq!((text(&it, "state"), flag(&it, "running")), ("running", true), "{case}");
        assert!(text(&it, "started_at").starts_with("20"));

        let error = case.call("containers::remove", json!([name])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{case}: {error}");
        assert!(error.hint.unwrap().contains("force"));

        assert_eq!(case.call("containers::stop", json!([name])).unwrap(), Value::Bool(true));
        assert_eq!(case.call("containers::stop", json!([name])).unwrap(), Value::Bool(false));
        assert_eq!(text(&case.call("containers::get", json!([name])).unwrap(), "state"), "exited");
        assert_eq!(case.call("containers::remove", json!([name])).unwrap(), Value::Bool(true));
        assert_eq!(case.call("containers::remove", json!([name])).unwrap(), Value::Bool(false));
    });
}

#[test]
fn lists() {
    everywhere(|case| {
        let (one, two) = (case.name("listed1"), case.name("listed2"));
        case.create(&one, json!({"command": "sleep 1000", "start": true, "labels": {"tier": one}})).unwrap();
        case.create(&two, json!({"command": "true", "labels": {"tier": two}})).unwrap();
        let names = |options| {
            let all = case.call("containers::list", json!([options])).unwrap();
            list(&all).iter().map(|it| text(it, "name").to_owned()).collect::<Vec<_>>()
        };
        assert!(names(json!({})).contains(&one) && names(json!({})).contains(&two), "{case}");
        assert!(!names(json!({"all": false})).contains(&two), "{case}");
        assert_eq!(names(json!({"labels": {"tier": one}})), [one.as_str()], "{case}");
        assert_eq!(names(json!({"name": two})), [two.as_str()], "{case}");
        assert!(!names(json!({"state": "created"})).contains(&one), "{case}");
        let all = case.call("containers::list", json!([{"name": one}])).unwrap();
        let it = &list(&all)[0];
        assert_eq!((text(it, "image"), text(it, "state")), (IMAGE, "running"), "{case}");
        assert!(it.get("labels").unwrap().get("hob.effect").is_none(), "hob's own labels are not shown");
    });
}

#[test]
fn what_is_not_there_is_named_with_what_is_near() {
    everywhere(|case| {
        let name = case.name("postgres");
        case.create(&name, json!({})).unwrap();
        let near = format!("{}x", &name[..name.len() - 1]);
        for operation in ["get", "inspect", "start", "stop", "restart", "kill", "stats", "logs", "wait"] {
            let error = case.call(&format!("containers::{operation}"), json!([near])).unwrap_err();
            assert_eq!(error.kind, ErrorKind::NotFound, "{case}: {operation}: {error}");
            assert_eq!(error.hint.as_deref(), Some(format!("did you mean {name}?").as_str()), "{operation}");
            assert!(!error.retryable);
        }
        let error = case.create(
            &case.name("no-image"),
            json!({"image": "localhost/busybox:tset", "pull_policy": "never"}),
        );
        let error = error.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{case}: {error}");
        assert_eq!(error.hint.as_deref(), Some(format!("did you mean {IMAGE}?").as_str()), "{case}");
    });
}

#[test]
fn conflicts() {
    everywhere(|case| {
        let (one, two) = (case.name("taken"), case.name("port2"));
        let port = case.port();
        let ports = json!([format!("{port}:80")]);
        case.create(&one, json!({"command": "sleep 1000", "start": true, "ports": ports})).unwrap();
        let error =
            case.with_key("another").call("containers::create", json!([one, whole(json!({}))])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{case}: {error}");

        let spec = json!({"command": "sleep 1000", "start": true, "ports": ports});
        let error = case.create(&two, spec).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{case}: {error}");
        assert!(error.hint.unwrap().contains("ports"), "{case}");
        let error = case.call("containers::get", json!([two])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{case}: what does not start is not left behind");
    });
}

#[test]
fn programs_inside() {
    everywhere(|case| {
        let name = case.name("exec");
        case.create(&name, json!({"command": "sleep 1000", "start": true, "environment": ["A=one two"]}))
            .unwrap();
        let exec = |cmd, options| case.call("containers::exec", json!([name, cmd, options]));
        let it = exec(json!(["echo", "a  b"]), json!({})).unwrap();
        assert_eq!((text(&it, "stdout"), text(&it, "stderr"), int(&it, "code")), ("a  b\n", "", 0), "{case}");
        let it = exec(json!(["sh", "-c", "echo $A"]), json!({})).unwrap();
        assert_eq!(text(&it, "stdout"), "one two\n", "{case}");
        let it = exec(json!(["sh", "-c", "echo $B"]), json!({"environment": {"B": 7}})).unwrap();
        assert_eq!(text(&it, "stdout"), "7\n", "{case}");
        let it = exec(json!(["cat"]), json!({"stdin": "to be read"})).unwrap();
        assert_eq!(text(&it, "stdout"), "to be read", "{case}");
        let it =
            exec(json!(["sh", "-c", "echo out; echo err >&2; exit 3"]), json!({"check": false})).unwrap();
        assert_eq!(
            (text(&it, "stdout"), text(&it, "stderr"), int(&it, "code")),
            ("out\n", "err\n", 3),
            "{case}"
        );
        let it = exec(json!(["echo", "0123456789"]), json!({"output_limit": 4})).unwrap();
        assert_eq!((text(&it, "stdout"), flag(&it, "stdout_truncated")), ("0123", true), "{case}");

        let error = exec(json!(["sh", "-c", "echo why >&2; exit 3"]), json!({})).unwrap_err();
        assert_eq!(
            (error.kind, error.details.get("code")),
            (ErrorKind::Failed, Some(&Value::Int(3))),
            "{case}"
        );
        assert_eq!(error.details.get("stderr").and_then(Value::as_str), Some("why\n"));
        let error = exec(json!(["no-such-program"]), json!({})).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{case}: {error}");
        assert_eq!(exec(json!([]), json!({})).unwrap_err().kind, ErrorKind::Invalid);

        case.call("containers::stop", json!([name])).unwrap();
        let error = exec(json!(["true"]), json!({})).unwrap_err();
        assert_eq!((error.kind, error.nothing_happened), (ErrorKind::Conflict, true), "{case}: {error}");
    });
}

#[test]
fn a_program_that_takes_too_long_is_ended() {
    everywhere(|case| {
        let name = case.name("slow");
        case.create(&name, json!({"command": "sleep 1000", "start": true})).unwrap();
        let hasty = case.with_timeout(Duration::from_secs(2));
        let slow = json!([name, ["sh", "-c", "echo begun; sleep 777"], {"user": "1000"}]);
        let error = hasty.call("containers::exec", slow).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout, "{case}: {error}");
        assert_eq!(error.details.get("ended"), Some(&Value::Bool(true)), "{case}: {error:?}");
        assert_eq!(error.details.get("stdout").and_then(Value::as_str), Some("begun\n"), "{case}");
        if case.engine.is_some() {
            let all = json!([name, ["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]]);
            let said = case.call("containers::exec", all).unwrap();
            assert!(text(&said, "stdout").contains("sleep 1000"), "{case}: others go on: {said:?}");
            assert!(!text(&said, "stdout").contains("sleep 777"), "{case}: {said:?}");
        }

        let cancelled = case.with_key("cancelled");
        std::thread::scope(|threads| {
            let waiting = threads.spawn(|| cancelled.call("containers::exec", json!([name, "sleep 888"])));
            cancelled.harness().cancel().cancel();
            let error = waiting.join().unwrap().unwrap_err();
            assert_eq!(error.kind, ErrorKind::Cancelled, "{case}: {error:?}");
        });
    });
}

#[test]
fn a_program_that_cannot_be_ended_is_told_of() {
    for case in engines().map(Case::of) {
        let context = case.dir().join("bare");
        std::fs::create_dir(&context).unwrap();
        std::fs::copy("/bin/busybox", context.join("sleep")).unwrap();
        std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY sleep /sleep\n").unwrap();
        let image = format!("localhost/{}:1", case.name("bare"));
        case.call("containers::images::build", json!(["bare", {"tag": image}])).unwrap();
        let name = case.name("without-shell");
        let spec = json!({"image": image, "command": ["/sleep", "1000"], "start": true});
        case.create(&name, spec).unwrap();
        let hasty = case.with_timeout(Duration::from_millis(500));
        let error = hasty.call("containers::exec", json!([name, ["/sleep", "777"]])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout, "{case}: {error}");
        assert_eq!(error.details.get("ended"), Some(&Value::Bool(false)), "{case}: {error:?}");
        assert!(error.hint.unwrap().contains("the container needs `sh`"), "{case}");
        case.call("containers::remove", json!([name, {"force": true}])).unwrap();
    }
}

#[test]
fn what_it_wrote() {
    everywhere(|case| {
        let name = case.name("logs");
        let script = "echo one; echo two >&2; echo three";
        case.create(&name, json!({"command": ["sh", "-c", script], "start": true})).unwrap();
        let it = case.call("containers::wait", json!([name])).unwrap();
        assert_eq!((int(&it, "exit_code"), text(&it, "state")), (0, "exited"), "{case}");
        let lines = |options| {
            let all = case.call("containers::logs", json!([name, options])).unwrap();
            list(&all).iter().map(|it| text(it, "line").to_owned()).collect::<Vec<_>>()
        };
        let mut all = lines(json!({}));
        all.sort();
        assert_eq!(all, ["one", "three", "two"], "{case}");
        assert_eq!(lines(json!({"stream": "stderr"})), ["two"], "{case}");
        assert_eq!(lines(json!({"grep": "^t", "stream": "stdout"})), ["three"], "{case}");
        assert_eq!(lines(json!({"follow": "10s", "until_match": "one"})).last().unwrap(), "one", "{case}");
        assert_eq!(lines(json!({"lines": 1})).len(), 1, "{case}");
        let it = case.call("containers::logs", json!([name])).unwrap();
        assert!(text(&list(&it)[0], "at").starts_with("20"), "{case}");
        let error = case.call("containers::logs", json!([name, {"grep": "("}])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
    });
}

#[test]
fn how_it_ended() {
    everywhere(|case| {
        let name = case.name("ended");
        case.create(&name, json!({"command": ["sh", "-c", "exit 3"], "start": true})).unwrap();
        let it = case.call("containers::wait", json!([name])).unwrap();
        assert_eq!(int(&it, "exit_code"), 3, "{case}");
        let error = case.call("containers::stats", json!([name])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{case}: {error}");
        let error = case.call("containers::kill", json!([name])).unwrap_err();
        assert_eq!((error.kind, error.nothing_happened), (ErrorKind::Conflict, true), "{case}: {error}");
        let error = case.call("containers::wait", json!([name, {"until": "healthy"}])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{case}: {error}");
        let absent = case.name("absent");
        let gone = case.call("containers::wait", json!([absent, {"until": "removed"}])).unwrap();
        assert_eq!(gone, Value::Unit);
    });
}

#[test]
fn restarting_and_killing() {
    everywhere(|case| {
        let name = case.name("restart");
        case.create(&name, json!({"command": "sleep 1000", "start": true})).unwrap();
        let before = case.call("containers::get", json!([name])).unwrap();
        let it = case.call("containers::restart", json!([name])).unwrap();
        assert_ne!(text(&it, "started_at"), text(&before, "started_at"), "{case}");
        match case.call("containers::stats", json!([name])) {
            Ok(stats) => {
                assert!(
                    int(&stats, "memory_bytes") > 0 && int(&stats, "processes") >= 1,
                    "{case}: {stats:?}"
                );
            }
            // Without root and with control groups v1 nothing is counted.
            Err(error) => {
                assert_eq!((case.kind(), error.kind), (Some(Kind::RootlessPodman), ErrorKind::Unavailable));
            }
        }
        case.call("containers::kill", json!([name])).unwrap();
        let it = case.call("containers::wait", json!([name])).unwrap();
        assert_eq!(int(&it, "exit_code"), 137, "{case}");
    });
}

#[test]
fn networks_and_volumes() {
    everywhere(|case| {
        let (net, name) = (case.name("net"), case.name("joined"));
        let octet = case.octet();
        let options = json!({"subnet": format!("10.77.{octet}.0/24"), "labels": {"a": "b"}});
        let made = case.call("containers::networks::ensure", json!([net, options])).unwrap();
        assert!(flag(&made, "changed"));
        let again = case.call("containers::networks::ensure", json!([net, options])).unwrap();
        assert_eq!((flag(&again, "changed"), text(&again, "id")), (false, text(&made, "id")), "{case}");
        let error =
            case.call("containers::networks::ensure", json!([net, {"subnet": "10.78.0.0/24"}])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict);
        assert!(error.message.contains(&format!("10.77.{octet}.0/24 → 10.78.0.0/24")), "{case}: {error}");

        let networks = json!({net.as_str(): {"aliases": ["db"], "ipv4_address": format!("10.77.{octet}.9")}});
        let spec = json!({"command": "sleep 1000", "networks": networks});
        case.ensure(&name, spec.clone()).unwrap();
        assert!(!flag(&case.ensure(&name, spec).unwrap(), "changed"), "{case}: networks are compared");
        let error = case.call("containers::networks::remove", json!([net])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{case}: {error}");
        case.call("containers::remove", json!([name, {"force": true}])).unwrap();
        assert_eq!(case.call("containers::networks::remove", json!([net])).unwrap(), Value::Bool(true));
        assert_eq!(
            case.call("containers::networks::remove", json!([net])).unwrap(),
            Value::Bool(false),
            "{case}"
        );

        let volume = case.name("data");
        let made = case.call("containers::volumes::ensure", json!([volume, {"labels": {"a": "b"}}])).unwrap();
        assert!(flag(&made, "changed") && text(&made, "path").contains(&volume), "{case}");
        let again = case.call("containers::volumes::ensure", json!([volume])).unwrap();
        assert!(!flag(&again, "changed"));
        let listed = case.call("containers::volumes::list", json!([])).unwrap();
        assert!(list(&listed).iter().any(|it| text(it, "name") == volume), "{case}");
        assert_eq!(case.call("containers::volumes::remove", json!([volume])).unwrap(), Value::Bool(true));
        assert_eq!(
            case.call("containers::volumes::remove", json!([volume])).unwrap(),
            Value::Bool(false),
            "{case}"
        );
    });
}

#[test]
fn images() {
    everywhere(|case| {
        let listed = case.call("containers::images::list", json!([{"name": "busybox"}])).unwrap();
        assert!(
            list(&listed).iter().any(|it| list(it.get("names").unwrap()).contains(&Value::from(IMAGE))),
            "{case}"
        );

        let context = case.dir().join("site");
        std::fs::create_dir(&context).unwrap();
        let tag = format!("localhost/{}:1", case.name("built"));
        let build = || case.call("containers::images::build", json!(["site", {"tag": tag}]));
        let error = build().unwrap_err();
        assert_eq!((error.kind, error.nothing_happened), (ErrorKind::NotFound, true), "{case}: {error}");
        std::fs::write(context.join("Dockerfile"), format!("FROM {IMAGE}\nLABEL made=here\n")).unwrap();
        let made = build().unwrap();
        assert!(flag(&made, "changed") && !text(&made, "id").is_empty(), "{case}");
        assert_eq!(
            case.call("containers::images::remove", json!([tag])).unwrap(),
            Value::Bool(true),
            "{case}"
        );
        assert_eq!(
            case.call("containers::images::remove", json!([tag])).unwrap(),
            Value::Bool(false),
            "{case}"
        );
        let error = case.call("containers::images::load", json!(["absent.tar"])).unwrap_err();
        assert_eq!((error.kind, error.nothing_happened), (ErrorKind::NotFound, true));
    });
}

#[test]
fn wrong_names_and_options_reach_no_engine() {
    everywhere(|case: &Case| {
        for (operation, args, says) in [
            ("containers::get", json!(["../images/json"]), "is no name"),
            ("containers::create", json!(["x", {}]), "option `image` is missing"),
            (
                "containers::create",
                json!(["x", {"image": IMAGE, "restrat": "no"}]),
                "unknown option `restrat`",
            ),
            (
                "containers::create",
                json!(["x", {"image": IMAGE, "depends_on": []}]),
                "`depends_on` is not taken here",
            ),
            ("containers::create", json!(["x", {"image": IMAGE, "ports": ["80:80:80:80"]}]), "is no port"),
            ("containers::create", json!(["x", {"image": IMAGE, "ports": ["1-3:1-2"]}]), "is no port"),
            ("containers::create", json!(["x", {"image": IMAGE, "volumes": ["/a:b"]}]), "is no volume"),
            ("containers::create", json!(["x", {"image": IMAGE, "volumes": ["/a:/b:rr"]}]), "is none of"),
            ("containers::create", json!(["x", {"image": IMAGE, "devices": ["dri"]}]), "is no device"),
            ("containers::create", json!(["x", {"image": IMAGE, "restart": "on-failure:x"}]), "is none of"),
            ("containers::create", json!(["x", {"image": IMAGE, "environment": ["A"]}]), "has no value"),
            ("containers::create", json!(["x", {"image": IMAGE, "cpus": 0}]), "no number of processors"),
            ("containers::create", json!(["x", {"image": IMAGE, "labels": {"hob.x": "1"}}]), "hob's own"),
            (
                "containers::create",
                json!(["x", {"image": IMAGE, "network_mode": "container:vpn", "ports": [80]}]),
                "publishes no ports",
            ),
            (
                "containers::create",
                json!(["x", {"image": IMAGE, "healthcheck": {"tset": "a"}}]),
                "unknown option `tset`",
            ),
            ("containers::images::pull", json!(["a b"]), "is no name of an image"),
        ] {
            let error = case.call(operation, args.clone()).unwrap_err();
            let wrong_mode = says.contains("publishes") && error.kind == ErrorKind::NotFound;
            assert!(error.kind == ErrorKind::Invalid || wrong_mode, "{case}: {args}: {error}");
            assert!(error.message.contains(says) || wrong_mode, "{case}: {args}: {error}");
        }
    });
}

/// A device of the machine that containers do not have, by a CDI name.
const CARD: &str = r#"{
    "cdiVersion": "0.3.0", "kind": "lab.example/card",
    "devices": [{"name": "one", "containerEdits": {
        "env": ["CARD=one"], "deviceNodes": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]
    }}]
}"#;

#[test]
fn devices_by_cdi_name() {
    everywhere(|case| {
        let name = case.name("card");
        let with = |device: &str| json!({"command": "sleep 1000", "start": true, "devices": [device]});
        if let Some(engine) = case.engine {
            std::fs::write(engine.cdi().join("lab.json"), CARD).unwrap();
        }
        let made = case.create(&name, with("lab.example/card=one"));
        match case.kind() {
            None => {
                let it = case.call("containers::inspect", json!([name])).unwrap();
                let requests = it.get("HostConfig").unwrap().get("DeviceRequests").unwrap();
                let ids = list(requests)[0].get("DeviceIDs").unwrap();
                assert_eq!(list(ids), [Value::from("lab.example/card=one")], "{made:?}");
            }
            Some(Kind::Podman | Kind::RootlessPodman) => {
                made.unwrap_or_else(|error| panic!("{case}: {error}"));
                let cmd = json!([
                    name,
                    [
                        "sh",
                        "-c",
                        "tr '\\0' '\\n' </proc/1/environ | grep CARD; test -c /dev/fuse && echo there"
                    ]
                ]);
                let said = case.call("containers::exec", cmd).unwrap();
                assert_eq!(text(&said, "stdout"), "CARD=one\nthere\n", "{case}");
                let error = case.create(&case.name("none"), with("lab.example/card=two")).unwrap_err();
                assert_eq!(error.kind, ErrorKind::NotFound, "{case}: {error}");
                assert!(error.hint.unwrap().contains("/etc/cdi"), "{case}");
            }
            // That of the lab is older than its support for such names.
            Some(Kind::Docker) => {
                let error = made.unwrap_err();
                assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
                assert!(error.hint.unwrap().contains("28.2"));
                let left = case.call("containers::list", json!([{"name": name}])).unwrap();
                assert_eq!(list(&left).len(), 0, "nothing is left behind");
            }
        }
    });
}
