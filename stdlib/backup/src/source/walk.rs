//! Trees of files as a source.
#![allow(clippy::disallowed_methods)] // This is the adapter to the files that are backed up.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hob_model::OpError;
use rustic_core::{ErrorKind, ReadSource, ReadSourceEntry, ReadSourceOpen, RusticError, RusticResult};
use rustix::fs::OFlags;

use super::Report;
use super::exclude::{CACHE_SIGNATURE, Excludes};
use super::node::{Names, node};
use crate::guard::Watch;

/// The name of the file that marks a cache.
const CACHE_TAG: &str = "CACHEDIR.TAG";

/// The deepest tree that is walked, in directories.
const DEPTH_MAX: usize = 4096;

/// Trees of files.
pub(crate) struct Trees {
    /// Absolute and sorted; none lies in another.
    roots: Vec<PathBuf>,
    excludes: Arc<Excludes>,
    report: Report,
    watch: Arc<Watch>,
}

/// The roots of a backup, sorted, without those that lie in others.
pub(crate) fn roots(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort_by(|one, other| one.as_path().cmp(other));
    paths.dedup_by(|inner, outer| inner.starts_with(outer.as_path()));
    paths
}

/// Looks whether they are there: what is not mounted must not look like an empty backup.
///
/// # Errors
/// `not_found` when one is not, and `invalid` when repositories cannot keep its name.
pub(crate) fn look(roots: &[PathBuf]) -> Result<(), OpError> {
    for path in roots {
        fs::symlink_metadata(path).map_err(|error| OpError::io(&error, path.display()))?;
        if path.to_str().is_none() {
            return Err(OpError::invalid(format!("{} is not UTF-8", path.display()))
                .hint("back up the directory that it is in"));
        }
    }
    Ok(())
}

impl Trees {
    /// A source of these roots, as [`roots`] gives them.
    pub(crate) fn new(roots: Vec<PathBuf>, excludes: Excludes, report: Report, watch: Arc<Watch>) -> Self {
        Self { roots, excludes: Arc::new(excludes), report, watch }
    }
}

impl ReadSource for Trees {
    type Open = Waiting;
    type Iter = Walk;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Walk {
        // From the last to the first: what comes next is at the end. Directories above the roots come with them.
        let mut above = BTreeSet::new();
        let mut next = Vec::new();
        for root in &self.roots {
            let ancestors: Vec<&Path> = root.ancestors().skip(1).collect();
            for path in ancestors.into_iter().rev().filter(|path| path.file_name().is_some()) {
                if above.insert(path.to_owned()) {
                    next.push(Step {
                        path: path.to_owned(),
                        root: root.clone(),
                        device: None,
                        depth: 0,
                        alone: true,
                    });
                }
            }
            let (path, root) = (root.clone(), root.clone());
            next.push(Step { path, root, device: None, depth: 0, alone: false });
        }
        next.reverse();
        Walk {
            next,
            excludes: Arc::clone(&self.excludes),
            report: self.report.clone(),
            watch: Arc::clone(&self.watch),
            names: Names::default(),
        }
    }
}

struct Step {
    path: PathBuf,
    root: PathBuf,
    /// The file system of the root.
    device: Option<u64>,
    depth: usize,
    /// Whether it is a directory above the roots, whose content is not wanted.
    alone: bool,
}

/// Goes through the trees in the order of names.
pub(crate) struct Walk {
    next: Vec<Step>,
    excludes: Arc<Excludes>,
    report: Report,
    watch: Arc<Watch>,
    names: Names,
}

impl Iterator for Walk {
    type Item = RusticResult<ReadSourceEntry<Waiting>>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(step) = self.next.pop() {
            if self.watch.check().is_err() {
                return None;
            }
            if let Some(entry) = self.enter(&step) {
                return Some(Ok(entry));
            }
        }
        None
    }
}

