//! Bad weather: a target that is full, that became read-only, or that goes away in the midst.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hob_lab::disk::{Disk, FileSystem};
use hob_model::ErrorKind;
use hob_std_storage::fault::{Fuse, Fused};
use hob_std_storage::mover::Why;
use rustix::fs::{FallocateFlags, fallocate};

use crate::crashes::{fresh, tier};
use crate::tree::{assert_moved, assert_safe, migrate, plant, snapshot};

#[test]
fn a_target_that_is_full_loses_nothing_and_takes_the_rest_once_there_is_room() {
    let mut full = 0;
    for kind in FileSystem::ALL {
        let Some(disks) = Disk::two(kind) else { return };
        for free in [0, 64 << 10, 600 << 10] {
            let when = format!("{kind:?}, {free} bytes free");
            let [hot, cold] = fresh(&disks);
            plant(&hot, &cold, free);
            let before = snapshot(&hot);
            let target = tier(&cold);
            target.sync_all().unwrap();
            let ballast = disks[1].path().join("ballast");
            fill(&ballast, free);
            match migrate(&*tier(&hot), &*target) {
                Ok(moved) => full += moved.skipped.iter().filter(|it| it.why == Why::Full).count(),
                // Not even the intent has room.
                Err(error) => assert_eq!(error.kind, ErrorKind::Unavailable, "{when}: {error}"),
            }
            assert_safe(&before, &hot, &cold, &when);
            fs::remove_file(&ballast).unwrap();
            target.sync_all().unwrap();
            migrate(&*tier(&hot), &*target).unwrap();
            assert_moved(&before, &hot, &cold, &when);
        }
    }
    assert_ne!(full, 0, "it was never told of what did not fit");
}

#[test]
fn a_target_that_became_read_only_is_told_and_goes_on_where_it_was() {
    let Some(mut disks) = Disk::two(FileSystem::Ext4) else { return };
    let [hot, cold] = fresh(&disks);
    plant(&hot, &cold, 1);
    let before = snapshot(&hot);
    // As the kernel does it when a disk fails.
    disks[1].change("errors=remount-ro");
    let (steps, failing) = (AtomicU64::new(0), failing(&disks[1]));
    let fuse = Fuse::telling(move || {
        if steps.fetch_add(1, Ordering::SeqCst) == 30 {
            fs::write(&failing, "1").unwrap();
        }
    });
    let fused = Fused::new(tier(&cold), fuse);
    for tried in ["in the midst", "from the beginning"] {
        let error = migrate(&*tier(&hot), &fused).unwrap_err();
        assert!(error.kind == ErrorKind::Denied && error.message.contains("read-only"), "{tried}: {error}");
        assert_safe(&before, &hot, &cold, tried);
    }
    drop(fused);
    disks[1].remount();
    migrate(&*tier(&hot), &*tier(&cold)).unwrap();
    assert_moved(&before, &hot, &cold, "read-write again");
}

#[test]
fn a_target_that_is_unmounted_in_the_midst_gets_not_one_byte_below_its_mount_point() {
    let Some(disks) = Disk::two(FileSystem::Ext4) else { return };
    let under = tempfile::tempdir().unwrap();
    let bound = under.path().join("mnt");
    fs::create_dir(&bound).unwrap();
    for step in (0..).step_by(11) {
        let when = format!("unmounted at step {step}");
        let [hot, cold] = fresh(&disks);
        plant(&hot, &cold, step);
        let before = snapshot(&hot);
        assert!(is_done("mount", &["--bind", "--make-private"], &[&cold, &bound]));
        let (steps, gone) = (Arc::new(AtomicU64::new(0)), bound.clone());
        let taken = Arc::clone(&steps);
        let fuse = Fuse::telling(move || {
            if steps.fetch_add(1, Ordering::SeqCst) == step {
                assert!(is_done("umount", &["-l"], &[&gone]));
            }
        });
        let moved = migrate(&*tier(&hot), &Fused::new(tier(&bound), fuse));
        if taken.load(Ordering::SeqCst) <= step {
            assert!(is_done("umount", &[], &[&bound]) && step > 30, "{when}: it took fewer steps");
            break;
        }
        let listed = fs::read_dir(&bound).unwrap().count();
        assert_eq!(listed, 0, "{when}: something is below the mount point");
        assert_safe(&before, &hot, &cold, &when);
        let error = moved.err().map(|error| error.message);
        assert!(error.as_ref().is_none_or(|it| it.contains(&*bound.to_string_lossy())), "{when}: {error:?}");
        migrate(&*tier(&hot), &*tier(&cold)).unwrap();
        assert_moved(&before, &hot, &cold, &when);
    }
}

/// Takes all room but so many bytes.
fn fill(ballast: &Path, but_bytes: u64) {
    let file = File::create(ballast).unwrap();
    let mut bytes = 0;
    for part in [16 << 20, 1 << 20, 64 << 10, 4 << 10] {
        while fallocate(&file, FallocateFlags::empty(), bytes, part).is_ok() {
            bytes += part;
        }
    }
    file.set_len(bytes.saturating_sub(but_bytes)).unwrap();
    file.sync_all().unwrap();
}

/// Where ext4 is told to behave as if the disk had failed.
fn failing(disk: &Disk) -> PathBuf {
    let device = fs::metadata(disk.path()).unwrap().dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let device = fs::read_link(format!("/sys/dev/block/{major}:{minor}")).unwrap();
    Path::new("/sys/fs/ext4").join(device.file_name().unwrap()).join("trigger_fs_error")
}

fn is_done(program: &str, args: &[&str], paths: &[&Path]) -> bool {
    Command::new(program).args(args).args(paths).stderr(Stdio::null()).status().is_ok_and(|it| it.success())
}
