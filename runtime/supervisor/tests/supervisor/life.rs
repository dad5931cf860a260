//! Starting and ending.

use std::path::Path;
use std::time::Duration;

use hob_model::ErrorKind;
use hob_planner::Exit;
use hob_supervisor::{LogFrom, Stopped, Supervisor};

use crate::{PATIENCE, World, alive, command, process_of, shell, start_and_read};

#[test]
fn exits_are_told_apart_and_reaped() {
    let world = World::new();
    for (script, exit) in
        [("exit 0", Exit::Code(0)), ("exit 3", Exit::Code(3)), ("kill -KILL $$", Exit::Signal(9))]
    {
        let running = world.start(&shell("it", script));
        assert_eq!(world.live.wait_exit(&running.instance, PATIENCE), Some(exit), "{script}");
        let proc = format!("/proc/{}", running.pid.unwrap());
        assert!(!Path::new(&proc).exists(), "{script}: a zombie is left");
    }
}

#[test]
fn everything_that_a_service_started_ends_with_it() {
    let world = World::new();
    let mut spec = shell("tree", "sleep 1000 & (sleep 1000 &) ; setsid sleep 1000 & echo up; wait");
    process_of(&mut spec).env.insert("TEST_TREE".to_owned(), "1".to_owned());
    let running = start_and_read(&world, &spec, "^up$");
    assert!(alive("TEST_TREE").len() >= 3);
    assert_eq!(world.live.stop("tree", PATIENCE).unwrap(), Stopped::Terminated(Exit::Signal(15)));
    assert_eq!(alive("TEST_TREE"), [0_u32; 0]);
    assert_eq!(world.live.wait_exit(&running.instance, Duration::ZERO), Some(Exit::Signal(15)));
}

#[test]
fn what_ignores_sigterm_is_killed() {
    let world = World::new();
    let spec = shell("deaf", "trap '' TERM; echo up; while :; do sleep 1000; done");
    start_and_read(&world, &spec, "^up$");
    let stopped = world.live.stop("deaf", Duration::from_millis(50)).unwrap();
    assert_eq!(stopped, Stopped::Killed(Exit::Signal(9)));
}

#[test]
fn a_service_gets_one_sigterm() {
    let world = World::new();
    let script =
        "trap 'echo term; got=1' TERM; echo up; until [ \"$got\" ]; do sleep 0.01; done; sleep 0.1; exit 5";
    let spec = shell("once", script);
    start_and_read(&world, &spec, "^up$");
    assert_eq!(world.live.stop("once", PATIENCE).unwrap(), Stopped::Terminated(Exit::Code(5)));
    let lines = world.live.read_log("once", LogFrom::Start).unwrap().lines;
    assert_eq!(lines.iter().filter(|line| *line == "term").count(), 1, "{lines:?}");
}

#[test]
fn a_stopped_process_can_be_ended() {
    let world = World::new();
    let running = world.start(&command("frozen", &["sleep", "1000"]));
    let pid = rustix::process::Pid::from_raw(i32::try_from(running.pid.unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    assert_eq!(world.live.stop("frozen", PATIENCE).unwrap(), Stopped::Terminated(Exit::Signal(15)));
}

#[test]
fn what_an_ended_service_left_behind_ends_before_the_next_start() {
    let world = World::new();
    let mut spec = shell("messy", "sleep 1000 & echo $!");
    process_of(&mut spec).env.insert("TEST_MESSY".to_owned(), "1".to_owned());
    let first = world.start(&spec);
    assert_eq!(world.live.wait_exit(&first.instance, PATIENCE), Some(Exit::Code(0)));
    let left = alive("TEST_MESSY");
    assert_eq!(left.len(), 1);
    assert_eq!(world.live.observe().unwrap(), [], "what is left does not lead the service");
    let second = world.start(&spec);
    world.live.wait_exit(&second.instance, PATIENCE);
    assert!(!alive("TEST_MESSY").contains(&left[0]));
    assert_eq!(world.live.stop("messy", PATIENCE).unwrap(), Stopped::Terminated(Exit::Code(0)));
    assert_eq!(alive("TEST_MESSY"), [0_u32; 0]);
}

#[test]
fn a_service_gets_its_surroundings_and_nothing_else() {
    let world = World::new();
    let mut spec =
        shell("env", "pwd; env | sort; readlink /proc/self/fd/0; ps -o sid= -p $$ | tr -d ' '; echo $$");
    process_of(&mut spec).env.insert("MINE".to_owned(), "1".to_owned());
    process_of(&mut spec).workdir = "/usr".into();
    let running = world.start(&spec);
    world.live.wait_exit(&running.instance, PATIENCE);
    let lines = world.live.read_log("env", LogFrom::Start).unwrap().lines;
    let names: Vec<&str> = lines.iter().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert_eq!(
        names,
        ["HOB_EFFECT", "HOB_SERVICE", "HOB_SPEC", "HOB_STATE", "MINE", "PATH", "PWD"],
        "{lines:?}"
    );
    assert_eq!((lines[0].as_str(), lines[names.len() + 1].as_str()), ("/usr", "/dev/null"));
    let pid = running.pid.unwrap().to_string();
    assert_eq!(lines[names.len() + 2..], [pid.clone(), pid], "it leads a session");
}

#[test]
fn services_run_as_who_they_should() {
    if !rustix::process::geteuid().is_root() {
        return; // only root may become somebody else
    }
    let world = World::new();
    let mut spec = shell("nobody", "id -un; id -Gn; echo $HOME");
    process_of(&mut spec).user = Some("nobody".to_owned());
    let running = world.start(&spec);
    world.live.wait_exit(&running.instance, PATIENCE);
    let lines = world.live.read_log("nobody", LogFrom::Start).unwrap().lines;
    assert_eq!(lines, ["nobody", "nogroup", "/nonexistent"]);
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing() {
    let world = World::new();
    let with = |change: fn(&mut hob_planner::declaration::Process)| {
        let mut spec = command("bad", &["sleep", "1000"]);
        change(process_of(&mut spec));
        spec
    };
    for (spec, kind, message) in [
        (command("bad", &["no-such-program"]), ErrorKind::NotFound, "no-such-program"),
        (command("bad", &["/etc/passwd"]), ErrorKind::Denied, "/etc/passwd"),
        (with(|process| process.workdir = "/no/such".into()), ErrorKind::NotFound, "/no/such"),
        (with(|process| process.user = Some("no-such-user".to_owned())), ErrorKind::NotFound, "no-such-user"),
    ] {
        let error = world.live.start(&spec, "key").unwrap_err();
        assert!(error.kind == kind && error.message.contains(message), "{error:?}");
        assert!(error.nothing_happened);
    }
    world.start(&command("bad", &["sleep", "1000"]));
}
