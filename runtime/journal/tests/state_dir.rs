//! The state directory as other processes, other users and broken disks treat it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // tests look at files and time

#[path = "common/appender.rs"]
mod appender;
mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use appender::{Appender, append_until_killed, survivors, the_run};
use bytes::Bytes;
use common::samples::{self, at, inline, outcome, run, started};
use common::{Sqlite, Subject, append, append_all};
use hob_journal::sqlite::{Options, Synchronous};
use hob_journal::{Commit, Journal, JournalError, RunFilter, Slot, SqliteJournal, Ticket, Write};
use hob_lab::disk::Disk;
use hob_model::{Digest, EntryKind, Position, RunId};
use rusqlite::Connection;

#[test]
fn child() {
    append_until_killed();
}

fn done(n: u32) -> EntryKind {
    outcome(Position::root().effect(n), Ok(inline(i64::from(n))))
}

/// A journal with a few entries that was closed.
fn closed() -> tempfile::TempDir {
    let Sqlite(journal, dir) = Sqlite::fresh();
    append_all(&journal, run(1), std::iter::once(started("a")).chain((1..200).map(done)).collect());
    drop(journal);
    dir
}

fn refused(dir: &Path) -> JournalError {
    SqliteJournal::open(dir).unwrap_err()
}

#[test]
fn closing_leaves_only_the_database_whoever_still_has_the_journal() {
    let Sqlite(journal, dir) = Sqlite::fresh();
    let journal = std::sync::Arc::new(journal);
    let read_ahead = journal.run(run(1)).unwrap();
    assert!(read_ahead.is_none());
    let kept = std::sync::Arc::clone(&journal);
    append_all(&*journal, run(1), std::iter::once(started("a")).chain((1..20).map(done)).collect());
    journal.close();
    let mut left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["journal.db", "state.lock"]);
    let ticket = append(&*kept, run(1), 20, done(20));
    assert!(matches!(kept.wait(ticket), Err(JournalError::Stopped(_))));
    assert!(matches!(kept.entries(run(1), 0, 10), Err(JournalError::Stopped(_))));
    assert!(matches!(kept.may_act(), Err(JournalError::Stopped(_))));
    assert!(matches!(refused(dir.path()), JournalError::Locked { .. }), "somebody still has it");
    drop((journal, kept));
    assert_eq!(SqliteJournal::open(dir.path()).unwrap().entries(run(1), 0, 100).unwrap().len(), 20);
}

/// What a crash leaves between the record of many claims and the tables: the tables follow when it is opened, or restored.
#[test]
fn slots_that_were_claimed_together_survive_a_crash() {
    let Sqlite(journal, dir) = Sqlite::fresh();
    let claims = |nominal: i64, first_run: u128| {
        let claim = move |n: u128| {
            let run = RunId(uuid::Uuid::from_u128((first_run + n) << 64));
            let slot = Slot { schedule: format!("s{n}"), nominal: at(nominal), run };
            (slot, Commit::one(Write::Entry(run, samples::entry(0, started("a")))))
        };
        (0..100).map(claim).collect::<Vec<_>>()
    };
    assert!(journal.claim_all(claims(1, 1_000)).unwrap().iter().all(|claimed| *claimed));
    assert!(journal.claim_all(claims(2, 2_000)).unwrap().iter().all(|claimed| *claimed));
    let crashed = tempfile::tempdir().unwrap();
    for file in ["journal.db", "journal.db-wal"] {
        std::fs::copy(dir.path().join(file), crashed.path().join(file)).unwrap();
    }
    let recorded = Connection::open(crashed.path().join("journal.db")).unwrap();
    let count = |sql: &str| recorded.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let both = (count("SELECT count(*) FROM claims"), count("SELECT count(*) FROM slots"));
    assert_eq!(both, (1, 100), "the second hundred is one record");
    drop(recorded);
    let restored = tempfile::tempdir().unwrap();
    assert_eq!(hob_journal::sqlite::restore(crashed.path(), restored.path()).unwrap(), 200, "all are held");
    for opened in [crashed.path(), restored.path()] {
        let journal = SqliteJournal::open(opened).unwrap();
        assert_eq!(journal.runs(&RunFilter::default()).unwrap().len(), 200);
        assert_eq!(
            journal.slots("s7", 9).unwrap(),
            [claims(2, 2_000), claims(1, 1_000)].map(|it| it[7].0.clone())
        );
        assert_eq!(journal.claim_all(claims(2, 3_000)).unwrap(), [false; 100]);
        assert_eq!(journal.check().unwrap(), []);
    }
}

