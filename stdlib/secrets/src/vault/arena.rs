//! Memory for the values of secrets: held in place where the system allows it, so that none of it comes to a disk, and
//! wiped before it is given back.

use hob_primitive::Opened;
use region::LockGuard;
use zeroize::{Zeroize, Zeroizing};

/// How much is locked at a time. A user may usually lock 8 MiB.
const CHUNK_BYTES: usize = 64 * 1024;

/// Where a value lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    chunk: usize,
    start: usize,
    len: usize,
}

/// The memory. There is neither `Debug` nor `Clone`.
#[derive(Default)]
pub(super) struct Arena(Vec<Chunk>);

struct Chunk {
    bytes: Vec<u8>,
    used: usize,
    /// How many values lie in it.
    live: usize,
    /// Holds it in memory; nothing where the system does not allow it.
    _locked: Option<LockGuard>,
}

impl Chunk {
    fn new(len: usize) -> Self {
        let bytes = vec![0; len];
        let locked = region::lock(bytes.as_ptr(), bytes.len()).ok();
        Self { bytes, used: 0, live: 0, _locked: locked }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.bytes.as_mut_slice().zeroize();
    }
}

impl Arena {
    /// Keeps a value.
    pub(super) fn put(&mut self, value: &[u8]) -> Slot {
        let fits = |chunk: &Chunk| chunk.bytes.len() - chunk.used >= value.len();
        let at = match self.0.last() {
            Some(last) if fits(last) => self.0.len() - 1,
            _ => {
                self.0.push(Chunk::new(value.len().max(CHUNK_BYTES)));
                self.0.len() - 1
            }
        };
        let chunk = &mut self.0[at];
        let start = chunk.used;
        chunk.bytes[start..start + value.len()].copy_from_slice(value);
        chunk.used += value.len();
        chunk.live += 1;
        Slot { chunk: at, start, len: value.len() }
    }

    /// A copy for whoever uses it at once.
    pub(super) fn get(&self, slot: Slot) -> Opened {
        Zeroizing::new(self.0[slot.chunk].bytes[slot.start..slot.start + slot.len].to_vec())
    }

    /// Wipes a value.
    pub(super) fn wipe(&mut self, slot: Slot) {
        let chunk = &mut self.0[slot.chunk];
        chunk.bytes[slot.start..slot.start + slot.len].zeroize();
        chunk.live -= 1;
        if chunk.live == 0 {
            chunk.used = 0;
        }
    }
}
