//! An adapter with scripted programs and an invented table of processes, for tests.
//!
//! `echo`, `cat`, `true`, `false`, `pwd`, `printenv` and `sleep` are there from the start and do what the real ones
//! do, but that no time passes; the same cases are run against them and against the live adapter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hob_model::OpError;
use hob_primitive::Cancel;

use crate::command::{Command, OnOverflow};
use crate::outcome::{Capture, Cut, Ending, Finished};
use crate::port::{PortFuture, Process, ProcessPort, Signal};

/// The number of SIGTERM, by which a command ends that hob ends.
const SIGTERM: i32 = 15;

/// What a scripted program does.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What it writes to stdout.
    pub stdout: Vec<u8>,
    /// What it writes to stderr.
    pub stderr: Vec<u8>,
    /// How it ends.
    pub ending: Ending,
    /// How long it seems to take; `None` for a program that never ends by itself.
    pub duration: Option<Duration>,
}

impl Reply {
    /// A program that writes this and succeeds at once.
    pub fn success(stdout: impl Into<Vec<u8>>) -> Self {
        Self {
            stdout: stdout.into(),
            stderr: Vec::new(),
            ending: Ending::Exited(0),
            duration: Some(Duration::ZERO),
        }
    }

    /// A program that writes this to stderr and ends with `code`.
    pub fn failure(code: i32, stderr: impl Into<Vec<u8>>) -> Self {
        Self { stderr: stderr.into(), ending: Ending::Exited(code), ..Self::success("") }
    }

    /// A program that never ends by itself.
    #[must_use]
    pub fn hanging() -> Self {
        Self { duration: None, ..Self::success("") }
    }
}

type Program = Arc<dyn Fn(&Command) -> Reply + Send + Sync>;

#[derive(Default)]
struct State {
    programs: BTreeMap<String, Program>,
    processes: Vec<(Process, Option<String>)>,
    calls: Vec<Command>,
    failures: Vec<OpError>,
}

/// A world of scripted programs. Cheap to clone; clones share the world.
#[derive(Clone)]
pub struct Fake(Arc<Mutex<State>>);

impl Default for Fake {
    fn default() -> Self {
        Self::new()
    }
}

impl Fake {
    /// A world with the few programs named above.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::default())
            .program("echo", |command| Reply::success(command.args.join(" ") + "\n"))
            .program("cat", |command| Reply::success(command.stdin.clone().unwrap_or_default()))
            .program("true", |_| Reply::success(""))
            .program("false", |_| Reply::failure(1, ""))
            .program("pwd", |command| Reply::success(format!("{}\n", command.cwd.display())))
            .program("printenv", printenv)
            .program("sleep", sleep)
    }

    /// Adds or replaces a program.
    #[must_use]
    pub fn program(self, name: &str, run: impl Fn(&Command) -> Reply + Send + Sync + 'static) -> Self {
        self.state().programs.insert(name.to_owned(), Arc::new(run));
        self
    }

    /// Adds a process to the table, started by the effect with this key if there is one.
    pub fn add_process(&self, process: Process, effect: Option<&str>) {
        self.state().processes.push((process, effect.map(str::to_owned)));
    }

    /// Lets the next command fail to start.
    pub fn fail_next(&self, error: OpError) {
        self.state().failures.push(error);
    }

    /// The commands that were run so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Command> {
        self.state().calls.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no code panics while holding this lock")
    }

    fn begin(&self, command: &Command) -> Result<Reply, OpError> {
        let mut state = self.state();
        if let Some(error) = state.failures.pop() {
            return Err(error.nothing_happened());
        }
        let name = command.program.rsplit('/').next().unwrap_or_default();
        let program = state.programs.get(name).cloned().ok_or_else(|| {
            OpError::not_found(format!("there is no program `{}`", command.program))
                .hint("install it, or give its full path")
                .nothing_happened()
        })?;
        state.calls.push(command.clone());
        drop(state);
        Ok(program(command))
    }
}

/// `sleep infinity` hangs.
fn sleep(command: &Command) -> Reply {
    let seconds = command.args.first().and_then(|text| text.parse().ok());
    Reply {
        duration: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        ..Reply::success("")
    }
}

fn printenv(command: &Command) -> Reply {
    let found = command.args.first().and_then(|name| command.env.get(name)).cloned().flatten();
    found.map_or_else(|| Reply::failure(1, ""), |value| Reply::success(value + "\n"))
}

impl ProcessPort for Fake {
    fn run(&self, command: Command) -> PortFuture<Finished> {
        let fake = self.clone();
        Box::pin(async move {
            let reply = fake.begin(&command)?;
            let (mut stdout, mut stderr) =
                (Capture::new(command.output_bytes_max), Capture::new(command.output_bytes_max));
            stdout.push(&reply.stdout);
            match command.combine {
                true => stdout.push(&reply.stderr),
                false => stderr.push(&reply.stderr),
            }
            let overflows = stdout.is_truncated() || stderr.is_truncated();
            let cut = match (reply.duration, command.timeout) {
                _ if overflows && command.on_overflow == OnOverflow::Fail => Some(Cut::Overflow),
                (Some(takes), limit) if limit.is_none_or(|limit| takes <= limit) => None,
                (_, Some(_)) => Some(Cut::TimedOut),
                (_, None) => {
                    command.cancel.cancelled().await;
                    Some(Cut::Cancelled)
                }
            };
            Ok(Finished {
                ending: if cut.is_some() { Ending::Signalled(SIGTERM) } else { reply.ending },
                duration: cut.and(command.timeout).or(reply.duration).unwrap_or_default(),
                cut,
                stdout,
                stderr,
                left: Vec::new(),
            })
        })
    }

    fn list(&self) -> Result<Vec<Process>, OpError> {
        Ok(self.state().processes.iter().map(|(process, _)| process.clone()).collect())
    }

    fn alive(&self, key: &str) -> Result<Vec<u32>, OpError> {
        let state = self.state();
        let of_key = state.processes.iter().filter(|(_, effect)| effect.as_deref() == Some(key));
        Ok(of_key.map(|(process, _)| process.pid).collect())
    }

    fn identity(&self, pid: u32) -> Result<Option<String>, OpError> {
        let state = self.state();
        let found = state.processes.iter().find(|(process, _)| process.pid == pid);
        Ok(found.map(|(process, _)| process.identity.clone()))
    }

    /// Every signal whose name says so ends the process.
    fn signal(&self, pid: u32, identity: &str, Signal(signal): Signal) -> Result<bool, OpError> {
        use nix::sys::signal::Signal as Known;
        let mut state = self.state();
        let is_meant = |process: &Process| process.pid == pid && process.identity == identity;
        let there = state.processes.iter().any(|(process, _)| is_meant(process));
        if matches!(signal, Known::SIGTERM | Known::SIGKILL | Known::SIGINT | Known::SIGQUIT) {
            state.processes.retain(|(process, _)| !is_meant(process));
        }
        Ok(there)
    }

    fn stop(&self, pid: u32, identity: &str, _grace: Duration, _cancel: Cancel) -> PortFuture<bool> {
        let stopped = self.signal(pid, identity, Signal(nix::sys::signal::Signal::SIGTERM));
        Box::pin(async move { stopped })
    }
}
