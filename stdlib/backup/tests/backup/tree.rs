//! Random trees, and what is in them as a text that can be compared.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, FileType, Mode, XattrFlags, mknodat, utimensat};

/// Names that break programs.
const NAMES: [&[u8]; 12] = [
    b"plain",
    b"two words",
    b"tab\there",
    b"line\nbreak",
    b"quote\"d",
    b"back\\slash",
    "gr\u{fc}n".as_bytes(),
    b"\xff\xfe",
    b"-rf",
    b"*",
    b".hidden",
    "\u{65e5}\u{672c}".as_bytes(),
];

/// Makes a tree of about `entries` entries below `root`.
pub(crate) fn grow(root: &Path, seed: u64, entries: usize) {
    let mut chance = fastrand::Rng::with_seed(seed);
    fs::create_dir_all(root).unwrap();
    let mut directories = vec![root.to_owned()];
    let mut files: Vec<PathBuf> = Vec::new();
    for number in 0..entries {
        let mut name = OsString::from(format!("{number}-"));
        name.push(OsStr::from_bytes(NAMES[chance.usize(..NAMES.len())]));
        let path = directories[chance.usize(..directories.len())].join(name);
        match chance.u8(..12) {
            0 | 1 => {
                fs::create_dir(&path).unwrap();
                directories.push(path.clone());
            }
            2 => symlink(["nowhere", "../up", "/etc/hostname"][chance.usize(..3)], &path).unwrap(),
            3 if !files.is_empty() => fs::hard_link(&files[chance.usize(..files.len())], &path).unwrap(),
            4 => mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap(),
            5 => {
                let file = File::create(&path).unwrap();
                file.write_all_at(b"after a hole", 3 << 20).unwrap();
                file.set_len((3 << 20) + chance.u64(12..300_000)).unwrap();
                files.push(path.clone());
            }
            kind => {
                let size = if kind < 8 { chance.usize(..200) } else { chance.usize(..400_000) };
                let mut content = vec![0; size];
                chance.fill(&mut content);
                fs::write(&path, content).unwrap();
                rustix::fs::lsetxattr(&path, "user.note", &chance.u64(..).to_le_bytes(), XattrFlags::empty())
                    .unwrap();
                files.push(path.clone());
            }
        }
        if !path.is_symlink() {
            let mode = [0o600, 0o644, 0o755, 0o2750, 0o4711][chance.usize(..5)];
            fs::set_permissions(&path, fs::Permissions::from_mode(mode | 0o100)).unwrap();
        }
    }
    // Contents change times, so those come last, and directories after what is in them.
    for path in walk(root).iter().rev() {
        let then = UNIX_EPOCH + Duration::new(chance.u64(..1_700_000_000), chance.u32(..1_000_000_000));
        let then = then.duration_since(UNIX_EPOCH).unwrap();
        let time = rustix::fs::Timespec {
            tv_sec: i64::try_from(then.as_secs()).unwrap(),
            tv_nsec: then.subsec_nanos().into(),
        };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn walk(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
            all.push(entry.path());
        }
    }
    all.sort();
    all
}

/// What is below `root`: a line for each entry, by path.
pub(crate) fn listing(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut first_names: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut all = BTreeMap::new();
    for path in walk(root) {
        let below = path.strip_prefix(root).unwrap().to_owned();
        let stat = fs::symlink_metadata(&path).unwrap();
        let mut line = format!(
            "{:o} {}:{} {}.{:09}",
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.mtime(),
            stat.mtime_nsec()
        );
        if stat.is_file() {
            let first = first_names.entry(stat.ino()).or_insert_with(|| below.clone());
            let content = fs::read(&path).unwrap();
            line += &format!(" {} {} as {}", content.len(), hob_model::Digest::of(&content), first.display());
            let mut note = [0; 64];
            let length = rustix::fs::lgetxattr(&path, "user.note", &mut note[..]).unwrap_or(0);
            line += &format!(" {:?}", &note[..length]);
        } else if stat.is_symlink() {
            line += &format!(" -> {}", fs::read_link(&path).unwrap().display());
        }
        all.insert(below, line);
    }
    all
}

/// Fails with the first entries that differ.
pub(crate) fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (listing(one), listing(other));
    let differ: Vec<_> = one
        .keys()
        .chain(other.keys())
        .filter(|path| one.get(*path) != other.get(*path))
        .take(5)
        .map(|path| format!("{path:?}\n  {:?}\n  {:?}", one.get(path), other.get(path)))
        .collect();
    assert!(differ.is_empty(), "{} and {} entries\n{}", one.len(), other.len(), differ.join("\n"));
}
