//! The operations as scripts call them, on this machine's file systems.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::cast_precision_loss)] // tests look at real files

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use hob_model::{ErrorKind, OpError, Value};
use hob_primitive::Measured;
use hob_std_storage::live::Live;
use hob_std_storage::measure::Movers;
use hob_std_storage::tier::Tiers;
use hob_testkit::Harness;
use serde_json::{Value as Json, json};

fn harness() -> Harness {
    let harness = Harness::new().port::<dyn Tiers>(Arc::new(Live::new()));
    fs::create_dir(harness.dir().join("cold")).unwrap();
    harness
}

/// Makes files of the year 2020, each with its own name as content.
fn files(harness: &Harness, names: &[&str]) {
    for name in names {
        let path = harness.dir().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, name).unwrap();
        let then = UNIX_EPOCH + Duration::from_secs(1_577_836_800);
        File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
    }
}

fn call(harness: &Harness, name: &str, args: Json) -> Result<Json, OpError> {
    let done = harness.call(&hob_std_storage::primitive(), name, args)?;
    Ok(done.to_json().unwrap())
}

/// Moves `hot` to `cold`, leaving a little free.
fn migrate(harness: &Harness, options: Json) -> Result<Json, OpError> {
    let mut all = json!({ "reserve": "1M" });
    for (key, value) in options.as_object().unwrap() {
        all[key] = value.clone();
    }
    call(harness, "storage::migrate", json!(["hot", "cold", all]))
}

fn reads(harness: &Harness, name: &str) -> Option<String> {
    fs::read_to_string(harness.dir().join(name)).ok()
}

#[test]
fn a_result_tells_what_moved_and_what_stays() {
    let harness = harness();
    files(&harness, &["hot/a", "hot/tv/b", "hot/tv/open", "hot/taken", "cold/taken"]);
    let reader = File::open(harness.dir().join("hot/tv/open")).unwrap();
    let done = migrate(&harness, json!({})).unwrap();
    assert_eq!(
        done,
        json!({
            "files": 2, "bytes": 13, "moved": ["a", "tv/b"], "not_due": 0, "stopped": null, "skipped_files": 2,
            "skipped": [
                { "path": "tv/open", "reason": "it is open" },
                { "path": "taken", "reason": "something is there already" },
            ],
        })
    );
    assert_eq!(reads(&harness, "cold/tv/b").unwrap(), "hot/tv/b");
    assert_eq!(reads(&harness, "cold/taken").unwrap(), "cold/taken");
    assert_eq!(reads(&harness, "hot/taken").unwrap(), "hot/taken");
    drop(reader);
    // The same effect again, as after a crash: it goes on, and tells all.
    let again = migrate(&harness, json!({ "exclude": ["taken"] })).unwrap();
    assert_eq!((&again["files"], &again["bytes"]), (&json!(3), &json!(13 + 11)));
    assert_eq!(again["skipped"], json!([]));
}

/// The number of this name that has these pieces in its labels.
fn number(harness: &Harness, movers: &Arc<Movers>, name: &str, pieces: &[&str]) -> Option<f64> {
    let told = harness.runtime().block_on(Arc::clone(movers).measure()).unwrap();
    let family = told.into_iter().find(|it| it.name == name).unwrap();
    let fits = |labels: &[(&str, String)]| {
        pieces.iter().all(|piece| labels.iter().any(|(_, value)| value.ends_with(piece)))
    };
    family.samples.into_iter().find(|it| fits(&it.labels)).map(|it| it.value)
}

