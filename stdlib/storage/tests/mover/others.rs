//! What others do to files while they are moved: nothing of theirs is lost, and nothing of the mover's stays.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};

use hob_std_storage::fault::{Fuse, Fused};
use hob_std_storage::mover::Why;

use crate::crashes::tier;
use crate::tree::{migrate, migrate_in_batches};

/// Where the source and the target are.
type Dirs<'d> = (&'d Path, &'d Path);

/// What somebody does, when, and what comes of it.
struct Case {
    name: &'static str,
    when: fn(Dirs<'_>) -> bool,
    /// What it gives is kept until the mover has ended.
    act: fn(Dirs<'_>) -> Option<File>,
    why: Why,
    /// What is below source and target then: names with their content.
    left: [&'static str; 2],
}

fn is_copied((_, cold): Dirs<'_>) -> bool {
    let new = fs::read_dir(cold.join(".hob-mover/new"));
    new.is_ok_and(|all| all.flatten().any(|it| it.metadata().is_ok_and(|meta| meta.len() > 0)))
}

fn is_begun((_, cold): Dirs<'_>) -> bool {
    fs::read_dir(cold.join(".hob-mover/new")).is_ok_and(|mut all| all.next().is_some())
}

fn is_named((_, cold): Dirs<'_>) -> bool {
    cold.join("x").exists() && cold.join("y").exists()
}

fn append((hot, _): Dirs<'_>) -> Option<File> {
    File::options().append(true).open(hot.join("x")).unwrap().write_all(b" more").unwrap();
    None
}

const CASES: [Case; 7] = [
    Case {
        name: "somebody takes its name",
        when: is_copied,
        act: |(_, cold)| {
            fs::write(cold.join("x"), "theirs").unwrap();
            None
        },
        why: Why::Taken,
        left: ["x=content y=content", "x=theirs"],
    },
    Case {
        name: "somebody takes its second name",
        when: is_copied,
        act: |(_, cold)| {
            fs::write(cold.join("y"), "theirs").unwrap();
            None
        },
        why: Why::Taken,
        left: ["x=content y=content", "y=theirs"],
    },
    Case {
        name: "somebody changes its mode while it is copied",
        when: is_begun,
        act: |(hot, _)| {
            fs::set_permissions(hot.join("x"), Permissions::from_mode(0o600)).unwrap();
            None
        },
        why: Why::Growing,
        left: ["x=content y=content", ""],
    },
    Case {
        name: "it grows once its copy has its names",
        when: is_named,
        act: append,
        why: Why::Growing,
        left: ["x=content more y=content more", ""],
    },
    Case {
        name: "another file takes its place",
        when: is_named,
        act: |(hot, _)| {
            let other = hot.join("other");
            fs::write(&other, "another").unwrap();
            let time = fs::metadata(hot.join("x")).unwrap().modified().unwrap();
            File::options().write(true).open(&other).unwrap().set_modified(time).unwrap();
            fs::rename(other, hot.join("x")).unwrap();
            None
        },
        why: Why::Growing,
        left: ["x=another y=content", ""],
    },
    Case {
        name: "somebody opens it once its copy has its names",
        when: is_named,
        act: |(hot, _)| Some(File::open(hot.join("x")).unwrap()),
        why: Why::InUse,
        left: ["x=content y=content", ""],
    },
    Case {
        name: "somebody writes to it before it is copied",
        when: |dirs| !is_begun(dirs),
        act: |(hot, _)| Some(File::options().append(true).open(hot.join("x")).unwrap()),
        why: Why::InUse,
        left: ["x=content y=content", ""],
    },
];

/// The files of a directory, without the mover's own.
fn files(dir: &Path) -> String {
    let mut all: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .flatten()
        .filter(|it| it.path().is_file())
        .map(|it| format!("{}={}", it.file_name().display(), fs::read_to_string(it.path()).unwrap()))
        .collect();
    all.sort_unstable();
    all.join(" ")
}

#[test]
fn what_others_do_meanwhile_is_seen() {
    for Case { name, when, act, why, left } in CASES {
        let root = tempfile::tempdir().unwrap();
        let [hot, cold] = ["hot", "cold"].map(|dir| root.path().join(dir));
        for dir in [&hot, &cold] {
            fs::create_dir(dir).unwrap();
        }
        fs::write(hot.join("x"), "content").unwrap();
        fs::hard_link(hot.join("x"), hot.join("y")).unwrap();
        let done = Arc::new(Mutex::new((false, None)));
        let (told, dirs) = (Arc::clone(&done), (hot.clone(), cold.clone()));
        let fuse = Fuse::telling(move || {
            let mut done = told.lock().unwrap();
            if !done.0 && when((&dirs.0, &dirs.1)) {
                *done = (true, act((&dirs.0, &dirs.1)));
            }
        });
        let fused = |path: &Path| Fused::new(tier(path), Arc::clone(&fuse));
        let moved = migrate(&fused(&hot), &fused(&cold)).unwrap();
        assert!(done.lock().unwrap().0, "{name}: nobody did anything");
        assert!(moved.names.is_empty() && moved.skipped.iter().all(|it| it.why == why), "{name}: {moved:?}");
        assert_eq!(moved.skipped.len(), 2, "{name}: {moved:?}");
        assert_eq!([files(&hot), files(&cold)], left, "{name}");
        let new = fs::read_dir(cold.join(".hob-mover/new")).unwrap().count();
        assert_eq!(new, 0, "{name}: a copy without a name stays");
        drop(done.lock().unwrap().1.take());
        // Once nobody is in the way it moves.
        let _ = [fs::remove_file(cold.join("x")), fs::remove_file(cold.join("y"))];
        let again = migrate(&*tier(&hot), &*tier(&cold)).unwrap();
        assert!(again.names.len() == 2 && files(&hot).is_empty(), "{name}: {again:?}");
        let links = fs::metadata(cold.join("x")).unwrap().nlink();
        assert_eq!(links, if name.starts_with("another") { 1 } else { 2 }, "{name}");
    }
}

/// What was mounted is gone, and its mount point or another disk is there: nothing more is moved.
#[test]
fn nothing_goes_to_a_target_whose_place_another_directory_took() {
    let root = tempfile::tempdir().unwrap();
    let [hot, cold, gone] = ["hot", "cold", "gone"].map(|dir| root.path().join(dir));
    for dir in [&hot, &cold] {
        fs::create_dir(dir).unwrap();
    }
    for name in ["a", "b", "c", "d"] {
        fs::write(hot.join(name), name).unwrap();
    }
    let dirs = (cold.clone(), gone.clone());
    let fuse = Fuse::telling(move || {
        if dirs.0.join("a").exists() {
            fs::rename(&dirs.0, &dirs.1).unwrap();
            fs::create_dir(&dirs.0).unwrap();
        }
    });
    let fused = |path: &Path| Fused::new(tier(path), Arc::clone(&fuse));
    let error = migrate_in_batches("0123456789ab", 1, &fused(&hot), &fused(&cold)).unwrap_err();
    assert!(error.message.contains("no longer there"), "{error}");
    assert_eq!(fs::read_dir(&cold).unwrap().count(), 0, "it is another one's");
    assert!(hot.join("c").exists() && hot.join("d").exists(), "{}, {}", files(&hot), files(&gone));
    for name in ["a", "b"] {
        assert!(hot.join(name).exists() || gone.join(name).exists(), "{name} is lost");
    }
}
