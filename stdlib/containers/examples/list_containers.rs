//! Measures `containers::list` with many containers, beside `podman ps` and the engine's own time.
//!
//! ```text
//! cargo run --release -p hob-std-containers --example list_containers [COUNT]
//! ```
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)] // a program that measures

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hob_lab::engine::{Engine, IMAGE, Kind};
use hob_model::Value;
use hob_std_containers::{ContainersPort, live::Live, primitives};
use hob_testkit::Harness;
use serde_json::json;

/// How often each is measured.
const ROUNDS: usize = 20;

fn main() {
    let count: usize = std::env::args().nth(1).map_or(200, |text| text.parse().unwrap());
    let podman =
        hob_lab::started("podman", Kind::Podman.missing(), || Engine::start(Kind::Podman)).expect("podman");
    let socket = podman.socket();
    for at in 0..count {
        let name = format!("bench-{at}");
        let label = format!("at={at}");
        let args =
            ["create", "--name", &name, "--label", &label, "-p", "80", "-v", "/tmp:/x", IMAGE, "sleep", "1"];
        let made = podman.cli(&args).unwrap();
        assert!(made.status.success(), "{made:?}");
    }
    let env = vec![("CONTAINER_HOST".to_owned(), socket.to_string_lossy().into_owned())];
    let harness = Harness::new().port::<dyn ContainersPort>(Arc::new(Live::new(env)));
    let primitive = &primitives()[0];
    let engine = median(|| drop(engine_alone(&socket)));
    let hob = median(|| {
        let listed = harness.call(primitive, "containers::list", json!([])).unwrap();
        assert!(matches!(listed, Value::Array(all) if all.len() == count));
    });
    let ps = median(|| assert!(podman.cli(&["ps", "--all", "--format", "json"]).unwrap().status.success()));
    println!("{count} containers, median of {ROUNDS}");
    println!("the engine's answer alone   {engine:>10.2?}");
    println!("containers::list            {hob:>10.2?}   {:.2?} over the engine", hob.saturating_sub(engine));
    println!("podman ps --all --format json {ps:>8.2?}");
}

/// The request alone, with an answer that nobody reads.
fn engine_alone(socket: &Path) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    let request = "GET /v1.41/containers/json?all=true HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    answer
}

fn median(run: impl Fn()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            run();
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}
