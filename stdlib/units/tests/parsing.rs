//! What is read from outside: entries of the journal, and names.
#![allow(clippy::unwrap_used)] // tests

use hob_model::Value;
use hob_primitive::FromValue as _;
use hob_std_units::UnitName;
use hob_std_units::journal::{JournalEntry, PRIORITIES};
use proptest::prelude::*;
use serde_json::json;

#[test]
fn entries_as_journalctl_writes_them() {
    let time = "1763694123456789";
    for (fields, message, unit, priority) in [
        (
            json!({"MESSAGE": "plain", "_SYSTEMD_UNIT": "a.service", "PRIORITY": "3"}),
            "plain",
            Some("a.service"),
            3,
        ),
        (json!({"MESSAGE": [104, 105, 255]}), "hi\u{fffd}", None, 6),
        (json!({"MESSAGE": ["one", "two"]}), "one", None, 6),
        (json!({"MESSAGE": null}), "", None, 6),
        (json!({"PRIORITY": "99"}), "", None, 6),
        // What systemd says about a unit names that unit, not its own.
        (json!({"UNIT": "b.service", "_SYSTEMD_UNIT": "init.scope"}), "", Some("b.service"), 6),
    ] {
        let mut line = fields.clone();
        line["__REALTIME_TIMESTAMP"] = json!(time);
        let entry = JournalEntry::parse(&line.to_string()).unwrap();
        assert_eq!((entry.message.as_str(), entry.unit.as_deref()), (message, unit), "{fields}");
        assert_eq!((entry.priority, entry.time.as_microsecond()), (priority, 1_763_694_123_456_789));
    }
    for line in ["", "{}", "-- No entries --", "{\"__REALTIME_TIMESTAMP\":\"soon\"}", "[]"] {
        assert_eq!(JournalEntry::parse(line), None, "{line}");
    }
}

proptest! {
    #[test]
    fn no_line_is_too_odd(line in ".*") {
        drop(JournalEntry::parse(&line));
    }

    #[test]
    fn no_field_is_too_odd(
        message in proptest::collection::vec(any::<u8>(), 0..40),
        priority in ".{0,4}",
        time in any::<u64>(),
    ) {
        let line = json!({ "MESSAGE": message, "PRIORITY": priority, "__REALTIME_TIMESTAMP": time.to_string() });
        if let Some(entry) = JournalEntry::parse(&line.to_string()) {
            prop_assert!(usize::from(entry.priority) < PRIORITIES.len());
            prop_assert!(entry.line().contains(&entry.message));
        }
    }

    #[test]
    fn a_name_is_kept_or_refused(text in "[a-z@:_.\\\\/ -]{0,20}") {
        if let Ok(name) = UnitName::from_value(Value::from(text.as_str())) {
            let full = format!("{text}.service");
            prop_assert!([&text, &full].iter().any(|it| *it == name.as_str()));
            prop_assert_eq!(UnitName::parse(name.as_str()), Ok(name.clone()));
            let end = format!(".{}", name.kind());
            prop_assert!(name.as_str().ends_with(&end));
        }
    }
}
