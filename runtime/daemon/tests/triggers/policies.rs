//! Options of schedules.

use hob_daemon::schedules::ScheduleCommand;
use hob_model::RunStatus;
use serde_json::json;

use crate::world::World;

const WAITS: &str = r#"|slot| { wait_signal("go"); }"#;

/// A schedule that fires every minute and whose runs wait for a signal.
fn every_minute(options: &str) -> World {
    World::new(&format!(r#"schedule("job", "* * * * *", #{{ {options} }}, {WAITS});"#))
}

#[test]
fn a_slot_is_skipped_while_an_earlier_run_goes_on() {
    let world = every_minute("");
    world.pass("4m30s");
    assert_eq!(world.story("job"), "02 12:01:00 waiting");
    let running = world.run_id("job", RunStatus::Waiting).to_string();
    assert_eq!(world.fields("schedule.skipped", "because"), vec![json!(running); 3]);
    assert_eq!(world.fields("schedule.missed", "reason"), ["3 slots in a row were skipped"]);
    assert_eq!(world.schedule("job")["skipped_in_row"], 3);
    world.release("job");
    world.pass("30s");
    assert_eq!(world.story("job"), "02 12:01:00 succeeded, 02 12:05:00 waiting");
    assert_eq!(world.schedule("job")["skipped_in_row"], 0);
}

#[test]
fn three_in_a_row_are_three_in_a_row_over_restarts() {
    let text = format!(r#"schedule("job", "* * * * *", #{{}}, {WAITS});"#);
    let mut world = World::new(&text);
    for _ in 0..4 {
        world.pass("1m");
        world = world.crash(0, "1s", &text);
    }
    assert_eq!(world.events("schedule.skipped").len(), 3);
    assert_eq!(world.events("schedule.missed").len(), 1);
}

#[test]
fn each_slot_waits_its_turn() {
    let world = every_minute(r#"overlap: "queue""#);
    world.pass("3m30s");
    assert_eq!(world.story("job"), "02 12:01:00 waiting, 02 12:02:00 queued, 02 12:03:00 queued");
    world.release("job");
    assert_eq!(world.story("job"), "02 12:01:00 succeeded, 02 12:02:00 waiting, 02 12:03:00 queued");
    world.release("job");
    world.release("job");
    assert!(world.runs_of("job").iter().all(|(_, status)| *status == RunStatus::Succeeded));
    assert!(world.events("schedule.skipped").is_empty());
}

#[test]
fn the_queue_outlives_a_crash() {
    let text = format!(r#"schedule("job", "* * * * *", #{{ overlap: "queue" }}, {WAITS});"#);
    let world = World::new(&text);
    world.pass("3m30s");
    let world = world.crash(0, "1s", &text);
    assert_eq!(world.story("job"), "02 12:01:00 waiting, 02 12:02:00 queued, 02 12:03:00 queued");
    assert_eq!(world.schedule("job")["queued"], 2);
    world.release("job");
    assert_eq!(world.story("job"), "02 12:01:00 succeeded, 02 12:02:00 waiting, 02 12:03:00 queued");
}

#[test]
fn one_slot_waits_its_turn() {
    let world = every_minute(r#"overlap: "queue_one""#);
    world.pass("4m30s");
    assert_eq!(world.story("job"), "02 12:01:00 waiting, 02 12:02:00 queued");
    assert_eq!(world.events("schedule.skipped").len(), 2);
}

#[test]
fn the_other_one_is_cancelled() {
    let world = every_minute(r#"overlap: "cancel_other""#);
    world.pass("3m30s");
    assert_eq!(world.story("job"), "02 12:01:00 cancelled, 02 12:02:00 cancelled, 02 12:03:00 waiting");
    assert!(world.events("schedule.skipped").is_empty());
}

#[test]
fn a_slot_that_cancels_is_not_lost_when_hob_dies_meanwhile() {
    // The compensation of the first run takes its time, and hob is killed in between.
    let body = r#"|slot| { undo(|| wait_signal("go")); wait_signal("never"); }"#;
    let text = format!(
        r#"schedule("job", "*/10 * * * *", #{{ overlap: "cancel_other", catch_up: "none" }}, {body});"#
    );
    let world = World::new(&text);
    world.pass("21m");
    assert_eq!(world.story("job"), "02 12:10:00 waiting, 02 12:20:00 queued");
    let world = world.crash(0, "5m", &text);
    world.release("job");
    assert_eq!(world.story("job"), "02 12:10:00 cancelled, 02 12:20:00 waiting");
}

#[test]
fn runs_beside_each_other() {
    let world = every_minute(r#"overlap: "allow""#);
    world.pass("3m30s");
    assert_eq!(world.story("job"), "02 12:01:00 waiting, 02 12:02:00 waiting, 02 12:03:00 waiting");
}

#[test]
fn conflicting_schedules_run_one_after_the_other() {
    let world = World::new(&format!(
        r#"
        schedule("a", "5 12 * * *", #{{ conflicts: ["disk"] }}, {WAITS});
        schedule("b", "5 12 * * *", #{{ conflicts: ["disk", "net"] }}, {WAITS});
        schedule("c", "5 12 * * *", #{{ conflicts: ["net"] }}, {WAITS});
        schedule("d", "5 12 * * *", {WAITS});
        "#
    ));
    world.pass("6m");
    let all = || ["a", "b", "c", "d"].map(|name| world.runs_of(name)[0].1.to_string());
    assert_eq!(all(), ["waiting", "queued", "waiting", "waiting"]);
    world.release("a");
    assert_eq!(all(), ["succeeded", "queued", "waiting", "waiting"]);
    world.release("c");
    assert_eq!(all(), ["succeeded", "waiting", "succeeded", "waiting"]);
}

#[test]
fn a_run_in_doubt_or_paused_does_not_keep_the_next_one() {
    // Nothing here is in doubt; `interrupted` and paused runs are parked in the same way, and a cancelled one is over.
    let world = every_minute("");
    world.pass("90s");
    world.runs.cancel(world.run_id("job", RunStatus::Waiting), "test").unwrap();
    world.go_on();
    world.pass("1m");
    assert_eq!(world.story("job"), "02 12:01:00 cancelled, 02 12:02:00 waiting");
}

#[test]
fn a_run_ends_after_its_timeout() {
    let text = format!(r#"schedule("job", "0 13 * * *", #{{ timeout: "30m" }}, {WAITS});"#);
    let world = World::new(&text);
    world.pass("1h29m");
    assert_eq!(world.story("job"), "02 13:00:00 waiting");
    // Also where it was over while hob was down.
    let world = world.crash(0, "20m", &text);
    assert_eq!(world.story("job"), "02 13:00:00 cancelled");
    assert_eq!(world.fields("schedule.timeout", "timeout"), ["30m"]);
}

#[test]
fn the_time_in_a_queue_does_not_count_for_the_timeout() {
    let world = every_minute(r#"overlap: "queue", timeout: "10m""#);
    world.pass("2m30s");
    world.command("job", ScheduleCommand::Pause { reason: String::new() });
    world.pass("8m");
    world.command("job", ScheduleCommand::Resume);
    // The first was ended ten minutes after 12:01, and the second began then.
    world.pass("50s");
    assert!(
        world.story("job").starts_with("02 12:01:00 cancelled, 02 12:02:00 waiting"),
        "{}",
        world.story("job")
    );
    world.pass("9m");
    assert!(
        world.story("job").starts_with("02 12:01:00 cancelled, 02 12:02:00 waiting"),
        "{}",
        world.story("job")
    );
    world.pass("1m");
    assert!(world.story("job").starts_with("02 12:01:00 cancelled, 02 12:02:00 cancelled"));
}

#[test]
fn a_missed_deadline_raises_the_alarm_once() {
    let text = |body: &str| format!(r#"schedule("backup", "0 13 * * *", #{{ deadline: "2h" }}, {body});"#);
    let world = World::new(&text(WAITS));
    world.pass("2h59m");
    assert!(world.events("schedule.missed").is_empty());
    world.pass("2m");
    assert_eq!(world.fields("schedule.missed", "nominal"), ["2026-06-02T13:00:00Z"]);
    assert_eq!(world.fields("schedule.missed", "deadline"), ["2026-06-02T15:00:00Z"]);
    // Two days pass while hob is down: each deadline is told, once.
    let world = world.crash(usize::MAX, "48h", &text(WAITS));
    let nominal = ["2026-06-02T13:00:00Z", "2026-06-03T13:00:00Z", "2026-06-04T13:00:00Z"];
    assert_eq!(world.fields("schedule.missed", "nominal"), nominal);
    let world = world.crash(usize::MAX, "1h", &text(WAITS));
    assert_eq!(world.events("schedule.missed").len(), 3);
}

#[test]
fn a_success_before_the_deadline_is_none_to_speak_of() {
    let world =
        World::new(&format!(r#"schedule("backup", "0 13 * * *", #{{ deadline: "16:00" }}, {WAITS});"#));
    world.pass("3h");
    world.release("backup");
    world.pass("30h");
    assert_eq!(world.fields("schedule.missed", "nominal"), ["2026-06-03T13:00:00Z"]);
}

#[test]
fn what_a_person_starts_counts_as_a_success() {
    let text = r#"schedule("backup", "0 13 * * *", #{ deadline: "2h", catch_up: "none" }, |slot| {
        if slot.nominal.ends_with("13:00:00Z") { throw "no room"; }
    });"#;
    let world = World::new(text);
    world.pass("90m");
    assert_eq!(world.story("backup"), "02 13:00:00 failed");
    let _ = world.command("backup", ScheduleCommand::Run);
    world.pass("3h");
    assert_eq!(world.story("backup"), "02 13:00:00 failed, 02 13:30:00 succeeded");
    assert!(world.events("schedule.missed").is_empty());
}

#[test]
fn jitter_is_the_same_each_time() {
    let text = r#"schedule("job", "0 * * * *", #{ jitter: "10m" }, |slot| ());"#;
    let world = World::new(text);
    let jitter = world.schedule("job")["jitter"].as_str().unwrap().to_owned();
    let jitter = hob_model::duration::parse(&jitter).unwrap();
    assert!(jitter.as_secs() > 10, "the test needs a name with some jitter: {jitter:?}");
    let before = jitter.as_secs() - 10;
    world.pass(&format!("{}s", 3600 + before));
    assert_eq!(world.story("job"), "");
    world.pass("20s");
    assert_eq!(world.story("job"), "02 13:00:00 succeeded");
    world.pass(&format!("{}s", 3600 - 20));
    assert_eq!(world.story("job"), "02 13:00:00 succeeded");
    world.pass("20s");
    assert_eq!(world.story("job"), "02 13:00:00 succeeded, 02 14:00:00 succeeded");
}
