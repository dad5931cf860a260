//! A tree with everything that movers lose, and what must be found of it.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use hob_model::OpError;
use hob_std_storage::mover::batch::BATCH_BYTES;
use hob_std_storage::mover::select::Rules;
use hob_std_storage::mover::walk::walk;
use hob_std_storage::mover::{Gauge, Moved, Mover};
use hob_std_storage::tier::{Tier, Time};
use rustix::fs::{
    AtFlags, CWD, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr, lsetxattr, utimensat,
};

/// A name that is taken in the target.
pub const TAKEN: &str = "movies/taken.mkv";

const HOLEY: &str = "movies/Holey/holey.img";
const HOLEY_BYTES: u64 = 4 << 20;

/// An access control list: its owner reads and writes, user 1000 and the group read (`linux/posix_acl_xattr.h`).
fn acl() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] =
        [(1, 6, u32::MAX), (2, 4, 1000), (4, 4, u32::MAX), (0x10, 4, u32::MAX), (0x20, 0, u32::MAX)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn age(path: &Path, rng: &mut fastrand::Rng) {
    let time = |rng: &mut fastrand::Rng| Timespec {
        tv_sec: rng.i64(1_000_000_000..1_700_000_000),
        tv_nsec: rng.i64(0..1_000_000_000),
    };
    let times = Timestamps { last_access: time(rng), last_modification: time(rng) };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn file(path: &Path, size: usize, rng: &mut fastrand::Rng) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let content: Vec<u8> = (0..size).map(|_| rng.u8(..)).collect();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600 | rng.u32(0..0o100))).unwrap();
}

/// Fills `source`, and `target` with a file that is in the way. Needs root and a file system with attributes.
pub fn plant(source: &Path, target: &Path, seed: u64) {
    let rng = &mut fastrand::Rng::with_seed(seed);
    let odd = OsStr::from_bytes(b"movies/odd %41 \xff\n name");
    let plain = ["a.txt", "movies/b.mkv", "tv/Show/Season 1/c.mkv", "tv/Show/Season 1/d.srt", TAKEN];
    for name in plain.iter().map(OsStr::new).chain([odd]) {
        let size = if rng.bool() { rng.usize(0..9000) } else { rng.usize(0..2_000_000) };
        file(&source.join(name), size, rng);
    }
    file(&source.join("tv/empty"), 0, rng);

    file(&source.join("tv/attributes"), 10, rng);
    lsetxattr(source.join("tv/attributes"), "user.origin", b"tracker", XattrFlags::empty()).unwrap();
    lsetxattr(source.join("tv/attributes"), "system.posix_acl_access", &acl(), XattrFlags::empty()).unwrap();
    chown(source.join("tv/attributes"), Some(1234), Some(5678)).unwrap();
    // A change of owner takes these bits away.
    file(&source.join("tv/helper"), 10, rng);
    chown(source.join("tv/helper"), Some(1234), Some(5678)).unwrap();
    fs::set_permissions(source.join("tv/helper"), fs::Permissions::from_mode(0o6755)).unwrap();
    let show = source.join("tv/Show");
    fs::set_permissions(&show, fs::Permissions::from_mode(0o2775)).unwrap();
    lsetxattr(&show, "system.posix_acl_default", &acl(), XattrFlags::empty()).unwrap();

    let holey = source.join(HOLEY);
    fs::create_dir_all(holey.parent().unwrap()).unwrap();
    let mut image = File::create(&holey).unwrap();
    image.write_all(b"head").unwrap();
    image.seek(SeekFrom::Start(2 << 20)).unwrap();
    image.write_all(b"middle").unwrap();
    image.set_len(HOLEY_BYTES).unwrap();

    file(&source.join("torrents/linked.mkv"), 100_000, rng);
    fs::create_dir_all(source.join("library/L")).unwrap();
    for name in ["library/L/linked.mkv", "library/again.mkv"] {
        fs::hard_link(source.join("torrents/linked.mkv"), source.join(name)).unwrap();
    }
    for path in snapshot(source).keys() {
        age(&source.join(path), rng);
    }
    fs::create_dir_all(target.join("movies")).unwrap();
    fs::write(target.join(TAKEN), "was here first").unwrap();
}

/// All there is to know about a file, but for which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    hash: blake3::Hash,
    size: u64,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    is_sparse: bool,
}

fn state(path: &Path) -> State {
    let meta = fs::symlink_metadata(path).unwrap();
    let mut names = vec![0; 65536];
    let length = llistxattr(path, names.as_mut_slice()).unwrap();
    let mut attributes = BTreeMap::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 65536];
        let length = lgetxattr(path, OsStr::from_bytes(name), value.as_mut_slice()).unwrap();
        attributes.insert(name.to_vec(), value[..length].to_vec());
    }
    State {
        hash: blake3::hash(&fs::read(path).unwrap_or_else(|error| panic!("{path:?}: {error}"))),
        size: meta.len(),
        mode: meta.mode(),
        owner: (meta.uid(), meta.gid()),
        modified: (meta.mtime(), meta.mtime_nsec()),
        attributes,
        is_sparse: meta.blocks() * 512 < meta.len() / 2,
    }
}

