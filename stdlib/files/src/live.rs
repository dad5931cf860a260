//! The adapter for this machine.
#![allow(clippy::disallowed_methods)] // This is the adapter: what it does is I/O.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use hob_model::Timestamp;
use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::{AtFlags, CWD, RenameFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::port::{FilesPort, Kind, Meta, Sink, Source};

/// How much is copied between two looks at whether to go on.
const COPY_BYTES: usize = 16 * 1024 * 1024;

/// The bits of a mode that are permissions.
const PERMISSION_BITS: u32 = 0o7777;

/// `UTIME_OMIT`: leave this time alone.
const OMIT: Timespec = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT as _ };

/// The files of this machine.
#[derive(Debug)]
pub struct Live {
    instance: String,
    /// Held while something is appended, so that two appends do not mix.
    appending: Mutex<()>,
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

impl Live {
    /// The adapter.
    #[must_use]
    pub fn new() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instance: format!("{}.{}", std::process::id(), started.as_nanos()), appending: Mutex::new(()) }
    }
}

impl Sink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

fn describe(meta: &fs::Metadata) -> Meta {
    let kind = match meta.file_type() {
        it if it.is_file() => Kind::File,
        it if it.is_dir() => Kind::Directory,
        it if it.is_symlink() => Kind::Symlink,
        _ => Kind::Special,
    };
    let nanos = i32::try_from(meta.mtime_nsec()).unwrap_or_default();
    Meta {
        kind,
        size: meta.size(),
        mode: meta.mode() & PERMISSION_BITS,
        uid: meta.uid(),
        gid: meta.gid(),
        modified: Timestamp::new(meta.mtime(), nanos).unwrap_or(Timestamp::UNIX_EPOCH),
        device: meta.dev(),
        inode: meta.ino(),
        links: meta.nlink(),
    }
}

fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

impl FilesPort for Live {
    fn stat(&self, path: &Path, follow: bool) -> io::Result<Meta> {
        let meta = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
        meta.map(|meta| describe(&meta))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Source>> {
        let file = File::open(path)?;
        match file.metadata()?.is_dir() {
            true => Err(Errno::ISDIR.into()),
            false => Ok(Box::new(file)),
        }
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn Sink>> {
        Ok(Box::new(create_new(path, mode)?))
    }

    fn append(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        let _held = self.appending.lock().expect("no code panics while holding this lock");
        let mut file = OpenOptions::new().append(true).create(true).mode(mode).open(path)?;
        let mut begun = None;
        let mut written = 0;
        while written < content.len() {
            match file.write(&content[written..]) {
                Ok(count) => {
                    written += count;
                    // The position is the end of what was written, wherever others had moved the end of the file.
                    let end = file.stream_position()?;
                    begun.get_or_insert(end - count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let end = file.stream_position()?;
                    if let Some(begun) = begun.filter(|_| file.metadata().is_ok_and(|meta| meta.len() == end))
                    {
                        file.set_len(begun)?;
                    }
                    return Err(error);
                }
            }
        }
        file.sync_all()
    }

    fn copy(&self, from: &Path, to: &Path, told: &mut dyn FnMut(u64) -> bool) -> io::Result<()> {
        const PRIVATE_MODE: u32 = 0o600; // until the caller has set the one of the original
        let source = File::open(from)?;
        let target = create_new(to, PRIVATE_MODE)?;
        if rustix::fs::ioctl_ficlone(&target, &source).is_ok() {
            told(source.metadata()?.len());
        } else {
            copy_content(source, &target, told)?;
        }
        target.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        if replace {
            return fs::rename(from, to);
        }
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Some network file systems do not know the flag; a look before the step is what is left there.
            Err(Errno::INVAL | Errno::NOSYS) if !to.starts_with(from) => match fs::symlink_metadata(to) {
                Ok(_) => Err(Errno::EXIST.into()),
                Err(_) => fs::rename(from, to),
            },
            other => Ok(other?),
        }
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(target, path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(path)
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::DirBuilder::new().mode(mode).create(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    }

    fn set_owner(&self, path: &Path, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        std::os::unix::fs::lchown(path, uid, gid)
    }

    fn set_modified(&self, path: &Path, modified: Timestamp) -> io::Result<()> {
        let last_modification =
            Timespec { tv_sec: modified.as_second(), tv_nsec: modified.subsec_nanosecond().into() };
        let times = Timestamps { last_access: OMIT, last_modification };
        Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(path)?)?)
    }

    fn user_id(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
    }

    fn group_id(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
    }

    fn user_name(&self, uid: u32) -> Option<String> {
        User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
    }

    fn group_name(&self, gid: u32) -> Option<String> {
        Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name)
    }

    fn instance(&self) -> String {
        self.instance.clone()
    }
}

/// Inside the kernel where that can be, otherwise through memory.
fn copy_content(mut source: File, mut target: &File, told: &mut dyn FnMut(u64) -> bool) -> io::Result<()> {
    let mut copied = 0;
    let mut go_on = |count: usize| match told(count as u64) {
        true => Ok(()),
        false => Err(io::Error::from(io::ErrorKind::Interrupted)),
    };
    loop {
        match rustix::fs::copy_file_range(&source, None, target, None, COPY_BYTES) {
            // Files of /proc say that they are empty, and the kernel believes them.
            Ok(0) if copied > 0 || source.metadata()?.len() > 0 => return Ok(()),
            Err(Errno::INTR) => {}
            Ok(0) | Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => break,
            Ok(count) => {
                copied += count;
                go_on(count)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    source.seek(SeekFrom::Start(copied as u64))?;
    let mut buffer = vec![0; crate::hash::CHUNK_BYTES];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(()),
            count => {
                target.write_all(&buffer[..count])?;
                go_on(count)?;
            }
        }
    }
}
