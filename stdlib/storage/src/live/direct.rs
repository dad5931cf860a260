//! Reading and writing past the memory in which the kernel keeps files (`O_DIRECT`).
//!
//! What is read like this comes from the disk, and what is written like this is on its way there, without a copy in between.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// Where parts begin, in memory and in files, and what their lengths are multiples of: enough for all usual disks.
pub(super) const ALIGNED_BYTES: usize = 4096;

/// Nobody asked for it, or it cannot be.
const OFF: u8 = 0;
/// It is asked for, and the flag is not set now.
const WANTED: u8 = 1;
/// The flag is set.
const ON: u8 = 2;

/// Whether a file is to be reached past memory. It is where the file system can and a part fits; other parts go the usual way.
#[derive(Debug, Default)]
pub(super) struct Direct(AtomicU8);

/// Whether a part of a file can pass memory by.
pub(super) fn is_aligned(part: &[u8], offset: u64) -> bool {
    part.as_ptr().addr().is_multiple_of(ALIGNED_BYTES)
        && part.len().is_multiple_of(ALIGNED_BYTES)
        && offset.is_multiple_of(ALIGNED_BYTES as u64)
}

impl Direct {
    /// Asks for it.
    pub(super) fn want(&self) {
        let _ = self.0.compare_exchange(OFF, WANTED, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Does `act` past memory where it is asked for and the part `may` pass it by.
    pub(super) fn with<T>(
        &self,
        file: &File,
        may: bool,
        mut act: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        if !self.turn(file, may) {
            return act();
        }
        match act() {
            // This file system, or its disk, wants something else.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
                self.turn(file, false);
                self.0.store(OFF, Ordering::Relaxed);
                act()
            }
            other => other,
        }
    }

    /// Sets the flag, or takes it away; whether it is set now.
    fn turn(&self, file: &File, on: bool) -> bool {
        let now = self.0.load(Ordering::Relaxed);
        if now == OFF || (now == ON) == on {
            return now == ON;
        }
        let set = fcntl_getfl(file).and_then(|flags| {
            let flags = if on { flags | OFlags::DIRECT } else { flags - OFlags::DIRECT };
            fcntl_setfl(file, flags)
        });
        let state = match (set, on) {
            (Ok(()), true) => ON,
            (Ok(()), false) => WANTED,
            (Err(_), _) => OFF,
        };
        self.0.store(state, Ordering::Relaxed);
        state == ON
    }
}
