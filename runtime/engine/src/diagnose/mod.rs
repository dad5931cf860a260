//! Rhai's errors for people, as diagnostics, and for scripts and the journal, as error values.
//!
//! Rhai says "Function not found: raed (&str | ImmutableString | String)" at one point of a file that it does not
//! always name. Here that becomes "unknown operation `files::raed`; did you mean `files::read`?" with the whole word
//! underlined and the calls that led there.

mod explain;
mod functions;
mod syntax;
mod tokens;
mod trace;
mod words;

use std::sync::Arc;

use hob_model::{Code, Diagnostic, OpError, Source, Span};
use hob_primitive::Registry;
use rhai::{Dynamic, Engine, EvalAltResult, ParseError, ParseErrorType, Position};

use explain::Explained;
use functions::Known;
use trace::Trace;

pub use functions::{counted, function_path, function_signature};
pub use tokens::{Lexeme, Tokens};
pub use trace::TRACE_CALLS_MAX;
pub use words::type_name;

/// The scripts that an error can come from, and what they could call.
pub struct Scripts<'a> {
    /// The file that errors without a file of their own belong to.
    pub root: &'a str,
    /// The text of a file.
    pub text: &'a dyn Fn(&str) -> Option<Arc<str>>,
    /// An engine with all that scripts can call.
    pub engine: &'a Engine,
    /// The operations, for their signatures.
    pub registry: &'a Registry,
}

/// Why the script `file` with this text does not parse.
#[must_use]
pub fn parse_error(error: &ParseError, file: &str, text: &str, engine: &Engine) -> Diagnostic {
    parse_problem(error.err_type(), error.position(), file, text, engine)
}

/// Why an evaluation ended: with the place of the error first, then the calls that led there.
#[must_use]
pub fn eval_error(error: &EvalAltResult, scripts: &Scripts<'_>) -> Diagnostic {
    let trace = Trace::of(error, scripts);
    let text = (scripts.text)(&trace.file);
    if let EvalAltResult::ErrorParsing(problem, at) = trace.inner {
        let text = text.as_deref().unwrap_or("");
        return trace.add_to(parse_problem(problem, *at, &trace.file, text, scripts.engine));
    }
    let tokens = text.as_deref().map(|text| Tokens::of(scripts.engine, text));
    let at = trace.inner.position();
    let explained = match trace.inner {
        EvalAltResult::ErrorFunctionNotFound(signature, _)
            if trace::is_foreign(signature, &trace.file, scripts) =>
        {
            Explained::invalid(
                Code::ScriptFailed,
                "a closure cannot be called outside of the module that made it",
            )
            .hint("let a function of that module call it, or give the module what it needs to know")
        }
        EvalAltResult::ErrorFunctionNotFound(signature, _) => {
            let known = Known { engine: scripts.engine, registry: scripts.registry, tokens: tokens.as_ref() };
            functions::not_found(signature, Some(&known))
        }
        EvalAltResult::ErrorPropertyNotFound(name, _) => missing_property(name, at, tokens.as_ref()),
        limit => limited(explain::explain(limit), limit, scripts.engine),
    };
    let len = tokens.as_ref().map_or(1, |tokens| tokens.len_at(at, &explained.word));
    trace.add_to(diagnostic(explained).span(span(&trace.file, at, len)))
}

/// Any error of an evaluation as an error value: what the journal records of it.
///
/// An operation's own error stays what it is; `throw "text"` is `failed`, a mistake of the script `invalid`, a missing
/// module `not_found`, a limit `failed`, the end of an evaluation `cancelled`.
#[must_use]
pub fn error_value(error: &EvalAltResult) -> OpError {
    match error.unwrap_inner() {
        EvalAltResult::ErrorRuntime(thrown, _) => caught_value(thrown),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => {
            explain::as_value(functions::not_found(signature, None))
        }
        inner => explain::as_value(explain::explain(inner)),
    }
}

/// What a script caught, as an error value: the map of an operation's error as that error, a text as `failed`, the map
/// that Rhai makes of its own errors as `invalid`.
#[must_use]
pub fn caught_value(caught: &Dynamic) -> OpError {
    explain::thrown_value(caught)
}

fn parse_problem(
    problem: &ParseErrorType,
    at: Position,
    file: &str,
    text: &str,
    engine: &Engine,
) -> Diagnostic {
    let tokens = Tokens::of(engine, text);
    let mistake = syntax::explain(problem, at, &tokens, engine);
    let len = tokens.len_at(at, &mistake.explained.word);
    let span = match tokens.end_before(at).filter(|_| mistake.after_previous || at.is_none()) {
        Some((line, column)) => {
            Span::point(Source { file: file.into(), line: int(line), column: int(column) })
        }
        None => span(file, at, len),
    };
    diagnostic(mistake.explained).span(span)
}

fn diagnostic(explained: Explained) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(explained.code, explained.message);
    diagnostic.notes = explained.notes;
    diagnostic.hint = explained.hint;
    diagnostic
}

/// Names the limit that was reached.
fn limited(mut explained: Explained, error: &EvalAltResult, engine: &Engine) -> Explained {
    use EvalAltResult as E;
    let limit = match error {
        E::ErrorStackOverflow(_) => format!("at most {} calls nest", engine.max_call_levels()),
        E::ErrorTooManyVariables(_) => format!("at most {} are in scope", engine.max_variables()),
        E::ErrorTooManyModules(_) => format!("at most {} are imported", engine.max_modules()),
        E::ErrorTooManyOperations(_) => format!("at most {} are done", engine.max_operations()),
        E::ErrorDataTooLarge(what, _) if what.contains("string") => {
            format!("it has at most {} bytes", engine.max_string_size())
        }
        E::ErrorDataTooLarge(what, _) if what.contains("map") => {
            format!("it has at most {} entries, with all that is nested in it", engine.max_map_size())
        }
        E::ErrorDataTooLarge(..) => {
            format!(
                "it has at most {} items or bytes, with all that is nested in it",
                engine.max_array_size()
            )
        }
        _ => return explained,
    };
    explained.notes.push(limit);
    explained
}

fn missing_property(name: &str, at: Position, tokens: Option<&Tokens<'_>>) -> Explained {
    let error = EvalAltResult::ErrorPropertyNotFound(name.to_owned(), at);
    let before = tokens.map(|tokens| tokens.before(at, 2)).unwrap_or_default();
    let map = match before.as_slice() {
        [dot, map] if dot == "." || dot == "[" => map.as_str(),
        _ => "map",
    };
    explain::explain(&error).hint(format!("`{map}.get(\"{name}\") ?? default` goes on without it"))
}

fn span(file: &str, at: Position, len: usize) -> Span {
    let source = Source {
        file: file.into(),
        line: int(at.line().unwrap_or(0)),
        column: int(at.position().unwrap_or(0)),
    };
    Span { len: int(len.max(1)), ..Span::point(source) }
}

fn int(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
