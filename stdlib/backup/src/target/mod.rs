//! What a snapshot holds comes to lie on a disk.
//!
//! First a plan says what would change, then it is carried out: each file is written under a name of its own, with every part
//! compared with its hash, and takes its place at once. What fails is told by path, and the rest goes on. A restore that a
//! crash cut off is done again, and finds what it has done.
#![allow(clippy::disallowed_methods)] // This is the adapter to the files that are restored.

mod attributes;
mod plan;
mod write;

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use hob_model::{OpError, Value};
use rustic_core::{IndexedFullStatus, Repository};

pub(crate) use plan::{Action, Filter, Plan, plan};

use crate::repository::Session;

/// The most paths of one list of a result.
const NAMED_MAX: usize = 1000;

/// How files are compared and written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Whether files that have the size and time of the snapshot's are read all the same.
    pub(crate) thorough: bool,
    /// Whether what the snapshot does not have is removed.
    pub(crate) delete: bool,
    /// Whether what was written is read again and compared.
    pub(crate) verify: bool,
    /// Whether owners and groups are set.
    pub(crate) owners: bool,
}

/// What did not go as planned.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    failed: Vec<(PathBuf, String)>,
    failed_entries: u64,
    kept_not: Vec<(PathBuf, String)>,
}

impl Troubles {
    fn failed(&mut self, path: &Path, reason: impl Into<String>) {
        self.failed_entries += 1;
        if self.failed.len() < NAMED_MAX {
            self.failed.push((path.to_owned(), reason.into()));
        }
    }

    fn kept_not(&mut self, path: &Path, reason: impl Into<String>) {
        if self.kept_not.len() < NAMED_MAX {
            self.kept_not.push((path.to_owned(), reason.into()));
        }
    }
}

/// What all steps of a restore share.
pub(crate) struct Target<'a> {
    pub(crate) session: &'a Session,
    pub(crate) repo: &'a Repository<IndexedFullStatus>,
    /// Absolute.
    pub(crate) root: PathBuf,
    pub(crate) manner: Manner,
}

impl Target<'_> {
    /// Carries a plan out.
    ///
    /// # Errors
    /// `failed` when something could not be restored, with `e.details.failed`; what ended it otherwise.
    pub(crate) fn carry_out(&self, plan: &Plan) -> Result<Value, OpError> {
        fs::create_dir_all(&self.root).map_err(|error| OpError::io(&error, self.root.display()))?;
        self.has_room_for(plan)?;
        let troubles = Mutex::new(Troubles::default());
        self.write(plan, &troubles)?;
        if self.manner.verify {
            self.verify(plan, &troubles)?;
        }
        self.sync()?;
        let troubles = troubles.into_inner().expect("no code panics while holding this lock");
        let told = plan.told(&reasons(&troubles.kept_not));
        let Some((path, reason)) = troubles.failed.first() else { return Ok(told) };
        let text =
            format!("{} of it was not restored: {}: {reason}", troubles.failed_entries, path.display());
        Err(OpError::failed(text)
            .hint("the rest is; once the reason is gone, the same call restores what is missing")
            .detail("failed", reasons(&troubles.failed))
            .detail("restored", told))
    }

    fn has_room_for(&self, plan: &Plan) -> Result<(), OpError> {
        let space = rustix::fs::statvfs(&self.root)
            .map_err(|error| OpError::io(&error.into(), self.root.display()))?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        // Holes take none, so only what can never fit is refused before it begins.
        if plan.bytes_stored > free {
            let text = format!(
                "{} has {free} bytes free, and {} are to be restored",
                self.root.display(),
                plan.bytes_stored
            );
            return Err(OpError::unavailable(text).hint("free some space, or restore less with `include`"));
        }
        Ok(())
    }

    /// Makes all of it durable.
    fn sync(&self) -> Result<(), OpError> {
        let synced = fs::File::open(&self.root).and_then(|root| Ok(rustix::fs::syncfs(root.as_fd())?));
        synced.map_err(|error| OpError::io(&error, self.root.display()))
    }
}

/// Paths with reasons, as results have them.
fn reasons(all: &[(PathBuf, String)]) -> Value {
    let told = all.iter().map(|(path, reason)| {
        Value::map([
            ("path", Value::from(path.to_string_lossy().into_owned())),
            ("reason", Value::from(reason.as_str())),
        ])
    });
    Value::Array(told.collect())
}
