//! Looking at gates.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hob_model::OpError;
use hob_planner::declaration::{Gate, Process};

use super::{end, scan, spawn, watch};
use crate::port::Look;
use crate::probe::{LOCALHOST, probe};

/// Looks once, for at most `timeout`.
pub(super) fn look(
    process: &Process,
    gate: &Gate,
    base: &BTreeMap<String, String>,
    timeout: Duration,
) -> Result<Look, OpError> {
    match gate {
        Gate::Exec { command } => exec(process, command, base, Instant::now() + timeout),
        Gate::Healthy => Err(OpError::invalid("a process has no health check of its own")),
        gate => Ok(probe(&LOCALHOST, gate, timeout).unwrap_or(Look::Passed)),
    }
}

/// Runs a command in the surroundings of the service; it holds when it ends with code 0.
pub(super) fn exec(
    process: &Process,
    words: &[String],
    base: &BTreeMap<String, String>,
    deadline: Instant,
) -> Result<Look, OpError> {
    let program = words.first().map_or("", String::as_str);
    let mut command = spawn::command(process, words, base, None)?;
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ok(Look::NotYet(format!("{program}: {error}"))),
    };
    let (process, _) = scan::identify(child.id())?;
    let has_ended = watch::open(&process).is_none_or(|pidfd| end::wait(&pidfd, deadline));
    // It leads a session: what it started goes with it. Until it is waited for, its number stays its own.
    end::kill_group(child.id());
    let status = child.wait().map_err(|error| OpError::io(&error, program))?;
    Ok(match (has_ended, status.success()) {
        (true, true) => Look::Passed,
        (true, false) => Look::NotYet(format!("{program}: {status}")),
        (false, _) => Look::NotYet(format!("{program} takes too long")),
    })
}
