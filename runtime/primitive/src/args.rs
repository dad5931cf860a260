//! Reading arguments: positional ones, and the types that are read from a value.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_model::names::nearest;
use hob_model::{OpError, Value, duration, size};

use crate::options::{FromOptions, OptionMap, unknown_option};

/// The detail of an error that names the argument at fault.
pub const ARGUMENT_DETAIL: &str = "argument";

/// Why a value does not fit where it was given; the caller adds the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// "expected a string, got int"
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Mismatch {
    /// The value has another type than `T` reads.
    #[must_use]
    pub fn of<T: FromValue>(value: &Value) -> Self {
        Self { message: format!("expected {}, got {}", T::KIND, value.type_name()), hint: None }
    }

    /// The text is none of `choices`.
    #[must_use]
    pub fn choice(text: &str, choices: &[&str]) -> Self {
        let hint = nearest(text, choices.iter().copied()).map(|near| format!("did you mean \"{near}\"?"));
        Self { message: format!("\"{text}\" is none of {}", choices.join(", ")), hint }
    }

    /// The error of what was given at `place`.
    pub(crate) fn refuse(self, place: &str) -> OpError {
        OpError::invalid(format!("{place}: {}", self.message)).maybe_hint(self.hint)
    }

    fn text(error: impl std::fmt::Display) -> Self {
        Self { message: error.to_string(), hint: None }
    }

    /// There is a secret where its value would be recorded, shown or handed on.
    fn secret(kind: &str) -> Self {
        Self {
            message: format!("expected {kind}, got a secret"),
            hint: Some(
                "a secret goes into headers and bodies of `http`, `env` and `stdin` of `process`, and files: \
                 `secrets::write_file(path, secret)`"
                    .to_owned(),
            ),
        }
    }
}

/// Reads `value` as `T`, which says whether secrets may stand in it.
pub(crate) fn read<T: FromValue>(value: Value) -> Result<T, Mismatch> {
    if !T::TAKES_SECRETS && value.has_secret() {
        Err(Mismatch::secret(T::KIND))
    } else {
        T::from_value(value)
    }
}

/// A type that an argument or an option can be read as.
pub trait FromValue: Sized {
    /// Its type, as scripts see it.
    const KIND: &'static str;
    /// The texts it is limited to; empty for no limit.
    const CHOICES: &'static [&'static str] = &[];
    /// Whether it is a path.
    const IS_PATH: bool = false;
    /// Whether secrets may stand in it, which the operation opens with [`crate::Ctx::open`].
    const TAKES_SECRETS: bool = false;

    /// Reads it.
    ///
    /// # Errors
    /// When the value is of another type or out of range.
    fn from_value(value: Value) -> Result<Self, Mismatch>;
}

macro_rules! from_value {
    ($($ty:ty, $kind:literal, $pattern:pat => $out:expr;)*) => {$(
        impl FromValue for $ty {
            const KIND: &'static str = $kind;
            fn from_value(value: Value) -> Result<Self, Mismatch> {
                match value { $pattern => Ok($out), other => Err(Mismatch::of::<Self>(&other)) }
            }
        }
    )*};
}
from_value! {
    bool, "bool", Value::Bool(v) => v;
    i64, "int", Value::Int(v) => v;
    String, "string", Value::String(v) => v;
    Vec<u8>, "blob", Value::Blob(v) => v;
}

impl FromValue for Value {
    const KIND: &'static str = "any";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        Ok(value)
    }
}

impl FromValue for f64 {
    const KIND: &'static str = "float";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Float(v) => Ok(v),
            #[allow(clippy::cast_precision_loss)]
            Value::Int(v) => Ok(v as Self),
            other => Err(Mismatch::of::<Self>(&other)),
        }
    }
}

macro_rules! from_int {
    ($($ty:ty),*) => {$(
        impl FromValue for $ty {
            const KIND: &'static str = "int";
            fn from_value(value: Value) -> Result<Self, Mismatch> {
                let v = i64::from_value(value)?;
                Self::try_from(v).map_err(|_| Mismatch {
                    message: format!("{v} is out of range: expected {} to {}", Self::MIN, Self::MAX),
                    hint: None,
                })
            }
        }
    )*};
}
from_int!(u64, u32, u16, u8, usize);

impl<T: FromValue> FromValue for Option<T> {
    const KIND: &'static str = T::KIND;
    const CHOICES: &'static [&'static str] = T::CHOICES;
    const IS_PATH: bool = T::IS_PATH;
    const TAKES_SECRETS: bool = T::TAKES_SECRETS;
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        if value == Value::Unit { Ok(None) } else { T::from_value(value).map(Some) }
    }
}

impl<T: FromValue> FromValue for Vec<T>
where
    Vec<T>: NotBytes,
{
    const KIND: &'static str = "array";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let Value::Array(items) = value else {
            return Err(Mismatch::of::<Self>(&value));
        };
        let numbered = items.into_iter().enumerate();
        let read = |(at, item)| {
            T::from_value(item).map_err(|m| Mismatch { message: format!("item {at}: {}", m.message), ..m })
        };
        numbered.map(read).collect()
    }
}

/// Lists of anything but bytes, which have a type of their own.
pub trait NotBytes {}
impl NotBytes for Vec<String> {}
impl NotBytes for Vec<Value> {}
impl NotBytes for Vec<i64> {}
impl NotBytes for Vec<u16> {}
impl NotBytes for Vec<f64> {}
impl NotBytes for Vec<PathText> {}
impl NotBytes for Vec<BTreeMap<String, Value>> {}

