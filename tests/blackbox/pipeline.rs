//! The example `media`: its pipeline and its backup, with the real binary and stand-ins for the programs it calls.

use hob_tests::home::Home;
use hob_tests::until;
use serde_json::{Value as Json, json};

use crate::{home, set_mode};

const EXAMPLE: &str = include_str!("../../examples/media/homelab.rhai");

/// The example with its disks and programs in the home of the test.
fn example(home: &Home) {
    let place = |name: &str| home.path(name).display().to_string();
    let text = EXAMPLE
        .replace("\"/mnt/hot\"", &format!("{:?}", place("hot")))
        .replace("\"/mnt/media\"", &format!("{:?}", place("cold")))
        .replace("\"ffprobe\"", &format!("{:?}", place("bin/ffprobe")))
        .replace("\"pg_dumpall\"", &format!("{:?}", place("bin/pg_dumpall")));
    home.write("lab/homelab.rhai", text);
    // A film begins with `MEDIA`; probing takes a while, so that the process can be killed meanwhile.
    home.write(
        "bin/ffprobe",
        "#!/bin/sh\nfor last; do :; done\ngrep -q '^MEDIA' \"$last\" || { echo no media >&2; exit 1; }\n",
    );
    home.write(
        "bin/pg_dumpall",
        "#!/bin/sh\nwhile [ \"$1\" != -f ]; do shift; done\necho \"dump of all databases\" > \"$2\"\n",
    );
    for program in ["bin/ffprobe", "bin/pg_dumpall"] {
        set_mode(home.path(program), 0o755);
    }
}

#[test]
fn the_tests_of_the_example_pass() {
    let home = home();
    home.write("lab/homelab.rhai", EXAMPLE);
    home.write("lab/tests/media.rhai", include_str!("../../examples/media/tests/media.rhai"));
    let passed = home.hob(&["test", "lab"]).exits(0);
    assert_eq!(passed.out().lines().filter(|line| line.starts_with("ok media (")).count(), 5, "{passed:#?}");
}

fn events(home: &Home, name: &str) -> Vec<Json> {
    home.json(&["events", "list", name]).as_array().unwrap().clone()
}

#[test]
fn downloads_are_processed_migrated_and_cleaned_up_over_a_kill() {
    let home = home();
    example(&home);
    let films = ["One.mkv", "Two.mkv", "Three.mkv"];
    for film in films {
        home.write(&format!("hot/downloads/{film}"), format!("MEDIA {film} {}", "x".repeat(100_000)));
    }
    home.write("hot/downloads/broken.mkv", "no film");
    let mut up = home.up("lab", &[]);
    let tell = |up: &mut hob_tests::home::Up, film: &str, id: &str| {
        let body = json!({ "path": home.path(&format!("hot/downloads/{film}")), "kind": "movies" });
        let headers = [("x-hob-token", "change-me"), ("idempotency-key", id)];
        up.ask("POST", "/hooks/downloads", &headers, Some(&body)).expects(202)
    };
    for film in films {
        tell(&mut up, film, film);
    }
    // The client tells of one twice.
    let again = tell(&mut up, "One.mkv", "One.mkv");
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    tell(&mut up, "broken.mkv", "broken");
    assert!(up.process.kill());
    let mut up = home.up("lab", &[]);
    until("all are on their shelf", || {
        films.iter().all(|film| home.path(&format!("cold/movies/{film}")).exists()).then_some(())
    });
    until("the broken one is told", || (events(&home, "alert.media").len() == 1).then_some(()));
    until("each is told", || (events(&home, "media.added").len() == 3).then_some(()));
    for film in films {
        assert!(home.read(&format!("cold/movies/{film}")).starts_with(&format!("MEDIA {film}")));
        assert!(!home.path(&format!("hot/downloads/{film}")).exists(), "{film} is cleaned up");
    }
    assert!(home.path("hot/downloads/broken.mkv").exists(), "what failed stays for a person");
    let names = std::fs::read_dir(home.path("cold/movies")).unwrap().map(|it| it.unwrap().file_name());
    let left: Vec<_> = names.filter(|name| name != ".hob-mover").collect();
    assert_eq!(left.len(), 3, "no partial copies: {left:?}");
    let runs = home.json(&["runs", "list", "--name", "media-pipeline"]);
    assert_eq!(runs.as_array().unwrap().len(), 4, "one run each");
    let _ = up.stop().exits(0);
}

