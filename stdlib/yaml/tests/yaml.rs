//! `yaml` through its operations.

use hob_model::{OpError, Value};
use hob_testkit::Harness;
use proptest::prelude::*;
use serde_json::json;

fn call(name: &str, args: serde_json::Value) -> Result<Value, OpError> {
    Harness::new().call(&hob_std_yaml::primitive(), name, args)
}

#[test]
fn what_people_write() {
    for (text, value) in [
        ("", json!(null)),
        ("# only a comment\n", json!(null)),
        (
            "a: yes\nb: 0644\nc: 0o644\nd: ~\ne: 1.5\nf: 1e3",
            json!({ "a": "yes", "b": "0644", "c": 420, "d": null, "e": 1.5, "f": 1000.0 }),
        ),
        ("80: web\ntrue: x", json!({ "80": "web", "true": "x" })),
        (
            "x: &d { a: 1, b: 2 }\ny:\n  <<: *d\n  b: 3",
            json!({ "x": { "a": 1, "b": 2 }, "y": { "a": 1, "b": 3 } }),
        ),
        ("t: |\n  one\n  two\n", json!({ "t": "one\ntwo\n" })),
        ("2026-01-02", json!("2026-01-02")),
    ] {
        assert_eq!(call("yaml::parse", json!([text])).unwrap().to_json().unwrap(), value, "{text}");
    }
}

#[test]
fn mistakes_are_named() {
    for (text, part) in [
        ("a: [1, 2", "at line"),
        ("a: b: c", "mapping values are not allowed in this context at line 1, column 5"),
        ("a: 1\na: 2", "duplicate entry with key \"a\""),
        ("80: a\n\"80\": b", "two keys read as `80` at the top"),
        ("s:\n  - !secret x", "the tag `!secret` has no meaning here at `s.0`"),
        ("guid: 18446744073709551615", "the number 18446744073709551615 does not fit 64 bits at `guid`"),
        ("a: 1\n---\nb: 2", "2 documents"),
        ("[a]: b", "a key is a list or a map"),
        ("a: *nowhere", "unknown anchor"),
    ] {
        let error = call("yaml::parse", json!([text])).unwrap_err();
        assert!(error.message.contains(part), "{text}: {}", error.message);
    }
}

#[test]
fn hostile_texts_end_soon() {
    let laughs = (1..12).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
        let aliases = vec![format!("*a{}", n - 1); 9].join(",");
        text + format!("a{n}: &a{n} [{aliases}]\n").as_str()
    });
    let error = call("yaml::parse", json!([laughs])).unwrap_err();
    assert!(error.message.contains("repetition limit exceeded"), "{}", error.message);
    for deep in ["[".repeat(10_000), "- ".repeat(5_000)] {
        assert!(call("yaml::parse", json!([deep])).is_err());
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Unit),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-1e300..1e300).prop_map(Value::Float),
        "[ -~äß\n]*".prop_map(Value::String),
        prop::sample::select(vec![
            "yes", "no", "null", "~", "0644", "1e3", "true", "-", "<<", "!x", "&a", "*a", "1:2"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-z0-9 :#-]*", inner, 0..4).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(value in any_value()) {
        let harness = Harness::new();
        let text = harness.call_values(&hob_std_yaml::primitive(), "yaml::stringify", vec![value.clone()]).unwrap();
        prop_assert_eq!(harness.call_values(&hob_std_yaml::primitive(), "yaml::parse", vec![text]).unwrap(), value);
    }
}
