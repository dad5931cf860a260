//! How fast the journal takes entries, beside what the disk of the same directory can do at most.
//!
//! `cargo bench -p hob-journal --bench appends -- [DIRECTORY]` prints medians; the directory (a temporary one
//! by default) decides which disk is measured. Each case runs for a second on a journal of its own. An entry
//! is the outcome of an effect with a small result, as scripts make most.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)] // a program that measures

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hob_journal::{Commit, Journal, SqliteJournal, Write};
use hob_model::{EntryKind, Payload, Position, RunEnd, RunId, Value};

#[path = "../tests/common/samples.rs"]
mod samples;

use samples::{at, ended, entry, outcome, started};

/// How long each case runs.
const CASE: Duration = Duration::from_secs(1);

/// What the write-ahead log writes for one small commit: two pages and their headers.
const FLOOR_BYTES: usize = 2 * (4096 + 24);

/// Where the file that the floor overwrites ends, as the log does at a checkpoint.
const FLOOR_FILE_BYTES: u64 = 16 << 20;

const WRITERS: u16 = 16;

fn main() {
    let dir = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let root = match &dir {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    println!("directory {}, one second per case", root.path().display());
    let floor = measure_floor(root.path());
    floor.print("fdatasync floor: overwrite 8 KiB", 1, &floor);
    single(root.path()).print("single durable appends", 1, &floor);
    groups(root.path(), 10).print("groups of 10, each durable", 10, &floor);
    runs(root.path()).print("whole runs: 16 of 5 entries, durable", 80, &floor);
    parallel(root.path()).print("16 writers, single durable appends", 1, &floor);
    unwaited(root.path()).print("10,000 appends, then one wait", 10_000, &floor);
    // Where this differs from the first line, something else used the disk or the processor.
    measure_floor(root.path()).print("fdatasync floor again", 1, &floor);
}

/// How long each round of a case took.
struct Measured {
    rounds: Vec<Duration>,
    whole: Duration,
}

impl Measured {
    /// Repeats `round` for one second, after a few that do not count.
    fn of(mut round: impl FnMut()) -> Self {
        const WARM_UP: usize = 20;
        (0..WARM_UP).for_each(|_| round());
        let begin = Instant::now();
        let mut rounds = Vec::new();
        while begin.elapsed() < CASE {
            let from = Instant::now();
            round();
            rounds.push(from.elapsed());
        }
        Self { rounds, whole: begin.elapsed() }
    }

    fn quantile(&self, q: f64) -> Duration {
        let mut sorted = self.rounds.clone();
        sorted.sort_unstable();
        sorted[((sorted.len() - 1) as f64 * q) as usize]
    }

    fn print(&self, name: &str, entries: usize, floor: &Self) {
        let micros = |q| self.quantile(q).as_secs_f64() * 1e6;
        println!(
            "{name:<38} {:>9.0} entries/s   p50 {:>7.0} us   p99 {:>7.0} us   p50 / floor {:.2}",
            (self.rounds.len() * entries) as f64 / self.whole.as_secs_f64(),
            micros(0.5),
            micros(0.99),
            self.quantile(0.5).as_secs_f64() / floor.quantile(0.5).as_secs_f64(),
        );
    }
}

fn measure_floor(root: &Path) -> Measured {
    let path = root.join("floor");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(path).unwrap();
    file.write_all_at(&vec![1; FLOOR_FILE_BYTES as usize], 0).unwrap();
    file.sync_all().unwrap();
    let block = vec![2; FLOOR_BYTES];
    let mut offset = 0;
    Measured::of(|| {
        file.write_all_at(&block, offset).unwrap();
        file.sync_data().unwrap();
        offset = (offset + FLOOR_BYTES as u64) % (FLOOR_FILE_BYTES - FLOOR_BYTES as u64);
    })
}

fn open(root: &Path, name: &str) -> SqliteJournal {
    SqliteJournal::open(&root.join(name)).unwrap()
}

/// The id of the n-th run, ordered as ids of real runs are.
fn id(n: u64) -> RunId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    RunId::new(at(0), random)
}

fn effect(seq: u64) -> EntryKind {
    let position = Position::root().effect(u32::try_from(seq).unwrap());
    let result = Payload::of(&Value::map([("status", Value::Int(200)), ("body", Value::from("ok"))])).0;
    outcome(position, Ok(result))
}

fn begin(journal: &dyn Journal, run: RunId) {
    journal.submit(Commit::one(Write::Entry(run, entry(0, started("bench")))));
}

fn single(root: &Path) -> Measured {
    groups(root, 1)
}

fn groups(root: &Path, size: u64) -> Measured {
    let journal = open(root, &format!("groups-{size}"));
    begin(&journal, id(1));
    let mut seq = 1;
    Measured::of(|| {
        let commit = (seq..seq + size).map(|seq| Write::Entry(id(1), entry(seq, effect(seq)))).collect();
        seq += size;
        journal.wait(journal.submit(commit)).unwrap();
    })
}

fn runs(root: &Path) -> Measured {
    let journal = open(root, "runs");
    let mut n = 0;
    Measured::of(|| {
        let mut commit = Commit::default();
        for _ in 0..16 {
            n += 1;
            let end = ended(RunEnd::Succeeded(Value::Unit));
            let kinds = [started("bench"), effect(1), effect(2), effect(3), end];
            commit.writes.extend((0..).zip(kinds).map(|(seq, kind)| Write::Entry(id(n), entry(seq, kind))));
        }
        journal.wait(journal.submit(commit)).unwrap();
    })
}

fn parallel(root: &Path) -> Measured {
    let journal = open(root, "parallel");
    let mut all = Measured { rounds: Vec::new(), whole: Duration::ZERO };
    std::thread::scope(|scope| {
        let journal = &journal;
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| {
                scope.spawn(move || {
                    let run = id(n.into());
                    begin(journal, run);
                    let mut seq = 0;
                    Measured::of(|| {
                        seq += 1;
                        let commit = Commit::one(Write::Entry(run, entry(seq, effect(seq))));
                        journal.wait(journal.submit(commit)).unwrap();
                    })
                })
            })
            .collect();
        for writer in writers {
            let one = writer.join().unwrap();
            all.rounds.extend(one.rounds);
            all.whole = all.whole.max(one.whole);
        }
    });
    all
}

fn unwaited(root: &Path) -> Measured {
    let journal = open(root, "unwaited");
    begin(&journal, id(1));
    let mut seq = 0;
    Measured::of(|| {
        let last = (0..10_000).map(|_| {
            seq += 1;
            journal.submit(Commit::one(Write::Entry(id(1), entry(seq, effect(seq)))))
        });
        let last = last.last().unwrap();
        journal.wait(last).unwrap();
    })
}
