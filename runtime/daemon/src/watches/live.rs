//! This machine's files: found by walking, with inotify as the hint to walk again.
//!
//! inotify alone is no source of truth: its queue overflows, directories come and go, and network file systems tell
//! nothing. So all matches are looked for after each hint and, without one, now and then.

#![allow(clippy::disallowed_methods)] // this is an adapter: it reads the file system

use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use hob_supervisor::FileSystems;
use hob_supervisor::storage::{Answer, inode};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use walkdir::WalkDir;

use super::{Files, Glob, MATCHES_MAX, Scan, Seen, Signature};

/// Directories below one pattern that are watched; those beyond are looked at now and then alone.
const DIRECTORIES_WATCHED_MAX: usize = 1_000;
/// How deep patterns reach.
const DEPTH_MAX: usize = 64;
/// Bytes of hints that are read at one time.
const HINTS_BYTES: usize = 4096;
/// How long the file system of a pattern may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// What hints that a file may be whole: it was closed after writing, made, or moved here.
const HINTS: WatchFlags =
    WatchFlags::CLOSE_WRITE.union(WatchFlags::CREATE).union(WatchFlags::MOVED_TO).union(WatchFlags::ONLYDIR);

/// This machine's files.
pub struct LiveFiles {
    hints: OwnedFd,
    stop: OwnedFd,
}

impl LiveFiles {
    /// # Errors
    /// When the system gives no inotify instance.
    pub fn new() -> std::io::Result<Self> {
        let hints = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { hints, stop })
    }

    /// Reads the hints that are there, so that the next wait waits for others.
    fn drain(&self) {
        let mut room = [MaybeUninit::uninit(); HINTS_BYTES];
        let mut reader = inotify::Reader::new(&self.hints, &mut room);
        while reader.next().is_ok() {}
    }
}

impl Files for LiveFiles {
    fn scan(&self, glob: &Glob) -> Scan {
        let (mut scan, mut directories) = (Scan::default(), 0);
        // One whose server is gone would keep all other patterns waiting.
        if let Answer::Unresponsive(why) | Answer::Stale(why) =
            FileSystems::default().answer(&glob.base, PATIENCE)
        {
            tracing::debug!("{why}");
            return Scan { unanswered: true, ..scan };
        }
        let walk = WalkDir::new(&glob.base).max_depth(glob.depth_max.min(DEPTH_MAX)).follow_links(false);
        for entry in walk {
            // What cannot be read, or went meanwhile, is looked at next time.
            let Ok(entry) = entry else { continue };
            if entry.file_type().is_dir() {
                directories += 1;
                if directories <= DIRECTORIES_WATCHED_MAX
                    && let Err(error) = inotify::add_watch(&self.hints, entry.path(), HINTS)
                {
                    tracing::debug!(path = %entry.path().display(), %error, "a directory is not watched");
                }
                continue;
            }
            if !entry.file_type().is_file() || !glob.matches(entry.path()) {
                continue;
            }
            let Ok(meta) = entry.metadata() else { continue };
            if scan.files.len() == MATCHES_MAX {
                scan.more = true;
                break;
            }
            let modified = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
            let signature = Signature { size: meta.len(), modified, inode: (meta.dev(), meta.ino()) };
            scan.files.push(Seen { path: entry.into_path(), signature });
        }
        scan
    }

    fn written_to(&self, wanted: &HashSet<(u64, u64)>) -> HashSet<(u64, u64)> {
        let mut found = HashSet::new();
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        for process in processes {
            // Those of other users can be asked by root alone.
            let files = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
            for file in files {
                let Some(inode) = inode(&file.path()) else { continue };
                if wanted.contains(&inode) && is_writable(&process.path(), &file.file_name()) {
                    found.insert(inode);
                }
            }
        }
        found
    }

    fn wait(&self, pause: Duration) -> bool {
        let timeout = Timespec::try_from(pause).ok();
        let mut fds = [PollFd::new(&self.hints, PollFlags::IN), PollFd::new(&self.stop, PollFlags::IN)];
        // A signal ends it early, which is no harm.
        let _ = poll(&mut fds, timeout.as_ref());
        let stopped = fds[1].revents().contains(PollFlags::IN);
        self.drain();
        !stopped
    }

    fn stop(&self) {
        // It fails only where it was told to stop very often.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
    }
}

/// Whether an open file of a process is open for writing (proc(5), fdinfo).
fn is_writable(process: &Path, number: &std::ffi::OsStr) -> bool {
    const ACCESS_MODE: u32 = 0o3;
    let info = std::fs::read_to_string(process.join("fdinfo").join(number)).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags
        .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| flags & ACCESS_MODE != 0)
}
