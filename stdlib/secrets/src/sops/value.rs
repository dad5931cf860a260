//! A value of a SOPS file: its type and the bytes that are encrypted and authenticated.

use zeroize::Zeroizing;

use crate::Plain;
use crate::error::{Error, Result};

/// The type of a value, as it stands in `type:…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Type {
    /// `str`
    Text,
    /// `int`
    Int,
    /// `float`
    Float,
    /// `bool`
    Bool,
    /// `time`
    Time,
    /// `bytes`
    Bytes,
    /// `comment`
    Comment,
}

impl Type {
    /// All of them.
    const ALL: [Self; 7] =
        [Self::Text, Self::Int, Self::Float, Self::Bool, Self::Time, Self::Bytes, Self::Comment];

    /// Its name in a file.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "str",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Time => "time",
            Self::Bytes => "bytes",
            Self::Comment => "comment",
        }
    }

    /// The type of this name.
    #[must_use]
    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A value. Its bytes are wiped when it is dropped; it has no `Debug`, no `Display` and no serialisation.
#[derive(Clone)]
pub(super) struct Value {
    /// Its type.
    pub(super) kind: Type,
    /// What is encrypted and what the MAC covers: texts as they are, numbers in decimal, `True` and `False`, times in
    /// RFC 3339.
    pub(super) plain: Plain,
}

impl Value {
    /// A text.
    #[must_use]
    pub(super) fn text(text: impl AsRef<[u8]>) -> Self {
        Self { kind: Type::Text, plain: Zeroizing::new(text.as_ref().to_vec()) }
    }

    /// A number, a bool or a time in its canonical text.
    #[must_use]
    pub(super) fn of(kind: Type, canonical: &str) -> Self {
        Self { kind, plain: Zeroizing::new(canonical.as_bytes().to_vec()) }
    }

    /// A decrypted value.
    ///
    /// # Errors
    /// When the bytes are none of this type, which no writer makes.
    pub(super) fn checked(kind: Type, plain: Plain) -> Result<Self> {
        let text = std::str::from_utf8(&plain).ok();
        let fits = match kind {
            Type::Text | Type::Bytes | Type::Comment => true,
            Type::Int => text.is_some_and(|text| text.parse::<i64>().is_ok()),
            Type::Float => text.and_then(parse_float).is_some(),
            Type::Bool => matches!(text, Some("True" | "False" | "true" | "false" | "1" | "0")),
            Type::Time => text.is_some_and(|text| super::time::canonical(text).is_some()),
        };
        if fits {
            Ok(Self { kind, plain })
        } else {
            Err(Error::malformed(format!("a value says that it is of type {} and is not", kind.name())))
        }
    }

    /// The bytes as text.
    #[must_use]
    pub(super) fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.plain).ok()
    }

    /// Whether a bool is true.
    #[must_use]
    pub(super) fn is_true(&self) -> bool {
        matches!(self.as_str(), Some("True" | "true" | "1"))
    }

    /// Whether it is an empty text, which SOPS leaves as it is.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && matches!(self.kind, Type::Text | Type::Bytes | Type::Comment)
    }

    /// The bytes that the MAC covers. A bool that was written in another way counts as the writers of SOPS write it.
    #[must_use]
    pub(super) fn mac_bytes(&self) -> Plain {
        match self.kind {
            Type::Bool => Zeroizing::new(if self.is_true() { b"True".to_vec() } else { b"False".to_vec() }),
            Type::Float => match self.as_str().and_then(parse_float) {
                Some(number) => Zeroizing::new(float_text(number).into_bytes()),
                None => self.plain.clone(),
            },
            _ => self.plain.clone(),
        }
    }
}

/// The canonical text of a float: the shortest that reads back, without an exponent.
#[must_use]
pub(super) fn float_text(number: f64) -> String {
    match number {
        n if n.is_nan() => "NaN".to_owned(),
        n if n == f64::INFINITY => "+Inf".to_owned(),
        n if n == f64::NEG_INFINITY => "-Inf".to_owned(),
        n => n.to_string(),
    }
}

/// The float of a canonical text.
#[must_use]
pub(super) fn parse_float(text: &str) -> Option<f64> {
    text.parse().ok()
}

impl Value {
    /// The value as JSON. A float that JSON cannot write is its text.
    #[must_use]
    pub(super) fn to_json(&self) -> serde_json::Value {
        let text = String::from_utf8_lossy(&self.plain);
        let number = match self.kind {
            Type::Int => text.parse::<i64>().ok().map(Into::into),
            Type::Float => parse_float(&text).and_then(serde_json::Number::from_f64).map(Into::into),
            Type::Bool => Some(self.is_true().into()),
            _ => None,
        };
        number.unwrap_or_else(|| text.into_owned().into())
    }
}
