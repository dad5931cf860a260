//! What an error means, without the places: the common half of diagnostics and of error values.

use hob_model::{Code, ErrorKind, OpError, Value};
use hob_primitive::{ARGUMENT_DETAIL, OPTION_DETAIL};
use rhai::{Dynamic, EvalAltResult, Position};

use super::words::{restyle, type_name, with_article};
use crate::convert::to_value;
use crate::language::text::FUNCTION_AS_TEXT;
use crate::progress::NO_EFFECT;

/// The most details of an error that become notes.
const DETAIL_NOTES_MAX: usize = 8;

/// The longest detail that becomes a note, in characters.
const DETAIL_CHARS_MAX: usize = 400;

/// An error in plain words.
#[derive(Debug)]
pub(super) struct Explained {
    pub(super) code: Code,
    /// The kind that a script sees.
    pub(super) kind: ErrorKind,
    pub(super) message: String,
    pub(super) notes: Vec<String>,
    pub(super) hint: Option<String>,
    /// What stands at the place of the error, to underline all of it.
    pub(super) word: String,
}

impl Explained {
    pub(super) fn new(code: Code, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { code, kind, message: message.into(), notes: Vec::new(), hint: None, word: String::new() }
    }

    /// A mistake of the script: an `invalid` error.
    pub(super) fn invalid(code: Code, message: impl Into<String>) -> Self {
        Self::new(code, ErrorKind::Invalid, message)
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn word(mut self, word: impl Into<String>) -> Self {
        self.word = word.into();
        self
    }
}

/// What an error without frames means. What needs names that are known elsewhere is refined by the callers.
pub(super) fn explain(error: &EvalAltResult) -> Explained {
    use EvalAltResult as E;
    let failed = |message: String| Explained::invalid(Code::ScriptFailed, message);
    match error {
        E::ErrorRuntime(thrown, _) => explain_thrown(thrown),
        E::ErrorSystem(context, source) => {
            let cause = chain(source.as_ref());
            let message = if context.is_empty() { cause } else { format!("{context}: {cause}") };
            Explained::new(Code::ScriptFailed, ErrorKind::Failed, message)
        }
        E::ErrorModuleNotFound(path, _) => {
            Explained::new(Code::MissingModule, ErrorKind::NotFound, format!("no module `{path}` is found"))
                .hint("paths are relative to the file that imports them; `.rhai` is added")
        }
        E::ErrorVariableNotFound(name, _) => {
            Explained::invalid(Code::UnknownName, format!("unknown variable `{name}`")).word(name)
        }
        E::ErrorPropertyNotFound(name, _) => failed(format!("the map has no property `{name}`")).word(name),
        E::ErrorIndexNotFound(index, _) => failed(format!("there is nothing at index {index}")),
        E::ErrorDotExpr(text, _) => explain_property(text),
        E::ErrorIndexingType(text, _) => explain_index(text),
        E::ErrorMismatchDataType(wanted, got, _) | E::ErrorMismatchOutputType(wanted, got, _) => failed(
            format!("expected {}, got {}", with_article(type_name(wanted)), with_article(type_name(got))),
        ),
        E::ErrorFor(_) => failed("`for` cannot walk through this value".to_owned())
            .hint("it walks through arrays, maps' `keys()` and `values()`, texts' `chars()` and ranges"),
        E::ErrorUnboundThis(_) => failed("`this` is not bound here".to_owned())
            .hint("it is the value before the dot when a function is called as `value.function()`"),
        E::ErrorAssignmentToConstant(name, _) => failed(format!("`{name}` is constant")).word(name),
        E::ErrorNonPureMethodCallOnConstant(name, _) => {
            failed(format!("`{name}` changes its value, and that is constant"))
                .hint("declare it with `let`, or change a copy")
                .word(name)
        }
        E::ErrorDataRace(what, _) => explain_race(what),
        E::ErrorTerminated(token, _) => explain_terminated(token),
        E::ErrorStackOverflow(_)
        | E::ErrorTooManyOperations(_)
        | E::ErrorTooManyVariables(_)
        | E::ErrorTooManyModules(_)
        | E::ErrorDataTooLarge(..) => explain_limit(error),
        other => failed(restyle(&without_place(other))),
    }
}

/// The text of an error without Rhai's "(line 1, position 2)", which has its own place in a diagnostic.
fn without_place(error: &EvalAltResult) -> String {
    let text = error.to_string();
    match error.position().is_none() {
        true => text,
        false => text.strip_suffix(&format!(" ({})", error.position())).unwrap_or(&text).to_owned(),
    }
}

/// The texts of an error and of what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Details that the message has said already: they choose the code.
const MARKS: [&str; 3] = ["not_here", OPTION_DETAIL, ARGUMENT_DETAIL];

/// The error that a script threw, or that an operation answered.
fn explain_thrown(thrown: &Dynamic) -> Explained {
    let error = super::caught_value(thrown);
    let operation_failed = !error.operation.is_empty();
    let code = match operation_failed {
        _ if error.details.get("not_here").is_some() => Code::NotHere,
        true if error.details.get("permission").is_some() => Code::Denied,
        true if error.details.get(OPTION_DETAIL).is_some() => Code::UnknownOption,
        true if error.details.get(ARGUMENT_DETAIL).is_some() => Code::WrongArguments,
        true => Code::OperationFailed,
        false => Code::ScriptFailed,
    };
    let mut explained = Explained::new(code, error.kind, error.to_string());
    explained.hint = error.hint;
    if let (true, Value::Map(details)) = (operation_failed, &error.details) {
        let told = |key: &String| MARKS.contains(&key.as_str());
        let shown = details.iter().filter(|(key, _)| !told(key));
        let shown = shown.filter_map(|(key, value)| Some(format!("{key}: {}", scalar(value)?)));
        explained.notes = shown.take(DETAIL_NOTES_MAX).collect();
    }
    explained.word = error.operation;
    explained
}

fn scalar(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim_end().to_owned(),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Char(_) => {
            value.to_json().ok()?.to_string()
        }
        _ => return None,
    };
    (!text.is_empty() && text.chars().count() <= DETAIL_CHARS_MAX).then_some(text)
}

