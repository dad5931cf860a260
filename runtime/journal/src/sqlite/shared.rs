//! What the threads of a journal share: the queue, the writer's turn, and the connections that read.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::error::Outcome;
use super::files::Hold;
use super::queue::{Job, Queue};
use super::space::Space;
use super::writer::{Level, Writer};
use super::{FLUSH_INTERVAL, reader, schema};
use crate::journal::{Commit, JournalError, Slot, Ticket};

/// How many connections for reading there are. Who comes while all are in use waits: one statement takes less time than
/// opening another connection.
const READERS_MAX: usize = 4;

/// How long closing waits for a statement that reads.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Why nothing is read or written any more after [`Shared::close`].
const CLOSED: &str = "it was closed";

#[derive(Debug)]
pub(super) struct Shared {
    path: PathBuf,
    /// Closed before the writer, which tidies up when it is the last one.
    readers: Mutex<Readers>,
    /// Wakes those who wait for a connection for reading.
    freed: Condvar,
    /// None where somebody else writes, and once it was closed.
    writer: Mutex<Option<Writer>>,
    /// Nobody writes and nothing can be created beside the database.
    immutable: bool,
    queue: Mutex<Queue>,
    /// Wakes the flusher.
    submitted: Condvar,
    /// Wakes those who wait for the one that writes.
    led: Condvar,
    /// The last ticket that readers see, and the last one that survives a power cut.
    visible: AtomicU64,
    durable: AtomicU64,
    /// The tables lack claims that are durable: see [`super::claims`].
    behind: AtomicBool,
    failure: Mutex<Option<Failure>>,
    space: Space,
    /// Of the process that writes. Released after the connections are closed.
    hold: Option<Hold>,
}

/// Why nothing is written any more.
#[derive(Clone, Debug)]
struct Failure {
    /// The last ticket that this failure is the direct cause for; later ones meet a journal that has stopped.
    last: Ticket,
    error: JournalError,
}

impl Failure {
    fn of(&self, ticket: Ticket) -> JournalError {
        match &self.error {
            error @ JournalError::ReadOnly(_) => error.clone(),
            error if ticket <= self.last => error.clone(),
            error => JournalError::Stopped(error.to_string()),
        }
    }
}

