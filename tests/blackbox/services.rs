//! Services that are containers and units, kept by `hob up` on a real engine and a real systemd.

use hob_lab::engine::{Engine, IMAGE, Kind};
use hob_lab::systemd::Systemd;
use hob_tests::home::{Home, Up};
use hob_tests::process::signal_pid;
use hob_tests::until;
use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::engines::is_there;
use crate::home;

/// Podman asks for more than the machine of the lab may give, unless it is told.
pub(crate) const LIMITS: &str =
    "#{ nofile: #{ soft: 1024, hard: 4096 }, nproc: #{ soft: 4096, hard: 4096 } }";

/// Four containers: a database, what needs it, a tunnel, and what goes through it.
const HOMELAB: &str = r#"
homelab(#{ name: "house" });
tier("core");
tier("apps", #{ after: "core" });

let sh = |text| ["sh", "-c", text];
let shared = "SHARED:/shared";
let quick = #{ stop_signal: "SIGKILL", stop_timeout: "1s", volumes: [shared], ulimits: LIMITS };

let db = service("db", #{
    tier: "core", image: "IMAGE", ready: exec(["test", "-e", "/ready"]),
    command: sh.call("echo start db >> /shared/story; sleep 0.4; echo ready db >> /shared/story; touch /ready; exec sleep 1000"),
} + quick);
let vpn = service("vpn", #{
    tier: "core", image: "IMAGE", ready: log("tunnel up"),
    command: sh.call("echo start vpn >> /shared/story; sleep 0.2; echo tunnel up; exec sleep 1000"),
} + quick);
service("app", #{
    tier: "apps", image: "IMAGE", needs: [db], ready: tcp(8080), port: 8080, env: #{ TZ: "UTC" },
    command: sh.call("echo start app >> /shared/story; exec httpd -f -p 8080"),
} + quick);
service("torrents", #{
    tier: "apps", image: "IMAGE", network: via(vpn), ready: file("/ready"),
    command: sh.call("echo start torrents >> /shared/story; touch /ready; exec sleep 1000"),
} + quick);
"#;

/// A homelab in a lab of its own.
pub(crate) struct House {
    pub(crate) home: Home,
    pub(crate) engine: Engine,
}

impl House {
    pub(crate) fn new(homelab: &str) -> Option<Self> {
        Self::in_home(home(), homelab)
    }

    /// The same where something is there already.
    pub(crate) fn in_home(home: Home, homelab: &str) -> Option<Self> {
        if !is_there(Kind::Podman.missing()) {
            return None;
        }
        let engine = Engine::start(Kind::Podman).expect("Podman starts");
        let mut inside = engine.inside("env").expect("the lab is there");
        inside.arg("--chdir").arg(home.dir());
        let socket = format!("unix://{}", engine.socket().display());
        let home = home.through(&inside).with_env("CONTAINER_HOST", socket);
        let it = Self { home, engine };
        it.write(homelab);
        Some(it)
    }

    pub(crate) fn write(&self, homelab: &str) {
        let shared = self.engine.shared();
        let text = homelab.replace("SHARED", &shared.to_string_lossy()).replace("IMAGE", IMAGE);
        let text = text.replace("LIMITS", LIMITS);
        self.home.write("lab/homelab.rhai", text);
    }

    /// Sends a signal to hob, past the programs that it was started through.
    pub(crate) fn signal(up: &Up, signal: Signal) {
        let children =
            |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let hob = children(up.process.pid());
        signal_pid(hob.trim().parse().expect("it has one child"), signal);
    }

    pub(crate) fn stop(up: &mut Up) {
        Self::signal(up, Signal::TERM);
        let _ = up.process.end().exits(0);
    }

    pub(crate) fn podman(&self, args: &[&str]) -> String {
        let output = self.engine.cli(args).expect("podman can be started");
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("podman writes text").trim().to_owned()
    }

