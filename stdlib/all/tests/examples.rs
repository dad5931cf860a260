//! Runs every example in the documentation of the operations and in the pages of the primitives, with the live adapters,
//! each in an empty directory.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // tests, helpers included

use std::fs;
use std::path::Path;

use hob_engine::Evaluated;
use hob_model::Value;
use hob_testkit::{Scripts, on_script_stack};

/// An example, and where it stands.
struct Example {
    place: String,
    script: String,
}

/// The blocks of a Markdown text that are to be run: ```` ```rhai ````, but not ```` ```rhai,no_run ````.
fn examples(place: &str, markdown: &str) -> Vec<Example> {
    let blocks = markdown.split("```rhai\n").skip(1);
    let scripts = blocks.map(|rest| rest.split("```").next().unwrap().to_owned());
    scripts.enumerate().map(|(at, script)| Example { place: format!("{place} #{at}"), script }).collect()
}

fn check(all: Vec<Example>) {
    assert!(all.len() > 10, "only {} examples were found", all.len());
    let scripts = Scripts::new(hob_stdlib::registry(), hob_stdlib::live_ports());
    let mut wrong = Vec::new();
    for Example { place, script } in all {
        let cwd = tempfile::tempdir().unwrap();
        match scripts.run("example.rhai", &script, cwd.path()) {
            Evaluated::Succeeded(Value::Bool(true) | Value::Unit) => {}
            Evaluated::Failed { error, .. } => {
                wrong.push(format!("{place}: {error} {:?}\n{script}", error.hint))
            }
            other => wrong.push(format!("{place}: {other:?}\n{script}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn examples_of_operations_hold() {
    on_script_stack(|| {
        let primitives = hob_stdlib::primitives();
        let operations = primitives.iter().flat_map(|primitive| &primitive.operations);
        check(operations.flat_map(|operation| examples(operation.name, operation.doc)).collect());
    });
}

#[test]
fn examples_of_pages_hold() {
    on_script_stack(|| {
        let stdlib = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folders = fs::read_dir(stdlib).unwrap().map(|entry| entry.unwrap().path());
        let pages = folders.filter_map(|folder| {
            let text = fs::read_to_string(folder.join("README.md")).ok()?;
            Some(examples(&folder.file_name().unwrap().to_string_lossy(), &text))
        });
        check(pages.flatten().collect());
    });
}
