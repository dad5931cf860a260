//! Which files of a unit were changed, and when.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use rustix::time::{ClockId, clock_gettime};

use super::disk::Disk;
use crate::port::Edit;
use hob_model::Timestamp;

/// The files of a unit that were changed since the machine started. Its clock may have been wrong before.
pub(super) fn edits(disk: &Disk, unit: &str) -> Vec<Edit> {
    let up = clock_gettime(ClockId::Boottime);
    let started = Timestamp::now().checked_sub(SignedDuration::new(up.tv_sec, 0)).unwrap_or(Timestamp::MIN);
    let edit = |path: PathBuf| {
        let at = changed(&path).filter(|at| *at > started)?;
        Some(Edit { path: disk.inside(&path), at })
    };
    files(disk, unit).into_iter().filter_map(edit).collect()
}

/// The file of a unit and its drop-ins. Of those with one name systemd reads the first.
fn files(disk: &Disk, unit: &str) -> Vec<PathBuf> {
    let names: Vec<String> = [Some(unit.to_owned()), template(unit)].into_iter().flatten().collect();
    let dirs = disk.search();
    let places = names.iter().flat_map(|name| dirs.iter().map(move |dir| dir.join(name)));
    let mut files: Vec<PathBuf> = places.filter(|it| is_there(it)).take(1).collect();
    let mut read: BTreeSet<OsString> = BTreeSet::new();
    for dir in names.iter().flat_map(|name| dirs.iter().map(move |dir| dir.join(format!("{name}.d")))) {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut drop_ins: Vec<PathBuf> =
            entries.filter(|it| it.extension() == Some("conf".as_ref())).collect();
        drop_ins.sort();
        let is_first = |it: &PathBuf| it.file_name().is_some_and(|name| read.insert(name.to_owned()));
        files.extend(drop_ins.into_iter().filter(is_first));
    }
    files
}

/// `name@.service` of `name@instance.service`.
fn template(unit: &str) -> Option<String> {
    let (name, instance) = unit.split_once('@')?;
    let (_, kind) = instance.rsplit_once('.')?;
    Some(format!("{name}@.{kind}"))
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// When a file came to its place as it is, also one that kept the time of what it was copied from; for a link also when
/// what it points to was written.
fn changed(path: &Path) -> Option<Timestamp> {
    let placed = |it: Metadata| time(it.ctime(), it.ctime_nsec());
    let written = |it: Metadata| time(it.mtime(), it.mtime_nsec());
    let itself = fs::symlink_metadata(path).ok().and_then(placed);
    let target = fs::metadata(path).ok().filter(Metadata::is_file).and_then(written);
    itself.max(target)
}

fn time(seconds: i64, nanoseconds: i64) -> Option<Timestamp> {
    Timestamp::new(seconds, i32::try_from(nanoseconds).ok()?).ok()
}
