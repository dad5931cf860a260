//! Runs that wait their turn.

#![allow(clippy::unwrap_used)]

mod world;

use std::sync::Arc;

use hob_engine::Bundle;
use hob_journal::{Journal, Write};
use hob_model::{OnDoubt, RunEntry, RunId, RunStatus, Value};
use hob_runs::{Begin, Firing, NewRun};
use world::World;

fn new(world: &World) -> NewRun {
    with_sources(world, r#"world::make("x")"#)
}

fn with_sources(world: &World, script: &str) -> NewRun {
    let entry = RunEntry::Playbook("test.rhai".into());
    let started = world::started(entry, Value::Unit, OnDoubt::Ask);
    let bundle = Arc::new(Bundle::of_text("test.rhai", script, "/", "host"));
    NewRun { id: world.runs.new_id(), started, bundle }
}

fn queued(world: &World, queue: &str) -> RunId {
    let new = new(world);
    let run = new.id;
    let fact = Write::Fact { key: "beside".into(), value: Some(Value::from(run.to_string())) };
    let begin = Begin { queue: Some(queue.to_owned()), beside: vec![fact] };
    world.runs.start_as(new, begin).unwrap();
    world.settle();
    run
}

fn waiting(world: &World, queue: &str) -> Vec<RunId> {
    let all = world.runs.queues().unwrap();
    all.into_iter().filter(|(_, of)| of == queue).map(|(run, _)| run).collect()
}

#[test]
fn a_run_waits_its_turn_over_a_crash_and_begins_once() {
    let world = World::default();
    let (first, second) = (queued(&world, "a"), queued(&world, "a"));
    let other = queued(&world, "b");
    world.runs.journal().flush().unwrap();
    assert_eq!(world.journal.fact("beside").unwrap(), Some(Value::from(other.to_string())));
    let world = world.crash(0);
    assert!(world.ledger.done().is_empty());
    assert_eq!(waiting(&world, "a"), [first, second]);
    assert_eq!((world.status(first), world.runs.turns()), (RunStatus::Queued, 3));
    // Nothing else starts it either.
    assert!(world.runs.take_turn(first).unwrap());
    assert!(!world.runs.take_turn(first).unwrap(), "once");
    // It dies before it was evaluated: it goes on all the same.
    let world = world.crash(0);
    assert_eq!(world.ledger.done(), ["make x"]);
    assert_eq!(world.status(first), RunStatus::Succeeded);
    assert_eq!(world.shape(first)[..2], ["Started", "Resumed"]);
    assert_eq!(waiting(&world, "a"), [second]);
}

#[test]
fn a_slot_is_claimed_by_the_run_that_waits() {
    let world = World::default();
    let nominal = world.runs.now();
    let begin = || Begin { queue: Some("a".to_owned()), ..Begin::default() };
    let start = |begin| {
        world.runs.start_slot(Firing { schedule: "a".to_owned(), nominal, new: new(&world), begin }).unwrap()
    };
    assert!(start(begin()));
    assert!(!start(begin()));
    assert!(!start(Begin::default()));
    let world = world.crash(0);
    assert_eq!(waiting(&world, "a").len(), 1);
    assert!(world.ledger.done().is_empty());
}

#[test]
fn sources_that_came_with_a_claim_that_was_refused_are_there_for_the_next_run() {
    let world = World::default();
    let nominal = world.runs.now();
    let start = |new| {
        let firing = Firing { schedule: "a".to_owned(), nominal, new, begin: Begin::default() };
        world.runs.start_slot(firing).unwrap()
    };
    assert!(start(new(&world)));
    let other = || with_sources(&world, r#"world::make("y")"#);
    assert!(!start(other()));
    let next = other();
    let run = next.id;
    world.runs.start(next).unwrap();
    world.runs.journal().flush().unwrap();
    let world = world.crash(0);
    assert_eq!(world.status(run), RunStatus::Succeeded);
}

#[test]
fn a_cancelled_run_waits_no_longer() {
    let world = World::default();
    let run = queued(&world, "a");
    world.runs.cancel(run, "not wanted").unwrap();
    world.settle();
    assert_eq!((world.status(run), world.runs.turns()), (RunStatus::Cancelled, 0));
    assert!(!world.runs.take_turn(run).unwrap());
    let world = world.crash(usize::MAX);
    assert!(waiting(&world, "a").is_empty());
    assert!(world.ledger.done().is_empty());
}
