//! No bus, a bus that is lost in the middle of a call and comes back, and calls that are not allowed.

use std::sync::Arc;
use std::time::Duration;

use hob_lab::started;
use hob_lab::systemd::Systemd;
use hob_model::{ErrorKind, Value};
use hob_primitive::Probe;
use hob_std_units::fake::{Fake, Mishap};
use hob_std_units::live::Live;
use hob_std_units::port::{Fault, FaultKind};
use serde_json::json;

use crate::world::{ENDLESS, SLEEPER, WORKING, World, lab, live, text};

#[test]
fn without_a_bus() {
    let fake = Fake::new();
    fake.always("rows", Fault::new(FaultKind::NoBus, "no such file"));
    let nowhere = Live::at("unix:path=/no/such/socket", "/");
    for (name, port) in [("fake", Arc::new(fake) as Arc<_>), ("systemd", Arc::new(nowhere) as Arc<_>)] {
        let error = World::new(name, port).refused("list", json!([]), ErrorKind::Unavailable);
        assert!(
            error.message.starts_with("no service manager on the system bus"),
            "{name}: {}",
            error.message
        );
        assert!(error.hint.unwrap().contains("is systemd running here"));
        assert!(error.nothing_happened && error.retryable);
    }
}

#[test]
fn a_user_without_a_manager() {
    let w = World::new("systemd", Arc::new(Live::at("unix:path=/no/such/socket", "/")));
    let error = w.refused("list", json!(["*", {"user": true}]), ErrorKind::Unavailable);
    assert!(error.hint.unwrap().contains("loginctl enable-linger"));
}

#[test]
fn a_call_that_is_not_allowed() {
    let fake = Fake::new();
    fake.always("job", Fault::new(FaultKind::Denied, "Interactive authentication required"));
    let w = World::new("fake", Arc::new(fake));
    w.unit("not-mine", SLEEPER);
    let error = w.refused("start", json!(["not-mine"]), ErrorKind::Denied);
    assert!(error.hint.unwrap().contains("run hob as root") && error.nothing_happened);
}

/// Says to [`as_nobody`] that it was started by [`a_call_that_a_real_systemd_does_not_allow`].
const AS_NOBODY: &str = "HOB_TEST_AS_NOBODY";

#[test]
fn a_call_that_a_real_systemd_does_not_allow() {
    let Some((systemd, _)) = lab() else { return };
    World::new("systemd", live(systemd)).unit("not-for-nobody", SLEEPER);
    // This program again, as a user without rights who sees what that systemd sees.
    std::fs::copy(std::env::current_exe().unwrap(), systemd.root().join("run/as-nobody")).unwrap();
    let mut command = systemd.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "/run/as-nobody"]);
    let ran =
        command.args(["--exact", "weather::as_nobody", "--ignored"]).env(AS_NOBODY, "1").output().unwrap();
    std::fs::remove_file(systemd.root().join("run/as-nobody")).unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "another test starts it as another user"]
fn as_nobody() {
    if std::env::var_os(AS_NOBODY).is_none() {
        return;
    }
    let w = World::new("systemd", Arc::new(Live::at("unix:path=/run/dbus/system_bus_socket", "/")));
    assert_eq!(text(&w.status("not-for-nobody"), "load"), "loaded", "looking is allowed");
    for (operation, args) in [
        ("start", json!(["not-for-nobody"])),
        ("enable", json!(["not-for-nobody"])),
        ("mask", json!(["not-for-nobody"])),
        ("run", json!(["/bin/true"])),
        ("write_unit", json!(["not-for-nobody", WORKING])),
        ("remove_unit", json!(["not-for-nobody"])),
        ("daemon_reload", json!([])),
    ] {
        let error = w.refused(operation, args, ErrorKind::Denied);
        assert!(error.hint.unwrap().contains("run hob as root"), "{operation}");
    }
    assert_eq!(text(&w.status("not-for-nobody"), "active"), "inactive", "nothing happened");
}

/// The bus is lost after the manager got the message and before hob got its answer.
#[test]
fn a_restart_whose_answer_is_lost_happens_once() {
    for mishap in [Mishap::Before, Mishap::After] {
        let fake = Arc::new(Fake::new());
        let w = World::new("fake", Arc::clone(&fake) as Arc<_>);
        w.unit("lost", SLEEPER);
        w.call("start", json!(["lost"]));
        let noted = w.intent("restart", json!(["lost"]));
        fake.once("job", mishap(Fault::new(FaultKind::Lost, "the connection was closed")));
        let error = w.refused("restart", json!(["lost"]), ErrorKind::Unavailable);
        assert!(error.retryable && !error.nothing_happened);
        let before = fake.starts("lost.service");
        match w.probe("restart", json!(["lost"]), &noted) {
            Probe::NotDone => drop(w.call("restart", json!(["lost"]))),
            Probe::Done(_) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(fake.starts("lost.service"), 2, "one start and one restart, {before} before the probe");
    }
}

/// The same for a command: at every call of the manager that `run` makes.
#[test]
fn a_command_whose_answer_is_lost_runs_once() {
    for call in ["rows", "facts", "run", "settle", "ended", "journal"] {
        for mishap in [Mishap::Before, Mishap::After] {
            let fake = Arc::new(Fake::new());
            let w = World::new("fake", Arc::clone(&fake) as Arc<_>);
            let args = || json!(["/bin/true", {"name": "once"}]);
            let noted = w.intent("run", args());
            fake.once(call, mishap(Fault::new(FaultKind::Lost, "the connection was closed")));
            if w.try_call("run", args()).is_err() {
                match w.probe("run", args(), &noted) {
                    Probe::NotDone => drop(w.call("run", args())),
                    Probe::Done(_) => {}
                    other => panic!("{call}: {other:?}"),
                }
            }
            assert_eq!(fake.starts("once.service"), 1, "{call}");
        }
    }
}

#[test]
fn the_bus_of_a_real_systemd_goes_and_comes_back() {
    let Some(systemd) = started("systemd", Systemd::missing(), Systemd::start) else { return };
    let w = World::new("systemd", live(&systemd));
    w.unit("waited-for", ENDLESS);
    let killed = std::thread::scope(|threads| {
        let waiting = threads.spawn(|| w.again("waiting").try_call("start", json!(["waited-for"])));
        // Nobody can tell from outside when it waits; the bus is taken away until it noticed.
        while !waiting.is_finished() {
            let kill =
                systemd.command("systemctl").args(["kill", "-s", "KILL", "dbus.service"]).output().unwrap();
            assert!(kill.status.success(), "{kill:?}");
            if w.with_timeout(Duration::from_secs(5)).try_call("status", json!(["waited-for"])).is_ok() {
                std::thread::yield_now();
            }
        }
        waiting.join().unwrap().unwrap_err()
    });
    assert_eq!(killed.kind, ErrorKind::Unavailable, "{killed:?}");
    assert!(killed.retryable);
    // It is started again by its socket, and everything works as before.
    let status = (0..100).find_map(|_| w.try_call("status", json!(["waited-for"])).ok());
    let active = status.as_ref().map(|status| text(status, "active").to_owned());
    assert!(active.is_some_and(|active| active == "activating" || active == "inactive"), "{status:?}");
    assert_ne!(status.unwrap().get("load"), Some(&Value::Unit));
}
