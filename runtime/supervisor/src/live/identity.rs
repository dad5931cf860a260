//! What tells a process from every other.

use std::fmt;

use hob_model::{Digest, Timestamp};

use crate::port::{Instance, Running};

/// What tells a process from every other there ever was: pids are given out again, and so are start times after a
/// reboot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ProcessId {
    /// The id of the boot, from `/proc/sys/kernel/random/boot_id`.
    pub(super) boot: String,
    /// The process id.
    pub(super) pid: u32,
    /// When it was started: clock ticks since the boot, field 22 of `proc_pid_stat(5)`.
    pub(super) start_ticks: u64,
}

impl ProcessId {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (boot, pid, ticks) = (parts.next()?, parts.next()?, parts.next()?);
        let is_whole = parts.next().is_none() && !boot.is_empty();
        is_whole.then_some(Self {
            boot: boot.to_owned(),
            pid: pid.parse().ok()?,
            start_ticks: ticks.parse().ok()?,
        })
    }
}

impl fmt::Display for ProcessId {
    /// `BOOT:PID:TICKS`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.boot, self.pid, self.start_ticks)
    }
}

/// A process that leads the session of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) name: String,
    pub(super) process: ProcessId,
    /// The key of the effect that started it.
    pub(super) key: String,
    /// The digest of what it was started with; `None` where the process no longer says.
    pub(super) digest: Option<Digest>,
    /// When it was started, to the precision of the kernel's clock tick.
    pub(super) started: Timestamp,
}

impl Leader {
    /// What the caller journaled; `None` when that is no process.
    pub(super) fn recorded(running: Running) -> Option<Self> {
        let Running { name, instance, key, digest, started, .. } = running;
        Some(Self { process: ProcessId::parse(&instance.0)?, name, key, digest, started })
    }
}

impl From<Leader> for Running {
    fn from(leader: Leader) -> Self {
        let Leader { name, process, key, digest, started } = leader;
        let (instance, pid) = (Instance(process.to_string()), Some(process.pid));
        Self { name, instance, pid, key, digest, started }
    }
}

#[cfg(test)]
mod tests {
    use super::ProcessId;

    #[test]
    fn identities_are_read_back() {
        let id = ProcessId { boot: "b-1".to_owned(), pid: 7, start_ticks: 42 };
        assert_eq!(ProcessId::parse(&id.to_string()), Some(id));
        for text in ["", "b:1", "b:x:1", "b:1:2:3", ":1:2"] {
            assert_eq!(ProcessId::parse(text), None, "{text}");
        }
    }
}
