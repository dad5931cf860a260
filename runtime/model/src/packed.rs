//! Values that are kept in large numbers and rarely looked at.

use std::fmt;

use crate::value::{Value, ValueError};

/// A value in its encoded form: a map of two texts takes some 50 bytes instead of 700.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed(Box<[u8]>);

impl Packed {
    /// Packs a value.
    ///
    /// # Errors
    /// When it nests deeper than [`crate::value::VALUE_DEPTH_MAX`], so that it could not be read back.
    pub fn of(value: &Value) -> Result<Self, ValueError> {
        let bytes = value.encode();
        Value::decode(&bytes)?;
        Ok(Self(bytes.into_boxed_slice()))
    }

    /// The value.
    #[must_use]
    pub fn open(&self) -> Value {
        Value::decode(&self.0).expect("it was decoded once when it was packed")
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.open().fmt(f)
    }
}
