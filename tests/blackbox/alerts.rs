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

/// Rules that look at one time and over time, and one that hears.
const TESTED: &str = r#"
homelab(#{ name: "house" });
channel("ops", #{ url: "ntfy://127.0.0.1:9/house" });
channel("pager", #{ url: "ntfy://127.0.0.1:9/pager" });
alert("disk-full", #{
    every: "30s", lasting: "5m", severity: "critical", group: "Storage", summary: "a disk is full",
    when: |now| now.ratio("hob_host_disk_used_bytes", "hob_host_disk_bytes").filter(|disk| disk.value > 0.9),
    escalate: #{ after: "1h", notify: "pager" },
});
alert("errors", #{
    every: "10s", group: "Net", when: |now| now.rate("hob_net_errors_total", "2m").filter(|it| it.value > 1.0),
});
alert("filling", #{ every: "1m", group: "Storage", when: |now| now.delta("hob_host_disk_used_bytes", "10m").filter(|it| it.value > 20.0) });
alert("hot", #{ every: "10s", group: "Heat", when: |now| now.avg_over("hob_heat_celsius", "1m", #{ at: "cpu" }).filter(|it| it.value > 80.0) });
alert("failed", #{
    on: event("run.failed"), resolve_on: event("run.succeeded"), by: ["name"], group: "Jobs",
    when: |e| `${e.payload.name} failed`,
});
"#;

const TESTS: &str = r#"
fn disk(used) {
    #{
        hob_host_disk_bytes: [#{ path: "/srv", value: 100 }],
        hob_host_disk_used_bytes: [#{ path: "/srv", value: used }],
    }
}
fn states(seen, name) { seen.steps.map(|it| it.alerts[name]) }

test("a full disk is told after five minutes, and once", #{
    alerts: "disk-full",
    steps: [
        #{ at: "0s", numbers: disk(50.0) }, #{ at: "1m", numbers: disk(95.0) }, #{ at: "5m59s" }, #{ at: "6m" },
        #{ at: "7m", down: ["host"], numbers: #{ hob_host_disk_used_bytes: () } }, #{ at: "1h30m", down: [], numbers: disk(60.0) }, #{ at: "1h35m" },
    ],
}, |seen| {
    let told = seen.told.map(|it| `${it.at} ${it.channel} ${it.title}`);
    states(seen, "disk-full") == ["waiting", "pending", "pending", "firing", "firing", "quiet", "quiet"]
        && seen.steps[3].found[0].labels.path == "/srv" && seen.steps[3].found[0].value == 0.95
        && told == [
            "6m10s default critical: disk-full: a disk is full", "1h6m10s pager still critical: disk-full: a disk is full",
            "1h30m10s default resolved: disk-full: a disk is full", "1h30m10s pager resolved: disk-full: a disk is full",
        ]
        && seen.events.map(|it| `${it.at} ${it.name}`) == ["6m alert.firing", "1h30m alert.resolved"]
});

test("errors are told by how many there are in a second", #{
    alerts: "errors",
    steps: [
        #{ at: "0s", numbers: #{ hob_net_errors_total: 1000 } }, #{ at: "50s" }, #{ at: "80s" },
        #{ at: "100s", numbers: #{ hob_net_errors_total: 1500 } }, #{ at: "4m" },
    ],
}, |seen| states(seen, "errors") == ["waiting", "blind", "quiet", "firing", "quiet"]);

test("numbers are told over time", #{
    alerts: ["filling", "hot"],
    steps: [
        #{ at: "0s", numbers: disk(10) + #{ hob_heat_celsius: [#{ at: "cpu", value: 70 }, #{ at: "disk", value: 99 }] } },
        #{ at: "7m" }, #{ at: "8m", numbers: disk(40) }, #{ at: "8m1s", numbers: #{ hob_heat_celsius: [#{ at: "cpu", value: 100 }] } },
        #{ at: "9m" }, #{ at: "20m" },
    ],
}, |seen| {
    states(seen, "filling") == ["waiting", "quiet", "firing", "firing", "firing", "quiet"]
        && states(seen, "hot") == ["waiting", "quiet", "quiet", "quiet", "firing", "firing"]
});

