//! A scenario for each trigger and for what orders the runs that they start, with the real binary.

use hob_lab::mosquitto::{Mosquitto, missing};
use hob_tests::until;
use serde_json::json;

use crate::home;

const HOMELAB: &str = r#"
homelab(#{ name: "triggered", timezone: "UTC" });
workflow("by-cron",    #{ on: cron("* * * * * *") },                 |slot| files::append("by-cron", slot.nominal + "\n"));
workflow("by-every",   #{ on: every("300ms") },                      |slot| files::append("by-every", slot.nominal + "\n"));
workflow("by-at",      #{ on: at("TIME") },                          |slot| files::append("by-at", slot.nominal + "\n"));
workflow("by-event",   #{ on: event("door.*", #{ which: "front" }) },|e| files::append("by-event", e.name + "\n"));
workflow("by-request", #{ on: webhook("PUT /door/:which", #{ respond: "last" }) }, |request| request.params.which);
workflow("by-file",    #{ on: watch("in/*", #{ settle: "50ms" }) },  |file| files::append("by-file", file.name + "\n"));
workflow("by-message", #{ on: mqtt("frigate/+/person", #{ broker: "BROKER" }) }, |e| {
    files::append("by-message", `${e.topic} ${e.json.score}` + "\n");
    mqtt::publish("BROKER", "house/light", "on", #{ retain: true });
});
workflow("by-answer",  #{ on: mqtt("house/light", #{ broker: "BROKER" }) }, |e| files::append("by-answer", e.text + "\n"));
workflow("by-hand",    #{ on: manual(), on_error: "by-failure" },     |n| if n == 0 { fail("nothing") } else { n });
workflow("by-failure", #{ on: manual() }, |e| files::append("by-failure", e.payload.error.message + "\n"));
"#;

#[test]
fn each_trigger_starts_its_workflow() {
    let lines = |_: &std::path::Path| "allow_anonymous true".to_owned();
    let Some(mut broker) = hob_lab::started("a broker", missing(), || Mosquitto::start(lines)) else {
        return;
    };
    let url = format!("mqtt://127.0.0.1:{}", broker.port());
    let home = home();
    let soon = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 5).unwrap();
    home.write("lab/homelab.rhai", HOMELAB.replace("BROKER", &url).replace("TIME", &soon.to_string()));
    home.write("lab/in/old", "was there");
    home.write(
        "person.rhai",
        format!("mqtt::publish({url:?}, \"frigate/door/person\", #{{ score: input.n }})"),
    );
    let mut up = home.up("lab", &[]);
    let lines = |name: &str| home.lines(&format!("lab/{name}"));
    let _ = home.hob(&["events", "emit", "door.opened", r#"{"which":"back"}"#]).exits(0);
    let _ = home.hob(&["events", "emit", "door.opened", r#"{"which":"front"}"#]).exits(0);
    let _ = up.ask("PUT", "/hooks/door/front", &[], None).expects(200);
    home.write("lab/in/new", "came");
    assert_eq!(home.json(&["run", "by-hand", "--input", "7"])["output"], 7);
    let _ = home.hob(&["run", "by-hand", "--input", "0"]).exits(1);
    // The source connects beside the start: what is told before it subscribed for the first time is told to nobody.
    until("a message is heard", || {
        let _ = home.hob(&["run", "person.rhai", "--arg", "n:=1"]).exits(0);
        (!lines("by-message").is_empty()).then_some(())
    });
    // While hob is down and while the broker is away nothing that it confirmed is lost.
    assert!(up.process.kill());
    let _ = home.hob(&["run", "person.rhai", "--arg", "n:=2"]).exits(0);
    broker.away(true);
    let mut up = home.up("lab", &[]);
    broker.away(false);
    until("the message of meanwhile is heard", || {
        lines("by-message").contains(&"frigate/door/person 2".to_owned()).then_some(())
    });
    for (name, at_least) in [
        ("by-cron", 2),
        ("by-every", 3),
        ("by-at", 1),
        ("by-event", 1),
        ("by-file", 1),
        ("by-answer", 1),
        ("by-failure", 1),
    ] {
        until(name, || (lines(name).len() >= at_least).then_some(()));
    }
    let _ = up.stop().exits(0);
    for name in ["by-cron", "by-every"] {
        let mut slots = lines(name);
        let all = slots.len();
        slots.dedup();
        assert_eq!(slots.len(), all, "{name}: a slot fired twice");
    }
    assert_eq!((lines("by-at"), lines("by-event")), (vec![soon.to_string()], vec!["door.opened".to_owned()]));
    assert_eq!(
        (lines("by-failure"), lines("by-answer").iter().all(|it| it == "on")),
        (vec!["nothing".to_owned()], true)
    );
    // What was there before anybody looked for the first time is no news.
    assert_eq!(lines("by-file"), ["new"]);
}

#[test]
fn runs_wait_their_turn_over_a_kill_and_the_rest_is_refused_and_not_lost() {
    let home = home();
    home.write(
        "lab/homelab.rhai",
        r#"homelab(#{ name: "ordered", timezone: "UTC" });
           workflow("one", #{ on: webhook("POST /one", #{ rate: "20/1h" }), concurrency: 1 }, |request| {
               files::append("log", `begin ${request.body}` + "\n");
               sleep("20ms");
               files::append("log", `end ${request.body}` + "\n");
           });
           workflow("urgent", #{ on: webhook("POST /urgent"), priority: 10 }, |request| files::append("urgent", "x\n"));"#,
    );
    home.write("lab/hob.toml", "[limits]\nruns = 2\n");
    let mut up = home.up("lab", &[]);
    let mut taken = 0;
    for n in 0..30 {
        let answer = up.ask("POST", "/hooks/one", &[], Some(&json!(n)));
        if answer.status == 429 {
            assert!(answer.header("retry-after").is_some());
            continue;
        }
        let _ = answer.expects(202);
        taken += 1;
    }
    assert_eq!(taken, 20, "what is more than its rate is refused");
    let _ = up.ask("POST", "/hooks/urgent", &[], None).expects(202);
    assert!(up.process.kill());
    let mut up = home.up("lab", &[]);
    until("all have had their turn", || {
        let ends = home.lines("lab/log").iter().filter(|line| line.starts_with("end")).count();
        (ends == 20 && !home.lines("lab/urgent").is_empty()).then_some(())
    });
    let _ = up.stop().exits(0);
    let wanted: Vec<String> = (0..20).flat_map(|n| [format!("begin {n}"), format!("end {n}")]).collect();
    assert_eq!(home.lines("lab/log"), wanted, "one after the other, in the order in which they came");
}

#[test]
fn events_are_shown_as_they_come() {
    let home = home();
    home.write("lab/homelab.rhai", "homelab(#{ name: \"tailed\" });");
    let mut up = home.up("lab", &[]);
    let emit = |name: &str, payload: &str| drop(home.hob(&["events", "emit", name, payload]).exits(0));
    emit("door.opened", r#"{"when":"before"}"#);
    let mut tail = home.start(&["events", "tail", "door.*"]);
    // It shows what comes once it looks, which nobody sees but by that.
    until("it looks", || {
        emit("door.knocked", "null");
        tail.stdout().contains("door.knocked").then_some(())
    });
    emit("window.opened", "{}");
    emit("door.closed", r#"{"which":"front"}"#);
    let said = until("the last one is shown", || {
        Some(tail.stdout()).filter(|said| said.contains("door.closed") && said.ends_with('\n'))
    });
    let shown: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).expect("a line is an event")).collect();
    assert!(shown.iter().all(|it| it["name"].as_str().unwrap().starts_with("door.")), "{said}");
    assert!(!said.contains("before"), "{said}");
    assert_eq!(shown.last().unwrap()["payload"], json!({ "which": "front" }));
    let ids: Vec<u64> = shown.iter().map(|it| it["id"].as_u64().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    assert!(tail.kill());
    let _ = up.stop().exits(0);
}
