//! Channels: how people are told.

use std::collections::{BTreeMap, BTreeSet};

use hob_model::{Diagnostic, Source, Span, Value, names};

use super::{Declaration, Homelab, Raw, bad};

/// The name that stands for the default channel where none has it.
pub const DEFAULT_CHANNEL: &str = "default";

/// How people are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// Whether hob's own notices go there.
    pub default: bool,
    /// The channel that is tried when it does not take a message.
    pub fallback: Option<String>,
    /// Its options as they were written, with the fallback, for whoever knows what channels may be.
    pub options: BTreeMap<String, Value>,
    /// Where it was declared.
    pub source: Source,
}

impl Homelab {
    /// The channel that hob's own notices go to: the one that says so, else the first.
    #[must_use]
    pub fn default_channel(&self) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.default).or_else(|| self.channels.first())
    }
}

/// Reads `channel(name, #{ url, … })`. What it may say is checked by whoever delivers messages.
pub(super) fn read(raw: &Raw, diagnostics: &mut Vec<Diagnostic>) -> Option<Channel> {
    let mut wrong = |message: String| diagnostics.push(bad(&raw.source, message));
    let name = &raw.name;
    for path in &raw.closures {
        wrong(format!("channel `{name}`: `{path}` takes no function"));
    }
    let mut options = match &raw.options {
        Value::Map(options) => options.clone(),
        _ => BTreeMap::new(),
    };
    let default = match options.remove("default") {
        None | Some(Value::Unit) => Some(false),
        Some(Value::Bool(default)) => Some(default),
        Some(other) => {
            wrong(format!(
                "channel `{name}`: `default`: expected true or false, found {}",
                other.type_name()
            ));
            None
        }
    };
    let fallback = options.get("fallback").and_then(Value::as_str).map(str::to_owned);
    let (name, source) = (name.to_string(), raw.source.clone());
    default.map(|default| Channel { name, default, fallback, options, source })
}

/// There is one default, and what is named is declared. A channel that was refused for another mistake counts as declared.
pub(super) fn check<D: Declaration>(declared: &[D], channels: &[Channel], diagnostics: &mut Vec<Diagnostic>) {
    let known: BTreeSet<&str> = declared.iter().filter(|raw| raw.kind() == "channel").map(D::name).collect();
    for Channel { name, fallback, source, .. } in channels {
        let Some(fallback) = fallback.as_deref() else { continue };
        if fallback == name {
            diagnostics
                .push(bad(source, format!("channel `{name}`: `fallback`: it cannot fall back to itself")));
        } else if !known.contains(fallback) {
            let missing =
                bad(source, format!("channel `{name}`: `fallback`: there is no channel `{fallback}`"));
            diagnostics.push(match names::nearest(fallback, known.iter().copied()) {
                Some(near) => missing.hint(format!("did you mean `{near}`?")),
                None => missing.hint("declare it with `channel(name, #{ url: … })`"),
            });
        }
    }
    let mut defaults = channels.iter().filter(|channel| channel.default);
    if let (Some(first), Some(second)) = (defaults.next(), defaults.next()) {
        let message = format!("channel `{}`: `default`: another channel is it already", second.name);
        diagnostics.push(bad(&second.source, message).span(Span {
            label: format!("`{}` is declared here", first.name),
            ..Span::point(first.source.clone())
        }));
    }
}
