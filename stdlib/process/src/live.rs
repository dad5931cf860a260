//! The adapter for Linux: tokio's processes, pidfds and `/proc`.
#![allow(clippy::disallowed_methods)] // This is the adapter: what it does is I/O, and measuring takes a real clock.

mod lookup;
mod piped;
mod raw;
mod session;
mod spawn;
mod streams;
mod table;

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hob_model::OpError;
use hob_primitive::Cancel;
use tokio::io::unix::AsyncFd;
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

use crate::command::{Background, Command, OnOverflow};
use crate::outcome::{Cut, Ending, Finished};
use crate::port::{PortFuture, Process, ProcessPort, Signal};
use session::{Handle, Members, SessionGuard};
use streams::{Pipes, Streams};

/// What a program finds in `PATH` when hob itself has none.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of hob's own environment that programs get.
const BASE_VARIABLES: [&str; 5] = ["PATH", "HOME", "USER", "LANG", "TZ"];

/// How long to wait for the pipes of a program that has ended, when a process that left its session holds them.
const PIPES_WAIT: Duration = Duration::from_millis(500);

/// How long a process may take to go away after SIGKILL; longer ones hang in the kernel.
const KILL_WAIT: Duration = Duration::from_secs(3);

/// Runs processes of this machine.
#[derive(Clone, Debug)]
pub struct Live {
    base: Arc<BTreeMap<String, String>>,
}

impl Live {
    /// An adapter for a hob that was itself started with this environment; programs get `PATH`, `HOME`, `USER`, `LANG`
    /// and `TZ` of it and nothing else.
    pub fn new(environ: impl IntoIterator<Item = (String, String)>) -> Self {
        let kept = environ.into_iter().filter(|(name, _)| BASE_VARIABLES.contains(&name.as_str()));
        let mut base: BTreeMap<String, String> = kept.collect();
        base.entry("PATH".to_owned()).or_insert_with(|| PATH_DEFAULT.to_owned());
        Self { base: Arc::new(base) }
    }
}

impl ProcessPort for Live {
    fn run(&self, command: Command) -> PortFuture<Finished> {
        let base = Arc::clone(&self.base);
        Box::pin(async move {
            let started = start(&base, &command)?;
            let dropped = CancellationToken::new();
            // The task outlives this future: when the caller drops it, the guard says so and the session is ended.
            let task = tokio::spawn(supervise(started, command, dropped.clone()));
            let _guard = dropped.drop_guard();
            task.await
                .unwrap_or_else(|error| Err(OpError::failed(format!("the task that watched it: {error}"))))
        })
    }

    fn list(&self) -> Result<Vec<Process>, OpError> {
        table::list()
    }

    fn alive(&self, key: &str) -> Result<Vec<u32>, OpError> {
        Ok(Members::of_effect(key).find()?.into_iter().map(|found| found.pid).collect())
    }

    fn identity(&self, pid: u32) -> Result<Option<String>, OpError> {
        table::identity(pid)
    }

    fn signal(&self, pid: u32, identity: &str, signal: Signal) -> Result<bool, OpError> {
        match Handle::open(pid, identity)? {
            Some(handle) => handle.signal(rustix_signal(signal)?),
            None => Ok(false),
        }
    }

    fn stop(&self, pid: u32, identity: &str, grace: Duration, cancel: Cancel) -> PortFuture<bool> {
        let identity = identity.to_owned();
        Box::pin(async move {
            let Some(handle) = Handle::open(pid, &identity)? else {
                return Ok(false);
            };
            let handle = handle.watched()?;
            if !handle.signal(rustix::process::Signal::TERM)? {
                return Ok(false);
            }
            tokio::select! {
                () = cancel.cancelled() => return Err(OpError::cancelled(format!("process {pid} was told to end"))),
                gone = handle.gone_within(grace) => if gone { return Ok(true) },
            }
            handle.signal(rustix::process::Signal::KILL)?;
            match handle.gone_within(KILL_WAIT).await {
                true => Ok(true),
                false => Err(OpError::failed(format!("process {pid} does not go away after SIGKILL"))
                    .hint("it hangs in the kernel, often on a dead disk or network file system")),
            }
        })
    }
}

