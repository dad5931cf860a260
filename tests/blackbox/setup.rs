//! Steps that are done once: their markers, and what a crash makes of them.

use hob_tests::home::Home;
use hob_tests::until;
use rustix::process::Signal;
use serde_json::Value as Json;

use crate::home;

const HOMELAB: &str = r#"
let web = service("web", #{ command: ["sh", "-c", "echo up; exec sleep 1000"], ready: log("up") });
setup("users", #{ needs: [web], check: || files::exists("users") }, |step| {
    files::write("users", "ada");
    files::append("done", step.setup + "\n");
});
setup("broken", || { files::append("tried", "x\n"); fail("no license") });
setup("slow", #{ needs: [web] }, || {
    files::append("slow", "begun\n");
    wait_signal("go");
    files::append("slow", "ended\n");
});
"#;

fn step(home: &Home, name: &str) -> Json {
    let steps = home.json(&["setup", "list"]);
    steps.as_array().unwrap().iter().find(|it| it["name"] == name).expect("the step is there").clone()
}

fn until_state(home: &Home, name: &str, state: &str) -> Json {
    until(&format!("{name} is {state}"), || Some(step(home, name)).filter(|it| it["state"] == state))
}

#[test]
fn a_step_is_done_once_and_its_marker_is_not_believed_blindly() {
    let home = home();
    home.write("lab/homelab.rhai", HOMELAB);
    let mut up = home.up("lab", &[]);
    until_state(&home, "users", "done");
    assert_eq!(home.lines("lab/done"), ["users"]);
    assert!(until_state(&home, "broken", "failed")["note"].as_str().unwrap().contains("no license"));

    // Killed in the middle of a step: its run goes on, and the marker comes with its end.
    until("the slow step waits", || (home.lines("lab/slow") == ["begun"]).then_some(()));
    let run = until_state(&home, "slow", "running")["run"].as_str().expect("it has a run").to_owned();
    up.process.signal(Signal::KILL);
    up.process.end();
    let mut up = home.up("lab", &[]);
    until_state(&home, "slow", "running");
    let _ = home.hob(&["runs", "signal", &run, "go"]).exits(0);
    until_state(&home, "slow", "done");
    assert_eq!(home.lines("lab/slow"), ["begun", "ended"]);
    until_state(&home, "users", "done");
    assert_eq!(home.lines("lab/done"), ["users"]);
    until_state(&home, "broken", "failed");
    assert_eq!(home.lines("lab/tried"), ["x", "x"], "what failed is tried again by the next hob");
    let _ = up.stop().exits(0);

    // The check tells that the marker lies.
    std::fs::remove_file(home.path("lab/users")).unwrap();
    let mut up = home.up("lab", &[]);
    until("the step is done again", || (home.lines("lab/done").len() == 2).then_some(()));
    until_state(&home, "users", "done");
    let _ = home.hob(&["setup", "reset", "users"]).exits(0);
    until("the step is done a third time", || (home.lines("lab/done").len() == 3).then_some(()));
    let refused = home.hob(&["setup", "reset", "user"]).exits(1);
    assert!(refused.stderr.contains("did you mean `users`?"), "{refused:?}");
    let _ = up.stop().exits(0);
}