#[test]
fn what_moved_and_what_stayed_is_measured() {
    let movers = Arc::new(Movers::new(Arc::new(Live::new())));
    let harness = harness().port::<Movers>(Arc::clone(&movers));
    let told = |name: &str, pieces: &[&str]| number(&harness, &movers, name, pieces);
    assert_eq!(told("hob_mover_files_total", &[]), None, "nothing moved yet");
    files(&harness, &["hot/a", "hot/tv/b", "hot/taken", "cold/taken"]);
    migrate(&harness, json!({})).unwrap();
    assert_eq!(told("hob_mover_files_total", &["/hot", "/cold"]), Some(2.0));
    assert_eq!(told("hob_mover_bytes_total", &["/hot", "/cold"]), Some(13.0));
    assert_eq!(told("hob_mover_skipped_files", &["/hot", "/cold", "taken"]), Some(1.0));
    assert_eq!(told("hob_mover_skipped_files", &["/hot", "/cold", "in_use"]), Some(0.0));
    assert_eq!(told("hob_mover_verify_failures_total", &[]), Some(0.0));
    let space = rustix::fs::statvfs(harness.dir()).unwrap();
    assert_eq!(told("hob_tier_bytes", &["/cold"]), Some((space.f_blocks * space.f_frsize) as f64));
    assert!(told("hob_tier_free_bytes", &["/hot"]).unwrap() > 0.0);
    // The same effect again tells all that it moved, and counts it once.
    migrate(&harness, json!({ "exclude": ["taken"] })).unwrap();
    assert_eq!(told("hob_mover_files_total", &["/hot", "/cold"]), Some(2.0));
    assert_eq!(told("hob_mover_skipped_files", &["/hot", "/cold", "taken"]), Some(0.0));
    assert_eq!(told("hob_mover_failures_total", &[]), Some(0.0));
    harness.cancel().cancel();
    files(&harness, &["hot/c"]);
    migrate(&harness, json!({})).unwrap_err();
    assert_eq!(told("hob_mover_failures_total", &[]), Some(1.0));
}

#[test]
fn a_file_goes_into_the_target_and_keeps_its_path_where_wanted() {
    let harness = harness();
    files(&harness, &["hot/done/film/x.mkv", "hot/done/other", "hot/one"]);
    let options = json!({ "reserve": "1M" });
    let done = call(&harness, "storage::migrate", json!(["hot/one", "cold", options])).unwrap();
    assert_eq!(done["moved"], json!(["one"]));
    let options = json!({ "reserve": "1M", "relative_to": "hot", "prune": true });
    let done = call(&harness, "storage::migrate", json!(["hot/done/film", "cold", options])).unwrap();
    assert_eq!(done["files"], 2, "the same effect tells what it moved before: {done}");
    assert_eq!(reads(&harness, "cold/done/film/x.mkv").unwrap(), "hot/done/film/x.mkv");
    assert!(!harness.dir().join("hot/done/film").exists(), "what moving left empty is gone");
    assert_eq!(reads(&harness, "hot/done/other").unwrap(), "hot/done/other");
    // What this effect moved is not looked for again, what nobody moved is.
    call(&harness, "storage::migrate", json!(["hot/one", "cold", { "reserve": "1M" }])).unwrap();
    let other = Harness::new().port::<dyn Tiers>(Arc::new(Live::new())).cwd(harness.dir());
    let gone = call(&other, "storage::migrate", json!(["hot/one", "cold", { "reserve": "1M" }])).unwrap_err();
    assert_eq!(gone.kind, ErrorKind::NotFound);
}

#[test]
fn limits_and_dry_runs() {
    let harness = harness();
    files(&harness, &["hot/1", "hot/2", "hot/3"]);
    let primitive = hob_std_storage::primitive();
    let model = primitive.operations[0].model.unwrap();
    let args = vec![Value::from("hot"), Value::from("cold")];
    let options = [("max_files".to_owned(), Value::Int(2)), ("high".to_owned(), Value::Float(0.0))];
    let args = hob_primitive::Args::new(args, options.into());
    let seen = model(&harness.context(Value::Unit), args).unwrap().to_json().unwrap();
    assert_eq!(seen["moved"], json!(["1", "2"]));
    assert_eq!(seen["stopped"], "`max_files` or `max_bytes` was reached");
    assert!(!harness.dir().join("cold/.hob-mover").exists(), "a dry run leaves nothing");

    let done = migrate(&harness, json!({ "max_files": 1 })).unwrap();
    assert_eq!(done["moved"], json!(["1"]));
    let done = migrate(&harness, json!({ "high": 100.0 })).unwrap();
    assert!(done["stopped"].as_str().unwrap().contains("less than `high`"), "{done}");
    let done = migrate(&harness, json!({ "reserve": "900000T" })).unwrap();
    assert!(done["skipped"][0]["reason"].as_str().unwrap().contains("`reserve`"), "{done}");
}

