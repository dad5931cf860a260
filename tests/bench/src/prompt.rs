//! `hob repl` from the start of its process to its prompt.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::sample::Sample;

/// The most that the first prompt should take.
const GOAL: &str = "50 ms";
/// What the line editor asks a terminal at first: where its cursor is.
const ASKS: &[u8] = b"\x1b[6n";
/// What a terminal answers: in the first column of the first line.
const ANSWER: &[u8] = b"\x1b[1;1R";
/// Ctrl-D, which ends the session.
const LEAVE: &[u8] = b"\x04";

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The binary.
    #[arg(long, default_value = "target/release/hob")]
    hob: PathBuf,
    /// How often it is started.
    #[arg(long, default_value_t = 30)]
    rounds: usize,
}

/// A program in a pseudoterminal, which `script` of util-linux gives it; none when `wanted` never appears.
fn until_shown(line: &str, state: &Path, wanted: &[u8]) -> Option<Duration> {
    let begun = Instant::now();
    let mut program = Command::new("script")
        .args(["--quiet", "--flush", "--command", line, "/dev/null"])
        .env("HOB_STATE", state)
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`script` is there: apt-get install bsdutils");
    let mut keys = program.stdin.take().expect("it is a pipe");
    let mut screen = program.stdout.take().expect("it is a pipe");
    let (mut seen, mut answered, mut took) = (Vec::new(), 0, None);
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = screen.read(&mut chunk) {
        seen.extend_from_slice(&chunk[..count]);
        let asked = seen.windows(ASKS.len()).filter(|window| *window == ASKS).count();
        for _ in answered..asked {
            let _ = keys.write_all(ANSWER);
        }
        answered = asked;
        if took.is_none() && seen.windows(wanted.len()).any(|window| window == wanted) {
            took = Some(begun.elapsed());
            let _ = keys.write_all(LEAVE);
        }
    }
    let _ = program.wait();
    took
}

/// Starts it often, with a state directory that exists.
pub(crate) fn measure(root: &Path, options: &Options) {
    let hob = options.hob.canonicalize().expect("build it first: cargo build --release -p hob");
    println!("workload  `hob repl` in a pseudoterminal, {} times; goal {GOAL}", options.rounds);
    let state = root.join("state");
    let rounds = |line: &str, wanted: &[u8]| -> Vec<Duration> {
        let shown = (0..=options.rounds).map(|_| until_shown(line, &state, wanted).expect("it is shown"));
        shown.skip(1).collect()
    };
    println!("{:<22} {}", "(echo, the same way)", Sample::of(rounds("echo shown", b"shown")).text());
    let line = format!("'{}' repl", hob.display());
    // Colours may stand between its parts: the last is looked for.
    println!("{:<22} {}", "to the first prompt", Sample::of(rounds(&line, b"> ")).text());
}
