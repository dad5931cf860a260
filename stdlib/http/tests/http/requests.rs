//! Requests and answers, against both worlds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hob_model::{ErrorKind, Value};
use hob_std_http::Scripted;
use hob_std_http::port::Request;

use serde_json::json;

use crate::world::{World, get, header, query};

#[test]
fn an_answer_is_a_map() {
    for world in World::both(|_| {
        Scripted::new(200, "grüße").header("X-Thing", "a").header("x-thing", "b").header("set-cookie", "c=1")
    }) {
        let answer =
            world.call("get", "/x", json!({ "query": { "q": "a b", "n": [1, 2], "none": null } })).unwrap();
        assert_eq!(get(&answer, "status"), &Value::Int(200));
        assert_eq!(get(&answer, "body"), &Value::from("grüße"));
        assert_eq!(get(get(&answer, "headers"), "x-thing"), &Value::from("a, b"));
        assert_eq!(get(get(&answer, "headers"), "set-cookie"), &Value::from(vec!["c=1".to_owned()]));
        assert_eq!(get(&answer, "url"), &Value::from(format!("{}/x?n=1&n=2&q=a+b", world.base)));
        assert_eq!(get(&answer, "elapsed_ms"), &Value::Int(0), "the clock of the test stands still");
        assert!(header(&world.seen()[0], "user-agent").unwrap().starts_with("hob/"));
    }
}

#[test]
fn bodies_are_texts_if_they_are_texts() {
    for (kind, body, decode, expected) in [
        ("text/plain", &b"\xef\xbb\xbfa"[..], "auto", Some(Value::from("a"))),
        ("text/plain; charset=ISO-8859-1", b"\xfc", "auto", Some(Value::from("ü"))),
        ("text/plain; charset=\"utf-16le\"", b"a\0", "text", Some(Value::from("a"))),
        ("text/plain; charset=nope", b"a", "auto", Some(Value::Blob(b"a".to_vec()))),
        ("image/png", b"\x89PNG", "auto", Some(Value::Blob(b"\x89PNG".to_vec()))),
        ("text/plain", b"a", "blob", Some(Value::Blob(b"a".to_vec()))),
        ("image/png", b"\x89PNG", "text", None),
    ] {
        for world in World::both(move |_| Scripted::new(200, body).header("content-type", kind)) {
            let answer = world.call("get", "/", json!({ "decode": decode }));
            assert_eq!(answer.ok().map(|answer| get(&answer, "body").clone()), expected, "{kind} {decode}");
        }
    }
}

#[test]
fn requests_are_what_was_asked() {
    let check = |name: &str, options: serde_json::Value, check: fn(&Request)| {
        for world in World::both(|_| Scripted::new(204, "")) {
            world.call(name, "/a?b=c", options.clone()).unwrap();
            check(&world.seen()[0]);
        }
    };
    check("get", json!({ "query": { "d": true } }), |r| {
        assert_eq!(query(r), [("b", "c"), ("d", "true")].map(|(k, v)| (k.into(), v.into())).into())
    });
    check("post", json!({ "json": { "a": [1, null] } }), |r| {
        assert_eq!(
            (header(r, "content-type"), &r.body[..]),
            (Some("application/json"), &b"{\"a\":[1,null]}"[..])
        );
    });
    check("put", json!({ "form": { "a": "ä &", "b": 2 } }), |r| {
        assert_eq!(
            (header(r, "content-type"), &r.body[..]),
            (Some("application/x-www-form-urlencoded"), &b"a=%C3%A4+%26&b=2"[..])
        );
    });
    check("patch", json!({ "body": "x", "headers": { "Content-Type": "text/csv", "X-A": 1 } }), |r| {
        assert_eq!(
            (header(r, "content-type"), header(r, "x-a"), r.method.as_str()),
            (Some("text/csv"), Some("1"), "PATCH")
        );
    });
    check("delete", json!({ "bearer": "tok" }), |r| {
        assert_eq!(header(r, "authorization"), Some("Bearer tok"))
    });
    check("head", json!({ "basic": { "user": "ada", "password": "p:w" } }), |r| {
        assert_eq!((header(r, "authorization"), r.method.as_str()), (Some("Basic YWRhOnA6dw=="), "HEAD"));
    });
    check("post", json!({ "idempotency_key": "mine" }), |r| {
        assert_eq!(header(r, "idempotency-key"), Some("mine"))
    });
    check(
        "post",
        json!({ "multipart": { "note": "hi", "up": { "content": "a\r\nb", "filename": "q\".txt", "type": "text/plain" } } }),
        |r| {
            let boundary =
                header(r, "content-type").unwrap().strip_prefix("multipart/form-data; boundary=").unwrap();
            let expected = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhi\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"up\"; filename=\"q%22.txt\"\r\nContent-Type: text/plain\r\n\r\na\r\nb\r\n\
             --{boundary}--\r\n"
            );
            assert_eq!(r.body, expected);
        },
    );
}

