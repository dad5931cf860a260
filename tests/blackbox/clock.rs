//! Backups by a clock that is wrong, and by one that is set while hob runs.
//!
//! The binary reads the time of day through libfaketime; monotonic clocks and the times of files stay true.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use hob_tests::home::Home;
use hob_tests::until;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;

use crate::backup::restic;
use crate::canaries::{Canaries, silent, with_secrets};

/// Where Debian's package has it.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// The largest difference between the clock of the test and one that is right.
const NEAR: SignedDuration = SignedDuration::from_mins(5);

const HOMELAB: &str = r#"
homelab(#{ name: "house", timezone: "UTC" });
dataset("photos", #{ path: "photos", backup: #{
    to: "nas", password: secret("token"), when: "* * * * * *", keep: #{ last: 2 }, verify: false,
    upkeep: #{ when: "*/3 * * * * *", read: "none" }, retry: #{ attempts: 2, backoff: "2s" }, deadline: "2d",
} });
"#;

/// A home whose commands have the clock that is set; none where the library is missing.
fn with_clock() -> Option<(Home, Canaries)> {
    let is_there = Path::new(LIBRARY).exists();
    assert!(is_there || std::env::var("CI").is_err(), "install faketime");
    if !is_there {
        eprintln!("skipped: faketime is not installed");
        return None;
    }
    let canaries = Canaries::new();
    let home = with_secrets(&canaries);
    let clock = home.path("clock");
    let home = home
        .with_env("LD_PRELOAD", LIBRARY)
        .with_env("FAKETIME_TIMESTAMP_FILE", clock)
        .with_env("FAKETIME_NO_CACHE", "1")
        .with_env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .with_env("DONT_FAKE_MONOTONIC", "1")
        .with_env("NO_FAKE_STAT", "1");
    set(&home, "+0");
    home.write("homelab.rhai", HOMELAB);
    home.write("photos/one", "one");
    let _made = home.hob(&["backup", "init", "photos"]).exits(0);
    Some((home, canaries))
}

/// Sets the clock, from one moment to the next.
fn set(home: &Home, offset: &str) {
    let new = home.write("clock.new", format!("{offset}\n"));
    std::fs::rename(new, home.path("clock")).unwrap();
}

/// By how much the snapshots are in the future, oldest first.
fn ahead(home: &Home, canaries: &Canaries) -> Vec<SignedDuration> {
    let all = restic(home, canaries, "nas", &["snapshots", "--json", "--no-lock"]);
    let all: Vec<Json> = serde_json::from_str(&all).unwrap();
    let time = |it: &Json| it["time"].as_str().unwrap().parse::<Timestamp>().unwrap();
    all.iter().map(|it| Timestamp::now().duration_until(time(it))).collect()
}

fn is_near(ahead: &SignedDuration, days: i64) -> bool {
    (*ahead - SignedDuration::from_hours(24 * days)).abs() < NEAR
}

fn place(home: &Home) -> Json {
    // It ends with 1 where something is wanting.
    let all: Json = serde_json::from_str(home.hob(&["backup", "status", "--json"]).out()).unwrap();
    all[0]["repositories"][0].clone()
}

/// When the backups were begun that it made by itself, by its own clock.
fn begun(home: &Home) -> BTreeSet<Timestamp> {
    let all = home.json(&["runs", "list", "--name", "photos.backup", "--limit", "1000"]);
    all.as_array().unwrap().iter().map(|it| it["created"].as_str().unwrap().parse().unwrap()).collect()
}

/// The repository is gone; returns when a backup has failed and waits for its next attempt.
fn unplug(home: &Home) {
    std::fs::rename(home.path("nas"), home.path("unplugged")).unwrap();
    until("it waits", || {
        let all = home.json(&["runs", "list", "--status", "waiting"]);
        all.to_string().contains("photos.backup").then_some(())
    });
}

#[test]
fn after_a_clock_that_was_400_days_ahead_backups_go_on_by_themselves() {
    let Some((home, canaries)) = with_clock() else { return };
    let _true = home.hob(&["backup", "run", "photos"]).exits(0);
    set(&home, "+400d");
    let mut up = home.up(".", &["-v"]);
    until("it backs up by the wrong clock", || {
        (ahead(&home, &canaries).iter().filter(|it| is_near(it, 400)).count() >= 2).then_some(())
    });
    unplug(&home);
    silent(&canaries, "the one with a wrong clock", &up.stop());
    std::fs::rename(home.path("unplugged"), home.path("nas")).unwrap();

    set(&home, "+0");
    home.write("photos/two", "two");
    let known = place(&home);
    assert!(known["age_seconds"].is_null(), "nobody knows how old that is: {known}");
    assert_ne!(known["state"], "good", "nobody knows when that was: {known}");
    let mut up = home.up(".", &["-v"]);
    let now = until("all is well", || Some(place(&home)).filter(|it| it["state"] == "good"));
    assert!((0.0..300.0).contains(&now["age_seconds"].as_f64().unwrap()), "{now}");
    until("what is old goes, and what is new stays", || {
        let near = ahead(&home, &canaries).iter().filter(|it| is_near(it, 0)).count();
        (near == 2 && place(&home)["check"]["removed"].as_u64()? > 0).then_some(())
    });
    silent(&canaries, "the one with a true clock", &up.stop());
    let _back = home.hob(&["backup", "restore", "photos", "--to", "back"]).exits(0);
    assert_eq!(home.read("back/two"), "two", "it is the newest");
    assert!(ahead(&home, &canaries).iter().any(|it| is_near(it, 400)), "their time has not come");
}

#[test]
fn a_clock_that_is_set_while_hob_runs_stops_no_backup_and_starts_no_storm() {
    let Some((home, canaries)) = with_clock() else { return };
    let mut up = home.up(".", &["-v"]);
    let started = Instant::now();
    for (offset, days) in [("+0", 0), ("+1d", 1), ("+0", 0), ("-1d", -1), ("+0", 0)] {
        let known = begun(&home);
        set(&home, offset);
        let back = home.path("unplugged");
        if back.exists() {
            std::fs::rename(back, home.path("nas")).unwrap();
        }
        until(&format!("a backup begins at {offset}"), || {
            let now = Timestamp::now() + SignedDuration::from_hours(24 * days);
            begun(&home).difference(&known).find(|it| it.duration_until(now).abs() < NEAR).map(|_| ())
        });
        if days == 1 {
            // As it is set back, one waits for its next attempt.
            unplug(&home);
        }
    }
    until("all is well", || (place(&home)["state"] == "good").then_some(()));
    // One each second, and one more for each time that it was set.
    let count = u64::try_from(begun(&home).len()).unwrap();
    let most = started.elapsed().as_secs() + 5;
    assert!((5..=most).contains(&count), "{count} of {most}");
    let told = home.json(&["events", "list", "clock.stepped"]);
    let forward = told.as_array().unwrap().iter().map(|it| it["payload"]["seconds"].as_i64() > Some(0));
    assert_eq!(forward.collect::<Vec<_>>(), [true, false, false, true], "{told}");
    silent(&canaries, "the daemon", &up.stop());
    assert!(ahead(&home, &canaries).len() > 1);
    restic(&home, &canaries, "nas", &["check", "--read-data"]);
}
