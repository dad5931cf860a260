//! Moves large, cold and small files beside `rsync`: `cargo bench -p hob-std-storage --bench mover -- --dir /mnt/disk`.
//! `--only large`, `--only cold` or `--only small` takes one of them, `--rounds 5` measures more often.
//!
//! The mover syncs, reads again, verifies and removes; `rsync -a` only copies into memory. So all are printed: what that
//! costs beside plain `rsync`, and how it stands beside an `rsync` that syncs, or that reads all again for checksums; and
//! beside the disk itself, which takes its time to write the same bytes and to give them back, whoever asks.
//! `--alone` moves without any of them, for a profiler.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)] // a benchmark: it measures real files

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hob_model::OpError;
use hob_std_storage::live::Live;
use hob_std_storage::mover::batch::BATCH_BYTES;
use hob_std_storage::mover::select::Rules;
use hob_std_storage::mover::walk::walk;
use hob_std_storage::mover::{Gauge, Mover};
use hob_std_storage::tier::{Tiers, Time};

/// Each is measured so often unless it is told otherwise, in turns; the best counts.
const ROUNDS: usize = 3;

struct Free;

impl Gauge for Free {
    fn copied(&mut self, _: u64) -> Result<(), OpError> {
        Ok(())
    }
    fn check(&mut self) -> Result<(), OpError> {
        Ok(())
    }
    fn pause(&mut self) -> Result<(), OpError> {
        std::thread::sleep(Duration::from_millis(2));
        Ok(())
    }
    fn wait(&mut self) -> Result<(), OpError> {
        Ok(())
    }
}

/// Files as they are moved.
struct Load {
    name: &'static str,
    files: usize,
    bytes: usize,
    /// Whether they are on the disk alone, as what rested for days is, and more than the kernel lets wait in memory.
    is_cold: bool,
}

const LOADS: [Load; 3] = [
    Load { name: "large: 4 files of 256 MiB", files: 4, bytes: 256 << 20, is_cold: false },
    Load { name: "cold: 8 files of 1 GiB that are not in memory", files: 8, bytes: 1 << 30, is_cold: true },
    Load { name: "small: 5,000 files of 8 KiB", files: 5000, bytes: 8 << 10, is_cold: false },
];

fn plant(root: &Path, load: &Load) {
    let mut rng = fastrand::Rng::with_seed(7);
    let chunk: Vec<u8> = (0..1 << 20).map(|_| rng.u8(..)).collect();
    for number in 0..load.files {
        let dir = root.join(format!("d{}", number % 50));
        fs::create_dir_all(&dir).unwrap();
        let mut file = File::create(dir.join(format!("f{number}"))).unwrap();
        let mut left = load.bytes;
        while left > 0 {
            let count = left.min(chunk.len());
            file.write_all(&chunk[..count]).unwrap();
            left -= count;
        }
    }
}

fn migrate(hot: &Path, cold: &Path) {
    let live = Live::new();
    let (source, target) = (live.open(hot).unwrap(), live.open(cold).unwrap());
    let mut mover = Mover {
        source: &*source,
        target: &*target,
        mark: "0123456789ab".to_owned(),
        now: "2026-01-02T03:04:05Z".to_owned(),
        all_attributes: true,
        reserve_bytes: 0,
        prune: false,
        below: PathBuf::new(),
        batch_bytes: BATCH_BYTES,
        gauge: &mut Free,
    };
    let _session = mover.begin().unwrap();
    mover.recover().unwrap();
    let (found, _) = walk(&*source, Path::new(""), mover.gauge).unwrap();
    let now = Time { seconds: i64::MAX, nanos: 0 };
    let selection = Rules::default().select(&found, &HashSet::new(), now);
    let moved = mover.run(&selection.groups, &mut || false).unwrap();
    assert!(moved.skipped.is_empty(), "{:?}", moved.skipped);
}

fn rsync(options: &[&str], hot: &Path, cold: &Path) {
    let [hot, cold] = [hot, cold].map(|path| format!("{}/", path.display()));
    let done = Command::new("rsync").args(options).args([hot, cold]).status().unwrap();
    assert!(done.success());
}

