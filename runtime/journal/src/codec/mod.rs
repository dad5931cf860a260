//! The binary form of what the journal stores.
//!
//! Each record is a CBOR array (RFC 8949): a record lists its fields in order, a variant is `[number,
//! field…]`. Numbers and orders are fixed for ever; whatever changes them is a new [`FORMAT`], and the bytes
//! of one entry of each kind are pinned by a test, so that nobody changes them by accident.

mod records;
mod wire;

use hob_model::{Digest, Entry, EntryKind, RunId, Timestamp, Value, Wait};
use minicbor::{Decoder, Encoder};

use crate::journal::Slot;
use crate::row::BundleRecord;
use wire::Wire;

/// The format of the journal, counted from 1. A binary refuses a journal with a higher one.
///
/// 2 has secrets among its values, 3 runs with tags and such that end after a step, 4 slots that were claimed together; what
/// the former wrote is read as it is.
pub const FORMAT: u32 = 4;

/// The length in bytes of the checksum that ends each stored entry.
const CHECKSUM_BYTES: usize = 4;

/// Why bytes are not what the journal wrote.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// They are no CBOR, or of another shape.
    #[error("{0}")]
    Shape(#[from] minicbor::decode::Error),
    /// A value inside is none.
    #[error("{0}")]
    Value(#[from] hob_model::value::ValueError),
    /// A number or word stands for nothing that this format knows.
    #[error("unknown {what} `{found}`")]
    Unknown {
        /// What was read.
        what: &'static str,
        /// What stood there.
        found: String,
    },
    /// A record has another number of fields.
    #[error("{found:?} fields where {expected} belong")]
    Fields {
        /// How many belong there.
        expected: u64,
        /// How many are there; `None` when it does not say.
        found: Option<u64>,
    },
    /// Something follows the record.
    #[error("{0} bytes follow the record")]
    Trailing(usize),
    /// The checksum is another: the bytes were changed after they were written, or belong to another entry.
    #[error("the checksum does not match")]
    Checksum,
}

fn encode<T: Wire>(record: &T, out: &mut Vec<u8>) {
    record.put(&mut Encoder::new(out));
}

fn decode<T: Wire>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut decoder = Decoder::new(bytes);
    let record = T::take(&mut decoder)?;
    match bytes.len() - decoder.position() {
        0 => Ok(record),
        rest => Err(CodecError::Trailing(rest)),
    }
}

/// Appends the stored form of an entry of `run` to `out`: time and kind, and a checksum that also covers the
/// run and the number, which are the key of the row.
pub fn encode_entry(run: RunId, entry: &Entry, out: &mut Vec<u8>) {
    let from = out.len();
    let mut encoder = Encoder::new(&mut *out);
    entry.at.put(&mut encoder);
    entry.kind.put(&mut encoder);
    let sum = checksum(run, entry.seq, &out[from..]);
    out.extend_from_slice(&sum);
}

/// Reads what [`encode_entry`] wrote for entry `seq` of `run`.
///
/// # Errors
/// When the bytes are damaged or not of this format.
pub fn decode_entry(run: RunId, seq: u64, bytes: &[u8]) -> Result<Entry, CodecError> {
    let Some((body, sum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(CodecError::Checksum);
    };
    if *sum != checksum(run, seq, body) {
        return Err(CodecError::Checksum);
    }
    let (at, kind) = decode_body(body)?;
    Ok(Entry { seq, at, kind })
}

/// Reads time and kind of an entry without its checksum; any bytes may be given.
fn decode_body(body: &[u8]) -> Result<(Timestamp, EntryKind), CodecError> {
    let mut decoder = Decoder::new(body);
    let at = Timestamp::take(&mut decoder)?;
    let kind = EntryKind::take(&mut decoder)?;
    match body.len() - decoder.position() {
        0 => Ok((at, kind)),
        rest => Err(CodecError::Trailing(rest)),
    }
}

fn checksum(run: RunId, seq: u64, body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(run.0.as_bytes()).update(&seq.to_be_bytes()).update(body);
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_BYTES]);
    sum
}

/// Appends the stored form of what a branch waits for.
pub fn encode_wait(wait: &Wait, out: &mut Vec<u8>) {
    encode(wait, out);
}

/// Reads what [`encode_wait`] wrote.
///
/// # Errors
/// When the bytes are damaged or not of this format.
pub fn decode_wait(bytes: &[u8]) -> Result<Wait, CodecError> {
    decode(bytes)
}

/// Appends the stored form of a value.
pub fn encode_value(value: &Value, out: &mut Vec<u8>) {
    encode(value, out);
}

/// Reads what [`encode_value`] wrote.
///
/// # Errors
/// When the bytes are damaged or not of this format.
pub fn decode_value(bytes: &[u8]) -> Result<Value, CodecError> {
    decode(bytes)
}

/// Appends the stored form of a bundle, which leaves its digest out: the digest is its address.
pub fn encode_bundle(bundle: &BundleRecord, out: &mut Vec<u8>) {
    let mut encoder = Encoder::new(out);
    wire::header(&mut encoder, 4);
    bundle.root.put(&mut encoder);
    bundle.origin.put(&mut encoder);
    bundle.host.put(&mut encoder);
    bundle.files.put(&mut encoder);
}

/// Reads what [`encode_bundle`] wrote for the bundle at `digest`.
///
/// # Errors
/// When the bytes are damaged or not of this format.
pub fn decode_bundle(digest: Digest, bytes: &[u8]) -> Result<BundleRecord, CodecError> {
    let mut d = Decoder::new(bytes);
    wire::expect_fields(&mut d, 4)?;
    let (root, origin, host) = (Wire::take(&mut d)?, Wire::take(&mut d)?, Wire::take(&mut d)?);
    Ok(BundleRecord { digest, files: Wire::take(&mut d)?, root, origin, host })
}

/// Appends the stored form of slots that were claimed together, each with the stored form of its run's first entry.
pub fn encode_claims<'a>(claims: impl ExactSizeIterator<Item = (&'a Slot, &'a [u8])>, out: &mut Vec<u8>) {
    let mut encoder = Encoder::new(out);
    wire::header(&mut encoder, claims.len() as u64);
    for (slot, first_entry) in claims {
        wire::header(&mut encoder, 4);
        wire::put_str(&slot.schedule, &mut encoder);
        slot.nominal.put(&mut encoder);
        slot.run.put(&mut encoder);
        wire::put_bytes(first_entry, &mut encoder);
    }
}

/// Reads what [`encode_claims`] wrote.
///
/// # Errors
/// When the bytes are damaged or not of this format.
pub fn decode_claims(bytes: &[u8]) -> Result<Vec<(Slot, Entry)>, CodecError> {
    let mut d = Decoder::new(bytes);
    let count = d.array()?.ok_or(CodecError::Fields { expected: 0, found: None })?;
    let mut claims = Vec::new();
    for _ in 0..count {
        wire::expect_fields(&mut d, 4)?;
        let (schedule, nominal) = (Wire::take(&mut d)?, Wire::take(&mut d)?);
        let slot = Slot { schedule, nominal, run: Wire::take(&mut d)? };
        let first = decode_entry(slot.run, 0, d.bytes()?)?;
        claims.push((slot, first));
    }
    match bytes.len() - d.position() {
        0 => Ok(claims),
        rest => Err(CodecError::Trailing(rest)),
    }
}

#[cfg(test)]
mod tests;
