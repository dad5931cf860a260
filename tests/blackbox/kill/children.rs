//! A program that a killed hob had started, and that lives on.

use rustix::process::Signal;

use hob_tests::until;

use crate::home;

#[test]
fn an_effect_is_not_tried_again_while_its_children_live() {
    let home = home();
    home.write(
        "long.rhai",
        r#"process::run(["sh", "-c", "echo begun >> log; [ -e go ] || exec sleep 1000; echo ended >> log"]);
           "all done""#,
    );
    let mut process = home.start(&["run", "long.rhai"]);
    until("the program has begun", || (home.lines("log") == ["begun"]).then_some(()));
    assert!(process.kill());
    let run = home.json(&["runs", "list"])[0]["run"].as_str().unwrap().to_owned();
    let [child] = &home.living()[..] else { panic!("it lives on, alone: {:?}", home.living()) };

    // It is in doubt, and the one that lives is named.
    let _ = home.hob(&["runs", "resume", &run]).exits(3);
    let detail = home.json(&["runs", "show", &run]);
    assert_eq!(
        (&detail["status"], &detail["entries"][0]["status"]),
        (&"in_doubt".into(), &"in_doubt".into())
    );
    assert_eq!(detail["entries"][0]["living"], serde_json::json!([child.pid]));
    let pid = child.pid.to_string();
    let shown = home.hob(&["runs", "show", &run]).exits(0);
    assert!(shown.stdout.contains(&format!("still running: process {pid}")), "{shown:#?}");
    let _ = home.hob(&["runs", "resolve", &run, "1", "--retry"]).exits(1).saying("HOB-0304").saying(&pid);
    assert_eq!(home.json(&["runs", "show", &run])["status"], "in_doubt");
    assert_eq!(home.lines("log"), ["begun"], "nothing was done");

    hob_tests::process::signal_pid(child.pid, Signal::KILL);
    until("all children are gone", || home.living().is_empty().then_some(()));
    home.write("go", "");
    let _ = home.hob(&["runs", "resolve", &run, "1", "--retry"]).exits(0);
    assert_eq!(home.lines("log"), ["begun", "begun", "ended"]);
    assert_eq!(home.json(&["runs", "show", &run])["output"], "all done");
}
