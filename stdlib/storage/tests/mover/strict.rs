//! Crashes and power cuts at every step, on a file system that keeps nothing but what was synced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hob_std_storage::fault::{Fuse, Fused};
use hob_std_storage::mover::Why;
use hob_std_storage::tier::{Attribute, Tier, Time};

use crate::is_long;
use crate::tree::{TAKEN, migrate_in_batches};
use crate::volatile::{Body, Flaw, Volatile};

const TREES: u64 = 24;
const TREES_LONG: u64 = 200;

type Files = BTreeMap<PathBuf, (Body, usize)>;

fn file(tier: &Volatile, name: &str, rng: &mut fastrand::Rng) {
    let above: Vec<&Path> = Path::new(name).ancestors().skip(1).collect();
    for dir in above.into_iter().rev().filter(|it| !it.as_os_str().is_empty() && tier.stat(it).is_err()) {
        tier.make_private_dir(dir).unwrap();
    }
    let mut sink = tier.create(Path::new(name)).unwrap();
    let content: Vec<u8> = (0..rng.usize(0..3000)).map(|_| rng.u8(1..)).collect();
    sink.write_at(&content, 0).unwrap();
    let attributes = [Attribute { name: c"user.origin".into(), value: b"tracker".to_vec() }];
    let mut meta = tier.stat(Path::new(name)).unwrap();
    (meta.mode, meta.uid) = (0o600 | rng.u32(..0o100), rng.u32(..));
    meta.modified = Time { seconds: rng.i64(1_000_000_000..1_700_000_000), nanos: rng.u32(..1_000_000_000) };
    sink.imitate(&meta, &attributes[..rng.usize(..2)], true).unwrap();
}

/// Both tiers before the move: some files in some directories, one with several names, and one in the way.
fn planted(seed: u64) -> [Volatile; 2] {
    let rng = &mut fastrand::Rng::with_seed(seed);
    let (hot, cold) = (Volatile::new(1), Volatile::new(2));
    for number in 0..rng.usize(1..7) {
        file(&hot, &format!("d{}/e{}/{number}", rng.u8(..6), rng.u8(..2)), rng);
    }
    file(&hot, "torrents/linked", rng);
    file(&hot, "library/L/other", rng);
    for name in ["library/L/linked", "library/again"] {
        hot.link(Path::new("torrents/linked"), Path::new(name)).unwrap();
    }
    file(&hot, TAKEN, rng);
    file(&cold, TAKEN, rng);
    for tier in [&hot, &cold] {
        tier.sync_all().unwrap();
    }
    [hot, cold]
}

fn assert_safe(before: &[Files; 2], [hot, cold]: &[Volatile; 2], when: &str) {
    let (hot, cold) = (hot.files(), cold.files());
    for (path, (body, _)) in &before[0] {
        let whole = |files: &Files| files.get(path).is_some_and(|it| it.0 == *body);
        let (there, copy) = (hot.get(path), cold.get(path));
        assert!(whole(&hot) || whole(&cold), "{when}: {path:?} is lost: {there:?} and {copy:?}");
    }
    let taken = |files: &Files| files.get(Path::new(TAKEN)).map(|it| it.0.clone());
    assert_eq!(taken(&cold), taken(&before[1]), "{when}: what was in the way is what it was");
}

fn assert_moved(before: &[Files; 2], [hot, cold]: &[Volatile; 2], when: &str) {
    let (hot, mut cold) = (hot.files(), cold.files());
    assert_eq!(hot.keys().collect::<Vec<_>>(), [Path::new(TAKEN)], "{when}");
    cold.remove(Path::new(TAKEN));
    let bodies = |files: &Files| -> BTreeMap<PathBuf, Body> {
        let named = files.iter().filter(|(path, _)| *path != Path::new(TAKEN));
        named.map(|(path, it)| (path.clone(), it.0.clone())).collect()
    };
    assert_eq!(bodies(&cold), bodies(&before[0]), "{when}");
    let one = ["torrents/linked", "library/L/linked", "library/again"].map(|name| cold[Path::new(name)].1);
    assert!(one.iter().all(|it| *it == one[0]), "{when}: hard links are one file");
}

/// Moves in batches of so many bytes until so many steps are taken; whether it came to its end.
fn stopped([hot, cold]: &[Volatile; 2], batch_bytes: u64, steps: u64) -> bool {
    let fuse = Fuse::new(steps);
    let fused = |tier: &Volatile| Fused::new(tier.handle(), Arc::clone(&fuse));
    let moved = migrate_in_batches("0123456789ab", batch_bytes, &fused(hot), &fused(cold));
    if steps == u64::MAX {
        let skipped = moved.as_ref().expect("nothing is in its way").skipped.iter();
        let others: Vec<_> = skipped.filter(|it| it.path != Path::new(TAKEN)).collect();
        assert!(others.is_empty(), "{others:?}");
    }
    moved.is_ok() && fuse.taken() <= steps
}

