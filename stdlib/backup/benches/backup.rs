//! Backs up, backs up again, checks and restores beside `restic`: `cargo bench -p hob-std-backup --bench backup -- --dir /mnt/disk`.
//!
//! Each step is a process of its own, of hob's operations as of restic, so that times and the peaks of memory compare.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)] // a benchmark: it measures real files

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hob_std_backup::live::Live;
use hob_std_backup::port::Backups;
use hob_testkit::Harness;
use serde_json::json;

/// Each is measured so often, in turns; the best counts.
const ROUNDS: usize = 3;

/// How often the memory of a process is looked at; its peak is kept by the kernel.
const LOOK: Duration = Duration::from_millis(2);

const PASSWORD: &str = "correct horse battery staple";

const STEPS: [&str; 4] = ["backup", "unchanged", "check", "restore"];

/// What a step took.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    peak_mib: f64,
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let after = |flag: &str| args.iter().position(|it| it == flag).and_then(|at| args.get(at + 1)).cloned();
    if let Some(step) = after("--step") {
        return hob(&step, Path::new(&after("--dir").unwrap()));
    }
    let base = after("--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::Builder::new().prefix("hob-bench-").tempdir_in(base).unwrap();
    fill(&dir.path().join("src"));
    println!("1,000 files of 8 KiB and 8 of 32 MiB, of which a half repeats; best of {ROUNDS}, in turns");
    println!(
        "{:<10} {:>9} {:>9} {:>6} {:>9} {:>9} {:>6}",
        "", "hob s", "restic s", "ratio", "hob MiB", "restic", "ratio"
    );
    let mut best: Vec<[Option<Cost>; 2]> = vec![[None; 2]; STEPS.len()];
    for _ in 0..ROUNDS {
        for left in ["hob", "restic", "out-hob", "out-restic"] {
            let _ = fs::remove_dir_all(dir.path().join(left));
        }
        let place = dir.path().to_str().unwrap().to_owned();
        measure(Command::new(&args[0]).args(["--step", "init", "--dir", &place]));
        measure(restic(dir.path()).arg("init"));
        for (step, kept) in STEPS.into_iter().zip(&mut best) {
            let mut own = Command::new(&args[0]);
            own.args(["--step", step, "--dir", &place]);
            let both = [measure(&mut own), measure(&mut of_restic(step, dir.path()))];
            for (kept, cost) in kept.iter_mut().zip(both) {
                if kept.is_none_or(|best| cost.seconds < best.seconds) {
                    *kept = Some(cost);
                }
            }
        }
    }
    for (step, [own, other]) in STEPS.into_iter().zip(best.into_iter().map(|it| it.map(Option::unwrap))) {
        println!(
            "{step:<10} {:>9.2} {:>9.2} {:>6.2} {:>9.0} {:>9.0} {:>6.2}",
            own.seconds,
            other.seconds,
            own.seconds / other.seconds,
            own.peak_mib,
            other.peak_mib,
            own.peak_mib / other.peak_mib
        );
    }
}

fn fill(src: &Path) {
    let mut chance = fastrand::Rng::with_seed(7);
    fs::create_dir_all(src.join("small")).unwrap();
    let mut noise = |bytes: usize| {
        let mut content = vec![0; bytes];
        chance.fill(&mut content[..bytes / 2]);
        content
    };
    for number in 0..1000 {
        fs::write(src.join(format!("small/{number}")), noise(8 << 10)).unwrap();
    }
    for number in 0..8 {
        fs::write(src.join(format!("large {number}")), noise(32 << 20)).unwrap();
    }
}

/// One step by hob's operations.
fn hob(step: &str, dir: &Path) {
    let harness = Harness::new().port::<dyn Backups>(Arc::new(Live::new())).cwd(dir).key(step);
    let options = json!({ "password": PASSWORD });
    let (name, args) = match step {
        "init" => ("backup::init", json!(["hob", options])),
        "check" => ("backup::check", json!(["hob", { "password": PASSWORD, "read": "all" }])),
        "restore" => {
            let source = dir.join("src");
            let options = json!({ "password": PASSWORD, "path": source, "verify": false });
            ("backup::restore", json!(["hob", "latest", "out-hob", options]))
        }
        _ => ("backup::snapshot", json!(["hob", ["src"], options])),
    };
    harness.call(&hob_std_backup::primitive(), name, args).unwrap();
}

fn restic(dir: &Path) -> Command {
    let mut command = Command::new("restic");
    command.env("RESTIC_PASSWORD", PASSWORD).args(["--no-cache", "-r"]).arg(dir.join("restic"));
    command.current_dir(dir);
    command
}

fn of_restic(step: &str, dir: &Path) -> Command {
    let mut command = restic(dir);
    match step {
        "check" => command.args(["check", "--read-data"]),
        "restore" => command.args(["restore", "latest", "--target"]).arg(dir.join("out-restic")),
        _ => command.args(["backup", "src"]),
    };
    command
}

fn measure(command: &mut Command) -> Cost {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut peak = 0.0;
    let status = loop {
        if let Some(found) = peak_mib(child.id()) {
            peak = found;
        }
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(LOOK),
        }
    };
    assert!(status.success(), "{command:?}");
    Cost { seconds: begun.elapsed().as_secs_f64(), peak_mib: peak }
}

/// The most memory that a process had, as the kernel keeps it (`proc_pid_status(5)`).
fn peak_mib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}
