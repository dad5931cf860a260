//! Packing and unpacking.

use std::io::Write;

use hob_model::{ErrorKind, Value};
use hob_std_files::primitive;
use serde_json::json;

use crate::{World, both, field};

const SUFFIXES: [&str; 4] = ["tar", "tar.gz", "tar.zst", "zip"];

fn blob(w: &World, path: &str) -> Value {
    w.ok("files::read", json!([path, {"binary": true}]))
}

fn put(w: &World, path: &str, bytes: Vec<u8>) {
    let args = vec![Value::from(path), Value::Blob(bytes)];
    w.harness.call_values(&primitive(), "files::write", args).expect("it is written");
}

fn make_source(w: &World) {
    let big = "0123456789".repeat(10_000);
    for (path, content) in
        [("src/a.txt", "a"), ("src/sub/b", big.as_str()), ("src/sub/ä ö", ""), ("src/.hidden", "h")]
    {
        w.ok("files::write", json!([path, content, {"mkdir": true}]));
    }
    let long = format!("src/{}/{}", "d".repeat(120), "f".repeat(120));
    w.ok("files::write", json!([long, "long", {"mkdir": true}]));
    w.ok("files::mkdir", json!(["src/empty", {"mode": "0711"}]));
    w.ok("files::chmod", json!(["src/a.txt", "0750"]));
    w.ok("files::symlink", json!(["../a.txt", "src/sub/link"]));
    w.ok("files::touch", json!(["src/a.txt", {"modified": "2020-06-01T12:00:02Z"}]));
    w.ok("files::touch", json!(["src/sub", {"modified": "2020-06-01T12:00:02Z"}]));
}

#[test]
fn there_and_back_in_each_format() {
    both(|w| {
        make_source(w);
        for suffix in SUFFIXES {
            let archive = format!("out.{suffix}");
            let it = w.ok("files::archive", json!(["src", archive]));
            assert_eq!(it.get("entries"), Some(&Value::Int(9)), "{}: {suffix}", w.name);
            let first = blob(w, &archive);
            w.ok("files::archive", json!(["src", archive]));
            assert!(blob(w, &archive) == first, "{}: {suffix}: packing again makes the same", w.name);

            let target = format!("back-{suffix}");
            let it = w.ok("files::extract", json!([archive, target]));
            assert_eq!(
                (it.get("entries"), it.get("bytes")),
                (Some(&Value::Int(9)), Some(&Value::Int(100_006)))
            );
            assert_eq!(w.tree(&target), w.tree("src"), "{}: {suffix}", w.name);
            assert_eq!(w.text(&format!("{target}/sub/b")), w.text("src/sub/b"));
            for path in ["a.txt", "empty", "sub"] {
                let facts = |base: &str| {
                    let it = w.ok("files::stat", json!([format!("{base}/{path}")]));
                    (field(&it, "mode"), if path == "empty" { String::new() } else { field(&it, "modified") })
                };
                assert_eq!(facts("src"), facts(&target), "{}: {suffix}: {path}", w.name);
            }
            let link = w.ok("files::stat", json!([format!("{target}/sub/link"), {"follow": false}]));
            assert_eq!(field(&link, "target"), "../a.txt");
        }
    });
}

