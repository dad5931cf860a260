//! Text formats: reading text from outside, and saying where it is wrong.

use std::fmt;

use hob_model::value::VALUE_DEPTH_MAX;
use hob_model::{OpError, Value};

use crate::{FromValue, Mismatch};

/// The longest text that a parser takes, 64 MiB; more would not fit into a value of a script anyway.
pub const TEXT_BYTES_MAX: usize = 64 << 20;

/// A text to be parsed, given as a string or as a blob of UTF-8; a leading byte order mark is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(pub String);

impl FromValue for Text {
    const KIND: &'static str = "string or blob";

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let text = match value {
            Value::String(text) => text,
            Value::Blob(bytes) => String::from_utf8(bytes).map_err(|error| Mismatch {
                message: format!("no UTF-8 text: byte {} is wrong", error.utf8_error().valid_up_to()),
                hint: Some("only text can be parsed; is it compressed or another encoding?".to_owned()),
            })?,
            other => return Err(Mismatch::of::<Self>(&other)),
        };
        if text.len() > TEXT_BYTES_MAX {
            return Err(Mismatch {
                message: format!("the text has {} bytes, more than {TEXT_BYTES_MAX}", text.len()),
                hint: None,
            });
        }
        Ok(Self(match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        }))
    }
}

/// Where in a text: both numbers count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character of the line.
    pub column: usize,
}

impl Place {
    /// The place of the byte at `offset` of `text`; the end for offsets past it.
    ///
    /// ```
    /// use hob_primitive::Place;
    /// assert_eq!(Place::of("ä = 1\nb", 7), Place { line: 2, column: 1 });
    /// ```
    #[must_use]
    pub fn of(text: &str, offset: usize) -> Self {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let starts_char = |byte: &&u8| **byte & 0b1100_0000 != 0b1000_0000;
        Self {
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: before[line_start..].iter().filter(starts_char).count() + 1,
        }
    }

    /// The error of a text that is no `format` (`JSON`) because of what stands here; its details hold the place.
    #[must_use]
    pub fn malformed(self, format: &str, why: impl fmt::Display) -> OpError {
        OpError::invalid(format!("this is no {format}: {why} at {self}"))
            .detail("line", self.line)
            .detail("column", self.column)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Refuses a value that nests too deep for a text format.
///
/// # Errors
/// When it nests deeper than [`VALUE_DEPTH_MAX`].
pub fn check_depth(value: &Value) -> Result<(), OpError> {
    fn fits(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(items) => left > 0 && items.iter().all(|item| fits(item, left - 1)),
            Value::Map(items) => left > 0 && items.values().all(|item| fits(item, left - 1)),
            _ => true,
        }
    }
    if fits(value, VALUE_DEPTH_MAX) {
        Ok(())
    } else {
        Err(OpError::invalid(format!("the value nests deeper than {VALUE_DEPTH_MAX} levels")))
    }
}
