//! Texts that are read, refused, and written again.

use hob_model::Value;
use hob_scheduler::When;
use proptest::prelude::*;

use crate::{when, zones};

/// Each refusal names the column, the field, what was found and what to write.
#[test]
fn refusals() {
    let cases = [
        (
            "",
            "column 1: something is missing, expected a crontab line, an OnCalendar expression, `every(…)` or `at(…)`",
        ),
        ("60 * * * *", "column 1 (minute): found `60`, expected 0-59"),
        ("0 24 * * *", "column 3 (hour): found `24`, expected 0-23"),
        ("0 0 0 * *", "column 5 (day of the month): found `0`, expected 1-31"),
        ("0 0 * 13 *", "column 7 (month): found `13`, expected 1-12 or jan-dec"),
        ("0 0 * * 8", "column 9 (weekday): found `8`, expected 0-7 (0 and 7 are Sunday) or sun-sat"),
        ("  0   0 * *  8", "column 14 (weekday): found `8`, expected 0-7 (0 and 7 are Sunday) or sun-sat"),
        (
            "0 0 * * mon,tuw",
            "column 13 (weekday): found `tuw`, expected 0-7 (0 and 7 are Sunday) or sun-sat, `*`, \
          a list, a range or a step; did you mean `tue`?",
        ),
        (
            "0 22-2 * * *",
            "column 3 (hour): the range `22-2` goes backwards; if it is to wrap around, write `22-23,0-2`",
        ),
        ("5/10 * * * *", "column 1 (minute): `5/10` has a step but no range; write `5-59/10`"),
        (
            "*/0 * * * *",
            "column 3 (minute): found `0`, expected a step from 1 to 60; for an interval that does not \
          fit into its field write `every(\"90m\")`",
        ),
        (
            "*/90 * * * *",
            "column 3 (minute): found `90`, expected a step from 1 to 60; for an interval that does \
          not fit into its field write `every(\"90m\")`",
        ),
        (
            "0 0 ? * *",
            "column 5 (day of the month): found `?`, expected 1-31, `*`, a list, a range or a step; write `*`",
        ),
        (
            "0 0 L * *",
            "column 5 (day of the month): found `L`, expected 1-31, `*`, a list, a range or a step; write \
          an OnCalendar expression, for example `*-*~01` (the last day of the month) or `Mon *-*-08..14` (the second Monday)",
        ),
        (
            "0~30 4 * * *",
            "column 1 (minute): found `0~30`, expected 0-59, `*`, a list, a range or a step; for a \
          random but stable moment use the option `jitter`",
        ),
        (
            "1,,2 * * * *",
            "column 3 (minute): something is missing, expected 0-59, `*`, a list, a range or a step",
        ),
        (
            "0 4 * *",
            "column 1: found 4 fields, expected five, or six with seconds in front; minute, hour, day of \
          the month, month, weekday; for example `30 4 * * mon-fri`",
        ),
        (
            "0 0 4 * * * 2027",
            "column 1: found 7 fields, expected five, or six with seconds in front; a year cannot \
          be given in a crontab line: write an OnCalendar expression instead",
        ),
        (
            "0 4 * * * /usr/bin/backup",
            "column 11 (weekday): found ``, expected 0-7 (0 and 7 are Sunday) or sun-sat",
        ),
        (
            "0 0 30 2 *",
            "column 5 (day of the month): `30 2` is a date that no year has; this line would never fire",
        ),
        (
            "@reboot",
            "column 1: `@reboot` names no time, so it cannot be missed, caught up or asked for; declare a \
          service for what belongs to a start, or a workflow with an event as its trigger",
        ),
        (
            "@dayly",
            "column 1: found `@dayly`, expected one of @yearly @annually @monthly @weekly @daily @midnight \
          @hourly; did you mean `@daily`?",
        ),
        (
            "CRON_TZ=UTC 0 4 * * *",
            "column 1: a crontab line here has no assignments; name the zone with the option `timezone`",
        ),
        (
            "Mondai 10:00",
            "column 1 (weekday): found `Mondai`, expected a weekday (Mon or Monday), a date or a \
          shorthand such as `daily`; did you mean `monday`?",
        ),
        (
            "dayly",
            "column 1 (weekday): found `dayly`, expected a weekday (Mon or Monday), a date or a shorthand \
          such as `daily`; did you mean `daily`?",
        ),
        (
            "Fri..Mon",
            "column 1 (weekday): the range `Fri..Mon` goes backwards; the week begins on Monday: write \
          `Fri..Sun,Mon..Mon`",
        ),
        (
            "*:*/15",
            "column 3 (minute): `*/15` is cron's form of a repetition; name where it begins, as in `00/15`",
        ),
        (
            "*-*~31",
            "column 5 (day from the end of the month): found `31`, expected 1-28 (the days that each month has)",
        ),
        (
            "10:00 Europe/Berlinn",
            "column 7 (time zone): found `Europe/Berlinn`, expected a time zone such as \
          Europe/Berlin or UTC, or the end; did you mean `Europe/Berlin`?",
        ),
        ("*-04-31", "column 1: no such date exists; this expression would never fire"),
        (
            "every(5)",
            "column 7 (interval): `5` is no duration: a unit is missing; write for example \"90s\", \
          \"1h30m\", \"7d\" or \"250ms\"",
        ),
        ("every(\"5m\"", "column 11: a closing parenthesis is missing"),
        (
            "every(1ms)",
            "column 7 (interval): found `1ms`, expected an interval of at least 100ms, and a phase below it",
        ),
        (
            "every(1h, 1h)",
            "column 7 (interval): found `1h, 1h`, expected an interval of at least 100ms, and a phase below it",
        ),
        (
            "at(\"soon\")",
            "column 5 (time): found `soon`, expected a time such as 2027-01-01T00:00:00, or with an \
          offset, 2027-01-01T00:00:00+01:00",
        ),
        ("[]", "column 1: the list is empty"),
        (
            "[\"@daily\", 0 4 * * *]",
            "column 12: found `0 4 * * *`, expected a text in quotes, `every(…)` or `at(…)`",
        ),
        (
            "[\"@daily\", \"0 4 * * 8\"]",
            "column 21 (weekday): found `8`, expected 0-7 (0 and 7 are Sunday) or sun-sat",
        ),
        ("[\"@daily\"", "column 10: a closing bracket is missing"),
        ("0 4 * *\n*", "column 8: a line break or control character"),
    ];
    for (text, expected) in cases {
        let found = When::parse(text, zones()).expect_err(text).to_string();
        if text.ends_with("backup") {
            assert!(
                found.ends_with("; if this is a command, leave it out; six fields begin with the second"),
                "{found}"
            );
        } else {
            assert_eq!(found, expected, "{text}");
        }
    }
}

