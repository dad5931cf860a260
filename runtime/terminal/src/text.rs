//! Widths, and control characters made harmless.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What stands for text that was cut off.
pub const ELLIPSIS: &str = "…";

/// How many columns `text` takes on a terminal; wide characters take two. It must hold no control characters.
#[must_use]
pub fn width_columns(text: &str) -> usize {
    text.width()
}

/// `text` with its control characters (but for newlines and tabs) replaced by visible signs, so that output of
/// scripts and programs can neither colour nor move nor title the terminal that shows it.
#[must_use]
pub fn sanitize(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| {
        if matches!(c, '\n' | '\t') { None } else { visible(c) }
    };
    if text.chars().any(|c| harmful(c).is_some()) {
        Cow::Owned(text.chars().map(|c| harmful(c).unwrap_or(c)).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// `text` as one line: sanitized, with newlines made visible and tabs made spaces.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    let text = text.trim_end_matches(['\n', '\r']);
    if text.chars().any(|c| visible(c).is_some()) {
        Cow::Owned(text.chars().filter(|c| *c != '\r').map(|c| visible(c).unwrap_or(c)).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// The visible sign for a character that a terminal would obey rather than show.
fn visible(c: char) -> Option<char> {
    match c {
        '\n' => Some('⏎'),
        '\t' => Some(' '),
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)),
        '\u{7f}' => Some('␡'),
        // C1 controls, and the characters that turn the direction of text around ("Trojan Source").
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some('\u{fffd}'),
        _ => None,
    }
}

/// The longest beginning of `text` that fits `max_columns`, with an ellipsis in its last column when it was cut.
#[must_use]
pub fn truncate(text: &str, max_columns: usize) -> Cow<'_, str> {
    if text.width() <= max_columns {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used >= max_columns {
            break;
        }
        out.push(c);
    }
    if max_columns > 0 {
        out.push_str(ELLIPSIS);
    }
    Cow::Owned(out)
}
