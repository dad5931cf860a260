//! The context of one run while it is evaluated, shared by its branches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use bytes::Bytes;
use hob_journal::{Commit, JournalError, Ticket, Write};
use hob_model::{
    BranchEnd, Digest, Entry, EntryKind, OpError, Payload, Position, RunId, RunStarted, Timestamp, Value,
};
use hob_primitive::Cancel;

use crate::bundle::Bundle;
use crate::compensate::Compensation;
use crate::host::Host;
use crate::latch::Latch;
use crate::permission::Permissions;
use crate::records::{EndedBranch, Records};

/// From this many entries on a run is told, once, that `carry` would keep it small.
pub const RUN_ENTRIES_WARN: u64 = 100_000;

/// What an evaluation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Acts.
    Live,
    /// Observes, and says what it would do.
    Dry,
    /// Serves records only and ends at the first call that has none: for `migrate`, `check` and time travel.
    Verify,
}

/// A replayed call that differs from its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub position: Position,
    /// Both calls and both lines.
    pub message: String,
}

/// Something from outside for a run that is being evaluated: the end of one of its waits.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) position: Position,
    pub(crate) result: Result<Payload, OpError>,
}

struct Appender {
    next_seq: u64,
    last: Ticket,
    warned: bool,
}

/// The context of one run while it is evaluated.
pub struct RunCx {
    /// The run.
    pub id: RunId,
    /// What it was started with.
    pub started: RunStarted,
    /// The process it runs in.
    pub host: Arc<Host>,
    /// The sources it is pinned to; none for native runs.
    pub bundle: Option<Arc<Bundle>>,
    /// What the evaluation is for.
    pub mode: Mode,
    /// The attempt, from 1.
    pub attempt: u32,
    /// What it may do.
    pub permissions: Permissions,
    /// The environment handed over, shared by all effects.
    pub(crate) env: Arc<[(String, String)]>,
    appender: Mutex<Appender>,
    pub(crate) records: Mutex<Records>,
    cancelled: AtomicBool,
    killed: AtomicBool,
    left: AtomicBool,
    /// Guards the inbox and the states of all groups, so that one condition variable serves all.
    pub(crate) coordination: Mutex<Vec<Delivery>>,
    pub(crate) changed: Condvar,
    in_flight: Mutex<Vec<(u64, Arc<Latch>, Cancel)>>,
    flights: AtomicU64,
    difference: Mutex<Option<Difference>>,
    target: Mutex<Option<Position>>,
    hit: AtomicBool,
    stopped: Mutex<Option<JournalError>>,
    /// Effects in doubt that this pass came to.
    pub(crate) doubts: Mutex<Vec<Position>>,
    pub(crate) compensations: Mutex<Vec<Compensation>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in one branch must not take the others along: the data is valid after each single write.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl RunCx {
    /// The context for evaluating `id` from `records`.
    ///
    /// # Panics
    /// When the records lack the first entry.
    #[must_use]
    pub fn new(
        host: Arc<Host>,
        id: RunId,
        bundle: Option<Arc<Bundle>>,
        mut records: Records,
        mode: Mode,
    ) -> Arc<Self> {
        let started = records.started.take().expect("the first entry of a run says how it started");
        let permissions = Permissions {
            allow: started.allow.clone(),
            deny: started.deny.clone(),
            trusted: started.trusted,
        };
        Arc::new(Self {
            id,
            bundle,
            mode,
            attempt: records.attempt,
            permissions,
            env: started.env.clone().into(),
            appender: Mutex::new(Appender {
                next_seq: records.next_seq,
                last: Ticket::default(),
                warned: false,
            }),
            cancelled: AtomicBool::new(records.cancelled),
            records: Mutex::new(records),
            started,
            host,
            killed: AtomicBool::new(false),
            left: AtomicBool::new(false),
            coordination: Mutex::default(),
            changed: Condvar::new(),
            in_flight: Mutex::default(),
            flights: AtomicU64::new(0),
            difference: Mutex::default(),
            target: Mutex::default(),
            hit: AtomicBool::new(false),
            stopped: Mutex::default(),
            doubts: Mutex::default(),
            compensations: Mutex::default(),
        })
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.host.clock.now()
    }

    /// Appends entries, in one commit with `beside`; returns the number of the first and the commit's ticket.
    pub(crate) fn append(&self, kinds: Vec<EntryKind>, beside: Vec<Write>) -> (u64, Ticket) {
        let at = self.now();
        let mut appender = lock(&self.appender);
        let first = appender.next_seq;
        let entries = (first..).zip(kinds).map(|(seq, kind)| Write::Entry(self.id, Entry { seq, at, kind }));
        let commit: Commit = beside.into_iter().chain(entries).collect();
        let count =
            commit.writes.iter().filter(|write| matches!(write, Write::Entry(run, _) if *run == self.id));
        appender.next_seq += count.count() as u64;
        if appender.next_seq >= RUN_ENTRIES_WARN && !appender.warned {
            appender.warned = true;
            let text =
                format!("this run has {RUN_ENTRIES_WARN} entries; end it with carry(state) to start afresh");
            self.host.observer.log(self.id, "warn", &text);
        }
        let ticket = self.host.journal.submit(commit);
        appender.last = ticket;
        (first, ticket)
    }

    /// Waits until everything this run recorded so far is durable.
    ///
    /// # Errors
    /// When the journal stopped; nothing may act any more then.
    pub(crate) fn flush(&self) -> Result<(), JournalError> {
        let last = {
            let mut appender = lock(&self.appender);
            if appender.last == Ticket::default() {
                // What earlier passes, and whoever started or woke the run, recorded may still be on its way.
                appender.last = self.host.journal.submit(Commit::default());
            }
            appender.last
        };
        self.host.journal.wait(last).inspect_err(|error| {
            lock(&self.stopped).get_or_insert_with(|| error.clone());
        })
    }

    /// Why the journal could not be written.
    pub(crate) fn stopped(&self) -> Option<JournalError> {
        lock(&self.stopped).clone()
    }

    /// Notes the first difference between a call and its record.
    pub(crate) fn differ(&self, difference: Difference) {
        lock(&self.difference).get_or_insert(difference);
    }

    /// The first difference between a call and its record.
    #[must_use]
    pub fn difference(&self) -> Option<Difference> {
        lock(&self.difference).clone()
    }

    /// Ends a verifying pass when it comes to this position.
    pub(crate) fn aim(&self, target: Option<Position>) {
        *lock(&self.target) = target;
    }

    /// Whether `position` is where the pass ends.
    pub(crate) fn hits(&self, position: &Position) -> bool {
        let hits = self.mode == Mode::Verify && lock(&self.target).as_ref() == Some(position);
        if hits {
            self.hit.store(true, Ordering::SeqCst);
        }
        hits
    }

    /// Whether the pass is aimed at something inside of `branch`.
    pub(crate) fn aims_into(&self, branch: &Position) -> bool {
        lock(&self.target).as_ref().is_some_and(|target| target.is_within(branch))
    }

    /// Whether the pass came to the position it was aimed at.
    pub(crate) fn was_hit(&self) -> bool {
        self.hit.load(Ordering::SeqCst)
    }

    /// The entry that a branch ended, after noting it for another evaluation in this process.
    pub(crate) fn branch_ended(&self, position: Position, end: BranchEnd, compensates: bool) -> EntryKind {
        let ended = EndedBranch { end: end.clone(), compensates };
        lock(&self.records).ended.insert(position.as_str().to_owned(), ended);
        EntryKind::BranchEnded { position, end, compensates }
    }

    /// Registers a compensation, once: a branch may be evaluated several times.
    pub(crate) fn register(&self, compensation: Compensation) {
        let mut registered = lock(&self.compensations);
        registered.retain(|known| known.position != compensation.position);
        registered.push(compensation);
    }

    /// The payload of a value, and the write that stores it when it is large.
    pub(crate) fn payload(value: &Value) -> (Payload, Option<Write>) {
        let (payload, blob) = Payload::of(value);
        let write = match (&payload, blob) {
            (Payload::Blob(digest, _), Some(bytes)) => Some(Write::Blob(*digest, bytes)),
            _ => None,
        };
        (payload, write)
    }

    /// The value of a payload.
    ///
    /// # Errors
    /// When its blob is missing or damaged.
    pub fn load(&self, payload: &Payload) -> Result<Value, OpError> {
        let damaged = |why: String| OpError::failed(format!("the journal is damaged: {why}"));
        let bytes: Bytes = match payload {
            Payload::Inline(bytes) => bytes.clone(),
            Payload::Blob(digest, _) => self.blob(*digest).map_err(damaged)?,
        };
        Value::decode(&bytes).map_err(|error| damaged(error.to_string()))
    }

    fn blob(&self, digest: Digest) -> Result<Bytes, String> {
        match self.host.journal.blob(digest) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(format!("blob {} is missing", digest.short())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Asks the run to end at the next unrecorded call of each branch. The entry is the caller's business.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        drop(lock(&self.coordination));
        self.changed.notify_all();
    }

    /// Whether a cancel was asked for.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Ends the effects that are under way, too: a second cancel, or the end of the process.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
        self.cancel();
        self.stop_cancelled_flights();
    }

    /// Ends the pass at the next unrecorded call of each branch, and leaves the run to the next start of hob.
    pub fn leave(&self) {
        self.left.store(true, Ordering::SeqCst);
        drop(lock(&self.coordination));
        self.changed.notify_all();
    }

    /// Whether the process is about to end.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.left.load(Ordering::SeqCst)
    }

