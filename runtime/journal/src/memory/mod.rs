//! The journal in memory, with the faults of a disk: for tests and for the simulator.
//!
//! It keeps the promise of the trait and nothing beyond it: what was submitted and not waited for is lost in
//! a crash, but for a prefix that the caller chooses. There is no thread and no clock, so a simulation of
//! many crashes is exact, repeatable and fast.

mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hob_model::{Digest, Entry, Position, RunId, Timestamp, Value};

use crate::journal::{Commit, Journal, JournalError, Slot, Ticket, check_sizes};
use crate::row::{BundleRecord, EventRow, RunFilter, RunRow, SignalRow, WaitRow};
use state::{Logged, State};

/// How often the journal was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Commits that were submitted, also those that failed.
    pub submits: u64,
    /// Waits that found something to make durable: what a disk would have synced.
    pub syncs: u64,
}

/// The journal in memory.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// What was accepted, in order; ticket `n` is at `n - 1`.
    log: Vec<Arc<Logged>>,
    state: State,
    /// How many of the log are durable.
    durable: usize,
    /// How many tickets were given, those of refused commits included.
    given: u64,
    /// The commit whose sync will fail.
    fails_at: Option<Ticket>,
    /// The first commit that was refused, and why; nothing after it is taken.
    refused: Option<(Ticket, JournalError)>,
    /// Set when a commit could not become durable: the last ticket given by then, and why.
    stopped: Option<(Ticket, JournalError)>,
    counters: Counters,
}

impl MemoryJournal {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a crash leaves: a journal with all durable commits and the first `keep` of those that nobody
    /// waited for. This one stays as it is, for a process that has not noticed that it is dead.
    #[must_use]
    pub fn crash(&self, keep: usize) -> Self {
        let inner = self.lock();
        let kept = inner.log.len().min(inner.durable.saturating_add(keep));
        let log = inner.log[..kept].to_vec();
        let given = kept as u64;
        let state = replay(&log);
        Self { inner: Mutex::new(Inner { log, state, durable: kept, given, ..Inner::default() }) }
    }

    /// How many accepted commits nobody waited for yet: the bound of a useful `keep`.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        let inner = self.lock();
        inner.log.len() - inner.durable
    }

    /// The commit of `ticket` will not become durable: the disk is full by then. Whoever waits for it or a
    /// later one is told so, and the journal has stopped.
    pub fn fail_at(&self, ticket: Ticket) {
        self.lock().fails_at = Some(ticket);
    }

    /// How often it was used so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.lock().counters
    }

    /// The last commit that is durable.
    #[must_use]
    pub fn durable(&self) -> Ticket {
        Ticket(self.lock().durable as u64)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere does not leave the state half changed: each method changes it at its end.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> Result<T, JournalError> {
        Ok(read(&self.lock().state))
    }
}

fn replay(log: &[Arc<Logged>]) -> State {
    let mut state = State::default();
    log.iter().for_each(|logged| state.apply(logged));
    state
}

impl Inner {
    fn submit(&mut self, slot: Option<Slot>, commit: Commit) -> Ticket {
        self.given += 1;
        self.counters.submits += 1;
        let ticket = Ticket(self.given);
        if self.refused.is_some() || self.stopped.is_some() {
            return ticket;
        }
        match check_sizes(&commit).and_then(|()| self.state.accepts(&commit)) {
            Ok(()) => {
                let logged = Arc::new(Logged { slot, commit });
                self.state.apply(&logged);
                self.log.push(logged);
            }
            Err(error) => self.refused = Some((ticket, error)),
        }
        ticket
    }

    fn wait(&mut self, ticket: Ticket) -> Result<(), JournalError> {
        let ticket = Ticket(ticket.0.min(self.given));
        if ticket.0 <= self.durable as u64 {
            return Ok(());
        }
        if let Some((last, error)) = &self.stopped {
            return Err(if ticket <= *last {
                error.clone()
            } else {
                JournalError::Stopped(error.to_string())
            });
        }
        if self.fails_at.is_some_and(|fails| fails <= ticket) {
            let cause = "no space left on device".to_owned();
            return Err(self.stop(JournalError::Unusable { path: "memory".to_owned(), cause }));
        }
        if let Some((_, error)) = self.refused.clone().filter(|(first, _)| *first <= ticket) {
            // What was accepted before it is good.
            self.durable = self.log.len();
            return Err(self.stop(error));
        }
        self.durable = usize::try_from(ticket.0).expect("no more tickets than commits in memory");
        self.counters.syncs += 1;
        Ok(())
    }

