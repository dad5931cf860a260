//! Directories, disks, snapshots and mounts as scripts see them.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)] // tests look at real files

mod snapshots;

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hob_lab::disk::{Disk, FileSystem};
use hob_lab::systemd::Systemd;
use hob_model::{ErrorKind, OpError};
use hob_primitive::Measured;
use hob_std_storage::directories::Directories;
use hob_std_storage::live::{Live, LiveTools};
use hob_std_storage::measure::DiskMeasures;
use hob_std_storage::tier::Tiers;
use hob_std_storage::tools::Tools;
use hob_testkit::Harness;
use serde_json::{Value as Json, json};

fn harness(tools: LiveTools) -> Harness {
    let live = Arc::new(Live::new());
    Harness::new()
        .port::<dyn Tiers>(Arc::clone(&live) as Arc<dyn Tiers>)
        .port::<dyn Directories>(live)
        .port::<dyn Tools>(Arc::new(tools))
}

fn call(harness: &Harness, name: &str, args: Json) -> Result<Json, OpError> {
    Ok(harness.call(&hob_std_storage::primitive(), name, args)?.to_json().unwrap())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_shared_directory_is_as_all_who_share_it_need_it() {
    let harness = harness(LiveTools::default());
    let options = json!({
        "mode": "2775", "default_acl": "0775", "links": true, "group": 54321,
        "below": ["torrents/{movies,tv}", "media/{movies,tv}"],
    });
    let made = call(&harness, "storage::ensure_dir", json!(["data", options])).unwrap();
    assert_eq!(made["directories"].as_array().unwrap().len(), 7, "{made}");
    assert_eq!(made["changed"], made["directories"], "{made}");
    let movies = harness.dir().join("data/media/movies");
    assert_eq!((mode(&movies), fs::metadata(&movies).unwrap().gid()), (0o2775, 54321));
    // Whoever writes there, whatever the umask: others of the group can.
    let write = "umask 077; echo x > film; mkdir Show; echo y > Show/episode";
    assert!(Command::new("sh").args(["-c", write]).current_dir(&movies).status().unwrap().success());
    for (name, wanted) in [("film", 0o664), ("Show", 0o2775), ("Show/episode", 0o664)] {
        assert_eq!(mode(&movies.join(name)), wanted, "{name}");
        assert_eq!(fs::metadata(movies.join(name)).unwrap().gid(), 54321, "{name}");
    }
    assert_eq!(fs::read_dir(&movies).unwrap().count(), 2, "trying links leaves nothing");

    let again = call(&harness, "storage::ensure_dir", json!(["data", options])).unwrap();
    assert_eq!(again["changed"], json!([]));
    fs::set_permissions(&movies, fs::Permissions::from_mode(0o700)).unwrap();
    let mended = call(&harness, "storage::ensure_dir", json!(["data", options])).unwrap();
    assert_eq!(mended["changed"], json!([movies]));
    let none = call(&harness, "storage::ensure_dir", json!(["data", { "default_acl": "" }])).unwrap();
    assert_eq!(none["changed"].as_array().unwrap().len(), 1);
}

#[test]
fn links_that_would_be_copies_are_told_before_anybody_needs_them() {
    let harness = harness(LiveTools::default());
    let Some(disk) = Disk::in_memory(1024) else { return };
    fs::create_dir_all(harness.dir().join("data/torrents")).unwrap();
    symlink(disk.path(), harness.dir().join("data/media")).unwrap();
    let options = json!({ "links": true, "below": ["torrents", "media/movies"] });
    let error = call(&harness, "storage::ensure_dir", json!(["data", options])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.message.contains("hard links from") && error.message.contains("data/media"), "{error:?}");
    assert_eq!(fs::read_dir(harness.dir().join("data")).unwrap().count(), 2, "nothing is left of trying");

    fs::write(harness.dir().join("file"), "").unwrap();
    for (args, kind, said) in [
        (json!(["file"]), ErrorKind::Conflict, "no directory"),
        (json!(["d", { "below": ["../x"] }]), ErrorKind::Invalid, "names no directory below"),
        (json!(["d", { "below": ["a/{b"] }]), ErrorKind::Invalid, "brace"),
        (json!(["d", { "owner": "nobody-of-this-name" }]), ErrorKind::Invalid, "there is no user"),
        (json!(["d", { "default_acl": "rwx" }]), ErrorKind::Invalid, "setfacl"),
    ] {
        let error = call(&harness, "storage::ensure_dir", args.clone()).unwrap_err();
        let whole = format!("{} {}", error.message, error.hint.clone().unwrap_or_default());
        assert!(error.kind == kind && whole.contains(said), "{args}: {error:?}");
    }
}

/// A `smartctl` that tells what the real one told of such disks, and writes down how it was asked.
fn stand_in(harness: &Harness) -> LiveTools {
    let bin = harness.dir().join("bin");
    fs::create_dir(&bin).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let script = format!(
        "#!/bin/sh\necho \"$*\" >> {asked}\nfor last; do :; done\ncase $last in\n--scan) cat {from}/scan.json ;;\n\
         /dev/sda) cat {from}/ata.json; exit 64 ;;\n/dev/sdb) cat {from}/asleep.json; exit 2 ;;\n\
         /dev/nvme0) cat {from}/nvme.json ;;\n/dev/nvme1) cat {from}/nvme-failing.json; exit 8 ;;\n\
         *) echo '{{\"smartctl\":{{\"messages\":[{{\"string\":\"Smartctl open device: '$last' failed: No such device\"}}],\"exit_status\":2}}}}'; exit 2 ;;\nesac\n",
        asked = harness.dir().join("asked").display(),
        from = fixtures.display(),
    );
    fs::write(bin.join("smartctl"), script).unwrap();
    fs::set_permissions(bin.join("smartctl"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut path = bin.into_os_string();
    path.push(":/usr/bin:/bin");
    LiveTools::within(path)
}

#[test]
fn disks_tell_how_they_are_and_sleep_on() {
    let place = Harness::new();
    let harness = harness(stand_in(&place));
    let disks = call(&harness, "storage::disks", json!([])).unwrap();
    let of =
        |at: usize, keys: &[&str]| -> Vec<Json> { keys.iter().map(|key| disks[at][key].clone()).collect() };
    let keys = ["device", "asleep", "healthy", "temperature", "hours", "reallocated", "wear"];
    assert_eq!(
        of(0, &keys),
        [json!("/dev/sda"), json!(false), json!(false), json!(32), json!(31024), json!(8), json!(null)]
    );
    assert_eq!(disks[0]["problems"], json!(["8 sectors were replaced"]));
    assert_eq!(
        of(1, &["device", "asleep", "healthy", "model"]),
        [json!("/dev/sdb"), json!(true), json!(null), json!(null)]
    );
    assert_eq!(of(2, &["healthy", "wear", "bytes"]), [json!(true), json!(3), json!(1_000_204_886_016_i64)]);
    let problems = disks[3]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 5, "{problems:?}");
    assert_eq!(of(4, &["device", "healthy"]), [json!("/dev/sdq"), json!(null)]);
    assert!(disks[4]["problems"][0].as_str().unwrap().contains("No such device"), "{disks}");

    let asked = fs::read_to_string(place.dir().join("asked")).unwrap();
    let asked: Vec<&str> = asked.lines().collect();
    assert_eq!(asked[..2], ["--json=c --scan", "--json=c --all --nocheck=standby --device sat /dev/sda"]);
    assert!(asked[1..].iter().all(|it| it.contains("--nocheck=standby")), "nobody was woken: {asked:?}");
    call(&harness, "storage::smart", json!(["/dev/nvme0", { "wake": true }])).unwrap();
    let asked = fs::read_to_string(place.dir().join("asked")).unwrap();
    assert!(asked.ends_with("--json=c --all /dev/nvme0\n"), "{asked}");
    let none = call(&harness, "storage::smart", json!(["/dev/none"])).unwrap_err();
    assert_eq!(none.kind, ErrorKind::NotFound, "{none:?}");
}

/// A `smartctl` that tells this of a disk and ends with this status.
fn telling(place: &Harness, told: &Json, status: u8) -> LiveTools {
    let (script, answer) = (place.dir().join("smartctl"), place.dir().join("told.json"));
    fs::write(answer, told.to_string()).unwrap();
    fs::write(&script, format!("#!/bin/sh\ncat ${{0%/*}}/told.json\nexit {status}\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    LiveTools::within(format!("{}:/usr/bin:/bin", place.dir().display()))
}

#[test]
fn each_way_in_which_a_disk_ails_is_told() {
    let attribute =
        |id: u64| json!({ "ata_smart_attributes": { "table": [{ "id": id, "raw": { "value": 7 } }] } });
    let nvme = |key: &str, value: u64| json!({ "nvme_smart_health_information_log": { key: value } });
    for (mut told, status, said) in [
        (attribute(5), 0, "7 sectors were replaced"),
        (json!({ "scsi_grown_defect_list": 7 }), 0, "7 sectors were replaced"),
        (attribute(197), 0, "7 sectors cannot be read"),
        (attribute(198), 0, "7 sectors could not be read"),
        (attribute(187), 0, "7 sectors could not be read"),
        (nvme("media_errors", 7), 0, "7 errors of its memory"),
        (nvme("percentage_used", 100), 0, "100 % of the writes"),
        (json!({ "scsi_percentage_used_endurance_indicator": 120 }), 0, "120 % of the writes"),
        (nvme("critical_warning", 1), 0, "spare blocks"),
        (nvme("critical_warning", 2), 0, "temperature"),
        (nvme("critical_warning", 4), 0, "no longer reliable"),
        (nvme("critical_warning", 8), 0, "read-only"),
        (nvme("critical_warning", 16), 0, "backup of volatile memory"),
        (nvme("critical_warning", 32), 0, "persistent memory"),
        (json!({}), 16, "at the threshold"),
    ] {
        told["smart_status"] = json!({ "passed": true });
        let place = Harness::new();
        let disk =
            call(&harness(telling(&place, &told, status)), "storage::smart", json!(["/dev/sda"])).unwrap();
        let problems = disk["problems"].as_array().unwrap();
        assert!(problems.len() == 1 && problems[0].as_str().unwrap().contains(said), "{told}: {disk}");
        assert_eq!(disk["healthy"], false, "{disk}");
    }
    for (told, healthy, count) in [
        (json!({ "smart_status": { "passed": false } }), json!(false), 1),
        (json!({ "smart_status": { "passed": true } }), json!(true), 0),
        (json!({}), json!(null), 0),
    ] {
        let place = Harness::new();
        let disk = call(&harness(telling(&place, &told, 0)), "storage::smart", json!(["/dev/sda"])).unwrap();
        assert_eq!(
            (&disk["healthy"], disk["problems"].as_array().unwrap().len()),
            (&healthy, count),
            "{told}"
        );
    }
}

#[test]
fn disks_are_measured_now_and_then_and_sleep_on() {
    let place = Harness::new();
    let every = Duration::from_secs(3600);
    let disks = Arc::new(DiskMeasures::new(Arc::new(stand_in(&place)), Arc::new(Live::new()), every));
    let measure = || place.runtime().block_on(Arc::clone(&disks).measure()).unwrap();
    let told = measure();
    let value = |name: &str, device: &str| {
        let family = told.iter().find(|it| it.name == name).unwrap();
        family.samples.iter().find(|it| it.labels[0].1 == device).map(|it| it.value)
    };
    for (name, device, expected) in [
        ("hob_disk_healthy", "/dev/sda", Some(0.0)),
        ("hob_disk_reallocated_sectors", "/dev/sda", Some(8.0)),
        ("hob_disk_temperature_celsius", "/dev/sda", Some(32.0)),
        ("hob_disk_powered_on_seconds", "/dev/sda", Some(31_024.0 * 3600.0)),
        ("hob_disk_asleep", "/dev/sdb", Some(1.0)),
        ("hob_disk_healthy", "/dev/sdb", None),
        ("hob_disk_healthy", "/dev/nvme0", Some(1.0)),
        ("hob_disk_wear_ratio", "/dev/nvme0", Some(0.03)),
        ("hob_disk_healthy", "/dev/nvme1", Some(0.0)),
        ("hob_disk_healthy", "/dev/sdq", None),
    ] {
        assert_eq!(value(name, device), expected, "{name} of {device}");
    }
    let asked = || fs::read_to_string(place.dir().join("asked")).unwrap();
    let first = asked();
    assert!(first.lines().skip(1).all(|it| it.contains("--nocheck=standby")), "nobody was woken: {first}");
    measure();
    assert_eq!(asked(), first, "what is known is told again");

    let none = LiveTools::within("/nowhere");
    let none = Arc::new(DiskMeasures::new(Arc::new(none), Arc::new(Live::new()), Duration::ZERO));
    let error = place.runtime().block_on(none.measure()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
}

#[test]
fn the_real_smartctl_takes_these_arguments_and_a_disk_that_hangs_keeps_nobody() {
    let harness = harness(LiveTools::default());
    match call(&harness, "storage::smart", json!(["/dev/null", { "type": "sat", "wake": true }])) {
        Err(error) if error.message.contains("no program") => {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI has smartctl");
            eprintln!("skipped: no smartctl (package smartmontools)");
        }
        Err(error) => {
            assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
            assert!(error.message.starts_with("/dev/null cannot be asked: "), "{error:?}");
            assert!(
                !error.message.contains("INVALID ARGUMENT") && !error.message.contains("option"),
                "{error:?}"
            );
            assert!(call(&harness, "storage::disks", json!([])).unwrap().is_array());
            // What it says of whatever does not answer when asked whether it is awake.
            let asleep = call(&harness, "storage::smart", json!(["/dev/null", { "type": "sat" }])).unwrap();
            assert_eq!((&asleep["asleep"], &asleep["healthy"]), (&json!(true), &json!(null)));
        }
        Ok(told) => panic!("/dev/null is no disk: {told}"),
    }

    let place = Harness::new();
    fs::write(place.dir().join("smartctl"), "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(place.dir().join("smartctl"), fs::Permissions::from_mode(0o755)).unwrap();
    let harness = self::harness(LiveTools::within(format!("{}:/usr/bin:/bin", place.dir().display())));
    let error = call(&harness, "storage::smart", json!(["/dev/sda", { "patience": "50ms" }])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout, "{error:?}");
    let none = self::harness(LiveTools::within("/nowhere"));
    let error = call(&none, "storage::smart", json!(["/dev/sda"])).unwrap_err();
    assert!(error.kind == ErrorKind::NotFound && error.hint.unwrap().contains("smartmontools"));
}

#[test]
fn programs_write_times_of_one_zone() {
    let told = LiveTools::default().run("printenv", &["TZ"], Duration::from_secs(60)).unwrap();
    assert_eq!(told.stdout, b"UTC0\n", "some do not say which one they mean");
}

#[test]
fn file_systems_tell_of_errors_that_they_counted() {
    let Some(disk) = Disk::of(FileSystem::Ext4) else { return };
    let harness = harness(LiveTools::default());
    let health = call(&harness, "storage::health", json!([disk.path()])).unwrap();
    assert_eq!((&health["type"], &health["healthy"]), (&json!("ext4"), &json!(true)), "{health}");
    let device = health["devices"][0]["device"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    // The kernel counts one when it is asked to, in its own time.
    fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
    let look = || call(&harness, "storage::health", json!([disk.path()])).unwrap();
    let seen = (0..300).map(|_| look()).find(|it| {
        let counted = it["healthy"] == false;
        if !counted {
            std::thread::sleep(Duration::from_millis(20));
        }
        counted
    });
    let health = seen.unwrap_or_else(look);
    assert_eq!((&health["healthy"], &health["devices"][0]["errors"]), (&json!(false), &json!(1)), "{health}");
    let proc = call(&harness, "storage::health", json!(["/proc"])).unwrap_err();
    assert_eq!(proc.kind, ErrorKind::Invalid);
}

#[test]
fn a_file_system_whose_server_is_gone_keeps_nobody() {
    if !rustix::process::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        eprintln!("skipped: no file system of its own to test on");
        return;
    }
    let harness = harness(LiveTools::default());
    let at = harness.dir().join("stale");
    fs::create_dir(&at).unwrap();
    // A server that has begun and never answers: whoever comes there waits for ever.
    let server = File::options().read(true).write(true).open("/dev/fuse").unwrap();
    rustix::io::fcntl_setfd(&server, rustix::io::FdFlags::empty()).unwrap();
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
    let mounted = Command::new("mount").args(["-i", "-t", "fuse", "-o", &options, "dead"]).arg(&at).status();
    assert!(mounted.unwrap().success());
    let patience = json!({ "patience": "100ms" });
    let error = call(&harness, "storage::usage", json!([at, patience])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout, "{error:?}");
    let ask = json!({ "ask": true, "type": "fuse", "patience": "100ms" });
    let mounts = call(&harness, "storage::mounts", json!([ask])).unwrap();
    let stale = mounts.as_array().unwrap().iter().find(|it| it["path"] == json!(at)).unwrap();
    assert_eq!(stale["answers"], false, "{mounts}");
    assert!(Command::new("umount").arg("-l").arg(&at).status().unwrap().success());
    drop(server); // whoever still waits there is let go
}

#[test]
fn units_for_mounts_are_what_systemd_takes() {
    let harness = harness(LiveTools::default());
    let units = |args: Json| call(&harness, "storage::mount_units", args);
    let nas = units(json!(["/mnt/share", {
        "source": "//nas/share", "credentials": true, "file_mode": "0664", "dir_mode": "0775", "gid": 1000,
        "options": ["vers=3.1.1"], "timeout": "15s", "idle": "1m",
    }]))
    .unwrap();
    let text = nas["files"][0]["text"].as_str().unwrap();
    for line in [
        "What=//nas/share",
        "Where=/mnt/share",
        "Type=cifs",
        "Options=vers=3.1.1,_netdev,nofail,credentials=/run/hob/mounts/mnt-share,file_mode=0664,dir_mode=0775,gid=1000",
        "TimeoutSec=15000ms",
        "After=network-online.target",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
    assert!(
        nas["files"][1]["text"].as_str().unwrap().ends_with("Where=/mnt/share\nTimeoutIdleSec=60000ms\n")
    );
    let local =
        units(json!(["/srv/media data", { "source": "UUID=1-2", "type": "ext4", "options": ["a%b"] }]))
            .unwrap();
    assert_eq!((&local["automount"], &local["credentials"]), (&json!(null), &json!(null)));
    assert_eq!(local["start"], "srv-media\\x20data.mount");
    assert!(local["files"][0]["text"].as_str().unwrap().contains("Options=a%%b,nofail"));
    for (args, said) in [
        (json!(["mnt", { "source": "x" }]), "absolute"),
        (json!(["/", { "source": "x" }]), "absolute"),
        (json!(["/mnt/..", { "source": "x" }]), "absolute"),
        (json!(["/mnt", { "source": "x\nExecStart=y" }]), "one line"),
        (json!(["/mnt", { "source": "//n/s", "options": ["password=x"] }]), "everybody"),
        (json!(["/mnt", { "source": "n:/s", "file_mode": "0664" }]), "SMB"),
    ] {
        let error = units(args.clone()).unwrap_err();
        assert!(error.kind == ErrorKind::Invalid && error.message.contains(said), "{args}: {error:?}");
    }

    let missing = Systemd::missing();
    let Some(systemd) = hob_lab::started("systemd", missing, Systemd::start) else { return };
    for unit in [&nas, &local].into_iter().flat_map(|it| it["files"].as_array().unwrap()) {
        systemd.write_unit(unit["unit"].as_str().unwrap(), unit["text"].as_str().unwrap()).unwrap();
    }
    for unit in [&nas, &local].into_iter().flat_map(|it| it["files"].as_array().unwrap()) {
        let unit = unit["unit"].as_str().unwrap();
        let verified =
            systemd.command("systemd-analyze").args(["verify", "--man=no", unit]).output().unwrap();
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        assert!(verified.status.success() && !said.contains(unit), "{unit}: {said}");
    }
}