#[test]
fn a_journal_of_a_format_without_claims_takes_them() {
    let dir = closed();
    let path = dir.path().join("journal.db");
    Connection::open(&path).unwrap().execute_batch("DROP TABLE claims; PRAGMA user_version = 3;").unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let claims = (0..40_u128).map(|n| {
        let run = RunId(uuid::Uuid::from_u128(n << 64));
        let slot = Slot { schedule: format!("s{n}"), nominal: at(1), run };
        (slot, Commit::one(Write::Entry(run, samples::entry(0, started("a")))))
    });
    assert_eq!(journal.claim_all(claims.collect()).unwrap(), [true; 40]);
    drop(journal);
    let former = Connection::open(&path).unwrap();
    let format: i64 = former.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(format, i64::from(hob_journal::codec::FORMAT));
}

#[test]
fn only_the_owner_may_look() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/state");
    let journal = SqliteJournal::open(&dir).unwrap();
    append(&journal, run(1), 0, started("a"));
    journal.flush().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in ["journal.db", "journal.db-wal", "journal.db-shm", "state.lock"] {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
}

#[test]
fn one_process_holds_it_until_it_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..8 {
        let mut child = Appender::start("child", dir.path(), Synchronous::Full);
        let mut last = 0;
        for _ in 0..=round * 9 {
            last = child.next().expect("the child reports");
        }
        match refused(dir.path()) {
            JournalError::Locked { holder, path } => {
                assert!(holder.contains(&child.id().to_string()), "{holder}");
                assert_eq!(path, dir.path().display().to_string());
            }
            other => panic!("{other}"),
        }
        let beside = SqliteJournal::open_read_only(dir.path()).unwrap();
        assert!(beside.run(the_run()).unwrap().unwrap().entries > last);
        acknowledged = child.kill(last) + 1;
    }
    // A reader finds what the dead one left in its log, and so does the next holder.
    let reader = SqliteJournal::open_read_only(dir.path()).unwrap();
    assert!(survivors(&reader) >= acknowledged);
    let journal = SqliteJournal::open(dir.path()).unwrap();
    assert!(survivors(&journal) >= acknowledged);
}

#[test]
fn a_second_handle_is_refused() {
    let Sqlite(journal, dir) = Sqlite::fresh();
    assert!(matches!(refused(dir.path()), JournalError::Locked { .. }));
    drop(journal);
    SqliteJournal::open(dir.path()).unwrap();
}

#[test]
fn readers_do_not_write() {
    let Sqlite(journal, dir) = Sqlite::fresh();
    append(&journal, run(1), 0, started("a"));
    journal.flush().unwrap();
    let reader = SqliteJournal::open_read_only(dir.path()).unwrap();
    assert!(matches!(reader.may_act(), Err(JournalError::ReadOnly(_))));
    let ticket = append(&reader, run(1), 1, done(1));
    assert!(matches!(reader.wait(ticket), Err(JournalError::ReadOnly(_))));
    assert_eq!(reader.run(run(1)).unwrap().unwrap().entries, 1);
    append(&journal, run(1), 1, done(1));
    journal.flush().unwrap();
    assert_eq!(reader.run(run(1)).unwrap().unwrap().entries, 2, "it sees what is written beside it");
    assert!(matches!(
        SqliteJournal::open_read_only(&dir.path().join("x")),
        Err(JournalError::Unusable { .. })
    ));
}

