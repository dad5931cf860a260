//! What a scrape of `/metrics` takes, of a homelab with many services.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::machine::cpu_time;
use crate::sample::Sample;
use crate::webhook::Up;

/// The most that a scrape should take.
const GOAL: &str = "20 ms";
/// After this time all is measured again.
const MEASURED_AGAIN: Duration = Duration::from_secs(6);

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The binary.
    #[arg(long, default_value = "target/release/hob")]
    hob: PathBuf,
    /// How many services the homelab has.
    #[arg(long, default_value_t = 200)]
    services: usize,
    /// How often everything is measured anew for a scrape.
    #[arg(long, default_value_t = 5)]
    fresh: usize,
    /// Scrapes one right after the other.
    #[arg(long, default_value_t = 1_000)]
    rounds: usize,
}

/// How long an answer took, and its bytes.
fn scrape(address: &str) -> (Duration, usize) {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    (begun.elapsed(), answer.len())
}

/// Starts `hob up` and scrapes it.
pub(crate) fn measure(root: &Path, options: &Options) {
    let hob = options.hob.canonicalize().expect("build it first: cargo build --release -p hob");
    let (homelab, state) = (root.join("homelab"), root.join("state"));
    std::fs::create_dir_all(&homelab).unwrap();
    let mut text = String::from("homelab(#{ name: \"bench\" });\ntier(\"all\");\n");
    for n in 0..options.services {
        text += &format!("service(\"s{n}\", #{{ tier: \"all\", command: [\"sleep\", \"100000\"] }});\n");
    }
    std::fs::write(homelab.join("homelab.rhai"), text).unwrap();
    println!("workload  a release `hob up` with {} supervised processes is scraped", options.services);
    let up = Up::start(&hob, &homelab, &state);
    let bytes = scrape(&up.address).1;
    let fresh = (0..options.fresh).map(|_| {
        std::thread::sleep(MEASURED_AGAIN);
        scrape(&up.address).0
    });
    println!("answer    {bytes} bytes");
    println!("measured  {} (goal {GOAL})", Sample::of(fresh.collect()).text());
    let (begun, spent) = (Instant::now(), cpu_time(&up.child.id().to_string()));
    let rounds = (0..options.rounds).map(|_| scrape(&up.address).0).collect();
    let spent = cpu_time(&up.child.id().to_string()) - spent;
    println!("again     {}", Sample::of(rounds).text());
    let each = spent.as_secs_f64() * 1e3 / options.rounds as f64;
    println!(
        "          {each:.2} ms of a processor each, {:.0}/s",
        options.rounds as f64 / begun.elapsed().as_secs_f64()
    );
}
