//! Repositories that fail at any step: nothing half-made counts, and the next call does well.

use std::time::Duration;

use hob_model::{ErrorKind, OpError};
use hob_std_backup::fake::{Act, Fake, Fault, OWN_PID};
use hob_std_backup::port::Area;
use serde_json::json;

use crate::tree;
use crate::world::World;

/// The repository as the fake names it.
fn location(world: &World) -> String {
    world.text("nas")
}

fn full() -> OpError {
    OpError::unavailable("no space left on device")
}

#[test]
fn a_repository_that_fails_at_any_step_never_holds_half_a_snapshot() {
    let fake = Fake::new();
    let world = World::fake(&fake);
    world.init("nas");
    tree::grow(&world.path("src"), 3, 25);
    let places = [
        (Act::Write, Area::Locks),
        (Act::Write, Area::Data),
        (Act::Write, Area::Index),
        (Act::Write, Area::Snapshots),
        (Act::Read, Area::Config),
        (Act::Read, Area::Keys),
        (Act::List, Area::Snapshots),
        (Act::List, Area::Index),
    ];
    for (number, (act, area)) in places.into_iter().enumerate() {
        // Something new each time, so that there is something to write.
        world.write(&format!("src/new {number}"), &format!("{act:?} {area:?}").repeat(1000));
        let before = fake.names(&location(&world), Area::Snapshots).len();
        fake.break_at(&location(&world), Fault { act, area, after: 0, error: full() });
        let error = world.call("snapshot", json!(["nas", ["src"], {}])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{act:?} {area:?}: {error}");
        assert!(error.message.contains("no space left"), "{act:?} {area:?}: {error}");
        fake.mend();
        assert_eq!(fake.names(&location(&world), Area::Snapshots).len(), before, "{act:?} {area:?}");
        world.snapshot("nas");
        assert_eq!(fake.names(&location(&world), Area::Locks), [""; 0], "{act:?} {area:?}");
    }
    world.call("check", json!(["nas", { "read": "all" }])).unwrap();
    world.restore("nas", "out");
    tree::assert_same(&world.path("src"), &world.path("out"));
}

#[test]
fn pruning_that_fails_at_any_step_loses_nothing() {
    let fake = Fake::new();
    let world = World::fake(&fake);
    world.init("nas");
    let areas = [
        (Act::Write, Area::Data),
        (Act::Write, Area::Index),
        (Act::Remove, Area::Index),
        (Act::Remove, Area::Data),
    ];
    for (number, (act, area)) in areas.into_iter().enumerate() {
        tree::grow(&world.path("src"), 20 + number as u64, 15);
        world.snapshot("nas");
        std::fs::remove_dir_all(world.path("src")).unwrap();
        tree::grow(&world.path("src"), 90 + number as u64, 15);
        world.snapshot("nas");
        fake.break_at(&location(&world), Fault { act, area, after: 0, error: full() });
        let _ = world.call("forget", json!(["nas", { "keep_last": 1, "prune": true }]));
        let _ = world.call("prune", json!(["nas", { "grace": "0s" }]));
        fake.mend();
        world
            .call("check", json!(["nas", { "read": "all" }]))
            .unwrap_or_else(|e| panic!("{act:?} {area:?}: {e:?}"));
        let out = format!("out{number}");
        world.restore("nas", &out);
        tree::assert_same(&world.path("src"), &world.path(&out));
        world.call("prune", json!(["nas", { "grace": "0s" }])).unwrap();
        std::fs::remove_dir_all(world.path("src")).unwrap();
    }
}

#[test]
fn damage_is_named_and_never_restored() {
    let fake = Fake::new();
    let world = World::fake(&fake);
    world.init("nas");
    world.write("src/a", &"precious ".repeat(5000));
    world.snapshot("nas");
    let place = location(&world);
    let damage = |area: Area, from: usize| {
        for name in fake.names(&place, area) {
            let mut content = fake.get(&place, area, &name).unwrap().to_vec();
            let at = from.min(content.len() - 1);
            content[at] ^= 1;
            fake.put(&place, area, &name, &content);
        }
    };
    for area in [Area::Snapshots, Area::Index, Area::Data] {
        damage(area, 40);
        let checked = world.call("check", json!(["nas", { "read": "all" }])).unwrap_err();
        assert!(checked.message.contains("damaged"), "{area:?}: {checked}");
        let restored = world.call("restore", json!(["nas", "latest", format!("{area:?}"), {}])).unwrap_err();
        assert_eq!(restored.kind, ErrorKind::Failed, "{area:?}: {restored}");
        assert_eq!(world.read(&format!("{area:?}{}/a", world.text("src"))), None);
        damage(area, 40);
    }
    world.restore("nas", "out");
}

#[test]
fn a_lock_of_the_dead_is_taken_away_and_one_of_the_living_is_not() {
    let fake = Fake::new();
    let world = World::fake(&fake);
    world.init("nas");
    let place = location(&world);
    // The lock of a backup that is under way: taken from one that is held up while it writes.
    fake.break_at(&place, Fault { act: Act::Remove, area: Area::Locks, after: 0, error: full() });
    world.call("check", json!(["nas", {}])).unwrap();
    fake.mend();
    assert_eq!(fake.names(&place, Area::Locks).len(), 1);
    let prune = || world.call("prune", json!(["nas", { "wait": "0s" }]));
    let error = prune().unwrap_err();
    assert!(error.kind == ErrorKind::Conflict && error.retryable, "{error}");
    let owner = format!("process {OWN_PID} of ada on house");
    assert!(error.message.contains(&owner), "{error}");
    // Others may read and add meanwhile.
    world.write("src/a", "1");
    world.snapshot("nas");
    // Half an hour later it is stale: whoever lives writes it anew every five minutes.
    let harness = world.harness("later");
    harness.clock().advance(Duration::from_secs(31 * 60));
    let args = json!(["nas", { "password": crate::world::PASSWORD, "wait": "0s" }]);
    harness.call(&hob_std_backup::primitive(), "backup::prune", args).unwrap();
    assert_eq!(fake.names(&place, Area::Locks), [""; 0]);
    assert_eq!(prune().unwrap()["removed_packs"], json!(0));
}

#[test]
fn a_cancel_and_a_time_limit_end_a_backup_without_a_snapshot() {
    let world = World::live();
    world.init("nas");
    let args = json!(["nas", "x", ["sleep", "1000"], { "password": crate::world::PASSWORD }]);
    let limited = world.harness("limited").timeout(Duration::from_secs(2));
    let error = limited.call(&hob_std_backup::primitive(), "backup::stream", args.clone()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
    let cancelled = world.harness("cancelled");
    cancelled.cancel().cancel();
    let error = cancelled.call(&hob_std_backup::primitive(), "backup::stream", args).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
    assert_eq!(world.call("snapshots", json!(["nas", {}])).unwrap(), json!([]));
}
