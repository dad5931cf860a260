//! Directories, copies, moves, removals, links and patterns.

use hob_model::{ErrorKind, Value};
use hob_primitive::Probe;
use hob_std_files::primitive;
use serde_json::json;

use crate::{World, both, field};

fn make(w: &World, paths: &[&str]) {
    for path in paths {
        w.ok("files::write", json!([path, path, {"mkdir": true}]));
    }
}

#[test]
fn directories() {
    both(|w| {
        assert_eq!(w.ok("files::mkdir", json!(["a/b/c"])), Value::Bool(true));
        assert_eq!(w.ok("files::mkdir", json!(["a/b/c"])), Value::Bool(false));
        make(w, &["a/file"]);
        w.fails("files::mkdir", json!(["a/file"]), ErrorKind::Conflict, "is there and is no directory", "");
        w.fails("files::mkdir", json!(["a/file/x"]), ErrorKind::Invalid, "not a directory", "");
        assert_eq!(w.tree("."), ["a", "a/b", "a/b/c", "a/file"], "{}", w.name);
        w.fails("files::list", json!(["absent"]), ErrorKind::NotFound, "absent", "");
        w.fails("files::list", json!(["a", {"limit": 1}]), ErrorKind::Invalid, "more than 1 entries", "");
        let listed = w.ok("files::list", json!(["a", {"kind": "directory"}]));
        let Value::Array(entries) = listed else { panic!("{listed:?}") };
        assert_eq!((entries.len(), field(&entries[0], "name")), (1, "b".into()));
    });
}

#[test]
fn patterns() {
    both(|w| {
        make(
            w,
            &["a.log", "b.log", ".c.log", "d/e.log", "d/f/g.log", "d/.h/i.log", "x[1].txt", "m.mkv", "n.mp4"],
        );
        let root = w.harness.dir().to_str().unwrap().to_owned();
        for (pattern, expected) in [
            ("*.log", vec!["a.log", "b.log"]),
            (".*.log", vec![".c.log"]),
            ("*/*.log", vec!["d/e.log"]),
            ("**/*.log", vec!["a.log", "b.log", "d/e.log", "d/f/g.log"]),
            ("d/**", vec!["d/e.log", "d/f", "d/f/g.log"]),
            ("?.log", vec!["a.log", "b.log"]),
            ("[b-z].log", vec!["b.log"]),
            ("*.{mkv,mp4}", vec!["m.mkv", "n.mp4"]),
            ("{d,e}/e.log", vec!["d/e.log"]),
            ("x\\[1\\].txt", vec!["x[1].txt"]),
            ("a.log", vec!["a.log"]),
            ("a.log/x", vec![]),
            ("absent/*", vec![]),
        ] {
            let found = w.ok("files::glob", json!([pattern]));
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(found, Value::from(expected), "{}: {pattern}", w.name);
        }
        let absolute = w.ok("files::glob", json!([format!("{root}/*/e.log")]));
        assert_eq!(absolute, Value::from(vec![format!("{root}/d/e.log")]));
        let hidden = w.ok("files::glob", json!(["**/*.log", {"hidden": true}]));
        assert!(matches!(hidden, Value::Array(found) if found.len() == 6), "{}", w.name);
        let dirs = w.ok("files::glob", json!(["*", {"kind": "directory"}]));
        assert_eq!(dirs, Value::from(vec!["d".to_owned()]));
        w.fails("files::glob", json!(["[a"]), ErrorKind::Invalid, "the pattern", "");
        w.fails(
            "files::glob",
            json!(["*.log", {"limit": 1}]),
            ErrorKind::Invalid,
            "matches 2 paths",
            "narrow",
        );
    });
}

