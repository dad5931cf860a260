//! Sizes as people write them: `"512M"`, `"1.5G"` (powers of 1024), `"1GB"` (powers of 1000).

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no size: write for example \"512M\" (powers of 1024), \"1.5G\", \"1GB\" (powers of 1000) or a number of bytes"
)]
pub struct SizeError(String);

/// The prefixes, in ascending order of power.
const PREFIXES: &str = "KMGTP";

/// Reads a size in bytes. `K M G T P`, also written `KiB`, are powers of 1024; `KB MB GB TB PB` are powers of 1000.
///
/// ```
/// assert_eq!(hob_model::size::parse("1.5G").unwrap(), 3 << 29);
/// assert_eq!(hob_model::size::parse("2MB").unwrap(), 2_000_000);
/// ```
///
/// # Errors
/// When the number or the unit is unknown, or it does not fit 63 bits.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let fail = || SizeError(text.chars().take(40).collect());
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let number: f64 = trimmed[..digits].parse().map_err(|_| fail())?;
    let unit = trimmed[digits..].trim().to_uppercase();
    let base: f64 = match unit.as_str() {
        "" | "B" => 1.0,
        unit => {
            let power = PREFIXES.find(&unit[..1]).ok_or_else(fail)? + 1;
            let power = i32::try_from(power).map_err(|_| fail())?;
            match &unit[1..] {
                "" | "I" | "IB" => 1024_f64.powi(power),
                "B" => 1000_f64.powi(power),
                _ => return Err(fail()),
            }
        }
    };
    let bytes = number * base;
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    if bytes >= i64::MAX as f64 { Err(fail()) } else { Ok(bytes.round() as u64) }
}

/// A size for people, in powers of 1024 with at most one decimal: `"1.5G"`.
#[must_use]
pub fn format(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss)]
    let mut value = bytes as f64;
    if value < 1024.0 {
        return format!("{bytes}B");
    }
    let mut unit = ' ';
    for prefix in PREFIXES.chars() {
        value /= 1024.0;
        unit = prefix;
        if value < 1024.0 {
            break;
        }
    }
    if value >= 100.0 || value.fract() < 0.05 {
        format!("{value:.0}{unit}")
    } else {
        format!("{value:.1}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (text, bytes) in
            [("0", 0), ("512M", 512 << 20), ("1.5G", 3 << 29), ("1GiB", 1 << 30), ("1kb", 1000), ("7B", 7)]
        {
            assert_eq!(parse(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "M", "1X", "-1M", "1 2", "99999999P", "é"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn for_people() {
        assert_eq!(format(3 << 29), "1.5G");
        assert_eq!(format(999), "999B");
        assert_eq!(format(512 << 20), "512M");
    }
}
