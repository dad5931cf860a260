//! The trait through which files are reached: a little above system calls, so that the fake is a file system and no
//! more, and everything that could go wrong between two calls is written once, above it.

use std::ffi::OsString;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use hob_model::Timestamp;

/// What kind of thing a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A pipe, a socket or a device.
    Special,
}

impl Kind {
    /// The text that scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Special => "special",
        }
    }
}

/// What is known about a file without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes.
    pub size: u64,
    /// Its permission bits.
    pub mode: u32,
    /// The number of its owner.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// When its content last changed.
    pub modified: Timestamp,
    /// The file system it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
}

/// A file that is read.
pub trait Source: Read + Seek + Send {}
impl<T: Read + Seek + Send> Source for T {}

/// A new file that is written.
pub trait Sink: Write + Seek + Send {
    /// Waits until content and length are on the disk.
    ///
    /// # Errors
    /// When the disk does not take them.
    fn sync(&mut self) -> io::Result<()>;
}

/// A world of files. Paths are absolute. Errors are those of the system calls.
#[allow(clippy::missing_errors_doc)] // each fails as the system call it is named after
pub trait FilesPort: Send + Sync {
    /// What is known about a path; of the link itself unless `follow`.
    fn stat(&self, path: &Path, follow: bool) -> io::Result<Meta>;
    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Source>>;
    /// Makes a new file, which must not exist, with these permission bits (less the umask).
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn Sink>>;
    /// Appends to a file, which is made if it is not there, and waits for the disk. Calls of this process do not mix,
    /// and a write that fails half-way is taken back.
    fn append(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()>;
    /// Makes `to`, which must not exist, with the content of `from`, sharing blocks where the file system can, and
    /// waits for the disk. `told` hears how many bytes came and says whether to go on; when not, the error is
    /// [`io::ErrorKind::Interrupted`].
    fn copy(&self, from: &Path, to: &Path, told: &mut dyn FnMut(u64) -> bool) -> io::Result<()>;
    /// Gives a file another name. An existing one is replaced, or is an error unless `replace`.
    fn rename(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()>;
    /// Gives a file a second name.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes a symbolic link at `path`.
    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()>;
    /// Where a symbolic link points.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    /// Makes a directory with these permission bits (less the umask).
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// The names in a directory, in any order.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>>;
    /// Removes a file or a link.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all that is in it, following no link even if somebody swaps one in.
    fn remove_tree(&self, path: &Path) -> io::Result<()>;
    /// Sets the permission bits; links are followed.
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Sets owner and group; of the link itself.
    fn set_owner(&self, path: &Path, uid: Option<u32>, gid: Option<u32>) -> io::Result<()>;
    /// Sets the time of the last change; of the link itself.
    fn set_modified(&self, path: &Path, modified: Timestamp) -> io::Result<()>;
    /// Waits until the names in a directory are on the disk.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Waits until all that was written to the file system of this directory is on the disk.
    fn sync_all(&self, path: &Path) -> io::Result<()>;
    /// The number of a user; `None` when there is none of that name.
    fn user_id(&self, name: &str) -> io::Result<Option<u32>>;
    /// The number of a group; `None` when there is none of that name.
    fn group_id(&self, name: &str) -> io::Result<Option<u32>>;
    /// The name of a user; `None` for a number without one.
    fn user_name(&self, uid: u32) -> Option<String>;
    /// The name of a group; `None` for a number without one.
    fn group_name(&self, gid: u32) -> Option<String>;
    /// What tells this adapter from those of other processes and earlier ones.
    fn instance(&self) -> String;
}
