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
