//! Where the mover keeps its own files: a directory in the root of the target, which no move takes with it.

use std::path::{Path, PathBuf};

/// The directory.
pub const DIR: &str = ".hob-mover";

/// Holds copies that have no name yet.
pub(crate) const NEW: &str = ".hob-mover/new";

/// Holds an intent for each batch that is under way.
pub(crate) const INTENTS: &str = ".hob-mover/intents";

/// Holds what was moved, with hashes.
pub(crate) const MANIFESTS: &str = ".hob-mover/manifest";

/// Is locked by the mover that works here.
pub(crate) const LOCK: &str = ".hob-mover/lock";

/// Holds a file for each source that is being drained from one watermark to the other.
pub(crate) const DRAINING: &str = ".hob-mover/draining";

/// The directories, in the order in which they are made.
pub(crate) const DIRS: [&str; 5] = [DIR, NEW, INTENTS, MANIFESTS, DRAINING];

/// Where the intent with this stem is, `MARK-NUMBER`.
pub(crate) fn intent(stem: &str) -> PathBuf {
    Path::new(INTENTS).join(format!("{stem}.jsonl"))
}

/// Where the copy with this number is while it has no name; `stem` is that of its intent.
pub(crate) fn unnamed(stem: &str, number: usize) -> PathBuf {
    Path::new(NEW).join(format!("{stem}-{number}"))
}

/// Whether a path is the mover's own.
pub(crate) fn is_own(path: &Path) -> bool {
    path.starts_with(DIR)
}
