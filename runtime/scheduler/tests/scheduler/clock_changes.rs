//! Where clocks are put forward and back: vectors per zone, each with its policy.

use hob_scheduler::{Gap, LocalTime, OverlapHour};
use jiff::tz::TimeZone;

use crate::{fires, rules, when};

const AFTER: Option<Gap> = Some(Gap::RunAfter);
const SKIP: Option<Gap> = Some(Gap::Skip);
const FIRST: Option<OverlapHour> = Some(OverlapHour::First);
const BOTH: Option<OverlapHour> = Some(OverlapHour::Both);

struct Case {
    zone: &'static str,
    text: &'static str,
    gap: Option<Gap>,
    overlap_hour: Option<OverlapHour>,
    from: &'static str,
    fires: &'static [&'static str],
}

const fn case(
    zone: &'static str,
    text: &'static str,
    (gap, overlap_hour): (Option<Gap>, Option<OverlapHour>),
    from: &'static str,
    fires: &'static [&'static str],
) -> Case {
    Case { zone, text, gap, overlap_hour, from, fires }
}

const DEFAULT: (Option<Gap>, Option<OverlapHour>) = (None, None);

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Berlin, 29 March 2026: 02:00 +01 → 03:00 +02. 25 October 2026: 03:00 +02 → 02:00 +01.
    case("Europe/Berlin", "30 2 * * *", DEFAULT, "2026-03-28T00:00:00Z",
        &["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
    case("Europe/Berlin", "30 2 * * *", (SKIP, None), "2026-03-28T00:00:00Z",
        &["2026-03-28T02:30:00+01:00", "2026-03-30T02:30:00+02:00"]),
    case("Europe/Berlin", "*-*-* 02:30:00", DEFAULT, "2026-03-28T02:00:00Z",
        &["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
    // Several missing times are made up for once, and not beside the one that is there.
    case("Europe/Berlin", "0,20,40 2,3 * * *", DEFAULT, "2026-03-29T00:00:00Z",
        &["2026-03-29T03:00:00+02:00", "2026-03-29T03:20:00+02:00", "2026-03-29T03:40:00+02:00", "2026-03-30T02:00:00+02:00"]),
    case("Europe/Berlin", "0 3 * * *", DEFAULT, "2026-03-28T12:00:00Z",
        &["2026-03-29T03:00:00+02:00", "2026-03-30T03:00:00+02:00"]),
    // A line that follows the clock does not make up for what was not there, unless told to.
    case("Europe/Berlin", "30 * * * *", DEFAULT, "2026-03-29T00:00:00Z",
        &["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"]),
    case("Europe/Berlin", "30 * * * *", (AFTER, None), "2026-03-29T00:00:00Z",
        &["2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"]),
    case("Europe/Berlin", "*/30 2 * * *", DEFAULT, "2026-03-28T12:00:00Z",
        &["2026-03-30T02:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
    case("Europe/Berlin", "* 30 2 * * *", DEFAULT, "2026-03-28T12:00:00Z",
        &["2026-03-30T02:30:00+02:00", "2026-03-30T02:30:01+02:00"]),
    case("Europe/Berlin", "02:00/30", DEFAULT, "2026-03-28T12:00:00Z",
        &["2026-03-30T02:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
    case("Europe/Berlin", "30 2 * * *", DEFAULT, "2026-10-24T12:00:00Z",
        &["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
    case("Europe/Berlin", "30 2 * * *", (None, BOTH), "2026-10-24T12:00:00Z",
        &["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-26T02:30:00+01:00"]),
    // From within the second pass, the first is over.
    case("Europe/Berlin", "30 2 * * *", DEFAULT, "2026-10-25T01:10:00Z", &["2026-10-26T02:30:00+01:00"]),
    case("Europe/Berlin", "0 3 * * *", DEFAULT, "2026-10-24T12:00:00Z",
        &["2026-10-25T03:00:00+01:00", "2026-10-26T03:00:00+01:00"]),
    case("Europe/Berlin", "30 * * * *", DEFAULT, "2026-10-24T23:00:00Z",
        &["2026-10-25T01:30:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"]),
    case("Europe/Berlin", "*/30 * * * *", (None, FIRST), "2026-10-25T00:00:00Z",
        &["2026-10-25T02:30:00+02:00", "2026-10-25T03:00:00+01:00"]),
    case("Europe/Berlin", "@hourly", DEFAULT, "2026-10-24T23:30:00Z",
        &["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"]),
    case("Europe/Berlin", "at(2026-03-29T02:30:00)", DEFAULT, "2026-01-01T00:00:00Z", &["2026-03-29T03:00:00+02:00"]),
    case("Europe/Berlin", "at(2026-03-29T02:30:00)", (SKIP, None), "2026-01-01T00:00:00Z", &[]),
    case("Europe/Berlin", "at(2026-10-25T02:30:00)", (None, BOTH), "2026-01-01T00:00:00Z",
        &["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"]),
    case("Europe/Berlin", "2026-10-25 02:30:00", (None, BOTH), "2026-01-01T00:00:00Z",
        &["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"]),
    case("Europe/Berlin", "Sun *-03~01..07 02:30", (SKIP, None), "2026-01-01T00:00:00Z", &[]),
    // An interval knows no clock.
    case("Europe/Berlin", "every(1h)", DEFAULT, "2026-10-24T23:00:00Z",
        &["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"]),

    // New York, 8 March 2026: 02:00 -05 → 03:00 -04. 1 November 2026: 02:00 -04 → 01:00 -05.
    case("America/New_York", "15 2 8 3 *", DEFAULT, "2026-01-01T00:00:00Z", &["2026-03-08T03:00:00-04:00", "2027-03-08T02:15:00-05:00"]),
    case("America/New_York", "0 1 * * *", DEFAULT, "2026-10-31T12:00:00Z",
        &["2026-11-01T01:00:00-04:00", "2026-11-02T01:00:00-05:00"]),
    case("America/New_York", "0 1 * * *", (None, BOTH), "2026-10-31T12:00:00Z",
        &["2026-11-01T01:00:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-02T01:00:00-05:00"]),

    // Lord Howe changes by half an hour. 4 October 2026: 02:00 +10:30 → 02:30 +11. 5 April 2026: 02:00 +11 → 01:30 +10:30.
    case("Australia/Lord_Howe", "15 2 * * *", DEFAULT, "2026-10-03T00:00:00Z",
        &["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"]),
    case("Australia/Lord_Howe", "*/10 * * * *", DEFAULT, "2026-10-03T15:15:00Z",
        &["2026-10-04T01:50:00+10:30", "2026-10-04T02:30:00+11:00", "2026-10-04T02:40:00+11:00"]),
    case("Australia/Lord_Howe", "45 1 * * *", DEFAULT, "2026-04-04T12:00:00Z",
        &["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"]),
    case("Australia/Lord_Howe", "15,45 * * * *", DEFAULT, "2026-04-04T14:00:00Z",
        &["2026-04-05T01:15:00+11:00", "2026-04-05T01:45:00+11:00", "2026-04-05T01:45:00+10:30", "2026-04-05T02:15:00+10:30"]),

    // Chatham, 27 September 2026: 02:45 +12:45 → 03:45 +13:45. 5 April 2026: 03:45 +13:45 → 02:45 +12:45.
    case("Pacific/Chatham", "0 3 * * *", DEFAULT, "2026-09-26T00:00:00Z",
        &["2026-09-27T03:45:00+13:45", "2026-09-28T03:00:00+13:45"]),
    case("Pacific/Chatham", "0 3 * * *", (None, BOTH), "2026-04-04T00:00:00Z",
        &["2026-04-05T03:00:00+13:45", "2026-04-05T03:00:00+12:45", "2026-04-06T03:00:00+12:45"]),

    // Casablanca puts its clock back for Ramadan: 15 February 2026 03:00 +01 → 02:00 +00, and 22 March 02:00 → 03:00.
    case("Africa/Casablanca", "30 2 * * *", DEFAULT, "2026-02-14T12:00:00Z",
        &["2026-02-15T02:30:00+01:00", "2026-02-16T02:30:00+00:00"]),
    case("Africa/Casablanca", "30 2 * * *", DEFAULT, "2026-03-21T12:00:00Z",
        &["2026-03-22T03:00:00+01:00", "2026-03-23T02:30:00+01:00"]),

    // Dublin, 29 March 2026: 01:00 +00 → 02:00 +01. 25 October 2026: 02:00 +01 → 01:00 +00.
    case("Europe/Dublin", "30 1 * * *", DEFAULT, "2026-03-28T12:00:00Z",
        &["2026-03-29T02:00:00+01:00", "2026-03-30T01:30:00+01:00"]),
    case("Europe/Dublin", "30 1 * * *", DEFAULT, "2026-10-24T12:00:00Z",
        &["2026-10-25T01:30:00+01:00", "2026-10-26T01:30:00+00:00"]),

    // Apia had no 30 December 2011: what belongs to that day is not made up for on the next.
    case("Pacific/Apia", "0 12 * * *", DEFAULT, "2011-12-29T00:00:00Z",
        &["2011-12-29T12:00:00-10:00", "2011-12-31T12:00:00+14:00"]),
    case("Pacific/Apia", "0 12 30 12 *", (AFTER, None), "2011-01-01T00:00:00Z", &["2012-12-30T12:00:00+14:00"]),
    case("Pacific/Apia", "0 * * * *", DEFAULT, "2011-12-30T08:30:00Z",
        &["2011-12-29T23:00:00-10:00", "2011-12-31T00:00:00+14:00"]),

    // São Paulo skipped midnight, 4 November 2018 00:00 -03 → 01:00 -02: the same day still.
    case("America/Sao_Paulo", "@daily", DEFAULT, "2018-11-03T12:00:00Z",
        &["2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"]),
    // Nuuk skips the last hour of a day, 28 March 2026 23:00 -02 → 29 March 00:00 -01: another day.
    case("America/Nuuk", "30 23 * * *", DEFAULT, "2026-03-28T12:00:00Z", &["2026-03-29T23:30:00-01:00"]),
    // Kwajalein went over the date line westward, 20 August 1993 had only its end: a day without noon.
    case("Pacific/Kwajalein", "0 12 * * *", DEFAULT, "1993-08-20T00:00:00Z",
        &["1993-08-20T12:00:00-12:00", "1993-08-22T12:00:00+12:00"]),
];

#[test]
fn vectors() {
    for case in CASES {
        let rules = rules(case.zone, case.gap, case.overlap_hour);
        let once = case.text.starts_with("at(") || case.text.starts_with("2026-");
        let more = usize::from(once || case.fires.is_empty());
        let found = fires(case.text, &rules, case.from, case.fires.len() + more);
        assert_eq!(
            found, case.fires,
            "{} in {} ({:?}, {:?})",
            case.text, case.zone, case.gap, case.overlap_hour
        );
    }
}

/// The law of Ireland makes winter the exception: its daylight saving time has a negative offset. The
/// bundled data says it the other way round, so the rule is given here as POSIX text.
#[test]
fn negative_daylight_saving_time() {
    let rules = LocalTime::of(TimeZone::posix("IST-1GMT0,M10.5.0,M3.5.0/1").unwrap());
    assert_eq!(
        fires("30 1 * * *", &rules, "2026-03-28T12:00:00Z", 2),
        ["2026-03-29T02:00:00+01:00", "2026-03-30T01:30:00+01:00"]
    );
    assert_eq!(
        fires("30 1 * * *", &rules, "2026-10-24T12:00:00Z", 2),
        ["2026-10-25T01:30:00+01:00", "2026-10-26T01:30:00+00:00"]
    );
}

/// A repeated minute comes twice for a line that follows the clock, and the fires go one way.
#[test]
fn each_minute_of_an_overlap_comes_twice() {
    for (zone, from) in [
        ("Europe/Paris", "2024-10-26T22:00:00Z"),
        ("Australia/Lord_Howe", "2024-04-06T12:00:00Z"),
        ("Pacific/Chatham", "2024-04-06T12:00:00Z"),
    ] {
        let rules = rules(zone, None, None);
        let found: Vec<_> = when("* * * * *").fires(crate::time(from), &rules).take(300).collect();
        assert!(found.windows(2).all(|pair| pair[1].duration_since(pair[0]).as_secs() == 60), "{zone}");
    }
}

/// A search that never ends up anywhere ends: the last Sunday of March at 02:30 is always in Berlin's gap.
#[test]
fn what_is_always_skipped_ends_the_search() {
    let rules = rules("Europe/Berlin", SKIP, None);
    assert_eq!(when("Sun *-03~01..07 02:30").next(crate::time("2026-01-01T00:00:00Z"), &rules), None);
}
