//! Whole numbers that do not fit 64 bits.

use std::borrow::Cow;
use std::ops::Range;

use hob_model::{OpError, Value};
use hob_primitive::{Choice, Place};

/// What to do with whole numbers outside of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum BigNumbers {
    /// Refuse them.
    Error,
    /// Round them to a float.
    Float,
    /// Keep their digits as a text.
    Text,
}

/// The text with oversized whole numbers written so that a parser reads what `mode` says.
///
/// The text is not validated here, unless it changes: then its mistakes must be told by its own columns.
pub(crate) fn rewrite(text: &str, mode: BigNumbers) -> Result<Cow<'_, str>, OpError> {
    let found = oversized(text);
    let Some(first) = found.first() else {
        return Ok(Cow::Borrowed(text));
    };
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| crate::malformed(text, &error))?;
    if mode == BigNumbers::Error {
        let why = format!("the number {} does not fit 64 bits", &text[first.clone()]);
        let error = Place::of(text, first.start).malformed("JSON that can be read", why);
        return Err(error.hint("pass #{ big_numbers: \"text\" } to keep the digits, or \"float\" to round"));
    }
    let mut out = String::with_capacity(text.len() + 2 * found.len());
    let mut done = 0;
    for range in found {
        let (before, number) = (&text[done..range.start], &text[range.clone()]);
        out.push_str(before);
        match mode {
            BigNumbers::Text => out.extend(["\"", number, "\""]),
            _ => out.extend([number, ".0"]),
        }
        done = range.end;
    }
    out.push_str(&text[done..]);
    Ok(Cow::Owned(out))
}

/// Where whole numbers outside of 64 bits stand in a JSON text, strings left out.
fn oversized(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b'"' => at = string_end(bytes, at),
            b'-' | b'0'..=b'9' => {
                let part_of_number =
                    |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                at += bytes[at..].iter().take_while(|byte| part_of_number(byte)).count();
                let number = &text[start..at];
                let digits = number.strip_prefix('-').unwrap_or(number);
                let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                if whole && number.parse::<i64>().is_err() {
                    found.push(start..at);
                }
            }
            _ => at += 1,
        }
    }
    found
}

/// Past the quote that closes the string that opens at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The error of one line of a longer text, moved to where it is in the whole.
pub(crate) fn on_line(mut error: OpError, line: usize) -> OpError {
    error.message = error.message.replace("at line 1,", &format!("at line {line},"));
    if let Value::Map(details) = &mut error.details {
        details.insert("line".to_owned(), Value::from(line));
    }
    error
}
