//! Where a run stands: whether it goes on by itself, or only when somebody takes it on.

use hob_journal::RunRow;
use hob_model::{RunId, RunStatus, Wait};

use crate::error::RunError;
use crate::manager::{Runs, State};
use crate::wake::WAITS_AT_ONCE;

/// A run at one moment.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What the journal has of it.
    pub row: RunRow,
    /// It is evaluated, in line for its turn, or woken by a clock or by another run that goes on. When not, it has
    /// ended, or waits for a signal, an event, an answer or a decision.
    pub goes_on: bool,
}

impl Runs {
    /// Where a run stands now.
    ///
    /// # Errors
    /// When there is no such run, or the journal cannot be read.
    pub fn standing(&self, run: RunId) -> Result<Standing, RunError> {
        // All is read under the lock. What ends a wait takes the run up under it: no run is seen that has been woken
        // and not begun, nor a child that has ended without its parent having been told.
        let state = self.state();
        let row = self.row(run)?;
        let goes_on = self.goes_on(&state, &row)?;
        Ok(Standing { row, goes_on })
    }

    fn goes_on(&self, state: &State, row: &RunRow) -> Result<bool, RunError> {
        if state.active.contains_key(&row.run) {
            return Ok(true);
        }
        if state.held.contains(&row.run) {
            return Ok(false);
        }
        match row.status {
            RunStatus::Queued | RunStatus::Running => return Ok(true),
            RunStatus::Waiting => {}
            _ => return Ok(false),
        }
        let waits = self.journal().waits(None, Some(row.run), WAITS_AT_ONCE)?;
        for wait in &waits {
            let goes_on = match &wait.wait {
                // Its end wakes the run; it decides whether there will be one.
                Wait::Run(child) => match self.journal().run(*child)? {
                    Some(child) => child.status.ended() || self.goes_on(state, &child)?,
                    None => false,
                },
                wait => wait.due().is_some(),
            };
            if goes_on {
                return Ok(true);
            }
        }
        // Woken, and not evaluated since: by a process that does not serve it, or one that ended.
        Ok(waits.is_empty())
    }
}
