//! What holds for each server.

use std::sync::Arc;

use hob_model::ErrorKind;
use hob_primitive::Measured as _;
use serde_json::json;

use crate::world::{Variable, everywhere};

const FULL: [Variable; 4] = [
    ("ups.status", "OL CHRG"),
    ("battery.charge", "100"),
    ("battery.runtime", "1200"),
    ("ups.model", "a model"),
];

#[test]
fn a_supply_tells_what_it_does() {
    everywhere(&FULL, |w| {
        let list = w.list().unwrap();
        assert_eq!(list[0]["name"], "rack", "{}", w.name);
        if w.name == "upsd" {
            assert_eq!(list[0]["description"], "the \"rack\"");
        }
        let status = w.status("rack").unwrap();
        let expected = json!({ "state": "online", "charge": 1.0, "runtime": 1200.0, "load": null });
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&status[field], value, "{}: {status}", w.name);
        }
        assert_eq!(status["flags"], json!(["OL", "CHRG"]));
        assert_eq!(status["variables"]["ups.model"], "a model", "{}", w.name);

        let missing = w.status("attic").unwrap_err();
        assert_eq!(missing.kind, ErrorKind::NotFound, "{}: {missing}", w.name);
        w.away(true);
        for error in [w.status("rack").unwrap_err(), w.list().unwrap_err()] {
            assert_eq!(error.kind, ErrorKind::Unavailable, "{}: {error}", w.name);
        }
    });
}

#[test]
fn changes_and_silence_are_heard() {
    everywhere(&FULL, |w| {
        let ear = w.listen();
        let heard = || {
            let news = ear.next();
            [news["before"].clone(), news["state"].clone(), news["critical"].clone()]
        };
        assert_eq!(heard(), [json!(null), json!("online"), json!(false)], "{}", w.name);
        w.set(&[("ups.status", "OB DISCHRG"), ("battery.charge", "60")]);
        assert_eq!(heard(), [json!("online"), json!("battery"), json!(false)], "{}", w.name);
        w.set(&[("ups.status", "OB DISCHRG LB"), ("battery.charge", "9")]);
        let mut last = heard();
        // Each tenth of the charge may be told before.
        while last[1] == "battery" {
            last = heard();
        }
        assert_eq!(last, [json!("battery"), json!("low"), json!(true)], "{}", w.name);
        w.set(&[("ups.status", "OB DISCHRG"), ("battery.charge", "20")]);
        assert_eq!(heard(), [json!("low"), json!("battery"), json!(false)], "{}", w.name);

        // Who falls silent while its battery is in use may be about to end.
        w.away(true);
        assert_eq!(heard(), [json!("battery"), json!("unknown"), json!(true)], "{}", w.name);
        let families = w.harness.runtime().block_on(Arc::clone(&ear.sources).measure()).unwrap();
        let value = |name: &str| families.iter().find(|it| it.name == name).unwrap().samples[0].value;
        assert_eq!(value("hob_ups_known").to_bits(), 0.0_f64.to_bits(), "{}", w.name);
        w.away(false);
        w.set(&FULL);
        let mut last = heard();
        while last[1] != "online" {
            last = heard();
        }
        assert_eq!(last[2], json!(false), "{}", w.name);
    });
}
