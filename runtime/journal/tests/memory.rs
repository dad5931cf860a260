//! The faults of the journal in memory, which the simulator relies on.

#![allow(clippy::unwrap_used)]

mod common;

use common::samples::{entry, inline, outcome, run, started};
use common::{append, append_all};
use hob_journal::{Commit, Journal, JournalError, MemoryJournal, Slot, Ticket, Write};
use hob_model::{EntryKind, Position, RunId};

fn done(n: u32) -> EntryKind {
    outcome(Position::root().effect(n), Ok(inline(i64::from(n))))
}

fn entries(journal: &dyn Journal, run: RunId) -> usize {
    journal.entries(run, 0, usize::MAX).unwrap().len()
}

#[test]
fn a_crash_leaves_what_was_durable_and_a_prefix() {
    let journal = MemoryJournal::new();
    append(&journal, run(1), 0, started("a"));
    let durable = append(&journal, run(1), 1, done(1));
    journal.wait(durable).unwrap();
    for n in 2..=5 {
        // Two entries that live or die together.
        let (a, b) = (u64::from(n) * 2 - 2, u64::from(n) * 2 - 1);
        journal.submit(Commit::from_iter([
            Write::Entry(run(1), entry(a, done(n))),
            Write::Entry(run(1), entry(b, done(n + 10))),
        ]));
    }
    assert_eq!((journal.unsynced(), journal.durable(), entries(&journal, run(1))), (4, Ticket(2), 10));
    for (keep, left) in [(0, 2), (1, 4), (3, 8), (4, 10), (99, 10)] {
        let after = journal.crash(keep);
        assert_eq!((entries(&after, run(1)), after.unsynced()), (left, 0), "keep {keep}");
        // Life goes on where it was cut.
        let next = append(&after, run(1), left as u64, done(99));
        after.wait(next).unwrap();
        assert_eq!(entries(&after.crash(0), run(1)), left + 1);
    }
    assert_eq!(entries(&journal, run(1)), 10, "the crashed process has not noticed");
}

#[test]
fn claims_survive_a_crash() {
    let slot = Slot { schedule: "nightly".into(), nominal: common::samples::at(1), run: run(1) };
    let journal = MemoryJournal::new();
    assert!(journal.claim(slot.clone(), Commit::default()).unwrap());
    assert!(!journal.crash(0).claim(slot, Commit::default()).unwrap());
}

#[test]
fn a_full_disk_stops_the_journal() {
    let journal = MemoryJournal::new();
    let first = append_all(&journal, run(1), vec![started("a"), done(1)]);
    let second = append(&journal, run(1), 2, done(2));
    let third = append(&journal, run(1), 3, done(3));
    journal.fail_at(third);
    journal.wait(second).unwrap();
    journal.may_act().unwrap();
    assert!(matches!(journal.wait(third), Err(JournalError::Unusable { .. })));
    assert!(matches!(journal.may_act(), Err(JournalError::Stopped(_))));
    journal.wait(first).unwrap();
    let late = append(&journal, run(1), 3, done(3));
    assert!(matches!(journal.wait(late), Err(JournalError::Stopped(_))));
    assert_eq!(entries(&journal, run(1)), 3);
    // Torn or not, what failed may be found after a restart; what came later may not.
    assert_eq!(entries(&journal.crash(0), run(1)), 3);
    assert_eq!(entries(&journal.crash(9), run(1)), 4);
}

#[test]
fn waits_that_find_something_are_counted() {
    let journal = MemoryJournal::new();
    let tickets: Vec<_> = (0..3).map(|n| append(&journal, run(n), 0, started("a"))).collect();
    journal.wait(tickets[1]).unwrap();
    journal.wait(tickets[0]).unwrap();
    journal.wait(tickets[2]).unwrap();
    let counters = journal.counters();
    assert_eq!((counters.submits, counters.syncs), (3, 2));
}
