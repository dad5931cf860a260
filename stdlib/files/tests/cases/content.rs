//! Reading and writing one file.

use hob_model::{ErrorKind, Value};
use hob_primitive::Probe;
use hob_std_files::primitive;
use serde_json::json;

use crate::{both, field};

#[test]
fn what_is_written_is_read() {
    both(|w| {
        let it = w.ok("files::write", json!(["a.txt", "grüße\n"]));
        assert_eq!((it.get("changed"), it.get("bytes")), (Some(&Value::Bool(true)), Some(&Value::Int(8))));
        assert_eq!(field(&it, "path"), w.harness.dir().join("a.txt").to_str().unwrap());
        assert_eq!(w.text("a.txt"), "grüße\n");
        let again = w.ok("files::write", json!(["a.txt", "grüße\n"]));
        assert_eq!(again.get("changed"), Some(&Value::Bool(false)), "{}", w.name);
        assert_eq!(w.tree("."), ["a.txt"], "{}: no temporary file is left", w.name);

        let bytes = vec![0, 159, 146, 150];
        let path = Value::from("b.bin");
        w.harness.call_values(&primitive(), "files::write", vec![path, Value::Blob(bytes.clone())]).unwrap();
        assert_eq!(w.ok("files::read", json!(["b.bin", {"binary": true}])), Value::Blob(bytes));
        w.fails("files::read", json!(["b.bin"]), ErrorKind::Invalid, "byte 1 is not UTF-8", "binary: true");
        w.ok("files::write", json!(["empty", ""]));
        assert_eq!(w.text("empty"), "");
    });
}

#[test]
fn what_cannot_be_read_or_written() {
    both(|w| {
        w.ok("files::mkdir", json!(["dir"]));
        w.ok("files::write", json!(["five", "12345"]));
        w.ok("files::symlink", json!(["loop-b", "loop-a"]));
        w.ok("files::symlink", json!(["loop-a", "loop-b"]));
        let long = "n".repeat(300);
        use ErrorKind::{Invalid, NotFound};
        for (name, args, kind, says, hint) in [
            ("files::read", json!(["absent"]), NotFound, "absent: no such file", ""),
            ("files::read", json!(["five/x"]), Invalid, "not a directory", ""),
            ("files::read", json!(["dir"]), Invalid, "is a directory", "files::list"),
            ("files::read", json!(["five", {"limit": 4}]), Invalid, "is larger than 4", "raise `limit`"),
            ("files::read", json!(["five", {"limit": "2G"}]), Invalid, "option `limit`", ""),
            ("files::read", json!(["loop-a"]), Invalid, "loop-a", "loop"),
            ("files::read", json!([""]), Invalid, "argument 1 (`path`): a path is not empty", ""),
            ("files::read", json!(["a\u{0}b"]), Invalid, "NUL", ""),
            ("files::read", json!([long]), Invalid, "name", "255"),
            ("files::write", json!(["no/dir/x", "1"]), NotFound, "there is no directory", "mkdir: true"),
            ("files::write", json!(["dir", "1"]), Invalid, "is a directory", "name the file in it"),
            ("files::write", json!(["five/x", "1"]), Invalid, "", ""),
            ("files::write", json!(["loop-a", "1"]), Invalid, "loop", ""),
            (
                "files::write",
                json!(["x", 1]),
                Invalid,
                "argument 2 (`content`): expected string, blob or secret, got int",
                "",
            ),
            ("files::write", json!(["x", "1", {"mode": 644}]), Invalid, "expected a mode", "\"01204\""),
            ("files::write", json!(["x", "1", {"mode": "999"}]), Invalid, "\"999\" is no mode", "0644"),
            (
                "files::write",
                json!(["x", "1", {"owner": "no-such-user"}]),
                Invalid,
                "there is no user `no-such-user`",
                "",
            ),
            ("files::write", json!(["x", "1", {"moed": "0644"}]), Invalid, "unknown option `moed`", "`mode`"),
            ("files::append", json!(["no/x", "1"]), NotFound, "there is no directory", "mkdir: true"),
            ("files::append", json!(["dir", "1"]), Invalid, "is a directory", ""),
            ("files::hash", json!(["dir"]), Invalid, "is a directory", ""),
            ("files::touch", json!(["x", {"modified": "yesterday"}]), Invalid, "is no time", "RFC 3339"),
        ] {
            w.fails(name, args, kind, says, hint);
        }
        assert_eq!(w.ok("files::read", json!(["five", {"limit": 5}])), Value::from("12345"));
    });
}

