//! Webhooks: what a run gets, and what its caller gets.

use std::time::Duration;

use hob_daemon::http::Limits;
use hob_daemon::hub::Respond;
use serde_json::{Value as Json, json};

use crate::ask::{Ask, get, post};
use crate::world::World;

const SECRET: &str = "It's a Secret to Everybody";
/// The signature of `Hello, World!` with that secret, from GitHub's documentation
/// (<https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation>).
const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

#[test]
fn the_argument_tells_the_whole_request() {
    let world = World::default();
    world.hook("POST", "/media/:kind", "echo", Respond::Last, None);
    let ask = post("/hooks/media/tv%20show?a=1&b=2&b=%C3%A9&flag", r#"{"url": "x", "n": [1, null]}"#)
        .header("content-type", "application/json; charset=utf-8")
        .header("X-Twice", "one")
        .header("X-Twice", "two")
        .header("authorization", "Bearer theirs");
    let answer = ask.tcp(world.address);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut input = answer.json();
    let headers = input["headers"].take();
    assert_eq!(
        input,
        json!({
            "method": "POST",
            "path": "/media/tv show",
            "params": { "kind": "tv show" },
            "query": { "a": "1", "b": ["2", "é"], "flag": "" },
            "headers": null,
            "body": { "url": "x", "n": [1, null] },
        })
    );
    assert_eq!(headers["x-twice"], "one, two");
    assert_eq!(headers["authorization"], "Bearer theirs");
}

#[test]
fn bodies_are_decoded_by_what_they_are() {
    let world = World::default();
    world.hook("PUT", "/in", "body", Respond::Last, None);
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    for (kind, body, wanted) in [
        (json, &b"{\"a\":1}"[..], json!({ "a": 1 })),
        ("application/vnd.github+json", b"[1]", json!([1])),
        (json, b"\"text\"", json!("text")),
        (json, b"", Json::Null),
        ("", b"{\"a\":1}", json!({ "a": 1 })),
        (form, b" {\"a\":1}", json!({ "a": 1 })),
        (form, b"a=1&b=2", json!("a=1&b=2")),
        (form, b"{not json", json!("{not json")),
        ("text/plain", b"{\"a\":1}", json!("{\"a\":1}")),
        ("text/plain", "grüß".as_bytes(), json!("grüß")),
        ("application/octet-stream", &[0, 255, 1], json!("AP8B")),
    ] {
        let ask = Ask::new("PUT", "/hooks/in").body(body);
        let ask = if kind.is_empty() { ask } else { ask.header("content-type", kind) };
        let answer = ask.tcp(world.address);
        assert_eq!((answer.status, answer.json()), (200, wanted), "{kind}");
    }
    let broken = Ask::new("PUT", "/hooks/in").body("{").header("content-type", json).tcp(world.address);
    assert_eq!(broken.status, 400);
    assert!(broken.json()["message"].as_str().unwrap().contains("says that it is JSON"), "{}", broken.text());
}

#[test]
fn the_answer_tells_what_became_of_the_run() {
    let world = World::default();
    for workflow in ["steps", "fail", "signal", "nan", "carry"] {
        world.hook("POST", &format!("/{workflow}"), workflow, Respond::Last, None);
        world.hook("POST", &format!("/accepted/{workflow}"), workflow, Respond::Accepted, None);
    }
    let ask = |path: &str| post(&format!("/hooks/{path}"), "").tcp(world.address);
    let done = ask("steps");
    assert_eq!((done.status, done.text().as_str()), (200, "3\n"));
    assert!(done.head.contains("content-type: application/json"), "{}", done.head);
    let failed = ask("fail");
    assert_eq!((failed.status, &failed.json()["error"]["message"]), (500, &json!("broken")));
    assert_eq!(world.rested(failed.json()["run"].as_str().unwrap())["status"], "failed");
    let waits = ask("signal");
    assert_eq!((waits.status, &waits.json()["status"]), (202, &json!("waiting")));
    assert_eq!(world.rested(waits.json()["run"].as_str().unwrap())["trigger"], "webhook:POST /signal");
    let unspeakable = ask("nan");
    let why = unspeakable.json();
    assert_eq!(
        (unspeakable.status, &why["error"]["message"]),
        (500, &json!("the value of the run: NaN has no JSON form"))
    );
    assert_eq!(world.rested(why["run"].as_str().unwrap())["status"], "failed");
    let carried = ask("carry");
    assert_eq!(carried.status, 202);
    assert_eq!(world.rested(carried.json()["run"].as_str().unwrap())["output"], 1);
    for workflow in ["steps", "fail", "signal"] {
        let accepted = ask(&format!("accepted/{workflow}"));
        assert_eq!(accepted.status, 202);
        let json = accepted.json();
        assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
        world.rested(json["run"].as_str().unwrap());
    }
}

#[test]
fn a_long_run_is_answered_while_it_goes_on() {
    let respond_last = Duration::from_millis(50);
    let world = World::with(Limits { respond_last, ..Limits::default() });
    world.hook("POST", "/slow", "slow", Respond::Last, None);
    let answer = post("/hooks/slow", "").tcp(world.address);
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("running")));
    world.door.open();
    assert_eq!(world.rested(answer.json()["run"].as_str().unwrap())["output"], 7);
}

