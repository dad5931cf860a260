//! The access rules, tried from outside.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use hob_daemon::client::ClientError;
use hob_daemon::http::{Limits, Settings};
use hob_daemon::hub::Respond;
use hob_model::Code;

use crate::ask::{Ask, exchange, get, post};
use crate::world::World;

/// What no user of this machine has.
const STRANGER: u32 = 65_534;

#[test]
fn over_tcp_the_api_needs_the_token() {
    let world = World::default();
    world.hook("POST", "/open", "steps", Respond::Accepted, None);
    let token = world.token.clone();
    for (ask, status) in [
        (get("/healthz"), 200),
        (get("/metrics"), 200),
        (get("/healthz/none"), 404),
        (post("/hooks/open", ""), 202),
        (get("/hooks/none"), 404),
        (get("/api/v1/runs"), 401),
        (get("/api/v1/openapi.json"), 401),
        (get("/nothing"), 401),
        (get("/hooks"), 401),
        (get("//api/v1/runs"), 401),
        (get("/api/v1/runs").header("authorization", token.clone()), 401),
        (get("/api/v1/runs").token(&token[1..]), 401),
        (get("/api/v1/runs").token(&token.to_uppercase()), 401),
        (get("/api/v1/runs").token(""), 401),
        (get("/api/v1/runs?token=x"), 401),
        (get("/api/v1/runs").token(&token), 200),
        (get("/nothing").token(&token), 404),
        (Ask::new("DELETE", "/api/v1/runs").token(&token), 405),
    ] {
        let answer = ask.tcp(world.address);
        assert_eq!(answer.status, status, "{} {}", answer.head, answer.text());
        assert_eq!(status == 401, answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
        assert!(!answer.head.contains("access-control"), "{}", answer.head);
    }
    let refused = get("/api/v1/runs").tcp(world.address).json();
    assert_eq!(refused["code"], "HOB-0603");
    assert!(refused["hint"].as_str().unwrap().contains("token file"), "{refused}");
}

#[test]
fn over_the_socket_the_owner_needs_none() {
    let world = World::default();
    for path in ["/api/v1/runs", "/healthz", "/metrics", "/api/v1/openapi.json"] {
        assert_eq!(get(path).unix(&world.settings.socket).status, 200, "{path}");
    }
}

#[test]
fn a_host_that_is_neither_loopback_nor_configured_is_refused() {
    let world = World::default();
    for (host, status) in [
        ("localhost", 200),
        ("localhost:4620", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:1", 200),
        ("127.9.9.9", 200),
        ("[::1]:4620", 200),
        ("hob.example.net", 200),
        ("HOB.example.net:443", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("192.168.1.7", 403),
        ("localhost@evil.example", 403),
        ("", 400),
    ] {
        for path in ["/healthz", "/api/v1/runs"] {
            let answer = get(path).token(&world.token).header("host", host).tcp(world.address);
            assert_eq!(answer.status, status, "{host}{path}: {}", answer.text());
        }
    }
    let twice = get("/healthz").header("host", "localhost").header("host", "localhost").tcp(world.address);
    assert_eq!(twice.status, 400);
    let absolute = get("http://evil.example/healthz").tcp(world.address);
    assert_eq!(absolute.status, 403);
    let stream = TcpStream::connect(world.address).unwrap();
    let none = exchange(stream, b"GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n");
    assert_eq!(none.status, 400);
}

#[test]
fn a_page_of_another_origin_is_refused() {
    let world = World::default();
    world.hook("POST", "/open", "steps", Respond::Accepted, None);
    for (name, value, status) in [
        ("origin", "http://localhost:4620", 202),
        ("origin", "https://LOCALHOST:4620", 202),
        ("origin", "http://localhost:4621", 403),
        ("origin", "http://evil.example", 403),
        ("origin", "ftp://localhost:4620", 403),
        ("origin", "null", 403),
        ("origin", "", 403),
        ("sec-fetch-site", "same-origin", 202),
        ("sec-fetch-site", "none", 202),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "cross-site", 403),
    ] {
        let ask = post("/hooks/open", "").header("host", "localhost:4620").header(name, value);
        let answer = ask.tcp(world.address);
        assert_eq!(answer.status, status, "{name}: {value}: {}", answer.text());
        assert!(!answer.head.contains("access-control"), "{}", answer.head);
        let ask =
            get("/api/v1/runs").token(&world.token).header("host", "localhost:4620").header(name, value);
        assert_eq!(ask.tcp(world.address).status == 403, status == 403, "{name}: {value}");
    }
    let preflight = Ask::new("OPTIONS", "/api/v1/runs")
        .header("origin", "http://evil.example")
        .header("access-control-request-method", "POST");
    assert_eq!(preflight.tcp(world.address).status, 403);
}

#[test]
fn metrics_are_open_to_this_machine_alone() {
    let world = World::default();
    for (ask, status) in [
        (get("/metrics"), 200),
        (get("/metrics").header("host", "hob.example.net"), 401),
        (get("/metrics").header("x-forwarded-for", "203.0.113.9"), 401),
        (get("/metrics").header("forwarded", "for=203.0.113.9"), 401),
        (get("/metrics").header("host", "hob.example.net").token(&world.token), 200),
    ] {
        assert_eq!(ask.tcp(world.address).status, status);
    }
}

#[test]
fn the_token_and_the_socket_are_for_their_owner_alone() {
    let world = World::default();
    let mode = |path: &std::path::Path| std::fs::symlink_metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&world.settings.token_file), 0o600);
    assert_eq!(mode(&world.settings.socket), 0o600);
    assert_eq!(world.token.len(), 64);
    assert!(world.token.bytes().all(|byte| byte.is_ascii_hexdigit()));
}

