//! Six consumers, one of every kind: a process with a file, a container with a file, a container that asked for a variable,
//! a unit with a credential, a file made from a template, and a process that reads its file again when told to.

use std::path::Path;

use hob_lab::disk::Disk;
use hob_lab::engine::{Engine, IMAGE, Kind};
use hob_lab::systemd::Systemd;
use hob_tests::home::Home;
use hob_tests::{long, until};

use super::{Lab, OLD};
use crate::engines::is_there;
use crate::services::LIMITS;

const CONSUMERS: [&str; 6] = ["process", "boxed", "asked", "unit", "filled", "reader"];

const HOMELAB: &str = r#"
let keep = |name, how| `${how} > SEEN/${name}.new && mv SEEN/${name}.new SEEN/${name}; echo taken; exec sleep 1000`;
let taken = #{ ready: log("taken"), ready_timeout: "20s", restart: "never", stop_timeout: "1s" };
let quick = #{ image: "IMAGE", volumes: ["SEEN:SEEN"], stop_signal: "SIGKILL", ulimits: LIMITS };
service("process", #{
    command: ["sh", "-c", keep.call("process", `cat "$TOKEN_FILE"`)], env: #{ TOKEN_FILE: secret_file("token") } } + taken);
service("boxed", #{
    command: ["sh", "-c", keep.call("boxed", `cat "$TOKEN_FILE"`)], env: #{ TOKEN_FILE: secret_file("token") } } + taken + quick);
service("asked", #{
    command: ["sh", "-c", keep.call("asked", `printf %s "$TOKEN"`)], env: #{ TOKEN: secret("token") } } + taken + quick);
service("unit", #{ unit: "consumer", credentials: #{ token: secret_file("token") } } + taken);
let conf = |name| secret_file(name, #{ content: secrets::fill("token=@TOKEN@", #{ TOKEN: secret("token") }) });
service("filled", #{
    command: ["sh", "-c", keep.call("filled", `sed s/token=// "$CONF"`)], env: #{ CONF: conf.call("filled.conf") } } + taken);
service("reader", #{
    command: ["sh", "-c", `echo $$ >> lives; take() { sed s/token=// "$CONF" > SEEN/reader.new && mv SEEN/reader.new SEEN/reader; }; trap take HUP; take; while :; do sleep 0.05; done`],
    env: #{ CONF: conf.call("reader.conf") }, reload: "SIGHUP", stop_timeout: "1s", restart: "never", ready_timeout: "20s",
    ready: exec(["sh", "-c", "sed s/token=// RUNTIME/hob-*/*/reader/current/reader.conf | cmp -s - SEEN/reader"]),
});
"#;

/// The unit is the administrator's own: hob adds the credential and nothing else.
const UNIT: &str = r#"[Service]
Type=simple
ExecStart=/bin/sh -c 'cat "$CREDENTIALS_DIRECTORY/token" > SEEN/unit.new && mv SEEN/unit.new SEEN/unit; echo taken; exec sleep 1000'
"#;

/// How much memory secrets may take, in KiB.
const MEMORY_KIB: u32 = 1_024;
/// Neither systemd nor the engine has one of its own here.
const SEEN_BY_ALL: &str = "/var/tmp";

/// A lab with the three who run services; the engine, systemd and the memory end with it.
struct Kinds {
    lab: Lab,
    _engine: Engine,
    _systemd: Systemd,
    _memory: Disk,
}

impl Kinds {
    fn new() -> Option<Self> {
        if !is_there(Kind::Podman.missing()) || !is_there(Systemd::missing()) {
            return None;
        }
        // Before both begin. Not below /dev/shm: systemd mounts something else there while it reads credentials.
        let memory = Disk::in_memory_below(Path::new(SEEN_BY_ALL), MEMORY_KIB)?;
        let (engine, systemd) = (Engine::start(Kind::Podman).unwrap(), Systemd::start().unwrap());
        let home = Home::below(env!("CARGO_BIN_EXE_hob"), Path::new(SEEN_BY_ALL))
            .with_env("CONTAINER_HOST", format!("unix://{}", engine.socket().display()))
            .with_env("DBUS_SYSTEM_BUS_ADDRESS", systemd.bus_address())
            .with_env("HOB_SYSTEMD_ROOT", systemd.root());
        let seen = home.path("lab/seen").display().to_string();
        systemd.write_unit("consumer.service", &UNIT.replace("SEEN", &seen)).unwrap();
        let homelab = HOMELAB.replace("SEEN", &seen).replace("IMAGE", IMAGE).replace("LIMITS", LIMITS);
        let lab = Lab::of(home, memory.path(), CONSUMERS, homelab);
        Some(Self { lab, _engine: engine, _systemd: systemd, _memory: memory })
    }
}

#[test]
fn rotation_of_one_secret_with_six_consumers_and_a_crash_at_every_step() {
    let Some(kinds) = Kinds::new() else { return };
    let lab = &kinds.lab;
    let mut up = lab.up();
    assert_eq!(lab.seen(), vec![OLD.to_owned(); CONSUMERS.len()], "{:?}", lab.home.hob(&["status"]));
    // The command is killed at each step of one rotation, and goes on where it was.
    for step in 0..CONSUMERS.len() + 2 {
        let mut rotation = lab.rotate();
        until(&format!("the rotation comes to step {step}"), || {
            (lab.has_come_to(step, OLD) || rotation.has_ended()).then_some(())
        });
        rotation.kill();
        lab.works();
    }
    // The last one may have come to its end before it was killed.
    if lab.has_come_to(0, OLD) {
        let _again = lab.rotate().end().exits(0);
    }
    let mut before = lab.finished(OLD);
    // The hob that keeps the services is killed; those that go on take the new value from the next one.
    for step in if long() { 0..CONSUMERS.len() + 2 } else { 5..6 } {
        let mut rotation = lab.rotate();
        until(&format!("the rotation comes to step {step}"), || {
            (lab.has_come_to(step, &before) || rotation.has_ended()).then_some(())
        });
        up.process.kill();
        let _ended = rotation.end();
        lab.works();
        up = lab.up();
        let _again = lab.rotate().end().exits(0);
        before = lab.finished(&before);
    }
    // What hob said of a start that should not be is the only trace of its cause.
    let said = up.stop();
    assert_eq!(lab.lives(), 1, "who reads a file again is not started anew: {said:?}");
    let _down = lab.home.hob(&["down", "lab"]).exits(0);
}
