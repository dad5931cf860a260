//! `semver` through its operations.

use hob_model::{OpError, Value};
use hob_testkit::Harness;
use proptest::prelude::*;
use serde_json::json;

fn call(name: &str, args: serde_json::Value) -> Result<Value, OpError> {
    Harness::new().call(&hob_std_semver::primitive(), name, args)
}

#[test]
fn precedence_is_that_of_the_specification() {
    let ordered = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
    ];
    let reversed: Vec<&str> = ordered.iter().rev().copied().collect();
    assert_eq!(call("semver::sort", json!([reversed])).unwrap().to_json().unwrap(), json!(ordered));
    assert_eq!(
        call("semver::sort", json!([ordered, { "descending": true }])).unwrap().to_json().unwrap(),
        json!(reversed)
    );
    assert_eq!(call("semver::compare", json!(["1.0.0+a", "1.0.0+b"])).unwrap(), Value::Int(0));
}

#[test]
fn bumps() {
    for (from, part, to) in [
        ("1.2.3", "major", "2.0.0"),
        ("1.2.3", "patch", "1.2.4"),
        ("v1.2.3+b", "patch", "1.2.4"),
        ("1.2.3-rc.1", "patch", "1.2.3"),
        ("1.2.3-rc.1", "minor", "1.3.0"),
        ("1.3.0-rc.1", "minor", "1.3.0"),
        ("1.3.0-rc.1", "major", "2.0.0"),
    ] {
        assert_eq!(call("semver::bump", json!([from, part])).unwrap(), Value::from(to), "{from} {part}");
    }
    let error = call("semver::bump", json!(["1.2.3", "pach"])).unwrap_err();
    assert_eq!(error.hint.unwrap(), "did you mean \"patch\"?");
    assert!(call("semver::bump", json!(["18446744073709551615.0.0", "major"])).is_err());
}

#[test]
fn loose_reads_tags() {
    for (tag, version) in [
        ("16", "16.0.0"),
        ("v16.2", "16.2.0"),
        ("24.04", "24.4.0"),
        ("16-alpine", "16.0.0-alpine"),
        ("007.0.00", "7.0.0"),
    ] {
        assert_eq!(
            call("semver::compare", json!([tag, version, { "loose": true }])).unwrap(),
            Value::Int(0),
            "{tag}"
        );
    }
    let error = call("semver::parse", json!(["16.2"])).unwrap_err();
    assert_eq!(error.hint.unwrap(), "write \"16.2.0\", or pass #{ loose: true }");
    for wrong in ["", "latest", "1.2.3.4", "1..2", "-1", "a.b.c"] {
        assert_eq!(
            call("semver::valid", json!([wrong, { "loose": true }])).unwrap(),
            Value::Bool(false),
            "{wrong}"
        );
    }
    assert!(
        call("semver::matches", json!(["1.0.0", ">="]))
            .unwrap_err()
            .message
            .starts_with("`>=` is no requirement")
    );
    assert!(call("semver::parse", json!(["1".repeat(5000)])).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn comparing_is_an_order(a in "[0-9]\\.[0-9]\\.[0-9](-[a-z]{1,2}(\\.[1-9])?)?", b in "[0-9]\\.[0-9]\\.[0-9](-[a-z]{1,2})?") {
        let compare = |a: &str, b: &str| call("semver::compare", json!([a, b])).unwrap().as_int().unwrap();
        prop_assert_eq!(compare(&a, &b), -compare(&b, &a));
        prop_assert_eq!(compare(&a, &a), 0);
        let bumped = call("semver::bump", json!([a, "patch"])).unwrap();
        prop_assert_eq!(compare(&a, bumped.as_str().unwrap()), -1);
    }
}
