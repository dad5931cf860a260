//! Durations, times and counts for people. For sizes there is [`hob_model::size::format`].

use std::time::Duration;

use hob_model::Timestamp;

/// After this many days a time is shown as a date.
const RELATIVE_DAYS_MAX: u64 = 30;

/// Shorter distances than this are "just now".
const JUST_NOW_SECONDS_MAX: u64 = 5;

/// The units of times, largest first, with their length in seconds.
const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];

/// How long something took, as precise as a person needs: two units at most, and three digits below a minute.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(hob_terminal::human::duration(Duration::from_millis(5)), "5 ms");
/// assert_eq!(hob_terminal::human::duration(Duration::from_secs(3725)), "1 h 2 min");
/// ```
#[must_use]
pub fn duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0 => "0 s".to_owned(),
        1..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        // Cut, not rounded: 9.96 s is not yet 10 s, as a clock would have it.
        1_000_000..10_000_000 => format!("{}.{} s", micros / 1_000_000, micros / 100_000 % 10),
        _ => seconds(duration.as_secs(), 2),
    }
}

/// `total` seconds in the largest unit that is not zero and those that follow, `parts` units in all.
pub(crate) fn seconds(total: u64, parts: usize) -> String {
    let first = UNITS.iter().position(|(_, length)| total >= *length).unwrap_or(UNITS.len() - 1);
    let mut rest = total;
    let mut words = Vec::new();
    for (unit, length) in UNITS.iter().skip(first).take(parts) {
        let count = rest / length;
        rest %= length;
        if count > 0 || words.is_empty() {
            words.push(format!("{count} {unit}"));
        }
    }
    words.join(" ")
}

/// A time as seen from `now`: `just now`, `3 min ago`, `in 2 h`, and a date (in UTC) when it is far.
#[must_use]
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let distance = now.as_second() - at.as_second();
    let seconds_apart = distance.unsigned_abs();
    if seconds_apart < JUST_NOW_SECONDS_MAX {
        "just now".to_owned()
    } else if seconds_apart > RELATIVE_DAYS_MAX * 86_400 {
        at.to_string().chars().take_while(|c| *c != 'T').collect()
    } else if distance > 0 {
        format!("{} ago", seconds(seconds_apart, 1))
    } else {
        format!("in {}", seconds(seconds_apart, 1))
    }
}

/// A number with its thousands apart: `12,345`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with the noun it counts: `1 run`, `12,345 runs`.
#[must_use]
pub fn counted(number: u64, singular: &str, plural: &str) -> String {
    format!("{} {}", count(number), if number == 1 { singular } else { plural })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (micros, text) in [
            (0, "0 s"),
            (999, "999 µs"),
            (12_700, "12 ms"),
            (999_999, "999 ms"),
            (1_000_000, "1.0 s"),
            (9_960_000, "9.9 s"),
            (10_000_000, "10 s"),
            (60_000_000, "1 min"),
            (200_000_000, "3 min 20 s"),
            (3_600_000_000, "1 h"),
            (3_605_000_000, "1 h"),
            (2 * 86_400_000_000 + 3_600_000_000, "2 d 1 h"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn times() {
        let now: Timestamp = "2027-03-10T12:00:00Z".parse().unwrap();
        for (at, text) in [
            ("2027-03-10T12:00:00Z", "just now"),
            ("2027-03-10T12:00:04Z", "just now"),
            ("2027-03-10T11:59:50Z", "10 s ago"),
            ("2027-03-10T11:56:30Z", "3 min ago"),
            ("2027-03-10T14:30:00Z", "in 2 h"),
            ("2027-03-08T11:00:00Z", "2 d ago"),
            ("2027-01-02T03:04:05Z", "2027-01-02"),
            ("2028-01-02T03:04:05Z", "2028-01-02"),
        ] {
            assert_eq!(relative(at.parse().unwrap(), now), text);
        }
    }

    #[test]
    fn numbers() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(counted(1, "run", "runs"), "1 run");
        assert_eq!(counted(1000, "run", "runs"), "1,000 runs");
    }
}
