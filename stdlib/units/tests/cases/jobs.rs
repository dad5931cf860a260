//! Starting, stopping, restarting: what jobs bring about, and what they fail with.

use std::time::Duration;

use hob_model::{ErrorKind, Value};
use hob_primitive::Probe;
use serde_json::json;

use crate::world::{ENDLESS, FAILING, SLEEPER, WORKING, everywhere, items, text, truth};

#[test]
fn a_service_goes_up_and_down() {
    everywhere(|w| {
        w.unit("up-down", SLEEPER);
        let started = w.call("start", json!(["up-down"]));
        assert_eq!(
            (text(&started, "unit"), text(&started, "sub")),
            ("up-down.service", "running"),
            "{}",
            w.name
        );
        assert!(truth(&started, "changed"));
        assert!(!truth(&w.call("start", json!(["up-down"])), "changed"), "{}: it is up", w.name);

        let status = w.status("up-down");
        assert_eq!(text(&status, "active"), "active");
        assert_eq!((text(&status, "load"), text(&status, "result")), ("loaded", "success"));
        assert_eq!((text(&status, "type"), text(&status, "description")), ("service", "Sleeps"));
        assert_eq!(text(&status, "path"), format!("{}/up-down.service", w.unit_dir()));
        assert_eq!(text(&status, "enabled"), "disabled");
        assert!(status.get("main_pid").and_then(Value::as_int).unwrap() > 1);
        assert_eq!(text(&status, "invocation_id").len(), 32);
        assert!(text(&status, "since").ends_with('Z'));
        assert!(!items(status.get("log").unwrap()).is_empty(), "{}: {status:?}", w.name);

        let stopped = w.call("stop", json!(["up-down.service"]));
        assert_eq!((text(&stopped, "active"), truth(&stopped, "changed")), ("inactive", true));
        assert!(!truth(&w.call("stop", json!(["up-down"])), "changed"), "{}: it is down", w.name);
        assert_eq!(w.status("up-down").get("main_pid"), Some(&Value::Unit));
    });
}

#[test]
fn a_oneshot_ends_well_or_fails() {
    everywhere(|w| {
        w.unit("oneshot-well", WORKING);
        assert_eq!(text(&w.call("start", json!(["oneshot-well"])), "sub"), "exited", "{}", w.name);

        w.unit("oneshot-fails", FAILING);
        let error = w.refused("start", json!(["oneshot-fails"]), ErrorKind::Failed);
        assert_eq!(error.message, "start oneshot-fails.service failed: exit-code, exit code 1", "{}", w.name);
        assert_eq!(error.details.get("exit_code"), Some(&Value::Int(1)));
        assert_eq!(error.details.get("job_result").and_then(Value::as_str), Some("failed"));
        let log = items(error.details.get("log").unwrap());
        assert!(
            w.user || log.iter().any(|line| line.as_str().unwrap().contains("about to fail")),
            "{}: {log:?}",
            w.name
        );
        assert!(!error.retryable);

        assert_eq!(text(&w.status("oneshot-fails"), "active"), "failed");
        assert_eq!(items(&w.call("reset_failed", json!(["oneshot-fails"]))).len(), 1);
        assert_eq!(items(&w.call("reset_failed", json!(["oneshot-fails"]))).len(), 0);
        assert_eq!(text(&w.status("oneshot-fails"), "active"), "inactive");
    });
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    everywhere(|w| {
        w.unit("traefik", SLEEPER);
        for operation in
            ["start", "stop", "restart", "try_restart", "reload", "enable", "disable", "status", "cat"]
        {
            let error = w.refused(operation, json!(["treafik"]), ErrorKind::NotFound);
            assert_eq!(error.message, "there is no unit treafik.service", "{}: {operation}", w.name);
            assert_eq!(
                error.hint.as_deref(),
                Some("did you mean \"traefik.service\"?"),
                "{}: {operation}",
                w.name
            );
            assert!(error.nothing_happened);
        }
        let error = w.refused("start", json!(["quite-another-thing"]), ErrorKind::NotFound);
        assert!(error.hint.unwrap().contains("units::list"), "{}", w.name);
    });
}

#[test]
fn names_that_cannot_be() {
    everywhere(|w| {
        for (name, says) in [
            ("", "it has 1 to 255 characters"),
            ("a b", "it has the character ' '"),
            ("a/b", "it has the character '/'"),
            ("ngi*", "patterns are for units::list"),
            ("nginx.servcie", "did you mean \"nginx.service\"?"),
            ("nginx.conf", "there is no type \"conf\""),
            (".service", "it has 1 to 255 characters"),
        ] {
            let error = w.refused("start", json!([name]), ErrorKind::Invalid);
            let said = format!("{} {}", error.message, error.hint.unwrap_or_default());
            assert!(said.contains(says), "{name}: {said}");
        }
        let long = "a".repeat(250);
        w.refused("start", json!([long]), ErrorKind::Invalid);
    });
}

#[test]
fn a_dependency_that_fails() {
    everywhere(|w| {
        w.unit("needed-by-dependent", FAILING);
        w.unit(
            "dependent",
            "[Unit]\nRequires=needed-by-dependent.service\nAfter=needed-by-dependent.service\n\
             [Service]\nType=exec\nExecStart=/bin/sleep 1000\n",
        );
        let error = w.refused("start", json!(["dependent"]), ErrorKind::Failed);
        assert_eq!(error.message, "start dependent.service failed because of a dependency", "{}", w.name);
        let related = w.call("dependencies", json!(["dependent"]));
        let direct =
            items(&related).iter().find(|it| text(it, "name") == "needed-by-dependent.service").unwrap();
        assert_eq!((text(direct, "of"), direct.get("depth")), ("dependent.service", Some(&Value::Int(1))));

        // What is not needed any more is not loaded, so one that runs shows who needs whom.
        w.unit("needed", WORKING);
        w.unit("needing", &format!("[Unit]\nRequires=needed.service\nAfter=needed.service\n{WORKING}"));
        w.call("start", json!(["needing"]));
        let reverse = w.call("dependencies", json!(["needed", {"direction": "reverse"}]));
        assert!(items(&reverse).iter().any(|it| text(it, "name") == "needing.service"), "{}", w.name);
    });
}

