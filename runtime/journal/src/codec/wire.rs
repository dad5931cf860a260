//! How the parts of a record are written and read.

use std::sync::Arc;

use bytes::Bytes;
use hob_model::{Digest, Position, RunId, Timestamp, Value};
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use super::CodecError;

pub(super) type Out<'a> = Encoder<&'a mut Vec<u8>>;
pub(super) type In<'a> = Decoder<'a>;

/// Writing into a `Vec` has no error to report.
const NEVER: &str = "writing to a Vec does not fail";

/// Room for so many items is taken at once, whatever a damaged length claims.
const PREALLOCATED_ITEMS_MAX: u64 = 64;

/// A part of a record.
pub(super) trait Wire: Sized {
    fn put(&self, e: &mut Out<'_>);
    fn take(d: &mut In<'_>) -> Result<Self, CodecError>;
}

/// Begins a record of `fields` fields.
pub(super) fn header(e: &mut Out<'_>, fields: u64) {
    e.array(fields).expect(NEVER);
}

/// Reads the begin of a record that must have `expected` fields.
pub(super) fn expect_fields(d: &mut In<'_>, expected: u64) -> Result<(), CodecError> {
    match d.array()? {
        Some(found) if found == expected => Ok(()),
        found => Err(CodecError::Fields { expected, found }),
    }
}

/// A struct as the array of its fields, in the order given here.
macro_rules! record {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl Wire for $type {
            fn put(&self, e: &mut Out<'_>) {
                header(e, const { [$(stringify!($field)),*].len() as u64 });
                $(self.$field.put(e);)*
            }
            fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
                expect_fields(d, const { [$(stringify!($field)),*].len() as u64 })?;
                $(let $field = Wire::take(d)?;)*
                Ok(Self { $($field),* })
            }
        }
    };
}

/// Whether a field of a tail says nothing.
pub(super) fn is_default<T: Default + PartialEq>(field: &T) -> bool {
    *field == T::default()
}

/// The same with further fields, which are there together when one of them is not empty.
macro_rules! record_with_tail {
    ($type:ident { $($field:ident),* $(,)? } then { $($tail:ident),* }) => {
        impl Wire for $type {
            fn put(&self, e: &mut Out<'_>) {
                let fields = const { [$(stringify!($field)),*].len() as u64 };
                let tail = const { [$(stringify!($tail)),*].len() as u64 };
                let has_tail = $(!is_default(&self.$tail))||*;
                header(e, if has_tail { fields + tail } else { fields });
                $(self.$field.put(e);)*
                if has_tail {
                    $(self.$tail.put(e);)*
                }
            }
            fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
                let expected = const { [$(stringify!($field)),*].len() as u64 };
                let tail = const { [$(stringify!($tail)),*].len() as u64 };
                let found = d.array()?;
                let has_tail = found == Some(expected + tail);
                if !has_tail && found != Some(expected) {
                    return Err(CodecError::Fields { expected, found });
                }
                $(let $field = Wire::take(d)?;)*
                $(let $tail = if has_tail { Wire::take(d)? } else { Default::default() };)*
                Ok(Self { $($field,)* $($tail),* })
            }
        }
    };
}

/// An enum as `[number, field…]`.
macro_rules! variants {
    ($type:ident { $($number:literal = $variant:ident $(($($item:ident),*))? $({$($field:ident),* $(,)?})?;)* }) => {
        impl Wire for $type {
            fn put(&self, e: &mut Out<'_>) {
                match self {$(
                    Self::$variant $(($($item),*))? $({$($field),*})? => {
                        header(e, const { [stringify!($variant) $($(, stringify!($item))*)? $($(, stringify!($field))*)?].len() as u64 });
                        u32::put(&$number, e);
                        $($($item.put(e);)*)?
                        $($($field.put(e);)*)?
                    }
                )*}
            }
            fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
                let found = d.array()?;
                match u32::take(d)? {
                    $($number => {
                        let expected = const { [stringify!($variant) $($(, stringify!($item))*)? $($(, stringify!($field))*)?].len() as u64 };
                        if found != Some(expected) {
                            return Err(CodecError::Fields { expected, found });
                        }
                        $($(let $item = Wire::take(d)?;)*)?
                        $($(let $field = Wire::take(d)?;)*)?
                        Ok(Self::$variant $(($($item),*))? $({$($field),*})?)
                    })*
                    number => Err(CodecError::Unknown { what: stringify!($type), found: number.to_string() }),
                }
            }
        }
    };
}

/// An enum that has a text form of its own.
macro_rules! words {
    ($($type:ident),*) => {$(
        impl Wire for $type {
            fn put(&self, e: &mut Out<'_>) {
                put_str(self.as_str(), e);
            }
            fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
                let text = d.str()?;
                Self::parse(text)
                    .ok_or_else(|| CodecError::Unknown { what: stringify!($type), found: text.chars().take(40).collect() })
            }
        }
    )*};
}

pub(super) use {record, record_with_tail, variants, words};

pub(super) fn put_str(text: &str, e: &mut Out<'_>) {
    e.str(text).expect(NEVER);
}

