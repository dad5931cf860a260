//! Whether a run goes on by itself, as a follower asks.

use hob_model::Value;

use crate::world::World;

#[test]
fn a_run_goes_on_by_itself_until_only_others_take_it_on() {
    let world = World::default();
    let goes_on = |run| world.runs.standing(run).unwrap().goes_on;
    let run = world.start(r#"sleep("1h"); wait_signal("go")"#);
    assert!(goes_on(run), "it has begun");
    world.settle();
    assert!(goes_on(run), "a clock wakes it");
    world.clock.advance("1h");
    world.runs.fire_due().unwrap();
    assert!(goes_on(run), "it was woken, and nobody evaluated it yet");
    world.settle();
    assert!(!goes_on(run), "only a signal takes it on");
    world.runs.signal(run, "go", Value::Unit).unwrap();
    assert!(goes_on(run), "the signal came");
    world.settle();
    assert!(!goes_on(run), "it has ended");
}

#[test]
fn a_run_that_waits_for_another_goes_on_as_that_does() {
    let world = World::default();
    let script =
        r#"workflow("w", || invoke("child", ())); workflow("child", || { sleep("1h"); wait_signal("go") });"#;
    let run = world.run_workflow(script, "w");
    let goes_on = || world.runs.standing(run).unwrap().goes_on;
    assert!(goes_on());
    world.pass_time("1h");
    assert!(!goes_on());
}
