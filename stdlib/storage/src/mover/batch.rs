//! The steps of a batch, in the order that keeps every file safe.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use hob_model::OpError;

use super::copy::{Copy, is_same};
use super::gone::Gone;
use super::manifest::Line;
use super::read::Pool;
use super::select::Group;
use super::verify::Batch;
use super::{Fail, Moved, Mover, Skipped, Why, intent, manifest, place};
use crate::tier::{Lease, Meta, Tier};

/// The most files of a batch: they are recognisable as one only after a crash.
const FILES_MAX: usize = 4096;

/// The most bytes of a batch as a rule, but for a larger file, which is one alone.
pub const BATCH_BYTES: u64 = 128 << 20;

/// Up to so many files or directories are synced one by one; beyond, the whole file system is.
pub(super) const SYNC_EACH_MAX: usize = 8;

impl Mover<'_> {
    /// Cuts into batches.
    fn batches<'g>(&self, groups: &'g [Group]) -> Vec<&'g [Group]> {
        let (mut batches, mut begin, mut bytes) = (Vec::new(), 0, 0_u64);
        for (at, group) in groups.iter().enumerate() {
            bytes = bytes.saturating_add(group.meta.size);
            if at > begin && (bytes > self.batch_bytes || at - begin >= FILES_MAX) {
                batches.push(&groups[begin..at]);
                (begin, bytes) = (at, group.meta.size);
            }
        }
        batches.extend((begin < groups.len()).then(|| &groups[begin..]));
        batches
    }

    /// Moves these files; [`Mover::recover`] has finished or undone what an earlier call left.
    ///
    /// While one batch is copied, the one before it is read again from the disk; while that one is given its names, this one is.
    ///
    /// # Errors
    /// When the work cannot go on; what was moved until then stays moved, and the rest where it was.
    pub fn run(&mut self, groups: &[Group], enough: &mut dyn FnMut() -> bool) -> Result<Moved, OpError> {
        let mut moved = Moved::default();
        let (mut pool, mut gone) = (Pool::default(), Gone::default());
        std::thread::scope(|scope| {
            let mut before: Option<Batch<'_, '_>> = None;
            for (number, groups) in self.batches(groups).into_iter().enumerate() {
                if enough() {
                    break;
                }
                let begun = self.begin_batch(groups, number, &mut pool, &mut moved).map(|(stem, copies)| {
                    Batch::verify(scope, self.target, self.all_attributes, groups, stem, copies)
                });
                // Also when this one failed: the one before it is whole.
                let finished =
                    before.take().map_or(Ok(()), |batch| self.end_batch(batch, &mut gone, &mut moved));
                before = match (begun, finished) {
                    (Ok(batch), Ok(())) => Some(batch),
                    (Ok(batch), Err(error)) => {
                        let stem = batch.stem.clone();
                        return Err(self.undo(&stem, &batch.give_up(), error));
                    }
                    (Err(error), _) => return Err(error),
                };
            }
            before.map_or(Ok(()), |batch| self.end_batch(batch, &mut gone, &mut moved))
        })?;
        Ok(moved)
    }

    /// Writes the intent of a batch and copies its files.
    fn begin_batch(
        &mut self,
        groups: &[Group],
        number: usize,
        pool: &mut Pool,
        moved: &mut Moved,
    ) -> Result<(String, Vec<Copy>), OpError> {
        self.check_tiers()?;
        let stem = format!("{}-{number}", self.mark);
        self.write(&place::intent(&stem), &intent::begin(self.source.path(), groups))?;
        self.sync_dir(self.target, Path::new(place::INTENTS))?;
        let mut copies = Vec::new();
        match self.copy_all(groups, &stem, &mut copies, pool, moved) {
            Ok(()) => Ok((stem, copies)),
            Err(error) => Err(self.undo(&stem, &copies, error)),
        }
    }

    /// Takes back copies that have no names yet. What cannot be undone now, the next call undoes: the intent is still there.
    fn undo(&self, stem: &str, copies: &[Copy], error: OpError) -> OpError {
        let undone = copies.iter().try_for_each(|copy| self.discard(&copy.unnamed));
        match undone.is_ok() && self.target.remove(&place::intent(stem)).is_ok() {
            true => error,
            false => error.hint("the next call undoes what this one left unfinished"),
        }
    }

    /// Waits until a batch is verified, gives its copies their names and removes the originals.
    fn end_batch(&mut self, batch: Batch<'_, '_>, gone: &mut Gone, moved: &mut Moved) -> Result<(), OpError> {
        let (groups, stem) = (batch.groups, batch.stem.clone());
        let (mut copies, verified) = batch.wait(self.gauge);
        let mut verified = verified.into_iter();
        let checked = self.each(groups, &mut copies, moved, |it, _, copy| {
            let verified = verified
                .next()
                .unwrap_or_else(|| Err(Fail::Skip(Why::Unread, "it was not verified".to_owned())));
            verified.map_err(|fail| match it.discard(&copy.unnamed) {
                Ok(()) => fail,
                Err(error) => Fail::Stop(error),
            })
        });
        if let Err(error) = checked {
            return Err(self.undo(&stem, &copies, error));
        }
        let intent = place::intent(&stem);
        if !copies.is_empty() {
            self.give_over(groups, copies, &intent, gone, moved)?;
        }
        self.target.remove(&intent).map_err(|error| self.fault(self.target, &intent, &error))
    }

    /// Notes that copies are verified, gives them their names and removes the originals.
    fn give_over(
        &mut self,
        groups: &[Group],
        mut copies: Vec<Copy>,
        intent: &Path,
        gone: &mut Gone,
        moved: &mut Moved,
    ) -> Result<(), OpError> {
        let hashes: Vec<(usize, String)> =
            copies.iter().map(|copy| (copy.number, copy.hash.to_hex().to_string())).collect();
        self.write(intent, &intent::verified(hashes.iter().map(|(number, hash)| (*number, hash.as_str()))))?;
        let mut changed = BTreeSet::new();
        self.each(groups, &mut copies, moved, |it, group, copy| {
            it.name(&copy.unnamed, &group.names, &mut changed)
        })?;
        self.sync_dirs(self.target, &changed)?;
        let (mut emptied, mut undone) = (BTreeSet::new(), BTreeSet::new());
        self.each(groups, &mut copies, moved, |it, group, copy| {
            it.release(group, copy, gone, (&mut emptied, &mut undone))
        })?;
        self.sync_dirs(self.source, &emptied)?;
        self.sync_dirs(self.target, &undone)?;
        self.note(groups, &copies, moved)?;
        if self.prune {
            self.prune(&emptied);
        }
        Ok(())
    }

    fn copy_all(
        &mut self,
        groups: &[Group],
        stem: &str,
        copies: &mut Vec<Copy>,
        pool: &mut Pool,
        moved: &mut Moved,
    ) -> Result<(), OpError> {
        for (number, group) in groups.iter().enumerate() {
            self.gauge.check()?;
            match self.copy(group, place::unnamed(stem, number), number, pool) {
                Ok(copy) => copies.push(copy),
                Err(Fail::Skip(why, reason)) => skip(moved, group, why, &reason),
                Err(Fail::Stop(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Does a step for each copy; those for which it fails are dropped, with the reason.
    fn each(
        &mut self,
        groups: &[Group],
        copies: &mut Vec<Copy>,
        moved: &mut Moved,
        mut step: impl FnMut(&mut Self, &Group, &Copy) -> Result<(), Fail>,
    ) -> Result<(), OpError> {
        let mut failed = HashSet::new();
        for copy in &*copies {
            match step(self, &groups[copy.number], copy) {
                Ok(()) => {}
                Err(Fail::Skip(why, reason)) => {
                    skip(moved, &groups[copy.number], why, &reason);
                    failed.insert(copy.number);
                }
                Err(Fail::Stop(error)) => return Err(error),
            }
        }
        copies.retain(|copy| !failed.contains(&copy.number));
        Ok(())
    }

    /// Gives a copy its names, all or none; `changed` gets the directories that are to be synced.
    pub(crate) fn name(
        &mut self,
        unnamed: &Path,
        names: &[PathBuf],
        changed: &mut BTreeSet<PathBuf>,
    ) -> Result<(), Fail> {
        let mut holder = unnamed;
        for (at, name) in names.iter().enumerate() {
            let given = self.make_parents(name, changed).and_then(|()| {
                let given =
                    if at == 0 { self.target.rename(holder, name) } else { self.target.link(holder, name) };
                given.map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => {
                        Fail::Skip(Why::Taken, "something is there already".to_owned())
                    }
                    _ => Fail::Skip(Why::Unkept, format!("its copy cannot get its name: {error}")),
                })
            });
            if let Err(fail) = given {
                self.discard(unnamed)?;
                names[..at].iter().try_for_each(|name| self.discard(name))?;
                return Err(fail);
            }
            changed.extend(above(name));
            holder = &names[0];
        }
        Ok(())
    }

    /// Makes the directories above `name` that the target lacks, each like the one in the source.
    pub(crate) fn make_parents(&mut self, name: &Path, changed: &mut BTreeSet<PathBuf>) -> Result<(), Fail> {
        let above: Vec<&Path> = name.ancestors().skip(1).filter(|it| !it.as_os_str().is_empty()).collect();
        for dir in above.into_iter().rev() {
            if changed.contains(dir) {
                continue;
            }
            match self.target.stat(dir) {
                Ok(_) => continue, // what is no directory shows when the name is given
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.skip_or_stop(self.target, dir, &error)),
            }
            let like = self.source.stat(dir).and_then(|meta| Ok((meta, self.source.attributes(dir)?)));
            let (meta, attributes) = like.map_err(|error| self.skip_or_stop(self.source, dir, &error))?;
            let unnamed = Path::new(place::NEW).join(format!("{}-dir", self.mark));
            drop(self.target.remove_dir(&unnamed)); // what a crash left
            let made = self.target.make_dir(&unnamed, &meta, &attributes, self.all_attributes);
            let made = made.and_then(|()| self.target.rename(&unnamed, dir));
            if let Err(error) = made {
                drop(self.target.remove_dir(&unnamed));
                if error.kind() == io::ErrorKind::AlreadyExists {
                    continue; // somebody was quicker
                }
                let what = dir.display();
                return Err(Fail::Skip(
                    Why::Unkept,
                    format!("the target cannot have the directory {what}: {error}"),
                ));
            }
            changed.insert(dir.to_owned());
        }
        Ok(())
    }

    /// Removes an original whose copy has its names for good, or takes the names back where it changed or is open.
    fn release(
        &mut self,
        group: &Group,
        copy: &Copy,
        gone: &mut Gone,
        (emptied, undone): (&mut BTreeSet<PathBuf>, &mut BTreeSet<PathBuf>),
    ) -> Result<(), Fail> {
        let objection = match self.source.open(&group.names[0]) {
            Err(error) => Some((Why::Growing, format!("it went away: {error}"))),
            Ok(original) => match (original.meta(), original.lease(true)) {
                (Ok(_), Lease::Busy) => Some((Why::InUse, "it was opened while it was moved".to_owned())),
                (Ok(now), _) if is_same(&copy.meta, &now) && self.has_names(group, &now) => {
                    for name in &group.names {
                        self.source.remove(name).map_err(|error| self.fault(self.source, name, &error))?;
                        emptied.extend(name.parent().map(Path::to_owned));
                    }
                    gone.let_go(original, now.size);
                    None
                }
                _ => Some((Why::Growing, "it changed while it was moved".to_owned())),
            },
        };
        let Some((why, reason)) = objection else { return Ok(()) };
        for name in &group.names {
            self.discard(name)?;
            undone.extend(name.parent().map(Path::to_owned));
        }
        Err(Fail::Skip(why, reason))
    }

    fn has_names(&self, group: &Group, meta: &Meta) -> bool {
        let is_it = |name: &PathBuf| {
            self.source.stat(name).is_ok_and(|it| (it.device, it.inode) == (meta.device, meta.inode))
        };
        group.names.iter().all(is_it)
    }

    fn note(&mut self, groups: &[Group], copies: &[Copy], moved: &mut Moved) -> Result<(), OpError> {
        let mut lines = Vec::new();
        for copy in copies {
            let group = &groups[copy.number];
            lines.extend(group.names.iter().map(|name| Line {
                path: intent::text(name),
                hash: copy.hash.to_hex().to_string(),
                size: copy.meta.size,
                modified: copy.meta.modified,
                moved: self.now.clone(),
            }));
            moved.names.extend(group.names.iter().cloned());
            moved.bytes += copy.meta.size;
        }
        self.write_manifest(&self.mark, &lines)
    }

    /// Notes files in the manifest of the effect that moved them, or had begun to.
    pub(crate) fn write_manifest(&self, mark: &str, lines: &[Line]) -> Result<(), OpError> {
        if lines.is_empty() {
            return Ok(());
        }
        self.write(&manifest::at(mark), &manifest::lines(lines))?;
        self.sync_dir(self.target, Path::new(place::MANIFESTS))
    }

    fn write(&self, at: &Path, lines: &str) -> Result<(), OpError> {
        self.target.append(at, lines.as_bytes()).map_err(|error| self.fault(self.target, at, &error))
    }

    pub(crate) fn sync_dir(&self, tier: &dyn Tier, at: &Path) -> Result<(), OpError> {
        match tier.sync_dir(at) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.fault(tier, at, &error)),
            _ => Ok(()), // somebody removed it: nothing of ours was in it any more
        }
    }

    pub(crate) fn sync_dirs(&self, tier: &dyn Tier, dirs: &BTreeSet<PathBuf>) -> Result<(), OpError> {
        if dirs.len() > SYNC_EACH_MAX {
            return tier.sync_all().map_err(|error| self.fault(tier, Path::new(""), &error));
        }
        dirs.iter().try_for_each(|dir| self.sync_dir(tier, dir))
    }

    /// Removes directories that moving left empty, from the innermost outwards.
    pub(crate) fn prune(&self, emptied: &BTreeSet<PathBuf>) {
        for dir in emptied.iter().rev() {
            let inner = dir.ancestors().take_while(|it| it.starts_with(&self.below) && **it != *self.below);
            for dir in inner {
                if self.source.remove_dir(dir).is_err() {
                    break; // something is in it
                }
            }
        }
    }
}

/// The directories above a name: it is there for good when all of them are synced, whoever made them.
pub(crate) fn above(name: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    name.ancestors().skip(1).map(Path::to_owned)
}

fn skip(moved: &mut Moved, group: &Group, why: Why, reason: &str) {
    let skipped = |path: &PathBuf| Skipped { path: path.clone(), why, reason: reason.to_owned() };
    moved.skipped.extend(group.names.iter().map(skipped));
}
