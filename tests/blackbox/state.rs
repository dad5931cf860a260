//! State directories that are full, read-only, damaged, or from the future.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use hob_tests::home::Home;
use hob_tests::until;

use crate::{as_nobody, home, is_root, set_mode};

/// The byte of the database's header where the format number of its owner begins (big endian, 4 bytes).
/// Source: <https://www.sqlite.org/fileformat.html#the_database_header>
const USER_VERSION_AT: u64 = 60;
/// The size of the small file system. hob demands that 32 MiB stay free.
const SMALL_MIB: usize = 48;

/// A state with runs in it: one ended, one waits.
fn lived_in() -> Home {
    let home = home();
    home.write("script.rhai", r#"files::write("a", "b"); wait_signal("go"); "went""#);
    let _ = home.hob(&["run", "script.rhai"]).exits(3);
    // Whole pages in the write-ahead log would stand in for the damaged ones.
    assert_eq!(left(&home), ["journal.db", "state.lock"]);
    home
}

/// The names in the state directory.
fn left(home: &Home) -> Vec<String> {
    let entries = std::fs::read_dir(home.state()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_command_that_ends_leaves_nothing_beside_the_database() {
    let home = home();
    home.write("wait.rhai", "wait_signal(\"go\")");
    // Threads that are about to end may be slower than the command: each of these is tried several times.
    for _ in 0..5 {
        for (args, code) in [
            (&["eval", "1"][..], 0),
            (&["eval", "files::write(\"a\", \"b\")"], 0),
            (&["eval", "fail(\"no\")"], 1),
            (&["eval", "process::run(\"true\")"], 0),
            (&["run", "--detach", "wait.rhai"], 0),
            (&["run", "wait.rhai"], 3),
            (&["runs", "signal", "no-such-run", "go"], 1),
            (&["journal", "rebuild"], 0),
        ] {
            let _ = home.hob(args).exits(code);
            assert_eq!(left(&home), ["journal.db", "state.lock"], "{args:?}");
        }
    }
}

fn database(home: &Home) -> PathBuf {
    home.state().join("journal.db")
}

fn waiting_run(home: &Home) -> String {
    home.json(&["runs", "list", "--status", "waiting"])[0]["run"].as_str().unwrap().to_owned()
}

#[test]
fn garbage_in_place_of_the_journal() {
    let home = lived_in();
    std::fs::write(database(&home), "This is no database, and long enough to be one. ".repeat(1000)).unwrap();
    for args in [&["eval", "1"][..], &["runs", "list"], &["journal", "check"], &["state", "backup", "copy"]] {
        let _ = home.hob(args).exits(1).saying("HOB-0403");
    }
    assert!(home.read("state/journal.db").starts_with("This is no database"), "it is left as it is");
}

#[test]
fn flipped_bytes_are_found_and_nothing_acts_on_them() {
    let home = lived_in();
    // In the text that the run wrote: the page is whole for the database, but not for the journal.
    let path = database(&home);
    let bytes = std::fs::read(&path).unwrap();
    let script = b"files::write(\"a\", \"b\")";
    let places: Vec<usize> = bytes
        .windows(script.len())
        .enumerate()
        .filter(|(_, window)| window == script)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "the sources are in the journal");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    for at in places {
        file.write_all_at(b"F", at as u64).unwrap();
    }
    let _ = home.hob(&["journal", "check"]).exits(1).saying("HOB-0403");
    let run = waiting_run(&home);
    let _ = home.hob(&["runs", "signal", &run, "go"]).exits(1).saying("HOB-0403");
    assert_ne!(home.json(&["runs", "show", &run])["status"], "succeeded");
}

#[test]
fn a_journal_from_the_future_is_refused() {
    let home = lived_in();
    let file = std::fs::OpenOptions::new().write(true).open(database(&home)).unwrap();
    file.write_all_at(&9_999_u32.to_be_bytes(), USER_VERSION_AT).unwrap();
    for args in [&["eval", "1"][..], &["runs", "list"], &["journal", "check"]] {
        let _ = home.hob(args).exits(1).saying("HOB-0404");
    }
}

#[test]
fn a_first_start_that_was_killed_leaves_nothing_in_the_way() {
    let home = home();
    home.write("state/journal.db", "");
    let _ = home.hob(&["runs", "list"]).exits(0).saying("no runs");
    assert_eq!(home.hob(&["eval", "1"]).exits(0).out(), "1");
}

#[test]
fn a_read_only_state_is_read_and_not_written() {
    if !is_root("prepare what another user may not write") {
        return;
    }
    let home = lived_in();
    set_mode(home.state(), 0o755);
    for entry in std::fs::read_dir(home.state()).unwrap().flatten() {
        set_mode(entry.path(), 0o644);
    }
    let _ = as_nobody(&home, &["eval", "1"]).exits(1).saying("HOB-0402");
    let list = as_nobody(&home, &["runs", "list", "--json"]).exits(0);
    let found = list.json();
    assert!(found.as_array().unwrap().iter().any(|run| run["status"] == "waiting"), "{found:#}");
}

/// A small file system that is unmounted when this is dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Self {
        let at = tempfile::Builder::new().prefix("hob-test-").tempdir().unwrap();
        let size = format!("size={SMALL_MIB}m,mode=0700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at.path()).status();
        assert!(mounted.unwrap().success(), "a tmpfs can be mounted");
        Self(at)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_stops_acting_and_loses_nothing() {
    if !is_root("mount a small file system") {
        return;
    }
    let small = Small::mount();
    let home = home().with_state(&small.0.path().join("state"));
    home.write(
        "script.rhai",
        r#"files::append("log", "one\n");
           wait_signal("go");
           files::append("log", "two\n");
           "done""#,
    );
    let _ = home.hob(&["run", "script.rhai"]).exits(3);
    let run = waiting_run(&home);

    let fill = small.0.path().join("fill");
    std::fs::write(&fill, vec![b'x'; (SMALL_MIB - 8) << 20]).unwrap();
    let _ = home.hob(&["run", "script.rhai"]).exits(1).saying("HOB-0405");
    let _ = home.hob(&["runs", "signal", &run, "go"]);
    assert_eq!(home.lines("log"), ["one"], "nothing acts");
    assert_eq!(home.json(&["runs", "list"]).as_array().unwrap().len(), 1, "reading goes on");

    // Also when there is no room at all.
    let _ = std::fs::write(small.0.path().join("rest"), vec![b'x'; 16 << 20]);
    let ran = home.hob(&["run", "script.rhai"]);
    assert!(ran.code == Some(1) && (ran.says("HOB-0405") || ran.says("HOB-0402")), "{ran:#?}");

    std::fs::remove_file(small.0.path().join("rest")).unwrap();
    std::fs::remove_file(fill).unwrap();
    // The signal had arrived; the effect after it was refused, and that failed the run.
    assert_eq!(home.json(&["runs", "show", &run])["status"], "failed");
    let _ = home.hob(&["runs", "retry", &run]).exits(0);
    assert_eq!(home.json(&["runs", "show", &run])["output"], "done");
    assert_eq!(home.lines("log"), ["one", "two"]);
    let _ = home.hob(&["journal", "check"]).exits(0);
}

#[test]
fn a_full_disk_blocks_a_boot_and_room_lets_it_go_on() {
    if !is_root("mount a small file system") {
        return;
    }
    let small = Small::mount();
    let home = home().with_state(&small.0.path().join("state"));
    home.write(
        "lab/homelab.rhai",
        r#"homelab(#{ name: "full" });
           let base = service("base", #{ command: ["sleep", "1000"], stop_timeout: "1s", restart: #{ policy: "always", backoff: "500ms", max: "500ms" } });
           service("app", #{ command: ["sleep", "1000"], needs: [base], stop_timeout: "1s" });"#,
    );
    let _ = home.up("lab", &[]).stop().exits(0);

    let fill = small.0.path().join("fill");
    std::fs::write(&fill, vec![b'x'; (SMALL_MIB - 8) << 20]).unwrap();
    let mut up = home.up("lab", &[]);
    let (base, app) = (home.service("base"), home.service("app"));
    assert_eq!((&base["state"], &app["state"]), (&"failed".into(), &"blocked".into()));
    let note = base["note"].as_str().unwrap();
    assert!(note.contains("bytes are free on the disk of"), "{note}");
    assert_eq!(app["note"], "needs base, which failed");

    std::fs::remove_file(fill).unwrap();
    until("both run", || (home.service("app")["state"] == "ready").then_some(()));
    let _ = up.stop().exits(0);
}
