//! The trait, and what is written through it.

use bytes::Bytes;
use hob_model::{Digest, Entry, Position, RunId, Timestamp, Value};

use crate::row::{BundleRecord, EventRow, RunFilter, RunRow, SignalRow, WaitRow};

/// One write of a [`Commit`].
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Appends to the journal of a run. Its `seq` must follow the run's last one.
    Entry(RunId, Entry),
    /// Stores bytes under their own digest; storing them again changes nothing. It belongs in the same commit
    /// as the first entry of a run that refers to it: what no run, bundle or fact refers to is pruned.
    Blob(Digest, Bytes),
    /// Stores a bundle; storing it again changes nothing. It belongs, with its blobs, in the same commit as
    /// the run or fact that names it, as a blob does.
    Bundle(BundleRecord),
    /// A signal for a run, kept until the run takes it.
    Signal {
        /// For which run.
        run: RunId,
        /// Its name.
        name: String,
        /// What it carries.
        payload: Value,
        /// When it arrived.
        at: Timestamp,
    },
    /// A signal was taken by the run's wait; it is not offered again.
    SignalTaken {
        /// The number that [`SignalRow::id`] gave.
        id: u64,
    },
    /// Signals that were not taken move to the run that continues this one.
    SignalsMoved {
        /// From.
        from: RunId,
        /// To.
        to: RunId,
    },
    /// A fact for the event bus. The journal numbers events in order of submission, and never gives a number twice; a
    /// claim that was refused may leave a gap.
    Event {
        /// Its name: `unit.failed`.
        name: String,
        /// What it carries.
        payload: Value,
        /// Who says so: a run's id, `schedule:NAME`, `cli`.
        origin: String,
        /// When.
        at: Timestamp,
    },
    /// A small named fact that outlives runs (a hold, the adopted declaration, when a schedule was declared);
    /// `None` removes it.
    Fact {
        /// Its name, with `/` between parts: `hold/plex`.
        key: String,
        /// Its value.
        value: Option<Value>,
    },
}

/// The largest blob, value or text of one write. The store takes a billion bytes; this leaves room around it.
pub const WRITE_BYTES_MAX: usize = 512 << 20;

/// Before the id of a run, the name of the fact that holds it.
pub(crate) const HELD_PREFIX: &str = "restored/held/";

/// The write that lets a held run go on (see [`Journal::held`]).
#[must_use]
pub fn release(run: RunId) -> Write {
    Write::Fact { key: format!("{HELD_PREFIX}{run}"), value: None }
}

/// Whether each blob of `commit` is small enough; what is encoded is measured where it is encoded.
pub(crate) fn check_sizes(commit: &Commit) -> Result<(), JournalError> {
    let sizes = commit.writes.iter().filter_map(|write| match write {
        Write::Blob(_, bytes) => Some(bytes.len()),
        _ => None,
    });
    match sizes.max() {
        Some(bytes) if bytes > WRITE_BYTES_MAX => Err(JournalError::TooLarge { bytes }),
        _ => Ok(()),
    }
}

/// Writes that become durable together or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commit {
    /// In order.
    pub writes: Vec<Write>,
}

impl Commit {
    /// A commit of one write.
    #[must_use]
    pub fn one(write: Write) -> Self {
        Self { writes: vec![write] }
    }
}

impl FromIterator<Write> for Commit {
    fn from_iter<T: IntoIterator<Item = Write>>(iter: T) -> Self {
        Self { writes: iter.into_iter().collect() }
    }
}

/// One firing of a schedule: it can be claimed once, ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The schedule's name.
    pub schedule: String,
    /// The nominal time.
    pub nominal: Timestamp,
    /// The run that the firing started.
    pub run: RunId,
}

/// The place of a commit in the order of submission. Tickets of one journal are ordered; the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Why the journal cannot do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process holds the state directory.
    #[error("the state directory {path} is held by {holder}")]
    Locked {
        /// The state directory.
        path: String,
        /// Who holds it: command and process id.
        holder: String,
    },
    /// The directory or file cannot be created, opened or written.
    #[error("the state directory {path} cannot be used: {cause}")]
    Unusable {
        /// The path.
        path: String,
        /// What the system said.
        cause: String,
    },
    /// The content is not what hob wrote.
    #[error("the journal is damaged: {0}")]
    Corrupt(String),
    /// The format is newer than this hob knows.
    #[error("the journal has format {found}, this hob knows up to {known}")]
    TooNew {
        /// The format on disk.
        found: u32,
        /// The newest that this binary knows.
        known: u32,
    },
    /// Free space is below the reserve, so no new intent is taken.
    #[error(
        "only {free_bytes} bytes are free on the disk of {path}; {reserve_bytes} are kept so that outcomes can always be written"
    )]
    Reserve {
        /// The state directory.
        path: String,
        /// What is free.
        free_bytes: u64,
        /// What is kept.
        reserve_bytes: u64,
    },
    /// It was opened for reading beside the process that holds the state directory.
    #[error("the journal in {0} was opened for reading only")]
    ReadOnly(String),
    /// One thing to be written is larger than the journal takes; larger outputs belong in files.
    #[error("{bytes} bytes are too much for one write of the journal; it takes up to {WRITE_BYTES_MAX}")]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// A commit failed earlier; nothing is written any more until hob is started again.
    #[error("the journal stopped after a failed write: {0}")]
    Stopped(String),
    /// An entry does not follow the last one of its run: a bug of hob, or two writers.
    #[error("entry {found} of run {run} does not follow {last:?}")]
    Order {
        /// The run.
        run: RunId,
        /// The number that came.
        found: u64,
        /// The last number of that run.
        last: Option<u64>,
    },
}

