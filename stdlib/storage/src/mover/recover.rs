//! What a crash left: finished where the copy was verified, undone everywhere else.
//!
//! Nothing is believed but content: a copy is what has the hash that was noted, and an original is removed only when its
//! copy was read again and it is what was copied.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use hob_model::OpError;

use super::batch::above;
use super::intent::{Batch, Planned};
use super::manifest::Line;
use super::read::Pool;
use super::select::Found;
use super::walk::walk;
use super::{Fail, Moved, Mover, Skipped, Why, intent, manifest, place};
use crate::tier::{Kind, Lease};

/// Keeps other movers away from the target as long as it lives.
pub struct Session {
    _held: Box<dyn std::any::Any + Send>,
}

impl Mover<'_> {
    /// Makes the mover's own directories, and keeps other movers away once those that work there are done.
    ///
    /// # Errors
    /// When the directories cannot be made, or the gauge ends the waiting.
    pub fn begin(&mut self) -> Result<Session, OpError> {
        for dir in place::DIRS {
            let dir = Path::new(dir);
            match self.target.make_private_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(self.fault(self.target, dir, &error));
                }
                _ => {}
            }
        }
        self.sync_dir(self.target, Path::new(""))?;
        self.sync_dir(self.target, Path::new(place::DIR))?;
        let lock = Path::new(place::LOCK);
        loop {
            match self.target.lock(lock).map_err(|error| self.fault(self.target, lock, &error))? {
                Some(held) => return Ok(Session { _held: held }),
                None => self.gauge.wait()?,
            }
        }
    }

    /// Finishes or undoes what earlier calls left of moves from this source; gives what they had moved.
    ///
    /// # Errors
    /// When the work cannot go on.
    pub fn recover(&mut self) -> Result<Moved, OpError> {
        let mut moved = Moved::default();
        self.sweep(false)?;
        let dir = Path::new(place::INTENTS);
        let mut names = self.target.list(dir).map_err(|error| self.fault(self.target, dir, &error))?;
        names.sort_unstable();
        let mut others = false;
        for name in names {
            let at = dir.join(name);
            let content =
                self.target.open(&at).and_then(|source| manifest::content(&*source, intent::BYTES_MAX));
            let content = content.map_err(|error| self.fault(self.target, &at, &error))?;
            let batch = intent::parse(&content).map_err(|why| {
                let path = self.target.path().join(&at);
                OpError::failed(format!("{} cannot be read: {why}", path.display()))
                    .hint("let the hob that wrote it finish the move")
            })?;
            match batch {
                Some(batch) if batch.source != self.source.path() => others = true,
                Some(batch) => {
                    self.finish(&batch, &at, &mut moved)?;
                    self.target.remove(&at).map_err(|error| self.fault(self.target, &at, &error))?;
                }
                // Its beginning was not synced, so nothing was done.
                None => self.target.remove(&at).map_err(|error| self.fault(self.target, &at, &error))?,
            }
        }
        if !others {
            self.sweep(true)?; // what no intent knows
        }
        Ok(moved)
    }

    /// Removes directories without a name with all in them, or, with `files`, copies without a name as well.
    ///
    /// Such a directory holds copies when power was cut before its name was synced, and then their originals are still there.
    fn sweep(&mut self, files: bool) -> Result<(), OpError> {
        let dir = Path::new(place::NEW);
        let (swept, _) = walk(self.target, dir, self.gauge)?;
        for Found { path, meta } in swept.into_iter().rev() {
            let is_dir = meta.kind == Kind::Directory;
            if !files && !is_dir && path.parent() == Some(dir) {
                continue;
            }
            let removed = if is_dir { self.target.remove_dir(&path) } else { self.target.remove(&path) };
            removed.map_err(|error| self.fault(self.target, &path, &error))?;
        }
        Ok(())
    }

    fn finish(&mut self, batch: &Batch, intent: &Path, moved: &mut Moved) -> Result<(), OpError> {
        let stem = intent.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (mut lines, mut changed, mut emptied) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let mut named = Vec::new();
        for file in &batch.files {
            let unnamed = place::unnamed(&stem, file.number);
            let Some(hash) = &file.hash else {
                self.discard(&unnamed)?;
                continue;
            };
            match self.rename_all(file, hash, &unnamed, &mut changed) {
                Ok(true) => named.push((file, hash)),
                Ok(false) => {}
                Err(Fail::Skip(why, reason)) => skip(moved, file, why, &reason),
                Err(Fail::Stop(error)) => return Err(error),
            }
        }
        self.sync_dirs(self.target, &changed)?;
        for (file, hash) in named {
            match self.remove_all(file, hash, &mut emptied) {
                Ok(()) => {
                    lines.extend(file.names.iter().map(|name| self.line(file, hash, name)));
                    moved.names.extend(file.names.iter().cloned());
                    moved.bytes += file.size;
                }
                Err(Fail::Skip(why, reason)) => skip(moved, file, why, &reason),
                Err(Fail::Stop(error)) => return Err(error),
            }
        }
        self.sync_dirs(self.source, &emptied)?;
        self.write_manifest(mark_of(&stem), &lines)?; // its own effect tells of them when it is done again
        if self.prune {
            self.prune(&emptied);
        }
        Ok(())
    }

    fn line(&self, file: &Planned, hash: &str, name: &Path) -> Line {
        Line {
            path: intent::text(name),
            hash: hash.to_owned(),
            size: file.size,
            modified: file.modified,
            moved: self.now.clone(),
        }
    }

    /// Whether a file has the hash that was noted.
    fn holds(&mut self, in_target: bool, at: &Path, file: &Planned, hash: &str) -> Result<bool, OpError> {
        let tier = if in_target { self.target } else { self.source };
        let Ok(source) = tier.open(at) else { return Ok(false) };
        if source.meta().map_err(|error| self.fault(tier, at, &error))?.size != file.size {
            return Ok(false);
        }
        source.evict();
        match super::read::hash(&*source, file.size, self.gauge, &mut Pool::default()) {
            Ok(found) => Ok(found.to_hex().as_str() == hash),
            Err(Fail::Skip(..)) => Ok(false),
            Err(Fail::Stop(error)) => Err(error),
        }
    }

    /// Gives a verified copy all its names; `false` when there is no copy any more, because it had been undone.
    fn rename_all(
        &mut self,
        file: &Planned,
        hash: &str,
        unnamed: &Path,
        changed: &mut BTreeSet<PathBuf>,
    ) -> Result<bool, Fail> {
        // A power cut may have kept a later name and not the first one, so that the copy has names and is unnamed as well.
        let is_unnamed = self.target.stat(unnamed).is_ok();
        let mut holder = None;
        for at in is_unnamed.then_some(unnamed).into_iter().chain(file.names.iter().map(PathBuf::as_path)) {
            if holder.is_none() && self.holds(true, at, file, hash)? {
                holder = Some(at);
            }
        }
        if is_unnamed && holder != Some(unnamed) {
            self.discard(unnamed)?;
        }
        let Some(holder) = holder else { return Ok(false) };
        let inode = self.target.stat(holder).map_err(|error| self.fault(self.target, holder, &error))?.inode;
        let named = self.link_all(holder, &file.names, changed);
        if named.is_err() && file.names.iter().all(|name| self.source.stat(name).is_ok()) {
            for name in &file.names {
                if self.target.stat(name).is_ok_and(|meta| meta.inode == inode) {
                    self.discard(name)?;
                }
            }
        }
        self.discard(unnamed)?;
        named.map(|()| true)
    }

    /// Gives the file at `holder` those of its names that it lacks.
    fn link_all<'p>(
        &mut self,
        mut holder: &'p Path,
        names: &'p [PathBuf],
        changed: &mut BTreeSet<PathBuf>,
    ) -> Result<(), Fail> {
        let inode = self.target.stat(holder).map_err(|error| self.fault(self.target, holder, &error))?.inode;
        let mut is_unnamed = place::is_own(holder);
        for name in names {
            match self.target.stat(name) {
                Ok(meta) if meta.inode == inode => {}
                Ok(_) => {
                    return Err(Fail::Skip(Why::Taken, "something else got its name meanwhile".to_owned()));
                }
                Err(_) => {
                    self.make_parents(name, changed)?;
                    // Not all file systems know second names.
                    let named = if is_unnamed {
                        self.target.rename(holder, name)
                    } else {
                        self.target.link(holder, name)
                    };
                    named.map_err(|error| {
                        Fail::Skip(Why::Unkept, format!("its copy cannot get its name: {error}"))
                    })?;
                    (holder, is_unnamed) = (name, false);
                }
            }
            changed.extend(above(name));
        }
        Ok(())
    }

    /// Removes the originals that are still what was copied.
    fn remove_all(
        &mut self,
        file: &Planned,
        hash: &str,
        emptied: &mut BTreeSet<PathBuf>,
    ) -> Result<(), Fail> {
        for name in &file.names {
            // That it went may not be on the disk yet.
            emptied.extend(name.parent().map(Path::to_owned));
            let Ok(meta) = self.source.stat(name) else { continue };
            let same = (meta.inode, meta.size, meta.modified) == (file.inode, file.size, file.modified)
                || self.holds(false, name, file, hash)?;
            if !same {
                return Err(Fail::Skip(
                    Why::Growing,
                    "it changed after it was copied: both are kept".to_owned(),
                ));
            }
            let original =
                self.source.open(name).map_err(|error| self.skip_or_stop(self.source, name, &error))?;
            if original.lease(true) == Lease::Busy {
                return self.take_back(file);
            }
            self.source.remove(name).map_err(|error| self.fault(self.source, name, &error))?;
        }
        Ok(())
    }
}

impl Mover<'_> {
    /// Takes the names of a copy back whose original somebody has open, unless some of its names are gone already.
    fn take_back(&mut self, file: &Planned) -> Result<(), Fail> {
        let is_whole = |name: &PathBuf| self.source.stat(name).is_ok_and(|meta| meta.inode == file.inode);
        if !file.names.iter().all(is_whole) {
            return Err(Fail::Skip(
                Why::InUse,
                "it is open, and some of its names have moved: both are kept".to_owned(),
            ));
        }
        file.names.iter().try_for_each(|name| self.discard(name))?;
        Err(Fail::Skip(Why::InUse, "it is open".to_owned()))
    }
}

/// The mark in the stem of an intent, `MARK-NUMBER`.
fn mark_of(stem: &str) -> &str {
    stem.rsplit_once('-').map_or(stem, |(mark, _)| mark)
}

fn skip(moved: &mut Moved, file: &Planned, why: Why, reason: &str) {
    let skipped = |path: &PathBuf| Skipped { path: path.clone(), why, reason: reason.to_owned() };
    moved.skipped.extend(file.names.iter().map(skipped));
}