#[test]
fn callers_are_answered_when_hob_stops() {
    let mut world = World::default();
    world.hook("POST", "/slow", "slow", Respond::Last, None);
    let (address, hub) = (world.address, std::sync::Arc::clone(&world.hub));
    let caller = std::thread::spawn(move || post("/hooks/slow", "").tcp(address));
    while hub.runs.active() == 0 {
        std::thread::yield_now();
    }
    world.stop();
    let answer = caller.join().unwrap();
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("running")));
}

#[test]
fn a_secret_is_proved_in_three_ways() {
    let world = World::default();
    world.hook("POST", "/in", "echo", Respond::Last, Some(SECRET));
    let ask = || post("/hooks/in", "Hello, World!").header("content-type", "text/plain");
    let wrong = SIGNATURE.replace('7', "8");
    for (name, value, status) in [
        ("x-hub-signature-256", SIGNATURE.to_owned(), 200),
        ("X-Hub-Signature-256", SIGNATURE.to_uppercase().replace("SHA256", "sha256"), 200),
        ("x-hub-signature-256", wrong, 401),
        ("x-hub-signature-256", SIGNATURE.replace("sha256=", ""), 401),
        ("x-hub-signature-256", "sha256=".to_owned(), 401),
        ("authorization", format!("Bearer {SECRET}"), 200),
        ("authorization", "Bearer guess".to_owned(), 401),
        ("authorization", format!("Bearer {}", world.token), 401),
        ("x-hob-token", SECRET.to_owned(), 200),
        ("x-hob-token", String::new(), 401),
        ("x-other", SECRET.to_owned(), 401),
    ] {
        let answer = ask().header(name, &*value).tcp(world.address);
        assert_eq!(answer.status, status, "{name}: {value}: {}", answer.text());
        if status == 200 && name != "x-hub-signature-256" {
            assert_eq!(answer.json()["headers"].get(name), None, "a secret was written down");
        }
    }
    // A good token does not make up for a wrong signature.
    let both = ask().header("x-hub-signature-256", "sha256=00").header("x-hob-token", SECRET);
    assert_eq!(both.tcp(world.address).status, 401);
    assert_eq!(world.hub.runs.journal().runs(&Default::default()).unwrap().len(), 4);
}

#[test]
fn what_is_not_declared_is_not_there() {
    let world = World::default();
    world.hook("POST", "/in", "echo", Respond::Last, None);
    let other = get("/hooks/in").tcp(world.address);
    assert_eq!(other.status, 405);
    assert!(other.head.contains("allow: post"), "{}", other.head);
    for path in ["/hooks/none", "/hooks/in/", "/hooks//in", "/hooks/../in", "/hooks/%2e%2e/in"] {
        let answer = post(path, "").tcp(world.address);
        assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("HOB-0102")), "{path}");
    }
    world.hub.ready.store(false, std::sync::atomic::Ordering::SeqCst);
    let early = post("/hooks/in", "").tcp(world.address);
    assert_eq!(early.status, 503);
    assert!(early.head.contains("retry-after"), "{}", early.head);
}

