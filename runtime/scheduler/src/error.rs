//! Why a text is no "when", with the place in the text.

use hob_model::{Code, Diagnostic};

/// How many characters of the offending text a message repeats.
const FOUND_CHARS_MAX: usize = 40;

/// A text that says no times, or none that ever come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct WhenError {
    /// Where the offending part begins, in characters from 1.
    pub column: usize,
    /// How many characters it covers, at least one.
    pub len: usize,
    /// The field it stands in, such as `hour`; `None` where the text as a whole is meant.
    pub field: Option<&'static str>,
    /// What is wrong: what was found, what is allowed.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl WhenError {
    /// What is wrong with `part`.
    pub(crate) fn at(part: Part<'_>, message: impl Into<String>) -> Self {
        Self {
            column: part.column,
            len: part.chars().max(1),
            field: part.field,
            message: message.into(),
            hint: None,
        }
    }

    /// What was found in `part`, and what is allowed there.
    pub(crate) fn expected(part: Part<'_>, expected: impl std::fmt::Display) -> Self {
        if part.text.is_empty() {
            return Self::at(part, format!("something is missing, expected {expected}"));
        }
        Self::at(part, format!("found `{}`, expected {expected}", shorten(part.text)))
    }

    /// Adds what to write instead.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn sentence(&self) -> String {
        let field = self.field.map(|field| format!(" ({field})")).unwrap_or_default();
        let hint = self.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("column {}{field}: {}{hint}", self.column, self.message)
    }

    /// This error as a diagnostic without a place in a script, which only the caller knows.
    #[must_use]
    pub fn diagnostic(&self, text: &str) -> Diagnostic {
        let field = self.field.map(|field| format!(" ({field})")).unwrap_or_default();
        let message =
            format!("the time of a schedule cannot be read: column {}{field}: {}", self.column, self.message);
        let padding = " ".repeat(self.column.saturating_sub(1));
        let mut diagnostic = Diagnostic::error(Code::BadDeclaration, message);
        if !text.contains('\n') && text.chars().count() <= crate::expr::WHEN_CHARS_MAX {
            diagnostic = diagnostic.note(format!("{text}\n{padding}{}", "^".repeat(self.len)));
        }
        diagnostic.maybe_hint(self.hint.clone())
    }
}

/// A text cut to what a message can bear.
pub(crate) fn shorten(text: &str) -> String {
    if text.chars().count() <= FOUND_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(FOUND_CHARS_MAX).chain(['…']).collect()
}

/// A part of the text of a "when" that knows where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'t> {
    pub(crate) text: &'t str,
    /// In characters from 1.
    pub(crate) column: usize,
    pub(crate) field: Option<&'static str>,
}

impl<'t> Part<'t> {
    pub(crate) fn whole(text: &'t str) -> Self {
        Self { text, column: 1, field: None }
    }

    pub(crate) fn in_field(self, field: &'static str) -> Self {
        Self { field: Some(field), ..self }
    }

    pub(crate) fn chars(&self) -> usize {
        self.text.chars().count()
    }

    /// The stretch between two byte offsets, which stand on character boundaries.
    pub(crate) fn slice(self, from: usize, to: usize) -> Self {
        let column = self.column + self.text[..from].chars().count();
        Self { text: &self.text[from..to], column, ..self }
    }

    pub(crate) fn trim(self) -> Self {
        let from = self.text.len() - self.text.trim_start().len();
        self.slice(from, from + self.text.trim().len())
    }

    /// What stands before and after the first `separator`.
    pub(crate) fn split_once(self, separator: &str) -> Option<(Self, Self)> {
        let at = self.text.find(separator)?;
        Some((self.slice(0, at), self.slice(at + separator.len(), self.text.len())))
    }

    /// The parts between each `separator`; empty ones too.
    pub(crate) fn split(self, separator: char) -> impl Iterator<Item = Self> {
        self.text.split(separator).map(move |piece| {
            let from = piece.as_ptr() as usize - self.text.as_ptr() as usize;
            self.slice(from, from + piece.len())
        })
    }

    /// The parts between white space.
    pub(crate) fn words(self) -> impl Iterator<Item = Self> {
        self.text.split_whitespace().map(move |piece| {
            let from = piece.as_ptr() as usize - self.text.as_ptr() as usize;
            self.slice(from, from + piece.len())
        })
    }

    /// A whole number without sign.
    pub(crate) fn number(self) -> Option<u32> {
        self.text.bytes().all(|b| b.is_ascii_digit()).then(|| self.text.parse().ok())?
    }
}
