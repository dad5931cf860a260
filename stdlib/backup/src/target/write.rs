//! Carries out what was planned.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use hob_model::{Digest, OpError};
use rustic_core::BlobId;
use rustic_core::repofile::{BlobType, Node, NodeType};
use rustix::fs::{AtFlags, CWD, FileType, Mode, linkat, mknodat};

use super::attributes::set_attributes;
use super::plan::{Item, is_part};
use super::{Action, Plan, Target, Troubles};

/// Files that are written at the same time.
const WRITERS: usize = 4;

/// Runs of zeros of this length become holes, in bytes.
const HOLE_BYTES: usize = 64 << 10;

/// How the names of files end that are not whole yet.
const UNFINISHED: &str = ".hob-restore";

/// Where a file is written before it takes its place. The next restore of the same file begins there again.
fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    path.with_file_name(format!(".{}{UNFINISHED}", Digest::of(name).short()))
}

impl Target<'_> {
    /// Writes all that the plan says.
    pub(super) fn write(&self, plan: &Plan, troubles: &Mutex<Troubles>) -> Result<(), OpError> {
        let noted = |item: &Item, result: Result<(), OpError>| {
            if let Err(error) = result {
                troubles
                    .lock()
                    .expect("no code panics while holding this lock")
                    .failed(&item.path, error.message);
            }
        };
        for item in plan.items.iter().filter(|item| item.node.is_dir()) {
            self.session.watch.check()?;
            noted(item, self.make_directory(item));
        }
        let (files, links) = self.files(plan);
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..WRITERS.min(files.len()) {
                scope.spawn(|| {
                    while let Some(item) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if self.session.watch.check().is_err() {
                            return;
                        }
                        noted(item, self.write_file(item, troubles));
                    }
                });
            }
        });
        self.session.watch.check()?;
        for (item, first) in links {
            noted(item, self.link(item, first));
        }
        for item in plan.items.iter().filter(|item| item.node.is_special()) {
            noted(item, self.make_special(item, troubles));
        }
        for path in &plan.removed {
            let removed = remove(&self.root.join(path));
            if let Err(error) = removed {
                let reason = OpError::io(&error, "not removed").message;
                troubles.lock().expect("no code panics while holding this lock").failed(path, reason);
            }
        }
        // What is done in a directory changes its time, so the deepest come first.
        for item in plan.items.iter().rev().filter(|item| item.node.is_dir()) {
            set_attributes(&self.root.join(&item.path), &item.path, &item.node, self.manner.owners, troubles);
        }
        Ok(())
    }

    /// The files to look after, and names of files that are among them, with the path of the first name.
    fn files<'p>(&self, plan: &'p Plan) -> (Vec<&'p Item>, Vec<(&'p Item, &'p Path)>) {
        let mut first = BTreeMap::new();
        let (mut files, mut links) = (Vec::new(), Vec::new());
        for item in plan.items.iter().filter(|item| item.node.is_file()) {
            let meta = &item.node.meta;
            if meta.links > 1 && meta.inode != 0 {
                match first.entry((meta.device_id, meta.inode)) {
                    std::collections::btree_map::Entry::Occupied(path) => {
                        links.push((item, *path.get()));
                        continue;
                    }
                    std::collections::btree_map::Entry::Vacant(place) => {
                        place.insert(item.path.as_path());
                    }
                }
            }
            files.push(item);
        }
        (files, links)
    }

    fn make_directory(&self, item: &Item) -> Result<(), OpError> {
        let path = self.root.join(&item.path);
        let failed = |error: io::Error| OpError::io(&error, "not made");
        match item.action {
            Action::Keep => Ok(()),
            // A link to a directory is none: what is below it would lie elsewhere.
            Action::Replace => fs::remove_file(&path).and_then(|()| fs::create_dir(&path)).map_err(failed),
            Action::Create => match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other.map_err(failed),
            },
        }
    }

    fn write_file(&self, item: &Item, troubles: &Mutex<Troubles>) -> Result<(), OpError> {
        let path = self.root.join(&item.path);
        if item.action == Action::Keep {
            set_attributes(&path, &item.path, &item.node, self.manner.owners, troubles);
            return Ok(());
        }
        let new = unfinished(&path);
        let written = self.write_content(&new, &item.node).and_then(|()| {
            set_attributes(&new, &item.path, &item.node, self.manner.owners, troubles);
            self.clear(&path)?;
            fs::rename(&new, &path).map_err(|error| OpError::io(&error, "not put in its place"))
        });
        written.inspect_err(|error| {
            let _ = fs::remove_file(&new);
            if error.retryable {
                // A disk that is full: the rest would fail for the same reason.
                self.session.watch.end(crate::repository::at_path(&self.root, error.clone()));
            }
        })
    }

    fn write_content(&self, path: &Path, node: &Node) -> Result<(), OpError> {
        let failed = |error: io::Error| OpError::io(&error, "not written");
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        let mut offset = 0;
        for id in node.content.iter().flatten() {
            self.session.watch.check()?;
            let part = self.repo.get_blob_cached(&BlobId::from(*id), BlobType::Data);
            let part = part.map_err(|error| self.session.explain(&error))?;
            if !is_part(id, &part) {
                return Err(OpError::failed("the repository has other bytes than it says"));
            }
            write_with_holes(&file, offset, &part).map_err(failed)?;
            offset += part.len() as u64;
            self.session.watch.advance(part.len() as u64);
        }
        file.set_len(offset).map_err(failed)
    }

    /// Takes away what stands where a file belongs and would not give way to it: a directory.
    fn clear(&self, path: &Path) -> Result<(), OpError> {
        if !fs::symlink_metadata(path).is_ok_and(|stat| stat.is_dir()) {
            return Ok(());
        }
        if !self.manner.delete {
            return Err(OpError::conflict("a directory is in its place"));
        }
        fs::remove_dir_all(path).map_err(|error| OpError::io(&error, "not removed"))
    }

    fn link(&self, item: &Item, first: &Path) -> Result<(), OpError> {
        let (path, first) = (self.root.join(&item.path), self.root.join(first));
        let failed = |error: io::Error| OpError::io(&error, "not linked");
        let identity = |path: &Path| {
            let stat = fs::symlink_metadata(path)?;
            Ok::<_, io::Error>(std::os::unix::fs::MetadataExt::ino(&stat))
        };
        if identity(&path).ok() == identity(&first).ok() {
            return Ok(());
        }
        self.clear(&path)?;
        let new = unfinished(&path);
        let _ = fs::remove_file(&new);
        linkat(CWD, &first, CWD, &new, AtFlags::empty()).map_err(|error| failed(error.into()))?;
        fs::rename(&new, &path).map_err(failed)
    }

    fn make_special(&self, item: &Item, troubles: &Mutex<Troubles>) -> Result<(), OpError> {
        let path = self.root.join(&item.path);
        if item.action != Action::Keep {
            // Whoever listens on a socket makes it anew.
            if item.node.node_type == NodeType::Socket {
                return Ok(());
            }
            self.clear(&path)?;
            let new = unfinished(&path);
            let _ = fs::remove_file(&new);
            let made = make_node(&new, &item.node).and_then(|()| fs::rename(&new, &path));
            made.map_err(|error| OpError::io(&error, "not made"))?;
        }
        set_attributes(&path, &item.path, &item.node, self.manner.owners, troubles);
        Ok(())
    }

    /// Reads what is there now and compares it with the hashes of the snapshot.
    pub(super) fn verify(&self, plan: &Plan, troubles: &Mutex<Troubles>) -> Result<(), OpError> {
        for item in plan.items.iter().filter(|item| item.node.is_file() && item.action != Action::Keep) {
            self.session.watch.check()?;
            let reason = match self.has_content(&self.root.join(&item.path), &item.node) {
                Ok(true) => continue,
                Ok(false) => "its content is not that of the snapshot".to_owned(),
                Err(error) => error.message,
            };
            troubles.lock().expect("no code panics while holding this lock").failed(&item.path, reason);
        }
        Ok(())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn make_node(path: &Path, node: &Node) -> io::Result<()> {
    let (kind, device) = match &node.node_type {
        link @ NodeType::Symlink { .. } => return std::os::unix::fs::symlink(link.to_link(), path),
        NodeType::Dev { device } => (FileType::BlockDevice, *device),
        NodeType::Chardev { device } => (FileType::CharacterDevice, *device),
        _ => (FileType::Fifo, 0),
    };
    Ok(mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), device)?)
}

/// Writes `part`, but for its long runs of zeros: who reads them finds zeros all the same.
fn write_with_holes(file: &File, offset: u64, part: &[u8]) -> io::Result<()> {
    let mut at = offset;
    for piece in part.chunks(HOLE_BYTES) {
        if piece.len() < HOLE_BYTES || piece.iter().any(|byte| *byte != 0) {
            file.write_all_at(piece, at)?;
        }
        at += piece.len() as u64;
    }
    Ok(())
}
