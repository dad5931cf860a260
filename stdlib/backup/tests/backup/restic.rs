//! Together with restic: what one writes the other reads, and locks hold for both. And with the program of rustic.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use hob_model::ErrorKind;
use serde_json::json;

use crate::tree;
use crate::world::{PASSWORD, World, restic};

/// The seeds of the trees.
const SEEDS: [u64; 2] = [1, 2];

/// Where the repositories are.
const WORLDS: [fn() -> World; 2] = [World::live, World::buckets];

#[test]
fn restic_restores_what_hob_wrote() {
    for (seed, world) in SEEDS.into_iter().zip(WORLDS) {
        let world = world();
        world.init("nas");
        tree::grow(&world.path("src"), seed, 120);
        world.snapshot("nas");
        world.call("stream", json!(["nas", "db.dump", ["seq", "200000"], { "tags": ["dump"] }])).unwrap();
        world.restic_ok("nas", &["check", "--read-data"]);
        let (whole, out) = (world.text("src"), world.text("out"));
        world.restic_ok("nas", &["restore", "latest", "--path", &whole, "--target", &out]);
        tree::assert_same(&world.path("src"), &world.path("out").join(whole.trim_start_matches('/')));
        world.restic_ok("nas", &["restore", "latest", "--tag", "dump", "--target", &out]);
        assert!(world.read("out/db.dump").unwrap().ends_with("\n200000\n"));
        // What restic frees, hob does not miss.
        tree::grow(&world.path("src/more"), seed + 7, 20);
        world.snapshot("nas");
        world.restic_ok("nas", &["forget", "--keep-last", "1", "--prune", "--group-by", "paths"]);
        world.call("check", json!(["nas", { "read": "all" }])).unwrap();
        world.restore("nas", "again");
        tree::assert_same(&world.path("src"), &world.path("again"));
    }
}

#[test]
fn hob_restores_what_restic_wrote() {
    for (seed, version) in SEEDS.into_iter().zip(["1", "2"]) {
        let world = World::live();
        world.restic_ok("nas", &["init", "--repository-version", version]);
        tree::grow(&world.path("src"), seed + 50, 120);
        world.restic_ok("nas", &["backup", &world.text("src")]);
        world.restore("nas", "out");
        tree::assert_same(&world.path("src"), &world.path("out"));
        // hob goes on with it, prunes it, and restic finds all in order.
        fs::remove_dir_all(world.path("src")).unwrap();
        tree::grow(&world.path("src"), seed + 60, 60);
        world.snapshot("nas");
        world.call("forget", json!(["nas", { "keep_last": 1, "prune": true }])).unwrap();
        world.call("prune", json!(["nas", { "grace": "0s" }])).unwrap();
        world.restic_ok("nas", &["check", "--read-data"]);
        let (whole, out) = (world.text("src"), world.text("restic-out"));
        world.restic_ok("nas", &["restore", "latest", "--path", &whole, "--target", &out]);
        tree::assert_same(&world.path("src"), &world.path("restic-out").join(whole.trim_start_matches('/')));
    }
}

#[test]
fn a_restic_that_works_is_waited_for_and_one_that_was_killed_is_not() {
    let world = World::live();
    world.init("nas");
    world.write("src/a", "1");
    let mut working = restic(&world.path("nas"));
    working
        .args(["backup", "--stdin", "-v"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut working = working.spawn().unwrap();
    working.stdin.as_mut().unwrap().write_all(b"a dump that takes its time").unwrap();
    // It tells that it goes on, once its lock holds.
    let mut told = BufReader::new(working.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(told.any(|line| line.contains("load index")), "restic ended");
    let locks = || fs::read_dir(world.path("nas/locks")).unwrap().count();
    let prune = || world.call("prune", json!(["nas", { "wait": "0s" }]));
    let error = prune().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    assert!(error.message.contains(&format!("process {}", working.id())), "{error}");
    // Both may add at the same time.
    world.snapshot("nas");
    working.kill().unwrap();
    working.wait().unwrap();
    drop(told);
    assert_eq!(locks(), 1, "the killed one left its lock");
    prune().unwrap();
    assert_eq!(locks(), 0);
}

#[test]
fn restic_honours_the_lock_of_hob() {
    let world = World::live();
    world.init("nas");
    let marker = world.text("started");
    std::thread::scope(|scope| {
        let script = format!("echo begun; touch {marker}; while [ -e {marker} ]; do sleep 0.05; done");
        let stream = json!(["nas", "x", ["sh", "-c", script], { "password": PASSWORD }]);
        let harness = world.harness("slow");
        let working =
            scope.spawn(move || harness.call(&hob_std_backup::primitive(), "backup::stream", stream));
        while !world.path("started").exists() {
            assert!(!working.is_finished(), "it ended");
            std::thread::yield_now();
        }
        let refused = world.restic("nas", &["prune"]);
        fs::remove_file(world.path("started")).unwrap();
        assert!(!refused.status.success());
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(told.contains("already locked"), "{told}");
        working.join().unwrap().unwrap();
    });
    world.restic_ok("nas", &["prune"]);
}

#[test]
fn rustic_and_hob_read_each_other() {
    if !std::env::var("HOB_LONG").is_ok_and(|value| !value.is_empty() && value != "0") {
        return;
    }
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/readers/rustic/bin/rustic");
    if !program.is_file() {
        return eprintln!("skipped: rustic is not installed; tests/long does that");
    }
    for seed in SEEDS {
        let world = World::live();
        let rustic = |repository: &str, args: &[&str]| {
            let mut command = Command::new(&program);
            command
                .env("HOME", world.path(""))
                .env_remove("XDG_CONFIG_HOME")
                .env("RUSTIC_PASSWORD", PASSWORD);
            let done =
                command.args(["--no-cache", "-r", &world.text(repository)]).args(args).output().unwrap();
            assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        };
        let whole = world.text("src");
        let latest = format!("latest:{whole}");
        tree::grow(&world.path("src"), seed + 80, 120);
        world.init("own");
        world.snapshot("own");
        rustic("own", &["check", "--read-data"]);
        rustic("own", &["restore", &latest, &world.text("out")]);
        tree::assert_same(&world.path("src"), &world.path("out"));
        rustic("theirs", &["init"]);
        rustic("theirs", &["backup", &whole]);
        world.restore("theirs", "again");
        tree::assert_same(&world.path("src"), &world.path("again"));
        // One goes on with what the other left, and frees what it no longer needs.
        fs::remove_dir_all(world.path("src")).unwrap();
        tree::grow(&world.path("src"), seed + 90, 60);
        world.snapshot("theirs");
        rustic("own", &["backup", &whole]);
        world.call("forget", json!(["theirs", { "keep_last": 1, "prune": true }])).unwrap();
        world.call("prune", json!(["theirs", { "grace": "0s" }])).unwrap();
        rustic("own", &["forget", "--keep-last", "1", "--prune", "--instant-delete"]);
        for repository in ["own", "theirs"] {
            rustic(repository, &["check", "--read-data"]);
            world.call("check", json!([repository, { "read": "all" }])).unwrap();
            let out = format!("{repository}-out");
            world.restore(repository, &out);
            tree::assert_same(&world.path("src"), &world.path(&out));
        }
    }
}
