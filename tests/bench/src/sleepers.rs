//! Many sleeping runs: how fast they are made, what they cost while they sleep, and how late they wake.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use hob_daemon::clock::SystemClock;
use hob_model::{Timestamp, Value};
use hob_primitive::Clock;

use crate::floor;
use crate::lab::{Lab, Rest};
use crate::machine::{mib, status_kib};
use crate::sample::{Sample, text};

/// Runs that are started and not yet asleep, at most.
const UNDER_WAY_MAX: usize = 256;
/// The clock is set to so long before a wake-up time.
const BEFORE_DUE: Duration = Duration::from_millis(500);

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many runs sleep.
    #[arg(long, default_value_t = 100_000)]
    runs: usize,
    /// How many of them are due together, before all others are.
    #[arg(long, default_value_t = 1_000)]
    together: usize,
}

/// What the fresh process needs to know.
#[derive(clap::Args)]
pub(crate) struct ChildOptions {
    #[arg(long)]
    state: PathBuf,
    #[arg(long)]
    runs: usize,
    #[arg(long)]
    together: usize,
    #[arg(long)]
    first: Timestamp,
    #[arg(long)]
    second: Timestamp,
}

/// Makes the runs, and has a fresh process open the state.
pub(crate) fn measure(root: &Path, options: &Options) {
    println!(
        "workload  {} runs in sleep_until(); {} are due at one time, the others at another",
        options.runs, options.together
    );
    floor::print(root);
    let state = root.join("state");
    let first = SystemClock.now().checked_add(Duration::from_secs(86_400)).unwrap();
    let second = first.checked_add(Duration::from_secs(3_600)).unwrap();
    make(&state, options, first, second);
    let size = std::fs::metadata(state.join("journal.db")).map_or(0, |data| data.len());
    println!("on disk   {}", mib(size / 1024));
    let status = Command::new(std::env::current_exe().unwrap())
        .arg("sleepers-child")
        .arg("--state")
        .arg(&state)
        .args(["--runs", &options.runs.to_string(), "--together", &options.together.to_string()])
        .args(["--first", &first.to_string(), "--second", &second.to_string()])
        .status();
    assert!(status.unwrap().success());
}

fn make(state: &Path, options: &Options, first: Timestamp, second: Timestamp) {
    let lab = Lab::open(state);
    let rests = lab.ears.all();
    let begun = Instant::now();
    for n in 0..options.runs {
        if n >= UNDER_WAY_MAX {
            rests.recv().unwrap();
        }
        let at = if n < options.together { first } else { second };
        lab.runs.start(lab.new_run("sleeper", Value::from(at.to_string()))).unwrap();
    }
    for _ in 0..UNDER_WAY_MAX.min(options.runs) {
        rests.recv().unwrap();
    }
    let took = begun.elapsed();
    println!(
        "made      in {}, {:.0} runs/s, each durably asleep; {} at once",
        text(took),
        options.runs as f64 / took.as_secs_f64(),
        UNDER_WAY_MAX
    );
}

/// Opens the state in a fresh process and lets the runs wake.
pub(crate) fn child(options: &ChildOptions) {
    let before = status_kib("self", "VmRSS");
    drop(Lab::open(&options.state));
    let begun = Instant::now();
    let lab = Lab::open(&options.state);
    lab.runs.recover(true).unwrap();
    let due = lab.runs.next_due().unwrap();
    let started = begun.elapsed();
    assert_eq!(due, Some(options.first), "all runs sleep");
    println!(
        "start-up  {} with {} runs asleep (open, recover, find the next wake-up)",
        text(started),
        options.runs
    );
    println!(
        "memory    {} resident with all of them asleep; {} before the journal was opened",
        mib(status_kib("self", "VmRSS")),
        mib(before)
    );
    let rests = lab.ears.all();
    for (count, due) in [(options.together, options.first), (options.runs - options.together, options.second)]
    {
        let due_at = Instant::now() + BEFORE_DUE;
        lab.clock.set(due.checked_add(-jiff::SignedDuration::try_from(BEFORE_DUE).unwrap()).unwrap());
        lab.clock_was_set();
        print_lateness(&rests, count, due_at);
    }
    println!("memory    {} at most", mib(status_kib("self", "VmHWM")));
}

fn print_lateness(rests: &Receiver<Rest>, count: usize, due_at: Instant) {
    let late = |rest: Rest| {
        assert!(rest.succeeded, "the run {} did not succeed", rest.run);
        rest.at.saturating_duration_since(due_at)
    };
    let lateness = Sample::of(rests.iter().take(count).map(late).collect());
    let last = lateness.quantile(1.0);
    println!("{count:>7} due at one time: from then to the durable end of each");
    println!("lateness  {}  {:.0} runs/s", lateness.text(), count as f64 / last.as_secs_f64());
}
