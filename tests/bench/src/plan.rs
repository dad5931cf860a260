//! A plan of many services with nothing to do: of containers beside the engine's own time, of units beside Ansible and
//! pyinfra, which check the same units of the same systemd.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hob_lab::engine::{Engine, IMAGE, Kind};
use hob_lab::systemd::Systemd;

use crate::process_tree::Up;
use crate::python::install;
use crate::sample::{Sample, text};

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The binary.
    #[arg(long, default_value = "target/release/hob")]
    hob: PathBuf,
    /// How many services.
    #[arg(long, default_value_t = 200)]
    count: usize,
    /// How often each is planned.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// How often Ansible and pyinfra check the same; 0 leaves them out.
    #[arg(long, default_value_t = 3)]
    others: usize,
}

/// Calls that the engine gets at one time, as many as hob makes.
const CALLS_AT_ONCE: usize = 8;

/// What Ansible and pyinfra are, in versions that were tried.
const PACKAGES: [&str; 2] = ["ansible-core==2.19.14", "pyinfra==3.10.0"];

/// A unit of which there are many.
const UNIT: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

/// Plans with hob, and the same with others.
pub(crate) fn measure(root: &Path, options: &Options) {
    let hob = options.hob.canonicalize().expect("build it first: cargo build --release -p hob");
    containers(root, options, &hob);
    units(root, options, &hob);
}

