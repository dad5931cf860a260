//! What both adapters must do, tried on each.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod slots;
mod waits;

use bytes::Bytes;
use common::samples::{at, ended, entry, inline, outcome, run, started, waits};
use common::{Memory, Sqlite, Subject, append, append_all};
use hob_journal::{
    BundleRecord, Commit, Journal, JournalError, RunFilter, Slot, Ticket, WRITE_BYTES_MAX, Write, release,
};
use hob_model::{
    Digest, EntryKind, OpError, Position, Resolution, RunEnd, RunEntry, RunOwner, RunStarted, RunStatus,
    Value, Wait,
};
use slots::*;
use waits::*;

macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[test] fn $name() { super::$name(Memory::fresh().journal()); })*
        }
        mod sqlite {
            use super::*;
            $(#[test] fn $name() { super::$name(Sqlite::fresh().journal()); })*
        }
    };
}

suite!(
    an_empty_journal_knows_nothing,
    entries_are_read_back,
    a_row_follows_its_entries,
    what_was_ended_stays_so_until_reopened,
    runs_are_listed_newest_first_and_filtered,
    runs_are_found_by_the_begin_of_their_id,
    waits_open_and_close,
    waits_come_due_in_order,
    waits_are_found_by_what_they_wait_for,
    signals_wait_for_their_run,
    events_are_numbered,
    facts_are_kept_replaced_and_removed,
    a_slot_is_claimed_once,
    slots_are_claimed_together,
    many_slots_are_claimed_at_one_time,
    a_claim_brings_its_commit,
    blobs_and_bundles_are_kept_once,
    tickets_are_ordered,
    an_entry_out_of_order_stops_the_journal,
    a_run_begins_with_started,
    what_is_too_large_is_refused,
    held_runs_are_released,
    writers_in_parallel_lose_nothing,
);

fn effect(n: u32) -> Position {
    Position::root().effect(n)
}

fn done(n: u32) -> EntryKind {
    outcome(effect(n), Ok(inline(i64::from(n))))
}
fn an_empty_journal_knows_nothing(journal: &dyn Journal) {
    assert_eq!(journal.run(run(1)).unwrap(), None);
    assert_eq!(journal.runs(&RunFilter::default()).unwrap(), vec![]);
    assert_eq!(journal.entries(run(1), 0, 9).unwrap(), vec![]);
    assert_eq!(journal.blob(Digest::of(b"x")).unwrap(), None);
    assert_eq!(journal.bundle(Digest::of(b"x")).unwrap(), None);
    assert_eq!(journal.next_due().unwrap(), None);
    assert_eq!(journal.last_event().unwrap(), 0);
    assert_eq!(journal.fact("x").unwrap(), None);
    journal.may_act().unwrap();
    journal.flush().unwrap();
    journal.wait(Ticket(0)).unwrap();
}

fn entries_are_read_back(journal: &dyn Journal) {
    append_all(journal, run(1), vec![started("a"), done(1), done(2), done(3)]);
    append_all(journal, run(2), vec![started("b")]);
    let seqs = |from, limit| -> Vec<u64> {
        journal.entries(run(1), from, limit).unwrap().iter().map(|entry| entry.seq).collect()
    };
    assert_eq!(seqs(0, 9), [0, 1, 2, 3]);
    assert_eq!(seqs(2, 1), [2]);
    assert_eq!(seqs(4, 9), [0; 0]);
    assert_eq!(seqs(u64::MAX, 9), [0; 0]);
    assert_eq!(journal.entries(run(1), 1, 1).unwrap(), [entry(1, done(1))]);
}

