//! Webhooks of the real binary: what was answered is there, once, wherever the process is killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hob_tests::client::Target;
use hob_tests::home::listening;
use hob_tests::until;
use serde_json::json;

use crate::home;

/// How often the process is killed, and after how long at most.
const KILLS: usize = 15;
const KILLS_LONG: usize = 100;
const KILL_AFTER_MAX_MS: u64 = 600;

const HOMELAB: &str = r#"
homelab(#{ name: "hooked", timezone: "UTC" });
workflow("take", #{ on: webhook("POST /take/:what", #{ secret: "tell nobody" }) }, |request| {
    files::append("taken", request.params.what + "\n");
});
"#;

#[test]
fn each_delivery_is_taken_once_over_kills() {
    let home = home();
    home.write("lab/homelab.rhai", HOMELAB);
    let mut chance = fastrand::Rng::with_seed(20_261_121);
    let kills = if hob_tests::long() { KILLS_LONG } else { KILLS };
    // The run that was answered with, by the name of the delivery.
    let mut answered: BTreeMap<String, String> = BTreeMap::new();
    let mut next = 0;
    for _ in 0..kills {
        let mut process = home.start(&["up", "lab", "--listen", "127.0.0.1:0"]);
        let end = Instant::now() + Duration::from_millis(200 + chance.u64(..KILL_AFTER_MAX_MS));
        while Instant::now() < end {
            let Some(address) = listening(&process.stderr()) else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            // A sender sends again until it is answered, and sometimes once more.
            let id = if chance.u8(..4) == 0 { chance.u32(..=next) } else { next };
            let (id, path) = (format!("d{id}"), format!("/hooks/take/d{id}"));
            let headers = [("x-hob-token", "tell nobody"), ("idempotency-key", &*id)];
            let Ok(answer) = Target::Tcp(address).ask("POST", &path, &headers, Some(&json!({}))) else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            if answer.status == 503 {
                continue;
            }
            let run = answer.expects(202).json()["run"].as_str().unwrap().to_owned();
            let first = answered.entry(id.clone()).or_insert_with(|| run.clone());
            assert_eq!(*first, run, "{id} started two runs");
            if id == format!("d{next}") {
                next += 1;
            }
        }
        assert!(process.kill());
    }
    let mut up = home.up("lab", &[]);
    until("all runs end", || {
        let list = home.json(&["runs", "list", "--limit", "100000"]);
        list.as_array().unwrap().iter().all(|run| run["status"] == "succeeded").then_some(())
    });
    let list = home.json(&["runs", "list", "--limit", "100000"]);
    let there: Vec<&str> = list.as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap()).collect();
    for (id, run) in &answered {
        assert!(there.contains(&&**run), "{id} was answered with {run}, which is lost");
    }
    let mut taken = home.lines("lab/taken");
    taken.sort();
    let all = taken.len();
    taken.dedup();
    assert_eq!(taken.len(), all, "a delivery was taken twice");
    assert!(answered.keys().all(|id| taken.contains(id)), "{} answered, {all} taken", answered.len());
    assert!(answered.len() > kills, "{} deliveries in {kills} kills", answered.len());
    // A delivery is replayed by hand: its run, from the start.
    let run = home.json(&["runs", "retry", answered["d0"].as_str(), "--from-start"])["run"].clone();
    until("it is taken again", || {
        (home.json(&["runs", "show", run.as_str().unwrap()])["status"] == "succeeded").then_some(())
    });
    assert_eq!(home.lines("lab/taken").iter().filter(|line| *line == "d0").count(), 2);
    let _ = up.stop().exits(0);
    println!("{} deliveries answered over {kills} kills", answered.len());
}
