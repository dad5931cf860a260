//! Reading a file once from its beginning to its end, past its holes.

use std::io;

use super::{Fail, Gauge};
use crate::tier::Source;

/// How much is read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// A hole, to be hashed.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// What a file was found to be.
pub(super) struct Through {
    /// The hash of all, with its holes.
    pub(super) hash: blake3::Hash,
    /// Where its last part ends that is no hole.
    pub(super) end: u64,
}

/// Hands each part of a file of `size` bytes that is no hole to `take`, with where it begins.
pub(super) fn read_through(
    source: &dyn Source,
    size: u64,
    buffer: &mut Vec<u8>,
    mut take: impl FnMut(&[u8], u64) -> Result<(), Fail>,
) -> Result<Through, Fail> {
    let unread = |error: io::Error| Fail::Skip(format!("it cannot be read: {error}"));
    let chunk = usize::try_from(size).map_or(CHUNK_BYTES, |size| size.min(CHUNK_BYTES));
    buffer.resize(buffer.len().max(chunk), 0);
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    let mut part = if size > 0 { source.data_after(0).map_err(unread)? } else { None };
    while let Some((start, end)) = part {
        hash_zeros(&mut hasher, start - at);
        at = start;
        while at < end {
            let wanted = usize::try_from(end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
            let count = source.read_at(&mut buffer[..wanted], at).map_err(unread)?;
            if count == 0 {
                return Err(Fail::Skip("it became shorter while it was read".to_owned()));
            }
            hasher.update(&buffer[..count]);
            take(&buffer[..count], at)?;
            at += count as u64;
        }
        part = if at < size { source.data_after(at).map_err(unread)? } else { None };
    }
    if at > size {
        return Err(Fail::Skip("it is longer than it was".to_owned()));
    }
    hash_zeros(&mut hasher, size - at);
    Ok(Through { hash: hasher.finalize(), end: at })
}

fn hash_zeros(hasher: &mut blake3::Hasher, mut bytes: u64) {
    while bytes > 0 {
        let count = usize::try_from(bytes).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        hasher.update(&ZEROS[..count]);
        bytes -= count as u64;
    }
}

/// The hash of a file's content; a file of another size than `size` has none.
pub(crate) fn hash(
    source: &dyn Source,
    size: u64,
    gauge: &mut dyn Gauge,
    buffer: &mut Vec<u8>,
) -> Result<blake3::Hash, Fail> {
    Ok(read_through(source, size, buffer, |_, _| Ok(gauge.check()?))?.hash)
}
