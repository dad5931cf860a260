//! `include_text` and its like: data that belongs to the bundle.
//!
//! What is included is read together with the scripts, so that a run keeps it whatever becomes of the files. The engine
//! knows no format: it asks the pure operations that do.

use std::sync::Arc;

use hob_model::{Code, Diagnostic, OpError, Source, Value};
use hob_primitive::{Args, Handler, Registry};
use rhai::{FuncRegistration, ImmutableString, Module, NativeCallContext};

use crate::bundle::{Bundle, join};
use crate::convert::{RhaiResult, to_dynamic, to_rhai_error};

/// What all of these functions begin with.
pub(crate) const PREFIX: &str = "include_";

/// The functions that read what they include, and the operations that they ask.
const FORMATS: [(&str, &str); 3] =
    [("include_json", "json::parse"), ("include_toml", "toml::parse"), ("include_yaml", "yaml::parse")];

/// Reads a text of some format.
type Parser = fn(Args) -> Result<Value, OpError>;

/// What reads the data that `function` includes; none for plain text.
fn parser(function: &str, registry: &Registry) -> Option<Parser> {
    let (_, operation) = FORMATS.iter().find(|(name, _)| *name == function)?;
    match registry.get(operation)?.handler {
        Handler::Pure(parse) => Some(parse),
        Handler::Blocking(_) | Handler::Async(_) => None,
    }
}

/// Looks whether `text` is what `function` takes; the problem stands where the text is wrong.
pub(crate) fn check(function: &str, path: &str, text: &str, registry: &Registry) -> Result<(), Diagnostic> {
    match parser(function, registry) {
        Some(parse) => read(parse, text).map(drop).map_err(|error| problem(path, &error)),
        None => Ok(()),
    }
}

fn read(parse: Parser, text: &str) -> Result<Value, OpError> {
    parse(Args::new(vec![Value::from(text)], Default::default()))
}

fn problem(path: &str, error: &OpError) -> Diagnostic {
    let number = |key: &str| {
        let number = error.details.get(key).and_then(Value::as_int);
        number.and_then(|number| u32::try_from(number).ok()).unwrap_or(1)
    };
    let source = Source { file: path.into(), line: number("line"), column: number("column") };
    let mut problem = Diagnostic::error(Code::Syntax, format!("`{path}`: {}", error.message)).at(source);
    problem.hint.clone_from(&error.hint);
    problem
}

/// The bundle that the caller belongs to.
fn bundle_of(ctx: &NativeCallContext<'_>) -> Option<Arc<Bundle>> {
    let tag = ctx.tag()?;
    if let Some(handle) = tag.read_lock::<crate::branch::DeclaringHandle>() {
        return Some(Arc::clone(&handle.0.bundle));
    }
    tag.read_lock::<crate::branch::BranchHandle>()?.0.run.bundle.clone()
}

fn text(ctx: &NativeCallContext<'_>, path: &str) -> Result<Arc<str>, OpError> {
    let key = join(ctx.call_source().unwrap_or_default(), path);
    bundle_of(ctx).and_then(|bundle| bundle.text(&key)).ok_or_else(|| {
        OpError::not_found(format!("`{key}` is not part of the bundle"))
            .hint("give the path as a plain text, relative to this file, so that it is read with the scripts")
    })
}

fn thrown(ctx: &NativeCallContext<'_>, function: &str, mut error: OpError) -> Box<rhai::EvalAltResult> {
    function.clone_into(&mut error.operation);
    to_rhai_error(&error, ctx.call_position())
}

/// The functions, with the parsers of `registry`.
pub(crate) fn module(registry: &Registry) -> Module {
    let mut module = Module::new();
    FuncRegistration::new("include_text").set_into_module(
        &mut module,
        |ctx: NativeCallContext<'_>, path: ImmutableString| -> RhaiResult {
            let text = text(&ctx, &path).map_err(|error| thrown(&ctx, "include_text", error))?;
            Ok(text.as_ref().into())
        },
    );
    for (function, _) in FORMATS {
        let Some(parse) = parser(function, registry) else { continue };
        FuncRegistration::new(function).set_into_module(
            &mut module,
            move |ctx: NativeCallContext<'_>, path: ImmutableString| -> RhaiResult {
                let value = text(&ctx, &path).and_then(|text| read(parse, &text));
                value.map(to_dynamic).map_err(|error| thrown(&ctx, function, error))
            },
        );
    }
    module
}
