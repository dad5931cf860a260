//! Where comments and texts are: what Rhai's tokenizer leaves out.

/// What a stretch of a script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From `//` to the end of the line, or from `/*` to its `*/`; block comments nest.
    Comment,
    /// A text or a character, with its quotes; of a text in back quotes the parts outside of `${…}`.
    Text,
}

/// A comment or a text: a range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// What it is.
    pub kind: Kind,
    /// Its first byte.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
}

/// The comments and texts of a script, in order. One that has no end reaches to the end of the script.
#[must_use]
pub fn stretches(script: &str) -> Vec<Stretch> {
    let mut scan = Scan { bytes: script.as_bytes(), at: 0, found: Vec::new() };
    // For each `${` that is open, the braces open inside of it.
    let mut open: Vec<usize> = Vec::new();
    while let Some(&byte) = scan.bytes.get(scan.at) {
        match (byte, scan.bytes.get(scan.at + 1)) {
            (b'/', Some(b'/')) => scan.line_comment(),
            (b'/', Some(b'*')) => scan.block_comment(),
            (b'"' | b'\'', _) => scan.quoted(byte),
            (b'`', _) => {
                if scan.template(1) {
                    open.push(0);
                }
            }
            (b'{', _) => {
                scan.at += 1;
                if let Some(braces) = open.last_mut() {
                    *braces += 1;
                }
            }
            (b'}', _) => match open.last_mut() {
                Some(0) => {
                    if !scan.template(1) {
                        open.pop();
                    }
                }
                Some(braces) => {
                    *braces -= 1;
                    scan.at += 1;
                }
                None => scan.at += 1,
            },
            _ => scan.at += 1,
        }
    }
    scan.found
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    found: Vec<Stretch>,
}

impl Scan<'_> {
    fn add(&mut self, kind: Kind, end: usize) {
        let end = end.min(self.bytes.len());
        self.found.push(Stretch { kind, start: self.at, end });
        self.at = end;
    }

    fn line_comment(&mut self) {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        self.add(Kind::Comment, self.at + len);
    }

    fn block_comment(&mut self) {
        let (mut depth, mut at) = (0_usize, self.at);
        while at < self.bytes.len() {
            match (self.bytes[at], self.bytes.get(at + 1)) {
                (b'/', Some(b'*')) => (depth, at) = (depth + 1, at + 2),
                (b'*', Some(b'/')) => (depth, at) = (depth - 1, at + 2),
                _ => at += 1,
            }
            if depth == 0 {
                break;
            }
        }
        self.add(Kind::Comment, at);
    }

    /// A text in simple quotes ends at the quote, or at the end of its line where it has none; a backslash at the end
    /// of the line continues it.
    fn quoted(&mut self, quote: u8) {
        let mut at = self.at + 1;
        while let Some(&byte) = self.bytes.get(at) {
            match byte {
                b'\\' => at += 2,
                b'\n' => break,
                _ => at += 1,
            }
            if byte == quote {
                break;
            }
        }
        self.add(Kind::Text, at);
    }

    /// A part of a text in back quotes, from `skip` bytes on; whether it ends at a `${`.
    fn template(&mut self, skip: usize) -> bool {
        let mut at = self.at + skip;
        while let Some(&byte) = self.bytes.get(at) {
            match (byte, self.bytes.get(at + 1)) {
                (b'`', _) => {
                    self.add(Kind::Text, at + 1);
                    return false;
                }
                (b'$', Some(b'{')) => {
                    self.add(Kind::Text, at + 2);
                    return true;
                }
                _ => at += 1,
            }
        }
        self.add(Kind::Text, at);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, stretches};
    use proptest::prelude::*;

    #[test]
    fn comments_and_texts_are_told_apart() {
        for (script, comments) in [
            ("let a = 1; // one\nlet b;", vec!["// one"]),
            (r#"let url = "https://example.net"; // two"#, vec!["// two"]),
            ("`// no ${ \"// no\" } // no` // yes", vec!["// yes"]),
            ("`${ #{ a: `${1} // no` } }`; // yes", vec!["// yes"]),
            ("/* a /* b */ // c */ x // d", vec!["/* a /* b */ // c */", "// d"]),
            ("'\"' // e", vec!["// e"]),
            (r#""\" // no" // f"#, vec!["// f"]),
            ("/* open", vec!["/* open"]),
        ] {
            let found: Vec<&str> = stretches(script)
                .iter()
                .filter(|it| it.kind == Kind::Comment)
                .map(|it| &script[it.start..it.end])
                .collect();
            assert_eq!(found, comments, "{script}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_scanned(script in "[ab\"'`/*${}\\\\\n ä]{0,60}") {
            let found = stretches(&script);
            prop_assert!(found.windows(2).all(|two| two[0].end <= two[1].start));
            prop_assert!(found.iter().all(|it| it.start < it.end && script.is_char_boundary(it.start)));
        }
    }
}
