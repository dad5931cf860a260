//! Which files are moved: as a table, without a file system.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hob_std_storage::mover::intent;
use hob_std_storage::mover::select::{Found, Group, Rules, enough, patterns, surplus, within};
use hob_std_storage::tier::{Kind, Meta, Space, Time};
use proptest::prelude::*;

const NOW: i64 = 1_800_000_000;

/// A file of 1,000 bytes that changed so many seconds ago.
fn found(path: &str, inode: u64, links: u64, seconds_ago: i64) -> Found {
    let time = Time { seconds: NOW - seconds_ago, nanos: 0 };
    let meta = Meta {
        kind: Kind::File,
        size: 1000,
        allocated: 4096,
        mode: 0o644,
        uid: 0,
        gid: 0,
        accessed: time,
        modified: time,
        changed: time,
        device: 7,
        inode,
        links,
    };
    Found { path: path.into(), meta }
}

fn set(all: &[&str]) -> Option<globset::GlobSet> {
    patterns(&all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()).unwrap()
}

/// What is moved, and what stays for which reason.
fn select(rules: &Rules, found: &[Found], open: &[u64]) -> (Vec<Vec<String>>, Vec<String>, u64) {
    let open: HashSet<(u64, u64)> = open.iter().map(|inode| (7, *inode)).collect();
    let selection = rules.select(found, &open, Time { seconds: NOW, nanos: 0 });
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    let groups = selection.groups.iter().map(|group| group.names.iter().map(text).collect()).collect();
    let skipped =
        selection.skipped.iter().map(|it| format!("{}: {}", it.path.display(), it.reason)).collect();
    (groups, skipped, selection.not_due)
}

#[test]
fn what_stays_is_told_with_the_reason() {
    let rules = Rules {
        exclude: set(&["*.nfo", "/keep/"]),
        age: Duration::from_secs(100),
        settle: Duration::from_secs(1000),
        busy: vec!["seeding".into()],
        ..Rules::default()
    };
    let mut link = found("tv/link", 20, 1, 5000);
    link.meta.kind = Kind::Other("a symbolic link");
    let all = [
        found("tv/old", 1, 1, 9000),
        found("tv/older", 2, 1, 9500),
        found("tv/open", 3, 1, 9000),
        found("tv/young", 4, 1, 50),
        found("tv/growing", 5, 1, 500),
        found("tv/film.mkv.part", 6, 1, 9000),
        found("seeding/x", 7, 1, 9000),
        found("tv/a", 8, 2, 9000),
        found("library/a", 8, 2, 9000),
        found("tv/b", 9, 3, 9000),
        found("tv/c", 10, 2, 9000),
        found("tv/c.nfo", 10, 2, 9000),
        found("tv/x.nfo", 11, 1, 9000),
        found("keep/x", 12, 1, 9000),
        found(".hob-mover/lock", 13, 1, 9000),
        found("tv/ahead", 14, 1, -500),
        link,
    ];
    let (groups, skipped, not_due) = select(&rules, &all, &[3]);
    assert_eq!(groups, [vec!["tv/older"], vec!["tv/a", "library/a"], vec!["tv/old"]]);
    assert_eq!(
        skipped,
        [
            "seeding/x: it is in use, as `busy` says",
            "tv/b: 2 more of its names (hard links) are outside of what is moved",
            "tv/c: another of its names (hard links) is not to be moved",
            "tv/c.nfo: another of its names (hard links) is not to be moved",
            "tv/film.mkv.part: its name says that it is not finished",
            "tv/growing: it changed a moment ago: it may still grow",
            "tv/link: it is a symbolic link",
            "tv/open: it is open",
        ]
    );
    assert_eq!(not_due, 2, "one is too young, one from a time ahead");
}