fn a_row_follows_its_entries(journal: &dyn Journal) {
    let log = EntryKind::Log {
        branch: Position::root(),
        number: 1,
        level: "info".into(),
        message: "hi".into(),
        source: common::samples::source(),
    };
    let suspended = |status| EntryKind::Suspended { status };
    let wait = || waits(effect(1), Wait::Until(at(9)));
    let table = [
        (started("a"), RunStatus::Queued),
        (log.clone(), RunStatus::Queued),
        (wait(), RunStatus::Running),
        (suspended(RunStatus::Waiting), RunStatus::Waiting),
        (log.clone(), RunStatus::Waiting),
        (done(1), RunStatus::Running),
        (EntryKind::Doubt { position: effect(2) }, RunStatus::Running),
        (suspended(RunStatus::InDoubt), RunStatus::InDoubt),
        (
            EntryKind::Resolved { position: effect(2), resolution: Resolution::Skip, by: "ada".into() },
            RunStatus::Running,
        ),
        (EntryKind::Paused { position: effect(2), message: "differs".into() }, RunStatus::Paused),
        (EntryKind::Migrated { bundle: Digest::of(b"new") }, RunStatus::Running),
        (EntryKind::Interrupted, RunStatus::Interrupted),
        (EntryKind::Resumed, RunStatus::Running),
        (suspended(RunStatus::Waiting), RunStatus::Waiting),
        (EntryKind::CancelRequested { reason: "enough".into() }, RunStatus::Running),
        (ended(RunEnd::Cancelled), RunStatus::Cancelled),
        (EntryKind::Reopened { position: effect(1), attempt: 2 }, RunStatus::Running),
        (ended(RunEnd::Failed(OpError::failed("no"))), RunStatus::Failed),
    ];
    for (seq, (kind, status)) in (0..).zip(table) {
        append(journal, run(1), seq, kind.clone());
        let row = journal.run(run(1)).unwrap().unwrap();
        assert_eq!(
            (row.status, row.entries, row.updated),
            (status, seq + 1, entry(seq, log.clone()).at),
            "{kind:?}"
        );
    }
    let row = journal.run(run(1)).unwrap().unwrap();
    assert_eq!((row.name.as_str(), row.kind.as_str(), row.attempt, row.created), ("a", "workflow", 2, at(0)));
    assert_eq!(row.bundle, Some(Digest::of(b"new")));
    assert_eq!(row.end, Some(RunEnd::Failed(OpError::failed("no"))));
}

fn what_was_ended_stays_so_until_reopened(journal: &dyn Journal) {
    append_all(journal, run(1), vec![started("a"), ended(RunEnd::Succeeded(7_i64.into())), done(1)]);
    let late = |seq, kind| {
        append(journal, run(1), seq, kind);
        journal.run(run(1)).unwrap().unwrap()
    };
    let row = late(3, EntryKind::CancelRequested { reason: "late".into() });
    assert_eq!((row.status, row.end), (RunStatus::Succeeded, Some(RunEnd::Succeeded(7_i64.into()))));
    let row = late(4, EntryKind::Reopened { position: effect(1), attempt: 2 });
    assert_eq!((row.status, row.end, row.attempt), (RunStatus::Running, None, 2));
}

fn runs_are_listed_newest_first_and_filtered(journal: &dyn Journal) {
    for n in 1..=6 {
        append(journal, run(n), 0, started(if n % 2 == 0 { "even" } else { "odd" }));
    }
    let EntryKind::Started(of_script) = started("even") else { unreachable!() };
    let script = RunStarted { entry: RunEntry::Playbook("x.rhai".into()), ..of_script };
    let script = RunStarted { owner: RunOwner::Foreground, ..script };
    append(journal, run(7), 0, EntryKind::Started(script));
    append(journal, run(2), 1, ended(RunEnd::Cancelled));
    append(journal, run(5), 1, EntryKind::Resumed);
    let all = RunFilter::default;
    let table = [
        (all(), vec![7, 6, 5, 4, 3, 2, 1]),
        (RunFilter { limit: Some(2), ..all() }, vec![7, 6]),
        (RunFilter { limit: Some(2), before: Some(run(6)), ..all() }, vec![5, 4]),
        (RunFilter { name: Some("even".into()), ..all() }, vec![7, 6, 4, 2]),
        (RunFilter { kind: Some("playbook".into()), ..all() }, vec![7]),
        (RunFilter { owner: Some(RunOwner::Foreground), ..all() }, vec![7]),
        (RunFilter { owner: Some(RunOwner::Daemon), limit: Some(2), ..all() }, vec![6, 5]),
        (RunFilter { status: vec![RunStatus::Cancelled, RunStatus::Running], ..all() }, vec![5, 2]),
        (RunFilter { updated_since: Some(at(1)), ..all() }, vec![5, 2]),
        (
            RunFilter { status: vec![RunStatus::Queued], name: Some("odd".into()), limit: Some(1), ..all() },
            vec![3],
        ),
        (RunFilter { name: Some("nobody".into()), ..all() }, vec![]),
    ];
    for (filter, expected) in table {
        let found: Vec<_> = journal.runs(&filter).unwrap().iter().map(|row| row.run).collect();
        assert_eq!(found, expected.into_iter().map(run).collect::<Vec<_>>(), "{filter:?}");
    }
}

