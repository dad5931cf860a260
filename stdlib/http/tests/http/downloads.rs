//! Downloads, against both worlds.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hob_model::{ErrorKind, Value};
use hob_std_http::Scripted;
use hob_std_http::port::Request;
use serde_json::json;

use crate::world::{World, get, header};

const CONTENT: &str = "0123456789";
/// `printf 0123456789 | sha256sum`
const SHA256: &str = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";

/// A server of [`CONTENT`] that can continue, and breaks off after 4 bytes the first time.
fn flaky(etag: &'static str) -> impl Fn(&Request) -> Scripted + Send + Sync {
    let count = AtomicUsize::new(0);
    move |request| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        let whole = || Scripted::new(200, CONTENT).header("etag", etag);
        match header(request, "range") {
            _ if first => {
                Scripted::new(200, &CONTENT[..4]).header("etag", etag).header("content-length", "10").breaks()
            }
            None => whole(),
            Some(_) if header(request, "if-range") != Some(etag) => whole(),
            Some(range) => {
                let start: usize =
                    range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap();
                Scripted::new(206, &CONTENT[start..])
                    .header("etag", etag)
                    .header("content-range", format!("bytes {start}-9/10"))
            }
        }
    }
}

fn read(world: &World) -> String {
    fs::read_to_string(world.harness.dir().join("file.bin")).unwrap()
}

