//! Which files are to be moved: pure, from what a walk found.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use hob_model::OpError;

use super::{Skipped, Why, place};
use crate::tier::{Kind, Meta, Time};

/// The most patterns in one list.
const PATTERNS_MAX: usize = 1000;

/// The longest pattern.
const PATTERN_BYTES_MAX: usize = 4096;

/// How programs call files that are not whole yet.
const UNFINISHED: [&str; 9] =
    ["part", "partial", "crdownload", "download", "aria2", "!qB", "!ut", "!bt", "unfinished"];

/// Something that a walk found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its path from the root of the tier.
    pub path: PathBuf,
    /// What is known about it.
    pub meta: Meta,
}

/// A file with all its names.
#[derive(Clone, Debug)]
pub struct Group {
    /// The names, from the root of the tier; never empty.
    pub names: Vec<PathBuf>,
    /// What is known about it.
    pub meta: Meta,
}

/// What is to be moved.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Only what matches one of these; empty for all.
    pub include: Option<GlobSet>,
    /// Not what matches one of these.
    pub exclude: Option<GlobSet>,
    /// Only what has not changed for so long.
    pub age: Duration,
    /// What changed within this time is still growing.
    pub settle: Duration,
    /// Only files of this size and more, in bytes.
    pub bytes_min: u64,
    /// What somebody says is in use: files, or directories with all in them.
    pub busy: Vec<PathBuf>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// What is to be moved, the oldest first.
    pub groups: Vec<Group>,
    /// What would be moved but for a reason.
    pub skipped: Vec<Skipped>,
    /// How many files are too young or too small.
    pub not_due: u64,
}

/// Compiles patterns; one without a slash fits at every depth.
///
/// # Errors
/// When one is no pattern, or there are too many.
pub fn patterns(all: &[String]) -> Result<Option<GlobSet>, OpError> {
    if all.len() > PATTERNS_MAX {
        return Err(OpError::invalid(format!("more than {PATTERNS_MAX} patterns")));
    }
    let bad = |error: globset::Error| OpError::invalid(format!("the pattern {error}"));
    let mut set = GlobSetBuilder::new();
    for text in all {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(OpError::invalid(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes")));
        }
        let anchored = match text.strip_prefix('/') {
            Some(rest) => rest.to_owned(),
            None if text.trim_end_matches('/').contains('/') => text.clone(),
            None => format!("**/{text}"),
        };
        let whole = anchored.trim_end_matches('/');
        // A pattern of a directory means all in it.
        for pattern in [whole.to_owned(), format!("{whole}/**")] {
            let glob = GlobBuilder::new(&pattern).literal_separator(true).backslash_escape(true).build();
            set.add(glob.map_err(bad)?);
        }
    }
    if all.is_empty() { Ok(None) } else { Ok(Some(set.build().map_err(bad)?)) }
}

impl Rules {
    fn takes(&self, path: &Path) -> bool {
        self.include.as_ref().is_none_or(|it| it.is_match(path))
            && !self.exclude.as_ref().is_some_and(|it| it.is_match(path))
    }

    /// Sorts what was found into what is to be moved and what is not, by the time `now` and the files that are `open`.
    #[must_use]
    pub fn select(&self, found: &[Found], open: &HashSet<(u64, u64)>, now: Time) -> Selection {
        let mut selection = Selection::default();
        let mut files: BTreeMap<(u64, u64), Group> = BTreeMap::new();
        for Found { path, meta } in found.iter().filter(|it| !place::is_own(&it.path)) {
            match meta.kind {
                Kind::Directory => {}
                Kind::File => files
                    .entry((meta.device, meta.inode))
                    .or_insert_with(|| Group { names: Vec::new(), meta: *meta })
                    .names
                    .push(path.clone()),
                Kind::Other(what) if self.takes(path) => {
                    selection.skipped.push(Skipped {
                        path: path.clone(),
                        why: Why::NoFile,
                        reason: format!("it is {what}"),
                    });
                }
                Kind::Other(_) => {}
            }
        }
        for (identity, group) in files {
            let taken = group.names.iter().filter(|name| self.takes(name)).count();
            if taken == 0 {
                continue;
            }
            if since(group.meta.modified, now) < self.age || group.meta.size < self.bytes_min {
                selection.not_due += group.names.len() as u64;
                continue;
            }
            match self.objection(&group, taken, open.contains(&identity), now) {
                None => selection.groups.push(group),
                Some((why, reason)) => {
                    let skipped = |path: PathBuf| Skipped { path, why, reason: reason.clone() };
                    selection.skipped.extend(group.names.into_iter().map(skipped));
                }
            }
        }
        selection.groups.sort_by(|a, b| (a.meta.modified, &a.names).cmp(&(b.meta.modified, &b.names)));
        selection.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        selection
    }

    /// Why a file that is due is not to be moved.
    fn objection(&self, group: &Group, taken: usize, is_open: bool, now: Time) -> Option<(Why, String)> {
        let known = group.names.len() as u64;
        if group.meta.links > known {
            let more = group.meta.links - known;
            let reason = format!("{more} more of its names (hard links) are outside of what is moved");
            return Some((Why::Linked, reason));
        }
        if taken < group.names.len() {
            return Some((Why::Linked, "another of its names (hard links) is not to be moved".to_owned()));
        }
        if is_open {
            return Some((Why::InUse, "it is open".to_owned()));
        }
        if since(group.meta.modified, now) < self.settle {
            return Some((Why::Growing, "it changed a moment ago: it may still grow".to_owned()));
        }
        if self.busy.iter().any(|busy| group.names.iter().any(|name| name.starts_with(busy))) {
            return Some((Why::InUse, "it is in use, as `busy` says".to_owned()));
        }
        let ending =
            |name: &PathBuf| name.extension().is_some_and(|it| UNFINISHED.iter().any(|un| *un == it));
        group
            .names
            .iter()
            .any(ending)
            .then(|| (Why::Growing, "its name says that it is not finished".to_owned()))
    }
}

/// How long ago; nothing for what lies ahead, which a clock that was set back makes of the past.
pub(crate) fn since(then: Time, now: Time) -> Duration {
    let nanos = |time: Time| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    let nanos = u128::try_from(nanos(now) - nanos(then)).unwrap_or_default();
    u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
}

/// The first of these files that together take `bytes` on the disk.
#[must_use]
pub fn enough(groups: Vec<Group>, bytes: u64) -> Vec<Group> {
    let mut left = bytes;
    let mut take = |group: &Group| {
        let wanted = left > 0;
        left = left.saturating_sub(group.meta.allocated);
        wanted
    };
    groups.into_iter().take_while(|group| take(group)).collect()
}

/// The first of these files, `names_max` names and `bytes_max` bytes at most; the first one in any case, or one that is larger
/// would hold up all others for ever.
#[must_use]
pub fn within(groups: Vec<Group>, names_max: u64, bytes_max: u64) -> Vec<Group> {
    let (mut names, mut bytes) = (0_u64, 0_u64);
    let mut fits = |group: &Group| {
        let first = names == 0;
        names += group.names.len() as u64;
        bytes = bytes.saturating_add(group.meta.size);
        first || names <= names_max && bytes <= bytes_max
    };
    groups.into_iter().take_while(|group| fits(group)).collect()
}

/// How many bytes have to go so that `used` per cent become `low`.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
pub fn surplus(space: &crate::tier::Space, low: f64) -> u64 {
    let reachable = space.bytes_used() + space.bytes_available;
    space.bytes_used().saturating_sub((reachable as f64 * low / 100.0) as u64)
}
