//! What holds for repositories in memory and in directories alike.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use hob_model::{ErrorKind, Value};
use hob_primitive::Probe;
use serde_json::json;

use crate::tree;
use crate::world::{PASSWORD, World};

#[test]
fn a_repository_is_made_once_and_opened_by_its_password_alone() {
    for world in World::all() {
        let absent = world.call("snapshots", json!(["nas", {}])).unwrap_err();
        assert_eq!((absent.kind, absent.hint.unwrap().contains("backup::init")), (ErrorKind::NotFound, true));
        let made = world.call("init", json!(["nas", {}])).unwrap();
        let again = world.call("init", json!(["nas", {}])).unwrap();
        assert_eq!(
            (&made["created"], &again["created"], &made["id"]),
            (&json!(true), &json!(false), &again["id"])
        );
        for name in ["init", "snapshots", "check", "prune"] {
            let wrong = world.call(name, json!(["nas", { "password": "hunter2" }])).unwrap_err();
            assert_eq!(wrong.kind, ErrorKind::Denied, "{name}: {wrong}");
            assert!(!format!("{wrong:?}").contains("hunter2"));
        }
        let empty = world.call("init", json!(["nas", { "password": "" }])).unwrap_err();
        assert_eq!(empty.kind, ErrorKind::Invalid);
        let missing = world.harness("x").call(&hob_std_backup::primitive(), "backup::init", json!(["nas"]));
        assert!(missing.unwrap_err().hint.unwrap().contains("secrets::get"));
    }
}

#[test]
fn a_tree_comes_back_as_it_was() {
    for (seed, world) in World::all().into_iter().enumerate() {
        world.init("nas");
        tree::grow(&world.path("src"), 11 + seed as u64, 60);
        let first = world.snapshot("nas");
        assert_eq!((&first["complete"], &first["unread"]), (&json!(true), &json!([])));
        let second = world.snapshot("nas");
        assert_eq!((&second["files_new"], &second["files_changed"]), (&json!(0), &json!(0)));
        let done = world.restore("nas", "out");
        assert_eq!((&done["kept_not"], &done["replaced"]), (&json!([]), &json!(0)));
        tree::assert_same(&world.path("src"), &world.path("out"));
        // Once more, nothing is to be done.
        let plan = world.restore("nas", "out");
        assert_eq!((&plan["created"], &plan["replaced"]), (&json!(0), &json!(0)), "{plan}");
        let checked = world.call("check", json!(["nas", { "read": "all" }])).unwrap();
        assert_eq!(checked, json!({ "snapshots": 2, "warnings": [] }));
    }
}

#[test]
fn holes_are_restored_as_holes() {
    let world = World::live();
    world.init("nas");
    fs::create_dir(world.path("src")).unwrap();
    fs::File::create(world.path("src/sparse")).unwrap().set_len(8 << 20).unwrap();
    world.snapshot("nas");
    world.restore("nas", "out");
    let stat = fs::metadata(world.path("out/sparse")).unwrap();
    assert_eq!(stat.len(), 8 << 20);
    assert!(stat.blocks() * 512 < 1 << 20, "{} blocks", stat.blocks());
}

#[test]
fn a_plan_says_what_a_restore_then_does() {
    for world in World::both() {
        world.init("nas");
        for name in ["same", "changed", "gone", "dir/below"] {
            world.write(&format!("src/{name}"), name);
        }
        world.snapshot("nas");
        world.restore("nas", "out");
        world.write("out/changed", "something else");
        world.write("out/extra/file", "not in the snapshot");
        fs::remove_file(world.path("out/gone")).unwrap();
        fs::remove_dir_all(world.path("out/dir")).unwrap();
        symlink("/etc", world.path("out/dir")).unwrap();

        let ask = |plan: bool| {
            let options = json!({ "path": world.text("src"), "delete": true, "plan": plan });
            world.call("restore", json!(["nas", "latest", "out", options])).unwrap()
        };
        let plan = ask(true);
        let expected =
            json!({ "create": ["dir/below", "gone"], "replace": ["changed", "dir"], "remove": ["extra"] });
        assert_eq!(plan["paths"]["replace"], expected["replace"], "{plan}");
        assert_eq!(plan["paths"]["remove"], expected["remove"], "{plan}");
        assert_eq!(
            (&plan["planned"], world.read("out/changed").unwrap().as_str()),
            (&json!(true), "something else")
        );
        let done = ask(false);
        assert_eq!((&done["paths"], &done["planned"]), (&plan["paths"], &json!(false)));
        // Nothing went through the link.
        assert!(!fs::exists("/etc/below").unwrap());
        tree::assert_same(&world.path("src"), &world.path("out"));
    }
}

