//! Scripts and what becomes of them, through the public surface.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod changes;
mod standing;
#[path = "../world/mod.rs"]
mod world;

use hob_model::{OnDoubt, OpError, RunStatus, Value};
use hob_runs::RunChoice;
use world::{World, at};

#[test]
fn a_script_acts_and_ends_with_its_value() {
    let world = World::default();
    let run = world.run(r#"let a = world::look("x"); world::make("y"); world::fire("z"); a + "!""#);
    assert_eq!(world.value(run), Value::from("saw x!"));
    assert_eq!(world.ledger.done(), ["look x", "make y", "fire z"]);
    assert_eq!(world.shape(run), ["Started", "Outcome 1", "Outcome 2", "Intent 3", "Outcome 3", "Ended"]);
}

#[test]
fn a_sleeping_run_goes_on_where_it_was() {
    let world = World::default();
    let run = world.run(r#"world::fire("a"); sleep("1h"); world::fire("b"); 7"#);
    assert_eq!(world.status(run), RunStatus::Waiting);
    let world = world.crash(0);
    world.pass_time("59m");
    assert_eq!(world.status(run), RunStatus::Waiting);
    world.pass_time("1m");
    assert_eq!(world.value(run), Value::Int(7));
    assert_eq!(world.ledger.done(), ["fire a", "fire b"]);
}

#[test]
fn a_run_that_waits_leaves_nothing_of_its_evaluation_in_memory() {
    let owners = |script: &str, workflow: bool| {
        let world = World::default();
        let run = if workflow { world.run_workflow(script, "w") } else { world.run(script) };
        assert_eq!(world.status(run), RunStatus::Waiting);
        let bundle = world.runs.bundle(world.runs.row(run).unwrap().bundle.unwrap()).unwrap();
        std::sync::Arc::strong_count(&bundle)
    };
    let plain = owners(r#"wait_signal("go")"#, false);
    assert_eq!(owners(r#"undo(|| world::fire("a")); finally(|| 1); wait_signal("go")"#, false), plain);
    let homelab = r#"let a = "a"; workflow("w", || { undo(|| world::fire(a)); wait_signal("go") })"#;
    assert_eq!(owners(homelab, true), plain);
}

#[test]
fn what_a_call_is_given_stays_as_it_was() {
    let world = World::default();
    // Rhai lends a variable that is the first argument of a call.
    let run = world.run(
        r#"let text = "a"; let pause = "1s"; let list = ["a", "b"]; let map = #{ attempts: 2 }; let closures = [|| 1, || 2]; let named = #{ a: || 1 };
        let before = `${text} ${pause} ${list} ${map} ${closures.len()}`;
        world::look(text); world::fire(text); step(text, || text); log::info(text); print(text);
        emit(text, map); retry(map, || 1); parallel(list, |it| it); parallel(closures); race(closures);
        parallel(named); error(text); sleep(pause);
        before == `${text} ${pause} ${list} ${map} ${closures.len()}`"#,
    );
    world.pass_time("1s");
    assert_eq!(world.value(run), Value::Bool(true));
}

#[test]
fn errors_are_caught_with_their_fields() {
    let world = World::default();
    let run = world.run(r#"let r = (); try { world::fail("boom") } catch (e) { r = [e.kind, e.message, e.operation, e.retryable]; } r"#);
    assert_eq!(
        world.value(run),
        Value::Array(vec![
            Value::from("failed"),
            Value::from("boom"),
            Value::from("fail"),
            Value::Bool(false)
        ])
    );
}

#[test]
fn branches_count_for_themselves() {
    let world = World::default();
    let run = world.run(r#"parallel([3, 1, 2], |n| { world::look(`${n}`); n * 10 })"#);
    assert_eq!(world.value(run), Value::Array(vec![Value::Int(30), Value::Int(10), Value::Int(20)]));
    let mut looked = world.ledger.done();
    looked.sort();
    assert_eq!(looked, ["look 1", "look 2", "look 3"]);
}

#[test]
fn parallel_takes_maps_and_throws_the_lowest_error() {
    let world = World::default();
    let run = world.run(r#"parallel(#{ b: || 2, a: || world::look("a") })"#);
    assert_eq!(world.value(run), Value::map([("a", Value::from("saw a")), ("b", Value::Int(2))]));
    let run = world.run(r#"parallel([|| 1, || world::fail("second"), || world::fail("third")])"#);
    assert_eq!(world.error(run).message, "second");
}

#[test]
fn a_branch_sleeps_while_another_works() {
    let world = World::default();
    let run = world.run(r#"parallel([|| { world::fire("a"); sleep("1m"); world::fire("b"); 1 }, || { world::fire("c"); sleep("2m"); 2 }])"#);
    assert_eq!(world.status(run), RunStatus::Waiting);
    world.pass_time("1m");
    assert_eq!(world.status(run), RunStatus::Waiting);
    let world = world.crash(0);
    world.pass_time("1m");
    assert_eq!(world.value(run), Value::Array(vec![Value::Int(1), Value::Int(2)]));
    let mut done = world.ledger.done();
    done.sort();
    assert_eq!(done, ["fire a", "fire b", "fire c"]);
}

#[test]
fn the_first_of_a_race_wins_and_stays_the_winner() {
    let world = World::default();
    let run = world.run(r#"let w = race(#{ slow: || { sleep("2h"); "slow" }, quick: || { sleep("1h"); "quick" } }); sleep("1h"); w"#);
    world.pass_time("1h");
    assert_eq!(world.status(run), RunStatus::Waiting);
    let world = world.crash(0);
    world.pass_time("1h");
    assert_eq!(world.value(run), Value::from("quick"));
}

#[test]
fn signals_that_come_early_are_kept() {
    let world = World::default();
    let run = world.run(r#"sleep("1m"); let a = wait_signal("go"); let b = wait_signal("go"); [a, b]"#);
    world.runs.signal(run, "go", Value::Int(1)).unwrap();
    world.pass_time("1m");
    assert_eq!(world.status(run), RunStatus::Waiting);
    world.runs.signal(run, "go", Value::Int(2)).unwrap();
    world.settle();
    assert_eq!(world.value(run), Value::Array(vec![Value::Int(1), Value::Int(2)]));
}

#[test]
fn a_wait_gives_up_in_time() {
    let world = World::default();
    let run =
        world.run(r#"let r = (); try { wait_signal("go", #{ timeout: "1m" }) } catch (e) { r = e.kind; } r"#);
    world.pass_time("1m");
    assert_eq!(world.value(run), Value::from("timeout"));
}

#[test]
fn approvals_events_and_children() {
    let world = World::default();
    let run = world.run(r#"if approve("deploy?") { wait_for("disk.*", #{ where: #{ name: "sda" } }).payload.name } else { "no" }"#);
    world.runs.approve(run, None, true, "").unwrap();
    world.settle();
    world.runs.emit("disk.full", Value::map([("name", Value::from("sdb"))]), "test").unwrap();
    world.runs.emit("disk.full", Value::map([("name", Value::from("sda"))]), "test").unwrap();
    world.settle();
    assert_eq!(world.value(run), Value::from("sda"));
}

#[test]
fn the_comment_of_an_approval_is_kept_and_handed_over() {
    let world = World::default();
    let script = r#"let it = approve("deploy?", #{ details: true }); `${it.approved} ${it.comment} ${approve("sure?")}`"#;
    let run = world.run(script);
    world.runs.approve(run, None, false, "not on a Friday").unwrap();
    world.settle();
    world.runs.approve(run, None, true, "well").unwrap();
    world.settle();
    assert_eq!(world.value(run), Value::from("false not on a Friday true"));
}

#[test]
fn an_approval_of_several_names_them() {
    let world = World::default();
    let run = world.run(r#"parallel([|| approve("a"), || approve("b")])"#);
    let error = world.runs.approve(run, None, true, "").unwrap_err().diagnostic();
    assert!(error.message.contains("waits for 2 approvals") && error.message.contains("`1.0/1`"), "{error}");
    let run = world.run("1");
    let error = world.runs.approve(run, None, true, "").unwrap_err().diagnostic();
    assert!(error.message.ends_with("has nothing that waits for an approval"), "{error}");
}

#[test]
fn retry_pauses_durably() {
    let world = World::default();
    let script = r#"let n = 0; retry(#{ attempts: 3, backoff: "1h", max: "2h" }, |i| { world::fire(`${i}`); if i < 3 { throw "no" } i })"#;
    let run = world.run(script);
    assert_eq!(world.status(run), RunStatus::Waiting);
    let world = world.crash(0);
    world.pass_time("1h");
    world.pass_time("2h");
    assert_eq!(world.value(run), Value::Int(3));
    assert_eq!(world.ledger.done(), ["fire 1", "fire 2", "fire 3"]);
}

#[test]
fn transient_failures_are_tried_again_and_once_only_when_safe() {
    let world = World::default();
    world.ledger.fail_next.lock().unwrap().push(OpError::unavailable("busy"));
    let run = world.run(r#"world::look("x")"#);
    assert_eq!(world.value(run), Value::from("saw x"));
    world.ledger.fail_next.lock().unwrap().push(OpError::unavailable("busy"));
    let run = world.run(r#"world::fire("x")"#);
    assert_eq!(world.error(run).message, "busy");
    world.ledger.fail_next.lock().unwrap().push(OpError::unavailable("refused").nothing_happened());
    let run = world.run(r#"world::fire("x")"#);
    assert_eq!(world.value(run), Value::from("x"));
}

#[test]
fn undo_runs_backwards_after_a_failure_and_finally_always() {
    let world = World::default();
    let script = r#"
        undo(|| world::fire("undo a"));
        finally(|| world::fire("finally"));
        world::make("b", #{ undo: |r| world::fire("undo " + r) });
        throw "broken""#;
    let run = world.run(script);
    assert_eq!(world.error(run).message, "broken");
    assert_eq!(world.ledger.done(), ["make b", "fire undo b", "fire finally", "fire undo a"]);
    assert!(world.runs.retry(run).is_err());
}

#[test]
fn a_cancelled_run_ends_at_its_next_effect() {
    let world = World::default();
    let run = world.run(r#"undo(|| world::fire("undone")); try { sleep("1h") } catch { world::fire("caught") } world::fire("after")"#);
    world.runs.cancel(run, "test").unwrap();
    world.settle();
    assert_eq!(world.status(run), RunStatus::Cancelled);
    assert_eq!(world.ledger.done(), ["undone on cancel"].map(|_| "fire undone"));
}

#[test]
fn retry_of_a_run_continues_from_the_failed_effect() {
    let world = World::default();
    world.ledger.fail_next.lock().unwrap().push(OpError::failed("disk"));
    let run = world.start(r#"world::fire("b"); attempt()"#);
    world.settle();
    assert_eq!(world.error(run).message, "disk");
    assert_eq!(world.runs.retry(run).unwrap(), 2);
    world.settle();
    assert_eq!(world.value(run), Value::Int(2));
    assert_eq!(world.ledger.done(), ["fire b"]);
}

#[test]
fn an_effect_in_doubt_is_settled_in_each_way() {
    for (choice, value, done) in [
        (RunChoice::Retry, Value::from("a"), vec!["fire a", "fire a"]),
        (RunChoice::Skip, Value::Unit, vec!["fire a"]),
        (RunChoice::Result(Value::Int(5)), Value::Int(5), vec!["fire a"]),
    ] {
        let world = World::default();
        let run = world.run(r#"world::fire("a")"#);
        // The crash takes the outcome and the end with it: the intent alone was waited for.
        let world = world_without_outcome(&world);
        assert_eq!(world.status(run), RunStatus::InDoubt);
        world.runs.resolve(run, &at("1"), choice, "test", |_| vec![]).unwrap();
        world.settle();
        assert_eq!(world.value(run), value);
        assert_eq!(world.ledger.done(), done);
    }
}

/// As if the process had died between the effect and its outcome.
fn world_without_outcome(world: &World) -> World {
    use hob_journal::{Commit, Journal, MemoryJournal, Write};
    let run = world.runs.journal().runs(&hob_journal::RunFilter::default()).unwrap()[0].run;
    let entries = world.journal.entries(run, 0, 100).unwrap();
    let started = match &entries[0].kind {
        hob_model::EntryKind::Started(started) => started.bundle.unwrap(),
        _ => unreachable!(),
    };
    let fresh = MemoryJournal::default();
    let bundle = world.runs.bundle(started).unwrap();
    fresh.submit(Commit { writes: bundle.writes() });
    let keep = entries.into_iter().take(2).map(|entry| Write::Entry(run, entry)).collect::<Commit>();
    fresh.submit(keep);
    fresh.flush().unwrap();
    world.crash_into(fresh)
}

#[test]
fn on_doubt_decides_without_a_person() {
    for (policy, status) in [
        (OnDoubt::Retry, RunStatus::Succeeded),
        (OnDoubt::Fail, RunStatus::Failed),
        (OnDoubt::Skip, RunStatus::Succeeded),
    ] {
        let world = World::default();
        let run = world.start_with(r#"world::fire("a")"#, Value::Unit, policy);
        world.settle();
        let world = world_without_outcome(&world);
        assert_eq!(world.status(run), status, "{policy:?}");
    }
}

#[test]
fn a_keyed_effect_is_adopted() {
    let world = World::default();
    let run = world.run(r#"world::put("a")"#);
    let world = world_without_outcome(&world);
    assert_eq!(world.value(run), Value::from("a"));
    assert_eq!(world.ledger.done(), ["put a"]);
}

#[test]
fn steps_have_names_and_are_compared() {
    let world = World::default();
    let run = world
        .run(r#"let n = 1; step("one", || { world::fire("a"); n += 1; }); sleep("1m"); step("one", || n)"#);
    world.pass_time("1m");
    assert_eq!(world.value(run), Value::Int(2));
    let shape = world.shape(run);
    assert!(shape.contains(&"StepEnded step:one".to_owned()), "{shape:?}");
    assert!(shape.contains(&"StepEnded step:one~2".to_owned()), "{shape:?}");
    assert_eq!(world.ledger.done(), ["fire a"]);
}

#[test]
fn carry_starts_a_successor_with_the_state() {
    let world = World::default();
    let run = world.run(r#"if input.get("n") == () { carry(#{ n: 1 }) } input.n"#);
    let rows = world.runs.journal().runs(&hob_journal::RunFilter::default()).unwrap();
    assert_eq!(rows.len(), 2);
    let successor = rows.iter().find(|row| row.run != run).unwrap().run;
    assert_eq!(world.value(successor), Value::Int(1));
}

#[test]
fn nothing_acts_past_a_latch() {
    let world = World::default();
    let script = r#"
        let list = [3, 1, 2];
        try { list.map(|n| { sleep("1h"); world::fire("past"); n }) } catch { world::fire("caught") }
        world::fire("after")"#;
    let run = world.run(script);
    assert_eq!(world.status(run), RunStatus::Waiting);
    assert!(world.ledger.done().is_empty());
}

#[test]
fn a_declaration_in_a_playbook_is_refused() {
    let world = World::default();
    let run = world.run(r#"service("x", #{ command: "true" })"#);
    assert!(world.error(run).message.contains("a run does not declare"));
}

#[test]
fn permissions_are_checked_at_the_gate() {
    let world = World::default();
    let bundle = std::sync::Arc::new(hob_engine::Bundle::of_text(
        "t.rhai",
        r#"world::look("a"); world::fire("b")"#,
        "/",
        "h",
    ));
    let id = world.runs.new_id();
    let started = hob_model::RunStarted {
        allow: vec!["world.look".into()],
        trusted: false,
        trigger: "test".into(),
        ..hob_model::RunStarted::trusted("t", hob_model::RunEntry::Playbook("t.rhai".into()))
    };
    world.runs.start(hob_runs::NewRun { id, started, bundle }).unwrap();
    world.settle();
    let error = world.error(id);
    assert_eq!(error.kind, hob_model::ErrorKind::Denied);
    assert!(error.hint.unwrap().contains("--allow 'world.fire'"));
    assert_eq!(world.ledger.done(), ["look a"]);
}

#[test]
fn time_travel_shows_variables_and_acts_on_nothing() {
    let world = World::default();
    let run = world.run(
        r#"fn f(n) { let inner = n * 2; world::look("x"); inner }
        let total = f(1) + f(2);
        let names = parallel(["a"], |x| { let y = x + "!"; world::look(y); world::look(`${f(4)} ${y}`); y });
        wait_signal("go")"#,
    );
    let done = world.ledger.done();
    let look = |at_position: Option<&str>| {
        let row = world.runs.row(run).unwrap();
        let bundle = world.runs.bundle(row.bundle.unwrap()).unwrap();
        let position = at_position.map(at);
        let records = world.runs.records(run).unwrap();
        let snapshot =
            hob_engine::inspect::inspect(world.runs.host(), run, &bundle, &records, position.as_ref());
        let variables = snapshot.unwrap().variables.into_iter();
        variables.filter_map(|v| Some((v.name, v.value.ok()?))).collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(look(Some("2"))["inner"], Value::Int(4));
    assert_eq!(look(Some("3.0/1"))["y"], Value::from("a!"));
    // What computed the argument has variables of its own; those of the call are shown.
    assert_eq!(look(Some("3.0/3"))["y"], Value::from("a!"));
    assert_eq!(look(None)["total"], Value::Int(6));
    assert_eq!(world.ledger.done(), done);
}
