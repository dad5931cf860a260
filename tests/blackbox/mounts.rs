//! The mount guard, on real mounts in a name space that the test made.

use std::process::Command;

use hob_tests::home::{Home, Up};
use hob_tests::until;
use serde_json::{Value as Json, json};

use crate::{home, is_root};

/// A service whose data are on a disk of their own. It counts its starts, and what it found.
const HOMELAB: &str = r#"
homelab(#{ name: "house" });
let disk = mount("disk", #{ path: at, source: "the-disk", type: "tmpfs", timeout: "200ms" });
let photos = dataset("photos", #{ path: `${at}/photos` });
let again = #{ policy: "always", backoff: "1h", max: "1h" };
let app = service("app", #{ command: ["sh", "-c", `cat ${at}/photos/data >> seen.log; exec sleep 1000`], restart: again, needs: [photos], stop_timeout: "1s",
    hooks: #{ before_start: || { storage::ensure_dir(`${at}/albums`); } } });
service("web", #{ command: ["sleep", "1000"], needs: [app], stop_timeout: "1s" });
service("free", #{ command: ["sleep", "1000"], stop_timeout: "1s" });
workflow("told", #{ on: event("mount.*") }, |e| files::append("events.log", `${e.name} ${e.payload.mount}` + "\n"));
"#;

/// Runs a command where `up` has its mounts.
fn inside(up: &Up, words: &[&str]) {
    let mut command = Command::new("nsenter");
    command.args(["--mount", "--target"]).arg(up.process.pid().to_string()).arg("--").args(words);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
}

fn mount(home: &Home) -> Json {
    home.json(&["status"])["mounts"][0].clone()
}

#[test]
fn nothing_starts_beside_its_data() {
    if !is_root("make mounts") {
        return;
    }
    let private = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private"]);
        unshare
    };
    let home = home().through(&private());
    let disk = home.path("disk");
    std::fs::create_dir_all(disk.join("photos")).unwrap();
    let disk = disk.to_str().unwrap();
    home.write("lab/homelab.rhai", format!("let at = {disk:?};\n{HOMELAB}"));

    // The directory is there, and empty: nobody may take it for the data.
    let mut up = home.up("lab", &[]);
    let told = home.service("app");
    let note = told["note"].as_str().unwrap();
    assert!(note.contains(&format!("mount `disk` is missing: nothing is mounted at {disk}")), "{note}");
    assert_eq!(
        ["app", "web", "free"].map(|name| home.service(name)["state"].clone()),
        ["failed", "blocked", "ready"]
    );
    assert_eq!(mount(&home)["state"], "missing");
    assert!(!home.path("disk/albums").exists(), "what comes before its start wrote below the mount point");

    // Another disk is not it.
    inside(&up, &["mount", "-t", "tmpfs", "another", disk]);
    until("it is told", || mount(&home)["note"].as_str().unwrap().contains("another (tmpfs)").then_some(()));
    let _ = home.hob(&["start", "app"]).exits(1);
    assert!(home.service("app")["note"].as_str().unwrap().contains("and not the-disk"));
    inside(&up, &["test", "!", "-e", &format!("{disk}/albums")]);

    // The right one without the data is not it either.
    inside(&up, &["umount", disk]);
    inside(&up, &["mount", "-t", "tmpfs", "the-disk", disk]);
    until("it is told", || {
        home.service("app")["note"].as_str().unwrap().contains("dataset `photos` is missing").then_some(())
    });
    assert!(!home.path("lab/seen.log").exists());

    // With them, it starts when a person asks, and what needs it follows.
    inside(&up, &["sh", "-c", &format!("mkdir {disk}/photos && echo data > {disk}/photos/data")]);
    let _ = home.hob(&["start", "app"]).exits(0);
    until("web is ready", || (home.service("web")["state"] == "ready").then_some(()));
    inside(&up, &["test", "-d", &format!("{disk}/albums")]);
    until("it has read its data", || (home.lines("lab/seen.log") == ["data"]).then_some(()));

    // Gone again, it is not started anew; and it comes back by itself with the disk, long before its pause is over.
    let _ = home.hob(&["stop", "app"]).exits(0);
    inside(&up, &["umount", disk]);
    let _ = home.hob(&["start", "app"]).exits(1);
    let elsewhere = home.path("elsewhere").to_str().unwrap().to_owned();
    let fill = format!("mkdir -p {elsewhere}/photos; echo more > {elsewhere}/photos/data");
    inside(&up, &["mkdir", &elsewhere]);
    inside(&up, &["mount", "-t", "tmpfs", "the-disk", &elsewhere]);
    inside(&up, &["sh", "-c", &fill]);
    inside(&up, &["mount", "--move", &elsewhere, disk]);
    until("app is ready", || (home.service("app")["state"] == "ready").then_some(()));
    // A process without a check is ready when it is there, which may be before it has read anything.
    until("it has read what is there now", || (home.lines("lab/seen.log") == ["data", "more"]).then_some(()));
    until("its events are told", || {
        home.lines("lab/events.log").contains(&"mount.ready disk".to_owned()).then_some(())
    });
    assert_eq!(mount(&home), json!({ "name": "disk", "path": disk, "state": "ready", "note": "" }));
    let _ = up.stop().exits(0);
}
