//! The first homelab: `hob up examples/quickstart`.

use std::path::Path;

use hob_tests::home::{Home, Up};
use hob_tests::until;
use serde_json::{Value as Json, json};

use crate::home;

const CLOCK: &str = "clock.log";
const PAGE: &str = "page.html";

/// A copy of the example, so that what its services write lands in a place of the test's own.
fn quickstart() -> Home {
    let home = home();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/quickstart");
    for file in ["homelab.rhai", "services/web.rhai"] {
        home.write(&format!("lab/{file}"), std::fs::read(example.join(file)).unwrap());
    }
    home
}

/// The pids of the services whose command line mentions `what`. A child that a shell has just begun has the same line for
/// a moment, but leads no session.
fn pids(home: &Home, what: &str) -> Vec<u32> {
    let leads = |pid: u32| {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::getsid(Some(pid)) == Ok(pid)
    };
    let living = home.living();
    living.iter().filter(|seen| seen.line.contains(what) && leads(seen.pid)).map(|seen| seen.pid).collect()
}

fn events(home: &Home, pattern: &str) -> Vec<String> {
    let events = home.json(&["events", "list", pattern]);
    let one = |event: &Json| {
        let service = event["payload"]["service"].as_str().unwrap_or_default();
        format!("{} {service}", event["name"].as_str().unwrap())
    };
    events.as_array().unwrap().iter().map(one).collect()
}

fn greet(up: &Up) -> String {
    let answer = up.ask("POST", "/hooks/greet", &[], Some(&json!({ "name": "world" }))).expects(200);
    answer.json()["greeting"].as_str().unwrap().to_owned()
}

#[test]
fn the_quickstart_does_what_it_says() {
    let home = quickstart();
    let mut up = home.up("lab", &[]);
    assert_eq!(up.ask("GET", "/healthz", &[], None).expects(200).body, "ok\n");

    let status = home.json(&["status"]);
    assert_eq!(
        status["tiers"],
        json!([{ "name": "core", "state": "ready" }, { "name": "web", "state": "ready" }])
    );
    for (at, (name, tier)) in [("clock", "core"), ("page", "web")].into_iter().enumerate() {
        let service = &status["services"][at];
        assert_eq!((&service["name"], &service["tier"]), (&json!(name), &json!(tier)));
        assert_eq!((&service["state"], &service["ready"]), (&json!("ready"), &json!(true)));
    }
    assert_eq!(events(&home, "service.*"), ["service.ready clock", "service.ready page"]);
    assert_eq!((pids(&home, CLOCK).len(), pids(&home, PAGE).len()), (1, 1));

    // The webhook: three steps, each on record.
    let greeting = greet(&up);
    assert!(greeting.starts_with("Hello, world! You are "), "{greeting}");
    let greet = &home.json(&["runs", "list", "--name", "greet"])[0];
    let shown = home.json(&["runs", "show", greet["run"].as_str().unwrap()]);
    let steps: Vec<&str> =
        shown["entries"].as_array().unwrap().iter().filter_map(|entry| entry["position"].as_str()).collect();
    assert_eq!(steps, ["step:read", "step:number/1", "step:number", "step:write/1", "step:write"]);
    let greetings = home.read("lab/greetings.log");
    assert!(greetings.ends_with(" world\n"), "{greetings:?}");

    // The workflow that waits.
    let parcel = home.hob(&["run", "parcel", "--detach"]).exits(0).out().to_owned();
    until("the parcel is waited for", || {
        (home.json(&["runs", "show", &parcel])["status"] == "waiting").then_some(())
    });
    let waiting = home.json(&["status"]);
    assert_eq!(waiting["waiting"][0]["run"], json!(parcel));
    let _ = home.hob(&["runs", "signal", &parcel, "arrived", r#"{"from": "the postman"}"#]).exits(0);
    until("the parcel is there", || {
        (home.json(&["runs", "show", &parcel])["output"] == "thank you, the postman").then_some(())
    });

    // The schedule fires.
    until("the schedule fires", || {
        let fired = home.json(&["runs", "list", "--name", "heartbeat", "--status", "succeeded"]);
        fired.as_array().is_some_and(|fired| !fired.is_empty()).then_some(())
    });

    // SIGTERM: in reverse order, and nothing is left.
    let _ = up.stop().exits(0).saying("stopping services in reverse order");
    assert_eq!(
        events(&home, "service.*"),
        ["service.ready clock", "service.ready page", "service.stopped page", "service.stopped clock"]
    );
    assert!(home.living().is_empty(), "{:?}", home.living());
    assert!(!home.state().join("hob.sock").exists());
    let _ = home.hob(&["journal", "check"]).exits(0);
}

#[test]
fn services_are_adopted_after_a_kill_and_never_doubled() {
    let home = quickstart();
    let mut up = home.up("lab", &[]);
    let before = (pids(&home, CLOCK), pids(&home, PAGE));
    assert_eq!((before.0.len(), before.1.len()), (1, 1));
    let parcel = home.hob(&["run", "parcel", "--detach"]).exits(0).out().to_owned();
    assert!(up.process.kill());

    // They live on alone, and the next hob takes over the very same processes.
    assert_eq!((pids(&home, CLOCK), pids(&home, PAGE)), before);
    let mut up = home.up("lab", &[]);
    assert_eq!((pids(&home, CLOCK), pids(&home, PAGE)), before);
    let status = home.json(&["status"]);
    assert_eq!(status["services"][0]["pid"], json!(before.0[0]));
    assert_eq!(status["services"][1]["pid"], json!(before.1[0]));
    assert_eq!(home.json(&["runs", "show", &parcel])["status"], "waiting");
    let _ = home.hob(&["runs", "signal", &parcel, "arrived", r#"{"from": "the postman"}"#]).exits(0);
    until("the parcel is there", || {
        (home.json(&["runs", "show", &parcel])["status"] == "succeeded").then_some(())
    });

    // What ended meanwhile is started again, once.
    assert!(up.process.kill());
    hob_tests::process::signal_pid(before.1[0], rustix::process::Signal::KILL);
    until("the page's process is gone", || pids(&home, PAGE).is_empty().then_some(()));
    let mut up = home.up("lab", &[]);
    assert_eq!(pids(&home, CLOCK), before.0);
    let pages = pids(&home, PAGE);
    assert!(pages.len() == 1 && pages != before.1, "{pages:?}");
    let _ = up.stop().exits(0);
    assert!(home.living().is_empty(), "{:?}", home.living());
}

#[test]
fn services_go_on_when_told_to() {
    let home = quickstart();
    let mut up = home.up("lab", &["--on-exit", "keep"]);
    let before = (pids(&home, CLOCK), pids(&home, PAGE));
    let _ = up.stop().exits(0).saying("services go on");
    assert_eq!((pids(&home, CLOCK), pids(&home, PAGE)), before);
    let mut up = home.up("lab", &[]);
    assert_eq!((pids(&home, CLOCK), pids(&home, PAGE)), before);
    greet(&up);
    let _ = up.stop().exits(0);
    assert!(home.living().is_empty(), "{:?}", home.living());
}
