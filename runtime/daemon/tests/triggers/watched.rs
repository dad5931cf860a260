//! What is watched: the machine's clocks, and that nothing dies silently.

use hob_journal::{Commit, Write};
use hob_model::{Entry, EntryKind, RunStatus};

use crate::world::World;

const HOURLY: &str = r#"schedule("job", "0 * * * *", |slot| ());"#;

#[test]
fn a_machine_that_slept_catches_up() {
    let world = World::new(HOURLY);
    world.pass("10m");
    world.hands.suspend("5h");
    world.pass("10s");
    assert_eq!(world.story("job"), "02 17:00:00 succeeded");
    assert_eq!(world.fields("machine.resumed", "seconds"), [18_000]);
    assert!(world.events("clock.stepped").is_empty());
}

#[test]
fn time_that_passes_is_no_step() {
    let world = World::new(HOURLY);
    world.pass("3h");
    assert!(world.events("clock.stepped").is_empty() && world.events("machine.resumed").is_empty());
}

#[test]
fn slots_wait_for_a_clock_that_is_not_set_yet() {
    let world = World::new(HOURLY).crash(0, "50m", HOURLY);
    // The machine starts with a clock that is years behind.
    *world.hands.synchronised.lock().unwrap() = Some(false);
    world.hands.step("-9999h");
    let world = world.crash(0, "1s", HOURLY);
    world.pass("1m");
    assert_eq!(world.story("job"), "");
    assert_eq!(world.events("clock.unsynchronised").len(), 1);
    world.hands.step("9999h");
    *world.hands.synchronised.lock().unwrap() = Some(true);
    world.pass("20m");
    assert_eq!(world.story("job"), "02 13:00:00 succeeded");
}

#[test]
fn slots_do_not_wait_for_ever_for_the_clock() {
    let world = World::new(HOURLY);
    *world.hands.synchronised.lock().unwrap() = Some(false);
    let world = world.crash(0, "59m", HOURLY);
    world.pass("90s");
    assert_eq!(world.story("job"), "");
    world.pass("1m");
    assert_eq!(world.story("job"), "02 13:00:00 succeeded");
}

#[test]
fn a_clock_behind_what_is_recorded_is_told_at_the_start() {
    let world = World::new(HOURLY);
    world.pass("2h");
    world.hands.step("-90m");
    let world = world.crash(usize::MAX, "1s", HOURLY);
    let seconds = world.fields("clock.stepped", "seconds");
    assert_eq!(seconds.len(), 1);
    assert!(seconds[0].as_i64().unwrap() < -5_000, "{seconds:?}");
}

#[test]
fn a_run_that_everybody_left_is_told_and_goes_on() {
    let world = World::new(r#"schedule("job", "5 12 * * *", |slot| { wait_signal("go"); });"#);
    world.pass("6m");
    let run = world.run_id("job", RunStatus::Waiting);
    world.pass("5m");
    assert!(world.events("run.orphaned").is_empty(), "a run that waits has a wake-up");
    // It is to go on, and nobody has it go on.
    let seq = world.runs.row(run).unwrap().entries;
    let entry = Entry { seq, at: world.runs.now(), kind: EntryKind::Resumed };
    world.runs.journal().submit(Commit::one(Write::Entry(run, entry)));
    world.pass("1m");
    assert!(world.events("run.orphaned").is_empty(), "it may just come or go");
    world.pass("1m");
    assert_eq!(world.fields("run.orphaned", "run"), [run.to_string()]);
    assert_eq!(world.story("job"), "02 12:05:00 waiting");
    world.pass("5m");
    assert_eq!(world.events("run.orphaned").len(), 1);
    world.release("job");
    assert_eq!(world.story("job"), "02 12:05:00 succeeded");
}

#[test]
fn an_expression_that_ran_out_is_told_once() {
    let world = World::new(
        r#"schedule("once", at("2026-06-02T12:30:00Z"), |slot| ());
           schedule("year", "2026-06-02 12:40:00", |slot| ());
           schedule("rest", "0 * * * *", |slot| ());"#,
    );
    world.pass("1h");
    assert_eq!(world.story("once"), "02 12:30:00 succeeded");
    assert_eq!(world.fields("schedule.stuck", "schedule"), ["year"]);
}
