//! A process that appends until it is killed, and what must be found after it.
//!
//! The test binary starts itself again with [`DIRECTORY`] set; the test that is meant to be the child calls
//! [`append_until_killed`] then. Each commit `k` writes the entry `k` of one run and the fact `commit` = `k`,
//! so that a commit that was torn apart is seen. What the child was told to be durable it reports on its
//! output.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // test helpers, shared by several tests
#![allow(clippy::disallowed_methods, clippy::print_stdout)] // it starts a process, and reports on its output

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use bytes::Bytes;
use hob_journal::sqlite::{Options, Synchronous};
use hob_journal::{Commit, Journal, SqliteJournal, Write};
use hob_model::{Digest, Payload, Position, RunId, Value};

use super::samples::{entry, outcome, run, started};

/// Names the state directory to a child.
const DIRECTORY: &str = "HOB_TEST_DIRECTORY";
/// Names the word for `PRAGMA synchronous` to a child.
const SYNCHRONOUS: &str = "HOB_TEST_SYNCHRONOUS";

/// Before a number on the child's output.
const DURABLE: &str = "durable ";

pub fn the_run() -> RunId {
    run(7)
}

/// Every so many commits one brings a blob of a few pages.
const BLOB_EVERY: u64 = 10;

fn commit(k: u64) -> Commit {
    let fact = Write::Fact { key: "commit".into(), value: Some(Value::from(k)) };
    if k == 0 {
        return Commit::from_iter([Write::Entry(the_run(), entry(0, started("cut"))), fact]);
    }
    let value = if k.is_multiple_of(BLOB_EVERY) { "x".repeat(9_000) + &k.to_string() } else { k.to_string() };
    let (payload, blob) = Payload::of(&Value::from(value));
    let result = outcome(Position::root().effect(u32::try_from(k).unwrap()), Ok(payload));
    let blob = blob.map(|bytes: Bytes| Write::Blob(Digest::of(&bytes), bytes));
    blob.into_iter().chain([Write::Entry(the_run(), entry(k, result)), fact]).collect()
}

/// The child: appends to the journal named by the environment, for ever. Returns at once in a process that is
/// no child, and when the journal stops.
pub fn append_until_killed() {
    let Ok(dir) = std::env::var(DIRECTORY) else { return };
    let synchronous = match std::env::var(SYNCHRONOUS).unwrap().as_str() {
        "Off" => Synchronous::Off,
        "Normal" => Synchronous::Normal,
        _ => Synchronous::Full,
    };
    let options = Options { synchronous, ..Options::default() };
    let Ok(journal) = SqliteJournal::open_with(Path::new(&dir), &options) else { return };
    let from = journal.run(the_run()).unwrap().map_or(0, |row| row.entries);
    for k in from.. {
        let ticket = journal.submit(commit(k));
        let durable = if k % 7 == 3 {
            // A read makes it visible, and that must not count as durable; nor may a flush that brings
            // nothing new.
            let _ = journal.run(the_run());
            journal.flush()
        } else if k % 3 != 1 {
            journal.wait(ticket)
        } else {
            continue;
        };
        if durable.is_err() {
            return;
        }
        println!("{DURABLE}{k}");
        if std::io::stdout().flush().is_err() {
            return;
        }
    }
}

/// A running child.
pub struct Appender {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Appender {
    /// Starts this binary again to run only the test `name`, which calls [`append_until_killed`].
    pub fn start(name: &str, dir: &Path, synchronous: Synchronous) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, dir)
            .env(SYNCHRONOUS, format!("{synchronous:?}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next number that the child was told to be durable; `None` when it has ended.
    pub fn next(&mut self) -> Option<u64> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line).ok()? == 0 {
                return None;
            }
            // The test harness may have begun the line.
            if let Some((_, number)) = line.split_once(DURABLE) {
                return number.trim().parse().ok();
            }
        }
    }

    /// Kills the child; returns the last number that it reported, `last` if none came any more.
    pub fn kill(mut self, mut last: u64) -> u64 {
        let _ = self.child.kill();
        while let Some(number) = self.next() {
            last = number;
        }
        last
    }
}

/// Dropping it kills it.
impl Drop for Appender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many commits are there; panics unless they are the first ones, whole and sound.
pub fn survivors(journal: &SqliteJournal) -> u64 {
    let entries = journal.entries(the_run(), 0, usize::MAX).unwrap();
    for (k, found) in (0..).zip(&entries) {
        let expected = commit(k).writes.into_iter().find_map(|write| match write {
            Write::Entry(_, entry) => Some(entry),
            _ => None,
        });
        assert_eq!(Some(found), expected.as_ref(), "entry {k}");
    }
    let count = entries.len() as u64;
    assert_eq!(journal.run(the_run()).unwrap().map_or(0, |row| row.entries), count);
    let fact = journal.fact("commit").unwrap();
    assert_eq!(fact, count.checked_sub(1).map(Value::from), "a commit is whole");
    assert_eq!(journal.check().unwrap(), []);
    count
}
