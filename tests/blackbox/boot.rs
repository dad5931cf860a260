//! A boot while it goes on, and what `hob boot explain` says of it.

use hob_tests::until;
use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::home;

/// A chain of two, one beside it, and one that fails and blocks another.
const HOMELAB: &str = r#"
let slow = |said| ["sh", "-c", "sleep " + said + "; echo up; exec sleep 1000"];
let db = service("db", #{ command: slow.call("0.6"), ready: log("up") });
service("api", #{ command: slow.call("0.3"), ready: log("up"), needs: [db] });
service("aside", #{ command: slow.call("0.1"), ready: log("up") });
let bad = service("bad", #{ command: ["sh", "-c", "echo no disk; exit 3"], ready: log("up"), restart: "never" });
service("behind", #{ command: ["sleep", "1000"], needs: [bad] });
"#;

#[test]
fn a_boot_is_shown_and_explained() {
    let home = home();
    home.write("lab/homelab.rhai", HOMELAB);
    let mut up = home.up("lab", &[]);
    let said = up.process.stderr();
    for line in [
        "db starts",
        "db is ready after",
        "api is ready after",
        "bad is failed: it ended with code 3",
        "behind is blocked: needs bad",
    ] {
        assert!(said.contains(line), "no `{line}` in {said}");
    }
    let boot = home.json(&["boot", "explain"]);
    let path: Vec<&Json> =
        boot["critical_path"].as_array().unwrap().iter().map(|link| &link["service"]).collect();
    assert_eq!(path, ["db", "api"]);
    let (db, api) = (&boot["critical_path"][0], &boot["critical_path"][1]);
    assert!(db["gate"].as_u64() >= Some(500) && db["saves"].as_u64() >= Some(500), "{db}");
    assert_eq!(api["waited_for"], "db");
    assert_eq!(boot["failures"][0]["service"], "bad");
    assert_eq!(boot["failures"][0]["blocked"], json!(["behind"]));
    let text = home.hob(&["boot", "explain"]).exits(0).stdout;
    assert!(
        text.contains("bad failed: it ended with code 3; last line: no disk\n  it blocked behind"),
        "{text}"
    );
    assert!(text.contains("if db were ready at once, the boot would take"), "{text}");
    let _ = up.stop().exits(0);

    // A hob that comes back and finds everything running has no boot to tell of.
    home.write("lab/homelab.rhai", r#"service("db", #{ command: ["sleep", "1000"] });"#);
    let quiet = home.hob(&["apply", "lab", "--yes", "--quiet"]).exits(0);
    assert_eq!(quiet.stderr, "");
    let first = home.json(&["boot", "explain"]);
    assert_eq!(first["services"].as_array().map(Vec::len), Some(1));
    let mut up = home.up("lab", &[]);
    assert_eq!(home.json(&["boot", "explain"]), first);
    let _ = up.stop().exits(0);
}

#[test]
fn a_boot_that_is_broken_off_stops_what_it_started() {
    let home = home();
    home.write(
        "lab/homelab.rhai",
        r#"
        service("db", #{ command: ["sleep", "1000"] });
        let slow = service("slow", #{ command: ["sleep", "1000"], ready: log("never"), ready_timeout: "1h" });
        service("behind", #{ command: ["sleep", "1000"], needs: [slow] });
        "#,
    );
    let mut up = home.start(&["up", "lab", "--listen", "127.0.0.1:0"]);
    until("one is ready and one starts", || {
        let said = up.stderr();
        (said.contains("db is ready") && said.contains("slow starts")).then_some(())
    });
    up.signal(Signal::TERM);
    let ended = up.end().exits(0);
    assert!(ended.stderr.contains("stopping services in reverse order"), "{ended:?}");
    assert!(!ended.stderr.contains("ready; Ctrl-C stops"), "{ended:?}");
    assert_eq!(home.living().len(), 0, "{:?}", home.living());
    let refused = home.hob(&["boot", "explain"]).exits(1);
    assert!(refused.stderr.contains("no boot is recorded yet"), "{refused:?}");
}

#[test]
fn what_is_stopped_on_purpose_has_not_failed() {
    let home = home();
    home.write(
        "lab/homelab.rhai",
        r#"for name in ["a", "b", "c"] { service(name, #{ command: ["sleep", "1000"] }); }"#,
    );
    let mut up = home.up("lab", &["--on-exit", "keep"]);
    let _ = up.stop().exits(0);
    let down = home.hob(&["down", "lab"]).exits(0);
    assert!(!down.stderr.contains("failed"), "{down:?}");
    assert_eq!(home.living().len(), 0, "{:?}", home.living());
}

#[test]
fn without_a_boot_there_is_nothing_to_explain() {
    let home = home();
    let _ = home.hob(&["eval", "1"]).exits(0);
    let refused = home.hob(&["boot", "explain"]).exits(1);
    assert!(refused.stderr.contains("no boot is recorded yet"), "{refused:?}");
}
