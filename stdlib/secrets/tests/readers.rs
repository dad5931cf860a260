//! Programs that share no code with hob: the reader `sops-age` of npm, which knows YAML, JSON and dotenv; a writer of the
//! tests' own, made from the description of the format (`tests/readers/write.mjs`); and in the long tests `rops`, which
//! knows YAML and JSON. `tests/run` installs what they need.

// Tests run programs, and tell what they counted.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::{NOW, fixture, keyring, long, recipient, trees};
use hob_std_secrets::age::{NoPassphrases, Passphrases};
use hob_std_secrets::sops::{self, Format, Policy, Selection};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value as Json, json};

const READERS: &str = "../../tests/readers";
/// How many files of each format are written with random content.
const FILES: usize = 12;
const FILES_LONG: usize = 1_000;
/// How many trees rops and hob write for each other in each format.
const TREES_LONG: usize = 500;

/// Where the readers lie; nothing where they are not installed.
fn readers() -> Option<PathBuf> {
    let readers = Path::new(env!("CARGO_MANIFEST_DIR")).join(READERS);
    if readers.join("node_modules/sops-age").is_dir() {
        return Some(readers);
    }
    assert!(std::env::var("CI").is_err(), "sops-age is not installed: npm ci in tests/readers");
    eprintln!("skipped: sops-age is not installed (npm ci in tests/readers)");
    None
}

/// The private key of `keys.txt`.
fn private_key() -> String {
    let text = String::from_utf8(fixture("keys.txt")).unwrap();
    text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap().to_owned()
}

fn nobody() -> Arc<dyn Passphrases> {
    Arc::new(NoPassphrases)
}

fn policy() -> Policy {
    Policy { groups: vec![vec![recipient("keys.txt")]], ..Policy::default() }
}

/// Random content for a format, always the same.
fn contents(format: Format, count: usize) -> Vec<Json> {
    let map = |value: &'static str| {
        let value = value.prop_map(Json::from);
        prop::collection::btree_map("[A-Za-z][A-Za-z0-9_]{0,8}", value, 1..6)
            .prop_map(|map| Json::Object(map.into_iter().collect()))
    };
    let content = match format {
        Format::Json | Format::Yaml => trees::tree().prop_map(Json::Object).boxed(),
        Format::Dotenv => map("[^\n\r]{0,24}").boxed(),
        Format::Ini => prop::collection::btree_map("[a-z]{1,8}", map("[A-Za-z0-9 ]{0,12}[a-z]"), 1..4)
            .prop_map(|map| Json::Object(map.into_iter().collect()))
            .boxed(),
        Format::Binary => ".{1,80}".prop_map(Json::from).boxed(),
    };
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| content.new_tree(&mut runner).unwrap().current()).collect()
}

/// Runs a program to its end; what it printed.
#[track_caller]
fn run(command: &mut Command, input: &str) -> Vec<u8> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\nof {input}");
    output.stdout
}

/// What a file holds, as JSON.
#[track_caller]
fn opened(file: &[u8], format: Format) -> Json {
    let opened = sops::open(file, format, &keyring(&["keys.txt"]));
    let opened = opened.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(file)));
    serde_json::from_str(&opened.to_json().unwrap()).unwrap()
}

#[test]
fn what_an_independent_writer_wrote_is_opened() {
    let Some(readers) = readers() else { return };
    let dir = tempfile::tempdir().unwrap();
    let count = if long() { FILES_LONG } else { FILES };
    let mut files = Vec::new();
    for (name, format) in Format::ALL {
        for (number, tree) in contents(format, count).into_iter().enumerate() {
            files.push((dir.path().join(format!("{number}.{name}")), name, format, tree));
        }
    }
    let list =
        files.iter().map(|(path, name, _, tree)| json!({ "path": path, "format": name, "tree": tree }));
    let list = Json::from(list.collect::<Vec<_>>()).to_string();
    run(Command::new("node").arg(readers.join("write.mjs")).arg(recipient("keys.txt")), &list);
    for (path, name, format, tree) in &files {
        let found = opened(&std::fs::read(path).unwrap(), *format);
        let written = if *format == Format::Binary { json!({ "data": tree }) } else { tree.clone() };
        assert!(trees::same(&written, &found), "{name}: {written} and {found}");
    }
    println!("{} files of an independent writer were opened", files.len());
}

