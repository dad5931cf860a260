//! Runs as traces: what a collector gets that speaks OTLP.

use std::collections::BTreeMap;

use hob_tests::home::Home;
use hob_tests::until;
use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::notify::{Mood, Ntfy};

const HOMELAB: &str = r#"
workflow("inner", #{ on: manual() }, |how| { files::write("hunter2.txt", how.text); 1 });
workflow("outer", #{ on: manual() }, || {
    step("prepare", || files::mkdir("d"));
    wait_signal("go");
    try { files::read("absent"); } catch (e) { }
    invoke("inner", #{ text: "hunter2" });
    fail("no more");
});
"#;

/// A span, with what a test looks at.
#[derive(Debug)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    status: i64,
    attributes: BTreeMap<String, Json>,
}

/// All spans that a collector has, by name.
fn spans(taken: &[Json]) -> BTreeMap<String, Span> {
    let resources = taken.iter().flat_map(|it| it["resourceSpans"].as_array().unwrap());
    let scopes = resources.flat_map(|it| it["scopeSpans"].as_array().unwrap());
    let all = scopes.flat_map(|it| it["spans"].as_array().unwrap());
    let read = |it: &Json| {
        let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
        let attributes = it["attributes"].as_array().unwrap().iter();
        let attribute = |it: &Json| {
            let value = it["value"].as_object().unwrap().values().next().unwrap().clone();
            (it["key"].as_str().unwrap().to_owned(), value)
        };
        let span = Span {
            trace: text("traceId"),
            id: text("spanId"),
            parent: text("parentSpanId"),
            status: it["status"]["code"].as_i64().unwrap_or_default(),
            attributes: attributes.map(attribute).collect(),
        };
        (text("name"), span)
    };
    all.map(read).collect()
}

fn home_with(collector: &str) -> Home {
    let home = crate::home()
        .with_env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}"))
        .with_env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
    home.write("lab/homelab.rhai", HOMELAB);
    home
}

#[test]
fn a_run_is_one_trace_with_what_it_began_also_over_a_crash() {
    let collector = Ntfy::start(|| Mood::Takes);
    let home = home_with(&collector.address.to_string());
    let mut up = home.up("lab", &[]);
    let run = home.hob(&["run", "outer", "--detach"]).exits(0).out().trim().to_owned();
    until("it waits", || (home.json(&["runs", "show", &run])["status"] == "waiting").then_some(()));
    up.process.signal(Signal::KILL);
    let _ = up.process.end();
    let mut up = home.up("lab", &[]);
    let _ = home.hob(&["runs", "signal", &run, "go"]).exits(0);
    until("both have ended", || {
        let spans = spans(&collector.taken());
        (spans.contains_key("outer") && spans.contains_key("inner")).then_some(())
    });
    let _ = up.stop().exits(0);
    let taken = collector.taken();
    let spans = spans(&taken);
    let span = |name: &str| spans.get(name).unwrap_or_else(|| panic!("{name}: {spans:#?}"));
    let outer = span("outer");
    assert_eq!((outer.trace.as_str(), outer.parent.as_str()), (run.replace('-', "").as_str(), ""));
    assert_eq!((outer.status, &outer.attributes["hob.run"]), (2, &json!(run)));
    assert!(spans.values().all(|it| it.trace == outer.trace), "{spans:#?}");
    // Each below what began it.
    let step =
        spans.values().find(|it| it.attributes.get("hob.position") == Some(&json!("step:prepare"))).unwrap();
    assert_eq!((&step.parent, &span("files::mkdir").parent), (&outer.id, &step.id));
    assert_eq!(
        (&span("inner").parent, &span("files::write").parent),
        (&span("invoke").id, &span("inner").id)
    );
    let read = span("files::read");
    assert_eq!((read.status, &read.attributes["error.type"]), (2, &json!("not_found")));
    // What it did, and not with what.
    assert!(!json!(taken).to_string().contains("hunter2"));
}

#[test]
fn a_collector_that_is_down_holds_nothing_up_and_is_told_once() {
    let home = home_with("127.0.0.1:9");
    let mut up = home.up("lab", &[]);
    for _ in 0..3 {
        let _ = home.hob(&["run", "inner", "--input", "{ \"text\": \"1\" }"]).exits(0);
    }
    until("people are told", || up.process.stderr().contains("takes no traces").then_some(()));
    let ended = up.stop().exits(0);
    assert_eq!(ended.stderr.matches("takes no traces").count(), 1, "{}", ended.stderr);
}
