//! A plan looks, and does nothing else: of 200 services that run as declared, every call to a port is recorded.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test, with real processes

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, NetworkingConfig};
use hob_daemon::keeper::{observe, open_supervisors};
use hob_journal::{Commit, Journal, MemoryJournal, Write};
use hob_model::{Source, Value};
use hob_planner::declaration::PROCESS;
use hob_planner::{Change, Goal, Homelab, Plan, Raw, Surroundings};
use hob_primitive::Ports;
use hob_std_containers::fake::IMAGE;
use hob_std_containers::{ContainersPort, fake::Fake as Engine, service::Containers};
use hob_std_units::port::{Scope, UnitFile, UnitsPort};
use hob_std_units::{fake::Fake as Manager, service::Units};
use hob_supervisor::{Running, ServiceKind, Spec};
use jiff::tz::TimeZone;
use serde_json::json;

const CONTAINERS: usize = 140;
const UNITS: usize = 50;
const PROCESSES: usize = 10;

/// The calls that change nothing, of both ports; `engine` connects to one.
const LOOKS: [&str; 7] = ["edits", "engine", "image", "images", "inspect", "list", "lives"];

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
        name: name.into(),
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

/// What runs as declared, and what hob knows of it.
struct Lab {
    world: World,
    ports: Ports,
    journal: MemoryJournal,
    state: tempfile::TempDir,
    homelab: Homelab,
    processes: Vec<Running>,
}

impl Lab {
    fn new() -> Self {
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
            let kind = service.body.kind();
            let started = supervisors.of(kind).unwrap().start(&Spec::from(service), &service.name).unwrap();
            let fact = Value::map([
                ("kind", Value::from(kind)),
                ("fields", service.fields()),
                ("instance", Value::from(started.running.instance.to_string())),
                ("digest", Value::from(service.digest().to_string())),
            ]);
            let key = format!("service/{}", service.name);
            // Of processes the test keeps what it needs to end them, and the journal nothing.
            if kind != PROCESS {
                journal.submit(Commit::one(Write::Fact { key, value: Some(fact) }));
            }
        }
        let processes = supervisors.of(PROCESS).unwrap().observe().unwrap();
        assert!(world.calls().contains_key("create"), "calls are recorded");
        Self { world, ports, journal, state, homelab, processes }
    }

    fn plan(&self) -> Plan {
        self.plan_with(&self.journal)
    }

    fn plan_with(&self, journal: &MemoryJournal) -> Plan {
        let observed = observe(journal, &self.ports, self.state.path(), &self.homelab).unwrap();
        Plan::new(&self.homelab, &observed, Goal::Up)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let supervisors = open_supervisors(&self.journal, &self.ports, self.state.path()).unwrap();
        let processes = supervisors.of(PROCESS).unwrap();
        for life in &self.processes {
            processes.stop(&life.name, Duration::ZERO).unwrap();
        }
    }
}

#[test]
fn a_plan_of_200_services_asks_and_changes_nothing() {
    let lab = Lab::new();
    let plan = lab.plan();
    let calls = lab.world.calls();
    assert_eq!(plan.changes, [], "{plan}");
    assert_eq!(plan.unchanged.len(), CONTAINERS + UNITS + PROCESSES);
    let acting: Vec<&String> = calls.keys().filter(|method| !LOOKS.contains(&method.as_str())).collect();
    assert!(acting.is_empty(), "{acting:?}");
    // What the journal has is in the list, and there is no doubt about any.
    assert_eq!((calls["list"], calls["images"], calls["lives"]), (1, 1, 1), "{calls:?}");
    assert_eq!(calls.get("inspect"), None, "{calls:?}");
    let supervisors = open_supervisors(&lab.journal, &lab.ports, lab.state.path()).unwrap();
    assert_eq!(supervisors.of(PROCESS).unwrap().observe().unwrap(), lab.processes);

    // What the journal does not have is looked at closely: it may be anybody's, with the labels of hob's.
    let plan = lab.plan_with(&MemoryJournal::new());
    assert_eq!(plan.changes, [], "{plan}");
    assert_eq!(lab.world.calls()["inspect"], CONTAINERS);
}

#[test]
fn what_was_changed_by_hand_is_in_the_plan() {
    let lab = Lab::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engine = runtime.block_on(lab.world.engine.engine(None, &[])).unwrap();
    let found = runtime.block_on(engine.inspect("c7")).unwrap();
    let id = found.id.unwrap();
    let networks = found.network_settings.unwrap().networks.unwrap();
    let (network, mut endpoint) = networks.into_iter().next().expect("it is in the homelab's network");
    let fields = |plan: &Plan| -> Vec<(String, Vec<String>)> {
        let fields = |change: &Change| change.diff.iter().map(|it| it.field.clone()).collect();
        plan.changes.iter().map(|change| (change.resource.name.clone(), fields(change))).collect()
    };

    // It is reached by another name in its network now.
    endpoint.aliases = Some(vec!["other".to_owned()]);
    runtime.block_on(engine.network_rejoin(&network, &id, endpoint)).unwrap();
    lab.world.calls();
    let plan = lab.plan();
    let alias = format!("network {network} alias c7");
    assert!(fields(&plan).contains(&("c7".to_owned(), vec![alias])), "{plan}");
    assert_eq!(lab.world.calls()["inspect"], 1, "only the one in doubt is looked at closely");
}

#[test]
fn what_somebody_put_in_the_place_of_a_service_is_compared_field_by_field() {
    let lab = Lab::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engine = runtime.block_on(lab.world.engine.engine(None, &[])).unwrap();
    let found = runtime.block_on(engine.inspect("c9")).unwrap();
    // The same labels and the same name, and another command.
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(vec!["sleep".to_owned(), "7".to_owned()]),
        env: found.config.as_ref().and_then(|config| config.env.clone()),
        labels: found.config.as_ref().and_then(|config| config.labels.clone()),
        networking_config: Some(NetworkingConfig {
            endpoints_config: found.network_settings.and_then(|it| it.networks),
        }),
        ..Default::default()
    };
    runtime.block_on(engine.remove(&found.id.unwrap(), true, false)).unwrap();
    let id = runtime.block_on(engine.create("c9", body)).unwrap();
    runtime.block_on(engine.start(&id)).unwrap();
    let plan = lab.plan();
    let change = plan.changes.iter().find(|change| change.resource.name == "c9").expect("it is another one");
    let command = change.diff.iter().find(|it| it.field == "command").expect("its command is another one");
    assert_eq!((&command.from, &command.to), (&Value::from("sleep 7"), &Value::from("sleep 1000")));
}
