//! Reading a file once from its beginning to its end, past its holes: while a part of a large one is hashed, the next is read.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};

use super::{Fail, Gauge, Why};
use crate::tier::Source;

/// How much is read at a time.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// How many parts there are at a time: one is read, one waits, one is hashed, one waits to be written, one is written.
const PARTS: usize = 5;

/// Where a buffer begins in memory: a file system that is asked to pass its own memory by wants whole pages.
const ALIGNED_BYTES: usize = 4096;

/// A hole, to be hashed.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// What is read at a time.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    begin: usize,
}

impl Buffer {
    /// Makes room for a part of a file of `size` bytes.
    fn grow(&mut self, size: u64) {
        let wanted = usize::try_from(size).map_or(CHUNK_BYTES, |size| size.min(CHUNK_BYTES));
        if self.bytes.len() < wanted + ALIGNED_BYTES {
            self.bytes = vec![0; wanted + ALIGNED_BYTES];
            self.begin = self.bytes.as_ptr().align_offset(ALIGNED_BYTES);
        }
    }

    fn room(&self) -> &[u8] {
        &self.bytes[self.begin..][..self.bytes.len() - ALIGNED_BYTES]
    }

    fn room_mut(&mut self) -> &mut [u8] {
        let end = self.bytes.len() - ALIGNED_BYTES;
        &mut self.bytes[self.begin..][..end]
    }
}

/// Buffers, which serve one file after another.
#[derive(Debug)]
pub(crate) struct Pool {
    free: Receiver<Buffer>,
    home: Sender<Buffer>,
}

impl Default for Pool {
    fn default() -> Self {
        let (home, free) = channel();
        for _ in 0..PARTS {
            let _ = home.send(Buffer::default()); // both ends are held here
        }
        Self { free, home }
    }
}

/// A part of a file that is no hole. When it is dropped, its buffer serves another part.
pub(super) struct Part {
    buffer: Buffer,
    count: usize,
    at: u64,
    home: Sender<Buffer>,
}

impl Part {
    /// What is in it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer.room()[..self.count]
    }

    /// Where it begins in the file.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    fn end(&self) -> u64 {
        self.at + self.count as u64
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.home.send(std::mem::take(&mut self.buffer)); // a pool that is gone wants none
    }
}

/// What a file was found to be.
pub(super) struct Through {
    /// The hash of all, with its holes.
    pub(super) hash: blake3::Hash,
    /// Where its last part ends that is no hole.
    pub(super) end: u64,
}

/// Hashes a file of `size` bytes, and hands each part of it that is no hole to `take`, in order.
pub(super) fn read_through(
    source: &dyn Source,
    size: u64,
    pool: &mut Pool,
    mut take: impl FnMut(Part) -> Result<(), Fail>,
) -> Result<Through, Fail> {
    let (mut hasher, mut end) = (blake3::Hasher::new(), 0);
    let mut each = |part: Part| {
        hash_zeros(&mut hasher, part.at - end);
        hasher.update(part.bytes());
        end = part.end();
        take(part)
    };
    if size > CHUNK_BYTES as u64 {
        at_once(source, size, pool, each)?;
    } else {
        read_parts(source, size, pool, &mut each)?;
    }
    if end > size {
        return Err(Fail::Skip(Why::Growing, "it is longer than it was".to_owned()));
    }
    hash_zeros(&mut hasher, size - end);
    Ok(Through { hash: hasher.finalize(), end })
}

/// Reads parts on a thread of its own.
fn at_once(
    source: &dyn Source,
    size: u64,
    pool: &mut Pool,
    each: impl FnMut(Part) -> Result<(), Fail>,
) -> Result<(), Fail> {
    std::thread::scope(|scope| {
        let (full, due) = sync_channel(1);
        let reading = scope.spawn(move || {
            // Who takes them hangs up when that fails, and tells why.
            let unwanted = |_| Fail::Skip(Why::Unread, "nobody wants the rest of it".to_owned());
            read_parts(source, size, pool, &mut |part| full.send(part).map_err(unwanted))
        });
        let taken = due.iter().try_for_each(each);
        drop(due);
        let read = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        taken.and(read)
    })
}

/// Reads each part that is no hole.
fn read_parts(
    source: &dyn Source,
    size: u64,
    pool: &mut Pool,
    hand: &mut dyn FnMut(Part) -> Result<(), Fail>,
) -> Result<(), Fail> {
    let unread = |error: io::Error| Fail::Skip(Why::Unread, format!("it cannot be read: {error}"));
    let mut data = if size > 0 { source.data_after(0).map_err(unread)? } else { None };
    while let Some((mut at, end)) = data {
        while at < end {
            let mut buffer = pool.free.recv().map_err(|error| unread(io::Error::other(error)))?;
            buffer.grow(size);
            let mut part = Part { buffer, count: 0, at, home: pool.home.clone() };
            let room = part.buffer.room_mut();
            let wanted = usize::try_from(end - at).map_or(room.len(), |left| left.min(room.len()));
            part.count = source.read_at(&mut room[..wanted], at).map_err(unread)?;
            if part.count == 0 {
                return Err(Fail::Skip(Why::Growing, "it became shorter while it was read".to_owned()));
            }
            at = part.end();
            hand(part)?;
        }
        data = if at < size { source.data_after(at).map_err(unread)? } else { None };
    }
    Ok(())
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
    pool: &mut Pool,
) -> Result<blake3::Hash, Fail> {
    Ok(read_through(source, size, pool, |_| Ok(gauge.check()?))?.hash)
}
