//! The values that cross the boundary between a script and the world.

use std::collections::BTreeMap;

use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder};

use crate::secret::Secret;

/// How deep a value may nest; deeper input is refused rather than risking the stack.
pub const VALUE_DEPTH_MAX: usize = 128;

/// The CBOR tag under which a single character is written (in the unassigned first-come range).
const TAG_CHAR: u64 = 40_961;

/// The CBOR tag under which the expression of a secret is written (in the same range).
const TAG_SECRET: u64 = 40_962;

/// What crosses the boundary: arguments of effects, their outcomes, inputs and outputs of runs.
///
/// Its encoding is deterministic (maps are ordered by key), so that two calls are the same exactly
/// when their encoded arguments are. `decode(encode(v)) == v` holds for each value but for the bit
/// pattern of NaN.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `()`; null in JSON.
    #[default]
    Unit,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A single character, as Rhai's `'x'`.
    Char(char),
    /// A text.
    String(String),
    /// Bytes; base64 in JSON.
    Blob(Vec<u8>),
    /// A list.
    Array(Vec<Value>),
    /// A map with text keys, in key order.
    Map(BTreeMap<String, Value>),
    /// An expression over secrets, without their values.
    Secret(Secret),
}

/// Why bytes are no [`Value`], or a value is no JSON.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// The bytes are not what [`Value::encode`] writes.
    #[error("the value cannot be decoded: {0}")]
    Decode(#[from] minicbor::decode::Error),
    /// It nests deeper than [`VALUE_DEPTH_MAX`].
    #[error("the value nests deeper than {VALUE_DEPTH_MAX} levels")]
    TooDeep,
    /// The type of an item has no place in a value.
    #[error("unexpected item of type {0} in a value")]
    Unexpected(Type),
    /// NaN and infinities have no JSON form.
    #[error("{0} has no JSON form")]
    NotJson(f64),
    /// A JSON number that is neither a 64-bit whole number nor a finite float.
    #[error("the number {0} does not fit")]
    Number(String),
}

