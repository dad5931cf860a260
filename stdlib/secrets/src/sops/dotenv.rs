//! SOPS files of environment variables: `NAME=value` lines, comments, and the metadata as `sops_…` variables.
//!
//! As the `sops` command reads them: no quotes, no expansion, `\n` stands for a line break, `#` begins a comment only
//! at the beginning of a line.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};
use zeroize::Zeroizing;

use super::document::{Budget, Child, Document, Leaf, Node, Spot, duplicate};
use super::metadata::{flatten, unflatten};
use super::value::{Type, Value};
use crate::Plain;
use crate::error::{Error, Result};

/// What the variables of the metadata begin with.
const PREFIX: &str = "sops_";

/// Reads a file.
pub(super) fn parse(text: &str) -> Result<Document> {
    let mut budget = Budget::default();
    let (mut children, mut pairs, mut metadata_spans) = (Vec::new(), Vec::new(), Vec::new());
    let mut keys = HashSet::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let (start, end) = (at, at + line.len());
        at = end;
        let content = line.strip_suffix('\n').unwrap_or(line);
        if content.is_empty() || content == "\r" {
            continue;
        }
        budget.value()?;
        if let Some(comment) = content.strip_prefix('#') {
            let value = Value { kind: Type::Comment, plain: Zeroizing::new(comment.as_bytes().to_vec()) };
            let leaf = Leaf { value, span: start + 1..start + content.len(), spot: Spot::Plain };
            children.push(Child { key: None, node: Node::Comment(leaf) });
            continue;
        }
        let (key, raw) = content.split_once('=').ok_or_else(|| {
            Error::malformed("a line is neither NAME=value nor a comment")
                .at(text, start)
                .hint("a line break inside of a value is written as \\n")
        })?;
        if !keys.insert(key) {
            return Err(duplicate(key).at(text, start));
        }
        if let Some(name) = key.strip_prefix(PREFIX) {
            pairs.push((name.to_owned(), raw.trim_end_matches('\r').replace("\\n", "\n")));
            metadata_spans.push(start..end);
            continue;
        }
        // Windows' line ends are no part of an encrypted value, which never holds one.
        let raw = if super::cipher::is_encrypted(raw.trim_end_matches('\r')) {
            raw.trim_end_matches('\r')
        } else {
            raw
        };
        let value_start = start + key.len() + 1;
        let leaf = Leaf { value: read(raw), span: value_start..value_start + raw.len(), spot: Spot::Plain };
        children.push(Child { key: Some(key.to_owned()), node: Node::Leaf(leaf) });
    }
    let metadata = if pairs.is_empty() { None } else { Some(unflatten(pairs)?) };
    Ok(Document { roots: vec![children], metadata, metadata_spans })
}

fn read(raw: &str) -> Value {
    Value::text(&*Zeroizing::new(raw.replace("\\n", "\n")))
}

/// How a value is written; nothing for what the format cannot hold.
pub(super) fn write(value: &Value) -> Option<Zeroizing<String>> {
    let text = value.as_str()?;
    let text = Zeroizing::new(match value.kind {
        Type::Bool => if value.is_true() { "true" } else { "false" }.to_owned(),
        _ => text.replace('\n', "\\n"),
    });
    let back: Plain = read(&text).plain;
    (value.kind != Type::Text || *back == *value.plain).then_some(text)
}

/// The text with the metadata at its end.
pub(super) fn insert_metadata(text: &str, metadata: &Map<String, Json>) -> String {
    let mut out = String::with_capacity(text.len() + 2_048);
    out.push_str(text);
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    for (key, value) in flatten(metadata) {
        out.push_str(&format!("{PREFIX}{key}={}\n", value.replace('\n', "\\n")));
    }
    out
}
