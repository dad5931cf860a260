//! What only real processes can show.
#![allow(clippy::disallowed_methods)] // These tests set up files and look at what programs left behind.

mod ending;
mod starting;
mod streams;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hob_model::{OpError, Value};
use hob_std_process::{ProcessPort, live::Live, primitive};
use hob_testkit::Harness;
use serde_json::{Value as Json, json};

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

fn live() -> Live {
    Live::new([("PATH".to_owned(), std::env::var("PATH").expect("tests have a PATH"))])
}

fn world() -> Harness {
    Harness::new().port::<dyn ProcessPort>(Arc::new(live()))
}

fn shell(harness: &Harness, text: &str, options: Json) -> Result<Value, OpError> {
    harness.call(&primitive(), "process::shell", json!([text, options]))
}

fn run(harness: &Harness, cmd: Json, options: Json) -> Result<Value, OpError> {
    harness.call(&primitive(), "process::run", json!([cmd, options]))
}

fn text(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no text `{key}` in {value:?}"))
        .to_owned()
}

fn alive(harness: &Harness) -> Vec<u32> {
    let key = harness.context(Value::Unit).key().to_owned();
    live().alive(&key).expect("/proc is there")
}

/// Looks until it is so; the only way to await what a killed stranger does.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come about");
        std::thread::yield_now();
    }
}
