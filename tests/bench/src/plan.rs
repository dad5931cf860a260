//! A plan of many services with nothing to do: of containers and units together, of containers beside the engine's own time,
//! of units beside Ansible and pyinfra, which check the same units of the same systemd.

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
    /// How many services; of the mixed plan, one half are containers and one half units.
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
    let podman =
        hob_lab::started("podman", Kind::Podman.missing(), || Engine::start(Kind::Podman)).expect("podman");
    let systemd = hob_lab::started("systemd", Systemd::missing(), Systemd::start).expect("systemd");
    systemd.write_unit("held@.service", UNIT).unwrap();
    let machine = Machine { podman, systemd, hob };
    let half = options.count / 2;
    machine.planned(root, "mixed", (half, options.count - half), options.rounds);
    machine.containers(root, options);
    machine.units(root, options);
}

/// What is planned for: an engine and a manager of their own.
struct Machine {
    podman: Engine,
    systemd: Systemd,
    hob: PathBuf,
}

impl Machine {
    /// hob beside both, with a state directory of its own. It runs outside of them: inside of the one, the other's bus is out
    /// of reach.
    fn hob(&self, state: &Path) -> Command {
        let mut command = Command::new(&self.hob);
        command.env("CONTAINER_HOST", format!("unix://{}", self.podman.socket().display()));
        command.env("DBUS_SYSTEM_BUS_ADDRESS", self.systemd.bus_address());
        command.env("HOB_SYSTEMD_ROOT", self.systemd.root());
        command.arg("--state").arg(state);
        command
    }

    /// Plans of so many containers and units that run as declared; they go on.
    fn planned(&self, root: &Path, name: &str, of: (usize, usize), rounds: usize) -> Sample {
        let lab = write_homelab(root, name, &homelab(name, of));
        let state = root.join(format!("state-{name}"));
        bring_up(self.hob(&state), &lab);
        println!(
            "workload  {} containers of Podman and {} units of systemd that run as declared",
            of.0, of.1
        );
        let planned = plans(|| self.hob(&state), &lab, rounds);
        println!("hob plan, as a whole process       {}", planned.text());
        planned
    }
}

/// Services of both kinds, of names that begin with `prefix`.
fn homelab(prefix: &str, (containers, units): (usize, usize)) -> String {
    let limits = "ulimits: #{ nofile: #{ soft: 1024, hard: 4096 }, nproc: #{ soft: 4096, hard: 4096 } }";
    format!(
        "homelab(#{{ name: \"{prefix}\" }});\n\
         for i in 0..{containers} {{ service(`{prefix}-c${{i}}`, #{{ image: \"{IMAGE}\", command: [\"sleep\", \"100000\"], \
         env: #{{ NUMBER: `${{i}}` }}, volumes: [\"/tmp:/x\"], stop_signal: \"SIGKILL\", {limits} }}); }}\n\
         for i in 0..{units} {{ service(`{prefix}-u${{i}}`, #{{ unit: `held@{prefix}${{i}}.service` }}); }}\n"
    )
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

impl Machine {
    fn containers(&self, root: &Path, options: &Options) {
        let planned = self.planned(root, "containers", (options.count, 0), options.rounds);
        let names: Vec<String> = (0..options.count).map(|i| format!("containers-c{i}")).collect();
        let alone = |_| engine_alone(&self.podman, &names);
        let alone = Sample::of((0..=options.rounds).map(alone).skip(1).collect());
        println!("the engine alone: a list, and each {}", alone.text());
        println!("hob over the engine, medians       {}", text(planned.p50().saturating_sub(alone.p50())));
    }

    fn units(&self, root: &Path, options: &Options) {
        let planned = self.planned(root, "units", (0, options.count), options.rounds);
        if options.others == 0 {
            return;
        }
        let names: Vec<String> = (0..options.count).map(|i| format!("held@units{i}.service")).collect();
        beside(&self.systemd, &names, &planned, options.others);
    }
}

/// Checks of the same units by others, so many times.
fn beside(systemd: &Systemd, names: &[String], planned: &Sample, rounds: usize) {
    // Inside, /tmp is another directory.
    let place = tempfile::Builder::new().prefix("hob-bench-").tempdir_in("/var/tmp").unwrap();
    let bin = install(place.path(), &PACKAGES);
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
        let took = (0..rounds).map(|_| checked(systemd, place.path(), &bin, words)).collect();
        let sample = Sample::of(took);
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
