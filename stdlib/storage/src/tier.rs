//! The trait through which the mover reaches a file system: a little above system calls, so that everything that could go
//! wrong between two of them is written once, above it.
//!
//! All paths are relative to the tier's root and never leave it, whatever links somebody puts into their way.

use std::any::Any;
use std::collections::HashSet;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use hob_model::OpError;
use hob_planner::Mounted;
use hob_supervisor::storage::Answer;
use serde::{Deserialize, Serialize};

/// A time of a file, to the nanosecond and over the whole range that file systems know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds past them.
    pub nanos: u32,
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else, in words for people.
    Other(&'static str),
}

/// What is known about a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes.
    pub size: u64,
    /// What it takes on the disk, in bytes: less than its size where it has holes.
    pub allocated: u64,
    /// Its permission bits.
    pub mode: u32,
    /// The number of its owner.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// When it was last read, as far as the file system keeps that.
    pub accessed: Time,
    /// When its content last changed.
    pub modified: Time,
    /// When anything about it last changed.
    pub changed: Time,
    /// The file system it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
}

/// An extended attribute; access control lists are such.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attribute {
    /// Its name: `user.origin`, `system.posix_acl_access`.
    pub name: CString,
    /// Its value.
    pub value: Vec<u8>,
}

/// How full a file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it, in bytes.
    pub bytes: u64,
    /// What is free, in bytes, with what is kept for root.
    pub bytes_free: u64,
    /// What is free for everybody, in bytes.
    pub bytes_available: u64,
    /// How many files there can be; 0 where the file system has no such limit.
    pub inodes: u64,
    /// How many more there can be.
    pub inodes_free: u64,
}

impl Space {
    /// What is taken, in bytes.
    #[must_use]
    pub fn bytes_used(&self) -> u64 {
        self.bytes.saturating_sub(self.bytes_free)
    }

    /// What is taken, in per cent of what everybody can take, as `df` counts.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // per cents need no more
    pub fn percent_used(&self) -> f64 {
        let reachable = self.bytes_used() + self.bytes_available;
        if reachable == 0 { 0.0 } else { 100.0 * self.bytes_used() as f64 / reachable as f64 }
    }
}

/// What came of asking the kernel to tell when others come to a file (`fcntl(2)`, `F_SETLEASE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Nobody is there, and who comes has to wait until it is given back.
    Held,
    /// Somebody is there.
    Busy,
    /// This file system has no leases.
    Unknown,
}

