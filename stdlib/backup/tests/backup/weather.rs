//! Bad weather: full disks, servers that are gone, and remotes of rclone.

use std::fs;
use std::process::Command;

use hob_model::ErrorKind;
use serde_json::json;

use crate::tree;
use crate::world::World;

/// A small file system, unmounted when dropped.
struct Small(std::path::PathBuf);

impl Small {
    fn new(world: &World, name: &str) -> Option<Self> {
        let path = world.path(name);
        fs::create_dir(&path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&path).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(path))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    fastrand::Rng::with_seed(seed).fill(&mut content);
    content
}

#[test]
fn a_full_destination_fails_clearly_and_does_well_once_there_is_room() {
    let world = World::live();
    let Some(small) = Small::new(&world, "small") else { return };
    world.init("small/nas");
    fs::create_dir(world.path("src")).unwrap();
    fs::write(world.path("src/a"), noise(1, 1 << 20)).unwrap();
    world.snapshot("small/nas");
    fs::write(world.path("src/b"), noise(2, 20 << 20)).unwrap();
    let error = world.call("snapshot", json!(["small/nas", ["src"], {}])).unwrap_err();
    assert!(
        error.kind == ErrorKind::Unavailable && error.hint.unwrap().contains("full"),
        "{}",
        error.message
    );
    fs::write(world.path("src/b"), noise(3, 1 << 20)).unwrap();
    world.call("prune", json!(["small/nas", { "grace": "0s" }])).unwrap();
    world.snapshot("small/nas");
    world.call("check", json!(["small/nas", { "read": "all" }])).unwrap();
    drop(small);
}

#[test]
fn a_disk_that_is_too_small_is_told_before_anything_is_restored() {
    let world = World::live();
    let Some(small) = Small::new(&world, "small") else { return };
    world.init("nas");
    fs::create_dir(world.path("src")).unwrap();
    fs::write(world.path("src/a"), noise(1, 10 << 20)).unwrap();
    world.snapshot("nas");
    let error = world.call("restore", json!(["nas", "latest", "small", {}])).unwrap_err();
    assert!(error.kind == ErrorKind::Unavailable && error.message.contains("bytes free"), "{error}");
    assert_eq!(fs::read_dir(world.path("small")).unwrap().count(), 0);
    drop(small);
}

#[test]
fn a_server_that_is_gone_is_told_as_that() {
    let world = World::live();
    world.write("src/a", "1");
    // Bound and closed again: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error =
        world.call("snapshot", json!([format!("rest:http://127.0.0.1:{port}/x"), ["src"], {}])).unwrap_err();
    assert!(error.kind == ErrorKind::Unavailable && error.retryable, "{error}");
    assert!(error.message.contains("cannot be reached"), "{error}");
}

#[test]
fn a_remote_of_rclone_is_a_repository_as_any_other() {
    let world = World::live();
    let remote = format!("rclone::local:{}", world.text("remote"));
    world.call("init", json!([remote, {}])).unwrap();
    tree::grow(&world.path("src"), 8, 30);
    world.snapshot(&remote);
    world.call("check", json!([remote, { "read": "all" }])).unwrap();
    world.restore(&remote, "out");
    tree::assert_same(&world.path("src"), &world.path("out"));
    world.call("forget", json!([remote, { "keep_last": 1, "prune": true }])).unwrap();
    // It is a repository of restic, as it lies there.
    world.restic_ok("remote", &["check", "--read-data"]);
    let error = world.call("init", json!(["rclone:no-such-remote:x", {}])).unwrap_err();
    assert!(error.message.contains("rclone"), "{error}");
}

#[test]
fn a_clock_that_was_ahead_hides_no_later_backup() {
    for world in World::both() {
        world.init("nas");
        let a_day = std::time::Duration::from_secs(86_400);
        for days in 3..6 {
            world.write("src/a", &format!("{days} days ahead"));
            world.ahead.set(a_day * days);
            world.snapshot("nas");
        }
        // A lock of that time, whose owner is gone, is in nobody's way.
        world.ahead.set(std::time::Duration::ZERO);
        for now in ["one", "two"] {
            world.write("src/a", now);
            world.snapshot("nas");
        }
        world.restore("nas", "out");
        assert_eq!(world.read("out/a").unwrap(), "two", "the last one is that of now");
        let sorted = world.call("forget", json!(["nas", { "keep_last": 1 }])).unwrap();
        let count = |key: &str| sorted[key].as_array().unwrap().len();
        assert_eq!(
            (count("kept"), count("removed")),
            (4, 1),
            "what is from the future takes nobody's place: {sorted}"
        );
        let listed = world.call("snapshots", json!(["nas", {}])).unwrap();
        let ahead: Vec<bool> = listed.as_array().unwrap().iter().map(|it| it["ahead"] == true).collect();
        assert_eq!(ahead, [false, true, true, true]);
        // Its time comes, and it is as any other.
        world.ahead.set(a_day * 7);
        let sorted = world.call("forget", json!(["nas", { "keep_last": 1 }])).unwrap();
        assert_eq!(sorted["kept"].as_array().unwrap().len(), 1, "{sorted}");
    }
}

