//! Finding processes in `/proc`.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::OnceLock;

use hob_model::{Digest, OpError, Timestamp};
use procfs::process::{Process as ProcEntry, Stat};
use procfs::{ProcError, ProcResult};

use super::identity::{Leader, ProcessId};
use crate::port::{EFFECT_VARIABLE, SERVICE_VARIABLE, SPEC_VARIABLE, STATE_VARIABLE};
use crate::storage::inode;

/// The most processes that are looked at; Linux itself allows four million.
const PROCESSES_MAX: usize = 4 * 1024 * 1024;

/// A living process.
pub(super) struct Found {
    pub(super) process: ProcessId,
    pub(super) group: i32,
    pub(super) session: i32,
    /// What it says it is, where that is a process of a service.
    pub(super) mark: Option<Leader>,
}

impl Found {
    pub(super) fn leads_session(&self) -> bool {
        u32::try_from(self.session) == Ok(self.process.pid)
    }
}

/// All living processes but hob itself; those of services of `state` say so.
pub(super) fn snapshot(state: &Path) -> Result<Vec<Found>, OpError> {
    let own = std::process::id();
    let found = entries()?.filter_map(|entry| {
        let stat = entry.stat().ok()?;
        let process = identity(&stat).filter(|process| process.pid != own)?;
        let mark = mark(&entry, &stat, &process, state);
        Some(Found { process, group: stat.pgrp, session: stat.session, mark })
    });
    Ok(found.collect())
}

fn mark(entry: &ProcEntry, stat: &Stat, process: &ProcessId, state: &Path) -> Option<Leader> {
    let mut env = environ_of(entry, state)?;
    let mut take = |name: &str| env.remove(OsStr::new(name)).and_then(|value| value.into_string().ok());
    Some(Leader {
        name: take(SERVICE_VARIABLE)?,
        process: process.clone(),
        key: take(EFFECT_VARIABLE)?,
        digest: take(SPEC_VARIABLE).and_then(|text| Digest::parse(&text)),
        started: started(stat)?,
    })
}

/// The environment of a process that belongs to `state`; `None` for others, and where it may not be seen.
fn environ_of(entry: &ProcEntry, state: &Path) -> Option<HashMap<OsString, OsString>> {
    let env = entry.environ().ok()?;
    (env.get(OsStr::new(STATE_VARIABLE)).map(OsString::as_os_str) == Some(state.as_os_str())).then_some(env)
}

/// The processes that have the file open, as far as that can be seen.
pub(super) fn holders(file: &Path) -> Result<Vec<u32>, OpError> {
    let Some(wanted) = inode(file) else {
        return Ok(Vec::new());
    };
    // Others have files open on whatever file system.
    let is_it = |path: &Path| inode(path) == Some(wanted);
    let holds = |entry: &ProcEntry| {
        let dir = format!("/proc/{}/fd", entry.pid);
        std::fs::read_dir(dir).is_ok_and(|fds| fds.flatten().any(|fd| is_it(&fd.path())))
    };
    let own = std::process::id();
    let pids = entries()?.filter(holds).filter_map(|entry| u32::try_from(entry.pid).ok());
    Ok(pids.filter(|pid| *pid != own).collect())
}

/// The entries of `/proc`, less those that went away or may not be seen.
fn entries() -> Result<impl Iterator<Item = ProcEntry>, OpError> {
    let all = procfs::process::all_processes().map_err(|error| proc_error(&error))?;
    Ok(all.filter_map(ProcResult::ok).take(PROCESSES_MAX))
}

/// The identity and start of our child `pid`, which may have ended but was not waited for.
pub(super) fn identify(pid: u32) -> Result<(ProcessId, Timestamp), OpError> {
    let stat = stat_of(pid)?.ok_or_else(|| OpError::failed(format!("process {pid} is not in /proc")))?;
    let process = ProcessId { boot: boot()?, pid, start_ticks: stat.starttime };
    let started = started(&stat).ok_or_else(|| OpError::failed("/proc has no time of the boot"))?;
    Ok((process, started))
}

/// Whether exactly this process lives.
pub(super) fn is_alive(process: &ProcessId) -> bool {
    matches!(stat_of(process.pid), Ok(Some(stat)) if identity(&stat).as_ref() == Some(process))
}

/// The identity of a process that lives; `None` for one that has ended and only waits for its parent to notice.
fn identity(stat: &Stat) -> Option<ProcessId> {
    if matches!(stat.state, 'Z' | 'X' | 'x') {
        return None;
    }
    Some(ProcessId { boot: boot().ok()?, pid: u32::try_from(stat.pid).ok()?, start_ticks: stat.starttime })
}

fn stat_of(pid: u32) -> Result<Option<Stat>, OpError> {
    let Ok(pid) = i32::try_from(pid) else {
        return Ok(None);
    };
    match ProcEntry::new(pid).and_then(|entry| entry.stat()) {
        Ok(stat) => Ok(Some(stat)),
        Err(ProcError::NotFound(_)) => Ok(None),
        Err(ProcError::Io(error, _))
            if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) =>
        {
            Ok(None)
        }
        Err(error) => Err(proc_error(&error)),
    }
}

/// The id of this boot, which does not change while hob runs.
fn boot() -> Result<String, OpError> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(boot) = BOOT.get() {
        return Ok(boot.clone());
    }
    let boot = procfs::sys::kernel::random::boot_id().map_err(|error| proc_error(&error))?;
    Ok(BOOT.get_or_init(|| boot).clone())
}

fn started(stat: &Stat) -> Option<Timestamp> {
    let millis_per_tick = 1_000 / procfs::ticks_per_second().max(1);
    let boot_secs = i64::try_from(procfs::boot_time_secs().ok()?).ok()?;
    let since_boot_millis = i64::try_from(stat.starttime.checked_mul(millis_per_tick)?).ok()?;
    Timestamp::from_millisecond(boot_secs.checked_mul(1_000)?.checked_add(since_boot_millis)?).ok()
}

fn proc_error(error: &ProcError) -> OpError {
    OpError::failed(format!("/proc: {error}")).hint("hob finds processes in /proc: is it mounted?")
}
