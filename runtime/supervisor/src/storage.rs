//! The file systems of this machine: what is mounted, and whether a directory is there.
#![allow(clippy::disallowed_methods)] // It reads /proc and /dev, and waits in real time.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use hob_model::OpError;
use hob_planner::Mounted;
use procfs::process::Process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, StatVfs, StatxFlags, makedev, statvfs, statx};
use rustix::io::Errno;

/// Where the kernel tells what is mounted; who waits for it learns of changes (`proc_pid_mountinfo(5)`).
const MOUNTS: &str = "/proc/self/mountinfo";

/// The forms of `fstab(5)` for devices by what is on them, with the directories in which udev has links of that name.
const BY: [(&str, &str); 5] = [
    ("UUID=", "by-uuid"),
    ("LABEL=", "by-label"),
    ("PARTUUID=", "by-partuuid"),
    ("PARTLABEL=", "by-partlabel"),
    ("ID=", "by-id"),
];

/// Threads that may wait for one path: each that a file system keeps is there until that answers or is taken away.
const WAITING_MAX: usize = 4;

/// How many threads of this process wait for a path.
static WAITING: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());

/// Tells that one of them got an answer.
static ANSWERED: Condvar = Condvar::new();

/// How a file system answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It does.
    Well,
    /// Its server or program does not know it any more, and what is open there is lost: it must be mounted anew.
    Stale(String),
    /// Its server cannot be reached, or says nothing: it goes on when that does.
    Unresponsive(String),
}

/// What services of this machine stand on.
#[derive(Clone, Debug)]
pub struct FileSystems {
    disks: PathBuf,
}

impl Default for FileSystems {
    fn default() -> Self {
        Self { disks: "/dev/disk".into() }
    }
}

impl FileSystems {
    /// With the links to devices in another directory than `/dev/disk`.
    #[must_use]
    pub fn with_disks(disks: &Path) -> Self {
        Self { disks: disks.to_owned() }
    }

    /// What is mounted, in the kernel's order. Asks no file system, so none can keep it waiting.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn mounted(&self) -> Result<Vec<Mounted>, OpError> {
        let all = Process::myself().and_then(|this| this.mountinfo()).map_err(untold)?;
        Ok(all
            .into_iter()
            .map(|it| {
                let device = unescaped(&it.mount_source.unwrap_or_default()).to_string_lossy().into_owned();
                let device = if device.starts_with("/dev/") { without_links(&device) } else { device };
                let path = unescaped(&it.mount_point.to_string_lossy());
                let root = unescaped(&it.root);
                Mounted { path, device, fs_type: it.fs_type, root, number: it.majmin }
            })
            .collect())
    }

    /// The device that `UUID=…` and the like, or a link, stand for, as [`Mounted::device`] names it; anything else as it is.
    #[must_use]
    pub fn device(&self, named: &str) -> String {
        for (form, directory) in BY {
            if let Some(name) = named.strip_prefix(form) {
                let link = self.disks.join(directory).join(name.trim_matches('"'));
                return std::fs::canonicalize(link)
                    .map_or_else(|_| named.to_owned(), |path| path.to_string_lossy().into_owned());
            }
        }
        if named.starts_with("/dev/") { without_links(named) } else { named.to_owned() }
    }

    /// Whether there is a directory. Whoever goes there has it mounted, where that happens by itself.
    ///
    /// # Errors
    /// When the file system does not answer within `patience`.
    pub fn is_directory(&self, path: &Path, patience: Duration) -> Result<bool, OpError> {
        ask(path, patience, |path| std::fs::read_dir(path).is_ok() || path.is_dir())
    }

    /// How full the file system of a path is.
    ///
    /// # Errors
    /// When there is nothing, or the file system does not answer within `patience`.
    pub fn space(&self, path: &Path, patience: Duration) -> Result<StatVfs, OpError> {
        let space = ask(path, patience, |path| statvfs(path).map_err(io::Error::from))?;
        space.map_err(|error| OpError::io(&error, path.display()))
    }

    /// How the file system of a path answers, within `patience`.
    #[must_use]
    pub fn answer(&self, path: &Path, patience: Duration) -> Answer {
        match ask(path, patience, |path| statvfs(path).map_err(|error| (error, io::Error::from(error)))) {
            // The program of a FUSE file system has ended (ENOTCONN), or its connection was cut; a server knows the root no more.
            Ok(Err((Errno::NOTCONN | Errno::CONNABORTED | Errno::STALE, error))) => {
                Answer::Stale(format!("the file system at {} is stale: {error}", path.display()))
            }
            // What a server that is gone becomes where it is not waited for (`soft` of nfs(5)).
            Ok(Err((
                Errno::IO | Errno::TIMEDOUT | Errno::HOSTDOWN | Errno::HOSTUNREACH | Errno::NETUNREACH,
                error,
            ))) => Answer::Unresponsive(format!(
                "the file system at {} does not answer: {error}",
                path.display()
            )),
            Ok(_) => Answer::Well,
            Err(error) => Answer::Unresponsive(error.message),
        }
    }

    /// Someone who tells of each change.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn watch(&self) -> Result<WatchMounts, OpError> {
        File::open(MOUNTS).map(WatchMounts).map_err(untold)
    }
}