#[test]
fn a_diagnostic_points_at_the_place() {
    let text = "0 4 * * mon,tuw";
    let diagnostic = When::parse(text, zones()).unwrap_err().diagnostic(text);
    assert_eq!(diagnostic.notes, ["0 4 * * mon,tuw\n            ^^^"]);
    assert_eq!(diagnostic.hint.as_deref(), Some("did you mean `tue`?"));
}

#[test]
fn limits_are_refused_and_not_run_into() {
    let long = "0".repeat(5_000);
    assert!(When::parse(&long, zones()).unwrap_err().to_string().contains("longer than 4096 characters"));
    let many = format!("[{}]", vec!["every(1h)"; 65].join(","));
    assert!(When::parse(&many, zones()).unwrap_err().to_string().contains("more than 64 items"));
}

#[test]
fn different_texts_for_the_same_times() {
    let same = [
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * fri-sun", "0 0 * * 5,6,0"),
        ("0 0 * * 5-7", "0 0 * * SUN,Fri,sat"),
        ("0 0 1 JAN *", "@yearly"),
        ("0 0 1 1 *", "@annually"),
        ("0 0 1 * *", "@monthly"),
        ("0 0 * * sun", "@weekly"),
        ("0 0 * * *", "@MIDNIGHT"),
        ("0 * * * *", "@hourly"),
        ("0 30 4 * * *", "30 4 * * *"),
        ("0-59/15 4 * * *", "0,15,30,45 4 * * *"),
        ("*-*-* 04:30:00", "30 4 * * *"),
        ("*-*-* *:00/15", "*/15 * * * *"),
    ];
    for (left, right) in same {
        let (When::Calendar(left), When::Calendar(right)) = (when(left), when(right)) else {
            panic!("{left}")
        };
        assert_eq!(left.calendar(), right.calendar(), "{} and {}", left.text(), right.text());
    }
}

