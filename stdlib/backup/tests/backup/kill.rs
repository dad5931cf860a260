//! Killed at any moment, the next backup succeeds unattended, and nothing is lost.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::tree;
use crate::world::{PASSWORD, World};

/// How many are killed.
const KILLS: u32 = 6;

/// Names the directory to a process that is to be killed.
const DIRECTORY: &str = "HOB_TEST_BACKUP_DIRECTORY";

/// What is done in the middle of which a process is killed: a backup, a dump, and upkeep.
fn nightly(world: &World, dir: &Path, key: &str) {
    let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let act = |step: &str, name: &str, args: serde_json::Value| {
        world.call_as(&format!("{key} {step}"), name, args).unwrap();
    };
    act("files", "snapshot", json!([at("nas"), [at("src")], {}]));
    act("dump", "stream", json!([at("nas"), "dump", ["seq", "100000"], {}]));
    act("upkeep", "forget", json!([at("nas"), { "keep_last": 2, "prune": true }]));
    act("space", "prune", json!([at("nas"), { "grace": "0s" }]));
}

#[test]
#[ignore = "it is the process that is killed"]
fn victim() {
    let Some(dir) = std::env::var_os(DIRECTORY) else { return };
    nightly(&World::live(), Path::new(&dir), &format!("victim {}", std::process::id()));
}

#[test]
fn killed_at_any_moment_the_next_backup_succeeds_unattended() {
    let world = World::live();
    world.init("nas");
    let dir = world.path("");
    let change = |round: u32| {
        let mut noise = vec![0; 1 << 20];
        fastrand::Rng::with_seed(round.into()).fill(&mut noise);
        fs::create_dir_all(dir.join("src")).unwrap();
        fs::write(dir.join(format!("src/{}", round % 4)), noise).unwrap();
        fs::write(dir.join("src/round"), round.to_string()).unwrap();
    };
    change(0);
    let begun = Instant::now();
    nightly(&world, &dir, "first");
    let whole = begun.elapsed();
    let mut killed = 0;
    for round in 1..=KILLS {
        change(round);
        let mut victim = Command::new(std::env::current_exe().unwrap());
        victim.args(["--exact", "kill::victim", "--ignored"]).env(DIRECTORY, &dir);
        let mut victim = victim.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(20) + whole.mul_f64(fastrand::f64()));
        victim.kill().unwrap();
        killed += u32::from(!victim.wait().unwrap().success());
        nightly(&world, &dir, &format!("after {round}"));
        let checked = world.call("check", json!(["nas", { "read": "all" }])).unwrap();
        assert_eq!(checked["warnings"], json!([]), "round {round}");
        let out = format!("out{round}");
        // The last of all snapshots is the dump.
        let all = world.call("snapshots", json!(["nas", { "path": world.text("src") }])).unwrap();
        let last = all.as_array().unwrap().last().unwrap()["id"].clone();
        world.call("restore", json!(["nas", last, out, { "path": world.text("src") }])).unwrap();
        tree::assert_same(&dir.join("src"), &dir.join(&out));
        assert_eq!(fs::read_dir(dir.join("nas/locks")).unwrap().count(), 0);
    }
    assert!(killed > 0, "each ended before it was killed");
    let all = fs::read_dir(dir.join("nas/snapshots")).unwrap().count();
    let shown = world.call("snapshots", json!(["nas", { "password": PASSWORD }])).unwrap();
    assert_eq!(shown.as_array().unwrap().len(), all);
    world.restic_ok("nas", &["check", "--read-data"]);
}
