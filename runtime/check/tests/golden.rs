//! Wrong scripts and all that is said of them: `golden.md`. `UPDATE_EXPECT=1` rewrites it with what is said now.

mod common;

use std::fmt::Write as _;
use std::sync::Arc;

use common::check_text;
use expect_test::expect_file;
use hob_terminal::{Style, render_all};

/// How many wrong scripts there are at least.
const CASES_MIN: usize = 60;

#[test]
fn each_wrong_script_gets_its_findings() {
    let page = include_str!("cases/golden.md");
    let mut out = String::new();
    let mut cases = 0;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        match line {
            "```rhai" => {
                let script: String =
                    lines.by_ref().take_while(|line| *line != "```").flat_map(|l| [l, "\n"]).collect();
                let _ = write!(out, "```rhai\n{script}```\n\n```text\n{}```\n", findings(&script));
                cases += 1;
            }
            // What was said before.
            "```text" => {
                lines.by_ref().take_while(|line| *line != "```").for_each(drop);
                let _ = lines.next();
                out.push('\n');
            }
            "" => {
                if !out.ends_with("\n\n") {
                    out.push('\n');
                }
            }
            line => {
                let _ = writeln!(out, "{line}");
            }
        }
    }
    expect_file!["cases/golden.md"].assert_eq(out.trim_end_matches('\n').to_owned().as_str());
    assert!(cases >= CASES_MIN, "{cases} cases");
}

fn findings(script: &str) -> String {
    let checked = check_text(script);
    assert!(!checked.findings.is_empty(), "nothing is said of\n{script}");
    let files = checked.files;
    let sources = move |file: &str| files.get(file).map(Arc::clone);
    let text = render_all(&checked.findings, &sources, Style::plain());
    let text = text.split("For more about").next().unwrap_or(&text).trim_end().to_owned();
    text + "\n"
}
