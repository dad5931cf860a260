//! Free space on the disk of the state directory.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::from_io;
use crate::journal::JournalError;

/// How old the known amount of free space may be. A disk does not fill by the reserve within this time
/// through hob alone, and asking costs a system call for every effect.
const FRESH: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Space {
    dir: PathBuf,
    reserve_bytes: u64,
    known: Mutex<Option<(Instant, u64)>>,
}

impl Space {
    pub(super) fn new(dir: &Path, reserve_bytes: u64) -> Self {
        Self { dir: dir.to_owned(), reserve_bytes, known: Mutex::new(None) }
    }

    /// Whether the reserve is there.
    pub(super) fn check(&self) -> Result<(), JournalError> {
        let free_bytes = self.free_bytes()?;
        if free_bytes >= self.reserve_bytes {
            return Ok(());
        }
        let path = self.dir.display().to_string();
        Err(JournalError::Reserve { path, free_bytes, reserve_bytes: self.reserve_bytes })
    }

    fn free_bytes(&self) -> Result<u64, JournalError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((at, free)) = *known
            && now.duration_since(at) < FRESH
        {
            return Ok(free);
        }
        let found = rustix::fs::statvfs(&self.dir).map_err(|e| from_io(&e.into(), &self.dir))?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        *known = Some((now, free));
        Ok(free)
    }
}
