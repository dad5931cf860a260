//! `OnCalendar` expressions against systemd itself.
//!
//! The comparison runs with `gap: skip` and `overlap_hour: first`, which is systemd's way. It starts in the first
//! hour of a day and ends at the next moment that a clock is put forward. Elsewhere systemd 252 does not do what its
//! manual says: after a gap it passes over the rest of the day (in Dublin, or at midnight) or gives up with "Resource
//! deadlock avoided" (`2/2:0 America/Sao_Paulo`). And where the next of a repetition lies beyond the end, it may go on
//! from there: `*-1/16` has after the 17th a 33rd of December, and so passes over the 1st of January; `0/5:0` has a
//! 25th hour, and so passes over the midnight after a day on which the clock is put back.
//!
//! Since more of such may be in systemd, the cases are the same each time. `HOB_LONG=1` tries new ones, and more.

#![allow(clippy::disallowed_methods, reason = "the peer is another program")]

use std::process::Command;

use hob_scheduler::{Gap, LocalTime, OverlapHour, When};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _, Zoned};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const ITERATIONS: usize = 8;

const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Chatham",
    "Europe/Dublin",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
];

/// When it fires, says systemd; `Err` holds its refusal.
fn systemd(expression: &str, after: Timestamp) -> Result<Vec<Timestamp>, String> {
    let output = Command::new("systemd-analyze")
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .arg("calendar")
        .arg(format!("--iterations={ITERATIONS}"))
        .arg(format!("--base-time={} UTC", after.strftime("%F %T")))
        .arg(expression)
        .output()
        .expect("systemd-analyze of Debian's package systemd is installed");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let of_fire = |line: &&str| {
        line.contains("Next elapse: ") || line.contains("Iter. #") || line.contains("Iteration #")
    };
    let instant = |line: &str| {
        // `Mon 2026-01-05 00:00:00 UTC`, or `never`
        let (_, when) = line.split_once(": ")?;
        let when = when.strip_suffix(" UTC")?.split_once(' ')?.1;
        Some(format!("{}Z", when.replace(' ', "T")).parse::<Timestamp>().expect("a date and a time"))
    };
    Ok(text.lines().filter(of_fire).filter_map(instant).collect())
}

fn number_field(first: u32, last: u32) -> impl Strategy<Value = String> {
    let pair = move || (first..=last, first..=last).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        3 => Just("*".to_owned()),
        3 => (first..=last).prop_map(|n| n.to_string()),
        1 => pair().prop_map(|(a, b)| format!("{a}..{b}")),
        1 => (pair(), 1..=last).prop_map(|((a, b), step)| format!("{a}..{b}/{step}")),
        1 => (first..=last, 1..=last).prop_map(|(a, step)| format!("{a}/{step}")),
        1 => prop::collection::vec(first..=last, 2..5)
            .prop_map(|list| list.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
    ]
}

