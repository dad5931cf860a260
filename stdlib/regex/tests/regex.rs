//! `regex` through its operations.

use hob_model::{OpError, Value};
use hob_testkit::Harness;
use proptest::prelude::*;
use serde_json::json;

fn call(name: &str, args: serde_json::Value) -> Result<Value, OpError> {
    Harness::new().call(&hob_std_regex::primitive(), name, args)
}

#[test]
fn what_people_ask() {
    for (name, args, answer) in [
        ("is_match", json!(["^a.c$", "abc"]), json!(true)),
        ("find", json!(["ß+", "aßßb"]), json!({ "text": "ßß", "start": 1, "end": 3 })),
        (
            "find_all",
            json!(["", "äb"]),
            json!([{ "text": "", "start": 0, "end": 0 }, { "text": "", "start": 1, "end": 1 }, { "text": "", "start": 2, "end": 2 }]),
        ),
        (
            "captures",
            json!(["(?<a>x)|(?<b>y)", "y"]),
            json!({ "0": "y", "1": null, "2": "y", "a": null, "b": "y" }),
        ),
        ("captures", json!(["x", "y"]), json!(null)),
        ("captures_all", json!(["(.)", "ab"]), json!([{ "0": "a", "1": "a" }, { "0": "b", "1": "b" }])),
        ("replace", json!(["(?<w>\\w+)", "a b", "<$w$$>"]), json!("<a$> <b$>")),
        ("replace", json!(["a", "aaa", "b", { "limit": 0 }]), json!("aaa")),
        ("split", json!([",", "a,b,c", { "limit": 2 }]), json!(["a", "b,c"])),
        ("split", json!([",", ""]), json!([""])),
    ] {
        let answered = call(&format!("regex::{name}"), args.clone()).unwrap().to_json().unwrap();
        assert_eq!(answered, answer, "{name}{args}");
    }
}

#[test]
fn mistakes_have_a_place() {
    for (pattern, message) in [
        ("a(b", "this is no pattern: unclosed group (`(`) at line 1, column 2"),
        (
            "ä[z-a]",
            "this is no pattern: invalid character class range, the start must be <= the end (`z-a`) at line 1, column 3",
        ),
        (
            "x{3,1}",
            "this is no pattern: invalid repetition count range, the start must be <= the end (`{3,1}`) at line 1, column 2",
        ),
        (
            "(?=x)",
            "this is no pattern: look-around, including look-ahead and look-behind, is not supported (`(?=`) at line 1, column 1",
        ),
        (r"a\p{Nope}", r"this is no pattern: Unicode property not found (`\p{Nope}`) at line 1, column 2"),
    ] {
        assert_eq!(call("regex::is_match", json!([pattern, ""])).unwrap_err().message, message);
    }
}

#[test]
fn hostile_patterns_and_texts_end_soon() {
    for pattern in
        ["(a{1000}){1000}".to_owned(), format!("{}{}", "(".repeat(200), ")".repeat(200)), "a".repeat(70_000)]
    {
        assert!(call("regex::is_match", json!([pattern, "a"])).is_err());
    }
    let text = "a".repeat(5_000);
    assert_eq!(call("regex::is_match", json!(["(a*)*b", text])).unwrap(), Value::Bool(false));
    let all = "x".repeat(1 << 20);
    let error = call("regex::replace", json!(["a+?", "a".repeat(100), all])).unwrap_err();
    assert!(error.message.contains("longer than"), "{}", error.message);
    let error = call("regex::find_all", json!(["", "a".repeat(100_001)])).unwrap_err();
    assert_eq!(error.message, "more than 100000 matches");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_escaped_text_matches_itself(text in ".{0,40}", around in ".{0,10}") {
        let pattern = call("regex::escape", json!([text])).unwrap();
        let pattern = pattern.as_str().unwrap();
        prop_assert_eq!(call("regex::is_match", json!([format!("^{pattern}$"), text])).unwrap(), Value::Bool(true));
        let whole = format!("{around}{text}{around}");
        let found = call("regex::find", json!([pattern, whole])).unwrap();
        let (start, end) = (found.get("start").unwrap().as_int().unwrap(), found.get("end").unwrap().as_int().unwrap());
        let cut: String = whole.chars().skip(start as usize).take((end - start) as usize).collect();
        prop_assert_eq!(cut, text);
    }

    #[test]
    fn no_pattern_panics(pattern in "[\\[\\](){}?*+|^$.\\\\a-zäPpi0-9,:<>=!-]*") {
        drop(call("regex::captures", json!([pattern, "some text"])));
    }
}
