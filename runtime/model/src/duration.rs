//! Durations as people write them: `"90s"`, `"1h30m"`, `"7d"`, `"250ms"`.

use std::time::Duration;

/// The units, largest first, with their length in microseconds.
const UNITS: [(&str, u64); 7] = [
    ("w", 7 * 86_400_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// The longest duration that is accepted: a hundred years.
pub const DURATION_DAYS_MAX: u64 = 36_525;

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no duration: {why}; write for example \"90s\", \"1h30m\", \"7d\" or \"250ms\"")]
pub struct DurationError {
    text: String,
    why: &'static str,
}

/// Reads a duration: one or more numbers, each with one of the units `w d h m s ms us`; a plain `0` too.
/// Numbers may have a fraction (`"1.5h"`).
///
/// ```
/// use std::time::Duration;
/// assert_eq!(hob_model::duration::parse("1h30m").unwrap(), Duration::from_secs(5400));
/// ```
///
/// # Errors
/// When a number or a unit is missing or unknown, or the sum passes [`DURATION_DAYS_MAX`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let fail = |why| DurationError { text: text.chars().take(40).collect(), why };
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(fail("it is empty"));
    }
    let mut micros = 0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(fail("a unit is missing"))?;
        let number: f64 = rest[..digits].parse().map_err(|_| fail("a number is missing"))?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let unit = &rest[..letters];
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(fail("a unit is unknown"))?;
        #[allow(clippy::cast_precision_loss)]
        let scale = *scale as f64;
        micros += number * scale;
        rest = rest[letters..].trim_start();
    }
    #[allow(clippy::cast_precision_loss)]
    if micros > (DURATION_DAYS_MAX * 86_400_000_000) as f64 {
        return Err(fail("it is longer than a hundred years"));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(Duration::from_micros(micros.round() as u64))
}

/// The shortest text that [`parse`] reads as the same duration, to the microsecond.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(hob_model::duration::format(Duration::from_secs(5400)), "1h30m");
/// ```
#[must_use]
pub fn format(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (unit, length) in UNITS.iter().skip(1) {
        let count = rest / length;
        if count > 0 {
            out.push_str(&format!("{count}{unit}"));
            rest %= length;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (text, micros) in [
            ("90s", 90_000_000),
            ("1h30m", 5_400_000_000),
            ("250ms", 250_000),
            ("1.5h", 5_400_000_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_micros(micros), "{text}");
        }
        for text in ["", "5", "s", "5x", "-5s", "1h 5", "9999999d", "1..2s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn format_is_read_back() {
        for text in ["7d", "1h30m", "1m30s", "250ms", "0s", "1d1us"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
    }
}
