//! Services outlive the process that started them, and are never started twice.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hob_model::{ErrorKind, Timestamp};
use hob_planner::Exit;
use hob_supervisor::live::Live;
use hob_supervisor::{Instance, Running, Spec, Stopped, Supervisor};

use crate::{PATIENCE, World, alive, command, eventually, open, process_of, shell};

/// Tells [`helper`] that it is meant.
const HELPER_STATE: &str = "TEST_HELPER_STATE";

/// What the helper is to start.
const HELPER_SCRIPT: &str = "TEST_HELPER_SCRIPT";

/// Not a test: the process that is killed. It starts a service, says which, and waits for its end.
#[test]
fn helper() {
    let (Ok(state), Ok(script)) = (std::env::var(HELPER_STATE), std::env::var(HELPER_SCRIPT)) else {
        return;
    };
    let live = open(Path::new(&state), []);
    let running = live.start(&marked(&script), "key").unwrap().running;
    let mut out = std::io::stdout();
    std::io::Write::write_all(&mut out, format!("\nprocess {}\n", running.instance).as_bytes()).unwrap();
    drop(std::io::stdin().read(&mut [0]));
}

/// A service whose processes can be told from those of other tests by their script alone.
fn marked(script: &str) -> Spec {
    shell("it", script)
}

/// Starts a service from another process, which is then killed without a chance to do anything.
fn start_and_crash(world: &World, script: &str) -> Instance {
    let mut helper = spawn_helper(world, script);
    let lines = BufReader::new(helper.stdout.take().unwrap()).lines();
    let text = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("process ").map(str::to_owned));
    helper.kill().unwrap();
    helper.wait().unwrap();
    Instance(text.expect("the helper says what it started"))
}

/// The second part of what tells a process from others.
fn pid_of(process: &Instance) -> u32 {
    process.0.split(':').nth(1).and_then(|pid| pid.parse().ok()).expect("it is a process")
}

