//! Between Rhai's values and the journal's.

use hob_model::value::VALUE_DEPTH_MAX;
use hob_model::{OpError, Value};
use rhai::{Array, Blob, Dynamic, EvalAltResult, FnPtr, Map, Position};

use crate::handle::Handle;
use crate::secret;

/// The value that `dynamic` stands for.
///
/// # Errors
/// When it holds something that cannot be written down: a closure, a range, or nesting without end.
pub fn to_value(dynamic: &Dynamic) -> Result<Value, OpError> {
    value_at(dynamic, 0)
}

fn value_at(dynamic: &Dynamic, depth: usize) -> Result<Value, OpError> {
    if depth > VALUE_DEPTH_MAX {
        return Err(OpError::invalid(format!("the value nests deeper than {VALUE_DEPTH_MAX} levels")));
    }
    if let Ok(v) = dynamic.as_int() {
        return Ok(Value::Int(v));
    }
    if dynamic.is_unit() {
        return Ok(Value::Unit);
    }
    if let Ok(v) = dynamic.as_bool() {
        return Ok(Value::Bool(v));
    }
    if let Ok(v) = dynamic.as_immutable_string_ref() {
        return secret::read(v.as_str());
    }
    if let Ok(v) = dynamic.as_float() {
        return Ok(Value::Float(v));
    }
    if let Ok(v) = dynamic.as_char() {
        return Ok(Value::Char(v));
    }
    if let Some(v) = dynamic.read_lock::<Array>() {
        return v.iter().map(|item| value_at(item, depth + 1)).collect::<Result<_, _>>().map(Value::Array);
    }
    if let Some(v) = dynamic.read_lock::<Map>() {
        let pairs = v.iter().map(|(key, item)| Ok((plain_key(key)?, value_at(item, depth + 1)?)));
        return pairs.collect::<Result<_, _>>().map(Value::Map);
    }
    if let Some(v) = dynamic.read_lock::<Blob>() {
        return Ok(Value::Blob(v.clone()));
    }
    if let Some(v) = dynamic.read_lock::<Handle>() {
        return Ok(Value::String(v.name.clone()));
    }
    if let Some(v) = dynamic.read_lock::<secret::Handle>() {
        return Ok(Value::Secret(v.0.clone()));
    }
    let what = if dynamic.is::<FnPtr>() { "a closure" } else { dynamic.type_name() };
    Err(OpError::invalid(format!("{what} cannot be written to the journal"))
        .hint("pass texts, numbers, arrays, maps or blobs; call the closure and pass its result"))
}

/// A key of a map, which holds no secret.
fn plain_key(key: &str) -> Result<String, OpError> {
    match secret::read(key)? {
        Value::String(key) => Ok(key),
        _ => Err(OpError::invalid("a secret cannot be a key of a map").hint("make it a value of the map")),
    }
}

/// The Rhai value of `value`.
pub fn to_dynamic(value: Value) -> Dynamic {
    match value {
        Value::Unit => Dynamic::UNIT,
        Value::Bool(v) => v.into(),
        Value::Int(v) => v.into(),
        Value::Float(v) => v.into(),
        Value::Char(v) => v.into(),
        Value::String(v) => secret::escaped(v).into(),
        Value::Secret(v) => Dynamic::from(secret::Handle(v)),
        Value::Blob(v) => Dynamic::from_blob(v),
        Value::Array(v) => Dynamic::from_array(v.into_iter().map(to_dynamic).collect()),
        Value::Map(v) => Dynamic::from_map(
            v.into_iter().map(|(key, item)| (secret::escaped(key).into(), to_dynamic(item))).collect(),
        ),
    }
}

/// The Rhai error that a script catches as the map of `error`.
#[must_use]
pub fn to_rhai_error(error: &OpError, at: Position) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorRuntime(to_dynamic(error.to_value()), at))
}

/// A copy that shares nothing with `dynamic`: captured variables of a closure are cells, and two branches must not
/// see each other's.
pub fn deep_copy(dynamic: &Dynamic) -> Dynamic {
    let flat = dynamic.flatten_clone();
    let copy = if flat.is::<FnPtr>() {
        deep_copy_fn(&flat.cast::<FnPtr>()).into()
    } else if flat.is_array() {
        let items = flat.cast::<Array>();
        Dynamic::from_array(items.iter().map(deep_copy).collect())
    } else if flat.is_map() {
        let items = flat.cast::<Map>();
        Dynamic::from_map(items.iter().map(|(key, item)| (key.clone(), deep_copy(item))).collect())
    } else {
        flat
    };
    if dynamic.is_shared() { copy.into_shared() } else { copy }
}

/// As [`deep_copy`], for a closure.
#[must_use]
pub fn deep_copy_fn(closure: &FnPtr) -> FnPtr {
    let mut copy = closure.clone();
    copy.iter_curry_mut().for_each(|captured| *captured = deep_copy(captured));
    copy
}

/// A digest of what a closure captured, by value; closures and handles inside count by name. None where it captured
/// nothing.
#[must_use]
pub fn captures_digest(closure: &FnPtr) -> Option<hob_model::Digest> {
    let captured: Vec<Value> =
        closure.curry().iter().map(|captured| to_value(captured).unwrap_or_default()).collect();
    (!captured.is_empty()).then(|| hob_model::Digest::of(&Value::Array(captured).encode()))
}

/// What an evaluation gives.
pub(crate) type RhaiResult = Result<Dynamic, Box<EvalAltResult>>;