pub(super) fn put_bytes(bytes: &[u8], e: &mut Out<'_>) {
    e.bytes(bytes).expect(NEVER);
}

macro_rules! plain {
    ($($type:ty: $method:ident;)*) => {$(
        impl Wire for $type {
            fn put(&self, e: &mut Out<'_>) {
                e.$method(*self).expect(NEVER);
            }
            fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
                Ok(d.$method()?)
            }
        }
    )*};
}
plain! { bool: bool; u32: u32; u64: u64; i64: i64; }

macro_rules! text {
    ($($type:ty),*) => {$(
        impl Wire for $type {
            fn put(&self, e: &mut Out<'_>) {
                put_str(self, e);
            }
            fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
                Ok(d.str()?.into())
            }
        }
    )*};
}
text!(String, Arc<str>);

impl Wire for Bytes {
    fn put(&self, e: &mut Out<'_>) {
        put_bytes(self, e);
    }
    fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
        Ok(Self::copy_from_slice(d.bytes()?))
    }
}

impl Wire for Value {
    fn put(&self, e: &mut Out<'_>) {
        self.encode_into(e);
    }
    fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
        Ok(Self::decode_from(d, 0)?)
    }
}

impl Wire for Position {
    fn put(&self, e: &mut Out<'_>) {
        put_str(self.as_str(), e);
    }
    fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
        Ok(Self::trusted(d.str()?))
    }
}

fn take_exact<const N: usize>(d: &mut In<'_>, what: &'static str) -> Result<[u8; N], CodecError> {
    let bytes = d.bytes()?;
    bytes.try_into().map_err(|_| CodecError::Unknown { what, found: format!("{} bytes", bytes.len()) })
}

impl Wire for Digest {
    fn put(&self, e: &mut Out<'_>) {
        e.bytes(&self.0).expect(NEVER);
    }
    fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
        take_exact(d, "digest").map(Self)
    }
}

impl Wire for RunId {
    fn put(&self, e: &mut Out<'_>) {
        e.bytes(self.0.as_bytes()).expect(NEVER);
    }
    fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
        take_exact(d, "run id").map(|bytes| Self(uuid::Uuid::from_bytes(bytes)))
    }
}

/// Nanoseconds of a microsecond; journal times rarely have any, a script's may.
const NANOS_PER_MICRO: i128 = 1_000;

impl Wire for Timestamp {
    /// Whole microseconds as a number; anything finer as `[microseconds, nanoseconds]`.
    fn put(&self, e: &mut Out<'_>) {
        let nanos = self.as_nanosecond();
        let micros = i64::try_from(nanos.div_euclid(NANOS_PER_MICRO)).expect("years -9999 to 9999 fit");
        match u32::try_from(nanos.rem_euclid(NANOS_PER_MICRO)).expect("less than a thousand") {
            0 => micros.put(e),
            rest => {
                header(e, 2);
                micros.put(e);
                rest.put(e);
            }
        }
    }
    fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
        let (micros, rest) = if d.datatype()? == Type::Array {
            expect_fields(d, 2)?;
            (i64::take(d)?, u32::take(d)?)
        } else {
            (i64::take(d)?, 0)
        };
        let nanos = i128::from(micros) * NANOS_PER_MICRO + i128::from(rest);
        Self::from_nanosecond(nanos)
            .map_err(|_| CodecError::Unknown { what: "time", found: nanos.to_string() })
    }
}

impl<T: Wire> Wire for Option<T> {
    /// `None` is null; no `T` in use has null as its own form.
    fn put(&self, e: &mut Out<'_>) {
        match self {
            None => drop(e.null().expect(NEVER)),
            Some(item) => item.put(e),
        }
    }
    fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
        if d.datatype()? == Type::Null {
            d.null()?;
            return Ok(None);
        }
        T::take(d).map(Some)
    }
}

impl<T: Wire, E: Wire> Wire for Result<T, E> {
    fn put(&self, e: &mut Out<'_>) {
        header(e, 2);
        match self {
            Ok(item) => {
                0_u32.put(e);
                item.put(e);
            }
            Err(item) => {
                1_u32.put(e);
                item.put(e);
            }
        }
    }
    fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
        expect_fields(d, 2)?;
        match u32::take(d)? {
            0 => T::take(d).map(Ok),
            1 => E::take(d).map(Err),
            number => Err(CodecError::Unknown { what: "result", found: number.to_string() }),
        }
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, e: &mut Out<'_>) {
        header(e, 2);
        self.0.put(e);
        self.1.put(e);
    }
    fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
        expect_fields(d, 2)?;
        Ok((A::take(d)?, B::take(d)?))
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, e: &mut Out<'_>) {
        header(e, self.len() as u64);
        self.iter().for_each(|item| item.put(e));
    }
    fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
        let len = d.array()?.ok_or(CodecError::Fields { expected: 0, found: None })?;
        let mut items = Self::with_capacity(usize::try_from(len.min(PREALLOCATED_ITEMS_MAX)).unwrap_or(0));
        for _ in 0..len {
            items.push(T::take(d)?);
        }
        Ok(items)
    }
}
