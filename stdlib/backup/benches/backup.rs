//! Backs up, backs up again, checks and restores beside `restic`, and beside `rustic` where that is installed:
//! `cargo bench -p hob-std-backup --bench backup -- --dir /mnt/disk`.
//!
//! Each step is a process of its own, of hob's operations as of the others, so that times and the peaks of memory compare.

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

impl Cost {
    fn seconds(&self) -> f64 {
        self.seconds
    }

    fn peak_mib(&self) -> f64 {
        self.peak_mib
    }
}

/// Another program that does the same, without a cache.
enum Other {
    Restic,
    /// It lies there.
    Rustic(PathBuf),
}

impl Other {
    fn name(&self) -> &'static str {
        match self {
            Self::Restic => "restic",
            Self::Rustic(_) => "rustic",
        }
    }

    fn command(&self, dir: &Path) -> Command {
        let (mut command, password) = match self {
            Self::Restic => (Command::new("restic"), "RESTIC_PASSWORD"),
            Self::Rustic(program) => (Command::new(program), "RUSTIC_PASSWORD"),
        };
        // Neither a person's settings nor their cache bear on it.
        command.env("HOME", dir).env_remove("XDG_CONFIG_HOME").env(password, PASSWORD);
        command.args(["--no-cache", "-r"]).arg(dir.join(self.name())).current_dir(dir);
        command
    }

    fn step(&self, step: &str, dir: &Path) -> Command {
        let mut command = self.command(dir);
        let out = dir.join(format!("out-{}", self.name()));
        match (step, self) {
            ("check", _) => command.args(["check", "--read-data"]),
            ("restore", Self::Restic) => command.args(["restore", "latest", "--target"]).arg(out),
            ("restore", Self::Rustic(_)) => command.args(["restore", "latest"]).arg(out),
            _ => command.args(["backup", "src"]),
        };
        command
    }
}

/// Where `rustic` is: where `tests/long` installs it, or as it is found by its name.
fn rustic() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/readers/rustic/bin/rustic");
    let runs = |program: &PathBuf| {
        let mut command = Command::new(program);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    [installed, PathBuf::from("rustic")].into_iter().find(runs)
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
    let others: Vec<Other> =
        [Some(Other::Restic), rustic().map(Other::Rustic)].into_iter().flatten().collect();
    let mut best: Vec<Vec<Option<Cost>>> = vec![vec![None; 1 + others.len()]; STEPS.len()];
    for _ in 0..ROUNDS {
        for name in others.iter().map(Other::name).chain(["hob"]) {
            for left in [name.to_owned(), format!("out-{name}")] {
                let _ = fs::remove_dir_all(dir.path().join(left));
            }
        }
        let own = |step: &str| {
            let mut command = Command::new(&args[0]);
            command.args(["--step", step, "--dir"]).arg(dir.path());
            measure(&mut command)
        };
        let _ = own("init");
        for other in &others {
            let _ = measure(other.command(dir.path()).arg("init"));
        }
        for (step, kept) in STEPS.into_iter().zip(&mut best) {
            let of_others = others.iter().map(|other| measure(&mut other.step(step, dir.path())));
            for (kept, cost) in kept.iter_mut().zip(std::iter::once(own(step)).chain(of_others)) {
                if kept.is_none_or(|best| cost.seconds < best.seconds) {
                    *kept = Some(cost);
                }
            }
        }
    }
    report(&others, &best);
}

/// A row for each step: what hob took, and for each of the others what that took and how many times of that hob took.
fn report(others: &[Other], best: &[Vec<Option<Cost>>]) {
    println!("1,000 files of 8 KiB and 8 of 32 MiB, of which a half repeats; best of {ROUNDS}, in turns");
    print!("{:<10}", "");
    for unit in ["s", "MiB"] {
        print!(" {:>9}", format!("hob {unit}"));
        for other in others {
            print!(" {:>10} {:>6}", format!("{} {unit}", other.name()), "ratio");
        }
    }
    println!();
    for (step, costs) in STEPS.into_iter().zip(best) {
        let costs: Vec<Cost> = costs.iter().map(|it| it.unwrap()).collect();
        print!("{step:<10}");
        for (what, digits) in [(Cost::seconds as fn(&Cost) -> f64, 2), (Cost::peak_mib, 0)] {
            let own = what(&costs[0]);
            print!(" {own:>9.digits$}");
            for other in costs[1..].iter().map(what) {
                print!(" {other:>10.digits$} {:>6.2}", own / other);
            }
        }
        println!();
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
