//! What keeps backups from being made: the next slot does well by itself once it is gone, and until then somebody is told.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use hob_tests::home::Home;
use hob_tests::until;
use serde_json::Value as Json;

use crate::backup::restic;
use crate::canaries::{silent, with_secrets};
use crate::is_root;

/// Every second to three places; and an alarm.
const HOMELAB: &str = r#"
homelab(#{ name: "house", timezone: "UTC" });
dataset("photos", #{ path: "photos", backup: #{
    to: ["small/nas", "locked", "AWAY"], password: secret("token"), when: "* * * * * *", upkeep: false, verify: false,
    retry: #{ attempts: 1 },
} });
alert("wanting", #{ every: "1s", severity: "critical", when: |now| now.all("hob_backup_wanting").filter(|it| it.value > 0.0) });
"#;

/// A small file system, unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn new(path: PathBuf) -> Self {
        std::fs::create_dir(&path).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&path).status();
        assert!(mount.unwrap().success());
        Self(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A server of restic's protocol, which ends with this value.
struct Server(Child);

impl Server {
    fn start(home: &Home, port: u16) -> Self {
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "rclone",
            "serve",
            "restic",
            "--addr",
            &format!("127.0.0.1:{port}"),
        ]);
        command.arg(home.path("away")).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("rclone is there");
        until("it listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is known of each place, in their order.
fn places(home: &Home) -> Vec<Json> {
    let all: Json = serde_json::from_str(home.hob(&["backup", "status", "--json"]).out()).unwrap();
    all[0]["repositories"].as_array().unwrap().clone()
}

fn states(home: &Home) -> Vec<String> {
    places(home).iter().map(|it| it["state"].as_str().unwrap().to_owned()).collect()
}

fn alarm(home: &Home, state: &str) {
    until(&format!("the alarm is {state}"), || {
        let all = home.json(&["alerts", "list"]);
        let found =
            all["alerts"].as_array().unwrap().iter().find(|it| it["name"] == "wanting").unwrap().clone();
        (found["state"] == state).then_some(())
    });
}

#[test]
fn what_fails_is_told_within_a_period_and_does_well_by_itself_once_it_can() {
    if !is_root("mount a small file system") {
        return;
    }
    let canaries = crate::canaries::Canaries::new();
    let home = with_secrets(&canaries);
    let _small = Small::new(home.path("small"));
    // Bound and closed again: a port that nobody listens on just now.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    home.write("homelab.rhai", HOMELAB.replace("AWAY", &format!("rest:http://127.0.0.1:{port}/house")));
    home.write("photos/one", "one");
    std::fs::create_dir(home.path("away")).unwrap();
    let server = Server::start(&home, port);
    let _made = home.hob(&["backup", "init", "photos"]).exits(0);
    drop(server);
    // More than fits; a restic that was killed in its midst; and nobody answers.
    let mut noise = vec![0; 20 << 20];
    fastrand::Rng::with_seed(1).fill(&mut noise);
    home.write("photos/large", &noise);
    let mut other = Command::new("restic");
    other.env("RESTIC_PASSWORD", canaries.value("token")).args(["--no-cache", "-r"]).arg(home.path("locked"));
    other.args(["backup", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut other = other.spawn().expect("restic is installed");
    let left = until("it has locked", || locks(&home).pop());
    other.kill().unwrap();
    other.wait().unwrap();

    let mut up = home.up(".", &[]);
    until("each place is as it is", || (states(&home) == ["failing", "good", "failing"]).then_some(()));
    let told = |at: usize| places(&home)[at]["failed"]["backup"]["message"].to_string();
    let full = told(0);
    assert!(full.contains("space") || full.contains("full"), "{full}");
    assert!(told(2).contains("cannot be reached"), "{}", told(2));
    until("the lock of the dead is gone", || (locks(&home).iter().all(|it| *it != left)).then_some(()));
    alarm(&home, "firing");

    // Each is mended where it is, and nobody tells hob.
    std::fs::remove_file(home.path("photos/large")).unwrap();
    let _server = Server::start(&home, port);
    until("all is well by itself", || (states(&home) == ["good", "good", "good"]).then_some(()));
    alarm(&home, "quiet");
    silent(&canaries, "the daemon", &up.stop());
    for place in ["small/nas", "locked", "away/house"] {
        restic(&home, &canaries, place, &["check", "--read-data"]);
    }
}

/// The names of the locks.
fn locks(home: &Home) -> Vec<std::ffi::OsString> {
    home.path("locked/locks").read_dir().unwrap().map(|it| it.unwrap().file_name()).collect()
}
