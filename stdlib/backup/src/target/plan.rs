//! What restoring would change.

use std::collections::HashSet;
use std::fs::{self, Metadata as Stat};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use globset::{GlobSet, GlobSetBuilder};
use hob_model::{OpError, Value};
use rustic_core::repofile::{Node, NodeType, SnapshotFile};
use rustic_core::{DataId, LsOptions};
use sha2::{Digest as _, Sha256};

use super::{NAMED_MAX, Target};
use crate::source::exclude::glob;

/// The most entries that one call restores.
const ENTRIES_MAX: usize = 20_000_000;

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is not there.
    Create,
    /// Something else is there.
    Replace,
    /// It is there as it was.
    Keep,
}

/// One entry of a snapshot.
#[derive(Debug)]
pub(crate) struct Item {
    /// From the target's root on.
    pub(super) path: PathBuf,
    pub(super) node: Node,
    pub(crate) action: Action,
}

/// What restoring would change.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// In the order of the snapshot: directories before what is in them.
    pub(crate) items: Vec<Item>,
    /// What the snapshot does not have, from the target's root on.
    pub(super) removed: Vec<PathBuf>,
    /// Bytes of the files that are written.
    pub(crate) bytes: u64,
    /// As `bytes`, with what appears several times counted once: the least they take on a disk with sharing blocks or holes.
    pub(super) bytes_stored: u64,
    dry: bool,
}

impl Plan {
    pub(crate) fn dry(mut self) -> Self {
        self.dry = true;
        self
    }

    fn count(&self, action: Action) -> usize {
        self.items.iter().filter(|item| item.action == action).count()
    }

    /// What a result says.
    pub(super) fn told(&self, kept_not: &Value) -> Value {
        let text = |path: &Path| Value::from(path.to_string_lossy().into_owned());
        let named = |action| {
            let fitting = self.items.iter().filter(|item| item.action == action);
            Value::Array(fitting.take(NAMED_MAX).map(|item| text(&item.path)).collect())
        };
        let removed = self.removed.iter().take(NAMED_MAX).map(|path| text(path));
        Value::map([
            ("created", Value::from(self.count(Action::Create))),
            ("replaced", Value::from(self.count(Action::Replace))),
            ("unchanged", Value::from(self.count(Action::Keep))),
            ("removed", Value::from(self.removed.len())),
            ("files", Value::from(self.items.iter().filter(|item| item.node.is_file()).count())),
            ("bytes", Value::from(self.bytes)),
            (
                "paths",
                Value::map([
                    ("create", named(Action::Create)),
                    ("replace", named(Action::Replace)),
                    ("remove", Value::Array(removed.collect())),
                ]),
            ),
            ("kept_not", kept_not.clone()),
            ("planned", Value::from(self.dry)),
        ])
    }

    /// What a result says of a plan that is not carried out.
    pub(crate) fn told_dry(self) -> Value {
        self.dry().told(&Value::Array(Vec::new()))
    }
}

/// Which entries are restored.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Filter {
    /// Reads patterns: those without a slash fit names, others paths from the root of what is restored.
    ///
    /// # Errors
    /// `invalid` for what is no pattern.
    pub(crate) fn new(include: Option<&[String]>, exclude: &[String]) -> Result<Self, OpError> {
        let set = |patterns: &[String]| {
            let mut all = GlobSetBuilder::new();
            for pattern in patterns {
                let plain = pattern.trim_start_matches('/');
                let deep = if pattern.contains('/') { plain.to_owned() } else { format!("**/{plain}") };
                all.add(glob(&deep)?);
            }
            all.build().map_err(|error| OpError::invalid(error.to_string()))
        };
        Ok(Self { include: include.map(set).transpose()?, exclude: set(exclude)? })
    }

    fn takes(&self, path: &Path) -> bool {
        let fits = |set: &GlobSet| path.ancestors().any(|it| set.is_match(it));
        !fits(&self.exclude) && self.include.as_ref().is_none_or(fits)
    }

    fn is_whole(&self) -> bool {
        self.include.is_none() && self.exclude.is_empty()
    }
}

