//! Scripts that are edited, and deleted, under runs that wait.

use std::collections::BTreeMap;

use hob_tests::home::Home;
use hob_tests::until;
use serde_json::{Value as Json, json};

use crate::home;

/// Runs that wait while their sources change.
const RUNS: usize = 100;

const HOMELAB: &str = r#"
import "parts/text" as text;
homelab(#{ name: "edited" });
workflow("letter", #{ on: manual() }, |order| {
    let begun = files::write(`begun/${order.number}`, text::greeting(), #{ mkdir: true }).bytes;
    let signed = wait_signal("sign");
    files::append("letters", text::letter(order.number, signed.by));
    text::farewell(begun)
});
"#;
const PART: &str = r#"
fn greeting() { "Dear all" }
fn letter(number, by) { "letter " + number + " signed by " + by + "\n" }
fn farewell(begun) { `as first written, ${begun} bytes` }
"#;

fn statuses(home: &Home) -> BTreeMap<String, String> {
    let runs = home.ask("GET", "/api/v1/runs?name=letter&limit=1000", None).unwrap().expects(200).json();
    let pair =
        |run: &Json| (run["run"].as_str().unwrap().to_owned(), run["status"].as_str().unwrap().to_owned());
    runs.as_array().unwrap().iter().map(pair).collect()
}

fn start_letters(home: &Home, count: usize) -> Vec<String> {
    let one = |number| {
        let body = json!({ "workflow": "letter", "input": { "number": number } });
        let started = home.ask("POST", "/api/v1/runs", Some(&body)).unwrap().json();
        started["run"].as_str().unwrap_or_else(|| panic!("{started:#}")).to_owned()
    };
    let started = (0..count).map(one).collect();
    until("all letters wait", || {
        let all = statuses(home);
        (all.len() == count && all.values().all(|status| status == "waiting")).then_some(())
    });
    started
}

fn sign(home: &Home, run: &str) {
    let body = json!({ "name": "sign", "payload": { "by": run } });
    let _ = home.ask("POST", &format!("/api/v1/runs/{run}/signal"), Some(&body)).unwrap().expects(200);
}

#[test]
fn a_hundred_waiting_runs_finish_on_the_sources_they_started_with() {
    let home = home();
    home.write("lab/homelab.rhai", HOMELAB);
    home.write("lab/parts/text.rhai", PART);
    let mut up = home.up("lab", &[]);
    let runs = start_letters(&home, RUNS);
    let _ = up.stop().exits(0);

    // Everything is different now: one file is edited, the other is gone.
    home.write(
        "lab/homelab.rhai",
        r#"homelab(#{ name: "edited" });
           workflow("letter", #{ on: manual() }, |order| { files::write("new", "new"); "the new text" });"#,
    );
    std::fs::remove_file(home.path("lab/parts/text.rhai")).unwrap();
    let mut up = home.up("lab", &[]);
    assert!(statuses(&home).values().all(|status| status == "waiting"));
    for run in &runs {
        sign(&home, run);
    }
    until("all letters are signed", || {
        statuses(&home).values().all(|status| status == "succeeded").then_some(())
    });
    for run in &runs {
        let detail = home.ask("GET", &format!("/api/v1/runs/{run}"), None).unwrap().json();
        assert_eq!(detail["output"], "as first written, 8 bytes");
    }
    let mut letters = home.lines("lab/letters");
    letters.sort();
    let mut expected: Vec<String> =
        runs.iter().enumerate().map(|(number, run)| format!("letter {number} signed by {run}")).collect();
    expected.sort();
    assert_eq!(letters, expected);
    assert!(!home.path("lab/new").exists());

    // What starts now starts with the sources of now.
    assert_eq!(home.hob(&["run", "letter"]).exits(0).out(), "the new text");
    let _ = up.stop().exits(0);
}

#[test]
fn a_run_moves_to_sources_that_fit_and_to_no_others() {
    let home = home();
    home.write("lab/homelab.rhai", HOMELAB);
    home.write("lab/parts/text.rhai", PART);
    // What was called stays; what comes after may change.
    home.write("fits/homelab.rhai", HOMELAB.replace("text::farewell(begun)", "\"in other words\""));
    home.write("fits/parts/text.rhai", PART);
    home.write("differs/homelab.rhai", HOMELAB);
    home.write("differs/parts/text.rhai", PART.replace("Dear all", "Dear you"));
    home.write("broken/homelab.rhai", "let x = ;");
    let migrates = |when: &str, run: &str| {
        let differs = home.hob(&["runs", "migrate", run, "--to", "differs"]).exits(1);
        assert!(differs.says("HOB-0301") && differs.says("differs at 1:"), "{when}: {differs:#?}");
        assert!(differs.says("Dear all") && differs.says("Dear you"), "{when}: both calls: {differs:#?}");
        let _ = home.hob(&["runs", "migrate", run, "--to", "broken"]).exits(1).saying("HOB-0101");
        let _ = home.hob(&["runs", "migrate", run, "--to", "fits"]).exits(0);
    };
    let mut up = home.up("lab", &[]);
    let runs = start_letters(&home, 3);
    migrates("beside a daemon", &runs[0]);
    let _ = up.stop().exits(0);
    migrates("without a daemon", &runs[1]);
    let _ = home.hob(&["runs", "check"]).exits(0);

    let mut up = home.up("lab", &[]);
    for run in &runs {
        sign(&home, run);
    }
    until("all letters are signed", || {
        statuses(&home).values().all(|status| status == "succeeded").then_some(())
    });
    let output = |run: &String| home.json(&["runs", "show", run])["output"].clone();
    let outputs: Vec<Json> = runs.iter().map(output).collect();
    assert_eq!(outputs, ["in other words", "in other words", "as first written, 8 bytes"]);
    let _ = up.stop().exits(0);
}
