//! Compiling patterns, with the place of a mistake.

use std::cell::RefCell;

use hob_model::OpError;
use hob_primitive::Place;
use regex::Regex;

use crate::{COMPILED_BYTES_MAX, NEST_MAX, PATTERN_BYTES_MAX};

/// How many compiled patterns a thread keeps: compiling one costs more than using it on a short text.
const CACHED_PATTERNS_MAX: usize = 32;

thread_local! {
    /// The latest patterns of this thread, the latest last.
    static CACHE: RefCell<Vec<Regex>> = const { RefCell::new(Vec::new()) };
}

/// The compiled form of `pattern`.
pub(crate) fn compiled(pattern: &str) -> Result<Regex, OpError> {
    CACHE.with_borrow_mut(|cache| {
        let regex = match cache.iter().position(|regex| regex.as_str() == pattern) {
            Some(at) => cache.remove(at),
            None => compile(pattern)?,
        };
        if cache.len() >= CACHED_PATTERNS_MAX {
            cache.remove(0);
        }
        cache.push(regex.clone());
        Ok(regex)
    })
}

fn compile(pattern: &str) -> Result<Regex, OpError> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(OpError::invalid(format!(
            "the pattern has {} bytes, more than {PATTERN_BYTES_MAX}",
            pattern.len()
        )));
    }
    let built = regex::RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).nest_limit(NEST_MAX).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => OpError::invalid(format!(
            "the pattern would take more than {COMPILED_BYTES_MAX} bytes of memory"
        ))
        .hint(
            "use smaller counts in `{…}`, or `[0-9]` instead of `\\d` and `(?-u)` where only ASCII is meant",
        ),
        error => {
            malformed(pattern).unwrap_or_else(|| OpError::invalid(format!("this is no pattern: {error}")))
        }
    })
}

/// `regex` tells a mistake only as a drawing; its parser knows the place.
fn malformed(pattern: &str) -> Option<OpError> {
    let error = regex_syntax::ParserBuilder::new().nest_limit(NEST_MAX).build().parse(pattern).err()?;
    let (span, why) = match &error {
        regex_syntax::Error::Parse(error) => (*error.span(), error.kind().to_string()),
        regex_syntax::Error::Translate(error) => (*error.span(), error.kind().to_string()),
        _ => return None,
    };
    let text: String = pattern[span.start.offset..span.end.offset].chars().take(20).collect();
    let shown = if text.is_empty() { String::new() } else { format!(" (`{text}`)") };
    let place = Place { line: span.start.line, column: span.start.column };
    let error = place.malformed("pattern", format!("{why}{shown}"));
    Some(if why.contains("look-around") || why.contains("backreferences") {
        error.hint(
            "these would make searching unbounded in time: match more, and look at the groups with code",
        )
    } else {
        error.hint("regex::escape takes a text literally; backquotes keep `\\` as it is")
    })
}
