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

/// Each waits: for a while, for its next attempt, for somebody who does not come in time, and for a time.
const WAITING: &str = r#"
    schedule("pause", "0 * * * *", |slot| { sleep("5m"); });
    schedule("again", "0 * * * *", |slot| retry(#{ attempts: 2, backoff: "5m" }, |n| if n == 1 { throw "no" }));
    schedule("early", "1 12 * * *", |slot| {
        wait_signal("go");
        try { wait_signal("more", #{ timeout: "5m" }); } catch (e) { }
    });
    schedule("until", "0 * * * *", |slot| { sleep_until("2027-06-02T12:14:00Z"); });
"#;

#[test]
fn pauses_that_began_by_a_clock_that_was_ahead_end_in_time() {
    for restarts in 0..3 {
        let mut world = World::new(WAITING);
        world.pass("10m");
        world.hands.step("8760h");
        let early = world.run_id("early", RunStatus::Waiting);
        world.runs.signal(early, "go", hob_model::Value::Unit).unwrap();
        world.pass("1m");
        let first = ["pause", "again", "early", "until"].map(|name| world.run_id(name, RunStatus::Waiting));
        world.hands.step("-8760h");
        let waiting = |world: &World| {
            let status = |run| world.runs.row(run).unwrap().status;
            first.iter().filter(|run| status(**run) == RunStatus::Waiting).count()
        };
        for _ in 0..restarts {
            world.pass("4m");
            // Nobody remembers when it was seen: it lasts as long once more.
            world = world.crash(usize::MAX, "1s", WAITING);
        }
        world.pass("4m");
        assert_eq!(waiting(&world), 4, "{restarts}");
        world.pass("2m");
        assert_eq!(waiting(&world), 1, "{restarts}");
        assert_eq!(world.runs.row(first[3]).unwrap().status, RunStatus::Waiting);
        // What they kept from running runs again.
        world.pass("1h");
        assert!(world.story("pause").contains("02 13:00:00 succeeded"), "{}", world.story("pause"));
    }
}

#[test]
fn deadlines_are_watched_again_once_a_clock_that_was_ahead_is_right() {
    let text = |when: &str| {
        format!(r#"schedule("job", "{when} * * * *", #{{ deadline: "10m" }}, |slot| {{ throw "no"; }});"#)
    };
    // Declared by the wrong clock, or before.
    for declared in [false, true] {
        for restart in [false, true] {
            let mut world = World::new(&text("0"));
            world.pass("5m");
            world.hands.step("8760h");
            world.pass("15m");
            if declared {
                world = world.crash(usize::MAX, "1s", &text("1"));
            }
            world.pass("1h");
            assert!(!world.events("schedule.missed").is_empty());
            world.hands.step("-8760h");
            if restart {
                world = world.crash(usize::MAX, "1s", &text(if declared { "1" } else { "0" }));
            }
            let before = world.events("schedule.missed").len();
            world.pass("3h");
            assert_eq!(world.events("schedule.missed").len(), before + 3, "{declared} {restart}");
        }
    }
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
