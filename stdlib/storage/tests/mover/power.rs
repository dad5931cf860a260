//! Power cuts of real disks: what the file system had not given to the disk is gone, in both tiers at once.

use std::path::Path;
use std::sync::Arc;

use hob_lab::disk::{Disk, FileSystem};
use hob_std_storage::fault::{Fuse, Fused};

use crate::crashes::{fresh, tier};
use crate::is_long;
use crate::tree::{assert_moved, assert_safe, migrate, plant, snapshot};

/// Between two cuts lie so many steps; in the long run none.
const STRIDE: u64 = 21;

#[test]
fn a_power_cut_loses_nothing() {
    let mut rng = fastrand::Rng::new();
    for kind in FileSystem::ALL {
        let Some(mut disks) = Disk::two(kind) else { return };
        let stride = if is_long() { 1 } else { STRIDE };
        let (mut step, mut cuts) = (rng.u64(..stride), 0);
        loop {
            let seed = rng.u64(..);
            let when = format!("{kind:?}, tree {seed}, power cut at step {step}");
            let dirs = fresh(&disks);
            let [hot, cold] = &dirs;
            plant(hot, cold, seed);
            let before = snapshot(hot);
            for dir in &dirs {
                tier(dir).sync_all().unwrap();
            }
            let fuse = Fuse::new(step);
            let fused = |path: &Path| Fused::new(tier(path), Arc::clone(&fuse));
            let ended = migrate(&fused(hot), &fused(cold)).is_ok();
            // From the step on nobody changes anything: it is as if the power had gone there.
            let order = if rng.bool() { [0, 1] } else { [1, 0] };
            order.into_iter().for_each(|at| disks[at].cut_power());
            disks.iter_mut().for_each(Disk::remount);
            assert_safe(&before, hot, cold, &when);
            migrate(&*tier(hot), &*tier(cold)).unwrap();
            assert_moved(&before, hot, cold, &when);
            cuts += 1;
            if ended {
                break;
            }
            step += stride;
        }
        eprintln!("{kind:?}: {cuts} power cuts");
        assert!(cuts >= 4, "{kind:?}: only {cuts} power cuts");
    }
}
