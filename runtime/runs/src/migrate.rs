//! Migrating a run to other sources, and checking that live runs replay on this binary.

use std::sync::Arc;

use hob_engine::run_cx::Difference;
use hob_engine::{Bundle, Evaluated, Mode, RunCx, evaluate};
use hob_journal::RunFilter;
use hob_model::{EntryKind, RunEnd, RunId, RunStatus};

use crate::error::RunError;
use crate::manager::Runs;

/// What a verifying replay found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Migration {
    /// Each recorded call matches.
    Fits,
    /// The first call that does not.
    Differs(Difference),
}

/// What a replay of an ended run came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Retold {
    /// It came to its end.
    Ended(RunEnd),
    /// The first call that differs from the record.
    Differs(Difference),
    /// It goes on where the record ends.
    GoesOn,
}

impl Runs {
    /// Replays a run on `bundle` with its recorded outcomes in place of the world, whether it has ended or not.
    ///
    /// # Errors
    /// When the run cannot be read.
    pub fn retell(&self, run: RunId, bundle: Arc<Bundle>) -> Result<Retold, RunError> {
        let cx = RunCx::new(Arc::clone(self.host()), run, Some(bundle), self.records(run)?, Mode::Verify);
        Ok(match evaluate(&cx) {
            Evaluated::Paused(difference) => Retold::Differs(difference),
            Evaluated::Verified(Some(end)) => Retold::Ended(end),
            Evaluated::Stopped(error) => return Err(error.into()),
            _ => Retold::GoesOn,
        })
    }

    /// Replays a run, without acting, on `bundle` or on its own.
    ///
    /// # Errors
    /// When the run cannot be read.
    pub fn verify(&self, run: RunId, bundle: Option<Arc<Bundle>>) -> Result<Migration, RunError> {
        let row = self.row(run)?;
        let cx = match bundle {
            Some(bundle) => {
                RunCx::new(Arc::clone(self.host()), run, Some(bundle), self.records(run)?, Mode::Verify)
            }
            None => self.context(&row, Mode::Verify)?,
        };
        Ok(match evaluate(&cx) {
            Evaluated::Paused(difference) => Migration::Differs(difference),
            Evaluated::Failed { diagnostic, .. } if row.end.is_none() => Migration::Differs(Difference {
                position: hob_model::Position::root(),
                message: diagnostic.to_string(),
            }),
            Evaluated::Stopped(error) => return Err(error.into()),
            _ => Migration::Fits,
        })
    }

    /// Moves a run to `bundle` if each of its recorded calls matches there.
    ///
    /// # Errors
    /// When the run has ended or is being evaluated now.
    pub fn migrate(&self, run: RunId, bundle: &Arc<Bundle>) -> Result<Migration, RunError> {
        let row = self.row(run)?;
        let busy = self.state().active.contains_key(&run);
        if row.status.ended() || busy {
            let why =
                if busy { "it is being evaluated now; try again when it waits" } else { "it has ended" };
            return Err(RunError::State { run, status: row.status, why });
        }
        let migration = self.verify(run, Some(Arc::clone(bundle)))?;
        if migration == Migration::Fits {
            let entry = EntryKind::Migrated { bundle: bundle.digest() };
            let mut kinds = vec![entry];
            // It was waiting before and it waits again: without this it would count as running.
            if matches!(row.status, RunStatus::Waiting | RunStatus::InDoubt) {
                kinds.push(EntryKind::Suspended { status: row.status });
            }
            self.append_anyhow(run, kinds, bundle.writes())?;
            if matches!(row.status, RunStatus::Paused | RunStatus::Running | RunStatus::Queued) {
                self.schedule(run);
            }
        }
        Ok(migration)
    }

    /// Replays all live runs on this binary, without acting.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn check_live(&self) -> Result<Vec<(RunId, Migration)>, RunError> {
        let filter = RunFilter { status: RunStatus::live(), ..RunFilter::default() };
        let rows = self.journal().runs(&filter)?;
        let scripts = rows.into_iter().filter(|row| row.bundle.is_some());
        scripts.map(|row| Ok((row.run, self.verify(row.run, None)?))).collect()
    }
}
