//! What survives a power cut: all that was acknowledged, and of the rest a prefix.
//!
//! The state directory lies on an ext4 image whose file system is shut down without flushing while a process
//! appends. `kill -9` alone would prove nothing, since the page cache outlives the process. `HOB_LONG=1` cuts
//! more often.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test that reads the clock and the environment

#[path = "common/appender.rs"]
mod appender;
mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use appender::{Appender, append_until_killed, survivors};
use common::samples;
use hob_journal::SqliteJournal;
use hob_journal::sqlite::Synchronous;
use hob_lab::disk::{Disk, FileSystem};

const CUTS: u32 = 20;
const CUTS_LONG: u32 = 150;

/// How many acknowledged commits are seen before a cut, at most.
const ACKNOWLEDGED_MAX: u32 = 400;

#[test]
fn child() {
    append_until_killed();
}

/// Some number below `bound`: the moment need not be reproducible, and cannot be.
fn some(bound: u32) -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos() / 100 % bound
}

/// Lets a child append in `name` on the disk, cuts the power after some acknowledgements, and mounts again.
/// Returns how many commits were acknowledged before the cut. Those that come while it happens do not count:
/// a sync that is under way when the file system is shut down may still return success, and with real power
/// nobody would be left to report it.
fn cut_while_appending(disk: &mut Disk, name: &str, synchronous: Synchronous, acknowledgements: u32) -> u64 {
    let mut child = Appender::start("child", &disk.path().join(name), synchronous);
    let mut last = child.next().expect("the child reports");
    for _ in 1..acknowledgements {
        last = child.next().expect("the child goes on");
    }
    disk.cut_power();
    drop(child);
    disk.remount();
    last + 1
}

#[test]
fn what_was_acknowledged_survives() {
    let Some(mut disk) = Disk::of(FileSystem::Ext4) else { return };
    let cuts = if std::env::var("HOB_LONG").is_ok_and(|it| it == "1") { CUTS_LONG } else { CUTS };
    for round in 0..cuts {
        // Half of the cuts come early in a new state directory, where its creation is at stake.
        let name = format!("state-{}", round / 2);
        let bound = if round % 2 == 0 { 3 } else { ACKNOWLEDGED_MAX };
        let acknowledged = cut_while_appending(&mut disk, &name, Synchronous::Full, 1 + some(bound));
        let journal = SqliteJournal::open(&disk.path().join(&name)).unwrap();
        let left = survivors(&journal);
        assert!(left >= acknowledged, "round {round}: {acknowledged} were acknowledged, {left} are left");
        drop(journal);
        if round % 2 == 1 {
            std::fs::remove_dir_all(disk.path().join(&name)).unwrap();
        }
    }
}

/// The test above can fail: with less than full syncs it would.
#[test]
fn less_than_full_syncs_lose_what_was_acknowledged() {
    for synchronous in [Synchronous::Normal, Synchronous::Off] {
        let Some(mut disk) = Disk::of(FileSystem::Ext4) else { return };
        let acknowledged = cut_while_appending(&mut disk, "state", synchronous, 200);
        let left = SqliteJournal::open(&disk.path().join("state")).map_or(0, |journal| survivors(&journal));
        assert!(left < acknowledged, "{synchronous:?}: {acknowledged} were acknowledged, {left} are left");
    }
}