#[test]
fn what_nobody_waits_for_is_flushed_and_closing_flushes() {
    let Sqlite(journal, dir) = Sqlite::fresh();
    // Twice, since it sleeps in between.
    for round in 0..2 {
        let ticket = append(&journal, run(round), 0, started("a"));
        let begin = Instant::now();
        while journal.durable() < ticket {
            assert!(begin.elapsed() < Duration::from_secs(10), "not flushed");
            std::thread::yield_now();
        }
    }
    append(&journal, run(2), 0, started("b"));
    drop(journal);
    let journal = SqliteJournal::open(dir.path()).unwrap();
    assert_eq!(journal.run(run(2)).unwrap().unwrap().name, "b");
}

#[test]
fn what_is_queued_is_bounded() {
    let Sqlite(journal, _dir) = Sqlite::fresh();
    for n in 0..40_u8 {
        let bytes = Bytes::from(vec![n; 1 << 20]);
        journal.submit(Commit::one(Write::Blob(Digest::of(&bytes), bytes)));
    }
    assert!(journal.durable() >= Ticket(16), "who submits much writes it");
}

#[test]
fn what_is_no_journal_is_refused_and_left_alone() {
    let page = 4_096;
    let stranger = tempfile::tempdir().unwrap();
    let other = stranger.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let sound = std::fs::read(closed().path().join("journal.db")).unwrap();
    let mut torn = sound.clone();
    torn[100..page].fill(0xff);
    let table = [
        ("text", b"this is no database, but long enough to look like a file with something in it".repeat(40)),
        ("another database", std::fs::read(other).unwrap()),
        ("a torn first page", torn),
        ("a file that is cut off", sound[..sound.len() / 2].to_vec()),
    ];
    for (what, bytes) in table {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        std::fs::write(&path, &bytes).unwrap();
        let found =
            SqliteJournal::open(dir.path()).and_then(|journal| journal.entries(run(1), 0, usize::MAX));
        assert!(matches!(found, Err(JournalError::Corrupt(_))), "{what}: {found:?}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{what} was changed");
    }
}

