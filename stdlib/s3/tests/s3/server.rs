//! What only a real server shows.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use hob_model::ErrorKind;
use hob_primitive::Clock as _;
use hob_std_s3::live::Live;
use hob_std_s3::port::Objects;
use hob_testkit::Harness;
use serde_json::json;

use crate::world::World;

fn live() -> World {
    let world = World::live();
    world.call("ensure_bucket", json!([])).unwrap();
    world
}

#[test]
fn a_wrong_login_is_refused_and_shown_nowhere() {
    let world = live();
    let mut bucket = world.bucket("photos");
    bucket["secret_key"] = json!("hunter2");
    for (name, args) in [("list", json!([{}])), ("write", json!(["a", "1", {}])), ("remove", json!(["a"]))] {
        let denied = world.call_on(bucket.clone(), name, args).unwrap_err();
        assert_eq!(denied.kind, ErrorKind::Denied, "{name}: {denied}");
        assert!(denied.hint.clone().unwrap().contains("secret_key"), "{denied:?}");
        assert!(!format!("{denied:?}").contains("hunter2") && !format!("{denied:?}").contains("Signature="));
    }
    let anonymous = world.bucket("photos")["bucket"].clone();
    assert_eq!(world.call_on(anonymous, "list", json!([{}])).unwrap_err().kind, ErrorKind::Denied);
}

#[test]
fn who_has_a_signed_address_gets_the_object_until_it_ends() {
    let world = live();
    world.call("write", json!(["a b/ä", "hello", {}])).unwrap();
    // Servers go by the clock of this machine.
    let ahead = hob_model::Timestamp::now().duration_since(world.harness.clock().now());
    world.harness.clock().advance(ahead.unsigned_abs());
    let fetch = |url: &str| reqwest::blocking::get(url).unwrap();
    let url = world.call("presign", json!(["a b/ä", { "expires": "5m" }])).unwrap();
    assert_eq!(fetch(url.as_str().unwrap()).text().unwrap(), "hello");
    let other = url.as_str().unwrap().replace("a%20b", "secret");
    assert_eq!(fetch(&other).status(), 403);
    let put = world.call("presign", json!(["new", { "put": true }])).unwrap();
    let client = reqwest::blocking::Client::new();
    assert!(client.put(put.as_str().unwrap()).body("from outside").send().unwrap().status().is_success());
    assert_eq!(world.call("read", json!(["new"])).unwrap(), "from outside");
    for expires in ["0s", "8d"] {
        let refused = world.call("presign", json!(["new", { "expires": expires }])).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Invalid);
    }
    let anonymous = world.bucket("photos")["bucket"].clone();
    assert!(world.call_on(anonymous, "presign", json!(["new", {}])).is_err());
}

#[test]
fn content_that_was_damaged_on_the_server_replaces_nothing() {
    let world = live();
    fs::write(world.path("it"), "hello").unwrap();
    world.call("put", json!(["a", "it", {}])).unwrap();
    fs::write(world.server.as_ref().unwrap().file("photos", "a"), "hullo").unwrap();
    let damaged = world.call("get", json!(["a", "it", {}])).unwrap_err();
    assert!(
        damaged.kind == ErrorKind::Failed && damaged.message.contains("not what was written"),
        "{damaged}"
    );
    assert_eq!(fs::read_to_string(world.path("it")).unwrap(), "hello");
    assert_eq!(fs::read_dir(world.path("")).unwrap().count(), 1);
}

#[test]
fn a_thousand_objects_and_more_are_listed_and_removed() {
    let world = live();
    let place = world.server.as_ref().unwrap().file("photos", "");
    let keys: Vec<String> = (0..2500).map(|number| format!("n{number:04}")).collect();
    for key in &keys {
        fs::write(place.join(key), key).unwrap();
    }
    let listed = world.call("list", json!([{}])).unwrap();
    let found: Vec<&str> = listed.as_array().unwrap().iter().map(|it| it["key"].as_str().unwrap()).collect();
    assert!(found == keys);
    assert_eq!(world.call("remove", json!([keys])).unwrap(), 2500);
    assert_eq!(world.call("list", json!([{}])).unwrap(), json!([]));
}

/// A server that answers each connection with the next of these, and what it was asked.
fn answering(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/photos", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            asked.push(String::from_utf8(head).unwrap().lines().next().unwrap().to_owned());
            stream.write_all(answer.as_bytes()).unwrap();
        }
        asked
    });
    (address, thread)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

#[test]
fn servers_that_put_off_are_asked_again_and_others_are_not() {
    let harness = Harness::new().port::<dyn Objects>(Arc::new(Live));
    let exists = |address: &str| {
        let args = json!([{ "bucket": address, "access_key": "a", "secret_key": "b" }, "it"]);
        harness.call(&hob_std_s3::primitive(), "storage::s3::exists", args)
    };
    let (address, thread) = answering(vec![answer("503 Slow Down", ""), answer("404 Not Found", "")]);
    assert_eq!(exists(&address).unwrap(), false.into());
    assert_eq!(thread.join().unwrap().len(), 2);
    let (address, thread) = answering(vec![answer("301 Moved Permanently", "")]);
    let moved = exists(&address).unwrap_err();
    assert!(moved.kind == ErrorKind::Invalid && moved.hint.unwrap().contains("region"));
    assert_eq!(thread.join().unwrap().len(), 1);
    let gone = exists(&address).unwrap_err();
    assert!(gone.kind == ErrorKind::Unavailable && !format!("{gone:?}").contains("Signature"), "{gone:?}");
}

#[test]
fn an_answer_that_is_no_list_is_told_as_one() {
    let harness = Harness::new().port::<dyn Objects>(Arc::new(Live));
    let (address, thread) = answering(vec![answer("200 OK", "<html><body>Welcome to nginx</body></html>")]);
    let args = json!([address, {}]);
    let odd = harness.call(&hob_std_s3::primitive(), "storage::s3::list", args).unwrap_err();
    assert!(odd.kind == ErrorKind::Failed && odd.hint.as_ref().unwrap().contains("speaks S3"), "{odd:?}");
    thread.join().unwrap();
}
