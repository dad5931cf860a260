//! The file systems of this machine: what is mounted, and whether a directory is there.
#![allow(clippy::disallowed_methods)] // It reads /proc and /dev, and waits in real time.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use hob_model::OpError;
use hob_planner::Mounted;
use procfs::process::Process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

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
                Mounted { path, device, fs_type: it.fs_type, root: unescaped(&it.root) }
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
        // A file system whose server is gone keeps whoever asks it for ever: only a thread of its own may.
        let (answer, answered) = mpsc::channel();
        let asked = path.to_owned();
        let spawned = std::thread::Builder::new()
            .name("hob-looks".into())
            .spawn(move || answer.send(std::fs::read_dir(&asked).is_ok() || asked.is_dir()));
        spawned.map_err(|error| OpError::unavailable(format!("no thread can be started: {error}")))?;
        answered.recv_timeout(patience).map_err(|_| {
            OpError::timeout(format!("the file system at {} does not answer", path.display()))
                .hint("is its server up? `umount -l` lets go of one that is gone")
        })
    }

    /// Someone who tells of each change.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn watch(&self) -> Result<WatchMounts, OpError> {
        File::open(MOUNTS).map(WatchMounts).map_err(untold)
    }
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
