//! Turns: runs that are recorded and wait until somebody lets them begin.
//!
//! Whoever starts a run may have it wait its turn: it exists, durably, with the status `queued`, and is not evaluated.
//! That it waits is a fact beside its first entry, written in the same commit, so no crash starts it early or forgets it.

use hob_journal::{Commit, Slot, Ticket, Write};
use hob_model::{EntryKind, RunId, Value};

use crate::error::RunError;
use crate::manager::{NewRun, Runs};

/// Before the id of a run, the name of the fact that it waits its turn; the fact's value is what it waits in.
const TURN_PREFIX: &str = "turn/";

/// How a run begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Begin {
    /// The queue in which it waits its turn; without one it begins at once.
    pub queue: Option<String>,
    /// What becomes durable together with its first entry.
    pub beside: Vec<Write>,
}

fn key(run: RunId) -> String {
    format!("{TURN_PREFIX}{run}")
}

impl Runs {
    /// As [`Runs::start`], in the way that `begin` says.
    ///
    /// # Errors
    /// As [`Runs::start`].
    pub fn start_as(&self, new: NewRun, begin: Begin) -> Result<Ticket, RunError> {
        self.journal().may_act()?;
        let (writes, waits) = self.writes_of(&new, begin);
        let run = new.id;
        if waits {
            self.state().turns.insert(run);
        }
        let ticket = self.journal().submit(Commit { writes });
        self.begun(run, waits);
        Ok(ticket)
    }

    /// Starts the run of a schedule's slot, once ever, in the way that `begin` says: `false` when the slot was claimed
    /// before, and then nothing was written.
    ///
    /// # Errors
    /// As [`Runs::start`].
    pub fn start_slot_as(
        &self,
        schedule: &str,
        nominal: hob_model::Timestamp,
        new: NewRun,
        begin: Begin,
    ) -> Result<bool, RunError> {
        self.journal().may_act()?;
        let (writes, waits) = self.writes_of(&new, begin);
        let run = new.id;
        if waits {
            self.state().turns.insert(run);
        }
        let slot = Slot { schedule: schedule.to_owned(), nominal, run };
        let claimed = self.journal().claim(slot, Commit { writes });
        if matches!(claimed, Ok(true)) {
            self.begun(run, waits);
        } else {
            self.state().turns.remove(&run);
        }
        Ok(claimed?)
    }

    fn writes_of(&self, new: &NewRun, begin: Begin) -> (Vec<Write>, bool) {
        let mut writes = self.first_writes(new, self.first_entry(new));
        let waits = begin.queue.is_some();
        let fact = begin.queue.map(|queue| Write::Fact { key: key(new.id), value: Some(Value::from(queue)) });
        writes.extend(fact);
        writes.extend(begin.beside);
        (writes, waits)
    }

    fn begun(&self, run: RunId, waits: bool) {
        self.0.listener.changed(run, hob_model::RunStatus::Queued, None);
        if !waits {
            self.schedule(run);
        }
    }

    /// Whether the run waits its turn.
    #[must_use]
    pub fn waits_turn(&self, run: RunId) -> bool {
        self.state().turns.contains(&run)
    }

    /// The runs that wait their turn, oldest first, each with its queue.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn queues(&self) -> Result<Vec<(RunId, String)>, RunError> {
        let facts = self.journal().facts(TURN_PREFIX)?;
        let read = |(key, value): &(String, Value)| {
            Some((RunId::parse(&key[TURN_PREFIX.len()..])?, value.as_str()?.to_owned()))
        };
        Ok(facts.iter().filter_map(read).collect())
    }

    /// How many runs wait their turn, in any queue.
    #[must_use]
    pub fn turns(&self) -> usize {
        self.state().turns.len()
    }

    /// Lets a run begin that waits its turn; `false` when it does not wait any more. That it began is an entry, whose
    /// time is when.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn take_turn(&self, run: RunId) -> Result<bool, RunError> {
        if !self.state().turns.remove(&run) {
            return Ok(false);
        }
        self.append_anyhow(run, vec![EntryKind::Resumed], vec![no_longer(run)])?;
        self.schedule(run);
        Ok(true)
    }

    /// Has a run evaluated that this process serves and that nobody evaluates, as its evaluation came to no end.
    pub fn revive(&self, run: RunId) {
        if self.serves(run) {
            self.schedule(run);
        }
    }

    /// Has a run that was cancelled wait no longer; the write that records it.
    pub(crate) fn leave_queue(&self, run: RunId) -> Vec<Write> {
        if self.state().turns.remove(&run) { vec![no_longer(run)] } else { vec![] }
    }

    /// Finds the runs that wait their turn.
    pub(crate) fn recover_turns(&self) -> Result<(), RunError> {
        let facts = self.journal().facts(TURN_PREFIX)?;
        let runs = facts.iter().filter_map(|(key, _)| RunId::parse(&key[TURN_PREFIX.len()..]));
        self.state().turns.extend(runs);
        Ok(())
    }
}

fn no_longer(run: RunId) -> Write {
    Write::Fact { key: key(run), value: None }
}
