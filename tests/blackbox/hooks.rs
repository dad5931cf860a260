//! Functions around starts and stops of services: their order, what becomes of their failures, and of crashes in their midst.

use hob_tests::home::Home;
use hob_tests::process::signal_pid;
use hob_tests::until;
use rustix::process::Signal;

use crate::home;

/// A database that tells in a file what happens, and what needs it.
const HOMELAB: &str = r#"
let tell = |it| files::append("story", it.hook + " " + it.service + "\n");
let db = service("db", #{
    command: ["sh", "-c", "trap 'echo end >> story; exit 0' TERM; echo run >> story; echo up; while :; do sleep 0.05; done"],
    ready: log("up"), restart: #{ policy: "always", backoff: "50ms" },
    hooks: #{ before_start: tell, after_start: tell, before_stop: tell, after_stop: || files::append("story", "after_stop db\n") },
});
service("app", #{ command: ["sh", "-c", "echo app >> story; exec sleep 1000"], needs: [db], stop_timeout: "1s" });
"#;

/// What happens from nothing until all is ready, and until nothing runs any more.
const START: [&str; 4] = ["before_start db", "run", "after_start db", "app"];
const STOP: [&str; 3] = ["before_stop db", "end", "after_stop db"];

fn story(home: &Home) -> Vec<String> {
    if home.path("lab/story").exists() { home.lines("lab/story") } else { Vec::new() }
}

/// What was told since `from` lines had been, when it is as much as is expected.
fn tells(home: &Home, from: usize, expected: &[&str]) {
    let told = until("all is told", || Some(story(home)).filter(|it| it.len() >= from + expected.len()));
    assert_eq!(&told[from..], expected);
}

fn until_state(home: &Home, name: &str, state: &str) -> String {
    until(&format!("{name} is {state}"), || {
        let seen = home.service(name);
        (seen["state"] == state).then(|| seen["note"].as_str().unwrap_or_default().to_owned())
    })
}

fn pid(home: &Home, name: &str) -> u32 {
    u32::try_from(home.service(name)["pid"].as_u64().expect("it runs")).unwrap()
}

#[test]
fn they_run_in_one_order_whatever_starts_and_stops_a_service() {
    let home = home();
    home.write("lab/homelab.rhai", HOMELAB);
    let mut up = home.up("lab", &[]);
    tells(&home, 0, &START);
    let restarted = [&STOP[..], &START[..]].concat();

    let from = story(&home).len();
    let _ = home.hob(&["restart", "db"]).exits(0);
    until_state(&home, "app", "ready");
    tells(&home, from, &restarted);

    let from = story(&home).len();
    let _ = home.hob(&["stop", "db"]).exits(0);
    tells(&home, from, &STOP);
    let from = story(&home).len();
    let _ = home.hob(&["start", "app"]).exits(0);
    tells(&home, from, &START);

    // After a crash there is nothing to be quiesced, and something to be cleared away; what needs it goes on.
    let (from, app) = (story(&home).len(), pid(&home, "app"));
    signal_pid(pid(&home, "db"), Signal::KILL);
    tells(&home, from, &["after_stop db", "before_start db", "run", "after_start db"]);
    until_state(&home, "db", "ready");
    assert_eq!(pid(&home, "app"), app);

    // The end of hob stops them, too, and their functions are done before it is gone.
    let from = story(&home).len();
    let _ = up.stop().exits(0);
    assert_eq!(&story(&home)[from..], STOP);

    // What goes on without hob is not started, and a changed function is no reason to do so.
    let mut up = home.up("lab", &["--on-exit", "keep"]);
    let (from, db) = (story(&home).len(), pid(&home, "db"));
    let _ = up.stop().exits(0);
    home.write("lab/homelab.rhai", HOMELAB.replace("after_stop db", "other after_stop db"));
    let _ = home.hob(&["plan", "lab"]).exits(0).printing("nothing to do");
    let mut up = home.up("lab", &["--on-exit", "keep"]);
    assert_eq!((pid(&home, "db"), story(&home).len()), (db, from));
    let _ = up.stop().exits(0);

    // One that ended while no hob looked is cleared away after when the next one comes.
    signal_pid(db, Signal::KILL);
    until("it is gone", || home.living().iter().all(|seen| seen.pid != db).then_some(()));
    let mut up = home.up("lab", &[]);
    tells(&home, from, &["other after_stop db", "before_start db", "run", "after_start db"]);
    let _ = up.stop().exits(0);
}

#[test]
fn they_run_also_where_a_homelab_is_only_applied() {
    let home = home();
    home.write("lab/homelab.rhai", HOMELAB);
    let _ = home.hob(&["apply", "lab", "--yes"]).exits(0);
    tells(&home, 0, &START);
    let _ = home.hob(&["down", "lab"]).exits(0);
    assert_eq!(&story(&home)[START.len()..], STOP);
}

/// A service with one function that does not do what it should, and what needs it.
fn with(hook: &str) -> String {
    format!(
        r#"
let a = service("a", #{{
    command: ["sh", "-c", "echo run >> story; echo up; exec sleep 1000"], ready: log("up"), stop_timeout: "1s",
    restart: #{{ policy: "always", backoff: "1h" }}, hooks: #{{ {hook} }},
}});
service("b", #{{ command: ["sleep", "1000"], needs: [a], stop_timeout: "1s" }});
"#
    )
}

