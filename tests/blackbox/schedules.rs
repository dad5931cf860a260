//! Schedules of the real binary: killed at any moment, paused, started by hand, backfilled.

use std::collections::BTreeSet;
use std::time::Duration;

use hob_tests::until;
use serde_json::{Value as Json, json};

use crate::home;

/// How often the process is killed, and after how long at most.
const KILLS: usize = 12;
const KILLS_LONG: usize = 50;
const KILL_AFTER_MAX_MS: u64 = 1_500;

/// Each slot is to run, one after the other, and takes most of the time until the next.
const EVERY_SLOT: &str = r#"
homelab(#{ name: "killed", timezone: "UTC" });
schedule("tick", every("500ms"), #{ overlap: "queue", catch_up: "all" }, |slot| {
    files::append("slots.log", slot.nominal + "\n");
    sleep("100ms");
    files::append("done.log", slot.nominal + "\n");
});
"#;

fn milliseconds(lines: &[String]) -> BTreeSet<i64> {
    let read = |line: &String| line.parse::<jiff::Timestamp>().expect("a nominal time").as_millisecond();
    lines.iter().map(read).collect()
}

#[test]
fn each_slot_fires_once_and_in_turn_over_kills() {
    let home = home();
    home.write("lab/homelab.rhai", EVERY_SLOT);
    let mut chance = fastrand::Rng::with_seed(20_261_121);
    let kills = if hob_tests::long() { KILLS_LONG } else { KILLS };
    for _ in 0..kills {
        let mut up = home.up("lab", &[]);
        std::thread::sleep(Duration::from_millis(chance.u64(..KILL_AFTER_MAX_MS)));
        assert!(up.process.kill());
    }
    let mut up = home.up("lab", &[]);
    // What was missed is caught up, and then it keeps up.
    until("nothing waits any more", || {
        let all = home.ask("GET", "/api/v1/schedules", None).unwrap().json();
        (all[0]["queued"] == 0 && !home.lines("lab/done.log").is_empty()).then_some(())
    });
    let paused = home.json(&["schedule", "pause", "tick", "--reason", "the test is over"]);
    assert_eq!(paused["paused"], true);
    until("its last run has ended", || {
        let all = home.ask("GET", "/api/v1/schedules", None).unwrap().json();
        (all[0]["running"] == json!([]) && all[0]["queued"] == 0).then_some(())
    });
    let _ = up.stop().exits(0);
    let (begun, done) = (home.lines("lab/slots.log"), home.lines("lab/done.log"));
    assert_eq!(begun, done, "one after the other");
    let slots = milliseconds(&begun);
    assert_eq!(slots.len(), begun.len(), "a slot fired twice: {begun:#?}");
    let (first, last) = (*slots.first().unwrap(), *slots.last().unwrap());
    let missing: Vec<i64> = (first..=last).step_by(500).filter(|slot| !slots.contains(slot)).collect();
    assert!(missing.is_empty(), "slots that never fired: {missing:?} of {begun:#?}");
    assert!(begun.len() > kills, "{} slots in {kills} kills", begun.len());
}