#[test]
fn parts_and_single_files_come_back_alone() {
    for world in World::both() {
        world.init("nas");
        for name in ["a.conf", "b.txt", "nginx/site.conf", "nginx/log/x.log"] {
            world.write(&format!("src/{name}"), name);
        }
        world.snapshot("nas");
        let whole = world.text("src");
        let file = format!("{whole}/nginx/site.conf");
        let cases = [
            (json!({ "path": whole, "include": ["*.conf"] }), vec!["a.conf", "nginx/site.conf"]),
            (json!({ "path": whole, "include": ["nginx/**"], "exclude": ["log"] }), vec!["nginx/site.conf"]),
            (json!({ "path": whole, "include": ["/nginx"] }), vec!["nginx/log/x.log", "nginx/site.conf"]),
            (json!({ "path": format!("{whole}/nginx/log") }), vec!["x.log"]),
            (json!({ "path": file }), vec!["site.conf"]),
        ];
        for (number, (options, expected)) in cases.into_iter().enumerate() {
            let out = format!("out{number}");
            world.call("restore", json!(["nas", "latest", out, options])).unwrap();
            let files = tree::listing(&world.path(&out))
                .into_keys()
                .filter(|path| world.path(&out).join(path).is_file());
            let found: Vec<String> = files.map(|path| path.to_str().unwrap().to_owned()).collect();
            assert_eq!(found, expected, "{number}");
        }
        let absent =
            world.call("restore", json!(["nas", "latest", "out", { "path": "/no/such" }])).unwrap_err();
        assert_eq!(absent.kind, ErrorKind::NotFound, "{absent}");
        let dumped = world.call("dump", json!(["nas", "latest", file, {}]));
        assert!(dumped.is_ok(), "{dumped:?}");
        assert_eq!(
            world.call("dump", json!(["nas", "latest", "/x", {}])).unwrap_err().kind,
            ErrorKind::NotFound
        );
    }
}

