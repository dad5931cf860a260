//! Secrets that are documents: their parts are secrets of their own.

use hob_model::{OpError, Secret, SecretForm, SecretRef, Value};
use hob_primitive::Opened;
use serde_json::Value as Json;
use zeroize::{Zeroize, Zeroizing};

/// The deepest document that is taken apart, in levels.
const DEPTH_MAX: usize = 64;

/// A document whose texts are wiped when it is dropped.
pub(super) struct Document(pub(super) Json);

impl Drop for Document {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(json: &mut Json) {
    match json {
        Json::String(text) => text.zeroize(),
        Json::Array(items) => items.iter_mut().for_each(wipe),
        Json::Object(items) => items.values_mut().for_each(wipe),
        _ => {}
    }
}

/// Reads a document. The error says where it is none, and nothing of what stands there.
fn read(value: &[u8], format: &str) -> Result<Document, OpError> {
    let refuse = |place: Option<(usize, usize)>| {
        let at = place.map_or(String::new(), |(line, column)| format!(" at line {line}, column {column}"));
        OpError::invalid(format!("the secret is no {}{at}", format.to_uppercase()))
    };
    match format {
        "json" => serde_json::from_slice(value)
            .map(Document)
            .map_err(|error| refuse(Some((error.line(), error.column())))),
        "yaml" => serde_norway::from_slice(value)
            .map(Document)
            .map_err(|error| refuse(error.location().map(|at| (at.line(), at.column())))),
        other => Err(OpError::invalid(format!("a secret is not read as `{other}`")).hint("use json or yaml")),
    }
}

/// The text of a scalar.
pub(super) fn scalar(json: &Json) -> Option<Zeroizing<String>> {
    match json {
        Json::Null => Some(Zeroizing::default()),
        Json::Bool(value) => Some(Zeroizing::new(value.to_string())),
        Json::Number(value) => Some(Zeroizing::new(value.to_string())),
        Json::String(text) => Some(Zeroizing::new(text.clone())),
        Json::Array(_) | Json::Object(_) => None,
    }
}

/// A part of a document, as text.
pub(super) fn part(value: &[u8], format: &str, pointer: &str) -> Result<Opened, OpError> {
    let document = read(value, format)?;
    let found = document.0.pointer(pointer).and_then(scalar);
    let text =
        found.ok_or_else(|| OpError::not_found(format!("the secret has no part `{pointer}` any more")))?;
    Ok(Zeroizing::new(text.as_bytes().to_vec()))
}

/// The shape of a document: its keys, with a secret in the place of each value.
pub(crate) fn shape(value: &[u8], format: &str, of: &SecretRef) -> Result<Value, OpError> {
    let document = read(value, format)?;
    shape_at(&document.0, format, "", of, 0)
}

fn shape_at(
    json: &Json,
    format: &str,
    pointer: &str,
    of: &SecretRef,
    depth: usize,
) -> Result<Value, OpError> {
    if depth > DEPTH_MAX {
        return Err(OpError::invalid(format!("the secret nests deeper than {DEPTH_MAX} levels")));
    }
    let below = |key: &str, json: &Json| {
        shape_at(json, format, &format!("{pointer}/{}", escaped(key)), of, depth + 1)
    };
    match json {
        Json::Array(items) => {
            let items = items.iter().enumerate().map(|(at, item)| below(&at.to_string(), item));
            items.collect::<Result<_, _>>().map(Value::Array)
        }
        Json::Object(items) => {
            let items = items.iter().map(|(key, item)| Ok((key.clone(), below(key, item)?)));
            items.collect::<Result<_, _>>().map(Value::Map)
        }
        Json::Null => Ok(Value::Unit),
        _ => {
            let form = SecretForm::Part { format: format.to_owned(), pointer: pointer.to_owned() };
            Ok(Value::Secret(Secret::reference(SecretRef { form, ..of.clone() })))
        }
    }
}

/// A key as a part of a pointer (RFC 6901).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