/// How files are moved, or what is done beside it.
#[derive(Clone, Copy)]
enum Way {
    Hob,
    Rsync(&'static [&'static str]),
    /// Twice: with the second options it reads all again.
    Twice(&'static [&'static str], &'static [&'static str]),
    /// Nothing but bytes from memory to the disk, until they are there.
    Written,
    /// The same, and then read again from the disk.
    ReadAgain,
}

const WAYS: [(&str, Way); 7] = [
    ("hob, verified and removed", Way::Hob),
    ("rsync -a", Way::Rsync(&["-a"])),
    ("rsync -a --remove-source-files", Way::Rsync(&["-a", "--remove-source-files"])),
    ("rsync -a --fsync", Way::Rsync(&["-a", "--fsync"])),
    ("rsync -a, then rsync -a --checksum", Way::Twice(&["-a"], &["-a", "--checksum"])),
    ("the disk: written and synced", Way::Written),
    ("the disk: and read again", Way::ReadAgain),
];

impl Way {
    fn go(self, load: &Load, hot: &Path, cold: &Path) {
        match self {
            Self::Hob => migrate(hot, cold),
            Self::Rsync(options) => rsync(options, hot, cold),
            Self::Twice(first, second) => [first, second].iter().for_each(|it| rsync(it, hot, cold)),
            Self::Written => written(load, cold),
            Self::ReadAgain => {
                written(load, cold);
                read_again(cold);
            }
        }
    }
}

/// Puts the files of a load on the disk in the cheapest way that there is.
fn written(load: &Load, cold: &Path) {
    plant(cold, load);
    let root = File::open(cold).unwrap();
    rustix::fs::syncfs(&root).unwrap();
}

/// Has the kernel forget what it knows of synced files, which are given back open.
fn forgotten(root: &Path) -> Vec<File> {
    let dirs = fs::read_dir(root).unwrap().map(|dir| fs::read_dir(dir.unwrap().path()).unwrap());
    let files: Vec<File> = dirs.flatten().map(|file| File::open(file.unwrap().path()).unwrap()).collect();
    for file in &files {
        rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
    files
}

fn read_again(cold: &Path) {
    let mut buffer = vec![0; 1 << 20];
    for file in &mut forgotten(cold) {
        while file.read(&mut buffer).unwrap() > 0 {}
    }
}

/// How long it takes with a load in memory, as it was just written, unless it is cold.
fn measured(way: Way, load: &Load, dir: &Path) -> Duration {
    let place = tempfile::Builder::new().prefix("hob-bench.").tempdir_in(dir).unwrap();
    let [hot, cold] = ["hot", "cold"].map(|name| place.path().join(name));
    fs::create_dir(&cold).unwrap();
    plant(&hot, load);
    rustix::fs::sync();
    if load.is_cold {
        drop(forgotten(&hot));
    }
    let begun = Instant::now();
    way.go(load, &hot, &cold);
    begun.elapsed()
}

fn main() {
    let given = |flag: &str| std::env::args().skip_while(|arg| arg != flag).nth(1);
    let dir = given("--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    let rounds = given("--rounds").map_or(ROUNDS, |it| it.parse().unwrap());
    let only = given("--only").unwrap_or_default();
    let ways = if std::env::args().any(|arg| arg == "--alone") { &WAYS[..1] } else { &WAYS };
    for load in LOADS.into_iter().filter(|it| it.name.starts_with(&only)) {
        let mut best = vec![Duration::MAX; ways.len()];
        for _ in 0..rounds {
            for ((_, way), best) in ways.iter().zip(&mut best) {
                *best = measured(*way, &load, &dir).min(*best);
            }
        }
        let own = best[0];
        #[allow(clippy::cast_precision_loss)] // megabytes a second need no more
        let rate = (load.files * load.bytes) as f64 / 1e6 / own.as_secs_f64();
        println!("{}", load.name);
        println!("  {:<36}{:>8} ms  {rate:.0} MB/s", ways[0].0, own.as_millis());
        for ((name, _), time) in ways.iter().zip(&best).skip(1) {
            let ratio = time.as_secs_f64() / own.as_secs_f64();
            println!("  {name:<36}{:>8} ms  hob is {ratio:.2} times as fast", time.as_millis());
        }
    }
}
