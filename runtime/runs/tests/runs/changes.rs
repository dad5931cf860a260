//! Runs that go another way than they were recorded: forks, and scripts that were edited.

use crate::world::{World, at};
use hob_model::{RunStatus, Value};
use hob_runs::{Fork, Migration};

#[test]
fn a_fork_shares_the_past_and_changes_a_value() {
    let world = World::default();
    let run = world.run(r#"let a = world::look("a"); let b = world::look("b"); [a, b]"#);
    let fork = Fork { at: Some(at("2")), set: vec![(at("1"), Value::from("pinned"))], input: None };
    let forked = world.runs.fork(run, &fork, hob_model::RunOwner::Daemon).unwrap();
    world.settle();
    assert_eq!(world.value(forked), Value::Array(vec![Value::from("pinned"), Value::from("saw b")]));
    assert_eq!(world.ledger.done(), ["look a", "look b", "look b"]);
}

#[test]
fn a_branch_with_another_value_in_it_is_evaluated_again() {
    let world = World::default();
    let run = world.run(
        r#"let all = parallel([1], |n| { let seen = world::look("a"); seen + "!" });
        let one = step("s", || world::look("b") + "?");
        world::look("c"); [all[0], one]"#,
    );
    let set = |position: &str| (at(position), Value::from("pinned"));
    let fork = Fork { at: Some(at("2")), set: vec![set("1.0/1"), set("step:s/1")], input: None };
    let forked = world.runs.fork(run, &fork, hob_model::RunOwner::Daemon).unwrap();
    world.settle();
    assert_eq!(world.value(forked), Value::Array(vec![Value::from("pinned!"), Value::from("pinned?")]));
}

#[test]
fn branches_with_a_value_instead_of_them_are_not_evaluated() {
    let world = World::default();
    let run = world.run(
        r#"let all = parallel([|| world::look("a"), || 2]);
        let first = race([|| world::look("b")]);
        sleep("1h"); [all, first]"#,
    );
    let set = |position: &str| (at(position), Value::from("pinned"));
    let fork = Fork { at: None, set: vec![set("1"), set("2")], input: None };
    let forked = world.runs.fork(run, &fork, hob_model::RunOwner::Daemon).unwrap();
    world.settle();
    let world = world.crash(0);
    world.pass_time("1h");
    assert_eq!(world.value(forked), Value::Array(vec![Value::from("pinned"), Value::from("pinned")]));
    assert_eq!(world.ledger.done(), ["look a", "look b"]);
}

#[test]
fn a_fork_shares_nothing_of_a_compensation() {
    let world = World::default();
    let run = world.run(r#"undo(|| world::fire("undone")); throw "no""#);
    assert_eq!(world.ledger.done(), ["fire undone"]);
    let position = at("1.undo/1");
    assert!(world.shape(run).contains(&format!("Intent {position}")));
    for fork in [
        Fork { at: Some(position.clone()), ..Fork::default() },
        Fork { set: vec![(position.clone(), Value::Int(7))], ..Fork::default() },
    ] {
        let error = world.runs.fork(run, &fork, hob_model::RunOwner::Daemon).unwrap_err().to_string();
        assert!(error.contains("compensations belong to the end of this one"), "{error}");
    }
}

#[test]
fn migrate_adopts_what_fits_and_names_what_differs() {
    let world = World::default();
    let run = world.run(r#"world::fire("a"); wait_signal("go"); world::fire("b")"#);
    let bundle =
        |script: &str| std::sync::Arc::new(hob_engine::Bundle::of_text("test.rhai", script, "/", "host"));
    let Migration::Differs(difference) =
        world.runs.migrate(run, &bundle(r#"world::fire("x"); wait_signal("go")"#)).unwrap()
    else {
        panic!("an incompatible edit was adopted")
    };
    assert_eq!(difference.position, at("1"));
    assert!(difference.message.contains(r#"world::fire("x")"#), "{}", difference.message);
    let fits = bundle(r#"world::fire("a"); wait_signal("go"); world::fire("c")"#);
    assert_eq!(world.runs.migrate(run, &fits).unwrap(), Migration::Fits);
    world.runs.signal(run, "go", Value::Unit).unwrap();
    world.settle();
    assert_eq!(world.ledger.done(), ["fire a", "fire c"]);
}

#[test]
fn another_call_in_the_place_of_a_compensation_differs() {
    let world = World::default();
    let run = world.run(r#"finally(|| world::fire("last")); wait_signal("go")"#);
    for edited in
        [r#"world::fire("a"); wait_signal("go")"#, r#"undo(|| world::fire("last")); wait_signal("go")"#]
    {
        let bundle = std::sync::Arc::new(hob_engine::Bundle::of_text("test.rhai", edited, "/", "host"));
        let Migration::Differs(difference) = world.runs.migrate(run, &bundle).unwrap() else {
            panic!("adopted: {edited}")
        };
        assert!(difference.message.starts_with("the record says finally("), "{}", difference.message);
    }
}

#[test]
fn what_a_declaration_captured_is_recorded_and_compared() {
    let script = r#"let host = "nas"; workflow("w", || { world::fire(host); wait_signal("go"); host })"#;
    let world = World::default();
    let run = world.run_workflow(script, "w");
    assert_eq!(world.shape(run)[1], "Captured");
    let bundle = world.runs.row(run).unwrap().bundle.unwrap();

    let same = world.crash(usize::MAX);
    same.runs.signal(run, "go", Value::Unit).unwrap();
    same.settle();
    assert_eq!(same.value(run), Value::from("nas"));
    assert_eq!(same.shape(run).iter().filter(|entry| *entry == "Captured").count(), 1);

    let run = world.run_workflow(script, "w");
    let other = world.crash(usize::MAX);
    let captured = hob_model::EntryKind::Captured { bundle, values: hob_model::Digest::of(b"another") };
    let entry = hob_model::Entry { seq: other.shape(run).len() as u64, at: other.runs.now(), kind: captured };
    hob_journal::Journal::submit(
        &*other.journal,
        hob_journal::Commit::one(hob_journal::Write::Entry(run, entry)),
    );
    other.runs.signal(run, "go", Value::Unit).unwrap();
    other.settle();
    assert_eq!(other.status(run), RunStatus::Paused);
    let paused = hob_journal::Journal::entries(&*other.journal, run, 0, usize::MAX)
        .unwrap()
        .into_iter()
        .find_map(|it| match it.kind {
            hob_model::EntryKind::Paused { message, .. } => Some(message),
            _ => None,
        });
    assert!(paused.is_some_and(|message| message.contains("captured other values")));
    assert_eq!(other.ledger.done(), ["fire nas", "fire nas"]);
}

#[test]
fn a_declaration_that_captures_nothing_leaves_no_trace_of_it() {
    let world = World::default();
    let run = world.run_workflow(r#"workflow("w", || world::fire("a"))"#, "w");
    assert_eq!(world.ledger.done(), ["fire a"]);
    assert!(!world.shape(run).contains(&"Captured".to_owned()), "{:?}", world.shape(run));
}

#[test]
fn a_value_given_in_a_step_does_not_move_the_step() {
    let world = World::default();
    let run = world.run(r#"world::look("a"); step("s", || { world::look("b"); world::look("c") })"#);
    let given = Fork { at: None, set: vec![(at("step:s/1"), Value::from("given"))], input: None };
    let first = world.runs.fork(run, &given, hob_model::RunOwner::Daemon).unwrap();
    world.settle();
    assert_eq!(world.ledger.done(), ["look a", "look b", "look c", "look a", "look c"]);
    // Before its first call there is nothing to share, although the value was given first of all.
    let again = Fork { at: Some(at("1")), set: vec![], input: None };
    let _ = world.runs.fork(first, &again, hob_model::RunOwner::Daemon).unwrap();
    world.settle();
    assert_eq!(world.ledger.done()[5..], ["look a", "look b", "look c"]);
}

#[test]
fn a_fork_of_a_fork_keeps_the_step_that_stood_before_what_was_shared() {
    let world = World::default();
    let run = world.run(r#"step("s", || world::look("a")); world::look("b"); world::look("c")"#);
    let given = Fork { at: Some(at("2")), set: vec![(at("step:s/1"), Value::from("given"))], input: None };
    let first = world.runs.fork(run, &given, hob_model::RunOwner::Daemon).unwrap();
    world.settle();
    let again = Fork { at: Some(at("2")), set: vec![], input: None };
    let second = world.runs.fork(first, &again, hob_model::RunOwner::Daemon).unwrap();
    world.settle();
    assert_eq!(world.value(second), Value::from("saw c"));
    assert_eq!(world.ledger.done(), ["look a", "look b", "look c", "look c", "look c"]);
    // Before what came after the step, the step is shared with its value.
    let earlier = Fork { at: Some(at("1")), set: vec![], input: None };
    let _ = world.runs.fork(second, &earlier, hob_model::RunOwner::Daemon).unwrap();
    world.settle();
    assert_eq!(world.ledger.done()[5..], ["look b", "look c"]);
}
