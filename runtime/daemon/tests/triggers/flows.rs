//! Workflows that are graphs: over crashes, with branches, joins, loops and errors.

use hob_model::{EntryKind, RunStatus, Value};
use serde_json::{Value as Json, json};

use crate::events::outputs;
use crate::world::World;

fn start(world: &World, name: &str, input: Json) {
    let input = Value::from_json(input).unwrap();
    world.runs.emit(name, input, "test").unwrap();
    world.go_on();
}

/// The steps of the only run of a flow: node, and what it was recorded with.
fn steps(world: &World, flow: &str) -> Vec<(String, Json)> {
    let filter = hob_journal::RunFilter { name: Some(flow.into()), ..hob_journal::RunFilter::default() };
    let run = world.runs.journal().runs(&filter).unwrap()[0].run;
    let entries = world.runs.journal().entries(run, 0, 1_000).unwrap();
    let step = |kind: &EntryKind| match kind {
        EntryKind::StepEnded { position, result: Ok(hob_model::Payload::Inline(value)), .. } => {
            let name = position.to_string().rsplit("step:").next().unwrap().to_owned();
            Some((name, Value::decode(value).unwrap().to_json().unwrap()))
        }
        _ => None,
    };
    entries.iter().filter_map(|entry| step(&entry.kind)).collect()
}

