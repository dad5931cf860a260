//! Driving: one pass after another over a run, until it ends or nothing is left to do for now.

use std::sync::Arc;

use hob_engine::{Evaluated, Mode, Records, RunCx, evaluate};
use hob_journal::{RunRow, Write};
use hob_model::{Diagnostic, Entry, EntryKind, OpError, RunEnd, RunId, RunStarted, RunStatus, Value};

use crate::error::RunError;
use crate::manager::Runs;

/// Entries that are read from the journal at one time.
const ENTRIES_AT_ONCE: usize = 10_000;

/// What a pass left to be done.
enum Next {
    Again,
    Nothing,
}

impl Runs {
    /// Evaluates a run until nothing is left to do for now. Runs on a script thread.
    pub(crate) fn drive(&self, run: RunId) {
        let guard = Departure { runs: self, run };
        loop {
            match self.pass(run) {
                Ok(Next::Again) => {}
                Ok(Next::Nothing) => break,
                Err(error) => {
                    tracing::error!(%run, %error, "a run cannot go on");
                    self.0.listener.failed(run, &error.diagnostic());
                    break;
                }
            }
        }
        drop(guard);
    }

    /// All that the journal knows about a run.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn records(&self, run: RunId) -> Result<Records, RunError> {
        let mut entries = Vec::new();
        loop {
            let from = entries.last().map_or(0, |entry: &Entry| entry.seq + 1);
            let more = self.journal().entries(run, from, ENTRIES_AT_ONCE)?;
            let done = more.len() < ENTRIES_AT_ONCE;
            entries.extend(more);
            if done {
                break;
            }
        }
        if entries.is_empty() { Err(RunError::NotFound(run.to_string())) } else { Ok(Records::of(entries)) }
    }

    /// The context for one pass.
    pub(crate) fn context(&self, row: &RunRow, mode: Mode) -> Result<Arc<RunCx>, RunError> {
        let bundle = row.bundle.map(|digest| self.bundle(digest)).transpose()?;
        Ok(RunCx::new(Arc::clone(self.host()), row.run, bundle, self.records(row.run)?, mode))
    }

    fn pass(&self, run: RunId) -> Result<Next, RunError> {
        let row = self.row(run)?;
        if row.status.ended() || row.bundle.is_none() {
            return Ok(self.depart(run, None, |_| ()));
        }
        let cx = self.context(&row, if self.0.dry { Mode::Dry } else { Mode::Live })?;
        {
            let mut state = self.state();
            if state.closing {
                return Ok(Next::Nothing);
            }
            if let Some(active) = state.active.get_mut(&run) {
                active.again = false;
                active.cx = Some(Arc::clone(&cx));
                if active.cancels > 1 {
                    cx.kill();
                }
            }
        }
        self.0.listener.changed(run, RunStatus::Running, None);
        let evaluated = evaluate(&cx);
        tracing::debug!(%run, ?evaluated, "pass");
        self.finish(&cx, evaluated)
    }

    /// Records what the pass came to.
    fn finish(&self, cx: &Arc<RunCx>, evaluated: Evaluated) -> Result<Next, RunError> {
        let run = cx.id;
        let end = match evaluated {
            Evaluated::Suspended(status) => {
                return Ok(self.depart(run, Some(cx), |cx| {
                    let events = if status == RunStatus::InDoubt {
                        vec![self.event(cx, "run.in_doubt")]
                    } else {
                        vec![]
                    };
                    let ticket = cx.append_life(vec![EntryKind::Suspended { status }], events);
                    let _ = self.journal().wait(ticket);
                    self.0.listener.changed(run, status, None);
                }));
            }
            Evaluated::Paused(difference) if !cx.is_cancelled() => {
                return Ok(self.depart(run, Some(cx), |cx| {
                    let entry = EntryKind::Paused {
                        position: difference.position.clone(),
                        message: difference.message.clone(),
                    };
                    let ticket = cx.append_life(vec![entry], vec![self.event(cx, "run.paused")]);
                    let _ = self.journal().wait(ticket);
                    self.0.listener.failed(run, &paused_diagnostic(&difference));
                    self.0.listener.changed(run, RunStatus::Paused, None);
                }));
            }
            Evaluated::Stopped(error) => return Err(error.into()),
            Evaluated::Left | Evaluated::Verified => return Ok(Next::Nothing),
            Evaluated::Succeeded(value) => (RunEnd::Succeeded(value), false, None),
            Evaluated::Failed { error, diagnostic, compensated } => {
                (RunEnd::Failed(error), compensated, Some(diagnostic))
            }
            Evaluated::Cancelled { compensated } => (RunEnd::Cancelled, compensated, None),
            Evaluated::Paused(_) => (RunEnd::Cancelled, false, None),
            Evaluated::Carried { state, pin } => return self.carry(cx, state, pin),
        };
        let (end, compensated, diagnostic) = end;
        if let Some(diagnostic) = diagnostic {
            self.0.listener.failed(run, &diagnostic);
        }
        self.end(cx, end, compensated, vec![])
    }

    /// Ends a run, tells whoever waits for it, and waits for the disk.
    fn end(
        &self,
        cx: &Arc<RunCx>,
        end: RunEnd,
        compensated: bool,
        mut beside: Vec<Write>,
    ) -> Result<Next, RunError> {
        let run = cx.id;
        let failed_at = match &end {
            RunEnd::Failed(error) => error.position.clone(),
            _ => None,
        };
        beside.push(self.event(cx, &format!("run.{}", end.status())));
        let entry = EntryKind::Ended { end: end.clone(), failed_at, compensated };
        let ticket = cx.append_life(vec![entry], beside);
        self.journal().wait(ticket)?;
        self.tell_parent(&cx.started, &end);
        let next = self.depart(run, None, |_| ());
        self.0.listener.changed(run, end.status(), Some(&end));
        self.events_changed();
        Ok(next)
    }

    /// Ends this run and starts its successor, in one commit.
    fn carry(&self, cx: &Arc<RunCx>, state: Value, pin: bool) -> Result<Next, RunError> {
        let successor = self.new_id();
        let newest = if pin { None } else { self.newest_bundle(&cx.started) };
        let bundle = newest.or(cx.bundle.as_ref().map(|bundle| bundle.digest()));
        let started =
            RunStarted { input: state, bundle, trigger: format!("carry:{}", cx.id), ..cx.started.clone() };
        let first = Entry { seq: 0, at: self.now(), kind: EntryKind::Started(started) };
        let beside = vec![Write::Entry(successor, first), Write::SignalsMoved { from: cx.id, to: successor }];
        let next = self.end(cx, RunEnd::Carried(successor), false, beside)?;
        self.schedule(successor);
        Ok(next)
    }

    /// The bundle that new runs of the same declaration start with: the adopted homelab's.
    fn newest_bundle(&self, started: &RunStarted) -> Option<hob_model::Digest> {
        if !matches!(started.entry, hob_model::RunEntry::Declared { .. }) {
            return None;
        }
        let fact = self.journal().fact(crate::manager::ADOPTED_BUNDLE).ok().flatten()?;
        fact.as_str().and_then(hob_model::Digest::parse)
    }

    /// An event about a run.
    pub(crate) fn event(&self, cx: &RunCx, name: &str) -> Write {
        let payload = Value::map([
            ("run", Value::from(cx.id.to_string())),
            ("name", Value::from(cx.started.name.as_str())),
            ("kind", Value::from(cx.started.entry.kind())),
        ]);
        Write::Event { name: name.to_owned(), payload, origin: format!("run:{}", cx.id), at: self.now() }
    }

    /// Hands the end of a run to the one that waits for it.
    fn tell_parent(&self, started: &RunStarted, end: &RunEnd) {
        let Some((parent, position)) = &started.parent else {
            return;
        };
        if matches!(end, RunEnd::Carried(_)) {
            return;
        }
        self.fulfil(*parent, position, "invoke", result_of(end), vec![]);
    }

    /// Lets the run go, unless something came meanwhile that needs another pass. `last` is what is recorded then.
    fn depart(&self, run: RunId, cx: Option<&Arc<RunCx>>, last: impl FnOnce(&Arc<RunCx>)) -> Next {
        let mut state = self.state();
        let again = state.active.get(&run).is_some_and(|active| active.again);
        if let Some(cx) = cx {
            if again || cx.has_deliveries() {
                if let Some(active) = state.active.get_mut(&run) {
                    active.cx = None;
                }
                return Next::Again;
            }
            // The entry must be in the journal before anybody else may append to the run.
            last(cx);
        }
        state.active.remove(&run);
        Next::Nothing
    }
}

/// What the one who waits for a run gets.
pub(crate) fn result_of(end: &RunEnd) -> Result<Value, OpError> {
    match end {
        RunEnd::Succeeded(value) => Ok(value.clone()),
        RunEnd::Failed(error) => Err(OpError { position: None, ..error.clone() }),
        RunEnd::Cancelled => Err(OpError::cancelled("the run was cancelled").retryable(false)),
        RunEnd::Carried(successor) => Ok(Value::from(successor.to_string())),
    }
}

fn paused_diagnostic(difference: &hob_engine::run_cx::Difference) -> Diagnostic {
    Diagnostic::error(
        hob_model::Code::ReplayDiffers,
        format!("the replay differs at {}: {}", difference.position, difference.message),
    )
    .hint("nothing was done; `hob runs migrate` moves the run to other sources, `hob runs cancel` ends it")
}

/// Forgets the run even when a pass panics: it goes on when hob starts again.
struct Departure<'a> {
    runs: &'a Runs,
    run: RunId,
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        self.runs.state().active.remove(&self.run);
    }
}
