//! Runs that go on for longer than they may.

use std::collections::HashMap;
use std::time::Duration;

use hob_journal::RunRow;
use hob_model::{EntryKind, RunId, Timestamp};
use hob_runs::{RunError, Runs};

/// How long a run may take to end by itself once its timeout has passed; then the effect under way is ended, too.
const END_GRACE: Duration = Duration::from_secs(30);

/// Runs whose timeout has passed, and since when they are asked to end.
#[derive(Default)]
pub(crate) struct Overdue(HashMap<RunId, Timestamp>);

impl Overdue {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends those of `running`, all runs that have the timeout, that went on for longer; `tell` hears of each once. When
    /// to look again.
    pub(crate) fn end<'a>(
        &mut self,
        runs: &Runs,
        running: impl Iterator<Item = &'a RunRow> + Clone,
        timeout: Duration,
        now: Timestamp,
        mut tell: impl FnMut(RunId),
    ) -> Result<Option<Timestamp>, RunError> {
        let mut next = None;
        let mut again = |at: Timestamp| next = [next, Some(at)].into_iter().flatten().min();
        self.0.retain(|run, _| running.clone().any(|row| row.run == *run));
        let grace = |at: Timestamp| at.checked_add(END_GRACE).unwrap_or(Timestamp::MAX);
        for row in running {
            let Ok(limit) = began(runs, row)?.checked_add(timeout) else { continue };
            match self.0.get(&row.run).copied() {
                None if limit > now => again(limit),
                Some(at) if at <= now && grace(at) > now => again(grace(at)),
                asked => {
                    if asked.is_none() {
                        tell(row.run);
                    }
                    // It may have ended by itself in this moment.
                    let _ = runs.cancel(row.run, "its timeout");
                    self.0.insert(row.run, now);
                    again(grace(now));
                }
            }
        }
        Ok(next)
    }
}

/// When a run began: where it waited its turn, that came to an end with its second entry.
fn began(runs: &Runs, row: &RunRow) -> Result<Timestamp, RunError> {
    let second = runs.journal().entries(row.run, 1, 1)?;
    let turn = second.first().filter(|entry| entry.kind == EntryKind::Resumed);
    Ok(turn.map_or(row.created, |entry| entry.at))
}
