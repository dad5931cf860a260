//! How far somebody looked at the events of the journal, over restarts.

use hob_journal::{Commit, Journal, JournalError, Write};
use hob_model::Value;

/// Events that pass without anything coming of them until it is recorded that they were looked at.
const UNRECORDED_EVENTS_MAX: u64 = 10_000;

/// How far events were looked at, and how much of that is recorded.
#[derive(Debug)]
pub(crate) struct Cursor {
    key: &'static str,
    pub(crate) seen: u64,
    recorded: u64,
}

impl Cursor {
    /// The fact of this name says how far; nothing was looked at yet.
    pub(crate) fn new(key: &'static str) -> Self {
        Self { key, seen: 0, recorded: 0 }
    }

    /// Goes on where an earlier process ended; the first time, what happened before is nobody's concern.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub(crate) fn begin(&mut self, journal: &dyn Journal) -> Result<(), JournalError> {
        let known = journal.fact(self.key)?.and_then(|fact| fact.as_int());
        self.seen = match known.and_then(|at| u64::try_from(at).ok()) {
            Some(at) => at,
            None => {
                self.seen = journal.last_event()?;
                journal.wait(journal.submit(Commit::one(self.record())))?;
                self.seen
            }
        };
        self.recorded = self.seen;
        Ok(())
    }

    /// Forgets how far: who looks again some day begins with what happens from then on.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) fn forget(&self, journal: &dyn Journal) -> Result<(), JournalError> {
        if journal.fact(self.key)?.is_some() {
            journal.submit(Commit::one(Write::Fact { key: self.key.to_owned(), value: None }));
        }
        Ok(())
    }

    /// What records how far, where that is to be: `acts` says whether something comes of what was seen.
    pub(crate) fn due(&mut self, acts: bool) -> Option<Write> {
        let unrecorded = self.seen - self.recorded;
        (unrecorded > 0 && acts || unrecorded >= UNRECORDED_EVENTS_MAX).then(|| self.record())
    }

    fn record(&mut self) -> Write {
        self.recorded = self.seen;
        Write::Fact { key: self.key.to_owned(), value: Some(Value::from(self.seen)) }
    }
}