#[test]
fn copies() {
    both(|w| {
        make(w, &["a/x", "a/sub/y", "a/sub/deep/z"]);
        w.ok("files::chmod", json!(["a/x", "0600"]));
        w.ok("files::touch", json!(["a/x", {"modified": "2020-01-01T00:00:00Z"}]));
        w.ok("files::symlink", json!(["../x", "a/sub/link"]));
        let it = w.ok("files::copy", json!(["a", "b", {"recursive": true}]));
        assert_eq!(
            (it.get("files"), it.get("bytes")),
            (Some(&Value::Int(4)), Some(&Value::Int(22))),
            "{}",
            w.name
        );
        assert_eq!(w.tree("b"), w.tree("a"));
        let x = w.ok("files::stat", json!(["b/x"]));
        assert_eq!(
            (field(&x, "mode"), field(&x, "modified")),
            ("0600".into(), "2020-01-01T00:00:00Z".into())
        );
        let time = |path: &str| field(&w.ok("files::stat", json!([path])), "modified");
        assert_eq!(time("a/sub"), time("b/sub"), "{}: times of directories too", w.name);
        let link = w.ok("files::stat", json!(["b/sub/link", {"follow": false}]));
        assert_eq!(field(&link, "target"), "../x");

        w.ok("files::write", json!(["b/other", "stays"]));
        w.ok("files::write", json!(["a/x", "new"]));
        w.ok("files::copy", json!(["a", "b", {"recursive": true}]));
        assert_eq!((w.text("b/x").as_str(), w.text("b/other").as_str()), ("new", "stays"));
        w.ok("files::copy", json!(["a/x", "fresh/x", {"mkdir": true}]));
        assert_eq!(w.text("fresh/x"), "new");

        use ErrorKind::{Conflict, Invalid, NotFound};
        for (args, kind, says, hint) in [
            (json!(["a", "c"]), Invalid, "is a directory", "recursive: true"),
            (json!(["a", "a/sub/c", {"recursive": true}]), Invalid, "is inside", ""),
            (json!(["a/x", "b"]), Conflict, "is there already", ""),
            (json!(["a/x", "b/x", {"replace": false}]), Conflict, "is there already", "replace: true"),
            (json!(["a/x", "no/x"]), NotFound, "there is no directory", "mkdir: true"),
            (json!(["absent", "b/x"]), NotFound, "absent", ""),
            (json!(["a", "b/x", {"recursive": true}]), Conflict, "is there already", ""),
        ] {
            w.fails("files::copy", args, kind, says, hint);
        }
    });
}

#[test]
fn renaming_and_looking_whether_it_happened() {
    both(|w| {
        let (h, p) = (&w.harness, primitive());
        make(w, &["old", "taken"]);
        let args = || json!(["old", "new"]);
        let noted = h.intent(&p, "files::rename", args()).unwrap();
        let probe = |noted: &Value| h.probe(&p, "files::rename", args(), noted.clone()).unwrap();
        assert_eq!(probe(&noted), Probe::NotDone, "{}", w.name);
        h.call_noted(&p, "files::rename", args(), noted.clone()).unwrap();
        assert_eq!(probe(&noted), Probe::Done(Value::Unit));
        make(w, &["old"]);
        assert_eq!(
            probe(&noted),
            Probe::Done(Value::Unit),
            "{}: another file with the old name is another",
            w.name
        );
        w.ok("files::copy", json!(["taken", "new"]));
        assert!(matches!(probe(&noted), Probe::Unknown(_)));

        use ErrorKind::{Conflict, Invalid, NotFound};
        w.ok("files::mkdir", json!(["full/x"]));
        w.ok("files::mkdir", json!(["dir"]));
        for (args, kind, says, hint) in [
            (json!(["absent", "x"]), NotFound, "absent", ""),
            (json!(["old", "taken", {"replace": false}]), Conflict, "is there already", "replace: true"),
            (json!(["dir", "full"]), Conflict, "is there already", "remove it"),
            (json!(["full", "full/y"]), Invalid, "is inside", ""),
            (json!(["old", "no/x"]), NotFound, "there is no directory", "mkdir: true"),
            (json!(["old", "dir"]), Invalid, "is a directory", ""),
        ] {
            w.fails("files::rename", args, kind, says, hint);
        }
        w.ok("files::rename", json!(["old", "taken"]));
        assert_eq!(w.text("taken"), "old");
        w.ok("files::rename", json!(["dir", "deep/er", {"mkdir": true}]));
        assert_eq!(w.tree("deep"), ["er"]);
    });
}

