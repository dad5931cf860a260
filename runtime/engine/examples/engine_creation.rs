//! How long making an engine takes: the median of many, beside an engine without any function.
#![allow(clippy::disallowed_methods)] // a benchmark reads the clock
#![allow(clippy::print_stdout)] // and prints

use std::hint::black_box;
use std::time::{Duration, Instant};

use hob_engine::language::{Limits, new_engine};

const ROUNDS: usize = 1_000;
const ENGINES_PER_ROUND: u32 = 100;

fn main() {
    let limits = Limits::default();
    let bare = median(|| drop(black_box(rhai::Engine::new_raw())));
    let full = median(|| drop(black_box(new_engine(&limits))));
    println!("a raw engine of Rhai     {bare:>8.1?}");
    println!("an engine for a script   {full:>8.1?}");
}

/// The median duration of one call.
fn median(mut call: impl FnMut()) -> Duration {
    call();
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..ENGINES_PER_ROUND).for_each(|_| call());
            start.elapsed() / ENGINES_PER_ROUND
        })
        .collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}