/// Locks also after a panic elsewhere: what these locks guard is whole at every step that can panic, and a
/// transaction that a panic left open makes the next one fail, and so the journal stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Of the process that writes.
    pub(super) fn for_writing(
        path: PathBuf,
        space: Space,
        writer: Writer,
        hold: Hold,
        last_event: u64,
    ) -> Self {
        let queue = Mutex::new(Queue::after(last_event));
        Self { writer: Mutex::new(Some(writer)), hold: Some(hold), queue, ..Self::new(path, space) }
    }

    /// Of one that only reads. Every write fails, from the first.
    pub(super) fn for_reading(path: PathBuf, space: Space, immutable: bool) -> Self {
        let error = JournalError::ReadOnly(path.display().to_string());
        let failure = Mutex::new(Some(Failure { last: Ticket(u64::MAX), error }));
        Self { failure, immutable, ..Self::new(path, space) }
    }

    fn new(path: PathBuf, space: Space) -> Self {
        Self {
            path,
            readers: Mutex::default(),
            freed: Condvar::new(),
            writer: Mutex::default(),
            immutable: false,
            queue: Mutex::default(),
            submitted: Condvar::new(),
            led: Condvar::new(),
            visible: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            behind: AtomicBool::new(false),
            failure: Mutex::default(),
            space,
            hold: None,
        }
    }

    pub(super) fn durable(&self) -> Ticket {
        Ticket(self.durable.load(Ordering::Acquire))
    }

    fn failure(&self) -> Option<Failure> {
        lock(&self.failure).clone()
    }

    /// The number of the newest event; as the database has it where somebody else writes.
    pub(super) fn last_event(&self) -> Result<u64, JournalError> {
        if self.hold.is_some() && self.failure().is_none() {
            return Ok(lock(&self.queue).last_event);
        }
        self.read(reader::last_event)
    }

    fn given(&self) -> Ticket {
        lock(&self.queue).given
    }

    pub(super) fn submit(&self, commit: Commit) -> Ticket {
        if self.failure().is_some() {
            return lock(&self.queue).skip();
        }
        let job = Job::new(commit, None);
        let mut queue = lock(&self.queue);
        let ticket = queue.push(job);
        let full = queue.is_full();
        if std::mem::take(&mut queue.flusher_sleeps) {
            self.submitted.notify_one();
        }
        drop(queue);
        if full {
            self.commit(Level::Durable);
        }
        ticket
    }

    pub(super) fn wait(&self, ticket: Ticket) -> Result<(), JournalError> {
        if ticket <= self.durable() {
            return Ok(());
        }
        let mut queue = lock(&self.queue);
        let ticket = ticket.min(queue.given);
        loop {
            if ticket <= self.durable() {
                return Ok(());
            }
            if let Some(failure) = self.failure() {
                return Err(failure.of(ticket));
            }
            if !queue.leads {
                break;
            }
            queue = self.led.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.leads = true;
        drop(queue);
        let turn = Lead(self);
        self.commit(Level::Durable);
        drop(turn);
        if ticket <= self.durable() {
            return Ok(());
        }
        Err(self.failure().expect("what is neither durable nor failed was just written").of(ticket))
    }

    pub(super) fn claim_all(&self, claims: Vec<(Slot, Commit)>) -> Result<Vec<bool>, JournalError> {
        let jobs: Vec<Job> = claims.into_iter().map(|(slot, commit)| Job::new(commit, Some(slot))).collect();
        let Some(mut writer) = self.lock_writer() else {
            return Err(self.refusal());
        };
        if self.failure().is_some() {
            return Err(self.refusal());
        }
        let tickets: Vec<Ticket> = {
            let mut queue = lock(&self.queue);
            queue.reserve(jobs.len());
            jobs.into_iter().map(|job| queue.push(job)).collect()
        };
        // The queue was locked for a moment only: others may have submitted since, but no claim, which needs
        // the writer.
        let taken = self.commit_with(&mut writer, Level::Durable);
        let last = tickets.last().copied().unwrap_or_default();
        match self.failure() {
            Some(failure) if last > self.durable() => Err(failure.of(last)),
            _ => Ok(tickets.iter().map(|ticket| taken.binary_search(ticket).is_err()).collect()),
        }
    }

    pub(super) fn expect_claims(&self, slots: &[Slot]) -> Result<(), JournalError> {
        // What is claimed and not in the tables is not free.
        self.exclusively(|writer| writer.expect(slots))
    }

    /// The error for whoever wants to begin something now.
    fn refusal(&self) -> JournalError {
        self.failure().map_or_else(
            || JournalError::ReadOnly(self.path.display().to_string()),
            |failure| failure.of(Ticket(u64::MAX)),
        )
    }

    pub(super) fn may_act(&self) -> Result<(), JournalError> {
        if self.failure().is_some() { Err(self.refusal()) } else { self.space.check() }
    }

    fn lock_writer(&self) -> Option<Writing<'_>> {
        let writer = lock(&self.writer);
        writer.is_some().then(|| Writing(writer))
    }

    pub(super) fn commit(&self, level: Level) {
        if let Some(mut writer) = self.lock_writer() {
            self.commit_with(&mut writer, level);
        }
    }

    /// Writes what is queued, by the holder of the writer. Returns the claims in it whose slots were taken. What
    /// fails is found in `failure`.
    fn commit_with(&self, writer: &mut Writer, level: Level) -> Vec<Ticket> {
        if self.failure().is_some() {
            return Vec::new();
        }
        let (jobs, given) = {
            let mut queue = lock(&self.queue);
            (queue.take(Vec::new()), queue.given)
        };
        let visible = self.visible.load(Ordering::Acquire);
        let unsynced = visible > self.durable().0;
        if jobs.is_empty() && !writer.is_behind() && (level == Level::Visible || !unsynced) {
            return Vec::new();
        }
        match writer.write(jobs, level, unsynced) {
            Ok(written) => {
                self.behind.store(writer.is_behind(), Ordering::Release);
                let last = written.last.map_or(visible, |ticket| ticket.0);
                self.visible.store(last, Ordering::Release);
                if level == Level::Durable {
                    self.durable.store(last, Ordering::Release);
                }
                if let Some(error) = written.refused {
                    self.fail(writer, Failure { last: given, error });
                }
                written.taken
            }
            Err(fault) => {
                self.fail(writer, Failure { last: given, error: fault.at(&self.path) });
                Vec::new()
            }
        }
    }

    /// Writes everything submitted, then does `work` while nobody else writes. As with any write, the journal
    /// stops when it fails, unless what it found is damage.
    pub(super) fn exclusively<T>(
        &self,
        work: impl FnOnce(&mut Writer) -> Outcome<T>,
    ) -> Result<T, JournalError> {
        let Some(mut writer) = self.lock_writer() else {
            return Err(self.refusal());
        };
        self.commit_with(&mut writer, Level::Durable);
        if self.failure().is_some() {
            return Err(self.refusal());
        }
        work(&mut writer).map_err(|fault| {
            let error = fault.at(&self.path);
            if !matches!(error, JournalError::Corrupt(_)) {
                self.fail(&mut writer, Failure { last: self.given(), error: error.clone() });
            }
            error
        })
    }

    /// Gives up the pages that connections keep: those of the one that writes, and of idle ones that read.
    pub(super) fn rest(&self) {
        // What is not given back is merely kept.
        let shrink = |conn: &Connection| drop(conn.execute_batch("PRAGMA shrink_memory"));
        if let Some(writer) = self.lock_writer() {
            shrink(writer.connection());
        }
        lock(&self.readers).idle.iter().for_each(shrink);
    }

    fn fail(&self, writer: &mut Writer, failure: Failure) {
        writer.stop();
        lock(&self.failure).get_or_insert(failure);
    }

    /// Makes durable what nobody waits for. While something happens it looks at each interval; when nothing
    /// does, it sleeps until the next submission.
    pub(super) fn flush_forever(&self) {
        let mut seen = Ticket(0);
        loop {
            let mut queue = lock(&self.queue);
            queue.flusher_sleeps = queue.given == seen && seen <= self.durable();
            while queue.flusher_sleeps && !queue.closing {
                queue = self.submitted.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let interval = self.submitted.wait_timeout_while(queue, FLUSH_INTERVAL, |queue| !queue.closing);
            let (queue, _) = interval.unwrap_or_else(PoisonError::into_inner);
            seen = queue.given;
            let closing = queue.closing;
            drop(queue);
            if closing || self.failure().is_some() {
                return;
            }
            if seen > self.durable() {
                self.commit(Level::Durable);
            }
        }
    }

    /// Makes durable what was submitted and closes all connections, so that nothing is left beside the database.
    pub(super) fn close(&self) {
        // Ends the flusher.
        lock(&self.queue).closing = true;
        self.submitted.notify_all();
        let mut writer = lock(&self.writer);
        if let Some(writer) = writer.as_mut() {
            self.commit_with(writer, Level::Durable);
        }
        let error = JournalError::Stopped(CLOSED.to_owned());
        lock(&self.failure).get_or_insert(Failure { last: Ticket(u64::MAX), error });
        let mut readers = lock(&self.readers);
        readers.closed = true;
        readers.open -= readers.idle.len();
        readers.idle.clear();
        // Those in use are given back after one statement.
        let in_use = |readers: &mut Readers| readers.open > 0;
        drop(self.freed.wait_timeout_while(readers, CLOSE_WAIT, in_use));
        *writer = None; // the last connection removes the files beside the database
    }

    /// Whether the journal can be read at all.
    pub(super) fn probe(&self) -> Result<(), JournalError> {
        self.read(|conn| schema::check_format(conn, &self.path))
    }

    /// Reads with a connection of its own, after making visible what was submitted.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T, JournalError> {
        if self.given().0 > self.visible.load(Ordering::Acquire) || self.behind.load(Ordering::Acquire) {
            self.commit(Level::Visible);
        }
        let mut reader = self.reader()?;
        let conn = reader.conn.as_ref().expect("a reader has its connection until it is given back");
        match read(conn) {
            Ok(found) => Ok(found),
            Err(fault) => {
                // A connection that met an error is not used again.
                reader.conn = None;
                Err(fault.at(&self.path))
            }
        }
    }

    /// A connection for reading, when one is free.
    fn reader(&self) -> Result<Reader<'_>, JournalError> {
        let all_used =
            |readers: &mut Readers| !readers.closed && readers.idle.is_empty() && readers.open >= READERS_MAX;
        let readers = self.freed.wait_while(lock(&self.readers), all_used);
        let mut readers = readers.unwrap_or_else(PoisonError::into_inner);
        if readers.closed {
            return Err(JournalError::Stopped(CLOSED.to_owned()));
        }
        if let Some(conn) = readers.idle.pop() {
            return Ok(Reader { shared: self, conn: Some(conn) });
        }
        readers.open += 1;
        drop(readers);
        let mut reader = Reader { shared: self, conn: None };
        let opened = schema::open_for_reading(&self.path, self.immutable);
        reader.conn = Some(opened.map_err(|e| e.at(&self.path))?);
        Ok(reader)
    }
}

