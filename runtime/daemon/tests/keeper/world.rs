//! A homelab that is kept, whose services run in memory.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hob_daemon::declared::read_homelab;
use hob_daemon::keeper::Keeper;
use hob_daemon::settings::Settings;
use hob_engine::{Base, Bundle, InlinePerformer};
use hob_journal::{Journal, MemoryJournal};
use hob_primitive::{Ports, Registry, ServiceRequest};
use hob_runs::{InlineSpawner, NoListener, Parts, Runs};
use hob_supervisor::Supervisors;
use hob_supervisor::fake::Fake;
use hob_testkit::TestClock;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// A homelab that is kept.
pub(crate) struct World {
    pub(crate) keeper: Keeper,
    pub(crate) services: Arc<Fake>,
    journal: Arc<MemoryJournal>,
}

impl World {
    pub(crate) fn new(homelab: &str) -> Self {
        let (journal, ids) = (Arc::new(MemoryJournal::default()), AtomicU64::new(0));
        let runs = Runs::new(Parts {
            journal: Arc::clone(&journal) as Arc<dyn Journal>,
            registry: Arc::new(Registry::new(vec![]).unwrap()),
            ports: Arc::new(Ports::default()),
            clock: Arc::new(TestClock::default()),
            performer: Arc::new(InlinePerformer),
            spawner: Arc::new(InlineSpawner::default()),
            listener: Arc::new(NoListener),
            turns: None,
            entropy: Box::new(move || {
                let mut bytes = [0; 10];
                bytes[2..].copy_from_slice(&ids.fetch_add(1, Ordering::SeqCst).to_be_bytes());
                bytes
            }),
            dry: false,
        });
        let bundle = Arc::new(Bundle::of_text("homelab.rhai", homelab, "/lab", "host"));
        let base = Base { directory: Path::new("/lab"), home: None };
        let (homelab, _) = read_homelab(runs.host(), &bundle, base, &Settings::default()).unwrap();
        let services = Arc::new(Fake::default());
        let keeper = Keeper::over(runs, homelab, Supervisors::new(Arc::clone(&services) as Arc<_>));
        keeper.begin().unwrap();
        let world = Self { keeper, services, journal };
        // The first look may have begun before services were ready, and leaves out what changed since; the second one begins
        // when the first has ended.
        (0..2).for_each(|_| world.look_after(Duration::from_secs(3)));
        world
    }

    pub(crate) fn ask(&self, name: &str, request: &ServiceRequest) {
        self.keeper.ask(name, request).unwrap();
    }

    /// Lets time pass, and has the keeper look at all that runs after it.
    pub(crate) fn look_after(&self, time: Duration) {
        self.services.pass(time);
        let before = self.services.surveys();
        self.until("it was looked", |_| {
            // Time goes on for the look before this one, too.
            self.services.pass(Duration::from_millis(100));
            let _status = self.keeper.status();
            self.services.surveys() > before
        });
    }

    pub(crate) fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !so(self) {
            assert!(begun.elapsed() < DEADLINE, "{what}: {:#}", self.keeper.status());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn service(&self, name: &str) -> serde_json::Value {
        let status = self.keeper.status();
        let all = status["services"].as_array().unwrap();
        all.iter().find(|it| it["name"] == name).unwrap().clone()
    }

    pub(crate) fn note(&self, name: &str) -> String {
        self.service(name)["note"].as_str().unwrap().to_owned()
    }

    pub(crate) fn is_ready(&self, name: &str) -> bool {
        self.service(name)["ready"] == true
    }

    /// How often a service was started.
    pub(crate) fn starts(&self, name: &str) -> usize {
        self.services.starts().iter().filter(|it| *it == name).count()
    }

    /// What happened to a service, without what it was begun with.
    pub(crate) fn events(&self, name: &str) -> Vec<String> {
        let origin = format!("service:{name}");
        let rows = self.journal.events(0, usize::MAX).unwrap();
        rows.into_iter().filter(|row| row.origin == origin).map(|row| row.name).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.keeper.end(true);
    }
}