#[test]
fn mode_and_owner() {
    both(|w| {
        let mode = |path: &str| field(&w.ok("files::stat", json!([path])), "mode");
        w.ok("files::write", json!(["a", "1", {"mode": "0640"}]));
        assert_eq!(mode("a"), "0640");
        w.ok("files::write", json!(["a", "2"]));
        assert_eq!((mode("a"), w.text("a")), ("0640".into(), "2".into()), "{}: the mode is kept", w.name);
        let changed = |args| w.ok("files::write", args).get("changed").cloned();
        assert_eq!(changed(json!(["a", "2", {"mode": "0600"}])), Some(Value::Bool(true)));
        assert_eq!(
            (mode("a"), changed(json!(["a", "2", {"mode": "0600"}]))),
            ("0600".into(), Some(Value::Bool(false)))
        );
        w.ok("files::append", json!(["log", "1", {"mode": "0600"}]));
        assert_eq!(mode("log"), "0600");
        w.ok("files::mkdir", json!(["d", {"mode": "0700"}]));
        assert_eq!(
            (mode("d"), w.ok("files::mkdir", json!(["d", {"mode": "0700"}]))),
            ("0700".into(), Value::Bool(false))
        );

        if nix::unistd::Uid::effective().is_root() {
            w.ok("files::write", json!(["mine", "1", {"owner": "nobody", "group": 1}]));
            w.ok("files::write", json!(["mine", "2"]));
            let it = w.ok("files::stat", json!(["mine"]));
            assert_eq!(
                (field(&it, "owner"), field(&it, "group")),
                ("nobody".into(), "daemon".into()),
                "{}",
                w.name
            );
            assert_eq!(w.ok("files::chown", json!(["mine", {"owner": "root"}])), Value::Bool(true));
            assert_eq!(w.ok("files::chown", json!(["mine", {"owner": 0}])), Value::Bool(false));
        }
        w.fails("files::chown", json!(["mine"]), ErrorKind::Invalid, "neither `owner` nor `group`", "");
    });
}

#[test]
fn a_link_stays_a_link() {
    both(|w| {
        w.ok("files::write", json!(["real/file", "1", {"mkdir": true}]));
        w.ok("files::symlink", json!(["real/file", "link"]));
        w.ok("files::write", json!(["link", "2"]));
        w.ok("files::append", json!(["link", "3"]));
        assert_eq!(w.text("real/file"), "23");
        let it = w.ok("files::stat", json!(["link", {"follow": false}]));
        assert_eq!(
            (field(&it, "kind"), field(&it, "target")),
            ("symlink".into(), "real/file".into()),
            "{}",
            w.name
        );
        w.ok("files::symlink", json!(["nowhere", "dangling"]));
        assert_eq!(w.ok("files::exists", json!(["dangling"])), Value::Bool(false));
        w.ok("files::write", json!(["dangling", "made"]));
        assert_eq!(w.text("nowhere"), "made");
    });
}

#[test]
fn appending_and_looking_whether_it_happened() {
    both(|w| {
        let (h, p) = (&w.harness, primitive());
        let args = || json!(["log", "two\n"]);
        assert_eq!(w.ok("files::append", json!(["log", "one\n"])), Value::Int(4));
        let noted = h.intent(&p, "files::append", args()).unwrap();
        let probe = |noted: &Value| h.probe(&p, "files::append", args(), noted.clone()).unwrap();
        assert_eq!(probe(&noted), Probe::NotDone, "{}", w.name);
        h.call_noted(&p, "files::append", args(), noted.clone()).unwrap();
        assert_eq!(probe(&noted), Probe::Done(Value::Int(8)));

        // Others wrote before and after it.
        let noted = h.intent(&p, "files::append", args()).unwrap();
        w.ok("files::append", json!(["log", "x"]));
        assert_eq!(probe(&noted), Probe::NotDone);
        h.call_noted(&p, "files::append", args(), noted.clone()).unwrap();
        w.ok("files::append", json!(["log", "y"]));
        assert_eq!(
            (w.text("log").as_str(), probe(&noted)),
            ("one\ntwo\nxtwo\ny", Probe::Done(Value::Int(14)))
        );

        // What another process left torn is completed; what this one finds there is somebody else's.
        w.ok("files::write", json!(["log", "one\ntw"]));
        let of =
            |instance: &str| Value::map([("offset", Value::Int(4)), ("instance", Value::from(instance))]);
        assert_eq!(probe(&of("gone")), Probe::NotDone);
        h.call_noted(&p, "files::append", args(), of("gone")).unwrap();
        assert_eq!(w.text("log"), "one\ntwo\n", "{}", w.name);

        w.ok("files::write", json!(["log", ""]));
        assert!(matches!(probe(&of("gone")), Probe::Unknown(_)), "{}: somebody cut the file", w.name);
        w.ok("files::remove", json!(["log"]));
        let first = h.intent(&p, "files::append", args()).unwrap();
        assert_eq!(probe(&first), Probe::NotDone, "{}: there is no file yet", w.name);
    });
}