#[test]
fn what_is_refused() {
    let harness = harness();
    files(&harness, &["hot/a"]);
    let cases = [
        (json!(["hot", "none", {}]), ErrorKind::NotFound, "there is no directory"),
        (json!(["none", "cold", {}]), ErrorKind::NotFound, "none"),
        (json!(["hot", "hot/below", {}]), ErrorKind::Invalid, "lie in one another"),
        (json!(["cold", ".", {}]), ErrorKind::Invalid, "lie in one another"),
        (json!(["hot", "cold", { "mounted": ["cold"] }]), ErrorKind::Unavailable, "nothing is mounted"),
        (json!(["hot", "cold", { "low": 10 }]), ErrorKind::Invalid, "`high` is missing"),
        (json!(["hot", "cold", { "high": 10, "low": 20 }]), ErrorKind::Invalid, "not below"),
        (json!(["hot", "cold", { "high": 101 }]), ErrorKind::Invalid, "per cents"),
        (json!(["hot", "cold", { "include": ["["] }]), ErrorKind::Invalid, "pattern"),
        (json!(["hot", "cold", { "relative_to": "cold" }]), ErrorKind::Invalid, "is not below"),
        (json!(["hot", "cold", { "agee": "1d" }]), ErrorKind::Invalid, "agee"),
    ];
    for (args, kind, said) in cases {
        let error = call(&harness, "storage::migrate", args.clone()).unwrap_err();
        assert_eq!(error.kind, kind, "{args}: {error:?}");
        assert!(error.message.contains(said), "{args}: {}", error.message);
    }
    let there = fs::read_dir(harness.dir().join("cold")).unwrap().map(|it| it.unwrap().file_name());
    assert_eq!(there.filter(|name| name != ".hob-mover").count(), 0);
    assert_eq!(reads(&harness, "hot/a").unwrap(), "hot/a");
}

#[test]
fn links_in_the_way_are_not_followed() {
    let harness = harness();
    files(&harness, &["hot/tv/a", "elsewhere/b"]);
    symlink(harness.dir().join("elsewhere"), harness.dir().join("cold/tv")).unwrap();
    let done = migrate(&harness, json!({})).unwrap();
    assert_eq!(done["files"], 0, "{done}");
    assert_eq!(reads(&harness, "hot/tv/a").unwrap(), "hot/tv/a");
    assert_eq!(fs::read_dir(harness.dir().join("elsewhere")).unwrap().count(), 1);
}