#[test]
fn what_is_packed() {
    both(|w| {
        for path in ["src/a.txt", "src/b.tmp", "src/cache/x", "other", "up/src/y"] {
            w.ok("files::write", json!([path, "1", {"mkdir": true}]));
        }
        let packed = |from: serde_json::Value, options: serde_json::Value| {
            w.ok("files::archive", json!([from, "o.tar", options]));
            w.ok("files::remove", json!(["o", {"recursive": true}]));
            w.ok("files::extract", json!(["o.tar", "o"]));
            w.tree("o")
        };
        assert_eq!(packed(json!("src"), json!({"exclude": ["*.tmp", "cache"]})), ["a.txt"], "{}", w.name);
        assert_eq!(packed(json!("other"), json!({})), ["other"]);
        assert_eq!(packed(json!(["src/cache", "other"]), json!({})), ["cache", "cache/x", "other"]);
        w.ok("files::remove", json!(["o", {"recursive": true}]));
        w.ok("files::archive", json!([".", "self.tar.gz", {"exclude": ["*.tar"]}]));
        w.ok("files::extract", json!(["self.tar.gz", "o"]));
        assert!(!w.tree("o").contains(&"self.tar.gz".to_owned()), "{}: it does not hold itself", w.name);

        use ErrorKind::{Invalid, NotFound};
        for (args, kind, says) in [
            (json!(["src", "x.rar"]), Invalid, "does not say what kind of archive"),
            (json!(["src", "x", {"format": "7z"}]), Invalid, "\"7z\" is none of tar, tar.gz, tar.zst, zip"),
            (json!(["absent", "x.tar"]), NotFound, "absent"),
            (json!([["src", "up/src"], "x.tar"]), Invalid, "two entries would be called src"),
            (json!(["src", "x.tar.gz", {"level": 10}]), Invalid, "not between 1 and 9"),
            (json!(["src", "x.tar", {"exclude": ["[a"]}]), Invalid, "option `exclude`"),
            (json!(["src", "no/x.tar"]), NotFound, "there is no directory"),
        ] {
            w.fails("files::archive", args, kind, says, "");
        }
        w.ok("files::archive", json!(["src", "x", {"format": "tar.zst", "mode": "0600", "level": 19}]));
    });
}

#[test]
fn into_a_directory_that_is_there() {
    both(|w| {
        for path in ["src/a", "src/sub/b"] {
            w.ok("files::write", json!([path, "new", {"mkdir": true}]));
        }
        w.ok("files::archive", json!(["src", "x.tar"]));
        for path in ["to/a", "to/kept"] {
            w.ok("files::write", json!([path, "old", {"mkdir": true}]));
        }
        w.fails(
            "files::extract",
            json!(["x.tar", "to", {"replace": false}]),
            ErrorKind::Conflict,
            "to/a",
            "replace: true",
        );
        assert_eq!(
            (w.tree("to"), w.text("to/a").as_str()),
            (vec!["a".into(), "kept".into()], "old"),
            "{}",
            w.name
        );
        w.ok("files::extract", json!(["x.tar", "to"]));
        assert_eq!(
            (w.text("to/a"), w.text("to/kept"), w.text("to/sub/b")),
            ("new".into(), "old".into(), "new".into())
        );

        w.ok("files::mkdir", json!(["bad/a"]));
        w.fails("files::extract", json!(["x.tar", "bad"]), ErrorKind::Conflict, "bad/a is in the way", "");
        w.ok("files::write", json!(["file", ""]));
        w.fails("files::extract", json!(["x.tar", "file"]), ErrorKind::Conflict, "is no directory", "");
        // A link in the target must not lead what is below it elsewhere.
        w.ok("files::mkdir", json!(["elsewhere"]));
        w.ok("files::symlink", json!(["../elsewhere", "trap/sub", {"mkdir": true}]));
        w.fails(
            "files::extract",
            json!(["x.tar", "trap"]),
            ErrorKind::Conflict,
            "trap/sub is in the way",
            "",
        );
        assert_eq!(w.tree("elsewhere"), Vec::<String>::new());

        w.ok("files::extract", json!(["x.tar", "stripped", {"strip": 1}]));
        assert_eq!(w.tree("stripped"), ["b"]);
        assert!(!w.tree(".").iter().any(|name| name.contains(".hob-")), "{}: nothing is left over", w.name);
    });
}

/// One entry of a tar archive: kind, name, target of a link, content.
type TarEntry<'a> = (tar::EntryType, &'a str, &'a str, &'a str);

/// A tar archive with names as they are given, however wrong.
fn tar_of(entries: &[TarEntry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, name, link, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o4755);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, content.as_bytes()).expect("memory takes it");
    }
    builder.into_inner().expect("memory takes it")
}

