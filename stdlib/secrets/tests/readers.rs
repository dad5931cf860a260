//! What hob writes, read by the package `sops-age` of npm: a reader that shares no code with hob. It knows YAML, JSON and
//! dotenv. `tests/run` installs it.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stderr)] // tests run programs

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use common::{fixture, keyring};
use hob_std_secrets::age::{NoPassphrases, Passphrases};
use hob_std_secrets::sops::{self, Format, Policy};
use serde_json::{Value as Json, json};

const READERS: &str = "../../tests/readers";

#[test]
fn sops_age_reads_what_is_written_edited_and_rotated() {
    let readers = Path::new(env!("CARGO_MANIFEST_DIR")).join(READERS);
    if !readers.join("node_modules/sops-age").is_dir() {
        assert!(std::env::var("CI").is_err(), "sops-age is not installed: npm ci in tests/readers");
        eprintln!("skipped: sops-age is not installed (npm ci in tests/readers)");
        return;
    }
    let keys = keyring(&["keys.txt"]);
    let text = String::from_utf8(fixture("keys.txt")).unwrap();
    let key = text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap();
    let nobody: Arc<dyn Passphrases> = Arc::new(NoPassphrases);
    let policy = Policy { groups: vec![keys.publics().to_vec()], ..Policy::default() };
    let now = "2026-11-21T06:00:00Z";
    let dir = tempfile::tempdir().unwrap();
    let yaml = "# a comment\ndb:\n  password: correct horse\n  port: 5432\n  on: true\nlist: [a, b]\nplain_unencrypted: x\n";
    let json = "{\"db\": {\"password\": \"corréct \\\"horse\\\"\", \"port\": 5432}, \"list\": [1.5, false]}";
    let env = "PASSWORD=correct horse\n# comment\nPORT=5432\n";
    let (mut files, mut expected) = (Vec::new(), Vec::new());
    for (name, plain, key, holds) in [
        (
            "a.yaml",
            yaml,
            "db/password",
            json!({ "db": { "password": "new", "port": 5432, "on": true }, "list": ["a", "b"], "plain_unencrypted": "x" }),
        ),
        (
            "a.json",
            json,
            "db/password",
            json!({ "db": { "password": "new", "port": 5432 }, "list": [1.5, false] }),
        ),
        ("a.env", env, "PASSWORD", json!({ "PASSWORD": "new", "PORT": "5432" })),
    ] {
        let format = Format::of_name(name);
        let sealed = sops::seal(plain.as_bytes(), format, &policy, now, &nobody).unwrap();
        let edited = sops::open(&sealed, format, &keys).unwrap().with_value(key, "new", now).unwrap();
        let opened = sops::open(&edited, format, &keys).unwrap();
        let rotated = opened.rekey(&policy, true, now, &nobody).unwrap().unwrap();
        for (step, content) in [("edited", edited), ("rotated", rotated)] {
            let file = dir.path().join(format!("{step}-{name}"));
            std::fs::write(&file, content).unwrap();
            files.push(file);
            expected.push(holds.clone());
        }
    }
    let output = Command::new("node").arg(readers.join("read.mjs")).arg(key).args(&files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Vec<Json> = serde_json::from_slice(&output.stdout).unwrap();
    for ((file, read), expected) in files.iter().zip(read).zip(expected) {
        assert_eq!(texts(read), texts(expected), "{}", file.display());
    }
}

/// The tree with scalars as texts: readers differ in what is a number in formats that know texts alone.
fn texts(json: Json) -> Json {
    match json {
        Json::Array(items) => items.into_iter().map(texts).collect(),
        Json::Object(items) => {
            Json::Object(items.into_iter().map(|(key, item)| (key, texts(item))).collect())
        }
        Json::String(text) => Json::String(text),
        other => Json::String(other.to_string()),
    }
}
