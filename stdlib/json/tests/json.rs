//! `json` through its operations.

use hob_model::{OpError, Value};
use hob_testkit::Harness;
use proptest::prelude::*;
use serde_json::json;

fn call(name: &str, args: serde_json::Value) -> Result<Value, OpError> {
    Harness::new().call(&hob_std_json::primitive(), name, args)
}

#[test]
fn mistakes_have_a_place() {
    for (text, message) in [
        ("", "this is no JSON: EOF while parsing a value at line 1, column 1"),
        ("{\"a\": }", "this is no JSON: expected value at line 1, column 7"),
        ("[1,\n 2,\n ä]", "this is no JSON: expected value at line 3, column 2"),
        ("[1] 2", "this is no JSON: trailing characters at line 1, column 5"),
        (
            "[\n\n99999999999999999999]",
            "this is no JSON that can be read: the number 99999999999999999999 does not fit 64 bits at line 3, column 1",
        ),
    ] {
        let error = call("json::parse", json!([text])).unwrap_err();
        assert_eq!(error.message, message);
    }
    let deep = "[".repeat(100_000);
    assert!(call("json::parse", json!([deep])).unwrap_err().message.contains("recursion limit"));
    let error = call("json::parse_lines", json!(["1\n\n[}\n"])).unwrap_err();
    assert!(error.message.ends_with("at line 3, column 2"), "{}", error.message);
    assert_eq!(error.details.get("line"), Some(&Value::Int(3)));
}

#[test]
fn big_numbers_as_asked() {
    let text = r#"{"a\"1": -9223372036854775808, "b": 18446744073709551615, "c": "18446744073709551615"}"#;
    let read =
        |mode| call("json::parse", json!([text, { "big_numbers": mode }])).map(|v| v.get("b").cloned());
    assert!(read("error").is_err());
    assert_eq!(read("text").unwrap(), Some(Value::from("18446744073709551615")));
    assert_eq!(read("float").unwrap(), Some(Value::Float(18_446_744_073_709_551_615.0)));
    assert!(call("json::parse", json!(["1e999"])).is_err());
}

#[test]
fn blobs_are_parsed_as_utf8() {
    let parse = |bytes: &[u8]| {
        Harness::new().call_values(
            &hob_std_json::primitive(),
            "json::parse",
            vec![Value::Blob(bytes.to_vec())],
        )
    };
    assert_eq!(parse(b"\xef\xbb\xbf[1]").unwrap(), Value::Array(vec![Value::Int(1)]));
    assert!(parse(b"[\xff]").unwrap_err().message.contains("byte 1 is wrong"));
}

#[test]
fn pointers() {
    let value = json!({ "a/b": [10, { "~": 1 }], "": 3 });
    for (pointer, found) in [
        ("", value.clone()),
        ("/a~1b/0", json!(10)),
        ("/a~1b/00", json!(null)),
        ("/a~1b/-", json!(null)),
        ("/a~1b/1/~0", json!(1)),
        ("/", json!(3)),
        ("/x/y", json!(null)),
    ] {
        assert_eq!(
            call("json::get", json!([value, pointer])).unwrap().to_json().unwrap(),
            found,
            "{pointer}"
        );
    }
    assert!(call("json::get", json!([value, "a"])).is_err());
}

/// The cases of RFC 7396, appendix A.
#[test]
fn merge_patch() {
    for (value, patch, result) in [
        (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
        (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
        (json!({"a":"b"}), json!({"a":null}), json!({})),
        (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
        (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
        (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
        (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a":"foo"}), json!("bar"), json!("bar")),
        (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
        (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
        (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
    ] {
        assert_eq!(call("json::merge", json!([value, patch])).unwrap().to_json().unwrap(), result);
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Unit),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-1e300..1e300).prop_map(Value::Float),
        ".*".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(".*", inner, 0..5).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(value in any_value(), pretty: bool) {
        let options = Value::map([("pretty", Value::Bool(pretty))]);
        let harness = Harness::new();
        let text = harness.call_values(&hob_std_json::primitive(), "json::stringify", vec![value.clone(), options]).unwrap();
        prop_assert_eq!(harness.call_values(&hob_std_json::primitive(), "json::parse", vec![text]).unwrap(), value);
    }

    #[test]
    fn no_text_panics(text in "[\\[\\]{}:,\"0-9eE.+\\- \\\\a-zä]*") {
        for mode in ["error", "float", "text"] {
            drop(call("json::parse", json!([text, { "big_numbers": mode }])));
        }
    }
}
