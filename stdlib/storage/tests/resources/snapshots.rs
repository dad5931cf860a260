//! Snapshots, and errors that were counted, of real file systems.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hob_lab::disk::{Disk, FileSystem};
use hob_lab::zfs::Zfs;
use hob_model::ErrorKind;
use hob_std_storage::live::LiveTools;
use hob_testkit::Harness;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::{call, harness};

/// What a dry run gives.
fn model(harness: &Harness, name: &str, args: Json) -> Json {
    harness.model(&hob_std_storage::primitive(), name, args).unwrap().to_json().unwrap()
}

/// Each of these calls is refused like this.
fn refused(harness: &Harness, name: &str, cases: &[(Json, ErrorKind, &str)]) {
    for (args, kind, said) in cases {
        let error = call(harness, name, args.clone()).unwrap_err();
        let whole = format!("{} {}", error.message, error.hint.clone().unwrap_or_default());
        assert!(error.kind == *kind && whole.contains(said), "{name} {args}: {error:?}");
    }
}

fn paths(snapshots: &Json) -> Vec<&str> {
    snapshots.as_array().unwrap().iter().map(|it| it["path"].as_str().unwrap()).collect()
}

fn btrfs(args: &[&str], at: &Path) {
    assert!(Command::new("btrfs").arg("-q").args(args).arg(at).status().unwrap().success(), "{args:?}");
}

#[test]
fn snapshots_keep_what_was_there() {
    let Some(disk) = Disk::of(FileSystem::Btrfs) else { return };
    let harness = harness(LiveTools::default());
    let (photos, to) = (disk.path().join("photos"), disk.path().join("photos-1"));
    btrfs(&["subvolume", "create"], &photos);
    assert_eq!(model(&harness, "storage::snapshot", json!([photos, to]))["changed"], true);
    fs::write(photos.join("a"), "before").unwrap();
    let made = call(&harness, "storage::snapshot", json!([photos, to])).unwrap();
    assert_eq!((&made["path"], &made["changed"]), (&json!(to), &json!(true)));
    fs::write(photos.join("a"), "after").unwrap();
    let again = call(&harness, "storage::snapshot", json!([photos, to])).unwrap();
    assert_eq!((&again["uuid"], &again["changed"]), (&made["uuid"], &json!(false)));
    assert_eq!(fs::read_to_string(to.join("a")).unwrap(), "before");
    assert!(fs::write(to.join("a"), "x").is_err(), "it is read-only");
    let writable = disk.path().join("photos-2");
    call(&harness, "storage::snapshot", json!([photos, writable, { "read_only": false }])).unwrap();
    fs::write(writable.join("a"), "x").unwrap();

    fs::create_dir(disk.path().join("plain")).unwrap();
    refused(
        &harness,
        "storage::snapshot",
        &[
            (json!([disk.path().join("plain"), disk.path().join("s")]), ErrorKind::Invalid, "no subvolume"),
            (json!([photos, disk.path().join("plain")]), ErrorKind::Conflict, "no snapshot of"),
            (json!(["/proc/self", "/proc/s"]), ErrorKind::Invalid, "is on proc"),
        ],
    );
    let health = call(&harness, "storage::health", json!([photos])).unwrap();
    assert_eq!((&health["type"], &health["healthy"]), (&json!("btrfs"), &json!(true)), "{health}");
    assert_eq!(health["devices"][0]["counts"]["corruption_errs"], 0, "{health}");
}

/// A mount of a subvolume elsewhere, gone with this value.
struct Beside(TempDir);

impl Beside {
    fn of(disk: &Disk, subvolume: &str) -> Self {
        let at = tempfile::tempdir().unwrap();
        let source = Command::new("findmnt").args(["-n", "-o", "SOURCE"]).arg(disk.path()).output().unwrap();
        let source = String::from_utf8(source.stdout).unwrap();
        let option = format!("subvol={subvolume}");
        let mounted = Command::new("mount").args(["-o", &option, source.trim()]).arg(at.path()).status();
        assert!(mounted.unwrap().success());
        Self(at)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.path()).status());
    }
}

