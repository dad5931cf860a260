//! The trait through which processes are reached.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use hob_model::OpError;
use hob_primitive::{Cancel, IntoValue};

use crate::command::Command;
use crate::outcome::Finished;

/// What an asynchronous method of the port returns.
pub type PortFuture<T> = Pin<Box<dyn Future<Output = Result<T, OpError>> + Send>>;

/// The variable that marks a process with the idempotency key of the effect that started it.
pub const EFFECT_VARIABLE: &str = "HOB_EFFECT";

/// A running process.
#[derive(Clone, Debug, PartialEq, Eq, IntoValue)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// The process id of its parent.
    pub ppid: u32,
    /// The name of its program, cut to 15 bytes by the kernel.
    pub name: String,
    /// The command line it shows; empty for threads of the kernel.
    pub command: Vec<String>,
    /// Whose it is: a name, or a number where the user has none.
    pub user: String,
    /// `running`, `sleeping`, `waiting` (for a disk), `stopped` or `zombie`.
    pub state: String,
    /// Resident memory in bytes.
    pub memory_bytes: u64,
    /// When it was started: RFC 3339.
    pub started_at: String,
    /// What tells it from every other process there ever was: boot, pid and start time.
    pub identity: String,
}

/// The world of processes.
///
/// A process that a pid names is always taken together with its identity, since the kernel gives pids out again.
pub trait ProcessPort: Send + Sync {
    /// Runs a command to its end.
    ///
    /// When the future is dropped, or the command's timeout or cancel strikes, the command's whole session is ended:
    /// SIGTERM, and SIGKILL after the command's grace.
    ///
    /// # Errors
    /// When the command could not be started; then nothing happened. How a started one ended is not an error here.
    fn run(&self, command: Command) -> PortFuture<Finished>;

    /// All processes that can be seen.
    ///
    /// # Errors
    /// When the list cannot be read.
    fn list(&self) -> Result<Vec<Process>, OpError>;

    /// The processes that live and were started by the effect with this key, or by one of its children.
    ///
    /// An effect whose outcome is unknown is not to be done again while it has any.
    ///
    /// # Errors
    /// When the list cannot be read.
    fn alive(&self, key: &str) -> Result<Vec<u32>, OpError>;

    /// The identity of the process that has this pid now; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    fn identity(&self, pid: u32) -> Result<Option<String>, OpError>;

    /// Sends a signal to a process; `false` when it is gone.
    ///
    /// # Errors
    /// When that is not permitted.
    fn signal(&self, pid: u32, identity: &str, signal: Signal) -> Result<bool, OpError>;

    /// Ends one process: SIGTERM, and SIGKILL after `grace`; `false` when it was gone already.
    ///
    /// # Errors
    /// When that is not permitted, or it cannot be ended, or the caller says "stop now".
    fn stop(&self, pid: u32, identity: &str, grace: Duration, cancel: Cancel) -> PortFuture<bool>;
}

/// A signal, by its name with or without `SIG`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(pub nix::sys::signal::Signal);

impl hob_primitive::FromValue for Signal {
    const KIND: &'static str = "signal";
    fn from_value(value: hob_model::Value) -> Result<Self, hob_primitive::Mismatch> {
        let text = String::from_value(value)?;
        let name = text.to_uppercase();
        let full = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
        full.parse().map(Self).map_err(|_| {
            let known: Vec<&str> = nix::sys::signal::Signal::iterator().map(|s| &s.as_str()[3..]).collect();
            hob_primitive::Mismatch::choice(text.to_uppercase().trim_start_matches("SIG"), &known)
        })
    }
}

/// The name of a signal: `SIGKILL`; a number where it has none.
#[must_use]
pub fn signal_name(number: i32) -> String {
    nix::sys::signal::Signal::try_from(number)
        .map_or_else(|_| format!("signal {number}"), |signal| signal.as_str().to_owned())
}
