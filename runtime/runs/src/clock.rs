//! Waits that began by a clock that was put back since.
//!
//! A pause ends at a time. When the clock was a year ahead as it began, that time is a year away once the clock is right, and
//! whatever waits for the run would wait with it. Such a pause lasts as long as it was to, from when that is seen. It is
//! remembered here alone: who begins anew sees it anew.

use std::time::Duration;

use hob_journal::{RunFilter, RunRow};
use hob_model::{EntryKind, Position, RunId, RunStatus, Timestamp};

use crate::error::RunError;
use crate::manager::Runs;
use crate::wake::{operation_of, time_came};

/// Entries of a run that are read at one time.
const ENTRIES_AT_ONCE: usize = 1_000;

/// How far in the future a wait must have begun.
const AHEAD_MIN: Duration = Duration::from_secs(1);

/// A wait, and its next end.
type Shortened = (Timestamp, RunId, Position);

impl Runs {
    /// Has waits that began in what is now the future end in time. To be called at the start, and when the clock was put back.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn clock_was_put_back(&self) -> Result<(), RunError> {
        let now = self.now();
        let Ok(ahead) = now.checked_add(AHEAD_MIN) else { return Ok(()) };
        let filter =
            RunFilter { status: RunStatus::live(), updated_since: Some(ahead), ..RunFilter::default() };
        let mut found = Vec::new();
        for row in self.journal().runs(&filter)? {
            self.find_ahead(&row, (now, ahead), &mut found)?;
        }
        if found.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            waits = found.len(),
            "waits that began by a clock that was ahead last no longer than they were to"
        );
        {
            let shortened = &mut self.state().shortened;
            for (at, run, position) in found {
                // One that was seen before lasts on.
                let known = shortened.iter_mut().find(|known| (known.1, &known.2) == (run, &position));
                match known {
                    Some(known) => known.0 = known.0.min(at),
                    None => shortened.push((at, run, position)),
                }
            }
        }
        self.0.listener.timer();
        Ok(())
    }

    /// The waits of a run that began after `ahead` and last for a time, with their end.
    fn find_ahead(
        &self,
        row: &RunRow,
        (now, ahead): (Timestamp, Timestamp),
        found: &mut Vec<Shortened>,
    ) -> Result<(), RunError> {
        let mut from = 0;
        while from < row.entries {
            let entries = self.journal().entries(row.run, from, ENTRIES_AT_ONCE)?;
            let Some(last) = entries.last() else { break };
            from = last.seq + 1;
            for entry in entries.into_iter().filter(|entry| entry.at >= ahead) {
                // Until a time that a person gave is until that time.
                let EntryKind::Wait { position, operation, wait, .. } = entry.kind else { continue };
                let Some(due) = wait.due().filter(|_| operation != "sleep_until") else { continue };
                if self.journal().wait_at(row.run, &position)?.is_some() {
                    let end = now.saturating_add(entry.at.duration_until(due)).unwrap_or(due);
                    found.push((end, row.run, position));
                }
            }
        }
        Ok(())
    }

    /// When the first of them is due.
    pub(crate) fn next_shortened(&self) -> Option<Timestamp> {
        self.state().shortened.iter().map(|known| known.0).min()
    }

    /// Ends those whose time has come; how many there were.
    pub(crate) fn fire_shortened(&self) -> Result<usize, RunError> {
        let now = self.now();
        let due: Vec<Shortened> = self.state().shortened.extract_if(.., |known| known.0 <= now).collect();
        let mut fired = 0;
        for (_, run, position) in due {
            let Some(row) = self.journal().wait_at(run, &position)? else { continue };
            let (operation, result) = (operation_of(&row.wait), time_came(&row.wait));
            fired += usize::from(self.fulfil(run, &position, operation, result, vec![]));
        }
        Ok(fired)
    }
}
