//! Directories that tell by a lock whether whoever uses them still lives.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The file in each such directory that its users hold a shared lock on.
pub const LOCK: &str = "lock";

/// A directory for one server, `hob-lab-KIND-…` in the directory for temporary files. It is removed with this value.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
    /// Held as long as this process lives; children hold locks of their own.
    _lock: File,
}

impl Place {
    /// An empty directory. Before, it removes those of the same kind that nobody uses any more, each after `tidy` took
    /// back what it had put elsewhere.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(kind: &str, tidy: fn(&Path)) -> io::Result<Self> {
        Self::below(&std::env::temp_dir(), kind, tidy)
    }

    /// As [`Place::new`], in another directory than that for temporary files, which some labs have one of their own of.
    ///
    /// # Errors
    /// As there.
    pub fn below(base: &Path, kind: &str, tidy: fn(&Path)) -> io::Result<Self> {
        let prefix = format!("hob-lab-{kind}-");
        sweep(base, &prefix, tidy);
        // It gets its name when it is locked: until then nobody may take it for an abandoned one.
        let fresh = tempfile::Builder::new().prefix("hob-lab.").tempdir_in(base)?;
        let lock = File::create(fresh.path().join(LOCK))?;
        flock(&lock, FlockOperation::LockShared)?;
        let fresh = fresh.keep();
        let unique = fresh.extension().unwrap_or_default().to_string_lossy().into_owned();
        let dir = fresh.with_file_name(prefix + &unique);
        fs::rename(&fresh, &dir)?;
        Ok(Self { dir, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed now, the next start removes.
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// Removes the directories beside which nobody lives.
fn sweep(base: &Path, prefix: &str, tidy: fn(&Path)) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let dir = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let Ok(lock) = File::open(dir.join(LOCK)) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            tidy(&dir);
            drop(fs::remove_dir_all(&dir));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_nobody_uses_goes_and_what_somebody_uses_stays() {
        let kind = format!("marker{}", std::process::id());
        let used = Place::new(&kind, |_| {}).unwrap();
        let left = Place::new(&kind, |_| {}).unwrap();
        let dir = left.path().to_owned();
        fs::write(dir.join("file"), "").unwrap();
        // As if the process had been killed: the lock is gone, the directory is not.
        let Place { _lock, .. } = &left;
        rustix::fs::flock(_lock, FlockOperation::Unlock).unwrap();
        let next =
            Place::new(&kind, |dir| fs::rename(dir.join("file"), dir.join("tidied")).unwrap()).unwrap();
        assert!(used.path().exists() && next.path().exists());
        assert!(!dir.exists());
    }
}
