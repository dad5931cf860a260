//! Check, rebuild, prune, export, backup and restore of a journal on disk.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // tests look at files

mod common;

use std::path::Path;

use bytes::Bytes;
use common::samples::{at, ended, entry, one_of_each, outcome, run, source, started, waits};
use common::{Sqlite, Subject, append, append_all};
use hob_journal::sqlite::{PrunePolicy, Pruned, restore};
use hob_journal::{
    BundleRecord, Commit, Journal, JournalError, RunFilter, Slot, SqliteJournal, Write, release,
};
use hob_model::{
    Digest, EffectClass, EntryKind, Payload, Position, RunEnd, RunId, RunStarted, RunStatus, Value, Wait,
};
use rusqlite::Connection;

fn effect(n: u32) -> Position {
    Position::root().effect(n)
}

/// A run that used a blob of its own, and how it ended if it did.
fn blob_run(journal: &dyn Journal, n: u8, end: Option<RunEnd>) -> Digest {
    let bytes = Bytes::from(vec![n; 5_000]);
    let digest = Digest::of(&bytes);
    let result = outcome(effect(1), Ok(Payload::Blob(digest, 5_000)));
    let mut commit = Commit::one(Write::Blob(digest, bytes));
    let kinds = [started("a"), result].into_iter().chain(end.map(ended));
    commit.writes.extend((0..).zip(kinds).map(|(seq, kind)| Write::Entry(run(n), entry(seq, kind))));
    journal.submit(commit);
    digest
}

fn child_of(parent: RunId) -> EntryKind {
    let EntryKind::Started(it) = started("child") else { unreachable!() };
    EntryKind::Started(RunStarted { parent: Some((parent, effect(1))), ..it })
}

fn listed(journal: &dyn Journal) -> Vec<RunId> {
    journal.runs(&RunFilter::default()).unwrap().into_iter().map(|row| row.run).collect()
}

fn runs<const N: usize>(numbers: [u8; N]) -> Vec<RunId> {
    numbers.map(run).to_vec()
}

fn succeeded() -> Option<RunEnd> {
    Some(RunEnd::Succeeded(Value::Unit))
}

