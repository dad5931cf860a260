//! The disk under a simulated process, and the journal that fails as the seed says.

#![allow(clippy::disallowed_methods)] // the simulator of a disk copies and cuts the files of the journal

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fastrand::Rng;
use hob_journal::{
    BundleRecord, Commit, EventRow, Journal, JournalError, MemoryJournal, RunFilter, RunRow, SignalRow, Slot,
    SqliteJournal, Ticket, WaitRow,
};
use hob_model::{Digest, Entry, EntryKind, Position, RunId, Timestamp, Value};

use super::Sabotage;
use super::sim::{Fault, Place, Sim};

/// What outlives a process.
pub(super) enum Disk {
    Memory(MemoryJournal),
    Sqlite(Box<Files>),
}

/// A state directory.
pub(super) struct Files {
    journal: SqliteJournal,
    dir: tempfile::TempDir,
    /// How much of the log was on disk at the last sync, in bytes.
    synced_bytes: Mutex<u64>,
}

const LOG: &str = "-wal";

impl Files {
    fn open(dir: tempfile::TempDir) -> Result<Self, JournalError> {
        let journal = SqliteJournal::open_with(
            dir.path(),
            &hob_journal::sqlite::Options { reserve_bytes: 0, ..Default::default() },
        )?;
        let files = Self { journal, dir, synced_bytes: Mutex::new(0) };
        files.synced();
        Ok(files)
    }

    fn log_bytes(dir: &Path) -> u64 {
        let logs = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let log = logs.filter(|file| file.file_name().to_string_lossy().ends_with(LOG));
        log.filter_map(|file| file.metadata().ok()).map(|it| it.len()).sum()
    }

    fn synced(&self) {
        *self.synced_bytes.lock().expect("nothing panics while holding it") =
            Self::log_bytes(self.dir.path());
    }

    /// What a power cut leaves: the files as they are, the log cut off somewhere after the last sync.
    fn cut(&self, rng: &mut Rng) -> std::io::Result<tempfile::TempDir> {
        let left = tempfile::tempdir()?;
        for file in std::fs::read_dir(self.dir.path())? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            if !file.file_type()?.is_file() || name.ends_with("-shm") {
                continue;
            }
            let to = left.path().join(&name);
            std::fs::copy(file.path(), &to)?;
            if name.ends_with(LOG) {
                let (synced, all) = (
                    *self.synced_bytes.lock().expect("nothing panics while holding it"),
                    file.metadata()?.len(),
                );
                if synced < all {
                    std::fs::OpenOptions::new().write(true).open(&to)?.set_len(rng.u64(synced..=all))?;
                }
            }
        }
        Ok(left)
    }
}

impl Disk {
    pub(super) fn memory() -> Self {
        Self::Memory(MemoryJournal::new())
    }

    /// # Panics
    /// When there is no temporary directory.
    pub(super) fn sqlite() -> Self {
        let dir = tempfile::tempdir().expect("there is a temporary directory");
        Self::Sqlite(Box::new(Files::open(dir).expect("an empty directory takes a journal")))
    }

    pub(super) fn journal(&self) -> &dyn Journal {
        match self {
            Self::Memory(journal) => journal,
            Self::Sqlite(files) => &files.journal,
        }
    }

    /// What the next process finds.
    pub(super) fn after(
        &self,
        rng: &mut Rng,
        fault: Fault,
        sabotage: Option<Sabotage>,
    ) -> Result<Self, String> {
        match self {
            Self::Memory(journal) => {
                let unsynced = journal.unsynced();
                let keep = if fault == Fault::Close { unsynced } else { rng.usize(..=unsynced) };
                if sabotage == Some(Sabotage::LoseSynced) {
                    return Ok(Self::Memory(forget_last(journal)));
                }
                Ok(Self::Memory(journal.crash(keep)))
            }
            Self::Sqlite(files) => {
                let left = files.cut(rng).map_err(|error| error.to_string())?;
                Files::open(left)
                    .map(|files| Self::Sqlite(Box::new(files)))
                    .map_err(|error| error.to_string())
            }
        }
    }

    /// No write succeeds any more.
    fn fill(&self) {
        if let Self::Memory(journal) = self {
            let last = journal.durable().0 + journal.unsynced() as u64;
            journal.fail_at(Ticket(last + 1));
        }
    }

    /// What is wrong with the disk.
    pub(super) fn problems(&self) -> Vec<String> {
        match self {
            Self::Memory(_) => vec![],
            Self::Sqlite(files) => match files.journal.check() {
                Ok(findings) => findings.iter().map(ToString::to_string).collect(),
                Err(error) => vec![error.to_string()],
            },
        }
    }
}

/// A disk that lies: the last entry of each run is gone although it was synced.
fn forget_last(journal: &MemoryJournal) -> MemoryJournal {
    let fresh = MemoryJournal::new();
    for row in journal.runs(&RunFilter::default()).unwrap_or_default().into_iter().rev() {
        let entries = journal.entries(row.run, 0, usize::MAX).unwrap_or_default();
        if let Some(record) = row.bundle.and_then(|digest| journal.bundle(digest).ok().flatten()) {
            let blobs =
                record.files.iter().filter_map(|(_, digest)| Some((*digest, journal.blob(*digest).ok()??)));
            let writes = blobs.map(|(digest, bytes)| hob_journal::Write::Blob(digest, bytes));
            fresh.submit(writes.chain([hob_journal::Write::Bundle(record.clone())]).collect());
        }
        let kept = entries.len().saturating_sub(1).max(1);
        fresh.submit(entries.into_iter().take(kept).map(|e| hob_journal::Write::Entry(row.run, e)).collect());
    }
    let _ = fresh.flush();
    fresh
}

