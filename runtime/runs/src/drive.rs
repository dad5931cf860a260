//! Driving: one pass after another over a run, until it ends or nothing is left to do for now.

use std::sync::Arc;

use hob_engine::{Bundle, Evaluated, Mode, Records, RunCx, evaluate};
use hob_journal::{RunRow, Write};
use hob_model::{Diagnostic, Entry, EntryKind, OpError, RunEnd, RunId, RunStarted, RunStatus, Value};

use crate::error::RunError;
use crate::manager::{Listener, Runs};

/// Entries that are read from the journal at one time.
const ENTRIES_AT_ONCE: usize = 10_000;

/// What a pass left to be done.
enum Next {
    Again,
    Nothing,
}

impl Runs {
    /// Evaluates a run until nothing is left to do for now. Runs on a script thread.
    pub(crate) fn drive(&self, run: RunId, number: u64) {
        let guard = Departure { runs: self, run, number };
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
        let mut records = Records::of([]);
        loop {
            // A part at a time: a long run's entries and its records need not be in memory together.
            let more = self.journal().entries(run, records.next_seq, ENTRIES_AT_ONCE)?;
            let done = more.len() < ENTRIES_AT_ONCE;
            records.extend(more);
            if done {
                break;
            }
        }
        if records.started.is_none() { Err(RunError::NotFound(run.to_string())) } else { Ok(records) }
    }

    /// The context for one pass.
    pub(crate) fn context(&self, row: &RunRow, mode: Mode) -> Result<Arc<RunCx>, RunError> {
        let bundle = row.bundle.map(|digest| self.bundle(digest)).transpose()?;
        Ok(RunCx::new(Arc::clone(self.host()), row.run, bundle, self.records(row.run)?, mode))
    }

    fn pass(&self, run: RunId) -> Result<Next, RunError> {
        let cx = loop {
            let (outside, fresh) = self.begin_loading(run);
            let mode = if self.0.dry { Mode::Dry } else { Mode::Live };
            let cx = match fresh {
                Some((records, bundle)) => {
                    RunCx::new(Arc::clone(self.host()), run, Some(bundle), records, mode)
                }
                None => {
                    let row = self.row(run)?;
                    if row.status.ended() || row.bundle.is_none() {
                        return Ok(self.depart(run));
                    }
                    self.context(&row, mode)?
                }
            };
            let mut state = self.state();
            if state.leaves(run) {
                return Ok(Next::Nothing);
            }
            let Some(active) = state.active.get_mut(&run) else { break cx };
            if active.outside != outside {
                // Somebody appended while the records were loaded: they may lack it, and its number would be doubled.
                continue;
            }
            active.again = false;
            active.cx = Some(Arc::clone(&cx));
            if active.cancels > 1 {
                cx.kill();
            }
            break cx;
        };
        self.0.listener.changed(run, RunStatus::Running, None);
        let evaluated = evaluate(&cx);
        tracing::debug!(%run, ?evaluated, "pass");
        self.finish(&cx, evaluated)
    }

    /// How often others appended to the run so far, and what is known of it without reading.
    fn begin_loading(&self, run: RunId) -> (u64, Option<(Records, Arc<Bundle>)>) {
        match self.state().active.get_mut(&run) {
            Some(active) => (active.outside, active.fresh.take().filter(|_| active.outside == 0)),
            None => (0, None),
        }
    }

    /// Records what the pass came to.
    fn finish(&self, cx: &Arc<RunCx>, evaluated: Evaluated) -> Result<Next, RunError> {
        let run = cx.id;
        let end = match evaluated {
            Evaluated::Suspended(status) => {
                let in_doubt = status == RunStatus::InDoubt;
                let events = if in_doubt { vec![self.event(cx, "run.in_doubt")] } else { vec![] };
                return self.rest(cx, EntryKind::Suspended { status }, events, |listener| {
                    listener.changed(run, status, None);
                });
            }
            Evaluated::Paused(difference) if !cx.is_cancelled() => {
                let entry = EntryKind::Paused {
                    position: difference.position.clone(),
                    message: difference.message.clone(),
                };
                return self.rest(cx, entry, vec![self.event(cx, "run.paused")], |listener| {
                    listener.failed(run, &paused_diagnostic(&difference));
                    listener.changed(run, RunStatus::Paused, None);
                });
            }
            Evaluated::Stopped(error) => return Err(error.into()),
            Evaluated::Left | Evaluated::Verified(_) => return Ok(Next::Nothing),
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
        beside.push(self.end_event(cx, &end));
        let entry = EntryKind::Ended { end: end.clone(), failed_at, compensated };
        let ticket = cx.append_life(vec![entry], beside);
        self.journal().wait(ticket)?;
        self.tell_parent(&cx.started, &end);
        let next = self.depart(run);
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

    /// The event of a run's end; that of a failure carries the error, as scripts see it.
    fn end_event(&self, cx: &RunCx, end: &RunEnd) -> Write {
        let error = match end {
            RunEnd::Failed(error) => Some(("error", error.to_value())),
            _ => None,
        };
        self.event_with(cx, &format!("run.{}", end.status()), error)
    }

    /// An event about a run.
    pub(crate) fn event(&self, cx: &RunCx, name: &str) -> Write {
        self.event_with(cx, name, None)
    }

    fn event_with(&self, cx: &RunCx, name: &str, more: Option<(&str, Value)>) -> Write {
        let fields = [
            ("run", Value::from(cx.id.to_string())),
            ("name", Value::from(cx.started.name.as_str())),
            ("kind", Value::from(cx.started.entry.kind())),
        ];
        let payload = Value::map(fields.into_iter().chain(more));
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

    /// Lets a run go that has ended.
    fn depart(&self, run: RunId) -> Next {
        self.state().active.remove(&run);
        Next::Nothing
    }

    /// Lets a run go that waits for something, with `last` as its last entry, unless something came meanwhile that
    /// needs another pass. `tell` says so, once it is durable.
    fn rest(
        &self,
        cx: &Arc<RunCx>,
        last: EntryKind,
        beside: Vec<Write>,
        tell: impl FnOnce(&dyn Listener),
    ) -> Result<Next, RunError> {
        let ticket = {
            let mut state = self.state();
            if let Some(active) = state.active.get_mut(&cx.id)
                && (active.again || cx.has_deliveries())
            {
                active.cx = None;
                return Ok(Next::Again);
            }
            // The entry must be submitted before anybody else may append to the run. The disk is waited for afterwards,
            // or all runs would wait in line for it.
            let ticket = cx.append_life(vec![last], beside);
            state.active.remove(&cx.id);
            ticket
        };
        self.journal().wait(ticket)?;
        tell(&*self.0.listener);
        Ok(Next::Nothing)
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
    number: u64,
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        // It may have departed and come back, on another thread.
        let mut state = self.runs.state();
        if state.active.get(&self.run).is_some_and(|active| active.number == self.number) {
            state.active.remove(&self.run);
        }
    }
}
