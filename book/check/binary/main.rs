//! What the book says about the binary: its sessions happen as they are shown, and the reference of its commands is what
//! `--help` prints.
#![allow(clippy::disallowed_methods)] // tests read the project's own files and run the binary

use std::fs;
use std::path::Path;
use std::process::Command;

use hob_book_check::console::Session;
use hob_book_check::{markdown, pages};

/// The binary.
fn hob() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_hob"))
}

#[test]
fn sessions_happen_as_they_are_shown() {
    let mut played = 0;
    for page in pages::files("md").into_iter().filter(|page| page.starts_with("book/src")) {
        let text = pages::read(&page);
        let shown = markdown::parts(&text).blocks.iter().any(|block| block.is("console"));
        // Pages of error codes show single commands without their surroundings.
        if shown && !page.starts_with("book/src/reference") {
            played += 1;
            if let Err(problem) = Session::new(hob()).play(&text) {
                panic!("{}, {problem}", page.display());
            }
        }
    }
    assert!(played > 0);
}

/// `--help` of a command.
fn help(words: &[&str]) -> String {
    let output =
        Command::new(hob()).args(words).arg("--help").env("COLUMNS", "100").output().expect("it runs");
    String::from_utf8(output.stdout).expect("help is text")
}

/// The commands that a page of help lists.
fn listed(help: &str) -> Vec<String> {
    let lines =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names =
        lines.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next().map(str::to_owned));
    names.filter(|name| name != "help").collect()
}

/// What differs from one surrounding to the next.
fn plain(help: &str) -> String {
    let env = std::env::var("HOB_STATE")
        .map_or_else(|_| String::new(), |value| format!("[env: HOB_STATE={value}]"));
    let help = if env.is_empty() { help.to_owned() } else { help.replace(&env, "[env: HOB_STATE=]") };
    help.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn commands() -> String {
    let mut out = String::from(
        "<!-- Generated: HOB_UPDATE=1 cargo test -p hob --test book. Do not edit. -->\n\n# Commands\n\n\
         Standard output is data, everything else goes to standard error. [Exit codes](exit-codes.md) have a page.\n",
    );
    let top = help(&[]);
    out.push_str(&format!("\n## hob\n\n```text\n{}```\n", plain(&top)));
    for command in listed(&top) {
        let text = help(&[&command]);
        out.push_str(&format!("\n## hob {command}\n\n```text\n{}```\n", plain(&text)));
        for inner in listed(&text) {
            let text = help(&[&command, &inner]);
            out.push_str(&format!("\n### hob {command} {inner}\n\n```text\n{}```\n", plain(&text)));
        }
    }
    out
}

#[test]
fn the_reference_of_commands_is_fresh() {
    let file = pages::root().join("book/src/reference/commands.md");
    let fresh = commands();
    if std::env::var_os("HOB_UPDATE").is_some() {
        fs::write(&file, &fresh).expect("it can be written");
    }
    let stale = "is stale: run `HOB_UPDATE=1 cargo test -p hob --test book`";
    assert!(fs::read_to_string(&file).unwrap_or_default() == fresh, "{} {stale}", file.display());
}
