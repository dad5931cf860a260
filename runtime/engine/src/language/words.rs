//! Words that Rhai reserves for a future that scripts here do not wait for.

use rhai::{Position, Token, TokenizeState};

/// Rhai's reserved words without a meaning of their own: plain names here, so that `public: true` is a key and
/// `log::debug` a path.
pub const PLAIN_WORDS: [&str; 26] = [
    "async",
    "await",
    "case",
    "debug",
    "default",
    "is",
    "match",
    "module",
    "new",
    "nil",
    "null",
    "package",
    "print",
    "protected",
    "public",
    "shared",
    "spawn",
    "static",
    "super",
    "sync",
    "thread",
    "use",
    "var",
    "void",
    "with",
    "yield",
];

/// Makes the reserved words plain names: Rhai's hook between reading and parsing.
#[must_use]
pub fn plain_words(token: Token, _: Position, _: &TokenizeState) -> Token {
    match token {
        Token::Reserved(word) if PLAIN_WORDS.contains(&word.as_str()) => Token::Identifier(word),
        other => other,
    }
}