#[test]
fn the_key_of_the_call_is_sent_when_asked() {
    for mut world in World::both(|_| Scripted::new(200, "")) {
        world.harness = world.harness.key("run 1/2");
        for _attempt in 0..2 {
            world.call("post", "/", json!({ "idempotency_key": true })).unwrap();
        }
        world.call("post", "/", json!({ "idempotency_key": false })).unwrap();
        let seen = world.seen();
        let keys: Vec<_> = seen.iter().map(|request| header(request, "idempotency-key")).collect();
        assert_eq!(keys, [Some("run 1/2"), Some("run 1/2"), None]);
    }
}

#[test]
fn credentials_in_an_address_are_used_and_not_shown() {
    for world in World::both(|_| Scripted::new(404, "no")) {
        let url = format!("{}/s?token=hidden", world.base).replace("http://", "http://ada:p%40ss@");
        let error = world.harness.call(&hob_std_http::primitive(), "http::get", json!([url])).unwrap_err();
        assert_eq!(header(&world.seen()[0], "authorization"), Some("Basic YWRhOnBAc3M="));
        let shown = format!("{error:?}");
        assert!(!["ada", "p@ss", "p%40ss", "hidden"].iter().any(|secret| shown.contains(secret)), "{shown}");
    }
}

#[test]
fn bad_requests_are_refused_before_anything_is_sent() {
    for world in World::both(|_| Scripted::new(200, "")) {
        for (path, options, message) in [
            ("", json!({ "json": 1, "body": "" }), "a request has one body"),
            ("", json!({ "bearer": "a", "headers": { "Authorization": "b" } }), "give credentials once"),
            ("", json!({ "headers": { "a b": "c" } }), "is no name of a header"),
            ("", json!({ "headers": { "a": "c\r\nx: y" } }), "the header `a` has a line break"),
            (
                "",
                json!({ "query": { "a": {} } }),
                "option `query`: `a`: expected a text or a number, got map",
            ),
            ("", json!({ "tls": { "verfy": false } }), "unknown option `verfy`"),
            ("", json!({ "tls": { "cert": "x.pem" } }), "`cert` and `key` belong together"),
            ("", json!({ "proxy": "proxy:1" }), "this is no address of a proxy"),
            ("", json!({ "basic": { "user": "a:b" } }), "has no colon"),
            ("", json!({ "bodi": "x" }), "unknown option `bodi`"),
            (&"/".repeat(9000), json!({}), "the address has"),
        ] {
            let error = world.call("post", path, options).unwrap_err();
            assert!(error.message.contains(message), "{}", error.message);
            assert_eq!((error.kind, error.nothing_happened), (ErrorKind::Invalid, true));
        }
        for (args, message) in [
            (json!(["GET", "file:///etc/passwd"]), "`file:` is no scheme for http"),
            (json!(["GET", "example.net"]), "this is no address"),
            (json!(["CONNECT", "http://a"]), "`CONNECT` is no method"),
            (json!(["G T", "http://a"]), "`G T` is no method"),
        ] {
            let error = world.harness.call(&hob_std_http::primitive(), "http::request", args).unwrap_err();
            assert!(error.message.contains(message), "{}", error.message);
        }
        assert!(world.seen().is_empty());
    }
}

