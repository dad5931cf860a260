//! The journal on disk: SQLite with a write-ahead log.
//!
//! **Writing.** [`Journal::submit`] encodes and queues. The first who waits for the disk leads: it takes everything
//! that is queued and writes it in one transaction on the one connection that writes. Who comes meanwhile
//! sleeps, and one of these leads the next group. So groups form by themselves under load, and a single
//! writer pays no change of threads. A thread of its own makes durable what nobody waits for, at latest
//! [`FLUSH_INTERVAL`] later.
//!
//! **Reading.** Reads use connections of their own beside the writer. What is queued is written first, but not synced:
//! the log is one file, and whoever syncs it later syncs this too.
//!
//! **Claiming.** Many slots that are claimed in one call become durable as one record, which the tables follow in the next
//! transaction: see `claims`.
//!
//! **Failing.** After the first write that failed nothing is written any more; what was durable can still be read.

#![allow(clippy::disallowed_methods)] // this is the adapter: files and time of its own state directory

mod backup;
mod check;
mod claims;
mod error;
mod export;
mod files;
mod projector;
mod prune;
mod queue;
mod reader;
mod schema;
mod shared;
mod space;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use hob_model::{Digest, Entry, Position, RunId, Timestamp, Value};

use crate::journal::{Commit, Journal, JournalError, Slot, Ticket};
use crate::row::{BundleRecord, EventRow, RunFilter, RunRow, SignalRow, WaitRow};
use files::Hold;
use shared::Shared;
use space::Space;
use writer::Writer;

pub use backup::restore;
pub use check::Finding;
pub use export::ExportError;
pub use prune::{PrunePolicy, Pruned};

/// How long a submission may stay undurable when nobody waits for it.
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// The free space below which nothing new is begun, so that the outcomes of what runs can be written.
pub const RESERVE_BYTES: u64 = 32 << 20;

/// How much the database promises to survive (`PRAGMA synchronous`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Synchronous {
    /// Nothing is synced. For tests that show what is lost then.
    Off,
    /// Only checkpoints are synced. For tests that show what is lost then.
    Normal,
    /// Each commit is synced.
    #[default]
    Full,
}

impl Synchronous {
    fn word(self) -> &'static str {
        match self {
            Self::Off => "OFF",
            Self::Normal => "NORMAL",
            Self::Full => "FULL",
        }
    }
}

/// How a journal is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Less than full only in tests and benchmarks.
    pub synchronous: Synchronous,
    /// Free space in bytes that [`Journal::may_act`] demands.
    pub reserve_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { synchronous: Synchronous::Full, reserve_bytes: RESERVE_BYTES }
    }
}

/// The journal in a state directory.
#[derive(Debug)]
pub struct SqliteJournal {
    shared: Arc<Shared>,
    flusher: Option<JoinHandle<()>>,
}

/// The number as a column holds it; counts and numbers stay far below the bound.
fn int(number: u64) -> i64 {
    number.cast_signed()
}

impl SqliteJournal {
    /// Opens the journal of a state directory, or creates it, and holds the directory.
    ///
    /// # Errors
    /// [`JournalError::Locked`] when another process holds it, [`JournalError::TooNew`],
    /// [`JournalError::Corrupt`] and [`JournalError::Unusable`].
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        Self::open_with(dir, &Options::default())
    }

    /// As [`SqliteJournal::open`], with options.
    ///
    /// # Errors
    /// As [`SqliteJournal::open`].
    pub fn open_with(dir: &Path, options: &Options) -> Result<Self, JournalError> {
        let hold = Hold::take(dir)?;
        let path = dir.join(files::DATABASE);
        files::create_file(&path)?;
        let conn = schema::open_writer(&path, options.synchronous).map_err(|e| e.at(&path))?;
        let last_event = reader::last_event_ever(&conn).map_err(|e| e.at(&path))?;
        let mut writer = Writer::new(conn, options.synchronous);
        writer.change(claims::recover).map_err(|e| e.at(&path))?;
        let space = Space::new(dir, options.reserve_bytes);
        let shared = Arc::new(Shared::for_writing(path, space, writer, hold, last_event));
        let flusher = {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name("hob-journal".into());
            thread.spawn(move || shared.flush_forever()).map_err(|e| error::from_io(&e, dir))?
        };
        Ok(Self { shared, flusher: Some(flusher) })
    }

    /// Opens the journal of a state directory for reading, whoever holds it. Writing fails with
    /// [`JournalError::ReadOnly`].
    ///
    /// # Errors
    /// As [`SqliteJournal::open`], but for the lock; also when there is no journal.
    pub fn open_read_only(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(files::DATABASE);
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let cause = "there is no journal yet; the first `hob run` or `hob up` makes one".to_owned();
                return Err(JournalError::Unusable { path: dir.display().to_string(), cause });
            }
            Err(error) => return Err(error::from_io(&error, &path)),
            Ok(_) => {}
        }
        let open = |immutable| {
            let shared = Shared::for_reading(path.clone(), Space::new(dir, 0), immutable);
            shared.probe().map(|()| shared)
        };
        let shared = match open(false) {
            // Where nothing can be created beside the database, it is read without.
            Err(JournalError::Unusable { .. }) if files::is_immutable(dir) => open(true)?,
            // A process that was killed while it made the journal leaves one that only a writer can finish.
            Err(error @ (JournalError::Unusable { .. } | JournalError::Corrupt(_))) => {
                Self::open(dir).map_err(|_| error)?;
                open(false)?
            }
            opened => opened?,
        };
        Ok(Self { shared: Arc::new(shared), flusher: None })
    }

    /// The last commit that survives a power cut.
    #[must_use]
    pub fn durable(&self) -> Ticket {
        self.shared.durable()
    }

    /// Makes durable what was submitted and lets go of the database, also while others still have this journal: what
    /// they submit or read afterwards fails. The directory stays held until the last of them is gone.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Makes all that is derived from the entries anew, in one transaction.
    ///
    /// # Errors
    /// When an entry cannot be read or the result cannot be written; nothing is changed then.
    pub fn rebuild(&self) -> Result<(), JournalError> {
        self.shared.exclusively(Writer::rebuild)
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(flusher) = self.flusher.take() {
            // It ends by itself; a panic in it was reported when it happened.
            let _ = flusher.join();
        }
    }
}