fn runs_are_found_by_the_begin_of_their_id(journal: &dyn Journal) {
    for n in 1..=3 {
        append(journal, run(n), 0, started("a"));
    }
    let id = run(2).to_string();
    for prefix in [id.as_str(), &id[..13], &id.replace('-', "")[..12], &id.to_uppercase()] {
        assert_eq!(journal.runs_by_prefix(prefix, 9).unwrap(), [run(2)], "{prefix}");
    }
    assert_eq!(journal.runs_by_prefix("", 2).unwrap(), [run(1), run(2)]);
    for stranger in ["f", "x", &format!("{id}0")] {
        assert_eq!(journal.runs_by_prefix(stranger, 9).unwrap(), [], "{stranger}");
    }
}

fn events_are_numbered(journal: &dyn Journal) {
    for n in 1..=4_i64 {
        let write =
            Write::Event { name: format!("e{n}"), payload: n.into(), origin: "cli".into(), at: at(n) };
        journal.submit(Commit::one(write));
    }
    assert_eq!(journal.last_event().unwrap(), 4);
    let found = journal.events(1, 2).unwrap();
    let seen: Vec<_> = found.iter().map(|it| (it.id, it.name.as_str(), it.payload.as_int(), it.at)).collect();
    assert_eq!(seen, [(2, "e2", Some(2), at(2)), (3, "e3", Some(3), at(3))]);
    assert_eq!(journal.events(4, 9).unwrap(), vec![]);
    for (names, after, limit, found, seen) in [
        (&["e2", "e4"][..], 0, 9, &[2, 4][..], 4),
        (&["e2", "e4"], 0, 1, &[2], 2),
        (&["e2"], 2, 9, &[], 4),
        (&["none"], 4, 9, &[], 4),
        (&[], 1, 9, &[], 4),
    ] {
        let (rows, last) = journal.events_named(names, after, limit).unwrap();
        let ids: Vec<u64> = rows.iter().map(|row| row.id).collect();
        assert_eq!((&*ids, last), (found, seen), "{names:?} after {after}");
    }
}

fn facts_are_kept_replaced_and_removed(journal: &dyn Journal) {
    let fact = |key: &str, value: Option<i64>| {
        journal.submit(Commit::one(Write::Fact { key: key.into(), value: value.map(Value::from) }));
    };
    for (key, value) in [("hold/a", 1), ("hold/b", 2), ("hole", 3), ("hold", 4)] {
        fact(key, Some(value));
    }
    fact("hold/a", Some(5));
    fact("hole", None);
    fact("nothing", None);
    assert_eq!(journal.fact("hold/a").unwrap(), Some(Value::Int(5)));
    assert_eq!(journal.fact("hole").unwrap(), None);
    let held = journal.facts("hold/").unwrap();
    assert_eq!(held, [("hold/a".to_owned(), Value::Int(5)), ("hold/b".to_owned(), Value::Int(2))]);
    assert_eq!(journal.facts("").unwrap().len(), 3);
}

fn blobs_and_bundles_are_kept_once(journal: &dyn Journal) {
    let bytes = Bytes::from_static(b"print(1)");
    let digest = Digest::of(&bytes);
    let files = vec![("main.rhai".into(), digest)];
    let bundle = BundleRecord::new(files, "main.rhai".into(), "/srv".into(), "hub".into());
    for _ in 0..2 {
        let writes = [Write::Blob(digest, bytes.clone()), Write::Bundle(bundle.clone())];
        journal.submit(Commit::from_iter(writes));
    }
    assert_eq!(journal.blob(digest).unwrap(), Some(bytes));
    assert_eq!(journal.bundle(bundle.digest).unwrap(), Some(bundle));
}

