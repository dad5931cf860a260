//! What declared channels add: pauses, rates, quiet hours, other channels.

use std::time::Duration;

use hob_model::{ErrorKind, OnDoubt, Timestamp};
use serde_json::{Value as Json, json};

use crate::world::{World, everywhere, not_before, text};

fn declared(url: &str) -> Json {
    let hook = |name: &str| format!("{url}/{name}");
    json!({
        "ops": { "url": hook("ops") },
        "slow": { "url": hook("slow"), "rate": "2/1m" },
        // It is four o'clock in Berlin when the clock of the tests begins.
        "night": { "url": hook("night"), "quiet": { "from": "22:00", "to": "07:00" }, "fallback": "ops" },
        "first": { "url": hook("first"), "fallback": "second" },
        "second": { "url": hook("second"), "fallback": "first" },
        "dead": { "url": "http://127.0.0.1:1/", "fallback": "ops" },
        "plain": { "url": hook("plain"), "tags": ["house"], "title": "House", "priority": "low" },
    })
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn paths(w: &World) -> Vec<String> {
    w.server.seen().into_iter().map(|seen| seen.path).collect()
}

#[test]
fn what_a_server_does_not_take_now_is_held() {
    everywhere(declared, |w| {
        let now = at("2026-01-02T03:04:05Z");
        let table = [
            (429, Some("7"), 7),
            (503, None, 10),
            (500, None, 10),
            (429, Some("86400"), 300),
            (503, Some("Fri, 02 Jan 2026 03:05:05 GMT"), 60),
            (0, None, 10),
        ];
        for (status, retry_after, seconds) in table {
            w.server.answers(status, retry_after);
            let result = w.send("ops", json!({ "title": "T", "body": "B", "tags": ["x"] })).unwrap();
            assert_eq!(text(&result, "state"), "held", "{} {status}", w.name);
            assert_eq!(not_before(&result), now + Duration::from_secs(seconds), "{} {status}", w.name);
            let held = w.channels.held.lock().unwrap().pop().unwrap();
            let (channel, key, doubt) = (text(&held, "channel"), text(&held, "key"), text(&held, "on_doubt"));
            assert_eq!((&*channel, &*key, &*doubt), ("ops", "k1", "retry"));
            // What is held is what was to be sent, and is sent with its key.
            let message = held.get("message").unwrap().to_json().unwrap();
            w.server.seen();
            let again = w.deliver("ops", message, json!({ "key": "k1", "earlier": 1 })).unwrap();
            assert_eq!(text(&again, "state"), "sent", "{} {status}", w.name);
            let seen = w.seen();
            assert_eq!(
                (&seen.json()["title"], seen.headers["idempotency-key"].as_str()),
                (&json!("T"), "k1")
            );
        }
        // The pause doubles up to the longest.
        for (earlier, seconds) in [(0, 10), (1, 20), (3, 80), (5, 300), (4_000_000, 300)] {
            w.server.answers(502, None);
            let result = w.deliver("ops", json!({ "body": "B" }), json!({ "earlier": earlier })).unwrap();
            assert_eq!(not_before(&result), now + Duration::from_secs(seconds), "{} {earlier}", w.name);
        }
    });
}

#[test]
fn what_no_server_will_take_fails() {
    everywhere(declared, |w| {
        for (status, kind) in
            [(400, ErrorKind::Invalid), (401, ErrorKind::Denied), (404, ErrorKind::NotFound)]
        {
            w.server.answers(status, None);
            let error = w.send("ops", json!({ "body": "B" })).unwrap_err();
            assert_eq!(error.kind, kind, "{}: {error}", w.name);
            assert!(error.message.contains(&format!("answered {status}")), "{}: {error}", w.name);
            assert!(!error.retryable);
        }
        assert_eq!(w.send("nowhere", json!({ "body": "B" })).unwrap_err().kind, ErrorKind::NotFound);
        assert!(w.channels.held.lock().unwrap().is_empty());
        // Nobody delivers later what was sent to an address.
        w.server.answers(503, None);
        let error = w.send(&format!("{}/x", w.url), json!({ "body": "B" })).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{}: {error}", w.name);
    });
}

#[test]
fn who_wants_it_at_most_once_gets_it_at_most_once() {
    everywhere(declared, |w| {
        let w = w.doubting(OnDoubt::Skip);
        // The answer is lost, or says nothing of what became of the message: it is not sent again.
        for status in [0, 500, 502] {
            w.server.answers(status, None);
            let error = w.send("first", json!({ "body": "B" })).unwrap_err();
            assert!(
                !error.retryable && error.hint.unwrap().contains("may have arrived"),
                "{} {status}",
                w.name
            );
            assert_eq!(paths(&w), ["/first"], "{} {status}", w.name);
        }
        // What was certainly not taken is.
        w.server.answers(503, None);
        assert_eq!(text(&w.send("first", json!({ "body": "B" })).unwrap(), "channel"), "second");
        assert_eq!(paths(&w), ["/first", "/second"], "{}", w.name);
        assert!(w.channels.held.lock().unwrap().is_empty());
    });
}

#[test]
fn another_channel_takes_what_one_does_not() {
    everywhere(declared, |w| {
        w.server.answers(500, None);
        let result = w.send("first", json!({ "body": "B" })).unwrap();
        assert_eq!((text(&result, "state"), text(&result, "channel")), ("sent".into(), "second".into()));
        assert_eq!(paths(w), ["/first", "/second"], "{}", w.name);
        // Both in a circle: each is tried once.
        w.server.answers(500, None);
        w.server.answers(429, Some("30"));
        let result = w.send("first", json!({ "body": "B" })).unwrap();
        assert_eq!(not_before(&result), at("2026-01-02T03:04:15Z"));
        assert!(
            text(&result, "why").contains("`first`") && text(&result, "why").contains("`second`"),
            "{result:?}"
        );
        assert_eq!(paths(w), ["/first", "/second"], "{}", w.name);
        if w.name == "live" {
            let result = w.send("dead", json!({ "body": "B" })).unwrap();
            assert_eq!(text(&result, "channel"), "ops");
        }
    });
}

#[test]
fn rates_and_quiet_hours_hold_messages_back() {
    everywhere(declared, |w| {
        let states: Vec<String> = ["a", "b", "c"]
            .iter()
            .map(|key| {
                text(&w.deliver("slow", json!({ "body": key }), json!({ "key": key })).unwrap(), "state")
            })
            .collect();
        assert_eq!(states, ["sent", "sent", "held"], "{}", w.name);
        let night = w.send("night", json!({ "body": "B", "severity": "warning" })).unwrap();
        assert_eq!(not_before(&night), at("2026-01-02T06:00:00Z"), "{}", w.name);
        assert_eq!(paths(w), ["/slow", "/slow"], "{}", w.name);
        let alarm = w.send("night", json!({ "body": "B", "severity": "critical" })).unwrap();
        assert_eq!(text(&alarm, "state"), "sent");
        w.harness.clock().advance(Duration::from_secs(3 * 3600));
        let morning = w.send("night", json!({ "body": "B" })).unwrap();
        assert_eq!(text(&morning, "state"), "sent", "{}", w.name);
        let late = w.deliver("slow", json!({ "body": "c" }), json!({ "key": "c" })).unwrap();
        assert_eq!(text(&late, "state"), "sent", "{}", w.name);
    });
}

#[test]
fn a_channel_completes_its_messages() {
    everywhere(declared, |w| {
        w.send("plain", json!({ "body": "B", "tags": ["x", "house"] })).unwrap();
        let json = w.seen().json();
        assert_eq!((&json["title"], &json["priority"]), (&json!("House"), &json!("low")));
        assert_eq!(json["tags"], json!(["x", "house"]));
        w.send("plain", json!({ "title": "T", "body": "B", "priority": "max" })).unwrap_err();
        w.send("plain", json!({ "title": "T", "priority": "urgent" })).unwrap();
        let json = w.seen().json();
        assert_eq!(
            (&json["title"], &json["priority"], &json["tags"]),
            (&json!("T"), &json!("urgent"), &json!(["house"]))
        );
    });
}
