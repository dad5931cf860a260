//! The primitive `json`: JSON texts (RFC 8259) to values and back.

mod numbers;

pub use api::primitive;
pub use numbers::BigNumbers;

use hob_model::{OpError, Value};
use hob_primitive::{Place, Ports, primitive};

/// The most lines that `json::parse_lines` takes.
pub const JSON_LINES_MAX: usize = 1_000_000;

/// Needs no adapter: nothing here reaches the world.
pub fn install(_: &mut Ports) {}

/// The value of a JSON text.
///
/// # Errors
/// When it is no JSON (the message has line and column), nests too deep or holds a number that does not fit.
pub fn parse(text: &str, big_numbers: BigNumbers) -> Result<Value, OpError> {
    let rewritten = numbers::rewrite(text, big_numbers)?;
    let json = serde_json::from_str(&rewritten).map_err(|error| malformed(text, &error))?;
    Value::from_json(json).map_err(|error| OpError::invalid(error.to_string()))
}

/// serde_json counts columns in bytes, and from 0 at the end of a line.
fn malformed(text: &str, error: &serde_json::Error) -> OpError {
    let why = error.to_string();
    let why = why.rsplit_once(" at line ").map_or(why.as_str(), |(why, _)| why);
    let line_start: usize =
        text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    Place::of(text, line_start + error.column().saturating_sub(1)).malformed("JSON", why)
}

/// JSON texts.
///
/// `()` is `null`, maps are objects with their keys in order, a blob becomes base64 text. Of two equal keys in an
/// object the last one counts.
#[primitive(name = "json")]
mod api {
    use hob_model::{OpError, Value};
    use hob_primitive::{Options, Place, Text, check_depth};

    use crate::{BigNumbers, JSON_LINES_MAX, numbers};

    /// How to read.
    #[derive(Options)]
    pub(crate) struct ParseOptions {
        /// What to do with whole numbers that do not fit 64 bits: refuse them, or give a float (inexact) or a text.
        #[option(default = "BigNumbers::Error")]
        big_numbers: BigNumbers,
    }

    /// How to write.
    #[derive(Options)]
    pub(crate) struct StringifyOptions {
        /// Whether to break lines and indent by two spaces.
        #[option(default = "false")]
        pretty: bool,
    }

    /// Reads a JSON text.
    ///
    /// Class `pure`: the same text gives the same value. Whole numbers are ints; those outside of 64 bits are an
    /// error, because rounding an identifier silently is worse; `big_numbers` chooses otherwise.
    ///
    /// Fails with `invalid` when the text is no JSON, with line and column in the message and in `e.details`.
    ///
    /// ```rhai
    /// let config = json::parse(`{"name": "plex", "ports": [32400], "gpu": null}`);
    /// config.name == "plex" && config.ports[0] == 32400 && config.gpu == ()
    /// ```
    ///
    /// ```rhai
    /// json::parse("[18446744073709551615]", #{ big_numbers: "text" }) == ["18446744073709551615"]
    /// ```
    #[operation(pure)]
    fn parse(text: Text, options: ParseOptions) -> Result<Value, OpError> {
        crate::parse(&text.0, options.big_numbers)
    }

    /// Reads a text with one JSON value on each line (NDJSON), as `journalctl -o json` and restic write it.
    ///
    /// Class `pure`: the same text gives the same values. Empty lines are skipped.
    ///
    /// Fails as `json::parse`, naming the line.
    ///
    /// ```rhai
    /// let lines = json::parse_lines("{\"n\": 1}\n{\"n\": 2}\n");
    /// lines.len() == 2 && lines[1].n == 2
    /// ```
    #[operation(pure, returns = "array")]
    fn parse_lines(text: Text, options: ParseOptions) -> Result<Vec<Value>, OpError> {
        let mut values = Vec::new();
        for (at, line) in text.0.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            if values.len() == JSON_LINES_MAX {
                return Err(OpError::invalid(format!("more than {JSON_LINES_MAX} lines")));
            }
            values.push(
                crate::parse(line, options.big_numbers).map_err(|error| numbers::on_line(error, at + 1))?,
            );
        }
        Ok(values)
    }

    /// Writes a value as JSON.
    ///
    /// Class `pure`: the same value gives the same text; keys are in order.
    ///
    /// Fails with `invalid` when the value holds NaN or an infinity, which JSON does not have.
    ///
    /// ```rhai
    /// json::stringify(#{ b: [1, 2.5, ()], a: "x" }) == `{"a":"x","b":[1,2.5,null]}`
    /// ```
    ///
    /// ```rhai
    /// json::stringify(#{ a: 1 }, #{ pretty: true }) == "{\n  \"a\": 1\n}"
    /// ```
    #[operation(pure, returns = "string")]
    fn stringify(value: Value, options: StringifyOptions) -> Result<String, OpError> {
        check_depth(&value)?;
        let json = value.to_json().map_err(|error| {
            OpError::invalid(error.to_string()).hint("replace it before writing, for example by ()")
        })?;
        Ok(if options.pretty { format!("{json:#}") } else { json.to_string() })
    }

    /// Looks up a place in a value by a JSON Pointer (RFC 6901); `()` when there is nothing.
    ///
    /// Class `pure`. In a pointer `~1` stands for `/` and `~0` for `~`; `""` is the whole value.
    ///
    /// Fails with `invalid` when the pointer does not start with `/`.
    ///
    /// ```rhai
    /// let answer = #{ data: #{ items: [#{ id: 7 }] } };
    /// json::get(answer, "/data/items/0/id") == 7 && json::get(answer, "/data/total") == ()
    /// ```
    #[operation(pure)]
    fn get(value: Value, pointer: String) -> Result<Value, OpError> {
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(Place { line: 1, column: 1 }
                .malformed("JSON Pointer", "`/` is missing")
                .hint(format!("write \"/{pointer}\"")));
        }
        let mut found = &value;
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            let next = match found {
                Value::Map(map) => map.get(&token),
                Value::Array(items) => index(&token).and_then(|at| items.get(at)),
                _ => None,
            };
            match next {
                Some(next) => found = next,
                None => return Ok(Value::Unit),
            }
        }
        Ok(found.clone())
    }

    /// An array index as RFC 6901 has it: digits without a leading zero.
    fn index(token: &str) -> Option<usize> {
        let plain = token == "0" || !token.starts_with(['0', '+']);
        plain.then(|| token.parse().ok()).flatten()
    }

    /// Merges a patch into a value (JSON Merge Patch, RFC 7396): maps are merged, `()` removes a key, all else replaces.
    ///
    /// Class `pure`.
    ///
    /// ```rhai
    /// json::merge(#{ a: 1, b: #{ c: 2, d: 3 } }, #{ a: (), b: #{ c: 9 } }) == #{ b: #{ c: 9, d: 3 } }
    /// ```
    #[operation(pure)]
    fn merge(value: Value, patch: Value) -> Result<Value, OpError> {
        check_depth(&value)?;
        check_depth(&patch)?;
        Ok(merged(value, patch))
    }

    fn merged(value: Value, patch: Value) -> Value {
        let Value::Map(patch) = patch else { return patch };
        let mut map = match value {
            Value::Map(map) => map,
            _ => std::collections::BTreeMap::new(),
        };
        for (key, change) in patch {
            let old = map.remove(&key).unwrap_or_default();
            if change != Value::Unit {
                map.insert(key, merged(old, change));
            }
        }
        Value::Map(map)
    }
}
