//! `csv` through its operations.

use hob_model::{OpError, Value};
use hob_testkit::Harness;
use proptest::prelude::*;
use serde_json::json;

fn call(name: &str, args: serde_json::Value) -> Result<Value, OpError> {
    Harness::new().call(&hob_std_csv::primitive(), name, args)
}

#[test]
fn what_people_write() {
    for (args, rows) in [
        (json!([""]), json!([])),
        (json!(["a,b\n"]), json!([])),
        (json!(["\u{feff}a,b\r\n1,\"x\r\ny\"\r\n"]), json!([{ "a": "1", "b": "x\r\ny" }])),
        (json!(["a\tb\n1\t\"q\"\"q\"", { "delimiter": "\t" }]), json!([{ "a": "1", "b": "q\"q" }])),
        (json!(["# c\na, b\n 1 ,2", { "comment": "#", "trim": true }]), json!([{ "a": "1", "b": "2" }])),
        (json!(["1,2\n", { "columns": ["x", "y"] }]), json!([{ "x": "1", "y": "2" }])),
        (json!(["1,2\n3,4", { "header": false }]), json!([["1", "2"], ["3", "4"]])),
    ] {
        assert_eq!(call("csv::parse", args.clone()).unwrap().to_json().unwrap(), rows, "{args}");
    }
}

#[test]
fn mistakes_are_named() {
    for (name, args, message) in [
        ("csv::parse", json!(["a,b\n1,2\n3\n"]), "line 3 has 1 field(s) where 2 are expected"),
        ("csv::parse", json!(["1,2\n", { "columns": ["x"] }]), "line 1 has 2 field(s) where 1 are expected"),
        ("csv::parse", json!(["a,a\n"]), "two columns have the name \"a\""),
        (
            "csv::parse",
            json!(["a", { "delimiter": "ab" }]),
            "option `delimiter` is one ASCII character, not \"ab\"",
        ),
        (
            "csv::stringify",
            json!([[{ "a": [1] }]]),
            "row 0: column \"a\": a field is a text or a number, not array",
        ),
        (
            "csv::stringify",
            json!([[{ "a": 1, "b": 2 }], { "columns": ["a"] }]),
            "row 0: column \"b\" is not among `columns`",
        ),
        ("csv::stringify", json!([[{ "a": 1 }, [1, 2]]]), "row 1: has 2 field(s) where 1 are expected"),
        ("csv::stringify", json!([[7]]), "row 0: expected a map or an array, got int"),
    ] {
        assert_eq!(call(name, args).unwrap_err().message, message);
    }
}

#[test]
fn columns_and_line_ends_as_asked() {
    let text = call(
        "csv::stringify",
        json!([[{ "a": 1, "b": true }], { "columns": ["b", "c", "a"], "crlf": true, "delimiter": ";" }]),
    );
    assert_eq!(text.unwrap(), Value::from("b;c;a\r\ntrue;;1\r\n"));
    assert_eq!(
        call("csv::stringify", json!([[["a", "b,c"], ["d"]]])).unwrap(),
        Value::from("a,\"b,c\"\nd\n")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(columns in prop::collection::btree_set("[a-z,\"\n]+", 1..4), texts in prop::collection::vec(".*", 0..12)) {
        let columns: Vec<String> = columns.into_iter().collect();
        let row = |fields: &[String]| Value::map(columns.iter().zip(fields).map(|(c, f)| (c.as_str(), Value::from(f.as_str()))));
        let rows = Value::Array(texts.chunks_exact(columns.len()).map(row).collect());
        let harness = Harness::new();
        let options = Value::map([("columns", Value::from(columns.clone()))]);
        let text = harness.call_values(&hob_std_csv::primitive(), "csv::stringify", vec![rows.clone(), options]).unwrap();
        prop_assert_eq!(harness.call_values(&hob_std_csv::primitive(), "csv::parse", vec![text]).unwrap(), rows);
    }
}
