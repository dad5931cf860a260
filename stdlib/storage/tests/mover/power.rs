//! Power cuts: what was not synced is gone, in both tiers at once.

use hob_lab::disk::{Disk, FileSystem};

use crate::crashes::{fresh, kill_after, tier};
use crate::is_long;
use crate::tree::{assert_moved, assert_safe, migrate, plant, snapshot};

const CUTS: u32 = 6;
const CUTS_LONG: u32 = 60;

#[test]
fn a_power_cut_loses_nothing() {
    let mut rng = fastrand::Rng::new();
    for kind in [FileSystem::Ext4, FileSystem::Xfs] {
        let Some(mut disks) = Disk::two(kind) else { return };
        for _ in 0..if is_long() { CUTS_LONG } else { CUTS } {
            let (seed, steps) = (rng.u64(..), rng.u32(1..110));
            let when = format!("{kind:?}, tree {seed}, power cut after {steps} steps");
            let dirs = fresh(&disks);
            let [hot, cold] = &dirs;
            plant(hot, cold, seed);
            let before = snapshot(hot);
            for dir in &dirs {
                tier(dir).sync_all().unwrap();
            }
            let source_first = rng.bool();
            kill_after(steps, &dirs, || {
                let order = if source_first { [0, 1] } else { [1, 0] };
                order.into_iter().for_each(|at| disks[at].cut_power());
            });
            disks.iter_mut().for_each(Disk::remount);
            assert_safe(&before, hot, cold, &when);
            migrate(&*tier(hot), &*tier(cold)).unwrap();
            assert_moved(&before, hot, cold, &when);
        }
    }
}