#[test]
fn snapshots_of_a_subvolume_are_listed_where_they_are_seen() {
    let Some(disk) = Disk::of(FileSystem::Btrfs) else { return };
    let harness = harness(LiveTools::default());
    let at = |name: &str| disk.path().join(name);
    for name in ["photos", "other", "kept"] {
        btrfs(&["subvolume", "create"], &at(name));
    }
    let snapshot = |path: &str, to: &str, read_only: bool| {
        let args = json!([at(path), at(to), { "read_only": read_only }]);
        call(&harness, "storage::snapshot", args).unwrap()
    };
    let first = snapshot("photos", "kept/z first", true);
    snapshot("photos", "a-second", false);
    snapshot("other", "kept/o", true);
    snapshot("photos", "photos/inner", true);
    let list =
        |path: &Path, options: Json| call(&harness, "storage::snapshots", json!([path, options])).unwrap();
    let all = list(&at("photos"), json!({}));
    let expected = [at("kept/z first"), at("a-second"), at("photos/inner")];
    assert_eq!(json!(paths(&all)), json!(expected), "the oldest is the first");
    let made = &all[0];
    assert_eq!((&made["uuid"], &made["read_only"]), (&first["uuid"], &json!(true)), "{all}");
    assert_eq!(all[1]["read_only"], false, "{all}");
    let created: hob_model::Timestamp = made["created"].as_str().unwrap().parse().unwrap();
    let clock = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(clock.abs_diff(created.as_second().try_into().unwrap()) < 120, "{created}");
    assert_eq!(
        json!(paths(&list(&at("photos"), json!({ "below": at("kept") })))),
        json!([at("kept/z first")])
    );
    assert_eq!(json!(paths(&list(&at("other"), json!({})))), json!([at("kept/o")]));

    // Where subvolumes are mounted by themselves, what is seen there comes first, and `below` decides.
    let (photos, kept) = (Beside::of(&disk, "photos"), Beside::of(&disk, "kept"));
    let seen = list(photos.path(), json!({}));
    let own = photos.path().join("inner");
    assert!(paths(&seen).contains(&own.to_str().unwrap()) && paths(&seen).len() == 3, "{seen}");
    let seen = list(photos.path(), json!({ "below": kept.path() }));
    assert_eq!(json!(paths(&seen)), json!([kept.path().join("z first")]));
    // What another mount hides is nowhere.
    let cover = Command::new("mount").args(["-t", "tmpfs", "cover"]).arg(at("kept")).status();
    drop(kept);
    let seen = list(&at("photos"), json!({}));
    let uncovered = Command::new("umount").arg(at("kept")).status();
    assert!(cover.unwrap().success() && uncovered.unwrap().success());
    assert_eq!(json!(paths(&seen)), json!([at("a-second"), at("photos/inner")]));
    let none = [(json!([at("nothing")]), ErrorKind::Invalid, "no subvolume")];
    refused(&harness, "storage::snapshots", &none);
}

#[test]
fn only_snapshots_are_removed() {
    let Some(disk) = Disk::of(FileSystem::Btrfs) else { return };
    let harness = harness(LiveTools::default());
    let at = |name: &str| disk.path().join(name);
    let remove =
        |name: &str, options: Json| call(&harness, "storage::remove_snapshot", json!([at(name), options]));
    btrfs(&["subvolume", "create"], &at("photos"));
    fs::write(at("photos/a"), "a").unwrap();
    for (name, read_only) in [("one", true), ("two", true), ("restored", false)] {
        let args = json!([at("photos"), at(name), { "read_only": read_only }]);
        call(&harness, "storage::snapshot", args).unwrap();
    }
    assert_eq!(model(&harness, "storage::remove_snapshot", json!([at("one")])), json!({ "changed": true }));
    assert!(at("one/a").exists(), "a dry run removes nothing");
    assert_eq!(remove("one", json!({})).unwrap(), json!({ "changed": true }));
    assert!(!at("one").exists());
    for name in ["one", "absent/one"] {
        assert_eq!(remove(name, json!({})).unwrap(), json!({ "changed": false }), "{name}");
    }

    fs::create_dir(at("plain")).unwrap();
    fs::write(at("file"), "").unwrap();
    symlink(at("two"), at("link")).unwrap();
    let refuses = |name: &str, kind: ErrorKind, said: &str| {
        refused(&harness, "storage::remove_snapshot", &[(json!([at(name)]), kind, said)]);
        assert!(at(name).exists(), "{name}");
    };
    for name in ["photos", "plain", "file", "link", "two/a", ""] {
        refuses(name, ErrorKind::Conflict, "is no snapshot");
    }
    refuses("restored", ErrorKind::Conflict, "`writable: true`");
    // A subvolume that somebody made in one keeps it.
    btrfs(&["subvolume", "create"], &at("restored/inner"));
    let error = remove("restored", json!({ "writable": true })).unwrap_err();
    assert!(error.kind == ErrorKind::Failed && error.hint.unwrap().contains("lie in it"));
    btrfs(&["subvolume", "delete"], &at("restored/inner"));
    assert_eq!(remove("restored", json!({ "writable": true })).unwrap(), json!({ "changed": true }));
    assert!(at("photos/a").exists() && at("two/a").exists());
    let elsewhere = [(json!(["/proc/self"]), ErrorKind::Invalid, "is on proc")];
    refused(&harness, "storage::remove_snapshot", &elsewhere);
}

