//! Full, closed and failing disks, and a plug that is pulled at every step: only the fake can do these on purpose.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hob_model::{ErrorKind, OpError, Value};
use hob_primitive::Probe;
use hob_std_files::{FilesPort, fake::Fake, primitive};
use hob_testkit::Harness;
use serde_json::{Value as Json, json};

/// More steps than any operation of these tests takes.
const STEPS_MAX: u64 = 200;

fn world() -> (Harness, Fake) {
    let harness = Harness::new();
    let fake = Fake::new().with_dir(harness.dir());
    (harness.port::<dyn FilesPort>(Arc::new(fake.clone())), fake)
}

fn call(harness: &Harness, name: &str, args: Json) -> Result<Value, OpError> {
    harness.call(&primitive(), name, args)
}

fn must(harness: &Harness, name: &str, args: Json) -> Value {
    call(harness, name, args).expect("the world is in order here")
}

/// Content of the files below the working directory, by name.
fn files(harness: &Harness, fake: &Fake) -> Vec<(String, String)> {
    let below = |path: &Path| path.strip_prefix(harness.dir()).ok().map(|it| it.display().to_string());
    let names = fake.paths().into_iter().filter_map(|path| below(&path)).filter(|name| !name.is_empty());
    let content = |name: String| {
        let read = call(harness, "files::read", json!([name])).ok()?;
        Some((name, read.as_str()?.to_owned()))
    };
    names.filter_map(content).collect()
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let (h, fake) = world();
    must(&h, "files::write", json!(["src/x", "0123456789", {"mkdir": true}]));
    must(&h, "files::archive", json!(["src", "src.tar"]));
    must(&h, "files::write", json!(["log", "one\n"]));
    let before = (files(&h, &fake), fake.paths());
    for (name, args) in [
        ("files::write", json!(["src/x", "something longer"])),
        ("files::write", json!(["new", "something longer"])),
        ("files::append", json!(["log", "two and more\n"])),
        ("files::copy", json!(["src", "copy", {"recursive": true}])),
        ("files::archive", json!(["src", "other.tar"])),
        ("files::extract", json!(["src.tar", "out"])),
    ] {
        fake.set_free_bytes(Some(5));
        let error = call(&h, name, args).unwrap_err();
        assert_eq!((error.kind, error.retryable), (ErrorKind::Unavailable, true), "{name}: {error:?}");
        assert!(error.hint.unwrap().contains("free some space"), "{name}");
        if name == "files::copy" {
            must(&h, "files::remove", json!(["copy", {"recursive": true}])); // what was copied so far is told by name
        }
        assert_eq!((files(&h, &fake), fake.paths()), before, "{name}");
    }
    fake.set_free_bytes(None);
    must(&h, "files::append", json!(["log", "two\n"]));
}

#[test]
fn closed_and_read_only() {
    let (h, fake) = world();
    must(&h, "files::write", json!(["d/x", "1", {"mkdir": true}]));
    fake.set_read_only(true);
    for (name, args) in [
        ("files::write", json!(["d/x", "2"])),
        ("files::append", json!(["d/x", "2"])),
        ("files::rename", json!(["d/x", "d/y"])),
        ("files::remove", json!(["d", {"recursive": true}])),
        ("files::chmod", json!(["d/x", "0600"])),
        ("files::mkdir", json!(["e"])),
        ("files::symlink", json!(["d/x", "l"])),
    ] {
        let error = call(&h, name, args).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{name}: {error:?}");
        assert!(error.hint.unwrap().contains("read-only"), "{name}");
    }
    let unchanged = must(&h, "files::write", json!(["d/x", "1"]));
    assert_eq!(unchanged.get("changed"), Some(&Value::Bool(false)), "what is right already needs no writing");
    fake.set_read_only(false);
    fake.deny(&h.dir().join("d"));
    for (name, args) in [
        ("files::read", json!(["d/x"])),
        ("files::exists", json!(["d/x"])),
        ("files::list", json!(["d"])),
        ("files::copy", json!(["d/x", "x"])),
        ("files::write", json!(["d/y", "1"])),
    ] {
        assert_eq!(call(&h, name, args).unwrap_err().kind, ErrorKind::Denied, "{name}");
    }
}

#[test]
fn a_mounted_disk_is_not_removed() {
    let (h, fake) = world();
    must(&h, "files::write", json!(["srv/data/x", "1", {"mkdir": true}]));
    fake.mount(&h.dir().join("srv/data"));
    for path in ["srv", "srv/data"] {
        let error = call(&h, "files::remove", json!([path, {"recursive": true}])).unwrap_err();
        assert!(error.message.contains("another file system is mounted at"), "{}", error.message);
    }
    must(&h, "files::write", json!(["y", "1"]));
    let error = call(&h, "files::rename", json!(["y", "srv/data/y"])).unwrap_err();
    assert!(error.hint.unwrap().contains("files::copy"));
}

#[test]
fn its_time_is_over() {
    let (h, _) = world();
    must(&h, "files::write", json!(["x", "1"]));
    let h = h.timeout(Duration::ZERO);
    assert_eq!(call(&h, "files::hash", json!(["x"])).unwrap_err().kind, ErrorKind::Timeout);
}

