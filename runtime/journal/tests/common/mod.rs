//! The two adapters as one thing to be tested.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // test helpers, shared by several tests

pub mod samples;

use hob_journal::{Commit, Journal, MemoryJournal, RunFilter, SqliteJournal, Ticket, Write};
use hob_model::{EntryKind, Position, RunId, Timestamp};
use tempfile::TempDir;

use samples::entry;

/// An adapter with what it needs to live.
pub trait Subject {
    fn fresh() -> Self;
    fn journal(&self) -> &dyn Journal;
}

pub struct Memory(pub MemoryJournal);

impl Subject for Memory {
    fn fresh() -> Self {
        Self(MemoryJournal::new())
    }
    fn journal(&self) -> &dyn Journal {
        &self.0
    }
}

/// The journal and its directory, in the order in which they must go.
pub struct Sqlite(pub SqliteJournal, pub TempDir);

impl Subject for Sqlite {
    fn fresh() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self(SqliteJournal::open(dir.path()).unwrap(), dir)
    }
    fn journal(&self) -> &dyn Journal {
        &self.0
    }
}

/// Submits entry `seq` of `run`.
pub fn append(journal: &dyn Journal, run: RunId, seq: u64, kind: EntryKind) -> Ticket {
    journal.submit(Commit::one(Write::Entry(run, entry(seq, kind))))
}

/// Submits all `kinds` as the entries of `run` from 0 on, in one commit.
pub fn append_all(journal: &dyn Journal, run: RunId, kinds: Vec<EntryKind>) -> Ticket {
    journal.submit((0..).zip(kinds).map(|(seq, kind)| Write::Entry(run, entry(seq, kind))).collect())
}

/// All that a journal tells about the given runs, schedules and everything global, as text to compare.
pub fn everything(
    journal: &dyn Journal,
    runs: &[RunId],
    schedules: &[&str],
    positions: &[Position],
) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let all = usize::MAX;
    let mut line = |what: &str, found: &dyn std::fmt::Debug| {
        let _ = writeln!(text, "{what}: {found:#?}");
    };
    line("runs", &journal.runs(&RunFilter::default()).unwrap());
    for run in runs {
        line("run", &journal.run(*run).unwrap());
        line("entries", &journal.entries(*run, 0, all).unwrap());
        line("some entries", &journal.entries(*run, 2, 3).unwrap());
        line("signals", &journal.signals(*run).unwrap());
        line("waits", &journal.waits(None, Some(*run), 2).unwrap());
        line("found", &journal.runs_by_prefix(&run.to_string()[..14], all).unwrap());
        for position in positions {
            line("wait", &journal.wait_at(*run, position).unwrap());
        }
    }
    for kind in ["time", "signal", "event", "approval", "run"] {
        line(kind, &journal.waits(Some(kind), None, all).unwrap());
        line("by key", &journal.waits_for(kind, "a", all).unwrap());
    }
    for schedule in schedules {
        line(schedule, &journal.slots(schedule, 3).unwrap());
    }
    line("waits", &journal.waits(None, None, all).unwrap());
    line("due", &journal.due(samples::at(50), 4).unwrap());
    line("all due", &journal.due(Timestamp::MAX, all).unwrap());
    line("next due", &journal.next_due().unwrap());
    line("events", &journal.events(0, all).unwrap());
    line("some events", &journal.events(2, 2).unwrap());
    line("last event", &journal.last_event().unwrap());
    line("facts", &journal.facts("").unwrap());
    line("some facts", &journal.facts("a/").unwrap());
    line("a fact", &journal.fact("a/1").unwrap());
    line("held", &journal.held().unwrap());
    text
}
