//! The same cases against the fake and the live adapter.

mod archives;
mod content;
mod faults;
mod models;
mod names;

use std::sync::Arc;

use hob_model::{ErrorKind, OpError, Value};
use hob_std_files::{FilesPort, fake::Fake, live::Live, primitive};
use hob_testkit::Harness;
use serde_json::Value as Json;

/// A world with an empty working directory.
struct World {
    name: &'static str,
    harness: Harness,
}

impl World {
    fn call(&self, name: &str, args: Json) -> Result<Value, OpError> {
        self.harness.call(&primitive(), name, args)
    }

    fn ok(&self, name: &str, args: Json) -> Value {
        let shown = args.to_string();
        self.call(name, args).unwrap_or_else(|error| panic!("{}: {name}({shown}): {error:?}", self.name))
    }

    /// The call fails with this kind, a message and a hint that hold these texts.
    fn fails(&self, name: &str, args: Json, kind: ErrorKind, says: &str, hint: &str) {
        let shown = args.to_string();
        let error = self.call(name, args).expect_err(&format!("{}: {name}({shown})", self.name));
        assert_eq!(error.kind, kind, "{}: {name}({shown}): {error:?}", self.name);
        assert!(error.message.contains(says), "{}: {name}({shown}): {}", self.name, error.message);
        let given = error.hint.unwrap_or_default();
        assert!(given.contains(hint), "{}: {name}({shown}): {given}", self.name);
    }

    fn text(&self, path: &str) -> String {
        let content = self.ok("files::read", serde_json::json!([path]));
        content.as_str().expect("a text").to_owned()
    }

    /// The names of everything there is, in order.
    fn tree(&self, path: &str) -> Vec<String> {
        let listed = self.ok("files::list", serde_json::json!([path, {"recursive": true}]));
        let Value::Array(entries) = listed else { panic!("{listed:?}") };
        entries.iter().map(|entry| field(entry, "name")).collect()
    }
}

fn field(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no text `{key}` in {value:?}"))
        .to_owned()
}

fn both(run: impl Fn(&World)) {
    let harness = Harness::new();
    let fake = Fake::new().with_dir(harness.dir());
    run(&World { name: "fake", harness: harness.port::<dyn FilesPort>(Arc::new(fake)) });
    run(&World { name: "live", harness: Harness::new().port::<dyn FilesPort>(Arc::new(Live::new())) });
}
