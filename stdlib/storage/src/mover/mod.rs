//! Moves files from one file system to another so that no crash, power cut or mistake of others loses one.
//!
//! Files are moved in batches, and all names of a file together. For each batch:
//!
//! 1. the intent is written to the target and synced ([`intent`]);
//! 2. each file is copied to a place in the target where nobody looks ([`place`], [`copy`]), all are synced, read again from
//!    the disk and compared, and that is noted and synced;
//! 3. each copy gets its names, none of which may be taken; the directories are synced ([`batch`]);
//! 4. each original that is as it was copied, and that nobody has open, is removed; its directories are synced;
//! 5. the manifest gets a line for each file ([`manifest`]), and the intent is removed.
//!
//! So there is always a complete, durable copy under a valid name. What a crash leaves, the next call finishes or undoes
//! ([`recover`]): what was noted as verified is finished, everything else is undone.

pub mod batch;
pub mod copy;
mod gone;
pub mod intent;
pub mod manifest;
pub mod place;
mod pour;
pub(crate) mod read;
pub mod recover;
pub mod select;
mod verify;
pub mod walk;
mod why;

use std::io;
use std::path::{Path, PathBuf};

use hob_model::OpError;

pub use why::Why;

use crate::tier::Tier;

/// A file that stays where it is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its path from the root of the tier.
    pub path: PathBuf,
    /// Why, to be counted.
    pub why: Why,
    /// Why, for people.
    pub reason: String,
}

/// What a call moved.
#[derive(Clone, Debug, Default)]
pub struct Moved {
    /// The names that moved, from the root of the tier.
    pub names: Vec<PathBuf>,
    /// How many bytes they hold.
    pub bytes: u64,
    /// What stayed.
    pub skipped: Vec<Skipped>,
}

/// Hears of each step that takes time, and may end the work.
pub trait Gauge {
    /// So many bytes were copied: waits as long as the budget wants.
    ///
    /// # Errors
    /// When the work is to end now.
    fn copied(&mut self, bytes: u64) -> Result<(), OpError>;
    /// Something took time.
    ///
    /// # Errors
    /// When the work is to end now.
    fn check(&mut self) -> Result<(), OpError>;
    /// Something goes on elsewhere: waits for a moment.
    ///
    /// # Errors
    /// When the work is to end now.
    fn pause(&mut self) -> Result<(), OpError>;
    /// Another mover works on the target: waits for a moment.
    ///
    /// # Errors
    /// When the work is to end now.
    fn wait(&mut self) -> Result<(), OpError>;
}

/// A mover between two tiers.
pub struct Mover<'a> {
    /// Where files come from.
    pub source: &'a dyn Tier,
    /// Where they go.
    pub target: &'a dyn Tier,
    /// Names the effect that moves, for intents and manifests.
    pub mark: String,
    /// The time, as RFC 3339, for the manifest.
    pub now: String,
    /// Whether a file stays that cannot keep all its attributes.
    pub all_attributes: bool,
    /// What must stay free in the target, in bytes.
    pub reserve_bytes: u64,
    /// Whether directories that moving left empty are removed.
    pub prune: bool,
    /// Only those below this one, from the root of the source.
    pub below: PathBuf,
    /// The most bytes of a batch, but for a larger file: as a rule [`batch::BATCH_BYTES`].
    pub batch_bytes: u64,
    /// Hears of each step.
    pub gauge: &'a mut dyn Gauge,
}

/// Why one file is not moved, or nothing is any more.
#[derive(Debug)]
pub(crate) enum Fail {
    /// This file stays; others go on.
    Skip(Why, String),
    /// The work ends.
    Stop(OpError),
}

impl From<OpError> for Fail {
    fn from(error: OpError) -> Self {
        Self::Stop(error)
    }
}

impl Mover<'_> {
    /// The error of a call on `at` in the source, or in the target.
    pub(crate) fn fault(&self, tier: &dyn Tier, at: &Path, error: &io::Error) -> OpError {
        OpError::io(error, tier.path().join(at).display())
    }

    /// Fails unless both tiers are where they were: below a mount point whose file system has gone nothing is written.
    pub(crate) fn check_tiers(&self) -> Result<(), OpError> {
        for tier in [self.source, self.target] {
            tier.still_there().map_err(|error| {
                OpError::unavailable(format!("{} is no longer there: {error}", tier.path().display()))
                    .hint("was it unmounted? what was moved so far is safe, and the next call goes on")
            })?;
        }
        Ok(())
    }
}