#[test]
fn a_refusing_status_is_an_error_of_its_kind() {
    use ErrorKind as K;
    for (status, kind, retryable, nothing_happened) in [
        (400, K::Invalid, false, false),
        (401, K::Denied, false, true),
        (403, K::Denied, false, true),
        (404, K::NotFound, false, true),
        (408, K::Timeout, true, false),
        (409, K::Conflict, false, false),
        (410, K::NotFound, false, false),
        (412, K::Conflict, false, false),
        (418, K::Failed, false, false),
        (422, K::Invalid, false, false),
        (429, K::Unavailable, true, true),
        (500, K::Failed, true, false),
        (501, K::Failed, false, false),
        (503, K::Unavailable, true, false),
    ] {
        for world in World::both(move |_| Scripted::new(status, "why")) {
            let error = world.call("post", "/a", json!({})).unwrap_err();
            assert_eq!(
                (error.kind, error.retryable, error.nothing_happened),
                (kind, retryable, nothing_happened),
                "{status}"
            );
            assert_eq!(get(&error.details, "status"), &Value::Int(i64::from(status)));
            assert_eq!(get(&error.details, "body"), &Value::from("why"));
            assert!(
                error.message.starts_with(&format!("POST {}/a answered {status}", world.base)),
                "{}",
                error.message
            );
            let answer = world.call("post", "/a", json!({ "check": false })).unwrap();
            assert_eq!(get(&answer, "status"), &Value::Int(i64::from(status)));
            assert_eq!(world.seen().len(), 2, "nothing is tried again here");
        }
    }
}

#[test]
fn retry_after_is_told_in_milliseconds() {
    for (header, wait) in [
        ("7", Some(7000)),
        ("Fri, 02 Jan 2026 03:04:35 GMT", Some(30_000)),
        ("Thu, 01 Jan 2026 00:00:00 GMT", Some(0)),
        ("soon", None),
    ] {
        for world in World::both(move |_| Scripted::new(503, "").header("retry-after", header)) {
            let error = world.call("get", "/", json!({})).unwrap_err();
            assert_eq!(error.details.get("retry_after_ms").and_then(Value::as_int), wait, "{header}");
        }
    }
}

#[test]
fn secrets_that_a_server_repeats_are_not_shown() {
    for world in World::both(|request| Scripted::new(403, format!("{:?}", request.headers))) {
        let error = world
            .call("get", "/", json!({ "bearer": "tok-123456", "headers": { "X-Api-Key": "key-98765" } }))
            .unwrap_err();
        let shown = format!("{error:?}");
        assert!(!shown.contains("tok-123456") && !shown.contains("key-98765"), "{shown}");
    }
}

