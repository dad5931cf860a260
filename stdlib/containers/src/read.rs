//! How scripts write names, lists and pairs.

use std::collections::BTreeMap;

use hob_model::{Secret, Value};
use hob_primitive::{FromValue, Mismatch};

/// The longest name of a container, network or volume.
pub const NAME_BYTES_MAX: usize = 255;

/// The longest name of an image.
pub const IMAGE_BYTES_MAX: usize = 512;

/// How many items a list or a map of options may have.
pub const ITEMS_MAX: usize = 1000;

pub(crate) fn mismatch(message: impl Into<String>, hint: impl Into<String>) -> Mismatch {
    Mismatch { message: message.into(), hint: Some(hint.into()) }
}

/// The name, or the id, of a container, network or volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub String);

impl FromValue for Name {
    const KIND: &'static str = "string";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        // A handle, or what `list` gave, is taken by its name.
        let value = match &value {
            Value::Map(map) => map.get("name").cloned().unwrap_or_default(),
            _ => value,
        };
        let text = String::from_value(value)?;
        let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let begins = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
        if begins && text.len() <= NAME_BYTES_MAX && text.chars().all(good) {
            return Ok(Self(text));
        }
        Err(mismatch(
            format!("\"{}\" is no name", text.chars().take(80).collect::<String>()),
            "names begin with a letter or digit and have letters, digits, `_`, `.` and `-`",
        ))
    }
}

/// The name of an image: `docker.io/library/nginx:1.27`, also with a digest, or an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName(pub String);

impl FromValue for ImageName {
    const KIND: &'static str = "string";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let text = String::from_value(value)?;
        let good = |c: char| c.is_ascii_alphanumeric() || "_.-/:@".contains(c);
        let begins = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
        if begins && text.len() <= IMAGE_BYTES_MAX && text.chars().all(good) && !text.contains("..") {
            return Ok(Self(text));
        }
        Err(mismatch(
            format!("\"{}\" is no name of an image", text.chars().take(80).collect::<String>()),
            "write registry/name:tag, such as docker.io/library/nginx:1.27",
        ))
    }
}

/// A command: a list of words, or a text that is split like a shell splits it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Words(pub Vec<String>);

impl FromValue for Words {
    const KIND: &'static str = "string or array";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let words = match value {
            Value::String(text) => shlex::split(&text).ok_or_else(|| {
                mismatch("a quote in the command is not closed", "or pass an array of words")
            })?,
            Value::Array(_) => Texts::from_value(value)?.0,
            other => return Err(Mismatch::of::<Self>(&other)),
        };
        match words.iter().any(|word| word.contains('\0')) {
            true => Err(Mismatch { message: "a command has no NUL character".to_owned(), hint: None }),
            false => Ok(Self(words)),
        }
    }
}

/// A text, or a list of texts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Texts(pub Vec<String>);

impl FromValue for Texts {
    const KIND: &'static str = "string or array";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let items = match value {
            Value::Array(items) => items,
            Value::String(_) => vec![value],
            other => return Err(Mismatch::of::<Self>(&other)),
        };
        let numbered = items.into_iter().enumerate();
        let read = |(at, item)| {
            scalar(item).map_err(|other| Mismatch {
                message: format!("item {at}: expected a text, got {}", other.type_name()),
                hint: None,
            })
        };
        limited(numbered.map(read).collect::<Result<Vec<_>, _>>()?).map(Self)
    }
}

/// A number or truth value as the text it is written as; what is neither comes back.
pub(crate) fn scalar(value: Value) -> Result<String, Value> {
    match value {
        Value::String(text) => Ok(text),
        Value::Int(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        other => Err(other),
    }
}

pub(crate) fn limited<T>(items: Vec<T>) -> Result<Vec<T>, Mismatch> {
    match items.len() {
        0..=ITEMS_MAX => Ok(items),
        more => Err(Mismatch { message: format!("{more} items are more than {ITEMS_MAX}"), hint: None }),
    }
}

/// Pairs of texts: a map, or a list of `"KEY=value"`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Pairs(pub BTreeMap<String, String>);

impl FromValue for Pairs {
    const KIND: &'static str = "map or array";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let pairs: Vec<(String, String)> = match value {
            Value::Map(map) => {
                let read = |(key, item): (String, Value)| match scalar(item) {
                    Ok(text) => Ok((key, text)),
                    Err(other) => Err(Mismatch {
                        message: format!("`{key}`: expected a text, got {}", other.type_name()),
                        hint: None,
                    }),
                };
                map.into_iter().map(read).collect::<Result<_, _>>()?
            }
            Value::Array(_) => {
                let split = |text: String| match text.split_once('=') {
                    Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
                    None => Err(mismatch(
                        format!("\"{text}\" has no value"),
                        "write \"KEY=value\", or a map; nothing is taken from hob's own environment",
                    )),
                };
                Texts::from_value(value)?.0.into_iter().map(split).collect::<Result<_, _>>()?
            }
            other => return Err(Mismatch::of::<Self>(&other)),
        };
        match pairs
            .iter()
            .find(|(key, value)| key.is_empty() || key.contains(['=', '\0']) || value.contains('\0'))
        {
            Some((key, _)) => {
                Err(Mismatch { message: format!("\"{key}\" cannot be a name here"), hint: None })
            }
            None => Ok(Self(limited(pairs)?.into_iter().collect())),
        }
    }
}

/// Variables, of which some may be secrets: `#{ TZ: "UTC", PASSWORD: secret("db") }`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Variables {
    /// Those that everybody may see.
    pub plain: BTreeMap<String, String>,
    /// The others.
    pub secrets: BTreeMap<String, Secret>,
}

impl FromValue for Variables {
    const KIND: &'static str = Pairs::KIND;
    const TAKES_SECRETS: bool = true;

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let mut secrets = BTreeMap::new();
        let plain = match value {
            Value::Map(mut map) => {
                for (key, value) in map.iter_mut().filter(|(_, value)| matches!(value, Value::Secret(_))) {
                    // The name stays among the others, which are checked.
                    if let Value::Secret(secret) = std::mem::replace(value, Value::from("")) {
                        secrets.insert(key.clone(), secret);
                    }
                }
                Value::Map(map)
            }
            other => other,
        };
        if plain.has_secret() {
            let message = "a secret stands alone, as the value of a variable";
            return Err(mismatch(message, "write a map: #{ PASSWORD: secret(\"db\") }"));
        }
        let mut plain = Pairs::from_value(plain)?.0;
        plain.retain(|name, _| !secrets.contains_key(name));
        Ok(Self { plain, secrets })
    }
}