#[test]
fn written_and_read_again() {
    let cases = [
        ("30  4 * *  mon-fri", "30 4 * * mon-fri"),
        ("@daily", "@daily"),
        (" Mon..Fri  04:30 Europe/Berlin ", "Mon..Fri 04:30 Europe/Berlin"),
        ("every('90m')", "every(\"1h30m\")"),
        ("every(1h,10m)", "every(\"1h\", \"10m\")"),
        ("at(2027-01-01)", "at(\"2027-01-01T00:00:00\")"),
        ("at(\"2027-01-01T00:00:00+01:00\")", "at(\"2026-12-31T23:00:00Z\")"),
        ("@1493187147", "at(\"2017-04-26T06:12:27Z\")"),
        ("['@daily',every(5m) , \"*-*~01 12:00\"]", "[\"@daily\", every(\"5m\"), \"*-*~01 12:00\"]"),
    ];
    for (text, expected) in cases {
        let read = when(text);
        assert_eq!(read.to_string(), expected);
        assert_eq!(when(expected), read);
    }
}

#[test]
fn values_of_scripts() {
    let text = |text: &str| Value::String(text.to_owned());
    let list = When::from_value(&Value::Array(vec![text("@daily"), text("every(\"5m\")")]), zones()).unwrap();
    assert_eq!(list.to_string(), "[\"@daily\", every(\"5m\")]");
    for (value, expected) in [
        (Value::Int(5), "column 1: expected a text or an array of texts, found"),
        (Value::Array(vec![]), "column 1: the list is empty"),
        (Value::Array(vec![text("@daily"), Value::Int(5)]), "column 1: item 2: expected a text, found"),
        (Value::Array(vec![text("0 25 * * *")]), "column 3 (hour): item 1: found `25`"),
        (Value::Array(vec![text("[\"@daily\"]")]), "column 1: item 1: a list within a list"),
    ] {
        let found = When::from_value(&value, zones()).unwrap_err().to_string();
        assert!(found.starts_with(expected), "{found}");
    }
}

/// Text made of what expressions are made of: it gets further into the parsers than noise does.
fn nearly_an_expression() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(" "),
        Just("*"),
        Just("/"),
        Just("-"),
        Just(","),
        Just(".."),
        Just("~"),
        Just(":"),
        Just("."),
        Just("@"),
        Just("0"),
        Just("7"),
        Just("31"),
        Just("59"),
        Just("2026"),
        Just("4294967296"),
        Just("99999999999999999999"),
        Just("mon"),
        Just("Sunday"),
        Just("jan"),
        Just("daily"),
        Just("UTC"),
        Just("Europe/Berlin"),
        Just("every("),
        Just("at("),
        Just(")"),
        Just("["),
        Just("]"),
        Just("\""),
        Just("'"),
        Just("5m"),
        Just("ß"),
        Just("…"),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn arbitrary_text_is_read_or_refused(text in prop_oneof![any::<String>(), nearly_an_expression()]) {
        match When::parse(&text, zones()) {
            Ok(read) => {
                let written = read.to_string();
                prop_assert_eq!(When::parse(&written, zones()).map_err(|error| error.to_string()), Ok(read));
            }
            Err(error) => {
                prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1);
                prop_assert!(!error.diagnostic(&text).message.is_empty());
            }
        }
    }
}
