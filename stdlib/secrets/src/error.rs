//! Why a secret cannot be read or written. No message holds a secret: errors name places, keys and kinds, never values.

use std::fmt;

/// What kind of mistake it is: what a caller may decide by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None of the identities at hand opens it.
    NoIdentity,
    /// It was changed after it was encrypted, or is damaged.
    Tampered,
    /// It is no well-formed file of its format.
    Malformed,
    /// It is well-formed and out of scope; the message names what.
    Unsupported,
    /// It goes beyond a limit.
    TooLarge,
    /// It does not fit the rules (`.sops.yaml`, `secrets.nix`, the options).
    Rules,
    /// The file system refused.
    Io,
}

/// An error with its cause and, where there is one, its cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind of mistake it is.
    pub kind: Kind,
    /// The cause.
    pub message: String,
    /// The cure.
    pub hint: Option<String>,
    /// Line and column where it stands, both from 1.
    pub place: Option<(usize, usize)>,
}

impl Error {
    /// An error of this kind.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, place: None }
    }

    /// The same with a cure.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with the place of byte `offset` of `text`.
    #[must_use]
    pub(crate) fn at(mut self, text: &str, offset: usize) -> Self {
        self.place = Some(place(text, offset));
        self
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(Kind::Malformed, message)
    }

    pub(crate) fn tampered(message: impl Into<String>) -> Self {
        Self::new(Kind::Tampered, message).hint(
            "take the last good version from your history; after a merge by hand, decrypt both sides and merge \
             the plain texts",
        )
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, message)
    }

    pub(crate) fn rules(message: impl Into<String>) -> Self {
        Self::new(Kind::Rules, message)
    }
}

/// Line and column of byte `offset`, both from 1.
pub(crate) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset.min(text.len()))];
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// What is read or written, or why not.
pub type Result<T> = std::result::Result<T, Error>;
