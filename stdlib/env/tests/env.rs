//! `env` through its operations.

use hob_model::{ErrorKind, Value};
use hob_testkit::Harness;
use serde_json::json;

#[test]
fn only_what_was_handed_over() {
    let harness = Harness::new().env("TZ", "Europe/Berlin").env("EMPTY", "");
    let call = |name: &str, args| harness.call(&hob_std_env::primitive(), name, args);
    assert_eq!(call("env::get", json!(["TZ"])).unwrap(), Value::from("Europe/Berlin"));
    assert_eq!(call("env::get", json!(["EMPTY", "x"])).unwrap(), Value::from(""));
    assert_eq!(call("env::get", json!(["PATH"])).unwrap(), Value::Unit);
    assert_eq!(call("env::get", json!(["PATH", { "a": 1 }])).unwrap(), Value::map([("a", Value::Int(1))]));
    assert_eq!(
        call("env::list", json!([])).unwrap().to_json().unwrap(),
        json!({ "EMPTY": "", "TZ": "Europe/Berlin" })
    );
    let error = call("env::require", json!(["PATH"])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.hint.unwrap().contains("--env PATH"));
    assert!(call("env::require", json!(["TX"])).unwrap_err().hint.unwrap().contains("`TZ`"));
    assert_eq!(call("env::get", json!(["A=B"])).unwrap_err().kind, ErrorKind::Invalid);
}
