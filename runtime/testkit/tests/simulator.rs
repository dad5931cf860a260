//! Random durable runs on failing machines, and the proof that the simulator sees what it is there to see.
//!
//! `HOB_LONG=1` simulates fifty times as many histories.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // whoever runs the tests may want the long form

use hob_testkit::simulator::{Sabotage, Setup, simulate, simulate_many};

const HISTORIES: u64 = 100_000;
const HISTORIES_OVER_SQLITE: u64 = 60;
/// The long form.
const TIMES_LONGER: u64 = 50;
/// A lie must be found out within so many histories.
const HISTORIES_UNTIL_FOUND: u64 = 300;
const FIRST_SEED: u64 = 1;

fn times(histories: u64) -> u64 {
    if std::env::var("HOB_LONG").is_ok() { histories * TIMES_LONGER } else { histories }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

#[test]
fn no_rule_is_broken_on_failing_machines() {
    match simulate_many(FIRST_SEED, times(HISTORIES), threads(), &Setup::default(), &|_| ()) {
        Ok(tally) => {
            assert!(tally.restarts > tally.histories / 2, "{tally}");
            assert!(tally.compared > tally.histories / 5, "{tally}");
            assert!(tally.damaged > 0 && tally.replays > 0, "{tally}");
        }
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn no_rule_is_broken_over_sqlite() {
    let setup = Setup { sqlite: true, ..Setup::default() };
    if let Err(failure) = simulate_many(FIRST_SEED, times(HISTORIES_OVER_SQLITE), threads(), &setup, &|_| ())
    {
        panic!("{failure}");
    }
}

#[test]
fn a_seed_gives_the_same_history_again() {
    for seed in 1..40 {
        let setup = Setup::default();
        let two = on_a_script_thread(move || (simulate(seed, &setup), simulate(seed, &setup)));
        match two {
            (Ok(one), Ok(other)) => assert_eq!(one, other, "seed {seed}"),
            (Err(failure), _) | (_, Err(failure)) => panic!("{failure}"),
        }
    }
}

#[test]
fn every_lie_is_found_out_by_the_rule_that_is_there_for_it() {
    let lies = [
        (Sabotage::SkipSync, "durable"),
        (Sabotage::ForgetOutcomes, "a completed effect is repeated"),
        (Sabotage::ForgetIntents, "an intent where the effect is"),
        (Sabotage::ActTwice, "times with"),
        (Sabotage::LoseSynced, "durable entries"),
        (Sabotage::LoseWakeups, "it goes on after"),
    ];
    for (lie, rule) in lies {
        let setup = Setup { sabotage: Some(lie), ..Setup::default() };
        let broken = on_a_script_thread(move || rules_broken(&setup, rule));
        assert!(broken.last().is_some_and(|last| last.contains(rule)), "{lie:?} breaks only {broken:#?}");
    }
}

/// The rules that histories with a lie break, up to the first with these words.
fn rules_broken(setup: &Setup, words: &str) -> Vec<String> {
    let mut broken = Vec::new();
    for seed in FIRST_SEED..FIRST_SEED + HISTORIES_UNTIL_FOUND {
        if let Err(failure) = simulate(seed, setup) {
            let found = failure.rule.contains(words);
            broken.push(failure.rule);
            if found {
                break;
            }
        }
    }
    broken
}

fn on_a_script_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(hob_engine::SCRIPT_STACK_BYTES);
    thread.spawn(work).unwrap().join().unwrap()
}
