//! TOML trees as values, and back.

use base64::Engine as _;
use hob_model::{OpError, Value};

/// The value of a TOML tree, which its parser keeps below 128 levels.
pub(crate) fn from_toml(tree: toml::Value) -> Value {
    match tree {
        toml::Value::String(v) => Value::String(v),
        toml::Value::Integer(v) => Value::Int(v),
        toml::Value::Float(v) => Value::Float(v),
        toml::Value::Boolean(v) => Value::Bool(v),
        toml::Value::Datetime(v) => Value::String(v.to_string()),
        toml::Value::Array(items) => Value::Array(items.into_iter().map(from_toml).collect()),
        toml::Value::Table(items) => Value::Map(items.into_iter().map(|(k, v)| (k, from_toml(v))).collect()),
    }
}

/// The TOML tree of a value; `path` is the way to it, for messages.
pub(crate) fn to_toml(value: Value, path: &mut Vec<String>) -> Result<toml::Value, OpError> {
    Ok(match value {
        Value::Unit => {
            return Err(OpError::invalid(format!("`{}` is (), and TOML has no null", path.join(".")))
                .hint("leave the key out"));
        }
        Value::Bool(v) => toml::Value::Boolean(v),
        Value::Int(v) => toml::Value::Integer(v),
        Value::Float(v) => toml::Value::Float(v),
        Value::Char(v) => toml::Value::String(v.to_string()),
        Value::String(v) => toml::Value::String(v),
        Value::Secret(_) => return Err(OpError::invalid(format!("`{}` is a secret", path.join(".")))),
        Value::Blob(v) => toml::Value::String(base64::engine::general_purpose::STANDARD.encode(v)),
        Value::Array(items) => {
            let items = items.into_iter().enumerate();
            let items = items.map(|(at, item)| at_step(at.to_string(), item, path));
            toml::Value::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Map(items) => {
            let items = items.into_iter().map(|(key, item)| Ok((key.clone(), at_step(key, item, path)?)));
            toml::Value::Table(items.collect::<Result<_, OpError>>()?)
        }
    })
}

fn at_step(step: String, value: Value, path: &mut Vec<String>) -> Result<toml::Value, OpError> {
    path.push(step);
    let tree = to_toml(value, path);
    path.pop();
    tree
}
