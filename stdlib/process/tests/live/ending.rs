//! How programs end, and what is left of them: nothing.

use std::time::{Duration, Instant};

use hob_model::{ErrorKind, Value};
use hob_std_process::{ProcessPort, primitive};
use serde_json::json;

use crate::{alive, eventually, live, run, shell, text, world};

#[test]
fn a_timeout_ends_children_and_grandchildren() {
    let harness = world().timeout(Duration::from_millis(300));
    let text = "sh -c 'sleep 1001 & sleep 1002' & sleep 1003 & (setsid sleep 1004 &) ; sleep 1005";
    let error = shell(&harness, text, json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert_eq!(alive(&harness), Vec::<u32>::new());
}

#[test]
fn what_ignores_sigterm_gets_sigkill_after_the_grace() {
    let harness = world().timeout(Duration::from_millis(200));
    let deaf = "trap '' TERM; echo ready; while :; do sleep 1006; done";
    let error = shell(&harness, deaf, json!({"grace": "200ms"})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert_eq!(text(&error.details, "signal"), "SIGKILL");
    assert_eq!(text(&error.details, "stdout"), "ready\n", "what it wrote before is told");
    assert_eq!(alive(&harness), Vec::<u32>::new());
}

#[test]
fn a_stopped_process_is_ended_too() {
    let harness = world().timeout(Duration::from_millis(200));
    let begun = Instant::now();
    let error = shell(&harness, "kill -STOP $$", json!({})).unwrap_err();
    assert_eq!((error.kind, text(&error.details, "signal").as_str()), (ErrorKind::Timeout, "SIGTERM"));
    assert!(begun.elapsed() < Duration::from_secs(8), "it did not wait for the grace");
}

#[test]
fn a_caller_that_goes_away_leaves_nothing_running() {
    let harness = world();
    let primitive = primitive();
    let operation = &primitive.operations[1];
    let hob_primitive::Handler::Async(handler) = operation.handler else { panic!("run is async") };
    let args = operation.read_args(vec![Value::from("sleep 1007 & sleep 1008")]);
    let future = handler(harness.context(Value::Unit), args);
    let task = harness.runtime().spawn(future);
    eventually("the start", || alive(&harness).len() == 3);
    task.abort();
    eventually("the end", || alive(&harness).is_empty());
}

#[test]
fn the_end_of_hob_leaves_nothing_running() {
    let harness = world();
    let key = harness.context(Value::Unit).key().to_owned();
    let primitive = primitive();
    let operation = &primitive.operations[1];
    let hob_primitive::Handler::Async(handler) = operation.handler else { panic!("run is async") };
    let args = operation.read_args(vec![Value::from("trap '' TERM; sleep 1009 & sleep 1010")]);
    harness.runtime().spawn(handler(harness.context(Value::Unit), args));
    eventually("the start", || live().alive(&key).unwrap().len() == 3);
    drop(harness);
    eventually("the end", || live().alive(&key).unwrap().is_empty());
}

#[test]
fn what_is_left_in_the_session_is_ended_or_kept() {
    let harness = world();
    // It holds the pipes, which must not keep the call from returning.
    let it = shell(&harness, "echo out; sleep 1011 &", json!({})).unwrap();
    assert_eq!((text(&it, "stdout").as_str(), it.get("left")), ("out\n", Some(&Value::Array(vec![]))));
    assert_eq!(alive(&harness), Vec::<u32>::new());

    let it = shell(&harness, "echo out; sleep 1012 &", json!({"background": "keep"})).unwrap();
    let left = alive(&harness);
    assert_eq!(it.get("left"), Some(&Value::Array(left.iter().map(|pid| Value::from(*pid)).collect())));
    assert_eq!(left.len(), 1);
    assert_eq!(harness.call(&primitive(), "process::stop", json!([left[0]])), Ok(Value::Bool(true)));
    assert_eq!(alive(&harness), Vec::<u32>::new());
}

#[test]
fn a_daemon_that_left_its_session_lives_and_does_not_block() {
    let harness = world();
    let it = shell(
        &harness,
        "echo out; setsid sh -c 'touch up; exec sleep 1013' & while [ ! -e up ]; do :; done",
        json!({}),
    )
    .unwrap();
    assert_eq!(text(&it, "stdout"), "out\n");
    // It is no longer of the session, so its being there is no part of the result, but it is known by its effect.
    eventually("its own session", || alive(&harness).len() == 1);
    for pid in alive(&harness) {
        assert_eq!(harness.call(&primitive(), "process::stop", json!([pid])), Ok(Value::Bool(true)));
    }
}

#[test]
fn no_zombie_stays() {
    let harness = world();
    for _ in 0..5 {
        run(&harness, json!("true"), json!({})).unwrap();
        drop(shell(&harness, "exit 3", json!({})));
    }
    let own = std::process::id();
    let of_this_test =
        |p: &hob_std_process::port::Process| p.ppid == own && p.state == "zombie" && p.name == "true";
    assert!(!live().list().unwrap().iter().any(of_this_test));
}

#[test]
fn ended_by_a_signal() {
    let harness = world();
    let it = shell(&harness, "kill -KILL $$", json!({"check": false})).unwrap();
    assert_eq!((it.get("code"), text(&it, "signal").as_str()), (Some(&Value::Int(137)), "SIGKILL"));
    let error = shell(&harness, "kill -SEGV $$", json!({})).unwrap_err();
    assert_eq!(error.message, "/bin/sh was ended by SIGSEGV");
}
