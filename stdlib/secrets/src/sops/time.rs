//! Times in YAML, which SOPS encrypts as such: recognised as the YAML library of the `sops` command recognises them.

/// The canonical text, RFC 3339, of a time as YAML writes it: a date, or a date and a time with or without a zone.
#[must_use]
pub(crate) fn canonical(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    // Four digits and a dash: what makes YAML look for a time at all.
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return None;
    }
    let (month, rest) = number(&text[5..])?;
    let (day, rest) = number(rest.strip_prefix('-')?)?;
    let year: u32 = text[..4].parse().ok()?;
    if !(1..=12).contains(&month) || day == 0 || day > days(year, month) {
        return None;
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    if rest.is_empty() {
        return Some(format!("{date}T00:00:00Z"));
    }
    let spaced = rest.starts_with(' ');
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (hour, rest) = number(rest)?;
    let (minute, rest) = number(rest.strip_prefix(':')?)?;
    let (second, rest) = number(rest.strip_prefix(':')?)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, rest) = fraction(rest)?;
    // With a space in between there is no zone, and with a letter there is one.
    let zone = match (spaced, rest) {
        (true, "") => "Z".to_owned(),
        (false, "Z") => "Z".to_owned(),
        (false, zone) => offset(zone)?,
        _ => return None,
    };
    Some(format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}"))
}

/// One or two digits.
fn number(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    Some((text.get(..digits)?.parse().ok()?, &text[digits..]))
}

/// A fraction of a second without trailing zeros, at most nine digits.
fn fraction(text: &str) -> Option<(String, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((String::new(), text)) };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > 9 {
        return None;
    }
    let kept = rest[..digits].trim_end_matches('0');
    let fraction = if kept.is_empty() { String::new() } else { format!(".{kept}") };
    Some((fraction, &rest[digits..]))
}

/// `+02:00`; an offset of nothing is `Z`.
fn offset(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let well_formed = bytes.len() == 6
        && matches!(bytes[0], b'+' | b'-')
        && bytes[3] == b':'
        && [1, 2, 4, 5].iter().all(|&at| bytes[at].is_ascii_digit());
    if !well_formed || text[1..3].parse::<u32>().ok()? > 23 || text[4..].parse::<u32>().ok()? > 59 {
        return None;
    }
    Some(if &text[1..] == "00:00" { "Z".to_owned() } else { text.to_owned() })
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}