#[test]
fn a_cancelled_move_leaves_nothing_behind() {
    let harness = harness();
    files(&harness, &["hot/a"]);
    harness.cancel().cancel();
    assert_eq!(migrate(&harness, json!({})).unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(reads(&harness, "hot/a").unwrap(), "hot/a");
    let own = harness.dir().join("cold/.hob-mover");
    for dir in ["new", "intents"] {
        assert!(!own.join(dir).exists() || fs::read_dir(own.join(dir)).unwrap().count() == 0, "{dir}");
    }
}

#[test]
fn one_at_a_time_moves_to_a_target() {
    let harness = harness().timeout(Duration::from_millis(300));
    files(&harness, &["hot/a"]);
    let own = harness.dir().join("cold/.hob-mover");
    fs::create_dir(&own).unwrap();
    let lock = File::create(own.join("lock")).unwrap();
    lock.lock().unwrap();
    let error = migrate(&harness, json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(error.hint.unwrap().contains("another move"));
    assert_eq!(reads(&harness, "hot/a").unwrap(), "hot/a");
}

#[test]
fn a_scrub_finds_what_went_bad() {
    let harness = harness();
    files(&harness, &["hot/sound", "hot/damaged", "hot/changed", "hot/missing"]);
    migrate(&harness, json!({})).unwrap();
    let cold = harness.dir().join("cold");
    let kept = fs::metadata(cold.join("damaged")).unwrap();
    fs::write(cold.join("damaged"), "hot/Damaged").unwrap();
    let modified = UNIX_EPOCH + Duration::from_secs(u64::try_from(kept.mtime()).unwrap());
    File::options().write(true).open(cold.join("damaged")).unwrap().set_modified(modified).unwrap();
    fs::write(cold.join("changed"), "by somebody").unwrap();
    fs::remove_file(cold.join("missing")).unwrap();
    let seen = call(&harness, "storage::scrub", json!(["cold"])).unwrap();
    assert_eq!(seen["files"], 4);
    for state in ["damaged", "changed", "missing"] {
        assert_eq!(seen[state], json!([state]), "{seen}");
    }
    // Each file is in one of the parts, and the parts take turns with the days.
    let mut files = 0;
    for _ in 0..3 {
        files += call(&harness, "storage::scrub", json!(["cold", { "parts": 3 }])).unwrap()["files"]
            .as_i64()
            .unwrap();
        harness.clock().advance(Duration::from_secs(24 * 60 * 60));
    }
    assert_eq!(files, 4);
    let nothing = call(&harness, "storage::scrub", json!(["hot"])).unwrap_err();
    assert_eq!(nothing.kind, ErrorKind::NotFound);
    assert_eq!(
        call(&harness, "storage::scrub", json!(["cold", { "parts": 0 }])).unwrap_err().kind,
        ErrorKind::Invalid
    );
}

#[test]
fn a_disk_is_known_by_what_it_holds() {
    let harness = harness();
    let disk = call(&harness, "storage::usage", json!(["."])).unwrap();
    assert!(disk["used"].as_u64().unwrap() <= disk["bytes"].as_u64().unwrap(), "{disk}");
    let proc = call(&harness, "storage::usage", json!(["/proc/self"])).unwrap();
    assert_eq!((&proc["mount"], &proc["type"], &proc["bytes"]), (&json!("/proc"), &json!("proc"), &json!(0)));
    let none = call(&harness, "storage::usage", json!(["none"])).unwrap_err();
    assert_eq!(none.kind, ErrorKind::NotFound);
    let mounts = call(&harness, "storage::mounts", json!([{ "type": "proc", "ask": true }])).unwrap();
    let proc = mounts.as_array().unwrap().iter().find(|it| it["path"] == "/proc").unwrap();
    assert_eq!(proc["answers"], true);
}

#[test]
fn a_forecast_needs_two_looks() {
    let harness = harness();
    let look = |day: u32, used: i64, free: i64| json!({ "at": format!("2026-01-{day:02}T00:00:00Z"), "used": used, "free": free });
    let cases = [
        (json!([]), Err("two looks")),
        (json!([look(1, 0, 9)]), Err("two looks")),
        (json!([look(1, 0, 9), look(1, 5, 4)]), Err("two looks")),
        (json!([{ "at": "yesterday", "used": 1, "free": 1 }]), Err("`at`")),
        (json!([{ "at": "2026-01-01T00:00:00Z", "used": -1, "free": 1 }]), Err("`used`")),
        (json!([look(1, 10, 90), look(2, 10, 90)]), Ok((0.0, json!(null)))),
        (json!([look(2, 5, 95), look(1, 10, 90)]), Ok((-5.0, json!(null)))),
        (json!([look(3, 30, 70), look(1, 10, 90)]), Ok((10.0, json!("2026-01-10T00:00:00Z")))),
    ];
    for (history, expected) in cases {
        match (call(&harness, "storage::forecast", json!([history])), expected) {
            (Ok(full), Ok((per_day, full_at))) => {
                assert!((full["per_day"].as_f64().unwrap() - per_day).abs() < 1e-6, "{history}: {full}");
                assert_eq!(full["full_at"], full_at, "{history}");
            }
            (Err(error), Err(said)) => assert!(error.message.contains(said), "{history}: {error:?}"),
            (other, _) => panic!("{history}: {other:?}"),
        }
    }
}

#[test]
fn what_is_cleaned_up_lies_in_the_trash_for_a_while() {
    let harness = harness();
    files(&harness, &["tmp/a", "tmp/x/b", "tmp/open", "tmp/kept.db"]);
    let reader = File::open(harness.dir().join("tmp/open")).unwrap();
    let options = json!({ "age": "1d", "trash": "2d", "exclude": ["*.db"] });
    let done = call(&harness, "storage::cleanup", json!(["tmp", options])).unwrap();
    assert_eq!(
        (&done["files"], &done["bytes"], &done["stopped"]),
        (&json!(2), &json!(12), &json!(null)),
        "{done}"
    );
    assert!(reads(&harness, "tmp/open").is_some() && reads(&harness, "tmp/kept.db").is_some());
    assert!(reads(&harness, "tmp/x/b").is_none());
    let trash = harness.dir().join("tmp/.hob-trash");
    let batch = fs::read_dir(&trash).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read_to_string(batch.join("x/b")).unwrap(), "tmp/x/b");
    drop(reader);
    // What somebody else put there is none of the trash.
    fs::write(trash.join("theirs"), "theirs").unwrap();
    // The next day more goes, and after two days the trash is emptied of what was there first.
    harness.clock().advance(Duration::from_secs(24 * 3600));
    let done = call(&harness, "storage::cleanup", json!(["tmp", options])).unwrap();
    assert_eq!((&done["files"], &done["purged"]), (&json!(1), &json!(0)));
    harness.clock().advance(Duration::from_secs(24 * 3600));
    let done = call(&harness, "storage::cleanup", json!(["tmp", options])).unwrap();
    assert_eq!((&done["files"], &done["purged"]), (&json!(0), &json!(2)), "{done}");
    assert!(!batch.exists());
    assert_eq!(fs::read_dir(&trash).unwrap().count(), 2, "what went later, and what is theirs");
}

#[test]
fn a_cleanup_is_limited_and_refuses_what_is_not_meant() {
    let harness = harness();
    files(&harness, &["tmp/1", "tmp/2", "tmp/3", "elsewhere/x"]);
    symlink(harness.dir().join("elsewhere"), harness.dir().join("tmp/link")).unwrap();
    let cases = [
        (json!({}), ErrorKind::Invalid, "no rule"),
        (json!({ "free": "1G" }), ErrorKind::Invalid, "trash"),
        (json!({ "keep": 0, "mounted": ["tmp"] }), ErrorKind::Unavailable, "nothing is mounted"),
    ];
    for (options, kind, said) in cases {
        let error = call(&harness, "storage::cleanup", json!(["tmp", options])).unwrap_err();
        assert_eq!(error.kind, kind, "{options}");
        assert!(error.message.contains(said), "{options}: {}", error.message);
    }
    // Each has five bytes.
    for (limit, value, files) in [("max_bytes", 9, 1), ("max_files", 1, 1)] {
        let options = json!({ "keep": 0, limit: value, "trash": "0s" });
        let done = call(&harness, "storage::cleanup", json!(["tmp", options])).unwrap();
        assert_eq!(done["files"], files, "{limit}: {done}");
        assert!(done["stopped"].as_str().unwrap().contains(limit), "{done}");
    }
    assert!(!harness.dir().join("tmp/.hob-trash").exists(), "removed for good");
    let free = json!({ "free": "900000T", "trash": "0s" });
    assert_eq!(call(&harness, "storage::cleanup", json!(["tmp", free])).unwrap()["files"], 1);
    assert!(reads(&harness, "elsewhere/x").is_some(), "links are not followed");
    assert!(harness.dir().join("tmp/link").is_symlink());
}
