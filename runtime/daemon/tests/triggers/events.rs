//! Events that start workflows.

use hob_daemon::bus::TRIGGERED_RUNS_MAX;
use hob_journal::RunFilter;
use hob_model::{RunEnd, Value};
use serde_json::{Value as Json, json};

use crate::world::World;

fn value(json: Json) -> Value {
    Value::from_json(json).unwrap()
}

/// What the runs of a workflow ended with, oldest first.
pub(crate) fn outputs(world: &World, workflow: &str) -> Vec<Json> {
    let filter = RunFilter { name: Some(workflow.to_owned()), ..RunFilter::default() };
    let mut rows = world.runs.journal().runs(&filter).unwrap();
    rows.reverse();
    let output = |end: &Option<RunEnd>| match end {
        Some(RunEnd::Succeeded(value)) => value.to_json().unwrap(),
        other => panic!("{other:?}"),
    };
    rows.iter().map(|row| output(&row.end)).collect()
}

#[test]
fn patterns_and_filters_choose_events() {
    let world = World::new(
        r#"
        workflow("all", #{ on: event("*.done") }, |e| e.name);
        workflow("films", #{ on: event("download.done", #{ kind: ["film", "series-*"], size: 3 }) }, |e| e.path);
        workflow("either", #{ on: [event("backup.*"), event("*.done"), manual()] }, |e| e.payload.kind);
        "#,
    );
    for (name, payload) in [
        ("download.done", json!({ "kind": "film", "size": 3, "path": "/a" })),
        ("download.done", json!({ "kind": "film", "size": 4, "path": "/b" })),
        ("download.done", json!({ "kind": "series-2", "size": 3, "path": "/c", "name": "hidden" })),
        ("download.begun", json!({ "kind": "film", "size": 3, "path": "/d" })),
        ("backup.done", json!({ "kind": "full" })),
    ] {
        world.runs.emit(name, value(payload), "test").unwrap();
    }
    world.go_on();
    assert_eq!(outputs(&world, "all"), ["download.done", "download.done", "download.done", "backup.done"]);
    assert_eq!(outputs(&world, "films"), ["/a", "/c"]);
    // Once for each event, though two of its triggers fit the last one.
    assert_eq!(outputs(&world, "either"), ["film", "film", "series-2", "full"]);
}

#[test]
fn each_event_starts_a_workflow_once_over_crashes() {
    let text = r#"workflow("count", #{ on: event("n") }, |e| e.payload);"#;
    let mut world = World::new(text);
    for n in 0..40 {
        world.runs.emit("n", Value::Int(n), "test").unwrap();
        match n % 5 {
            // Before anybody looked, after some looked, after the runs have begun.
            0 => {}
            1 => world.triggers.serve(&world.launch),
            2 => world.go_on(),
            3 => world = world.crash(usize::try_from(n).unwrap() % 3, "1s", text),
            // The runs are there, and how far events were served is lost.
            _ => {
                world.triggers.serve(&world.launch);
                world = world.crash(0, "1s", text);
            }
        }
    }
    world.go_on();
    let expected: Vec<Json> = (0..40).map(Json::from).collect();
    assert_eq!(outputs(&world, "count"), expected);
}

#[test]
fn more_events_than_runs_may_be_under_way_wait_in_order() {
    let world = World::new(r#"workflow("count", #{ on: event("n") }, |e| e.payload);"#);
    let count = TRIGGERED_RUNS_MAX * 3;
    for n in 0..count {
        world.runs.emit("n", Value::from(u64::try_from(n).unwrap()), "test").unwrap();
    }
    world.triggers.serve(&world.launch);
    assert_eq!(world.runs.active(), TRIGGERED_RUNS_MAX);
    // There is room only once runs have ended.
    world.triggers.go_on(&world.launch);
    assert_eq!(world.runs.active(), TRIGGERED_RUNS_MAX);
    world.go_on();
    let expected: Vec<Json> = (0..count).map(Json::from).collect();
    assert_eq!(outputs(&world, "count"), expected);
}

#[test]
fn whoever_begins_to_wait_begins_with_what_comes() {
    let text = r#"workflow("late", #{ on: event("n") }, |e| e.payload);"#;
    let world = World::new("");
    world.runs.emit("n", Value::Int(1), "test").unwrap();
    let world = world.crash(0, "1s", text);
    // And from then on misses nothing, also while no process serves it.
    world.runs.emit("n", Value::Int(2), "test").unwrap();
    let world = world.crash(0, "1s", text);
    assert_eq!(outputs(&world, "late"), [2]);
}

#[test]
fn a_skipped_slot_starts_a_workflow() {
    let world = World::new(
        r#"schedule("job", "* * * * *", |slot| { wait_signal("go"); });
           workflow("alarm", #{ on: event("schedule.skipped", #{ schedule: "job" }) }, |e| e.nominal);"#,
    );
    world.pass("2m30s");
    assert_eq!(outputs(&world, "alarm"), ["2026-06-02T12:02:00Z"]);
}
