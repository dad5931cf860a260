//! Finding and ending all processes of a command.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use hob_model::OpError;
use procfs::process::{Process as ProcEntry, Stat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

use super::{KILL_WAIT, raw, table};
use crate::port::EFFECT_VARIABLE;

/// How often a session is looked through for members that were born while others were ended.
const ENDING_PASSES_MAX: usize = 10;

/// Which processes are meant.
pub(super) struct Members {
    session: Option<i32>,
    effect: Option<String>,
}

/// A process that was found.
pub(super) struct Found {
    pub(super) pid: u32,
    identity: String,
}

impl Members {
    /// Those of the session that `leader` leads, and of its process group.
    pub(super) fn of_session(leader: u32) -> Self {
        Self { session: i32::try_from(leader).ok(), effect: None }
    }

    /// Those that an effect started.
    pub(super) fn of_effect(key: &str) -> Self {
        Self { session: None, effect: Some(format!("{EFFECT_VARIABLE}={key}")) }
    }

    /// And those that an effect started.
    pub(super) fn or_effect(self, key: &str) -> Self {
        Self { session: self.session, ..Self::of_effect(key) }
    }

    /// Those that live now; hob itself is never among them.
    pub(super) fn find(&self) -> Result<Vec<Found>, OpError> {
        let own = std::process::id();
        let found = table::entries()?.filter_map(|entry| {
            let stat = entry.stat().ok().filter(|stat| !table::has_ended(stat))?;
            let pid = u32::try_from(stat.pid).ok().filter(|pid| *pid != own)?;
            let identity = table::identity_of(&stat)?;
            self.includes(&entry, &stat).then_some(Found { pid, identity })
        });
        Ok(found.collect())
    }

    fn includes(&self, entry: &ProcEntry, stat: &Stat) -> bool {
        self.session.is_some_and(|leader| stat.session == leader || stat.pgrp == leader)
            || self.effect.as_deref().is_some_and(|mark| has_variable(entry, mark))
    }
}

/// Whether a process was started with `mark` (`NAME=value`) in its environment; `false` where that may not be seen.
fn has_variable(entry: &ProcEntry, mark: &str) -> bool {
    let (name, value) = mark.split_once('=').unwrap_or((mark, ""));
    entry
        .environ()
        .is_ok_and(|env| env.get(OsStr::new(name)).is_some_and(|found| found.as_bytes() == value.as_bytes()))
}

/// Whether a process group of which the leader was waited for still has members.
pub(super) fn has_members(leader: u32) -> bool {
    raw_pid(leader).is_some_and(|pid| rustix::process::test_kill_process_group(pid) != Err(Errno::SRCH))
}

/// Ends them all: SIGTERM, and SIGKILL after `grace`, also for those that are born meanwhile. Gives those that
/// could not be ended.
pub(super) async fn end(members: &Members, grace: Duration) -> Result<Vec<u32>, OpError> {
    let handles = signal_all(members, Signal::TERM)?;
    let gone = async {
        for handle in &handles {
            handle.gone().await;
        }
    };
    drop(tokio::time::timeout(grace, gone).await);
    for _ in 0..ENDING_PASSES_MAX {
        let handles = signal_all(members, Signal::KILL)?;
        if handles.is_empty() {
            return Ok(Vec::new());
        }
        for handle in &handles {
            handle.gone_within(KILL_WAIT).await;
        }
    }
    Ok(members.find()?.into_iter().map(|found| found.pid).collect())
}

fn signal_all(members: &Members, signal: Signal) -> Result<Vec<Watched>, OpError> {
    let mut handles = Vec::new();
    for found in members.find()? {
        let Some(handle) = Handle::open(found.pid, &found.identity)? else {
            continue;
        };
        let handle = handle.watched()?;
        if handle.signal(signal)? {
            // A stopped process takes no SIGTERM before it goes on.
            handle.signal(Signal::CONT)?;
            handles.push(handle);
        }
    }
    Ok(handles)
}

/// A process held by a file descriptor, which never means another one.
pub(super) struct Handle {
    pid: u32,
    fd: OwnedFd,
}

impl Handle {
    /// The process with this pid, if it still is the one with this identity.
    pub(super) fn open(pid: u32, identity: &str) -> Result<Option<Self>, OpError> {
        let Some(raw) = raw_pid(pid) else {
            return Ok(None);
        };
        let fd = match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(Errno::SRCH) => return Ok(None),
            Err(error) => return Err(OpError::io(&error.into(), format!("process {pid}"))),
        };
        // Looked at only now: from here on the descriptor and the pid mean the same process.
        let same = table::identity(pid)?.as_deref() == Some(identity);
        Ok(same.then_some(Self { pid, fd }))
    }

    /// Sends a signal; `false` when the process is gone.
    pub(super) fn signal(&self, signal: Signal) -> Result<bool, OpError> {
        send(&self.fd, self.pid, signal)
    }

    /// The same, to be waited for.
    pub(super) fn watched(self) -> Result<Watched, OpError> {
        let fd = raw::watch(self.fd).map_err(|error| OpError::io(&error, format!("process {}", self.pid)))?;
        Ok(Watched { pid: self.pid, fd })
    }
}

/// A process that can be waited for.
pub(super) struct Watched {
    pid: u32,
    fd: AsyncFd<OwnedFd>,
}

impl Watched {
    pub(super) fn signal(&self, signal: Signal) -> Result<bool, OpError> {
        send(self.fd.get_ref(), self.pid, signal)
    }

    async fn gone(&self) {
        // It fails only where the runtime ends, and then nobody waits.
        drop(self.fd.readable().await);
    }

    /// Waits until it is gone, but not past `wait`; whether it is gone.
    pub(super) async fn gone_within(&self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.gone()).await.is_ok()
    }
}

fn send(fd: &OwnedFd, pid: u32, signal: Signal) -> Result<bool, OpError> {
    match pidfd_send_signal(fd, signal) {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(error) => Err(OpError::io(&error.into(), format!("process {pid}"))),
    }
}

/// A descriptor that becomes readable when our child ends; the child stays a zombie, and its pid its own.
pub(super) fn pidfd(pid: u32) -> Result<AsyncFd<OwnedFd>, OpError> {
    let opened = raw_pid(pid)
        .ok_or(Errno::SRCH)
        .and_then(|raw| pidfd_open(raw, PidfdFlags::empty()))
        .map_err(io::Error::from)
        .and_then(raw::watch);
    opened.map_err(|error| OpError::io(&error, "a pidfd").hint("hob needs Linux 5.3 or later"))
}

fn raw_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Ends a session at once when the task that watches it goes away without having done so, as at the end of hob.
pub(super) struct SessionGuard {
    leader: u32,
    key: String,
    armed: bool,
}

impl SessionGuard {
    pub(super) fn new(leader: u32, key: &str) -> Self {
        Self { leader, key: key.to_owned(), armed: true }
    }

    pub(super) fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let members = Members::of_session(self.leader).or_effect(&self.key);
        for found in members.find().unwrap_or_default() {
            if let Ok(Some(handle)) = Handle::open(found.pid, &found.identity) {
                drop(handle.signal(Signal::KILL)); // gone, or not ours to end: nobody is left to tell
            }
        }
    }
}