#[test]
fn snapshots_of_a_dataset_keep_what_was_there() {
    Zfs::with("snapshots::snapshots_of_a_dataset_keep_what_was_there", |zfs| {
        let harness = harness(LiveTools::default());
        for dataset in ["photos", "photos/raw data"] {
            zfs.run("zfs", &["create", &format!("{}/{dataset}", Zfs::POOL)]);
        }
        let photos = zfs.path().join("photos");
        let of = |name: &str| photos.join(".zfs/snapshot").join(name);
        fs::write(photos.join("a"), "before").unwrap();
        let snapshot = |name: &str| call(&harness, "storage::snapshot", json!([photos, of(name)])).unwrap();
        let pretended = model(&harness, "storage::snapshot", json!([photos, of("z first")]));
        assert_eq!((&pretended["uuid"], &pretended["changed"]), (&Json::Null, &json!(true)));
        let made = snapshot("z first");
        let guid = zfs.run("zfs", &["get", "-Hp", "-o", "value", "guid", "hobtest/photos@z first"]);
        let expected = json!({ "path": of("z first"), "uuid": guid.trim(), "changed": true });
        assert_eq!(made, expected);
        fs::write(photos.join("a"), "after").unwrap();
        assert_eq!(
            snapshot("z first"),
            json!({ "path": of("z first"), "uuid": guid.trim(), "changed": false })
        );
        zfs.run("zfs", &["clone", "hobtest/photos@z first", "hobtest/clone"]);
        assert_eq!(fs::read_to_string(zfs.path().join("clone/a")).unwrap(), "before");

        snapshot("2026-01-31T02:00:00Z");
        let raw = photos.join("raw data");
        call(&harness, "storage::snapshot", json!([raw, raw.join(".zfs/snapshot/one")])).unwrap();
        let list = |path: &Path| call(&harness, "storage::snapshots", json!([path])).unwrap();
        let all = list(&photos);
        assert_eq!(json!(paths(&all)), json!([of("z first"), of("2026-01-31T02:00:00Z")]), "{all}");
        assert_eq!((&all[0]["uuid"], &all[0]["read_only"]), (&made["uuid"], &json!(true)));
        let created: hob_model::Timestamp = all[0]["created"].as_str().unwrap().parse().unwrap();
        let clock = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        assert!(clock.abs_diff(created.as_second().try_into().unwrap()) < 120, "{created}");
        assert_eq!(json!(paths(&list(&raw))), json!([raw.join(".zfs/snapshot/one")]));

        fs::create_dir(photos.join("plain")).unwrap();
        let writable = json!({ "read_only": false });
        let (invalid, plain) = (ErrorKind::Invalid, photos.join("plain"));
        refused(
            &harness,
            "storage::snapshot",
            &[
                (json!([photos, of("w"), writable]), invalid, "`zfs clone`"),
                (json!([plain, of("w")]), invalid, "`zfs create` makes a dataset"),
                (json!([photos, zfs.path().join("w")]), invalid, "/photos/.zfs/snapshot/NAME`"),
                (json!([photos, zfs.path().join(".zfs/snapshot/w")]), invalid, "/photos/.zfs/snapshot/NAME`"),
                (json!([photos, of("a,b")]), invalid, "a name has letters"),
            ],
        );
        refused(&harness, "storage::snapshots", &[(json!([plain]), invalid, "hobtest/photos is mounted at")]);
    });
}

