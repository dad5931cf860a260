//! File systems of which hob knows more than what all of them have: their snapshots, and the errors that they counted.
//!
//! | module | holds |
//! |---|---|
//! | `api` | the operations |
//! | `btrfs`, `ext4`, `zfs` | one file system each: a new one is a file here and a line in [`KNOWN`] |

mod api;
mod btrfs;
mod ext4;
mod zfs;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hob_model::{ErrorKind, OpError, Timestamp, Value};
use hob_planner::Mounted;
use hob_primitive::Ctx;

use crate::roots;
use crate::tier::{Kind, Tiers};
use crate::tools::{Answer, Tools};

pub(crate) use api::primitive;

/// All that are known.
const KNOWN: [&dyn FileSystem; 3] = [&btrfs::Btrfs, &ext4::Ext4, &zfs::Zfs];

/// File systems that keep snapshots and are not known, and the programs that know them.
const OWN_TOOLS: [(&str, &str); 1] = [("bcachefs", "bcachefs")];

/// How long a program may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file system of which hob knows more than what all have.
trait FileSystem: Sync {
    /// What people call it.
    fn name(&self) -> &'static str;
    /// What the kernel calls it.
    fn types(&self) -> &'static [&'static str];
    /// The errors that it counted.
    fn health(&self, world: &World, holder: &Mounted) -> Result<Health, OpError>;
    /// Its snapshots, where it makes some.
    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }
}

/// What makes snapshots, and lets go of them.
trait Snapshots {
    /// Whether the snapshot that is wanted is there; fails when it cannot be made.
    fn present(&self, world: &World, wanted: &Wanted<'_>) -> Result<Option<Snapshot>, OpError>;
    /// Makes it; gives what tells it from all others.
    fn make(&self, world: &World, wanted: &Wanted<'_>) -> Result<Option<String>, OpError>;
    /// All of what is at `path`, in any order. Where several mounts show one, the mount that holds `near` is named.
    fn of(&self, world: &World, path: &Path, near: &Path) -> Result<Vec<Snapshot>, OpError>;
    /// The snapshot that is at `path`; `None` where nothing is, and fails where something else is.
    fn at(&self, world: &World, path: &Path) -> Result<Option<Snapshot>, OpError>;
    /// Lets go of the snapshot at `path`.
    fn remove(&self, world: &World, path: &Path) -> Result<(), OpError>;
}

/// A snapshot that is to be there.
struct Wanted<'p> {
    /// Of what.
    path: &'p Path,
    /// Where.
    to: &'p Path,
    read_only: bool,
}

/// A snapshot that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Snapshot {
    path: PathBuf,
    /// What tells it from all others.
    uuid: Option<String>,
    created: Option<Timestamp>,
    /// The file system's own count, which goes on when clocks are set back.
    generation: u64,
    read_only: bool,
}

/// What a file system knows of its state.
struct Health {
    /// What it says beside its counts, by the names in the result.
    more: Vec<(&'static str, Value)>,
    /// Whether all is well beside what it counted.
    sound: bool,
    devices: Vec<Device>,
}

/// A disk, or what stands for one, and what was counted there.
#[derive(Debug, PartialEq, Eq)]
struct Device {
    name: String,
    /// In the words of the file system, where it has some for that.
    state: Option<String>,
    counts: Vec<(String, i64)>,
}

impl Device {
    fn errors(&self) -> i64 {
        self.counts.iter().fold(0, |sum: i64, (_, count)| sum.saturating_add(*count))
    }
}

/// What is mounted now, and who can be asked.
struct World {
    tiers: Arc<dyn Tiers>,
    tools: Arc<dyn Tools>,
    mounted: Vec<Mounted>,
}

impl World {
    fn new(cx: &Ctx) -> Result<Self, OpError> {
        let (tiers, tools) = (cx.port::<dyn Tiers>()?, cx.port::<dyn Tools>()?);
        let mounted = tiers.mounted()?;
        Ok(Self { tiers, tools, mounted })
    }

    /// The file system that holds a path, and what hob knows of its kind.
    fn known(&self, path: &Path) -> Result<(&Mounted, &'static dyn FileSystem), OpError> {
        let holder = self.holder(path)?;
        let known = KNOWN.into_iter().find(|it| it.types().contains(&holder.fs_type.as_str()));
        known.map(|it| (holder, it)).ok_or_else(|| unsupported(path, &holder.fs_type))
    }

    /// The snapshots of the file system that holds a path.
    fn snapshots(&self, path: &Path) -> Result<&'static dyn Snapshots, OpError> {
        let (holder, known) = self.known(path)?;
        known.snapshots().ok_or_else(|| unsupported(path, &holder.fs_type))
    }

    fn holder(&self, path: &Path) -> Result<&Mounted, OpError> {
        roots::holder(&self.mounted, path)
            .ok_or_else(|| OpError::not_found(format!("no file system holds {}", path.display())))
    }

    /// What is at a path, links not followed; `None` where nothing is.
    fn what_is_at(&self, path: &Path) -> Result<Option<Kind>, OpError> {
        let told = |error: &std::io::Error| OpError::io(error, path.display()).nothing_happened();
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(Some(Kind::Directory)); // the root of all
        };
        // One that does not answer is told of, and keeps nobody.
        if !self.tiers.is_directory(parent, crate::PATIENCE)? {
            return Ok(None);
        }
        match self.tiers.open(parent).and_then(|parent| parent.stat(Path::new(name))) {
            Ok(meta) => Ok(Some(meta.kind)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(told(&error)),
        }
    }

    /// Has a program answer, which is in this package of Debian.
    fn run(&self, program: &str, package: &str, args: &[&str]) -> Result<Answer, OpError> {
        self.tools.run(program, args, PATIENCE).map_err(|error| match error.kind {
            ErrorKind::NotFound => error.hint(format!("install {package}")),
            _ => error,
        })
    }
}

fn no_snapshot(path: &Path) -> OpError {
    OpError::conflict(format!("{} is no snapshot", path.display()))
        .hint("storage::snapshots lists those of a subvolume or a dataset; nothing else is removed")
        .nothing_happened()
}

fn unsupported(path: &Path, fs_type: &str) -> OpError {
    let names = |all: &mut dyn Iterator<Item = &'static str>| all.collect::<Vec<_>>().join(", ");
    let own = OWN_TOOLS.iter().find(|(it, _)| *it == fs_type).map_or_else(
        || "for others process::run starts their own tools".to_owned(),
        |(_, tool)| format!("of {fs_type} its own program `{tool}` does: process::run starts it"),
    );
    let hint = format!(
        "hob makes snapshots of {}, and reads errors of {}; {own}",
        names(&mut KNOWN.iter().filter(|it| it.snapshots().is_some()).map(|it| it.name())),
        names(&mut KNOWN.iter().map(|it| it.name())),
    );
    OpError::invalid(format!("{} is on {fs_type}, of which hob knows nothing here", path.display()))
        .hint(hint)
        .nothing_happened()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_on_another_file_system_learns_what_knows_it() {
        let said = |fs_type| unsupported(Path::new("/srv"), fs_type).hint.unwrap_or_default();
        assert_eq!(
            said("xfs"),
            "hob makes snapshots of btrfs, ZFS, and reads errors of btrfs, ext4, ZFS; for others process::run starts their own tools"
        );
        assert!(
            said("bcachefs").ends_with("of bcachefs its own program `bcachefs` does: process::run starts it")
        );
    }
}