#[test]
fn removing() {
    both(|w| {
        make(w, &["f", "d/x", "d/sub/y", "kept/z"]);
        w.ok("files::symlink", json!(["../kept", "d/link"]));
        let gone = |args| w.ok("files::remove", args);
        assert_eq!((gone(json!(["f"])), gone(json!(["f"]))), (Value::Bool(true), Value::Bool(false)));
        assert_eq!(gone(json!(["f/below"])), Value::Bool(false));
        w.fails("files::remove", json!(["d"]), ErrorKind::Conflict, "is not empty", "recursive: true");
        assert_eq!(gone(json!(["d", {"recursive": true}])), Value::Bool(true));
        w.fails("files::remove", json!(["/", {"recursive": true}]), ErrorKind::Invalid, "root directory", "");
        w.ok("files::mkdir", json!(["empty"]));
        assert_eq!(gone(json!(["empty"])), Value::Bool(true));
        assert_eq!(w.tree("."), ["kept", "kept/z"], "{}: the link was not followed", w.name);
    });
}

#[test]
fn bits_of_a_whole_tree() {
    both(|w| {
        make(w, &["d/x", "d/sub/y"]);
        let mode = |path: &str| field(&w.ok("files::stat", json!([path])), "mode");
        assert_eq!(w.ok("files::chmod", json!(["d", "0640", {"recursive": true}])), Value::Bool(true));
        assert_eq!(
            (mode("d"), mode("d/sub"), mode("d/sub/y")),
            ("0750".into(), "0750".into(), "0640".into()),
            "{}",
            w.name
        );
        assert_eq!(w.ok("files::chmod", json!(["d", "0640", {"recursive": true}])), Value::Bool(false));
        w.ok("files::chmod", json!(["d", "0600", {"recursive": true, "directories": "0711"}]));
        assert_eq!((mode("d"), mode("d/x")), ("0711".into(), "0600".into()));
        w.ok("files::symlink", json!(["d/x", "link"]));
        w.ok("files::chmod", json!(["link", "0644"]));
        assert_eq!(mode("d/x"), "0644");
        w.fails("files::chmod", json!(["absent", "0644"]), ErrorKind::NotFound, "absent", "");
    });
}

#[test]
fn links() {
    both(|w| {
        make(w, &["v1/app", "v2/app", "file"]);
        let link = |args| w.ok("files::symlink", args);
        assert_eq!(link(json!(["v1", "current"])), Value::Bool(true));
        assert_eq!(link(json!(["v1", "current"])), Value::Bool(false));
        assert_eq!(link(json!(["v2", "current"])), Value::Bool(true));
        assert_eq!(w.text("current/app"), "v2/app");
        assert_eq!(link(json!(["v1", "file"])), Value::Bool(true));
        w.fails("files::symlink", json!(["v1", "v2"]), ErrorKind::Conflict, "is there already", "");
        w.fails("files::symlink", json!(["v2", "file", {"replace": false}]), ErrorKind::Conflict, "file", "");
        w.fails("files::symlink", json!(["", "x"]), ErrorKind::Invalid, "not empty", "");
    });
}

#[test]
fn a_cancelled_run_stops_long_work() {
    both(|w| {
        make(w, &["d/x"]);
        w.harness.cancel().cancel();
        for (name, args) in [
            ("files::copy", json!(["d", "e", {"recursive": true}])),
            ("files::hash", json!(["d/x"])),
            ("files::archive", json!(["d", "d.tar"])),
            ("files::list", json!(["d"])),
        ] {
            w.fails(name, args, ErrorKind::Cancelled, "", "");
        }
    });
}
