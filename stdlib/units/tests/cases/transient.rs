//! Commands as transient services and timers, and what a crash leaves of them.

use std::time::Duration;

use hob_model::{ErrorKind, Value};
use hob_primitive::Probe;
use hob_std_units::primitive;
use serde_json::json;

use crate::world::{SLEEPER, World, everywhere, items, names, text, truth};

/// How many units there are that were made for commands of this name.
fn count(w: &World, pattern: &str) -> usize {
    names(&w.call("list", json!([pattern, {"all": true}]))).len()
}

#[test]
fn a_command_is_run_to_its_end() {
    everywhere(|w| {
        let done = w.call("run", json!([["/bin/echo", "two words", "$HOME", "%n"], {"name": "run-done"}]));
        assert_eq!(
            (text(&done, "unit"), text(&done, "result")),
            ("run-done.service", "success"),
            "{}",
            w.name
        );
        assert_eq!(done.get("exit_code"), Some(&Value::Int(0)));
        let log = items(done.get("log").unwrap());
        let echoed = log.iter().any(|line| line.as_str().unwrap().ends_with(": two words $HOME %n"));
        assert!(w.user || echoed, "{}: nothing is expanded: {log:?}", w.name);

        let error =
            w.again("fails").refused("run", json!(["/bin/false", {"name": "run-fails"}]), ErrorKind::Failed);
        assert_eq!(error.details.get("exit_code"), Some(&Value::Int(1)), "{}: {error:?}", w.name);
        let error = w.again("absent").refused(
            "run",
            json!(["/no/such/program", {"name": "run-absent"}]),
            ErrorKind::Failed,
        );
        assert_eq!(error.details.get("exit_code"), Some(&Value::Int(203)), "{}: {error:?}", w.name);
    });
}

#[test]
fn a_command_without_a_name_gets_that_of_its_effect() {
    everywhere(|w| {
        let one = w.again("an effect").call("run", json!(["/bin/true"]));
        let same = w.again("an effect").call("run", json!(["/bin/true"]));
        let other = w.again("another effect").call("run", json!(["/bin/true"]));
        assert_eq!(text(&one, "invocation_id"), text(&same, "invocation_id"), "{}", w.name);
        assert_ne!(text(&one, "unit"), text(&other, "unit"));
        assert!(text(&one, "unit").starts_with("hob-"));
    });
}

#[test]
fn a_server_is_not_waited_for() {
    everywhere(|w| {
        let options = json!({"name": "run-server", "wait": false, "description": "Serves",
            "properties": {"MemoryMax": "64M", "Nice": 5, "TimeoutStopSec": "2s", "CPUQuota": "50%", "LimitNOFILE": 512},
            "env": {"A": "b c"}, "cwd": "/"});
        let running = w.call("run", json!(["/bin/sleep 1000", options]));
        assert_eq!(text(&running, "sub"), "running", "{}", w.name);
        let status = w.status("run-server");
        assert_eq!(
            (text(&status, "description"), text(&status, "enabled")),
            ("Serves", "transient"),
            "{}",
            w.name
        );

        // A unit that runs is nobody else's to replace; one that ended is.
        let other = w.again("other");
        other.refused("run", json!(["/bin/true", {"name": "run-server"}]), ErrorKind::Conflict);
        w.call("stop", json!(["run-server"]));
        other.call("run", json!(["/bin/true", {"name": "run-server"}]));
        let third = w.again("third").call("run", json!(["/bin/true", {"name": "run-server"}]));
        assert_eq!(text(&third, "sub"), "exited", "{}", w.name);

        w.unit("run-in-the-way", SLEEPER);
        w.again("way").refused("run", json!(["/bin/true", {"name": "run-in-the-way"}]), ErrorKind::Conflict);
    });
}

#[test]
fn what_takes_too_long_is_stopped() {
    everywhere(|w| {
        let hasty = w.with_timeout(Duration::from_millis(300));
        let error =
            hasty.refused("run", json!(["/bin/sleep 1000", {"name": "run-slow"}]), ErrorKind::Timeout);
        assert_eq!(error.hint.as_deref(), Some("it was stopped"), "{}", w.name);
        assert_eq!(count(w, "run-slow.service"), 0, "{}", w.name);
    });
}

#[test]
fn a_timer_for_a_command() {
    everywhere(|w| {
        let options = json!({"name": "run-timed", "on_active": "1h", "on_calendar": ["Sun 03:00", "daily"],
            "persistent": true, "accuracy": "1s", "random_delay": "5m"});
        let timed = w.call("run", json!(["/bin/true", options.clone()]));
        assert_eq!(text(&timed, "timer"), "run-timed.timer", "{}", w.name);
        assert!(text(&timed, "next").ends_with('Z'));
        let timers = w.call("timers", json!([]));
        assert!(names(&timers).contains(&"run-timed.timer"), "{}: {timers:?}", w.name);

        // Done again by the same effect it is the same timer; another's is in the way.
        w.call("run", json!(["/bin/true", options.clone()]));
        assert!(matches!(
            w.probe("run", json!(["/bin/true", options.clone()]), &Value::Unit),
            Probe::Done(_)
        ));
        w.again("other").refused("run", json!(["/bin/true", options]), ErrorKind::Conflict);
        w.call("stop", json!(["run-timed.timer"]));
        w.refused("run", json!(["/bin/true", {"on_calendar": "some day"}]), ErrorKind::Invalid);
    });
}

