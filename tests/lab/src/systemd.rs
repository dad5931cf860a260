//! A systemd as PID 1 of private namespaces, with a bus and a journal of its own.
//!
//! It shares the file system of the machine but for `/run`, `/tmp`, `/etc/systemd/system`, `/etc/systemd/user` and
//! `/var/lib/systemd`, which are empty at first and gone with it. It is ended by a shell that waits for the end of a
//! pipe, so that also a test that is killed leaves nothing; what even that leaves is removed by the next one.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Boots it and watches over it.
const GUARD: &str = include_str!("systemd.sh");

/// How long it may take to boot; it takes a third of a second on an idle machine.
const BOOT_SECONDS_MAX: u64 = 60;

/// The longest message that systemd sends to tell its state.
const NOTE_BYTES_MAX: usize = 4096;

/// The manager of a user; `user@.service` of systemd but for the login, which would need logind.
const USER_MANAGER: &str = "[Service]\nType=notify\nUser=%i\nSlice=user-%i.slice\nDelegate=yes\nKillMode=mixed\n\
    Environment=HOME=/tmp/lab-home/%i XDG_CONFIG_HOME=/tmp/lab-home/%i XDG_RUNTIME_DIR=/run/user/%i\n\
    Environment=DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/%i/bus\n\
    ExecStart=/lib/systemd/systemd --user --unit=lab.target\n";

/// The socket of a user's bus.
const USER_BUS_SOCKET: &str = "[Socket]\nListenStream=%t/bus\n";

/// A user's bus.
const USER_BUS: &str = "[Unit]\nRequires=dbus.socket\n[Service]\nType=notify\n\
    ExecStart=/usr/bin/dbus-daemon --session --address=systemd: --nofork --nopidfile --systemd-activation\n";

/// All that a user's manager starts with.
const USER_TARGET: &str = "[Unit]\nRequires=dbus.socket\nAfter=dbus.socket\n";

/// Tells the systemds of one process apart.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A systemd that runs until this value is dropped.
pub struct Systemd {
    pid: u32,
    guard: Mutex<Child>,
    /// Its end is what the guard waits for.
    alive: Option<ChildStdin>,
}

impl Systemd {
    /// Boots one and waits until it is up.
    ///
    /// # Errors
    /// When a namespace or a control group cannot be made, or it does not come up; the message says which.
    pub fn start() -> io::Result<Self> {
        let name = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        // The guard removes it: only it knows when nothing uses it any more.
        let dir = tempfile::Builder::new().prefix("hob-lab-systemd-").tempdir()?.keep();
        let notify = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(format!("hob-lab-{name}"))?)?;
        notify.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "hob-lab", &name])
            .arg(&dir)
            .arg(format!("@hob-lab-{name}"))
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let alive = guard.stdin.take();
        let mut first_line = String::new();
        if let Some(stdout) = guard.stdout.take() {
            BufReader::new(stdout).read_line(&mut first_line)?;
        }
        let mut it = Self { pid: 0, guard: Mutex::new(guard), alive };
        let up = match first_line.trim().parse() {
            Ok(pid) => {
                it.pid = pid;
                it.wait_until_up(&notify)
            }
            Err(_) => Err(io::Error::other("no namespaces or control groups of its own")),
        };
        up.map_err(|error| {
            let log = fs::read_to_string(dir.join("boot.log")).unwrap_or_default();
            io::Error::other(format!("{error}: {}", log.trim()))
        })?;
        Ok(it)
    }

    /// What it needs and this machine lacks; for [`crate::started`].
    #[must_use]
    pub fn missing() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("root".to_owned());
        }
        let programs =
            ["/lib/systemd/systemd", "/usr/bin/unshare", "/usr/bin/nsenter", "/usr/bin/dbus-daemon"];
        programs.iter().find(|program| !Path::new(program).exists()).map(|&program| program.to_owned())
    }

    fn wait_until_up(&self, notify: &UnixDatagram) -> io::Result<()> {
        let mut note = [0; NOTE_BYTES_MAX];
        for _ in 0..BOOT_SECONDS_MAX {
            match notify.recv(&mut note) {
                Ok(length) if String::from_utf8_lossy(&note[..length]).contains("READY=1") => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.root().join("proc").exists() {
                        return Err(io::Error::other("systemd ended while it booted"));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other(format!("systemd is not up after {BOOT_SECONDS_MAX} s")))
    }

    /// Its process id, as the world outside sees it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The root of the file system that it sees.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.pid))
    }

    /// The address of its system bus, as `DBUS_SYSTEM_BUS_ADDRESS` takes it.
    #[must_use]
    pub fn bus_address(&self) -> String {
        format!("unix:path={}", self.root().join("run/dbus/system_bus_socket").display())
    }

    /// The directory for unit files.
    #[must_use]
    pub fn unit_dir(&self) -> PathBuf {
        self.root().join("etc/systemd/system")
    }

    /// Starts the manager of a user, as `user@UID.service` but without a login, with a bus of its own.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_user(&self, uid: u32) -> io::Result<UserManager> {
        let user_units = self.root().join("etc/systemd/user");
        for (name, text) in
            [("dbus.socket", USER_BUS_SOCKET), ("dbus.service", USER_BUS), ("lab.target", USER_TARGET)]
        {
            fs::write(user_units.join(name), text)?;
        }
        let manager = UserManager { root: self.root(), uid };
        for dir in [manager.runtime(), manager.config()] {
            fs::create_dir_all(&dir)?;
            std::os::unix::fs::chown(&dir, Some(uid), Some(uid))?;
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        }
        self.write_unit("user@.service", USER_MANAGER)?;
        let started = self.command("systemctl").args(["start", &format!("user@{uid}.service")]).output()?;
        match started.status.success() {
            true => Ok(manager),
            false => Err(io::Error::other(String::from_utf8_lossy(&started.stderr).into_owned())),
        }
    }

    /// Writes a unit file; systemd reads it with the next `daemon-reload`, or when the unit is first asked for.
    ///
    /// # Errors
    /// As writing a file.
    pub fn write_unit(&self, name: impl AsRef<Path>, text: &str) -> io::Result<()> {
        fs::write(self.unit_dir().join(name), text)
    }

    /// A program that sees what this systemd sees: its files, processes and bus.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &self.pid.to_string(),
            "--mount",
            "--pid",
            "--uts",
            "--cgroup",
            "--",
            program,
        ]);
        command
    }
}

/// The manager of a user, which ends with its systemd.
#[derive(Clone, Debug)]
pub struct UserManager {
    root: PathBuf,
    uid: u32,
}

impl UserManager {
    /// The address of its bus, as `DBUS_SESSION_BUS_ADDRESS` takes it.
    #[must_use]
    pub fn bus_address(&self) -> String {
        format!("unix:path={}", self.runtime().join("bus").display())
    }

    /// What `XDG_RUNTIME_DIR` is, as the world outside sees it.
    #[must_use]
    pub fn runtime(&self) -> PathBuf {
        self.root.join(format!("run/user/{}", self.uid))
    }

    /// What `XDG_CONFIG_HOME` is, as the world outside sees it.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join(format!("tmp/lab-home/{}", self.uid))
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        drop(self.alive.take());
        // The guard ends when all of it is gone.
        let waited = self.guard.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
        drop(waited);
    }
}
