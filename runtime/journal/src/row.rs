//! What the journal derives from its entries.

use hob_model::{Digest, Position, RunEnd, RunId, RunOwner, RunStatus, Timestamp, Value, Wait};

use crate::codec;

/// A run in lists: the fold of its entries.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    /// Its identity.
    pub run: RunId,
    /// What people call it.
    pub name: String,
    /// `playbook`, `workflow`, `schedule`, `apply`, ….
    pub kind: String,
    /// Where it stands.
    pub status: RunStatus,
    /// Who goes on with it.
    pub owner: RunOwner,
    /// When it was started.
    pub created: Timestamp,
    /// When its last entry was recorded.
    pub updated: Timestamp,
    /// The bundle it is pinned to.
    pub bundle: Option<Digest>,
    /// The run that started it.
    pub parent: Option<RunId>,
    /// Attempts, from 1; `runs retry` adds one.
    pub attempt: u32,
    /// How many entries it has: the number of the next one.
    pub entries: u64,
    /// How it ended.
    pub end: Option<RunEnd>,
}

/// Which runs to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFilter {
    /// Only these states; empty for all.
    pub status: Vec<RunStatus>,
    /// Only this name.
    pub name: Option<String>,
    /// Only this kind.
    pub kind: Option<String>,
    /// Only runs that this one goes on with.
    pub owner: Option<RunOwner>,
    /// Only runs that were started at this time or later.
    pub since: Option<Timestamp>,
    /// Only runs that were started before this time.
    pub until: Option<Timestamp>,
    /// Only runs whose last entry was recorded at this time or later.
    pub updated_since: Option<Timestamp>,
    /// Only runs older than this one, for paging.
    pub before: Option<RunId>,
    /// At most so many; `None` for all.
    pub limit: Option<usize>,
}

/// An open wait.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitRow {
    /// Of which run.
    pub run: RunId,
    /// Where in it.
    pub position: Position,
    /// For what.
    pub wait: Wait,
}

/// A signal that no wait has taken yet.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalRow {
    /// Its number, in order of arrival.
    pub id: u64,
    /// For which run.
    pub run: RunId,
    /// Its name.
    pub name: String,
    /// What it carries.
    pub payload: Value,
    /// When it arrived.
    pub at: Timestamp,
}

/// A recorded event.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    /// Its number, from 1, in order of submission.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What it carries.
    pub payload: Value,
    /// Who said so.
    pub origin: String,
    /// When.
    pub at: Timestamp,
}

/// An immutable set of sources that runs are pinned to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleRecord {
    /// The digest of the encoded record without this field.
    pub digest: Digest,
    /// Path within the bundle, and the blob that holds the bytes.
    pub files: Vec<(String, Digest)>,
    /// The script that runs, or `homelab.rhai`.
    pub root: String,
    /// The directory it was read from, for people and for `runs migrate`.
    pub origin: String,
    /// The host's name at that time.
    pub host: String,
}

impl BundleRecord {
    /// A bundle with its digest, which covers all fields.
    #[must_use]
    pub fn new(files: Vec<(String, Digest)>, root: String, origin: String, host: String) -> Self {
        let mut bundle = Self { digest: Digest([0; 32]), files, root, origin, host };
        bundle.digest = bundle.computed_digest();
        bundle
    }

    /// The digest that the fields give; another one than [`BundleRecord::digest`] means damage.
    #[must_use]
    pub fn computed_digest(&self) -> Digest {
        let mut encoded = Vec::new();
        codec::encode_bundle(self, &mut encoded);
        Digest::of(&encoded)
    }
}
