//! Reading a file once from its beginning to its end, past its holes.

use std::io;

use super::{Fail, Gauge, Why};
use crate::tier::Source;

/// How much is read at a time.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// Where a buffer begins in memory: a file system that is asked to pass its own memory by wants whole pages.
const ALIGNED_BYTES: usize = 4096;

/// A hole, to be hashed.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// What is read at a time.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    begin: usize,
}

impl Buffer {
    /// One for parts of a file of `size` bytes.
    pub(super) fn grow(&mut self, size: u64) {
        let wanted = usize::try_from(size).map_or(CHUNK_BYTES, |size| size.min(CHUNK_BYTES));
        if self.room().len() < wanted {
            self.bytes = vec![0; wanted + ALIGNED_BYTES];
            self.begin = self.bytes.as_ptr().align_offset(ALIGNED_BYTES);
        }
    }

    /// All of it.
    pub(super) fn room(&self) -> &[u8] {
        let end = self.bytes.len().saturating_sub(ALIGNED_BYTES);
        self.bytes.get(self.begin..self.begin + end).unwrap_or_default()
    }

    fn room_mut(&mut self) -> &mut [u8] {
        let end = self.bytes.len().saturating_sub(ALIGNED_BYTES);
        self.bytes.get_mut(self.begin..self.begin + end).unwrap_or_default()
    }
}

/// What a file was found to be.
pub(super) struct Through {
    /// The hash of all, with its holes.
    pub(super) hash: blake3::Hash,
    /// Where its last part ends that is no hole.
    pub(super) end: u64,
}

/// Hands each part of a file of `size` bytes that is no hole to `take`: the buffer that it is in, its length, and where it
/// begins in the file. `take` may keep the buffer and leave another one of the same size.
pub(super) fn read_through(
    source: &dyn Source,
    size: u64,
    buffer: &mut Buffer,
    mut take: impl FnMut(&mut Buffer, usize, u64) -> Result<(), Fail>,
) -> Result<Through, Fail> {
    let unread = |error: io::Error| Fail::Skip(Why::Unread, format!("it cannot be read: {error}"));
    buffer.grow(size);
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    let mut part = if size > 0 { source.data_after(0).map_err(unread)? } else { None };
    while let Some((start, end)) = part {
        hash_zeros(&mut hasher, start - at);
        at = start;
        while at < end {
            let room = buffer.room_mut();
            let wanted = usize::try_from(end - at).map_or(room.len(), |left| left.min(room.len()));
            let count = source.read_at(&mut room[..wanted], at).map_err(unread)?;
            if count == 0 {
                return Err(Fail::Skip(Why::Growing, "it became shorter while it was read".to_owned()));
            }
            hasher.update(&room[..count]);
            take(buffer, count, at)?;
            at += count as u64;
        }
        part = if at < size { source.data_after(at).map_err(unread)? } else { None };
    }
    if at > size {
        return Err(Fail::Skip(Why::Growing, "it is longer than it was".to_owned()));
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
    buffer: &mut Buffer,
) -> Result<blake3::Hash, Fail> {
    Ok(read_through(source, size, buffer, |_, _, _| Ok(gauge.check()?))?.hash)
}