#[test]
fn what_is_left_out_is_told_with_the_rule() {
    for world in World::both() {
        world.init("nas");
        for name in
            ["keep", "x.tmp", "deep/y.tmp", "node_modules/a", "app/cache/b", "quiet/.nobackup", "quiet/c"]
        {
            world.write(&format!("src/{name}"), "something");
        }
        world.write("src/tagged/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
        world.write("src/tagged/d", "cached");
        world.write("src/large", &"x".repeat(5000));
        let options = json!({
            "exclude": ["*.tmp", "node_modules", "app/cache"], "exclude_if_present": [".nobackup"],
            "exclude_larger_than": "4K",
        });
        let done = world.call("snapshot", json!(["nas", ["src"], options])).unwrap()[0].clone();
        let told: Vec<_> = done["excluded"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| format!("{} {}", it["entries"], it["reason"].as_str().unwrap()))
            .collect();
        assert_eq!(
            told,
            [
                "1 it has `.nobackup`",
                "1 it is a cache (CACHEDIR.TAG)",
                "1 larger than 4096 bytes",
                "2 the pattern `*.tmp`",
                "1 the pattern `app/cache`",
                "1 the pattern `node_modules`",
            ]
        );
        world.restore("nas", "out");
        let found = tree::listing(&world.path("out"))
            .into_keys()
            .filter(|path| world.path("out").join(path).is_file());
        let found: Vec<_> = found.map(|path| path.to_str().unwrap().to_owned()).collect();
        assert_eq!(found, ["keep", "quiet/.nobackup", "tagged/CACHEDIR.TAG"]);
    }
}

#[test]
fn an_effect_that_a_crash_cut_off_finds_its_snapshot() {
    for world in World::all() {
        world.init("nas");
        world.write("src/a", "1");
        let args = json!(["nas", ["src"], { "password": PASSWORD }]);
        let probe = |world: &World| {
            let mut args = args.clone();
            world.locate(&mut args[0]);
            let harness = world.harness("one");
            harness.probe(&hob_std_backup::primitive(), "backup::snapshot", args, Value::Unit).unwrap()
        };
        assert_eq!(probe(&world), Probe::NotDone);
        let first = world.call_as("one", "snapshot", args.clone()).unwrap();
        world.write("src/a", "22");
        let again = world.call_as("one", "snapshot", args.clone()).unwrap();
        assert_eq!(first[0]["snapshot"], again[0]["snapshot"]);
        let Probe::Done(found) = probe(&world) else { panic!("it was done") };
        assert_eq!(found.to_json().unwrap()[0]["snapshot"], first[0]["snapshot"]);
        assert_eq!(world.call("snapshots", json!(["nas", {}])).unwrap().as_array().unwrap().len(), 1);
    }
}

#[test]
fn one_repository_that_fails_stops_no_other() {
    for world in World::both() {
        world.init("nas");
        world.init("away");
        world.write("src/a", "1");
        let wrong = json!({ "repository": "away", "password": "hunter2" });
        let error = world.call("snapshot", json!([["absent", wrong, "nas"], ["src"], {}])).unwrap_err();
        assert!(error.message.starts_with("2 of 3 repositories failed"), "{error}");
        let details = error.details.to_json().unwrap();
        assert_eq!(details["done"][0]["complete"], json!(true));
        let kinds: Vec<_> =
            details["failed"].as_array().unwrap().iter().map(|it| it["kind"].clone()).collect();
        assert_eq!(kinds, ["not_found", "denied"]);
        assert_eq!(world.call("snapshots", json!(["nas", {}])).unwrap().as_array().unwrap().len(), 1);
    }
}

#[test]
fn what_a_program_writes_is_kept_only_when_it_ends_well() {
    for world in World::both() {
        world.init("nas");
        let stream = |script: &str| world.call("stream", json!(["nas", "db.dump", ["sh", "-c", script], {}]));
        let failed = stream("seq 100000; echo connection lost >&2; exit 3").unwrap_err();
        assert!(failed.message.contains("connection lost"), "{failed}");
        assert_eq!(world.call("snapshots", json!(["nas", {}])).unwrap(), json!([]));
        let killed = stream("seq 100; kill -9 $$").unwrap_err();
        assert_eq!(killed.kind, ErrorKind::Failed, "{killed}");
        let done = stream("seq 300000").unwrap();
        assert_eq!(done[0]["bytes"], json!(1_988_895));
        world.call("restore", json!(["nas", "latest", "out", {}])).unwrap();
        assert!(world.read("out/db.dump").unwrap().ends_with("\n300000\n"));
        let absent = world.call("stream", json!(["nas", "x", ["no-such-program"], {}])).unwrap_err();
        assert_eq!(absent.kind, ErrorKind::NotFound, "{absent}");
    }
}

#[test]
fn what_cannot_be_read_makes_a_snapshot_incomplete() {
    // Files of sysfs that are only written: not even root opens them.
    let unreadable = "/sys/bus/platform/drivers_probe";
    for world in World::both() {
        world.init("nas");
        world.write("src/a", "1");
        world.snapshot("nas");
        let paths = json!(["src", unreadable]);
        let error = world.call("snapshot", json!(["nas", paths, {}])).unwrap_err();
        assert!(error.message.contains("lacks 1 entries") && error.message.contains(unreadable), "{error}");
        let all = world.call("snapshots", json!(["nas", {}])).unwrap();
        assert_eq!((&all[0]["complete"], &all[1]["complete"]), (&json!(true), &json!(false)));
        // Until there is a complete one of the same paths it is the best there is.
        let sorted = world.call("forget", json!(["nas", { "keep_last": 1 }])).unwrap();
        assert_eq!((sorted["kept"].as_array().unwrap().len(), &sorted["removed"]), (2, &json!([])));
        let done = world.call("snapshot", json!(["nas", paths, { "tolerant": true }])).unwrap();
        assert_eq!(done[0]["unread"][0]["path"], json!(unreadable));
        // The last good one is the complete one.
        world.restore("nas", "out");
        assert_eq!(world.read("out/a").unwrap(), "1");
        let missing = world.call("snapshot", json!(["nas", ["src", "absent"], {}])).unwrap_err();
        assert_eq!(missing.kind, ErrorKind::NotFound);
    }
}

#[test]
fn rules_keep_and_the_rest_goes() {
    for world in World::all() {
        world.init("nas");
        for content in ["1", "22", "333"] {
            world.write("src/a", &content.repeat(10_000));
            world.snapshot("nas");
        }
        let none = world.call("forget", json!(["nas", { "keep_last": 0 }])).unwrap_err();
        assert!(none.message.contains("keeps anything"), "{none}");
        let done = world.call("forget", json!(["nas", { "keep_last": 1, "prune": true }])).unwrap();
        assert_eq!(
            (done["kept"].as_array().unwrap().len(), done["removed"].as_array().unwrap().len()),
            (1, 2)
        );
        let again = world.call("forget", json!(["nas", { "keep_last": 1 }])).unwrap();
        assert_eq!(again["removed"], json!([]));
        world.call("prune", json!(["nas", { "grace": "0s" }])).unwrap();
        assert_eq!(world.call("check", json!(["nas", { "read": "all" }])).unwrap()["snapshots"], json!(1));
        world.restore("nas", "out");
        assert_eq!(world.read("out/a").unwrap(), "333".repeat(10_000));
    }
}

#[test]
fn a_repository_that_only_appends_loses_nothing() {
    for world in World::all() {
        world.call("init", json!(["nas", { "append_only": true }])).unwrap();
        world.write("src/a", "1");
        world.snapshot("nas");
        world.snapshot("nas");
        for (name, options) in [("forget", json!({ "keep_last": 1 })), ("prune", json!({}))] {
            let error = world.call(name, json!(["nas", options])).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Denied, "{name}: {error}");
        }
        assert_eq!(world.call("snapshots", json!(["nas", {}])).unwrap().as_array().unwrap().len(), 2);
    }
}

