//! Reading an option map: each key is taken once, and what is wrong is reported instead of failing.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use hob_model::{Code, Diagnostic, Level, Source, Value};

use super::Raw;

/// The most items of a list among the options.
pub(super) const ITEMS_MAX: usize = 1_000;

/// The longest text among the options: what Linux takes as one argument of a program, less its end.
pub(super) const TEXT_BYTES_MAX: usize = 128 * 1024 - 1;

/// How many characters of a wrong value a message repeats.
const FOUND_CHARS_MAX: usize = 40;

/// The options of one declaration.
pub(super) struct Options<'d> {
    kind: String,
    name: Arc<str>,
    source: Source,
    map: BTreeMap<String, Value>,
    diagnostics: &'d mut Vec<Diagnostic>,
}

impl<'d> Options<'d> {
    /// The options of `raw`; keys that are not `known` are reported.
    pub(super) fn open(raw: &Raw, known: &[&str], diagnostics: &'d mut Vec<Diagnostic>) -> Self {
        let map = match &raw.options {
            Value::Map(map) => map.clone(),
            _ => BTreeMap::new(),
        };
        let (kind, name, source) = (raw.kind.clone(), raw.name.clone(), raw.source.clone());
        let mut options = Self { kind, name, source, map, diagnostics };
        if !matches!(raw.options, Value::Map(_) | Value::Unit) {
            options.wrong("options", "a map", &raw.options);
        }
        for path in raw.closures.iter().filter(|path| !path.is_empty()) {
            options.map.remove(path);
            options.report(Code::UnknownOption, format!("`{path}` takes no function"));
        }
        options.refuse_unknown(known);
        options
    }

    fn refuse_unknown(&mut self, known: &[&str]) {
        let unknown: Vec<String> =
            self.map.keys().filter(|key| !known.contains(&key.as_str())).cloned().collect();
        for key in unknown {
            self.map.remove(&key);
            let mut diagnostic = self.diagnostic(Code::UnknownOption, format!("there is no option `{key}`"));
            let mut sorted = known.to_vec();
            sorted.sort_unstable();
            diagnostic = diagnostic.note(match sorted[..] {
                [] => "it has no options".to_owned(),
                [one] => format!("allowed is {one}"),
                _ => format!("allowed are {}", sorted.join(", ")),
            });
            if let Some(near) = hob_model::names::nearest(&key, known.iter().copied()) {
                diagnostic = diagnostic.hint(format!("did you mean `{near}`?"));
            }
            self.diagnostics.push(diagnostic);
        }
    }

    fn diagnostic(&self, code: Code, message: impl Display) -> Diagnostic {
        let whose = match &*self.name {
            "" => self.kind.clone(),
            name => format!("{} `{name}`", self.kind),
        };
        Diagnostic::error(code, format!("{whose}: {message}")).at(self.source.clone())
    }

    /// A declaration of the same name for the map under `key`.
    pub(super) fn as_raw(&self, key: &str) -> Raw {
        let (name, source) = (format!("{}`, option `{key}", self.name).into(), self.source.clone());
        Raw { kind: self.kind.clone(), name, source, ..Raw::default() }
    }

    /// Adds a mistake of this declaration.
    pub(super) fn report(&mut self, code: Code, message: impl Display) {
        self.diagnostics.push(self.diagnostic(code, message));
    }

    /// Adds a mistake of this declaration and its cure.
    pub(super) fn report_with(&mut self, code: Code, message: impl Display, hint: impl Into<String>) {
        self.diagnostics.push(self.diagnostic(code, message).hint(hint));
    }

    /// Adds what is allowed and unwise about this declaration.
    pub(super) fn warn(&mut self, message: impl Display) {
        let warning = self.diagnostic(Code::BadDeclaration, message);
        self.diagnostics.push(Diagnostic { level: Level::Warning, ..warning });
    }

    /// Adds mistakes that others found in this declaration.
    pub(super) fn adopt(&mut self, found: impl IntoIterator<Item = Diagnostic>) {
        let source = self.source.clone();
        let placed = found.into_iter().map(|diagnostic| match diagnostic.spans.is_empty() {
            true => diagnostic.at(source.clone()),
            false => diagnostic,
        });
        self.diagnostics.extend(placed);
    }

    /// Reports that `key` has a value of a wrong type or form.
    pub(super) fn wrong(&mut self, key: &str, expected: &str, found: &Value) {
        let found = match found {
            Value::String(text) if text.chars().count() > FOUND_CHARS_MAX => {
                format!("\"{}…\"", text.chars().take(FOUND_CHARS_MAX).collect::<String>())
            }
            Value::String(text) => format!("\"{text}\""),
            Value::Int(number) => number.to_string(),
            other => other.type_name().to_owned(),
        };
        self.report(Code::UnknownOption, format!("`{key}`: expected {expected}, found {found}"));
    }

    /// The value of `key`, once; `()` counts as absent.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| *value != Value::Unit)
    }

    /// The value of `key`, which stays; `()` counts as absent.
    pub(super) fn peek(&self, key: &str) -> Option<Value> {
        self.map.get(key).filter(|value| **value != Value::Unit).cloned()
    }

    /// What is left.
    pub(super) fn rest(&mut self) -> Value {
        Value::Map(std::mem::take(&mut self.map))
    }

    /// The value of `key` as `read` understands it; `expected` says what it takes.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(key)?;
        let read = read(&value);
        if read.is_none() {
            self.wrong(key, expected, &value);
        }
        read
    }

    pub(super) fn bool(&mut self, key: &str) -> Option<bool> {
        self.read(key, "true or false", |value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        })
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.read(key, "a text", text)
    }

    /// One text or a list of texts.
    pub(super) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        self.read(key, "a text or an array of texts", |value| match value {
            Value::Array(_) => texts(value),
            one => text(one).map(|one| vec![one]),
        })
    }

    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        self.read(key, &format!("one of {}", names.join(", ")), |value| {
            choices.iter().find(|(name, _)| value.as_str() == Some(name)).map(|(_, choice)| *choice)
        })
    }

    pub(super) fn duration(&mut self, key: &str) -> Option<Duration> {
        let value = self.take(key)?;
        let Some(text) = value.as_str() else {
            self.wrong(key, "a duration such as \"90s\"", &value);
            return None;
        };
        let parsed = hob_model::duration::parse(text);
        parsed.map_err(|error| self.report(Code::UnknownOption, format!("`{key}`: {error}"))).ok()
    }

    pub(super) fn port(&mut self, key: &str) -> Option<u16> {
        self.read(key, "a port from 1 to 65535", port)
    }
}

/// A text that programs can take: not too long, and without NUL.
pub(super) fn text(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| text.len() <= TEXT_BYTES_MAX && !text.contains('\0'))?;
    Some(text.to_owned())
}

/// An array of texts.
pub(super) fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) if items.len() <= ITEMS_MAX => items.iter().map(text).collect(),
        _ => None,
    }
}

pub(super) fn port(value: &Value) -> Option<u16> {
    value.as_int().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}