fn explain_terminated(token: &Dynamic) -> Explained {
    if token.as_immutable_string_ref().is_ok_and(|text| text.as_str() == FUNCTION_AS_TEXT) {
        return Explained::invalid(Code::ScriptFailed, FUNCTION_AS_TEXT)
            .hint("call it first, as in `f.call()`, or write the name yourself");
    }
    if token.as_immutable_string_ref().is_ok_and(|text| text.as_str() == NO_EFFECT) {
        return Explained::new(
            Code::LimitReached,
            ErrorKind::Failed,
            format!("{} operations without an effect", crate::progress::OPERATIONS_WITHOUT_EFFECT_MAX),
        )
        .hint("look for a loop without an end, or have a program do the computing");
    }
    Explained::new(Code::ScriptFailed, ErrorKind::Cancelled, "the evaluation was ended")
}

/// Rhai: `argument #1 of function 'for_each'`.
fn explain_race(what: &str) -> Explained {
    let function = what.split('\'').nth(1);
    let message = match function {
        Some(function) => format!("the value that `{function}` is called for is in use by its closure"),
        None => format!("{} is in use", restyle(what)),
    };
    Explained::invalid(Code::ScriptFailed, message)
        .hint("a closure cannot use the array or map that it is called for: collect the changes first")
}

/// Rhai: `Unknown property 'y' - a getter is not registered for type 'i64'`.
fn explain_property(text: &str) -> Explained {
    let mut quoted = text.split('\'').skip(1).step_by(2);
    let (Some(property), Some(rhai_type)) = (quoted.next(), quoted.next()) else {
        return Explained::invalid(Code::ScriptFailed, restyle(text));
    };
    let of = type_name(rhai_type);
    let verb = if text.starts_with("Unknown") { "has no" } else { "has no writable" };
    let explained =
        Explained::invalid(Code::ScriptFailed, format!("{} {verb} property `{property}`", with_article(of)));
    let explained = explained.word(property);
    match of {
        "()" => explained.hint("the value is missing: `?.` and `??` go on without it"),
        _ => explained,
    }
}

