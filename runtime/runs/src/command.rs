//! What people do with runs: cancel, resume, retry, resolve, approve.

use hob_engine::Records;
use hob_engine::records::Record;
use hob_journal::{Commit, Ticket, Write};
use hob_model::{
    Approval, Entry, EntryKind, OpError, Payload, Position, Resolution, RunId, RunStatus, Value, Wait,
};

use crate::error::RunError;
use crate::manager::Runs;

/// The most waits of a run that one interruption ends.
const WAITS_INTERRUPTED_MAX: usize = 10_000;

/// What a person decided about an effect in doubt.
#[derive(Clone, Debug, PartialEq)]
pub enum RunChoice {
    /// Do it again.
    Retry,
    /// Go on with `()`.
    Skip,
    /// Go on with this value.
    Result(Value),
}

impl Runs {
    /// Appends entries to a run that is not evaluated now, durable when the ticket is.
    fn submit_outside(
        &self,
        run: RunId,
        kinds: Vec<EntryKind>,
        beside: Vec<Write>,
    ) -> Result<Ticket, RunError> {
        let row = self.row(run)?;
        let at = self.now();
        let entries =
            (row.entries..).zip(kinds).map(|(seq, kind)| Write::Entry(run, Entry { seq, at, kind }));
        Ok(self.journal().submit(beside.into_iter().chain(entries).collect::<Commit>()))
    }

    /// Appends entries to a run, whether it is evaluated now or not.
    pub(crate) fn append_anyhow(
        &self,
        run: RunId,
        kinds: Vec<EntryKind>,
        beside: Vec<Write>,
    ) -> Result<(), RunError> {
        let mut state = self.state();
        let active = state.active.get_mut(&run);
        let ticket = match active.as_ref().and_then(|active| active.cx.as_ref()) {
            Some(cx) => cx.append_life(kinds, beside),
            None => {
                // A pass that loads its records now loads them once more.
                active.into_iter().for_each(|active| active.outside += 1);
                self.submit_outside(run, kinds, beside)?
            }
        };
        drop(state);
        Ok(self.journal().wait(ticket)?)
    }

    /// Asks a run to end: its compensations run. A second cancel ends the effect that is under way, too.
    ///
    /// # Errors
    /// When the run has ended, or there is none.
    pub fn cancel(&self, run: RunId, reason: &str) -> Result<(), RunError> {
        let row = self.row(run)?;
        if row.status.ended() {
            return Err(RunError::State { run, status: row.status, why: "it has ended already" });
        }
        let beside = self.leave_queue(run);
        self.append_anyhow(run, vec![EntryKind::CancelRequested { reason: reason.to_owned() }], beside)?;
        let mut state = self.state();
        if let Some(active) = state.active.get_mut(&run) {
            active.cancels += 1;
            match (&active.cx, active.cancels) {
                (Some(cx), 1) => cx.cancel(),
                (Some(cx), _) => cx.kill(),
                (None, _) => {}
            }
        }
        drop(state);
        self.schedule(run);
        Ok(())
    }

    /// Ends what a run does now, and lets it go on: effects under way are told to stop, and waits end with the error
    /// `cancelled`, but for those of the signal `kept`. How many there were.
    ///
    /// # Errors
    /// When there is no such run, or it has ended.
    pub fn interrupt(&self, run: RunId, kept: &str) -> Result<usize, RunError> {
        let row = self.row(run)?;
        if row.status.ended() {
            return Err(RunError::State { run, status: row.status, why: "it has ended already" });
        }
        let cx = self.state().active.get(&run).and_then(|active| active.cx.clone());
        let mut ended = cx.map_or(0, |cx| cx.interrupt());
        for row in self.journal().waits(None, Some(run), WAITS_INTERRUPTED_MAX)? {
            if matches!(&row.wait, Wait::Signal { name, .. } if name == kept) {
                continue;
            }
            let error = OpError::cancelled("it was interrupted").retryable(false);
            let operation = crate::wake::operation_of(&row.wait);
            ended += usize::from(self.fulfil(run, &row.position, operation, Err(error), vec![]));
        }
        Ok(ended)
    }

    /// Whether a cancel was asked for while this process evaluates the run.
    #[must_use]
    pub fn is_cancelled(&self, run: RunId) -> bool {
        self.state().active.get(&run).is_some_and(|active| active.cancels > 0)
    }

    /// Goes on with a run that was interrupted, paused or restored.
    ///
    /// # Errors
    /// When the run is in another state.
    pub fn resume(&self, run: RunId) -> Result<(), RunError> {
        let row = self.row(run)?;
        let held = self.state().held.contains(&run);
        if !held && !matches!(row.status, RunStatus::Interrupted | RunStatus::Paused) {
            let why = match row.status {
                RunStatus::InDoubt => "settle it with `hob runs resolve`",
                RunStatus::Failed => "continue it with `hob runs retry`",
                _ => "only an interrupted, paused or restored run is resumed",
            };
            return Err(RunError::State { run, status: row.status, why });
        }
        // A wait of the run may end just now: the two entries must not take the same number.
        self.append_anyhow(run, vec![EntryKind::Resumed], vec![])?;
        if held {
            let ticket = self.journal().submit(hob_journal::Commit::one(hob_journal::release(run)));
            self.journal().wait(ticket)?;
            self.state().held.remove(&run);
        }
        self.schedule(run);
        Ok(())
    }