/// Connects and asks as another user; needs root, as CI has it.
#[test]
fn another_user_gets_nothing_from_the_socket() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let world = World::default();
    std::fs::set_permissions(world.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let path = world.settings.socket.clone();
    let as_stranger = move || {
        let stranger = rustix::thread::Uid::from_raw(STRANGER);
        // It changes this thread alone, which ends with the question.
        rustix::thread::set_thread_res_uid(stranger, stranger, stranger).unwrap();
        UnixStream::connect(&path)
            .map(|stream| exchange(stream, b"GET /api/v1/runs HTTP/1.1\r\nhost: a\r\n\r\n"))
    };
    let refused = std::thread::spawn(as_stranger.clone()).join().unwrap();
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    // Even where the mode is no help, the peer's user is looked at.
    std::fs::set_permissions(&world.settings.socket, PermissionsExt::from_mode(0o666)).unwrap();
    let answer = std::thread::spawn(as_stranger).join().unwrap().unwrap();
    assert_eq!(answer.status, 403);
    assert_eq!(answer.json()["code"], "HOB-0603");
    assert!(answer.text().contains("the user with id 0"), "{}", answer.text());
}

#[test]
fn a_token_file_that_is_no_secret_is_refused() {
    let world = World::default();
    let serve = |name: &str, text: &str, mode: u32| {
        let state = world.dir.path().join(name);
        std::fs::create_dir(&state).unwrap();
        let settings = Settings::in_state(&state, world.settings.listen);
        std::fs::write(&settings.token_file, text).unwrap();
        std::fs::set_permissions(&settings.token_file, PermissionsExt::from_mode(mode)).unwrap();
        let served = world.serve_again(settings.clone());
        assert!(served.is_ok() || !settings.socket.exists(), "the socket was left behind");
        served
    };
    let good = "a".repeat(40);
    assert!(serve("kept", &good, 0o600).is_ok());
    for (name, text, mode, cure) in [
        ("others", good.as_str(), 0o640, "chmod 600"),
        ("empty", "", 0o600, "at least 32"),
        ("short", "secret", 0o600, "at least 32"),
        ("spaced", "a b c d e f g h i j k l m n o p q r s t", 0o600, "at least 32"),
    ] {
        let problem = serve(name, text, mode).err().unwrap_or_else(|| panic!("{name} was taken"));
        assert!(problem.hint.as_deref().unwrap_or_default().contains(cure), "{name}: {problem:?}");
    }
}