/// Rhai: `() [i64]` or `() [i64] = string`.
fn explain_index(text: &str) -> Explained {
    let (of, index) = text.split_once(" [").unwrap_or((text, ""));
    let index = type_name(index.split(']').next().unwrap_or(""));
    let of = type_name(of);
    let explained = Explained::invalid(
        Code::ScriptFailed,
        format!("{} cannot be indexed with {}", with_article(of), with_article(index)),
    );
    match of {
        "()" => explained.hint("the value is missing: `?[` and `??` go on without it"),
        _ => explained,
    }
}

/// A limit: which one, and how to do without.
fn explain_limit(error: &EvalAltResult) -> Explained {
    use EvalAltResult as E;
    let (what, hint) = match error {
        E::ErrorStackOverflow(_) => {
            ("too many nested calls", "turn the recursion into a loop over a list of what is left to do")
        }
        E::ErrorTooManyOperations(_) => {
            ("too many operations", "look for a loop without an end, or do the work in an operation")
        }
        E::ErrorTooManyVariables(_) => {
            ("too many variables", "keep them in an array or a map, or move a part into a function")
        }
        E::ErrorTooManyModules(_) => ("too many modules", "join small files"),
        E::ErrorDataTooLarge(what, _) if what.contains("string") => {
            ("a text is too long", "write to a file in pieces with `files::append`, or keep a list of lines")
        }
        E::ErrorDataTooLarge(what, _) if what.contains("map") => {
            ("a map is too large", "keep in it what is needed, or write the rest to a file")
        }
        _ => ("an array or a blob is too large", "work on it in pieces, or leave the data in a file"),
    };
    Explained::new(Code::LimitReached, ErrorKind::Failed, what).hint(hint)
}

/// As an error value.
pub(super) fn as_value(explained: Explained) -> OpError {
    let mut error = OpError::new(explained.kind, explained.message);
    error.hint = explained.hint;
    error
}

/// What a script caught or threw as a value: a map of an operation, one that Rhai made of its own error, a text.
pub(super) fn thrown_value(thrown: &Dynamic) -> OpError {
    let Ok(value) = to_value(thrown) else {
        return OpError::failed(format!("the script threw {}", with_article(type_name(thrown.type_name()))));
    };
    if let Some(error) = OpError::from_value(&value) {
        return error;
    }
    match &value {
        Value::Unit => OpError::failed("the script threw an error without a message"),
        Value::String(text) => OpError::failed(text.clone()),
        Value::Secret(secret) => OpError::failed(secret.to_string()),
        Value::Map(map) => match (map.get("message"), map.get("error")) {
            // Rhai makes this map of its own errors.
            (Some(Value::String(text)), Some(Value::String(name))) if name.starts_with("Error") => {
                rhai_value(text)
            }
            (Some(Value::String(text)), _) => {
                OpError { details: value.clone(), ..OpError::failed(text.clone()) }
            }
            _ => OpError { details: value.clone(), ..OpError::failed(shown(&value)) },
        },
        other => OpError::failed(shown(other)),
    }
}

/// What Rhai says of an error of its own, when a script has caught it.
fn rhai_value(text: &str) -> OpError {
    let text = text.lines().next().unwrap_or(text);
    let explained = match text.split_once(": ") {
        Some(("Function not found", signature)) => super::functions::not_found(signature, None),
        Some(("Property not found", name)) => {
            explain(&EvalAltResult::ErrorPropertyNotFound(name.to_owned(), Position::NONE))
        }
        _ => Explained::invalid(Code::ScriptFailed, restyle(text)),
    };
    as_value(explained)
}

/// A value as a message.
fn shown(value: &Value) -> String {
    value.to_json().map_or_else(|error| error.to_string(), |json| format!("the script threw {json}"))
}