/// The journal of a simulated process.
pub(super) struct FaultJournal {
    pub(super) sim: Arc<Sim>,
    pub(super) disk: Arc<Disk>,
}

impl FaultJournal {
    fn inner(&self) -> &dyn Journal {
        self.disk.journal()
    }

    /// A moment; `false` when the process is dead.
    fn moment(&self, place: Place) -> bool {
        if self.sim.moment(place) == Some(Fault::DiskFull) {
            self.disk.fill();
        }
        !self.sim.is_dead()
    }

    fn stopped() -> JournalError {
        JournalError::Stopped("the process is gone".to_owned())
    }
}

impl Journal for FaultJournal {
    fn submit(&self, commit: Commit) -> Ticket {
        if !self.moment(Place::Submit) {
            return Ticket(u64::MAX);
        }
        // A commit that stopped journals refuse is none.
        if self.inner().may_act().is_err() {
            return self.inner().submit(commit);
        }
        // Projections read while others submit, so the order here is the order there.
        let mut state = self.sim.lock();
        let ticket = self.inner().submit(commit.clone());
        let moment = state.moment;
        state.witness.submitted(ticket, &commit, moment);
        drop(state);
        self.moment(Place::Submit);
        ticket
    }

    fn wait(&self, ticket: Ticket) -> Result<(), JournalError> {
        if !self.moment(Place::Sync) {
            return Err(Self::stopped());
        }
        if self.sim.sabotage() == Some(Sabotage::SkipSync) {
            return Ok(());
        }
        if let Err(error) = self.inner().wait(ticket) {
            let mut state = self.sim.lock();
            let moment = state.moment;
            state.stopped.get_or_insert(moment);
            return Err(error);
        }
        if let Disk::Sqlite(files) = &*self.disk {
            files.synced();
        }
        self.sim.lock().witness.durable(ticket);
        if self.moment(Place::Sync) { Ok(()) } else { Err(Self::stopped()) }
    }

    fn claim_all(&self, claims: Vec<(Slot, Commit)>) -> Result<Vec<bool>, JournalError> {
        self.inner().claim_all(claims)
    }

    fn may_act(&self) -> Result<(), JournalError> {
        if self.sim.is_dead() {
            return Err(Self::stopped());
        }
        self.sim.clear();
        let (pass, poor) = {
            let mut state = self.sim.lock();
            let wild = state.plan.faulty && !state.plan.tame;
            (state.rng.u8(..4) == 0, wild && state.rng.u8(..60) == 0)
        };
        if pass {
            hob_engine::Turns::pass(&self.sim.turns);
        }
        if self.sim.is_dead() {
            return Err(Self::stopped());
        }
        // That the journal has stopped outranks a lack of room, as in the real one.
        self.inner().may_act()?;
        if poor {
            return Err(JournalError::Reserve { path: "sim".to_owned(), free_bytes: 1, reserve_bytes: 2 });
        }
        Ok(())
    }

    fn run(&self, run: RunId) -> Result<Option<RunRow>, JournalError> {
        self.inner().run(run)
    }

    fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, JournalError> {
        self.inner().runs(filter)
    }

    fn entries(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<Entry>, JournalError> {
        let mut entries = self.inner().entries(run, from, limit)?;
        match self.sim.sabotage() {
            Some(Sabotage::ForgetOutcomes) => {
                entries
                    .retain(|entry| !matches!(entry.kind, EntryKind::Outcome { .. }) || entry.seq % 2 == 0);
            }
            Some(Sabotage::ForgetIntents) => {
                entries.retain(|entry| !matches!(entry.kind, EntryKind::Intent { .. }));
            }
            _ => {}
        }
        Ok(entries)
    }

    fn runs_by_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<RunId>, JournalError> {
        self.inner().runs_by_prefix(prefix, limit)
    }

    fn blob(&self, digest: Digest) -> Result<Option<Bytes>, JournalError> {
        self.inner().blob(digest)
    }

    fn bundle(&self, digest: Digest) -> Result<Option<BundleRecord>, JournalError> {
        self.inner().bundle(digest)
    }

    fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<WaitRow>, JournalError> {
        if self.sim.sabotage() == Some(Sabotage::LoseWakeups) {
            return Ok(vec![]);
        }
        self.inner().due(now, limit)
    }

    fn next_due(&self) -> Result<Option<Timestamp>, JournalError> {
        self.inner().next_due()
    }

    fn waits(
        &self,
        kind: Option<&str>,
        run: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<WaitRow>, JournalError> {
        self.inner().waits(kind, run, limit)
    }

    fn waits_for(&self, kind: &str, key: &str, limit: usize) -> Result<Vec<WaitRow>, JournalError> {
        self.inner().waits_for(kind, key, limit)
    }

    fn wait_at(&self, run: RunId, position: &Position) -> Result<Option<WaitRow>, JournalError> {
        self.inner().wait_at(run, position)
    }

    fn signals(&self, run: RunId) -> Result<Vec<SignalRow>, JournalError> {
        self.inner().signals(run)
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<EventRow>, JournalError> {
        self.inner().events(after, limit)
    }

    fn events_named(
        &self,
        names: &[&str],
        after: u64,
        limit: usize,
    ) -> Result<(Vec<EventRow>, u64), JournalError> {
        self.inner().events_named(names, after, limit)
    }

    fn last_event(&self) -> Result<u64, JournalError> {
        self.inner().last_event()
    }

    fn slots(&self, schedule: &str, limit: usize) -> Result<Vec<Slot>, JournalError> {
        self.inner().slots(schedule, limit)
    }

    fn fact(&self, key: &str) -> Result<Option<Value>, JournalError> {
        self.inner().fact(key)
    }

    fn facts(&self, prefix: &str) -> Result<Vec<(String, Value)>, JournalError> {
        self.inner().facts(prefix)
    }
}
