//! What programs read and write.

use std::time::Instant;

use hob_model::Value;
use serde_json::json;

use crate::{PATIENCE, run, shell, text, world};

#[test]
fn a_hundred_mebibytes() {
    let harness = world();
    let begun = Instant::now();
    let it = run(&harness, json!("head -c 104857600 /dev/zero"), json!({"binary": true})).unwrap();
    let Some(Value::Blob(bytes)) = it.get("stdout") else { panic!("no blob") };
    assert_eq!((bytes.len(), it.get("stdout_truncated")), (16 * 1024 * 1024, Some(&Value::Bool(true))));
    assert!(begun.elapsed() < PATIENCE);

    let endless = run(&harness, json!("cat /dev/zero"), json!({"on_overflow": "fail"})).unwrap_err();
    assert!(endless.message.contains("cat wrote more than 16M"), "{}", endless.message);
}

#[test]
fn large_input_and_output_at_once() {
    let harness = world();
    let input = "0123456789abcdef".repeat(256 * 1024);
    let it = run(&harness, json!("cat"), json!({"stdin": input})).unwrap();
    assert!(text(&it, "stdout") == input);
    // A program that does not read its input, and one that reads a part.
    assert_eq!(text(&run(&harness, json!("echo hi"), json!({"stdin": input})).unwrap(), "stdout"), "hi\n");
    assert_eq!(text(&run(&harness, json!("head -c 3"), json!({"stdin": input})).unwrap(), "stdout"), "012");
}

#[test]
fn both_streams() {
    let harness = world();
    let it = shell(&harness, "echo 1; echo 2 >&2; echo 3", json!({})).unwrap();
    assert_eq!((text(&it, "stdout").as_str(), text(&it, "stderr").as_str()), ("1\n3\n", "2\n"));
    let it = shell(&harness, "echo 1; echo 2 >&2; echo 3", json!({"combine": true})).unwrap();
    assert_eq!((text(&it, "stdout").as_str(), text(&it, "stderr").as_str()), ("1\n2\n3\n", ""));

    let error = shell(&harness, "echo progress; echo 'no such host' >&2; exit 7", json!({})).unwrap_err();
    assert_eq!(error.message, "/bin/sh ended with exit code 7: no such host");
    assert_eq!(
        (text(&error.details, "stdout"), error.details.get("code")),
        ("progress\n".into(), Some(&Value::Int(7)))
    );
}