#[test]
fn what_cannot_be_taken_is_refused_and_not_dropped() {
    let world = World::default();
    world.hook("POST", "/in", "echo", Respond::Accepted, None);
    world.hub.full.store(true, std::sync::atomic::Ordering::SeqCst);
    let token = world.token.clone();
    for ask in [
        post("/hooks/in", "{}"),
        post("/api/v1/events", r#"{"name": "x"}"#).token(&token),
        post("/api/v1/runs", r#"{"workflow": "echo"}"#).token(&token),
    ] {
        let answer = ask.tcp(world.address);
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert!(answer.head.contains("retry-after: 5"), "{}", answer.head);
        assert!(answer.json()["message"].as_str().unwrap().contains("the test says so"));
    }
    assert_eq!(get("/api/v1/runs").token(&token).tcp(world.address).json(), json!([]));
    world.hub.full.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(post("/hooks/in", "{}").tcp(world.address).status, 202);
}

fn runs(world: &World) -> usize {
    let all = get("/api/v1/runs").token(&world.token).tcp(world.address);
    all.json().as_array().unwrap().len()
}

#[test]
fn a_delivery_that_comes_again_starts_nothing() {
    let world = World::default();
    world.hook("POST", "/in", "echo", Respond::Accepted, None);
    world.hook("POST", "/last", "body", Respond::Last, None);
    world.hook("POST", "/parks", "signal", Respond::Last, None);
    let first = post("/hooks/in", "1").header("X-GitHub-Delivery", "a-1").tcp(world.address);
    assert_eq!(first.status, 202);
    assert!(!first.head.contains("idempotent-replayed"));
    let again = post("/hooks/in", "1").header("X-GitHub-Delivery", "a-1").tcp(world.address);
    assert_eq!((again.status, again.json()), (202, first.json()));
    assert!(again.head.contains("idempotent-replayed: true"));
    let other = post("/hooks/in", "1").header("X-GitHub-Delivery", "a-2").tcp(world.address);
    assert_ne!(other.json(), first.json());
    assert_eq!(runs(&world), 2);
    // The same name for another workflow is another delivery; the answer is the value of the run.
    for _ in 0..2 {
        let answer = post("/hooks/last", "7").header("Idempotency-Key", "a-1").tcp(world.address);
        assert_eq!((answer.status, answer.json()), (200, json!("7")));
    }
    for _ in 0..2 {
        let answer = post("/hooks/parks", "7").header("webhook-id", "x").tcp(world.address);
        assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("waiting")));
    }
    assert_eq!(runs(&world), 4);
    // Without a name each is new.
    let nameless = || post("/hooks/in", "1").tcp(world.address).json();
    assert_ne!(nameless(), nameless());
    let long = post("/hooks/in", "1").header("Idempotency-Key", "x".repeat(300)).tcp(world.address);
    assert_eq!(long.status, 400);
}

#[test]
fn a_webhook_has_limits_of_its_own() {
    use hob_planner::declaration::Rate;
    let world = World::default();
    world.hook("POST", "/in", "echo", Respond::Accepted, None);
    world.last_hook(|hook| {
        hook.rate = Some(Rate { count: 3, per: Duration::from_secs(3600) });
        hook.body_bytes_max = Some(10);
    });
    let ask = |body: &str| post("/hooks/in", body).tcp(world.address);
    assert_eq!(ask("12345678901").status, 413);
    for _ in 0..3 {
        assert_eq!(ask("1234567890").status, 202);
    }
    let refused = ask("1");
    assert_eq!(refused.status, 429);
    assert!(refused.json()["message"].as_str().unwrap().contains("takes 3 requests in 1h"));
    let after = refused.head.split("retry-after: ").nth(1).unwrap();
    let after: u64 = after.lines().next().unwrap().trim().parse().unwrap();
    assert!((600..=1_202).contains(&after), "{after}");
    assert_eq!(runs(&world), 3);
}
