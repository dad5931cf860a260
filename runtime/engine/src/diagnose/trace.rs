//! The calls that an error came through, and the files that these are in.

use std::sync::Arc;

use hob_model::{Diagnostic, Span};
use rhai::{EvalAltResult, Position};

use super::{Scripts, span};
use crate::language::{Limits, new_engine};

/// The most calls of a call trace that a diagnostic shows, from the innermost.
pub const TRACE_CALLS_MAX: usize = 32;

/// How Rhai names closures.
const ANONYMOUS: &str = "anon$";

/// An error without its frames, and the frames.
pub(super) struct Trace<'a> {
    pub(super) inner: &'a EvalAltResult,
    /// The file that the error's own position belongs to.
    pub(super) file: Arc<str>,
    /// The calls, the innermost first.
    calls: Vec<Span>,
}

impl<'a> Trace<'a> {
    pub(super) fn of(error: &'a EvalAltResult, scripts: &Scripts<'_>) -> Self {
        let mut files: Vec<Arc<str>> = vec![scripts.root.into()];
        let mut file: Arc<str> = scripts.root.into();
        let mut calls = Vec::new();
        let mut inner = error;
        loop {
            let (label, source, within, at) = match inner {
                EvalAltResult::ErrorInFunctionCall(name, source, within, at) => {
                    (in_function(name), source, within, at)
                }
                EvalAltResult::ErrorInModule(path, within, at) => {
                    ("in this module, imported from here".to_owned(), path, within, at)
                }
                _ => break,
            };
            if !at.is_none() {
                let len = word_len(scripts, &file, *at);
                calls.push(Span { label, ..span(&file, *at, len) });
            }
            if !source.is_empty() {
                file = source.as_str().into();
                files.push(Arc::clone(&file));
            }
            if let EvalAltResult::ErrorInFunctionCall(name, ..) = inner
                && let Some(of_closure) = defining(name, &files, scripts)
            {
                file = of_closure;
            }
            inner = within;
        }
        calls.reverse();
        calls.truncate(TRACE_CALLS_MAX);
        Self { inner, file, calls }
    }

    /// `diagnostic`, whose first place is that of the error, with the calls after it.
    pub(super) fn add_to(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        diagnostic.spans.extend(self.calls.iter().cloned());
        diagnostic
    }
}

fn in_function(name: &str) -> String {
    match name.starts_with(ANONYMOUS) {
        true => "in a closure, called from here".to_owned(),
        false => format!("in `{name}`, called from here"),
    }
}

/// The file of `files` that a closure is written in, the latest first. Rhai itself names the file that the closure was
/// called from; its name, though, is derived from its text.
fn defining(name: &str, files: &[Arc<str>], scripts: &Scripts<'_>) -> Option<Arc<str>> {
    if !name.starts_with(ANONYMOUS) {
        return None;
    }
    let mut engine = new_engine(&Limits::default());
    engine.set_strict_variables(false);
    let defines = |file: &&Arc<str>| {
        let program = (scripts.text)(file).and_then(|text| engine.compile(&*text).ok());
        program.is_some_and(|program| program.iter_functions().any(|function| function.name == name))
    };
    files.iter().rev().find(defines).cloned()
}

/// Whether the function that is not found is a closure of another file.
pub(super) fn is_foreign(signature: &str, file: &Arc<str>, scripts: &Scripts<'_>) -> bool {
    let name = signature.split(' ').next().unwrap_or(signature);
    let files = [Arc::clone(file), scripts.root.into()];
    name.starts_with(ANONYMOUS) && (scripts.text)(file).is_some() && defining(name, &files, scripts).is_none()
}

/// How many characters the name at `at` has.
fn word_len(scripts: &Scripts<'_>, file: &str, at: Position) -> usize {
    let (Some(line), Some(column)) = (at.line(), at.position()) else { return 1 };
    let text = (scripts.text)(file).unwrap_or_default();
    let rest = text.lines().nth(line - 1).unwrap_or("").chars().skip(column.saturating_sub(1));
    rest.take_while(|c| c.is_alphanumeric() || *c == '_').count().max(1)
}
