//! Supervised processes: what holds for every supervisor, and what only real processes can show.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails
#![allow(clippy::disallowed_methods)] // These tests set up files and look at what processes left behind.

mod contract;
mod gates;
mod life;
mod logs;
mod survival;

use std::path::Path;
use std::time::{Duration, Instant};

use hob_planner::declaration::{Body, Gate, Process, Readiness};
use hob_primitive::Cancel;
use hob_supervisor::live::Live;
use hob_supervisor::{NotReady, Running, Spec, Supervisor, await_ready};

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A supervisor of a state directory that ends all its services with the test.
struct World {
    live: Live,
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { live: open(dir.path(), []), dir }
    }

    /// As a hob that comes back and has journaled nothing.
    fn reopened(&self) -> Live {
        open(self.dir.path(), [])
    }

    fn start(&self, spec: &Spec) -> Running {
        self.live.start(spec, "key").expect("it starts").running
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for running in self.live.observe().expect("/proc is there") {
            drop(self.live.stop(&running.name, Duration::ZERO));
        }
    }
}

fn open(state: &Path, known: impl IntoIterator<Item = Running>) -> Live {
    let path = std::env::var("PATH").expect("tests have a PATH");
    Live::open(state, [("PATH".to_owned(), path)], known).expect("the state directory is there")
}

/// A service that is a shell script.
fn shell(name: &str, script: &str) -> Spec {
    command(name, &["sh", "-c", script])
}

fn command(name: &str, words: &[&str]) -> Spec {
    let command = words.iter().map(|word| (*word).to_owned()).collect();
    let process = Process { command, workdir: "/".into(), ..Process::default() };
    Spec::new(name, Body::Process(process))
}

/// The process that a service is.
fn process_of(spec: &mut Spec) -> &mut Process {
    match &mut spec.body {
        Body::Process(process) => process,
        Body::Kept(_) => unreachable!("it was made a process"),
    }
}

/// Waits for a gate.
fn ready(
    live: &dyn Supervisor,
    running: &Running,
    spec: &Spec,
    gate: Gate,
    timeout: Duration,
) -> Result<(), NotReady> {
    await_ready(live, running, spec, &Readiness { gate, timeout }, &Cancel::default(), &|_| ())
}

/// Starts a service and waits until it has written a line.
fn start_and_read(world: &World, spec: &Spec, pattern: &str) -> Running {
    let running = world.start(spec);
    let gate = Gate::Log { pattern: pattern.to_owned() };
    ready(&world.live, &running, spec, gate, PATIENCE).expect("it writes the line");
    running
}

/// The processes that live and have `mark` in their environment, whoever started them.
fn alive(mark: &str) -> Vec<u32> {
    let all = procfs::process::all_processes().expect("/proc is there");
    let has_mark = |entry: &procfs::process::Process| {
        let is_alive = entry.stat().is_ok_and(|stat| !matches!(stat.state, 'Z' | 'X'));
        is_alive && entry.environ().is_ok_and(|env| env.contains_key(std::ffi::OsStr::new(mark)))
    };
    let found = all.flatten().filter(has_mark);
    found.filter_map(|entry| u32::try_from(entry.pid).ok()).collect()
}

/// Looks until it is so; the only way to await what a stranger does.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come about");
        std::thread::yield_now();
    }
}
