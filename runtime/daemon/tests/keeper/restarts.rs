//! Restarts of what others need.

use std::time::Duration;

use hob_planner::Exit;
use hob_primitive::ServiceRequest;

use crate::world::World;

const HOMELAB: &str = r#"
    let db = service("db", #{ command: "db" });
    let app = service("app", #{ command: "app", needs: [db], restart: "never" });
    service("front", #{ command: "front", needs: [app] });
    service("beside", #{ command: "beside" });
"#;

#[test]
fn who_was_to_run_comes_back_after_a_restart_of_what_it_needs() {
    let world = World::new(HOMELAB);
    world.ask("db", &ServiceRequest::Restart);
    world.until("all are ready", |world| ["db", "app", "front"].iter().all(|name| world.is_ready(name)));
    assert_eq!(world.services.starts()[4..], ["db", "app", "front"]);
    assert_eq!(world.starts("beside"), 1);
}

#[test]
fn who_was_to_run_and_did_not_comes_back_too() {
    let world = World::new(HOMELAB);
    // One has failed for good, and holds up another: both were to run.
    world.services.exit("app", Exit::Code(1));
    world.services.exit("front", Exit::Code(1));
    world.look_after(Duration::from_secs(10));
    world.until("it is blocked", |world| world.note("front").contains("needs app, which failed"));
    world.ask("db", &ServiceRequest::Restart);
    world.until("all are ready", |world| ["db", "app", "front"].iter().all(|name| world.is_ready(name)));
    assert_eq!((world.starts("app"), world.starts("front")), (2, 2));
}

#[test]
fn whom_a_person_has_stopped_stays_so() {
    let world = World::new(HOMELAB);
    world.ask("front", &ServiceRequest::Stop);
    world.ask("db", &ServiceRequest::Restart);
    world.until("they are ready", |world| ["db", "app"].iter().all(|name| world.is_ready(name)));
    assert_eq!((world.starts("app"), world.starts("front")), (2, 1));
    assert!(!world.is_ready("front"));
}
