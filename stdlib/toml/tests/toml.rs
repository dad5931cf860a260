//! `toml` through its operations.

use hob_model::{OpError, Value};
use hob_testkit::Harness;
use proptest::prelude::*;
use serde_json::json;

fn call(name: &str, args: serde_json::Value) -> Result<Value, OpError> {
    Harness::new().call(&hob_std_toml::primitive(), name, args)
}

#[test]
fn what_people_write() {
    for (text, value) in [
        ("", json!({})),
        (
            "t = 2026-01-02T03:04:05Z\nd = 2026-01-02",
            json!({ "t": "2026-01-02T03:04:05Z", "d": "2026-01-02" }),
        ),
        ("[[disk]]\nid = 0x10\n[[disk]]\nid = 1_000", json!({ "disk": [{ "id": 16 }, { "id": 1000 }] })),
        ("a.b.c = 1.5", json!({ "a": { "b": { "c": 1.5 } } })),
    ] {
        assert_eq!(call("toml::parse", json!([text])).unwrap().to_json().unwrap(), value, "{text}");
    }
}

#[test]
fn mistakes_have_a_place() {
    for (text, place) in [
        ("a = 1\nb = ", "line 2, column 5"),
        ("a = 1\na = 2", "line 2, column 1"),
        ("n = 99999999999999999999", "line 1, column 5"),
        ("ä = 1", "line 1, column 1"),
    ] {
        let error = call("toml::parse", json!([text])).unwrap_err();
        assert!(error.message.ends_with(place), "{text}: {}", error.message);
    }
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(call("toml::parse", json!([deep])).is_err());
    let error = call("toml::stringify", json!([{ "a": [{ "b": null }] }])).unwrap_err();
    assert_eq!(error.message, "`a.0.b` is (), and TOML has no null");
}

fn any_map() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-1e300..1e300).prop_map(Value::Float),
        ".*".prop_map(Value::String),
    ];
    let tree = leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(".*", inner, 0..4).prop_map(Value::Map),
        ]
    });
    prop::collection::btree_map(".*", tree, 0..5).prop_map(Value::Map)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(value in any_map()) {
        let harness = Harness::new();
        let text = harness.call_values(&hob_std_toml::primitive(), "toml::stringify", vec![value.clone()]).unwrap();
        prop_assert_eq!(harness.call_values(&hob_std_toml::primitive(), "toml::parse", vec![text]).unwrap(), value);
    }
}