    /// Whether ends of waits came that no branch has taken in yet: another pass is needed.
    #[must_use]
    pub fn has_deliveries(&self) -> bool {
        !lock(&self.coordination).is_empty()
    }

    /// Appends entries of the run's own life (suspended, ended), in one commit with `beside`.
    pub fn append_life(&self, kinds: Vec<EntryKind>, beside: Vec<Write>) -> Ticket {
        self.append(kinds, beside).1
    }

    /// Whether the run was killed.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// Registers an effect that is under way; the number is for [`RunCx::landed`].
    pub(crate) fn take_off(&self, latch: &Arc<Latch>, cancel: &Cancel) -> u64 {
        let number = self.flights.fetch_add(1, Ordering::Relaxed);
        lock(&self.in_flight).push((number, Arc::clone(latch), cancel.clone()));
        if self.is_killed() || latch.is_cancelled() {
            cancel.cancel();
        }
        number
    }

    /// The effect has its outcome.
    pub(crate) fn landed(&self, number: u64) {
        lock(&self.in_flight).retain(|(flight, ..)| *flight != number);
    }

    /// Tells the effects of cancelled branches to stop.
    pub(crate) fn stop_cancelled_flights(&self) {
        for (_, latch, cancel) in lock(&self.in_flight).iter() {
            if self.is_killed() || latch.is_cancelled() {
                cancel.cancel();
            }
        }
    }

