//! `hob install`: what it writes, and what a real systemd makes of it.

use hob_lab::systemd::Systemd;
use hob_tests::home::Home;
use hob_tests::until;

use crate::engines::is_there;

/// Two services, each of which tells when it starts and when it is asked to end.
const HOMELAB: &str = r#"
let told = |name| ["sh", "-c",
    "echo start " + name + " >> story; trap 'echo stop " + name + " >> story; exit 0' TERM; while :; do sleep 0.1; done"];
tier("core");
tier("way-in", #{ after: "core" });
tier("rest", #{ after: "way-in" });
let db = service("db", #{ tier: "core", command: told.call("db") });
service("web", #{ tier: "way-in", command: told.call("web"), needs: [db] });
service("broken", #{ tier: "rest", command: "false", restart: "never", ready: log("never") });
"#;

/// A directory that a systemd of the lab sees, too.
fn home() -> Home {
    let home = crate::home_for_labs();
    home.write("lab/homelab.rhai", HOMELAB);
    home.write("lab/hob.toml", "[server]\nlisten = \"127.0.0.1:0\"\n");
    home
}

#[test]
fn an_upgrade_restarts_nothing_and_a_shutdown_stops_in_order() {
    if !is_there(Systemd::missing()) {
        return;
    }
    let systemd = Systemd::start().expect("systemd starts");
    let home = crate::inside(home(), &systemd);
    let systemctl = |args: &[&str]| {
        let output = systemd.command("systemctl").args(args).output().expect("systemctl can be started");
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("systemctl writes text").trim().to_owned()
    };
    let _ = home.hob(&["install", "lab"]).exits(0);
    let _ = home.hob(&["install", "lab", "--targets"]).exits(0);
    let dropped = systemd.unit_dir().join("hob.service.d");
    std::fs::create_dir(&dropped).expect("a directory");
    std::fs::write(dropped.join("watchdog.conf"), "[Service]\nWatchdogSec=2s\n").expect("a file");
    systemctl(&["daemon-reload"]);
    systemctl(&["start", "hob"]);
    let story = || home.lines("lab/story");
    until("both services", || (story() == ["start db", "start web"]).then_some(()));

    let show = |property: &str| systemctl(&["show", "--value", "--property", property, "hob"]);
    let fed = || show("WatchdogTimestampMonotonic");
    let first = fed();
    until("the watchdog is fed", || (fed() != first).then_some(()));

    // Another hob takes over, and everything goes on.
    let before = show("MainPID");
    systemctl(&["restart", "hob"]);
    assert_ne!(show("MainPID"), before);
    let status = home.json(&["status"]);
    let states: Vec<_> =
        status["services"].as_array().unwrap().iter().map(|it| it["state"].clone()).collect();
    assert_eq!(states, ["ready", "ready", "failed"]);
    let target = |tier: &str| format!("hob-tier-{tier}.target");
    until("the targets of what is ready", || {
        let listed = systemctl(&["list-units", "--plain", "--no-legend", "hob-tier-*"]);
        (listed.matches(" active ").count() == 2).then_some(())
    });
    let tree = systemctl(&["list-dependencies", "--plain", &target("rest")]);
    let tree: Vec<&str> = tree.lines().map(str::trim).filter(|unit| *unit != "hob.service").collect();
    assert_eq!(tree, [target("rest"), target("way-in"), target("core")]);
    assert_eq!(story(), ["start db", "start web"]);

    let output = systemd.command("systemctl").args(["poweroff", "--no-wall"]).output().expect("systemctl");
    assert!(output.status.success(), "{output:?}");
    until("all has stopped", || (story().len() == 4).then_some(()));
    assert_eq!(story()[2..], ["stop web", "stop db"]);
}

#[test]
fn a_unit_of_somebody_else_is_left_alone() {
    let home = home().with_env("XDG_CONFIG_HOME", "/nonexistent");
    let dry = home.hob(&["install", "lab", "--dry-run"]).exits(0).stdout;
    let lab = home.path("lab").canonicalize().unwrap();
    for part in [
        "Type=notify",
        "WatchdogSec=",
        "KillMode=process",
        &format!(" up \"{}\" --on-exit keep", lab.display()),
    ] {
        assert!(dry.contains(part), "no `{part}` in {dry}");
    }
    if !is_there(Systemd::missing()) {
        return;
    }
    let systemd = Systemd::start().expect("systemd starts");
    systemd.write_unit("hob.service", "[Service]\nExecStart=/bin/true\n").expect("a unit can be written");
    let home = crate::inside(home, &systemd);
    let refused = home.hob(&["install", "lab"]).exits(1);
    assert!(refused.stderr.contains("`hob install` did not write it"), "{refused:?}");
    let left = std::fs::read_to_string(systemd.unit_dir().join("hob.service")).unwrap();
    assert_eq!(left, "[Service]\nExecStart=/bin/true\n");
}

#[test]
fn targets_go_with_their_tiers_and_all_goes_when_it_is_not_wanted() {
    if !is_there(Systemd::missing()) {
        return;
    }
    let systemd = Systemd::start().expect("systemd starts");
    let home = crate::inside(home(), &systemd);
    let there = || {
        let entries = std::fs::read_dir(systemd.unit_dir()).unwrap().flatten();
        let mut names: Vec<String> =
            entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
        names.retain(|name| name.starts_with("hob"));
        names.sort();
        names
    };
    systemd.write_unit("hob-tier-own.target", "[Unit]\n").expect("a unit can be written");
    let _ = home.hob(&["install", "lab", "--targets"]).exits(0);
    let tiers =
        ["hob-tier-core.target", "hob-tier-own.target", "hob-tier-rest.target", "hob-tier-way-in.target"];
    assert_eq!(there(), [&tiers[..], &["hob.service"]].concat());
    home.write("lab/homelab.rhai", r#"tier("core");"#);
    let _ = home.hob(&["install", "lab", "--targets"]).exits(0);
    assert_eq!(there(), ["hob-tier-core.target", "hob-tier-own.target", "hob.service"]);
    let _ = home.hob(&["install", "--remove"]).exits(0);
    assert_eq!(there(), ["hob-tier-own.target"]);
    let _ = home.hob(&["install", "--remove"]).exits(0);
}
