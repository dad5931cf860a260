//! Backups of declared datasets: by themselves, by people, and over kills; restic reads what they left.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use hob_tests::home::Home;
use hob_tests::{long, until};
use serde_json::{Value as Json, json};

use crate::canaries::{Canaries, scan, silent, with_secrets};

/// A home whose homelab backs up `photos`, and its password.
fn backed_up(more: &str) -> (Home, Canaries) {
    let canaries = Canaries::new();
    let home = with_secrets(&canaries);
    home.write(
        "homelab.rhai",
        format!(
            r#"
            homelab(#{{ name: "house", timezone: "UTC" }});
            dataset("photos", #{{ path: "photos", backup: #{{
                to: ["nas", "away"], password: secret("token"), exclude: ["cache"],
                retry: #{{ attempts: 2, backoff: "1s" }}, verify: #{{ when: "0 6 1 * *", scratch: "scratch" }}, {more}
            }} }});
            service("gallery", #{{ command: ["sleep", "1000"], workdir: "photos", stop_timeout: "1s" }});
            "#
        ),
    );
    home.write("photos/a/one.jpg", "one".repeat(1000));
    home.write("photos/a/two.jpg", "two".repeat(1000));
    home.write("photos/b/three.txt", "three");
    home.write("photos/cache/thumb", "thumb");
    (home, canaries)
}

/// restic on a repository of the home, which must do well.
pub(crate) fn restic(home: &Home, canaries: &Canaries, repository: &str, args: &[&str]) -> String {
    let mut command = Command::new("restic");
    command.env("RESTIC_PASSWORD", canaries.value("token")).arg("--no-cache").arg("-r");
    let output = command.arg(home.path(repository)).args(args).output().expect("restic is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn place(home: &Home, repository: &str) -> Json {
    let all: Json = serde_json::from_str(home.hob(&["backup", "status", "--json"]).out()).unwrap();
    let found = all[0]["repositories"].as_array().unwrap().iter().find(|it| it["repository"] == repository);
    found.unwrap_or_else(|| panic!("no {repository} in {all}")).clone()
}

/// Names of programs with their arguments, of everything that lives below the home.
pub(crate) fn told_in_argv(canaries: &Canaries) -> Option<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .find_map(|line| canaries.in_bytes(&line))
}

#[test]
fn a_dataset_is_backed_up_listed_proved_and_brought_back() {
    let (home, canaries) = backed_up("");
    let hob = |args: &[&str]| {
        let ran = home.hob(args);
        silent(&canaries, &args.join(" "), &ran);
        ran
    };
    // Nothing of it needs a hob that serves.
    let _none = hob(&["backup", "run", "photos"]).exits(1).saying("hob backup init photos");
    let _made = hob(&["backup", "init", "photos"]).exits(0).printing("nas: made");
    let _there = hob(&["backup", "init", "photos"]).exits(0).printing("away: was there already");
    let _done = hob(&["backup", "run", "photos"]).exits(0).printing("of 3 files");
    let at = place(&home, "nas");
    assert_eq!((&at["state"], &at["backup"]["files"]), (&json!("good"), &json!(3)), "{at}");
    assert!(at["age_seconds"].as_f64().unwrap() < 600.0 && at["check"].is_null(), "{at}");

    let mut up = home.up(".", &[]);
    let names: Vec<Json> = home.json(&["schedule", "list"]).as_array().unwrap().clone();
    let names: BTreeSet<&str> = names.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["photos.backup", "photos.upkeep", "photos.verify"]));
    let _checked =
        hob(&["backup", "check", "photos", "--read", "all"]).exits(0).printing("content read: all");
    let _proved =
        hob(&["backup", "verify", "photos", "--from", "nas"]).exits(0).printing("is whole: 3 files");
    let at = place(&home, "nas");
    assert!(at["verify"]["files"] == 3 && at["check"]["read"] == "all", "{at}");
    assert!(place(&home, "away")["verify"].is_null(), "only nas was asked for");
    let listed = hob(&["backup", "list", "photos"]).exits(0);
    let id = restic(&home, &canaries, "nas", &["snapshots", "--json"]);
    let id: Json = serde_json::from_str(&id).unwrap();
    let _listed = listed.printing(id[0]["short_id"].as_str().unwrap());

    home.write("photos/a/one.jpg", "a mistake");
    std::fs::remove_file(home.path("photos/b/three.txt")).unwrap();
    let _shown = hob(&["backup", "restore", "photos", "--dry-run"])
        .exits(0)
        .printing("~ a/one.jpg")
        .printing("+ b/three.txt");
    assert_eq!(home.read("photos/a/one.jpg"), "a mistake");
    let _asks = hob(&["backup", "restore", "photos"]).exits(2).saying("--yes");
    let used = hob(&["backup", "restore", "photos", "--yes"]).exits(1);
    let _used = used.saying("is used by what runs: gallery").saying("hob stop gallery");
    let _stopped = hob(&["stop", "gallery"]).exits(0);
    let _part = hob(&["backup", "restore", "photos", "--part", "b", "--yes"])
        .exits(0)
        .printing("1 created, 0 replaced");
    assert_eq!(
        (home.read("photos/b/three.txt").as_str(), home.read("photos/a/one.jpg").as_str()),
        ("three", "a mistake")
    );
    let _away = hob(&["backup", "restore", "photos", "--to", "elsewhere", "--from", "away"]).exits(0);
    assert_eq!(home.read("elsewhere/a/one.jpg"), "one".repeat(1000));
    let _all = hob(&["backup", "restore", "photos", "--yes"]).exits(0).printing("1 replaced");
    assert_eq!(home.read("photos/a/one.jpg"), "one".repeat(1000));
    let wrong = [
        (&["backup", "run", "photo"][..], "did you mean `photos`?"),
        (&["backup", "list", "photos", "--from", "nsa"], "its repositories are: nas away"),
        (&["backup", "restore", "photos", "--snapshot", "0000", "--dry-run"], "no snapshot 0000"),
        (&["backup", "restore", "photos", "--part", "c", "--yes"], "nothing that fits"),
    ];
    for (args, text) in wrong {
        let _refused = hob(args).exits(1).saying(text);
    }
    let said = up.stop();
    silent(&canaries, "the daemon", &said);
    let _known = hob(&["backup", "status"]).exits(0).printing("good");
    restic(&home, &canaries, "nas", &["check", "--read-data"]);
    scan(&home, &canaries);
}

