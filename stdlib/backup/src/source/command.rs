//! What a program writes as a source: it goes into the repository, and never to a disk of this machine.
#![allow(clippy::disallowed_methods)] // This is the adapter: it starts programs.

use std::io::{self, Read};
use std::iter::{Once, once};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use hob_model::{OpError, Secret};
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustic_core::{ReadSource, ReadSourceEntry, RusticResult};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::guard::Watch;

/// How much of what a program complains about is kept, in bytes.
const STDERR_BYTES_MAX: usize = 4 << 10;

/// How often it is looked whether to go on while a program writes nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What of hob's own environment a program gets.
const INHERITED: [&str; 5] = ["PATH", "HOME", "USER", "LANG", "TZ"];

/// What a program is started with.
pub(crate) struct Line {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    /// Beside what all programs get.
    pub(crate) env: Vec<(String, Secret)>,
    pub(crate) cwd: PathBuf,
}

struct Running {
    child: Child,
    stderr: Option<JoinHandle<Vec<u8>>>,
    watcher: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
    ended: bool,
}

/// A program that writes, which ends with its last owner.
pub(crate) struct Program {
    name: String,
    running: Mutex<Running>,
    watch: Arc<Watch>,
}

impl Program {
    /// Starts it, as the leader of a process group.
    ///
    /// # Errors
    /// `not_found` when there is no such program, or no such secret.
    pub(crate) fn start(line: &Line, watch: &Arc<Watch>) -> Result<(Arc<Self>, ChildStdout), OpError> {
        let mut command = Command::new(&line.program);
        command.args(&line.args).current_dir(&line.cwd).env_clear().process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(INHERITED.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(watch.cx().env_all().iter().map(|(name, value)| (name, value)));
        for (name, value) in &line.env {
            let value = watch.cx().open(value)?;
            command.env(name, std::os::unix::ffi::OsStrExt::from_bytes(&value) as &std::ffi::OsStr);
        }
        let mut child = command.spawn().map_err(|error| OpError::io(&error, &line.program))?;
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let stderr = std::thread::spawn(move || tail(stderr));
        let (done, end) = mpsc::channel::<()>();
        let (group, watched) = (Pid::from_child(&child), Arc::clone(watch));
        let watcher = std::thread::spawn(move || {
            while end.recv_timeout(LOOK_AGAIN) == Err(mpsc::RecvTimeoutError::Timeout) {
                if watched.check().is_err() {
                    let _ = kill_process_group(group, Signal::KILL);
                }
            }
        });
        let running = Running { child, stderr: Some(stderr), watcher: Some((done, watcher)), ended: false };
        let (name, watch) = (line.program.clone(), Arc::clone(watch));
        Ok((Arc::new(Self { name, running: Mutex::new(running), watch }), stdout))
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its end, once it writes no more; whether it did well.
    ///
    /// # Errors
    /// `failed`, with the end of what it complained about.
    fn finish(&self) -> Result<(), OpError> {
        let mut running = self.running();
        if running.ended {
            return Ok(());
        }
        // What it left running keeps its streams open. The group's number is its own until it is waited for.
        let (pid, until) = (Pid::from_child(&running.child), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let _ = waitid(WaitId::Pid(pid), until);
        let _ = kill_process_group(pid, Signal::KILL);
        let status = running.child.wait().map_err(|error| OpError::io(&error, &self.name))?;
        running.ended = true;
        let complaint = running.stderr.take().and_then(|it| it.join().ok()).unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&complaint);
        Err(OpError::failed(format!("{} ended with {status}: {}", self.name, complaint.trim()))
            .hint("no snapshot was written"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let mut running = self.running();
        if !running.ended {
            let _ = kill_process_group(Pid::from_child(&running.child), Signal::KILL);
            let _ = running.child.wait();
        }
        if let Some((done, watcher)) = running.watcher.take() {
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

/// What a program writes. Its end is read only when it did well: a dump that broke off is none.
pub(crate) struct Output {
    stdout: ChildStdout,
    program: Arc<Program>,
}

impl Output {
    pub(crate) fn new(stdout: ChildStdout, program: Arc<Program>) -> Self {
        Self { stdout, program }
    }
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let watch = &self.program.watch;
        watch.check().map_err(io::Error::other)?;
        let read = self.stdout.read(buffer).map_err(|error| OpError::io(&error, &self.program.name));
        let ended = read.and_then(|read| {
            if read == 0 && !buffer.is_empty() {
                watch.check().and_then(|()| self.program.finish())?;
            }
            watch.advance(read as u64);
            Ok(read)
        });
        ended.map_err(|error| {
            watch.end(error.clone());
            io::Error::other(error)
        })
    }
}

/// One file of a source, from a reader.
pub(crate) struct Single<R> {
    path: PathBuf,
    meta: Metadata,
    reader: Mutex<Option<R>>,
}

impl<R> Single<R> {
    pub(crate) fn new(path: &Path, meta: Metadata, reader: R) -> Self {
        Self { path: path.to_owned(), meta, reader: Mutex::new(Some(reader)) }
    }
}

impl<R: Read + Send + Sync + 'static> ReadSource for Single<R> {
    type Open = R;
    type Iter = Once<RusticResult<ReadSourceEntry<R>>>;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Self::Iter {
        let open = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        let name = self.path.file_name().unwrap_or_default();
        let node = Node::new_node(name, NodeType::File, self.meta.clone());
        once(Ok(ReadSourceEntry { path: self.path.clone(), node, open }))
    }
}
