//! Durable runs over the webhook of a `hob up`, and what it costs while it is idle.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::floor;
use crate::machine::{cpu_time, mib, status_kib};
use crate::sample::text;
use crate::server::CountingServer;

/// How long a process without work is left alone before its memory is read: its script threads have ended by then.
const IDLE: Duration = Duration::from_secs(7);

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The binary.
    #[arg(long, default_value = "target/release/hob")]
    hob: PathBuf,
    /// How many schedules the homelab has.
    #[arg(long, default_value_t = 1_000)]
    schedules: usize,
    /// How long each case lasts, in seconds.
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Connections at one time.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    connections: Vec<u32>,
}

/// A `hob up` that serves; it is told to end when this is dropped.
pub(crate) struct Up {
    pub(crate) child: Child,
    pub(crate) address: String,
    pub(crate) ready: Duration,
}

impl Up {
    pub(crate) fn start(hob: &Path, homelab: &Path, state: &Path) -> Self {
        let begun = Instant::now();
        let mut child = Command::new(hob)
            .arg("up")
            .arg(homelab)
            .args(["--listen", "127.0.0.1:0"])
            .env("HOB_STATE", state)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut address = None;
        let ready = loop {
            let line = lines.next().expect("hob up ended before it was ready").unwrap();
            if let Some(rest) = line.strip_prefix("listening on http://") {
                address = rest.split(',').next().map(str::to_owned);
            } else if line.starts_with("ready") {
                break begun.elapsed();
            }
        };
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.expect("the address is told before ready"), ready }
    }

    pub(crate) fn resident(&self) -> u64 {
        status_kib(&self.child.id().to_string(), "VmRSS")
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// What n8n calls webhook → set → respond, in code and as a graph: fields are set from what came, and are the answer.
const SET: &str = r#"
workflow("set", #{ on: webhook("POST /set", #{ respond: "last" }) }, |request| {
    step("set", || #{ message: "hello", got: request.body })
});
flow("set-graph", #{ on: webhook("POST /set-graph", #{ respond: "last" }) })
    .node("webhook", |request| request.body)
    .node("set",     |body| #{ message: "hello", got: body })
    .node("respond", |item| item)
    .edge("webhook", "set").edge("set", "respond");
"#;

fn write_homelab(dir: &Path, schedules: usize, server: &CountingServer) {
    let mut text = String::from("homelab(#{ name: \"bench\" });\n");
    text += SET;
    for n in [3, 40] {
        text += &format!(
            "workflow(\"noop{n}\", #{{ on: webhook(\"POST /noop{n}\", #{{ respond: \"last\" }}) }}, |request| {{
                for i in 0..{n} {{ step(`s${{i}}`, || i); }} {n} }});
            workflow(\"post{n}\", #{{ on: webhook(\"POST /post{n}\", #{{ respond: \"last\" }}) }}, |request| {{
                for i in 0..{n} {{ http::post(\"http://{}/\"); }} {n} }});\n",
            server.address
        );
    }
    for n in 0..schedules {
        text += &format!("schedule(\"s{n}\", \"{} {} * * *\", |slot| {{ }});\n", n % 60, n / 60 % 24);
    }
    let path = dir.join("homelab.rhai");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
}

/// Starts `hob up` and measures it.
pub(crate) fn measure(root: &Path, options: &Options) {
    let hob = options.hob.canonicalize().expect("build it first: cargo build --release -p hob");
    println!(
        "workload  a release `hob up` with {} schedules; wrk posts to its webhooks, which answer",
        options.schedules
    );
    println!("          when the run has durably ended; {} s a case", options.seconds);
    let (homelab, state) = (root.join("homelab"), root.join("state"));
    std::fs::create_dir_all(&homelab).unwrap();
    let server = CountingServer::start();
    write_homelab(&homelab, options.schedules, &server);
    println!(
        "start     {} to ready, with a new state directory",
        text(Up::start(&hob, &homelab, &state).ready)
    );
    let mut starts: Vec<_> = (0..5).map(|_| Up::start(&hob, &homelab, &state).ready).collect();
    starts.sort_unstable();
    println!("          {} to ready, with one that exists (median of 5, goal 50 ms)", text(starts[2]));
    let up = Up::start(&hob, &homelab, &state);
    std::thread::sleep(IDLE);
    println!("idle      {} resident (goal 25 MB)", mib(up.resident()));
    let script = root.join("post.lua");
    std::fs::write(&script, WRK_SCRIPT).unwrap();
    let get = root.join("get.lua");
    std::fs::write(&get, WRK_SCRIPT.replace("POST", "GET")).unwrap();
    println!("\n/healthz: HTTP alone");
    wrk(&up, &get, "/healthz", 1, options.seconds);
    for (path, title) in [
        ("set", "webhook → set → respond, in code"),
        ("set-graph", "webhook → set → respond, as a graph of three nodes"),
        ("noop3", "3 no-op steps"),
        ("noop40", "40 no-op steps"),
        ("post3", "3 once effects, http::post"),
        ("post40", "40 once effects, http::post"),
    ] {
        println!("\n{title}");
        floor::print(root);
        for connections in &options.connections {
            wrk(&up, &script, &format!("/hooks/{path}"), *connections, options.seconds);
        }
        println!("memory    {} resident", mib(up.resident()));
    }
    println!("\neffects   {} at the server", server.count());
    std::thread::sleep(IDLE);
    println!("idle      {} resident after that", mib(up.resident()));
}

/// Prints one line for the program to read: requests, microseconds, p50, p99, refused, broken.
const WRK_SCRIPT: &str = r#"
wrk.method = "POST"
wrk.body = "{}"
wrk.headers["content-type"] = "application/json"
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("RESULT %d %d %d %d %d %d\n", summary.requests, summary.duration,
        latency:percentile(50), latency:percentile(99), e.status, e.connect + e.read + e.write + e.timeout))
end
"#;

fn wrk(up: &Up, script: &Path, path: &str, connections: u32, seconds: u32) {
    let (pid, url) = (up.child.id().to_string(), format!("http://{}{path}", up.address));
    let used = cpu_time(&pid);
    let output = Command::new("wrk")
        .args(["-t", if connections > 1 { "2" } else { "1" }])
        .args(["-c", &connections.to_string(), "-d", &format!("{seconds}s"), "-s"])
        .arg(script)
        .arg(url)
        .output()
        .expect("install wrk: apt-get install wrk");
    let output = String::from_utf8_lossy(&output.stdout);
    let result = output.lines().find_map(|line| line.strip_prefix("RESULT ")).expect("wrk tells its result");
    let numbers: Vec<u64> = result.split(' ').map(|number| number.parse().unwrap()).collect();
    let [requests, micros, p50, p99, refused, broken] = numbers[..] else { panic!("wrk said {result}") };
    let cpu = (cpu_time(&pid) - used).as_secs_f64() * 1e6 / requests.max(1) as f64;
    println!(
        "{connections:>3} connections  p50 {:>9}  p99 {:>9}  {:>7.0} requests/s, {cpu:.0} µs of hob's processor time each{}",
        text(Duration::from_micros(p50)),
        text(Duration::from_micros(p99)),
        requests as f64 / (micros as f64 / 1e6),
        if refused + broken > 0 { format!("  {refused} REFUSED, {broken} BROKEN") } else { String::new() }
    );
}
