//! A directory of this machine as a tier.

use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{
    AtFlags, Dir, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, StatVfs, flock, fstat, fstatvfs,
    linkat, mkdirat, openat2, renameat_with, statat, syncfs, unlinkat,
};
use rustix::io::Errno;

use super::file::{LiveSink, LiveSource, attributes, describe, imitate};
use crate::tier::{Attribute, Meta, Sink, Source, Space, Tier};

/// Links are refused and mounts are not crossed: somebody else can put either into the way.
const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);

/// Directories are opened like this.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What only its owner can read.
const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_DIR: u32 = 0o700;

/// A directory of this machine and all below it on the same file system. It stays the same one, wherever its path leads later.
#[derive(Debug)]
pub(super) struct LiveTier {
    root: Arc<OwnedFd>,
    path: PathBuf,
    identity: (u64, u64),
    /// The directory of the last call: one after another usually works in the same one.
    last: Mutex<Option<(PathBuf, Arc<OwnedFd>)>>,
}

impl LiveTier {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let root = rustix::fs::open(path, DIRECTORY, Mode::empty())?;
        let stat = fstat(&root)?;
        Ok(Self {
            root: Arc::new(root),
            path: path.to_owned(),
            identity: (stat.st_dev, stat.st_ino),
            last: Mutex::new(None),
        })
    }

    fn open_at(&self, at: &Path, flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
        let at = if at.as_os_str().is_empty() { Path::new(".") } else { at };
        Ok(openat2(&self.root, at, flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode), BENEATH)?)
    }

    /// The directory that holds `at`, and the name there.
    fn parent<'p>(&self, at: &'p Path) -> io::Result<(Arc<OwnedFd>, &'p OsStr)> {
        let name = at.file_name().ok_or(Errno::INVAL)?;
        Ok((self.directory(at.parent().unwrap_or(Path::new("")))?, name))
    }

    fn directory(&self, at: &Path) -> io::Result<Arc<OwnedFd>> {
        if at.as_os_str().is_empty() {
            return Ok(Arc::clone(&self.root));
        }
        let mut last = self.last.lock().expect("no code panics while holding this lock");
        if let Some((_, fd)) = last.as_ref().filter(|(path, _)| path == at) {
            return Ok(Arc::clone(fd));
        }
        let fd = Arc::new(self.open_at(at, DIRECTORY, 0)?);
        *last = Some((at.to_owned(), Arc::clone(&fd)));
        Ok(fd)
    }

    /// Directories may have gone, or come anew: the next call looks again.
    fn forget(&self) {
        *self.last.lock().expect("no code panics while holding this lock") = None;
    }
}

pub(super) fn space(it: &StatVfs) -> Space {
    Space {
        bytes: it.f_blocks * it.f_frsize,
        bytes_free: it.f_bfree * it.f_frsize,
        bytes_available: it.f_bavail * it.f_frsize,
        inodes: it.f_files,
        inodes_free: it.f_ffree,
    }
}

impl Tier for LiveTier {
    fn path(&self) -> &Path {
        &self.path
    }

    fn identity(&self) -> (u64, u64) {
        self.identity
    }

    fn still_there(&self) -> io::Result<()> {
        let stat = rustix::fs::stat(&self.path)?;
        if (stat.st_dev, stat.st_ino) == self.identity {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "another directory is there now"))
    }

    fn space(&self) -> io::Result<Space> {
        Ok(space(&fstatvfs(&self.root)?))
    }

    fn stat(&self, at: &Path) -> io::Result<Meta> {
        if at.as_os_str().is_empty() {
            return Ok(describe(&fstat(&self.root)?));
        }
        let (dir, name) = self.parent(at)?;
        Ok(describe(&statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    fn list(&self, at: &Path) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::new(self.open_at(at, DIRECTORY, 0)?)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        Ok(names)
    }

    fn open(&self, at: &Path) -> io::Result<Box<dyn Source>> {
        let (dir, name) = self.parent(at)?;
        // Non-blocking: a pipe that somebody put there would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let quietly = rustix::fs::openat(&dir, name, flags | OFlags::NOATIME, Mode::empty());
        let fd = match quietly {
            // Only the owner and root may leave the time of the last access alone.
            Err(Errno::PERM) => rustix::fs::openat(&dir, name, flags, Mode::empty()),
            other => other,
        }?;
        Ok(Box::new(LiveSource::new(fd)))
    }

    fn attributes(&self, at: &Path) -> io::Result<Vec<Attribute>> {
        attributes(self.open_at(at, DIRECTORY, 0)?)
    }

    fn create(&self, at: &Path) -> io::Result<Box<dyn Sink>> {
        let (dir, name) = self.parent(at)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(PRIVATE_FILE))?;
        Ok(Box::new(LiveSink::new(fd)))
    }

    fn append(&self, at: &Path, bytes: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW;
        let mut file = File::from(self.open_at(at, flags, PRIVATE_FILE)?);
        file.write_all(bytes)?;
        file.sync_data()
    }

    fn make_dir(&self, at: &Path, meta: &Meta, attributes: &[Attribute], all: bool) -> io::Result<()> {
        self.make_private_dir(at)?;
        imitate(self.open_at(at, DIRECTORY, 0)?, meta, attributes, all, false)
    }

    fn make_private_dir(&self, at: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(at)?;
        Ok(mkdirat(dir, name, Mode::from_raw_mode(PRIVATE_DIR))?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from_dir, from), (to_dir, to)) = (self.parent(from)?, self.parent(to)?);
        match renameat_with(&from_dir, from, &to_dir, to, RenameFlags::NOREPLACE) {
            // Some network file systems do not know the flag; a second name is never given over a first one either.
            Err(Errno::INVAL | Errno::NOSYS) => {
                linkat(&from_dir, from, &to_dir, to, AtFlags::empty())?;
                Ok(unlinkat(&from_dir, from, AtFlags::empty())?)
            }
            other => Ok(other?),
        }
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from_dir, from), (to_dir, to)) = (self.parent(from)?, self.parent(to)?);
        Ok(linkat(from_dir, from, to_dir, to, AtFlags::empty())?)
    }

    fn remove(&self, at: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(at)?;
        Ok(unlinkat(dir, name, AtFlags::empty())?)
    }

    fn remove_dir(&self, at: &Path) -> io::Result<()> {
        self.forget();
        let (dir, name) = self.parent(at)?;
        Ok(unlinkat(dir, name, AtFlags::REMOVEDIR)?)
    }

    fn sync_dir(&self, at: &Path) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.directory(at)?)?)
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(syncfs(&self.root)?)
    }

    fn lock(&self, at: &Path) -> io::Result<Option<Box<dyn Any + Send>>> {
        let fd = self.open_at(at, OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW, PRIVATE_FILE)?;
        match flock(fd.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(fd))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
