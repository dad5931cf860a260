//! Several of one service, declared as one.

use hob_lab::engine::IMAGE;
use hob_tests::home::Home;
use hob_tests::until;
use serde_json::{Value as Json, json};

use crate::home;
use crate::services::House;
use crate::updates::{publish_as, serve_images};

const HOMELAB: &str = r#"
let worker = service("worker", #{
    command: ["sh", "-c", "echo worker $HOB_REPLICA >> story; echo here $HOB_REPLICA; exec sleep 1000"], ready: log("here"), replicas: COUNT, stop_timeout: "1s",
    hooks: #{ before_start: |it| files::append("hooks", it.service + " " + it.replica + "\n") },
});
service("web", #{ command: ["sh", "-c", "echo web >> story; echo here; exec sleep 1000"], ready: log("here"), needs: [worker], stop_timeout: "1s" });
"#;

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

fn states(home: &Home) -> Vec<(String, String)> {
    let status = home.json(&["status"]);
    let text = |it: &Json, key: &str| it[key].as_str().unwrap().to_owned();
    status["services"].as_array().unwrap().iter().map(|it| (text(it, "name"), text(it, "state"))).collect()
}

fn all(state: &str) -> Vec<(String, String)> {
    ["worker-1", "worker-2", "worker-3"].map(|name| (name.to_owned(), state.to_owned())).to_vec()
}

fn pids(home: &Home) -> Vec<Json> {
    ["worker-1", "worker-2", "worker-3"].map(|name| home.service(name)["pid"].clone()).to_vec()
}

#[test]
fn the_name_stands_for_all_and_each_is_kept_by_itself() {
    let home = home();
    let write = |count: &str| home.write("lab/homelab.rhai", HOMELAB.replace("COUNT", count));
    write("3");
    let mut up = home.up("lab", &[]);
    until("web is ready", || (home.service("web")["state"] == "ready").then_some(()));
    let told = home.lines("lab/story");
    assert_eq!(told.last().map(String::as_str), Some("web"), "it waits for all of them");
    assert_eq!(sorted(told[..3].to_vec()), ["worker 1", "worker 2", "worker 3"]);
    assert_eq!(sorted(home.lines("lab/hooks")), ["worker-1 1", "worker-2 2", "worker-3 3"]);
    assert_eq!(states(&home)[..3], all("ready"));
    let told = home.ask("GET", "/api/v1/services/worker", None).unwrap().expects(200).json();
    assert_eq!(
        (&told["state"], told["replicas"].as_array().map(Vec::len)),
        (&json!("ready"), Some(3)),
        "{told}"
    );
    let _ = home.ask("GET", "/healthz/worker", None).unwrap().expects(200);
    let refused = home.ask("GET", "/api/v1/services/wrker", None).unwrap().expects(404).json();
    assert!(refused.to_string().contains("there is no service `wrker`"), "{refused}");
    let written = ["worker-1 | here 1", "worker-2 | here 2", "worker-3 | here 3"];
    assert_eq!(home.hob(&["logs", "worker"]).exits(0).out().lines().collect::<Vec<_>>(), written);
    assert_eq!(home.hob(&["logs", "worker-2"]).exits(0).out(), "here 2");
    let both = home.hob(&["logs", "web", "worker-3", "--json"]).exits(0).out().to_owned();
    let line = |service: &str, line: &str| json!({ "service": service, "line": line }).to_string();
    assert_eq!(both, line("web", "here") + "\n" + &line("worker-3", "here 3"));

    let stopped = home.hob(&["stop", "worker"]).exits(0);
    assert!(stopped.says("worker is stopped"), "{stopped:?}");
    assert_eq!(states(&home)[..3], all("stopped"));
    let _ = home.ask("GET", "/healthz/worker", None).unwrap().expects(503);
    assert_eq!(home.service("web")["state"], "stopped");
    let _ = home.hob(&["start", "worker"]).exits(0);
    assert_eq!(states(&home)[..3], all("ready"));
    let before = pids(&home);
    let _ = home.hob(&["restart", "worker"]).exits(0);
    let after = pids(&home);
    assert!(before.iter().all(|pid| !after.contains(pid)), "{before:?} {after:?}");
    // One alone can be asked, too.
    let _ = home.hob(&["restart", "worker-2"]).exits(0);
    let alone = pids(&home);
    assert_eq!((&alone[0], &alone[2]), (&after[0], &after[2]));
    assert_ne!(alone[1], after[1]);

    let _ = home.hob(&["hold", "worker"]).exits(0);
    assert_eq!(home.service("worker-3")["held"], true);
    let _ = home.hob(&["release", "worker"]).exits(0);
    assert_eq!(home.service("worker-3")["held"], false);
    let refused = home.hob(&["restart", "workr"]).exits(1);
    assert!(refused.stderr.contains("there is no service `workr`"), "{refused:?}");
    home.write(
        "lab/play.rhai",
        r#"
        let seen = services::status("worker");
        services::stop("worker");
        let stopped = services::status("worker").state;
        services::start("worker");
        #{ state: seen.state, count: seen.replicas.len(), stopped: stopped, started: services::status("worker").ready }"#,
    );
    let told = home.hob(&["run", "lab/play.rhai", "--json"]).exits(0);
    let expected = json!({ "state": "ready", "count": 3, "stopped": "stopped", "started": true });
    assert!(told.out().contains(&expected["stopped"].to_string()), "{told:?}");
    let _ = up.stop().exits(0);

    // Fewer: what is too much goes, and nothing is left of it.
    let mut up = home.up("lab", &["--on-exit", "keep"]);
    let kept = pids(&home);
    let _ = up.stop().exits(0);
    write("2");
    let _ = home.hob(&["plan", "lab"]).exits(2).printing("remove    worker-3");
    let mut up = home.up("lab", &[]);
    let names: Vec<String> = states(&home).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["worker-1", "worker-2", "web"]);
    assert_eq!(home.service("worker-1")["pid"], kept[0], "the others go on");
    assert!(home.living().iter().all(|seen| json!(seen.pid) != kept[2]), "{:?}", home.living());
    let _ = up.stop().exits(0);
}

