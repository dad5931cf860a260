//! Updates of services from a real registry: what is good stays, what is bad is rolled back without a person, and a crash
//! leaves one of the two.

use hob_lab::engine::{IMAGE, REGISTRY};
use hob_tests::home::Up;
use hob_tests::until;
use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::services::House;

/// Gets ready and stays so.
const GOOD: &str = "touch /ready; exec sleep 1000";

/// Runs and never gets ready.
const NEVER_READY: &str = "exec sleep 1000";

/// Gets ready and ends after a moment.
const CRASHES: &str = "touch /ready; sleep 1; exit 3";

const HOMELAB: &str = r#"
let quick = #{ stop_signal: "SIGKILL", stop_timeout: "1s", ulimits: LIMITS };
let web = service("web", #{
    image: "localhost:5000/web:1", ready: file("/ready"), ready_timeout: "3s", volumes: ["SHARED:/shared"],
    update: #{
        UPDATE
        settle: "4s",
        before: |update| files::append("SHARED/hooks", "before " + update.service + "\n"),
        after: |update| files::append("SHARED/hooks", "after " + update.service + "\n"),
    },
} + quick);
service("app", #{ image: "IMAGE", command: ["sleep", "1000"], needs: [web] } + quick);
"#;

/// A homelab whose service `web` comes from a registry.
fn house(update: &str) -> Option<House> {
    let house = House::new(&HOMELAB.replace("UPDATE", update))?;
    house.engine.start_registries().expect("the registries start");
    house.podman(&["create", "--name", "base", IMAGE]);
    publish(&house, "1", GOOD);
    Some(house)
}

/// Has the registry name an image that runs `script`.
fn publish(house: &House, version: &str, script: &str) {
    let (command, version) =
        (format!("CMD {}", json!(["sh", "-c", script])), format!("ENV VERSION={version}"));
    house.podman(&[
        "commit",
        "--quiet",
        "--change",
        &command,
        "--change",
        &version,
        "base",
        "localhost/next",
    ]);
    house.podman(&["push", "--quiet", "localhost/next", &format!("{REGISTRY}/web:1")]);
}

/// Which image `web` is made from; nothing while there is none.
fn version(house: &House) -> String {
    let output = house.engine.cli(&["inspect", "--format", "{{.Config.Env}}", "web"]).expect("podman starts");
    let env = String::from_utf8(output.stdout).expect("podman writes text");
    env.split(['[', ']', ' ']).find_map(|it| it.strip_prefix("VERSION=")).unwrap_or_default().to_owned()
}

fn update(house: &House, exit: i32, args: &[&str]) -> Json {
    let args = [&["update", "web", "--json"], args].concat();
    house.home.hob(&args).exits(exit).json()[0].clone()
}

fn hooks(house: &House) -> Vec<String> {
    let text = std::fs::read_to_string(house.engine.shared().join("hooks")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn what_is_good_stays_and_what_is_bad_is_rolled_back() {
    let Some(house) = house("") else { return };
    let mut up = house.home.up("lab", &[]);
    assert_eq!(update(&house, 0, &[])["result"], "current");

    publish(&house, "2", NEVER_READY);
    assert_eq!(update(&house, 0, &["--dry-run"])["result"], "available");
    assert_eq!((version(&house).as_str(), house.service("web")["update"].as_str()), ("1", Some("available")));
    let plan = house.home.hob(&["plan", "lab"]).exits(0);
    assert!(plan.stdout.contains("service `web` is made from an older image"), "{plan:?}");
    let told = update(&house, 1, &[]);
    assert_eq!((&told["result"], &told["state"]), (&json!("rolled_back"), &json!("ready")), "{told}");
    assert!(told["note"].as_str().unwrap().contains("time to get ready is up"), "{told}");
    assert_eq!(version(&house), "1");
    let _ = house.home.hob(&["plan", "lab"]).exits(0);
    house.until_ready("app", |_| true);
    assert_eq!(hooks(&house), ["before web"]);

    publish(&house, "3", CRASHES);
    let told = update(&house, 1, &[]);
    assert_eq!((&told["result"], &told["state"]), (&json!("rolled_back"), &json!("ready")), "{told}");
    assert!(told["note"].as_str().unwrap().contains("code 3"), "{told}");
    assert_eq!(version(&house), "1");

    // The old image is kept to also when it is made anew, and over a restart of hob.
    house.podman(&["rm", "--force", "--time", "0", "web"]);
    house.until_ready("web", |_| version(&house) == "1");
    House::stop(&mut up);
    house.podman(&["rm", "web"]);
    let mut up = house.home.up("lab", &[]);
    assert_eq!((version(&house).as_str(), &house.service("web")["state"]), ("1", &json!("ready")));

    publish(&house, "4", GOOD);
    let before = hooks(&house).len();
    let told = update(&house, 0, &[]);
    assert_eq!((&told["result"], &told["state"]), (&json!("updated"), &json!("ready")), "{told}");
    assert_eq!(
        (version(&house).as_str(), &hooks(&house)[before..]),
        ("4", &["before web", "after web"].map(str::to_owned)[..])
    );
    house.until_ready("app", |_| true);
    House::stop(&mut up);
}

#[test]
fn nobody_has_to_be_there() {
    let Some(house) = house(r#"when: every("1s"),"#) else { return };
    let mut up = house.home.up("lab", &[]);
    publish(&house, "2", CRASHES);
    until("the bad image is rolled back", || (house.service("web")["update"] == "rolled_back").then_some(()));
    house.until_ready("web", |house| version(house) == "1");
    publish(&house, "3", GOOD);
    until("the good image is taken", || {
        let events = house.home.json(&["events", "list", "service.updated"]);
        events.as_array().is_some_and(|events| !events.is_empty()).then_some(())
    });
    assert_eq!((version(&house).as_str(), &house.service("web")["state"]), ("3", &json!("ready")));
    House::stop(&mut up);
}

/// Kills hob when `so` holds while it updates; what the next one makes of it.
fn killed_when(house: &House, mut up: Up, so: impl Fn() -> bool) -> (Up, String) {
    let mut update = house.home.start(&["update", "web"]);
    until(&format!("the moment to kill hob ({})", up.process.stderr()), || so().then_some(()));
    House::signal(&up, Signal::KILL);
    up.process.end();
    update.end();
    let names = house.podman(&["ps", "--format", "{{.Names}}"]);
    assert!(names.lines().filter(|name| *name == "web").count() <= 1, "{names}");
    let up = house.home.up("lab", &[]);
    until("the update is finished or undone", || {
        let web = house.service("web");
        (web["state"] == "ready" && web["update"] != "trial").then_some(())
    });
    let names = house.podman(&["ps", "--all", "--format", "{{.Names}}"]);
    assert_eq!(names.lines().filter(|name| name.contains("web")).count(), 1, "{names}");
    (up, version(house))
}

#[test]
fn a_crash_in_an_update_leaves_one_of_the_two() {
    let Some(house) = house("") else { return };
    let mut up = house.home.up("lab", &[]);
    let mut old = "1".to_owned();
    for round in 2..=5_u32 {
        let new = round.to_string();
        let is_bad = round == 5;
        publish(&house, &new, if is_bad { NEVER_READY } else { GOOD });
        let hooked = hooks(&house).len();
        let moment = || match round {
            2 => hooks(&house).len() > hooked,
            3 => version(&house) != old,
            4 => version(&house) == new && house.service("web")["state"] == "ready",
            _ => version(&house) == new,
        };
        let (next, found) = killed_when(&house, up, moment);
        up = next;
        let allowed = match round {
            4 => vec![new.as_str()],
            5 => vec![old.as_str()],
            _ => vec![old.as_str(), new.as_str()],
        };
        assert!(allowed.contains(&found.as_str()), "round {round}: {found}");
        old = found;
    }
    House::stop(&mut up);
}
