//! Effects: what a run asks of the world.

use std::fmt;
use std::sync::Arc;

use crate::Value;

/// What may be done when the outcome of an effect is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EffectClass {
    /// Computes only. Not journaled: the same arguments give the same result.
    Pure,
    /// Looks at the world. The outcome is journaled; without one, it is looked at again.
    Observe,
    /// Makes something so. Idempotent by construction; without an outcome it is done again.
    Ensure,
    /// Acts once per key. Intent and outcome are journaled; without an outcome the world is probed by the key.
    Keyed,
    /// Acts, and cannot tell afterwards whether it did. Without an outcome the effect is in doubt.
    Once,
}

impl EffectClass {
    /// All classes, from the most harmless.
    pub const ALL: [Self; 5] = [Self::Pure, Self::Observe, Self::Ensure, Self::Keyed, Self::Once];

    /// The name scripts and the journal use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Observe => "observe",
            Self::Ensure => "ensure",
            Self::Keyed => "keyed",
            Self::Once => "once",
        }
    }

    /// Reads [`EffectClass::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == text)
    }

    /// Whether it changes the world, so that all that came before must be on disk.
    #[must_use]
    pub fn acts(self) -> bool {
        matches!(self, Self::Ensure | Self::Keyed | Self::Once)
    }

    /// Whether an intent must be on disk before it starts.
    #[must_use]
    pub fn needs_intent(self) -> bool {
        matches!(self, Self::Keyed | Self::Once)
    }
}

impl fmt::Display for EffectClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens with a `once` effect whose outcome is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDoubt {
    /// The run parks until a person decides.
    #[default]
    Ask,
    /// It is done again.
    Retry,
    /// It yields `()` and the run goes on.
    Skip,
    /// It fails with an error that the script can catch.
    Fail,
}

impl OnDoubt {
    /// The name used in option maps.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Retry => "retry",
            Self::Skip => "skip",
            Self::Fail => "fail",
        }
    }

    /// Reads [`OnDoubt::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Ask, Self::Retry, Self::Skip, Self::Fail].into_iter().find(|v| v.as_str() == text)
    }
}

/// A call of an operation as data.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The full name: `files::write`.
    pub operation: Arc<str>,
    /// The arguments as the script gave them, options included.
    pub args: Vec<Value>,
}

impl Call {
    /// The primitive and the operation's own name: `("files", "write")`.
    #[must_use]
    pub fn split(&self) -> (&str, &str) {
        split_operation(&self.operation)
    }
}

/// Splits `files::write` into `("files", "write")`, `containers::images::pull` into
/// `("containers", "images::pull")` and a control such as `sleep` into `("", "sleep")`.
#[must_use]
pub fn split_operation(name: &str) -> (&str, &str) {
    name.split_once("::").unwrap_or(("", name))
}

/// A place in a script, recorded beside an effect for people; nothing depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Source {
    /// The file within its bundle; empty when unknown.
    pub file: Arc<str>,
    /// Line, from 1; 0 when unknown.
    pub line: u32,
    /// Column, from 1; 0 when unknown.
    pub column: u32,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            f.write_str(&self.file)
        } else {
            write!(f, "{}:{}:{}", self.file, self.line, self.column)
        }
    }
}