const CONTAINERS: &str = r#"
let quick = #{ stop_signal: "SIGKILL", stop_timeout: "1s", ulimits: LIMITS };
let tell = |it| files::append("SHARED/story", it.hook + " " + it.service + "\n");
service("web", #{
    image: "localhost:5000/web:1", ready: file("/ready"), ready_timeout: "20s", volumes: ["SHARED:/shared"], replicas: 2,
    update: #{ settle: "500ms" ROLLING }, restart: #{ policy: "always", backoff: "100ms" },
    hooks: #{ before_start: |it| { tell.call(it); if files::exists("SHARED/broken") { fail("no licence") } }, after_start: tell, before_stop: tell, after_stop: tell },
} + quick);
service("other", #{ image: "IMAGE", command: ["sleep", "1000"] } + quick);
"#;

const RUNS: &str = "echo run $HOB_REPLICA >> /shared/story; touch /ready; exec sleep 1000";

fn of(house: &House, from: usize, number: u32) -> Vec<String> {
    let suffixes = [format!("web-{number}"), format!("run {number}")];
    let mine = |it: &String| suffixes.iter().any(|suffix| it.ends_with(suffix));
    house.story()[from..].iter().filter(|it| mine(it)).cloned().collect()
}

#[test]
fn replicas_that_are_containers_are_updated_one_after_the_other_with_their_functions() {
    let Some(house) = House::new(&CONTAINERS.replace("ROLLING", "").replace("IMAGE", IMAGE)) else { return };
    serve_images(&house);
    publish_as(&house, "web", "1", RUNS);
    let mut up = house.home.up("lab", &[]);
    for number in [1, 2] {
        let expected = [
            format!("before_start web-{number}"),
            format!("run {number}"),
            format!("after_start web-{number}"),
        ];
        assert_eq!(of(&house, 0, number), expected);
    }
    let update = |exit: i32| house.home.hob(&["update", "web", "--json"]).exits(exit).json();
    publish_as(&house, "web", "2", RUNS);
    let from = house.story().len();
    let told = update(0);
    let results: Vec<&Json> = told.as_array().unwrap().iter().map(|it| &it["result"]).collect();
    assert_eq!(results, [&json!("updated"), &json!("updated")], "{told}");
    let around = |number: u32| {
        let of = |what: &str| format!("{what} web-{number}");
        [of("before_stop"), of("after_stop"), of("before_start"), format!("run {number}"), of("after_start")]
    };
    assert_eq!(house.story()[from..], [around(1), around(2)].concat());

    // What a function refuses is rolled back as what does not get ready, and the others are left alone.
    publish_as(&house, "web", "3", RUNS);
    let second = house.id("web-2");
    house
        .engine
        .shared()
        .join("broken")
        .as_path()
        .to_str()
        .map(|path| std::fs::write(path, ""))
        .unwrap()
        .unwrap();
    let mut asked = house.home.start(&["update", "web", "--json"]);
    until("it is refused", || {
        let note = house.service("web-1")["note"].as_str().unwrap_or_default().to_owned();
        note.contains("no licence").then_some(())
    });
    std::fs::remove_file(house.engine.shared().join("broken")).unwrap();
    let told = asked.end().exits(1).json();
    assert_eq!(told[0]["result"], "rolled_back", "{told}");
    assert!(told[0]["note"].as_str().unwrap().contains("no licence"), "{told}");
    assert_eq!((told.as_array().unwrap().len(), house.id("web-2")), (1, second));
    house.until_ready("web-1", |_| true);
    House::stop(&mut up);
}

#[test]
fn functions_run_around_a_rolling_update() {
    let homelab = CONTAINERS.replace("ROLLING", ", rolling: true").replace("IMAGE", IMAGE);
    let Some(house) = House::new(&homelab) else { return };
    serve_images(&house);
    publish_as(&house, "web", "1", RUNS);
    let mut up = house.home.up("lab", &[]);
    publish_as(&house, "web", "2", RUNS);
    let from = house.story().len();
    let _ = house.home.hob(&["update", "web-1"]).exits(0);
    let of = |what: &str| format!("{what} web-1");
    let expected =
        [of("before_start"), "run 1".to_owned(), of("after_start"), of("before_stop"), of("after_stop")];
    assert_eq!(house.story()[from..], expected);
    let from = house.story().len();
    House::stop(&mut up);
    assert_eq!(self::of(&house, from, 1), [of("before_stop"), of("after_stop")]);
}
