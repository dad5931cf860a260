//! What holds for servers in memory and for real ones.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;

use bytes::Bytes;
use hob_model::{ErrorKind, OpError};
use hob_std_s3::port::{About, Source};
use serde_json::json;

use crate::world::World;

/// A content of several parts, none of them like another.
fn large() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..20 << 20).map(|_| random.u8(..)).collect()
}

#[test]
fn a_bucket_is_made_once_and_removed_when_it_is_empty() {
    for world in World::both() {
        assert_eq!(world.call("ensure_bucket", json!([])).unwrap(), json!({ "created": false }));
        let listed = world.call("buckets", json!([])).unwrap();
        assert_eq!(listed[0]["name"], "photos", "{listed}");
        world.call("write", json!(["a", "1", {}])).unwrap();
        let full = world.call("remove_bucket", json!([])).unwrap_err();
        assert_eq!(full.kind, ErrorKind::Conflict, "{full}");
        world.call("remove", json!(["a"])).unwrap();
        assert_eq!(world.call("remove_bucket", json!([])).unwrap(), json!({ "removed": true }));
        assert_eq!(world.call("remove_bucket", json!([])).unwrap(), json!({ "removed": false }));
        let gone = world.call("list", json!([{}])).unwrap_err();
        assert_eq!(gone.kind, ErrorKind::NotFound, "{gone}");
        assert!(gone.hint.unwrap().contains("ensure_bucket"));
    }
}

#[test]
fn files_go_and_come_back_whole_in_one_part_or_many() {
    let large = large();
    let contents: [(&str, &[u8]); 4] =
        [("empty", b""), ("small", b"hello"), ("a b/ä#?%+.jpg", b"\x00\xff"), ("large", &large)];
    for world in World::both() {
        for (key, content) in contents {
            fs::write(world.path("it"), content).unwrap();
            let sent = world.call("put", json!([key, "it", {}])).unwrap();
            assert_eq!((&sent["bytes"], &sent["changed"]), (&json!(content.len()), &json!(true)), "{key}");
            let got = world.call("get", json!([key, "back", { "mode": "0640" }])).unwrap();
            assert_eq!(got["sha256"], sent["sha256"], "{key}");
            assert!(fs::read(world.path("back")).unwrap() == content, "{key}");
            let mode = fs::metadata(world.path("back")).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o640);
            // What is there already is not sent again.
            let again = world.call("put", json!([key, "it", {}])).unwrap();
            assert_eq!((&again["changed"], &again["etag"]), (&json!(false), &got["etag"]), "{key}");
        }
        fs::write(world.path("it"), "hullo").unwrap();
        assert_eq!(world.call("put", json!(["small", "it", {}])).unwrap()["changed"], true);
        assert_eq!(world.call("read", json!(["small"])).unwrap(), "hullo");
        let left: Vec<_> = fs::read_dir(world.path("")).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}

#[test]
fn values_are_written_and_read_with_what_is_said_of_them() {
    for world in World::both() {
        let options = json!({ "content_type": "application/json", "metadata": { "Origin": "rack 1" } });
        let written = world.call("write", json!(["status.json", "{}", options])).unwrap();
        assert_eq!(written["changed"], true);
        assert_eq!(world.call("write", json!(["status.json", "{}", options])).unwrap()["changed"], false);
        let stat = world.call("stat", json!(["status.json"])).unwrap();
        assert_eq!(
            (&stat["bytes"], &stat["content_type"], &stat["metadata"]["origin"]),
            (&json!(2), &json!("application/json"), &json!("rack 1"))
        );
        assert_eq!(stat["etag"], written["etag"]);
        assert_eq!(world.call("exists", json!(["status.json"])).unwrap(), true);
        assert_eq!(world.call("exists", json!(["status"])).unwrap(), false);
        for name in ["stat", "read"] {
            assert_eq!(world.call(name, json!(["status"])).unwrap_err().kind, ErrorKind::NotFound, "{name}");
        }
        let absent = world.call("get", json!(["status", "back", {}])).unwrap_err();
        assert_eq!((absent.kind, world.path("back").exists()), (ErrorKind::NotFound, false));
        for bad in
            [json!({ "sha256": "x" }), json!({ "a b": "x" }), json!({ "a": "ä" }), json!({ "a": "x\ny" })]
        {
            let refused = world.call("write", json!(["x", "x", { "metadata": bad }])).unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Invalid, "{refused}");
        }
    }
}