#[test]
fn redirects_are_followed_with_care() {
    let script = |request: &Request| {
        let to = |status, location: &str| Scripted::new(status, "").header("location", location);
        let other = request.url.as_str().replace("127.0.0.1", "localhost");
        match request.url.path() {
            "/301" => to(301, "/end"),
            "/303" => to(303, "end#part"),
            "/307" => to(307, "/end"),
            "/away" => to(302, &other.replace("/away", "/end")),
            "/loop" => to(302, "/loop"),
            "/file" => to(302, "file:///etc/passwd"),
            "/nowhere" => Scripted::new(302, "here"),
            _ => Scripted::new(200, "end"),
        }
    };
    for world in World::both(script) {
        for (path, method, body) in [("/301", "GET", ""), ("/303", "GET", ""), ("/307", "POST", "x")] {
            let answer = world.call("post", path, json!({ "body": "x", "bearer": "tok" })).unwrap();
            assert_eq!(get(&answer, "url"), &Value::from(format!("{}/end", world.base)));
            let last = world.seen().pop().unwrap();
            assert_eq!((last.method.as_str(), &last.body[..]), (method, body.as_bytes()), "{path}");
            assert_eq!(header(&last, "content-type").is_some(), !body.is_empty());
            assert_eq!(header(&last, "authorization"), Some("Bearer tok"));
        }
        world
            .call(
                "get",
                "/away",
                json!({ "bearer": "tok", "headers": { "X-Api-Key": "k", "Accept": "a/b" } }),
            )
            .unwrap();
        let last = world.seen().pop().unwrap();
        assert_eq!(last.url.host_str(), Some("localhost"));
        assert_eq!(
            (header(&last, "authorization"), header(&last, "x-api-key"), header(&last, "accept")),
            (None, None, Some("a/b"))
        );

        let before = world.seen().len();
        let error = world.call("get", "/loop", json!({ "redirects": 3 })).unwrap_err();
        assert!(error.message.contains("more than 3 times"), "{}", error.message);
        assert_eq!(world.seen().len() - before, 4);
        assert!(world.call("get", "/file", json!({})).unwrap_err().message.contains("no web address"));
        let answer = world.call("get", "/loop", json!({ "redirects": 0 })).unwrap();
        assert_eq!(get(get(&answer, "headers"), "location"), &Value::from("/loop"));
        assert_eq!(get(&world.call("get", "/nowhere", json!({})).unwrap(), "body"), &Value::from("here"));
    }
}

#[test]
fn a_body_has_a_limit() {
    let script = |request: &Request| match request.url.path() {
        "/declared" => Scripted::new(200, vec![b'x'; 2000]),
        _ => Scripted { body: vec![Bytes::from(vec![b'x'; 100]); 20], hangs: true, ..Scripted::new(200, "") },
    };
    for world in World::both(script) {
        for path in ["/declared", "/endless"] {
            let error = world.call("get", path, json!({ "limit": "1K" })).unwrap_err();
            assert!(error.message.ends_with("the body is longer than 1024 bytes"), "{}", error.message);
        }
        assert!(world.call("get", "/declared", json!({ "limit": 2000 })).is_ok());
        assert!(world.call("head", "/declared", json!({ "limit": 10 })).is_ok(), "a HEAD has no body");
    }
}

#[test]
fn a_broken_answer_is_not_taken_for_a_whole_one() {
    let script = |request: &Request| match request.url.path() {
        "/none" => Scripted::no_answer(),
        "/short" => Scripted::new(200, "half").header("content-length", "8").breaks(),
        _ => Scripted::new(200, "half").breaks(),
    };
    for world in World::both(script) {
        for (path, part) in [("/none", "no answer"), ("/short", "broke off"), ("/chunked", "broke off")] {
            let error = world.call("post", path, json!({})).unwrap_err();
            assert!(error.message.contains(part), "{path}: {}", error.message);
            assert_eq!(
                (error.kind, error.retryable, error.nothing_happened),
                (ErrorKind::Unavailable, true, false),
                "{path}"
            );
        }
        assert_eq!(world.seen().len(), 3, "nothing is tried again here");
    }
}

#[test]
fn what_hangs_can_be_cancelled_and_cut_off() {
    let hanging: crate::world::Script = Arc::new(|_| Scripted::new(200, "x").hangs());
    for mut world in [World::fake(hanging.clone()), World::live(hanging)] {
        world.harness = world.harness.timeout(Duration::from_millis(50));
        assert_eq!(world.call("get", "/", json!({})).unwrap_err().kind, ErrorKind::Timeout);
        world.harness.cancel().cancel();
        assert_eq!(world.call("get", "/", json!({})).unwrap_err().kind, ErrorKind::Cancelled);
    }
}