#[test]
fn archives_with_ill_intent() {
    use tar::EntryType as T;
    both(|w| {
        w.ok("files::mkdir", json!(["outside"]));
        let cases: [(&str, &[TarEntry<'_>]); 14] = [
            ("leads out of the target", &[(T::Regular, "../x", "", "1")]),
            ("leads out of the target", &[(T::Regular, "a/../../x", "", "1")]),
            ("has an absolute name", &[(T::Regular, "/tmp/x", "", "1")]),
            ("is a link out of the target", &[(T::Symlink, "l", "../outside", "")]),
            ("is a link out of the target", &[(T::Symlink, "l", "/etc/passwd", "")]),
            ("is a link out of the target", &[(T::Symlink, "d/l", "../../outside", "")]),
            (
                "is a link out of the target",
                &[(T::Symlink, "d/e/l", "../..", ""), (T::Symlink, "d/f/m", "../e/l/..", "")],
            ),
            ("lies below a link", &[(T::Symlink, "l", "d", ""), (T::Regular, "l/x", "", "1")]),
            ("lies below a link or a file", &[(T::Regular, "f", "", "1"), (T::Regular, "f/x", "", "1")]),
            ("is a second name for a file that is not in", &[(T::Link, "h", "f", "")]),
            ("leads out of the target", &[(T::Link, "h", "../outside/f", "")]),
            (
                "is a second name for a file that is not in",
                &[(T::Symlink, "l", "d", ""), (T::Link, "h", "l", "")],
            ),
            ("is a device", &[(T::Char, "null", "", "")]),
            ("is a device", &[(T::Fifo, "pipe", "", "")]),
        ];
        for (says, entries) in cases {
            put(w, "bad.tar", tar_of(entries));
            w.fails(
                "files::extract",
                json!(["bad.tar", "t/u", {"mkdir": true}]),
                ErrorKind::Invalid,
                says,
                "",
            );
            assert_eq!(w.tree("t"), Vec::<String>::new(), "{}: {says}: nothing is left", w.name);
        }
        assert_eq!(w.tree("outside"), Vec::<String>::new());

        put(
            w,
            "good.tar",
            tar_of(&[
                (T::Regular, "./a", "", "1"),
                (T::Regular, "a", "", "22"),
                (T::Link, "h", "a", ""),
                (T::Symlink, "d/l", "../a", ""),
                (T::Directory, "d/", "", ""),
            ]),
        );
        w.ok("files::extract", json!(["good.tar", "good"]));
        assert_eq!(w.tree("good"), ["a", "d", "d/l", "h"], "{}", w.name);
        let it = w.ok("files::stat", json!(["good/h"]));
        assert_eq!(
            (w.text("good/d/l").as_str(), it.get("links"), field(&it, "mode").as_str()),
            ("22", Some(&Value::Int(2)), "0755")
        );
    });
}

#[test]
fn damaged_and_oversized_archives() {
    both(|w| {
        make_source(w);
        for suffix in SUFFIXES {
            let archive = format!("x.{suffix}");
            w.ok("files::archive", json!(["src", archive]));
            let Value::Blob(bytes) = blob(w, &archive) else { panic!("a blob") };
            w.fails(
                "files::extract",
                json!([archive, "t", {"limit": 1000}]),
                ErrorKind::Invalid,
                "holds more than 1000 bytes",
                "raise `limit`",
            );

            put(w, &archive, bytes[..bytes.len() / 2].to_vec());
            w.fails("files::extract", json!([archive, "t"]), ErrorKind::Invalid, "is damaged", "");
            put(w, &archive, b"no archive at all".repeat(100));
            w.fails("files::extract", json!([archive, "t"]), ErrorKind::Invalid, "is damaged", "");
            assert_eq!(w.ok("files::exists", json!(["t"])), Value::Bool(false), "{}: {suffix}", w.name);
        }
        // A few bytes that would become a gigabyte.
        let mut bomb = zstd::Encoder::new(Vec::new(), 3).expect("memory takes it");
        let mut header = tar::Header::new_gnu();
        header.set_path("zeros").expect("it is short");
        header.set_size(1 << 30);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_cksum();
        bomb.write_all(header.as_bytes()).expect("memory takes it");
        bomb.write_all(&vec![0; 4 << 20]).expect("memory takes it");
        put(w, "bomb.tar.zst", bomb.finish().expect("memory takes it"));
        w.fails(
            "files::extract",
            json!(["bomb.tar.zst", "t", {"limit": "1M"}]),
            ErrorKind::Invalid,
            "more than 1048576",
            "",
        );
        assert!(!w.tree(".").iter().any(|name| name.contains(".hob-")), "{}: nothing is left over", w.name);
    });
}
