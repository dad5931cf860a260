//! Functions of a declaration that the keeper has run, each as a run of its own.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_model::{Code, Diagnostic, RunEnd, RunId, Value};
use hob_planner::declaration::RunPolicy;

use super::Inner;
use crate::schedules::Launch;

/// How long one waits for a run before one looks whether it is to be waited for further.
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
    let until = Until { limit: None, given_up: &|| false, past_end: false };
    match await_within(inner, id, &until)? {
        Waited::End(end) => Ok(end),
        _ => Err(Diagnostic::error(Code::ServiceFailed, "hob ends")),
    }
}

/// How long a run is waited for.
pub(super) struct Until<'u> {
    /// Until when, on the supervisor's clock.
    pub(super) limit: Option<Duration>,
    /// Whether nobody waits for it any more.
    pub(super) given_up: &'u dyn Fn() -> bool,
    /// Whether also while hob ends.
    pub(super) past_end: bool,
}

/// What waiting for a run came to.
pub(super) enum Waited {
    /// It has ended.
    End(RunEnd),
    /// It goes on, and the time is up.
    TimeUp,
    /// It goes on, and nobody waits for it any more.
    GivenUp,
    /// It goes on with the next hob.
    HobEnds,
}

/// Waits for the end of a run that was started, not for ever.
///
/// # Errors
/// When the journal cannot be read.
pub(super) fn await_within(inner: &Inner, id: RunId, until: &Until<'_>) -> Result<Waited, Diagnostic> {
    inner.hooks.awaited().insert(id, None);
    let waited = await_news(inner, id, until);
    inner.hooks.awaited().remove(&id);
    waited
}

fn await_news(inner: &Inner, id: RunId, until: &Until<'_>) -> Result<Waited, Diagnostic> {
    loop {
        // It may have ended before anybody listened, and where a homelab is only applied nobody tells.
        if let Some(end) = inner.runs.row(id).map_err(|error| error.diagnostic())?.end {
            return Ok(Waited::End(end));
        }
        if inner.cancel.is_cancelled() && !until.past_end {
            return Ok(Waited::HobEnds);
        }
        if (until.given_up)() {
            return Ok(Waited::GivenUp);
        }
        let left = until.limit.map(|at| at.saturating_sub(inner.supervisors.now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(Waited::TimeUp);
        }
        let pause = left.map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN));
        let mut awaited = inner.hooks.awaited();
        if !awaited.get(&id).is_some_and(Option::is_some) {
            let waited = inner.hooks.ended.wait_timeout(awaited, pause);
            awaited = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if let Some(end) = awaited.get_mut(&id).and_then(Option::take) {
            return Ok(Waited::End(end));
        }
    }
}