    pub(crate) fn id(&self, name: &str) -> String {
        self.podman(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", name])
    }

    /// The network name space of a container, as the kernel tells it.
    pub(crate) fn network(&self, name: &str) -> String {
        let pid = self.podman(&["inspect", "--format", "{{.State.Pid}}", name]);
        let link =
            self.engine.inside("readlink").unwrap().arg(format!("/proc/{pid}/ns/net")).output().unwrap();
        String::from_utf8(link.stdout).unwrap()
    }

    /// What the containers wrote, each line when it happened.
    pub(crate) fn story(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.engine.shared().join("story")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn service(&self, name: &str) -> Json {
        self.home.service(name)
    }

    pub(crate) fn until_ready(&self, name: &str, so: impl Fn(&Self) -> bool) {
        until(&format!("{name} is ready again"), || {
            (self.service(name)["state"] == "ready" && so(self)).then_some(())
        });
    }
}

fn at(story: &[String], line: &str) -> usize {
    story.iter().position(|it| it == line).unwrap_or_else(|| panic!("no `{line}` in {story:?}"))
}

#[test]
fn containers_are_planned_booted_kept_and_adopted() {
    let Some(house) = House::new(HOMELAB) else { return };
    let plan = house.home.hob(&["plan", "lab", "--json"]).exits(2).json();
    let actions: Vec<&Json> = plan["changes"].as_array().unwrap().iter().map(|it| &it["action"]).collect();
    assert_eq!(actions, [&json!("create"); 4]);

    let mut up = house.home.up("lab", &[]);
    let story = house.story();
    assert!(at(&story, "ready db") < at(&story, "start app"), "{story:?}");
    assert!(at(&story, "start vpn") < at(&story, "start torrents"), "{story:?}");
    for name in ["db", "vpn", "app", "torrents"] {
        let service = house.service(name);
        assert_eq!(
            (&service["state"], &service["kind"]),
            (&json!("ready"), &json!("container")),
            "{service}"
        );
    }
    let again = house.home.hob(&["plan", "lab", "--json"]).exits(0).json();
    assert_eq!((&again["changes"], &again["unchanged"]), (&json!([]), &json!(4)));
    assert!(house.home.hob(&["logs", "vpn"]).exits(0).stdout.contains("tunnel up"));

    // Killed or removed from outside, a service comes back through its gate.
    let before = house.id("db");
    house.podman(&["kill", "db"]);
    house.until_ready("db", |house| house.id("db") != before);
    let before = house.id("app");
    house.podman(&["rm", "--force", "app"]);
    house.until_ready("app", |house| house.engine.cli(&["inspect", "app"]).unwrap().status.success());
    assert_ne!(house.id("app"), before);

    // The tunnel restarts, and who goes through it is moved into the new one: when nobody holds it.
    let before = house.id("torrents");
    let _ = house.home.hob(&["hold", "torrents"]).exits(0);
    house.podman(&["restart", "--time", "0", "vpn"]);
    house.until_ready("vpn", |_| true);
    assert_eq!(house.id("torrents"), before);
    assert_ne!(house.network("torrents"), house.network("vpn"));
    let _ = house.home.hob(&["release", "torrents"]).exits(0);
    house.until_ready("torrents", |house| house.id("torrents") != before);
    house.until_ready("vpn", |_| true);
    assert_eq!(house.network("torrents"), house.network("vpn"));

    // hob goes and comes back: everything goes on.
    let ids = |house: &House| ["db", "vpn", "app", "torrents"].map(|name| house.id(name));
    let before = ids(&house);
    House::signal(&up, Signal::KILL);
    up.process.end();
    let mut up = house.home.up("lab", &["--on-exit", "keep"]);
    assert_eq!(ids(&house), before);
    House::stop(&mut up);
    assert_eq!(ids(&house), before, "they were to be kept");

    // What is not declared any more goes, and nothing else does.
    house.write(&HOMELAB.replace("service(\"app\"", "if false { return; } service(\"renamed\""));
    let plan = house.home.hob(&["plan", "lab"]).exits(2);
    assert!(
        plan.stdout.contains("- remove    app") && plan.stdout.contains("+ create    renamed"),
        "{plan:?}"
    );
    let mut up = house.home.up("lab", &[]);
    assert_eq!(
        house.podman(&["ps", "--all", "--format", "{{.Names}}", "--sort", "names"]),
        "db\nrenamed\ntorrents\nvpn"
    );

    // Stopped in order, from the last to the first.
    House::stop(&mut up);
    assert_eq!(house.podman(&["ps", "--format", "{{.Names}}"]), "");
}

#[test]
fn output_of_containers_is_kept_within_bounds() {
    let homelab = r#"service("chatty", #{
        image: "IMAGE", ready: log("^done$"), stop_signal: "SIGKILL", ulimits: LIMITS,
        command: ["sh", "-c", "yes `printf %01000d 7` | head -n 11500; sleep 1.2; echo done; exec sleep 1000"],
    });"#;
    let Some(house) = House::new(homelab) else { return };
    let mut up = house.home.up("lab", &[]);
    let file = house.podman(&["inspect", "--format", "{{.HostConfig.LogConfig.Path}}", "chatty"]);
    let len = house.engine.inside("stat").unwrap().args(["--format", "%s", &file]).output().unwrap().stdout;
    let len: u64 = String::from_utf8(len).unwrap().trim().parse().expect("the log is a file");
    assert!(len < 11 << 20, "{len} bytes");
    assert!(house.home.hob(&["logs", "chatty"]).exits(0).stdout.ends_with("done\n"));