    /// Nothing becomes durable from here on, and what did not is not to be seen any more.
    fn stop(&mut self, error: JournalError) -> JournalError {
        self.stopped = Some((Ticket(self.given), error.clone()));
        self.state = replay(&self.log[..self.durable]);
        error
    }
}

impl Journal for MemoryJournal {
    fn submit(&self, commit: Commit) -> Ticket {
        self.lock().submit(None, commit)
    }

    fn wait(&self, ticket: Ticket) -> Result<(), JournalError> {
        self.lock().wait(ticket)
    }

    fn claim_all(&self, claims: Vec<(Slot, Commit)>) -> Result<Vec<bool>, JournalError> {
        let mut inner = self.lock();
        let mut last = Ticket::default();
        let claimed = claims.into_iter().map(|(slot, commit)| {
            let alive = inner.refused.is_none() && inner.stopped.is_none();
            if alive && inner.state.claimed(&slot) {
                return false;
            }
            last = inner.submit(Some(slot), commit);
            true
        });
        let claimed = claimed.collect();
        inner.wait(last).map(|()| claimed)
    }

    fn may_act(&self) -> Result<(), JournalError> {
        match &self.lock().stopped {
            Some((_, error)) => Err(JournalError::Stopped(error.to_string())),
            None => Ok(()),
        }
    }

    fn run(&self, run: RunId) -> Result<Option<RunRow>, JournalError> {
        self.read(|state| state.run(run))
    }

    fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, JournalError> {
        self.read(|state| state.runs(filter))
    }

    fn entries(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<Entry>, JournalError> {
        self.read(|state| state.entries(run, from, limit))
    }

    fn runs_by_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<RunId>, JournalError> {
        self.read(|state| state.runs_by_prefix(prefix, limit))
    }

    fn blob(&self, digest: Digest) -> Result<Option<Bytes>, JournalError> {
        self.read(|state| state.blob(digest))
    }

    fn bundle(&self, digest: Digest) -> Result<Option<BundleRecord>, JournalError> {
        self.read(|state| state.bundle(digest))
    }

    fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<WaitRow>, JournalError> {
        self.read(|state| state.due(now, limit))
    }

    fn next_due(&self) -> Result<Option<Timestamp>, JournalError> {
        self.read(State::next_due)
    }

    fn waits(
        &self,
        kind: Option<&str>,
        run: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<WaitRow>, JournalError> {
        self.read(|state| state.waits(run, limit, |wait| kind.is_none_or(|kind| wait.kind() == kind)))
    }

    fn waits_for(&self, kind: &str, key: &str, limit: usize) -> Result<Vec<WaitRow>, JournalError> {
        self.read(|state| state.waits(None, limit, |wait| wait.kind() == kind && wait.key() == key))
    }

    fn wait_at(&self, run: RunId, position: &Position) -> Result<Option<WaitRow>, JournalError> {
        self.read(|state| state.wait_at(run, position))
    }

    fn signals(&self, run: RunId) -> Result<Vec<SignalRow>, JournalError> {
        self.read(|state| state.signals(run))
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<EventRow>, JournalError> {
        self.read(|state| state.events(after, limit))
    }

    fn events_named(
        &self,
        names: &[&str],
        after: u64,
        limit: usize,
    ) -> Result<(Vec<EventRow>, u64), JournalError> {
        self.read(|state| state.events_named(names, after, limit))
    }

    fn last_event(&self) -> Result<u64, JournalError> {
        self.read(State::last_event)
    }

    fn slots(&self, schedule: &str, limit: usize) -> Result<Vec<Slot>, JournalError> {
        self.read(|state| state.slots(schedule, limit))
    }

    fn fact(&self, key: &str) -> Result<Option<Value>, JournalError> {
        self.read(|state| state.fact(key))
    }

    fn facts(&self, prefix: &str) -> Result<Vec<(String, Value)>, JournalError> {
        self.read(|state| state.facts(prefix))
    }
}
