//! Workflows that are graphs, with the real binary.

use hob_tests::until;

use crate::home;

const HOMELAB: &str = r#"
homelab(#{ name: "graphs", timezone: "UTC" });
flow("ingest", #{ on: webhook("POST /ingest", #{ respond: "last" }) })
    .node("read",  |request| request.body.files)
    .node("sort",  choose(|file| file.kind))
    .node("films", |file| { files::append("films", file.path + "\n"); wait_signal("shelf"); file.path })
    .node("other", batch(2, |files| { files::append("other", `${files.len()}` + "\n"); files.len() }), #{ note: "in pairs" })
    .node("all",   merge("append"))
    .edge("read", "sort").edge("sort.film", "films").edge("sort.*", "other")
    .edge("films", "all").edge("other", "all");
"#;

#[test]
fn a_flow_is_drawn_run_and_goes_on_after_a_kill() {
    let home = home();
    home.write("lab/homelab.rhai", HOMELAB);
    let drawn = home.hob(&["flow", "graph", "ingest", "lab"]).exits(0);
    assert!(drawn.out().starts_with("flowchart TD\n"), "{drawn:#?}");
    assert!(drawn.out().contains(r#"n1 -->|"film"| n2"#), "{drawn:#?}");
    let dot = home.hob(&["flow", "graph", "ingest", "lab", "--format", "dot"]).exits(0);
    assert!(dot.out().starts_with("digraph {"), "{dot:#?}");
    let unknown = home.hob(&["flow", "graph", "ingets", "lab"]).exits(1);
    assert!(unknown.says("did you mean `ingest`?"), "{unknown:#?}");

    let mut up = home.up("lab", &[]);
    let file = |kind: &str, path: &str| serde_json::json!({ "kind": kind, "path": path });
    let files = [file("film", "a"), file("song", "b"), file("book", "c"), file("song", "d")];
    let body = serde_json::json!({ "files": files });
    let answer = up.ask("POST", "/hooks/ingest", &[], Some(&body)).expects(202).json();
    assert_eq!(answer["status"], "waiting");
    let run = answer["run"].as_str().unwrap().to_owned();
    assert!(up.process.kill());
    let mut up = home.up("lab", &[]);
    let _ = home.hob(&["runs", "signal", &run, "shelf"]).exits(0);
    let shown = until("it ends", || {
        let shown = home.json(&["runs", "show", &run]);
        (shown["status"] == "succeeded").then_some(shown)
    });
    assert_eq!(shown["output"], serde_json::json!(["a", 2, 1]));
    // Each node worked once.
    assert_eq!((home.lines("lab/films"), home.lines("lab/other").len()), (vec!["a".to_owned()], 2));
    let _ = up.stop().exits(0);
}

/// Each construct of graphs, in one.
const CONSTRUCTS: &str = r#"
homelab(#{ name: "constructs", timezone: "UTC" });
workflow("double", #{ on: manual() }, |n| n * 2);
flow("constructs", #{ on: manual() })
    .node("begin",    |input| input)
    .node("count",    |n| n + 1)
    .node("enough",   branch(|n| n >= 3))
    .node("off",      |n| { throw "never called"; }, #{ disabled: true, note: "for later" })
    .node("pinned",   |n| { throw "never called"; }, #{ pinned: [#{ id: 1, a: "x" }, #{ id: 2, a: "y" }] })
    .node("maps",     all(|numbers| numbers.map(|n| #{ id: n - 2, b: n })))
    .node("by-key",   merge("key", "id"))
    .node("by-place", merge("position"))
    .node("firsts",   merge("first"))
    .node("both",     merge("all"))
    .node("slow",     |n| { sleep("100ms"); n })
    .node("risky",    |n| { files::append("tried", `${n}` + "\n"); if files::read("tried").split("\n").len() < 4 { throw "not yet"; } n })
    .node("broken",   |n| { throw `${n} is broken`; })
    .node("mended",   |failure| failure.error.message)
    .node("asked",    |n| if approve(`Take ${n}?`) { invoke("double", n) } else { 0 })
    .edge("begin", "count").edge("count", "enough").edge("enough.false", "count").edge("enough.true", "off")
    .edge("off", "maps").edge("off", "pinned").edge("pinned", "by-key").edge("maps", "by-key")
    .edge("pinned", "by-place").edge("maps", "by-place")
    .edge("off", "slow").edge("slow", "risky").edge("off", "broken").edge("broken.error", "mended")
    .edge("broken", "firsts").edge("risky", "firsts")
    .edge("firsts", "asked").edge("asked", "both").edge("mended", "both")
    .on_error("risky", #{ retry: #{ attempts: 5, backoff: "10ms" } })
    .on_error("broken", #{ then: "continue" });
"#;

#[test]
fn each_construct_of_a_graph() {
    let home = home();
    home.write("lab/homelab.rhai", CONSTRUCTS);
    let mut up = home.up("lab", &[]);
    let run = home.hob(&["run", "constructs", "--input", "1", "--detach"]).exits(0).out().trim().to_owned();
    until("it asks", || {
        let shown = home.json(&["runs", "show", &run]);
        shown["entries"]
            .as_array()
            .unwrap()
            .iter()
            .any(|entry| entry["wait"]["for"] == "approval")
            .then_some(())
    });
    let _ = home.hob(&["runs", "approve", &run]).exits(0);
    let shown = until("it ends", || {
        let shown = home.json(&["runs", "show", &run]);
        (shown["status"] == "succeeded").then_some(shown)
    });
    assert_eq!(
        shown["output"],
        serde_json::json!({
            "both": [[[6], ["3 is broken"]]],
            "by-key": [{ "id": 1, "a": "x", "b": 3 }, { "id": 2, "a": "y" }],
            "by-place": [{ "id": 1, "a": "x", "b": 3 }, { "id": 2, "a": "y" }],
        })
    );
    assert_eq!(home.lines("lab/tried").len(), 3, "the third attempt goes well");
    let _ = up.stop().exits(0);
}

#[test]
fn a_workflow_runs_up_to_a_node_or_step() {
    let home = home();
    home.write(
        "lab/homelab.rhai",
        r#"homelab(#{ name: "parts", timezone: "UTC" });
           flow("graph", #{ on: manual(), tags: ["parts", "drawn"] })
               .node("read", |n| n + 1)
               .node("double", |n| n * 2)
               .node("other", |n| { files::append("done", "other\n"); n })
               .node("write", |n| { files::append("done", "write\n"); n })
               .edge("read", "double").edge("read", "other").edge("double", "write");
           workflow("code", #{ on: manual(), tags: ["parts"] }, |n| {
               finally(|| files::append("done", "finally\n"));
               let sum = step("sum", || n + 1);
               sleep("1ms");
               step("write", || files::append("done", "step\n"));
               invoke("graph", sum)
           });"#,
    );
    let mut up = home.up("lab", &[]);
    let part = |args: &[&str]| home.json(&[&["run"], args, &["--input", "4"]].concat())["output"].clone();
    assert_eq!(part(&["graph", "--until", "double"]), serde_json::json!([10]));
    assert_eq!(home.lines("lab/done"), Vec::<String>::new());
    assert_eq!(part(&["code", "--until", "sum"]), 5);
    assert_eq!(home.lines("lab/done"), ["finally"]);
    let unknown = home.hob(&["run", "graph", "--until", "duoble"]).exits(1);
    assert!(unknown.says("did you mean `double`?"), "{unknown:#?}");
    // What it invokes goes to its end, and has tags of its own.
    assert_eq!(part(&["code"]), serde_json::json!({ "other": [6], "write": [12] }));
    let tagged = |args: &[&str]| {
        let list = home.json(&[&["runs", "list"], args].concat());
        let names = list.as_array().unwrap().iter().map(|run| run["name"].as_str().unwrap().to_owned());
        // A run and the one that it invoked begin in the same moment.
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    assert_eq!(tagged(&["--tag", "parts"]), ["code", "code", "graph", "graph"]);
    assert_eq!(tagged(&["--tag", "parts", "--tag", "drawn", "--limit", "1"]), ["graph"]);
    assert!(tagged(&["--tag", "part"]).is_empty());
    let _ = up.stop().exits(0);
}

/// Neither of two independent nodes ends before the other one has begun.
#[test]
fn independent_nodes_work_at_the_same_time() {
    let home = home();
    home.write(
        "lab/homelab.rhai",
        r#"
homelab(#{ name: "beside", timezone: "UTC" });
fn meets(own, other) {
    let script = `touch ${own}; until [ -e ${other} ]; do sleep 0.02; done`;
    process::run(["sh", "-c", script], #{ timeout: "20s" });
    own
}
flow("meeting", #{ on: manual() })
    .node("begin", |input| input)
    .node("left",  |input| meets("left", "right"))
    .node("right", |input| meets("right", "left"))
    .node("both",  merge("append"))
    .edge("begin", "left").edge("begin", "right").edge("left", "both").edge("right", "both");
"#,
    );
    let mut up = home.up("lab", &[]);
    let met = home.json(&["run", "meeting", "--input", "1"]);
    assert_eq!(met["output"], serde_json::json!(["left", "right"]), "{met:#}");
    let _ = up.stop().exits(0);
}
