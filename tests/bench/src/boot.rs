//! A boot of containers in tiers, beside the least that the engine needs for it.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hob_lab::engine::{Engine, IMAGE, Kind};
use serde_json::{Value as Json, json};

use crate::process_tree::Up;
use crate::python::install;
use crate::sample::{Sample, text};

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The binary.
    #[arg(long, default_value = "target/release/hob")]
    hob: PathBuf,
    /// How often each is booted.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How often podman-compose starts the same; 0 leaves it out.
    #[arg(long, default_value_t = 3)]
    others: usize,
}

/// podman-compose, in a version that was tried.
const COMPOSE: &str = "podman-compose==1.6.0";

/// The network in which services of the homelab reach each other by name.
const NETWORK: &str = "bench";

const TIERS: usize = 5;
const PER_TIER: usize = 6;
/// Calls that the engine gets at one time, as many as hob makes.
const CALLS_AT_ONCE: usize = 4;

/// The time that a service takes from its start until it is ready, in milliseconds.
fn ready_ms(tier: usize, member: usize) -> u64 {
    let step = (member * 7 + tier * 3) % PER_TIER;
    100 + 50 * u64::try_from(step).unwrap()
}

fn name(tier: usize, member: usize) -> String {
    format!("s{tier}{member}")
}

/// It tells when it is ready, in seconds since the machine started.
fn program(shared: &Path, tier: usize, member: usize) -> [String; 3] {
    let (name, ms) = (name(tier, member), ready_ms(tier, member));
    let ready =
        format!("echo {name} `cut -d' ' -f1 /proc/uptime` >> {}/ready; echo is ready", shared.display());
    ["sh".to_owned(), "-c".to_owned(), format!("sleep 0.{ms:03}; {ready}; exec sleep 1000")]
}

fn homelab(shared: &Path) -> String {
    let mut text = format!("homelab(#{{ name: \"{NETWORK}\" }});\n");
    for tier in 0..TIERS {
        let after = if tier == 0 { String::new() } else { format!("after: \"t{}\"", tier - 1) };
        text += &format!("tier(\"t{tier}\", #{{ {after} }});\n");
        for member in 0..PER_TIER {
            let (name, command) = (name(tier, member), json!(program(shared, tier, member)));
            let shared = shared.display();
            text += &format!(
                "service(\"{name}\", #{{ tier: \"t{tier}\", image: \"{IMAGE}\", ready: log(\"is ready\"), command: {command}, \
                 volumes: [\"{shared}:{shared}\"], stop_signal: \"SIGKILL\", ulimits: #{{ nofile: #{{ soft: 1024, hard: 4096 }}, \
                 nproc: #{{ soft: 4096, hard: 4096 }} }} }});\n"
            );
        }
    }
    text
}

