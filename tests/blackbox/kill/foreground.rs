//! `hob run` and what follows it, killed again and again.

use std::time::Duration;

use hob_tests::counter::Counter;
use hob_tests::home::Home;
use hob_tests::within;
use serde_json::{Value as Json, json};

use super::ledger::{Doubt, Ledger};
use super::{ANSWER_PAUSE, WORK, chance, kills_wanted};
use crate::home;

/// Rounds of one run: enough that one run is killed several times.
const ROUNDS: u64 = 2;
/// The latest kill after the start of a process.
const KILL_AFTER_MAX_MS: u64 = 350;

/// What to do next about the present run.
enum Next {
    Start,
    Resume(String),
    Settle(String, Doubt),
}

/// The newest run, if it is the one that was started with `tag`.
fn find(home: &Home, tag: &str) -> Option<Json> {
    let list = home.hob(&["runs", "list", "--json", "--limit", "1"]);
    // Killed before there was a journal: then there is no run either.
    if list.code != Some(0) {
        assert!(!home.state().join("journal.db").exists(), "{list:#?}");
        return None;
    }
    let run = list.json()[0]["run"].as_str()?.to_owned();
    let detail = home.json(&["runs", "show", &run]);
    (detail["input"]["tag"] == tag).then_some(detail)
}

#[test]
fn a_run_survives_kills_at_any_moment() {
    let (home, server, mut rng) = (home(), Counter::start(ANSWER_PAUSE), chance());
    home.write("work.rhai", format!("{WORK}\nwork(input)\n"));
    let mut ledger = Ledger::new(&home, ".", &server);
    let (mut kills, mut tags, mut next) = (0, 1, Next::Start);
    loop {
        let tag = format!("t{tags}");
        let input = json!({ "tag": tag, "url": server.url(), "rounds": ROUNDS }).to_string();
        let mut args: Vec<String> = match &next {
            Next::Start => vec!["run".into(), "work.rhai".into(), "--input".into(), input],
            Next::Resume(run) => vec!["runs".into(), "resume".into(), run.clone()],
            Next::Settle(run, doubt) => {
                vec!["runs".into(), "resolve".into(), run.clone(), doubt.position.clone()]
            }
        };
        if let Next::Settle(_, doubt) = &next {
            args.extend(ledger.decide(doubt).options());
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut process = home.start(&args);
        if kills < kills_wanted() {
            let latest = if rng.bool() { KILL_AFTER_MAX_MS } else { KILL_AFTER_MAX_MS / 5 };
            let delay = Duration::from_micros(rng.u64(..latest * 1000));
            within(delay, || process.has_ended().then_some(()));
            kills += usize::from(process.kill());
        }
        let ran = process.end();
        let refused = ran.code == Some(1) && ran.says("still");
        assert!(ran.signal == Some(9) || matches!(ran.code, Some(0 | 3)) || refused, "{ran:#?}");

        next = match find(&home, &tag) {
            None => {
                assert!(matches!(next, Next::Start), "the run is lost: {ran:#?}");
                assert!(!ledger.saw_anything_of(&tag), "it acted before it was on record");
                Next::Start
            }
            Some(detail) => {
                let run = detail["run"].as_str().unwrap().to_owned();
                let doubts = ledger.look(&detail);
                match (detail["status"].as_str().unwrap(), doubts.into_iter().next()) {
                    ("succeeded", _) => {
                        ledger.close(&detail);
                        if kills >= kills_wanted() {
                            break;
                        }
                        tags += 1;
                        Next::Start
                    }
                    ("in_doubt", Some(doubt)) => Next::Settle(run, doubt),
                    ("queued" | "running" | "waiting" | "interrupted" | "in_doubt", _) => Next::Resume(run),
                    (status, _) => panic!("a run should never be {status}: {detail:#}\n{ran:#?}"),
                }
            }
        };
    }
    ledger.sum_up(kills);
    let _ = home.hob(&["journal", "check"]).exits(0);
    assert_eq!(home.json(&["runs", "list", "--limit", "1000"]).as_array().unwrap().len(), tags);
}
