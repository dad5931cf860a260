//! All that is in a directory.

use std::path::{Path, PathBuf};

use hob_model::OpError;

use crate::port::{FilesPort, Kind, Meta};
use crate::problem::{Watch, fault, is_absent};

/// The most entries that one operation looks at.
pub(crate) const ENTRIES_MAX: usize = 1_000_000;

/// How deep directories may nest.
pub(crate) const DEPTH_MAX: usize = 256;

/// A thing that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// From the directory that was asked for.
    pub(crate) relative: PathBuf,
    pub(crate) meta: Meta,
}

/// What a walk is to see.
pub(crate) struct Walk<'a> {
    pub(crate) depth_max: usize,
    pub(crate) entries_max: usize,
    /// Whether to look into the directory with this relative path.
    pub(crate) enter: &'a dyn Fn(&Path) -> bool,
}

impl Default for Walk<'_> {
    fn default() -> Self {
        Self {
            depth_max: DEPTH_MAX + 1, // past the limit, so that it is an error and not a silent end
            entries_max: ENTRIES_MAX,
            enter: &|_| true,
        }
    }
}

impl Walk<'_> {
    /// Everything below `root`, without `root` itself: a directory before what is in it, names in the order of their
    /// bytes. Links are not followed.
    pub(crate) fn collect(
        &self,
        port: &dyn FilesPort,
        root: &Path,
        watch: &Watch,
    ) -> Result<Vec<Found>, OpError> {
        let mut found = Vec::new();
        self.enter(port, root, Path::new(""), 1, watch, &mut found)?;
        Ok(found)
    }

    fn enter(
        &self,
        port: &dyn FilesPort,
        root: &Path,
        relative: &Path,
        depth: usize,
        watch: &Watch,
        found: &mut Vec<Found>,
    ) -> Result<(), OpError> {
        let dir = root.join(relative);
        let mut names = port.read_dir(&dir).map_err(|error| fault(&error, &dir))?;
        names.sort_unstable();
        watch.check()?;
        for name in names {
            let relative = relative.join(name);
            let path = root.join(&relative);
            let meta = match port.stat(&path, false) {
                Ok(meta) => meta,
                Err(error) if is_absent(&error) => continue, // it went away meanwhile
                Err(error) => return Err(fault(&error, &path)),
            };
            if found.len() >= self.entries_max {
                return Err(OpError::invalid(format!(
                    "{} holds more than {} entries",
                    root.display(),
                    self.entries_max
                ))
                .hint("take a directory further down"));
            }
            let is_dir = meta.kind == Kind::Directory;
            found.push(Found { relative: relative.clone(), meta });
            if is_dir && depth < self.depth_max && (self.enter)(&relative) {
                if depth == DEPTH_MAX {
                    return Err(OpError::invalid(format!(
                        "{} nests deeper than {DEPTH_MAX} levels",
                        path.display()
                    )));
                }
                self.enter(port, root, &relative, depth + 1, watch, found)?;
            }
        }
        Ok(())
    }
}
