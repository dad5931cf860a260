//! A directory of a test's own: scripts, state, witnesses, and the processes that work there.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value as Json;

use crate::client::{Answer, Target};
use crate::process::{Background, Ran, Seen, living_below, signal_pid};
use crate::until;

/// A directory that only its owner may enter, with hob's state below it. All processes that work there are killed
/// when it is dropped, also when the test panics.
pub struct Home {
    dir: tempfile::TempDir,
    hob: PathBuf,
    state: PathBuf,
    /// A program with arguments, through which hob is started.
    through: Vec<OsString>,
    env: Vec<(String, OsString)>,
}

impl Home {
    /// A new one, for the binary at `hob`.
    ///
    /// # Panics
    /// When no directory can be made.
    #[must_use]
    pub fn new(hob: &str) -> Self {
        Self::below(hob, &std::env::temp_dir())
    }

    /// The same below a directory: labs do not share that for temporary files.
    ///
    /// # Panics
    /// When no directory can be made there.
    #[must_use]
    pub fn below(hob: &str, base: &Path) -> Self {
        let dir =
            tempfile::Builder::new().prefix("hob-test-").tempdir_in(base).expect("a temporary directory");
        let state = dir.path().join("state");
        Self { dir, hob: hob.into(), state, through: Vec::new(), env: Vec::new() }
    }

    /// The same with a copy of the binary in its own directory: where labs do not see that of the build.
    ///
    /// # Panics
    /// When it cannot be copied.
    #[must_use]
    pub fn with_own_binary(mut self) -> Self {
        let copy = self.dir.path().join("hob");
        std::fs::copy(&self.hob, &copy).expect("the binary can be copied");
        self.hob = copy;
        self
    }

    /// The same with its state elsewhere.
    #[must_use]
    pub fn with_state(mut self, state: &Path) -> Self {
        self.state = state.to_owned();
        self
    }

    /// The same with a further variable for all commands.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// The same with all commands started through another one, which runs what follows its own arguments.
    #[must_use]
    pub fn through(mut self, command: &Command) -> Self {
        self.through =
            std::iter::once(command.get_program()).chain(command.get_args()).map(OsString::from).collect();
        self
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// A path below it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, and the directories above it.
    ///
    /// # Panics
    /// When that fails.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).expect("a directory");
        }
        std::fs::write(&path, content).expect("a file can be written");
        path
    }

    /// The variables that its hob commands have besides `PATH` and `HOME`.
    pub(crate) fn env(&self) -> impl Iterator<Item = (&str, &OsStr)> {
        self.env.iter().map(|(name, value)| (name.as_str(), value.as_os_str()))
    }

    /// What stands in a file; nothing when there is none.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The lines of a file; none when there is no file.
    #[must_use]
    pub fn lines(&self, name: &str) -> Vec<String> {
        self.read(name).lines().map(str::to_owned).collect()
    }

    /// A hob command that works here: with `PATH` and nothing else in its environment.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut words = self.through.iter().map(OsString::as_os_str).chain([self.hob.as_os_str()]);
        let mut command = Command::new(words.next().expect("there is hob itself"));
        command.args(words).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", self.dir());
        command.envs(self.env());
        command.arg("--state").arg(&self.state).args(args).current_dir(self.dir());
        command
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn hob(&self, args: &[&str]) -> Ran {
        Background::start(&mut self.command(args), None).end()
    }

    /// Runs a command with something on its standard input.
    #[track_caller]
    pub fn hob_with(&self, args: &[&str], input: impl AsRef<[u8]>) -> Ran {
        Background::start(&mut self.command(args), Some(input.as_ref())).end()
    }

    /// What a command that ends well prints as JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Json {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        self.hob(&args).exits(0).json()
    }

    /// What `hob status` tells of the service `name`.
    ///
    /// # Panics
    /// When it cannot be asked, or there is no such service.
    #[must_use]
    pub fn service(&self, name: &str) -> Json {
        let status = self.json(&["status"]);
        let mut services = status["services"].as_array().into_iter().flatten();
        services.find(|it| it["name"] == name).expect("the service is there").clone()
    }

    /// Starts a command.
    #[must_use]
    pub fn start(&self, args: &[&str]) -> Background {
        Background::start(&mut self.command(args), None)
    }

    /// Starts `hob up` in `dir` on a free port, and waits until it is ready.
    ///
    /// # Panics
    /// When it ends or does not become ready.
    #[track_caller]
    #[must_use]
    pub fn up(&self, dir: &str, args: &[&str]) -> Up {
        self.up_as_set(dir, &[&["--listen", "127.0.0.1:0"], args].concat())
    }

    /// As [`Home::up`], where `hob.toml` says what to listen on.
    ///
    /// # Panics
    /// When it ends or does not become ready.
    #[track_caller]
    #[must_use]
    pub fn up_as_set(&self, dir: &str, args: &[&str]) -> Up {
        let args = [&["up", dir], args].concat();
        let mut process = self.start(&args);
        let address = until("`hob up` is ready", || {
            let said = process.stderr();
            assert!(!process.has_ended(), "`hob up` ended: {:#?}", process.end());
            said.contains("ready;").then(|| listening(&said)).flatten()
        });
        Up { process, address }
    }

    /// Asks over the socket of the state directory.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Json>) -> std::io::Result<Answer> {
        Target::Socket(&self.state.join("hob.sock")).ask(method, path, &[], body)
    }

    /// The processes that work here.
    #[must_use]
    pub fn living(&self) -> Vec<Seen> {
        living_below(self.dir())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for seen in self.living() {
            signal_pid(seen.pid, Signal::KILL);
        }
    }
}

/// The address that `hob up` says it listens on.
#[must_use]
pub fn listening(said: &str) -> Option<SocketAddr> {
    let rest = said.split_once("listening on http://")?.1;
    rest.split([',', '\n']).next()?.parse().ok()
}

/// A `hob up` that is ready.
pub struct Up {
    /// The process.
    pub process: Background,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Up {
    /// Asks over TCP.
    ///
    /// # Panics
    /// When nobody answers.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Json>) -> Answer {
        let asked = Target::Tcp(self.address).ask(method, path, headers, body);
        asked.unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.process.stderr()))
    }

    /// SIGTERM, and its end.
    #[track_caller]
    pub fn stop(&mut self) -> Ran {
        self.process.signal(Signal::TERM);
        self.process.end()
    }
}
