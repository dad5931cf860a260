//! Whole commands and all that they print, as Markdown: `cases/*.md`.
//!
//! Each section (`##`) has a directory and a state of its own. A block marked with a file's name is written to that
//! file. In a block marked `console` each line that begins with `$ ` is given to a shell; below it stand what came on
//! standard output, what came on standard error (behind `! `), and the exit status unless it is 0. Ids, times, ports
//! and paths stand as `RUN1`, `TIME`, `PORT` and `~` (see `hob_tests::text`), but for fire times. `UPDATE_EXPECT=1` rewrites the pages
//! with what is printed now.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use expect_test::expect_file;
use hob_tests::home::Home;
use hob_tests::process::Background;
use hob_tests::text::stable;

use crate::home;

/// What each command line may use: `newest` prints the id of the newest run.
const PREAMBLE: &str = r#"newest() { hob runs list --limit 1 --json | sed 's/^.."run":"\([^"]*\)".*/\1/'; }"#;
/// Below each problem with a code; the pages leave it out.
const FOOTER: &str = "For more about this, try `hob explain ";

#[test]
fn scripts_with_mistakes() {
    check("mistakes.md", include_str!("cases/mistakes.md"));
}

#[test]
fn homelabs_with_mistakes() {
    check("homelabs.md", include_str!("cases/homelabs.md"));
}

#[test]
fn wrong_usage() {
    check("usage.md", include_str!("cases/usage.md"));
}

#[test]
fn commands_and_what_they_print() {
    check("commands.md", include_str!("cases/commands.md"));
}

#[test]
fn secrets_at_rest() {
    check("secrets.md", include_str!("cases/secrets.md"));
}

#[test]
fn plugins_of_age() {
    check("plugins.md", include_str!("cases/plugins.md"));
}

fn check(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/blackbox/cases").join(name);
    expect_file![path].assert_eq(&carry_out(page));
}

/// The page with what its commands print now.
fn carry_out(page: &str) -> String {
    let mut out = String::new();
    let mut home = home();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let _ = writeln!(out, "{line}");
        if line.starts_with("## ") {
            home = crate::home();
        }
        let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match kind {
            "console" => {
                let commands = block.iter().filter_map(|line| line.strip_prefix("$ "));
                commands.for_each(|command| out += &run(&home, command));
            }
            file => {
                let text: String = block.iter().flat_map(|line| [line, "\n"]).collect();
                home.write(file.split(' ').next_back().unwrap_or(file), &text);
                out += &text;
            }
        }
        out += "```\n";
    }
    out
}

/// A command with what it prints.
fn run(home: &Home, command: &str) -> String {
    let hob = Path::new(env!("CARGO_BIN_EXE_hob"));
    let bin = home.path("bin");
    if !bin.exists() {
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(hob, bin.join("hob")).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let mut shell = Command::new("sh");
    shell.env_clear().env("PATH", path).env("HOME", home.dir()).env("HOB_STATE", home.state());
    shell.arg("-c").arg(format!("{PREAMBLE}\n{command}")).current_dir(home.dir());
    let ran = Background::start(&mut shell, None).end();
    let mut out = format!("$ {command}\n");
    let text = format!("{}\u{0}{}", ran.stdout, ran.stderr);
    // Together, so that an id has one name in both.
    let fire_times = command.starts_with("hob schedule next");
    let text = if fire_times { text } else { stable(&text, home.dir()) };
    let (stdout, stderr) = text.split_once('\u{0}').unwrap_or((&text, ""));
    for line in stdout.lines() {
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let said: Vec<&str> = stderr.lines().filter(|line| !line.starts_with(FOOTER)).collect();
    let last = said.iter().rposition(|line| !line.trim().is_empty()).map_or(0, |at| at + 1);
    for line in &said[..last] {
        let _ = writeln!(out, "{}", format!("! {line}").trim_end());
    }
    match ran.code {
        Some(0) => {}
        Some(code) => drop(writeln!(out, "[exit {code}]")),
        None => drop(writeln!(out, "[signal {:?}]", ran.signal)),
    }
    out
}
