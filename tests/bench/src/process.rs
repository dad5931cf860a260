//! `hob run` of small scripts as a whole process.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::sample::Sample;

/// The most that `hob run` of a trivial script should take.
const GOAL: &str = "15 ms";

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The binary.
    #[arg(long, default_value = "target/release/hob")]
    hob: PathBuf,
    /// How often each script is run.
    #[arg(long, default_value_t = 30)]
    rounds: usize,
}

const SCRIPTS: [(&str, &str); 3] =
    [("empty", ""), ("one-plus-one", "1 + 1"), ("three-steps", r#"for i in 0..3 { step(`s${i}`, || i); }"#)];

/// Tells the highest memory of its own process, in KiB.
const PEAK: &str = r#"
let line = files::read("/proc/self/status").split("\n").filter(|l| l.starts_with("VmHWM"))[0];
line.split()[1]
"#;

/// Runs each script often.
pub(crate) fn measure(root: &Path, options: &Options) {
    let hob = options.hob.canonicalize().expect("build it first: cargo build --release -p hob");
    println!(
        "workload  `hob run SCRIPT` with a state directory that exists, {} times; goal {GOAL}",
        options.rounds
    );
    let command = |script: &Path| {
        let mut command = Command::new(&hob);
        command.arg("run").arg(script).env("HOB_STATE", root.join("state"));
        command
    };
    let write = |name: &str, text: &str| {
        let path = root.join(format!("{name}.rhai"));
        std::fs::write(&path, text).unwrap();
        // A script that others can write is not trusted.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        path
    };
    let version: Vec<_> = (0..options.rounds)
        .map(|_| {
            let begun = Instant::now();
            assert!(Command::new(&hob).arg("--version").output().unwrap().status.success());
            begun.elapsed()
        })
        .collect();
    println!("{:<14} {}", "(--version)", Sample::of(version).text());
    for (name, text) in SCRIPTS {
        let script = write(name, text);
        let rounds: Vec<_> = (0..=options.rounds)
            .map(|_| {
                let begun = Instant::now();
                let output = command(&script).output().unwrap();
                let took = begun.elapsed();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                took
            })
            .skip(1)
            .collect();
        println!("{name:<14} {}", Sample::of(rounds).text());
    }
    let output = command(&write("peak", PEAK)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let kib: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(0);
    println!("peak memory    {}", crate::machine::mib(kib));
}
