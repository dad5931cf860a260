//! The vectors of croner's `tests/ocps.rs` (Open Cron Pattern Specification 1.0 to 1.4) and `tests/dst_overlap.rs`, as data.
//!
//! What of the specification is not part of a crontab line is refused here: `L`, `W`, `#` and `+`, `@reboot`, and a field
//! for years. `OnCalendar` has forms for the first three: `*-*~01`, `Fri *-*~01..07`, `Tue *-*-08..14`.

use hob_scheduler::When;
use jiff::civil::date;

use crate::{fires, rules, time, when, zones};

/// Lines that the specification takes: what they name, and what they do not.
const NAMED: &[(&str, &[&str], &[&str])] = &[
    ("15 10 1 10 *", &["2025-10-01T10:15:00Z"], &["2025-10-02T10:15:00Z"]),
    (
        "*/15 0-4,8-12 * JAN-MAR,DEC MON-FRI",
        &["2025-01-06T08:15:00Z"],
        &["2025-01-05T08:15:00Z", "2025-01-06T05:00:00Z"],
    ),
    // Either day field.
    ("0 12 1 * MON", &["2025-07-01T12:00:00Z", "2025-07-14T12:00:00Z"], &["2025-07-15T12:00:00Z"]),
    ("30 15 10 1 10 *", &["2025-10-01T10:15:30Z"], &["2025-10-01T10:15:00Z"]),
    ("*/10 * * * *", &["2025-07-01T12:50:00Z"], &["2025-07-01T12:55:00Z"]),
    ("0-30/10 * * * *", &["2025-07-01T12:30:00Z"], &["2025-07-01T12:40:00Z"]),
    ("10-50/5 * * * *", &["2025-07-01T12:15:00Z"], &["2025-07-01T12:05:00Z"]),
];

/// Names of lines.
const NICKNAMES: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Lines that are refused: as the specification says, or since it goes beyond crontab lines.
const REFUSED: &[&str] = &[
    "/10 * * * *",
    "* /5 * * *",
    "0 0 +1 * *",
    "0 12 1 * +MON",
    "0 0 L * *",
    "0 0 * * 5L",
    "0 0 * * 2#2",
    "0 0 5W 7 *",
    "0 0 LW * *",
    "0 0 31W * *",
    "@reboot",
    "0 0 12 1 1 * 2025",
];

#[test]
fn lines_of_the_specification() {
    let utc = rules("UTC", None, None);
    for (line, named, others) in NAMED {
        let fires = |at: &str| {
            let at = time(at);
            when(line).next(at.checked_sub(jiff::SignedDuration::from_secs(1)).unwrap(), &utc) == Some(at)
        };
        assert!(named.iter().all(|at| fires(at)), "{line}");
        assert!(!others.iter().any(|at| fires(at)), "{line}");
    }
    for (name, line) in NICKNAMES {
        let of = |text| fires(text, &utc, "2025-07-01T00:00:00Z", 5);
        assert_eq!(of(name), of(line), "{name}");
    }
    for line in REFUSED {
        assert!(When::parse(line, zones()).is_err(), "{line} is taken");
    }
}

#[test]
fn a_repeated_range_of_the_clock_is_passed_once_each_way() {
    for (zone_name, day, hour, minute) in [
        ("Europe/Paris", date(2024, 10, 27), 2, 30),
        ("Australia/Lord_Howe", date(2024, 4, 7), 1, 40),
        ("Pacific/Chatham", date(2024, 4, 7), 3, 20),
    ] {
        let rules = rules(zone_name, None, None);
        let wanted = day.at(hour, minute, 0, 0);
        let twice = rules.zone.to_ambiguous_zoned(wanted);
        let (first, second) =
            (twice.clone().earlier().unwrap().timestamp(), twice.later().unwrap().timestamp());
        let line = when("* * * * *");
        assert!(line.next(second, &rules).unwrap() > second, "{zone_name}");
        let before = first.checked_sub(jiff::SignedDuration::from_secs(60)).unwrap();
        let found: Vec<_> = line.fires(before, &rules).take(200).collect();
        // Each minute that passes, once, forward: 200 of them are 200 minutes.
        let minutes = found.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs());
        assert!(minutes.clone().all(|seconds| seconds == 60), "{zone_name}");
        let hits = found.iter().filter(|at| rules.zone.to_datetime(**at) == wanted).count();
        assert_eq!(hits, 2, "{zone_name}");
    }
    // From the second 02:45 on, the next is in the next year, in the first pass.
    let paris = rules("Europe/Paris", None, None);
    let found = fires("*/30 2 26-27 10 *", &paris, "2024-10-27T01:45:00Z", 1);
    assert_eq!(found, ["2025-10-26T02:00:00+02:00"]);
}