fn spawn_helper(world: &World, script: &str) -> Child {
    let mut helper = Command::new(std::env::current_exe().unwrap());
    helper.args(["--exact", "survival::helper", "--nocapture"]).env(HELPER_STATE, world.dir.path());
    helper.env(HELPER_SCRIPT, script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_survivor_is_adopted() {
    let world = World::new();
    let process = start_and_crash(&world, "echo up; exec sleep 1000");
    let spec = marked("echo up; exec sleep 1000");
    let observed = world.live.observe().unwrap();
    assert_eq!(observed.len(), 1);
    assert_eq!((&observed[0].instance, observed[0].key.as_str()), (&process, "key"));
    assert_eq!(observed[0].digest, Some(spec.body.digest()));
    assert_eq!(world.live.start(&spec, "other").unwrap_err().kind, ErrorKind::Conflict);
    let adopted = world.live.start(&spec, "key").unwrap();
    assert!(adopted.adopted && adopted.running.instance == process);
    assert_eq!(world.live.wait_exit(&process, Duration::ZERO), None);
    assert_eq!(world.live.stop("it", PATIENCE).unwrap(), Stopped::Terminated(Exit::Unknown));
    assert_eq!(world.live.wait_exit(&process, Duration::ZERO), Some(Exit::Unknown), "it was not our child");
}

#[test]
fn the_end_of_a_survivor_is_noticed() {
    let world = World::new();
    let process = start_and_crash(&world, "exec sleep 1000");
    assert_eq!(world.live.wait_exit(&process, Duration::ZERO), None);
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid_of(&process)).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(world.live.wait_exit(&process, PATIENCE), Some(Exit::Unknown));
}

#[test]
fn a_survivor_without_its_environment_is_found_by_what_was_journaled() {
    let world = World::new();
    let script = "exec env -i sleep 1000";
    let process = start_and_crash(&world, script);
    // An environment also reads as empty for a moment whenever a program is replaced by another.
    let proc = format!("/proc/{}/cmdline", pid_of(&process));
    eventually("its last program", || std::fs::read(&proc).is_ok_and(|words| words.starts_with(b"sleep")));
    let spec = marked(script);
    // Without the journal the lock still tells that something lives.
    let error = world.reopened().start(&spec, "key").unwrap_err();
    assert!(
        error.kind == ErrorKind::Conflict && error.message.contains(&pid_of(&process).to_string()),
        "{error:?}"
    );
    let known = Running {
        name: "it".to_owned(),
        instance: process.clone(),
        pid: None,
        key: "key".to_owned(),
        digest: None,
        started: Timestamp::UNIX_EPOCH,
    };
    let live = open(world.dir.path(), [known]);
    assert_eq!(live.observe().unwrap()[0].instance, process);
    assert!(live.start(&spec, "key").unwrap().adopted);
    live.stop("it", PATIENCE).unwrap();
    assert_eq!(live.wait_exit(&process, PATIENCE), Some(Exit::Unknown));
    assert!(!live.start(&spec, "key").unwrap().adopted);
    live.stop("it", PATIENCE).unwrap();
}

#[test]
fn a_journaled_process_that_is_gone_leads_nothing() {
    let world = World::new();
    let running = world.start(&shell("it", "sleep 1000 & exit 1"));
    world.live.wait_exit(&running.instance, PATIENCE);
    let live = open(world.dir.path(), [running]);
    assert_eq!(live.observe().unwrap(), [], "its child carries its key and is not it");
    assert_eq!(live.stop("it", PATIENCE).unwrap(), Stopped::Terminated(Exit::Unknown));
}

#[test]
fn many_that_start_the_same_start_one() {
    let world = World::new();
    let mut spec = command("one", &["sleep", "1000"]);
    process_of(&mut spec).env.insert("TEST_ONE".to_owned(), "1".to_owned());
    let supervisors: Vec<Live> = (0..6).map(|_| world.reopened()).collect();
    let pids: BTreeSet<u32> = std::thread::scope(|scope| {
        let starts: Vec<_> = supervisors
            .iter()
            .map(|live| scope.spawn(|| live.start(&spec, "key").unwrap().running.pid.unwrap()))
            .collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert_eq!(pids.len(), 1);
    assert_eq!(alive("TEST_ONE").into_iter().collect::<BTreeSet<_>>(), pids);
}

#[test]
fn two_hobs_on_one_machine_do_not_mix() {
    let (one, two) = (World::new(), World::new());
    let spec = command("same", &["sleep", "1000"]);
    let (first, second) = (one.start(&spec), two.start(&spec));
    assert_ne!(first.instance, second.instance);
    assert_eq!(one.reopened().observe().unwrap(), [first]);
    two.live.stop("same", PATIENCE).unwrap();
    assert_eq!(one.live.observe().unwrap().len(), 1);
}

/// Killed at any moment around a start, a hob that comes back finds one process or none, and starts no second one.
#[test]
fn a_crash_in_the_middle_of_a_start_doubles_nothing() {
    for delay_micros in (0..24).map(|step| step * 400) {
        let world = World::new();
        let mut helper = spawn_helper(&world, "exec sleep 1000");
        let lock = world.dir.path().join("services/it/lock");
        eventually("the start", || lock.exists());
        let until = std::time::Instant::now() + Duration::from_micros(delay_micros);
        while std::time::Instant::now() < until {
            std::hint::spin_loop();
        }
        helper.kill().unwrap();
        helper.wait().unwrap();
        let spec = marked("exec sleep 1000");
        let started = world.live.start(&spec, "key").unwrap();
        // While the shell becomes its program, the kernel shows no environment.
        let mut found: Vec<u32> = Vec::new();
        eventually("it is seen", || {
            found = processes_of(world.dir.path());
            !found.is_empty()
        });
        assert_eq!(found, [started.running.pid.unwrap()], "after {delay_micros} µs");
    }
}

/// All processes of a state directory.
fn processes_of(state: &Path) -> Vec<u32> {
    let state = state.canonicalize().unwrap();
    let all = procfs::process::all_processes().unwrap().flatten();
    let is_ours = |entry: &procfs::process::Process| {
        let is_alive = entry.stat().is_ok_and(|stat| !matches!(stat.state, 'Z' | 'X'));
        let env = entry.environ().unwrap_or_default();
        is_alive && env.get(std::ffi::OsStr::new("HOB_STATE")).is_some_and(|it| *it == *state.as_os_str())
    };
    all.filter(is_ours).filter_map(|entry| u32::try_from(entry.pid).ok()).collect()
}