impl Journal for SqliteJournal {
    fn submit(&self, commit: Commit) -> Ticket {
        self.shared.submit(commit)
    }

    fn wait(&self, ticket: Ticket) -> Result<(), JournalError> {
        self.shared.wait(ticket)
    }

    fn rest(&self) {
        self.shared.rest();
    }

    fn claim_all(&self, claims: Vec<(Slot, Commit)>) -> Result<Vec<bool>, JournalError> {
        self.shared.claim_all(claims)
    }

    fn expect_claims(&self, slots: &[Slot]) -> Result<(), JournalError> {
        self.shared.expect_claims(slots)
    }

    fn may_act(&self) -> Result<(), JournalError> {
        self.shared.may_act()
    }

    fn run(&self, run: RunId) -> Result<Option<RunRow>, JournalError> {
        self.shared.read(|conn| reader::run(conn, run))
    }

    fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, JournalError> {
        self.shared.read(|conn| reader::runs(conn, filter))
    }

    fn entries(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<Entry>, JournalError> {
        self.shared.read(|conn| reader::entries(conn, run, from, limit))
    }

    fn runs_by_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<RunId>, JournalError> {
        self.shared.read(|conn| reader::runs_by_prefix(conn, prefix, limit))
    }

    fn blob(&self, digest: Digest) -> Result<Option<Bytes>, JournalError> {
        self.shared.read(|conn| reader::blob(conn, digest))
    }

    fn bundle(&self, digest: Digest) -> Result<Option<BundleRecord>, JournalError> {
        self.shared.read(|conn| reader::bundle(conn, digest))
    }

    fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<WaitRow>, JournalError> {
        self.shared.read(|conn| reader::due(conn, now, limit))
    }

    fn next_due(&self) -> Result<Option<Timestamp>, JournalError> {
        self.shared.read(reader::next_due)
    }

    fn waits(
        &self,
        kind: Option<&str>,
        run: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<WaitRow>, JournalError> {
        self.shared.read(|conn| reader::waits(conn, kind, run, limit))
    }

    fn waits_for(&self, kind: &str, key: &str, limit: usize) -> Result<Vec<WaitRow>, JournalError> {
        self.shared.read(|conn| reader::waits_for(conn, kind, key, limit))
    }

    fn wait_at(&self, run: RunId, position: &Position) -> Result<Option<WaitRow>, JournalError> {
        self.shared.read(|conn| reader::wait_at(conn, run, position))
    }

    fn signals(&self, run: RunId) -> Result<Vec<SignalRow>, JournalError> {
        self.shared.read(|conn| reader::signals(conn, run))
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<EventRow>, JournalError> {
        self.shared.read(|conn| reader::events(conn, after, limit))
    }

    fn events_named(
        &self,
        names: &[&str],
        after: u64,
        limit: usize,
    ) -> Result<(Vec<EventRow>, u64), JournalError> {
        self.shared.read(|conn| reader::events_named(conn, names, after, limit))
    }

    fn last_event(&self) -> Result<u64, JournalError> {
        self.shared.last_event()
    }

    fn slots(&self, schedule: &str, limit: usize) -> Result<Vec<Slot>, JournalError> {
        self.shared.read(|conn| reader::slots(conn, schedule, limit))
    }

    fn fact(&self, key: &str) -> Result<Option<Value>, JournalError> {
        self.shared.read(|conn| reader::fact(conn, key))
    }

    fn facts(&self, prefix: &str) -> Result<Vec<(String, Value)>, JournalError> {
        self.shared.read(|conn| reader::facts(conn, prefix))
    }
}
