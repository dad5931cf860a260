//! What holds for the fake holds for real processes.

use std::sync::mpsc::channel;
use std::time::Duration;

use hob_model::ErrorKind;
use hob_planner::Exit;
use hob_planner::declaration::{Gate, Readiness};
use hob_primitive::Cancel;
use hob_supervisor::fake::Fake;
use hob_supervisor::{LogFrom, NotReady, Stopped, Supervisor, await_ready};

use crate::{PATIENCE, World, command};

fn holds_for(supervisor: &dyn Supervisor) {
    let spec = command("sleeper", &["sleep", "1000"]);
    assert_eq!(supervisor.observe().unwrap(), []);
    assert_eq!(supervisor.stop("sleeper", PATIENCE).unwrap(), Stopped::NotRunning);
    assert_eq!(supervisor.read_log("sleeper", LogFrom::Start).unwrap().lines, [""; 0]);

    let first = supervisor.start(&spec, "one").unwrap();
    assert!(!first.adopted);
    assert_eq!((first.running.key.as_str(), first.running.digest), ("one", Some(spec.body.digest())));
    let again = supervisor.start(&spec, "one").unwrap();
    assert!(again.adopted);
    assert_eq!(again.running, first.running, "the same effect starts nothing twice");
    let other = supervisor.start(&spec, "two").unwrap_err();
    assert_eq!((other.kind, other.nothing_happened), (ErrorKind::Conflict, true));
    assert_eq!(supervisor.observe().unwrap(), std::slice::from_ref(&first.running));
    assert_eq!(supervisor.wait_exit(&first.running.instance, Duration::ZERO), None);

    let completed = Readiness { gate: Gate::Completed, timeout: Duration::from_millis(30) };
    let late = await_ready(supervisor, &first.running, &spec, &completed, &Cancel::default(), &|_| ());
    assert!(matches!(late, Err(NotReady::TimedOut { .. })), "{late:?}");
    let cancel = Cancel::default();
    cancel.cancel();
    let cancelled = await_ready(supervisor, &first.running, &spec, &completed, &cancel, &|_| ());
    assert_eq!(cancelled, Err(NotReady::Cancelled));

    let (sender, receiver) = channel();
    let tell = sender.clone();
    supervisor.on_exit(&first.running.instance, Box::new(move |exit| tell.send(exit).unwrap()));
    assert_eq!(supervisor.stop("sleeper", PATIENCE).unwrap(), Stopped::Terminated(Exit::Signal(15)));
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(Exit::Signal(15)));
    supervisor.on_exit(&first.running.instance, Box::new(move |exit| sender.send(exit).unwrap()));
    assert_eq!(receiver.try_recv(), Ok(Exit::Signal(15)), "who asks late is told at once");
    assert_eq!(supervisor.observe().unwrap(), []);
    let ended = await_ready(supervisor, &first.running, &spec, &completed, &Cancel::default(), &|_| ());
    assert!(matches!(ended, Err(NotReady::Ended { exit: Exit::Signal(15), .. })), "{ended:?}");

    let second = supervisor.start(&spec, "one").unwrap();
    assert!(!second.adopted && second.running.instance != first.running.instance);
    supervisor.stop("sleeper", PATIENCE).unwrap();
}

#[test]
fn real_processes() {
    holds_for(&World::new().live);
}

#[test]
fn the_fake() {
    holds_for(&Fake::default());
}

#[test]
fn the_fake_does_as_it_is_told() {
    let fake = Fake::default();
    let spec = command("web", &["web"]);
    fake.refuse_start("web", Some(hob_model::OpError::not_found("no program")));
    assert_eq!(fake.start(&spec, "key").unwrap_err().kind, ErrorKind::NotFound);
    fake.refuse_start("web", None);
    let running = fake.start(&spec, "key").unwrap().running;
    let tcp = |timeout| Readiness { gate: Gate::Tcp { port: 1 }, timeout };
    fake.set_ready("web", false);
    fake.write_line("web", "waiting");
    let late =
        await_ready(&fake, &running, &spec, &tcp(Duration::from_secs(60)), &Cancel::default(), &|_| ());
    let Err(NotReady::TimedOut { last_lines, .. }) = late else { panic!("{late:?}") };
    assert_eq!(last_lines, ["waiting"]);
    assert!(fake.now() >= Duration::from_secs(60), "the time passed without passing");
    fake.set_ready("web", true);
    assert_eq!(
        await_ready(&fake, &running, &spec, &tcp(Duration::ZERO), &Cancel::default(), &|_| ()),
        Ok(())
    );
    fake.set_stubborn("web");
    assert_eq!(fake.stop("web", PATIENCE).unwrap(), Stopped::Killed(Exit::Signal(9)));
}