#[test]
fn patterns_fit_at_any_depth_or_from_the_root() {
    let cases: [(&str, &[&str], &[&str]); 5] = [
        ("*.mkv", &["a.mkv", "x/y/a.mkv"], &["a.mkv2", "a.srt"]),
        ("/tv", &["tv", "tv/a/b"], &["x/tv", "tv2"]),
        ("tv/**", &["tv/a", "tv/a/b"], &["x/tv/a"]),
        ("cache/", &["cache/a", "x/cache/b"], &["caches/a"]),
        ("x/*.mkv", &["x/a.mkv"], &["x/y/a.mkv", "y/x/a.mkv"]),
    ];
    for (pattern, fitting, others) in cases {
        let set = set(&[pattern]).unwrap();
        fitting.iter().for_each(|path| assert!(set.is_match(path), "{pattern} {path}"));
        others.iter().for_each(|path| assert!(!set.is_match(path), "{pattern} {path}"));
    }
    assert!(patterns(&["[".to_owned()]).unwrap_err().message.contains("pattern"));
}

#[test]
fn watermarks_and_budgets_take_the_first() {
    let groups = |count: u64| -> Vec<Group> {
        let group = |it| Group { names: vec![format!("{it}").into()], meta: found("", it, 1, 1000).meta };
        (0..count).map(group).collect()
    };
    for (bytes, expected) in [(0, 0), (1, 1), (4096, 1), (4097, 2), (u64::MAX, 5)] {
        assert_eq!(enough(groups(5), bytes).len(), expected, "{bytes}");
    }
    for (names, bytes, expected) in [(2, u64::MAX, 2), (9, 2500, 2), (9, 10, 1), (9, u64::MAX, 5)] {
        assert_eq!(within(groups(5), names, bytes).len(), expected, "{names} {bytes}");
    }
    let space = Space { bytes: 1000, bytes_free: 150, bytes_available: 100, inodes: 0, inodes_free: 0 };
    assert_eq!(space.bytes_used(), 850);
    assert!((space.percent_used() - 100.0 * 850.0 / 950.0).abs() < 1e-9, "as df counts");
    assert_eq!(surplus(&space, 80.0), 850 - 760);
    assert_eq!(surplus(&space, 95.0), 0);
}

proptest! {
    /// No path is lost on the way to an intent and back, whatever bytes it has.
    #[test]
    fn paths_keep_each_byte(bytes in proptest::collection::vec(1_u8.., 1..300)) {
        use std::os::unix::ffi::OsStringExt;
        let path: PathBuf = std::ffi::OsString::from_vec(bytes).into();
        prop_assert_eq!(intent::path(&intent::text(&path)), path);
    }

    /// An intent that a crash cut anywhere is read as far as it is whole.
    #[test]
    fn a_torn_intent_is_read_as_far_as_it_goes(cut in 0_usize..2000, junk in proptest::collection::vec(any::<u8>(), 0..20)) {
        let groups: Vec<Group> = (0..5)
            .map(|it| Group { names: vec![format!("a/{it}").into(), "b".into()], meta: found("", it, 2, 0).meta })
            .collect();
        let mut whole = intent::begin(Path::new("/hot"), &groups);
        whole += &intent::verified([(1, "abc"), (3, "def")].into_iter());
        let all = intent::parse(whole.as_bytes()).unwrap().unwrap();
        prop_assert_eq!(all.files.len(), 5);
        prop_assert_eq!(all.files[3].hash.as_deref(), Some("def"));
        let mut torn = whole.as_bytes()[..cut.min(whole.len())].to_vec();
        torn.extend(junk);
        if let Ok(Some(batch)) = intent::parse(&torn) {
            prop_assert!(batch.files.len() <= 5);
            for (read, file) in batch.files.iter().zip(&all.files) {
                prop_assert_eq!(&read.names, &file.names);
                prop_assert!(read.hash.is_none() || read.hash == file.hash);
            }
        }
    }
}

#[test]
fn an_intent_of_a_later_version_is_refused() {
    let later = "{\"batch\":{\"version\":9,\"source\":\"/hot\"}}\n";
    assert!(intent::parse(later.as_bytes()).unwrap_err().contains("version 9"));
    assert_eq!(intent::parse(b"").unwrap(), None);
}