/// Changes the database behind the journal's back.
fn tamper(dir: &Path, sql: &str) {
    Connection::open(dir.join("journal.db")).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_sound_journal_has_no_findings_and_a_rebuild_changes_nothing() {
    let Sqlite(journal, dir) = Sqlite::fresh();
    blob_run(&journal, 1, succeeded());
    blob_run(&journal, 2, None);
    append_all(&journal, run(3), vec![started("b"), waits(effect(1), Wait::Until(at(9)))]);
    assert_eq!(journal.check().unwrap(), []);
    let before = common::everything(&journal, &runs([1, 2, 3]), &[], &[effect(1)]);
    journal.rebuild().unwrap();
    assert_eq!(common::everything(&journal, &runs([1, 2, 3]), &[], &[effect(1)]), before);
    journal.flush().unwrap();

    tamper(dir.path(), "UPDATE runs SET status = 'paused'; DELETE FROM waits; DELETE FROM uses;");
    assert_ne!(common::everything(&journal, &runs([1, 2, 3]), &[], &[effect(1)]), before);
    let places: Vec<_> = journal.check().unwrap().into_iter().map(|it| it.place).collect();
    assert!(places.contains(&format!("the row of run {}", run(1))), "{places:?}");
    assert!(places.contains(&format!("the waits of run {}", run(3))), "{places:?}");
    assert!(places.contains(&format!("the uses of run {}", run(2))), "{places:?}");
    journal.rebuild().unwrap();
    assert_eq!(common::everything(&journal, &runs([1, 2, 3]), &[], &[effect(1)]), before);
    assert_eq!(journal.check().unwrap(), []);
    // The writer knows the new tables too.
    append(&journal, run(3), 2, outcome(effect(1), Ok(common::samples::inline(()))));
    assert_eq!(journal.waits(None, None, 9).unwrap(), []);
}

#[test]
fn each_kind_of_damage_is_found() {
    let digest = Digest::of(&vec![2; 5_000]);
    let hex = digest.to_string();
    let table = [
        ("DELETE FROM entries WHERE seq = 1", "entry 2 of run"),
        ("UPDATE entries SET body = zeroblob(40) WHERE seq = 1", "entry 1 of run"),
        ("UPDATE entries SET body = substr(body, 1, length(body) - 1) WHERE seq = 0", "entry 0 of run"),
        ("UPDATE blobs SET bytes = zeroblob(9)", &format!("blob {hex}")),
        ("DELETE FROM blobs", "run 0"),
        ("DELETE FROM runs", "the row of run"),
        ("DELETE FROM entries", "runs 0"),
        ("UPDATE runs SET owner = 'nobody'", "the row of run"),
        ("INSERT INTO facts VALUES ('x', x'ff')", "fact Text(\"x\")"),
        ("INSERT INTO bundles VALUES (zeroblob(32), x'00')", "bundle 0000"),
        ("INSERT INTO bundle_files VALUES (zeroblob(32), x'abcd')", "bundle abcd"),
    ];
    for (sql, place) in table {
        let Sqlite(journal, dir) = Sqlite::fresh();
        blob_run(&journal, 2, succeeded());
        journal.flush().unwrap();
        tamper(dir.path(), sql);
        let findings = journal.check().unwrap();
        assert!(findings.iter().any(|it| it.to_string().starts_with(place)), "{sql}: {findings:?}");
    }
}

#[test]
fn damage_is_told_from_the_first_read() {
    let Sqlite(journal, dir) = Sqlite::fresh();
    let digest = blob_run(&journal, 2, None);
    journal.flush().unwrap();
    tamper(
        dir.path(),
        "UPDATE entries SET body = zeroblob(40) WHERE seq = 1; UPDATE blobs SET bytes = x'00'",
    );
    assert!(matches!(journal.entries(run(2), 0, 9), Err(JournalError::Corrupt(_))));
    assert!(matches!(journal.blob(digest), Err(JournalError::Corrupt(_))));
    assert!(matches!(journal.rebuild(), Err(JournalError::Corrupt(_))));
    assert_eq!(journal.run(run(2)).unwrap().unwrap().entries, 2, "a rebuild that fails changes nothing");
}

#[test]
fn prune_goes_by_age_count_and_size() {
    let keep = PrunePolicy::default;
    let table = [
        (keep(), vec![5, 4, 3, 2, 1]),
        (PrunePolicy { ended_before: Some(at(3)), ..keep() }, vec![5, 4, 3, 2]),
        (PrunePolicy { runs_max: Some(2), ..keep() }, vec![5, 4, 2]),
        (PrunePolicy { runs_max: Some(0), ..keep() }, vec![2]),
        (PrunePolicy { bytes_max: Some(11_500), ..keep() }, vec![5, 4, 2]),
    ];
    for (policy, left) in table {
        let Sqlite(journal, _dir) = Sqlite::fresh();
        // Run 2 lives; the others ended at the time of their number.
        let mut digests = Vec::new();
        for n in 1..=5 {
            digests.push(blob_run(&journal, n, None));
            if n != 2 {
                let kind = ended(RunEnd::Cancelled);
                let end = hob_model::Entry { seq: 2, at: at(n.into()), kind };
                journal.submit(Commit::one(Write::Entry(run(n), end)));
            }
        }
        let pruned = journal.prune(&policy).unwrap();
        assert_eq!(listed(&journal), left.iter().copied().map(run).collect::<Vec<_>>(), "{policy:?}");
        assert_eq!((pruned.runs, pruned.blobs), (5 - left.len() as u64, 5 - left.len() as u64));
        for (n, digest) in (1..).zip(digests) {
            assert_eq!(journal.blob(digest).unwrap().is_some(), left.contains(&n), "blob of {n}");
            assert_eq!(journal.entries(run(n), 0, 9).unwrap().is_empty(), !left.contains(&n));
        }
        assert_eq!(journal.check().unwrap(), []);
        if left.len() == 1 {
            assert!(pruned.bytes > 0, "the file became smaller");
        }
    }
}

#[test]
fn prune_keeps_what_others_need() {
    let Sqlite(journal, _dir) = Sqlite::fresh();
    let all = PrunePolicy { runs_max: Some(0), events_max: Some(0), ..PrunePolicy::default() };
    // 1 ended and has a live child; 2 ended and is waited for; 3 ended and nobody asks for it.
    for n in [1, 2, 3] {
        blob_run(&journal, n, succeeded());
    }
    append_all(&journal, run(4), vec![child_of(run(1)), waits(effect(1), Wait::Run(run(2)))]);
    let pruned = journal.prune(&all).unwrap();
    assert_eq!((pruned.runs, listed(&journal)), (1, runs([4, 2, 1])));
    append(&journal, run(4), 2, ended(RunEnd::Cancelled));
    assert_eq!(journal.prune(&all).unwrap().runs, 3);
    assert_eq!(listed(&journal), []);
    assert_eq!(journal.prune(&all).unwrap(), Pruned::default());
}

#[test]
fn prune_keeps_the_last_slot_and_no_slot_is_claimed_twice() {
    let Sqlite(journal, _dir) = Sqlite::fresh();
    let slot = |n: u8| Slot { schedule: "nightly".into(), nominal: at(n.into()), run: run(n) };
    for n in [1, 2, 3] {
        assert!(journal.claim(slot(n), Commit::default()).unwrap());
        blob_run(&journal, n, succeeded());
    }
    journal.prune(&PrunePolicy { runs_max: Some(0), ..PrunePolicy::default() }).unwrap();
    assert_eq!(journal.slots("nightly", 9).unwrap(), [slot(3)]);
    for n in [1, 2, 3] {
        assert!(!journal.claim(slot(n), Commit::default()).unwrap(), "{n}");
    }
    assert!(journal.claim(slot(4), Commit::default()).unwrap());
}

#[test]
fn prune_keeps_events_that_a_wait_may_look_at() {
    let Sqlite(journal, _dir) = Sqlite::fresh();
    for n in 1..=5_i64 {
        let event = Write::Event { name: "e".into(), payload: n.into(), origin: "cli".into(), at: at(n) };
        journal.submit(Commit::one(event));
    }
    let wait = Wait::Event { pattern: "e".into(), filter: Value::Unit, after: 2, deadline: None };
    append_all(&journal, run(1), vec![started("a"), waits(effect(1), wait)]);
    let ids = || journal.events(0, 9).unwrap().iter().map(|it| it.id).collect::<Vec<_>>();
    let before = PrunePolicy { events_before: Some(at(2)), ..PrunePolicy::default() };
    assert_eq!((journal.prune(&before).unwrap().events, ids()), (1, vec![2, 3, 4, 5]));
    let none = PrunePolicy { events_max: Some(0), ..PrunePolicy::default() };
    assert_eq!((journal.prune(&none).unwrap().events, ids()), (1, vec![3, 4, 5]));
    append(&journal, run(1), 2, EntryKind::Withdrawn { position: effect(1) });
    assert_eq!((journal.prune(&none).unwrap().events, ids()), (2, vec![5]));
    assert_eq!(journal.last_event().unwrap(), 5);
}

#[test]
fn events_go_on_being_numbered_after_a_refused_claim_a_prune_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let event = || Write::Event { name: "e".into(), payload: Value::Unit, origin: "cli".into(), at: at(1) };
    let slot = || Slot { schedule: "s".into(), nominal: at(1), run: run(1) };
    let ids = |journal: &SqliteJournal| {
        let ids: Vec<u64> = journal.events(0, 9).unwrap().iter().map(|it| it.id).collect();
        assert_eq!(journal.last_event().unwrap(), *ids.last().unwrap());
        ids
    };
    {
        let journal = SqliteJournal::open(dir.path()).unwrap();
        assert!(journal.claim(slot(), Commit::one(event())).unwrap());
        assert!(!journal.claim(slot(), Commit::one(event())).unwrap());
        journal.submit(Commit::from_iter([event(), event()]));
        assert_eq!(ids(&journal), [1, 3, 4], "what the refused claim held is not there, nor its number");
        let none = PrunePolicy { events_max: Some(0), ..PrunePolicy::default() };
        journal.prune(&none).unwrap();
    }
    let journal = SqliteJournal::open(dir.path()).unwrap();
    journal.submit(Commit::one(event()));
    assert_eq!(ids(&journal), [4, 5]);
}

