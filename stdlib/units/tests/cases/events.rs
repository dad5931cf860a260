//! Changes of units as events.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hob_model::{ErrorKind, Value};
use hob_primitive::{EventSink, EventSource as _};
use hob_std_units::UnitEvents;
use serde_json::json;

use crate::world::{FAILING, SLEEPER, everywhere, text};

#[test]
fn units_that_start_stop_and_fail_are_told() {
    everywhere(|w| {
        w.unit("told", SLEEPER);
        w.unit("told-fails", FAILING);
        let source = Arc::new(UnitEvents::new(Arc::clone(&w.port), w.scope()));
        assert_eq!(source.prefix(), "unit.");
        let (tell, told) = mpsc::channel::<(String, Value)>();
        let tell = Mutex::new(tell);
        let sink = EventSink::new(move |name, payload| {
            tell.lock().unwrap().send((name.to_owned(), payload)).is_ok()
        });
        let listening = w.harness.runtime().spawn(source.listen(sink));
        let next = |unit: &str, prod: &dyn Fn()| loop {
            prod();
            match told.recv_timeout(Duration::from_millis(300)) {
                Ok((name, payload)) if text(&payload, "unit") == unit => return (name, payload),
                Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(error) => panic!("{}: {error}", w.name),
            }
        };
        // Only what comes after the beginning is told, so it is started until it was seen.
        let (name, payload) = next("told.service", &|| {
            w.again("up").call("restart", json!(["told"]));
        });
        assert!(["unit.started", "unit.stopped"].contains(&name.as_str()), "{}: {name}", w.name);
        assert!(!text(&payload, "before").is_empty());
        w.again("failing").refused("start", json!(["told-fails"]), ErrorKind::Failed);
        let (name, payload) = next("told-fails.service", &|| {});
        assert_eq!((name.as_str(), text(&payload, "active")), ("unit.failed", "failed"), "{}", w.name);
        w.again("down").call("stop", json!(["told"]));
        while next("told.service", &|| {}).0 != "unit.stopped" {}

        // It ends when nobody listens any more.
        drop(told);
        w.again("up again").call("start", json!(["told"]));
        w.again("down again").call("stop", json!(["told"]));
        w.harness.runtime().block_on(listening).unwrap().unwrap();
    });
}
