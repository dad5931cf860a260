//! What somebody changes past a hob that runs: it is told, and made as declared again, in order and behind the gates.

use hob_lab::engine::IMAGE;
use hob_lab::systemd::Systemd;
use hob_tests::home::Home;
use hob_tests::until;
use serde_json::{Value as Json, json};

use crate::engines::is_there;
use crate::handed::{DIGEST, seal};
use crate::home;
use crate::services::House;

const HOMELAB: &str = r#"
let quick = #{ image: "IMAGE", stop_signal: "SIGKILL", stop_timeout: "1s", volumes: ["SHARED:/shared"], ulimits: LIMITS };
let db = service("db", #{
    ready: exec(["test", "-e", "/ready"]),
    command: ["sh", "-c", "echo start db >> /shared/story; sleep 0.4; echo ready db >> /shared/story; touch /ready; exec sleep 1000"],
} + quick);
service("app", #{
    needs: [db], command: ["sh", "-c", "echo start app >> /shared/story; touch /ready; exec sleep 1000"], ready: file("/ready"),
} + quick);
for name in ["named", "replaced", "held"] {
    service(name, #{ command: ["sleep", "1000"], ready: file("/proc/self") } + quick);
}
"#;

fn events(home: &Home, name: &str) -> Vec<Json> {
    let all = home.json(&["events", "list"]);
    all.as_array().expect("events are a list").iter().filter(|it| it["name"] == name).cloned().collect()
}

#[test]
fn containers_that_hands_have_changed_are_made_as_declared_again() {
    let Some(house) = House::new(HOMELAB) else { return };
    let mut up = house.home.up("lab", &["--on-exit", "keep"]);
    let (db, app) = (house.id("db"), house.id("app"));

    // Both are cut off from the others; nobody asks, and the engine tells. The hold has both repaired at one time, and not one
    // while the other is still to be cut off.
    let _ = house.home.hob(&["hold", "app"]).exits(0);
    house.podman(&["network", "disconnect", "homelab", "app"]);
    house.podman(&["network", "disconnect", "homelab", "db"]);
    let is_seen = |name: &str| house.service(name)["changed"].as_array().is_some_and(|it| !it.is_empty());
    until("both are seen", || (is_seen("app") && is_seen("db")).then_some(()));
    assert_eq!((house.id("db"), house.id("app")), (db.clone(), app.clone()));
    let _ = house.home.hob(&["release", "app"]).exits(0);
    until("both are repaired", || (events(&house.home, "service.repaired").len() == 2).then_some(()));
    assert!(house.id("db") != db && house.id("app") != app);
    let story = house.story();
    assert_eq!(story[..3], ["start db", "ready db", "start app"], "{story:?}");
    assert_eq!(story[3..], ["start db", "ready db", "start app"], "{story:?}");
    assert_eq!(events(&house.home, "service.failed"), [Json::Null; 0]);
    let _ = house.home.hob(&["plan", "lab"]).exits(0);

    // Somebody gives it another name.
    house.podman(&["rename", "named", "moved"]);
    until("it has its name again", || (events(&house.home, "service.repaired").len() == 3).then_some(()));
    let names = house.podman(&["ps", "--all", "--format", "{{.Names}}", "--sort", "names"]);
    assert_eq!(names, "app\ndb\nheld\nnamed\nreplaced");

    // Somebody makes one of its own in its place, with the labels of hob's: it is not taken for what is declared.
    let labels = "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}}\n{{end}}";
    let labels = house.podman(&["inspect", "--format", labels, "replaced"]);
    house.podman(&["tag", IMAGE, "localhost/other:1"]);
    house.podman(&["rm", "--force", "--time", "0", "replaced"]);
    let mut args = vec!["run", "--detach", "--replace", "--name", "replaced"];
    labels.lines().for_each(|label| args.extend(["--label", label]));
    args.extend(["localhost/other:1", "sleep", "1000"]);
    let _taken = house.engine.cli(&args);
    let as_declared = || {
        let made = house
            .engine
            .cli(&["inspect", "--format", "{{.ImageName}} {{.State.Running}}", "replaced"])
            .ok()?;
        (String::from_utf8_lossy(&made.stdout).trim() == format!("{IMAGE} true")).then_some(())
    };
    until("it is made from its own image", as_declared);
    house.until_ready("replaced", |house| house.home.hob(&["plan", "lab"]).code == Some(0));

    // What is held is not touched, until it is released.
    let life = || house.service("held")["instance"].clone();
    let before = life();
    let _ = house.home.hob(&["hold", "held", "--reason", "I try something"]).exits(0);
    house.podman(&["network", "disconnect", "homelab", "held"]);
    until("it is seen", || {
        (house.service("held")["changed"].as_array().is_some_and(|it| !it.is_empty())).then_some(())
    });
    assert_eq!(life(), before);
    let _ = house.home.hob(&["release", "held"]).exits(0);
    house.until_ready("held", |_| ![&before, &Json::Null].contains(&&life()));
    House::stop(&mut up);
}

#[test]
fn a_unit_whose_secrets_hands_have_taken_gets_them_again() {
    if !is_there(Systemd::missing()) {
        return;
    }
    let systemd = Systemd::start().expect("systemd starts");
    let script = "cat \\\"$CREDENTIALS_DIRECTORY/token\\\" | sha256sum; echo taken; exec sleep 1000";
    let unit = format!("[Service]\nType=simple\nExecStart=/bin/sh -c \"{script}\"\n");
    systemd.write_unit("needy.service", &unit).expect("a unit can be written");
    let systemctl = |args: &[&str]| {
        let output = systemd.command("systemctl").args(args).output().expect("systemctl can be started");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned()
    };
    systemctl(&["daemon-reload"]);
    let home = crate::inside(crate::home_for_labs(), &systemd);
    let secrets = home.path("lab/secrets");
    let home = home.with_env("HOB_SECRETS", secrets);
    seal(&home);
    let homelab = r#"service("needy", #{ unit: "needy", credentials: #{ token: secret_file("token") }, ready: log("taken") });"#;
    home.write("lab/homelab.rhai", homelab);
    let _up = home.up("lab", &[]);
    let drop_in = "/run/systemd/system/needy.service.d/50-hob-credentials.conf";
    let removed = systemd.command("rm").arg(drop_in).status().expect("rm can be started");
    assert!(removed.success());
    systemctl(&["daemon-reload"]);
    systemctl(&["restart", "needy.service"]);
    // Also one that began while hob gave them back is made anew.
    let lives = || home.hob(&["logs", "needy"]).stdout.matches(DIGEST).count();
    until("it has them again", || (lives() == 2).then_some(()));
    assert!(systemctl(&["cat", "needy.service"]).contains("LoadCredential=token:"));
    until("it is ready", || (home.service("needy")["state"] == "ready").then_some(()));
    let _ = home.hob(&["plan", "lab"]).exits(0);
}

const EDITED: &str = "/etc/systemd/system/web.service.d/override.conf";

#[test]
fn a_unit_that_runs_as_its_files_were_before_is_told_of_and_restarted_when_somebody_says_so() {
    if !is_there(Systemd::missing()) {
        return;
    }
    let systemd = Systemd::start().expect("systemd starts");
    let unit = "[Service]\nType=simple\nExecStart=/bin/sh -c 'echo serving; exec sleep 1000'\n";
    systemd.write_unit("web.service", unit).expect("a unit can be written");
    // Systemd forgets a unit that has stopped, and reads its files again, unless another one knows it.
    systemd.write_unit("knows.target", "[Unit]\nAfter=web.service\n").expect("a unit can be written");
    let inside = |program: &str, args: &[&str]| {
        let output = systemd.command(program).args(args).output().expect("it can be started");
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("it writes text").trim().to_owned()
    };
    let show = |property: &str| inside("systemctl", &["show", "--property", property, "--value", "web"]);
    let edit = |color: &str| {
        let write = r#"mkdir -p "${1%/*}" && printf '[Service]\nEnvironment=COLOR=%s\n' "$2" > "$1""#;
        inside("sh", &["-c", write, "edit", EDITED, color]);
    };
    edit("green");
    inside("systemctl", &["daemon-reload"]);
    inside("systemctl", &["start", "knows.target"]);
    let home = home()
        .with_env("DBUS_SYSTEM_BUS_ADDRESS", systemd.bus_address())
        .with_env("HOB_SYSTEMD_ROOT", systemd.root());
    home.write("lab/homelab.rhai", r#"service("web", #{ unit: "web", ready: log("serving") });"#);
    let mut up = home.up("lab", &["--on-exit", "keep"]);
    let _ = home.hob(&["plan", "lab"]).exits(0);

    // Somebody writes a file, and systemd has not read it yet.
    let life = show("InvocationID");
    edit("red");
    let field = format!("file.{EDITED}");
    until("it is told", || (home.service("web")["changed"] == json!([field])).then_some(()));
    until("it is told that it stays", || (!events(&home, "service.changed").is_empty()).then_some(()));
    let note = home.service("web")["note"].clone();
    assert_eq!(note, format!("changed by hand: {field}; it holds when it is restarted"));
    let plan = home.hob(&["plan", "lab", "--json"]).exits(2).json();
    assert_eq!(plan["changes"][0]["action"], "restart", "{plan}");
    assert_eq!(plan["changes"][0]["diff"][0]["field"], field, "{plan}");
    assert_eq!(show("InvocationID"), life, "nobody said that it is to hold now");
    let _ = home.hob(&["restart", "web"]).exits(0);
    assert_eq!(show("Environment"), "COLOR=red");
    let _ = home.hob(&["plan", "lab"]).exits(0);

    // Whoever restarts it by hand as well has nothing left to do.
    edit("blue");
    inside("systemctl", &["daemon-reload"]);
    let _ = home.hob(&["plan", "lab"]).exits(2);
    inside("systemctl", &["restart", "web"]);
    until("nothing is to do", || (home.hob(&["plan", "lab"]).code == Some(0)).then_some(()));
    edit("black");
    inside("systemctl", &["daemon-reload"]);
    let _ = up.stop().exits(0);
    let life = show("InvocationID");
    let _ = home.hob(&["apply", "lab", "--yes"]).exits(0);
    assert_ne!(show("InvocationID"), life);
    assert_eq!(events(&home, "service.repaired"), [Json::Null; 0]);
    let _ = home.hob(&["plan", "lab"]).exits(0);
    let _ = home.hob(&["down", "lab"]).exits(0);
}
