//! The cases of systemd's `src/test/test-calendarspec.c`, as data.
//!
//! systemd skips local times that do not exist and takes the first of two: the cases run with `gap: skip`.

use hob_scheduler::{Gap, LocalTime, OverlapHour, When};
use jiff::Timestamp;

use crate::{rules, when, zones};

/// Expressions and their long forms: both name the same times in the same zone.
const FORMS: &[(&str, &str)] = &[
    ("Sat,Thu,Mon-Wed,Sat-Sun", "Mon..Thu,Sat,Sun *-*-* 00:00:00"),
    ("Sat,Thu,Mon..Wed,Sat..Sun", "Mon..Thu,Sat,Sun *-*-* 00:00:00"),
    ("Mon,Sun 12-*-* 2,1:23", "Mon,Sun 2012-*-* 01,02:23:00"),
    ("Wed *-1", "Wed *-*-01 00:00:00"),
    ("Wed-Wed,Wed *-1", "Wed *-*-01 00:00:00"),
    ("Wed..Wed,Wed *-1", "Wed *-*-01 00:00:00"),
    ("Wed, 17:48", "Wed *-*-* 17:48:00"),
    ("Wednesday,", "Wed *-*-* 00:00:00"),
    ("Wed-Sat,Tue 12-10-16 1:2:3", "Tue..Sat 2012-10-16 01:02:03"),
    ("*-*-7 0:0:0", "*-*-07 00:00:00"),
    ("10-15", "*-10-15 00:00:00"),
    ("monday *-12-* 17:00", "Mon *-12-* 17:00:00"),
    ("Mon,Fri *-*-3,1,2 *:30:45", "Mon,Fri *-*-01,02,03 *:30:45"),
    ("12,14,13,12:20,10,30", "*-*-* 12,13,14:10,20,30:00"),
    ("mon,fri *-1/2-1,3 *:30:45", "Mon,Fri *-01/2-01,03 *:30:45"),
    ("03-05 08:05:40", "*-03-05 08:05:40"),
    ("08:05:40", "*-*-* 08:05:40"),
    ("05:40", "*-*-* 05:40:00"),
    ("Sat,Sun 12-05 08:05:40", "Sat,Sun *-12-05 08:05:40"),
    ("Sat,Sun 08:05:40", "Sat,Sun *-*-* 08:05:40"),
    ("2003-03-05 05:40", "2003-03-05 05:40:00"),
    ("2003-03-05", "2003-03-05 00:00:00"),
    ("03-05", "*-03-05 00:00:00"),
    ("hourly", "*-*-* *:00:00"),
    ("daily", "*-*-* 00:00:00"),
    ("monthly", "*-*-01 00:00:00"),
    ("weekly", "Mon *-*-* 00:00:00"),
    ("minutely", "*-*-* *:*:00"),
    ("quarterly", "*-01,04,07,10-01 00:00:00"),
    ("semi-annually", "*-01,07-01 00:00:00"),
    ("annually", "*-01-01 00:00:00"),
    ("*:2/3", "*-*-* *:02/3:00"),
    ("2015-10-25 01:00:00 uTc", "2015-10-25 01:00:00 UTC"),
    ("2015-10-25 01:00:00 Asia/Vladivostok", "2015-10-25 01:00:00 Asia/Vladivostok"),
    ("weekly Pacific/Auckland", "Mon *-*-* 00:00:00 Pacific/Auckland"),
    ("2016-03-27 03:17:00.4200005", "2016-03-27 03:17:00.420001"),
    ("2016-03-27 03:17:00/0.42", "2016-03-27 03:17:00/0.420000"),
    ("9..11,13:00,30", "*-*-* 09..11,13:00,30:00"),
    ("1..3-1..3 1..3:1..3", "*-01..03-01..03 01..03:01..03:00"),
    ("00:00:1.125..2.125", "*-*-* 00:00:01.125000..02.125000"),
    ("00:00:1.0..3.8", "*-*-* 00:00:01..03"),
    ("00:00:01/2,02..03", "*-*-* 00:00:01/2,02..03"),
    ("*-*~1 Utc", "*-*~01 00:00:00 UTC"),
    ("*-*~05,3 ", "*-*~03,05 00:00:00"),
    ("*-*~* 00:00:00", "*-*-* 00:00:00"),
    ("Monday", "Mon *-*-* 00:00:00"),
    ("Monday *-*-*", "Mon *-*-* 00:00:00"),
    ("*-*-*", "*-*-* 00:00:00"),
    ("*:*:*", "*-*-* *:*:*"),
    ("*:*", "*-*-* *:*:00"),
    ("12:*", "*-*-* 12:*:00"),
    ("*:30", "*-*-* *:30:00"),
    ("93..00-*-*", "1993..2000-*-* 00:00:00"),
    ("00..07-*-*", "2000..2007-*-* 00:00:00"),
    ("*:20..39/5", "*-*-* *:20..35/5:00"),
    ("00:00:20..40/1", "*-*-* 00:00:20..40"),
    ("*~03/1,03..05", "*-*~03/1,03..05 00:00:00"),
    ("*:05..05", "*-*-* *:05:00"),
    ("*:05..10/6", "*-*-* *:05:00"),
    ("@0 UTC", "@0"),
];

#[test]
fn forms() {
    for (short, long) in FORMS {
        match (when(short), when(long)) {
            (When::Calendar(short), When::Calendar(long)) => {
                assert_eq!(short.calendar(), long.calendar(), "{} and {}", short.text(), long.text());
                assert_eq!(short.zone(), long.zone(), "{} and {}", short.text(), long.text());
            }
            (short, long) => assert_eq!(short, long),
        }
    }
}