/// A directory with a homelab that only its owner may write: another one is not trusted.
fn write_homelab(root: &Path, name: &str, text: &str) -> PathBuf {
    let lab = root.join(name);
    std::fs::create_dir(&lab).unwrap();
    std::fs::write(lab.join("homelab.rhai"), text).unwrap();
    for path in [root, &lab, &lab.join("homelab.rhai")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    lab
}

/// Starts all services, and leaves them running.
fn bring_up(mut command: Command, lab: &Path) {
    command.arg("up").arg(lab).args(["--listen", "127.0.0.1:0", "--on-exit", "keep"]);
    Up::start(command).end();
}

/// How long each of some plans took, all of which found nothing to do.
fn plans(command: impl Fn() -> Command, lab: &Path, rounds: usize) -> Sample {
    let plan = |_| {
        let begun = Instant::now();
        let output = command().arg("plan").arg(lab).output().unwrap();
        let took = begun.elapsed();
        let said = || [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
        assert!(output.status.success(), "{}", said());
        took
    };
    // The first one fills caches.
    Sample::of((0..=rounds).map(plan).skip(1).collect())
}

fn containers(root: &Path, options: &Options, hob: &Path) {
    let podman =
        hob_lab::started("podman", Kind::Podman.missing(), || Engine::start(Kind::Podman)).expect("podman");
    let limits = "ulimits: #{ nofile: #{ soft: 1024, hard: 4096 }, nproc: #{ soft: 4096, hard: 4096 } }";
    let declared = format!(
        "for i in 0..{} {{ service(`c${{i}}`, #{{ image: \"{IMAGE}\", command: [\"sleep\", \"100000\"], env: #{{ NUMBER: `${{i}}` }}, \
         volumes: [\"/tmp:/x\"], stop_signal: \"SIGKILL\", {limits} }}); }}\n",
        options.count
    );
    let lab = write_homelab(root, "containers", &declared);
    let command = || {
        let mut command = podman.inside("env").unwrap();
        command.arg(format!("CONTAINER_HOST=unix://{}", podman.socket().display()));
        command.arg(hob).arg("--state").arg(root.join("state-containers"));
        command
    };
    bring_up(command(), &lab);
    println!("workload  {} containers of Podman that run as declared", options.count);
    let planned = plans(command, &lab, options.rounds);
    let names: Vec<String> = (0..options.count).map(|i| format!("c{i}")).collect();
    let alone = |_| engine_alone(&podman, &names);
    let alone = Sample::of((0..=options.rounds).map(alone).skip(1).collect());
    println!("hob plan, as a whole process       {}", planned.text());
    println!("the engine alone: a list, and each {}", alone.text());
    println!("hob over the engine, medians       {}", text(planned.p50().saturating_sub(alone.p50())));
}

/// The least that the engine must be asked to compare field by field: a list, and each container,
/// [`CALLS_AT_ONCE`] at one time.
fn engine_alone(podman: &Engine, names: &[String]) -> Duration {
    let begun = Instant::now();
    get(podman, "/containers/json");
    let todo = Mutex::new(names.iter());
    std::thread::scope(|scope| {
        for _ in 0..CALLS_AT_ONCE {
            scope.spawn(|| {
                while let Some(name) = { todo.lock().unwrap().next() } {
                    get(podman, &format!("/containers/{name}/json"));
                }
            });
        }
    });
    begun.elapsed()
}

fn get(podman: &Engine, path: &str) {
    let mut stream = UnixStream::connect(podman.socket()).unwrap();
    let request = format!("GET /v1.41{path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}");
}

fn units(root: &Path, options: &Options, hob: &Path) {
    let systemd = hob_lab::started("systemd", Systemd::missing(), Systemd::start).expect("systemd");
    systemd.write_unit("held@.service", UNIT).unwrap();
    let declared = format!(
        "for i in 0..{} {{ service(`u${{i}}`, #{{ unit: `held@${{i}}.service` }}); }}\n",
        options.count
    );
    let lab = write_homelab(root, "units", &declared);
    let command = || {
        let mut command = Command::new(hob);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", systemd.bus_address());
        command.env("HOB_SYSTEMD_ROOT", systemd.root());
        command.arg("--state").arg(root.join("state-units"));
        command
    };
    bring_up(command(), &lab);
    println!("workload  {} units of systemd that run as declared", options.count);
    let planned = plans(command, &lab, options.rounds);
    println!("hob plan, as a whole process       {}", planned.text());
    if options.others == 0 {
        return;
    }
    // Inside, /tmp is another directory.
    let place = tempfile::Builder::new().prefix("hob-bench-").tempdir_in("/var/tmp").unwrap();
    let bin = install(place.path(), &PACKAGES);
    let names: Vec<String> = (0..options.count).map(|i| format!("held@{i}.service")).collect();
    let playbook = format!(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - ansible.builtin.systemd_service: {{ name: '{{{{ item }}}}', state: started }}\n      loop: {names:?}\n"
    );
    std::fs::write(place.path().join("play.yml"), playbook).unwrap();
    let deploy = format!(
        "from pyinfra.operations import systemd\nfor name in {names:?}:\n    systemd.service(service=name, running=True)\n"
    );
    std::fs::write(place.path().join("deploy.py"), deploy).unwrap();
    let ansible = ["ansible-playbook", "-i", "localhost,", "-c", "local", "--check", "play.yml"];
    let pyinfra = ["pyinfra", "--dry", "-y", "@local", "deploy.py"];
    for (name, words) in [("ansible-playbook --check", &ansible[..]), ("pyinfra --dry", &pyinfra[..])] {
        let rounds = (0..options.others).map(|_| checked(&systemd, place.path(), &bin, words)).collect();
        let sample = Sample::of(rounds);
        let ratio = sample.p50().as_secs_f64() / planned.p50().as_secs_f64();
        println!("{name:<34} {}   {ratio:.0} times hob plan", sample.text());
    }
}

/// How long a tool took that finds all of it as it should be.
fn checked(systemd: &Systemd, place: &Path, bin: &Path, words: &[&str]) -> Duration {
    let mut command = systemd.command("env");
    command.arg("--chdir").arg(place).arg(format!("HOME={}", place.display()));
    command.arg(format!("PATH={}:/usr/bin:/bin", bin.display())).arg("LC_ALL=C.UTF-8").args(words);
    let begun = Instant::now();
    let output = command.output().unwrap();
    let took = begun.elapsed();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("changed=1"), "{said}");
    took
}
