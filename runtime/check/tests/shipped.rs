//! No finding on anything that is shipped: whole examples, and the examples of operations.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{CATALOG, Files, check_files, check_text};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All scripts below a directory, relative to it.
#[allow(clippy::disallowed_methods)] // tests read the repository
fn scripts(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut queue = vec![directory.to_path_buf()];
    while let Some(at) = queue.pop() {
        for entry in std::fs::read_dir(&at).expect("the directory is there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                queue.push(path);
            } else if path.extension().is_some_and(|it| it == "rhai") {
                let name = path.strip_prefix(directory).expect("it is below").to_string_lossy().into_owned();
                found.insert(name, std::fs::read_to_string(&path).expect("it is text"));
            }
        }
    }
    found
}

#[test]
fn examples_have_no_findings() {
    let directory = root().join("examples");
    let mut checked = 0;
    #[allow(clippy::disallowed_methods)] // tests read the repository
    let homelabs = std::fs::read_dir(directory).expect("the examples are there");
    for homelab in homelabs.flatten() {
        let files = scripts(&homelab.path());
        for name in files.keys() {
            let found = check_files(name, Files(files.clone())).findings;
            assert!(found.is_empty(), "{}: {name}: {found:#?}", homelab.path().display());
            checked += 1;
        }
    }
    assert!(checked > 5, "{checked} scripts");
}

/// All Markdown below a directory: what the book's generator copies from doc comments and codes is left out.
#[allow(clippy::disallowed_methods)] // tests read the repository
fn pages(directory: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(directory).expect("the directory is there").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("errors") {
            pages(&path, found);
        } else if path.extension().is_some_and(|it| it == "md") {
            let text = std::fs::read_to_string(&path).expect("it is text");
            found.insert(path.display().to_string(), text);
        }
    }
}

#[test]
fn scripts_of_the_documents_have_no_findings() {
    let mut found = BTreeMap::new();
    for directory in ["book/src", "stdlib"] {
        pages(&root().join(directory), &mut found);
    }
    #[allow(clippy::disallowed_methods)] // tests read the repository
    let readme = std::fs::read_to_string(root().join("README.md")).expect("it is there");
    found.insert("README.md".to_owned(), readme);
    let (mut checked, mut wrong) = (0, Vec::new());
    for (page, text) in found {
        for script in blocks(&text) {
            checked += 1;
            let findings = check_text(&script).findings;
            if !findings.is_empty() {
                wrong.push(format!("{page}: {findings:#?}\n{script}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 60, "{checked} scripts");
}

/// The blocks of Markdown that are scripts.
fn blocks(markdown: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "```rhai" || line.trim().starts_with("```rhai,") {
            found.push(
                lines.by_ref().take_while(|line| line.trim() != "```").flat_map(|l| [l, "\n"]).collect(),
            );
        }
    }
    found
}

#[test]
fn examples_of_operations_have_no_findings() {
    let mut checked = 0;
    for operation in CATALOG.registry().operations() {
        for script in blocks(operation.doc) {
            let found = check_text(&script).findings;
            assert!(found.is_empty(), "{}: {found:#?}\n{script}", operation.name);
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked} examples");
}
