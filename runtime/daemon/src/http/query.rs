//! The arguments of an API call: what a query or a JSON body may hold, checked against its declaration.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_model::{Value, duration, names};
use serde_json::{Map, Value as Json};

use super::reply::Refusal;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text.
    Text,
    /// A whole number from 0.
    Count,
    /// `true` or `false`.
    Flag,
    /// A duration: `90s`, `1h30m`.
    Duration,
    /// A list of texts.
    Texts,
    /// A map.
    Map,
    /// Any JSON.
    Any,
}

/// One argument of a route.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    pub(crate) about: &'static str,
}

/// A field that may be left out.
pub(crate) const fn optional(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, required: false, about }
}

/// A field that is needed.
pub(crate) const fn required(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, required: true, about }
}

/// Checked arguments.
#[derive(Debug, Default)]
pub(crate) struct Args(BTreeMap<&'static str, Json>);

fn wrong(field: &Field) -> Refusal {
    let wanted = match field.kind {
        Kind::Text => "a text",
        Kind::Count => "a whole number from 0",
        Kind::Flag => "true or false",
        Kind::Duration => "a duration such as \"90s\" or \"1h30m\"",
        Kind::Texts => "a list of texts",
        Kind::Map => "a map",
        Kind::Any => "JSON",
    };
    Refusal::usage(format!("`{}` must be {wanted}", field.name))
}

fn find(fields: &'static [Field], name: &str) -> Result<&'static Field, Refusal> {
    if let Some(field) = fields.iter().find(|field| field.name == name) {
        return Ok(field);
    }
    let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
    let refusal = Refusal::usage(format!("`{name}` is not known here"));
    Err(match names::nearest(name, known.iter().copied()) {
        Some(near) => refusal.hint(format!("did you mean `{near}`?")),
        None if known.is_empty() => refusal.hint("nothing is taken here"),
        None => refusal.hint(format!("known are {}", known.join(", "))),
    })
}

impl Args {
    /// Adds the fields of a query.
    pub(crate) fn add_query(&mut self, fields: &'static [Field], query: Option<&str>) -> Result<(), Refusal> {
        for (name, text) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let field = find(fields, &name)?;
            let json = match field.kind {
                Kind::Count => text.parse::<u64>().map(Json::from).map_err(|_| wrong(field))?,
                // `?follow` alone means yes.
                Kind::Flag => match &*text {
                    "" | "true" => Json::Bool(true),
                    "false" => Json::Bool(false),
                    _ => return Err(wrong(field)),
                },
                Kind::Texts => text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect(),
                Kind::Text | Kind::Duration | Kind::Map | Kind::Any => Json::String(text.into_owned()),
            };
            self.insert(field, json)?;
        }
        require(fields, &self.0)
    }

    /// Adds the fields of a JSON body; an empty one stands for `{}`.
    pub(crate) fn add_body(&mut self, fields: &'static [Field], bytes: &[u8]) -> Result<(), Refusal> {
        let map: Map<String, Json> = match bytes {
            [] => Map::new(),
            bytes => serde_json::from_slice(bytes)
                .map_err(|error| Refusal::usage(format!("the body is no JSON object: {error}")))?,
        };
        for (name, json) in map {
            let field = find(fields, &name)?;
            if !(json.is_null() && !field.required && field.kind != Kind::Any) {
                self.insert(field, json)?;
            }
        }
        require(fields, &self.0)
    }

    fn insert(&mut self, field: &'static Field, json: Json) -> Result<(), Refusal> {
        let fits = match field.kind {
            Kind::Text => json.is_string(),
            Kind::Count => json.is_u64(),
            Kind::Flag => json.is_boolean(),
            Kind::Duration => json.as_str().is_some_and(|text| duration::parse(text).is_ok()),
            Kind::Texts => json.as_array().is_some_and(|all| all.iter().all(Json::is_string)),
            Kind::Map => json.is_object(),
            Kind::Any => true,
        };
        if !fits {
            return Err(wrong(field));
        }
        if self.0.insert(field.name, json).is_some() {
            return Err(Refusal::usage(format!("`{}` is given twice", field.name)));
        }
        Ok(())
    }

    pub(crate) fn json(&self, name: &str) -> Option<&Json> {
        self.0.get(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.json(name)?.as_str()
    }

    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.json(name)?.as_u64()
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.json(name)?.as_bool()
    }

    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        duration::parse(self.text(name)?).ok()
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let all = self.json(name).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        all.iter().filter_map(Json::as_str).map(str::to_owned).collect()
    }

    pub(crate) fn map(&self, name: &str) -> Option<&Map<String, Json>> {
        self.json(name)?.as_object()
    }

    /// The value of a field of any JSON; `None` when it is not given.
    pub(crate) fn value(&self, name: &str) -> Result<Option<Value>, Refusal> {
        self.json(name).map(|json| value_of(name, json)).transpose()
    }
}

/// The value that JSON stands for.
pub(crate) fn value_of(name: &str, json: &Json) -> Result<Value, Refusal> {
    Value::from_json(json.clone()).map_err(|error| Refusal::usage(format!("`{name}`: {error}")))
}

fn require(fields: &[Field], args: &BTreeMap<&'static str, Json>) -> Result<(), Refusal> {
    match fields.iter().find(|field| field.required && !args.contains_key(field.name)) {
        Some(missing) => Err(Refusal::usage(format!("`{}` is missing: {}", missing.name, missing.about))),
        None => Ok(()),
    }
}
