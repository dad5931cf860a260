//! What other processes, and whoever looks at a process from outside, can see of secrets while hob has them open.

use std::collections::BTreeMap;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;

use hob_tests::home::Home;
use hob_tests::process::Background;
use hob_tests::until;
use rustix::process::Signal;

use crate::canaries::{Canaries, files, scan, silent, with_secrets};

/// One service finds a file, one asked for a variable; a run hands both to programs and waits.
const HOMELAB: &str = r#"
service("finds", #{ command: ["sh", "-c", "cat \"$TOKEN_FILE\" > /dev/null; exec sleep 1000"], env: #{ TOKEN_FILE: secret_file("token") }, stop_timeout: "1s" });
service("asks", #{ command: ["sleep", "1000"], env: #{ TOKEN: secret("token") }, stop_timeout: "1s" });
workflow("waits", |input| {
    process::run(["sh", "-c", "cat > /dev/null; touch waits; while [ ! -e go ]; do sleep 0.05; done"], #{
        stdin: secret("app/key"), idempotent: true });
    files::write("meant/app", secret("app/key"), #{ mkdir: true, mode: "0600" });
});
"#;

/// Everything that the machine tells of its processes: command lines and environments, by process.
fn processes() -> BTreeMap<u32, Vec<u8>> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let told = |pid: u32| {
        let read = |what: &str| std::fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
        (pid, [read("cmdline"), read("environ")].concat())
    };
    pids.map(told).collect()
}

/// The processes in whose command line or environment a canary stands.
fn exposed(canaries: &Canaries) -> Vec<Vec<u8>> {
    processes().into_values().filter(|told| canaries.in_bytes(told).is_some()).collect()
}

/// How much memory a process holds in place, in KiB.
fn locked_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).expect("the kernel tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// With core dumps allowed, in whose directory and size.
fn with_core_dumps() -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"]);
    shell
}

fn homelab(canaries: &Canaries) -> (Home, tempfile::TempDir) {
    let runtime = tempfile::Builder::new().prefix("hob-test-").tempdir_in("/dev/shm").unwrap();
    let home = with_secrets(canaries).with_env("HOB_RUNTIME", runtime.path()).through(&with_core_dumps());
    let temporary = home.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let home = home.with_env("TMPDIR", temporary);
    home.write("homelab.rhai", HOMELAB);
    (home, runtime)
}

#[test]
fn only_who_asked_for_it_has_a_secret_in_its_environment() {
    let canaries = Canaries::new();
    let (home, runtime) = homelab(&canaries);
    let up = home.up(".", &["--on-exit", "keep"]);
    let run = home.hob(&["run", "waits", "--detach"]).exits(0).out().trim().to_owned();
    until("the run is on its way", || home.path("waits").exists().then_some(()));
    let plan = home.hob(&["plan", "."]);
    silent(&canaries, "the plan", &plan);
    silent(&canaries, "the boot", &home.hob(&["boot", "explain"]));
    let exposed = exposed(&canaries);
    let asked = |told: &Vec<u8>| told.windows(17).any(|window| window == b"HOB_SERVICE=asks\0");
    assert!(exposed.iter().any(asked), "the scan sees what is there");
    let other = exposed.iter().find(|told| !asked(told)).map(|told| String::from_utf8_lossy(told));
    assert_eq!(other, None, "a secret in a process that did not ask for it");
    // A file is for its owner alone, and lies in memory.
    let mut delivered = Vec::new();
    files(runtime.path(), &mut delivered);
    let holds = |(_, content): &&(String, Vec<u8>)| canaries.in_bytes(content).is_some();
    let (file, _) = delivered.iter().find(holds).expect("the service has its file");
    let lint = || home.hob(&["secrets", "lint", "--homelab", "."]);
    let message = "others may read this secret, which was laid out for a service";
    assert!(!lint().stdout.contains(message), "{}", lint().stdout);
    crate::set_mode(file, 0o444);
    assert!(lint().exits(1).stdout.contains(&format!(": error: {message}")), "{}", lint().stdout);
    crate::set_mode(file, 0o400);
    if rustix::process::geteuid().is_root() {
        assert!(locked_kib(up.process.pid()) > 0, "values are held in memory");
    }
    // An edited secret shows in a plan by its name.
    let token = home.path("secrets/token.age");
    let key = home.read("key.txt");
    let public = key.split_once("public key: ").unwrap().1.lines().next().unwrap();
    let other = Canaries::new();
    let args = ["secrets", "encrypt", "/dev/stdin", "-r", public, "-o", token.to_str().unwrap()];
    let _sealed = home.hob_with(&args, other.value("token")).exits(0);
    for args in [
        &["plan", "."][..],
        &["plan", ".", "--json"],
        &["status", "--json"],
        &["runs", "show", &run, "--json"],
    ] {
        let ran = home.hob(args);
        silent(&canaries, &args.join(" "), &ran);
        silent(&other, &args.join(" "), &ran);
        assert!(args[0] != "plan" || ran.stdout.contains("token"), "{}", ran.stdout);
    }
    home.write("go", "");
    until("the run has ended", || home.path("meant/app").exists().then_some(()));
    // Killed so that whoever may would get a core dump, it leaves none.
    let mut process = up.process;
    process.signal(Signal::ABORT);
    let ended = process.end();
    assert_eq!(
        (ended.signal, ended.core_dumped),
        (Some(6), false),
        "a core dump would have all that is open"
    );
    scan(&home, &canaries);
    let _down = home.hob(&["down", "."]);
}

#[test]
fn leaks_that_were_put_in_are_found() {
    let canaries = Canaries::new();
    let in_argv = |command: &mut Command| {
        Background::start(command.args(["-c", "sleep 1000; :", canaries.value("token")]), None)
    };
    let started = in_argv(&mut Command::new("sh"));
    until("it is there", || (!exposed(&canaries).is_empty()).then_some(()));
    drop(started);
    let started =
        Background::start(Command::new("sleep").arg("1000").env("LEAK", canaries.value("app")), None);
    until("it is there", || (!exposed(&canaries).is_empty()).then_some(()));
    drop(started);
    // And a process that does not keep itself from it is dumped, where this machine dumps at all.
    let dir = tempfile::tempdir().unwrap();
    let mut control = with_core_dumps();
    let status = control
        .args(["sh", "-c", "kill -ABRT $$"])
        .current_dir(dir.path())
        .process_group(0)
        .status()
        .unwrap();
    if !status.core_dumped() {
        eprintln!("this machine writes no core dumps at all");
    }
}

/// Where memory cannot be held in place, secrets work all the same.
#[test]
fn a_limit_on_held_memory_is_no_error() {
    let canaries = Canaries::new();
    let mut limited = Command::new("setpriv");
    limited.args([
        "--bounding-set=-ipc_lock",
        "--inh-caps=-ipc_lock",
        "sh",
        "-c",
        "ulimit -l 0; exec \"$@\"",
        "sh",
    ]);
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/setpriv").exists() {
        eprintln!("skipped: only root can give up a right for it");
        return;
    }
    let home = with_secrets(&canaries).through(&limited);
    home.write("same.rhai", r#"secrets::equal(secret("token"), secret("token"))"#);
    let ran = home.hob(&["run", "same.rhai", "--json"]).exits(0);
    assert_eq!(ran.json()["output"], true);
    scan(&home, &canaries);
}