#[test]
fn only_a_dead_socket_is_replaced() {
    let mut world = World::default();
    let second = world.serve_again(world.settings.clone()).err().unwrap();
    assert_eq!(second.code, Code::StateLocked);
    let state = world.dir.path().join("other");
    std::fs::create_dir(&state).unwrap();
    let settings = Settings::in_state(&state, None);
    // A process that was killed leaves its socket.
    drop(UnixListener::bind(&settings.socket).unwrap());
    assert!(settings.socket.exists());
    drop(world.serve_again(settings.clone()).unwrap());
    std::fs::write(&settings.socket, "mine").unwrap();
    assert_eq!(world.serve_again(settings.clone()).err().unwrap().code, Code::StateUnusable);
    assert_eq!(std::fs::read_to_string(&settings.socket).unwrap(), "mine");
    world.stop();
    assert!(!world.settings.socket.exists());
    assert!(matches!(world.api().get("/healthz"), Err(ClientError::NoDaemon(_))));
}

#[test]
fn a_state_directory_may_have_a_long_path() {
    let world = World::default();
    let state = world.dir.path().join("d".repeat(120));
    std::fs::create_dir(&state).unwrap();
    let settings = Settings::in_state(&state, None);
    let _serving = world.serve_again(settings.clone()).unwrap();
    let client = hob_daemon::client::Client::new(&settings.socket);
    assert_eq!(client.get("/healthz").unwrap(), "ok");
}

#[test]
fn large_requests_are_refused() {
    let world = World::default();
    world.hook("POST", "/open", "steps", Respond::Accepted, None);
    let tcp = |ask: Ask| ask.tcp(world.address);
    let claimed = post("/hooks/open", "x").header("content-length", (9 << 20).to_string());
    assert_eq!(tcp(claimed).status, 413);
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(0x10_0000));
    let chunked = format!(
        "POST /hooks/open HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{}",
        chunk.repeat(9)
    );
    assert_eq!(exchange(TcpStream::connect(world.address).unwrap(), chunked.as_bytes()).status, 413);
    let api = post("/api/v1/events", "x".repeat((1 << 20) + 1)).token(&world.token);
    assert_eq!(tcp(api).status, 413);
    let many = (0..200).fold(get("/healthz"), |ask, n| ask.header(&format!("x-{n}"), "y"));
    assert_eq!(tcp(many).status, 431);
    assert_eq!(tcp(get("/healthz").header("x-big", "y".repeat(100_000))).status, 431);
}

#[test]
fn slow_requests_are_cut_off() {
    let brief = Duration::from_millis(100);
    let world = World::with(Limits { head_read: brief, body_read: brief, ..Limits::default() });
    world.hook("POST", "/open", "steps", Respond::Accepted, None);
    let closed = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(world.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        // It ends: a connection that stayed open would end in an error of the read timeout.
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    closed(b"");
    closed(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ");
    let body = closed(
        b"POST /hooks/open HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\nconnection: close\r\n\r\nab",
    );
    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
}

#[test]
fn a_panic_costs_one_answer() {
    let world = World::default();
    world.hub.panics.store(true, std::sync::atomic::Ordering::SeqCst);
    let answer = get("/api/v1/status").token(&world.token).tcp(world.address);
    assert_eq!(answer.status, 500);
    assert!(answer.json()["message"].as_str().unwrap().contains("failed to answer"));
    assert_eq!(get("/healthz").tcp(world.address).status, 200);
}
