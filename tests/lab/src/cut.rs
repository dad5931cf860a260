//! The power cut itself.

#![allow(unsafe_code)] // the one request to the kernel that no safe wrapper knows

use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::ioctl::{Opcode, Setter, ioctl};

/// `EXT4_IOC_SHUTDOWN`, `_IOR('X', 125, __u32)` of the kernel's `fs/ext4/ext4.h`, and the same of `fs/xfs/libxfs/xfs_fs.h`.
const SHUTDOWN: Opcode = 0x8004_587d;

/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: what is not on the disk now never will be.
const NO_LOG_FLUSH: u32 = 2;

/// From now on the ext4 or xfs file system at `path` writes nothing more, as if its disk had lost power.
pub(crate) fn cut_power(path: &Path) -> io::Result<()> {
    let dir = open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    // SAFETY: the request reads one u32 through the pointer that `Setter` passes, and writes nothing.
    Ok(unsafe { ioctl(dir, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }?)
}
