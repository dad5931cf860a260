//! A real Podman, with and without root, or a real Docker, with a registry, in namespaces of its own.
//!
//! The engine, its containers and its registries live in private mount, process and network namespaces, so that nothing
//! of it is to be seen outside, several run side by side, and the end of one process is the end of all. That process
//! is a shell, the keeper, which reads orders from a pipe: when the test goes, the pipe ends, and so does the keeper.
//! Only the socket, and the directory that holds it, are reached from outside.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::Mutex;

use crate::marker::Place;

/// The image that is there from the start: busybox, with `sh` as its command.
pub const IMAGE: &str = "localhost/busybox:test";

/// A registry that lets everybody in. Reached from inside only.
pub const REGISTRY: &str = "localhost:5000";

/// A registry that wants [`REGISTRY_USER`] and [`REGISTRY_PASSWORD`].
pub const REGISTRY_PRIVATE: &str = "localhost:5001";

/// The user that [`REGISTRY_PRIVATE`] knows.
pub const REGISTRY_USER: &str = "ada";

/// That user's password.
pub const REGISTRY_PASSWORD: &str = "open sesame";

/// The bcrypt hash of [`REGISTRY_PASSWORD`].
const REGISTRY_HASH: &str = "$2b$05$DgwkeY8VFaZsg7l5NUlTreADllgFF7mdmv6fC3h2SvQiHxif/3GqO";

/// The user that a rootless engine runs as; one that machines do not have.
const ROOTLESS_UID: u32 = 64_321;

/// How often the socket is tried, 5 ms apart.
const LISTENER_TRIES_MAX: u32 = 2000;

/// The shell that is process 1 of the engine's namespaces.
const KEEPER: &str = include_str!("engine.sh");

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Podman, as root.
    Podman,
    /// Podman, as a user without rights, with user namespaces and slirp4netns.
    RootlessPodman,
    /// Docker.
    Docker,
}

impl Kind {
    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::RootlessPodman => "rootless",
            Self::Docker => "docker",
        }
    }

    /// The programs it needs.
    fn programs(self) -> Vec<&'static str> {
        let common = ["runc", "unshare", "nsenter", "busybox", "docker-registry", "ip", "iptables", "curl"];
        let own: &[&str] = match self {
            Self::Podman => &["podman", "conmon"],
            Self::RootlessPodman => &["podman", "conmon", "newuidmap", "slirp4netns", "setpriv"],
            Self::Docker => &["dockerd", "containerd"],
        };
        [&common, own].concat()
    }

    /// What this machine lacks for it; `None` when it can be started.
    #[must_use]
    pub fn missing(self) -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("the rights of root".to_owned());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let there = |name: &&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
        let lacking: Vec<&str> = self.programs().into_iter().filter(|name| !there(name)).collect();
        (!lacking.is_empty()).then(|| lacking.join(", "))
    }

    fn tidy(self) -> fn(&Path) {
        match self {
            Self::Podman => remove_cgroups_of_podman,
            Self::RootlessPodman => |_| {},
            Self::Docker => remove_cgroups_of_docker,
        }
    }
}

/// An engine that runs until this value is dropped or the process ends.
#[derive(Debug)]
pub struct Engine {
    kind: Kind,
    keeper: Child,
    orders: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    place: Place,
}