impl<T: FromValue> FromValue for BTreeMap<String, T> {
    const KIND: &'static str = "map";
    const TAKES_SECRETS: bool = T::TAKES_SECRETS;
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let Value::Map(items) = value else {
            return Err(Mismatch::of::<Self>(&value));
        };
        let read = |(key, item): (String, Value)| match T::from_value(item) {
            Ok(item) => Ok((key, item)),
            Err(m) => Err(Mismatch { message: format!("`{key}`: {}", m.message), ..m }),
        };
        items.into_iter().map(read).collect()
    }
}

impl FromValue for Duration {
    const KIND: &'static str = "duration";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(text) => duration::parse(&text).map_err(Mismatch::text),
            other => Err(Mismatch {
                hint: Some("durations are texts such as \"90s\", \"1h30m\" or \"7d\"".to_owned()),
                ..Mismatch::of::<Self>(&other)
            }),
        }
    }
}

/// A size in bytes, given as a number or a text such as `"512M"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromValue for Size {
    const KIND: &'static str = "size";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(text) => size::parse(&text).map(Self).map_err(Mismatch::text),
            other => u64::from_value(other).map(Self),
        }
    }
}

/// A path as the script wrote it; [`crate::Ctx::resolve`] makes it absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathText(pub String);

impl FromValue for PathText {
    const KIND: &'static str = "string";
    const IS_PATH: bool = true;
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let text = String::from_value(value)?;
        if text.is_empty() || text.contains('\0') {
            return Err(Mismatch {
                message: "a path is not empty and has no NUL byte".to_owned(),
                hint: None,
            });
        }
        Ok(Self(text))
    }
}

/// Permission bits, given as the octal text people know from `chmod`: `"0644"`.
///
/// Numbers are refused: `644` is not what it looks like, and `0o644` reads the same to nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

/// All bits that `chmod` can set.
const MODE_MAX: u32 = 0o7777;

impl FromValue for Mode {
    const KIND: &'static str = "mode";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let hint = |text: String| Some(format!("modes are octal texts: \"{text}\""));
        match value {
            Value::String(text) => match u32::from_str_radix(&text, 8) {
                Ok(bits) if bits <= MODE_MAX && (3..=4).contains(&text.len()) => Ok(Self(bits)),
                _ => {
                    Err(Mismatch { message: format!("\"{text}\" is no mode"), hint: hint("0644".to_owned()) })
                }
            },
            Value::Int(bits @ 0..=0o7777) => Err(Mismatch {
                message: format!("expected a mode, got the number {bits}"),
                hint: hint(format!("0{bits:o}")),
            }),
            other => Err(Mismatch { hint: hint("0644".to_owned()), ..Mismatch::of::<Self>(&other) }),
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// A user or a group, by name or by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameOrId {
    /// A name in the user database.
    Name(String),
    /// Its number.
    Id(u32),
}

impl FromValue for NameOrId {
    const KIND: &'static str = "string or int";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(name) if !name.is_empty() && !name.contains('\0') => Ok(Self::Name(name)),
            Value::Int(_) => u32::from_value(value).map(Self::Id),
            other => Err(Mismatch::of::<Self>(&other)),
        }
    }
}

impl std::fmt::Display for NameOrId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

/// Bytes, given as a text or a blob.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Content(pub Vec<u8>);

impl FromValue for Content {
    const KIND: &'static str = "string or blob";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(text) => Ok(Self(text.into_bytes())),
            Value::Blob(bytes) => Ok(Self(bytes)),
            other => Err(Mismatch::of::<Self>(&other)),
        }
    }
}

/// The arguments of one call while they are read.
#[derive(Clone, Debug, Default)]
pub struct Args {
    positional: std::vec::IntoIter<Value>,
    options: BTreeMap<String, Value>,
    count: usize,
}

impl Args {
    /// Arguments from the positional values and the option map (empty for none).
    #[must_use]
    pub fn new(positional: Vec<Value>, options: BTreeMap<String, Value>) -> Self {
        Self { positional: positional.into_iter(), options, count: 0 }
    }

    /// The next positional argument, called `name`; absent ones read as `()`.
    ///
    /// # Errors
    /// When it does not fit; the message says which argument, what was expected and what came.
    pub fn next<T: FromValue>(&mut self, name: &str) -> Result<T, OpError> {
        self.count += 1;
        let value = self.positional.next().unwrap_or_default();
        let at = self.count;
        read::<T>(value)
            .map_err(|m| m.refuse(&format!("argument {at} (`{name}`)")).detail(ARGUMENT_DETAIL, name))
    }

    /// The options.
    ///
    /// # Errors
    /// As [`OptionMap::read`].
    pub fn options<T: FromOptions>(&mut self) -> Result<T, OpError> {
        OptionMap::new(std::mem::take(&mut self.options)).read()
    }

    /// What is left of them, unread: for whoever stands in for an operation.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Value>, BTreeMap<String, Value>) {
        (self.positional.collect(), self.options)
    }

    /// Refuses what was not read.
    ///
    /// # Errors
    /// When there are more arguments or options than the operation takes.
    pub fn finish(self) -> Result<(), OpError> {
        if let Some(key) = self.options.keys().next() {
            return Err(unknown_option(key, &[]));
        }
        match self.positional.len() {
            0 => Ok(()),
            more => {
                Err(OpError::invalid(format!("{more} more argument(s) than the {} expected", self.count)))
            }
        }
    }
}
