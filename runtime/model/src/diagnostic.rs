//! Problems with their place, cause and cure.

use std::fmt;

use crate::{Code, Source};

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Worth knowing.
    Note,
    /// It works, and is probably not what was meant.
    Warning,
    /// It does not work.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// A stretch of one source line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub source: Source,
    /// How many characters it covers, at least one.
    pub len: u32,
    /// What to say at this place; empty for the main place.
    pub label: String,
}

impl Span {
    /// One character at `source`.
    #[must_use]
    pub fn point(source: Source) -> Self {
        Self { source, len: 1, label: String::new() }
    }
}

/// A problem: what, where, why, and what to do about it.
///
/// Rendering (with the source line and a caret) is the rim's business; this is the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The stable code that `hob explain` knows.
    pub code: Code,
    /// How bad it is.
    pub level: Level,
    /// One sentence without a full stop.
    pub message: String,
    /// Places in scripts: the first is the main one, further ones are the call trace or related places.
    pub spans: Vec<Span>,
    /// Further facts, one sentence each.
    pub notes: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            level: Level::Error,
            message: message.into(),
            spans: Vec::new(),
            notes: Vec::new(),
            hint: None,
        }
    }

    /// A warning.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::error(code, message) }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, source: Source) -> Self {
        self.spans.push(Span::point(source));
        self
    }

    /// Adds a stretch.
    #[must_use]
    pub fn span(mut self, span: Span) -> Self {
        self.spans.push(span);
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// As [`Diagnostic::hint`], where there may be none.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl fmt::Display for Diagnostic {
    /// One line without source: `error[HOB-0102]: message (file:line:column)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.level, self.code, self.message)?;
        if let Some(span) = self.spans.first() {
            write!(f, " ({})", span.source)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}
