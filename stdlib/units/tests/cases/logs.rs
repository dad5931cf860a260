//! Entries of the journal.

use std::time::{Duration, Instant};

use hob_model::ErrorKind;
use serde_json::json;

use crate::world::{everywhere, items, text};

const CHATTY: &str = "[Service]\nType=oneshot\nExecStart=/bin/echo first Word\nExecStart=/bin/echo second word\n\
                      ExecStart=/bin/echo third word\n";

/// The same by a process that lives on for a moment: journald cannot tell of which user's unit one was that is gone.
const CHATTY_OF_USER: &str = "[Service]\nType=oneshot\nSyslogIdentifier=echo\n\
    ExecStart=/bin/sh -c 'echo first Word; echo second word; echo third word; sleep 0.3'\n";

#[test]
fn logs_with_filters() {
    everywhere(|w| {
        w.unit("chatty", if w.user { CHATTY_OF_USER } else { CHATTY });
        w.call("start", json!(["chatty"]));
        let said = |options: serde_json::Value| -> Vec<String> {
            let found = w.call("journal", json!(["chatty", options]));
            let ours = items(&found).iter().filter(|entry| text(entry, "identifier") == "echo");
            ours.map(|entry| text(entry, "message").to_owned()).collect()
        };
        let all = ["first Word", "second word", "third word"];
        assert_eq!(said(json!({})), all, "{}", w.name);
        assert_eq!(said(json!({"grep": "word"})), all[1..], "{}", w.name);
        assert_eq!(said(json!({"grep": "[Ww]ord$", "lines": 2})), all[1..], "{}", w.name);
        assert_eq!(said(json!({"grep": "nothing like it"})), Vec::<String>::new(), "{}", w.name);
        assert_eq!(said(json!({"since": "2000-01-01T00:00:00Z"})), all);
        assert_eq!(said(json!({"until": "2000-01-01T00:00:00Z"})), Vec::<String>::new(), "{}", w.name);
        assert_eq!(said(json!({"priority": "err"})), Vec::<String>::new(), "{}", w.name);

        let found = w.call("journal", json!(["chatty"]));
        let entry = items(&found).iter().find(|entry| text(entry, "identifier") == "echo").unwrap();
        assert_eq!((text(entry, "priority"), text(entry, "unit")), ("info", "chatty.service"), "{}", w.name);
        let text = w.call("logs", json!(["chatty", {"lines": 100}]));
        assert!(text.as_str().unwrap().contains("]: second word\n"), "{}: {text:?}", w.name);
        let all = w.call("logs", json!([]));
        assert!(!all.as_str().unwrap().is_empty(), "{}", w.name);
    });
}

#[test]
fn logs_that_cannot_be() {
    everywhere(|w| {
        w.refused("logs", json!(["no-such-unit-at-all"]), ErrorKind::NotFound);
        for options in [
            json!({"lines": 0}),
            json!({"lines": 100_000}),
            json!({"grep": "("}),
            json!({"since": "yesterday-ish"}),
            json!({"priority": "loud"}),
            json!({"follow": "48h"}),
        ] {
            w.refused("logs", json!(["chatty", options]), ErrorKind::Invalid);
        }
    });
}

#[test]
fn following_ends_with_enough_entries_or_with_the_time() {
    everywhere(|w| {
        w.unit("followed", CHATTY);
        let begun = Instant::now();
        let nothing = w.again("nothing").call("journal", json!(["followed", {"follow": "200ms"}]));
        assert_eq!(items(&nothing).len(), 0, "{}", w.name);
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::scope(|threads| {
            let options = json!({"follow": "30s", "grep": "third", "lines": 1});
            let following =
                threads.spawn(move || w.again("follows").call("journal", json!(["followed", options])));
            // Whoever follows sees what comes after the beginning: it comes until it was seen.
            while !following.is_finished() {
                w.again("starts").call("start", json!(["followed"]));
            }
            let found = following.join().unwrap();
            assert_eq!(text(&items(&found)[0], "message"), "third word", "{}", w.name);
        });
    });
}