impl Engine {
    /// Starts one: takes about a second.
    ///
    /// # Errors
    /// When it does not come up; the message has what it said.
    pub fn start(kind: Kind) -> io::Result<Self> {
        let place = Place::new(kind.name(), kind.tidy())?;
        lay_out(place.path())?;
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--pid",
            "--net",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
            KEEPER,
        ]);
        command.arg(place.path().join("keeper.sh")).arg(place.path()).arg(kind.name());
        command.env("IMAGE", IMAGE).env("ROOTLESS_UID", ROOTLESS_UID.to_string());
        command.env("CREDENTIALS", format!("{REGISTRY_USER}:{REGISTRY_PASSWORD}"));
        let said = fs::File::create(place.path().join("keeper.log"))?;
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(said).spawn()?;
        let pipes = keeper.stdin.take().zip(keeper.stdout.take()).expect("both were asked for");
        let it = Self { kind, keeper, orders: Mutex::new((pipes.0, BufReader::new(pipes.1))), place };
        it.answer()?;
        it.await_listener()?;
        Ok(it)
    }

    /// Which engine it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The socket of the engine.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.place.path().join("run/engine.sock")
    }

    /// A directory that the engine sees at the same place, for binds and contexts.
    #[must_use]
    pub fn shared(&self) -> PathBuf {
        self.place.path().join("shared")
    }

    /// The directory that the engine sees as `/etc/cdi`, for specifications of devices.
    #[must_use]
    pub fn cdi(&self) -> PathBuf {
        self.place.path().join("cdi")
    }

    /// Ends the engine's service; containers go on.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn stop_engine(&self) -> io::Result<()> {
        self.order("stop")
    }

    /// Starts the engine's service again.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn start_engine(&self) -> io::Result<()> {
        self.order("start")?;
        self.await_listener()
    }

    /// Starts both registries, with [`IMAGE`] in them as `busybox:1`.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn start_registries(&self) -> io::Result<()> {
        self.order("registries")
    }

    /// A program inside: it sees the engine's network and processes.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn inside(&self, program: &str) -> io::Result<Command> {
        let children = format!("/proc/{0}/task/{0}/children", self.keeper.id());
        let text = fs::read_to_string(children)?;
        let pid = text.split_whitespace().next().ok_or_else(|| io::Error::other("the keeper is gone"))?;
        let mut command = Command::new("nsenter");
        command.args(["--target", pid, "--mount", "--pid", "--net", program]);
        Ok(command)
    }

    /// Runs the engine's own command line on the same containers.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn cli(&self, args: &[&str]) -> io::Result<Output> {
        let program = self.place.path().join("cli");
        self.inside(&program.to_string_lossy())?.args(args).output()
    }

    /// The socket is there a moment before anybody listens.
    fn await_listener(&self) -> io::Result<()> {
        let mut last = Ok(());
        for _ in 0..LISTENER_TRIES_MAX {
            match std::os::unix::net::UnixStream::connect(self.socket()) {
                Ok(_) => return Ok(()),
                Err(error) => last = Err(error),
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        last
    }

    fn order(&self, order: &str) -> io::Result<()> {
        let mut pipes = self.orders.lock().expect("no code panics while holding this lock");
        writeln!(pipes.0, "{order}")?;
        drop(pipes);
        self.answer()
    }

    fn answer(&self) -> io::Result<()> {
        let mut pipes = self.orders.lock().expect("no code panics while holding this lock");
        let mut line = String::new();
        pipes.1.read_line(&mut line)?;
        if line.trim() == "ready" {
            return Ok(());
        }
        let said = fs::read_to_string(self.place.path().join("keeper.log")).unwrap_or_default();
        Err(io::Error::other(format!("{} did not come up: {line}{said}", self.kind.name())))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Ok(pipes) = self.orders.get_mut() {
            drop(writeln!(pipes.0, "end"));
            // Its end is the end of its output.
            drop(pipes.1.read_to_end(&mut Vec::new()));
        }
        drop(self.keeper.wait());
        self.kind.tidy()(self.place.path());
    }
}

/// Writes the files it is configured by.
fn lay_out(dir: &Path) -> io::Result<()> {
    for sub in ["tmp", "networks", "rootfs/bin", "run", "shared", "registry", "cdi"] {
        fs::create_dir_all(dir.join(sub))?;
    }
    let here = dir.display();
    // crun refuses hybrid control groups; there is no journald inside; the limits are those of this container.
    let conf = format!(
        "[containers]\ndefault_ulimits = [\"nofile=1024:4096\", \"nproc=4096:4096\"]\n\
         [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
         [network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = \"{here}/networks\"\n"
    );
    fs::write(dir.join("containers.conf"), conf)?;
    fs::write(dir.join("daemon.json"), "{}")?;
    fs::write(dir.join("keeper.sh"), KEEPER)?;
    let mut registries = String::from("unqualified-search-registries = []\n");
    for (name, auth) in [(REGISTRY, false), (REGISTRY_PRIVATE, true)] {
        registries.push_str(&format!("[[registry]]\nlocation = \"{name}\"\ninsecure = true\n"));
        let port = name.rsplit(':').next().unwrap_or_default();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {here}/registry/{port}}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n"
        );
        if auth {
            config.push_str(&format!("auth: {{htpasswd: {{realm: lab, path: {here}/htpasswd}}}}\n"));
        }
        fs::write(dir.join(format!("registry-{port}.yml")), config)?;
    }
    fs::write(dir.join("registries.conf"), registries)?;
    fs::write(dir.join("htpasswd"), format!("{REGISTRY_USER}:{REGISTRY_HASH}\n"))?;
    Ok(())
}

/// Removes the control groups that Podman made, which outlive their processes.
fn remove_cgroups_of_podman(dir: &Path) {
    let Ok(containers) = fs::read_dir(dir.join("root/overlay-containers")) else { return };
    let hierarchies = hierarchies();
    for id in containers.flatten().filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name()) {
        for hierarchy in &hierarchies {
            let group = hierarchy.join("libpod_parent").join(format!("libpod-{}", id.to_string_lossy()));
            drop(fs::remove_dir(group.join("container")));
            // Fails, as it should, while there are processes in it.
            drop(fs::remove_dir(group));
        }
    }
}

/// The same for Docker, which has them in one named after the engine's directory.
fn remove_cgroups_of_docker(dir: &Path) {
    let Some(name) = dir.file_name() else { return };
    for group in hierarchies().into_iter().map(|hierarchy| hierarchy.join(name)) {
        for container in fs::read_dir(&group).into_iter().flatten().flatten() {
            drop(fs::remove_dir(container.path()));
        }
        drop(fs::remove_dir(group));
    }
}

fn hierarchies() -> Vec<PathBuf> {
    fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