impl Value {
    /// The deterministic CBOR form (RFC 8949) of this value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        self.encode_into(&mut Encoder::new(&mut out));
        out
    }

    /// Writes the CBOR form into `e`.
    pub fn encode_into(&self, e: &mut Encoder<&mut Vec<u8>>) {
        const NEVER: &str = "writing to a Vec does not fail";
        match self {
            Self::Unit => drop(e.null().expect(NEVER)),
            Self::Bool(v) => drop(e.bool(*v).expect(NEVER)),
            Self::Int(v) => drop(e.i64(*v).expect(NEVER)),
            Self::Float(v) => drop(e.f64(*v).expect(NEVER)),
            Self::Char(v) => drop(e.tag(Tag::new(TAG_CHAR)).expect(NEVER).u32(u32::from(*v)).expect(NEVER)),
            Self::String(v) => drop(e.str(v).expect(NEVER)),
            Self::Blob(v) => drop(e.bytes(v).expect(NEVER)),
            Self::Array(v) => {
                e.array(v.len() as u64).expect(NEVER);
                v.iter().for_each(|item| item.encode_into(e));
            }
            Self::Map(v) => {
                e.map(v.len() as u64).expect(NEVER);
                for (key, item) in v {
                    e.str(key).expect(NEVER);
                    item.encode_into(e);
                }
            }
            Self::Secret(v) => {
                e.tag(Tag::new(TAG_SECRET)).expect(NEVER);
                v.encode_into(e);
            }
        }
    }

    /// Reads what [`Value::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are something else, or nest deeper than [`VALUE_DEPTH_MAX`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        Self::decode_from(&mut Decoder::new(bytes), 0)
    }

    /// Reads one value from `d`, which stands `depth` levels deep.
    ///
    /// # Errors
    /// As [`Value::decode`].
    pub fn decode_from(d: &mut Decoder<'_>, depth: usize) -> Result<Self, ValueError> {
        if depth > VALUE_DEPTH_MAX {
            return Err(ValueError::TooDeep);
        }
        Ok(match d.datatype()? {
            Type::Null => {
                d.null()?;
                Self::Unit
            }
            Type::Bool => Self::Bool(d.bool()?),
            Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 => {
                Self::Int(d.i64()?)
            }
            Type::F64 => Self::Float(d.f64()?),
            Type::String => Self::String(d.str()?.to_owned()),
            Type::Bytes => Self::Blob(d.bytes()?.to_vec()),
            Type::Array => {
                let len = d.array()?.unwrap_or(0);
                let items = (0..len).map(|_| Self::decode_from(d, depth + 1));
                Self::Array(items.collect::<Result<_, _>>()?)
            }
            Type::Map => {
                let len = d.map()?.unwrap_or(0);
                let items = (0..len).map(|_| Ok((d.str()?.to_owned(), Self::decode_from(d, depth + 1)?)));
                Self::Map(items.collect::<Result<_, ValueError>>()?)
            }
            Type::Tag => match d.tag()?.as_u64() {
                TAG_CHAR => {
                    let code = d.u32()?;
                    Self::Char(char::from_u32(code).ok_or(ValueError::Unexpected(Type::U32))?)
                }
                TAG_SECRET => Self::Secret(Secret::decode_from(d)?),
                _ => return Err(ValueError::Unexpected(Type::Tag)),
            },
            other => return Err(ValueError::Unexpected(other)),
        })
    }

    /// This value as JSON: `()` is null, a blob is base64 text, a character a text, a secret `{"secret": "NAME"}`.
    /// That is for people: it is read back as a map.
    ///
    /// # Errors
    /// When it holds NaN or an infinity.
    pub fn to_json(&self) -> Result<serde_json::Value, ValueError> {
        use base64::Engine as _;
        use serde_json::Value as Json;
        Ok(match self {
            Self::Unit => Json::Null,
            Self::Bool(v) => Json::Bool(*v),
            Self::Int(v) => Json::from(*v),
            Self::Float(v) => Json::Number(serde_json::Number::from_f64(*v).ok_or(ValueError::NotJson(*v))?),
            Self::Char(v) => Json::String(v.to_string()),
            Self::String(v) => Json::String(v.clone()),
            Self::Blob(v) => Json::String(base64::engine::general_purpose::STANDARD.encode(v)),
            Self::Array(v) => Json::Array(v.iter().map(Self::to_json).collect::<Result<_, _>>()?),
            Self::Map(v) => Json::Object(
                v.iter().map(|(k, v)| Ok((k.clone(), v.to_json()?))).collect::<Result<_, ValueError>>()?,
            ),
            Self::Secret(v) => {
                let shown = v.single().map_or_else(|| v.to_string(), |reference| reference.name.clone());
                Json::Object([("secret".to_owned(), Json::String(shown))].into_iter().collect())
            }
        })
    }

    /// The value that a JSON text stands for.
    ///
    /// # Errors
    /// When it nests deeper than [`VALUE_DEPTH_MAX`].
    pub fn from_json(json: serde_json::Value) -> Result<Self, ValueError> {
        fn at(json: serde_json::Value, depth: usize) -> Result<Value, ValueError> {
            use serde_json::Value as Json;
            if depth > VALUE_DEPTH_MAX {
                return Err(ValueError::TooDeep);
            }
            Ok(match json {
                Json::Null => Value::Unit,
                Json::Bool(v) => Value::Bool(v),
                Json::Number(n) => match (n.as_i64(), n.as_f64()) {
                    (Some(v), _) => Value::Int(v),
                    (None, Some(v)) => Value::Float(v),
                    (None, None) => return Err(ValueError::Number(n.to_string())),
                },
                Json::String(v) => Value::String(v),
                Json::Array(v) => {
                    Value::Array(v.into_iter().map(|v| at(v, depth + 1)).collect::<Result<_, _>>()?)
                }
                Json::Object(v) => Value::Map(
                    v.into_iter()
                        .map(|(k, v)| Ok((k, at(v, depth + 1)?)))
                        .collect::<Result<_, ValueError>>()?,
                ),
            })
        }
        at(json, 0)
    }

    /// The name of this value's type, as scripts and messages use it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Unit => "()",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Char(_) => "char",
            Self::String(_) => "string",
            Self::Blob(_) => "blob",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Secret(_) => "secret",
        }
    }

    /// Whether there is a secret in it, at any depth.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        match self {
            Self::Secret(_) => true,
            Self::Array(items) => items.iter().any(Self::has_secret),
            Self::Map(items) => items.values().any(Self::has_secret),
            _ => false,
        }
    }

    /// The text of a string value.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(v) => Some(v),
            _ => None,
        }
    }

    /// The number of an integer value.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(v) => Some(*v),
            _ => None,
        }
    }

    /// The entry of a map value; `None` for other types and missing keys.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Map(v) => v.get(key),
            _ => None,
        }
    }

    /// A map value from pairs.
    pub fn map<K: Into<String>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self::Map(pairs.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(v: $from) -> Self { Self::$variant(v.into()) }
        }
    )*};
}
value_from!(bool => Bool, i64 => Int, i32 => Int, u32 => Int, f64 => Float, char => Char,
            String => String, &str => String, Vec<u8> => Blob, Vec<Value> => Array,
            BTreeMap<String, Value> => Map, Secret => Secret);

impl From<()> for Value {
    fn from((): ()) -> Self {
        Self::Unit
    }
}

impl From<u64> for Value {
    /// Numbers past `i64::MAX` saturate; sizes and counts of this world stay far below.
    fn from(v: u64) -> Self {
        Self::Int(i64::try_from(v).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(v: usize) -> Self {
        Self::from(v as u64)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    /// `None` is `()`.
    fn from(v: Option<T>) -> Self {
        v.map_or(Self::Unit, Into::into)
    }
}

impl From<Vec<String>> for Value {
    fn from(v: Vec<String>) -> Self {
        Self::Array(v.into_iter().map(Self::String).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let value = Value::map([
            ("a", Value::Array(vec![Value::Unit, Value::Bool(true), Value::Int(-7), Value::Int(i64::MIN)])),
            ("b", Value::Float(1.5)),
            ("c", Value::Char('ß')),
            ("d", Value::Blob(vec![0, 255])),
            ("e", Value::from("text")),
            ("f", Value::from(Secret::named("postgres"))),
        ]);
        assert_eq!(Value::decode(&value.encode()).unwrap(), value);
    }

    #[test]
    fn deep_input_is_refused() {
        let mut bytes = vec![0x81; VALUE_DEPTH_MAX + 2];
        bytes.push(0xf6);
        assert!(matches!(Value::decode(&bytes), Err(ValueError::TooDeep)));
    }

    #[test]
    fn nan_is_no_json() {
        assert!(Value::Array(vec![Value::Float(f64::NAN)]).to_json().is_err());
    }
}
