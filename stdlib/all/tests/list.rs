//! The list of primitives is what the folders say, and every declaration is complete.
#![allow(clippy::disallowed_methods)] // the test reads the project's own files

#[path = "../examples/generate.rs"]
#[allow(unreachable_pub)] // it is a program of its own too
mod generate;

use std::fs;
use std::path::Path;

#[test]
fn the_list_is_fresh() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = generate::generated(home).unwrap();
    let stale = "is stale: run `cargo run -p hob-stdlib --example generate`";
    assert!(fs::read_to_string(home.join("Cargo.toml")).unwrap() == fresh.manifest, "Cargo.toml {stale}");
    assert!(fs::read_to_string(home.join("src/list.rs")).unwrap() == fresh.list, "src/list.rs {stale}");
}

#[test]
fn every_declaration_is_complete() {
    let registry = hob_stdlib::registry();
    for operation in registry.operations() {
        assert!(
            operation.doc.contains(&format!("Class `{}`", operation.class)),
            "{}: argue its class",
            operation.name
        );
        assert!(operation.summary().ends_with(['.', ';']), "{}: begin with a sentence", operation.name);
    }
    for primitive in registry.primitives() {
        let folder = primitive.name.split("::").next().unwrap();
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join("README.md");
        assert!(page.exists(), "{} has no README.md", primitive.name);
        assert!(!primitive.doc.is_empty());
    }
}
