//! `services` through its operations, over services in memory.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use hob_model::{ErrorKind, OpError, Value};
use hob_primitive::{Probe, Services};
use hob_std_services::FakeServices;
use hob_testkit::Harness;
use serde_json::{Value as Json, json};

fn world() -> (Harness, Arc<FakeServices>) {
    let services = Arc::new(FakeServices::default().with("db", &[]).with("app", &["db"]).with("other", &[]));
    (Harness::new().port(Arc::clone(&services) as Arc<dyn Services>), services)
}

fn call(harness: &Harness, name: &str, args: Json) -> Result<Value, OpError> {
    harness.call(&hob_std_services::primitive(), &format!("services::{name}"), args)
}

fn state(harness: &Harness, name: &str) -> String {
    let service = call(harness, "status", json!([name])).unwrap();
    service.get("state").and_then(Value::as_str).unwrap().to_owned()
}

#[test]
fn what_needs_a_service_stops_with_it_and_it_starts_after_what_it_needs() {
    let (harness, _) = world();
    let stopped = call(&harness, "stop", json!(["db"])).unwrap();
    assert_eq!(stopped, Value::Array(vec![Value::from("db"), Value::from("app")]));
    assert_eq!(["db", "app", "other"].map(|name| state(&harness, name)), ["stopped", "stopped", "ready"]);
    assert_eq!(call(&harness, "stop", json!(["db"])).unwrap(), Value::Array(vec![]));
    let kind = call(&harness, "wait_ready", json!(["app"])).unwrap_err().kind;
    assert_eq!(kind, ErrorKind::Failed);
    assert_eq!(call(&harness, "start", json!(["app"])).unwrap().get("ready"), Some(&Value::Bool(true)));
    assert_eq!(["db", "app"].map(|name| state(&harness, name)), ["ready", "ready"]);
}

#[test]
fn another_life_says_that_it_was_restarted() {
    let (harness, _) = world();
    let primitive = hob_std_services::primitive();
    let noted = harness.intent(&primitive, "services::restart", json!(["db"])).unwrap();
    let probe =
        |noted: &Value| harness.probe(&primitive, "services::restart", json!(["db"]), noted.clone()).unwrap();
    assert!(matches!(probe(&noted), Probe::NotDone));
    call(&harness, "restart", json!(["db"])).unwrap();
    assert!(matches!(probe(&noted), Probe::Done(_)));
    call(&harness, "stop", json!(["db"])).unwrap();
    assert!(matches!(probe(&noted), Probe::NotDone), "it was stopped and not started");
}

#[test]
fn a_newer_image_is_tried_once() {
    let (harness, services) = world();
    let update = |options: Json| {
        let told = call(&harness, "update", json!(["db", options])).unwrap();
        told.get("result").and_then(Value::as_str).unwrap().to_owned()
    };
    assert_eq!(update(json!({})), "current");
    services.publish("db");
    assert_eq!(
        [json!({ "dry_run": true }), json!({}), json!({})].map(update),
        ["available", "updated", "current"]
    );
    services.publish("db");
    services.fail("db", true);
    assert_eq!(update(json!({})), "rolled_back");
}

#[test]
fn bad_requests_are_refused() {
    let (harness, services) = world();
    services.fail("other", true);
    call(&harness, "stop", json!(["other"])).unwrap();
    for (name, args, kind) in [
        ("status", json!(["nobody"]), ErrorKind::NotFound),
        ("stop", json!(["nobody"]), ErrorKind::NotFound),
        ("hold", json!(["db", { "forever": true }]), ErrorKind::Invalid),
        ("start", json!(["other"]), ErrorKind::Failed),
    ] {
        assert_eq!(call(&harness, name, args).unwrap_err().kind, kind, "{name}");
    }
}