#[test]
fn a_snapshot_is_written_only_while_the_life_goes_on_that_holds_still() {
    let world = World::live();
    world.init("nas");
    world.write("src/a", "1");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned();
    let of = |instance: &str| json!({ "boot": boot, "service": "db", "instance": instance });
    let done = world.call("snapshot", json!(["nas", ["src"], { "life": of("life 1") }])).unwrap();
    assert_eq!(done[0]["files"], 1);
    for life in [of("life 2"), json!({ "boot": "another" })] {
        let error = world.call("snapshot", json!(["nas", ["src"], { "life": life }])).unwrap_err();
        assert!(error.kind == ErrorKind::Conflict && error.message.contains("hold still"), "{error}");
    }
    // It ends while a program is read: what it wrote is nowhere.
    let (begun, go) = (world.text("begun"), world.text("go"));
    let script = format!("echo one; : > {begun}; until [ -e {go} ]; do sleep 0.01; done; echo two");
    let services = std::sync::Arc::clone(&world.services);
    let (sign, on) = (world.path("begun"), world.path("go"));
    let ender = std::thread::spawn(move || {
        while !sign.exists() {
            std::thread::yield_now();
        }
        services.restart("db");
        fs::write(on, "").unwrap();
    });
    let options = json!({ "life": of("life 1") });
    let error = world.call("stream", json!(["nas", "pair", ["sh", "-c", script], options])).unwrap_err();
    ender.join().unwrap();
    assert!(error.kind == ErrorKind::Conflict && error.message.contains("`db` began a new life"), "{error}");
    assert_eq!(world.call("snapshots", json!(["nas", {}])).unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn a_read_only_destination_is_told_and_can_still_be_restored_from() {
    let world = World::live();
    let Some(small) = Small::new(&world, "small") else { return };
    world.init("small/nas");
    world.write("src/a", "1");
    world.snapshot("small/nas");
    let remount = |how: &str| {
        let done = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&small.0).status();
        assert!(done.unwrap().success(), "{how}");
    };
    remount("ro");
    world.write("src/a", "2");
    let error = world.call("snapshot", json!(["small/nas", ["src"], {}])).unwrap_err();
    assert!(error.kind == ErrorKind::Denied && error.message.contains("read-only"), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("mounted read-only")), "it names the cure");
    // What a disk that fails has become is what a restore must do with.
    assert_eq!(world.call("snapshots", json!(["small/nas", {}])).unwrap().as_array().unwrap().len(), 1);
    world.restore("small/nas", "out");
    assert_eq!(world.read("out/a").unwrap(), "1");
    world.call("verify", json!(["small/nas", { "scratch": world.text("scratch") }])).unwrap();
    world.call("check", json!(["small/nas", { "read": "all" }])).unwrap();

    remount("rw");
    world.snapshot("small/nas");
    world.restore("small/nas", "out");
    assert_eq!(world.read("out/a").unwrap(), "2");
    drop(small);
}

#[test]
fn what_changes_while_it_is_read_is_told_and_every_other_file_is_whole() {
    let world = World::live();
    world.init("nas");
    tree::grow(&world.path("src"), 3, 20);
    fs::write(world.path("src/log"), noise(1, 8 << 20)).unwrap();
    let (log, ended) = (world.path("src/log"), std::sync::atomic::AtomicBool::new(false));
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            // It grows and is cut off, as logs are, all the time.
            let file = fs::File::options().write(true).open(&log).unwrap();
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                [3 << 20, 8 << 20].into_iter().for_each(|bytes| file.set_len(bytes).unwrap());
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let done = world.call("snapshot", json!(["nas", ["src"], {}]));
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        done.unwrap()
    });
    let changed = done[0]["changed"].as_array().unwrap();
    assert!(changed.iter().all(|path| path.as_str().unwrap().ends_with("src/log")), "{done}");
    assert_eq!(changed.len(), 1, "{done}");
    world.restic_ok("nas", &["check", "--read-data"]);
    world.restore("nas", "out");
    for place in ["src/log", "out/log"] {
        fs::remove_file(world.path(place)).unwrap();
    }
    tree::assert_same(&world.path("src"), &world.path("out"));
}
