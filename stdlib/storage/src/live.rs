//! The adapter for this machine.
#![allow(clippy::disallowed_methods)] // This is the adapter: what it does is I/O.

mod direct;
mod directories;
mod file;
mod raw;
mod tier;
mod tools;

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use hob_model::OpError;
use hob_planner::Mounted;
use hob_supervisor::FileSystems;
use hob_supervisor::storage::{Answer, inode};

pub use tools::LiveTools;

use crate::tier::{IoPriority, Space, Tier, Tiers};

/// The file systems of this machine.
#[derive(Debug)]
pub struct Live {
    begun: Instant,
    file_systems: FileSystems,
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
        Self { begun: Instant::now(), file_systems: FileSystems::default() }
    }
}

impl Tiers for Live {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Tier>> {
        Ok(Box::new(tier::LiveTier::open(path)?))
    }

    fn open_files(&self) -> HashSet<(u64, u64)> {
        let mut open = HashSet::new();
        let is_process = |name: &std::ffi::OsStr| name.to_str().is_some_and(|it| it.parse::<u32>().is_ok());
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            if !is_process(&process.file_name()) {
                continue;
            }
            // Processes end meanwhile, and those of others are closed to who is not root: leases are the second look.
            let Ok(files) = std::fs::read_dir(process.path().join("fd")) else { continue };
            for file in files.flatten() {
                // What memory knows is enough, and a server that is gone is not waited for.
                open.extend(inode(&file.path()));
            }
        }
        open
    }

    fn is_directory(&self, path: &Path, patience: Duration) -> Result<bool, OpError> {
        self.file_systems.is_directory(path, patience)
    }

    fn space(&self, path: &Path, patience: Duration) -> Result<Space, OpError> {
        self.file_systems.space(path, patience).map(|it| tier::space(&it))
    }

    fn answer(&self, path: &Path, patience: Duration) -> Answer {
        self.file_systems.answer(path, patience)
    }

    fn uuid(&self, device: &str) -> Option<String> {
        // Links of udev, from what is on a device to the device (`udev(7)`).
        let links = std::fs::read_dir("/dev/disk/by-uuid").ok()?;
        let mut links = links.flatten();
        let found =
            links.find(|link| link.path().canonicalize().is_ok_and(|path| path == Path::new(device)))?;
        found.file_name().into_string().ok()
    }

    fn ext4_errors(&self, device: &str) -> Option<i64> {
        // `Documentation/ABI/testing/sysfs-fs-ext4` of the kernel.
        let name = Path::new(device).canonicalize().ok()?.file_name()?.to_owned();
        let counted =
            std::fs::read_to_string(Path::new("/sys/fs/ext4").join(name).join("errors_count")).ok()?;
        counted.trim().parse().ok()
    }

    fn mounted(&self) -> Result<Vec<Mounted>, OpError> {
        self.file_systems.mounted()
    }

    fn prioritise(&self, priority: IoPriority) {
        raw::prioritise(priority);
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}