/// Looks at a path on a thread of its own: a file system whose server is gone keeps whoever asks it for ever.
///
/// # Errors
/// `timeout` when the file system does not answer within `patience`.
pub fn ask<T: Send + 'static>(
    path: &Path,
    patience: Duration,
    look: impl FnOnce(&Path) -> T + Send + 'static,
) -> Result<T, OpError> {
    let silent = || {
        OpError::timeout(format!("the file system at {} does not answer", path.display()))
            .hint("is its server up? `umount -l` lets go of one that is gone")
    };
    let begun = Instant::now();
    let waits = Waits::for_path(path, patience).ok_or_else(silent)?;
    let (answer, answered) = mpsc::channel();
    let spawned = std::thread::Builder::new().name("hob-looks".into()).spawn(move || {
        let seen = look(&waits.0);
        drop(waits);
        answer.send(seen)
    });
    spawned.map_err(|error| OpError::unavailable(format!("no thread can be started: {error}")))?;
    answered.recv_timeout(patience.saturating_sub(begun.elapsed())).map_err(|_| silent())
}

/// One of those that wait for a path.
struct Waits(PathBuf);

impl Waits {
    /// One more, as soon as there are not too many; none where that takes longer than `patience`.
    fn for_path(path: &Path, patience: Duration) -> Option<Self> {
        let is_full = |all: &mut BTreeMap<_, usize>| all.get(path).is_some_and(|it| *it >= WAITING_MAX);
        let waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = ANSWERED.wait_timeout_while(waiting, patience, is_full);
        let (mut waiting, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        (!waited.timed_out()).then(|| {
            *waiting.entry(path.to_owned()).or_default() += 1;
            Self(path.to_owned())
        })
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.0) {
            *count = count.saturating_sub(1);
        }
        waiting.retain(|_, count| *count > 0);
        drop(waiting);
        ANSWERED.notify_all();
    }
}

/// The device and inode of what is at a path, as far as memory knows: nobody is asked, so that also a file that is open on a
/// file system whose server is gone can be told.
#[must_use]
pub fn inode(path: &Path) -> Option<(u64, u64)> {
    let known = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::INO).ok()?;
    Some((makedev(known.stx_dev_major, known.stx_dev_minor), known.stx_ino))
}

fn untold(error: impl std::fmt::Display) -> OpError {
    OpError::unavailable(format!("it cannot be told what is mounted: {MOUNTS}: {error}")).nothing_happened()
}

/// A path as it is: the kernel writes blanks, tabs, ends of lines and backslashes as `\` with three octal digits
/// (`mangle_path`).
fn unescaped(text: &str) -> PathBuf {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *byte == b'\\').and_then(|it| std::str::from_utf8(it).ok());
        let decoded = digits.and_then(|it| u8::from_str_radix(it, 8).ok());
        plain.push(decoded.unwrap_or(*byte));
        rest = if decoded.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(plain).into()
}

/// The path without links; as it is when nothing is there.
fn without_links(path: &str) -> String {
    std::fs::canonicalize(path).map_or_else(|_| path.to_owned(), |path| path.to_string_lossy().into_owned())
}

/// Learns that something was mounted or unmounted.
#[derive(Debug)]
pub struct WatchMounts(File);

impl WatchMounts {
    /// Blocks until something changed since the last call, or `patience` is at its end; whether something did.
    pub fn wait(&mut self, patience: Duration) -> bool {
        let mut polled = [PollFd::new(&self.0, PollFlags::PRI)];
        let patience = Timespec::try_from(patience).ok();
        // The kernel tells of a change once to each open file.
        poll(&mut polled, patience.as_ref()).is_ok_and(|count| count > 0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test fails by panicking

    use super::*;

    #[test]
    fn paths_are_what_people_call_them() {
        for (told, path) in [
            ("/mnt/the\\040share", "/mnt/the share"),
            ("/a\\134040", "/a\\040"),
            ("/a\\", "/a\\"),
            ("/a\\9", "/a\\9"),
            ("/\u{fc}", "/\u{fc}"),
        ] {
            assert_eq!(unescaped(told), Path::new(path));
        }
    }

    #[test]
    fn devices_are_known_by_what_is_on_them() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("by-uuid")).unwrap();
        std::os::unix::fs::symlink("/dev/null", dir.path().join("by-uuid/42-AB")).unwrap();
        let all = FileSystems::with_disks(dir.path());
        assert_eq!(all.device("UUID=42-AB"), "/dev/null");
        assert_eq!(all.device("UUID=43"), "UUID=43");
        assert_eq!(all.device("nas:/tank"), "nas:/tank");
        assert_eq!(all.device("/dev/null"), "/dev/null");
    }

    #[test]
    fn what_is_mounted_is_told() {
        let all = FileSystems::default();
        let mounted = all.mounted().unwrap();
        let found = mounted.iter().find(|it| it.path == Path::new("/proc")).unwrap();
        assert_eq!(found.fs_type, "proc");
        let patience = Duration::from_secs(20);
        assert!(all.is_directory(Path::new("/proc"), patience).unwrap());
        assert!(!all.is_directory(Path::new("/proc/version"), patience).unwrap());
        assert!(!all.watch().unwrap().wait(Duration::ZERO));
    }
}