#[test]
fn prune_keeps_what_facts_and_bundles_name() {
    let Sqlite(journal, _dir) = Sqlite::fresh();
    let bundle = |text: &'static str| {
        let bytes = Bytes::from_static(text.as_bytes());
        let digest = Digest::of(&bytes);
        let files = vec![("main.rhai".into(), digest)];
        let bundle = BundleRecord::new(files, "main.rhai".into(), "/srv".into(), "hub".into());
        journal.submit(Commit::from_iter([Write::Blob(digest, bytes), Write::Bundle(bundle.clone())]));
        bundle
    };
    let (adopted, used, dropped) = (bundle("1"), bundle("2"), bundle("3"));
    let named = Value::map([("bundle", Value::from(adopted.digest.to_string()))]);
    journal.submit(Commit::one(Write::Fact { key: "declaration".into(), value: Some(named) }));
    let EntryKind::Started(it) = started("a") else { unreachable!() };
    append(&journal, run(1), 0, EntryKind::Started(RunStarted { bundle: Some(used.digest), ..it }));
    let pruned = journal.prune(&PrunePolicy::default()).unwrap();
    assert_eq!((pruned.bundles, pruned.blobs), (1, 1));
    for (bundle, there) in [(&adopted, true), (&used, true), (&dropped, false)] {
        assert_eq!(journal.bundle(bundle.digest).unwrap().is_some(), there);
        assert_eq!(journal.blob(bundle.files[0].1).unwrap().is_some(), there);
    }
    assert_eq!(journal.check().unwrap(), []);
}

