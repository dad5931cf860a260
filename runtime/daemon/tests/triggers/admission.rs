//! How many runs of workflows go on at one time, and which come next.

use hob_daemon::admission::QUEUED_RUNS_MAX;
use hob_journal::RunFilter;
use hob_model::{RunStatus, Value};
use serde_json::json;

use crate::events::outputs;
use crate::world::World;

fn emit(world: &World, name: &str, payload: serde_json::Value) {
    world.runs.emit(name, Value::from_json(payload).unwrap(), "test").unwrap();
    world.go_on();
}

fn count(world: &World, name: &str, status: RunStatus) -> usize {
    let filter = RunFilter { name: Some(name.to_owned()), status: vec![status], ..RunFilter::default() };
    world.runs.journal().runs(&filter).unwrap().len()
}

#[test]
fn runs_beyond_the_limit_wait_their_turn_over_a_crash() {
    let text =
        r#"workflow("pair", #{ on: event("n"), concurrency: 2 }, |e| { wait_signal("go"); e.payload });"#;
    let mut world = World::new(text);
    for n in 0..5 {
        emit(&world, "n", json!(n));
    }
    let state =
        |world: &World| (count(world, "pair", RunStatus::Waiting), count(world, "pair", RunStatus::Queued));
    assert_eq!(state(&world), (2, 3));
    assert_eq!(world.launch.admission.waiting("pair"), 3);
    world = world.crash(usize::MAX, "1m", text);
    assert_eq!(state(&world), (2, 3));
    world.release("pair");
    assert_eq!(state(&world), (2, 2));
    // One that is cancelled while it waits makes no room, and one that goes on does.
    let queued = world.run_id("pair", RunStatus::Queued);
    world.runs.cancel(queued, "test").unwrap();
    world.go_on();
    assert_eq!(state(&world), (2, 1));
    world = world.crash(0, "1m", r#"workflow("other", #{ on: manual() }, || ());"#);
    // Without the declaration there is no limit: what waits begins, with the sources it was started with.
    assert_eq!(state(&world), (3, 0));
    while count(&world, "pair", RunStatus::Waiting) > 0 {
        world.release("pair");
    }
    let filter = RunFilter { status: vec![RunStatus::Succeeded], ..RunFilter::default() };
    assert_eq!(world.runs.journal().runs(&filter).unwrap().len(), 4);
}

#[test]
fn a_run_that_awaits_a_decision_makes_room() {
    let world = World::new(
        r#"workflow("one", #{ on: event("n"), concurrency: 1 }, |e| { if e.payload == 0 { sleep("1h"); } e.payload });"#,
    );
    for n in 0..3 {
        emit(&world, "n", json!(n));
    }
    // Who sleeps goes on.
    assert_eq!(world.launch.admission.waiting("one"), 2);
    world.pass("61m");
    assert_eq!(outputs(&world, "one"), [0, 1, 2]);
}

#[test]
fn priority_comes_before_age_under_a_limit_for_all() {
    let text = r#"
        workflow("low", #{ on: event("low"), priority: -1 }, |e| { wait_signal("go"); e.name });
        workflow("high", #{ on: event("high"), priority: 5 }, |e| { wait_signal("go"); e.name });
    "#;
    let world = World::limited(text, 1);
    for name in ["low", "low", "high", "high"] {
        emit(&world, name, json!(()));
    }
    assert_eq!(count(&world, "low", RunStatus::Waiting), 1);
    world.release("low");
    assert_eq!((count(&world, "high", RunStatus::Waiting), count(&world, "low", RunStatus::Queued)), (1, 1));
    world.release("high");
    assert_eq!((count(&world, "high", RunStatus::Waiting), count(&world, "low", RunStatus::Queued)), (1, 1));
    world.release("high");
    assert_eq!(count(&world, "low", RunStatus::Waiting), 1);
}

#[test]
fn a_timeout_ends_a_run_and_counts_from_its_turn() {
    let world = World::new(
        r#"workflow("slow", #{ on: event("n"), concurrency: 1, timeout: "1m" }, |e| { sleep("1h"); });"#,
    );
    emit(&world, "n", json!(0));
    emit(&world, "n", json!(1));
    world.pass("50s");
    assert_eq!(count(&world, "slow", RunStatus::Cancelled), 0);
    world.pass("20s");
    assert_eq!((count(&world, "slow", RunStatus::Cancelled), world.events("run.timeout").len()), (1, 1));
    world.pass("40s");
    assert_eq!(count(&world, "slow", RunStatus::Waiting), 1);
    world.pass("20s");
    assert_eq!(count(&world, "slow", RunStatus::Cancelled), 2);
}

#[test]
fn failures_are_handed_to_the_error_workflow() {
    let world = World::new(
        r#"
        workflow("fragile", #{ on: event("n"), on_error: "tell" }, |e| if e.payload == 1 { fail("it broke") });
        schedule("nightly", "0 0 * * *", #{ on_error: "tell" }, || fail("too late"));
        workflow("bold", #{ on: event("n") }, |e| fail("nobody is told"));
        workflow("tell", #{ on: manual() }, |e| `${e.payload.name}: ${e.payload.error.message}`);
        "#,
    );
    emit(&world, "n", json!(0));
    emit(&world, "n", json!(1));
    world.pass_by("12h", "1h");
    assert_eq!(outputs(&world, "tell"), ["fragile: it broke", "nightly: too late"]);
}

#[test]
fn mistakes_are_refused() {
    for (options, said) in [
        ("concurrency: 0", "a number of runs from 1 to 1000"),
        ("priority: 5000", "from -1000 to 1000"),
        (r#"on_error: "nobody""#, "which is not declared"),
        (r#"on_error: "a""#, "takes errors of others and hands its own"),
        (r#"timeout: "soon""#, "timeout"),
    ] {
        let problems = World::problems(&format!(r#"workflow("a", #{{ on: manual(), {options} }}, || ());"#));
        assert!(problems.contains(said), "{options}: {problems}");
    }
}

#[test]
fn what_is_more_than_may_wait_stays_with_its_sender() {
    let world = World::new(
        r#"workflow("one", #{ on: event("n"), concurrency: 1 }, |e| { wait_signal("go"); e.payload });"#,
    );
    emit(&world, "n", json!(0));
    // As if so many had come before: they are counted when they ask, and recorded after that.
    let asked: Vec<_> = (0..QUEUED_RUNS_MAX).map(|_| world.runs.new_id()).collect();
    assert!(asked.iter().all(|run| world.launch.admission.ask("one", *run).is_some()));
    let why = world.triggers.full(&world.launch).unwrap();
    assert!(why.contains("10000 runs wait their turn"), "{why}");
    // Events wait on the bus meanwhile, and start it when there is room.
    emit(&world, "n", json!(1));
    assert_eq!(count(&world, "one", RunStatus::Queued), 0);
    asked.iter().for_each(|run| world.launch.admission.withdraw(*run));
    assert_eq!(world.triggers.full(&world.launch), None);
    world.go_on();
    assert_eq!(count(&world, "one", RunStatus::Queued), 1);
    world.release("one");
    world.release("one");
    assert_eq!(outputs(&world, "one"), [0, 1]);
}
