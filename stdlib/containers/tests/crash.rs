//! hob dies at any moment of `containers::create` and `containers::restart`: afterwards there is exactly one.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // tests

mod world;

use hob_model::Value;
use hob_primitive::Probe;
use hob_std_containers::fake::Strikes;
use hob_std_containers::port::{EngineError, Fault};
use serde_json::{Value as Json, json};
use world::{Case, engines, everywhere, int, list, text, whole};

fn lost() -> EngineError {
    EngineError::new(Fault::Lost, "hob died here")
}

/// What a run does after a crash: it asks, and does it again when it was not done.
fn recover(case: &Case, operation: &str, args: Json, noted: Value) -> Value {
    let primitive = hob_std_containers::primitives().remove(0);
    match case.harness().probe(&primitive, operation, args.clone(), noted.clone()).unwrap() {
        Probe::Done(value) => value,
        Probe::NotDone => case.harness().call_noted(&primitive, operation, args, noted).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn only_one(case: &Case, name: &str) -> Value {
    let all = case.call("containers::list", json!([{"name": name}])).unwrap();
    assert_eq!(list(&all).len(), 1, "{all:?}");
    list(&all)[0].clone()
}

#[test]
fn making_one_with_the_fake() {
    for start in [false, true] {
        let args = json!(["web", whole(json!({"command": "sleep 1", "start": start}))]);
        for (at, when) in (0..6).flat_map(|at| [(at, Strikes::Before), (at, Strikes::After)]) {
            let case = Case::fake();
            let fake = case.fake.clone().unwrap();
            fake.faults().crash_at(at, when, lost());
            let died = case.call("containers::create", args.clone());
            fake.faults().revive();
            let value = recover(&case, "containers::create", args.clone(), Value::Unit);
            let one = only_one(&case, "web");
            assert_eq!(text(&one, "id"), text(&value, "id"), "{at} {when:?}");
            assert_eq!(
                text(&one, "state"),
                if start { "running" } else { "created" },
                "{at} {when:?}: {died:?}"
            );
            // And once more, as if the outcome had been lost again.
            recover(&case, "containers::create", args.clone(), Value::Unit);
            only_one(&case, "web");
        }
    }
}

#[test]
fn making_one_with_real_engines() {
    for case in engines().map(Case::of) {
        made_and_adopted(&case);
    }
}

fn made_and_adopted(case: &Case) {
    let name = case.name("crashed");
    let args = json!([name, whole(json!({"command": "sleep 1000", "start": true}))]);
    // Killed before the engine was asked.
    let first = recover(case, "containers::create", args.clone(), Value::Unit);
    // Killed after it had answered.
    let again = recover(case, "containers::create", args.clone(), Value::Unit);
    assert_eq!(first, again);
    // Killed between making and starting: it is there, and was never started.
    case.call("containers::remove", json!([name, {"force": true}])).unwrap();
    let primitive = hob_std_containers::primitives().remove(0);
    let stopped = json!([name, whole(json!({"command": "sleep 1000"}))]);
    let made = case.harness().call(&primitive, "containers::create", stopped).unwrap();
    let adopted = recover(case, "containers::create", args, Value::Unit);
    assert_eq!(text(&adopted, "id"), text(&made, "id"));
    assert_eq!(text(&only_one(case, &name), "state"), "running");
    // Another effect is another container.
    let other =
        case.with_key("other").call("containers::create", json!([case.name("another"), whole(json!({}))]));
    assert_ne!(text(&other.unwrap(), "id"), text(&made, "id"));
}

#[test]
fn restarting() {
    everywhere(|case| {
        let name = case.name("again");
        case.create(&name, json!({"command": "sleep 1000", "start": true})).unwrap();
        let primitive = hob_std_containers::primitives().remove(0);
        let args = json!([name]);
        let noted = case.harness().intent(&primitive, "containers::restart", args.clone()).unwrap();
        // Killed before: it is done, once.
        let first = recover(case, "containers::restart", args.clone(), noted.clone());
        // Killed after: it is adopted, and not done again.
        let again = recover(case, "containers::restart", args.clone(), noted);
        assert_eq!(first, again, "{case}");
        let now = case.call("containers::get", args.clone()).unwrap();
        assert_eq!(text(&now, "started_at"), text(&first, "started_at"), "{case}");
        assert_eq!(int(&now, "restart_count"), 0, "{case}");

        let noted = case.harness().intent(&primitive, "containers::restart", args.clone()).unwrap();
        case.call("containers::remove", json!([name, {"force": true}])).unwrap();
        let probe = case.harness().probe(&primitive, "containers::restart", args, noted).unwrap();
        assert!(matches!(probe, Probe::Unknown(_)), "{case}: {probe:?}");
    });
}

/// An engine that is gone after it acted: nobody may believe that nothing happened, and do it again.
#[test]
fn nothing_happened_is_said_only_while_it_is_so() {
    const ACTING: [&str; 6] = ["create", "start", "stop", "restart", "rename", "exec_start"];
    let gone = || EngineError::new(Fault::Refused, "connection refused");
    let spec = |command: &str| whole(json!({"command": command, "start": true, "mem_limit": "64M"}));
    let mut seen = 0;
    for (operation, args) in [
        ("containers::exec", json!(["web", ["true"]])),
        ("containers::restart", json!(["web"])),
        ("containers::create", json!(["other", spec("sleep 1")])),
        ("containers::ensure", json!(["web", spec("sleep 2")])),
        ("containers::ensure", json!(["other", spec("sleep 1")])),
    ] {
        let world = || {
            let case = Case::fake();
            case.create("web", json!({"command": "sleep 1", "start": true})).unwrap();
            drop(case.fake.as_ref().unwrap().faults().take_calls());
            case
        };
        let whole = world();
        whole.call(operation, args.clone()).unwrap();
        let calls = whole.fake.as_ref().unwrap().faults().take_calls();
        for at in 0..calls.len() {
            let case = world();
            case.fake.as_ref().unwrap().faults().crash_at(at, Strikes::Before, gone());
            let Err(error) = case.call(operation, args.clone()) else { continue };
            if calls[..at].iter().any(|call| ACTING.contains(&call.as_str())) {
                seen += 1;
                assert!(!error.nothing_happened, "{operation} {args}: {calls:?} at {at}: {error:?}");
            }
        }
    }
    assert!(seen > 8, "{seen}");
}
