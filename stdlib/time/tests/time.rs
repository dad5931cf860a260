//! `time` through its operations.

use hob_model::{OpError, Value};
use hob_testkit::Harness;
use proptest::prelude::*;
use serde_json::json;

fn call(name: &str, args: serde_json::Value) -> Result<Value, OpError> {
    Harness::new().call(&hob_std_time::primitive(), &format!("time::{name}"), args)
}

#[test]
fn now_is_the_clock_of_the_run() {
    let harness = Harness::new();
    let now = |args| harness.call(&hob_std_time::primitive(), "time::now", args).unwrap();
    assert_eq!(now(json!([])), Value::from("2026-01-02T03:04:05Z"));
    harness.clock().advance(std::time::Duration::from_micros(1_500));
    assert_eq!(now(json!([])), Value::from("2026-01-02T03:04:05.0015Z"));
    assert_eq!(
        now(json!([{ "timezone": "America/New_York" }])),
        Value::from("2026-01-01T22:04:05.0015-05:00")
    );
}

#[test]
fn reading() {
    for (args, text) in [
        (json!(["2026-01-02T03:04:05.120Z"]), "2026-01-02T03:04:05.12Z"),
        (json!(["2026-01-02 03:04:05-03:30"]), "2026-01-02T06:34:05Z"),
        (json!(["2026-07-01T12:00:00", { "timezone": "Europe/Berlin" }]), "2026-07-01T10:00:00Z"),
        (json!(["2026-07-01", { "timezone": "UTC" }]), "2026-07-01T00:00:00Z"),
        // The gap of 2026-03-29 and the repeated hour of 2026-10-25.
        (json!(["2026-03-29T02:30:00", { "timezone": "Europe/Berlin" }]), "2026-03-29T01:30:00Z"),
        (json!(["2026-10-25T02:30:00", { "timezone": "Europe/Berlin" }]), "2026-10-25T00:30:00Z"),
        (
            json!(["Thu, 01 Jan 2026 10:00:00 +0100", { "format": "%a, %d %b %Y %H:%M:%S %z" }]),
            "2026-01-01T09:00:00Z",
        ),
        (json!(["2026/01/05", { "format": "%Y/%m/%d", "timezone": "UTC" }]), "2026-01-05T00:00:00Z"),
    ] {
        assert_eq!(call("parse", args.clone()).unwrap(), Value::from(text), "{args}");
    }
}

#[test]
fn mistakes_are_named() {
    for (name, args, part, cure) in [
        ("parse", json!(["tomorrow"]), "`tomorrow` is no time", "RFC 3339"),
        ("parse", json!(["2026-01-01T00:00:00"]), "it has no offset", "timezone"),
        ("parse", json!(["2026-01-01", { "format": "%Y-%m-%d" }]), "it has no offset", "timezone"),
        (
            "parse",
            json!(["2026-01-01T00:00:00", { "timezone": "Europe/Berln" }]),
            "unknown time zone `Europe/Berln`",
            "Europe/Berlin",
        ),
        (
            "add",
            json!(["2026-02-30T00:00:00Z", "1h"]),
            "argument 1 (`time`): `2026-02-30T00:00:00Z` is no time",
            "RFC 3339",
        ),
        ("add", json!(["2026-01-01T00:00:00Z", "1 hour"]), "is no duration", ""),
        ("format", json!(["2026-01-01T00:00:00Z", "%!"]), "the pattern `%!` is wrong", ""),
        ("add", json!(["9999-12-30T00:00:00Z", "7d"]), "outside of the years", ""),
        ("from_unix", json!([i64::MAX]), "outside of the years", ""),
        ("from_unix", json!(["1"]), "expected a number, got string", ""),
        ("shift", json!(["2026-01-01T00:00:00Z", { "years": i64::MAX }]), "too far", ""),
        ("start_of", json!(["2026-01-01T00:00:00Z", "weak"]), "is none of", "week"),
    ] {
        let error = call(name, args.clone()).unwrap_err();
        assert!(error.message.contains(part), "{name}{args}: {}", error.message);
        assert!(error.hint.clone().unwrap_or_default().contains(cure), "{name}{args}: {:?}", error.hint);
    }
}

#[test]
fn the_calendar() {
    let berlin = "Europe/Berlin";
    for (name, args, answer) in [
        ("shift", json!(["2026-01-31T10:00:00Z", { "months": 1 }]), json!("2026-02-28T10:00:00Z")),
        (
            "shift",
            json!(["2026-03-28T12:00:00Z", { "days": 1, "timezone": berlin }]),
            json!("2026-03-29T13:00:00+02:00"),
        ),
        (
            "shift",
            json!(["2026-03-28T12:00:00Z", { "hours": 24, "timezone": berlin }]),
            json!("2026-03-29T14:00:00+02:00"),
        ),
        ("shift", json!(["2026-03-28T12:00:00Z", { "weeks": -1 }]), json!("2026-03-21T12:00:00Z")),
        ("start_of", json!(["2026-07-01T12:34:56.7Z", "minute"]), json!("2026-07-01T12:34:00Z")),
        ("start_of", json!(["2026-07-01T12:34:56Z", "week"]), json!("2026-06-29T00:00:00Z")),
        (
            "start_of",
            json!(["2026-07-01T12:34:56Z", "year", { "timezone": berlin }]),
            json!("2026-01-01T00:00:00+01:00"),
        ),
        (
            "start_of",
            json!(["2026-07-01T12:34:56Z", "hour", { "timezone": "Asia/Kolkata" }]),
            json!("2026-07-01T18:00:00+05:30"),
        ),
        (
            "diff",
            json!(["2026-01-01T00:00:02Z", "2026-01-01T00:00:00.5Z"]),
            json!({ "seconds": -1.5, "duration": "1s500ms" }),
        ),
        ("unix", json!(["1969-12-31T23:59:59.5Z"]), json!(-1)),
        ("unix", json!(["1970-01-01T00:00:00.25Z", { "unit": "us" }]), json!(250_000)),
        ("from_unix", json!([-0.5]), json!("1969-12-31T23:59:59.5Z")),
        (
            "format",
            json!(["2026-07-01T10:00:00Z", "%A %j %Z", { "timezone": berlin }]),
            json!("Wednesday 182 CEST"),
        ),
    ] {
        assert_eq!(call(name, args.clone()).unwrap().to_json().unwrap(), answer, "{name}{args}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn counts_and_texts_are_inverse(micros in -60_000_000_000_000_000_i64..200_000_000_000_000_000) {
        let us = json!({ "unit": "us" });
        let text = call("from_unix", json!([micros, us])).unwrap();
        let text = text.as_str().unwrap();
        prop_assert_eq!(call("unix", json!([text, us])).unwrap(), Value::Int(micros));
        prop_assert_eq!(call("parse", json!([text])).unwrap(), Value::from(text));
        let later = call("add", json!([text, "1h1us"])).unwrap();
        prop_assert_eq!(call("sub", json!([later.as_str(), "1h1us"])).unwrap(), Value::from(text));
        prop_assert_eq!(call("before", json!([text, later.as_str()])).unwrap(), Value::Bool(true));
    }
}