#[test]
fn templates() {
    both(|w| {
        w.ok("files::write", json!(["t/main.j2", "{% include 'part.j2' %}<{{ a }}>\n{% for x in xs %}{{ x }};{% endfor %}", {"mkdir": true}]));
        w.ok("files::write", json!(["t/part.j2", "part & {{ a }} "]));
        let vars = json!({"a": "<b>", "xs": [1, 2]});
        assert_eq!(
            w.ok("files::render", json!(["t/main.j2", vars])),
            Value::from("part & <b> <<b>>\n1;2;"),
            "{}",
            w.name
        );
        w.ok("files::template", json!(["t/main.j2", "out/x.conf", vars, {"mkdir": true, "mode": "0600"}]));
        assert_eq!(w.text("out/x.conf"), "part & <b> <<b>>\n1;2;");
        assert_eq!(field(&w.ok("files::stat", json!(["out/x.conf"])), "mode"), "0600");

        for (source, says, hint) in [
            ("a\n{{ prot }}", "t/bad.j2:2: undefined value", "give the variable"),
            ("{% if %}", "t/bad.j2:1: unexpected", ""),
            ("{% include '../main.j2' %}", "only templates below", ""),
            ("{% include '/etc/passwd' %}", "only templates below", ""),
            ("{% include 'absent.j2' %}", "absent.j2", ""),
            (
                "{% for i in range(90000) %}{% for j in range(90000) %}{{ i }}{% endfor %}{% endfor %}",
                "fuel",
                "loop",
            ),
        ] {
            w.ok("files::write", json!(["t/bad.j2", source]));
            w.fails("files::render", json!(["t/bad.j2", {}]), ErrorKind::Invalid, says, hint);
        }
        w.fails("files::render", json!(["absent.j2", {}]), ErrorKind::NotFound, "absent.j2", "");
        w.fails(
            "files::render",
            json!(["t/main.j2", 1]),
            ErrorKind::Invalid,
            "the variables are a map, got int",
            "",
        );
    });
}

#[test]
fn digests() {
    both(|w| {
        w.ok("files::write", json!(["abc", "abc"]));
        for (options, digest) in [
            (json!({}), "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
            (
                json!({"algorithm": "sha256"}),
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
        ] {
            assert_eq!(w.ok("files::hash", json!(["abc", options])), Value::from(digest), "{}", w.name);
        }
        let sha512 = w.ok("files::hash", json!(["abc", {"algorithm": "sha512"}]));
        assert!(sha512.as_str().unwrap().starts_with("ddaf35a193617abacc417349ae204131"));
        w.fails(
            "files::hash",
            json!(["abc", {"algorithm": "md5"}]),
            ErrorKind::Invalid,
            "blake3, sha256, sha512",
            "",
        );
    });
}

#[test]
fn touching() {
    both(|w| {
        w.ok("files::touch", json!(["a"]));
        assert_eq!(
            field(&w.ok("files::stat", json!(["a"])), "modified"),
            "2026-01-02T03:04:05Z",
            "{}",
            w.name
        );
        w.ok("files::write", json!(["b", "content"]));
        w.ok("files::touch", json!(["b", {"modified": "2020-02-02T02:02:02.5Z"}]));
        let it = w.ok("files::stat", json!(["b"]));
        assert_eq!(
            (field(&it, "modified").as_str(), w.text("b").as_str()),
            ("2020-02-02T02:02:02.5Z", "content")
        );
    });
}
