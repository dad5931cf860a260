//! `kill -9` at random moments, with files, processes and a web server as witnesses.
//!
//! What must hold, wherever the kill strikes: no run is lost; no completed effect is repeated; no `once` effect is
//! executed twice unless somebody decided so; each `once` effect whose outcome is unknown is reported in doubt; each
//! `keyed` effect happens exactly once; runs that sleep wake.

mod children;
mod daemon;
mod foreground;
mod ledger;

use std::time::Duration;

/// What the runs do.
const WORK: &str = include_str!("work.rhai");
/// How long the web server takes to answer: long enough that many kills fall between question and answer.
const ANSWER_PAUSE: Duration = Duration::from_millis(8);

/// The kills of one test.
fn kills_wanted() -> usize {
    if hob_tests::long() { 320 } else { 60 }
}

/// Random choices, with the seed on record.
fn chance() -> fastrand::Rng {
    let rng = fastrand::Rng::new();
    println!("seed {}", rng.get_seed());
    rng
}
