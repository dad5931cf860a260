//! Disks of a test's own. Making one needs root; where that is missing a test says so and passes, but in CI
//! (`CI=true`) it fails: a check that did not run is none.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::cut::cut_power;
use crate::marker::Place;

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
}

impl FileSystem {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ext4, Self::Xfs, Self::Btrfs];

    fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// What makes one, and the least that it needs.
    fn make(self) -> (&'static str, &'static [&'static str], u64) {
        match self {
            Self::Ext4 => ("mkfs.ext4", &["-q", "-F"], 96 << 20),
            Self::Xfs => ("mkfs.xfs", &["-q", "-f"], 320 << 20),
            Self::Btrfs => ("mkfs.btrfs", &["-q", "-f"], 128 << 20),
        }
    }
}

/// How long it is waited for others to let go of a disk that was unmounted.
const LET_GO: Duration = Duration::from_secs(1);

/// The pause between two looks at whether they still do.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// A mounted file system, gone with this value whatever happens; what a killed test left, the next one removes.
pub struct Disk {
    place: Place,
    kind: Option<FileSystem>,
    mounted: bool,
    /// How often the image had to be copied.
    copies: u32,
    /// One test at a time: a process that is being started holds copies of all open files for a moment, and a disk
    /// with open files cannot be unmounted.
    _turn: Rc<MutexGuard<'static, ()>>,
}

static TURN: Mutex<()> = Mutex::new(());

fn turn() -> Rc<MutexGuard<'static, ()>> {
    Rc::new(TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

fn tool(program: &str, args: &[&str]) -> Result<(), String> {
    let ran = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&ran.stderr).trim()))
}

/// The disk, or `None` with a message where this machine allows none.
fn allowed<T>(made: Result<T, String>) -> Option<T> {
    match made {
        Ok(disk) => Some(disk),
        Err(why) if std::env::var("CI").is_ok_and(|it| it == "true") => {
            panic!("CI must be able to mount: {why}")
        }
        Err(why) => {
            crate::skipped(&format!("no disk of its own to test on: {why}"));
            None
        }
    }
}

/// Where a disk is mounted in its place.
fn mount_point(place: &Path) -> PathBuf {
    place.join("mnt")
}

/// Lazily: a child may still be dying. The loop device goes with its last mount.
fn let_go(place: &Path) {
    drop(tool("umount", &["-l", text(&mount_point(place))]));
}

impl Disk {
    fn new(kind: Option<FileSystem>, turn: Rc<MutexGuard<'static, ()>>) -> Result<Self, String> {
        Self::below(&std::env::temp_dir(), kind, turn)
    }

    fn below(
        base: &Path,
        kind: Option<FileSystem>,
        turn: Rc<MutexGuard<'static, ()>>,
    ) -> Result<Self, String> {
        let place = Place::below(base, "disk", let_go).map_err(|error| error.to_string())?;
        std::fs::create_dir(mount_point(place.path())).map_err(|error| error.to_string())?;
        Ok(Self { place, kind, mounted: false, copies: 0, _turn: turn })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        mount_point(self.place.path())
    }

    fn image(&self) -> PathBuf {
        self.place.path().join(format!("image{}", self.copies))
    }

    /// A file system in memory of `kib` KiB.
    #[must_use]
    pub fn in_memory(kib: u32) -> Option<Self> {
        Self::in_memory_below(&std::env::temp_dir(), kib)
    }

    /// As [`Disk::in_memory`], mounted below a directory that all labs see.
    #[must_use]
    pub fn in_memory_below(base: &Path, kib: u32) -> Option<Self> {
        let size = format!("size={kib}k");
        allowed(Self::below(base, None, turn()).and_then(|mut disk| {
            tool("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", text(&disk.path())])?;
            disk.mounted = true;
            Ok(disk)
        }))
    }

    /// A file system in a file.
    #[must_use]
    pub fn of(kind: FileSystem) -> Option<Self> {
        allowed(Self::make(kind, turn()))
    }

    /// Two file systems of a kind.
    #[must_use]
    pub fn two(kind: FileSystem) -> Option<[Self; 2]> {
        let turn = turn();
        let made = Self::make(kind, Rc::clone(&turn));
        allowed(made.and_then(|one| Ok([one, Self::make(kind, turn)?])))
    }

    fn make(kind: FileSystem, turn: Rc<MutexGuard<'static, ()>>) -> Result<Self, String> {
        let mut disk = Self::new(Some(kind), turn)?;
        let (program, args, bytes) = kind.make();
        let image = File::create(disk.image()).and_then(|image| image.set_len(bytes));
        image.map_err(|error| error.to_string())?;
        tool(program, &[args, &[text(&disk.image())]].concat())?;
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&mut self) -> Result<(), String> {
        let kind = self.kind.ok_or("a file system in memory is not mounted again")?;
        // XFS refuses a file system whose original is still mounted somewhere.
        let options = if kind == FileSystem::Xfs { "loop,nouuid" } else { "loop" };
        tool("mount", &["-t", kind.name(), "-o", options, text(&self.image()), text(&self.path())])?;
        self.mounted = true;
        Ok(())
    }

    /// From now on nothing more is written, as if the power had gone; [`Disk::remount`] brings it back.
    ///
    /// Btrfs cannot be shut down. There what the disk holds now is set aside, and what is written later is not kept.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn cut_power(&mut self) {
        if self.kind == Some(FileSystem::Btrfs) {
            copy(&self.image(), &self.left());
            return;
        }
        cut_power(&self.path()).expect("ext4 and XFS can be shut down by root");
    }

    /// What a power cut left.
    fn left(&self) -> PathBuf {
        self.place.path().join("left")
    }

    /// Unmounts and mounts again after a power cut, which replays what the file system's own log has.
    ///
    /// # Panics
    /// When somebody still uses it.
    pub fn remount(&mut self) {
        tool("umount", &[text(&self.path())]).expect("nobody uses it any more");
        self.mounted = false;
        // Whoever makes a mount namespace of its own has a copy of each mount, such as an engine that starts a container
        // beside this test: as long as it lives, mounting the image would give the old file system again.
        let begun = Instant::now();
        while self.is_attached() {
            if begun.elapsed() > LET_GO {
                self.take_copy();
                break;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        if self.left().exists() {
            let left = self.left();
            self.next_image(|next| std::fs::rename(left, next).expect("both are in one directory"));
        }
        self.mount().expect("it was mounted before");
    }

    /// Goes on with a copy of the image, which the old file system no longer changes.
    fn take_copy(&mut self) {
        let old = self.image();
        self.next_image(|next| copy(&old, next));
    }

    /// Goes on with another image.
    fn next_image(&mut self, make: impl FnOnce(&Path)) {
        let old = self.image();
        self.copies += 1;
        make(&self.image());
        std::fs::remove_file(&old).expect("it is this disk's own");
    }

    /// Whether a loop device still stands for the image.
    fn is_attached(&self) -> bool {
        let list = Command::new("losetup").args(["--associated", text(&self.image())]).output();
        list.is_ok_and(|list| !list.stdout.is_empty())
    }

    /// Changes the options of the mount: `ro`, `size=9m`.
    ///
    /// # Panics
    /// When it does not take them.
    pub fn change(&self, options: &str) {
        let changed = tool("mount", &["-o", &format!("remount,{options}"), text(&self.path())]);
        changed.expect("it takes these options");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let_go(self.place.path());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    tool("cp", &["--sparse=always", text(from), text(to)]).expect("there is room");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}