    // Nor is any kept that is old, when it starts again.
    let _ = house.home.hob(&["stop", "chatty"]).exits(0);
    let edit = |script: &str| {
        let done = house.engine.inside("sed").unwrap().args(["-i", script, &file]).status();
        assert!(done.expect("sed can be started").success());
    };
    edit("1i 2001-02-03T04:05:06.7Z stdout F long ago");
    let _ = house.home.hob(&["start", "chatty"]).exits(0);
    let text = house.engine.inside("cat").unwrap().arg(&file).output().unwrap().stdout;
    let text = String::from_utf8_lossy(&text);
    assert!(!text.contains("long ago") && text.contains("done"), "{} bytes", text.len());
    let _ = house.home.hob(&["plan", "lab"]).exits(0);
    House::stop(&mut up);
}

#[test]
fn what_hands_have_changed_is_a_difference() {
    let homelab = r#"service("web", #{ image: "IMAGE", drift: "report", command: ["sleep", "1000"], stop_signal: "SIGKILL", ulimits: LIMITS });"#;
    let Some(house) = House::new(homelab) else { return };
    let mut up = house.home.up("lab", &["--on-exit", "keep"]);
    let told = |note: &str| until(note, || (house.service("web")["note"] == note).then_some(()));
    house.podman(&["network", "disconnect", "homelab", "web"]);
    told("changed by hand: network homelab, network homelab alias web");
    let get = |path: &str| house.home.ask("GET", path, None).expect("it answers").json();
    let plan = get("/api/v1/plan");
    assert_eq!(plan["changes"][0]["action"], "recreate", "{plan}");
    assert_eq!(get("/api/v1/boot")["services"][0]["name"], "web");
    house.podman(&["network", "connect", "--alias", "web", "homelab", "web"]);
    told("");
    House::stop(&mut up);
    let fields = || -> Vec<String> {
        let plan = house.home.hob(&["plan", "lab", "--json"]).exits(2).json();
        let diff = plan["changes"][0]["diff"].as_array().expect("a change has differences").clone();
        diff.iter().map(|it| it["field"].as_str().unwrap().to_owned()).collect()
    };
    let _ = house.home.hob(&["plan", "lab"]).exits(0);
    house.podman(&["network", "disconnect", "homelab", "web"]);
    assert_eq!(fields(), ["network homelab", "network homelab alias web"]);
    house.podman(&["network", "connect", "--alias", "another", "homelab", "web"]);
    assert_eq!(fields(), ["network homelab alias web"]);
    house.podman(&["network", "disconnect", "homelab", "web"]);
    house.podman(&["network", "connect", "--alias", "web", "homelab", "web"]);
    let _ = house.home.hob(&["plan", "lab"]).exits(0);
    let labels = house.podman(&[
        "inspect",
        "--format",
        "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}}\n{{end}}",
        "web",
    ]);
    house.podman(&["rm", "--force", "--time", "0", "web"]);
    house.podman(&["tag", IMAGE, "localhost/other:1"]);
    // All that a list of the engine tells of it is as declared.
    let mut args = vec!["run", "--detach", "--name", "web", "--network", "homelab", "--network-alias", "web"];
    labels.lines().for_each(|label| args.extend(["--label", label]));
    args.extend(["localhost/other:1", "sleep", "1000"]);
    house.podman(&args);
    let plan = house.home.hob(&["plan", "lab", "--json"]).exits(2).json();
    let change = &plan["changes"][0];
    assert_eq!(change["action"], "recreate", "{plan}");
    let diff = change["diff"].as_array().unwrap();
    assert!(diff.contains(&json!({ "field": "image", "from": "localhost/other:1", "to": IMAGE })), "{plan}");
}

