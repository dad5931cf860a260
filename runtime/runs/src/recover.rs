//! Recovering: what a process does with the runs it finds.

use hob_journal::{Commit, RunFilter, Write};
use hob_model::{Entry, EntryKind, RunOwner, RunStatus, Value};

use crate::error::RunError;
use crate::manager::Runs;

/// What was found at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Runs that go on.
    pub resumed: usize,
    /// Foreground runs whose process is gone.
    pub interrupted: usize,
    /// Restored runs that wait to be released.
    pub held: usize,
}

/// The fact that a run was restored and not released: `restored/held/RUN`.
const HELD_PREFIX: &str = "restored/held/";

impl Runs {
    /// Takes over what the previous process left: runs of the daemon go on (when `take_over`), foreground runs that
    /// worked or slept become `interrupted`, restored ones are held. Sleeping runs of the daemon cost nothing here:
    /// their wake-ups are in an index. Without `take_over` this process serves only the runs that it is asked about:
    /// it may end soon, and what it began for others would be cut off.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub fn recover(&self, take_over: bool) -> Result<Recovered, RunError> {
        let mut recovered = Recovered::default();
        let last_event = self.journal().last_event()?;
        {
            let mut state = self.state();
            state.event_cursor = last_event;
            if !take_over {
                state.own.get_or_insert_default();
            }
        }
        for (key, value) in self.journal().facts(HELD_PREFIX)? {
            let run = key.strip_prefix(HELD_PREFIX).and_then(hob_model::RunId::parse);
            if let (Some(run), Value::Bool(true)) = (run, value) {
                self.state().held.insert(run);
                recovered.held += 1;
            }
        }
        self.recover_turns()?;
        let working =
            RunFilter { status: vec![RunStatus::Queued, RunStatus::Running], ..RunFilter::default() };
        // Of those that sleep only the few in the foreground: a million others are not to be read at each start.
        let sleeping = RunFilter {
            status: vec![RunStatus::Waiting],
            owner: Some(RunOwner::Foreground),
            ..RunFilter::default()
        };
        let mut rows = self.journal().runs(&working)?;
        rows.extend(self.journal().runs(&sleeping)?);
        for row in rows {
            let waiting = row.status == RunStatus::Waiting;
            if row.owner == RunOwner::Foreground {
                // The process stays while a clock wakes its run, and leaves when only others can: then nobody is gone.
                if waiting && !self.standing(row.run)?.goes_on {
                    continue;
                }
                let entry = Entry { seq: row.entries, at: self.now(), kind: EntryKind::Interrupted };
                self.journal().submit(Commit::one(Write::Entry(row.run, entry)));
                recovered.interrupted += 1;
            } else if take_over && !waiting && row.bundle.is_some() && !self.waits_turn(row.run) {
                recovered.resumed += 1;
                self.schedule(row.run);
            }
        }
        self.journal().flush()?;
        if take_over {
            self.catch_up()?;
        }
        Ok(recovered)
    }

    /// Ends waits whose fulfilment was recorded, but not handed over, when the previous process ended.
    fn catch_up(&self) -> Result<(), RunError> {
        for kind in ["signal", "event", "run"] {
            for row in self.journal().waits(Some(kind), None, usize::MAX)? {
                self.waiting(row.run, &row.position, &row.wait);
            }
        }
        Ok(())
    }
}
