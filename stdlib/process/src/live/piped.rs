//! Programs whose output is read while they run.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use hob_model::OpError;
use hob_primitive::{Ctx, HostPrograms, NameOrId, ProgramEnd, ProgramLine, RunningProgram};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{Live, lookup};

/// How much of what a program complains about is kept, in bytes.
const STDERR_BYTES_MAX: usize = 4 << 10;

/// How often it is looked whether a program is to end while it writes nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A program, which ends with its owner.
struct Piped {
    name: String,
    child: Child,
    stdout: ChildStdout,
    stderr: Option<JoinHandle<Vec<u8>>>,
    watcher: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
    end: Option<ProgramEnd>,
}

impl HostPrograms for Live {
    fn start(&self, cx: &Ctx, line: ProgramLine) -> Result<Box<dyn RunningProgram>, OpError> {
        let name = line.words.first().cloned().unwrap_or_default();
        let mut command = Command::new(&name);
        command.args(&line.words[1..]).current_dir(&line.cwd).env_clear().process_group(0);
        command.stdin(if line.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(self.base.iter());
        command.envs(cx.env_all().iter().map(|(name, value)| (name, value)));
        for (name, value) in &line.env {
            let value = cx.open(value)?;
            command.env(name, std::ffi::OsStr::from_bytes(&value));
        }
        let user = line.user.map(NameOrId::Name);
        if let Some(other) = lookup::identity(user.as_ref(), None)? {
            // Its directory may be closed to others, and what it needs comes through its streams.
            command.uid(other.uid).gid(other.gid).current_dir("/");
        }
        let mut child = command.spawn().map_err(|error| OpError::io(&error, &name).nothing_happened())?;
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        if let (Some(mut from), Some(mut to)) = (line.stdin, child.stdin.take()) {
            // Beside its output, or the two wait for each other. A program that closes its input says why itself.
            std::thread::spawn(move || drop(io::copy(&mut from, &mut to)));
        }
        let (done, end) = mpsc::channel::<()>();
        let (group, is_over) = (Pid::from_child(&child), line.is_over);
        let watcher = std::thread::spawn(move || {
            while end.recv_timeout(LOOK_AGAIN) == Err(mpsc::RecvTimeoutError::Timeout) {
                if is_over() {
                    let _ = kill_process_group(group, Signal::KILL);
                }
            }
        });
        let stderr = Some(std::thread::spawn(move || tail(stderr)));
        Ok(Box::new(Piped { name, child, stdout, stderr, watcher: Some((done, watcher)), end: None }))
    }
}

impl Read for Piped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stdout.read(buffer)
    }
}

impl RunningProgram for Piped {
    fn finish(&mut self) -> Result<ProgramEnd, OpError> {
        if let Some(end) = &self.end {
            return Ok(end.clone());
        }
        // What it left running keeps its streams open. The group's number is its own until it is waited for.
        let (pid, until) = (Pid::from_child(&self.child), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let _ = waitid(WaitId::Pid(pid), until);
        let _ = kill_process_group(pid, Signal::KILL);
        self.unwatch();
        let status = self.child.wait().map_err(|error| OpError::io(&error, &self.name))?;
        let complaint = self.stderr.take().and_then(|it| it.join().ok()).unwrap_or_default();
        let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
        let end = ProgramEnd { code: status.code().map(i64::from), complaint };
        self.end = Some(end.clone());
        Ok(end)
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        if self.end.is_none() {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            self.unwatch();
            let _ = self.child.wait();
        }
    }
}

impl Piped {
    /// Nobody signals the group once its number may be another's.
    fn unwatch(&mut self) {
        if let Some((done, watcher)) = self.watcher.take() {
            drop(done);
            let _ = watcher.join();
        }
    }
}

/// The end of what is read.
fn tail(mut from: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut part = [0; 1024];
    while let Ok(read @ 1..) = from.read(&mut part) {
        kept.extend_from_slice(&part[..read]);
        let over = kept.len().saturating_sub(STDERR_BYTES_MAX);
        kept.drain(..over);
    }
    kept
}
