//! A plan looks, and does nothing else: of 200 services that run as declared, every call to a port is recorded.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test, with real processes

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hob_daemon::keeper::{observe, open_supervisors};
use hob_journal::MemoryJournal;
use hob_model::{Source, Value};
use hob_planner::declaration::PROCESS;
use hob_planner::{Goal, Homelab, Plan, Raw, Surroundings};
use hob_primitive::Ports;
use hob_std_containers::fake::IMAGE;
use hob_std_containers::{ContainersPort, fake::Fake as Engine, service::Containers};
use hob_std_units::port::{Scope, UnitFile, UnitsPort};
use hob_std_units::{fake::Fake as Manager, service::Units};
use hob_supervisor::{ServiceKind, Spec};
use jiff::tz::TimeZone;
use serde_json::json;

const CONTAINERS: usize = 140;
const UNITS: usize = 50;
const PROCESSES: usize = 10;

/// The calls that change nothing, of both ports; `engine` connects to one.
const LOOKS: [&str; 6] = ["engine", "facts", "image", "images", "inspect", "list"];

/// The machine: an engine and a manager that write down what they are asked.
struct World {
    engine: Engine,
    manager: Arc<Manager>,
}

impl World {
    fn new() -> Self {
        Self { engine: Engine::new(), manager: Arc::default() }
    }

    fn ports(&self) -> Ports {
        let mut ports = Ports::default();
        let engine: Arc<dyn ContainersPort> = Arc::new(self.engine.clone());
        ports.add::<dyn ServiceKind>(Arc::new(Containers::new(engine)));
        let manager: Arc<dyn UnitsPort> = Arc::clone(&self.manager) as Arc<dyn UnitsPort>;
        ports.add::<dyn ServiceKind>(Arc::new(Units::new(manager)));
        ports
    }

    /// How often each method was called since the last look.
    fn calls(&self) -> BTreeMap<String, usize> {
        let all = self.engine.faults().take_calls().into_iter().chain(self.manager.take_calls());
        all.fold(BTreeMap::new(), |mut counted, method| {
            *counted.entry(method).or_default() += 1;
            counted
        })
    }
}

fn homelab(ports: &Ports, directory: &Path) -> Homelab {
    let service = |name: String, options: serde_json::Value| Raw {
        kind: "service".to_owned(),
        name,
        options: Value::from_json(options).unwrap(),
        closures: Vec::new(),
        source: Source { file: "homelab.rhai".into(), line: 1, column: 1 },
    };
    let containers = (0..CONTAINERS).map(|i| {
        let needs: Vec<String> = (i > 0).then(|| format!("c{}", i - 1)).into_iter().collect();
        service(
            format!("c{i}"),
            json!({ "image": IMAGE, "command": ["sleep", "1000"], "env": { "N": "1" }, "needs": needs }),
        )
    });
    let units = (0..UNITS).map(|i| service(format!("u{i}"), json!({ "unit": format!("u{i}.service") })));
    let processes = (0..PROCESSES).map(|i| service(format!("p{i}"), json!({ "command": ["sleep", "120"] })));
    let declared: Vec<Raw> = containers.chain(units).chain(processes).collect();
    let kinds = ports.all::<dyn ServiceKind>();
    let surroundings = Surroundings {
        zones: jiff::tz::db(),
        zone: TimeZone::UTC,
        directory,
        kinds: &kinds.iter().map(|it| it.kind()).collect::<Vec<_>>(),
        host: None,
    };
    let (homelab, diagnostics) = Homelab::read(&declared, &surroundings);
    assert_eq!(diagnostics, []);
    homelab
}

#[test]
fn a_plan_of_200_services_asks_and_changes_nothing() {
    let (world, state, journal) = (World::new(), tempfile::tempdir().unwrap(), MemoryJournal::new());
    let ports = world.ports();
    let homelab = homelab(&ports, state.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for i in 0..UNITS {
        let file = UnitFile { unit: format!("u{i}.service"), drop_in: None, runtime: false };
        let text = "[Service]\nExecStart=/bin/sleep 1000\n";
        runtime.block_on(world.manager.write(Scope::System, &file, text)).unwrap();
    }
    let supervisors = open_supervisors(&journal, &ports, state.path()).unwrap();
    for service in &homelab.services {
        let supervisor = supervisors.of(service.body.kind()).unwrap();
        supervisor.start(&Spec::from(service), &format!("key of {}", service.name)).unwrap();
    }
    let processes = supervisors.of(PROCESS).unwrap();
    let lives = processes.observe().unwrap();
    assert!(world.calls().contains_key("create"), "calls are recorded");

    let observed = observe(&journal, &ports, state.path(), &homelab).unwrap();
    let plan = Plan::new(&homelab, &observed, Goal::Up);
    let calls = world.calls();
    assert_eq!(plan.changes, [], "{plan}");
    assert_eq!(plan.unchanged.len(), CONTAINERS + UNITS + PROCESSES);
    let acting: Vec<&String> = calls.keys().filter(|method| !LOOKS.contains(&method.as_str())).collect();
    assert!(acting.is_empty(), "{acting:?}");
    // Each is looked at once, and what is asked about all of them only once.
    assert_eq!((calls["list"], calls["inspect"], calls["images"]), (1, CONTAINERS, 1), "{calls:?}");
    assert_eq!(calls["facts"], UNITS, "{calls:?}");
    assert_eq!(processes.observe().unwrap(), lives);

    for life in lives {
        processes.stop(&life.name, Duration::ZERO).unwrap();
    }
}
