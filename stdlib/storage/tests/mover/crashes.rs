//! Crashes at every step, in this process and with `kill -9` of another.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use hob_lab::disk::{Disk, FileSystem};
use hob_std_storage::fault::{Fuse, Fused};
use hob_std_storage::live::Live;
use hob_std_storage::mover::manifest;
use hob_std_storage::tier::{Tier, Tiers};

use crate::is_long;
use crate::tree::{assert_moved, assert_safe, migrate, migrate_as, plant, snapshot};

/// In CI every so many steps there is a crash.
const STRIDE: u64 = 9;

/// So many trees of each file system are crashed at every step in the long run: 2,000 crashes and more.
const TREES_LONG: u64 = 4;

/// How many processes are killed for each file system.
const KILLS: u32 = 8;
const KILLS_LONG: u32 = 150;

/// Names the directory to a child.
const DIRECTORY: &str = "HOB_TEST_DIRECTORY";

pub fn tier(path: &Path) -> Box<dyn Tier> {
    Live::new().open(path).unwrap()
}

/// The two tiers below the roots of these disks, empty.
pub fn fresh(disks: &[Disk; 2]) -> [PathBuf; 2] {
    let [hot, cold] = [disks[0].path().join("hot"), disks[1].path().join("cold")];
    for dir in [&hot, &cold] {
        if dir.exists() {
            fs::remove_dir_all(dir).unwrap();
        }
        fs::create_dir(dir).unwrap();
    }
    [hot, cold]
}

#[test]
fn a_crash_at_any_step_loses_nothing() {
    for kind in FileSystem::ALL {
        let Some(disks) = Disk::two(kind) else { return };
        let (trees, stride) = if is_long() { (TREES_LONG, 1) } else { (1, STRIDE) };
        let mut crashes = 0;
        for seed in 0..trees {
            let mut step = seed % stride;
            loop {
                let when = format!("{kind:?}, tree {seed}, step {step}");
                let [hot, cold] = fresh(&disks);
                plant(&hot, &cold, seed);
                let before = snapshot(&hot);
                let fuse = Fuse::new(step);
                let fused = |path: &Path| Fused::new(tier(path), Arc::clone(&fuse));
                let ended = migrate(&fused(&hot), &fused(&cold)).is_ok() && fuse.taken() <= step;
                assert_safe(&before, &hot, &cold, &when);
                // A second crash while it recovers, now and then.
                if step.is_multiple_of(5) {
                    let fuse = Fuse::new(step / 2 % 23);
                    let fused = |path: &Path| Fused::new(tier(path), Arc::clone(&fuse));
                    drop(migrate(&fused(&hot), &fused(&cold)));
                    assert_safe(&before, &hot, &cold, &when);
                }
                let moved = migrate(&*tier(&hot), &*tier(&cold)).unwrap();
                assert!(moved.skipped.iter().all(|it| it.path == Path::new(crate::tree::TAKEN)), "{moved:?}");
                assert_moved(&before, &hot, &cold, &when);
                if ended {
                    break;
                }
                crashes += 1;
                step += stride;
            }
        }
        eprintln!("{kind:?}: {crashes} crashes");
        assert!(crashes >= 8, "{kind:?}: only {crashes} crashes");
    }
}

/// Whoever finishes what a crash left, the effect that had begun it learns of it when it is done again.
#[test]
fn what_another_effect_finishes_is_told_to_the_first() {
    let root = tempfile::tempdir().unwrap();
    let [hot, cold] = ["hot", "cold"].map(|name| root.path().join(name));
    let moved_by = |mark: &str| {
        let at = Path::new(".hob-mover/manifest").join(format!("{mark}.jsonl"));
        manifest::read(&*tier(&cold), &at).unwrap().into_keys().collect::<Vec<_>>()
    };
    for step in 0.. {
        for dir in [&hot, &cold] {
            drop(fs::remove_dir_all(dir));
            fs::create_dir(dir).unwrap();
        }
        fs::write(hot.join("film"), "film").unwrap();
        let fuse = Fuse::new(step);
        let fused = |path: &Path| Fused::new(tier(path), Arc::clone(&fuse));
        let ended = migrate_as("first", &fused(&hot), &fused(&cold)).is_ok();
        let was_there = hot.join("film").exists();
        migrate_as("second", &*tier(&hot), &*tier(&cold)).unwrap();
        assert_eq!(fs::read(cold.join("film")).unwrap(), b"film", "step {step}");
        assert!(!hot.join("film").exists(), "step {step}");
        let (first, second) = (moved_by("first"), moved_by("second"));
        assert_eq!(first.len() + second.len(), 1, "step {step}: {first:?} {second:?}");
        assert!(was_there || !first.is_empty(), "step {step}: the first effect took it away and must know");
        if ended {
            break;
        }
    }
}

/// A process that moves all, and tells of each step before it does it. Returns at once where it is no child.
#[test]
fn child() {
    let Ok(dirs) = std::env::var(DIRECTORY) else { return };
    let (hot, cold) = dirs.split_once(':').unwrap();
    let fuse = Fuse::telling(|| {
        let mut out = std::io::stdout();
        let _ = out.write_all(b"\x07").and_then(|()| out.flush());
    });
    let fused = |path: &str| Fused::new(tier(Path::new(path)), Arc::clone(&fuse));
    drop(migrate(&fused(hot), &fused(cold)));
}

/// Starts a process that moves, and kills it after `steps` steps.
fn kill_after(steps: u32, [hot, cold]: &[PathBuf; 2]) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crashes::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, format!("{}:{}", hot.display(), cold.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let told = BufReader::new(child.stdout.take().unwrap()).bytes().map_while(Result::ok);
    told.filter(|byte| *byte == 7).take(steps as usize).for_each(drop);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_process_loses_nothing() {
    let mut rng = fastrand::Rng::new();
    for kind in FileSystem::ALL {
        let Some(disks) = Disk::two(kind) else { return };
        for _ in 0..if is_long() { KILLS_LONG } else { KILLS } {
            let (seed, steps) = (rng.u64(..), rng.u32(1..110));
            let when = format!("{kind:?}, tree {seed}, killed after {steps} steps");
            let dirs = fresh(&disks);
            let [hot, cold] = &dirs;
            plant(hot, cold, seed);
            let before = snapshot(hot);
            kill_after(steps, &dirs);
            assert_safe(&before, hot, cold, &when);
            migrate(&*tier(hot), &*tier(cold)).unwrap();
            assert_moved(&before, hot, cold, &when);
        }
    }
}