#[test]
fn a_file_arrives_whole() {
    for world in World::both(|_| Scripted::new(200, CONTENT).header("etag", "\"1\"")) {
        let done = world
            .download("/f", json!({ "sha256": format!("sha256:{}", SHA256.to_uppercase()), "mode": "0600" }))
            .unwrap();
        let path = world.harness.dir().join("file.bin");
        assert_eq!(
            done.to_json().unwrap(),
            json!({ "bytes": 10, "changed": true, "etag": "\"1\"", "path": path, "resumed_from": 0, "sha256": SHA256 })
        );
        assert_eq!((read(&world).as_str(), world.files()), (CONTENT, vec!["file.bin".to_owned()]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(header(&world.seen()[0], "accept-encoding"), Some("identity"));
        let told = world.harness.take_progress();
        let last = told.last().unwrap();
        assert_eq!((last.message.as_str(), last.done, last.total), ("downloading file.bin", 10, Some(10)));

        let again = world.download("/f", json!({ "sha256": SHA256, "mode": "0644" })).unwrap();
        assert_eq!(get(&again, "changed"), &Value::Bool(false));
        assert_eq!(world.seen().len(), 1, "what is right already is not requested");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
    }
}

#[test]
fn what_broke_off_goes_on() {
    for world in World::both_with(|| Box::new(flaky("\"1\""))) {
        let error = world.download("/f", json!({})).unwrap_err();
        assert_eq!((error.kind, error.retryable), (ErrorKind::Unavailable, true));
        assert_eq!(
            world.files(),
            [".file.bin.hob-part", ".file.bin.hob-part.note"],
            "the target is not touched"
        );
        let done = world.download("/f", json!({ "sha256": SHA256 })).unwrap();
        assert_eq!(get(&done, "resumed_from"), &Value::Int(4));
        assert_eq!((read(&world).as_str(), world.files()), (CONTENT, vec!["file.bin".to_owned()]));
        let last = world.seen().pop().unwrap();
        assert_eq!((header(&last, "range"), header(&last, "if-range")), (Some("bytes=4-"), Some("\"1\"")));
    }
}

#[test]
fn what_cannot_go_on_starts_anew() {
    type Answer = fn(&Request) -> Scripted;
    let cases: [(&str, Answer, usize); 5] = [
        ("the server has another version", |_| Scripted::new(200, CONTENT).header("etag", "\"2\""), 2),
        (
            "the range is not satisfiable",
            |r| {
                if header(r, "range").is_some() {
                    Scripted::new(416, "")
                } else {
                    Scripted::new(200, CONTENT)
                }
            },
            3,
        ),
        (
            "the server continues elsewhere",
            |r| match header(r, "range") {
                Some(_) => Scripted::new(206, "xx").header("content-range", "bytes 8-9/10"),
                None => Scripted::new(200, CONTENT),
            },
            3,
        ),
        (
            "the rest is of another version",
            |r| match header(r, "range") {
                Some(_) => Scripted::new(206, "xxxxxx").header("content-range", "bytes 4-9/10"),
                None => Scripted::new(200, CONTENT),
            },
            3,
        ),
        ("there is no telling", |_| Scripted::new(200, CONTENT), 2),
    ];
    for (why, then, requests) in cases {
        for world in World::both_with(|| {
            let (first, count) =
                (flaky(if why == "there is no telling" { "W/\"1\"" } else { "\"1\"" }), AtomicUsize::new(0));
            Box::new(
                move |request| {
                    if count.fetch_add(1, Ordering::SeqCst) == 0 { first(request) } else { then(request) }
                },
            )
        }) {
            world.download("/f", json!({})).unwrap_err();
            let done = world.download("/f", json!({ "sha256": SHA256 })).unwrap();
            assert_eq!(
                (get(&done, "resumed_from"), read(&world).as_str()),
                (&Value::Int(0), CONTENT),
                "{why}"
            );
            assert_eq!((world.seen().len(), world.files().len()), (requests, 1), "{why}");
        }
    }
}

#[test]
fn nothing_is_left_of_what_is_wrong() {
    for (options, part) in [
        (json!({ "sha256": "0".repeat(64) }), "another checksum"),
        (json!({ "limit": 5 }), "longer than 5 bytes"),
        (json!({ "sha256": "abc" }), "64 hexadecimal digits"),
    ] {
        for world in World::both(|_| Scripted {
            body: vec![Bytes::from_static(b"01234"), Bytes::from_static(b"56789")],
            ..Scripted::new(200, "")
        }) {
            let error = world.download("/f", options.clone()).unwrap_err();
            assert!(error.message.contains(part), "{}", error.message);
            assert!(world.files().is_empty(), "{:?}", world.files());
        }
    }
    for world in World::both_with(|| Box::new(flaky("\"1\""))) {
        world.download("/f", json!({ "resume": false })).unwrap_err();
        assert!(world.files().is_empty(), "{:?}", world.files());
    }
    for world in World::both(|_| Scripted::new(404, "no such file")) {
        fs::write(world.harness.dir().join("file.bin"), "old").unwrap();
        let error = world.download("/f", json!({ "resume": false })).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert_eq!((read(&world).as_str(), world.files().len()), ("old", 1), "the old file stays");
    }
}

#[test]
fn the_disk_is_treated_with_care() {
    for world in World::both(|_| Scripted::new(200, CONTENT)) {
        let dir = world.harness.dir();
        let part = dir.join(".file.bin.hob-part");
        let held = fs::File::create(&part).unwrap();
        held.lock().unwrap();
        assert_eq!(world.download("/f", json!({})).unwrap_err().kind, ErrorKind::Conflict);
        assert!(part.exists(), "the part of the other download stays");
        drop(held);
        fs::remove_file(&part).unwrap();

        fs::write(dir.join("victim"), "precious").unwrap();
        std::os::unix::fs::symlink(dir.join("victim"), &part).unwrap();
        assert!(world.download("/f", json!({})).is_err(), "a planted link is not followed");
        assert_eq!(fs::read_to_string(dir.join("victim")).unwrap(), "precious");

        let call = |path: &str| {
            let args = json!([format!("{}/f", world.base), path]);
            world.harness.call(&hob_std_http::primitive(), "http::download", args).unwrap_err()
        };
        let error = call("missing/file");
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(error.hint.unwrap().contains("make the directory"));
        assert!(call(".").message.contains("is a directory"));
        assert!(world.seen().is_empty());
    }
}

#[test]
fn a_download_can_be_cancelled_and_kept() {
    let hanging: crate::world::Script =
        Arc::new(|_| Scripted::new(200, "01").header("etag", "\"1\"").header("content-length", "10").hangs());
    for mut world in [World::fake(hanging.clone()), World::live(hanging)] {
        world.harness = world.harness.timeout(std::time::Duration::from_millis(100));
        assert_eq!(world.download("/f", json!({})).unwrap_err().kind, ErrorKind::Timeout);
        assert_eq!(world.files(), [".file.bin.hob-part", ".file.bin.hob-part.note"]);
        world.harness.cancel().cancel();
        assert_eq!(world.download("/f", json!({ "resume": false })).unwrap_err().kind, ErrorKind::Cancelled);
        assert!(world.files().is_empty(), "{:?}", world.files());
    }
}
