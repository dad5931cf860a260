//! `events` through its operations, over a bus in memory.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use hob_model::{ErrorKind, OpError, Value};
use hob_primitive::EventBus;
use hob_std_events::MemoryBus;
use hob_testkit::Harness;
use serde_json::{Value as Json, json};

fn world() -> (Harness, Arc<MemoryBus>) {
    let bus = Arc::new(MemoryBus::default());
    (Harness::new().port(Arc::clone(&bus) as Arc<dyn EventBus>), bus)
}

fn call(harness: &Harness, name: &str, args: Json) -> Result<Value, OpError> {
    harness.call(&hob_std_events::primitive(), &format!("events::{name}"), args)
}

fn listed(harness: &Harness, options: Json) -> Vec<i64> {
    let Value::Array(events) = call(harness, "list", json!([options])).unwrap() else { panic!() };
    events.iter().map(|event| event.get("payload").unwrap().as_int().unwrap()).collect()
}

#[test]
fn what_is_emitted_is_listed_in_order() {
    let (harness, _) = world();
    for n in 0..2_500 {
        let name = if n % 2 == 0 { "even.number" } else { "odd.number" };
        call(&harness, "emit", json!([name, n])).unwrap();
    }
    assert_eq!(listed(&harness, json!({ "limit": 3 })), [2_497, 2_498, 2_499]);
    assert_eq!(listed(&harness, json!({ "limit": 2, "pattern": "even.*" })), [2_496, 2_498]);
    assert_eq!(listed(&harness, json!({ "limit": 2, "after": 0 })), [0, 1]);
    assert_eq!(listed(&harness, json!({ "limit": 2, "after": 2_498 })), [2_498, 2_499]);
    assert_eq!(listed(&harness, json!({ "limit": 0 })), [0_i64; 0]);
    assert_eq!(listed(&harness, json!({})).len(), 100);
    assert_eq!(listed(&harness, json!({ "limit": 10_000 })).len(), 2_500);
}

#[test]
fn an_event_without_a_payload_carries_nothing() {
    let (harness, bus) = world();
    call(&harness, "emit", json!(["x.y"])).unwrap();
    let events = bus.events(0, 10).unwrap();
    assert_eq!((&events[0].payload, events[0].origin.starts_with("run:")), (&Value::Unit, true));
}

#[test]
fn bad_requests_are_refused() {
    let (harness, bus) = world();
    for (name, args) in [
        ("emit", json!([""])),
        ("emit", json!(["two words"])),
        ("emit", json!(["x".repeat(300)])),
        ("emit", json!(["large", "x".repeat(1 << 21)])),
        ("list", json!([{ "limit": 20_000 }])),
        ("list", json!([{ "patern": "*" }])),
    ] {
        let error = call(&harness, name, args.clone()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{name} {error}");
    }
    bus.fail(true);
    assert_eq!(call(&harness, "emit", json!(["x"])).unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(call(&harness, "list", json!([])).unwrap_err().kind, ErrorKind::Unavailable);
}
