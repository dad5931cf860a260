//! What was submitted and is not written yet.

use crate::codec;
use crate::journal::{Commit, JournalError, Slot, Ticket, WRITE_BYTES_MAX, Write, check_sizes};

/// How many bytes may wait to be written; whoever submits more writes first.
pub(super) const QUEUE_BYTES_MAX: usize = 16 << 20;

/// One submission, encoded by the thread that submitted it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) ticket: Ticket,
    /// The number of the event before its first one.
    pub(super) events_after: u64,
    pub(super) slot: Option<Slot>,
    pub(super) commit: Commit,
    /// The encoded parts of the writes, in order, each behind its length (four bytes, little-endian).
    bodies: Vec<u8>,
    /// Why it cannot be written.
    pub(super) refused: Option<JournalError>,
    /// About how much memory it takes.
    bytes: usize,
}

/// Room for one encoded entry of usual size.
const BODY_BYTES_USUAL: usize = 160;

const LENGTH_BYTES: usize = 4;

impl Job {
    pub(super) fn new(commit: Commit, slot: Option<Slot>) -> Self {
        let mut bodies = Vec::with_capacity(commit.writes.len() * BODY_BYTES_USUAL);
        let mut refused = check_sizes(&commit).err();
        let mut bytes = 0;
        for write in &commit.writes {
            let from = bodies.len();
            bodies.extend_from_slice(&[0; LENGTH_BYTES]);
            match write {
                Write::Entry(run, entry) => codec::encode_entry(*run, entry, &mut bodies),
                Write::Bundle(bundle) => codec::encode_bundle(bundle, &mut bodies),
                Write::Signal { payload: value, .. }
                | Write::Event { payload: value, .. }
                | Write::Fact { value: Some(value), .. } => codec::encode_value(value, &mut bodies),
                Write::Blob(_, blob) => {
                    bytes += blob.len();
                    bodies.truncate(from);
                }
                Write::SignalTaken { .. } | Write::SignalsMoved { .. } | Write::Fact { value: None, .. } => {
                    bodies.truncate(from);
                }
            }
            let Some(len) = bodies.len().checked_sub(from + LENGTH_BYTES) else {
                continue;
            };
            match u32::try_from(len) {
                Ok(short) if len <= WRITE_BYTES_MAX => {
                    bodies[from..from + LENGTH_BYTES].copy_from_slice(&short.to_le_bytes());
                }
                _ => refused = Some(JournalError::TooLarge { bytes: len }),
            }
        }
        bytes += bodies.len() * 2 + size_of::<Self>();
        Self { ticket: Ticket::default(), events_after: 0, slot, commit, bodies, refused, bytes }
    }

    /// The encoded parts, in the order of the writes that have one.
    pub(super) fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bodies[..];
        std::iter::from_fn(move || {
            let (len, after) = rest.split_first_chunk::<LENGTH_BYTES>()?;
            let len = usize::try_from(u32::from_le_bytes(*len)).expect("32 bits fit");
            let (body, after) = after.split_at(len);
            rest = after;
            Some(body)
        })
    }
}

/// Submissions in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    jobs: Vec<Job>,
    bytes: usize,
    /// The last ticket that was given.
    pub(super) given: Ticket,
    /// The last number that an event was given. Numbers are given here and not by the database, so that asking for the
    /// last one, which each effect does, neither writes nor reads. A claim that is refused leaves a gap.
    pub(super) last_event: u64,
    /// Somebody writes for all that wait.
    pub(super) leads: bool,
    /// The flusher sleeps until something is submitted.
    pub(super) flusher_sleeps: bool,
    /// The journal is being closed.
    pub(super) closing: bool,
}

impl Queue {
    /// An empty queue, where `last_event` is the number of the newest event.
    pub(super) fn after(last_event: u64) -> Self {
        Self { last_event, ..Self::default() }
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, jobs: usize) {
        self.jobs.reserve(jobs);
    }

    pub(super) fn push(&mut self, mut job: Job) -> Ticket {
        self.given = Ticket(self.given.0 + 1);
        job.ticket = self.given;
        job.events_after = self.last_event;
        let is_event = |write: &&Write| matches!(write, Write::Event { .. });
        self.last_event += job.commit.writes.iter().filter(is_event).count() as u64;
        self.bytes += job.bytes;
        self.jobs.push(job);
        self.given
    }

    /// A ticket for what will never be written.
    pub(super) fn skip(&mut self) -> Ticket {
        self.given = Ticket(self.given.0 + 1);
        self.given
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes > QUEUE_BYTES_MAX
    }

    /// All that is queued, in exchange for `emptied`, whose memory is used again.
    pub(super) fn take(&mut self, emptied: Vec<Job>) -> Vec<Job> {
        self.bytes = 0;
        std::mem::replace(&mut self.jobs, emptied)
    }
}