#[test]
fn what_is_not_synced_is_not_believed_in() {
    let (mut crashes, mut cuts) = (0, 0);
    for seed in 0..if is_long() { TREES_LONG } else { TREES } {
        let planted = planted(seed);
        let before = [planted[0].files(), planted[1].files()];
        let batch_bytes = [1, 3000, 6000, u64::MAX][seed as usize % 4];
        for step in 0.. {
            let rng = &mut fastrand::Rng::with_seed(seed << 32 | step);
            let tiers = [planted[0].fork(), planted[1].fork()];
            let ended = stopped(&tiers, batch_bytes, step);
            // Then the power goes, or the process alone; and once more while the next one works on what is left.
            for again in [rng.u64(..60), rng.u64(..60), u64::MAX] {
                let cut = rng.u8(..3) > 0;
                let when = format!("tree {seed}, step {step}, then {again}, {cut}");
                if cut {
                    tiers.iter().for_each(|tier| tier.cut_power(rng));
                }
                (crashes, cuts) = (crashes + 1, cuts + u64::from(cut));
                assert_safe(&before, &tiers, &when);
                stopped(&tiers, batch_bytes, again);
            }
            let when = format!("tree {seed}, step {step}");
            assert_moved(&before, &tiers, &when);
            tiers.iter().for_each(|tier| tier.cut_power(rng));
            assert_safe(&before, &tiers, &format!("{when}, cut when all was done"));
            if ended {
                break;
            }
        }
    }
    eprintln!("{crashes} crashes, {cuts} of them power cuts");
    assert!(crashes > 2000 && cuts > 1000, "only {crashes} crashes, {cuts} of them power cuts");
}

/// What a disk or a file system may keep wrong, and what is said of it.
const FLAWS: [(Flaw, Why, &str); 7] = [
    (|it| *it.bytes.last_mut().unwrap() ^= 1, Why::Unsound, "differs from it: is the disk sound?"),
    (|it| it.bytes.truncate(it.bytes.len() - 1), Why::Unsound, "its copy read from the disk"),
    (|it| it.bytes.push(0), Why::Unsound, "its copy read from the disk"),
    (|it| it.modified.nanos ^= 1, Why::Unkept, "its time to the nanosecond"),
    (|it| it.mode ^= 0o001, Why::Unkept, "its mode"),
    (|it| it.owner.1 ^= 1, Why::Unkept, "its owner"),
    (|it| it.attributes.clear(), Why::Unkept, "user.origin"),
];

#[test]
fn what_the_target_keeps_wrong_stays_where_it_was() {
    for (number, (flaw, why, text)) in FLAWS.into_iter().enumerate() {
        // Few files are synced one by one, many by one sync of all.
        for count in [2, 20] {
            let (hot, cold) = (Volatile::new(1), Volatile::new(2));
            for number in 0..count {
                let mut sink = hot.create(Path::new(&format!("{number}"))).unwrap();
                sink.write_at(b"content", 0).unwrap();
                let attributes = [Attribute { name: c"user.origin".into(), value: b"tracker".to_vec() }];
                let meta = hot.stat(Path::new(&format!("{number}"))).unwrap();
                sink.imitate(&meta, &attributes, true).unwrap();
            }
            let before = hot.files();
            cold.spoil(flaw);
            let moved = migrate_in_batches("0123456789ab", u64::MAX, &hot, &cold).unwrap();
            let is_told = |it: &hob_std_storage::mover::Skipped| it.why == why && it.reason.contains(text);
            assert!(moved.names.is_empty() && moved.skipped.len() == count, "flaw {number}: {moved:?}");
            assert!(moved.skipped.iter().all(is_told), "flaw {number}: {:?}", moved.skipped);
            assert_eq!((hot.files(), cold.files()), (before, Files::new()), "flaw {number}");
        }
    }
}

/// On a file system whose times tell no change, names tell that somebody put another file in the place of one.
#[test]
fn a_name_that_is_another_files_by_now_is_left_alone() {
    let (hot, cold) = (Volatile::new(1), Volatile::new(2));
    let write = |tier: &dyn Tier, name: &str, content: &[u8]| {
        tier.create(Path::new(name)).unwrap().write_at(content, 0).unwrap();
    };
    write(&hot, "a", b"content");
    hot.link(Path::new("a"), Path::new("b")).unwrap();
    hot.stand();
    let (theirs, target) = (hot.handle(), cold.handle());
    let fuse = Fuse::telling(move || {
        if target.stat(Path::new("b")).is_ok() && theirs.stat(Path::new("c")).is_err() {
            theirs.rename(Path::new("b"), Path::new("c")).unwrap();
            write(&*theirs, "b", b"theirs");
        }
    });
    let fused = |tier: &Volatile| Fused::new(tier.handle(), Arc::clone(&fuse));
    let moved = migrate_in_batches("0123456789ab", u64::MAX, &fused(&hot), &fused(&cold)).unwrap();
    assert!(moved.names.is_empty(), "{moved:?}");
    let left: Vec<_> = hot.files().into_iter().map(|(path, (body, _))| (path, body.bytes)).collect();
    let wanted = [("a", "content"), ("b", "theirs"), ("c", "content")];
    assert_eq!(left, wanted.map(|(path, content)| (PathBuf::from(path), content.as_bytes().to_vec())));
    assert_eq!(cold.files(), Files::new());
}