fn tickets_are_ordered(journal: &dyn Journal) {
    let first = append(journal, run(1), 0, started("a"));
    let second = append(journal, run(1), 1, done(1));
    assert_eq!((first, second), (Ticket(1), Ticket(2)));
    journal.wait(second).unwrap();
    journal.wait(first).unwrap();
    journal.wait(Ticket(99)).unwrap();
    journal.wait(second).unwrap();
}

fn an_entry_out_of_order_stops_the_journal(journal: &dyn Journal) {
    append_all(journal, run(1), vec![started("a"), done(1)]);
    let good = append(journal, run(2), 0, started("b"));
    let bad = journal.submit(Commit::from_iter([
        Write::Fact { key: "x".into(), value: Some(Value::Unit) },
        Write::Entry(run(1), entry(3, done(3))),
    ]));
    let after = append(journal, run(2), 1, done(1));
    let order = |error| matches!(error, Err(JournalError::Order { found: 3, last: Some(1), .. }));
    assert!(order(journal.wait(bad)));
    assert!(order(journal.wait(after)));
    journal.wait(good).unwrap();
    let late = append(journal, run(2), 1, done(1));
    assert!(matches!(journal.wait(late), Err(JournalError::Stopped(_))));
    assert!(matches!(journal.may_act(), Err(JournalError::Stopped(_))));
    let slot = Slot { schedule: "nightly".into(), nominal: at(1), run: run(1) };
    assert!(matches!(journal.claim(slot, Commit::default()), Err(JournalError::Stopped(_))));
    // What came before can still be read, and nothing of what came after.
    assert_eq!(journal.run(run(1)).unwrap().unwrap().entries, 2);
    assert_eq!(journal.run(run(2)).unwrap().unwrap().entries, 1);
    assert_eq!(journal.fact("x").unwrap(), None);
}

fn a_run_begins_with_started(journal: &dyn Journal) {
    let ticket = append(journal, run(1), 0, done(1));
    assert!(matches!(journal.wait(ticket), Err(JournalError::Order { found: 0, last: None, .. })));
    assert_eq!(journal.run(run(1)).unwrap(), None);
}

fn what_is_too_large_is_refused(journal: &dyn Journal) {
    let bytes = Bytes::from(vec![0; WRITE_BYTES_MAX + 1]);
    let ticket = journal.submit(Commit::one(Write::Blob(Digest([0; 32]), bytes)));
    assert!(matches!(journal.wait(ticket), Err(JournalError::TooLarge { .. })));
    assert_eq!(journal.blob(Digest([0; 32])).unwrap(), None);
}

fn held_runs_are_released(journal: &dyn Journal) {
    for n in 1..=2 {
        let key = format!("restored/held/{}", run(n));
        journal.submit(Commit::one(Write::Fact { key, value: Some(Value::Bool(true)) }));
    }
    assert_eq!(journal.held().unwrap(), [run(1), run(2)]);
    journal.submit(Commit::one(release(run(1))));
    assert_eq!(journal.held().unwrap(), [run(2)]);
}

fn writers_in_parallel_lose_nothing(journal: &dyn Journal) {
    const WRITERS: u8 = 8;
    const EFFECTS: u32 = 40;
    std::thread::scope(|scope| {
        for n in 1..=WRITERS {
            scope.spawn(move || {
                append(journal, run(n), 0, started("a"));
                for effect in 1..=EFFECTS {
                    let ticket = append(journal, run(n), u64::from(effect), done(effect));
                    if effect % 3 == 0 {
                        journal.wait(ticket).unwrap();
                    }
                    if effect % 5 == 0 {
                        let row = journal.run(run(n)).unwrap().unwrap();
                        assert_eq!(row.entries, u64::from(effect) + 1, "reads see what was submitted");
                    }
                }
            });
        }
    });
    journal.flush().unwrap();
    for n in 1..=WRITERS {
        let entries = journal.entries(run(n), 0, usize::MAX).unwrap();
        assert_eq!(entries.len(), EFFECTS as usize + 1);
        assert_eq!(entries.last(), Some(&entry(EFFECTS.into(), done(EFFECTS))));
    }
}