#[test]
fn a_condition_that_does_not_hold_is_told() {
    everywhere(|w| {
        w.unit("conditional", &format!("[Unit]\nConditionPathExists=/no/such/path\n{WORKING}"));
        let outcome = w.call("start", json!(["conditional"]));
        assert_eq!(text(&outcome, "skipped"), "a condition in its file does not hold", "{}", w.name);
        assert_eq!((text(&outcome, "active"), truth(&outcome, "changed")), ("inactive", false));
    });
}

#[test]
fn reloading() {
    everywhere(|w| {
        w.unit("not-reloadable", SLEEPER);
        w.refused("reload", json!(["not-reloadable"]), ErrorKind::Conflict);
        w.call("start", json!(["not-reloadable"]));
        let error = w.refused("reload", json!(["not-reloadable"]), ErrorKind::Invalid);
        assert!(error.message.contains("reload"), "{}: {}", w.name, error.message);
        w.call("stop", json!(["not-reloadable"]));

        w.unit("reloadable", &SLEEPER.replace("[Install]", "ExecReload=/bin/true\n[Install]"));
        w.call("start", json!(["reloadable"]));
        assert_eq!(text(&w.call("reload", json!(["reloadable"])), "active"), "active");
        w.call("stop", json!(["reloadable"]));
    });
}

#[test]
fn a_restart_is_done_once_also_after_a_crash() {
    everywhere(|w| {
        w.unit("restarted", SLEEPER);
        w.call("start", json!(["restarted"]));
        let args = || json!(["restarted"]);
        let id = || text(&w.status("restarted"), "invocation_id").to_owned();

        // The crash came before the restart: the probe says so, and it is done.
        let noted = w.intent("restart", args());
        let before = id();
        assert_eq!(w.probe("restart", args(), &noted), Probe::NotDone, "{}", w.name);
        assert_eq!(id(), before);

        // It came after: the probe adopts it, and nothing happens again.
        w.harness
            .call_noted(&hob_std_units::primitive(), "units::restart", w.meant(args()), noted.clone())
            .unwrap();
        let after = id();
        assert_ne!(after, before);
        for _ in 0..2 {
            let Probe::Done(outcome) = w.probe("restart", args(), &noted) else {
                panic!("{}: not adopted", w.name)
            };
            assert_eq!(text(&outcome, "invocation_id"), after);
        }
        assert_eq!(id(), after);

        // One that was down has no activation to compare with but none.
        w.call("stop", json!(["restarted"]));
        let noted = w.intent("try_restart", args());
        assert!(matches!(w.probe("try_restart", args(), &noted), Probe::Done(_)), "{}", w.name);
        assert!(!truth(&w.call("try_restart", args()), "changed"));
        assert!(truth(&w.call("restart", args()), "changed"));
        let noted = w.intent("try_restart", args());
        assert_eq!(w.probe("try_restart", args(), &noted), Probe::NotDone);
        assert!(truth(&w.call("try_restart", args()), "changed"), "{}", w.name);
        w.call("stop", args());
    });
}

#[test]
fn a_restart_that_failed_is_adopted_as_a_failure() {
    everywhere(|w| {
        w.unit("restart-fails", FAILING);
        let noted = w.intent("restart", json!(["restart-fails"]));
        w.refused("restart", json!(["restart-fails"]), ErrorKind::Failed);
        let Probe::Failed(error) = w.probe("restart", json!(["restart-fails"]), &noted) else {
            panic!("{}: not adopted", w.name)
        };
        assert!(error.message.contains("exit code 1"), "{}: {}", w.name, error.message);
    });
}

#[test]
fn a_job_that_takes_too_long_goes_on_and_one_can_stop_it() {
    everywhere(|w| {
        w.unit("endless", ENDLESS);
        let hasty = w.with_timeout(Duration::from_millis(300));
        let error = hasty.refused("start", json!(["endless"]), ErrorKind::Timeout);
        assert_eq!(error.hint.as_deref(), Some("the job goes on in systemd; units::status shows it"));
        assert_eq!(text(&w.status("endless"), "active"), "activating", "{}", w.name);

        // Who waits for it meanwhile is told that somebody wanted the opposite.
        std::thread::scope(|threads| {
            let waiting = threads.spawn(|| w.again("waiting").try_call("start", json!(["endless"])));
            // It is stopped until the other has noticed, for it may come to wait only after the first stop.
            // Either may cancel the other.
            while !waiting.is_finished() {
                drop(w.again("stopping").try_call("stop", json!(["endless"])));
            }
            let error = waiting.join().unwrap().unwrap_err();
            assert_eq!(error.kind, ErrorKind::Cancelled, "{}: {error:?}", w.name);
        });
    });
}

#[test]
fn a_cancel_ends_the_waiting() {
    everywhere(|w| {
        w.unit("endless-cancelled", ENDLESS);
        std::thread::scope(|threads| {
            let waiting = threads.spawn(|| w.try_call("start", json!(["endless-cancelled"])));
            w.harness.cancel().cancel();
            let error = waiting.join().unwrap().unwrap_err();
            assert_eq!(error.kind, ErrorKind::Cancelled, "{}: {error:?}", w.name);
        });
        w.again("stopping").call("stop", json!(["endless-cancelled"]));
    });
}