fn rustix_signal(Signal(signal): Signal) -> Result<rustix::process::Signal, OpError> {
    rustix::process::Signal::from_named_raw(signal as i32)
        .ok_or_else(|| OpError::invalid(format!("{signal} cannot be sent")))
}

/// A program that was started.
struct Started {
    child: Child,
    pid: u32,
    /// Readable when the program has ended, while its pid is still kept from reuse.
    exit: AsyncFd<std::os::fd::OwnedFd>,
    streams: Streams,
    guard: SessionGuard,
    begun: Instant,
}

fn start(base: &BTreeMap<String, String>, command: &Command) -> Result<Started, OpError> {
    let (mut child, pipes, begun) = spawn(base, command).map_err(OpError::nothing_happened)?;
    let pid = child.id().expect("a child that was not waited for has a pid");
    let guard = SessionGuard::new(pid, &command.key);
    let exit = session::pidfd(pid)?;
    let streams = pipes.start(child.stdin.take(), command)?;
    Ok(Started { child, pid, exit, streams, guard, begun })
}

/// Everything that can fail before the program runs.
fn spawn(base: &BTreeMap<String, String>, command: &Command) -> Result<(Child, Pipes, Instant), OpError> {
    let identity = lookup::identity(command.user.as_ref(), command.group.as_ref())?;
    let env = lookup::environment(base, command, identity.as_ref());
    let program = lookup::program(command, env.get("PATH").map_or("", String::as_str))?;
    let (mut std_command, pipes) = spawn::prepare(&program, command, &env)?;
    raw::in_own_session(&mut std_command, command.umask, identity.as_ref());
    let begun = Instant::now();
    // A temporary, because it holds the writing ends of the pipes.
    let child = tokio::process::Command::from(std_command).spawn();
    let child = child.map_err(|error| lookup::spawn_error(&error, &program, command))?;
    Ok((child, pipes, begun))
}

async fn supervise(
    started: Started,
    command: Command,
    dropped: CancellationToken,
) -> Result<Finished, OpError> {
    let Started { mut child, pid, exit, streams, guard, begun } = started;
    let cut = tokio::select! {
        biased;
        _ = exit.readable() => None,
        () = command.cancel.cancelled() => Some(Cut::Cancelled),
        () = dropped.cancelled() => Some(Cut::Cancelled),
        () = streams.overflow() => Some(Cut::Overflow),
        () = after(command.timeout) => Some(Cut::TimedOut),
    };
    let mut left = Vec::new();
    if cut.is_some() {
        // The key finds also those that left the session.
        left = session::end(&Members::of_session(pid).or_effect(&command.key), command.grace).await?;
    }
    let status = tokio::time::timeout(KILL_WAIT, child.wait()).await;
    let status = status.map_err(|_| {
        OpError::failed(format!("{} does not go away after SIGKILL", command.program))
            .hint("it hangs in the kernel, often on a dead disk or network file system")
            .detail("pid", pid)
    })?;
    let status = status.map_err(|error| OpError::io(&error, &command.program))?;
    let duration = begun.elapsed();
    if cut.is_none() && session::has_members(pid) {
        let members = Members::of_session(pid);
        left = match command.background {
            Background::End => session::end(&members, command.grace).await?,
            Background::Keep => members.find()?.into_iter().map(|found| found.pid).collect(),
        };
    }
    guard.disarm();
    let (stdout, stderr) = streams.finish(PIPES_WAIT).await?;
    // A quick program is through before anybody sees that it wrote too much.
    let overflown =
        command.on_overflow == OnOverflow::Fail && (stdout.is_truncated() || stderr.is_truncated());
    let cut = cut.or_else(|| overflown.then_some(Cut::Overflow));
    Ok(Finished { ending: ending(status), cut, stdout, stderr, duration, left })
}

async fn after(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

fn ending(status: ExitStatus) -> Ending {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Exited(code),
        (None, signal) => Ending::Signalled(signal.unwrap_or_default()),
    }
}
