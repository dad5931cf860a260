//! Files that start workflows: over a fake file system and crashes, and over the real one.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hob_daemon::clock::Machine;
use hob_daemon::watches::live::LiveFiles;
use hob_daemon::watches::{Files, Glob, Scan, Seen, Signature, Watches};

use crate::events::outputs;
use crate::world::World;

/// Files by path: size, time of change, and whether somebody writes to them; and whether their file system says nothing.
#[derive(Default)]
struct FakeFiles(Mutex<BTreeMap<String, (Signature, bool)>>, AtomicBool);

impl FakeFiles {
    fn put(&self, path: &str, content: i128, writing: bool) {
        let mut files = self.0.lock().unwrap();
        let inode = (1, u64::from(path.bytes().map(u32::from).sum::<u32>()));
        files.insert(path.to_owned(), (Signature { size: 1, modified: content, inode }, writing));
    }
}

impl Files for FakeFiles {
    fn scan(&self, glob: &Glob) -> Scan {
        if self.1.load(Ordering::Relaxed) {
            return Scan { unanswered: true, ..Scan::default() };
        }
        let files = self.0.lock().unwrap();
        let matching = files.iter().filter(|(path, _)| glob.matches(Path::new(path)));
        let seen = |(path, (signature, _)): (&String, &(Signature, bool))| Seen {
            path: path.into(),
            signature: *signature,
        };
        Scan { files: matching.map(seen).collect(), ..Scan::default() }
    }
    fn written_to(&self, wanted: &HashSet<(u64, u64)>) -> HashSet<(u64, u64)> {
        let files = self.0.lock().unwrap();
        let writing = files.values().filter(|(_, writing)| *writing).map(|(signature, _)| signature.inode);
        writing.filter(|inode| wanted.contains(inode)).collect()
    }
    fn wait(&self, _: Duration) -> bool {
        false
    }
    fn stop(&self) {}
}

const TEXT: &str = r#"workflow("film", #{ on: watch("/hot/*.mkv", #{ settle: "10s" }) }, |file| file.path);"#;

fn watches(world: &World, files: &Arc<FakeFiles>) -> Watches {
    let (files, machine) =
        (Arc::clone(files) as Arc<dyn Files>, Arc::clone(&world.hands) as Arc<dyn Machine>);
    let watches = Watches::new(world.launch.clone(), &world.homelab, files, machine);
    watches.begin().unwrap();
    watches
}

/// Time passes while files are looked at each second.
fn pass(world: &World, watches: &Watches, seconds: u32) {
    for _ in 0..seconds {
        world.pass("1s");
        watches.round();
        world.go_on();
    }
}

#[test]
fn a_file_starts_a_workflow_when_it_is_whole() {
    let (world, files) = (World::new(TEXT), Arc::new(FakeFiles::default()));
    files.put("/hot/old.mkv", 1, false);
    let watches = watches(&world, &files);
    pass(&world, &watches, 30);
    assert!(outputs(&world, "film").is_empty(), "what was there before is left alone");
    files.put("/hot/new.mkv", 1, true);
    files.put("/hot/new.txt", 1, false);
    files.put("/hot/.hidden.mkv", 1, false);
    files.put("/hot/deep/new.mkv", 1, false);
    pass(&world, &watches, 15);
    assert!(outputs(&world, "film").is_empty(), "somebody writes to it");
    files.put("/hot/new.mkv", 2, false);
    pass(&world, &watches, 8);
    assert!(outputs(&world, "film").is_empty(), "it has just changed");
    pass(&world, &watches, 4);
    assert_eq!(outputs(&world, "film"), ["/hot/new.mkv"]);
    assert_eq!(world.fields("file.settled", "name"), ["new.mkv"]);
    pass(&world, &watches, 30);
    assert_eq!(outputs(&world, "film").len(), 1);
    // Another content is another file.
    files.put("/hot/old.mkv", 2, false);
    pass(&world, &watches, 12);
    assert_eq!(outputs(&world, "film"), ["/hot/new.mkv", "/hot/old.mkv"]);
}

#[test]
fn what_is_there_when_a_file_system_answers_for_the_first_time_starts_nothing() {
    let (world, files) = (World::new(TEXT), Arc::new(FakeFiles::default()));
    files.put("/hot/old.mkv", 1, false);
    let is_silent = |silent| files.1.store(silent, Ordering::Relaxed);
    is_silent(true);
    let watches = watches(&world, &files);
    pass(&world, &watches, 30);
    is_silent(false);
    pass(&world, &watches, 30);
    assert!(outputs(&world, "film").is_empty());
    // Later silence forgets nothing.
    files.put("/hot/new.mkv", 1, false);
    is_silent(true);
    pass(&world, &watches, 30);
    is_silent(false);
    pass(&world, &watches, 30);
    assert_eq!(outputs(&world, "film"), ["/hot/new.mkv"]);
}

#[test]
fn each_content_starts_it_once_over_crashes() {
    let (mut world, files) = (World::new(TEXT), Arc::new(FakeFiles::default()));
    let mut now = watches(&world, &files);
    for n in 0..20 {
        files.put(&format!("/hot/{n:02}.mkv"), 1, false);
        pass(&world, &now, n % 4 * 5);
        // What is not durable yet is lost with the process.
        world = world.crash(usize::try_from(n % 3).unwrap(), "1s", TEXT);
        now = watches(&world, &files);
    }
    pass(&world, &now, 15);
    let mut found: Vec<String> =
        outputs(&world, "film").iter().map(|path| path.as_str().unwrap().to_owned()).collect();
    found.sort();
    let expected: Vec<String> = (0..20).map(|n| format!("/hot/{n:02}.mkv")).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_pattern_that_is_no_pattern_is_refused() {
    for (of, why) in [("/hot/{a", "unclosed"), ("", "names no files"), ("/hot/", "names no files")] {
        let text = format!(r#"workflow("film", #{{ on: watch("{of}") }}, |file| file.path);"#);
        let problems = World::problems(&text);
        assert!(problems.contains(why), "{of}: {problems}");
    }
    let text = r#"workflow("film", #{ on: watch("/hot/*", #{ setle: "1s" }) }, |file| file.path);"#;
    assert!(World::problems(text).contains("did you mean `settle`?"));
}

#[test]
fn the_real_file_system_is_looked_at() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
    let live = LiveFiles::new().unwrap();
    let glob = Glob::new(&format!("{}/**/*.mkv", dir.path().display())).unwrap();
    assert!(live.scan(&glob).files.is_empty());
    // The directory is watched: what happens there ends the waiting.
    let path = dir.path().join("a/b/film.mkv");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(b"half").unwrap();
    assert!(live.wait(Duration::from_secs(60)));
    let files = live.scan(&glob).files;
    assert_eq!(files.len(), 1);
    assert_eq!((files[0].path.as_path(), files[0].signature.size), (path.as_path(), 4));
    let inodes: HashSet<_> = files.iter().map(|seen| seen.signature.inode).collect();
    assert_eq!(live.written_to(&inodes), inodes);
    drop(file);
    let reader = std::fs::File::open(&path).unwrap();
    assert!(live.written_to(&inodes).is_empty(), "whoever reads it does not write it");
    drop(reader);
    live.stop();
    assert!(!live.wait(Duration::from_secs(60)));
}