/// The files below a directory, without the mover's own.
pub fn snapshot(root: &Path) -> BTreeMap<PathBuf, State> {
    let mut all = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let relative = path.strip_prefix(root).unwrap().to_owned();
            if relative.starts_with(".hob-mover") {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
            } else {
                all.insert(relative, state(&path));
            }
        }
    }
    all
}

/// At every moment each file is whole in one of the tiers, and what was in the way is what it was.
pub fn assert_safe(before: &BTreeMap<PathBuf, State>, source: &Path, target: &Path, when: &str) {
    let (hot, cold) = (snapshot(source), snapshot(target));
    for (path, state) in before {
        let whole = hot.get(path) == Some(state) || cold.get(path) == Some(state);
        assert!(
            whole,
            "{when}: {path:?} is lost: {state:?}, but {:?} and {:?}",
            hot.get(path),
            cold.get(path)
        );
    }
    assert_eq!(fs::read(target.join(TAKEN)).unwrap(), b"was here first", "{when}");
}

/// All is moved but what cannot be, and nothing else is there.
pub fn assert_moved(before: &BTreeMap<PathBuf, State>, source: &Path, target: &Path, when: &str) {
    let (hot, mut cold) = (snapshot(source), snapshot(target));
    assert_eq!(hot.keys().map(PathBuf::as_path).collect::<Vec<_>>(), [Path::new(TAKEN)], "{when}");
    assert_eq!(hot[Path::new(TAKEN)], before[Path::new(TAKEN)], "{when}");
    cold.remove(Path::new(TAKEN));
    let mut expected = before.clone();
    expected.remove(Path::new(TAKEN));
    assert_eq!(cold, expected, "{when}");
    let inode = |name: &str| fs::metadata(target.join(name)).unwrap().ino();
    let linked: HashSet<u64> =
        ["torrents/linked.mkv", "library/L/linked.mkv", "library/again.mkv"].map(inode).into();
    assert_eq!(linked.len(), 1, "{when}: hard links are one file");
    let show = fs::metadata(target.join("tv/Show")).unwrap();
    assert_eq!(show.mode() & 0o7777, 0o2775, "{when}: directories keep their mode");
    for own in ["new", "intents"] {
        let left = fs::read_dir(target.join(".hob-mover").join(own)).unwrap().count();
        assert_eq!(left, 0, "{when}: nothing is left in {own}");
    }
}

/// Nobody limits it and nobody ends it.
pub struct Free(u32);

impl Gauge for Free {
    fn copied(&mut self, _: u64) -> Result<(), OpError> {
        Ok(())
    }
    fn check(&mut self) -> Result<(), OpError> {
        Ok(())
    }
    fn pause(&mut self) -> Result<(), OpError> {
        std::thread::yield_now();
        Ok(())
    }
    fn wait(&mut self) -> Result<(), OpError> {
        // Nobody else moves here, but a process that another test starts holds all that is locked until it runs its program.
        self.0 += 1;
        assert!(self.0 < 1000, "nobody else moves here");
        std::thread::sleep(std::time::Duration::from_millis(5));
        Ok(())
    }
}

/// Recovers and moves all, as `storage::migrate` does, in small batches.
pub fn migrate(source: &dyn Tier, target: &dyn Tier) -> Result<Moved, OpError> {
    migrate_in_batches("0123456789ab", 2 << 20, source, target)
}

/// The same as the effect with this mark.
pub fn migrate_as(mark: &str, source: &dyn Tier, target: &dyn Tier) -> Result<Moved, OpError> {
    migrate_in_batches(mark, BATCH_BYTES, source, target)
}

/// The same in batches of so many bytes.
pub fn migrate_in_batches(
    mark: &str,
    batch_bytes: u64,
    source: &dyn Tier,
    target: &dyn Tier,
) -> Result<Moved, OpError> {
    let mut mover = Mover {
        source,
        target,
        mark: mark.to_owned(),
        now: "2026-01-02T03:04:05Z".to_owned(),
        all_attributes: true,
        reserve_bytes: 0,
        prune: true,
        below: PathBuf::new(),
        batch_bytes,
        gauge: &mut Free(0),
    };
    let _session = mover.begin()?;
    let mut all = mover.recover()?;
    let (found, _) = walk(source, Path::new(""), mover.gauge)?;
    let now = Time { seconds: 1_800_000_000, nanos: 0 };
    let selection = Rules::default().select(&found, &HashSet::new(), now);
    let moved = mover.run(&selection.groups, &mut || false)?;
    all.names.extend(moved.names);
    all.skipped.extend(selection.skipped.into_iter().chain(moved.skipped));
    Ok(all)
}
