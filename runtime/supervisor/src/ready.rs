//! Waiting for a service to get ready.

use std::fmt;
use std::time::Duration;

use hob_model::OpError;
use hob_planner::Exit;
use hob_planner::declaration::{Gate, Readiness};
use hob_primitive::Cancel;
use regex::Regex;

use crate::port::{LogFrom, Look, Running, Spec, Supervisor};

/// The shortest pause between looks.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause between looks; also how long a cancel may go unnoticed.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Pauses are at most this part of the time that went by, so that looking late adds little to a slow start.
const LATENESS: u32 = 100;

/// Pauses are at least so many times as long as a look took, so that looking takes little from those that start.
const REST: u32 = 5;

/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// How many lines of output a failure shows.
const LAST_LINES: usize = 5;

/// Why a service is not ready.
#[derive(Clone, Debug, PartialEq)]
pub enum NotReady {
    /// It ended first.
    Ended {
        /// How.
        exit: Exit,
        /// The last lines that it wrote.
        last_lines: Vec<String>,
    },
    /// The time was up.
    TimedOut {
        /// What the last look found.
        why: String,
        /// The last lines that it wrote.
        last_lines: Vec<String>,
    },
    /// The caller did not want to wait any longer.
    Cancelled,
    /// It could not be told.
    Unknown(OpError),
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended { exit, .. } => write!(f, "it {exit}"),
            Self::TimedOut { why, .. } => write!(f, "its time to get ready is up: {why}"),
            Self::Cancelled => f.write_str("waiting for it was cancelled"),
            Self::Unknown(error) => f.write_str(&error.message),
        }
    }
}

/// Blocks until a service is ready: its gate holds and it runs, or, where that is the gate, has ended well.
/// `tell` hears why it is not ready yet. Looks often at first and then ever less often, the less the more a look costs; the end of it is noticed at once.
///
/// # Errors
/// When it ends, the time of `ready` is up, or `cancel` is set.
pub fn await_ready(
    supervisor: &dyn Supervisor,
    running: &Running,
    spec: &Spec,
    ready: &Readiness,
    cancel: &Cancel,
    tell: &dyn Fn(&str),
) -> Result<(), NotReady> {
    let begun = supervisor.now();
    let deadline = begun + ready.timeout;
    let last_lines = || {
        let tail = supervisor.read_log(&running.name, LogFrom::Tail { lines: LAST_LINES });
        tail.map(|chunk| chunk.lines).unwrap_or_default()
    };
    let mut output = Output::new(&ready.gate)?;
    let mut exit = supervisor.wait_exit(&running.instance, Duration::ZERO);
    loop {
        if let Some(exit) = exit {
            // What it wrote last is read too: only a gate about an ended process can still hold.
            let is_good = matches!(ready.gate, Gate::Completed | Gate::Alive) && exit.is_success();
            return if is_good { Ok(()) } else { Err(NotReady::Ended { exit, last_lines: last_lines() }) };
        }
        if cancel.is_cancelled() {
            return Err(NotReady::Cancelled);
        }
        let looked = supervisor.now();
        let left = deadline.saturating_sub(looked);
        let found = match &ready.gate {
            Gate::Alive => Look::Passed,
            Gate::Completed => Look::NotYet("it still runs".to_owned()),
            Gate::Log { .. } => output.look(supervisor, &running.name).map_err(NotReady::Unknown)?,
            gate => {
                let time = left.clamp(PAUSE_MIN, LOOK_TIMEOUT);
                supervisor.look(spec, gate, time).map_err(NotReady::Unknown)?
            }
        };
        let now = supervisor.now();
        let left = deadline.saturating_sub(now);
        match found {
            // Another process may answer at the port: ours must still run.
            Look::Passed => match supervisor.wait_exit(&running.instance, Duration::ZERO) {
                None => return Ok(()),
                ended => exit = ended,
            },
            Look::NotYet(why) if left.is_zero() => {
                return Err(NotReady::TimedOut { why, last_lines: last_lines() });
            }
            Look::NotYet(why) => {
                tell(&why);
                let pause = ((now - begun) / LATENESS).max((now - looked) * REST).clamp(PAUSE_MIN, PAUSE_MAX);
                exit = supervisor.wait_exit(&running.instance, pause.min(left));
            }
        }
    }
}

/// The output of a service so far, for the gate `log`.
struct Output {
    pattern: Option<Regex>,
    from: LogFrom,
}

impl Output {
    fn new(gate: &Gate) -> Result<Self, NotReady> {
        let pattern = match gate {
            Gate::Log { pattern } => Some(Regex::new(pattern).map_err(|error| {
                NotReady::Unknown(OpError::invalid(format!("`{pattern}` is no regular expression: {error}")))
            })?),
            _ => None,
        };
        Ok(Self { pattern, from: LogFrom::Start })
    }

    fn look(&mut self, supervisor: &dyn Supervisor, name: &str) -> Result<Look, OpError> {
        let Some(pattern) = &self.pattern else {
            return Ok(Look::Passed);
        };
        loop {
            let chunk = supervisor.read_log(name, self.from.clone())?;
            self.from = LogFrom::Position(chunk.next);
            if chunk.lines.iter().any(|line| pattern.is_match(line)) {
                return Ok(Look::Passed);
            }
            if !chunk.more {
                return Ok(Look::NotYet(format!("it wrote no line that matches `{pattern}`")));
            }
        }
    }
}
