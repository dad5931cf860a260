//! The content of a file on its way from one tier to the other: while a part of a large one is written, others are read.

use std::io;
use std::sync::mpsc::sync_channel;

use super::read::{CHUNK_BYTES, Part, Pool, Through, read_through};
use super::{Fail, Gauge, Why};
use crate::tier::{Lease, Sink, Source};

/// How much is written before the disk is told to begin.
const FLUSH_BYTES: u64 = 16 << 20;

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
    pool: &mut Pool,
    gauge: &mut dyn Gauge,
) -> Result<blake3::Hash, Trouble> {
    let copied = if size > CHUNK_BYTES as u64 {
        at_once(source, sink, size, pool, gauge)?
    } else {
        let mut failed = None;
        let read = read_through(source, size, pool, |part| match sink.write_at(part.bytes(), part.at()) {
            Ok(()) => heed(source, &part, gauge),
            Err(error) => Err(hung_up(failed.insert(error))),
        });
        read.map_err(|fail| failed.map_or(Trouble::Read(fail), Trouble::Write))?
    };
    if copied.end < size {
        sink.set_size(size).map_err(Trouble::Write)?;
    }
    Ok(copied.hash)
}

/// Writes on a thread of its own.
fn at_once(
    source: &dyn Source,
    sink: &mut dyn Sink,
    size: u64,
    pool: &mut Pool,
    gauge: &mut dyn Gauge,
) -> Result<Through, Trouble> {
    let (read, written) = std::thread::scope(|scope| {
        let (full, due) = sync_channel::<Part>(1);
        let writing = scope.spawn(move || {
            let mut flushed = 0;
            for part in due {
                sink.write_at(part.bytes(), part.at())?;
                if part.at() - flushed >= FLUSH_BYTES {
                    flushed = part.at();
                    sink.flush();
                }
            }
            Ok(())
        });
        let read = read_through(source, size, pool, |part| {
            heed(source, &part, gauge)?;
            // Who writes hangs up when that fails, and tells why at the end.
            full.send(part).map_err(|error| hung_up(&error))
        });
        drop(full);
        (read, writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    written.map_err(Trouble::Write)?;
    Ok(read?)
}

fn hung_up(error: &dyn std::error::Error) -> Fail {
    Fail::Skip(Why::Unkept, format!("its copy cannot be written: {error}"))
}

fn heed(source: &dyn Source, part: &Part, gauge: &mut dyn Gauge) -> Result<(), Fail> {
    gauge.copied(part.bytes().len() as u64)?;
    if source.is_wanted() && source.lease(false) == Lease::Busy {
        return Err(Fail::Skip(Why::InUse, "somebody began to write to it".to_owned()));
    }
    Ok(())
}
