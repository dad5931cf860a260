//! Directories that operations are given, opened without being kept waiting by a file system that is gone.

use std::path::Path;

use hob_model::OpError;
use hob_planner::Mounted;

use crate::PATIENCE;
use crate::tier::{Tier, Tiers};

/// Opens a directory as a tier.
pub(crate) fn open(tiers: &dyn Tiers, path: &Path) -> Result<Box<dyn Tier>, OpError> {
    if !tiers.is_directory(path, PATIENCE)? {
        return Err(OpError::not_found(format!("there is no directory {}", path.display()))
            .hint("is its file system mounted?")
            .nothing_happened());
    }
    tiers.open(path).map_err(|error| OpError::io(&error, path.display()).nothing_happened())
}

/// Refuses a place where nothing is mounted.
pub(crate) fn must_be_mounted(tiers: &dyn Tiers, path: &Path) -> Result<(), OpError> {
    if tiers.mounted()?.iter().any(|it| it.path == path) {
        return Ok(());
    }
    Err(OpError::unavailable(format!("nothing is mounted at {}", path.display()))
        .hint("mount it; nothing was touched")
        .nothing_happened())
}

/// The file system that holds a path.
pub(crate) fn holder<'m>(mounted: &'m [Mounted], path: &Path) -> Option<&'m Mounted> {
    let holding = mounted.iter().filter(|it| path.starts_with(&it.path));
    // The last of those that are furthest down hides the others.
    holding.max_by_key(|it| it.path.components().count())
}
