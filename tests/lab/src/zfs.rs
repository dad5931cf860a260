//! ZFS in user space, `zfs-fuse`. A machine has one daemon of it, with one socket and one list of pools: a test that wants it
//! runs itself once more in namespaces of its own, where no other one is, and with which all of it goes.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::marker::Place;

/// Tells a test that it runs in namespaces of its own, and where its disks are to be.
const INSIDE: &str = "HOB_LAB_ZFS";

/// What a pool stands on is as small as ZFS takes it, and then some.
const DISK_BYTES: u64 = 80 << 20;

/// How long the daemon may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Places in which the daemon keeps what is one for a machine are this test's own, and the disks in memory.
const LAY_OUT: &str =
    "for dir in /run /var/lib/zfs /etc/zfs \"$0\"; do mount -t tmpfs -o mode=755 tmpfs \"$dir\"; done
mkdir /run/lock
exec \"$@\"";

/// A daemon, with a pool of two disks that mirror each other.
#[derive(Debug)]
pub struct Zfs {
    dir: PathBuf,
    daemon: Child,
}

/// What is missing to start one.
#[must_use]
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("the rights of root".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    let lacking = ["zfs-fuse", "zpool", "zfs", "unshare", "setpriv"].into_iter().find(|name| !there(name));
    let lacking = lacking.or((!Path::new("/dev/fuse").exists()).then_some("/dev/fuse"));
    lacking.map(|it| format!("{it} (zfs-fuse)"))
}

impl Zfs {
    /// The name of the pool.
    pub const POOL: &str = "hobtest";

    /// Runs the body of the test that has this name in its binary with a pool of its own.
    ///
    /// # Panics
    /// When the body does, or the daemon does not come up.
    pub fn with(test: &str, body: impl FnOnce(&Self)) {
        if let Some(dir) = std::env::var_os(INSIDE) {
            body(&Self::start(dir.into()).unwrap_or_else(|error| panic!("zfs-fuse: {error}")));
            return;
        }
        let Some(ran) = crate::started("zfs-fuse", missing(), || again(test)) else { return };
        let said = [ran.stdout, ran.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
        assert!(ran.status.success() && said.contains("1 passed"), "{test} in namespaces of its own: {said}");
    }

    fn start(dir: PathBuf) -> io::Result<Self> {
        let log = File::create(dir.join("log"))?;
        let mut command = Command::new("zfs-fuse");
        command.args(["--no-daemon", "--no-kstat-mount"]).stdout(log.try_clone()?).stderr(log);
        let mut zfs = Self { dir, daemon: command.spawn()? };
        let begun = Instant::now();
        while !Command::new("zpool").arg("list").output()?.status.success() {
            if begun.elapsed() > READY_WITHIN || zfs.daemon.try_wait()?.is_some() {
                return Err(io::Error::other(std::fs::read_to_string(zfs.dir.join("log"))?));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        for disk in zfs.disks() {
            File::create(disk)?.set_len(DISK_BYTES)?;
        }
        let [one, other] = zfs.disks().map(PathBuf::into_os_string);
        let at = zfs.path().into_os_string();
        let words = ["create", "-m", Self::POOL, "mirror"].map(OsString::from);
        let [create, mounted, pool, mirror] = words;
        zfs.run("zpool", &[create, mounted, at, pool, mirror, one, other]);
        Ok(zfs)
    }

    /// Where the pool is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join("pool")
    }

    /// The files that the pool stands on.
    #[must_use]
    pub fn disks(&self) -> [PathBuf; 2] {
        ["one", "other"].map(|name| self.dir.join(name))
    }

    /// What a program said, which must do well.
    ///
    /// # Panics
    /// When it does not.
    pub fn run(&self, program: &str, args: &[impl AsRef<OsStr>]) -> String {
        let ran = Command::new(program).args(args).output().expect("it can be started");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{program}: {said}");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    /// Writes over a disk, but for its labels at both ends.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn damage(&self, disk: &Path) -> io::Result<()> {
        let labels = 4 << 20;
        let mut noise = Vec::new();
        for number in 0..(DISK_BYTES - 2 * labels) / 8 {
            noise.write_all(&(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes())?;
        }
        File::options().write(true).open(disk)?.write_all_at(&noise, labels)
    }
}

impl Drop for Zfs {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Runs a test of this binary once more, by itself, in namespaces that end with it.
fn again(test: &str) -> io::Result<Output> {
    let place = Place::new("zfs", |_| {})?;
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "--pid",
        "--fork",
    ]);
    command.args(["--kill-child", "--mount-proc", "sh", "-ec", LAY_OUT]).arg(place.path());
    command.arg(std::env::current_exe()?).args(["--exact", test, "--nocapture"]);
    command.env(INSIDE, place.path()).stdin(Stdio::null()).output()
}
