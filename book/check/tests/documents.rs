//! Every script in every document compiles, and runs where it can; every link leads somewhere; the reference is fresh.
#![allow(clippy::disallowed_methods)] // tests read the project's own files

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hob_book_check::reference;
use hob_book_check::scripts::{Depth, Sources, check, evaluator};
use hob_book_check::{markdown, pages};
use hob_daemon::settings::{Beside, Settings};
use hob_engine::Base;
use hob_testkit::on_script_stack;

/// Pages that are generated, and whose scripts are tried where they come from: the documentation of operations and the
/// pages of primitives by the tests of `hob-stdlib`, those of codes below.
fn is_copy(page: &Path) -> bool {
    page.starts_with("book/src/reference/primitives") || page.starts_with("book/src/reference/errors")
}

/// Pages that are no documents but test cases, with tests of their own: their scripts are meant to fail.
fn is_suite(page: &Path) -> bool {
    page.parent().is_some_and(|folder| folder.ends_with("cases"))
}

#[test]
fn scripts_in_documents_hold() {
    on_script_stack(|| {
        let evaluator = evaluator();
        let (mut count, mut wrong) = (0, Vec::new());
        for page in pages::files("md").into_iter().filter(|page| !is_copy(page) && !is_suite(page)) {
            let name = page.to_string_lossy().into_owned();
            for block in markdown::parts(&pages::read(&page)).blocks {
                if !block.is("rhai") {
                    continue;
                }
                count += 1;
                let depth = if block.has("no_run") { Depth::Compile } else { Depth::Run };
                // What scripts import is found by the ends of their names.
                let root = format!("{name}.rhai");
                if let Err(problem) = check(&evaluator, &root, &Sources::of(&root, &block.text), depth) {
                    wrong.push(format!("{name}:{}: {problem}", block.line));
                }
            }
        }
        assert!(wrong.is_empty(), "{} of {count} scripts:\n\n{}", wrong.len(), wrong.join("\n\n"));
        assert!(count > 40, "only {count} scripts were found");
    });
}

/// Code that a page shows, `rust,from=PATH`, is part of that file, indented as it may be.
#[test]
fn code_in_documents_is_the_code() {
    let plain = |text: &str| text.lines().map(|line| format!("{}\n", line.trim())).collect::<String>();
    let mut count = 0;
    for page in pages::files("md") {
        for block in markdown::parts(&pages::read(&page)).blocks {
            let Some(file) = block.value("from") else { continue };
            count += 1;
            let holds = plain(&pages::read(Path::new(file))).contains(&plain(&block.text));
            assert!(holds, "{}:{}: {file} does not have these lines", page.display(), block.line);
        }
    }
    assert!(count > 0);
}

#[test]
fn settings_in_documents_are_read() {
    let registry = hob_stdlib::registry();
    let base = Base { directory: Path::new("/srv/lab"), home: Some(Path::new("/home/ada")) };
    let beside = Beside { base, registry: &registry, exists: &|_| true };
    let page = Path::new("book/src/reference/hob-toml.md");
    let blocks = markdown::parts(&pages::read(page)).blocks;
    let settings: Vec<_> = blocks.iter().filter(|block| block.is("toml")).collect();
    assert!(!settings.is_empty());
    for block in settings {
        let read = Settings::read(&block.text, &beside);
        assert!(read.is_ok_and(|it| it != Settings::default()), "{}:{}", page.display(), block.line);
    }
}

