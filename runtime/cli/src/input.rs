//! Reading values from the command line.

use std::collections::BTreeMap;

use hob_engine::Base;
use hob_model::{Code, Diagnostic, OnDoubt, Value};

use crate::args::{PermissionArgs, RunArgs};
use crate::assemble;
use crate::context::{Failure, cwd, home};

/// The largest JSON text that is read from the command line, in bytes.
const JSON_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The value of a JSON text.
///
/// # Errors
/// When it does not parse; the message has the place.
pub(crate) fn json(what: &str, text: &str) -> Result<Value, Failure> {
    if text.len() > JSON_BYTES_MAX {
        return Err(Failure::usage(format!("{what} is longer than {JSON_BYTES_MAX} bytes")));
    }
    let parsed: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        Failure::from(
            Diagnostic::error(Code::Usage, format!("{what} is no JSON: {error}"))
                .hint("texts need quotes inside of the shell's: '\"text\"'"),
        )
    })?;
    Value::from_json(parsed).map_err(|error| Failure::usage(format!("{what}: {error}")))
}

/// The `input` of a run: `--input`, then each `--arg` on top.
///
/// # Errors
/// When one of them does not parse.
pub(crate) fn run_input(args: &RunArgs) -> Result<Value, Failure> {
    let mut map = match &args.input {
        None => BTreeMap::new(),
        Some(text) => match json("--input", text)? {
            Value::Map(map) => map,
            other if args.args.is_empty() => return Ok(other),
            other => {
                return Err(Failure::usage(format!(
                    "--input is no map but {}, so --arg has nothing to add to",
                    other.type_name()
                )));
            }
        },
    };
    for arg in &args.args {
        let (key, value) = arg.split_once('=').ok_or_else(|| {
            Failure::usage(format!("--arg `{arg}` has no `=`; write k=v for a text, k:=JSON for any value"))
        })?;
        match key.strip_suffix(':') {
            Some(key) => map.insert(key.to_owned(), json(&format!("--arg {key}"), value)?),
            None => map.insert(key.to_owned(), Value::from(value)),
        };
    }
    Ok(Value::Map(map))
}

/// `--on-doubt`
///
/// # Errors
/// When it is none of the four.
pub(crate) fn on_doubt(text: &str) -> Result<OnDoubt, Failure> {
    OnDoubt::parse(text)
        .ok_or_else(|| Failure::usage(format!("--on-doubt `{text}` is none of ask, retry, skip, fail")))
}

/// `--allow` or `--deny`, with paths made absolute against the working directory.
///
/// # Errors
/// When no operation needs such a permission.
pub(crate) fn permissions(flag: &str, grants: &[String]) -> Result<Vec<String>, Failure> {
    let (cwd, home) = (cwd(), home());
    let base = Base { directory: &cwd, home: home.as_deref() };
    let read = |grant: &String| {
        base.absolute(grant, &assemble::registry()).map_err(|error| {
            let problem = Diagnostic::error(Code::Usage, format!("{flag}: {}", error.message));
            Failure::from(problem.maybe_hint(error.hint))
        })
    };
    grants.iter().map(read).collect()
}

/// The variables that `--env` names, with their values.
///
/// # Errors
/// When one of them is not set.
#[allow(clippy::disallowed_methods)] // the rim: the caller's environment is read only by name
pub(crate) fn environment(permissions: &PermissionArgs) -> Result<Vec<(String, String)>, Failure> {
    let read = |name: &String| {
        std::env::var(name)
            .map(|value| (name.clone(), value))
            .map_err(|_| Failure::usage(format!("--env {name}: there is no such variable")))
    };
    permissions.env.iter().map(read).collect()
}
