//! What is held is left alone, over crashes, and comes back when the run that held it ends.

use hob_tests::home::Home;
use hob_tests::process::Ran;
use hob_tests::until;
use rustix::process::Signal;
use serde_json::json;

use crate::home;

/// Each service tells when it starts.
const HOMELAB: &str = r#"
let told = |name| ["sh", "-c", `echo ${name} >> starts.log; echo here; exec sleep 1000`];
let quick = #{ ready: log("here"), stop_timeout: "2s" };
let db = service("db", #{ command: told.call("db") } + quick);
service("app", #{ command: told.call("app"), needs: [db] } + quick);

workflow("cold", #{ on: manual() }, |how| {
    services::hold("db", #{ reason: "cold backup" });
    let stopped = services::stop("db");
    let held = services::list().filter(|it| it.held).map(|it| it.name);
    wait_signal("go");
    if how.get("fails") == true { throw "the disk is full" }
    #{ stopped: stopped, held: held }
});
workflow("ask", #{ on: manual() }, || {
    let refused = [];
    for name in ["db", "nobody"] { try { services::start(name); } catch (e) { refused.push(e.kind) } }
    refused
});
"#;

fn states(home: &Home) -> [String; 2] {
    ["db", "app"].map(|name| home.service(name)["state"].as_str().unwrap().to_owned())
}

fn both_ready(home: &Home) {
    until("both are ready", || (states(home) == ["ready", "ready"]).then_some(()));
}

/// A run that holds the database, stopped, and waits.
fn cold(home: &Home, args: &[&str]) -> String {
    let args: Vec<&str> = ["run", "cold", "--detach"].iter().chain(args).copied().collect();
    let run = home.hob(&args).exits(0).out().trim().to_owned();
    until("the run waits", || (home.json(&["runs", "show", &run])["status"] == "waiting").then_some(()));
    run
}

fn refused(ran: Ran) {
    let told = ran.exits(1).stderr;
    assert!(
        told.contains("HOB-0504") && told.contains("cold backup") && told.contains("hob release db"),
        "{told}"
    );
}

#[test]
fn what_a_run_holds_is_left_alone_until_it_ends() {
    let home = home();
    home.write("lab/homelab.rhai", HOMELAB);
    let mut up = home.up("lab", &["--on-exit", "keep"]);
    let run = cold(&home, &[]);
    assert_eq!(states(&home), ["stopped", "stopped"]);
    assert_eq!(home.service("db")["note"], json!(format!("held by the run {run}: cold backup")));
    refused(home.hob(&["start", "db"]));
    refused(home.hob(&["restart", "db"]));
    let asked = home.hob(&["run", "ask"]).exits(0).stdout;
    assert!(asked.contains("conflict") && asked.contains("not_found"), "{asked}");
    let plan = home.hob(&["plan", "lab"]).exits(2).stdout;
    assert!(plan.contains("# service `db` differs and is held"), "{plan}");

    // Killed and started again, hob starts neither it nor what needs it.
    up.process.signal(Signal::KILL);
    let _ = up.process.end();
    let mut up = home.up("lab", &["--on-exit", "keep"]);
    assert_eq!(states(&home), ["stopped", "stopped"]);
    assert_eq!(home.lines("lab/starts.log"), ["db", "app"]);

    let _ = home.hob(&["runs", "signal", &run, "go"]).exits(0);
    both_ready(&home);
    assert_eq!(home.lines("lab/starts.log"), ["db", "app", "db", "app"], "in order");
    let output = home.json(&["runs", "show", &run])["output"].clone();
    assert_eq!(output, json!({ "stopped": ["db", "app"], "held": ["db"] }));

    // A run that fails gives back what it held; so does one that is cancelled.
    let failing = cold(&home, &["--arg", "fails:=true"]);
    let _ = home.hob(&["runs", "signal", &failing, "go"]).exits(0);
    both_ready(&home);
    let cancelled = cold(&home, &[]);
    let _ = home.hob(&["runs", "cancel", &cancelled]).exits(0);
    both_ready(&home);

    // A person ends any hold, and their own does not hold themselves up.
    let released = cold(&home, &[]);
    let _ = home.hob(&["release", "db"]).exits(0);
    both_ready(&home);
    let _ = home.hob(&["runs", "cancel", &released]).exits(0);
    let _ = home.hob(&["hold", "app", "--reason", "mine"]).exits(0);
    let _ = home.hob(&["restart", "db"]).exits(0);
    both_ready(&home);
    let _ = up.stop().exits(0);
}

#[test]
fn all_is_brought_down_and_up_beside_a_hob_that_serves() {
    let home = home();
    home.write("lab/homelab.rhai", HOMELAB);
    let up = home.up("lab", &[]);
    let starts = || home.lines("lab/starts.log").len();
    let post = |path: &str, body| home.ask("POST", path, Some(&body)).expect("it answers").json();

    let _ = home.hob(&["down", "lab"]).exits(0);
    assert_eq!((states(&home), starts()), (["stopped", "stopped"].map(str::to_owned), 2));
    let plan = home.hob(&["apply", "lab", "--yes"]).exits(0);
    assert!(plan.stdout.contains("start") && states(&home) == ["ready", "ready"], "{plan:?}");
    assert_eq!(starts(), 4);

    assert_eq!(post("/api/v1/down", json!({})), json!({ "stopped": ["app", "db"] }));
    let basis = home.ask("GET", "/api/v1/plan", None).expect("it answers").json()["basis"].clone();
    let _ = home.hob(&["start", "db"]).exits(0);
    let stale = home.ask("POST", "/api/v1/apply", Some(&json!({ "basis": basis }))).expect("it answers");
    assert_eq!(stale.status, 409);
    post("/api/v1/up", json!({}));
    assert_eq!((states(&home), starts()), (["ready", "ready"].map(str::to_owned), 6));

    // Other declarations than those it serves are not its to carry out.
    home.write("lab/homelab.rhai", HOMELAB.replace("\"2s\"", "\"3s\""));
    let refused = home.hob(&["apply", "lab", "--yes"]).exits(1).stderr;
    assert!(refused.contains("HOB-0401") && refused.contains("other declarations"), "{refused}");

    // Nobody may without the token.
    let path = "/api/v1/down";
    assert_eq!(up.ask("POST", path, &[], Some(&json!({}))).status, 401);
    both_ready(&home);
}
