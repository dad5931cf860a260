//! Boots that fail: each names its cause, and exactly what it blocks.

use std::net::TcpListener;

use hob_lab::disk::Disk;
use hob_lab::engine::{IMAGE, Kind};
use hob_tests::home::Home;
use hob_tests::until;
use serde_json::json;

use crate::engines::is_there;
use crate::home;
use crate::services::House;

/// Around a service `bad`: what needs it, itself or over another one, what is in a later tier, and what is not concerned.
fn around(bad: &str) -> String {
    format!(
        r#"
homelab(#{{ name: "house" }});
tier("core");
tier("apps", #{{ after: "core" }});
let runs = #{{ command: ["sleep", "1000"], stop_timeout: "1s" }};
let bad = service("bad", #{{ tier: "core", stop_timeout: "1s" }} + {bad});
let direct = service("direct", #{{ tier: "core", needs: [bad] }} + runs);
service("far", #{{ tier: "core", needs: [direct] }} + runs);
service("later", #{{ tier: "apps" }} + runs);
service("free", #{{ tier: "core" }} + runs);
"#
    )
}

/// What `bad` says of itself, after it was seen that what it blocks is exactly what it should.
fn cause(home: &Home) -> String {
    let states = |name: &str| home.service(name)["state"].as_str().unwrap().to_owned();
    let names = ["bad", "direct", "far", "later", "free"];
    assert_eq!(names.map(states), ["failed", "blocked", "blocked", "blocked", "ready"]);
    for name in ["direct", "far", "later"] {
        assert_eq!(home.service(name)["note"], "needs bad, which failed", "{name}");
    }
    home.service("bad")["note"].as_str().unwrap().to_owned()
}

#[test]
fn a_program_that_does_not_get_ready_is_named_with_what_it_blocks() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().unwrap().port();
    let serve = format!(r#"["python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}"]"#);
    let never = r#"#{ command: ["sh", "-c", "echo connecting to the moon; exec sleep 1000"], restart: "never", ready: file("moon"), ready_timeout: "500ms" }"#;
    for (bad, expected) in [
        (never.to_owned(), vec!["moon does not exist", "connecting to the moon"]),
        (
            r#"#{ command: ["sh", "-c", "echo no license; exit 3"], ready: file("moon"), restart: "never" }"#.to_owned(),
            vec!["ended with code 3", "last line: no license"],
        ),
        (r#"#{ command: ["/usr/bin/no-such-program"], restart: "never" }"#.to_owned(), vec!["no-such-program"]),
        (
            format!(r#"#{{ command: {serve}, restart: "never", port: {port} }}"#),
            vec!["another program has taken port", "ss -ltnp"],
        ),
        // This device has no space left, ever (full(4)).
        (
            r#"#{ command: ["sh", "-c", "cp /etc/hostname /dev/full || exit 28"], ready: file("moon"), restart: "never" }"#.to_owned(),
            vec!["ended with code 28", "No space left on device"],
        ),
        // What is tried again and again has failed all the same.
        (
            r#"#{ command: ["sh", "-c", "echo no luck; exit 4"], ready: file("moon"), restart: #{ policy: "always", backoff: "1h" } }"#.to_owned(),
            vec!["ended with code 4", "no luck", "again in 1m"],
        ),
    ] {
        let home = home();
        home.write("lab/homelab.rhai", around(&bad));
        let mut up = home.up("lab", &[]);
        let told = cause(&home);
        assert!(expected.iter().all(|part| told.contains(part)), "{told:?} tells not of {expected:?}");
        let _ = up.stop().exits(0);
        // `hob apply` says the same, and does not wait for what cannot come.
        let applied = home.hob(&["apply", "lab", "--yes"]).exits(1).stderr;
        assert!(applied.contains("4 of 5 services did not get ready"), "{applied}");
        let _ = home.hob(&["down", "lab"]).exits(0);
    }
}

#[test]
fn a_full_disk_of_hob_itself_is_named_and_nothing_starts_that_could_not_be_noted() {
    // Less than what hob keeps free for outcomes.
    let Some(disk) = Disk::in_memory(24_000) else { return };
    let home = Home::below(env!("CARGO_BIN_EXE_hob"), &disk.path());
    let runs = r#"#{ command: ["sleep", "1000"], restart: "never" }"#;
    home.write("lab/homelab.rhai", around(runs).replace("stop_timeout: \"1s\" };", "restart: \"never\" };"));
    let mut up = home.up("lab", &[]);
    let names = ["bad", "direct", "far", "later", "free"];
    let states = names.map(|name| home.service(name)["state"].as_str().unwrap().to_owned());
    assert_eq!(states, ["failed", "blocked", "blocked", "blocked", "failed"]);
    let note = home.service("free")["note"].clone();
    assert!(note.as_str().unwrap().contains("bytes are free on the disk of"), "{note}");
    assert!(home.living().iter().all(|seen| !seen.line.contains("sleep")), "{:?}", home.living());
    let _ = up.stop().exits(0);
}

#[test]
fn an_image_that_is_not_there_is_named_with_what_it_blocks() {
    if !is_there(Kind::Podman.missing()) {
        return;
    }
    let kept = format!(r#", restart: "never", ulimits: LIMITS, image: "{IMAGE}""#);
    for (bad, expected) in [
        (r#"#{ image: "localhost:1/none:1", restart: "never" }"#.to_owned(), "localhost:1/none:1"),
        (format!(r#"#{{ command: ["/no/such/program"]{kept} }}"#), "/no/such/program"),
    ] {
        let Some(house) = House::new(&around(&bad)) else { return };
        let mut up = house.home.up("lab", &[]);
        let told = cause(&house.home);
        assert!(told.contains(expected), "{told:?} tells not of {expected:?}");
        House::stop(&mut up);
    }
}

#[test]
fn what_a_service_lacks_is_named_with_what_it_blocks() {
    let once = r#"command: ["sleep", "1000"], restart: "never""#;
    for (bad, beside, expected) in [
        (
            format!("#{{ {once}, needs: [\"disk\"] }}"),
            r#"mount("disk", #{ path: "/mnt/no-such-disk", timeout: "100ms" });"#,
            "mount `disk` is missing: nothing is mounted at /mnt/no-such-disk (it starts as soon as that is mounted)",
        ),
        (
            format!("#{{ {once}, needs: [\"photos\"] }}"),
            r#"dataset("photos", #{ path: "no/such/photos" });"#,
            "dataset `photos` is missing: there is no directory",
        ),
        (format!("#{{ {once}, env: #{{ TOKEN: secret(\"token\") }} }}"), "", "secret `token`"),
    ] {
        let home = home();
        home.write("lab/homelab.rhai", format!("{}{beside}", around(&bad)));
        let mut up = home.up("lab", &[]);
        let told = cause(&home);
        assert!(told.contains(expected), "{told:?} tells not of {expected:?}");
        let _ = up.stop().exits(0);
    }
}

#[test]
fn what_cannot_be_ordered_is_refused_before_anything_starts() {
    for (homelab, expected) in [
        (
            r#"service("a", #{ command: "sleep 1", needs: ["b"] }); service("b", #{ command: "sleep 1", needs: ["a"] });"#,
            ["HOB-0502", "`a` and `b` wait for each other"],
        ),
        (
            r#"tier("one"); tier("two", #{ after: "one" });
            let late = service("late", #{ tier: "two", command: "sleep 1" });
            service("early", #{ tier: "one", command: "sleep 1", needs: [late] });"#,
            ["`early`", "`late`"],
        ),
    ] {
        let home = home();
        home.write("lab/homelab.rhai", homelab);
        let refused = home.hob(&["up", "lab"]).exits(1).stderr;
        assert!(expected.iter().all(|part| refused.contains(part)), "{refused}");
        assert!(home.living().is_empty());
    }
}

#[test]
fn health_that_comes_and_goes_is_told_and_repaired() {
    let home = home();
    home.write("lab/well", "");
    home.write(
        "lab/homelab.rhai",
        r#"service("app", #{ command: ["sh", "-c", "echo start >> starts.log; exec sleep 1000"], ready: file("."), stop_timeout: "1s",
            restart: #{ backoff: "10ms" }, health: #{ check: file("well"), interval: "50ms", retries: 2 } });"#,
    );
    let mut up = home.up("lab", &[]);
    for round in 2..4 {
        std::fs::remove_file(home.path("lab/well")).unwrap();
        until("it is restarted", || (home.lines("lab/starts.log").len() >= round).then_some(()));
        home.write("lab/well", "");
        until("it is ready", || (home.service("app")["state"] == "ready").then_some(()));
    }
    let events = home.json(&["events", "list", "service.unhealthy"]);
    let note = events[0]["payload"]["note"].as_str().unwrap().to_owned();
    assert!(events.as_array().unwrap().len() >= 2 && note.contains("well"), "{events}");
    let _ = up.stop().exits(0);
}

#[test]
fn one_that_does_not_want_to_stop_is_killed_in_time() {
    let home = home();
    home.write(
        "lab/homelab.rhai",
        r#"service("deaf", #{ command: ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"], ready: log("deaf"), stop_timeout: "300ms" });"#,
    );
    let mut up = home.up("lab", &[]);
    let _ = home.hob(&["stop", "deaf"]).exits(0);
    assert_eq!(home.service("deaf")["state"], json!("stopped"));
    assert!(home.living().iter().all(|seen| !seen.line.contains("trap")), "it is gone");
    let _ = up.stop().exits(0);
}