#[test]
fn what_rests_on_the_fast_disk_moves_to_the_large_one_and_is_read_again() {
    let home = home();
    example(&home);
    home.write("hot/library/new.mkv", "just written");
    home.write("hot/downloads/old.mkv", "downloads have their own way");
    for name in ["hot/library/Show/old.mkv", "hot/downloads/old.mkv"] {
        home.write(name, format!("content of {name}"));
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
        std::fs::File::options().write(true).open(home.path(name)).unwrap().set_modified(old).unwrap();
    }
    home.write("cold/marker", "the large disk");
    let mut up = home.up("lab", &[]);
    let run = |name: &str| {
        let _ = home.json(&["schedule", "run", name]);
        until("it is done", || {
            let runs = home.json(&["runs", "list", "--name", name]);
            (runs[0]["status"] == "succeeded").then(|| runs[0]["run"].as_str().unwrap().to_owned())
        })
    };
    let moved = run("hot-to-cold");
    assert_eq!(home.json(&["runs", "show", &moved])["output"], 1);
    assert_eq!(home.read("cold/library/Show/old.mkv"), "content of hot/library/Show/old.mkv");
    assert!(!home.path("hot/library/Show/old.mkv").exists());
    assert!(home.path("hot/library/new.mkv").exists(), "it is too young");
    assert!(home.path("hot/downloads/old.mkv").exists());
    let _ = run("scrub-cold");
    assert!(events(&home, "alert.media").is_empty());
    let _ = up.stop().exits(0);
}

#[test]
fn databases_are_dumped_each_day_and_old_dumps_go() {
    let home = home();
    example(&home);
    for day in 1..=20 {
        home.write(&format!("cold/backups/postgres-2020-01-{day:02}.sql"), "old");
    }
    let mut up = home.up("lab", &[]);
    let next = home.json(&["schedule", "list"]);
    let backup = next.as_array().unwrap().iter().find(|it| it["name"] == "postgres-backup").unwrap();
    assert!(backup["next"].as_str().unwrap().contains("T10:00:00"), "{backup}");
    // The slots of three days, one after the other, and then none of them again.
    let range = [
        "schedule",
        "backfill",
        "postgres-backup",
        "--from",
        "2026-03-01T00:00:00Z",
        "--to",
        "2026-03-04T00:00:00Z",
    ];
    assert_eq!(home.json(&range)["slots"].as_array().unwrap().len(), 3);
    until("they are done", || (events(&home, "backup.done").len() == 3).then_some(()));
    assert!(home.json(&range)["slots"].as_array().unwrap().is_empty());
    let mut dumps: Vec<String> = std::fs::read_dir(home.path("cold/backups"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    dumps.sort();
    assert_eq!(dumps.len(), 14, "two weeks are kept: {dumps:?}");
    assert_eq!(
        dumps[11..],
        ["postgres-2026-03-01.sql", "postgres-2026-03-02.sql", "postgres-2026-03-03.sql"]
    );
    assert_eq!(home.read("cold/backups/postgres-2026-03-03.sql").trim(), "dump of all databases");
    // A failure is told.
    home.write("bin/pg_dumpall", "#!/bin/sh\necho cannot connect >&2; exit 1\n");
    let _ = home.json(&["schedule", "run", "postgres-backup"]);
    until("it is told", || (events(&home, "alert.media").len() == 1).then_some(()));
    let _ = up.stop().exits(0);
}
