//! How long the next fire time takes: `cargo bench -p hob-scheduler`.
//!
//! Each line is asked for its next fire after 20,000 instants, first in UTC and then in a zone whose clock
//! changes; once in order (each fire after the last) and once at instants spread over ten years, as a daemon
//! with many schedules asks. The floor is one lookup of a zone's offset, measured in the same run.

#![allow(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::Instant;

use hob_scheduler::{LocalTime, When};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

const CALLS: usize = 20_000;
/// The median of this many rounds is printed.
const ROUNDS: usize = 9;

const LINES: [&str; 10] = [
    "* * * * *",
    "*/5 * * * *",
    "0 * * * *",
    "30 4 * * *",
    "30 4 * * mon-fri",
    "0 12 1 * mon",
    "0 0 29 2 *",
    "*/10 * * * * *",
    "Mon..Fri *-*~01..07 04:30:00",
    "every(5m)",
];

fn main() {
    let zones = TimeZoneDatabase::bundled();
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("the text is a timestamp");
    let spread: Vec<_> = (0..CALLS)
        .map(|n| start + SignedDuration::from_secs((n as i64 * 7_919 * 15_761) % (10 * 365 * 86_400)))
        .collect();
    let berlin = zones.get("Europe/Berlin").expect("the bundled zones have Berlin");
    let floor = median(|| spread.iter().for_each(|at| _ = black_box(berlin.to_offset(*at))));
    println!("floor: one offset lookup in Europe/Berlin {floor:.0} ns\n");
    println!("{:<32} {:>9} {:>9} {:>9} {:>9}", "ns per next fire", "UTC", "Berlin", "in order", "× floor");
    for line in LINES {
        let when = When::parse(line, &zones).expect("the lines of the benchmark are valid");
        let ask =
            |rules: &LocalTime| median(|| spread.iter().for_each(|at| _ = black_box(when.next(*at, rules))));
        let utc = ask(&LocalTime::of(TimeZone::UTC));
        let rules = LocalTime::of(berlin.clone());
        let local = ask(&rules);
        // A line that fires rarely would leave the zone's data: start over where it ends.
        let in_order = median(|| {
            (0..CALLS).fold(start, |at, _| {
                when.next(at, &rules).filter(|at| at.as_second() < 4_000_000_000).unwrap_or(start)
            });
        });
        println!("{line:<32} {utc:>9.0} {local:>9.0} {in_order:>9.0} {:>9.1}", local / floor);
    }
}

/// Nanoseconds per call of a round of [`CALLS`] calls.
fn median(mut round: impl FnMut()) -> f64 {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed().as_nanos() as f64 / CALLS as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}