#[test]
fn a_start_that_they_refuse_is_told_with_its_cause_and_tried_again() {
    for (hook, started, cause) in [
        (r#"before_start: || { if !files::exists("licence") { fail("no licence") } }"#, false, "no licence"),
        (r#"after_start: || { if !files::exists("licence") { fail("no licence") } }"#, true, "no licence"),
        (
            r#"before_start: || { if !files::exists("licence") { wait_signal("never") } }, timeout: "300ms""#,
            false,
            "did not end within 300ms",
        ),
        (
            r#"after_start: || { if !files::exists("licence") { wait_signal("never") } }, timeout: "300ms""#,
            true,
            "did not end within 300ms",
        ),
    ] {
        let home = home();
        home.write("lab/homelab.rhai", with(hook));
        let mut up = home.up("lab", &[]);
        let note = until_state(&home, "a", "failed");
        let which = hook.split(':').next().unwrap();
        assert!(note.contains(&format!("`{which}`")) && note.contains(cause), "{note}");
        assert!(note.contains("again in 1m"), "{note}");
        assert_eq!(until_state(&home, "b", "blocked"), "needs a, which failed");
        assert_eq!(story(&home).len(), usize::from(started));
        assert!(home.living().iter().all(|seen| !seen.line.contains("sleep")), "{:?}", home.living());
        // The run that is named is there, and has ended.
        let run =
            note.split("hob runs show ").nth(1).and_then(|it| it.split('`').next()).expect("a run is named");
        let status = home.json(&["runs", "show", run])["status"].clone();
        assert!(["failed", "cancelled"].contains(&status.as_str().unwrap()), "{status}");
        let _ = home.hob(&["boot", "explain"]).exits(0).printing(cause);

        home.write("lab/licence", "");
        let _ = home.hob(&["start", "a"]).exits(0);
        until_state(&home, "b", "ready");
        let _ = up.stop().exits(0);
    }
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let home = home();
    let hook = r#"before_stop: || { files::append("story", "before_stop\n"); wait_signal("never") }, after_stop: || fail("no"), timeout: "300ms""#;
    home.write("lab/homelab.rhai", with(hook));
    let mut up = home.up("lab", &[]);
    let _ = home.hob(&["stop", "a"]).exits(0);
    until_state(&home, "a", "stopped");
    tells(&home, 0, &["run", "before_stop"]);
    let failed = home.json(&["events", "list", "service.hook_failed"]);
    let notes: Vec<&str> =
        failed.as_array().unwrap().iter().filter_map(|it| it["payload"]["note"].as_str()).collect();
    assert!(notes.iter().any(|note| note.contains("`before_stop` did not end within 300ms")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("`after_stop` failed: no")), "{notes:?}");
    let _ = home.hob(&["start", "a"]).exits(0);
    let _ = up.stop().exits(0);
    tells(&home, 2, &["run", "before_stop"]);
    assert!(home.living().is_empty(), "{:?}", home.living());
}

#[test]
fn a_stop_ends_what_a_start_still_waits_for() {
    for hook in ["before_start", "after_start"] {
        let home = home();
        let waits = format!(r#"{hook}: || {{ files::append("story", "begun\n"); wait_signal("go") }}"#);
        home.write("lab/homelab.rhai", with(&waits));
        let mut booting = home.start(&["up", "lab", "--listen", "127.0.0.1:0"]);
        until("it waits", || story(&home).contains(&"begun".to_owned()).then_some(()));
        serves(&home);
        let _ = home.hob(&["stop", "a"]).exits(0);
        assert_eq!(home.service("a")["state"], "stopped");
        let runs = home.json(&["runs", "list"]);
        let of = |it: &&serde_json::Value| it["kind"] == format!("service.hooks.{hook}");
        let ended = runs.as_array().unwrap().iter().find(of).expect("it ran")["status"].clone();
        assert_eq!(ended, "cancelled", "{hook}");
        booting.signal(Signal::TERM);
        let _ = booting.end().exits(0);
        assert!(home.living().is_empty(), "{:?}", home.living());
    }
}

#[test]
fn what_waits_for_its_own_end_is_refused() {
    let home = home();
    let hook = r#"after_start: || { try { services::restart("SELF") } catch (error) { files::append("story", error.message + "\n") } }"#;
    for name in ["a", "b"] {
        home.write(
            "lab/homelab.rhai",
            with(&hook.replace(
                "restart(\"SELF\")",
                &match name {
                    "a" => "restart(\"a\")".to_owned(),
                    other => format!("start(\"{other}\")"),
                },
            )),
        );
        let mut up = home.up("lab", &[]);
        until_state(&home, "b", "ready");
        let told = story(&home).last().cloned().unwrap();
        assert!(told.contains("`after_start` of `a` must have ended, and this is it"), "{told}");
        let _ = up.stop().exits(0);
    }
}

fn serves(home: &Home) {
    until("hob serves", || (home.hob(&["status"]).code == Some(0)).then_some(()));
}

/// Has hob killed while `hook` waits, and comes back.
fn killed_in(hook: &str, before: &[&str], stopping: bool, after: &[&str]) {
    let home = home();
    let waits = format!(
        r#"let tell = |it| {{ files::append("story", it.hook + "\n"); if it.hook == "{hook}" {{ wait_signal("go"); files::append("story", "done\n") }} }};"#
    );
    let all = r#"before_start: tell, after_start: tell, before_stop: tell, after_stop: tell, timeout: "6s""#;
    home.write("lab/homelab.rhai", format!("{waits}{}", with(all)));
    let start = || home.start(&["up", "lab", "--listen", "127.0.0.1:0"]);
    let mut up = start();
    serves(&home);
    let mut asked = stopping.then(|| {
        until_state(&home, "b", "ready");
        home.start(&["stop", "a"])
    });
    tells(&home, 0, before);
    let runs = || home.json(&["runs", "list"]);
    let of = |it: &serde_json::Value| it["kind"] == format!("service.hooks.{hook}");
    let run = until("it waits for a signal", || {
        let runs = runs();
        let it = runs.as_array().unwrap().iter().find(|it| of(it) && it["status"] == "waiting")?;
        Some(it["run"].as_str().unwrap().to_owned())
    });
    up.signal(Signal::KILL);
    up.end();
    asked.iter_mut().for_each(|asked| drop(asked.end()));
    let mut up = start();
    serves(&home);
    let _ = home.hob(&["runs", "signal", &run, "go"]).exits(0);
    tells(&home, before.len(), after);
    until_state(&home, "b", "ready");
    let count = runs().as_array().unwrap().iter().filter(|it| of(it)).count();
    assert_eq!(count, 1, "{hook}: the run of before went on, and there was no other");
    let told = story(&home);
    assert_eq!(told.len(), before.len() + after.len(), "{told:?}");
    // A function of a stop waits once more now, and not for ever.
    up.signal(Signal::TERM);
    let _ = up.end().exits(0);
    assert!(home.living().is_empty(), "{:?}", home.living());
}

#[test]
fn a_start_goes_on_after_a_crash_in_its_midst() {
    killed_in("before_start", &["before_start"], false, &["done", "run", "after_start"]);
    killed_in("after_start", &["before_start", "run", "after_start"], false, &["done"]);
}

#[test]
fn what_comes_before_a_stop_goes_on_after_a_crash_in_its_midst_and_the_service_was_not_stopped() {
    let before = ["before_start", "run", "after_start", "before_stop"];
    killed_in("before_stop", &before, true, &["done"]);
}

#[test]
fn what_comes_after_a_stop_goes_on_after_a_crash_in_its_midst() {
    let before = ["before_start", "run", "after_start", "before_stop", "after_stop"];
    killed_in("after_stop", &before, true, &["done", "before_start", "run", "after_start"]);
}
