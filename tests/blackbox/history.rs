//! What runs did: found, looked into, compared, kept as tests of the homelab.

use serde_json::json;

use crate::home;

const SCRIPT: &str = r#"
    step("read", || {
        log::info("reading");
        files::write("copy", files::read("original"));
    });
    files::read("copy") + input.suffix
"#;

#[test]
fn runs_are_found_looked_into_and_compared() {
    let home = home();
    home.write("task.rhai", SCRIPT);
    home.write("original", "one");
    let run = |suffix: &str| {
        let ran = home.json(&["run", "task.rhai", "--arg", &format!("suffix={suffix}")]);
        ran["run"].as_str().unwrap().to_owned()
    };
    let (first, second) = (run("-sparrow"), run("-heron"));
    home.write("original", "two");
    let third = run("-heron");
    let found = |args: &[&str]| -> Vec<String> {
        let list = home.json(&[&["runs", "list"], args].concat());
        list.as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(found(&["--search", "SPARROW"]), std::slice::from_ref(&first));
    assert_eq!(found(&["--search", "heron"]), [third.clone(), second.clone()]);
    assert_eq!(
        found(&["--search", "two-heron", "--kind", "playbook", "--since", "1h"]),
        std::slice::from_ref(&third)
    );
    assert!(found(&["--search", "osprey"]).is_empty() && found(&["--kind", "workflow"]).is_empty());
    assert!(found(&["--until", "2020-01-01T00:00:00Z"]).is_empty());
    let _ = home.hob(&["runs", "list", "--since", "soon"]).exits(2).saying("is no time such as");

    let step = home.json(&["runs", "show", &first, "step:read"]);
    let operations: Vec<&str> =
        step["entries"].as_array().unwrap().iter().map(|it| it["operation"].as_str().unwrap()).collect();
    assert_eq!(operations, ["read", "write", "step"]);
    assert_eq!(step["logs"][0]["message"], "reading");
    assert!(step["entries"].as_array().unwrap().iter().all(|it| it["duration_ms"].as_f64() >= Some(0.0)));
    let shown = home.hob(&["runs", "show", &first, "step:read"]).exits(0);
    assert!(shown.out().contains(r#"output  one"#) && shown.out().contains("info reading"), "{shown:#?}");
    let _ = home.hob(&["runs", "show", &first, "99"]).exits(1).saying("has nothing at 99");

    let same = home.hob(&["runs", "diff", &first, &first]).exits(0);
    assert!(same.out().is_empty(), "{same:#?}");
    let diff = home.hob(&["--json", "runs", "diff", &second, &third]).exits(1).json();
    assert_eq!(diff["run"]["output"], json!({ "a": "one-heron", "b": "two-heron" }));
    let positions: Vec<&str> =
        diff["entries"].as_array().unwrap().iter().map(|it| it["position"].as_str().unwrap()).collect();
    assert_eq!(positions, ["step:read/1", "step:read/2", "step:read", "1"]);
    let told = home.hob(&["runs", "diff", &second, &third]).exits(1);
    assert!(told.out().contains("- files::read") && told.out().contains("+ files::read"), "{told:#?}");
}

#[test]
fn a_run_is_kept_as_a_test_and_brought_elsewhere() {
    let home = home();
    let homelab = |body: &str| {
        let text = format!(
            "homelab(#{{ name: \"tested\" }});\nworkflow(\"sum\", #{{ on: manual() }}, |n| {{ {body} }});"
        );
        home.write("lab/homelab.rhai", text);
    };
    homelab(
        r#"let have = files::read("have").trim().parse_int(); files::write("sum", `${have + n}`); have + n"#,
    );
    home.write("lab/have", "40");
    let mut up = home.up("lab", &[]);
    let run = home.json(&["run", "sum", "--input", "2"]);
    assert_eq!(run["output"], 42);
    let run = run["run"].as_str().unwrap();
    let exported = home.hob(&["runs", "export", run]).exits(0).out().to_owned();
    let _ = up.stop().exits(0);
    let none = home.hob(&["test", "lab"]).exits(2);
    assert!(none.says("there are no tests"), "{none:#?}");
    home.write("lab/tests/adds.json", &exported);

    // Nothing of the world is looked at: what was there is gone, and nothing comes back.
    std::fs::remove_file(home.path("lab/have")).unwrap();
    std::fs::remove_file(home.path("lab/sum")).unwrap();
    let passed = home.hob(&["test", "lab"]).exits(0);
    assert_eq!(passed.out(), "ok adds (sum)");
    assert!(!home.path("lab/sum").exists());
    // The same calls with other code between them are the same run.
    homelab(
        r#"let have = files::read("have"); let sum = have.trim().parse_int() + n; files::write("sum", `${sum}`); sum"#,
    );
    let _ = home.hob(&["test", "lab"]).exits(0);
    for (body, said) in [
        (
            r#"let have = files::read("have").trim().parse_int(); files::write("sum", `${have - n}`); have + n"#,
            "at 2:",
        ),
        (
            r#"let have = files::read("have").trim().parse_int(); files::write("sum", `${have + n}`); have"#,
            "it ends with 40, and ended with 42",
        ),
        (
            r#"let have = files::read("have").trim().parse_int(); files::write("sum", `${have + n}`); files::remove("have"); 42"#,
            "calls that were not recorded",
        ),
        (r#"files::read("have"); 42"#, "the script ended, and the record goes on"),
    ] {
        homelab(body);
        let failed = home.hob(&["test", "lab"]).exits(1);
        assert!(
            failed.out().contains("FAILED adds (sum)") && failed.out().contains(said),
            "{body}: {failed:#?}"
        );
    }

    // In another journal it can be looked into, once.
    let elsewhere = crate::home();
    elsewhere.write("run.json", &exported);
    assert_eq!(elsewhere.hob(&["runs", "import", "run.json"]).exits(0).out().trim(), run);
    assert_eq!(elsewhere.json(&["runs", "show", run])["output"], 42);
    let _ = elsewhere.hob(&["runs", "import", "run.json"]).exits(1).saying("is in this journal");
    let checked = elsewhere.hob(&["journal", "check"]).exits(0);
    assert!(checked.says("every record"), "{checked:#?}");
    elsewhere.write("bad.json", exported.replacen("\"record\": \"", "\"record\": \"AAAA", 1));
    let _ = elsewhere.hob(&["runs", "import", "bad.json"]).exits(2).saying("this is no recorded run");
}

/// A homelab whose workflow waits for what a test can send, and sleeps for longer than a test may.
const PATIENT: &str = r#"
homelab(#{ name: "patient" });
workflow("patient", #{ on: manual() }, |input| {
    let began = time::now();
    let name = wait_signal("name");
    let first = wait_for("door.opened");
    let yes = approve("go on?");
    sleep("3d");
    let answer = retry(#{ attempts: 3, backoff: "1h" }, || http::get("http://example.net/").status);
    log::info(`${name}: ${answer}`);
    emit("patient.done", #{ name: name });
    #{ name: name, door: first.payload.door, yes: yes, answer: answer, days: time::diff(began, time::now()).seconds / 86400.0 }
});
"#;

#[test]
fn a_script_tests_a_workflow_with_mocks_and_a_clock_of_its_own() {
    let home = home();
    home.write("lab/homelab.rhai", PATIENT);
    let tests = |options: &str, judge: &str| {
        let text = format!("test(\"one\", #{{ run: \"patient\", {options} }}, |run| {judge});");
        home.write("lab/tests/patient.rhai", text);
    };
    let sent = r#"signals: #{ name: "Ada" }, events: [#{ name: "door.opened", payload: #{ door: 2 } }], approve: true"#;
    let twice = r#""http::get": #{ in_turn: [#{ status: 500 }, #{ status: 200 }] }"#;
    tests(
        &format!("{sent}, now: \"2026-03-27T12:00:00+01:00\", mocks: #{{ {twice} }}"),
        r#"run.output == #{ name: "Ada", door: 2, yes: true, answer: 500, days: 3.0 } && run.log[0].message == "Ada: 500"
            && run.events.len() == 1 && run.now == "2026-03-30T11:00:00Z" && run.calls.len() == 1"#,
    );
    assert_eq!(home.hob(&["test", "lab"]).exits(0).out(), "ok patient (one)");

    // What fails is tried again, and the pauses pass at once.
    let down = r#""http::get": || throw #{ kind: "unavailable", message: "no route", retryable: false }"#;
    tests(
        &format!("{sent}, mocks: #{{ {down} }}"),
        r#"run.status == "failed" && run.calls.len() == 3 && run.error.message == "no route" && run.now > "2026-01-04T00:30""#,
    );
    assert_eq!(home.hob(&["test", "lab"]).exits(0).out(), "ok patient (one)");

    for (options, judge, said) in [
        (sent.to_owned(), "true", "`http::get` was called and has no mock"),
        (
            "mocks: #{}".to_owned(),
            r#"run.status == "succeeded""#,
            "its function gave false; the run is waiting, after no call",
        ),
        (format!("{sent}, mocks: #{{ {twice} }}"), "1", "neither true nor false"),
        (
            format!("{sent}, mocks: #{{ {twice} }}"),
            r#"throw "not so""#,
            "not so; the run succeeded, after http::get",
        ),
        (format!("{sent}, mocks: #{{ {twice} }}"), r#"files::exists("/") "#, "files::exists"),
    ] {
        tests(&options, judge);
        let failed = home.hob(&["test", "lab"]).exits(1);
        let out = failed.out();
        assert!(out.contains("FAILED patient (one)") && out.contains(said), "{options} {judge}: {failed:#?}");
    }
    for (options, said) in [
        ("mock: #{}", "did you mean `mocks`?"),
        (r#"mocks: #{ "http::gett": 1 }"#, "did you mean `http::get`?"),
        (r#"mocks: #{ "json::parse": 1 }"#, "only computes"),
        (r#"mocks: #{ "http::get": #{ in_turn: [] } }"#, "takes an array of results"),
        (r#"now: "noon""#, "expected a time with an offset"),
        (r#"signals: 1"#, "expected a map of names and payloads"),
        (r#"events: [1]"#, "expected an array of maps"),
    ] {
        tests(options, "true");
        assert!(home.hob(&["test", "lab"]).exits(1).says(said), "{options}");
    }
    home.write("lab/tests/patient.rhai", r#"test("a", #{ run: "patent" }, |run| true); tier("b");"#);
    assert!(home.hob(&["test", "lab"]).exits(1).says("a file of tests declares tests"));
    home.write("lab/tests/patient.rhai", r#"test("a", #{ run: "patent" }, |run| true);"#);
    assert!(home.hob(&["test", "lab"]).exits(1).out().contains("did you mean `patient`?"));
    home.write("lab/homelab.rhai", r#"homelab(#{ name: "x" }); test("a", #{ run: "b" }, |run| true);"#);
    assert!(home.hob(&["test", "lab"]).exits(1).says("which `hob test` plays"));
}

#[test]
fn what_ended_goes_by_number_when_the_homelab_says_so() {
    let home = home();
    home.write(
        "lab/homelab.rhai",
        "homelab(#{ name: \"tidy\" }); workflow(\"n\", #{ on: manual() }, |n| n);",
    );
    home.write("lab/hob.toml", "[journal]\nkeep = 2\nkeep_events = 1\nmax_size = \"1G\"\n");
    let mut up = home.up("lab", &[]);
    for n in 0..4 {
        let _ = home.hob(&["run", "n", "--input", &n.to_string()]).exits(0);
    }
    let _ = up.stop().exits(0);
    let mut up = home.up("lab", &[]);
    hob_tests::until("the oldest are gone", || {
        let list = home.json(&["runs", "list", "--name", "n"]);
        (list.as_array().unwrap().len() <= 2).then_some(())
    });
    let _ = up.stop().exits(0);
    let told = home.hob(&["journal", "prune", "--keep", "0", "--keep-events", "0"]).exits(0);
    assert!(told.says("removed"), "{told:#?}");
    assert_eq!(home.json(&["runs", "list"]), json!([]));
}