/// The crash at every point between the intent and the outcome: exactly one unit, and one activation of it.
#[test]
fn a_crash_leaves_exactly_one() {
    everywhere(|w| {
        for (point, args) in [
            ("ended", json!(["/bin/true"])),
            ("runs", json!(["/bin/sleep 1000", {"wait": false}])),
            ("timer", json!(["/bin/true", {"on_active": "1h"}])),
        ] {
            let key = format!("crash {point}");
            let before = w.again(&key);
            let noted = before.intent("run", args.clone());
            assert_eq!(before.probe("run", args.clone(), &noted), Probe::NotDone, "{}: {point}", w.name);
            let made = before
                .harness
                .call_noted(&primitive(), "units::run", w.meant(args.clone()), noted.clone())
                .unwrap();
            let (unit, id) = (text(&made, "unit"), made.get("invocation_id").cloned());
            for _ in 0..2 {
                let after = w.again(&key);
                let adopted = match after.probe("run", args.clone(), &noted) {
                    Probe::Done(adopted) => adopted,
                    other => panic!("{}: {point} was not adopted: {other:?}", w.name),
                };
                assert_eq!(adopted.get("invocation_id").cloned(), id, "{}: {point}", w.name);
            }
            let stem = unit.trim_end_matches(".service");
            assert_eq!(count(w, &format!("{stem}.service")), 1, "{}: {point}", w.name);
            w.call("stop", json!([format!("{stem}.{}", if point == "timer" { "timer" } else { "service" })]));
        }
    });
}

#[test]
fn a_failure_is_adopted_too() {
    everywhere(|w| {
        let args = || json!(["/bin/false"]);
        let w = w.again("adopted failure");
        let noted = w.intent("run", args());
        w.refused("run", args(), ErrorKind::Failed);
        let error = match w.probe("run", args(), &noted) {
            Probe::Failed(error) => error,
            other => panic!("{}: {other:?}", w.name),
        };
        assert_eq!(error.details.get("exit_code"), Some(&Value::Int(1)), "{}", w.name);
    });
}

#[test]
fn what_cannot_be_known_is_asked() {
    everywhere(|w| {
        let args = || json!(["/bin/true"]);
        let w = w.again("unknown");
        let noted = w.intent("run", args());
        // Another life of the machine.
        let other = Value::map([("manager", Value::Int(1)), ("at", noted.get("at").unwrap().clone())]);
        assert!(matches!(w.probe("run", args(), &other), Probe::Unknown(_)), "{}", w.name);
        // So late that it may have been cleared away.
        w.harness.clock().advance(Duration::from_secs(3700));
        assert!(matches!(w.probe("run", args(), &noted), Probe::Unknown(_)), "{}", w.name);
        // A unit of that name that is not this effect's.
        let named = || json!(["/bin/true", {"name": "run-others"}]);
        w.again("others").call("run", named());
        assert!(matches!(w.probe("run", named(), &noted), Probe::Unknown(_)), "{}", w.name);
    });
}

/// What ended long ago makes room; what has just ended stays for those who may ask.
#[test]
fn units_that_ended_are_kept_for_a_while() {
    let fake = World::new("fake", std::sync::Arc::new(hob_std_units::fake::Fake::new()));
    let first = fake.again("first");
    let made = first.call("run", json!(["/bin/true"]));
    let stem = text(&made, "unit");
    let second = fake.again("second");
    second.call("run", json!(["/bin/true"]));
    assert_eq!(count(&fake, stem), 1);
    second.harness.clock().advance(hob_std_units::KEPT + Duration::from_secs(600));
    second.call("run", json!(["/bin/true", {"name": "third"}]));
    assert_eq!(count(&fake, "hob-*"), 0);
    assert_eq!(count(&fake, "third.service"), 1, "one that a script named is the script's");
}

#[test]
fn a_dry_run_goes_on_in_the_shape_of_the_real_result() {
    everywhere(|w| {
        let all = primitive();
        w.unit("modelled", SLEEPER);
        for (operation, args) in [
            ("start", json!(["modelled"])),
            ("restart", json!(["modelled"])),
            ("try_restart", json!(["modelled"])),
            ("enable", json!(["modelled"])),
            ("disable", json!(["modelled"])),
            ("write_unit", json!(["modelled", SLEEPER])),
            ("run", json!(["/bin/true"])),
            ("reset_failed", json!(["modelled"])),
            ("stop", json!(["modelled"])),
            ("remove_unit", json!(["modelled"])),
        ] {
            let name = format!("units::{operation}");
            let op = all.operations.iter().find(|it| it.name == name).unwrap();
            let Value::Array(values) = Value::from_json(args.clone()).unwrap() else { unreachable!() };
            let modelled = op.model.unwrap()(&w.harness.context(Value::Unit), op.read_args(values)).unwrap();
            let real = w.call(operation, args);
            match (&modelled, &real) {
                (Value::Map(modelled), Value::Map(real)) => {
                    assert!(
                        modelled.keys().eq(real.keys()),
                        "{}: {operation}: {modelled:?} {real:?}",
                        w.name
                    );
                }
                (modelled, real) => assert_eq!(modelled.type_name(), real.type_name(), "{operation}"),
            }
        }
        assert!(truth(&w.call("write_unit", json!(["modelled", SLEEPER])), "changed"));
    });
}
