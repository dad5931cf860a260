//! The table of processes, from `/proc`.

use std::collections::HashMap;

use hob_model::{OpError, Timestamp};
use nix::unistd::{Uid, User};
use procfs::process::{Process as ProcEntry, Stat};
use procfs::{ProcError, ProcResult};

use crate::port::Process;

/// The most processes that are looked at; Linux itself allows four million.
pub(super) const PROCESSES_MAX: usize = 4 * 1024 * 1024;

/// All processes that this user can see.
pub(super) fn list() -> Result<Vec<Process>, OpError> {
    let boot_secs = procfs::boot_time_secs().map_err(|error| proc_error(&error))?;
    let mut users = HashMap::new();
    let mut found = Vec::new();
    for entry in entries()? {
        // A process that ends while it is looked at is no longer there.
        if let Some(process) = describe(&entry, boot_secs, &mut users) {
            found.push(process);
        }
    }
    found.sort_by_key(|process| process.pid);
    Ok(found)
}

/// The entries of `/proc`, less those that went away or may not be seen.
pub(super) fn entries() -> Result<impl Iterator<Item = ProcEntry>, OpError> {
    let all = procfs::process::all_processes().map_err(|error| proc_error(&error))?;
    Ok(all.filter_map(ProcResult::ok).take(PROCESSES_MAX))
}

fn describe(entry: &ProcEntry, boot_secs: u64, users: &mut HashMap<u32, String>) -> Option<Process> {
    let stat = entry.stat().ok()?;
    let uid = entry.uid().ok()?;
    let user = users.entry(uid).or_insert_with(|| {
        let found = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        found.map_or_else(|| uid.to_string(), |user| user.name)
    });
    let started_secs = boot_secs + stat.starttime / procfs::ticks_per_second();
    let started_at = Timestamp::from_second(i64::try_from(started_secs).ok()?).ok()?;
    Some(Process {
        pid: u32::try_from(stat.pid).ok()?,
        ppid: u32::try_from(stat.ppid).ok()?,
        state: state_name(stat.state).to_owned(),
        memory_bytes: stat.rss * procfs::page_size(),
        started_at: started_at.to_string(),
        identity: identity_of(&stat)?,
        command: entry.cmdline().unwrap_or_default(),
        user: user.clone(),
        name: stat.comm,
    })
}

/// As `proc_pid_stat(5)` has them.
fn state_name(letter: char) -> &'static str {
    match letter {
        'R' => "running",
        'D' => "waiting",
        'Z' | 'X' | 'x' => "zombie",
        'T' | 't' => "stopped",
        _ => "sleeping",
    }
}

/// Whether the process has ended and only waits for its parent to notice.
pub(super) fn has_ended(stat: &Stat) -> bool {
    matches!(stat.state, 'Z' | 'X' | 'x')
}

/// What tells a process from every other: pids are given out again, and so are start times after a reboot.
pub(super) fn identity_of(stat: &Stat) -> Option<String> {
    let boot = procfs::sys::kernel::random::boot_id().ok()?;
    Some(format!("{boot}:{}:{}", stat.pid, stat.starttime))
}

/// The identity of the process with this pid.
pub(super) fn identity(pid: u32) -> Result<Option<String>, OpError> {
    let pid = i32::try_from(pid).map_err(|_| OpError::invalid(format!("{pid} is no process id")))?;
    match ProcEntry::new(pid).and_then(|entry| entry.stat()) {
        Ok(stat) if has_ended(&stat) => Ok(None),
        Ok(stat) => Ok(identity_of(&stat)),
        Err(ProcError::NotFound(_)) => Ok(None),
        Err(ProcError::Io(error, _))
            if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) =>
        {
            Ok(None)
        }
        Err(error) => Err(proc_error(&error)),
    }
}

fn proc_error(error: &ProcError) -> OpError {
    OpError::failed(format!("/proc: {error}"))
        .hint("hob reads the table of processes from /proc: is it mounted?")
}
