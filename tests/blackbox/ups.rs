//! A power supply that runs low, as a real server tells of it: services stop in order, and come back with the mains.

use hob_lab::nut::{Nut, SUPPLY, missing};
use hob_tests::home::Home;
use hob_tests::until;
use serde_json::Value as Json;

use crate::home;

const HOMELAB: &str = r#"
homelab(#{ name: "powered", timezone: "UTC" });
let db = service("db", #{ command: ["sleep", "1000"] });
service("app", #{ command: ["sleep", "1000"], needs: [db] });
workflow("power", #{ on: ups("SUPPLY"), concurrency: 1 }, |e| {
    if e.critical {
        for it in services::list().filter(|it| it.ready) {
            services::stop(it.name);
        }
    } else if e.state == "online" {
        for it in services::list().filter(|it| !it.ready) {
            services::start(it.name);
        }
    }
    e.state
});
"#;

fn ready(home: &Home) -> Vec<bool> {
    let status = home.json(&["status"]);
    status["services"].as_array().unwrap().iter().map(|it| it["ready"] == true).collect()
}

/// The events of this name.
fn events(home: &Home, name: &str) -> Vec<Json> {
    let all = home.json(&["events", "list", name]);
    all.as_array().unwrap().clone()
}

#[test]
fn services_stop_in_order_when_the_battery_runs_low() {
    let online = [("ups.status", "OL"), ("battery.charge", "100")];
    let start = || Nut::start(&online);
    let Some(nut) = hob_lab::started("a server of power supplies", missing(), start) else { return };
    let home = home();
    let supply = format!("{SUPPLY}@127.0.0.1:{}", nut.port());
    home.write("lab/homelab.rhai", HOMELAB.replace("SUPPLY", &supply));
    let mut up = home.up("lab", &[]);
    assert_eq!(ready(&home), [true, true]);
    nut.set(&[("ups.status", "OB DISCHRG"), ("battery.charge", "80")]).unwrap();
    until("it is told", || {
        events(&home, "ups.changed").iter().any(|it| it["payload"]["state"] == "battery").then_some(())
    });
    assert_eq!(ready(&home), [true, true], "there is time left");

    nut.set(&[("ups.status", "OB DISCHRG LB"), ("battery.charge", "8")]).unwrap();
    until("both have stopped", || (ready(&home) == [false, false]).then_some(()));
    let mut stopped = events(&home, "service.stopped");
    stopped.sort_by_key(|it| it["id"].as_u64());
    let origins: Vec<&str> = stopped.iter().filter_map(|it| it["origin"].as_str()).collect();
    assert_eq!(origins, ["service:app", "service:db"]);

    nut.set(&online).unwrap();
    until("both are back", || (ready(&home) == [true, true]).then_some(()));
    let _ = up.stop().exits(0);
}