#[test]
fn an_export_has_a_line_for_each_entry() {
    let Sqlite(journal, _dir) = Sqlite::fresh();
    blob_run(&journal, 1, succeeded());
    let kinds = one_of_each();
    append_all(&journal, run(2), kinds.clone());
    let export = |of| {
        let mut out = Vec::new();
        let lines = journal.export(of, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count() as u64, lines);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<serde_json::Value>>()
    };
    assert_eq!(export(None).len(), 3 + kinds.len());
    let lines = export(Some(run(2)));
    assert_eq!(lines.len(), kinds.len());
    let names: std::collections::BTreeSet<_> = lines.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(names.len(), kinds.len(), "each kind has a name of its own");
    assert_eq!(lines[1]["operation"], "process::run");
    assert_eq!(lines[1]["args"], serde_json::json!(["ls"]));
    assert_eq!(lines[1]["source"], source().to_string());
    assert!(lines[2]["value"]["missing_blob"].is_string());
    assert_eq!(lines[3]["wait"]["name"], "go");

    let mut full = FullDisk;
    assert!(journal.export(None, &mut full).unwrap_err().to_string().contains("cannot be written"));
}

struct FullDisk;

impl std::io::Write for FullDisk {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn values_of_blobs_are_exported() {
    let Sqlite(journal, _dir) = Sqlite::fresh();
    let (payload, blob) = Payload::of(&Value::from("x".repeat(4_000)));
    let Payload::Blob(digest, _) = payload else { unreachable!() };
    let intent = EntryKind::Intent {
        position: effect(1),
        operation: "files::write".into(),
        class: EffectClass::Keyed,
        args: payload,
        key: "k".into(),
        noted: common::samples::inline(f64::NAN),
        source: source(),
    };
    journal.submit(Commit::from_iter([
        Write::Blob(digest, blob.unwrap()),
        Write::Entry(run(1), entry(0, started("a"))),
        Write::Entry(run(1), entry(1, intent)),
    ]));
    let mut out = Vec::new();
    journal.export(None, &mut out).unwrap();
    let line = String::from_utf8(out).unwrap().lines().nth(1).map(str::to_owned).unwrap();
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["args"].as_str().map(str::len), Some(4_000));
    assert!(json["noted"]["not_json"].is_string());
}

