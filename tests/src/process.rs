//! Processes of a test: started with limits, never left behind.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value as Json;

use crate::{DEADLINE, within};

/// How often a program is started that is open for writing, and how long after.
const BUSY_MAX: u32 = 200;
const BUSY_AGAIN: Duration = Duration::from_millis(5);

/// What a command did.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the kernel wrote a core dump of it.
    pub core_dumped: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The command line, for messages.
    pub line: String,
}

impl Ran {
    /// The same, once it ended with `code`.
    ///
    /// # Panics
    /// When it did not, with all that it wrote.
    #[track_caller]
    #[must_use]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Standard output without the newline at its end.
    #[must_use]
    pub fn out(&self) -> &str {
        self.stdout.trim_end()
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:#?}"))
    }

    /// Whether `text` stands on standard error.
    #[must_use]
    pub fn says(&self, text: &str) -> bool {
        self.stderr.contains(text)
    }

    /// The same, once `text` stands on standard error.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    #[must_use]
    pub fn saying(self, text: &str) -> Self {
        assert!(self.says(text), "`{text}` is not said: {self:#?}");
        self
    }

    /// The same, once `text` stands on standard output.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    #[must_use]
    pub fn printing(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "`{text}` is not printed: {self:#?}");
        self
    }
}

/// A process that goes on beside the test; it is killed when this is dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
    out: File,
    err: File,
    line: String,
    ended: Option<ExitStatus>,
}

/// Starts a program. One that this test has just written may still be open in a process that another test starts, until that
/// runs its program.
fn spawned(command: &mut Command) -> std::io::Result<Child> {
    for _ in 0..BUSY_MAX {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(BUSY_AGAIN);
            }
            other => return other,
        }
    }
    command.spawn()
}

impl Background {
    /// Starts `command` with its output in files, and `input` as its standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command, input: Option<&[u8]>) -> Self {
        let file = || tempfile::tempfile().expect("a temporary file");
        let (out, err) = (file(), file());
        let copy = |file: &File| Stdio::from(file.try_clone().expect("a file can be duplicated"));
        let stdin = input.map_or_else(Stdio::null, |bytes| {
            let mut stdin = file();
            stdin.write_all(bytes).and_then(|()| stdin.rewind()).expect("a temporary file is written");
            Stdio::from(stdin)
        });
        let line = format!("{command:?}");
        command.stdin(stdin).stdout(copy(&out)).stderr(copy(&err));
        let child = spawned(command).unwrap_or_else(|error| panic!("{line} does not start: {error}"));
        Self { child, out, err, line, ended: None }
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
        }
        self.ended.is_some()
    }

    /// What it has written to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        content(&self.err)
    }

    /// What it has written to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        content(&self.out)
    }

    /// Sends a signal, if it still runs.
    pub fn signal(&mut self, signal: Signal) {
        if !self.has_ended() {
            signal_pid(self.pid(), signal);
        }
    }

    /// SIGKILL, and waits; whether it was alive until then.
    pub fn kill(&mut self) -> bool {
        let alive = !self.has_ended();
        let _ = self.child.kill();
        self.ended = self.child.wait().ok();
        alive && self.ended.is_some_and(|status| status.signal() == Some(9))
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it has not ended after [`DEADLINE`]; with larger counts it may take ten times as long.
    #[track_caller]
    pub fn end(&mut self) -> Ran {
        self.end_within(if crate::long() { 10 * DEADLINE } else { DEADLINE })
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it has not ended after `limit`; it is killed then.
    #[track_caller]
    pub fn end_within(&mut self, limit: Duration) -> Ran {
        if within(limit, || self.has_ended().then_some(())).is_none() {
            self.kill();
            panic!("still running after {limit:?}: {:#?}", self.ran());
        }
        self.ran()
    }

    fn ran(&self) -> Ran {
        Ran {
            code: self.ended.and_then(|status| status.code()),
            signal: self.ended.and_then(|status| status.signal()),
            core_dumped: self.ended.is_some_and(|status| status.core_dumped()),
            stdout: content(&self.out),
            stderr: content(&self.err),
            line: self.line.clone(),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.kill();
    }
}

/// All that stands in a file that is also written by somebody else: its offset is shared, and must stay at the end.
fn content(file: &File) -> String {
    use std::os::unix::fs::FileExt;
    let len = usize::try_from(file.metadata().map_or(0, |meta| meta.len())).unwrap_or(0);
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, 0).unwrap_or(0);
    bytes.truncate(read);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends a signal to a process, which may be gone.
pub fn signal_pid(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// A process of this machine.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its id.
    pub pid: u32,
    /// Its arguments, joined by spaces.
    pub line: String,
    /// Its working directory.
    pub cwd: PathBuf,
}

/// The living processes (no zombies) that work in `dir` or below it.
#[must_use]
pub fn living_below(dir: &Path) -> Vec<Seen> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let seen = pids.filter_map(|pid| {
        // Neither is there for a zombie.
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        let mut line = String::new();
        File::open(format!("/proc/{pid}/cmdline")).ok()?.read_to_string(&mut line).ok()?;
        let line = line.trim_end_matches('\0').replace('\0', " ");
        Some(Seen { pid, line, cwd })
    });
    seen.filter(|seen| seen.cwd.starts_with(dir)).collect()
}
