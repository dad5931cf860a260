//! Ending all processes of a service.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use hob_model::OpError;
use hob_planner::declaration::ReloadSignal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, pidfd_send_signal};

use super::identity::ProcessId;
use super::scan::{self, Found};
use super::watch;

/// How long a process may take to go away after SIGKILL; longer ones hang in the kernel.
pub(super) const KILL_WAIT: Duration = Duration::from_secs(3);

/// How often a service is looked through for processes that were born while others were ended.
const PASSES_MAX: usize = 10;

/// Which processes are meant: those that say they belong to the service, and those of its leader's session.
pub(super) struct Members<'m> {
    pub(super) state: &'m Path,
    pub(super) service: &'m str,
    pub(super) leader: Option<&'m ProcessId>,
}

impl Members<'_> {
    /// Those that live now.
    fn find(&self) -> Result<Vec<Found>, OpError> {
        Ok(self.among(scan::snapshot(self.state)?))
    }

    /// Those among `all`.
    pub(super) fn among(&self, all: Vec<Found>) -> Vec<Found> {
        // The kernel gives a number out again once its session and group are empty: then it means strangers.
        let is_stranger =
            |it: &Found, leader: &ProcessId| it.process.pid == leader.pid && it.process != *leader;
        let leader = self.leader.filter(|leader| !all.iter().any(|it| is_stranger(it, leader)));
        let is_member = |it: &Found| {
            let follows = |leader: &ProcessId| {
                let is_leader_pid = |id: i32| u32::try_from(id) == Ok(leader.pid);
                is_leader_pid(it.session) || is_leader_pid(it.group)
            };
            it.mark.as_ref().is_some_and(|mark| mark.name == self.service) || leader.is_some_and(follows)
        };
        all.into_iter().filter(is_member).collect()
    }
}

/// A process held by a descriptor, which never means another one.
struct Handle {
    pidfd: OwnedFd,
}

/// Ends them all: SIGTERM, and SIGKILL after `grace`, also for those that are born meanwhile. Whether SIGKILL was
/// needed.
pub(super) fn end(members: &Members<'_>, grace: Duration) -> Result<bool, OpError> {
    let deadline = Instant::now() + grace;
    let handles = terminate(members)?;
    wait_all(&handles, deadline);
    let mut killed = false;
    for _ in 0..PASSES_MAX {
        let found = members.find()?;
        if found.is_empty() {
            return Ok(killed);
        }
        killed = true;
        let handles: Vec<Handle> = found.iter().filter_map(handle).collect();
        for handle in &handles {
            send(&handle.pidfd, Signal::KILL)?;
        }
        wait_all(&handles, Instant::now() + KILL_WAIT);
    }
    let left: Vec<String> = members.find()?.iter().map(|it| it.process.pid.to_string()).collect();
    if left.is_empty() {
        return Ok(killed);
    }
    Err(OpError::failed(format!(
        "service `{}`: process {} does not go away after SIGKILL",
        members.service,
        left.join(", ")
    ))
    .hint("it hangs in the kernel, often on a dead disk or network file system"))
}

/// Ends just these, and nothing that is born meanwhile: SIGTERM, and SIGKILL after `grace`.
pub(super) fn end_found(found: &[Found], grace: Duration) -> Result<(), OpError> {
    let handles: Vec<Handle> = found.iter().filter_map(handle).collect();
    for (signals, wait) in [(&[Signal::TERM, Signal::CONT][..], grace), (&[Signal::KILL], KILL_WAIT)] {
        for handle in &handles {
            signals.iter().try_for_each(|signal| send(&handle.pidfd, *signal))?;
        }
        wait_all(&handles, Instant::now() + wait);
    }
    Ok(())
}

/// Sends SIGTERM once to each: to the leader's group as one, so that nothing is born past it, and to the others.
fn terminate(members: &Members<'_>) -> Result<Vec<Handle>, OpError> {
    let found = members.find()?;
    // While the leader lives its number means its group and nothing else.
    let alive = members.leader.filter(|leader| scan::is_alive(leader));
    let group = alive.and_then(|leader| i32::try_from(leader.pid).ok());
    let mut handles = Vec::new();
    for member in &found {
        let Some(handle) = handle(member) else { continue };
        if Some(member.group) != group {
            send(&handle.pidfd, Signal::TERM)?;
            // A stopped process takes no SIGTERM before it goes on.
            send(&handle.pidfd, Signal::CONT)?;
        }
        handles.push(handle);
    }
    if let Some(group) = group.and_then(Pid::from_raw) {
        for signal in [Signal::TERM, Signal::CONT] {
            match kill_process_group(group, signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => {
                    return Err(OpError::io(&error.into(), format!("service `{}`", members.service)));
                }
            }
        }
    }
    Ok(handles)
}

/// Tells one process to read again what it was handed; nothing where it has ended.
pub(super) fn reload(process: &ProcessId, signal: ReloadSignal) -> Result<(), OpError> {
    let signal = match signal {
        ReloadSignal::Hup => Signal::HUP,
        ReloadSignal::Usr1 => Signal::USR1,
        ReloadSignal::Usr2 => Signal::USR2,
    };
    watch::open(process).map_or(Ok(()), |pidfd| send(&pidfd, signal))
}

fn handle(found: &Found) -> Option<Handle> {
    watch::open(&found.process).map(|pidfd| Handle { pidfd })
}

fn send(pidfd: &OwnedFd, signal: Signal) -> Result<(), OpError> {
    match pidfd_send_signal(pidfd, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(OpError::io(&error.into(), "a process")),
    }
}

fn wait_all(handles: &[Handle], deadline: Instant) {
    for handle in handles {
        wait(&handle.pidfd, deadline);
    }
}

/// Waits until a process is gone, but not past `deadline`; whether it is gone.
pub(super) fn wait(pidfd: &OwnedFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            found => return found == Ok(1),
        }
    }
}

/// Kills the process group of a child that was not waited for yet.
pub(super) fn kill_group(leader: u32) {
    if let Some(group) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL); // it fails only where nobody is left
    }
}
