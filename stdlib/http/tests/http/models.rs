//! What a dry run goes on with has the shape of a real answer.

use std::collections::BTreeMap;

use hob_model::{OpError, Value};
use hob_std_http::{Scripted, primitive};
use serde_json::{Value as Json, json};

use crate::world::{World, get};

fn model(world: &World, name: &str, args: &Json) -> Result<Value, OpError> {
    world.harness.model(&primitive(), name, args.clone())
}

/// The keys of a map, with the types that a script may rely on.
fn shape(value: &Value) -> BTreeMap<String, &'static str> {
    let Value::Map(map) = value else { panic!("{value:?} is no map") };
    map.iter().map(|(key, value)| (key.clone(), value.type_name())).collect()
}

/// Arguments for an operation that acts.
fn args_of(name: &str, base: &str) -> Json {
    let url = format!("{base}/x?q=1");
    match name {
        "http::request" => json!(["REPORT", url, {}]),
        "http::download" => json!([url, "file.bin", {}]),
        _ => json!([url, { "json": { "a": 1 } }]),
    }
}

#[test]
fn every_operation_that_acts_is_modelled_in_the_shape_of_its_result() {
    for world in World::both(|_| Scripted::new(200, "hello").header("etag", "\"1\"")) {
        for operation in primitive().operations.iter().filter(|operation| operation.class.acts()) {
            let args = args_of(operation.name, &world.base);
            let pretended = model(&world, operation.name, &args).unwrap();
            let before = world.seen().len();
            let real = world.harness.call(&primitive(), operation.name, args).unwrap();
            assert_eq!(world.seen().len(), before + 1, "only the real call reaches the server");
            let (mut expected, mut found) = (shape(&real), shape(&pretended));
            // The server's to give or not.
            let _ = (expected.remove("etag"), found.remove("etag"));
            assert_eq!(found, expected, "{}", operation.name);
            for key in ["url", "path", "status", "changed"] {
                assert_eq!(pretended.get(key), real.get(key), "{} {key}", operation.name);
            }
        }
    }
}

#[test]
fn a_model_honours_the_options_and_refuses_mistakes() {
    for world in World::both(|_| Scripted::new(500, "")) {
        let blob = model(&world, "http::post", &json!(["http://a.test/", { "decode": "blob" }])).unwrap();
        assert_eq!(get(&blob, "body"), &Value::Blob(Vec::new()));
        let sum = "AB".repeat(32);
        let file =
            model(&world, "http::download", &json!(["http://a.test/", "f", { "sha256": sum }])).unwrap();
        assert_eq!(get(&file, "sha256"), &Value::from("ab".repeat(32)));
        for (name, args) in [
            ("http::post", json!(["ftp://a.test/"])),
            ("http::put", json!(["http://a.test/", { "body": "a", "json": 1 }])),
            ("http::request", json!(["NO METHOD", "http://a.test/"])),
            ("http::download", json!(["http://a.test/", "f", { "sha256": "12" }])),
        ] {
            assert!(model(&world, name, &args).is_err(), "{name}({args})");
        }
        assert!(world.seen().is_empty() && world.files().is_empty());
    }
}