#[test]
fn examples_hold() {
    on_script_stack(|| {
        let evaluator = evaluator();
        let files: Vec<PathBuf> =
            pages::files("rhai").into_iter().filter(|file| file.starts_with("examples")).collect();
        let homelabs: Vec<&PathBuf> = files.iter().filter(|file| file.ends_with("homelab.rhai")).collect();
        assert!(!homelabs.is_empty());
        for file in &files {
            let home = homelabs.iter().find_map(|homelab| homelab.parent().filter(|it| file.starts_with(it)));
            let directory = home.or(file.parent()).expect("a file has a directory");
            let root = file.strip_prefix(directory).expect("it is below").to_string_lossy();
            // A module of a homelab is tried with the homelab; by itself it is compiled.
            let depth = if root == "homelab.rhai" { Depth::Run } else { Depth::Compile };
            let sources = Sources::in_directory(directory, &files);
            if let Err(problem) = check(&evaluator, &root, &sources, depth) {
                panic!("{}: {problem}", file.display());
            }
        }
    });
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for page in pages::files("md") {
        let text = pages::read(&page);
        for (line, link) in markdown::links(&markdown::parts(&text)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().expect("a page is in a folder").join(path),
            };
            let full = pages::root().join(&target);
            let found = full.exists()
                && (anchor.is_empty()
                    || markdown::anchors(&markdown::parts(&fs::read_to_string(&full).unwrap_or_default()))
                        .iter()
                        .any(|it| it == anchor));
            if !found {
                wrong.push(format!("{}:{line}: {link}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these links lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn the_summary_lists_every_page() {
    let summary = Path::new("book/src/SUMMARY.md");
    let parts = markdown::parts(&pages::read(summary));
    let listed: BTreeSet<PathBuf> =
        markdown::links(&parts).into_iter().map(|(_, link)| Path::new("book/src").join(link)).collect();
    let there: BTreeSet<PathBuf> = pages::files("md")
        .into_iter()
        .filter(|page| page.starts_with("book/src") && page != summary)
        .collect();
    assert_eq!(listed, there);
}

#[test]
fn the_reference_is_fresh() {
    let stale = "is stale: run `cargo run -p hob-book-check --example reference`";
    let fresh = reference::pages();
    for (path, text) in &fresh {
        let file = Path::new(reference::FOLDER).join(path);
        let there = fs::read_to_string(pages::root().join(&file)).unwrap_or_default();
        assert!(there == *text, "{} {stale}", file.display());
    }
    assert!(
        pages::read(Path::new(reference::SUMMARY)) == reference::summary(),
        "{} {stale}",
        reference::SUMMARY
    );
    for page in pages::files("md").into_iter().filter(|page| is_copy(page)) {
        let path = page.strip_prefix(reference::FOLDER).expect("it is below");
        assert!(fresh.contains_key(path), "{} is of something that is gone: remove it", page.display());
    }
}

#[test]
fn pages_of_codes_hold() {
    on_script_stack(|| {
        let evaluator = evaluator();
        for code in hob_model::Code::ALL {
            for block in markdown::parts(code.page()).blocks {
                let depth = if block.has("no_run") { Depth::Compile } else { Depth::Run };
                let sources = Sources::of(code.as_str(), &block.text);
                if block.is("rhai")
                    && let Err(problem) = check(&evaluator, code.as_str(), &sources, depth)
                {
                    panic!("{code}: {problem}");
                }
            }
        }
    });
}

/// The text of the doc comments of a source, with their markers and everything else left out; lines keep their numbers.
fn doc_comments(source: &str) -> String {
    let comment = |line: &str| {
        let line = line.trim_start();
        let rest = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        rest.map(|rest| rest.strip_prefix(' ').unwrap_or(rest).to_owned()).unwrap_or_default()
    };
    source.lines().map(|line| comment(line) + "\n").collect()
}

#[test]
fn examples_in_doc_comments_of_the_engine_hold() {
    on_script_stack(|| {
        let evaluator = evaluator();
        let (mut count, mut wrong) = (0, Vec::new());
        for file in pages::files("rs").into_iter().filter(|file| file.starts_with("runtime/engine/src")) {
            // A file about Markdown may hold half of a block in a text.
            if file.ends_with("tests.rs") {
                continue;
            }
            let name = file.to_string_lossy().into_owned();
            let blocks = markdown::parts(&doc_comments(&pages::read(&file))).blocks;
            for block in blocks.into_iter().filter(|block| block.is("rhai")) {
                count += 1;
                let sources = Sources::of(&name, &block.text);
                if let Err(problem) = check(&evaluator, &name, &sources, Depth::Run) {
                    wrong.push(format!("{name}:{}: {problem}", block.line));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        assert!(count > 10, "only {count} examples were found");
    });
}
