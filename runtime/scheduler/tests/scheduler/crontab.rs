//! Crontab lines on the calendar, and against another implementation.

use hob_scheduler::{LocalTime, When};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use crate::{fires, rules, time, when};

#[test]
fn days() {
    let utc = rules("UTC", None, None);
    let cases: &[(&str, &[&str])] = &[
        // Both day fields restricted: either matches (1 July 2025 is a Tuesday).
        ("0 12 1 * mon", &["07-01", "07-07", "07-14", "07-21", "07-28", "08-01"]),
        // One of them begins with `*`: both must match, also with a step.
        ("0 12 */2 * mon", &["07-07", "07-21", "08-11", "08-25", "09-01", "09-15"]),
        ("0 12 1-7 * */2", &["07-01", "07-03", "07-05", "07-06", "08-02", "08-03"]),
        ("0 12 31 * *", &["07-31", "08-31", "10-31", "12-31"]),
        ("0 12 * * 0", &["07-06", "07-13"]),
        ("0 12 * * 7", &["07-06", "07-13"]),
        ("0 12 * feb,aug sat-sun", &["08-02", "08-03", "08-09"]),
        ("0 12 29 2 *", &["2028-02-29", "2032-02-29"]),
    ];
    for (text, expected) in cases {
        let found = fires(text, &utc, "2025-07-01T00:00:00Z", expected.len());
        for (found, expected) in found.iter().zip(*expected) {
            assert!(
                found.contains(expected) && found.contains("T12:00:00"),
                "{text}: {found}, not {expected}"
            );
        }
    }
}

#[test]
fn leap_days_are_found_over_the_year_2100() {
    let utc = rules("UTC", None, None);
    assert_eq!(fires("0 0 29 2 *", &utc, "2096-03-01T00:00:00Z", 1), ["2104-02-29T00:00:00+00:00"]);
    assert_eq!(fires("Mon *-02-29", &utc, "2072-03-01T00:00:00Z", 1), ["2112-02-29T00:00:00+00:00"]);
}

#[test]
fn the_start_is_exclusive_to_the_microsecond() {
    let utc = LocalTime::of(TimeZone::UTC);
    let next = |after: &str| when("* * * * *").next(time(after), &utc).unwrap().to_string();
    assert_eq!(next("2026-01-01T00:00:00Z"), "2026-01-01T00:01:00Z");
    assert_eq!(next("2026-01-01T00:00:59.999999999Z"), "2026-01-01T00:01:00Z");
    assert_eq!(next("2025-12-31T23:59:59.999999Z"), "2026-01-01T00:00:00Z");
    assert_eq!(next("1969-12-31T23:59:59.5Z"), "1970-01-01T00:00:00Z");
}

#[test]
fn the_end_of_time_is_no_panic() {
    let utc = LocalTime::of(TimeZone::UTC);
    for text in ["* * * * * *", "@yearly", "every(1s)", "at(9999-12-30)", "*-*-* *:*:00/0.1"] {
        assert_eq!(when(text).next(Timestamp::MAX, &utc), None, "{text}");
    }
    for text in ["* * * * * *", "@yearly", "every(1s)", "*-*-* *:*:00/0.1"] {
        assert!(when(text).next(Timestamp::MIN, &utc).is_some(), "{text}");
    }
    assert_eq!(when("2026-01-01").next(time("2026-01-01T00:00:00Z"), &utc), None);
}

#[test]
fn intervals_are_multiples_since_the_epoch() {
    let utc = LocalTime::of(TimeZone::UTC);
    let next = |text: &str, after: &str| when(text).next(time(after), &utc).unwrap().to_string();
    assert_eq!(next("every(5m)", "2026-01-01T00:00:00Z"), "2026-01-01T00:05:00Z");
    assert_eq!(next("every(5m)", "2026-01-01T00:04:59.999999Z"), "2026-01-01T00:05:00Z");
    assert_eq!(next("every(7d)", "2026-01-01T12:00:00Z"), "2026-01-08T00:00:00Z");
    assert_eq!(next("every(1h, 10m)", "2026-01-01T00:00:00Z"), "2026-01-01T00:10:00Z");
    assert_eq!(next("every(1h, 10m)", "2026-01-01T00:10:00Z"), "2026-01-01T01:10:00Z");
    assert_eq!(next("every(1h)", "1969-12-31T22:30:00Z"), "1969-12-31T23:00:00Z");
}

#[test]
fn a_list_fires_once_where_its_items_coincide() {
    let utc = rules("UTC", None, None);
    assert_eq!(
        fires("[\"0 * * * *\", every(20m), at(2026-01-01T00:30:00)]", &utc, "2026-01-01T00:00:00Z", 5),
        [
            "2026-01-01T00:20:00+00:00",
            "2026-01-01T00:30:00+00:00",
            "2026-01-01T00:40:00+00:00",
            "2026-01-01T01:00:00+00:00",
            "2026-01-01T01:20:00+00:00",
        ]
    );
}

/// The numbers of one field: `*`, or some of them.
fn numbers(first: u32, last: u32) -> impl Strategy<Value = Option<Vec<u32>>> {
    let some =
        prop::collection::btree_set(first..=last, 1..4).prop_map(|set| Some(set.into_iter().collect()));
    prop_oneof![Just(None), some]
}

fn field(numbers: Option<&Vec<u32>>) -> String {
    numbers.map_or("*".to_owned(), |numbers| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(","))
}

/// The fires of the crate `cron` in UTC, with its weekdays counted from Sunday = 1.
fn fires_of_cron(line: &str, after: Timestamp) -> impl Iterator<Item = i64> {
    let schedule: cron::Schedule = line.parse().unwrap();
    let after = chrono::DateTime::from_timestamp(after.as_second(), 0).unwrap();
    schedule.after_owned(after).map(|at| at.timestamp())
}

proptest! {
    /// In UTC, the crate `cron` agrees: with one day field as a line of its own, with both as the union of two.
    #[test]
    fn the_crate_cron_agrees(
        minute in numbers(0, 59),
        hour in numbers(0, 23),
        day in numbers(1, 28),
        month in numbers(1, 12),
        weekday in numbers(0, 7),
        after in 0_i64..2_500_000_000,
    ) {
        let after = Timestamp::from_second(after).unwrap();
        let common = format!("{} {}", field(minute.as_ref()), field(hour.as_ref()));
        let months = field(month.as_ref());
        let line = format!("{common} {} {months} {}", field(day.as_ref()), field(weekday.as_ref()));
        let from_one = weekday.map(|days| days.into_iter().map(|day| day % 7 + 1).collect::<Vec<_>>());
        let of_day = format!("0 {common} {} {months} * *", field(day.as_ref()));
        let of_weekday = format!("0 {common} * {months} {} *", field(from_one.as_ref()));
        let expected: Vec<_> = match (&day, &from_one) {
            (_, None) => fires_of_cron(&of_day, after).take(20).collect(),
            (None, _) => fires_of_cron(&of_weekday, after).take(20).collect(),
            (Some(_), Some(_)) => {
                let mut both: Vec<_> =
                    fires_of_cron(&of_day, after).take(20).chain(fires_of_cron(&of_weekday, after).take(20)).collect();
                both.sort_unstable();
                both.dedup();
                both.truncate(20);
                both
            }
        };
        let utc = LocalTime::of(TimeZone::UTC);
        let found: Vec<_> = When::parse(&line, crate::zones()).unwrap()
            .fires(after, &utc).take(expected.len()).map(|at| at.as_second()).collect();
        prop_assert_eq!(found, expected, "{}", line);
    }
}