#[test]
fn lists_are_whole_sorted_and_by_level() {
    for world in World::both() {
        for key in ["b", "a/2", "a/1", "a/deep/x", "c/y"] {
            world.call("write", json!([key, key, {}])).unwrap();
        }
        let keys = |options| {
            let listed = world.call("list", json!([options])).unwrap();
            listed
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["key"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(json!({})), ["a/1", "a/2", "a/deep/x", "b", "c/y"]);
        assert_eq!(keys(json!({ "flat": true })), ["a/", "b", "c/"]);
        assert_eq!(keys(json!({ "prefix": "a/", "flat": true })), ["a/1", "a/2", "a/deep/"]);
        assert_eq!(keys(json!({ "prefix": "nothing" })), [""; 0]);
        let many = world.call("list", json!([{ "limit": 4 }])).unwrap_err();
        assert!(many.kind == ErrorKind::Invalid && many.hint.unwrap().contains("prefix"));
        assert_eq!(world.call("remove", json!([["a/1", "b", "not there"]])).unwrap(), 3);
        assert_eq!(world.call("remove", json!(["not there"])).unwrap(), 1);
        assert_eq!(world.call("remove", json!([[]])).unwrap(), 0);
        assert_eq!(keys(json!({})), ["a/2", "a/deep/x", "c/y"]);
    }
}

#[test]
fn what_is_no_key_or_no_bucket_is_refused_before_anything_is_asked() {
    for world in World::both() {
        world.call("write", json!(["kept", "1", {}])).unwrap();
        // To the bucket itself, these would be.
        for key in ["", "..", "a/../kept", "/kept", "a\nb"] {
            for (name, args) in
                [("write", json!([key, "2", {}])), ("remove", json!([key])), ("remove", json!([["b", key]]))]
            {
                let refused = world.call(name, args).unwrap_err();
                assert_eq!(refused.kind, ErrorKind::Invalid, "{name} {key:?}: {refused}");
            }
        }
        assert_eq!(world.call("read", json!(["kept"])).unwrap(), "1");
        let server = world.bucket("");
        assert!(world.call_on(server, "list", json!([{}])).unwrap_err().message.contains("names no bucket"));
        let deep = world.bucket("photos/2026");
        assert!(world.call_on(deep, "list", json!([{}])).unwrap_err().message.contains("more than a bucket"));
        let half = json!({ "bucket": "http://127.0.0.1:9/x", "access_key": "hob" });
        assert!(world.call_on(half, "list", json!([{}])).unwrap_err().hint.unwrap().contains("secrets::get"));
        let directory = world.call("put", json!(["x", ".", {}])).unwrap_err();
        assert_eq!(directory.kind, ErrorKind::Invalid, "{directory}");
        assert_eq!(world.call("put", json!(["x", "absent", {}])).unwrap_err().kind, ErrorKind::NotFound);
    }
}

#[test]
fn dry_runs_look_and_change_nothing() {
    for world in World::both() {
        fs::write(world.path("it"), "hello").unwrap();
        let modelled = world.model("put", json!(["a", "it", {}])).unwrap();
        assert_eq!((&modelled["changed"], &modelled["bytes"]), (&json!(true), &json!(5)));
        assert_eq!(world.call("exists", json!(["a"])).unwrap(), false);
        let sent = world.call("put", json!(["a", "it", {}])).unwrap();
        let again = world.model("put", json!(["a", "it", {}])).unwrap();
        assert_eq!((&again["changed"], &again["etag"]), (&json!(false), &sent["etag"]));
        assert_eq!(world.model("write", json!(["a", "hello", {}])).unwrap()["changed"], false);
        assert_eq!(world.model("write", json!(["a", "other", {}])).unwrap()["changed"], true);
        assert_eq!(world.model("get", json!(["a", "back", {}])).unwrap()["sha256"], sent["sha256"]);
        assert_eq!(world.model("remove", json!(["a"])).unwrap(), 1);
        assert_eq!(world.model("remove_bucket", json!([])).unwrap()["removed"], true);
        assert_eq!(world.call("read", json!(["a"])).unwrap(), "hello");
        assert!(!world.path("back").exists());
    }
}

/// A content whose second part cannot be read.
struct Broken;

impl Source for Broken {
    fn bytes(&self) -> u64 {
        40 << 20
    }

    fn read(&mut self, range: Range<u64>) -> Result<Bytes, OpError> {
        match range.start {
            0 => Ok(vec![7; usize::try_from(range.end).unwrap()].into()),
            _ => Err(OpError::conflict("it was written to")),
        }
    }
}

#[test]
fn what_cannot_be_read_to_its_end_leaves_the_object_as_it_was() {
    for world in World::both() {
        let bucket = world.open("photos");
        bucket.put("it", &mut Bytes::from_static(b"old"), &About::default()).unwrap();
        let error = bucket.put("it", &mut Broken, &About::default()).unwrap_err();
        assert_eq!(error.message, "it was written to");
        assert_eq!(&bucket.get("it", None, None).unwrap()[..], b"old");
        // Nor do parts stay that nobody asks for.
        if let Some(server) = &world.server {
            let left = fs::read_dir(server.place()).unwrap().map(|it| it.unwrap().file_name());
            let parts: Vec<_> = left.filter(|it| it.to_string_lossy().contains("upload")).collect();
            assert!(parts.is_empty(), "{parts:?}");
        }
    }
}

#[test]
fn a_part_of_an_object_is_of_the_version_that_was_asked_for() {
    for world in World::both() {
        let bucket = world.open("photos");
        let old = bucket.put("it", &mut Bytes::from_static(b"hello"), &About::default()).unwrap();
        assert_eq!(&bucket.get("it", Some(1..4), Some(&old.etag)).unwrap()[..], b"ell");
        assert_eq!(bucket.get("it", Some(1..9), None).unwrap_err().kind, ErrorKind::Failed);
        bucket.put("it", &mut Bytes::from_static(b"hullo"), &About::default()).unwrap();
        let replaced = bucket.get("it", Some(1..4), Some(&old.etag)).unwrap_err();
        assert_eq!(replaced.kind, ErrorKind::Conflict, "{replaced}");
    }
}
