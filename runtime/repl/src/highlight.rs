//! Colours for what is typed.

use std::sync::Arc;

use hob_check::Catalog;
use hob_check::comments::{Kind, stretches};
use nu_ansi_term::{Color, Style};
use reedline::{Highlighter, StyledText};

/// Words that structure a script.
const WORDS: [&str; 26] = [
    "let", "const", "if", "else", "for", "in", "while", "loop", "do", "until", "switch", "fn", "private",
    "return", "throw", "try", "catch", "break", "continue", "import", "export", "as", "true", "false",
    "this", "global",
];

pub(crate) struct Colours {
    pub(crate) catalog: Arc<Catalog>,
}

impl Highlighter for Colours {
    fn highlight(&self, line: &str, _cursor: usize) -> StyledText {
        let mut text = StyledText::new();
        if line.starts_with(':') {
            text.push((Style::new().fg(Color::Magenta), line.to_owned()));
            return text;
        }
        let mut at = 0;
        for stretch in stretches(line) {
            self.code(&mut text, &line[at..stretch.start]);
            let style = match stretch.kind {
                Kind::Comment => Style::new().fg(Color::DarkGray),
                Kind::Text => Style::new().fg(Color::Green),
            };
            text.push((style, line[stretch.start..stretch.end].to_owned()));
            at = stretch.end;
        }
        self.code(&mut text, &line[at..]);
        text
    }
}

impl Colours {
    fn code(&self, text: &mut StyledText, code: &str) {
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let mut rest = code;
        while let Some(first) = rest.chars().next() {
            let named = is_name(first);
            let end = rest.find(|c| is_name(c) != named).unwrap_or(rest.len());
            let (piece, after) = rest.split_at(end);
            rest = after;
            let style = if named { self.name(piece) } else { Style::new() };
            text.push((style, piece.to_owned()));
        }
    }

    fn name(&self, name: &str) -> Style {
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return Style::new().fg(Color::Cyan);
        }
        if WORDS.contains(&name) {
            return Style::new().fg(Color::Blue).bold();
        }
        match self.catalog.operation(name) {
            Some(operation) if operation.class.acts() => Style::new().fg(Color::Yellow),
            Some(_) => Style::new().fg(Color::Cyan),
            None => Style::new(),
        }
    }
}