/// The connections for reading.
#[derive(Debug, Default)]
struct Readers {
    idle: Vec<Connection>,
    /// How many there are, those in use included.
    open: usize,
    /// There are to be none any more.
    closed: bool,
}

/// The writer, by the one thread that has it.
struct Writing<'a>(MutexGuard<'a, Option<Writer>>);

impl Deref for Writing<'_> {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        self.0.as_ref().expect("it was there when the lock was taken")
    }
}

impl DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut Writer {
        self.0.as_mut().expect("it was there when the lock was taken")
    }
}

/// A connection in use; its place is free again when this is dropped.
struct Reader<'a> {
    shared: &'a Shared,
    conn: Option<Connection>,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut readers = lock(&self.shared.readers);
        // One that a panic left in the middle of something is not used again either.
        match self.conn.take().filter(|_| !std::thread::panicking() && !readers.closed) {
            Some(conn) => readers.idle.push(conn),
            None => readers.open -= 1,
        }
        match readers.closed {
            true => self.shared.freed.notify_all(), // who closes waits here too
            false => self.shared.freed.notify_one(),
        }
    }
}

/// The turn of the one who writes for all that wait; also given up in a panic.
struct Lead<'a>(&'a Shared);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        lock(&self.0.queue).leads = false;
        self.0.led.notify_all();
    }
}