#[test]
fn a_backup_is_restored_with_its_live_runs_held() {
    let Sqlite(journal, dir) = Sqlite::fresh();
    blob_run(&journal, 1, succeeded());
    blob_run(&journal, 2, None);
    append_all(&journal, run(3), vec![started("b"), waits(effect(1), Wait::Until(at(9)))]);
    append(&journal, run(3), 2, EntryKind::Suspended { status: RunStatus::Waiting });
    let told = common::everything(&journal, &runs([1, 2, 3]), &[], &[effect(1)]);
    let backup = dir.path().join("backups/monday");
    journal.backup(&backup).unwrap();
    // What happens after the backup is not in it.
    append(&journal, run(2), 2, ended(RunEnd::Cancelled));
    let again = journal.backup(&backup).unwrap_err();
    assert!(again.to_string().contains("holds a journal already"), "{again}");
    let names: Vec<_> = std::fs::read_dir(&backup).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["journal.db"], "one file");

    let state = dir.path().join("restored");
    assert_eq!(restore(&backup, &state).unwrap(), 2);
    let restored = SqliteJournal::open(&state).unwrap();
    assert_eq!(restored.held().unwrap(), runs([2, 3]));
    assert_eq!(restored.check().unwrap(), []);
    for n in [2, 3] {
        restored.submit(Commit::one(release(run(n))));
    }
    assert_eq!(common::everything(&restored, &runs([1, 2, 3]), &[], &[effect(1)]), told);

    let refused = restore(&backup, &state).unwrap_err();
    assert!(matches!(refused, JournalError::Locked { .. }), "{refused}");
    drop(restored);
    let refused = restore(&backup, &state).unwrap_err();
    assert!(refused.to_string().contains("holds a journal already"), "{refused}");
}

#[test]
fn a_damaged_backup_is_refused_and_leaves_nothing() {
    let Sqlite(journal, dir) = Sqlite::fresh();
    for n in 1..=20 {
        blob_run(&journal, n, None);
    }
    let backup = dir.path().join("backup");
    journal.backup(&backup).unwrap();
    let file = backup.join("journal.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xff);
    std::fs::write(&file, bytes).unwrap();
    let state = dir.path().join("restored");
    let refused = restore(&backup, &state).unwrap_err();
    assert!(matches!(refused, JournalError::Corrupt(_)), "{refused}");
    assert!(!state.join("journal.db").exists());
    assert!(restore(&dir.path().join("nothing"), &state).is_err());
}

#[test]
fn maintenance_needs_the_state_directory() {
    let Sqlite(journal, dir) = Sqlite::fresh();
    blob_run(&journal, 1, succeeded());
    let reader = SqliteJournal::open_read_only(dir.path());
    journal.flush().unwrap();
    let reader = reader.unwrap();
    assert!(matches!(reader.rebuild(), Err(JournalError::ReadOnly(_))));
    assert!(matches!(reader.prune(&PrunePolicy::default()), Err(JournalError::ReadOnly(_))));
    assert_eq!(reader.check().unwrap(), []);
    reader.export(None, &mut Vec::new()).unwrap();
    reader.backup(&dir.path().join("backup")).unwrap();
}