/// Pulls the plug at each step in turn; after a restart `check` sees the files, and then those after a second attempt.
fn at_every_step(
    prepare: impl Fn(&Harness),
    name: &str,
    args: Json,
    check: impl Fn(u64, bool, Vec<(String, String)>),
) {
    for step in 0..STEPS_MAX {
        let (h, fake) = world();
        prepare(&h);
        fake.crash_in(step);
        let through = call(&h, name, args.clone()).is_ok();
        assert_eq!(through, !fake.is_down(), "step {step}: a call that the plug cut short does not succeed");
        fake.restart();
        let is_temporary = |(name, _): &(String, String)| name.contains(".hob-");
        let visible = files(&h, &fake).into_iter().filter(|it| !is_temporary(it)).collect();
        check(step, through, visible);
        call(&h, name, args.clone()).unwrap_or_else(|error| panic!("step {step}: again: {error:?}"));
        let end = files(&h, &fake);
        assert!(!end.iter().any(is_temporary), "step {step}: the second attempt cleans up");
        check(step, true, end);
        if through {
            return;
        }
    }
    panic!("{name} takes more than {STEPS_MAX} steps");
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
}

#[test]
fn a_plug_pulled_while_writing() {
    let prepare = |h: &Harness| drop(must(h, "files::write", json!(["f", "old content"])));
    let args = json!(["f", "new content, which is longer", {"mode": "0600"}]);
    let (old, new) = (pairs(&[("f", "old content")]), pairs(&[("f", "new content, which is longer")]));
    at_every_step(prepare, "files::write", args, |step, done, found| {
        assert!(found == new || (!done && found == old), "step {step}: {found:?}");
    });
}

/// Who opens it before it has its mode would read what comes to be in it.
#[test]
fn what_is_for_its_owner_alone_is_so_from_its_first_moment() {
    for before in [None, Some("0644")] {
        let mut seen = 0;
        for step in 0..STEPS_MAX {
            let (h, fake) = world();
            if let Some(mode) = before {
                must(&h, "files::write", json!(["f", "old", {"mode": mode}]));
            }
            fake.crash_in(step);
            let through = call(&h, "files::write", json!(["f", "a secret", {"mode": "0600"}])).is_ok();
            fake.restart();
            for (name, _) in files(&h, &fake).into_iter().filter(|(_, content)| content != "old") {
                let stat = must(&h, "files::stat", json!([name]));
                assert_eq!(stat.get("mode").and_then(Value::as_str), Some("0600"), "step {step}: {name}");
                seen += 1;
            }
            if through {
                break;
            }
        }
        assert!(seen > 2, "{seen}");
    }
}

#[test]
fn a_plug_pulled_while_switching_a_link() {
    let prepare = |h: &Harness| {
        must(h, "files::write", json!(["v1", "one"]));
        must(h, "files::write", json!(["v2", "two"]));
        must(h, "files::symlink", json!(["v1", "current"]));
    };
    at_every_step(prepare, "files::symlink", json!(["v2", "current"]), |step, done, found| {
        let current =
            &found.iter().find(|(name, _)| name == "current").expect("there is a link at every moment").1;
        assert!(current == "two" || (!done && current == "one"), "step {step}: {current}");
    });
}

#[test]
fn a_plug_pulled_while_unpacking() {
    let prepare = |h: &Harness| {
        must(h, "files::write", json!(["s/a", "a", {"mkdir": true}]));
        must(h, "files::write", json!(["s/d/b", "b", {"mkdir": true}]));
        must(h, "files::archive", json!(["s", "s.tar.zst"]));
        must(h, "files::remove", json!(["s", {"recursive": true}]));
    };
    let whole = pairs(&[("out/a", "a"), ("out/d/b", "b")]);
    at_every_step(prepare, "files::extract", json!(["s.tar.zst", "out"]), |step, done, found| {
        let found: Vec<_> = found.into_iter().filter(|(name, _)| name.starts_with("out")).collect();
        assert!(found == whole || (!done && found.is_empty()), "step {step}: {found:?}");
    });
}

#[test]
fn a_plug_pulled_while_appending() {
    let (args, p) = (|| json!(["log", "second line\n"]), primitive());
    for step in 0..STEPS_MAX {
        let (h, fake) = world();
        must(&h, "files::write", json!(["log", "first line\n"]));
        let noted = h.intent(&p, "files::append", args()).unwrap();
        fake.crash_in(step);
        let through = h.call_noted(&p, "files::append", args(), noted.clone()).is_ok();
        fake.restart();
        match h.probe(&p, "files::append", args(), noted.clone()).unwrap() {
            Probe::NotDone => drop(h.call_noted(&p, "files::append", args(), noted).unwrap()),
            Probe::Done(size) => assert_eq!(size, Value::Int(23), "step {step}"),
            unclear => panic!("step {step}: {unclear:?}"),
        }
        assert_eq!(
            files(&h, &fake),
            pairs(&[("log", "first line\nsecond line\n")]),
            "step {step}: exactly once"
        );
        if through {
            return;
        }
    }
    panic!("an append takes more than {STEPS_MAX} steps");
}