/// Whether a path of a repository stays below where it is restored.
fn is_safe(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// What restoring `at`, a path of the snapshot, would change.
///
/// # Errors
/// `not_found` when the snapshot has no such path, `failed` when the repository is damaged.
pub(crate) fn plan(
    target: &Target<'_>,
    snapshot: &SnapshotFile,
    at: &str,
    filter: &Filter,
) -> Result<Plan, OpError> {
    let explain = |error: Box<rustic_core::RusticError>| target.session.explain(&error);
    let start =
        target.repo.node_from_snapshot_and_path(snapshot, at).map_err(|error| match error.display_log() {
            text if text.contains("not found") || text.contains("not a directory") => {
                OpError::not_found(format!("the snapshot has no {at}"))
                    .hint("its paths are those of the machine that made it: `backup::snapshots` shows them")
            }
            _ => explain(error),
        })?;
    let mut found = Vec::new();
    if start.is_dir() {
        for entry in target.repo.ls(&start, &LsOptions::default()).map_err(explain)? {
            target.session.watch.check()?;
            let (path, node) = entry.map_err(explain)?;
            if !is_safe(&path) {
                return Err(OpError::failed(format!("the repository has the path {}", path.display()))
                    .hint("it would lie elsewhere: whoever wrote that snapshot wants no good"));
            }
            if found.len() >= ENTRIES_MAX {
                return Err(OpError::invalid(format!("more than {ENTRIES_MAX} entries"))
                    .hint("restore parts of it, with `path`"));
            }
            found.push((path, node));
        }
        keep_wanted(&mut found, filter);
    } else {
        found.push((PathBuf::from(start.name().into_owned()), start));
    }
    let mut plan = Plan::default();
    let mut stored: HashSet<DataId> = HashSet::new();
    for (path, node) in found {
        target.session.watch.check()?;
        let action = target.action(&target.root.join(&path), &node)?;
        if action != Action::Keep && node.is_file() {
            for id in node.content.iter().flatten() {
                let bytes = u64::from(target.repo.get_index_entry(id).map_err(explain)?.data_length());
                plan.bytes += bytes;
                plan.bytes_stored += if stored.insert(*id) { bytes } else { 0 };
            }
        }
        plan.items.push(Item { path, node, action });
    }
    if target.manner.delete && filter.is_whole() {
        plan.removed = target.additional(&plan.items)?;
    }
    Ok(plan)
}

/// Keeps what the filter takes, and the directories that it is in.
fn keep_wanted(found: &mut Vec<(PathBuf, Node)>, filter: &Filter) {
    let taken: Vec<bool> = found.iter().map(|(path, _)| filter.takes(path)).collect();
    let above: HashSet<PathBuf> = found
        .iter()
        .zip(&taken)
        .filter(|(_, taken)| **taken)
        .flat_map(|((path, _), _)| path.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>())
        .collect();
    let mut taken = taken.into_iter();
    found.retain(|(path, _)| taken.next().unwrap_or_default() || above.contains(path));
}

impl Target<'_> {
    /// What becomes of an entry, by what is there now.
    fn action(&self, path: &Path, node: &Node) -> Result<Action, OpError> {
        let stat = match fs::symlink_metadata(path) {
            Ok(stat) => stat,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Action::Create);
            }
            Err(error) => return Err(OpError::io(&error, path.display())),
        };
        let kind = stat.file_type();
        let same = match &node.node_type {
            NodeType::Dir => kind.is_dir(),
            NodeType::File => kind.is_file() && self.is_same_file(path, node, &stat)?,
            link @ NodeType::Symlink { .. } => {
                kind.is_symlink() && fs::read_link(path).is_ok_and(|to| to == link.to_link())
            }
            NodeType::Fifo => kind.is_fifo(),
            NodeType::Socket => kind.is_socket(),
            NodeType::Dev { device } => kind.is_block_device() && stat.rdev() == *device,
            NodeType::Chardev { device } => kind.is_char_device() && stat.rdev() == *device,
        };
        Ok(if same { Action::Keep } else { Action::Replace })
    }

    fn is_same_file(&self, path: &Path, node: &Node, stat: &Stat) -> Result<bool, OpError> {
        let as_it_was = node.meta.mtime.is_some_and(|time| {
            time.as_second() == stat.mtime() && i64::from(time.subsec_nanosecond()) == stat.mtime_nsec()
        });
        if stat.len() != node.meta.size || !(as_it_was || self.manner.thorough) {
            return Ok(false);
        }
        if !self.manner.thorough { Ok(true) } else { self.has_content(path, node) }
    }

    /// Whether a file's bytes are those of the snapshot, by their hashes.
    pub(super) fn has_content(&self, path: &Path, node: &Node) -> Result<bool, OpError> {
        let read = |error: io::Error| OpError::io(&error, path.display());
        let mut file = fs::File::open(path).map_err(read)?;
        for id in node.content.iter().flatten() {
            self.session.watch.check()?;
            let entry = self.repo.get_index_entry(id).map_err(|error| self.session.explain(&error))?;
            let mut part = vec![0; entry.data_length() as usize];
            match file.read_exact(&mut part) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                other => other.map_err(read)?,
            }
            if !is_part(id, &part) {
                return Ok(false);
            }
        }
        Ok(file.read(&mut [0]).map_err(read)? == 0)
    }

    /// What is below the directories of the snapshot and not in it.
    fn additional(&self, items: &[Item]) -> Result<Vec<PathBuf>, OpError> {
        let wanted: HashSet<&Path> = items.iter().map(|item| item.path.as_path()).collect();
        let directories = items.iter().filter(|it| it.node.is_dir() && it.action == Action::Keep);
        let mut additional = Vec::new();
        for below in directories.map(|item| item.path.as_path()).chain([Path::new("")]) {
            let directory = self.root.join(below);
            let entries = match fs::read_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(|error| OpError::io(&error, directory.display()))?,
            };
            for entry in entries {
                let entry = entry.map_err(|error| OpError::io(&error, directory.display()))?;
                let path = below.join(entry.file_name());
                if !wanted.contains(path.as_path()) {
                    additional.push(path);
                }
            }
        }
        additional.sort();
        Ok(additional)
    }
}

/// Whether `part` has the hash that names it.
pub(super) fn is_part(id: &DataId, part: &[u8]) -> bool {
    let hash: String = Sha256::digest(part).iter().map(|byte| format!("{byte:02x}")).collect();
    id.to_hex().as_str() == hash
}
