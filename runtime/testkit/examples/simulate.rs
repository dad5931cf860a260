//! Simulates many random histories, or one and tells its story.
//!
//! ```text
//! cargo run --release -p hob-testkit --example simulate -- --count 5000000 --seed 1
//! cargo run --release -p hob-testkit --example simulate -- --seed 4711 --count 1 --verbose
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)] // it is a program
#![allow(clippy::disallowed_methods)] // and measures its own time

use std::process::ExitCode;
use std::time::Instant;

use hob_testkit::simulator::{Setup, simulate_many, tell};

/// Between two lines that tell how far it is.
const PROGRESS_EVERY: u64 = 100_000;

const USAGE: &str = "usage: simulate [--seed N] [--count N] [--threads N] [--sqlite] [--verbose]";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (mut seed, mut count, mut threads, mut setup) = (1, 100_000, 0, Setup::default());
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse::<u64>().ok());
        let known = match arg.as_str() {
            "--seed" => number().map(|n| seed = n),
            "--count" => number().map(|n| count = n),
            "--threads" => number().map(|n| threads = usize::try_from(n).unwrap_or(1)),
            "--sqlite" => {
                setup.sqlite = true;
                Some(())
            }
            "--verbose" => {
                setup.told = true;
                Some(())
            }
            _ => None,
        };
        if known.is_none() {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    if setup.told && count == 1 {
        return story_of(seed, setup);
    }
    if threads == 0 {
        threads = std::thread::available_parallelism().map_or(1, usize::from);
    }
    let begun = Instant::now();
    let progress = |done: u64| {
        if done > 0 && done.is_multiple_of(PROGRESS_EVERY) {
            eprintln!("{done} histories, {:.0}/s", done as f64 / begun.elapsed().as_secs_f64());
        }
    };
    match simulate_many(seed, count, threads, &setup, &progress) {
        Ok(tally) => {
            let took = begun.elapsed().as_secs_f64();
            println!("{tally}");
            println!("{took:.1} s on {threads} threads, {:.0} histories/s", tally.histories as f64 / took);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Tells one history.
fn story_of(seed: u64, setup: Setup) -> ExitCode {
    let thread = std::thread::Builder::new().stack_size(hob_engine::SCRIPT_STACK_BYTES);
    let told = thread.spawn(move || tell(seed, &setup)).ok().and_then(|thread| thread.join().ok());
    match told {
        Some(Ok((tally, story))) => {
            story.iter().for_each(|line| println!("{line}"));
            println!("{tally}");
            ExitCode::SUCCESS
        }
        Some(Err(failure)) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
        None => ExitCode::FAILURE,
    }
}