#[test]
fn copies_are_whole_and_made_once() {
    for world in World::all() {
        world.init("nas");
        world.call("init", json!(["away", { "password": "battery staple" }])).unwrap();
        let away = json!({ "repository": "away", "password": "battery staple" });
        tree::grow(&world.path("src"), 5, 20);
        world.snapshot("nas");
        let copied = world.call("copy", json!(["nas", away, {}])).unwrap();
        assert_eq!(copied["copied"].as_array().unwrap().len(), 1);
        let again = world.call("copy", json!(["nas", away, {}])).unwrap();
        assert_eq!((&again["copied"], again["present"].as_array().unwrap().len()), (&json!([]), 1));
        let path = world.text("src");
        world.call("restore", json!([away, "latest", "out", { "path": path }])).unwrap();
        tree::assert_same(&world.path("src"), &world.path("out"));
    }
}

#[test]
fn a_drill_finds_what_is_broken_in_what_was_backed_up() {
    for world in World::both() {
        world.init("nas");
        world.write("src/note", "1");
        let database = rusqlite::Connection::open({
            fs::create_dir_all(world.path("src")).unwrap();
            world.path("src/app.db")
        })
        .unwrap();
        database
            .execute_batch("create table t (x); insert into t values (zeroblob(20000)), (1), (2);")
            .unwrap();
        drop(database);
        world.snapshot("nas");
        let drill = |options: serde_json::Value| {
            let mut all = json!({ "scratch": "scratch" });
            all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
            world.call("verify", json!(["nas", all]))
        };
        let done =
            drill(json!({ "command": ["test", "-e", world.text("src/note").trim_start_matches('/')] }))
                .unwrap();
        assert_eq!((&done["sqlite"], &done["files"], &done["command"]), (&json!(1), &json!(2), &json!(true)));
        let refused = drill(json!({ "command": ["sh", "-c", "echo no rows >&2; exit 1"] })).unwrap_err();
        assert!(refused.message.contains("no rows"), "{refused}");
        let mut bytes = fs::read(world.path("src/app.db")).unwrap();
        bytes[4096..8000].fill(0x55);
        fs::write(world.path("src/app.db"), bytes).unwrap();
        world.snapshot("nas");
        let broken = drill(json!({})).unwrap_err();
        assert!(broken.message.contains("app.db is damaged"), "{broken}");
        // Nothing of it stays.
        assert_eq!(fs::read_dir(world.path("scratch")).unwrap().count(), 0);
    }
}

