//! The examples `family` and `workshop` boot: with stand-ins for their images, on a real Podman, tier by tier.

use std::collections::BTreeMap;

use hob_lab::engine::IMAGE;
use serde_json::{Value as Json, json};

use crate::services::{House, LIMITS};

/// Where stand-ins find their program and tell their story.
const STAGE: &str = "/stage";

/// What stands in for the program of an image: it tells when it starts and when it is ready, in seconds since the machine
/// started. Its second argument is the port where it listens, or how it goes on.
const STAND_IN: &str = r#"
told() { echo "$1 $2 $(cut -d' ' -f1 /proc/uptime)" >>/stage/story; }
told start "$1"
sleep 0.1
told ready "$1"
touch /ready
case $2 in
completed) exit 0 ;;
running) exec sleep 1000 ;;
*) exec httpd -f -p "$2" -h /stage/www ;;
esac
"#;

/// An example with stand-ins for images, and directories of the test for those of the machine.
struct Play<'h> {
    house: &'h House,
    /// The services that are containers, in the order in which they are declared.
    services: Vec<String>,
}

impl<'h> Play<'h> {
    fn prepare(house: &'h House, example: &str, machine: &[&str]) -> Self {
        let shared = house.engine.shared();
        let text = on_stage(house, example, machine);
        for dir in machine.iter().filter(|dir| dir.starts_with("/mnt")) {
            mount_in(house, &shared.join(dir.trim_start_matches('/')));
        }
        std::fs::write(shared.join("run"), STAND_IN).unwrap();
        let mut services = Vec::new();
        let mut pieces = text.split("service(\"");
        let mut adapted = pieces.next().expect("a text has a beginning").to_owned();
        for piece in pieces {
            let name = piece.split('"').next().expect("a service has a name").to_owned();
            adapted.push_str("service(\"");
            adapted.push_str(&stand_in(house, &name, piece));
            services.push(name);
        }
        house.home.write("lab/homelab.rhai", adapted);
        Self { house, services }
    }

    /// When each service told what it did, by its name.
    fn told(&self, what: &str) -> BTreeMap<String, f64> {
        let story = self.house.story();
        let words = story.iter().map(|line| line.split(' ').collect::<Vec<_>>());
        let told = words.filter(|words| words[0] == what);
        told.map(|words| (words[1].to_owned(), words[2].parse().expect("a time"))).collect()
    }

    /// Boots it: each tier starts when the one before is ready, and then there is nothing left to do.
    fn boots(&self, tiers: &[&str]) {
        let mut up = self.house.home.up("lab", &[]);
        let status = self.house.home.json(&["status"]);
        let named: Vec<&Json> =
            status["tiers"].as_array().unwrap().iter().map(|tier| &tier["name"]).collect();
        assert_eq!(named, tiers);
        let (starts, ready) = (self.told("start"), self.told("ready"));
        assert_eq!(starts.len(), self.services.len(), "{status}");
        let members = |tier: &str| -> Vec<&str> {
            let services = status["services"].as_array().unwrap().iter();
            let of_tier = services.filter(|it| it["tier"] == tier && it["kind"] == "container");
            of_tier.map(|it| it["name"].as_str().unwrap()).collect()
        };
        let with_containers: Vec<&str> =
            tiers.iter().copied().filter(|tier| !members(tier).is_empty()).collect();
        for pair in with_containers.windows(2) {
            let reached = members(pair[0]).iter().map(|name| ready[*name]).fold(0.0, f64::max);
            let begun = members(pair[1]).iter().map(|name| starts[*name]).fold(f64::MAX, f64::min);
            assert!(reached <= begun, "{pair:?}: {starts:#?} {ready:#?}");
        }
        let plan = self.house.home.hob(&["plan", "lab", "--json"]).exits(0).json();
        let all = status["services"].as_array().unwrap().len();
        assert_eq!((&plan["changes"], &plan["unchanged"]), (&json!([]), &json!(all)));
        self.house.home.json(&["setup", "list"]).as_array().unwrap().iter().for_each(|step| {
            let name = step["name"].as_str().unwrap();
            hob_tests::until(name, || {
                let steps = self.house.home.json(&["setup", "list"]);
                let is_done = |it: &Json| it["name"] == name && it["state"] == "done";
                steps.as_array().unwrap().iter().any(is_done).then_some(())
            });
        });
        House::stop(&mut up);
    }

    fn before(&self, first: &str, then: &str) {
        assert!(self.told("ready")[first] <= self.told("start")[then], "{first}, {then}");
    }
}

/// A text with directories of the test for those of the machine.
fn on_stage(house: &House, text: &str, machine: &[&str]) -> String {
    let shared = house.engine.shared();
    machine.iter().fold(text.to_owned(), |text, dir| text.replace(dir, &format!("{}{dir}", shared.display())))
}

/// Has a file system be there that an example needs, in the lab alone.
fn mount_in(house: &House, path: &std::path::Path) {
    std::fs::create_dir_all(path).unwrap();
    let mut mount = house.engine.inside("mount").expect("the lab is there");
    let mounted = mount.args(["-t", "tmpfs", "tmpfs"]).arg(path).output().expect("mount is there");
    assert!(mounted.status.success(), "{mounted:?}");
}

