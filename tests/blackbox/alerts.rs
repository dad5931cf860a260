//! Alerts of the real binary: from a number or an event to a message, over kills; and to a real Alertmanager.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::Command;

use hob_tests::client::Target;
use hob_tests::home::Home;
use hob_tests::process::Background;
use hob_tests::until;
use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::home;
use crate::notify::{Mood, Ntfy};

const HOMELAB: &str = r#"
homelab(#{ name: "watched", timezone: "UTC" });
CHANNEL
schedule("nightly", "0 3 * * *", || 1);
schedule("weekly", "0 3 * * 0", || 1);
workflow("job", #{ on: webhook("POST /job") }, |r| { if r.body.fails { fail("it broke") } });
alert("paused", #{
    every: "1s", severity: "critical", group: "Schedules", group_wait: "0s", summary: "a schedule is paused",
    when: |now| now.all("hob_schedule_paused").filter(|it| it.value == 1.0),
});
alert("job-failed", #{
    on: event("run.failed", #{ kind: "workflow" }), resolve_on: event("run.succeeded"), by: ["name"],
    group: "Jobs", group_wait: "0s", when: |e| `${e.payload.name}: ${e.error.message}`,
});
alert("throws", #{ every: "1s", when: |now| { let load = now.value("hob_host_load"); throw "no idea" } });
alert("endless", #{ every: "1s", when: || { loop {} } });
alert("acts", #{ every: "1s", when: || process::run(["touch", "acted"]) });
"#;

fn watched(home: &Home, channel: &str) {
    home.write("lab/homelab.rhai", HOMELAB.replace("CHANNEL", channel));
}

fn alert(home: &Home, name: &str) -> Json {
    let all = home.json(&["alerts", "list"]);
    let found = all["alerts"].as_array().unwrap().iter().find(|it| it["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {all}")).clone()
}

/// Waits until the alert is in this state.
fn comes_to(home: &Home, name: &str, state: &str) -> Json {
    until(&format!("{name} is {state}"), || Some(alert(home, name)).filter(|it| it["state"] == state))
}

#[test]
fn a_number_becomes_a_message_and_its_end_another_over_kills() {
    let (home, ntfy) = (home(), Ntfy::start(|| Mood::Takes));
    watched(&home, &format!("channel(\"ops\", #{{ url: \"ntfy://{}/house\" }});", ntfy.address));
    let mut up = home.up("lab", &[]);
    let _ = home.hob(&["schedule", "pause", "nightly"]).exits(0);
    let told = ntfy.message("critical: paused: a schedule is paused");
    assert_eq!(told["priority"], 5, "{told}");
    let line = told["message"].as_str().unwrap();
    assert!(
        line.starts_with("critical: paused: a schedule is paused (schedule=nightly) = 1, since "),
        "{line}"
    );
    // A process that takes over does not tell it again, and goes on where the other ended.
    assert!(up.process.kill());
    let mut up = home.up("lab", &[]);
    let found = comes_to(&home, "paused", "firing");
    assert!(found["instances"][0]["told"].is_string(), "{found}");
    let _ = home.hob(&["schedule", "resume", "nightly"]).exits(0);
    comes_to(&home, "paused", "firing");
    assert!(up.process.kill());
    let mut up = home.up("lab", &[]);
    until("its end is told", || {
        ntfy.taken().iter().any(|it| it["title"] == "resolved: paused: a schedule is paused").then_some(())
    });
    comes_to(&home, "paused", "quiet");
    // What was sent just before a kill may come again, with the same key.
    let taken = ntfy.taken();
    let paused = taken.iter().filter(|it| it["title"].as_str().unwrap().contains("paused: a schedule"));
    let keys: BTreeSet<&str> = paused.map(|it| it["sequence_id"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), 2, "{taken:?}");
    let events = home.json(&["events", "list"]);
    let events: Vec<&str> = events.as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    let of = |name: &str| events.iter().filter(|it| **it == name).count();
    assert_eq!((of("alert.firing"), of("alert.resolved")), (1, 1), "{events:?}");
    let _ = up.stop().exits(0);
}

#[test]
fn what_is_silenced_is_seen_and_not_told() {
    let (home, ntfy) = (home(), Ntfy::start(|| Mood::Takes));
    watched(&home, &format!("channel(\"ops\", #{{ url: \"ntfy://{}/house\" }});", ntfy.address));
    let mut up = home.up("lab", &[]);
    let silence =
        ["alerts", "silence", "pau*", "--for", "2h", "--label", "schedule=night*", "--reason", "on purpose"];
    let made = home.json(&silence);
    assert!(up.process.kill(), "it outlives the process");
    let mut up = home.up("lab", &[]);
    for schedule in ["nightly", "weekly"] {
        let _ = home.hob(&["schedule", "pause", schedule]).exits(0);
    }
    let told = ntfy.message("critical: paused: a schedule is paused");
    assert!(told["message"].as_str().unwrap().contains("(schedule=weekly)"), "{told}");
    let shown = until("both are found", || {
        let shown = home.hob(&["alerts", "list"]).exits(0).out().to_owned();
        (shown.matches("schedule=").count() >= 3).then_some(shown)
    });
    assert!(shown.contains("silenced until") && shown.contains("on purpose"), "{shown}");
    let _ = home.hob(&["alerts", "unsilence", made["id"].as_str().unwrap()]).exits(0);
    assert_eq!(home.json(&["alerts", "list"])["silences"], json!([]));
    let wrong = [
        (&["alerts", "silence", "pausd", "--for", "2h"][..], "did you mean `paused`?"),
        (&["alerts", "silence", "paused", "--for", "soon"], "for"),
        (&["alerts", "silence", "paused", "--for", "0s"], "has an end after now"),
        (&["alerts", "unsilence", "x"], "there is no silence `x`"),
        (&["alerts", "test", "nothing"], "there is no alert `nothing`"),
    ];
    for (args, text) in wrong {
        let refused = home.hob(args);
        assert!(refused.code != Some(0) && refused.says(text), "{args:?}: {refused:#?}");
    }
    let _ = up.stop().exits(0);
}

#[test]
fn events_fire_and_resolve_alerts() {
    let (home, ntfy) = (home(), Ntfy::start(|| Mood::Takes));
    watched(&home, &format!("channel(\"ops\", #{{ url: \"ntfy://{}/house\" }});", ntfy.address));
    let mut up = home.up("lab", &[]);
    let _ = up.ask("POST", "/hooks/job", &[], Some(&json!({ "fails": true }))).expects(202);
    ntfy.message("warning: job-failed: job: it broke");
    let found = alert(&home, "job-failed");
    assert_eq!(found["instances"][0]["labels"], json!({ "name": "job" }), "{found}");
    let _ = up.ask("POST", "/hooks/job", &[], Some(&json!({ "fails": false }))).expects(202);
    // Messages of a group have a minute between them: it is seen before it is told.
    until("it is resolved", || {
        let found = alert(&home, "job-failed");
        (found["instances"][0]["state"] == "resolved").then_some(())
    });
    let _ = up.stop().exits(0);
}

#[test]
fn rules_for_events_measure_and_hear_what_happens_while_they_are_declared() {
    const WORK: &str = r#"workflow("job", #{ on: webhook("POST /job/:name") }, |r| fail(r.params.name));"#;
    const RULE: &str = r#"
        alert("job-failed", #{
            on: event("run.failed"), group_wait: "0s",
            when: |e, now| #{ name: e.error.message, value: now.value("hob_host_processors") },
        });
    "#;
    let home = home();
    let serve = |rule: &str, job: &str| {
        home.write("lab/homelab.rhai", format!("{WORK}\n{rule}"));
        let up = home.up("lab", &[]);
        let _ = up.ask("POST", &format!("/hooks/job/{job}"), &[], None).expects(202);
        up
    };
    let heard = |job: &str| {
        let found = comes_to(&home, "job-failed", "firing");
        let heard: Vec<&Json> = found["instances"].as_array().unwrap().iter().collect();
        let of_job = heard.iter().find(|it| it["labels"]["name"] == job)?;
        assert!(of_job["value"].as_f64().unwrap() >= 1.0, "{found}");
        Some(heard.len())
    };
    let mut up = serve(RULE, "first");
    until("it is heard", || heard("first"));
    let _ = up.stop().exits(0);
    let mut up = serve("", "second");
    until("it has failed", || home.hob(&["events", "list"]).exits(0).out().contains("second").then_some(()));
    let _ = up.stop().exits(0);
    let mut up = serve(RULE, "third");
    assert_eq!(until("it is heard", || heard("third")), 2);
    let _ = up.stop().exits(0);
}

#[test]
fn a_function_that_throws_loops_or_acts_is_told_and_costs_little() {
    let (home, ntfy) = (home(), Ntfy::start(|| Mood::Takes));
    watched(&home, &format!("channel(\"ops\", #{{ url: \"ntfy://{}/house\" }});", ntfy.address));
    let mut up = home.up("lab", &[]);
    for (name, why) in [("throws", "no idea"), ("endless", "operations"), ("acts", "process::run")] {
        let told = ntfy.message(&format!("alert {name} cannot be judged"));
        assert!(told["message"].as_str().unwrap().contains(why), "{told}");
        let broken = comes_to(&home, name, "broken");
        assert!(broken["note"].as_str().unwrap().contains(why), "{broken}");
        let _ = home.hob(&["alerts", "test", name]).exits(1).saying(why);
    }
    assert!(!home.path("lab/acted").exists() && !home.path("acted").exists());
    // The others go on.
    let _ = home.hob(&["schedule", "pause", "nightly"]).exits(0);
    comes_to(&home, "paused", "firing");
    let tested = home.hob(&["alerts", "test", "paused", "--send"]).exits(0);
    assert!(tested.out().contains("schedule=nightly = 1"), "{tested:#?}");
    ntfy.message("test: paused");
    let _ = up.stop().exits(0);
}

#[test]
fn without_a_channel_a_line_at_login_tells_it() {
    let home = home();
    watched(&home, "");
    let mut up = home.up("lab", &[]);
    let _ = home.hob(&["schedule", "pause", "nightly"]).exits(0);
    until("a line tells it", || {
        let lines = home.hob(&["notify", "list"]).exits(0).out().to_owned();
        lines.contains("critical: alert paused: a schedule is paused").then_some(())
    });
    let _ = up.stop().exits(0);
}

#[test]
fn the_alerts_that_hob_brings_can_be_judged() {
    let home = home();
    home.write(
        "lab/homelab.rhai",
        r#"import "hob:alerts" as alerts;
           homelab(#{ name: "usual", timezone: "UTC" });
           channel("ops", #{ url: "ntfy://127.0.0.1:1/x" });
           alerts::usual(#{ notify: "ops" });
           alerts::certificates(["localhost:1"], #{ options: #{ notify: "ops" } });
           alerts::watchdog("ops", "1h");"#,
    );
    let _ = home.hob(&["check", "lab"]).exits(0);
    let mut up = home.up("lab", &[]);
    let all = home.json(&["alerts", "list"]);
    let names: Vec<String> =
        all["alerts"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
    assert!(names.len() > 15, "{names:?}");
    for name in &names {
        let tested = home.json(&["alerts", "test", name]);
        let state = tested["state"].as_str().unwrap();
        assert!(["judged", "blind", "waits for events"].contains(&state), "{name}: {tested}");
    }
    assert_eq!(home.json(&["alerts", "test", "watchdog"])["found"].as_array().unwrap().len(), 1);
    let _ = home.hob(&["schedule", "run", "certificates"]).exits(0);
    let found = comes_to(&home, "certificate-expires", "firing");
    let summary = found["instances"][0]["summary"].as_str().unwrap();
    assert!(summary.starts_with("localhost:1: ") && summary.contains("no connection"), "{found}");
    home.write("lab/homelab.rhai", "import \"hob:alerts\" as alerts; alerts::storage(#{ ful: 0.5 });");
    let _ = home.hob(&["check", "lab"]).exits(1).saying("there is no bound \"ful\"");
    home.write("lab/homelab.rhai", "import \"hob:alarms\" as alerts;");
    let _ = home.hob(&["check", "lab"]).exits(1).saying("hob has hob:alerts");
    let _ = up.stop().exits(0);
}

#[test]
fn an_alertmanager_hears_of_it() {
    let home = home();
    let config = home.write("am.yml", "route: { receiver: none }\nreceivers: [{ name: none }]\n");
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new("prometheus-alertmanager");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", home.path("am").display()))
        .arg(format!("--web.listen-address={listen}"))
        .arg("--cluster.listen-address=")
        .env("HOB_TEST", home.dir());
    let mut manager = Background::start(&mut command, None);
    let script = HOMELAB.replace("CHANNEL", "");
    let script = script.replace("\"watched\",", &format!("\"watched\", alertmanager: \"http://{listen}\","));
    home.write("lab/homelab.rhai", script);
    until("the Alertmanager answers", || {
        assert!(!manager.has_ended(), "{:#?}", manager.end());
        Target::Tcp(listen).ask("GET", "/-/ready", &[], None).ok().filter(|it| it.status == 200).map(drop)
    });
    let mut up = home.up("lab", &[]);
    let _ = home.hob(&["schedule", "pause", "nightly"]).exits(0);
    let active = |active: bool| {
        let path = "/api/v2/alerts?filter=alertname%3D%22paused%22";
        let answer = Target::Tcp(listen).ask("GET", path, &[], None).ok()?.json();
        let found = answer.as_array()?.first().cloned();
        (found.is_some() == active).then(|| found.unwrap_or_default())
    };
    let alert = until("it heard that it fires", || active(true));
    let labels =
        json!({ "alertname": "paused", "group": "Schedules", "schedule": "nightly", "severity": "critical" });
    assert_eq!(alert["labels"], labels, "{alert}");
    assert_eq!(alert["annotations"]["summary"], "a schedule is paused");
    let _ = home.hob(&["schedule", "resume", "nightly"]).exits(0);
    until("it heard that it ended", || active(false));
    manager.signal(Signal::TERM);
    let _ = manager.end();
    let _ = up.stop().exits(0);
}
