//! What somebody changes of services past hob.

use std::time::Duration;

use hob_primitive::ServiceRequest;

use crate::world::World;

const HOMELAB: &str = r#"
    let db = service("db", #{ command: "db" });
    service("app", #{ command: "app", needs: [db] });
    service("beside", #{ command: "beside", drift: "report" });
"#;

/// Longer than two looks are apart.
const A_MOMENT: Duration = Duration::from_secs(3);

#[test]
fn what_was_changed_is_repaired_in_the_order_of_needs() {
    let world = World::new(HOMELAB);
    world.services.change("app", false);
    world.services.change("db", false);
    world.look_after(A_MOMENT);
    assert_eq!(world.services.starts().len(), 3, "one look may be wrong");
    world.look_after(A_MOMENT);
    world.until("both are repaired", |world| world.services.starts().len() == 5);
    assert_eq!(world.services.starts()[3..], ["db", "app"]);
    world.until("both are ready", |world| world.is_ready("db") && world.is_ready("app"));
    world.look_after(A_MOMENT);
    world.until("it is told", |world| world.events("app").last().unwrap() == "service.repaired");
    assert_eq!(world.note("app"), "");
    let told = ["service.changed", "service.stopped", "service.ready", "service.repaired"];
    assert_eq!(world.events("db")[1..], told);
}

#[test]
fn what_is_put_back_in_time_is_left_alone() {
    let world = World::new(HOMELAB);
    world.services.change("db", false);
    world.look_after(A_MOMENT);
    world.until("it is seen", |world| world.note("db") == "changed by hand: color");
    world.services.restore("db");
    world.look_after(A_MOMENT);
    world.look_after(A_MOMENT);
    world.until("it is seen", |world| world.note("db").is_empty());
    assert_eq!(world.starts("db"), 1);
}

#[test]
fn nothing_is_repaired_that_somebody_holds_or_wants_reported() {
    let world = World::new(HOMELAB);
    let hold = ServiceRequest::Hold { duration: None, reason: "a cold backup".to_owned() };
    world.ask("app", &hold);
    for name in ["db", "app", "beside"] {
        world.services.change(name, false);
    }
    for _ in 0..5 {
        world.look_after(A_MOMENT);
    }
    world.until("it is told", |world| world.note("db").ends_with("since `app` is held"));
    assert_eq!(world.note("app"), "held: a cold backup");
    assert_eq!(world.note("beside"), "changed by hand: color");
    assert_eq!(world.services.starts().len(), 3, "{:?}", world.services.starts());
    world.ask("app", &ServiceRequest::Release);
    world.until("both are repaired", |world| world.starts("db") == 2 && world.starts("app") == 2);
    world.look_after(A_MOMENT);
    assert_eq!(world.starts("beside"), 1);

    // What a person has stopped stays so, whatever is found of it.
    world.ask("app", &ServiceRequest::Stop);
    world.services.change("app", true);
    world.look_after(A_MOMENT);
    world.look_after(A_MOMENT);
    assert_eq!(world.starts("app"), 2);
}

#[test]
fn two_controllers_do_not_go_on_for_ever() {
    let world = World::new(HOMELAB);
    world.services.change("db", true);
    for _ in 0..20 {
        world.look_after(Duration::from_secs(180));
        world.until("it has come to rest", |world| world.is_ready("db"));
    }
    // At once, and then 30 s, 1, 2, 4, 8, 16 minutes after the one before.
    let starts = world.starts("db");
    assert!((5..=9).contains(&starts), "{starts} in an hour");
    world.look_after(A_MOMENT);
    world.look_after(A_MOMENT);
    world.until("it is told", |world| world.note("db").contains("times in a row, not again before"));
    assert_eq!(world.starts("app"), 1, "who needs it goes on");
}
