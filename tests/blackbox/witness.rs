//! Whatever happens, no service starts before what it needs is ready: a witness outside hob counts.
//!
//! Each container tells a file when it starts and when it is ready. What is done to them is chosen at random; the test adds
//! to the file what it ended itself.

use std::collections::BTreeMap;
use std::io::Write;

use hob_tests::home::Up;
use hob_tests::{long, until};
use rustix::process::Signal;

use crate::services::House;
use crate::updates::{publish_as, serve_images};

/// What each service needs: its `needs`, the service whose network it shares, and all of the tier before its own.
const NEEDS: [(&str, &[&str]); 6] = [
    ("db", &[]),
    ("cache", &[]),
    ("vpn", &[]),
    ("app", &["db", "cache", "vpn"]),
    ("torrents", &["db", "cache", "vpn"]),
    ("web", &["app", "torrents"]),
];

/// The one whose image comes from a registry.
const PUBLISHED: &str = "db";

/// The time within which hob must know of an end, and a start that was under way then comes to its end, in seconds. Podman
/// starts the container whose network is shared by itself when it ended during such a start; hob stops who got in.
const NOTICED_S: f64 = 1.0;

fn homelab(version: u32) -> String {
    let declare = |name: &str, tier: &str, more: &str| {
        let image = if name == PUBLISHED { "localhost:5000/db:1" } else { "IMAGE" };
        format!(
            r#"let {name} = service("{name}", #{{ tier: "{tier}", image: "{image}", update: #{{ settle: "300ms" }}, ready: log("ready {name}"), {more}
    stop_signal: "SIGKILL", stop_timeout: "1s", restart: #{{ backoff: "50ms" }}, volumes: ["SHARED:/shared"], ulimits: LIMITS,
    command: ["sh", "-c", "t() {{ cut -d' ' -f1 /proc/uptime; }}; echo start {name} `t` >> /shared/story; sleep 0.2; echo ready {name} `t` >> /shared/story; echo ready {name}; exec sleep 1000"] }});
"#
        )
    };
    let image = format!(r#"env: #{{ VERSION: "{version}" }}, "#);
    [
        r#"homelab(#{ name: "house" }); tier("core"); tier("apps", #{ after: "core" }); tier("edge", #{ after: "apps" });"#
            .to_owned(),
        declare("db", "core", &image),
        declare("cache", "core", ""),
        declare("vpn", "core", ""),
        declare("app", "apps", "needs: [db, cache],"),
        declare("torrents", "apps", "network: via(vpn),"),
        declare("web", "edge", ""),
    ]
    .concat()
}

/// The starts that came too early, each with what was not ready.
fn violations(story: &[String]) -> Vec<String> {
    /// What is known of a service: whether it is ready, and since when it is not for a reason from outside.
    #[derive(Default)]
    struct Known {
        ready: bool,
        gone: Option<f64>,
    }
    let needs: BTreeMap<&str, &[&str]> = NEEDS.into_iter().collect();
    let mut known: BTreeMap<&str, Known> = BTreeMap::new();
    let mut found = Vec::new();
    for line in story {
        let [what, name, at] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let at: f64 = at.parse().expect("a time");
        match what {
            "start" => {
                for need in needs[name] {
                    let need_known = known.entry(need).or_default();
                    let recent = need_known.gone.is_some_and(|gone| at - gone <= NOTICED_S);
                    if !recent && (!need_known.ready || need_known.gone.is_some()) {
                        found.push(format!("{name} started at {at} without {need}"));
                    }
                }
                known.entry(name).or_default().ready = false;
            }
            "ready" => *known.entry(name).or_default() = Known { ready: true, gone: None },
            "gone" => known.entry(name).or_default().gone = Some(at),
            other => panic!("{other}"),
        }
    }
    found
}

const NONE: [String; 0] = [];

/// What is done to the house in a round.
#[derive(Clone, Copy, Debug)]
enum Blow {
    KillContainers,
    KillHob,
    RestartService,
    RestartEngine,
    UpdateImage,
    Change,
    DownAndUp,
}

struct World {
    house: House,
    up: Up,
    version: u32,
}

impl World {
    fn uptime() -> f64 {
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    }

    fn kill(&self, name: &str) {
        // One that is not there this moment has ended already.
        if self.house.engine.cli(&["kill", name]).unwrap().status.success() {
            let story = self.house.engine.shared().join("story");
            let mut story = std::fs::OpenOptions::new().append(true).open(story).unwrap();
            writeln!(story, "gone {name} {}", Self::uptime()).unwrap();
        }
    }