/// The append-only record of all runs, and its projections.
///
/// Reads see everything that was submitted before them, durable or not.
pub trait Journal: Send + Sync {
    /// Queues a commit and returns at once. Commits become durable in this order, soon (within 100 ms) by
    /// themselves and at once when somebody waits.
    fn submit(&self, commit: Commit) -> Ticket;

    /// Blocks until the commit of `ticket`, and so each one before it, is durable.
    ///
    /// # Errors
    /// When a commit up to this one failed; nothing may act any more then.
    fn wait(&self, ticket: Ticket) -> Result<(), JournalError>;

    /// Claims slots, each together with its commit, durably and with one wait for the disk. For each in its order,
    /// `false`: the slot was claimed before and nothing of its commit was written.
    ///
    /// # Errors
    /// As [`Journal::wait`]. Some of them may have been claimed then; none of them is to act.
    fn claim_all(&self, claims: Vec<(Slot, Commit)>) -> Result<Vec<bool>, JournalError>;

    /// Says which slots are about to be claimed, and for which runs, so that whether they are free is known when they are.
    /// Nothing follows for who claims them, or whether.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn expect_claims(&self, _slots: &[Slot]) -> Result<(), JournalError> {
        Ok(())
    }

    /// Claims one slot, as [`Journal::claim_all`].
    ///
    /// # Errors
    /// As [`Journal::wait`].
    fn claim(&self, slot: Slot, commit: Commit) -> Result<bool, JournalError> {
        Ok(self.claim_all(vec![(slot, commit)])? == [true])
    }

    /// Whether an acting effect may start: no write failed and the disk has its reserve.
    ///
    /// # Errors
    /// [`JournalError::Stopped`] or [`JournalError::Reserve`].
    fn may_act(&self) -> Result<(), JournalError>;

    /// The row of one run.
    ///
    /// # Errors
    /// When the store cannot be read; likewise for all reads below.
    fn run(&self, run: RunId) -> Result<Option<RunRow>, JournalError>;

    /// Runs, newest first.
    fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, JournalError>;

    /// The entries of a run from number `from` on, at most `limit`.
    fn entries(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<Entry>, JournalError>;

    /// Runs whose id starts with `prefix` (hexadecimal, dashes allowed), at most `limit`.
    fn runs_by_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<RunId>, JournalError>;

    /// Bytes by content address.
    fn blob(&self, digest: Digest) -> Result<Option<Bytes>, JournalError>;

    /// A bundle.
    fn bundle(&self, digest: Digest) -> Result<Option<BundleRecord>, JournalError>;

    /// Waits that a clock ends at or before `now`, earliest first, at most `limit`.
    fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<WaitRow>, JournalError>;

    /// When the earliest wait that a clock ends is due.
    fn next_due(&self) -> Result<Option<Timestamp>, JournalError>;

    /// Open waits of `kind` (see [`hob_model::Wait::kind`]), of one run or of all; at most `limit`.
    fn waits(
        &self,
        kind: Option<&str>,
        run: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<WaitRow>, JournalError>;

    /// Open waits that [`hob_model::Wait::kind`] and [`hob_model::Wait::key`] find: those for a signal by its
    /// name, for an event by its pattern, for the end of a run by its id. At most `limit`.
    fn waits_for(&self, kind: &str, key: &str, limit: usize) -> Result<Vec<WaitRow>, JournalError>;

    /// The open wait at a position.
    fn wait_at(&self, run: RunId, position: &Position) -> Result<Option<WaitRow>, JournalError>;

    /// Signals for `run` that were not taken, oldest first.
    fn signals(&self, run: RunId) -> Result<Vec<SignalRow>, JournalError>;

    /// Events after number `after`, oldest first, at most `limit`.
    fn events(&self, after: u64, limit: usize) -> Result<Vec<EventRow>, JournalError>;

    /// Events after number `after` with one of these names, oldest first, at most `limit`; and the number of the last event that
    /// was looked at: `after` again when there was none.
    fn events_named(
        &self,
        names: &[&str],
        after: u64,
        limit: usize,
    ) -> Result<(Vec<EventRow>, u64), JournalError>;

    /// The number of the newest event; 0 when there is none.
    fn last_event(&self) -> Result<u64, JournalError>;

    /// The last claimed slots of a schedule, newest first, at most `limit`.
    fn slots(&self, schedule: &str, limit: usize) -> Result<Vec<Slot>, JournalError>;

    /// A named fact.
    fn fact(&self, key: &str) -> Result<Option<Value>, JournalError>;

    /// The facts whose key starts with `prefix`, by key.
    fn facts(&self, prefix: &str) -> Result<Vec<(String, Value)>, JournalError>;

    /// Live runs that came out of a backup and are held until a person releases them, since the world has
    /// moved on: nothing may act for them. [`release`] is the write that lets one go on.
    fn held(&self) -> Result<Vec<RunId>, JournalError> {
        let facts = self.facts(HELD_PREFIX)?;
        Ok(facts.iter().filter_map(|(key, _)| RunId::parse(&key[HELD_PREFIX.len()..])).collect())
    }

    /// Gives back memory that only makes reading and writing faster: after much of it, before a long rest.
    fn rest(&self) {}

    /// Everything submitted so far is durable when this returns.
    ///
    /// # Errors
    /// As [`Journal::wait`].
    fn flush(&self) -> Result<(), JournalError> {
        self.wait(self.submit(Commit::default()))
    }
}
