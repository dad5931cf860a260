//! Functions of a declaration that the keeper has run, each as a run of its own.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_model::{Code, Diagnostic, RunEnd, RunId, Value};
use hob_planner::declaration::RunPolicy;

use super::Inner;
use crate::schedules::Launch;

/// How long one waits for a run before one looks whether hob itself ends.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Runs that somebody waits for.
#[derive(Default)]
pub(crate) struct Hooks {
    awaited: Mutex<HashMap<RunId, Option<RunEnd>>>,
    ended: Condvar,
}

impl Hooks {
    fn awaited(&self) -> MutexGuard<'_, HashMap<RunId, Option<RunEnd>>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run ended.
    pub(super) fn run_ended(&self, run: RunId, end: &RunEnd) {
        if let Some(awaited) = self.awaited().get_mut(&run) {
            *awaited = Some(end.clone());
            self.ended.notify_all();
        }
    }
}

/// What to run: the function of an option of a declaration, or its body.
pub(super) struct Function<'f> {
    /// `service.update.before`
    pub(super) kind: &'f str,
    /// The name of the declaration.
    pub(super) name: &'f str,
    pub(super) policy: &'f RunPolicy,
    pub(super) input: Value,
    pub(super) trigger: String,
}

/// Runs a function and waits for its end; its value.
///
/// # Errors
/// When it fails, is cancelled, or hob ends first; then the run goes on with the next one.
pub(super) fn run(inner: &Inner, launch: &Launch, function: &Function<'_>) -> Result<Value, Diagnostic> {
    let new = launch.new_run(
        function.kind,
        function.name,
        function.policy,
        function.input.clone(),
        function.trigger.clone(),
    );
    let id = new.id;
    launch.runs.start(new).map_err(|error| error.diagnostic())?;
    let end = await_end(inner, id);
    let failed = |why: String| {
        let message = format!("`{}` of `{}` {why}", function.kind, function.name);
        Diagnostic::error(Code::ServiceFailed, message).hint(format!("`hob runs show {id}` shows it"))
    };
    match end? {
        RunEnd::Succeeded(value) => Ok(value),
        RunEnd::Failed(error) => Err(failed(format!("failed: {error}"))),
        RunEnd::Cancelled => Err(failed("was cancelled".to_owned())),
        RunEnd::Carried(_) => Err(failed("went on as another run, which nobody waits for".to_owned())),
    }
}

/// Waits for the end of a run that was started.
///
/// # Errors
/// When hob ends first, or the journal cannot be read.
pub(super) fn await_end(inner: &Inner, id: RunId) -> Result<RunEnd, Diagnostic> {
    inner.hooks.awaited().insert(id, None);
    // It may have ended before anybody listened.
    let ended = inner.runs.row(id).map(|row| row.end).map_err(|error| error.diagnostic());
    let end = match ended {
        Ok(Some(end)) => Ok(end),
        Ok(None) => await_news(inner, id),
        Err(error) => Err(error),
    };
    inner.hooks.awaited().remove(&id);
    end
}

fn await_news(inner: &Inner, id: RunId) -> Result<RunEnd, Diagnostic> {
    let mut awaited = inner.hooks.awaited();
    loop {
        if let Some(end) = awaited.get_mut(&id).and_then(Option::take) {
            return Ok(end);
        }
        if inner.cancel.is_cancelled() {
            return Err(Diagnostic::error(Code::ServiceFailed, "hob ends"));
        }
        let waited = inner.hooks.ended.wait_timeout(awaited, LOOK_AGAIN);
        awaited = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}