#[test]
fn only_snapshots_of_a_dataset_are_removed() {
    Zfs::with("snapshots::only_snapshots_of_a_dataset_are_removed", |zfs| {
        let harness = harness(LiveTools::default());
        zfs.run("zfs", &["create", "hobtest/photos"]);
        let photos = zfs.path().join("photos");
        let plain = photos.join("plain");
        fs::create_dir(&plain).unwrap();
        fs::write(photos.join("a"), "now").unwrap();
        let of = |name: &str| photos.join(".zfs/snapshot").join(name);
        for name in ["first", "second"] {
            call(&harness, "storage::snapshot", json!([photos, of(name)])).unwrap();
        }
        zfs.run("zfs", &["clone", "hobtest/photos@first", "hobtest/clone"]);
        let remove = |path: &Path| call(&harness, "storage::remove_snapshot", json!([path]));
        let (conflict, failed) = (ErrorKind::Conflict, ErrorKind::Failed);
        zfs.run("zfs", &["hold", "keep", "hobtest/photos@second"]);
        refused(
            &harness,
            "storage::remove_snapshot",
            &[
                (json!([photos]), conflict, "is no snapshot"),
                (json!([plain]), conflict, "is no snapshot"),
                (json!([of("")]), conflict, "is no snapshot"),
                (json!([of("first%second")]), conflict, "is no snapshot"),
                (json!([plain.join(".zfs/snapshot/one")]), ErrorKind::Invalid, "not where a dataset"),
                (json!([of("first")]), failed, "dependent clones"),
                (json!([of("second")]), failed, "`zfs holds`"),
            ],
        );
        zfs.run("zfs", &["release", "keep", "hobtest/photos@second"]);
        let second = of("second");
        let pretended = model(&harness, "storage::remove_snapshot", json!([second]));
        assert_eq!(pretended, json!({ "changed": true }));
        assert_eq!(remove(&second).unwrap(), json!({ "changed": true }));
        assert_eq!(remove(&second).unwrap(), json!({ "changed": false }));
        let left = call(&harness, "storage::snapshots", json!([photos])).unwrap();
        assert_eq!(json!(paths(&left)), json!([of("first")]));
        assert_eq!(fs::read_to_string(photos.join("a")).unwrap(), "now");
    });
}

#[test]
fn a_pool_tells_which_disk_ails() {
    Zfs::with("snapshots::a_pool_tells_which_disk_ails", |zfs| {
        let harness = harness(LiveTools::default());
        zfs.run("zfs", &["create", "hobtest/photos"]);
        let photos = zfs.path().join("photos");
        let look = || call(&harness, "storage::health", json!([photos.join("a")])).unwrap();
        let disk = |health: &Json, at: usize| {
            let devices = health["devices"].as_array().unwrap();
            let name = zfs.disks()[at].to_str().unwrap().to_owned();
            devices
                .iter()
                .find(|it| it["device"] == name.as_str())
                .unwrap_or_else(|| panic!("{health}"))
                .clone()
        };
        fs::write(photos.join("a"), vec![7; 20 << 20]).unwrap();
        assert!(Command::new("sync").status().unwrap().success());
        let health = look();
        let of = |key: &str| health[key].clone();
        let expected = json!(["fuse.zfs", photos, true, "hobtest", "ONLINE", 0]);
        assert_eq!(
            json!(["type", "mount", "healthy", "pool", "state", "data_errors"].map(of)),
            expected,
            "{health}"
        );
        let counts = json!({ "read": 0, "write": 0, "checksum": 0 });
        let well = json!({ "device": zfs.disks()[0], "state": "ONLINE", "errors": 0, "counts": counts });
        assert_eq!(disk(&health, 0), well);
        assert_eq!(health["devices"].as_array().unwrap().len(), 4, "pool, mirror and two disks: {health}");

        // A disk that forgot what it had: ZFS sees that when it reads it, and mends it from the other one.
        zfs.damage(&zfs.disks()[0]).unwrap();
        let scrub = || {
            zfs.run("zpool", &["scrub", Zfs::POOL]);
            let begun = Instant::now();
            while !zfs.run("zpool", &["status", Zfs::POOL]).contains("scrub completed") {
                assert!(begun.elapsed() < Duration::from_secs(60), "it scrubs on and on");
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        scrub();
        let health = look();
        assert_eq!(
            (&health["healthy"], &health["state"], &health["data_errors"]),
            (&json!(false), &json!("ONLINE"), &json!(0))
        );
        assert!(disk(&health, 0)["counts"]["checksum"].as_i64().unwrap() > 0, "{health}");
        assert_eq!(disk(&health, 1)["errors"], 0, "{health}");
        zfs.run("zpool", &["clear", Zfs::POOL]);
        assert_eq!(look()["healthy"], true);

        let other = zfs.disks()[1].to_str().unwrap().to_owned();
        zfs.run("zpool", &["offline", Zfs::POOL, &other]);
        let health = look();
        assert_eq!((&health["healthy"], &health["state"]), (&json!(false), &json!("DEGRADED")), "{health}");
        assert_eq!(disk(&health, 1)["state"], "OFFLINE", "{health}");
        // Without the other one, what is damaged now is lost.
        zfs.damage(&zfs.disks()[0]).unwrap();
        scrub();
        let health = look();
        assert!(health["data_errors"].as_i64().unwrap() > 0 && health["healthy"] == false, "{health}");
    });
}
