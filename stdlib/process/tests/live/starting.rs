//! As what programs start, why they do not, and looking at those that run.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use hob_model::{ErrorKind, Value};
use hob_primitive::Probe;
use hob_std_process::{ProcessPort, live::Live, primitive};
use hob_testkit::Harness;
use serde_json::{Value as Json, json};

use crate::{alive, run, shell, text, world};

fn write_program(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).expect("the directory is the test's own");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it was just written");
}

#[test]
fn a_program_has_its_own_session() {
    let harness = world();
    // pid, pgrp and session of the shell itself are the same, and none of them is the test's.
    let it =
        shell(&harness, "read _ < /proc/self/stat; cut -d' ' -f1,5,6,7 < /proc/$$/stat", json!({})).unwrap();
    let fields: Vec<i64> =
        text(&it, "stdout").split_whitespace().map(|field| field.parse().unwrap()).collect();
    let [pid, group, session, terminal] = fields[..] else { panic!("{fields:?}") };
    assert_eq!((pid, pid, 0), (group, session, terminal));
}

#[test]
fn only_the_base_of_the_environment_is_inherited() {
    let base =
        [("PATH", "/usr/bin:/bin"), ("HOME", "/home/x"), ("TZ", "UTC"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
    let adapter = Live::new(base.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let harness = Harness::new().port::<dyn ProcessPort>(Arc::new(adapter)).key("k");
    let it = run(&harness, json!("env"), json!({"env": {"TZ": null}})).unwrap();
    let mut lines: Vec<String> = text(&it, "stdout").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["HOB_EFFECT=k", "HOME=/home/x", "PATH=/usr/bin:/bin"]);
}

#[test]
fn the_umask() {
    let harness = world();
    shell(&harness, "touch file", json!({"umask": "077"})).unwrap();
    let mode = std::fs::metadata(harness.dir().join("file")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn user_and_group() {
    let harness = world();
    let who = |options: Json| shell(&harness, "id -u; id -g; id -G; echo $HOME $USER", options);
    if nix::unistd::Uid::effective().is_root() {
        let it = who(json!({"user": "nobody", "cwd": "/"})).unwrap();
        assert_eq!(text(&it, "stdout"), "65534\n65534\n65534\n/nonexistent nobody\n");
        let it = who(json!({"user": "nobody", "group": "daemon", "cwd": "/"})).unwrap();
        assert_eq!(text(&it, "stdout"), "65534\n1\n1\n/nonexistent nobody\n");
        let it = who(json!({"user": 54321, "group": 54322, "cwd": "/"})).unwrap();
        assert_eq!(text(&it, "stdout"), "54321\n54322\n54322\n\n");
        let error = who(json!({"user": 54321})).unwrap_err();
        assert!(error.message.contains("no entry in the user database"), "{}", error.message);
    } else {
        let error = who(json!({"user": "root"})).unwrap_err();
        assert_eq!((error.kind, error.nothing_happened), (ErrorKind::Denied, true));
    }
    let error = who(json!({"user": "no-such-user"})).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::NotFound, "there is no user `no-such-user`")
    );
    let error = who(json!({"group": "no-such-group"})).unwrap_err();
    assert_eq!(error.message, "there is no group `no-such-group`");
}

#[test]
fn programs_that_cannot_be_started() {
    let harness = world();
    let dir = harness.dir();
    write_program(&dir.join("plain"), "#!/bin/sh\n", 0o644);
    write_program(&dir.join("no-interpreter"), "#!/no/such/interpreter\n", 0o755);
    write_program(&dir.join("ok"), "#!/bin/sh\necho ok $0\n", 0o755);
    for (cmd, options, kind, says) in [
        (json!(["./plain"]), json!({}), ErrorKind::Denied, "is not executable"),
        (json!(["./no-interpreter"]), json!({}), ErrorKind::NotFound, "the interpreter or loader"),
        (json!(["."]), json!({}), ErrorKind::NotFound, "there is no program `.`"),
        (json!(["./"]), json!({}), ErrorKind::Invalid, "is a directory"),
        (json!(["echo hello"]), json!({}), ErrorKind::NotFound, "there is no program `echo hello`"),
        (json!(["ok"]), json!({}), ErrorKind::NotFound, "there is no program `ok` in"),
        (
            json!(["echo"]),
            json!({"env": {"PATH": "/none"}}),
            ErrorKind::NotFound,
            "there is no program `echo` in /none",
        ),
        (json!(["true"]), json!({"cwd": "absent"}), ErrorKind::NotFound, "the working directory"),
        (json!(["true"]), json!({"cwd": "plain"}), ErrorKind::Invalid, "is not a directory"),
        (
            json!(["echo", "x".repeat(1_000_000)]),
            json!({}),
            ErrorKind::Invalid,
            "too many or too long arguments",
        ),
    ] {
        let error = run(&harness, cmd.clone(), options).unwrap_err();
        assert_eq!((error.kind, error.nothing_happened), (kind, true), "{cmd}: {error:?}");
        assert!(error.message.contains(says), "{}", error.message);
        assert!(error.hint.is_some() || kind != ErrorKind::Denied);
    }
    let path = format!("ok {}/./ok\n", dir.display());
    assert_eq!(text(&run(&harness, json!(["./ok"]), json!({})).unwrap(), "stdout"), path);
    let found = run(&harness, json!(["ok"]), json!({"env": {"PATH": dir.to_str()}})).unwrap();
    assert_eq!(text(&found, "stdout"), path.replace("/./", "/"));
}

#[test]
fn list_signal_and_stop() {
    let harness = world();
    let primitive = primitive();
    shell(&harness, "sleep 1014 &", json!({"background": "keep"})).unwrap();
    let pid = alive(&harness)[0];
    let all = harness.call(&primitive, "process::list", json!([{"name": "sleep"}])).unwrap();
    let Value::Array(all) = all else { panic!("{all:?}") };
    let it = all.iter().find(|p| p.get("pid") == Some(&Value::from(pid))).expect("it is listed");
    assert_eq!(it.get("command"), Some(&Value::from(vec!["sleep".to_owned(), "1014".to_owned()])));
    assert_eq!(text(it, "state"), "sleeping");
    text(it, "started_at").parse::<hob_model::Timestamp>().expect("RFC 3339");
    let none = harness
        .call(&primitive, "process::list", json!([{"name": "sleep", "user": "no-such-user"}]))
        .unwrap();
    assert_eq!(none, Value::Array(vec![]));

    // The probe of `stop` is about the process that the intent saw, whatever has its pid later.
    let noted = harness.intent(&primitive, "process::stop", json!([pid])).unwrap();
    let probe =
        |noted: &Value| harness.probe(&primitive, "process::stop", json!([pid]), noted.clone()).unwrap();
    assert_eq!(probe(&noted), Probe::NotDone);
    let other = Value::from(format!("{}0", noted.as_str().unwrap()));
    let stopped = harness.call_noted(&primitive, "process::stop", json!([pid]), other).unwrap();
    assert_eq!((stopped, alive(&harness)), (Value::Bool(false), vec![pid]), "another process is left alone");

    assert_eq!(harness.call(&primitive, "process::signal", json!([pid, "STOP"])), Ok(Value::Bool(true)));
    assert_eq!(harness.call(&primitive, "process::signal", json!([pid, "cont"])), Ok(Value::Bool(true)));
    assert_eq!(
        harness.call_noted(&primitive, "process::stop", json!([pid]), noted.clone()),
        Ok(Value::Bool(true))
    );
    assert_eq!(probe(&noted), Probe::Done(Value::Bool(true)));
    assert_eq!(harness.call(&primitive, "process::stop", json!([pid])), Ok(Value::Bool(false)));
}
