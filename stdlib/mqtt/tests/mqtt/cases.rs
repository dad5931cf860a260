//! What holds for each broker.

use hob_model::ErrorKind;
use serde_json::json;

use crate::world::everywhere;

fn heard(topic: &str, text: &str, retained: bool) -> (String, String, bool) {
    (topic.to_owned(), text.to_owned(), retained)
}

#[test]
fn what_is_published_is_heard_by_who_wants_it() {
    everywhere(None, |w| {
        w.publish("house/hall/light", json!("on"), json!({ "retain": true })).unwrap();
        w.publish("house/hall/door", json!("closed"), json!({})).unwrap();
        let ear = w.listen(&w.source("house/+/light", json!({})));
        // Who comes late hears what is retained, and nothing else.
        assert_eq!(ear.heard(), heard("house/hall/light", "on", true), "{}", w.name);
        w.publish("house/hall/door", json!("open"), json!({})).unwrap();
        w.publish("house/hall/lamp/light", json!("off"), json!({})).unwrap();
        w.publish("house/attic/light", json!({ "level": 3 }), json!({ "qos": 2 })).unwrap();
        let map = ear.next();
        assert_eq!((&map["json"], &map["text"]), (&json!({ "level": 3 }), &json!("{\"level\":3}")));
        assert_eq!((&map["broker"], &map["of"]), (&json!(w.url), &json!("house/+/light")));
        w.publish("house/attic/light", json!(null), json!({ "qos": 0 })).unwrap();
        assert_eq!(ear.heard(), heard("house/attic/light", "", false), "{}", w.name);
        // What is retained is forgotten when nothing takes its place.
        w.publish("house/hall/light", json!(null), json!({ "retain": true })).unwrap();
        assert_eq!(ear.heard(), heard("house/hall/light", "", false), "{}", w.name);
        w.publish("house/end/light", json!("end"), json!({ "retain": true })).unwrap();
        let late = w.listen(&w.source("house/#", json!({})));
        assert_eq!(late.heard(), heard("house/end/light", "end", true), "{}", w.name);
    });
}

#[test]
fn messages_wait_for_who_listens_again() {
    everywhere(None, |w| {
        w.publish("n/first", json!("0"), json!({ "retain": true })).unwrap();
        let source = w.source("#", json!({}));
        let ear = w.listen(&source);
        assert_eq!(ear.heard(), heard("n/first", "0", true), "{}", w.name);
        w.publish("n/first", json!(null), json!({ "retain": true })).unwrap();
        assert_eq!(ear.heard(), heard("n/first", "", false), "{}", w.name);
        w.hush(ear, json!({}));
        for n in 1..4 {
            w.publish("n/later", json!(n.to_string()), json!({})).unwrap();
        }
        let ear = w.listen(&source);
        for n in 1..4 {
            assert_eq!(ear.heard(), heard("n/later", &n.to_string(), false), "{}", w.name);
        }
        w.hush(ear, json!({}));
        // One that could not be recorded is not confirmed: it comes again.
        let ended = w.listen(&source).deaf();
        w.publish("n/late", json!("again"), json!({})).unwrap();
        w.harness.runtime().block_on(ended).unwrap().unwrap();
        assert_eq!(w.listen(&source).heard(), heard("n/late", "again", false), "{}", w.name);
    });
}

#[test]
fn a_broker_that_goes_away_and_comes_back() {
    everywhere(None, |w| {
        w.publish("a", json!("1"), json!({ "retain": true })).unwrap();
        let source = w.source("a", json!({}));
        let ear = w.listen(&source);
        assert_eq!(ear.heard(), heard("a", "1", true), "{}", w.name);
        w.away(true);
        let lost = w.end(ear).unwrap_err();
        assert_eq!(lost.kind, ErrorKind::Unavailable, "{}: {lost}", w.name);
        let refused = w.refused("a", json!({}), ErrorKind::Unavailable);
        assert!(refused.nothing_happened, "{}: {refused}", w.name);
        w.away(false);
        w.publish("a", json!("2"), json!({ "retain": true })).unwrap();
        let ear = w.listen(&source);
        while ear.heard().1 != "2" {}
    });
}

#[test]
fn one_user_alone_is_let_in() {
    everywhere(Some(("hob", "tell nobody")), |w| {
        for options in [json!({}), json!({ "user": "hob", "password": "guess" })] {
            let refused = w.refused("a", options, ErrorKind::Denied);
            assert!(refused.nothing_happened && refused.hint.is_some(), "{}: {refused}", w.name);
        }
        let known = json!({ "user": "hob", "password": "tell nobody" });
        w.publish("a", json!("x"), known).unwrap();
        let refused = w.end(w.listen(&w.source("a", json!({})))).unwrap_err();
        assert!(refused.message.contains("user"), "{}: {refused}", w.name);
    });
}

#[test]
fn what_is_wrong_is_told_before_anything_is_sent() {
    everywhere(None, |w| {
        w.refused("a/+", json!({}), ErrorKind::Invalid);
        w.refused("a", json!({ "qos": 3 }), ErrorKind::Invalid);
        w.refused("a", json!({ "retained": true }), ErrorKind::Invalid);
    });
}
