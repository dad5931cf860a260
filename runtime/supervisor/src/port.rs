//! The trait through which services are reached, and what crosses it.

use std::fmt;
use std::time::Duration;

use hob_model::{Digest, OpError, Timestamp};
use hob_planner::declaration::{Gate, Process};
use hob_planner::{Exit, Service};

/// The variable that names the service to its processes.
pub const SERVICE_VARIABLE: &str = "HOB_SERVICE";

/// The variable that names the state directory of the hob that a process belongs to. Commands of hob that a service
/// calls use the same directory by it.
pub const STATE_VARIABLE: &str = "HOB_STATE";

/// The variable that holds the key of the effect that started a process.
pub const EFFECT_VARIABLE: &str = "HOB_EFFECT";

/// The variable that holds the digest of what a process was started with.
pub const SPEC_VARIABLE: &str = "HOB_SPEC";

/// What is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The name of the service.
    pub name: String,
    /// Its program and surroundings.
    pub process: Process,
}

impl From<&Service> for Spec {
    fn from(service: &Service) -> Self {
        Self { name: service.name.clone(), process: service.process.clone() }
    }
}

/// What tells a process from every other there ever was: pids are given out again, and so are start times after a
/// reboot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    /// The id of the boot, from `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// The process id.
    pub pid: u32,
    /// When it was started: clock ticks since the boot, field 22 of `proc_pid_stat(5)`.
    pub start_ticks: u64,
}

impl ProcessId {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
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

/// A service that runs: the process that leads its session.
///
/// The caller journals it, and gives it back to a supervisor that opens after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The name of the service.
    pub name: String,
    /// Its process.
    pub process: ProcessId,
    /// The key of the effect that started it.
    pub key: String,
    /// The digest of what it was started with; `None` where the process no longer says.
    pub digest: Option<Digest>,
    /// When it was started, to the precision of the kernel's clock tick.
    pub started: Timestamp,
}

/// What [`Supervisor::start`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The process.
    pub running: Running,
    /// Whether it ran already, started by the same effect.
    pub adopted: bool,
}

/// What [`Supervisor::stop`] found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It did not run.
    NotRunning,
    /// It ended after SIGTERM.
    Terminated(Exit),
    /// It, or something it had started, took SIGKILL.
    Killed(Exit),
}

/// Where to read the output of a service from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFrom {
    /// The beginning of what the present process wrote.
    Start,
    /// The last lines, also of earlier processes.
    Tail {
        /// How many.
        lines: usize,
    },
    /// Where an earlier chunk ended.
    Position(LogPosition),
}

/// A place in the output of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPosition {
    /// The file: each start of a service has its own.
    pub file: u64,
    /// In bytes.
    pub offset: u64,
}

/// A part of the output of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogChunk {
    /// Whole lines, without their ends; what is not UTF-8 is replaced.
    pub lines: Vec<String>,
    /// Where the next chunk begins.
    pub next: LogPosition,
    /// Whether there may be more already.
    pub more: bool,
}

/// What a look at a gate found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// It holds.
    Passed,
    /// It does not hold yet, and why, for people: `answered 503`.
    NotYet(String),
}

/// What is called when a process has ended.
pub type OnExit = Box<dyn FnOnce(Exit) + Send>;

/// The world of supervised processes. All methods may block; none takes longer than the time it is given and what the
/// kernel needs.
pub trait Supervisor: Send + Sync {
    /// Starts a service, or adopts the process that the same effect has started. Returns as soon as its program runs;
    /// whether it gets ready is [`crate::await_ready`]'s to say. Processes that an earlier run of the service left
    /// behind are ended first.
    ///
    /// # Errors
    /// `conflict` when the service runs, started by another effect. When its program cannot be run, nothing happened.
    fn start(&self, spec: &Spec, key: &str) -> Result<Started, OpError>;

    /// Stops a service and everything that it had started: SIGTERM, and SIGKILL after `timeout`.
    ///
    /// # Errors
    /// When it cannot be ended: it hangs in the kernel, or is not ours.
    fn stop(&self, name: &str, timeout: Duration) -> Result<Stopped, OpError>;

    /// The services that run, by name.
    ///
    /// # Errors
    /// When processes cannot be listed.
    fn observe(&self) -> Result<Vec<Running>, OpError>;

    /// Waits until a process has ended, but not past `timeout`; `None` when it still runs.
    fn wait_exit(&self, process: &ProcessId, timeout: Duration) -> Option<Exit>;

    /// Calls `then` when a process has ended; at once where it has. It is called on a thread that must not be held up.
    fn on_exit(&self, process: &ProcessId, then: OnExit);

    /// Reads the output of a service. What was never started has written nothing.
    ///
    /// # Errors
    /// When a file cannot be read.
    fn read_log(&self, name: &str, from: LogFrom) -> Result<LogChunk, OpError>;

    /// Drops the oldest output of services that have written much; to be called every few seconds.
    ///
    /// # Errors
    /// When a file cannot be shortened; the others are.
    fn rotate_logs(&self) -> Result<(), OpError>;

    /// Looks once whether `gate` holds for a service, for at most `timeout`. The gates `alive`, `log` and `completed`
    /// are about the process and its output, and are [`crate::await_ready`]'s to look at: here they hold.
    ///
    /// # Errors
    /// When it cannot be told.
    fn look(&self, spec: &Spec, gate: &Gate, timeout: Duration) -> Result<Look, OpError>;

    /// A clock that never steps: the time since some moment in the past.
    fn now(&self) -> Duration;
}

/// The refusal to start a service that runs.
pub(crate) fn conflict(running: &Running) -> OpError {
    OpError::conflict(format!("service `{}` runs already, as process {}", running.name, running.process.pid))
        .hint("stop it first")
        .nothing_happened()
}
