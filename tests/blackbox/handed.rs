//! Containers and units that are handed secrets: they have them, and no inspection shows them.

use std::path::Path;

use hob_lab::engine::{Engine, IMAGE, Kind};
use hob_lab::systemd::Systemd;
use hob_tests::home::Home;
use hob_tests::process::signal_pid;
use rustix::process::Signal;

use crate::engines::is_there;
use crate::home;
use crate::services::LIMITS;

const KEY: &str = "../../stdlib/secrets/tests/fixtures/keys.txt";
const CANARY: &str = "canary-of-a-container-8c1d";
/// Its SHA-256, which a log may show.
const DIGEST: &str = "c42bdc0e05aa75dcba2415b5742b999dce6f7804412c3de03295d716f811259c";

/// A key in its usual place, and the secret `token`.
fn seal(home: &Home) {
    let key = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(KEY)).unwrap();
    let public = key.split_once("public key: ").unwrap().1.lines().next().unwrap().to_owned();
    home.write(".config/sops/age/keys.txt", &key);
    home.write("lab/secrets/secrets.nix", format!("{{ \"token.age\".publicKeys = [ \"{public}\" ]; }}\n"));
    home.write("token.txt", CANARY);
    let _sealed =
        home.hob(&["secrets", "encrypt", "token.txt", "-r", &public, "-o", "lab/secrets/token.age"]).exits(0);
    std::fs::remove_file(home.path("token.txt")).unwrap();
}

#[test]
fn a_container_has_its_secret_and_no_inspection_shows_it() {
    if !is_there(Kind::Podman.missing()) {
        return;
    }
    let engine = Engine::start(Kind::Podman).expect("Podman starts");
    let place = home();
    let mut inside = engine.inside("env").expect("the lab is there");
    inside.arg("--chdir").arg(place.dir());
    let runtime = tempfile::Builder::new().prefix("hob-test-").tempdir_in("/dev/shm").unwrap();
    let socket = format!("unix://{}", engine.socket().display());
    let home =
        place.through(&inside).with_env("CONTAINER_HOST", socket).with_env("HOB_RUNTIME", runtime.path());
    seal(&home);
    // One finds a file, one reads it again when told to, one asked for a variable.
    let homelab = r#"
        let quick = #{ image: "IMAGE", volumes: ["SHARED:/shared"], stop_signal: "SIGKILL", stop_timeout: "1s", ulimits: LIMITS };
        let keeper = service("keeper", #{
            env: #{ TOKEN_FILE: secret_file("token") }, ready: log("taken"),
            command: ["sh", "-c", "stat -c '%a %u' \"$TOKEN_FILE\" > /shared/stat; cat \"$TOKEN_FILE\" > /shared/got; echo taken; exec sleep 1000"],
        } + quick);
        service("reader", #{
            env: #{ CONF: secret_file("app.conf", #{ content: secrets::fill("token=@TOKEN@", #{ TOKEN: secret("token") }) }) },
            ready: exec(["sh", "-c", "cmp -s /taken \"$CONF\""]), reload: "SIGHUP", needs: [keeper],
            command: ["sh", "-c", "echo life >> /shared/lives; take() { cat \"$CONF\" > /taken; cp /taken /shared/read; }; trap take HUP; take; while :; do sleep 0.1; done"],
        } + quick);
        service("asker", #{
            env: #{ TOKEN: secret("token") }, ready: log("taken"),
            command: ["sh", "-c", "printf %s \"$TOKEN\" > /shared/asked; echo taken; exec sleep 1000"],
        } + quick);
    "#;
    let shared = engine.shared();
    let homelab = homelab.replace("SHARED", &shared.to_string_lossy()).replace("IMAGE", IMAGE);
    home.write("lab/homelab.rhai", homelab.replace("LIMITS", LIMITS));
    let mut up = home.up("lab", &[]);
    let read = |name: &str| std::fs::read_to_string(shared.join(name)).unwrap_or_default();
    let got = || read("got");
    assert_eq!(got(), CANARY, "{:?}", home.hob(&["status"]));
    assert_eq!((read("read"), read("asked")), (format!("token={CANARY}"), CANARY.to_owned()));
    assert_eq!(std::fs::read_to_string(shared.join("stat")).unwrap().trim(), "400 0");
    let told = |args: &[&str]| {
        let output = engine.cli(args).expect("podman can be started");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let silent = [
        &["inspect", "keeper"][..],
        &["inspect", "reader"],
        &["history", IMAGE],
        &["logs", "keeper"],
        &["logs", "reader"],
        &["secret", "ls"],
    ];
    for args in silent {
        assert!(!told(args).contains(CANARY), "{args:?}");
    }
    // Who asks for a variable was warned: an inspection shows it.
    assert!(told(&["inspect", "asker"]).contains(CANARY));
    let checked = home.hob(&["check", "lab"]);
    assert!(
        checked.says("`env.TOKEN` has a secret, which whoever may inspect the service can read"),
        "{checked:?}"
    );
    let plan = home.hob(&["plan", "lab"]);
    assert_eq!(plan.code, Some(0), "nothing is left to do: {}", plan.stdout);
    let rotated = home.hob(&["secrets", "rotate", "token", "--homelab", "lab"]).exits(0);
    for name in ["keeper", "reader", "asker"] {
        assert!(rotated.says(&format!("{name} has the new value")), "{}", rotated.stderr);
    }
    assert_ne!(got(), CANARY);
    assert_eq!((read("read"), read("asked")), (format!("token={}", got()), got()));
    assert!(!told(&["inspect", "keeper"]).contains(&got()));
    assert_eq!(
        read("lives").lines().count(),
        2,
        "it starts with what it needs, and is not started for a new value"
    );
    // Edited, the secret comes with the next `apply`; who reads its file again goes on.
    let children = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    signal_pid(children(up.process.pid()).trim().parse().expect("it has one child"), Signal::TERM);
    let _ended = up.process.end();
}

