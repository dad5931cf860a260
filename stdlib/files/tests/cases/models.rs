//! What a dry run goes on with is what the operation would give.

use hob_model::Value;
use hob_std_files::primitive;
use serde_json::{Value as Json, json};

use crate::{World, both};

/// An acting operation, arguments, and the entries of the result that only acting can tell.
type Case = (&'static str, Json, &'static [&'static str]);

/// Each call in turn: the model is asked first, then the operation is carried out, so that later calls see its work.
fn cases() -> Vec<Case> {
    vec![
        ("files::mkdir", json!(["d/e"]), &[]),
        ("files::mkdir", json!(["d/e"]), &[]),
        ("files::mkdir", json!(["d/e", { "mode": "0700" }]), &[]),
        ("files::write", json!(["d/a.txt", "one"]), &[]),
        ("files::write", json!(["d/a.txt", "one"]), &[]),
        ("files::write", json!(["d/a.txt", "one", { "mode": "0600" }]), &[]),
        ("files::write", json!(["d/a.txt", "two"]), &[]),
        ("files::write", json!(["t.j2", "x = {{ x }}"]), &[]),
        ("files::template", json!(["t.j2", "t.txt", { "x": 1 }, {}]), &[]),
        ("files::template", json!(["t.j2", "t.txt", { "x": 1 }, {}]), &[]),
        ("files::append", json!(["d/log", "12345"]), &[]),
        ("files::append", json!(["d/log", "678"]), &[]),
        ("files::touch", json!(["d/e/empty"]), &[]),
        ("files::chmod", json!(["d/a.txt", "0644"]), &[]),
        ("files::chmod", json!(["d/a.txt", "0644"]), &[]),
        ("files::chmod", json!(["d", "0750", { "recursive": true }]), &[]),
        ("files::chmod", json!(["d", "0750", { "recursive": true }]), &[]),
        ("files::symlink", json!(["a.txt", "d/link"]), &[]),
        ("files::symlink", json!(["a.txt", "d/link"]), &[]),
        ("files::symlink", json!(["log", "d/link"]), &[]),
        ("files::copy", json!(["d/a.txt", "copy.txt"]), &[]),
        ("files::copy", json!(["d", "f", { "recursive": true }]), &[]),
        ("files::archive", json!(["d", "d.tar.gz"]), &["bytes"]),
        ("files::archive", json!([["d", "t.txt"], "two.zip"]), &["bytes"]),
        ("files::extract", json!(["d.tar.gz", "out"]), &["entries", "bytes"]),
        ("files::rename", json!(["copy.txt", "moved.txt"]), &[]),
        ("files::remove", json!(["moved.txt"]), &[]),
        ("files::remove", json!(["moved.txt"]), &[]),
        ("files::remove", json!(["d", { "recursive": true }]), &[]),
    ]
}

fn model(world: &World, name: &str, args: &Json) -> Result<Value, hob_model::OpError> {
    world.harness.model(&primitive(), name, args.clone())
}

/// The same, with what only acting can tell blotted out of maps.
fn comparable(value: Value, but: &[&str]) -> Value {
    match value {
        Value::Map(map) => Value::Map(
            map.into_iter()
                .map(|(key, value)| {
                    let blot = but.contains(&key.as_str());
                    (key, if blot { Value::from(value.type_name()) } else { value })
                })
                .collect(),
        ),
        other => other,
    }
}

#[test]
fn a_model_gives_what_the_operation_would() {
    both(|world| {
        for (name, args, but) in cases() {
            let pretended = model(world, name, &args).unwrap_or_else(|e| panic!("{name}({args}): {e:?}"));
            let real = world.ok(name, args.clone());
            assert_eq!(comparable(pretended, but), comparable(real, but), "{}: {name}({args})", world.name);
        }
        let me = world.ok("files::stat", json!(["t.txt"]));
        for owner in
            [me.get("uid").cloned().unwrap(), Value::from(me.get("uid").unwrap().as_int().unwrap() + 1)]
        {
            let owner = owner.as_int().unwrap();
            let differs = model(world, "files::chown", &json!(["t.txt", { "owner": owner }])).unwrap();
            assert_eq!(differs, Value::from(Some(owner) != me.get("uid").unwrap().as_int()));
        }
    });
}

#[test]
fn every_operation_that_acts_is_modelled() {
    let covered: Vec<&str> = cases().iter().map(|(name, ..)| *name).chain(["files::chown"]).collect();
    for operation in primitive().operations.iter().filter(|operation| operation.class.acts()) {
        assert!(operation.model.is_some(), "{} has no model", operation.name);
        assert!(covered.contains(&operation.name), "{} has no case here", operation.name);
    }
}

#[test]
fn a_model_goes_on_where_earlier_effects_were_left_out_and_still_refuses_mistakes() {
    both(|world| {
        for (name, args) in [
            ("files::write", json!(["absent/dir/x", "1"])),
            ("files::template", json!(["absent.j2", "x", { "y": 1 }, {}])),
            ("files::append", json!(["absent/dir/x", "1"])),
            ("files::copy", json!(["absent", "x"])),
            ("files::chmod", json!(["absent", "0600"])),
            ("files::chown", json!(["absent", { "owner": 0 }])),
            ("files::archive", json!(["absent", "x.zip"])),
            ("files::extract", json!(["absent.zip", "x"])),
            ("files::rename", json!(["absent", "x"])),
            ("files::touch", json!(["absent/dir/x"])),
        ] {
            model(world, name, &args).unwrap_or_else(|e| panic!("{}: {name}({args}): {e:?}", world.name));
        }
        world.ok("files::mkdir", json!(["dir"]));
        for (name, args) in [
            ("files::write", json!(["dir", "1"])),
            ("files::write", json!(["x", "1", { "owner": "no-such-user" }])),
            ("files::copy", json!(["dir", "x"])),
            ("files::touch", json!(["x", { "modified": "yesterday" }])),
            ("files::archive", json!(["dir", "x.unknown"])),
            ("files::extract", json!(["x.unknown", "dir"])),
            ("files::chown", json!(["dir", {}])),
            ("files::symlink", json!(["", "x"])),
        ] {
            assert!(model(world, name, &args).is_err(), "{}: {name}({args})", world.name);
        }
        assert_eq!(world.tree("."), ["dir"], "{}: a model changes nothing", world.name);
    });
}
