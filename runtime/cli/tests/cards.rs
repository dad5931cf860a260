//! A container that uses a graphics card: it is given the devices that the machine has, and a plan knows which these were.
#![allow(clippy::unwrap_used)] // a test

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use hob_daemon::keeper::{observe, open_supervisors};
use hob_journal::{Commit, Journal, MemoryJournal, Write};
use hob_model::{Source, Value};
use hob_planner::{Action, Goal, Homelab, Plan, Raw, Surroundings};
use hob_primitive::Ports;
use hob_std_containers::fake::{Fake as Engine, IMAGE};
use hob_std_containers::{ContainersPort, service::Containers};
use hob_std_gpu::GpuPort;
use hob_std_gpu::fake::{FakeGpu, Machine};
use hob_std_gpu::port::{Card, CdiFile, Vendor};
use hob_std_gpu::share::SharedCards;
use hob_supervisor::{Graphics, ServiceKind, Spec};
use jiff::tz::TimeZone;
use serde_json::json;

const NODES: [&str; 3] = ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"];

const CDI: &str = r#"{ "cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [{ "name": "all",
    "containerEdits": { "deviceNodes": [{ "path": "/dev/nvidia0" }] } }] }"#;

struct Lab {
    engine: Engine,
    cards: Arc<FakeGpu>,
    ports: Ports,
    journal: MemoryJournal,
    state: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let mut card = Card::new(Vendor::Nvidia, "GPU-5fd2", "Quadro P1000");
        (card.index, card.minor, card.compute) = (Some(0), Some(0), Some((6, 1)));
        let paths: BTreeSet<_> = NODES.iter().map(Into::into).collect();
        let cards = Arc::new(FakeGpu::new(Machine { cards: vec![card], paths, ..Machine::default() }));
        let (engine, mut ports) = (Engine::new(), Ports::default());
        let port: Arc<dyn ContainersPort> = Arc::new(engine.clone());
        ports.add::<dyn ServiceKind>(Arc::new(Containers::new(port)));
        let port: Arc<dyn GpuPort> = Arc::clone(&cards) as Arc<dyn GpuPort>;
        ports.insert::<dyn Graphics>(Arc::new(SharedCards(port)));
        let state = tempfile::tempdir().unwrap();
        Self { engine, cards, ports, journal: MemoryJournal::new(), state }
    }

    fn homelab(&self, gpu: serde_json::Value) -> Homelab {
        let options = json!({ "image": IMAGE, "command": ["sleep", "9"], "devices": "/dev/dri", "gpu": gpu });
        let declared = Raw {
            kind: "service".to_owned(),
            name: "frigate".into(),
            options: Value::from_json(options).unwrap(),
            closures: Vec::new(),
            source: Source { file: "homelab.rhai".into(), line: 1, column: 1 },
        };
        let kinds = self.ports.all::<dyn ServiceKind>();
        let surroundings = Surroundings {
            zones: jiff::tz::db(),
            zone: TimeZone::UTC,
            directory: Path::new("/lab"),
            kinds: &kinds.iter().map(|it| it.kind()).collect::<Vec<_>>(),
            host: None,
        };
        let (homelab, diagnostics) = Homelab::read(&[declared], &surroundings);
        assert_eq!(diagnostics, []);
        homelab
    }

    /// Starts it, and records that as the keeper does.
    fn start(&self, homelab: &Homelab) -> Vec<String> {
        let supervisors = open_supervisors(&self.journal, &self.ports, self.state.path()).unwrap();
        let service = homelab.service("frigate").unwrap();
        assert!(service.body.takes_gpu());
        let devices = supervisors.graphics().unwrap().devices(None).unwrap();
        let spec = Spec { devices: devices.clone(), ..Spec::from(service) };
        let started = supervisors.of("container").unwrap().start(&spec, "key").unwrap();
        let fact = Value::map([
            ("kind", Value::from("container")),
            ("fields", service.fields()),
            ("instance", Value::from(started.running.instance.to_string())),
            ("digest", Value::from(service.digest().to_string())),
            ("given", Value::map([("devices", Value::from(devices.clone()))])),
        ]);
        let key = "service/frigate".to_owned();
        self.journal.submit(Commit::one(Write::Fact { key, value: Some(fact) }));
        devices
    }

    fn stop(&self) {
        let supervisors = open_supervisors(&self.journal, &self.ports, self.state.path()).unwrap();
        let _ = supervisors.of("container").unwrap().stop("frigate", std::time::Duration::ZERO).unwrap();
    }

    fn plan(&self, homelab: &Homelab) -> Vec<Action> {
        let observed = observe(&self.journal, &self.ports, self.state.path(), homelab).unwrap();
        Plan::new(homelab, &observed, Goal::Up).changes.iter().map(|change| change.action).collect()
    }

    /// The devices of the container, by path and by name.
    fn devices(&self) -> Vec<String> {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let found = runtime.block_on(async {
            let port: &dyn ContainersPort = &self.engine;
            port.engine(None, &[]).await.unwrap().inspect("frigate").await.unwrap()
        });
        let host = found.host_config.unwrap();
        let paths = host.devices.into_iter().flatten().filter_map(|it| it.path_on_host);
        let names = host.device_requests.into_iter().flatten().filter_map(|it| it.device_ids).flatten();
        paths.chain(names).collect()
    }
}

#[test]
fn a_container_gets_the_devices_of_its_card() {
    let lab = Lab::new();
    let homelab = lab.homelab(json!({ "vram": "2G", "priority": 7 }));
    assert_eq!(lab.start(&homelab), NODES);
    assert_eq!(lab.devices(), ["/dev/dri", NODES[0], NODES[1], NODES[2]]);
    assert_eq!(lab.plan(&homelab), [], "what it was given is no difference");
    let more = lab.homelab(json!({ "vram": "3G", "priority": 8, "full": "make_room" }));
    assert_eq!(lab.plan(&more), [Action::Update], "no new container for a promise");
    assert_eq!(lab.plan(&lab.homelab(json!({ "index": 0 }))), [Action::Recreate]);
    assert_eq!(lab.plan(&lab.homelab(json!(false))), [Action::Recreate]);

    // From the next start on, a specification that names the card is used; it has a new container for that.
    let file = CdiFile { path: "/etc/cdi/nvidia.json".into(), text: CDI.to_owned() };
    lab.cards.change(|machine| machine.cdi_files.push(file));
    assert_eq!(lab.plan(&homelab), []);
    lab.stop();
    assert_eq!(lab.start(&homelab), ["nvidia.com/gpu=all"]);
    assert_eq!(lab.devices(), ["/dev/dri", "nvidia.com/gpu=all"]);
    assert_eq!(lab.plan(&homelab), []);
}

#[test]
fn what_a_card_takes_is_named_where_it_is_missing() {
    let lab = Lab::new();
    lab.cards.change(|machine| machine.paths.retain(|path| path != Path::new(NODES[2])));
    let supervisors = open_supervisors(&lab.journal, &lab.ports, lab.state.path()).unwrap();
    let refused = supervisors.graphics().unwrap().devices(Some("GPU-5fd2")).unwrap_err();
    assert!(refused.message.contains("needs /dev/nvidia-uvm, which is not there"), "{refused}");
    assert!(refused.hint.unwrap().contains("nvidia-modprobe"));
}