#[test]
fn a_unit_loads_its_secret_as_a_credential() {
    if !is_there(Systemd::missing()) {
        return;
    }
    let systemd = Systemd::start().expect("systemd starts");
    let runtime = tempfile::Builder::new().prefix("hob-test-").tempdir_in("/dev/shm").unwrap();
    let script = "cat \\\"$CREDENTIALS_DIRECTORY/token\\\" | sha256sum; echo taken; exec sleep 1000";
    let unit = format!("[Service]\nType=simple\nExecStart=/bin/sh -c \"{script}\"\n");
    systemd.write_unit("needy.service", &unit).expect("a unit can be written");
    let systemctl = |args: &[&str]| {
        let output = systemd.command("systemctl").args(args).output().expect("systemctl can be started");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    systemctl(&["daemon-reload"]);
    let home = home()
        .with_env("DBUS_SYSTEM_BUS_ADDRESS", systemd.bus_address())
        .with_env("HOB_SYSTEMD_ROOT", systemd.root())
        .with_env("HOB_RUNTIME", runtime.path());
    seal(&home);
    let homelab = r#"service("needy", #{ unit: "needy", credentials: #{ token: secret_file("token") }, ready: log("taken"), restart: "never" });"#;
    home.write("lab/homelab.rhai", homelab);
    let mut up = home.up("lab", &[]);
    let shown = systemctl(&["cat", "needy.service"]);
    let path = shown.lines().find_map(|line| line.strip_prefix("LoadCredential=token:"));
    let path = path.unwrap_or_else(|| panic!("{shown}"));
    assert_eq!(std::fs::read_to_string(path).unwrap(), CANARY);
    assert!(!shown.contains(CANARY) && !systemctl(&["show", "needy.service"]).contains(CANARY));
    let status = systemctl(&["status", "needy.service"]);
    if status.contains("status=243/CREDENTIALS") {
        eprintln!("skipped: this systemd of the lab may not mount what it keeps credentials in");
    } else {
        let log = home.hob(&["logs", "needy"]).stdout;
        assert!(log.contains("taken") && log.contains(DIGEST), "{log}\n{status}");
        let plan = home.hob(&["plan", "lab"]);
        assert_eq!(plan.code, Some(0), "nothing is left to do: {}", plan.stdout);
    }
    let _ended = up.stop();
}
