//! Bringing all services up and down while they are kept.

use std::time::Duration;

use hob_model::Code;
use hob_primitive::ServiceRequest;

use crate::world::World;

const HOMELAB: &str = r#"
    let db = service("db", #{ command: "db", drift: "report" });
    service("app", #{ command: "app", needs: [db] });
    service("held", #{ command: "held", drift: "report" });
"#;

#[test]
fn a_plan_is_carried_out_as_it_was_shown_or_not_at_all() {
    let world = World::new(HOMELAB);
    let hold = ServiceRequest::Hold { duration: None, reason: String::new() };
    world.ask("held", &hold);
    world.ask("app", &ServiceRequest::Stop);
    world.services.change("db", false);
    world.services.change("held", false);
    let plan = world.keeper.plan().unwrap();
    let actions: Vec<(&str, &str)> = plan["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["action"].as_str().unwrap(), it["resource"]["name"].as_str().unwrap()))
        .collect();
    assert_eq!(actions, [("recreate", "db"), ("start", "app")]);
    let basis = plan["basis"].as_str().unwrap();

    // Somebody was quicker.
    world.ask("app", &ServiceRequest::Start);
    let refused = world.keeper.bring_up(Some(basis)).unwrap_err();
    assert_eq!(refused.code, Code::PlanStale);
    assert_eq!(world.starts("db"), 1);

    world.ask("app", &ServiceRequest::Stop);
    world.keeper.bring_up(Some(basis)).unwrap();
    assert_eq!(world.services.starts()[4..], ["db", "app"]);
    assert!(world.is_ready("db") && world.is_ready("app"));
    assert_eq!(world.starts("held"), 1);
    assert_eq!(world.keeper.plan().unwrap()["changes"].as_array().unwrap().len(), 0);
}

#[test]
fn what_was_brought_down_stays_so_until_it_is_brought_up() {
    let world = World::new(HOMELAB);
    let stopped = world.keeper.bring_down().unwrap();
    assert_eq!(stopped["stopped"].as_array().unwrap().len(), 3, "{stopped}");
    world.look_after(Duration::from_secs(600));
    assert_eq!(world.services.starts().len(), 3);
    world.keeper.bring_up(None).unwrap();
    assert!(["db", "app", "held"].iter().all(|name| world.is_ready(name)));
}
