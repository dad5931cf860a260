//! Places as the protocol has them: lines from 0, columns in UTF-16 units from 0, files as addresses.

use lsp_types::{Position, Range, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stays as it is in the path of an address (RFC 3986, unreserved, and the slash).
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The byte of `text` at a place; the end of the line where that is shorter.
#[must_use]
pub fn offset(text: &str, at: Position) -> usize {
    let mut start = 0;
    for _ in 0..at.line {
        match text[start..].find('\n') {
            Some(end) => start += end + 1,
            None => return text.len(),
        }
    }
    let line = text[start..].split('\n').next().unwrap_or("");
    let mut units = 0;
    for (byte, c) in line.char_indices() {
        if units >= at.character {
            return start + byte;
        }
        units += c.len_utf16() as u32;
    }
    start + line.len()
}

/// The place of a byte of `text`.
#[must_use]
pub fn position(text: &str, offset: usize) -> Position {
    let before = &text[..offset.min(text.len())];
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    Position { line: number(before.matches('\n').count()), character: units(&before[start..]) }
}

/// The range of `length` characters from a line and a column, both counted from 1 in characters.
#[must_use]
pub fn range(text: &str, line: u32, column: u32, length: u32) -> Range {
    let row = text.split('\n').nth(line.saturating_sub(1) as usize).unwrap_or("");
    let before: String = row.chars().take(column.saturating_sub(1) as usize).collect();
    let within: String = row.chars().skip(column.saturating_sub(1) as usize).take(length as usize).collect();
    let start = Position { line: line.saturating_sub(1), character: units(&before) };
    let end = Position { character: start.character + units(&within), ..start };
    Range { start, end }
}

fn units(text: &str) -> u32 {
    number(text.encode_utf16().count())
}

fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The path of a `file:` address; none for others.
#[must_use]
pub fn path_of(uri: &Uri) -> Option<String> {
    let path = uri.as_str().strip_prefix("file://")?;
    let path = path.find('/').map(|at| &path[at..])?;
    percent_decode_str(path).decode_utf8().ok().map(|path| path.into_owned())
}

/// The address of an absolute path.
#[must_use]
pub fn uri_of(path: &str) -> Option<Uri> {
    format!("file://{}", utf8_percent_encode(path, PATH)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_utf16_units() {
        let text = "let a = \"ä😀\"; b\nc";
        for (byte, line, character) in [(0, 0, 0), (9, 0, 9), (11, 0, 10), (15, 0, 12), (20, 1, 0)] {
            let at = Position { line, character };
            assert_eq!(position(text, byte), at, "{byte}");
            assert_eq!(offset(text, at), byte, "{at:?}");
        }
        assert_eq!(offset(text, Position { line: 0, character: 99 }), 19);
        assert_eq!(offset(text, Position { line: 9, character: 0 }), text.len());
        let found = range(text, 1, 14, 1);
        assert_eq!((found.start.character, found.end.character), (14, 15));
    }

    #[test]
    fn addresses_and_paths() {
        let uri = uri_of("/home/me/my lab/ä.rhai").unwrap();
        assert_eq!(uri.as_str(), "file:///home/me/my%20lab/%C3%A4.rhai");
        assert_eq!(path_of(&uri).as_deref(), Some("/home/me/my lab/ä.rhai"));
        assert_eq!(path_of(&"untitled:Untitled-1".parse().unwrap()), None);
    }
}
