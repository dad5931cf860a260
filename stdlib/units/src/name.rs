//! Names of units: what is one, and which were meant.

use globset::{GlobBuilder, GlobMatcher};
use hob_model::names::nearest;
use hob_model::{OpError, Value};
use hob_primitive::{FromValue, Mismatch};

/// The longest name that systemd takes (`UNIT_NAME_MAX`).
pub const NAME_BYTES_MAX: usize = 255;

/// The longest pattern.
pub(crate) const PATTERN_BYTES_MAX: usize = 1024;

/// How many units one call may name.
pub(crate) const UNITS_MAX: usize = 1000;

/// The types of units, as the ends of their names.
pub(crate) const TYPES: [&str; 11] = [
    "service",
    "socket",
    "target",
    "device",
    "mount",
    "automount",
    "swap",
    "timer",
    "path",
    "slice",
    "scope",
];

/// The full name of a unit, `nginx.service`; a text without a dot names a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitName(String);

impl UnitName {
    /// The name that `text` stands for.
    ///
    /// # Errors
    /// When it cannot be the name of a unit.
    pub fn parse(text: &str) -> Result<Self, Mismatch> {
        let refuse = |message: String, hint: Option<String>| Err(Mismatch { message, hint });
        let full = match text.contains('.') {
            true => text.to_owned(),
            false => format!("{text}.service"),
        };
        let (prefix, kind) = full.rsplit_once('.').unwrap_or((&full, ""));
        if prefix.is_empty() || full.len() > NAME_BYTES_MAX {
            return refuse(
                format!("\"{text}\" is no name of a unit: it has 1 to {NAME_BYTES_MAX} characters"),
                None,
            );
        }
        if let Some(wrong) = full.chars().find(|&c| !(c.is_ascii_alphanumeric() || ":-_.\\@".contains(c))) {
            let hint = match wrong {
                '*' | '?' | '[' => "patterns are for units::list".to_owned(),
                _ => "`systemd-escape` turns any text into a name".to_owned(),
            };
            return refuse(
                format!("\"{text}\" is no name of a unit: it has the character {wrong:?}"),
                Some(hint),
            );
        }
        if !TYPES.contains(&kind) {
            let hint = match nearest(kind, TYPES) {
                Some(near) => format!("did you mean \"{prefix}.{near}\"?"),
                None => format!("write \"{full}.service\" if it is a service"),
            };
            return refuse(
                format!("\"{text}\" is no name of a unit: there is no type \"{kind}\""),
                Some(hint),
            );
        }
        Ok(Self(full))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its type: `service`.
    #[must_use]
    pub fn kind(&self) -> &str {
        kind_of(&self.0)
    }
}

impl FromValue for UnitName {
    const KIND: &'static str = "string";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(text) => Self::parse(&text),
            other => Err(Mismatch::of::<Self>(&other)),
        }
    }
}

impl std::fmt::Display for UnitName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The type in a full name.
pub(crate) fn kind_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, kind)| kind)
}

/// One unit, or an array of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnitNames {
    /// One.
    One(UnitName),
    /// Any number.
    Many(Vec<UnitName>),
}

impl FromValue for UnitNames {
    const KIND: &'static str = "string or array";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(text) => UnitName::parse(&text).map(Self::One),
            Value::Array(items) if items.len() <= UNITS_MAX => {
                items.into_iter().map(UnitName::from_value).collect::<Result<_, _>>().map(Self::Many)
            }
            Value::Array(items) => {
                Err(Mismatch { message: format!("{} units, more than {UNITS_MAX}", items.len()), hint: None })
            }
            other => Err(Mismatch::of::<Self>(&other)),
        }
    }
}

/// One text, or an array of them: any of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AnyOf(pub(crate) Vec<String>);

impl AnyOf {
    /// Whether nothing is asked for, or one of `texts` is.
    pub(crate) fn admits(&self, texts: &[&str]) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| texts.contains(&wanted.as_str()))
    }
}

impl FromValue for AnyOf {
    const KIND: &'static str = "string or array";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(text) => Ok(Self(vec![text])),
            Value::Array(_) => Vec::from_value(value).map(Self),
            other => Err(Mismatch::of::<Self>(&other)),
        }
    }
}

/// Patterns of names as `systemctl` takes them: `*`, `?` and `[…]`.
#[derive(Clone, Debug)]
pub(crate) struct Patterns(Vec<GlobMatcher>);

impl Patterns {
    /// Whether one of them matches `name`. A pattern without a dot also matches the names of services without their
    /// ending.
    #[must_use]
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.is_match(name))
    }
}

impl FromValue for Patterns {
    const KIND: &'static str = "string or array";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let AnyOf(texts) = AnyOf::from_value(value)?;
        let compiled = texts.iter().map(|text| {
            if text.len() > PATTERN_BYTES_MAX {
                return Err(Mismatch {
                    message: format!("a pattern has at most {PATTERN_BYTES_MAX} bytes"),
                    hint: None,
                });
            }
            // As systemctl: a plain name without a type means the service.
            let is_plain = !text.contains(['*', '?', '[', '.']);
            let full = if is_plain { format!("{text}.service") } else { text.clone() };
            let glob = GlobBuilder::new(&full).literal_separator(false).backslash_escape(false).build();
            glob.map(|glob| glob.compile_matcher()).map_err(|error| Mismatch {
                message: format!("\"{text}\" is no pattern: {error}"),
                hint: None,
            })
        });
        compiled.collect::<Result<_, _>>().map(Self)
    }
}

/// The error for a unit that does not exist, with the nearest of those that do.
pub(crate) fn unknown_unit<'a>(unit: &str, known: impl IntoIterator<Item = &'a str>) -> OpError {
    let known: Vec<&str> = known.into_iter().collect();
    let stem = unit.rsplit_once('.').map_or(unit, |(stem, _)| stem);
    // Whole names first; a part of the name, which people remember, after that.
    let near = nearest(unit, known.iter().copied())
        .or_else(|| known.iter().copied().find(|name| stem.len() > 2 && name.contains(stem)));
    let hint = match near {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "units::list(\"*\", #{ all: true }) shows the loaded ones".to_owned(),
    };
    OpError::not_found(format!("there is no unit {unit}")).hint(hint).nothing_happened()
}
