//! Several processes on one state directory, signals, and closed pipes.

use std::net::TcpListener;

use hob_tests::until;
use rustix::process::Signal;
use serde_json::json;

use crate::home;

const HOMELAB: &str = r#"homelab(#{ name: "one" });"#;

#[test]
fn only_a_second_hob_up_is_refused() {
    let home = home();
    home.write("lab/homelab.rhai", HOMELAB);
    home.write("place/script.rhai", r#"files::write("here", "x").path"#);
    let mut up = home.up("lab", &[]);
    let pid = up.process.pid();
    let second = home.hob(&["up", "lab", "--listen", "127.0.0.1:0"]).exits(1).saying("HOB-0401");
    assert!(
        second.says(&format!("`hob up` (process {pid})")) || second.says(&pid.to_string()),
        "{second:#?}"
    );

    // A run goes through the one that is there, with the caller's directory.
    let mut command = home.command(&["run", "script.rhai"]);
    command.current_dir(home.path("place"));
    let ran = hob_tests::process::Background::start(&mut command, None).end().exits(0);
    assert_eq!(ran.out(), home.path("place/here").to_str().unwrap());
    assert_eq!(home.hob(&["eval", "1 + 1"]).exits(0).out(), "2");
    let _ = home.hob(&["eval", "throw `no`"]).exits(1).saying("no");
    assert_eq!(home.hob(&["run", "place/script.rhai", "--json"]).exits(0).json()["status"], "succeeded");
    let _ = home.hob(&["run", "nothing-like-this"]).exits(1).saying("there is no workflow");
    let _ = home.hob(&["stop", "nothing"]).exits(1).saying("there is no service");
    let _ = up.stop().exits(0);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let home = home();
    home.write("lab/homelab.rhai", HOMELAB);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = home.hob(&["up", "lab", "--listen", &address]).saying(&address).saying("--listen");
    assert!(matches!(ran.code, Some(1 | 2)), "{ran:#?}");
    // Nothing is left that would keep the next one out.
    let mut up = home.up("lab", &[]);
    let _ = up.stop().exits(0);
}

#[test]
fn a_foreground_run_answers_other_commands() {
    let home = home();
    home.write("script.rhai", r#"let name = wait_signal("go", #{ timeout: "1h" }); `went ${name}`"#);
    let mut process = home.start(&["run", "script.rhai"]);
    let run = until("the run waits", || {
        let list = home.hob(&["runs", "list", "--json"]);
        let run = list.code.filter(|code| *code == 0).map(|_| list.json()[0].clone())?;
        (run["status"] == "waiting").then(|| run["run"].as_str().unwrap().to_owned())
    });
    until("it answers", || home.state().join("hob.sock").exists().then_some(()));
    let _ = home.hob(&["runs", "signal", &run, "go", "\"far\""]).exits(0);
    assert_eq!(process.end().exits(0).out(), "went far");
}

#[test]
fn ctrl_c_ends_an_endless_loop() {
    let home = home();
    home.write("script.rhai", r#"files::write("begun", "x"); let n = 0; loop { n += 1; }"#);
    let mut process = home.start(&["run", "script.rhai"]);
    until("it loops", || home.path("begun").exists().then_some(()));
    process.signal(Signal::INT);
    let _ = process.end().exits(1).saying("cancelled");
    assert_eq!(home.json(&["runs", "list"])[0]["status"], "cancelled");
}

#[test]
fn the_second_ctrl_c_ends_the_effect_that_is_under_way() {
    let home = home();
    home.write("script.rhai", r#"process::run(["sh", "-c", "echo begun > begun; sleep 1000"]);"#);
    for signals in [[Signal::INT, Signal::INT], [Signal::TERM, Signal::TERM]] {
        std::fs::remove_file(home.path("begun")).ok();
        let mut process = home.start(&["run", "script.rhai"]);
        until("it has begun", || (home.read("begun") == "begun\n").then_some(()));
        process.signal(signals[0]);
        until("the cancel is on record", || {
            let run = home.json(&["runs", "list", "--limit", "1"])[0]["run"].as_str().unwrap().to_owned();
            let export = home.hob(&["journal", "export", &run]).exits(0);
            export.stdout.contains("cancel").then_some(())
        });
        process.signal(signals[1]);
        let _ = process.end().exits(1);
        assert_eq!(home.json(&["runs", "list", "--limit", "1"])[0]["status"], "cancelled");
        until("its children are gone", || home.living().is_empty().then_some(()));
    }
}

#[test]
fn a_signal_that_comes_before_the_wait_is_kept() {
    let home = home();
    home.write(
        "lab/homelab.rhai",
        r#"homelab(#{ name: "one" });
           workflow("waits", #{ on: manual() }, |x| {
               wait_signal("begin");
               [wait_signal("go"), wait_signal("go")]
           });"#,
    );
    let mut up = home.up("lab", &[]);
    let run = home.hob(&["run", "waits", "--detach"]).exits(0).out().to_owned();
    for (name, payload) in [("go", "1"), ("go", "2"), ("begin", "null")] {
        let _ = home.hob(&["runs", "signal", &run, name, payload]).exits(0);
    }
    until("both signals are taken", || {
        (home.json(&["runs", "show", &run])["output"] == json!([1, 2])).then_some(())
    });
    let _ = home.hob(&["runs", "signal", &run, "go"]).exits(1).saying("HOB-0304");
    let _ = up.stop().exits(0);
}

#[test]
fn a_daemon_stops_while_runs_wait_and_sleep() {
    let home = home();
    home.write(
        "lab/homelab.rhai",
        r#"homelab(#{ name: "one" });
           workflow("sleeps", #{ on: manual() }, |x| { sleep("300ms"); files::append("woken", "x"); "woken" });
           workflow("works", #{ on: manual() }, |x| { process::run(["sleep", "0.2"]); "worked" });"#,
    );
    let mut up = home.up("lab", &[]);
    let start = |name: &str| {
        let started =
            home.ask("POST", "/api/v1/runs", Some(&json!({ "workflow": name, "input": {} }))).unwrap();
        started.json()["run"].as_str().unwrap().to_owned()
    };
    let (sleeps, works) = (start("sleeps"), start("works"));
    let _ = up.stop().exits(0);
    let mut up = home.up("lab", &[]);
    for run in [&sleeps, &works] {
        until("it goes on", || (home.json(&["runs", "show", run])["status"] == "succeeded").then_some(()));
    }
    assert_eq!(home.read("lab/woken"), "x");
    let _ = up.stop().exits(0);
}