/// A tree as rops can take it: it reads floats of many digits as their neighbours, and where `reads`, it takes an empty
/// text, which `sops` leaves as it is, for an encrypted one. Its YAML is 1.2, that of `sops` 1.1, so that what is readable
/// there, as keys are, means the same in both.
fn for_rops(tree: &Json, format: Format, reads: bool) -> Json {
    match tree {
        Json::String(text) if reads && text.is_empty() => Json::from("-"),
        Json::Number(number) if number.is_f64() => {
            Json::from((number.as_f64().unwrap_or_default() % 1e6 * 8.0).round() / 8.0)
        }
        Json::Array(items) => items.iter().map(|item| for_rops(item, format, reads)).collect(),
        Json::Object(items) => {
            let key = |key: &str| if format == Format::Yaml { format!("k{key}") } else { key.to_owned() };
            let items = items.iter().map(|(name, item)| (key(name), for_rops(item, format, reads)));
            Json::Object(items.collect())
        }
        other => other.clone(),
    }
}

#[test]
fn rops_and_hob_read_each_other() {
    if !long() {
        return;
    }
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(READERS).join("rops/bin/rops");
    if !program.is_file() {
        return eprintln!("skipped: rops is not installed; tests/long does that");
    }
    let rops = |args: &[&str], input: &str| {
        run(Command::new(&program).args(args).env("ROPS_AGE", private_key()), input)
    };
    let recipient = recipient("keys.txt");
    // In JSON some keys end in the first, in YAML none in the second.
    for (name, format, readable) in
        [("json", Format::Json, "_unencrypted"), ("yaml", Format::Yaml, "_readable")]
    {
        let selection = Selection::new("unencrypted_suffix", readable).unwrap();
        let policy = Policy { selection, ..policy() };
        for tree in contents(format, TREES_LONG) {
            let sent = for_rops(&tree, format, true);
            let plain = match format {
                Format::Json => sent.to_string(),
                _ => serde_norway::to_string(&sent).unwrap(),
            };
            let sealed = sops::seal(plain.as_bytes(), format, &policy, NOW, &nobody()).unwrap();
            let sealed = String::from_utf8(sealed).unwrap();
            // It does not know the type of times, which `sops` has had since 3.10.
            if !sealed.contains(",type:time]") {
                let read = rops(&["decrypt", "--format", name], &sealed);
                let read: Json = serde_norway::from_slice(&read).unwrap();
                let meant = opened(sealed.as_bytes(), format);
                assert!(trees::same(&meant, &read), "hob wrote {meant}, rops read {read}");
            }
            let sent = for_rops(&tree, format, false);
            let rule = ["--unencrypted-suffix", readable];
            let args = [&["encrypt", "--age", &recipient, "--format", name], &rule[..]].concat();
            let read = opened(&rops(&args, &sent.to_string()), format);
            assert!(trees::same(&sent, &read), "rops wrote {sent}, hob read {read}");
        }
    }
    println!("{TREES_LONG} trees in each format were read by the other");
}

#[test]
fn sops_age_reads_what_is_written_edited_and_rotated() {
    let Some(readers) = readers() else { return };
    let keys = keyring(&["keys.txt"]);
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
        let sealed = sops::seal(plain.as_bytes(), format, &policy(), NOW, &nobody()).unwrap();
        let edited = sops::open(&sealed, format, &keys).unwrap().with_value(key, "new", NOW).unwrap();
        let opened = sops::open(&edited, format, &keys).unwrap();
        let rotated = opened.rekey(&policy(), true, NOW, &nobody()).unwrap().unwrap();
        for (step, content) in [("edited", edited), ("rotated", rotated)] {
            let file = dir.path().join(format!("{step}-{name}"));
            std::fs::write(&file, content).unwrap();
            files.push(file);
            expected.push(holds.clone());
        }
    }
    let read = run(Command::new("node").arg(readers.join("read.mjs")).arg(private_key()).args(&files), "");
    let read: Vec<Json> = serde_json::from_slice(&read).unwrap();
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
