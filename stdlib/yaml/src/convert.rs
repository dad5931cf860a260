//! YAML trees as values.

use std::collections::BTreeMap;

use hob_model::value::VALUE_DEPTH_MAX;
use hob_model::{OpError, Value};
use hob_primitive::Place;
use serde::Deserialize as _;
use serde_norway::Value as Yaml;

use crate::YAML_BYTES_MAX;

/// The documents of a YAML text.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>, OpError> {
    if text.len() > YAML_BYTES_MAX {
        return Err(OpError::invalid(format!(
            "the text has {} bytes, more than {YAML_BYTES_MAX}",
            text.len()
        )));
    }
    let mut documents = Vec::new();
    for document in serde_norway::Deserializer::from_str(text) {
        let mut tree = Yaml::deserialize(document).map_err(|error| malformed(text, &error))?;
        tree.apply_merge().map_err(|error| malformed(text, &error))?;
        documents.push(Tree { path: Vec::new() }.value(tree)?);
    }
    Ok(documents)
}

fn malformed(text: &str, error: &serde_norway::Error) -> OpError {
    let why = error.to_string();
    let why = why.split(" at line ").next().unwrap_or_default();
    match error.location() {
        Some(location) => Place::of(text, location.index()).malformed("YAML", why),
        None => OpError::invalid(format!("this is no YAML: {why}")),
    }
}

/// Walks a tree and knows the way to where it is, since the tree has no line numbers.
struct Tree {
    path: Vec<String>,
}

impl Tree {
    fn refuse(&self, why: &str) -> OpError {
        let at =
            if self.path.is_empty() { "the top".to_owned() } else { format!("`{}`", self.path.join(".")) };
        OpError::invalid(format!("this YAML cannot be read: {why} at {at}"))
    }

    fn value(&mut self, tree: Yaml) -> Result<Value, OpError> {
        if self.path.len() > VALUE_DEPTH_MAX {
            return Err(OpError::invalid(format!("the YAML nests deeper than {VALUE_DEPTH_MAX} levels")));
        }
        Ok(match tree {
            Yaml::Null => Value::Unit,
            Yaml::Bool(v) => Value::Bool(v),
            Yaml::String(v) => Value::String(v),
            Yaml::Number(n) => match (n.as_i64(), n.is_f64(), n.as_f64()) {
                (Some(v), ..) => Value::Int(v),
                (None, true, Some(v)) => Value::Float(v),
                _ => {
                    return Err(self
                        .refuse(&format!("the number {n} does not fit 64 bits"))
                        .hint("put it in quotes to read it as a text"));
                }
            },
            Yaml::Sequence(items) => {
                let mut out = Vec::with_capacity(items.len());
                for (at, item) in items.into_iter().enumerate() {
                    out.push(self.at(at.to_string(), item)?);
                }
                Value::Array(out)
            }
            Yaml::Mapping(items) => {
                let mut out = BTreeMap::new();
                for (key, item) in items {
                    let key = self.key(key)?;
                    let item = self.at(key.clone(), item)?;
                    if out.insert(key.clone(), item).is_some() {
                        return Err(self.refuse(&format!("two keys read as `{key}`")));
                    }
                }
                Value::Map(out)
            }
            Yaml::Tagged(tagged) => {
                return Err(self
                    .refuse(&format!("the tag `{}` has no meaning here", tagged.tag))
                    .hint("tags belong to the program that the file is for; remove it or quote the value"));
            }
        })
    }

    fn at(&mut self, step: String, tree: Yaml) -> Result<Value, OpError> {
        self.path.push(step);
        let value = self.value(tree);
        self.path.pop();
        value
    }

    /// Keys of maps are texts in scripts; `80: web` has the key `"80"`.
    fn key(&self, key: Yaml) -> Result<String, OpError> {
        match key {
            Yaml::String(v) => Ok(v),
            Yaml::Number(v) => Ok(v.to_string()),
            Yaml::Bool(v) => Ok(v.to_string()),
            Yaml::Null => Ok("null".to_owned()),
            _ => Err(self.refuse("a key is a list or a map")),
        }
    }
}