#[test]
fn a_torn_page_never_gives_a_wrong_answer() {
    const PAGE: usize = 4_096;
    let sound = closed();
    let read = |dir: &Path| {
        let journal = SqliteJournal::open(dir)?;
        Ok::<_, JournalError>((journal.entries(run(1), 0, usize::MAX)?, journal.check()?))
    };
    let (entries, _) = read(sound.path()).unwrap();
    let bytes = std::fs::read(sound.path().join("journal.db")).unwrap();
    let mut found = 0;
    for page in (0..bytes.len()).step_by(PAGE) {
        // The second half is not of the last write.
        let mut torn = bytes.clone();
        torn[page + PAGE / 2..page + PAGE].fill(0);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("journal.db"), &torn).unwrap();
        match read(dir.path()) {
            Err(JournalError::Corrupt(_)) => found += 1,
            Ok((told, findings)) => {
                assert_eq!(told, entries);
                assert_eq!(findings.is_empty(), torn == bytes, "page {}", page / PAGE);
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(found > 0);
}

#[test]
fn a_newer_format_is_refused() {
    let dir = closed();
    let db = Connection::open(dir.path().join("journal.db")).unwrap();
    db.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(db);
    for found in [SqliteJournal::open(dir.path()), SqliteJournal::open_read_only(dir.path())] {
        assert!(matches!(
            found.unwrap_err(),
            JournalError::TooNew { found: 99, known: hob_journal::codec::FORMAT }
        ));
    }
}

#[test]
fn a_log_that_is_cut_off_leaves_a_prefix() {
    let Sqlite(journal, dir) = Sqlite::fresh();
    append(&journal, run(1), 0, started("a"));
    for n in 1..60 {
        journal.wait(append(&journal, run(1), n.into(), done(n))).unwrap();
    }
    // Copies of the files of a living journal are what a crash leaves.
    let log = std::fs::read(dir.path().join("journal.db-wal")).unwrap();
    let mut before = u64::MAX;
    for part in (0..=20).rev() {
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(dir.path().join("journal.db"), copy.path().join("journal.db")).unwrap();
        std::fs::write(copy.path().join("journal.db-wal"), &log[..log.len() * part / 20]).unwrap();
        let journal = SqliteJournal::open(copy.path()).unwrap();
        let left = journal.run(run(1)).unwrap().map_or(0, |row| row.entries);
        assert!(left <= before);
        before = left;
        assert_eq!(journal.entries(run(1), 0, usize::MAX).unwrap().len() as u64, left);
        assert_eq!(journal.check().unwrap(), []);
        // And life goes on from there.
        let next = if left == 0 { started("a") } else { done(99) };
        journal.wait(append(&journal, run(1), left, next)).unwrap();
    }
    assert_eq!(before, 0);
}

#[test]
fn below_the_reserve_nothing_new_may_act() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { reserve_bytes: u64::MAX, ..Options::default() };
    let journal = SqliteJournal::open_with(dir.path(), &options).unwrap();
    match journal.may_act() {
        Err(JournalError::Reserve { free_bytes, reserve_bytes, .. }) => assert!(free_bytes < reserve_bytes),
        other => panic!("{other:?}"),
    }
    journal.wait(append(&journal, run(1), 0, started("outcomes are still written"))).unwrap();
}

#[test]
fn a_full_disk_stops_it_and_loses_nothing() {
    let Some(disk) = Disk::in_memory(1_500) else { return };
    let dir = disk.path().join("state");
    let options = Options { reserve_bytes: 0, ..Options::default() };
    let journal = SqliteJournal::open_with(&dir, &options).unwrap();
    journal.wait(append(&journal, run(1), 0, started("a"))).unwrap();
    let mut acknowledged = 1;
    let full = loop {
        match journal.wait(append(&journal, run(1), acknowledged, done(u32::try_from(acknowledged).unwrap())))
        {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(full.to_string().contains("no space left"), "{full}");
    assert!(matches!(journal.may_act(), Err(JournalError::Stopped(_))));
    let late = append(&journal, run(1), acknowledged, done(1));
    assert!(matches!(journal.wait(late), Err(JournalError::Stopped(_))));
    assert_eq!(journal.entries(run(1), 0, usize::MAX).unwrap().len() as u64, acknowledged);
    drop(journal);

    disk.change("size=9m");
    let journal = SqliteJournal::open(&dir).unwrap();
    assert_eq!(journal.entries(run(1), 0, usize::MAX).unwrap().len() as u64, acknowledged);
    assert_eq!(journal.check().unwrap(), []);
    journal.wait(append(&journal, run(1), acknowledged, done(1))).unwrap();
}

#[test]
fn a_read_only_disk_is_refused_for_writing_and_can_be_read() {
    let Some(disk) = Disk::in_memory(9_000) else { return };
    let dir = disk.path().join("state");
    let journal = SqliteJournal::open(&dir).unwrap();
    append(&journal, run(1), 0, started("a"));
    drop(journal);
    disk.change("ro");
    let error = refused(&dir);
    assert!(matches!(error, JournalError::Unusable { .. }), "{error}");
    assert!(error.to_string().contains("make it writable"), "{error}");
    let error = refused(&disk.path().join("new"));
    assert!(error.to_string().contains("make it writable"), "{error}");
    let reader = SqliteJournal::open_read_only(&dir).unwrap();
    assert_eq!(reader.run(run(1)).unwrap().unwrap().name, "a");
    assert_eq!(reader.check().unwrap(), []);
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for path in [&file, &file.join("state")] {
        let error = refused(path);
        assert!(matches!(error, JournalError::Unusable { .. }), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}
