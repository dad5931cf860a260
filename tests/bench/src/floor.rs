//! The floor: what the disk takes for one durable write, in the directory of the journals.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::sample::Sample;

/// What SQLite's log writes for one small commit: two pages and their headers.
const WRITE_BYTES: usize = 2 * (4096 + 24);
/// Where the file that is overwritten ends, as the log does at a checkpoint.
const FILE_BYTES: u64 = 16 << 20;
const LASTS: Duration = Duration::from_millis(700);

/// Overwrites 8 KiB and calls `fdatasync`, for a while.
pub(crate) fn measure(dir: &Path) -> Sample {
    let path = dir.join("floor");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).unwrap();
    file.write_all_at(&vec![1; usize::try_from(FILE_BYTES).unwrap()], 0).unwrap();
    file.sync_all().unwrap();
    let block = vec![2; WRITE_BYTES];
    let (begun, mut offset, mut rounds) = (Instant::now(), 0, Vec::new());
    while begun.elapsed() < LASTS {
        let from = Instant::now();
        file.write_all_at(&block, offset).unwrap();
        file.sync_data().unwrap();
        rounds.push(from.elapsed());
        offset = (offset + WRITE_BYTES as u64) % (FILE_BYTES - WRITE_BYTES as u64);
    }
    std::fs::remove_file(path).unwrap();
    Sample::of(rounds)
}

/// Measures and prints it.
pub(crate) fn print(dir: &Path) -> Sample {
    let floor = measure(dir);
    println!("fdatasync {}", floor.text());
    floor
}
