//! The content of a file on its way from one tier to the other: while a part of a large one is written, the next is read.

use std::io;
use std::sync::mpsc::{channel, sync_channel};

use super::read::{Buffer, CHUNK_BYTES, Through, read_through};
use super::{Fail, Gauge, Why};
use crate::tier::{Lease, Sink, Source};

/// How much is written before the disk is told to begin.
const FLUSH_BYTES: u64 = 16 << 20;

/// One part is read, one waits, one is written.
const PARTS: usize = 3;

/// What parts are in; it serves one file after another.
pub(super) type Parts = [Buffer; PARTS];

/// Why a file was not poured.
pub(super) enum Trouble {
    /// It was not read, or not any more.
    Read(Fail),
    /// Its copy could not be written.
    Write(io::Error),
}

impl From<Fail> for Trouble {
    fn from(fail: Fail) -> Self {
        Self::Read(fail)
    }
}

/// Copies what is no hole in a file of `size` bytes; gives the hash of all.
pub(super) fn pour(
    source: &dyn Source,
    sink: &mut dyn Sink,
    size: u64,
    parts: &mut Parts,
    gauge: &mut dyn Gauge,
) -> Result<blake3::Hash, Trouble> {
    let copied = if size > CHUNK_BYTES as u64 {
        at_once(source, sink, size, parts, gauge)?
    } else {
        let mut failed = None;
        let read = read_through(source, size, &mut parts[0], |part, count, at| {
            match sink.write_at(&part.room()[..count], at) {
                Ok(()) => heed(source, count, gauge),
                Err(error) => Err(hung_up(failed.insert(error))),
            }
        });
        read.map_err(|fail| failed.map_or(Trouble::Read(fail), Trouble::Write))?
    };
    if copied.end < size {
        sink.set_size(size).map_err(Trouble::Write)?;
    }
    Ok(copied.hash)
}

/// Reads on one thread and writes on another.
fn at_once(
    source: &dyn Source,
    sink: &mut dyn Sink,
    size: u64,
    parts: &mut Parts,
    gauge: &mut dyn Gauge,
) -> Result<Through, Trouble> {
    let [part, others @ ..] = parts;
    let (empty, free) = channel();
    for other in &mut *others {
        other.grow(size);
        let _ = empty.send(std::mem::take(other)); // both ends are held here
    }
    let (read, written) = std::thread::scope(|scope| {
        let (full, due) = sync_channel::<(Buffer, usize, u64)>(1);
        let writing = scope.spawn(move || {
            let mut flushed = 0;
            for (part, count, at) in due {
                sink.write_at(&part.room()[..count], at)?;
                if at - flushed >= FLUSH_BYTES {
                    flushed = at;
                    sink.flush();
                }
                let _ = empty.send(part); // when reading has ended, nobody wants it
            }
            Ok(())
        });
        let read = read_through(source, size, part, |part, count, at| {
            // Who writes hangs up when that fails, and tells why at the end.
            let next = free.recv().map_err(|error| hung_up(&error))?;
            let full_part = std::mem::replace(part, next);
            full.send((full_part, count, at)).map_err(|error| hung_up(&error))?;
            heed(source, count, gauge)
        });
        drop(full);
        (read, writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    others.iter_mut().zip(free.try_iter()).for_each(|(other, part)| *other = part);
    written.map_err(Trouble::Write)?;
    Ok(read?)
}

fn hung_up(error: &dyn std::error::Error) -> Fail {
    Fail::Skip(Why::Unkept, format!("its copy cannot be written: {error}"))
}

fn heed(source: &dyn Source, count: usize, gauge: &mut dyn Gauge) -> Result<(), Fail> {
    gauge.copied(count as u64)?;
    if source.is_wanted() && source.lease(false) == Lease::Busy {
        return Err(Fail::Skip(Why::InUse, "somebody began to write to it".to_owned()));
    }
    Ok(())
}