const SORTED: &str = r#"
flow("sorted", #{ on: event("media") })
    .node("fetch",  |item| item.payload)
    .node("sort",   choose(|item| item.kind))
    .node("movies", |item| `movie ${item.path}`)
    .node("other",  batch(10, |items| items.map(|item| item.path)))
    .edge("fetch", "sort").edge("sort.movie", "movies").edge("sort.*", "other");
"#;

#[test]
fn items_go_along_the_edges() {
    let world = World::new(SORTED);
    let item = |kind: &str, path: &str| json!({ "kind": kind, "path": path });
    start(
        &world,
        "media",
        json!([item("movie", "a"), item("song", "b"), item("movie", "c"), item("book", "d")]),
    );
    assert_eq!(outputs(&world, "sorted"), [json!({ "movies": ["movie a", "movie c"], "other": ["b", "d"] })]);
    // What each node got, and what it made of it, stands in the history.
    let steps = steps(&world, "sorted");
    let mut names: Vec<&str> = steps.iter().map(|(name, _)| name.as_str()).collect();
    // The last two go on beside each other.
    names[2..].sort_unstable();
    assert_eq!(names, ["fetch", "sort", "movies", "other"]);
    let (_, movies) = steps.iter().find(|(name, _)| name == "movies").unwrap();
    assert_eq!(movies["input"], json!([item("movie", "a"), item("movie", "c")]));
    assert_eq!(movies["output"], json!([{ "value": "movie a" }, { "value": "movie c" }]));
}

#[test]
fn a_branch_goes_on_while_another_one_waits() {
    let text = r#"
        flow("branches", #{ on: event("go") })
            .node("begin", |item| 1)
            .node("slow",  |n| { wait_signal("slow"); n })
            .node("after", |n| n + 1)
            .node("a",     |n| n)
            .node("off",   |n| 0, #{ disabled: true })
            .node("b",     |n| { sleep("1m"); n })
            .node("c",     |n| [n, n])
            .node("d",     |n| n * 10)
            .node("join",  merge("append"))
            .edge("begin", "slow").edge("slow", "after").edge("after", "join")
            .edge("begin", "a").edge("a", "off").edge("off", "b").edge("b", "c").edge("c", "d").edge("d", "join");
    "#;
    let world = World::new(text);
    start(&world, "go", json!({}));
    let world = world.crash(usize::MAX, "2m", text);
    let run = world.run_id("branches", RunStatus::Waiting);
    let done = |world: &World| steps(world, "branches").into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(done(&world), ["begin", "a", "b", "c", "d"]);
    // What was done is not done again after one more crash, and the join gets all of it.
    let world = world.crash(usize::MAX, "1s", text);
    world.runs.signal(run, "slow", Value::Unit).unwrap();
    world.go_on();
    assert_eq!(outputs(&world, "branches"), [json!([2, 10, 10])]);
    assert_eq!(done(&world), ["begin", "a", "b", "c", "d", "slow", "after", "join"]);
}

#[test]
fn nodes_wait_and_go_on_over_crashes_beside_each_other() {
    let text = r#"
        flow("both", #{ on: event("go") })
            .node("begin", |item| 1)
            .node("slow",  |n| { wait_signal("slow"); `slow ${n}` })
            .node("quick", |n| { sleep("1m"); `quick ${n}` })
            .node("join",  merge("append"))
            .node("end",   all(|items| items.len()))
            .edge("begin", "slow").edge("begin", "quick").edge("slow", "join").edge("quick", "join").edge("join", "end");
    "#;
    let world = World::new(text);
    start(&world, "go", json!({}));
    let world = world.crash(usize::MAX, "2m", text);
    let run = world.run_id("both", RunStatus::Waiting);
    assert_eq!(
        steps(&world, "both").iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["begin", "quick"]
    );
    world.runs.signal(run, "slow", Value::Unit).unwrap();
    world.go_on();
    assert_eq!(outputs(&world, "both"), [json!([2])]);
}

#[test]
fn errors_are_tried_again_go_elsewhere_or_fail_the_run() {
    let text = |then: &str| {
        format!(
            r#"
            flow("tried", #{{ on: event("go") }})
                .node("risky", |e| {{ if e.payload == "bad" {{ throw "no good"; }} e.payload }})
                .node("fine", |item| item)
                .node("failed", |failure| `${{failure.item.payload}}: ${{failure.error.message}}`)
                .edge("risky", "fine").edge("risky.error", "failed")
                .on_error("risky", #{{ retry: #{{ attempts: 2, backoff: "1s" }}, then: "{then}" }});
            "#
        )
    };
    let world = World::new(&text("continue"));
    start(&world, "go", json!("bad"));
    world.pass("1m");
    start(&world, "go", json!("good"));
    assert_eq!(
        outputs(&world, "tried"),
        [json!({ "failed": ["bad: no good"], "fine": [] }), json!({ "failed": [], "fine": ["good"] })]
    );
    let world = World::new(&text("fail"));
    start(&world, "go", json!("bad"));
    world.pass("1m");
    assert!(
        world.run_id("tried", RunStatus::Failed)
            != hob_model::RunId::parse("00000000-0000-7000-8000-000000000000").unwrap()
    );
}

#[test]
fn loops_end_and_captures_are_kept() {
    let text = r#"
        let step = 2;
        flow("count", #{ on: event("go") })
            .node("add", |e| if type_of(e) == "map" { e.payload } else { e + step })
            .node("enough", branch(|n| n >= 5))
            .edge("add", "enough").edge("enough.false", "add");
    "#;
    let world = World::new(text);
    start(&world, "go", json!(0));
    assert_eq!(outputs(&world, "count"), [json!({ "enough": [6] })]);
}

#[test]
fn mistakes_of_a_graph_are_told_with_their_place() {
    let problems = World::problems(
        r#"flow("wrong").node("a", |x| x).node("b", choose(|x| x)).edge("a", "c").edge("b", "a").on_error("d", #{});"#,
    );
    for told in ["there is no node `c`", "an edge leaves from `b`", "there is no node `d`", "homelab.rhai"] {
        assert!(problems.contains(told), "{told}: {problems}");
    }
    assert!(World::problems(r#"flow("empty", #{ on: manual() });"#).contains("it has no nodes"));
    let problems = World::problems(r#"flow("x").node("a", 5);"#);
    assert!(problems.contains("expected a function"), "{problems}");
}