    /// Continues a failed run from the effect that failed: the same run, the same keys, one attempt more.
    ///
    /// # Errors
    /// When the run has not failed, its compensations have run, or no effect failed it.
    pub fn retry(&self, run: RunId) -> Result<u32, RunError> {
        let row = self.row(run)?;
        let refuse = |why| Err(RunError::State { run, status: row.status, why });
        if row.status != RunStatus::Failed {
            return refuse("only a failed run is retried");
        }
        let last = self.journal().entries(run, row.entries.saturating_sub(1), 1)?;
        let Some(EntryKind::Ended { failed_at, compensated, .. }) =
            last.into_iter().next().map(|entry| entry.kind)
        else {
            return refuse("its last entry is not its end");
        };
        if compensated {
            return refuse("its compensations have run; start it anew with --from-start");
        }
        let Some(position) = failed_at else {
            return refuse(
                "no effect failed it but the script itself; start it anew with --from-start, or fork it",
            );
        };
        let attempt = row.attempt + 1;
        self.append_anyhow(run, vec![EntryKind::Reopened { position, attempt }], vec![])?;
        self.schedule(run);
        Ok(attempt)
    }

    /// Settles an effect in doubt. `still_running` tells whether a child of the effect with this key lives.
    ///
    /// # Errors
    /// When nothing at the position is in doubt, or a retry is asked for while a child of the effect lives.
    pub fn resolve(
        &self,
        run: RunId,
        position: &Position,
        choice: RunChoice,
        by: &str,
        still_running: impl FnOnce(&str) -> Vec<u32>,
    ) -> Result<(), RunError> {
        let records = self.records(run)?;
        let missing = || RunError::Position { run, position: position.to_string(), wanted: "is in doubt" };
        let record = record_at(&records, position).filter(|record| record.doubt).ok_or_else(missing)?;
        let mut beside = vec![];
        let resolution = match choice {
            RunChoice::Retry => {
                let key = record.intent.as_ref().map(|(key, _)| key.as_str()).unwrap_or_default();
                let living = still_running(key);
                if !living.is_empty() {
                    return Err(RunError::StillRunning(format!(
                        "process {living:?} of this effect still runs; end it, or wait for it, before it is done again"
                    )));
                }
                Resolution::Retry
            }
            RunChoice::Skip => Resolution::Skip,
            RunChoice::Result(value) => {
                let (payload, blob) = Payload::of(&value);
                if let (Payload::Blob(digest, _), Some(bytes)) = (&payload, blob) {
                    beside.push(Write::Blob(*digest, bytes));
                }
                Resolution::Result(payload)
            }
        };
        let entry = EntryKind::Resolved { position: position.clone(), resolution, by: by.to_owned() };
        self.append_anyhow(run, vec![entry], beside)?;
        self.schedule(run);
        Ok(())
    }

    /// Answers an approval; the comment is recorded with the answer. Without a position the run must have exactly one
    /// that is open.
    ///
    /// # Errors
    /// When none, or more than one, is open.
    pub fn approve(
        &self,
        run: RunId,
        position: Option<&Position>,
        yes: bool,
        comment: &str,
    ) -> Result<(), RunError> {
        self.row(run)?;
        self.adopt(run);
        let open = self.journal().waits(Some("approval"), Some(run), 100)?;
        let mut fitting = open.iter().filter(|row| position.is_none_or(|position| row.position == *position));
        let missing = |wanted| RunError::Position {
            run,
            position: position.map(ToString::to_string).unwrap_or_default(),
            wanted,
        };
        let row = fitting.next().ok_or_else(|| missing("waits for an approval"))?;
        if fitting.next().is_some() {
            let positions: Vec<String> = open.iter().map(|row| format!("`{}`", row.position)).collect();
            return Err(RunError::Refused(format!(
                "run {run} waits for {} approvals; name the position of one: {}",
                open.len(),
                positions.join(", ")
            )));
        }
        tracing::info!(%run, position = %row.position, yes, comment, "approval");
        let answer = Approval { approved: yes, comment: comment.to_owned() };
        if self.fulfil(run, &row.position, "approve", Ok(answer.recorded()), vec![]) {
            Ok(self.journal().flush()?)
        } else {
            Err(missing("waits for an approval"))
        }
    }
}

/// The record of the effect at a position.
pub(crate) fn record_at<'a>(records: &'a Records, position: &Position) -> Option<&'a Record> {
    let hob_model::position::Leaf::Effect(n) = position.leaf()? else {
        return None;
    };
    let parent = position.parent();
    records.branches().find(|(branch, _)| *branch == parent.as_str()).and_then(|(_, log)| log.effect(n))
}
