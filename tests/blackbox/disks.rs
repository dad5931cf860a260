//! What `import "hob:storage"` brings, on a real systemd and on real files.

use std::fs;

use hob_lab::disk::{Disk, FileSystem};
use hob_lab::systemd::Systemd;
use hob_tests::until;
use serde_json::json;

use crate::{home, is_root};

const SHARE: &str = r#"
import "hob:storage" as disks;
homelab(#{ name: "house" });
let share = disks::file_system("share", #{
    path: at, source: "the-share", type: "tmpfs", timeout: "200ms",
    unit: #{ automount: true, idle: "0s", timeout: "5s", options: ["size=1m"] },
});
let again = #{ policy: "always", backoff: "1h", max: "1h" };
service("app", #{ command: ["sh", "-c", `echo started >> '${at}/seen'; exec sleep 1000`], restart: again, needs: [share], stop_timeout: "1s" });
"#;

const NAS: &str = r#"
import "hob:storage" as disks;
let made = disks::attach("/mnt", #{ source: "//nas.invalid/share", username: "media", password: secret_file("token"), dir_mode: "0775" });
let again = disks::attach("/mnt", #{ source: "//nas.invalid/share", username: "media", password: secret_file("token"), dir_mode: "0775" });
log::info(`${made.changed} ${again.changed} ${made.start}`);
"#;

/// What a program in the lab writes, which must do well.
fn answer(systemd: &Systemd, program: &str, args: &[&str]) -> String {
    let output = systemd.command(program).args(args).output().expect("it can be started");
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("it writes text").trim().to_owned()
}

/// A file system that is declared is mounted by units when it is missing, and whoever stands on it starts then.
#[test]
fn a_declared_file_system_is_mounted_by_units() {
    if !is_root("boot a systemd") {
        return;
    }
    let Some(systemd) = hob_lab::started("systemd", Systemd::missing(), Systemd::start) else { return };
    let inside = |program: &str, args: &[&str]| answer(&systemd, program, args);
    let home = crate::inside(crate::home_for_labs(), &systemd);
    let secrets = home.path("lab/secrets");
    let home = home.with_env("HOB_SECRETS", secrets);
    home.write("lab/secrets/.keep", "");
    fs::create_dir_all(home.path("the share")).unwrap();
    let at = home.path("the share").to_str().unwrap().to_owned();
    home.write("lab/homelab.rhai", format!("let at = {at:?};\n{SHARE}"));
    let _up = home.up("lab", &[]);
    let mount = || home.json(&["status"])["mounts"][0]["state"].clone();
    let _ = home.hob(&["schedule", "run", "share.mount"]).exits(0);
    until("it is mounted when somebody comes", || (mount() != "missing").then_some(()));
    until("app is ready", || (home.service("app")["state"] == "ready").then_some(()));
    until("it is on what was mounted", || {
        let seen = systemd.command("cat").arg(format!("{at}/seen")).output().expect("it can be started");
        (seen.stdout == b"started\n").then_some(())
    });
    assert!(!home.path("the share/seen").exists(), "and nothing is beneath");
    let _ = home.hob(&["stop", "app"]).exits(0);

    // Somebody takes it away: it comes back by itself.
    let unit = inside("systemd-escape", &["--path", "--suffix=automount", &at]);
    inside("systemctl", &["stop", &unit, &unit.replace(".automount", ".mount")]);
    until("it is mounted again", || {
        (inside("systemctl", &["show", "--property", "ActiveState", "--value", &unit]) == "active")
            .then_some(())
    });
    until("hob sees it", || (mount() != "missing").then_some(()));
}

/// A name and a password are in a file for root alone, and nowhere else.
#[test]
fn passwords_of_servers_are_for_root_alone() {
    if !is_root("boot a systemd") {
        return;
    }
    let Some(systemd) = hob_lab::started("systemd", Systemd::missing(), Systemd::start) else { return };
    let inside = |program: &str, args: &[&str]| answer(&systemd, program, args);
    let home = crate::inside(crate::home_for_labs(), &systemd);
    home.write("attach.rhai", NAS.replace("secret_file(\"token\")", "\"hunter2\""));
    home.write("detach.rhai", "import \"hob:storage\" as disks;\nlog::info(`${disks::detach(\"/mnt\")} ${disks::detach(\"/mnt\")}`);");
    let ran = home.hob(&["run", "attach.rhai", "--allow", "*"]).exits(0);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("true false mnt.automount"), "{ran:?}");
    assert_eq!(inside("stat", &["-c", "%a %u", "/run/hob/mounts/mnt"]), "600 0");
    assert_eq!(inside("cat", &["/run/hob/mounts/mnt"]), "password=hunter2\nusername=media");
    let unit = inside("cat", &["/run/systemd/system/mnt.mount"]);
    assert!(
        unit.contains("credentials=/run/hob/mounts/mnt,dir_mode=0775") && !unit.contains("hunter2"),
        "{unit}"
    );
    assert_eq!(inside("systemctl", &["is-active", "mnt.automount"]), "active");
    let ran = home.hob(&["run", "detach.rhai", "--allow", "*"]).exits(0);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("true false"), "{ran:?}");
    assert_eq!(inside("sh", &["-c", "ls /run/hob/mounts /run/systemd/system | grep mnt || true"]), "");
}

const MOVER: &str = r#"
import "hob:storage" as disks;
homelab(#{ name: "house" });
disks::mover("media", #{
    from: `${at}/hot`, to: `${at}/cold`, every: "1h", on: event("download.completed"),
    age: "7d", exclude: ["*.nfo"], settle: "0s", reserve: "1M", busy: || files::read(`${at}/seeding`).split("\n"),
});
workflow("done", #{ on: manual() }, || emit("download.completed", #{ path: `${at}/hot/done` }));
"#;

/// What is complete moves at once; what is old when it is looked for; what is in use stays.
#[test]
fn a_declared_mover_moves_what_is_complete_and_what_is_old() {
    let home = home();
    let at = home.path("disks").to_str().unwrap().to_owned();
    for name in
        ["hot/tv/new.mkv", "hot/tv/old.mkv", "hot/tv/old.nfo", "hot/seeded/old.mkv", "hot/done/film.mkv"]
    {
        home.write(&format!("disks/{name}"), name);
    }
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(30 * 24 * 3600);
    for name in ["tv/old.mkv", "tv/old.nfo", "seeded/old.mkv"] {
        let file = fs::File::options().write(true).open(home.path("disks/hot").join(name)).unwrap();
        file.set_modified(old).unwrap();
    }
    home.write("disks/seeding", format!("{at}/hot/seeded"));
    fs::create_dir(home.path("disks/cold")).unwrap();
    home.write("lab/homelab.rhai", format!("let at = {at:?};\n{MOVER}"));
    let mut up = home.up("lab", &[]);
    let is_there = |name: &str| home.path("disks").join(name).exists();
    let _ = home.hob(&["run", "done"]).exits(0);
    until("what is complete moves", || is_there("cold/done/film.mkv").then_some(()));
    assert!(is_there("hot/tv/old.mkv"), "and nothing else");
    let _ = home.hob(&["schedule", "run", "media"]).exits(0);
    until("what is old moves", || (!is_there("hot/tv/old.mkv")).then_some(()));
    let moved = ["cold/tv/old.mkv", "hot/tv/new.mkv", "hot/tv/old.nfo", "hot/seeded/old.mkv"].map(is_there);
    assert_eq!(json!(moved), json!([true, true, true, true]));
    let _ = up.stop().exits(0);
}

const SNAPSHOTS: &str = r#"
import "hob:storage" as disks;
homelab(#{ name: "house" });
for name in ["photos", "photos-raw"] {
    disks::snapshots_of(name, #{ path: `${at}/photos`, into: `${at}/kept`, every: "1h", keep: 2 });
}
"#;

/// Each slot leaves a snapshot, of which the last ones stay, and those that somebody else made.
#[test]
fn declared_snapshots_are_made_and_the_last_ones_stay() {
    let Some(disk) = Disk::of(FileSystem::Btrfs) else { return };
    let photos = disk.path().join("photos");
    let made = std::process::Command::new("btrfs").args(["-q", "subvolume", "create"]).arg(&photos).status();
    assert!(made.unwrap().success());
    fs::create_dir(disk.path().join("kept")).unwrap();
    let home = home();
    let at = disk.path().to_str().unwrap().to_owned();
    home.write("lab/homelab.rhai", format!("let at = {at:?};\n{SNAPSHOTS}"));
    home.write("mine.rhai", format!("storage::snapshot(`{at}/photos`, `{at}/kept/photos-before-moving`);"));
    let mut up = home.up("lab", &[]);
    let _ = home.hob(&["run", "mine.rhai", "--allow", "*"]).exits(0);
    let kept = || {
        let names = fs::read_dir(disk.path().join("kept")).unwrap().map(|it| it.unwrap().file_name());
        let mut names: Vec<String> = names.map(|it| it.into_string().unwrap()).collect();
        names.sort();
        names
    };
    let backfill = |name: &str, to: &str| {
        let to = format!("2025-01-31T{to}:30:00Z");
        let _ =
            home.hob(&["schedule", "backfill", name, "--from", "2025-01-31T00:30:00Z", "--to", &to]).exits(0);
    };
    backfill("photos-raw", "01");
    until("the first one is there", || (kept().len() == 2).then_some(()));
    fs::write(photos.join("a"), "a").unwrap();
    backfill("photos", "04");
    let expected = [
        "photos-2025-01-31T030000Z",
        "photos-2025-01-31T040000Z",
        "photos-before-moving",
        "photos-raw-2025-01-31T010000Z",
    ];
    until("the last two stay", || (kept() == expected).then_some(()));
    assert!(disk.path().join("kept/photos-2025-01-31T040000Z/a").exists());
    assert!(!disk.path().join("kept/photos-raw-2025-01-31T010000Z/a").exists());
    let _ = up.stop().exits(0);
}
