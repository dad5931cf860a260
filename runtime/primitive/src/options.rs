//! Reading maps of options, which refuse unknown keys.

use std::collections::BTreeMap;

use hob_model::names::nearest;
use hob_model::{OpError, Value};

use crate::args::{FromValue, Mismatch, read};

/// The detail of an error that names the option at fault.
pub const OPTION_DETAIL: &str = "option";

/// What help and checks know about one option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionSpec {
    /// The key.
    pub key: &'static str,
    /// Its type, as scripts see it.
    pub kind: &'static str,
    /// The texts it is limited to.
    pub choices: &'static [&'static str],
    /// One sentence or two.
    pub doc: &'static str,
    /// The default as Rust writes it; empty for none.
    pub default: &'static str,
    /// Whether it must be given.
    pub required: bool,
}

/// A struct that is read from a map of options.
pub trait FromOptions: Sized {
    /// Its keys.
    const SPECS: &'static [OptionSpec];

    /// Keys that people expect here and that are refused, each with the reason.
    const REFUSED: &'static [(&'static str, &'static str)] = &[];

    /// Takes its keys out of `map`.
    ///
    /// # Errors
    /// When a key is missing or its value does not fit.
    fn from_options(map: &mut OptionMap) -> Result<Self, OpError>;
}

/// For operations without options of their own.
#[derive(Clone, Copy, Debug)]
pub struct NoOptions;

impl FromOptions for NoOptions {
    const SPECS: &'static [OptionSpec] = &[];
    fn from_options(_: &mut OptionMap) -> Result<Self, OpError> {
        Ok(Self)
    }
}

/// A map of options while it is read.
#[derive(Clone, Debug, Default)]
pub struct OptionMap(BTreeMap<String, Value>);

impl OptionMap {
    /// The options in `map`.
    #[must_use]
    pub fn new(map: BTreeMap<String, Value>) -> Self {
        Self(map)
    }

    /// Takes `key`; absent keys read as `()`.
    ///
    /// # Errors
    /// When its value does not fit.
    pub fn take<T: FromValue>(&mut self, key: &str) -> Result<T, OpError> {
        let value = self.0.remove(key).unwrap_or_default();
        read::<T>(value).map_err(|m| m.refuse(&format!("option `{key}`")).detail(OPTION_DETAIL, key))
    }

    /// Takes `key`, which must be there.
    ///
    /// # Errors
    /// When it is missing or its value does not fit.
    pub fn require<T: FromValue>(&mut self, key: &str) -> Result<T, OpError> {
        if self.0.contains_key(key) {
            self.take(key)
        } else {
            let error = OpError::invalid(format!("option `{key}` is missing"));
            Err(error.hint(format!("it is a {}", T::KIND)).detail(OPTION_DETAIL, key))
        }
    }

    /// Reads a struct of options and refuses every key that is left.
    ///
    /// # Errors
    /// When a key is unknown, missing or does not fit; the error names the nearest known key.
    pub fn read<T: FromOptions>(mut self) -> Result<T, OpError> {
        let known: Vec<&str> = T::SPECS.iter().map(|spec| spec.key).collect();
        if let Some(unknown) = self.0.keys().find(|key| !known.contains(&key.as_str())) {
            let refused = T::REFUSED.iter().find(|(key, _)| key == unknown);
            return Err(match refused {
                Some((key, reason)) => OpError::invalid(format!("option `{key}` is not taken here"))
                    .hint(*reason)
                    .detail(OPTION_DETAIL, *key),
                None => unknown_option(unknown, &known),
            });
        }
        T::from_options(&mut self)
    }
}

/// The error for an option key that is not in `known`.
pub(crate) fn unknown_option(key: &str, known: &[&str]) -> OpError {
    let hint = match (nearest(key, known.iter().copied()), known.is_empty()) {
        (_, true) => "there are no options here".to_owned(),
        (Some(near), _) => format!("did you mean `{near}`? Known are: {}", known.join(", ")),
        (None, _) => format!("known are: {}", known.join(", ")),
    };
    OpError::invalid(format!("unknown option `{key}`")).hint(hint).detail(OPTION_DETAIL, key)
}

/// A map with known keys inside another value, such as an option that has options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nested<T>(pub T);

impl<T: FromOptions> FromValue for Nested<T> {
    const KIND: &'static str = "map";
    // Its options say for themselves whether they do.
    const TAKES_SECRETS: bool = true;

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let Value::Map(map) = value else { return Err(Mismatch::of::<Self>(&value)) };
        let read = OptionMap::new(map).read().map(Self);
        read.map_err(|error| Mismatch { message: error.message, hint: error.hint })
    }
}

impl<T: FromOptions> Nested<T> {
    /// Reads a struct of options.
    ///
    /// # Errors
    /// When the value is no map, or as [`OptionMap::read`].
    pub fn read(value: Value) -> Result<T, Mismatch> {
        Self::from_value(value).map(|Self(options)| options)
    }
}
