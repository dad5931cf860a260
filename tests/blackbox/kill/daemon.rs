//! `hob up` with workflows, a schedule and a service, killed again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hob_tests::counter::Counter;
use hob_tests::home::{Home, listening};
use hob_tests::until;
use serde_json::{Value as Json, json};

use super::ledger::Ledger;
use super::{ANSWER_PAUSE, WORK, chance, kills_wanted};
use crate::home;

/// Runs that are under way at one time.
const LIVE_RUNS: usize = 4;
/// The latest kill after the start of a process.
const KILL_AFTER_MAX_MS: u64 = 700;

const HOMELAB: &str = r#"
homelab(#{ name: "killed", timezone: "UTC" });
tier("only");
service("beside", #{ tier: "only", command: ["sleep", "86399"] });
schedule("tick", "* * * * * *", |slot| {
    files::append("slots.log", slot.nominal + "\n");
});
workflow("work", #{ on: manual() }, |job| work(job));
"#;

/// What is known of the runs that hob has accepted.
struct Runs<'w> {
    home: &'w Home,
    ledger: Ledger<'w>,
    url: String,
    /// Accepted runs that have not ended, by id.
    live: BTreeSet<String>,
    ended: BTreeSet<String>,
    /// All that were ever asked for, accepted or not.
    tags: usize,
}

impl Runs<'_> {
    /// Asks, and gives what was answered with success; nothing when the process was not there to answer.
    fn ask(&self, method: &str, path: &str, body: Option<&Json>) -> Option<Json> {
        let answer = self.home.ask(method, path, body).ok()?;
        if matches!(answer.status, 409 | 503) {
            // An effect whose children live is not to be tried again yet; or hob is about to end.
            return None;
        }
        assert!(answer.status < 300, "{method} {path}: {answer:#?}");
        Some(answer.json())
    }

    /// Starts a run if there is room for one.
    fn start(&mut self) {
        if self.live.len() < LIVE_RUNS {
            let input = json!({ "tag": format!("t{}", self.tags), "url": self.url, "rounds": 1 });
            self.tags += 1;
            let body = json!({ "workflow": "work", "input": input });
            if let Some(started) = self.ask("POST", "/api/v1/runs", Some(&body)) {
                self.live.insert(started["run"].as_str().unwrap().to_owned());
            }
        }
    }

    /// Settles what is in doubt, and takes note of what has ended.
    fn tend(&mut self) {
        for run in self.live.clone() {
            let Some(detail) = self.ask("GET", &format!("/api/v1/runs/{run}"), None) else { return };
            let doubts = self.ledger.look(&detail);
            match detail["status"].as_str().unwrap() {
                "succeeded" => {
                    self.ledger.close(&detail);
                    self.live.remove(&run);
                    self.ended.insert(run);
                }
                "in_doubt" => {
                    for doubt in doubts {
                        let way = self.ledger.decide(&doubt);
                        let path = format!("/api/v1/runs/{run}/resolve");
                        self.ask("POST", &path, Some(&way.body(&doubt.position)));
                    }
                }
                "queued" | "running" | "waiting" => {}
                status => panic!("a run should never be {status}: {detail:#}"),
            }
        }
    }

    /// Whether all accepted runs are in the journal, as it lies there.
    fn check_nothing_is_lost(&self) {
        let list = self.home.json(&["runs", "list", "--name", "work", "--limit", "100000"]);
        let states: BTreeMap<&str, &str> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|run| (run["run"].as_str().unwrap(), run["status"].as_str().unwrap()))
            .collect();
        for run in &self.live {
            assert!(states.contains_key(run.as_str()), "{run} was accepted and is lost");
        }
        for run in &self.ended {
            assert_eq!(states.get(run.as_str()), Some(&"succeeded"), "{run} had ended");
        }
    }
}

/// The processes of the service.
fn beside(home: &Home) -> usize {
    home.living().iter().filter(|seen| seen.line == "sleep 86399").count()
}

#[test]
fn a_daemon_survives_kills_at_any_moment() {
    let (home, server, mut rng) = (home(), Counter::start(ANSWER_PAUSE), chance());
    home.write("lab/homelab.rhai", format!("{HOMELAB}\n{WORK}"));
    let mut runs = Runs {
        home: &home,
        ledger: Ledger::new(&home, "lab", &server),
        url: server.url(),
        live: BTreeSet::new(),
        ended: BTreeSet::new(),
        tags: 0,
    };
    let up = ["up", "lab", "--listen", "127.0.0.1:0"];
    let mut kills = 0;
    while kills < kills_wanted() {
        let mut process = home.start(&up);
        let end = Instant::now() + Duration::from_micros(rng.u64(..KILL_AFTER_MAX_MS * 1000));
        while Instant::now() < end {
            assert!(!process.has_ended(), "{:#?}", process.end());
            if listening(&process.stderr()).is_some() {
                runs.start();
                runs.tend();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(process.kill());
        kills += 1;
        assert!(beside(&home) <= 1, "the service is doubled");
        if home.state().join("journal.db").exists() {
            runs.check_nothing_is_lost();
        }
    }
    let mut up = home.up("lab", &[]);
    assert_eq!(beside(&home), 1);
    until("all runs end", || {
        runs.tend();
        runs.live.is_empty().then_some(())
    });
    let _ = up.stop().exits(0);
    assert_eq!(beside(&home), 0);
    runs.check_nothing_is_lost();
    runs.ledger.sum_up(kills);
    println!("{} runs accepted of {} asked for", runs.ended.len(), runs.tags);
    let slots = home.lines("lab/slots.log");
    let distinct: BTreeSet<&String> = slots.iter().collect();
    assert!(!slots.is_empty() && slots.len() == distinct.len(), "a slot fired twice: {slots:?}");
    let _ = home.hob(&["journal", "check"]).exits(0);
}