/// A file that is read.
#[allow(clippy::missing_errors_doc)] // each fails as the system call it is named after
pub trait Source: Send + Sync {
    /// What is known about it now.
    fn meta(&self) -> io::Result<Meta>;
    /// Its extended attributes, by name.
    fn attributes(&self) -> io::Result<Vec<Attribute>>;
    /// Reads from `offset` on; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The next part from `offset` on that is no hole, as start and end; `None` when there is none.
    fn data_after(&self, offset: u64) -> io::Result<Option<(u64, u64)>>;
    /// Asks for a lease: that nobody writes, or `alone`, that nobody else has it open.
    fn lease(&self, alone: bool) -> Lease;
    /// Whether somebody waits for a lease to be given back.
    fn is_wanted(&self) -> bool;
    /// Waits until content and attributes are on the disk.
    fn sync(&self) -> io::Result<()>;
    /// Forgets what memory holds of it, so that reading asks the disk; what is large is from now on read past memory.
    fn evict(&self);
    /// From now on, what memory does not hold of it is read past memory where it is large: nobody else wants it soon.
    fn spare_memory(&self);
    /// Begins to read what memory does not hold.
    fn prefetch(&self);
    /// The descriptor, where there is one.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}

/// A new file that is written.
#[allow(clippy::missing_errors_doc)] // each fails as the system call it is named after
pub trait Sink: Send {
    /// Writes all of it at `offset`.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Sets its size; what was not written is a hole.
    fn set_size(&mut self, bytes: u64) -> io::Result<()>;
    /// Takes over all content at once, sharing blocks; `false` where these file systems cannot.
    fn share(&mut self, source: &dyn Source) -> io::Result<bool>;
    /// Takes over owner, mode, extended attributes and times; when not `all`, as far as it can.
    fn imitate(&mut self, meta: &Meta, attributes: &[Attribute], all: bool) -> io::Result<()>;
    /// Begins to write to the disk what memory holds of it.
    fn flush(&mut self);
}

/// A directory, and all below it on the same file system.
#[allow(clippy::missing_errors_doc)] // each fails as the system call it is named after
pub trait Tier: Send + Sync {
    /// The root's own path.
    fn path(&self) -> &Path;
    /// What tells its root from every other directory now.
    fn identity(&self) -> (u64, u64);
    /// Fails unless the root's path still leads to it, as it no longer does when it was unmounted.
    fn still_there(&self) -> io::Result<()>;
    /// How full its file system is.
    fn space(&self) -> io::Result<Space>;
    /// What is known about a path; links are not followed.
    fn stat(&self, at: &Path) -> io::Result<Meta>;
    /// The names in a directory, in any order.
    fn list(&self, at: &Path) -> io::Result<Vec<OsString>>;
    /// Opens a file for reading; links are refused.
    fn open(&self, at: &Path) -> io::Result<Box<dyn Source>>;
    /// The extended attributes of a directory.
    fn attributes(&self, at: &Path) -> io::Result<Vec<Attribute>>;
    /// Makes a new file, which must not exist, and which only its owner can read.
    fn create(&self, at: &Path) -> io::Result<Box<dyn Sink>>;
    /// Appends to a file, which is made if it is not there, and waits for the disk.
    fn append(&self, at: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Makes a directory like the one described.
    fn make_dir(&self, at: &Path, meta: &Meta, attributes: &[Attribute], all: bool) -> io::Result<()>;
    /// Makes a directory that only its owner can enter.
    fn make_private_dir(&self, at: &Path) -> io::Result<()>;
    /// Gives another name to a file or directory; the name must be free.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name, which must be free.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name of a file.
    fn remove(&self, at: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, at: &Path) -> io::Result<()>;
    /// Waits until the names in a directory are on the disk.
    fn sync_dir(&self, at: &Path) -> io::Result<()>;
    /// Waits until all of the file system is on the disk.
    fn sync_all(&self) -> io::Result<()>;
    /// Locks a file, which is made if it is not there, as long as the result lives; `None` when somebody else has it.
    fn lock(&self, at: &Path) -> io::Result<Option<Box<dyn Any + Send>>>;
}

/// How eagerly the disks serve the mover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, hob_primitive::Choice)]
pub enum IoPriority {
    /// Only when nobody else wants them.
    Idle,
    /// After everybody else.
    Low,
    /// Like everybody else.
    Normal,
}

/// The tiers of a machine.
#[allow(clippy::missing_errors_doc)] // each fails as the system call it is named after
pub trait Tiers: Send + Sync {
    /// A directory as a tier.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Tier>>;
    /// Device and inode of every file that some process has open.
    fn open_files(&self) -> HashSet<(u64, u64)>;
    /// Whether there is a directory.
    ///
    /// # Errors
    /// When its file system does not answer within `patience`.
    fn is_directory(&self, path: &Path, patience: Duration) -> Result<bool, OpError>;
    /// How full the file system of a path is.
    ///
    /// # Errors
    /// When there is nothing, or its file system does not answer within `patience`.
    fn space(&self, path: &Path, patience: Duration) -> Result<Space, OpError>;
    /// How the file system of a path answers, within `patience`.
    fn answer(&self, path: &Path, patience: Duration) -> Answer;
    /// What names the file system on a device wherever it is plugged in.
    fn uuid(&self, device: &str) -> Option<String>;
    /// How many errors the kernel counted on the ext4 file system of a device; `None` where there is none.
    fn ext4_errors(&self, device: &str) -> Option<i64>;
    /// What is mounted, in the kernel's order; asks no file system.
    ///
    /// # Errors
    /// When the kernel does not tell.
    fn mounted(&self) -> Result<Vec<Mounted>, OpError>;
    /// Sets how eagerly the disks serve the calling thread from now on.
    fn prioritise(&self, priority: IoPriority);
    /// A clock that never jumps.
    fn elapsed(&self) -> Duration;
}