#[test]
fn schedules_back_up_prove_and_let_go_and_one_place_that_fails_stops_no_other() {
    let (home, canaries) = backed_up(
        r#"when: "* * * * * *", upkeep: #{ when: "* * * * * *", read: "all" }, keep: #{ last: 2 }"#,
    );
    let _made = home.hob(&["backup", "init", "photos", "--from", "nas"]).exits(0);
    let mut up = home.up(".", &[]);
    until("a place that is there has its backups, and is checked", || {
        let (nas, away) = (place(&home, "nas"), place(&home, "away"));
        let is_whole = nas["check"]["snapshots"].as_u64().is_some_and(|count| count > 0);
        let told =
            away["failed"]["backup"]["message"].as_str().is_some_and(|it| it.contains("no repository"));
        (nas["state"] == "good" && is_whole && away["state"] == "failing" && told).then_some(())
    });
    let metrics = up.ask("GET", "/metrics", &[], None).expects(200).body;
    let last = r#"hob_backup_last_success_timestamp_seconds{dataset="photos",repository="nas"}"#;
    let wanting = r#"hob_backup_wanting{dataset="photos",repository="away"} 1"#;
    assert!(metrics.contains(last) && metrics.contains(wanting), "{metrics}");
    // What was missing comes, and all is well without anybody.
    let _made = home.hob(&["backup", "init", "photos"]).exits(0);
    until("the other place has its backups", || (place(&home, "away")["state"] == "good").then_some(()));
    until("what is old goes", || (place(&home, "nas")["check"]["removed"].as_u64()? > 0).then_some(()));
    silent(&canaries, "the daemon", &up.stop());
    restic(&home, &canaries, "nas", &["check", "--read-data"]);
    scan(&home, &canaries);
}

#[test]
fn killed_in_the_midst_of_a_backup_the_next_hob_finishes_it_unattended() {
    let (home, canaries) = backed_up("");
    let _made = home.hob(&["backup", "init", "photos"]).exits(0);
    let kills = if long() { 12 } else { 3 };
    let mut cut = 0;
    for round in 0..kills {
        let mut noise = vec![0; 24 << 20];
        fastrand::Rng::with_seed(round).fill(&mut noise);
        home.write(&format!("photos/a/{round}.raw"), &noise);
        let mut up = home.up(".", &["-v"]);
        let started =
            home.ask("POST", "/api/v1/backups/photos/run", Some(&json!({}))).unwrap().expects(202).json();
        let run = started["run"].as_str().unwrap().to_owned();
        // It is at work at one of the two, and there is no snapshot yet.
        let busy = ["nas", "away"][usize::try_from(round % 2).unwrap()];
        until("it works", || (count(&home.path(&format!("{busy}/locks"))) > 0).then_some(()));
        assert_eq!(told_in_argv(&canaries), None);
        std::thread::sleep(std::time::Duration::from_millis(fastrand::u64(0..200)));
        assert!(up.process.kill());
        let left = count(&home.path("nas/locks")) + count(&home.path("away/locks"));
        cut += u32::from(left > 0);
        silent(&canaries, "the killed one", &up.process.end());
        let mut up = home.up(".", &["-v"]);
        let ended = until("the run goes on by itself and ends", || {
            let shown = home.json(&["runs", "show", &run]);
            (shown["status"] != "queued" && shown["status"] != "running").then_some(shown)
        });
        assert_eq!(ended["status"], "succeeded", "{ended}");
        until("it is known", || (place(&home, "nas")["backup"]["run"] == run.as_str()).then_some(()));
        // A backup that comes after it needs nobody either.
        let _next = home.hob(&["backup", "run", "photos"]).exits(0);
        silent(&canaries, "the next one", &up.stop());
        for repository in ["nas", "away"] {
            assert_eq!(count(&home.path(&format!("{repository}/locks"))), 0, "stale locks are gone");
        }
    }
    assert!(cut > 0, "each backup ended before it was killed");
    for repository in ["nas", "away"] {
        restic(&home, &canaries, repository, &["check", "--read-data"]);
        let all: Json =
            serde_json::from_str(&restic(&home, &canaries, repository, &["snapshots", "--json"])).unwrap();
        assert_eq!(all.as_array().unwrap().len(), 2 * usize::try_from(kills).unwrap(), "one for each run");
    }
    scan(&home, &canaries);
}

/// The files below a directory.
fn count(dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let below = entries.flatten().map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 });
    below.sum()
}
