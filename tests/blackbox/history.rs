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
