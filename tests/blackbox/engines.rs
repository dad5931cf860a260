//! `kill -9` of hob while it has a container engine or a service manager do something: exactly one exists afterwards,
//! and it was restarted exactly once.

use std::process::Command;
use std::time::Duration;

use hob_lab::engine::{Engine, IMAGE, Kind};
use hob_lab::systemd::Systemd;
use hob_tests::home::Home;
use hob_tests::process::Background;
use hob_tests::{until, within};
use serde_json::{Value as Json, json};

use crate::home;

/// The latest kill after the start of a process.
const KILL_AFTER_MAX_MS: u64 = 600;
/// So many times one run is killed; then it is left to come to its end.
const KILLS_OF_ONE_RUN: usize = 3;
/// A process that was not killed ends before that.
const END_WITHIN: Duration = Duration::from_secs(60);

const CONTAINER: &str = r#"
let at = #{ socket: input.socket };
let made = containers::create(input.name, at + #{
    image: input.image, start: true, stop_signal: "SIGKILL",
    ulimits: #{ nofile: #{ soft: 1024, hard: 4096 }, nproc: #{ soft: 4096, hard: 4096 } }, volumes: [`${input.shared}:/shared`],
    command: ["sh", "-c", `echo ${input.name} >> /shared/starts; exec sleep 1000`],
});
// What is restarted has begun: a process that is killed before its first line would not be counted.
let starts = `${input.shared}/starts`;
while !files::exists(starts) || !files::read(starts).contains(input.name + "\n") { sleep("20ms") }
containers::restart(input.name, at);
made.id
"#;

const UNIT: &str = r#"
let made = units::run(["/bin/sleep", "1000"], #{ name: input.name, wait: false });
let before = units::status(input.name).invocation_id;
units::restart("victim.service");
before
"#;

fn rounds() -> usize {
    if hob_tests::long() { 60 } else { 6 }
}

/// Whether the test can be tried; on a machine for tests it must be.
pub(crate) fn is_there(missing: Option<String>) -> bool {
    if let Some(what) = &missing {
        assert!(std::env::var("CI").is_err(), "missing: {what}");
        eprintln!("skipped: {what} is missing");
    }
    missing.is_none()
}

/// Has the script run with this input to its end, killed at random moments before; its value.
fn killed_until_done(
    home: &Home,
    rng: &mut fastrand::Rng,
    start: &dyn Fn(&[&str]) -> Command,
    input: &Json,
) -> Json {
    let (mut kills, text) = (0, input.to_string());
    loop {
        let run = newest(home, input);
        let args = match &run {
            Some(run) => vec!["runs", "resume", run["run"].as_str().unwrap()],
            None => vec!["run", "work.rhai", "--input", &text],
        };
        let mut process = Background::start(&mut start(&args), None);
        if kills < KILLS_OF_ONE_RUN {
            let delay = Duration::from_millis(rng.u64(..KILL_AFTER_MAX_MS));
            within(delay, || process.has_ended().then_some(()));
            kills += usize::from(process.kill());
        }
        let ran = process.end_within(END_WITHIN);
        match newest(home, input) {
            Some(run) if run["status"] == "succeeded" => return run["output"].clone(),
            Some(run) if run["status"] == "failed" || kills >= KILLS_OF_ONE_RUN && ran.code == Some(1) => {
                panic!("{run:#}\n{ran:#?}")
            }
            _ => {}
        }
    }
}

/// The newest run, if it is the one with this input.
fn newest(home: &Home, input: &Json) -> Option<Json> {
    let list = home.hob(&["runs", "list", "--json", "--limit", "1"]);
    if list.code != Some(0) {
        return None;
    }
    let detail = home.json(&["runs", "show", list.json()[0]["run"].as_str()?]);
    (detail["input"]["name"] == input["name"]).then_some(detail)
}

#[test]
fn a_container_is_made_and_restarted_exactly_once() {
    if !is_there(Kind::Podman.missing()) {
        return;
    }
    let (home, podman, mut rng) = (home(), Engine::start(Kind::Podman).unwrap(), fastrand::Rng::new());
    println!("seed {}", rng.get_seed());
    home.write("work.rhai", CONTAINER);
    for round in 0..rounds() {
        let name = format!("round{round}");
        let socket = format!("unix://{}", podman.socket().display());
        let input = json!({ "name": name, "socket": socket, "shared": podman.shared(), "image": IMAGE });
        let id = killed_until_done(&home, &mut rng, &|args| home.command(args), &input);

        let filter = format!("name=^{name}$");
        let listed =
            podman.cli(&["ps", "-a", "--no-trunc", "--format", "{{.ID}}", "--filter", &filter]).unwrap();
        assert_eq!(String::from_utf8(listed.stdout).unwrap().trim(), id.as_str().unwrap());
        let starts = || std::fs::read_to_string(podman.shared().join("starts")).unwrap();
        let count = || starts().lines().filter(|line| *line == name).count();
        until("it has begun twice", || (count() >= 2).then_some(()));
        assert_eq!(count(), 2, "started and restarted: {}", starts());
        podman.cli(&["rm", "-f", &name]).unwrap();
    }
    let all = podman.cli(&["ps", "-aq"]).unwrap();
    assert_eq!(String::from_utf8(all.stdout).unwrap(), "", "something was left behind");
}

#[test]
fn a_transient_unit_is_made_and_another_restarted_exactly_once() {
    if !is_there(Systemd::missing()) {
        return;
    }
    let (home, systemd, mut rng) = (home(), Systemd::start().unwrap(), fastrand::Rng::new());
    println!("seed {}", rng.get_seed());
    home.write("work.rhai", UNIT);
    let victim = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sh -c 'echo started >> /run/starts; exec sleep 1000'\n";
    systemd.write_unit("victim.service", victim).unwrap();
    let systemctl = |args: &[&str]| systemd.command("systemctl").args(args).output().unwrap();
    assert!(systemctl(&["daemon-reload"]).status.success());
    assert!(systemctl(&["start", "victim.service"]).status.success());
    let start = |args: &[&str]| {
        let mut command = home.command(args);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", systemd.bus_address()).env("HOB_SYSTEMD_ROOT", systemd.root());
        command
    };
    for round in 0..rounds() {
        let name = format!("round{round}.service");
        let made = killed_until_done(&home, &mut rng, &start, &json!({ "name": name }));

        let shown = systemctl(&["show", "--property=InvocationID", "--value", &name]);
        assert_eq!(String::from_utf8(shown.stdout).unwrap().trim(), made.as_str().unwrap(), "made again");
        let starts = || std::fs::read_to_string(systemd.root().join("run/starts")).unwrap().lines().count();
        until("it has begun again", || (starts() >= round + 2).then_some(()));
        assert_eq!(starts(), round + 2, "started once and restarted once a round");
    }
}