/// So many are due at the same instants that their slots are made ready before and claimed with one record.
const CROWD: &str = r#"
homelab(#{ name: "crowd", timezone: "UTC" });
for i in 0..40 {
    schedule(`each${i}`, every("2s"), #{ overlap: "queue", catch_up: "all" }, |slot| {
        files::append(slot.schedule, slot.nominal + "\n");
    });
}
for i in 0..10 {
    workflow(`last${i}`, #{ on: every("2s") }, |slot| files::append(`last${i}`, slot.nominal + "\n"));
}
"#;
const CROWD_PERIOD_MS: i64 = 2_000;
const CROWD_KILLS: usize = 4;
const CROWD_KILLS_LONG: usize = 50;

/// The time from now to an instant at which the crowd is due, or to shortly before or after it.
fn around_an_instant(chance: &mut fastrand::Rng) -> Duration {
    let left = CROWD_PERIOD_MS - jiff::Timestamp::now().as_millisecond().rem_euclid(CROWD_PERIOD_MS);
    Duration::from_millis((left + chance.i64(-40..80)).max(0).unsigned_abs())
}

#[test]
fn of_many_due_together_each_slot_fires_once_over_kills() {
    let home = home();
    home.write("lab/homelab.rhai", CROWD);
    let mut chance = fastrand::Rng::with_seed(20_261_122);
    for _ in 0..if hob_tests::long() { CROWD_KILLS_LONG } else { CROWD_KILLS } {
        let mut up = home.up("lab", &[]);
        std::thread::sleep(around_an_instant(&mut chance));
        assert!(up.process.kill());
    }
    let mut up = home.up("lab", &[]);
    let until_then = jiff::Timestamp::now().as_millisecond() + CROWD_PERIOD_MS;
    let slots = |name: &str| {
        let lines = home.lines(&format!("lab/{name}"));
        let slots = milliseconds(&lines);
        assert_eq!(slots.len(), lines.len(), "a slot of {name} fired twice: {lines:#?}");
        slots
    };
    let (each, last) = ((0..40).map(|i| format!("each{i}")), (0..10).map(|i| format!("last{i}")));
    for name in each.clone().chain(last) {
        // Each is caught up, or the last one that was missed, and then all keep up.
        until(&format!("{name} keeps up"), || {
            slots(&name).last().is_some_and(|at| *at >= until_then).then_some(())
        });
    }
    let _ = up.stop().exits(0);
    for name in each {
        let slots = slots(&name);
        let all = slots.first().copied().unwrap()..=slots.last().copied().unwrap();
        let all: BTreeSet<i64> = all.step_by(CROWD_PERIOD_MS.unsigned_abs() as usize).collect();
        assert_eq!(slots, all, "{name} lost a slot");
    }
}

#[test]
fn a_schedule_is_listed_started_paused_and_backfilled() {
    let home = home();
    home.write(
        "lab/homelab.rhai",
        r#"homelab(#{ name: "by-hand", timezone: "Europe/Berlin" });
           schedule("backup", "0 4 * * *", |slot| { files::append("backups", slot.nominal + "\n"); slot.schedule });
           workflow("watch", #{ on: [cron("0 5 * * *"), event("schedule.*")] }, |e| ());"#,
    );
    let mut up = home.up("lab", &[]);
    let list = home.json(&["schedule", "list"]);
    let names: Vec<&Json> = list.as_array().unwrap().iter().map(|schedule| &schedule["name"]).collect();
    assert_eq!(names, ["backup", "workflow/watch/1"]);
    assert_eq!((&list[0]["when"], &list[0]["timezone"]), (&json!("0 4 * * *"), &json!("Europe/Berlin")));
    assert!(home.hob(&["schedule", "list"]).exits(0).out().contains("workflow/watch/1"));

    let started = home.json(&["schedule", "run", "backup"]);
    let run = started["run"].as_str().unwrap();
    until("it ends", || (home.json(&["runs", "show", run])["status"] == "succeeded").then_some(()));
    assert_eq!(home.json(&["runs", "show", run])["output"], "backup");
    let unknown = home.hob(&["schedule", "run", "backups"]).exits(1);
    assert!(unknown.says("did you mean `backup`?"), "{unknown:#?}");

    let _ = home.hob(&["schedule", "pause", "backup", "--reason", "new disks"]).exits(0);
    let _ = home.hob(&["schedule", "pause", "workflow/watch/1"]).exits(0);
    // A pause outlives the process, however it ends.
    assert!(up.process.kill());
    let mut up = home.up("lab", &[]);
    let list = home.json(&["schedule", "list"]);
    assert_eq!((&list[0]["paused"], &list[0]["pause_reason"]), (&json!(true), &json!("new disks")));
    assert_eq!(list[1]["paused"], true);
    let _ = home.hob(&["schedule", "resume", "backup"]).exits(0);

    let range =
        ["schedule", "backfill", "backup", "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-08T00:00:00Z"];
    let dry = home.hob(&[&range[..], &["--dry-run"]].concat()).exits(0);
    assert_eq!(dry.out().lines().next(), Some("2026-01-01T03:00:00Z"));
    assert_eq!(home.json(&range)["slots"].as_array().unwrap().len(), 7);
    until("the backfill is done", || (home.lines("lab/backups").len() == 8).then_some(()));
    let again = home.hob(&range).exits(0);
    assert!(again.out().is_empty() && again.says("7 more were decided before"), "{again:#?}");
    let wrong = home.hob(&["schedule", "backfill", "backup", "--from", "yesterday"]).exits(2);
    assert!(wrong.says("no time with an offset"), "{wrong:#?}");

    let _ = up.stop().exits(0);
    let nobody = home.hob(&["schedule", "run", "backup"]).exits(1);
    assert!(nobody.says("hob up"), "{nobody:#?}");
}