/// What stands in a text from `begin` up to `end`.
fn between<'t>(text: &'t str, begin: &str, end: &str) -> Option<&'t str> {
    text.split_once(begin)?.1.split_once(end).map(|(between, _)| between)
}

/// The declaration of a service, with a stand-in for its image that passes its gate, and no earlier than it says.
fn stand_in(house: &House, name: &str, declaration: &str) -> String {
    let shared = house.engine.shared();
    let mode = match between(declaration, " port: ", ",") {
        _ if declaration.contains("completed()") => "completed",
        Some(port) => port.trim_end_matches(" })"),
        None => "running",
    };
    let mut volumes = format!("\"{}:{STAGE}\"", shared.display());
    if let Some(path) = between(declaration, "http(\"/", "\"") {
        let page = if path.ends_with('/') { format!("{path}index.html") } else { path.to_owned() };
        let page = shared.join("www").join(page);
        std::fs::create_dir_all(page.parent().expect("it is below www")).unwrap();
        std::fs::write(page, "well").unwrap();
    }
    if let Some(check) = between(declaration, "exec([\"", "\"") {
        let program = shared.join(check);
        std::fs::write(&program, "#!/bin/sh\ntest -e /ready\n").unwrap();
        crate::set_mode(&program, 0o755);
        volumes.push_str(&format!(", \"{}:/bin/{check}\"", program.display()));
    }
    let image = between(declaration, "image: \"", "\"").expect("it is a container");
    let stands_in = format!(
        r#""{IMAGE}", entrypoint: ["sh", "{STAGE}/run", "{name}", "{mode}"], stop_signal: "SIGKILL", ulimits: {LIMITS}"#
    );
    let mut adapted = declaration.replace(&format!("\"{image}\""), &stands_in);
    // The devices of the example are not those of the lab.
    if let Some(devices) = between(declaration, "devices: [", "],") {
        adapted = adapted.replace(&format!("devices: [{devices}],"), "");
    }
    match adapted.contains("volumes: [") {
        true => adapted.replace("volumes: [", &format!("volumes: [{volumes}, ")),
        false => adapted.replacen("image: ", &format!("volumes: [{volumes}], image: "), 1),
    }
}

/// The example `family`, with its files on a NAS or on a disk of this machine.
fn a_family_boots(use_nfs: bool) {
    let Some(house) = House::new("") else { return };
    let shared = house.engine.shared();
    let files = if use_nfs { "/mnt/nas1" } else { "/var/lib/media-data" };
    let machine = ["/etc/family", "/var/lib/family", files];
    for (name, text) in [
        ("config", include_str!("../../examples/family/config.rhai")),
        ("places", include_str!("../../examples/family/places.rhai")),
    ] {
        // The lab has no systemd that mounts: another file system is there.
        let text = text
            .replace("use_nfs: true", &format!("use_nfs: {use_nfs}"))
            .replace("nas.lan:/export/media", "tmpfs")
            .replace("nfs4", "tmpfs");
        house.home.write(&format!("lab/{name}.rhai"), on_stage(&house, &text, &machine));
    }
    let play = Play::prepare(&house, include_str!("../../examples/family/homelab.rhai"), &machine);
    std::fs::create_dir_all(shared.join("var/lib/family")).unwrap();
    for step in ["grafana-oidc", "arr-connections"] {
        let program = shared.join("etc/family/setup").join(step);
        std::fs::create_dir_all(program.parent().expect("it is below setup")).unwrap();
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        crate::set_mode(&program, 0o755);
    }
    play.boots(&["infrastructure", "storage", "core", "media", "extras"]);
    play.before("certificates", "traefik");
    play.before("postgres", "authentik");
    play.before("authentik", "authentik-worker");
    play.before("sonarr", "bazarr");
    // All of it is where it is said to be, and nothing is where it is not.
    let is_there = |path: &str| {
        let mut test = house.engine.inside("test").expect("the lab is there");
        test.arg("-d").arg(shared.join(path.trim_start_matches('/'))).status().unwrap().success()
    };
    assert!(is_there(&format!("{files}/data/torrents/books")) && is_there(&format!("{files}/photos")));
    assert_eq!((is_there("/mnt/nas1"), is_there("/var/lib/media-data")), (use_nfs, !use_nfs));
}

#[test]
fn a_family_with_a_nas_boots_in_five_tiers() {
    a_family_boots(true);
}

#[test]
fn a_family_with_a_local_disk_boots_in_five_tiers() {
    a_family_boots(false);
}

#[test]
fn a_workshop_is_deployed_in_order() {
    let Some(house) = House::new("") else { return };
    let machine = ["/etc/workshop", "/var/lib/workshop", "/mnt/share"];
    let play = Play::prepare(&house, include_str!("../../examples/workshop/homelab.rhai"), &machine);
    play.boots(&["storage", "databases", "development", "automation", "virtualization"]);
    play.before("smtp", "gitea");
    play.before("redis", "traefik");
}
