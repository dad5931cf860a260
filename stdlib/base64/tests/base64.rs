//! `base64` through its operations.

use hob_model::{OpError, Value};
use hob_testkit::Harness;
use proptest::prelude::*;
use serde_json::json;

fn call(name: &str, args: Vec<Value>) -> Result<Value, OpError> {
    Harness::new().call_values(&hob_std_base64::primitive(), name, args)
}

/// RFC 4648, section 10.
#[test]
fn vectors() {
    for (plain, coded) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(call("base64::encode", vec![Value::from(plain)]).unwrap(), Value::from(coded));
        let unpadded = coded.trim_end_matches('=');
        for text in [coded, unpadded, &format!(" {coded}\r\n")] {
            assert_eq!(call("base64::decode", vec![Value::from(text)]).unwrap(), Value::Blob(plain.into()));
        }
    }
}

#[test]
fn mistakes_have_a_place() {
    for (text, options, message) in [
        (
            "Zm9v\nZm*v",
            json!({}),
            "this is no base64: a character that does not belong there at line 2, column 3",
        ),
        (
            "fn4_",
            json!({}),
            "this is no base64: the URL-safe alphabet (pass `url: true`) at line 1, column 4",
        ),
        (
            "fn4/",
            json!({ "url": true }),
            "this is no base64: the other alphabet (leave `url` out) at line 1, column 4",
        ),
        ("Zm9vY", json!({}), "this is no base64: the end is missing at line 1, column 6"),
        ("/w==", json!({ "text": true }), "the decoded bytes are no UTF-8 text: byte 0 is wrong"),
    ] {
        let args = vec![Value::from(text), Value::from_json(options).unwrap()];
        assert_eq!(call("base64::decode", args).unwrap_err().message, message);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_encoded_is_decoded(bytes: Vec<u8>, url: bool, padding: Option<bool>) {
        let options = Value::map([("url", Value::from(url)), ("padding", Value::from(padding))]);
        let text = call("base64::encode", vec![Value::Blob(bytes.clone()), options]).unwrap();
        let options = Value::map([("url", Value::from(url))]);
        prop_assert_eq!(call("base64::decode", vec![text, options]).unwrap(), Value::Blob(bytes));
    }
}
