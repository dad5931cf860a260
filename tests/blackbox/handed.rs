//! Containers and units that are handed secrets: they have them, and no inspection shows them.

use std::path::Path;

use hob_lab::engine::{Engine, IMAGE, Kind};
use hob_lab::systemd::Systemd;
use hob_tests::home::{Home, Up};
use hob_tests::process::signal_pid;
use rustix::process::Signal;

use crate::engines::is_there;
use crate::home;
use crate::services::LIMITS;

const KEY: &str = "../../stdlib/secrets/tests/fixtures/keys.txt";
const CANARY: &str = "canary-of-a-container-8c1d";
/// Its SHA-256, which a log may show.
pub(crate) const DIGEST: &str = "c42bdc0e05aa75dcba2415b5742b999dce6f7804412c3de03295d716f811259c";

/// A key in its usual place, and the secret `token`.
pub(crate) fn seal(home: &Home) {
    let key = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(KEY)).unwrap();
    let public = key.split_once("public key: ").unwrap().1.lines().next().unwrap().to_owned();
    home.write(".config/sops/age/keys.txt", &key);
    home.write("lab/secrets/secrets.nix", format!("{{ \"token.age\".publicKeys = [ \"{public}\" ]; }}\n"));
    home.write("token.txt", CANARY);
    let _sealed =
        home.hob(&["secrets", "encrypt", "token.txt", "-r", &public, "-o", "lab/secrets/token.age"]).exits(0);
    std::fs::remove_file(home.path("token.txt")).unwrap();
}

/// Ends a hob that runs inside of a lab: who entered the lab does not hand signals on.
fn stop(up: &mut Up) {
    let pid = up.process.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    signal_pid(children.trim().parse().expect("it has one child"), Signal::TERM);
    let _ended = up.process.end();
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
    let secrets = place.path("lab/secrets");
    let home = place.through(&inside).with_env("CONTAINER_HOST", socket);
    let home = home.with_env("HOB_RUNTIME", runtime.path()).with_env("HOB_SECRETS", secrets);
    seal(&home);
    // One finds a file, one reads it again when told to, one asked for a variable.
    let homelab = r#"
        let quick = #{ image: "IMAGE", volumes: ["SHARED:/shared"], stop_signal: "SIGKILL", stop_timeout: "1s", ulimits: LIMITS };
        service("keeper", #{
            env: #{ TOKEN_FILE: secret_file("token") }, ready: log("taken"),
            command: ["sh", "-c", "stat -c '%a %u' \"$TOKEN_FILE\" > /shared/stat; cat \"$TOKEN_FILE\" > /shared/got; echo taken; exec sleep 1000"],
        } + quick);
        service("reader", #{
            env: #{ CONF: secret_file("app.conf", #{ content: secrets::fill("token=@TOKEN@", #{ TOKEN: secret("token") }) }) },
            ready: exec(["sh", "-c", "cmp -s /taken \"$CONF\""]), reload: "SIGHUP",
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
    assert_eq!(read("lives").lines().count(), 1, "who reads its file again is not started for a new value");
    made_by_a_run(&home, &told);
    assert!(up.process.stderr().contains("whoever may inspect the container can read this secret"));
    stop(&mut up);
}

