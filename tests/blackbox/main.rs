//! Tests of the binary from outside: commands, requests and signals go in; exit codes, texts, files and requests to
//! others come out.
//!
//! `tests/run --long` (`HOB_LONG=1`) runs them with larger counts.

// A test fails by panicking, and tells what it counted.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::disallowed_methods)] // tests look at the real world

mod access;
mod alerts;
mod backup;
mod beside;
mod boot;
mod canaries;
mod cards;
mod cases;
mod check;
mod clock;
mod damaged;
mod devices;
mod disks;
mod drift;
mod dumps;
mod engines;
mod examples;
mod exposed;
mod faults;
mod flows;
mod gpu;
mod handed;
mod history;
mod holds;
mod hooks;
mod install;
mod kill;
mod metrics;
mod mounts;
mod nas;
mod notify;
mod pipeline;
mod planned;
mod quickstart;
mod quiet;
mod refills;
mod repl;
mod replicas;
mod rotation;
mod schedules;
mod secrets;
mod services;
mod setup;
mod sources;
mod state;
mod top;
mod traces;
mod triggers;
mod tunnel;
mod unload;
mod updates;
mod ups;
mod watches;
mod webhooks;
mod wedges;
mod witness;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use hob_lab::systemd::Systemd;
use hob_tests::home::Home;
use hob_tests::process::{Background, Ran};

/// A place of its own, for the binary of this build.
fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_hob"))
}

/// A place of its own that a systemd of the lab sees, too.
fn home_for_labs() -> Home {
    Home::below(env!("CARGO_BIN_EXE_hob"), Path::new("/var/tmp")).with_own_binary()
}

/// The same with all commands inside a lab.
fn inside(home: Home, systemd: &Systemd) -> Home {
    let mut inside = systemd.command("env");
    inside.arg("--chdir").arg(home.dir());
    home.through(&inside)
}

/// The uid and gid of `nobody` and `nogroup`.
const NOBODY: u32 = 65_534;

/// Whether this is root, who alone can try what another user may do. On a machine for tests nobody else may run them.
fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    assert!(root || std::env::var("CI").is_err(), "only root can {what}");
    if !root {
        eprintln!("skipped: only root can {what}");
    }
    root
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs a command as another user, with a copy of the binary that everybody reaches.
fn as_nobody(home: &Home, args: &[&str]) -> Ran {
    let copy = home.path("hob-for-all");
    if !copy.exists() {
        set_mode(home.dir(), 0o755);
        std::fs::copy(env!("CARGO_BIN_EXE_hob"), &copy).unwrap();
        set_mode(&copy, 0o755);
    }
    let mut command = Command::new(copy);
    command.env_clear().arg("--state").arg(home.state()).args(args).current_dir(home.dir());
    Background::start(command.uid(NOBODY).gid(NOBODY), None).end()
}
