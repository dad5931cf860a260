//! `hob secrets` and what it leaves behind: nothing.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hob_tests::home::Home;
use hob_tests::process::Background;
use hob_tests::until;
use rustix::process::Signal;

use crate::home;

/// A value that must be nowhere but where it was asked for.
const CANARY: &str = "hunter2-canary-5c1f";
const KEY: &str = "../../stdlib/secrets/tests/fixtures/keys.txt";

/// A home with a key, rules for it, and an encrypted file.
fn with_a_secret() -> Home {
    let home = home();
    let key = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(KEY)).unwrap();
    let public = String::from_utf8_lossy(&key)
        .split_once("public key: ")
        .unwrap()
        .1
        .split('\n')
        .next()
        .unwrap()
        .to_owned();
    home.write("key.txt", &key);
    home.write(".sops.yaml", format!("creation_rules:\n  - age: {public}\n"));
    home.write("db.yaml", format!("password: {CANARY}\n"));
    let _encrypted = home.hob(&["secrets", "encrypt", "-i", "db.yaml"]).exits(0);
    home
}

/// An editor that says where its file is, and then waits for `go`.
fn editor(home: &Home, then: &str) -> PathBuf {
    let script = format!(
        "#!/bin/sh\necho \"$1\" > {0}/at.new && mv {0}/at.new {0}/at\n{then}\n",
        home.dir().display()
    );
    let editor = home.write("editor", script);
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o700)).unwrap();
    editor
}

fn start_editing(home: &Home, editor: &Path) -> (Background, PathBuf) {
    let mut command = home.command(&["secrets", "edit", "db.yaml", "-k", "key.txt"]);
    command.env("EDITOR", editor);
    let process = Background::start(&mut command, None);
    let at = until("the editor has its file", || {
        let at = home.read("at");
        (!at.is_empty()).then(|| PathBuf::from(at.trim()))
    });
    (process, at)
}

#[test]
fn the_edited_text_is_private_and_gone_when_a_signal_ends_the_edit() {
    for signal in [Signal::TERM, Signal::HUP] {
        let home = with_a_secret();
        let before = home.read("db.yaml");
        let (mut process, at) = start_editing(&home, &editor(&home, "exec sleep 60"));
        assert_eq!(std::fs::metadata(&at).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(at.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(std::fs::read_to_string(&at).unwrap().contains(CANARY));
        process.signal(signal);
        let ran = process.end();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(!at.parent().unwrap().exists(), "the plain text is still at {}", at.display());
        assert_eq!(home.read("db.yaml"), before);
    }
}

#[test]
fn what_a_killed_edit_left_is_removed_by_the_next() {
    let home = with_a_secret();
    let (mut process, left) = start_editing(&home, &editor(&home, "exec sleep 60"));
    process.signal(Signal::KILL);
    process.end();
    assert!(left.exists(), "nothing can clear up behind SIGKILL");
    std::fs::remove_file(home.path("at")).unwrap();
    let (mut process, _) = start_editing(&home, &editor(&home, "exit 0"));
    process.end();
    assert!(!left.parent().unwrap().exists());
}

#[test]
fn a_file_that_changed_while_it_was_edited_is_left_as_it_is() {
    let home = with_a_secret();
    let editor = editor(
        &home,
        &format!("echo '# theirs' >> {}/db.yaml; echo 'more: x' >> \"$1\"", home.dir().display()),
    );
    let (mut process, _) = start_editing(&home, &editor);
    let ran = process.end();
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("db.yaml changed while it was edited"), "{}", ran.stderr);
    assert!(home.read("db.yaml").ends_with("# theirs\n"));
}

#[test]
fn a_secret_is_in_no_output_but_the_one_that_was_asked_for() {
    let home = with_a_secret();
    home.write("other.txt", "AGE-SECRET-KEY-1NOTONE\n");
    home.write("broken.yaml", home.read("db.yaml").replacen("data:", "data:AA", 1));
    home.write("plain.yaml", format!("a: [{CANARY}\n"));
    home.write("twice.env", format!("A={CANARY}\nA={CANARY}\n"));
    for args in [
        ["lint", "db.yaml", "-k", "key.txt", "-v"],
        ["lint", "plain.yaml", "-k", "key.txt", "-v"],
        ["decrypt", "broken.yaml", "-k", "key.txt", "-v"],
        ["decrypt", "plain.yaml", "-k", "key.txt", "-v"],
        ["encrypt", "plain.yaml", "-q", "-v", "--json"],
        ["encrypt", "twice.env", "-q", "-v", "--json"],
        ["rekey", "db.yaml", "--rotate", "-k", "key.txt"],
        ["decrypt", "db.yaml", "-k", "other.txt", "-v"],
        ["edit", "plain.yaml", "-k", "key.txt", "-v"],
    ] {
        let ran = home.hob(&[&["secrets"][..], &args].concat());
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.contains(CANARY) && !text.contains("NOTONE"), "{args:?}: {text}");
        }
    }
    // And nothing of it in what hob keeps: these commands have no state.
    assert!(!home.state().exists());
}