/// Containers that runs make are handed secrets too: a file that no inspection shows, and anew when they have changed.
fn made_by_a_run(home: &Home, told: &dyn Fn(&[&str]) -> String) {
    home.write(
        "lab/tool.rhai",
        r#"
        let made = || containers::ensure("tool", #{
            image: "IMAGE", secrets: #{ "app.conf": `token=${secret("token")}` }, stop_signal: "SIGKILL", user: "65534",
            command: ["sleep", "1000"], ulimits: LIMITS });
        let first = made.call();
        let again = made.call();
        let seen = containers::exec("tool", ["sh", "-c", "stat -c '%a %u' /run/secrets/app.conf; cat; echo $T | wc -c"],
            #{ stdin: secret("token"), environment: #{ T: secret("token") } }).stdout;
        let same = secrets::equal("400 65534\n" + secret("token") + `${secrets::length(secret("token")) + 1}` + "\n", seen);
        let asks = containers::create("asks", #{ image: "IMAGE", environment: #{ T: secret("token") }, ulimits: LIMITS });
        secrets::rotate("token");
        let anew = made.call();
        let has = containers::exec("tool", ["cat", "/run/secrets/app.conf"]).stdout;
        same = same && secrets::equal(has, `token=${secret("token")}`);
        [first.changed, again.changed, same, anew.because, containers::inspect("tool").Config.Labels["hob.secrets"]]
        "#
        .replace("IMAGE", IMAGE)
        .replace("LIMITS", LIMITS),
    );
    let old = home.hob(&["secrets", "decrypt", "lab/secrets/token.age"]).exits(0).stdout;
    let dry = home.hob(&["run", "lab/tool.rhai", "--dry-run", "--env", "HOB_SECRETS"]);
    assert!(!dry.stdout.contains(old.trim()) && !dry.stderr.contains(old.trim()));
    let args = ["run", "lab/tool.rhai", "--json", "--env", "HOB_SECRETS"];
    let ran = home.hob(&args).exits(0);
    let new = home.hob(&["secrets", "decrypt", "lab/secrets/token.age"]).exits(0).stdout;
    let because = "secret token has another value";
    let label = r#"{"app.conf":"token=«secret token»"}"#;
    assert_eq!(
        ran.json()["output"],
        serde_json::json!([true, false, true, [because], label]),
        "{}",
        ran.stdout
    );
    let shown = [told(&["inspect", "tool"]), told(&["history", IMAGE]), ran.stdout, ran.stderr].concat();
    assert!(!shown.contains(old.trim()) && !shown.contains(new.trim()), "{shown}");
}

#[test]
fn a_unit_loads_its_secret_as_a_credential() {
    if !is_there(Systemd::missing()) {
        return;
    }
    let systemd = Systemd::start().expect("systemd starts");
    let script = "cat \\\"$CREDENTIALS_DIRECTORY/token\\\" | sha256sum; echo taken; exec sleep 1000";
    let unit = format!("[Service]\nType=simple\nExecStart=/bin/sh -c \"{script}\"\n");
    systemd.write_unit("needy.service", &unit).expect("a unit can be written");
    let systemctl = |args: &[&str]| {
        let output = systemd.command("systemctl").args(args).output().expect("systemctl can be started");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    systemctl(&["daemon-reload"]);
    // In its world: hob and systemd see the same memory.
    let home = crate::inside(crate::home_for_labs(), &systemd);
    let secrets = home.path("lab/secrets");
    let home = home.with_env("HOB_SECRETS", secrets);
    seal(&home);
    let homelab = r#"service("needy", #{ unit: "needy", credentials: #{ token: secret_file("token") }, ready: log("taken"), restart: "never" });"#;
    home.write("lab/homelab.rhai", homelab);
    let mut up = home.up("lab", &[]);
    let shown = systemctl(&["cat", "needy.service"]);
    assert!(shown.contains("LoadCredential=token:/run/hob-0/"), "{shown}");
    assert!(!shown.contains(CANARY) && !systemctl(&["show", "needy.service"]).contains(CANARY));
    let log = home.hob(&["logs", "needy"]).stdout;
    assert!(
        log.contains("taken") && log.contains(DIGEST),
        "{log}\n{}",
        systemctl(&["status", "needy.service"])
    );
    let plan = home.hob(&["plan", "lab"]);
    assert_eq!(plan.code, Some(0), "nothing is left to do: {}", plan.stdout);
    // What a run starts loads its own, and hob keeps no file of it.
    let script = r#"
        let it = units::run(["sh", "-c", "sha256sum < \"$CREDENTIALS_DIRECTORY/token\""], #{
            name: "once", credentials: #{ token: secret("token") } });
        it.log"#;
    home.write("lab/once.rhai", script);
    let ran = home.hob(&["run", "lab/once.rhai", "--json", "--env", "HOB_SECRETS"]).exits(0);
    assert!(ran.stdout.contains(DIGEST) && !ran.stdout.contains(CANARY), "{}", ran.stdout);
    assert!(!systemctl(&["show", "once.service"]).contains(CANARY));
    let left = systemd.command("find").args(["/run/hob-0", "-name", "once.service"]).output().unwrap();
    assert!(left.stdout.is_empty(), "{left:?}");
    let _rotated = home.hob(&["secrets", "rotate", "token", "--homelab", "lab"]).exits(0);
    let log = home.hob(&["logs", "needy"]).stdout;
    assert!(log.matches("taken").count() >= 2 && log.matches(DIGEST).count() == 1, "{log}");
    stop(&mut up);
}