#[test]
fn what_belongs_to_somebody_else_is_left_alone() {
    let homelab = r#"service("taken", #{ image: "IMAGE", restart: "never", command: ["sleep", "1000"], ulimits: LIMITS });"#;
    let Some(house) = House::new(homelab) else { return };
    house.podman(&["run", "--detach", "--name", "taken", IMAGE, "sleep", "1000"]);
    let before = house.id("taken");
    // Engines take the beginning of an id for a name, where nothing has that name yet.
    let prefix = &before[..3];
    let own = r#"service("NAME", #{ image: "IMAGE", command: ["sleep", "1000"], stop_signal: "SIGKILL", ulimits: LIMITS });"#;
    house.write(&format!("{homelab}\n{}", own.replace("NAME", prefix)));
    let mut up = house.home.up("lab", &[]);
    assert_eq!(house.service(prefix)["state"], "ready", "{}", house.service(prefix));
    let service = house.service("taken");
    assert_eq!(service["state"], "failed", "{service}");
    assert!(service["note"].as_str().unwrap().contains("which this hob did not make"), "{service}");
    House::stop(&mut up);
    assert_eq!(house.id("taken"), before);
}

/// A unit of systemd, beside a process that needs it.
const UNITS: &str = r#"
let web = service("web", #{ unit: "web.service", ready: log("serving") });
service("beside", #{ command: ["sh", "-c", "echo started >> beside.log; echo here; exec sleep 1000"], ready: log("here"), needs: [web] });
"#;

const WEB_UNIT: &str = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=simple\nExecStart=/bin/sh -c 'echo serving; exec sleep 1000'\n";

#[test]
fn units_are_started_kept_and_let_go() {
    if !is_there(Systemd::missing()) {
        return;
    }
    let systemd = Systemd::start().expect("systemd starts");
    systemd.write_unit("web.service", WEB_UNIT).expect("a unit can be written");
    let systemctl = |args: &[&str]| {
        let output = systemd.command("systemctl").args(args).output().expect("systemctl can be started");
        String::from_utf8(output.stdout).expect("systemctl writes text").trim().to_owned()
    };
    systemctl(&["daemon-reload"]);
    let home = home()
        .with_env("DBUS_SYSTEM_BUS_ADDRESS", systemd.bus_address())
        .with_env("HOB_SYSTEMD_ROOT", systemd.root());
    home.write("lab/homelab.rhai", UNITS);
    let state_of = |name: &str| home.service(name);
    let invocation = || systemctl(&["show", "--property=InvocationID", "--value", "web.service"]);

    let mut up = home.up("lab", &["--on-exit", "keep"]);
    assert_eq!((&state_of("web")["kind"], &state_of("web")["state"]), (&json!("unit"), &json!("ready")));
    assert_eq!(home.lines("lab/beside.log"), ["started"]);
    let _ = home.hob(&["plan", "lab"]).exits(0);

    // Killed from outside, it is started again.
    let before = invocation();
    systemctl(&["kill", "--signal=KILL", "web.service"]);
    until("the unit is ready again", || {
        (invocation() != before && state_of("web")["state"] == "ready").then_some(())
    });
    assert_eq!(home.lines("lab/beside.log"), ["started"], "who needs it goes on");

    // hob goes and comes back: everything goes on.
    let before = invocation();
    let _ = up.stop().exits(0);
    let mut up = home.up("lab", &["--on-exit", "keep"]);
    assert_eq!((invocation(), home.lines("lab/beside.log").len()), (before, 1));
    let _ = up.stop().exits(0);

    // What is not declared any more is stopped.
    home.write("lab/homelab.rhai", r#"service("beside", #{ command: "sleep 1000" });"#);
    let mut up = home.up("lab", &[]);
    assert_eq!(systemctl(&["is-active", "web.service"]), "inactive");
    let _ = up.stop().exits(0);
}

/// It tells systemd when it is ready, a moment later than it starts.
const TELLING_UNIT: &str = "[Service]\nType=notify\nNotifyAccess=all\nExecStart=/bin/sh -c 'sleep 0.2; systemd-notify --ready; exec sleep 1000'\n";

#[test]
fn units_are_checked_by_commands_and_by_what_they_tell_systemd() {
    if !is_there(Systemd::missing()) {
        return;
    }
    let systemd = Systemd::start().expect("systemd starts");
    for (name, text) in [("telling", TELLING_UNIT), ("silent", WEB_UNIT), ("tried", WEB_UNIT)] {
        systemd.write_unit(format!("{name}.service"), text).expect("a unit can be written");
    }
    let home = home()
        .with_env("DBUS_SYSTEM_BUS_ADDRESS", systemd.bus_address())
        .with_env("HOB_SYSTEMD_ROOT", systemd.root());
    let checked = home.path("checked");
    home.write(
        "lab/homelab.rhai",
        format!(
            r#"service("telling", #{{ unit: "telling.service", ready: healthy() }});
service("silent", #{{ unit: "silent.service", ready: healthy(), restart: "never" }});
service("tried", #{{ unit: "tried.service", ready: exec(["mkdir", {checked:?}]) }});"#
        ),
    );
    let mut up = home.up("lab", &[]);
    let status = home.json(&["status"]);
    let services = status["services"].as_array().expect("services are a list");
    let states: Vec<&Json> = services.iter().map(|it| &it["state"]).collect();
    assert_eq!(states, ["ready", "failed", "ready"], "{status}");
    let note = services[1]["note"].as_str().expect("it says why");
    assert!(note.contains("neither `Type=notify` nor `WatchdogSec=`"), "{note}");
    assert!(checked.is_dir(), "the command ran on this machine");
    let _ = up.stop().exits(0);
}

#[test]
fn who_starts_hob_deaf_to_signals_makes_no_service_deaf() {
    let mut deaf = std::process::Command::new("sh");
    deaf.args(["-c", r#"trap "" HUP USR1; exec "$@""#, "sh"]);
    let home = home().through(&deaf);
    home.write(
        "lab/homelab.rhai",
        r#"service("app", #{ command: ["sh", "-c", "grep ^SigIgn /proc/self/status > seen; exec sleep 1000"], stop_timeout: "1s" });"#,
    );
    let mut up = home.up("lab", &[]);
    let seen = until("it is seen", || {
        std::fs::read_to_string(home.path("lab/seen")).ok().filter(|it| it.contains('\n'))
    });
    let deaf_to = u64::from_str_radix(seen.trim().trim_start_matches("SigIgn:\t"), 16).unwrap();
    // The C library keeps some beyond these for itself.
    assert_eq!(deaf_to & 0x7fff_ffff, 0, "{seen}");
    let _ = up.stop().exits(0);
}
