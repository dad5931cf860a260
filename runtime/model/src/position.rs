//! Positions: the name of an effect by its place in the structure of a run.
//!
//! Segments are joined by `/`. A segment is `N` (the n-th effect of its branch, from 1), `N.LABEL` (a branch
//! that the n-th effect opened) or `step:NAME` (the n-th of that name in its branch: `step:NAME~n`).
//! A step takes no number of its parent. Labels and names are percent-encoded.

use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stays readable in a label: all that the grammar of positions does not use.
const LABEL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b':').remove(b'@').remove(b'+');

/// How long the text of a position may be.
pub const POSITION_BYTES_MAX: usize = 4096;

/// The name of one effect, step or branch of a run. The root branch is the empty position.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(Arc<str>);

/// The last segment of a position.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Leaf {
    /// The n-th effect of its branch, from 1.
    Effect(u32),
    /// A branch opened by the n-th effect, with its decoded label.
    Branch(u32, String),
    /// The n-th step of that name, from 1.
    Step(String, u32),
}

/// A text that is no position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no position: expected segments such as `3`, `3.label` or `step:name`, joined by `/`")]
pub struct PositionError(String);

impl Position {
    /// The root branch.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::from(""))
    }

    fn join(&self, segment: fmt::Arguments<'_>) -> Self {
        Self(if self.0.is_empty() {
            Arc::from(segment.to_string())
        } else {
            Arc::from(format!("{}/{segment}", self.0))
        })
    }

    /// The n-th effect of this branch.
    #[must_use]
    pub fn effect(&self, n: u32) -> Self {
        self.join(format_args!("{n}"))
    }

    /// The branch `label` that the n-th effect of this branch opens.
    #[must_use]
    pub fn branch(&self, n: u32, label: &str) -> Self {
        self.join(format_args!("{n}.{}", utf8_percent_encode(label, LABEL)))
    }

    /// The n-th step (from 1) called `name` of this branch.
    #[must_use]
    pub fn step(&self, name: &str, n: u32) -> Self {
        let name = utf8_percent_encode(name, LABEL);
        if n == 1 {
            self.join(format_args!("step:{name}"))
        } else {
            self.join(format_args!("step:{name}~{n}"))
        }
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The branch (or step) that this position stands in; the root for the root.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.0.rfind('/').map_or_else(|| Arc::from(""), |at| Arc::from(&self.0[..at])))
    }

    /// The last segment; `None` for the root.
    #[must_use]
    pub fn leaf(&self) -> Option<Leaf> {
        let segment = self.0.rsplit('/').next().filter(|s| !s.is_empty())?;
        parse_segment(segment)
    }

    /// Whether this position is `other` or stands inside of it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        other.0.is_empty()
            || self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether this position is that of the call `other`, or stands inside of it or of a branch that it opened.
    #[must_use]
    pub fn is_part_of(&self, other: &Self) -> bool {
        let opened = |rest: &str| rest.starts_with('.');
        self.is_within(other) || self.0.strip_prefix(&*other.0).is_some_and(opened)
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When a segment has none of the three forms, or the text is too long.
    pub fn parse(text: &str) -> Result<Self, PositionError> {
        let fits = text.len() <= POSITION_BYTES_MAX;
        if fits && (text.is_empty() || text.split('/').all(|segment| parse_segment(segment).is_some())) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(PositionError(text.chars().take(80).collect()))
        }
    }

    /// Takes text that [`Position::as_str`] gave, without looking at it again: for the journal's own records.
    #[must_use]
    pub fn trusted(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

fn parse_segment(segment: &str) -> Option<Leaf> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned);
    let number = |text: &str| text.parse().ok().filter(|n| *n > 0);
    if let Some(step) = segment.strip_prefix("step:") {
        return match step.rsplit_once('~') {
            Some((name, n)) => Some(Leaf::Step(decode(name)?, number(n)?)),
            None => Some(Leaf::Step(decode(step)?, 1)),
        };
    }
    match segment.split_once('.') {
        Some((n, label)) => Some(Leaf::Branch(number(n)?, decode(label)?)),
        None => number(segment).map(Leaf::Effect),
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_structure() {
        let branch = Position::root().branch(4, "a/b");
        let step = branch.step("fetch all", 2);
        assert_eq!(step.effect(1).as_str(), "4.a%2Fb/step:fetch%20all~2/1");
        assert_eq!(step.leaf(), Some(Leaf::Step("fetch all".into(), 2)));
        assert_eq!(branch.leaf(), Some(Leaf::Branch(4, "a/b".into())));
        assert_eq!(step.parent(), branch);
        assert_eq!(Position::root().effect(3).parent(), Position::root());
        assert!(step.is_within(&branch) && !Position::root().effect(4).is_within(&branch));
        let call = Position::root().effect(4);
        assert!(step.is_part_of(&call) && !step.is_within(&call) && !call.is_part_of(&branch));
        assert!(!Position::root().effect(41).is_part_of(&call));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["0", "x", "3/", "/3", "3..x/", "step:~0"] {
            assert!(Position::parse(text).is_err(), "{text}");
        }
        assert_eq!(Position::parse("3.x/step:y~2/1").unwrap().as_str(), "3.x/step:y~2/1");
    }
}
