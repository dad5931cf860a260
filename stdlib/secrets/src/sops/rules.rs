//! Which values of a file are encrypted.

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value as Json};

use crate::error::{Error, Result};

/// The longest suffix or regular expression, in bytes.
const RULE_BYTES_MAX: usize = 8 * 1024;
/// How large a compiled regular expression may be, in bytes.
const REGEX_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The suffix of keys whose values stay readable where no rule is given.
const DEFAULT_SUFFIX: &str = "_unencrypted";

/// One of the rules that SOPS knows, with its name in files.
#[derive(Clone, Debug)]
pub struct Selection {
    rule: Rule,
    pattern: String,
    regex: Option<Regex>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    UnencryptedSuffix,
    EncryptedSuffix,
    UnencryptedRegex,
    EncryptedRegex,
    UnencryptedCommentRegex,
    EncryptedCommentRegex,
}

/// The rules with their names.
const RULES: [(&str, Rule); 6] = [
    ("unencrypted_suffix", Rule::UnencryptedSuffix),
    ("encrypted_suffix", Rule::EncryptedSuffix),
    ("unencrypted_regex", Rule::UnencryptedRegex),
    ("encrypted_regex", Rule::EncryptedRegex),
    ("unencrypted_comment_regex", Rule::UnencryptedCommentRegex),
    ("encrypted_comment_regex", Rule::EncryptedCommentRegex),
];

impl Default for Selection {
    fn default() -> Self {
        Self { rule: Rule::UnencryptedSuffix, pattern: DEFAULT_SUFFIX.to_owned(), regex: None }
    }
}

/// What a value is judged by.
pub(super) struct Place<'a> {
    /// The keys from the root.
    pub(super) path: &'a [String],
    /// The comments that stand before it and before each of its ancestors.
    pub(super) comments: &'a [Vec<String>],
    /// Whether it is a comment itself.
    pub(super) is_comment: bool,
}

impl Selection {
    /// The names of the rules, as they stand in files.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        RULES.iter().map(|(name, _)| *name)
    }

    /// The rule of this name.
    ///
    /// # Errors
    /// When there is no such rule, or it is no regular expression.
    pub fn new(name: &str, pattern: &str) -> Result<Self> {
        let rule = RULES.iter().find(|(known, _)| *known == name);
        let (_, rule) = *rule.ok_or_else(|| Error::rules(format!("there is no rule `{name}`")))?;
        if pattern.len() > RULE_BYTES_MAX {
            return Err(crate::too_large(name, RULE_BYTES_MAX));
        }
        let regex = match rule {
            Rule::UnencryptedSuffix | Rule::EncryptedSuffix => None,
            _ => Some(RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build().map_err(|error| {
                Error::rules(format!(
                    "{name} is no regular expression: {}",
                    crate::age::one_line(&error.to_string())
                ))
            })?),
        };
        Ok(Self { rule, pattern: pattern.to_owned(), regex })
    }

    /// The one rule that is set in a map of metadata or of a creation rule.
    ///
    /// # Errors
    /// When there are several, or it is none.
    pub fn from_map(map: &Map<String, Json>) -> Result<Self> {
        let mut found = Vec::new();
        for name in Self::names() {
            match map.get(name) {
                None | Some(Json::Null) => {}
                Some(Json::String(pattern)) if pattern.is_empty() => {}
                Some(Json::String(pattern)) => found.push((name, pattern)),
                Some(_) => return Err(Error::rules(format!("{name} is no text"))),
            }
        }
        match found.as_slice() {
            [] => Ok(Self::default()),
            [(name, pattern)] => Self::new(name, pattern),
            [(one, _), (other, _), ..] => Err(Error::rules(format!("both {one} and {other} are set"))
                .hint("use one of the rules that say what is encrypted")),
        }
    }

    /// Its name in files.
    #[must_use]
    pub fn name(&self) -> &'static str {
        RULES.iter().find(|(_, rule)| *rule == self.rule).map_or("", |(name, _)| name)
    }

    /// The suffix or regular expression.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether comments decide.
    pub(super) fn reads_comments(&self) -> bool {
        matches!(self.rule, Rule::UnencryptedCommentRegex | Rule::EncryptedCommentRegex)
    }

    fn matches(&self, text: &str) -> bool {
        match &self.regex {
            Some(regex) => regex.is_match(text),
            None => text.ends_with(&self.pattern),
        }
    }

    /// Whether the value at `place` is encrypted.
    pub(super) fn encrypts(&self, place: &Place<'_>) -> bool {
        let any_key = || place.path.iter().any(|key| self.matches(key));
        match self.rule {
            Rule::UnencryptedSuffix | Rule::UnencryptedRegex => !any_key(),
            Rule::EncryptedSuffix | Rule::EncryptedRegex => any_key(),
            Rule::UnencryptedCommentRegex => {
                !place.comments.iter().flatten().any(|comment| self.matches(comment))
            }
            Rule::EncryptedCommentRegex => {
                // A comment that switches encryption on is not encrypted itself: it stands last.
                let all: usize = place.comments.iter().map(Vec::len).sum();
                let counted = if place.is_comment { all.saturating_sub(1) } else { all };
                place.comments.iter().flatten().take(counted).any(|comment| self.matches(comment))
            }
        }
    }
}