impl Walk {
    /// The entry at a step, whose content comes next; none where it is left out or cannot be read.
    fn enter(&mut self, step: &Step) -> Option<ReadSourceEntry<Waiting>> {
        let stat = match fs::symlink_metadata(&step.path) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound && step.depth > 0 => {
                self.report.vanished();
                return None;
            }
            Err(error) => {
                self.unread(step, &error);
                return None;
            }
        };
        if step.depth > 0
            && !step.alone
            && let Some(reason) = self.leaves_out(step, &stat)
        {
            self.report.excluded(&step.path, &reason);
            return None;
        }
        if stat.is_dir()
            && !step.alone
            && let Err(error) = self.descend(step, &stat)
        {
            self.unread(step, &error);
        }
        // The root of the file system has no name, and no entry of its own.
        step.path.file_name()?;
        let node = match node(&step.path, &stat, &mut self.names) {
            Ok(node) => node,
            Err(error) => {
                self.unread(step, &error);
                return None;
            }
        };
        let open = stat.is_file().then(|| Waiting {
            path: step.path.clone(),
            report: self.report.clone(),
            watch: Arc::clone(&self.watch),
            size: stat.len(),
            modified: modified(&stat),
        });
        Some(ReadSourceEntry { path: step.path.clone(), node, open })
    }

    fn unread(&self, step: &Step, error: &io::Error) {
        self.report.unread(&step.path, OpError::io(error, "not read").message);
    }

    fn leaves_out(&self, step: &Step, stat: &fs::Metadata) -> Option<String> {
        let below = step.path.strip_prefix(&step.root).unwrap_or(&step.path);
        let by_pattern = self.excludes.reason(&step.path, below);
        let by_size = || self.excludes.too_large(stat.len()).filter(|_| stat.is_file());
        let elsewhere = || {
            let other = self.excludes.one_file_system && step.device.is_some_and(|own| own != stat.dev());
            other.then(|| "another file system".to_owned())
        };
        by_pattern.or_else(by_size).or_else(elsewhere)
    }

    fn descend(&mut self, step: &Step, stat: &fs::Metadata) -> io::Result<()> {
        if step.depth >= DEPTH_MAX {
            return Err(io::Error::other("the tree is deeper than 4096 directories"));
        }
        let mut names: Vec<_> =
            fs::read_dir(&step.path)?.map(|it| it.map(|it| it.file_name())).collect::<io::Result<_>>()?;
        if let Some(marker) = self.excludes.markers.iter().find(|it| names.iter().any(|name| *name == ***it))
        {
            self.report.excluded(&step.path, &format!("it has `{marker}`"));
            names.retain(|name| *name == **marker);
        } else if self.excludes.caches && names.iter().any(|name| name == CACHE_TAG) && is_cache(&step.path) {
            self.report.excluded(&step.path, "it is a cache (CACHEDIR.TAG)");
            names.retain(|name| name == CACHE_TAG);
        }
        // Repositories want them in the order of their bytes.
        names.sort_by(|one, other| other.as_bytes().cmp(one.as_bytes()));
        let device = step.device.or(Some(stat.dev()));
        let steps = names.into_iter().map(|name| Step {
            path: step.path.join(name),
            root: step.root.clone(),
            device,
            depth: step.depth + 1,
            alone: false,
        });
        self.next.extend(steps);
        Ok(())
    }
}

fn is_cache(directory: &Path) -> bool {
    let mut begin = vec![0; CACHE_SIGNATURE.len()];
    let read = File::open(directory.join(CACHE_TAG)).and_then(|mut file| file.read_exact(&mut begin));
    read.is_ok() && begin == CACHE_SIGNATURE
}

/// When its content last changed, to the nanosecond.
fn modified(stat: &fs::Metadata) -> (i64, i64) {
    (stat.mtime(), stat.mtime_nsec())
}

/// A file that will be read, and what it was when it was found.
pub(crate) struct Waiting {
    path: PathBuf,
    report: Report,
    watch: Arc<Watch>,
    size: u64,
    modified: (i64, i64),
}

impl ReadSourceOpen for Waiting {
    type Reader = Reading;

    fn open(self) -> RusticResult<Reading> {
        // What became a pipe meanwhile must not hold up the backup, nor a link lead elsewhere.
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY;
        let flags = i32::try_from(flags.bits()).expect("flags of open(2) are an int");
        let opened = fs::OpenOptions::new().read(true).custom_flags(flags).open(&self.path);
        let opened = opened.and_then(|file| match file.metadata()? {
            stat if stat.is_file() => Ok(file),
            _ => Err(io::Error::other("it is no longer a file")),
        });
        match opened {
            Ok(file) => {
                let left = self.size;
                Ok(Reading { file, of: self, left, ended: false })
            }
            Err(error) => {
                match error.kind() {
                    io::ErrorKind::NotFound => self.report.vanished(),
                    _ => self.report.unread(&self.path, OpError::io(&error, "not read").message),
                }
                Err(RusticError::with_source(ErrorKind::InputOutput, "not opened", error))
            }
        }
    }
}

/// A file that is read: as many bytes as it had when it was found, so that what grows is as long as its entry says.
pub(crate) struct Reading {
    file: File,
    of: Waiting,
    left: u64,
    ended: bool,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.of.watch.check().map_err(io::Error::other)?;
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..most]);
        match &read {
            Ok(0) if !buffer.is_empty() && !self.ended => {
                self.ended = true;
                let stat = self.file.metadata()?;
                if self.left > 0 || modified(&stat) != self.of.modified {
                    self.of.report.changed(&self.of.path);
                }
            }
            Ok(bytes) => {
                self.left -= *bytes as u64;
                self.of.watch.advance(*bytes as u64);
            }
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                self.of.report.unread(&self.of.path, OpError::io(error, "not read").message);
            }
            Err(_) => {}
        }
        read
    }
}