/// Boots with hob and with the engine alone.
pub(crate) fn measure(root: &Path, options: &Options) {
    let hob = options.hob.canonicalize().expect("build it first: cargo build --release -p hob");
    let podman =
        hob_lab::started("podman", Kind::Podman.missing(), || Engine::start(Kind::Podman)).expect("podman");
    let sum: u64 =
        (0..TIERS).map(|tier| (0..PER_TIER).map(|member| ready_ms(tier, member)).max().unwrap_or(0)).sum();
    println!(
        "workload  {} containers of Podman in {TIERS} tiers, ready after 100 to 350 ms; {sum} ms of waiting",
        TIERS * PER_TIER
    );
    let lab = root.join("lab");
    std::fs::create_dir(&lab).unwrap();
    std::fs::write(lab.join("homelab.rhai"), homelab(&podman.shared())).unwrap();
    for path in [root, &lab, &lab.join("homelab.rhai")] {
        // A script that others can write is not trusted.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (mut alone, mut booted, mut late) = (vec![], vec![], vec![]);
    for round in 0..options.rounds {
        alone.push(engine_alone(&podman));
        let boot = boot(&hob, &podman, &lab, &root.join(format!("state-{round}")));
        booted.push(boot.took);
        late.extend(boot.late);
    }
    let (alone, booted, late) = (Sample::of(alone), Sample::of(booted), Sample::of(late));
    println!("the engine alone, {CALLS_AT_ONCE} calls at once   {}", alone.text());
    println!("hob up, from its start to ready   {}", booted.text());
    println!("ratio of the medians {:.3}", booted.p50().as_secs_f64() / alone.p50().as_secs_f64());
    println!(
        "from the last that is ready to the first start of the next tier   p50 {}  p95 {}   (of {}; clock of 10 ms)",
        text(late.p50()),
        text(late.quantile(0.95)),
        (TIERS - 1) * options.rounds
    );
    if options.others > 0 {
        let bin = install(root, &[COMPOSE]);
        let rounds = (0..options.others).map(|_| compose(&podman, root, &bin)).collect();
        println!("podman-compose up, until all are ready   {}", Sample::of(rounds).text());
        println!(
            "  (it starts each after the start of what it depends on: it does not wait until that is ready)"
        );
    }
}

/// The same services with podman-compose, each after all of the tier before. Conditions such as `service_healthy` need
/// systemd to run the checks, which this Podman does not have.
fn compose(podman: &Engine, root: &Path, bin: &Path) -> Duration {
    let shared = podman.shared();
    let services = (0..TIERS).flat_map(|tier| (0..PER_TIER).map(move |member| (tier, member)));
    let services: serde_json::Map<String, Json> = services
        .map(|(tier, member)| {
            let before = tier.checked_sub(1).map(|tier| (0..PER_TIER).map(|member| name(tier, member)).collect());
            // A dollar sign begins a variable there.
            let command = program(&shared, tier, member).map(|word| word.replace('$', "$$"));
            let declared = json!({
                "image": IMAGE, "command": command, "stop_signal": "SIGKILL",
                "volumes": [format!("{0}:{0}", shared.display())], "depends_on": before.unwrap_or_else(Vec::new),
            });
            (name(tier, member), declared)
        })
        .collect();
    let file = shared.join("compose.json");
    std::fs::write(&file, json!({ "services": services }).to_string()).unwrap();
    // It calls a program with the name `podman`.
    let programs = root.join("programs");
    if !programs.exists() {
        std::fs::create_dir(&programs).unwrap();
        let cli = podman.socket().ancestors().nth(2).expect("it is two directories below").join("cli");
        std::os::unix::fs::symlink(cli, programs.join("podman")).unwrap();
    }
    let compose = |args: &[&str]| {
        let mut command = podman.inside("env").unwrap();
        command.arg(format!("PATH={}:{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display(), bin.display()));
        command.args(["podman-compose", "--in-pod", "0", "-p", "bench", "-f"]).arg(&file).args(args);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let begun = Instant::now();
    compose(&["up", "-d"]);
    let said = || std::fs::read_to_string(shared.join("ready")).unwrap_or_default().lines().count();
    while said() < TIERS * PER_TIER {
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = begun.elapsed();
    // Podman removes none that others depend on by its own account.
    compose(&["down", "--timeout", "0"]);
    clean(podman);
    took
}

/// The critical path without hob: each tier's calls, [`CALLS_AT_ONCE`] at one time, and its slowest member.
fn engine_alone(podman: &Engine) -> Duration {
    let begun = Instant::now();
    post(podman, "/networks/create", &json!({ "Name": NETWORK }).to_string());
    for tier in 0..TIERS {
        let todo = Mutex::new((0..PER_TIER).collect::<Vec<_>>());
        let ready = Mutex::new(Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..CALLS_AT_ONCE {
                scope.spawn(|| {
                    while let Some(member) = { todo.lock().unwrap().pop() } {
                        start(podman, tier, member);
                        let at = Instant::now() + Duration::from_millis(ready_ms(tier, member));
                        let mut ready = ready.lock().unwrap();
                        *ready = at.max(*ready);
                    }
                });
            }
        });
        std::thread::sleep(ready.into_inner().unwrap().saturating_duration_since(Instant::now()));
    }
    let took = begun.elapsed();
    clean(podman);
    took
}

/// Creates and starts one by the engine's API.
fn start(podman: &Engine, tier: usize, member: usize) {
    let shared = podman.shared();
    let limit = |name: &str, soft: u32| json!({ "Name": name, "Soft": soft, "Hard": 4096 });
    let body = json!({
        "Image": IMAGE, "Cmd": program(&shared, tier, member), "StopSignal": "SIGKILL",
        "NetworkingConfig": { "EndpointsConfig": { NETWORK: { "Aliases": [name(tier, member)] } } },
        "HostConfig": {
            "NetworkMode": NETWORK, "Binds": [format!("{0}:{0}", shared.display())],
            "Ulimits": [limit("nofile", 1024), limit("nproc", 4096)],
        },
    });
    let name = name(tier, member);
    post(podman, &format!("/containers/create?name={name}"), &body.to_string());
    post(podman, &format!("/containers/{name}/start"), "");
}

fn post(podman: &Engine, path: &str, body: &str) {
    let mut stream = UnixStream::connect(podman.socket()).unwrap();
    let head = format!(
        "POST /v1.41{path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 2"), "{path}: {answer}");
}

fn clean(podman: &Engine) {
    for remove in [&["rm", "--all", "--force", "--time", "0"][..], &["network", "prune", "--force"]] {
        let removed = podman.cli(remove).unwrap();
        assert!(removed.status.success(), "{removed:?}");
    }
    let _ = std::fs::remove_file(podman.shared().join("ready"));
}

struct Boot {
    took: Duration,
    /// From the readiness of each tier to the first start call of the next.
    late: Vec<Duration>,
}

fn boot(hob: &Path, podman: &Engine, lab: &Path, state: &Path) -> Boot {
    let command = |args: &[&str]| {
        let mut command: Command = podman.inside("env").unwrap();
        command.arg(format!("CONTAINER_HOST=unix://{}", podman.socket().display()));
        command.arg(hob).arg("--state").arg(state).args(args);
        command
    };
    let begun = Instant::now();
    let up = Up::start(command(&["up", &lab.to_string_lossy(), "--listen", "127.0.0.1:0"]));
    let took = begun.elapsed();
    let explained = command(&["boot", "explain", "--json"]).output().unwrap();
    assert!(explained.status.success(), "{}", String::from_utf8_lossy(&explained.stderr));
    let late = lateness(&podman.shared(), &serde_json::from_slice(&explained.stdout).unwrap());
    up.end();
    clean(podman);
    Boot { took, late }
}

/// When each service said that it was ready, against when hob began to start the first of the next tier.
fn lateness(shared: &Path, boot: &Json) -> Vec<Duration> {
    let uptime: f64 =
        std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
    let booted = jiff::Timestamp::now().as_duration().as_secs_f64() - uptime;
    let said = std::fs::read_to_string(shared.join("ready")).unwrap();
    let ready = |tier: usize| {
        let prefix = format!("s{tier}");
        let lines = said.lines().filter(|line| line.starts_with(&prefix));
        lines.map(|line| line.split(' ').nth(1).unwrap().parse::<f64>().unwrap()).fold(0.0, f64::max) + booted
    };
    let began: jiff::Timestamp = boot["began"].as_str().expect("a boot has begun").parse().unwrap();
    let asked = |tier: usize| {
        let tier = format!("t{tier}");
        let services = boot["services"].as_array().expect("a boot has services").iter();
        let calls = services.filter(|it| it["tier"] == tier.as_str()).filter_map(|it| it["call"].as_u64());
        let first = calls.min().unwrap_or_else(|| panic!("nothing of {tier} was started: {boot:#}"));
        began.as_duration().as_secs_f64() + Duration::from_millis(first).as_secs_f64()
    };
    (1..TIERS).map(|tier| Duration::from_secs_f64((asked(tier) - ready(tier - 1)).max(0.0))).collect()
}