test("an event is told with its name, and resolved by another one", #{
    alerts: "fail*",
    steps: [
        #{ at: "1s", events: [#{ name: "run.failed", payload: #{ name: "nightly" } }] },
        #{ at: "1m", events: [#{ name: "run.succeeded", payload: #{ name: "other" } }] },
        #{ at: "2m", events: [#{ name: "run.succeeded", payload: #{ name: "nightly" } }] }, #{ at: "4m" },
    ],
}, |seen| states(seen, "failed") == ["firing", "firing", "quiet", "quiet"] && seen.told[0].body.contains("nightly failed"));
"#;

#[test]
fn alerts_are_tested_on_a_clock_of_the_test() {
    let home = home();
    home.write("lab/homelab.rhai", TESTED);
    home.write("lab/tests/alerts.rhai", TESTS);
    let _ = home.hob(&["test", "lab"]).exits(0).saying("4 tests, 0 failed");
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/alerts");
    let _ = home.hob(&["test", example.to_str().unwrap()]).exits(0).saying("2 tests, 0 failed");
    // Each of them finds what is not as it says.
    for (was, is, test) in [
        ("lasting: \"5m\"", "lasting: \"6m\"", "a full disk is told"),
        ("it.value > 1.0", "it.value > 100.0", "errors are told by"),
        ("it.value > 20.0", "it.value > 31.0", "numbers are told over time"),
        ("by: [\"name\"]", "by: []", "an event is told with its name"),
    ] {
        home.write("lab/homelab.rhai", TESTED.replace(was, is));
        let told = home.hob(&["test", "lab"]).exits(1);
        let failed: Vec<&str> = told.out().lines().filter(|line| line.starts_with("FAILED")).collect();
        assert!(failed.len() == 1 && failed[0].contains(test), "{was}: {told:?}");
    }
    home.write("lab/homelab.rhai", TESTED);
    for (test, why) in [
        ("#{ alerts: \"disk-ful\", steps: [#{ at: \"1s\" }] }", "did you mean `disk-full`?"),
        ("#{ alerts: \"hot\" }", "`steps`: expected an array"),
        ("#{ alerts: \"hot\", steps: [#{ at: \"soon\" }], run: \"x\" }", "`steps[0]`: `at`"),
        ("#{ alerts: \"hot\", steps: [#{ at: \"2s\" }, #{ at: \"1s\" }] }", "comes before the step above it"),
        ("#{ alerts: \"hot\", steps: [#{ at: \"1s\", numbers: #{ a: \"x\" } }] }", "`a`: expected a number"),
        ("#{ alerts: \"hot\", steps: [#{ at: \"1s\", number: 1 }] }", "there is no option `number`"),
        ("#{ alerts: \"hot\", steps: [#{ at: \"8d\" }] }", "a test looks at"),
    ] {
        home.write("lab/tests/alerts.rhai", format!("test(\"it\", {test}, |seen| true);"));
        let told = home.hob(&["test", "lab"]).exits(1);
        assert!(told.says(why) || told.out().contains(why), "{test}: {told:?}");
    }
}