fn weekdays() -> impl Strategy<Value = String> {
    let day = || prop::sample::select(vec!["Mon", "Tue", "wed", "Thursday", "Fri", "sat", "Sunday"]);
    prop_oneof![
        4 => Just(String::new()),
        1 => day().prop_map(|day| format!("{day} ")),
        1 => (day(), day()).prop_map(|(a, b)| format!("{a}..{b} ")),
        1 => (day(), day()).prop_map(|(a, b)| format!("{a},{b} ")),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    let date = prop_oneof![
        2 => Just(String::new()),
        3 => (number_field(1, 12), prop::sample::select(vec!['-', '~']), number_field(1, 31))
            .prop_map(|(month, separator, day)| format!("{month}{separator}{day} ")),
        1 => (2000..2030, number_field(1, 12), number_field(1, 31)).prop_map(|(y, m, d)| format!("{y}-{m}-{d} ")),
    ];
    let hour = prop_oneof![2 => number_field(0, 4), 1 => number_field(0, 23)];
    (
        weekdays(),
        date,
        hour,
        number_field(0, 59),
        prop::option::of(number_field(0, 59)),
        prop::sample::select(ZONES.as_slice()),
    )
        .prop_map(|(weekdays, date, hour, minute, second, zone)| {
            let second = second.map(|second| format!(":{second}")).unwrap_or_default();
            format!("{weekdays}{date}{hour}:{minute}{second} {zone}")
        })
}

/// systemd takes `5..5` and `5..10/6` as 5 in each field but the seconds, where it refuses them.
fn has_short_range_of_seconds(expression: &str) -> bool {
    let Some(time) = expression.split(' ').find(|word| word.contains(':')) else { return false };
    let Some((from, rest)) = time.split(':').nth(2).and_then(|seconds| seconds.split_once("..")) else {
        return false;
    };
    let (to, step) = rest.split_once('/').unwrap_or((rest, "1"));
    let number = |text: &str| text.parse::<u32>().unwrap();
    number(to) - number(from) < number(step)
}

/// Of a list of days from the end of the month, systemd allows the n-th only up to 28 - 3n (it takes off the
/// three days that February may lack once for each element).
fn has_list_from_end(expression: &str) -> bool {
    expression.split(' ').any(|word| word.split_once('~').is_some_and(|(_, days)| days.contains(',')))
}

/// Whether a field is a repetition without an end, as `1/16`.
fn repeats_to_the_end(field: Option<&str>) -> bool {
    field.is_some_and(|field| field.contains('/') && !field.contains(".."))
}

/// Where systemd may begin to pass over times, because a repetition goes beyond the end of its field.
fn end_of_repetitions(expression: &str, midnight: &Zoned) -> Timestamp {
    let mut words = expression.split(' ');
    let days = words.clone().find(|word| !word.contains(':')).and_then(|date| Some(date.rsplit_once('-')?.1));
    let hours = words.find(|word| word.contains(':')).and_then(|time| time.split(':').next());
    let mut end = Timestamp::MAX;
    if repeats_to_the_end(days) {
        end = midnight.last_of_year().unwrap().tomorrow().unwrap().start_of_day().unwrap().timestamp();
    }
    if repeats_to_the_end(hours) {
        let before = midnight.timestamp() - SignedDuration::from_secs(1);
        if let Some(change) = midnight.time_zone().following(before).next() {
            let day = change.timestamp().to_zoned(midnight.time_zone().clone());
            end = end.min(day.tomorrow().unwrap().start_of_day().unwrap().timestamp());
        }
    }
    end
}

fn config() -> ProptestConfig {
    if std::env::var("HOB_LONG").is_ok_and(|it| it == "1") {
        return ProptestConfig::with_cases(20_000);
    }
    ProptestConfig { rng_seed: RngSeed::Fixed(252), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn agrees(
        expression in expression(),
        change in any::<prop::sample::Index>(),
        days_after in prop_oneof![Just(0), 1_i64..150],
        minute in 0_i64..=60,
    ) {
        let zone_name = expression.rsplit(' ').next().unwrap_or_default();
        // systemd goes by the zones of the machine.
        let zone = jiff::tz::db().get(zone_name).unwrap();
        let mut changes = super::oracle::changes(&zone);
        changes.retain(|change| change.as_second() > 1_000_000_000);
        let change = changes[change.index(changes.len())].to_zoned(zone.clone());
        let midnight = change.start_of_day().unwrap().checked_add(days_after.days()).unwrap();
        let after = midnight.timestamp() + SignedDuration::from_mins(minute);
        let rules = LocalTime { zone: TimeZone::UTC, gap: Some(Gap::Skip), overlap_hour: Some(OverlapHour::First) };
        let put_forward = |change: &Timestamp| {
            let before = change.checked_sub(SignedDuration::from_secs(1)).unwrap();
            zone.to_offset(before) < zone.to_offset(*change)
        };
        let gap = zone.following(after).map(|change| change.timestamp()).find(put_forward).unwrap_or(Timestamp::MAX);
        let end = gap.min(end_of_repetitions(&expression, &midnight));
        match (When::parse(&expression, jiff::tz::db()), systemd(&expression, after)) {
            (Ok(when), Ok(expected)) => {
                // Of a time that exists twice, systemd takes one or the other, depending on where it comes from.
                let on_the_wall = |at: Timestamp| zone.to_datetime(at);
                let found: Vec<_> = when
                    .fires(after, &rules)
                    .take(ITERATIONS)
                    .take_while(|at| *at < end)
                    .map(on_the_wall)
                    .collect();
                let expected: Vec<_> =
                    expected.into_iter().take_while(|at| *at < end).map(on_the_wall).collect();
                prop_assert_eq!(found, expected, "`{}` after {}", expression, after);
            }
            (Err(_), Err(_)) => {}
            (Err(error), Ok(fires)) => {
                // Refused here because it never fires; there it is taken and never fires. And of `~4..29/2`
                // systemd checks the 28 that the repetition ends with, not the 29 that was written.
                let explained = fires.is_empty() || error.to_string().contains("expected 1-28");
                prop_assert!(explained, "`{expression}`: {error}");
            }
            (Ok(_), Err(refusal)) => {
                let explained = has_short_range_of_seconds(&expression)
                    || has_list_from_end(&expression)
                    || refusal.contains("Resource deadlock avoided");
                prop_assert!(explained, "`{expression}`: {refusal}");
            }
        }
    }
}