#[test]
fn a_file_of_another_size_is_replaced_even_where_its_time_is_that_of_the_snapshot() {
    let world = World::live();
    world.init("nas");
    world.write("src/a", "as it was");
    world.snapshot("nas");
    world.restore("nas", "out");
    let time = fs::metadata(world.path("out/a")).unwrap().modified().unwrap();
    world.write("out/a", "cut");
    fs::File::options().write(true).open(world.path("out/a")).unwrap().set_modified(time).unwrap();
    assert_eq!(world.restore("nas", "out")["replaced"], json!(1));
    assert_eq!(world.read("out/a").unwrap(), "as it was");
}

#[test]
fn what_is_in_the_way_goes_only_when_that_is_asked_for() {
    let world = World::live();
    world.init("nas");
    world.write("src/a", "as it was");
    world.snapshot("nas");
    let restore = |option: &str| {
        world.call("restore", json!(["nas", "latest", "out", { "path": world.text("src"), option: true }]))
    };
    world.write("out/a/dear", "dear");
    world.write("out/new", "new");
    let error = restore("thorough").unwrap_err();
    assert!(error.to_string().contains("a directory is in its place"), "{error:?}");
    assert_eq!(
        (world.read("out/a/dear").unwrap(), world.read("out/new").unwrap()),
        ("dear".into(), "new".into())
    );
    assert_eq!(restore("delete").unwrap()["replaced"], 1);
    assert_eq!((world.read("out/a").unwrap(), world.read("out/new")), ("as it was".into(), None));
    // Its size is that of the snapshot, its time is not.
    let time = fs::metadata(world.path("out/a")).unwrap().modified().unwrap();
    world.write("out/a", "it isn't.");
    assert_eq!(restore("delete").unwrap()["replaced"], 1);
    // Size and time are those of the snapshot: only who reads it sees that its content is not.
    world.write("out/a", "as it is!");
    fs::File::options().write(true).open(world.path("out/a")).unwrap().set_modified(time).unwrap();
    assert_eq!(restore("delete").unwrap()["unchanged"], 1);
    assert_eq!(restore("thorough").unwrap()["replaced"], 1);
    assert_eq!(world.read("out/a").unwrap(), "as it was");
}

#[test]
fn letting_go_concerns_those_that_are_meant_and_counts_the_complete_ones() {
    let world = World::live();
    world.init("nas");
    world.write("src/a", "1");
    let snapshot = |tag: &str| world.call("snapshot", json!(["nas", ["src"], { "tags": [tag] }])).unwrap();
    snapshot("photos");
    snapshot("other");
    snapshot("incomplete");
    snapshot("photos");
    // One that lacks something came last.
    let _ = world.call("snapshot", json!(["nas", ["src"], { "tags": ["photos", "incomplete"] }])).unwrap();
    let sorted = world.call("forget", json!(["nas", { "keep_last": 1, "tags": ["photos"] }])).unwrap();
    let told = (sorted["kept"].as_array().unwrap().len(), sorted["removed"].as_array().unwrap().len());
    assert_eq!(told, (2, 1), "{sorted}");
    assert!(sorted["kept"].as_array().unwrap().iter().any(|it| it["complete"] == true), "{sorted}");
    let left = world.call("snapshots", json!(["nas", {}])).unwrap();
    assert_eq!(left.as_array().unwrap().len(), 4, "those of others stay: {left}");
    let drill = |command: &str| {
        world.call("verify", json!(["nas", { "scratch": world.text(""), "command": [command] }]))
    };
    assert_eq!(drill("true").unwrap()["command"], true);
    assert!(drill("false").unwrap_err().message.contains("false"), "it proved nothing");
}
