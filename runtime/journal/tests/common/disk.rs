//! Disks of a test's own. Making one needs root; where that is missing a test says so and passes, but in CI
//! (`CI=true`) it fails: a check that did not run is none.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // test helpers, shared by several tests
#![allow(clippy::disallowed_methods, clippy::print_stderr)] // it runs the system's tools, and says what is missing

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

/// A mounted file system, gone with this value whatever happens.
pub struct Disk {
    dir: TempDir,
    mounted: bool,
    /// One at a time: a process that is being started holds copies of all open files for a moment, and a disk
    /// with open files cannot be unmounted.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

fn tool(program: &str, args: &[&str]) -> Result<(), String> {
    let ran = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&ran.stderr).trim()))
}

/// The disk, or `None` with a message where this machine allows none.
fn allowed(made: Result<Disk, String>) -> Option<Disk> {
    match made {
        Ok(disk) => Some(disk),
        Err(why) if std::env::var("CI").is_ok_and(|it| it == "true") => {
            panic!("CI must be able to mount: {why}")
        }
        Err(why) => {
            eprintln!("skipped, no disk of its own to test on: {why}");
            None
        }
    }
}

impl Disk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("mnt")).unwrap();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self { dir, mounted: false, _turn: turn }
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// A file system in memory of `kib` KiB.
    pub fn in_memory(kib: u32) -> Option<Self> {
        let mut disk = Self::new();
        let size = format!("size={kib}k");
        let made = tool("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", text(&disk.path())]);
        disk.mounted = made.is_ok();
        allowed(made.map(|()| disk))
    }

    /// An ext4 file system in a file, whose power can be cut.
    pub fn ext4() -> Option<Self> {
        const IMAGE_BYTES: u64 = 96 << 20;
        let mut disk = Self::new();
        std::fs::File::create(disk.image()).unwrap().set_len(IMAGE_BYTES).unwrap();
        let made = tool("mkfs.ext4", &["-q", "-F", text(&disk.image())]).and_then(|()| disk.mount());
        allowed(made.map(|()| disk))
    }

    fn mount(&mut self) -> Result<(), String> {
        tool("mount", &["-t", "ext4", "-o", "loop", text(&self.image()), text(&self.path())])?;
        self.mounted = true;
        Ok(())
    }

    /// Unmounts and mounts again, which replays what the file system's own log has.
    pub fn remount(&mut self) {
        tool("umount", &[text(&self.path())]).unwrap();
        self.mounted = false;
        self.mount().unwrap();
    }

    /// Changes the options of the mount: `ro`, `size=9m`.
    pub fn change(&self, options: &str) {
        tool("mount", &["-o", &format!("remount,{options}"), text(&self.path())]).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            // Lazily: a child may still be dying. The loop device goes with its last mount.
            let _ = tool("umount", &["-l", text(&self.path())]);
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
