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
    publishing(&house, GOOD);
    Some(house)
}

/// Has a registry with a first version.
fn publishing(house: &House, script: &str) {
    serve_images(house);
    publish(house, "1", script);
}

/// Has the registries be there, and something to make images from.
pub(crate) fn serve_images(house: &House) {
    house.engine.start_registries().expect("the registries start");
    house.podman(&["create", "--name", "base", IMAGE]);
}

/// Has the registry name an image that runs `script`.
fn publish(house: &House, version: &str, script: &str) {
    publish_as(house, "web", version, script);
}

/// As [`publish`], for the image of another service.
pub(crate) fn publish_as(house: &House, name: &str, version: &str, script: &str) {
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
    house.podman(&["push", "--quiet", "localhost/next", &format!("{REGISTRY}/{name}:1")]);
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

/// Tells when it starts and when it has ended.
const TELLS: &str = "trap 'echo end $VERSION >> /shared/story; exit 0' TERM; echo start $VERSION >> /shared/story; \
                     touch /ready; while :; do sleep 0.1; done";

#[test]
fn a_rolling_update_starts_first_and_then_stops() {
    let homelab = HOMELAB.replace("UPDATE", "rolling: true,").replace("4s", "2s");
    let homelab = homelab.replacen("stop_signal: \"SIGKILL\"", "stop_signal: \"SIGTERM\"", 1);
    let Some(house) = House::new(&homelab) else { return };
    publishing(&house, TELLS);
    let mut up = house.home.up("lab", &[]);
    let (web, app) = (house.id("web"), house.id("app"));
    let containers = || {
        let names = house.podman(&["ps", "--all", "--format", "{{.Names}}"]);
        names.lines().filter(|name| name.contains("web")).map(str::to_owned).collect::<Vec<_>>()
    };
    for (version, script, why) in [("2", NEVER_READY, "time to get ready is up"), ("3", CRASHES, "code 3")] {
        publish(&house, version, script);
        let told = update(&house, 1, &[]);
        assert_eq!((&told["result"], &told["state"]), (&json!("rolled_back"), &json!("ready")), "{told}");
        assert!(told["note"].as_str().unwrap().contains(why), "{told}");
        assert_eq!(
            (house.id("web"), containers()),
            (web.clone(), vec!["web".to_owned()]),
            "it never stopped"
        );
    }
    let _ = house.home.hob(&["plan", "lab"]).exits(0);

    publish(&house, "4", TELLS);
    let told = update(&house, 0, &[]);
    assert_eq!((&told["result"], &told["state"]), (&json!("updated"), &json!("ready")), "{told}");
    assert_eq!((version(&house).as_str(), containers()), ("4", vec!["web".to_owned()]));
    assert_eq!(house.story(), ["start 1", "start 4", "end 1"]);
    assert_eq!(house.id("app"), app, "what needs it was not stopped");
    let aliases = house.podman(&["inspect", "--format", "{{json .NetworkSettings.Networks}}", "web"]);
    assert!(aliases.contains(r#""web""#), "{aliases}");
    let _ = house.home.hob(&["plan", "lab"]).exits(0);

    // One that a crash leaves beside the service is removed, and the service is as it was.
    let web = house.id("web");
    publish(&house, "5", "echo start 5 >> /shared/story; exec sleep 1000");
    let mut asked = house.home.start(&["update", "web"]);
    until("the new one has started", || (house.story().len() == 4).then_some(()));
    House::signal(&up, Signal::KILL);
    up.process.end();
    asked.end();
    let mut up = house.home.up("lab", &[]);
    assert_eq!((house.id("web"), containers()), (web, vec!["web".to_owned()]));

    // A run may ask for it, and it is looked after as any other.
    publish(&house, "6", TELLS);
    house.home.write("lab/play.rhai", r#"services::update("web").result"#);
    assert_eq!(house.home.hob(&["run", "lab/play.rhai"]).exits(0).out().trim(), "updated");
    assert_eq!(version(&house), "6");
    let told = house.story().len();
    house.podman(&["kill", "web"]);
    house.until_ready("web", |house| version(house) == "6" && house.story().len() > told);
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