/// Expression, zone of the machine, the instant before and the expected one, in microseconds.
const NEXT: &[(&str, &str, i64, Option<i64>)] = &[
    ("2016-03-27 03:17:00", "UTC", 12345, Some(1459048620000000)),
    ("2016-03-27 03:17:00", "CET", 12345, Some(1459041420000000)),
    ("2016-03-27 03:17:00", "EET", 12345, None),
    ("2016-03-27 03:17:00 UTC", "CET", 12345, Some(1459048620000000)),
    ("2016-03-27 03:17:00 UTC", "EET", 12345, Some(1459048620000000)),
    ("2016-03-27 03:17:00.420000001 UTC", "EET", 12345, Some(1459048620420000)),
    ("2016-03-27 03:17:00.4200005 UTC", "EET", 12345, Some(1459048620420001)),
    ("2015-11-13 09:11:23.42", "EET", 12345, Some(1447398683420000)),
    ("2015-11-13 09:11:23.42/1.77", "EET", 1447398683420000, Some(1447398685190000)),
    ("2015-11-13 09:11:23.42/1.77", "EET", 1447398683419999, Some(1447398683420000)),
    ("Sun 16:00:00", "CET", 1456041600123456, Some(1456066800000000)),
    ("2016-02~01 UTC", "UTC", 12345, Some(1456704000000000)),
    ("Mon 2017-05~01..07 UTC", "UTC", 12345, Some(1496016000000000)),
    ("Mon 2017-05~07/1 UTC", "UTC", 12345, Some(1496016000000000)),
    ("*-*-01/5 04:00:00 UTC", "UTC", 1646010000000000, Some(1646107200000000)),
    ("*-01/7-01 04:00:00 UTC", "UTC", 1664607600000000, Some(1672545600000000)),
    ("2017-08-06 9,11,13,15,17:00 UTC", "UTC", 1502029800000000, Some(1502031600000000)),
    ("2017-08-06 9..17/2:00 UTC", "UTC", 1502029800000000, Some(1502031600000000)),
    ("2016-12-* 3..21/6:00 UTC", "UTC", 1482613200000001, Some(1482634800000000)),
    ("2017-09-24 03:30:00 Pacific/Auckland", "UTC", 12345, Some(1506177000000000)),
    ("2017-09-24 02:30:00 Pacific/Auckland", "UTC", 12345, None),
    ("2017-04-02 02:30:00 Pacific/Auckland", "UTC", 12345, Some(1491053400000000)),
    ("2017-04-02 02:30:00 Pacific/Auckland", "UTC", 1491053400000000, None),
    ("2017-04-02 03:30:00 Pacific/Auckland", "UTC", 12345, Some(1491060600000000)),
    ("2017-09-09 20:42:00 Pacific/Auckland", "UTC", 12345, Some(1504946520000000)),
    ("2017-09-09 20:42:00 Pacific/Auckland", "EET", 12345, Some(1504946520000000)),
    ("Sun *-*-* 01:00:00 Europe/Dublin", "UTC", 1616412478000000, Some(1617494400000000)),
    ("Sun *-*-* 01:00:00 Europe/Dublin", "Asia/Kolkata", 1616412478000000, Some(1617494400000000)),
];

#[test]
fn next() {
    for (text, zone, after, expected) in NEXT {
        let rules = rules(zone, Some(Gap::Skip), Some(OverlapHour::First));
        let found = when(text).next(Timestamp::from_microsecond(*after).unwrap(), &rules);
        assert_eq!(found.map(Timestamp::as_microsecond), *expected, "{text} in {zone}");
    }
}

#[test]
fn refused() {
    let cases = [
        "test",
        " utc",
        "    ",
        "",
        "7",
        "121212:1:2",
        "2000-03-05.23 00:00:00",
        "2000-03-05 00:00.1:00",
        "00:00:00/0.00000001",
        "00:00:00.0..00.9",
        "2016~11-22",
        "*-*~5/5",
        "Monday.. 12:00",
        "Monday..",
        "-00:+00/-5",
        "00:+00/-5",
        "2016- 11- 24 12: 30: 00",
        "*~29",
        "*~16..31",
        "12..1/2-*",
        "20/4:00",
        "00:00/60",
        "00:00:2300",
        "00:00:18446744073709551615",
        "@88588582097858858",
        "24:00",
        "23:59:60",
        "Mon *",
        "Mon,,",
        "mon.tue",
        "Mon..Wed..Fri",
        "*-*-20..10",
        "*-*-1/31",
        "12:",
        "12:3:",
        "1969-1-1",
        "2200-01-01",
        // systemd takes these and never fires: there is no such day, and 15 October 2012 was a Monday.
        "*-04-31",
        "Wed..Sat,Tue 12-10-15 1:2:3",
    ];
    for text in cases {
        assert!(When::parse(text, zones()).is_err(), "{text:?}");
    }
}

/// A calendar names its own zone: the schedule's does not matter.
#[test]
fn the_zone_of_the_expression_goes_first() {
    let rules = LocalTime::of(crate::zone("America/New_York"));
    let found = when("04:30 Europe/Berlin").next(crate::time("2026-01-01T00:00:00Z"), &rules).unwrap();
    assert_eq!(found.to_string(), "2026-01-01T03:30:00Z");
}
