//! Learning how processes end.
//!
//! Each process has a thread that waits for it: for a child by reaping it, so that none stays a zombie; for an adopted
//! process by a pidfd, which tells when it ended but not how.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use hob_model::OpError;
use hob_planner::Exit;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::identity::{Leader, ProcessId};
use super::scan;
use crate::life::Life;
use crate::life::lock;

/// The stack of a thread that only waits.
const STACK_BYTES: usize = 128 * 1024;

/// How many ends are remembered for those that ask late.
const ENDED_MAX: usize = 10_000;

/// All processes that are watched.
#[derive(Default)]
pub(super) struct Watches(Mutex<HashMap<ProcessId, Arc<Life>>>);

impl Watches {
    /// Starts a child and watches it. The thread is there first: a child is never left without one.
    pub(super) fn spawn(
        &self,
        start: impl FnOnce() -> Result<(Child, Leader), OpError>,
    ) -> Result<Leader, OpError> {
        let watch = Arc::new(Life::default());
        let (sender, receiver) = channel::<Child>();
        let theirs = Arc::clone(&watch);
        thread(move || reap(&receiver, &theirs))?;
        let (child, running) = start()?;
        self.keep(running.process.clone(), watch);
        sender.send(child).map_err(|_| OpError::failed("the thread that waits for the process has ended"))?;
        Ok(running)
    }

    /// The watch of a process; one that hob has not started itself is adopted.
    pub(super) fn get_or_adopt(&self, process: &ProcessId) -> Arc<Life> {
        if let Some(watch) = lock(&self.0).get(process) {
            return Arc::clone(watch);
        }
        let watch = Arc::new(Life::default());
        match open(process) {
            Some(pidfd) => {
                let theirs = Arc::clone(&watch);
                let waiting = thread(move || {
                    await_end(&pidfd);
                    theirs.end(Exit::Unknown);
                });
                // Without a thread nobody could tell: a failure that is shown beats a service that is not watched.
                if waiting.is_err() {
                    watch.end(Exit::Unknown);
                    return watch;
                }
            }
            None => watch.end(Exit::Unknown),
        }
        self.keep(process.clone(), Arc::clone(&watch));
        watch
    }

    fn keep(&self, process: ProcessId, watch: Arc<Life>) {
        let mut all = lock(&self.0);
        if all.len() >= ENDED_MAX {
            all.retain(|_, watch| !watch.has_ended());
        }
        all.insert(process, watch);
    }
}

fn thread(body: impl FnOnce() + Send + 'static) -> Result<(), OpError> {
    let builder = std::thread::Builder::new().name("hob-watch".to_owned()).stack_size(STACK_BYTES);
    let started = builder.spawn(body);
    started.map(drop).map_err(|error| OpError::io(&error, "a thread").nothing_happened())
}

fn reap(receiver: &Receiver<Child>, watch: &Life) {
    // None comes where the start failed.
    let Ok(mut child) = receiver.recv() else { return };
    watch.end(child.wait().map_or(Exit::Unknown, exit_of));
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    }
}

/// A descriptor that means exactly this process; `None` when it is gone.
pub(super) fn open(process: &ProcessId) -> Option<OwnedFd> {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // Looked at only now: from here on the descriptor and the pid mean the same process.
    scan::is_alive(process).then_some(pidfd)
}

fn await_end(pidfd: &OwnedFd) {
    while poll(&mut [PollFd::new(pidfd, PollFlags::IN)], None) == Err(Errno::INTR) {}
}
