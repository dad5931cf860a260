//! When to use colours, and what each of them means.

use std::fmt;
use std::str::FromStr;

use anstyle::{AnsiColor, Effects};

use crate::Style;

/// The value of `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    /// As the environment and the terminal say.
    #[default]
    Auto,
    /// In any case.
    Always,
    /// In no case.
    Never,
}

impl ColorChoice {
    /// All choices.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Always, Self::Never];

    /// The text of the flag.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

impl fmt::Display for ColorChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is no [`ColorChoice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColorChoiceError;

impl fmt::Display for ColorChoiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected auto, always or never")
    }
}

impl std::error::Error for ColorChoiceError {}

impl FromStr for ColorChoice {
    type Err = ColorChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|choice| choice.as_str() == text).ok_or(ColorChoiceError)
    }
}

/// Whether to colour a stream.
///
/// The flag decides; with `auto` the first of these that applies: `NO_COLOR` (not empty) means no
/// (<https://no-color.org>), `CLICOLOR_FORCE` (neither empty nor `0`) means yes, `CLICOLOR=0` means no
/// (<https://bixense.com/clicolors/>), `TERM=dumb` means no; then a terminal is coloured and anything else is not.
/// `variable` reads the environment.
pub fn enabled(choice: ColorChoice, variable: impl Fn(&str) -> Option<String>, is_terminal: bool) -> bool {
    let is_set = |name| variable(name).filter(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if is_set("NO_COLOR").is_some() => false,
        ColorChoice::Auto if is_set("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
        ColorChoice::Auto if is_set("CLICOLOR").is_some_and(|value| value == "0") => false,
        ColorChoice::Auto if is_set("TERM").is_some_and(|value| value == "dumb") => false,
        ColorChoice::Auto => is_terminal,
    }
}

/// What a piece of text is; each role has one look and each look one meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It does not work: bold red.
    Error,
    /// It deserves a look: bold yellow.
    Warning,
    /// What to do about it: bold cyan.
    Hint,
    /// It worked: green.
    Success,
    /// Less important than the rest: dimmed.
    Muted,
    /// What things are called: bold.
    Name,
}

impl Role {
    /// The look of this role.
    #[must_use]
    pub const fn style(self) -> anstyle::Style {
        match self {
            Self::Error => AnsiColor::Red.on_default().effects(Effects::BOLD),
            Self::Warning => AnsiColor::Yellow.on_default().effects(Effects::BOLD),
            Self::Hint => AnsiColor::Cyan.on_default().effects(Effects::BOLD),
            Self::Success => AnsiColor::Green.on_default(),
            Self::Muted => anstyle::Style::new().effects(Effects::DIMMED),
            Self::Name => anstyle::Style::new().effects(Effects::BOLD),
        }
    }
}

/// A text with its look, to be displayed.
#[derive(Clone, Copy, Debug)]
pub struct Painted<T> {
    style: anstyle::Style,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `{:#}` of a look is what ends it.
        write!(f, "{}{}{:#}", self.style, self.text, self.style)
    }
}

impl Style {
    /// `text` with the look of `role`, or as it is where there are no colours.
    pub fn paint<T: fmt::Display>(self, role: Role, text: T) -> Painted<T> {
        Painted { style: if self.color { role.style() } else { anstyle::Style::new() }, text }
    }
}
