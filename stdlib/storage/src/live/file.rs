//! Files of this machine, while they are read or written.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{
    Advice, FileType, Gid, Mode, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags, fadvise, fchmod,
    fchown, fgetxattr, flistxattr, flistxattr_query, fsetxattr, fstat, futimens, seek,
};
use rustix::io::Errno;

use super::direct::{self, Direct};
use super::raw;
use crate::tier::{Attribute, Kind, Lease, Meta, Sink, Source, Time};

/// The most that Linux gives for one attribute (`XATTR_SIZE_MAX`), and for the list of their names (`XATTR_LIST_MAX`).
pub(super) const ATTRIBUTE_BYTES_MAX: usize = 64 * 1024;

/// The bits of a mode that are permissions.
pub(super) const PERMISSION_BITS: u32 = 0o7777;

/// From this size on, files pass memory by: they would push out of it what others use, and be pushed out themselves.
const DIRECT_BYTES_MIN: u64 = 1 << 20;

/// What `stat(2)` counts blocks in.
const BLOCK_BYTES: u64 = 512;

pub(super) fn describe(stat: &Stat) -> Meta {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Other("a symbolic link"),
        FileType::Fifo => Kind::Other("a pipe"),
        FileType::Socket => Kind::Other("a socket"),
        _ => Kind::Other("a device"),
    };
    // The kernel gives nanoseconds below 1_000_000_000.
    let time = |seconds: i64, nanos: u64| Time { seconds, nanos: u32::try_from(nanos).unwrap_or_default() };
    Meta {
        kind,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        allocated: u64::try_from(stat.st_blocks).unwrap_or_default() * BLOCK_BYTES,
        mode: stat.st_mode & PERMISSION_BITS,
        uid: stat.st_uid,
        gid: stat.st_gid,
        accessed: time(stat.st_atime, stat.st_atime_nsec),
        modified: time(stat.st_mtime, stat.st_mtime_nsec),
        changed: time(stat.st_ctime, stat.st_ctime_nsec),
        device: stat.st_dev,
        inode: stat.st_ino,
        links: stat.st_nlink,
    }
}

/// The attributes of an open file; none where the file system has none.
pub(super) fn attributes(fd: impl AsFd) -> io::Result<Vec<Attribute>> {
    match flistxattr_query(&fd) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = vec![0; ATTRIBUTE_BYTES_MAX];
    let length = flistxattr(&fd, names.as_mut_slice())?;
    let mut attributes = Vec::new();
    let mut value = Vec::new();
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let name = CStr::from_bytes_with_nul(name).map_err(io::Error::other)?;
        value.resize(ATTRIBUTE_BYTES_MAX, 0);
        match fgetxattr(&fd, name, value.as_mut_slice()) {
            Ok(length) => attributes.push(Attribute { name: name.into(), value: value[..length].to_vec() }),
            Err(Errno::NODATA) => {} // it went away meanwhile
            Err(error) => return Err(error.into()),
        }
    }
    attributes.sort();
    Ok(attributes)
}

/// Gives an open file or directory owner, attributes, mode and times, in the order in which none undoes another: a change of
/// owner clears capabilities and some bits of the mode, an access control list changes the mode.
pub(super) fn imitate(
    fd: impl AsFd,
    meta: &Meta,
    attributes: &[Attribute],
    all: bool,
    times: bool,
) -> io::Result<()> {
    let may_fail = |done: rustix::io::Result<()>| if all { done } else { Ok(()) };
    may_fail(fchown(&fd, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid))))?;
    may_fail(fchmod(&fd, Mode::from_raw_mode(meta.mode)))?;
    for Attribute { name, value } in attributes {
        may_fail(fsetxattr(&fd, name.as_c_str(), value, XattrFlags::empty()))?;
    }
    if times {
        let spec = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() };
        let times = Timestamps { last_access: spec(meta.accessed), last_modification: spec(meta.modified) };
        may_fail(futimens(&fd, &times))?;
    }
    Ok(())
}

/// A file that is open for reading.
#[derive(Debug)]
pub(super) struct LiveSource {
    file: File,
    leased_alone: AtomicBool,
    direct: Direct,
    /// Whether only what memory does not hold is read past it.
    spares_memory: AtomicBool,
}

impl LiveSource {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self {
            file: fd.into(),
            leased_alone: AtomicBool::new(false),
            direct: Direct::default(),
            spares_memory: AtomicBool::new(false),
        }
    }

    fn is_large(&self) -> bool {
        self.meta().is_ok_and(|meta| meta.size >= DIRECT_BYTES_MIN)
    }
}

impl Source for LiveSource {
    fn meta(&self) -> io::Result<Meta> {
        Ok(describe(&fstat(&self.file)?))
    }

    fn attributes(&self) -> io::Result<Vec<Attribute>> {
        attributes(&self.file)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let is_at_hand = || {
            self.spares_memory.load(Ordering::Relaxed)
                && raw::is_in_memory(self.file.as_fd(), offset, buffer.len())
        };
        let past = direct::is_aligned(buffer, offset) && !is_at_hand();
        self.direct.with(&self.file, past, || self.file.read_at(buffer, offset))
    }

    fn data_after(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        let start = match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // No holes are known here: all of it is data.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                let size = self.meta()?.size;
                return Ok((offset < size).then_some((offset, size)));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Some((start, seek(&self.file, SeekFrom::Hole(start))?)))
    }

    fn lease(&self, alone: bool) -> Lease {
        self.leased_alone.store(alone, Ordering::Relaxed);
        raw::lease(self.file.as_fd(), alone)
    }

    fn is_wanted(&self) -> bool {
        raw::is_wanted(self.file.as_fd(), self.leased_alone.load(Ordering::Relaxed))
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn evict(&self) {
        // Advice: where it is not taken, nothing is lost but certainty about the disk.
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
        if self.is_large() {
            self.spares_memory.store(false, Ordering::Relaxed);
            self.direct.want();
        }
    }

    fn spare_memory(&self) {
        if self.is_large() {
            self.spares_memory.store(true, Ordering::Relaxed);
            self.direct.want();
        }
    }

    fn prefetch(&self) {
        let _ = fadvise(&self.file, 0, None, Advice::WillNeed);
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

/// A new file.
#[derive(Debug)]
pub(super) struct LiveSink {
    file: File,
    direct: Direct,
}

impl LiveSink {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { file: fd.into(), direct: Direct::default() }
    }
}

impl Sink for LiveSink {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // Only what is large comes in parts of this size.
        if bytes.len() as u64 >= DIRECT_BYTES_MIN {
            self.direct.want();
        }
        let aligned = direct::is_aligned(bytes, offset);
        self.direct.with(&self.file, aligned, || self.file.write_all_at(bytes, offset))
    }

    fn set_size(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn share(&mut self, source: &dyn Source) -> io::Result<bool> {
        match source.fd().map(|fd| rustix::fs::ioctl_ficlone(&self.file, fd)) {
            Some(Ok(())) => Ok(true),
            Some(Err(Errno::NOSPC)) => Err(Errno::NOSPC.into()),
            _ => Ok(false),
        }
    }

    fn imitate(&mut self, meta: &Meta, attributes: &[Attribute], all: bool) -> io::Result<()> {
        imitate(&self.file, meta, attributes, all, true)
    }

    fn flush(&mut self) {
        raw::begin_writing(self.file.as_fd());
    }
}
