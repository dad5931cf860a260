//! Scalars of YAML: which type a plain one has, and how a value is written so that it reads back as the same.
//!
//! Types are resolved as the YAML library of the `sops` command does it (`gopkg.in/yaml.v3`): the MAC covers what it
//! reads.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use super::super::document::Spot;
use super::super::value::{Type, Value, float_text};

/// A plain scalar: nothing for null.
///
/// # Errors
/// For an integer that does not fit 64 bits, which SOPS cannot encrypt.
pub(super) fn resolve(text: &str) -> Result<Option<Value>, &'static str> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(None),
        "true" | "True" | "TRUE" => return Ok(Some(Value::of(Type::Bool, "True"))),
        "false" | "False" | "FALSE" => return Ok(Some(Value::of(Type::Bool, "False"))),
        ".nan" | ".NaN" | ".NAN" => return Ok(Some(Value::of(Type::Float, "NaN"))),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Ok(Some(Value::of(Type::Float, "+Inf")));
        }
        "-.inf" | "-.Inf" | "-.INF" => return Ok(Some(Value::of(Type::Float, "-Inf"))),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Ok(Some(Value::text(text)));
    }
    if let Some(time) = super::super::time::canonical(text) {
        return Ok(Some(Value::of(Type::Time, &time)));
    }
    let digits = Zeroizing::new(text.replace('_', ""));
    if let Some(number) = integer(&digits) {
        let number = number.map_err(|()| "an integer does not fit 64 bits")?;
        return Ok(Some(Value::of(Type::Int, &number.to_string())));
    }
    if is_float(&digits)
        && let Ok(number) = digits.parse::<f64>()
        && number.is_finite()
    {
        return Ok(Some(Value::of(Type::Float, &float_text(number))));
    }
    Ok(Some(Value::text(text)))
}

/// An integer in base 10, or in another with its prefix: `0x`, `0b`, `0o`, and `0` for octal.
fn integer(text: &str) -> Option<Result<i64, ()>> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return None;
    }
    let number = i128::from_str_radix(digits, base).map_err(|_| ());
    let number = number.map(|number| if negative { -number } else { number });
    Some(number.and_then(|number| i64::try_from(number).map_err(|_| ())))
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (text, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && all_digits(fraction),
        Some((whole, fraction)) => all_digits(whole) && all_digits(fraction),
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    mantissa_fits && exponent.is_none_or(|exponent| !exponent.is_empty() && all_digits(exponent))
}

/// How `value` is written at `spot`.
pub(super) fn write(value: &Value, spot: Spot) -> Option<Zeroizing<String>> {
    let text = value.as_str()?;
    let plain = |text: &str| Some(Zeroizing::new(text.to_owned()));
    match value.kind {
        Type::Bool => plain(if value.is_true() { "true" } else { "false" }),
        Type::Float => plain(&match text {
            "NaN" => ".nan".to_owned(),
            "+Inf" => ".inf".to_owned(),
            "-Inf" => "-.inf".to_owned(),
            // So that it stays a float when it is read again.
            text if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => format!("{text}.0"),
            text => text.to_owned(),
        }),
        Type::Int | Type::Time => plain(text),
        Type::Comment => None,
        Type::Text | Type::Bytes => match spot {
            Spot::Block { indent } if fits_a_block(text) => Some(block(text, indent)),
            _ if fits_plain(text) => plain(text),
            _ => Some(quoted(text)),
        },
    }
}

/// Whether a text reads back as it is without quotes, in every YAML that there is.
pub(super) fn fits_plain(text: &str) -> bool {
    /// What YAML 1.1 takes for a bool or null.
    const WORDS: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"];
    let inner = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+' | '=' | '@' | '%' | ' ' | ':')
    };
    text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '/'))
        && !text.ends_with(' ')
        && text.chars().all(inner)
        // A colon begins a value unless something follows it; addresses are the common case.
        && text.matches(':').count() == text.matches("://").count()
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// Whether a text of several lines can stand as a literal block: nothing that a reader would fold, escape or guess.
fn fits_a_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\t', '\n'])
        && body.split('\n').all(|line| !line.ends_with([' ', '\t']) && !line.starts_with('\t'))
        && body.chars().all(|c| {
            c == '\n' || (!c.is_control() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'))
        })
}

fn block(text: &str, indent: usize) -> Zeroizing<String> {
    let (body, header) = match text.strip_suffix('\n') {
        Some(body) => (body, "|"),
        None => (text, "|-"),
    };
    let margin = " ".repeat(indent + 4);
    let lines = body.matches('\n').count() + 1;
    let mut out =
        Zeroizing::new(String::with_capacity(header.len() + body.len() + lines * (margin.len() + 1)));
    out.push_str(header);
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&margin);
            out.push_str(line);
        }
    }
    out
}

/// A text in double quotes.
pub(super) fn quoted(text: &str) -> Zeroizing<String> {
    // An escape takes at most ten bytes.
    let mut out = Zeroizing::new(String::with_capacity(text.len() * 10 + 2));
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control()
                || matches!(c, '\u{85}' | '\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}') =>
            {
                let _ = write!(out, "\\U{:08X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