/// Each rule of the catalogue over numbers, with what is well and what is not.
const CATALOGUE: &str = r#"
fn one(name, value) { let numbers = #{}; numbers[name] = value; numbers }
fn of(name, label, text, value) { let sample = #{ value: value }; sample[label] = text; one(name, [sample]) }
fn part(some, all, value) { one(some, value) + one(all, 100.0) }
fn memory(value) { part("hob_host_memory_available_bytes", "hob_host_memory_bytes", value) }
fn disk(value) { part("hob_host_disk_used_bytes", "hob_host_disk_bytes", value) }
fn card(value) { part("hob_gpu_memory_used_bytes", "hob_gpu_memory_bytes", value) }
fn load(value) { one("hob_host_processors", 2.0) + of("hob_host_load", "window", "5m", value) }
fn service(state) { of("hob_service_state", "state", state, 1.0) }
fn saved(days) { of("hob_backup_last_success_timestamp_seconds", "dataset", "photos", 1767323045.0 - days * 86400.0) }

for it in [
    ["power", one("hob_ups_on_battery", 0.0), one("hob_ups_on_battery", 1.0)],
    ["host-memory", memory(50.0), memory(9.0)],
    ["host-load", load(3.9), load(4.1)],
    ["host-temperature", one("hob_host_temperature_celsius", 89.0), one("hob_host_temperature_celsius", 91.0)],
    ["disk-low", disk(84.0), disk(86.0)],
    ["disk-full", disk(94.0), disk(96.0)],
    ["disk-ailing", one("hob_disk_healthy", 1.0), one("hob_disk_healthy", 0.0)],
    ["disk-worn", one("hob_disk_wear_ratio", 0.8), one("hob_disk_wear_ratio", 0.95)],
    ["disk-temperature", one("hob_disk_temperature_celsius", 59.0), one("hob_disk_temperature_celsius", 61.0)],
    ["mover-copies-differ", of("hob_mover_skipped_files", "reason", "unsound", 0.0), of("hob_mover_skipped_files", "reason", "unsound", 1.0)],
    ["gpu-lost", one("hob_gpu_usable", 1.0), one("hob_gpu_usable", 0.0)],
    ["gpu-temperature", one("hob_gpu_temperature_celsius", 86.0), one("hob_gpu_temperature_celsius", 88.0)],
    ["gpu-memory", card(96.0), card(98.0)],
    ["containers-restarting", of("hob_containers", "state", "restarting", 0.0), of("hob_containers", "state", "restarting", 1.0)],
    ["unit-failed", one("hob_unit_failed", []), of("hob_unit_failed", "unit", "a.service", 1.0)],
    ["service-failed", service("ready"), service("failed")],
    ["service-degraded", service("ready"), service("degraded")],
    ["service-blocked", service("ready"), service("blocked")],
    ["runs-stuck", of("hob_runs_stuck", "status", "in_doubt", 0.0), of("hob_runs_stuck", "status", "in_doubt", 1.0)],
    ["backup-wanting", of("hob_backup_wanting", "dataset", "photos", 0.0), of("hob_backup_wanting", "dataset", "photos", 1.0)],
    ["backup-old", saved(7.0), saved(9.0)],
] {
    test(it[0], #{
        alerts: it[0], now: "2026-01-02T03:04:05Z",
        steps: [#{ at: "0s", numbers: it[1] }, #{ at: "30m" }, #{ at: "31m", numbers: it[2] }, #{ at: "2h" }],
    }, |seen| {
        let states = seen.steps.map(|step| step.alerts[it[0]]);
        if states[1] != "quiet" || states[3] != "firing" { throw `${states}`; }
        true
    });
}
"#;

#[test]
fn each_rule_of_the_catalogue_fires_for_what_it_is_about() {
    let home = home();
    home.write(
        "lab/homelab.rhai",
        "import \"hob:alerts\" as alerts;\nhomelab(#{ name: \"house\" });\nalerts::usual();\n",
    );
    home.write("lab/tests/catalogue.rhai", CATALOGUE);
    let _ = home.hob(&["test", "lab"]).exits(0).saying("21 tests, 0 failed");
    // What is added is tested, too.
    let module = include_str!("../../runtime/engine/src/modules/alerts.rhai");
    let over_numbers = module.matches("when: |now|").count();
    assert_eq!(over_numbers, 21, "a rule of the catalogue that is not in this test");
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
