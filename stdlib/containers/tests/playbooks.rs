//! The playbooks of `examples/containers`, run as they stand against real engines.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // tests

mod world;

use std::path::Path;
use std::sync::Arc;

use hob_engine::{Bundle, Evaluated, Mode};
use hob_lab::engine::{Engine, Kind};
use hob_model::{RunEntry, Value};
use hob_primitive::{Ports, Registry};
use hob_std_containers::{ContainersPort, live::Live, primitives};
use hob_testkit::{Scripts, on_script_stack};
use serde_json::{Value as Json, json};
use world::list;

/// An engine of its own: the playbooks' names and ports are what they are.
struct Lab {
    engine: Engine,
    scripts: Scripts,
}

impl Lab {
    fn start(kind: Kind) -> Option<Self> {
        let engine = world::start(kind)?;
        let env = vec![("CONTAINER_HOST".to_owned(), engine.socket().to_string_lossy().into_owned())];
        let mut ports = Ports::default();
        ports.insert::<dyn ContainersPort>(Arc::new(Live::new(env)));
        Some(Self { engine, scripts: Scripts::new(Registry::new(primitives()).unwrap(), ports) })
    }

    fn play(&self, name: &str, input: Json) -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/containers").join(name);
        let bundle = Arc::new(Bundle::of_text(name, &std::fs::read_to_string(path).unwrap(), "test", ""));
        let (entry, input) = (RunEntry::Playbook(name.to_owned()), Value::from_json(input).unwrap());
        match self.scripts.evaluate(&bundle, entry, input, &self.engine.shared(), Mode::Live) {
            Evaluated::Succeeded(value) => value,
            Evaluated::Failed { error, .. } => panic!("{name}: {error} {:?}", error.hint),
            other => panic!("{name}: {other:?}"),
        }
    }

    fn inside(&self, container: &str, cmd: &[&str]) -> String {
        let said = self.engine.cli(&[&["exec", container], cmd].concat()).unwrap();
        assert!(said.status.success(), "{said:?}");
        String::from_utf8(said.stdout).unwrap()
    }
}

/// What stands in the place of images and directories that the lab has not.
fn extra(more: Json) -> Json {
    let mut extra =
        world::whole(json!({"command": "sleep 1000", "volumes": ["/tmp:/config"], "pull_policy": "never"}));
    extra.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    extra
}

#[test]
fn media_services() {
    for kind in [Kind::Podman, Kind::RootlessPodman, Kind::Docker] {
        on_script_stack(move || Lab::start(kind).iter().for_each(media));
    }
}

fn media(lab: &Lab) {
    let first = lab.play("media.rhai", json!({"extra": extra(json!({}))}));
    for name in ["sonarr", "radarr"] {
        assert_eq!(list(first.get(name).unwrap()), [Value::from("it did not exist")]);
        assert_eq!(lab.inside(name, &["sh", "-c", "echo $TZ"]), "Europe/Berlin\n");
    }
    let again = lab.play("media.rhai", json!({"extra": extra(json!({}))}));
    assert!(["sonarr", "radarr"].iter().all(|name| list(again.get(name).unwrap()).is_empty()), "{again:?}");
}

#[test]
fn a_container_with_a_card() {
    for kind in [Kind::Podman, Kind::Docker] {
        on_script_stack(move || Lab::start(kind).iter().for_each(card));
    }
}

fn card(lab: &Lab) {
    // Other devices stand in the place of the card's.
    let devices = json!(["/dev/null:/dev/nvidia0:rwm", "/dev/zero:/dev/nvidiactl:rwm"]);
    let input = json!({"devices": devices, "extra": extra(json!({"shm_size": "64M"}))});
    lab.play("gpu.rhai", input);
    assert_eq!(lab.inside("frigate", &["sh", "-c", "head -c 4 /dev/nvidiactl | wc -c"]).trim(), "4");
    assert_eq!(lab.inside("frigate", &["sh", "-c", "echo x > /dev/nvidia0; echo $USE_FP16"]), "false\n");
    assert!(lab.inside("frigate", &["df", "-h"]).contains("64.0M"));
    if lab.engine.kind() == Kind::Docker {
        return; // older than its support for CDI names
    }
    // By its name alone; the specification of another device stands in the place of the driver's.
    let specification = r#"{
            "cdiVersion": "0.3.0", "kind": "nvidia.com/gpu", "devices": [{"name": "all", "containerEdits": {
                "deviceNodes": [{"path": "/dev/nvidia0", "type": "c", "major": 1, "minor": 5}]
            }}]
        }"#;
    std::fs::write(lab.engine.cdi().join("nvidia.json"), specification).unwrap();
    let input = json!({"devices": ["nvidia.com/gpu=all"], "extra": extra(json!({"shm_size": "64M"}))});
    lab.play("gpu.rhai", input.clone());
    assert_eq!(lab.inside("frigate", &["sh", "-c", "head -c 4 /dev/nvidia0 | wc -c"]).trim(), "4");
    assert_eq!(lab.play("gpu.rhai", input).get("changed"), Some(&Value::Bool(false)));
}

#[test]
fn clients_behind_a_vpn() {
    for kind in [Kind::Podman, Kind::RootlessPodman, Kind::Docker] {
        on_script_stack(move || Lab::start(kind).iter().for_each(vpn));
    }
}

fn vpn(lab: &Lab) {
    let key = lab.engine.shared().join("key");
    std::fs::write(&key, "secret").unwrap();
    let vpn = json!({"secrets": {"wireguard_private_key": key.to_str().unwrap()}});
    let play = |vpn: &Json| lab.play("vpn.rhai", json!({"vpn": vpn, "extra": extra(json!({}))}));
    play(&vpn);
    assert_eq!(lab.inside("gluetun", &["cat", "/run/secrets/wireguard_private_key"]), "secret");
    let net = |name| lab.inside(name, &["readlink", "/proc/self/ns/net"]);
    assert_eq!(net("gluetun"), net("qbittorrent"));
    assert_eq!(net("gluetun"), net("sabnzbd"));

    // The VPN container is another one: the clients must not stay in the network that is gone.
    let mut other = vpn.clone();
    other["labels"] = json!({"changed": "yes"});
    let it = play(&other);
    assert_eq!(list(it.get("vpn").unwrap()), [Value::from("label changed is new: yes")]);
    assert_eq!(list(it.get("recreated").unwrap()).len(), 2);
    assert_eq!(net("gluetun"), net("qbittorrent"));
    let quiet = play(&other);
    assert!(list(quiet.get("recreated").unwrap()).is_empty());
    let ps = lab.engine.cli(&["ps", "--all", "--format", "{{.Names}}"]).unwrap();
    let mut names: Vec<String> = String::from_utf8(ps.stdout).unwrap().lines().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, ["gluetun", "qbittorrent", "sabnzbd"], "nothing old is left");
}