    /// Tells the effects that are under way to stop, and lets the run go on; how many there were.
    #[must_use]
    pub fn interrupt(&self) -> usize {
        let flights = lock(&self.in_flight);
        flights.iter().for_each(|(.., cancel)| cancel.cancel());
        flights.len()
    }

    /// Hands the end of a wait to the run while it is evaluated: recorded, and seen by whoever waits for it. `false`
    /// when the wait was withdrawn meanwhile.
    pub fn deliver(
        &self,
        position: &Position,
        operation: &str,
        result: Result<Value, OpError>,
        beside: Vec<Write>,
    ) -> bool {
        let (entry, stored, blob) = wait_outcome(position, operation, result);
        let mut inbox = lock(&self.coordination);
        // Groups withdraw the waits of their branches under this lock.
        if !matches!(self.host.journal.wait_at(self.id, position), Ok(Some(_))) {
            return false;
        }
        self.append(vec![entry], beside.into_iter().chain(blob).collect());
        inbox.push(Delivery { position: position.clone(), result: stored });
        drop(inbox);
        self.changed.notify_all();
        true
    }
}

/// The entry that ends a wait, the stored result, and the blob to write beside it.
pub fn wait_outcome(
    position: &Position,
    operation: &str,
    result: Result<Value, OpError>,
) -> (EntryKind, Result<Payload, OpError>, Option<Write>) {
    let (stored, blob) = match result {
        Ok(value) => {
            let (payload, blob) = RunCx::payload(&value);
            (Ok(payload), blob)
        }
        Err(error) => (Err(error), None),
    };
    let entry = EntryKind::Outcome {
        position: position.clone(),
        operation: operation.to_owned(),
        class: hob_model::EffectClass::Observe,
        args: None,
        result: stored.clone(),
        source: hob_model::Source::default(),
    };
    (entry, stored, blob)
}