    fn again(&mut self) {
        self.up = self.house.home.up("lab", &["--on-exit", "keep"]);
    }

    fn strike(&mut self, blow: Blow, rng: &mut fastrand::Rng) {
        let names: Vec<&str> = rng.choose_multiple(NEEDS.map(|(name, _)| name), rng.clone().usize(1..4));
        match blow {
            Blow::KillContainers => names.iter().for_each(|name| self.kill(name)),
            Blow::KillHob => {
                House::signal(&self.up, Signal::KILL);
                let _ = self.up.process.end();
                if rng.bool() {
                    names.iter().for_each(|name| self.kill(name));
                }
                self.again();
            }
            Blow::RestartService => {
                let _ = self.house.home.hob(&["restart", names[0]]).exits(0);
            }
            Blow::RestartEngine => {
                self.house.engine.stop_engine().unwrap();
                if rng.bool() {
                    names.iter().for_each(|name| self.kill(name));
                }
                self.house.engine.start_engine().unwrap();
            }
            Blow::UpdateImage => {
                self.version += 1;
                publish_as(&self.house, PUBLISHED, &self.version.to_string(), "");
                let _ = self.house.home.hob(&["update", PUBLISHED]).exits(0);
            }
            Blow::Change | Blow::DownAndUp => {
                House::stop(&mut self.up);
                if matches!(blow, Blow::Change) {
                    self.version += 1;
                    self.house.write(&homelab(self.version));
                } else {
                    let _ = self.house.home.hob(&["down", "lab"]).exits(0);
                }
                self.again();
            }
        }
    }

    fn heals(&self) {
        until("all services are ready", || {
            let status = self.house.home.json(&["status"]);
            let services = status["services"].as_array().expect("services are a list");
            let runs = |name: &str| {
                let format = ["inspect", "--format", "{{.State.Running}}", name];
                String::from_utf8_lossy(&self.house.engine.cli(&format).unwrap().stdout).trim() == "true"
            };
            let ready = services.iter().all(|it| it["state"] == "ready");
            (ready && NEEDS.iter().all(|(name, _)| runs(name))).then_some(())
        });
        until("the tunnel is shared", || {
            (self.house.network("torrents") == self.house.network("vpn")).then_some(())
        });
    }
}

#[test]
fn a_start_too_early_is_seen() {
    let story = |text: &str| text.split(", ").map(str::to_owned).collect::<Vec<_>>();
    let core = "start db 1, ready db 2, start cache 2, ready cache 2, start vpn 1, ready vpn 1";
    assert_eq!(violations(&story(&format!("{core}, start app 2"))), NONE);
    assert_eq!(violations(&story(&format!("{core}, start db 3, start app 4"))).len(), 1);
    assert_eq!(violations(&story(&format!("{core}, gone db 3, start app 3.5"))), NONE);
    assert_eq!(violations(&story(&format!("{core}, gone db 3, start app 5"))).len(), 1);
    assert_eq!(violations(&story(&format!("{core}, gone db 3, start db 3.2, start app 3.5"))), NONE);
    assert_eq!(
        violations(&story(&format!("{core}, gone vpn 3, start vpn 3.2, start torrents 4.5"))).len(),
        1
    );
}

#[test]
fn nothing_starts_before_what_it_needs_whatever_happens() {
    let Some(house) = House::new(&homelab(0)) else { return };
    serve_images(&house);
    publish_as(&house, PUBLISHED, "0", "");
    let up = house.home.up("lab", &["--on-exit", "keep"]);
    let mut world = World { house, up, version: 0 };
    world.heals();
    let (rounds, seed) = if long() { (200, fastrand::u64(..)) } else { (20, 4) };
    println!("{rounds} rounds, seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let blows = [
        Blow::KillContainers,
        Blow::KillHob,
        Blow::RestartService,
        Blow::RestartEngine,
        Blow::UpdateImage,
        Blow::Change,
        Blow::DownAndUp,
    ];
    for round in 0..rounds {
        let blow = blows[rng.usize(..blows.len())];
        println!("round {round}: {blow:?}");
        world.strike(blow, &mut rng);
        world.heals();
        let story = world.house.story();
        assert_eq!(violations(&story), NONE, "seed {seed}, round {round} ({blow:?}): {story:#?}");
    }
    println!(
        "{} starts, each after what it needs",
        world.house.story().iter().filter(|it| it.starts_with("start")).count()
    );
    House::stop(&mut world.up);
}
