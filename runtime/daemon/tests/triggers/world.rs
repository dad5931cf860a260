//! A homelab whose machine, clock, journal and threads are in the hands of the test.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use hob_daemon::admission::Admission;
use hob_daemon::bus::EventTriggers;
use hob_daemon::clock::Machine;
use hob_daemon::declared::read_homelab;
use hob_daemon::schedules::{Launch, ScheduleBell, ScheduleCommand, Scheduling};
use hob_daemon::settings::Settings;
use hob_daemon::triggers;
use hob_engine::{Base, Bundle, InlinePerformer};
use hob_journal::{EventRow, Journal, MemoryJournal, RunFilter};
use hob_model::{Diagnostic, RunEnd, RunId, RunStatus, Timestamp};
use hob_planner::Homelab;
use hob_primitive::{Clock, Ports, Registry};
use hob_runs::{InlineSpawner, Listener, Parts, Runs, WeakRuns};
use hob_scheduler::Clocks;
use serde_json::Value as Json;

/// When each test begins: a Tuesday.
pub(crate) const BEGIN: &str = "2026-06-02T12:00:00Z";

/// The clocks of a machine.
pub(crate) struct Hands {
    wall: AtomicI64,
    boot: AtomicI64,
    monotonic: AtomicI64,
    pub(crate) synchronised: Mutex<Option<bool>>,
}

fn micros(text: &str) -> i64 {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    sign * i64::try_from(hob_model::duration::parse(text).unwrap().as_micros()).unwrap()
}

impl Hands {
    fn new() -> Self {
        let wall: Timestamp = BEGIN.parse().unwrap();
        let (boot, monotonic) = (AtomicI64::new(0), AtomicI64::new(0));
        Self { wall: wall.as_microsecond().into(), boot, monotonic, synchronised: Mutex::new(None) }
    }
    fn pass(&self, by: i64) {
        for clock in [&self.wall, &self.boot, &self.monotonic] {
            clock.fetch_add(by, Ordering::SeqCst);
        }
    }
    /// Sets the time of day: `-1h` back, `1h` forward.
    pub(crate) fn step(&self, by: &str) {
        self.wall.fetch_add(micros(by), Ordering::SeqCst);
    }
    /// The machine sleeps.
    pub(crate) fn suspend(&self, by: &str) {
        self.wall.fetch_add(micros(by), Ordering::SeqCst);
        self.boot.fetch_add(micros(by), Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.wall.load(Ordering::SeqCst)).unwrap()
    }
}

impl Machine for Hands {
    fn clocks(&self) -> Clocks {
        let read = |clock: &AtomicI64| Duration::from_micros(clock.load(Ordering::SeqCst).unsigned_abs());
        Clocks { wall: self.now(), boot: read(&self.boot), monotonic: read(&self.monotonic) }
    }
    fn synchronised(&self) -> Option<bool> {
        *self.synchronised.lock().unwrap()
    }
}

/// Hears what happens to runs, as the daemon does.
#[derive(Default)]
struct Ears {
    bell: Arc<ScheduleBell>,
    admission: OnceLock<(WeakRuns, Arc<Admission>)>,
}

impl Listener for Ears {
    fn changed(&self, run: RunId, status: RunStatus, end: Option<&RunEnd>) {
        if let Some((runs, admission)) = self.admission.get()
            && let Some(runs) = runs.upgrade()
        {
            admission.changed(&runs, run, status, end);
        }
        self.bell.changed(run, status, end);
    }
}

type Read = Result<(Homelab, Vec<Diagnostic>), Vec<Diagnostic>>;

fn read(runs: &Runs, text: &str) -> (Arc<Bundle>, Read) {
    let text = format!("homelab(#{{ name: \"test\", timezone: \"UTC\" }});\n{text}");
    let bundle = Arc::new(Bundle::of_text("homelab.rhai", &text, "/lab", "host"));
    let base = Base { directory: Path::new("/lab"), home: None };
    let homelab = read_homelab(runs.host(), &bundle, base, &Settings::default());
    (bundle, homelab)
}

/// One process that serves the homelab.
pub(crate) struct World {
    pub(crate) hands: Arc<Hands>,
    pub(crate) runs: Runs,
    pub(crate) scheduling: Scheduling,
    pub(crate) launch: Launch,
    pub(crate) homelab: Homelab,
    pub(crate) triggers: EventTriggers,
    journal: Arc<MemoryJournal>,
    spawner: InlineSpawner,
    ids: Arc<AtomicU64>,
}

impl World {
    /// The first process, which serves the homelab `text`.
    pub(crate) fn new(text: &str) -> Self {
        Self::begin(text, None)
    }

    /// The same, with at most so many runs of workflows at one time.
    pub(crate) fn limited(text: &str, runs_max: usize) -> Self {
        Self::begin(text, Some(runs_max))
    }

    fn begin(text: &str, runs_max: Option<usize>) -> Self {
        let (journal, hands) = (Arc::new(MemoryJournal::default()), Arc::new(Hands::new()));
        let world = Self::over(journal, hands, Arc::default(), text, runs_max);
        world.go_on();
        world
    }

    fn over(
        journal: Arc<MemoryJournal>,
        hands: Arc<Hands>,
        ids: Arc<AtomicU64>,
        text: &str,
        runs_max: Option<usize>,
    ) -> Self {
        let (spawner, ears) = (InlineSpawner::default(), Arc::new(Ears::default()));
        let counter = Arc::clone(&ids);
        let runs = Runs::new(Parts {
            journal: Arc::clone(&journal) as Arc<dyn Journal>,
            registry: Arc::new(Registry::new(vec![]).unwrap()),
            ports: Arc::new(Ports::default()),
            clock: Arc::clone(&hands) as Arc<dyn Clock>,
            performer: Arc::new(InlinePerformer),
            spawner: Arc::new(spawner.clone()),
            listener: Arc::clone(&ears) as Arc<_>,
            turns: None,
            entropy: Box::new(move || {
                let mut bytes = [0; 10];
                bytes[2..].copy_from_slice(&counter.fetch_add(1, Ordering::SeqCst).to_be_bytes());
                bytes
            }),
            dry: false,
        });
        runs.recover(true).unwrap();
        let (bundle, homelab) = read(&runs, text);
        let (mut homelab, _) = homelab.unwrap_or_else(|problems| panic!("{problems:#?}"));
        let admission = Arc::new(Admission::new(&homelab, runs_max));
        admission.recall(&runs).unwrap();
        assert!(ears.admission.set((runs.downgrade(), Arc::clone(&admission))).is_ok());
        let launch = Launch {
            runs: runs.clone(),
            bundle,
            directory: "/lab".into(),
            admission,
            bell: Arc::clone(&ears.bell),
        };
        let machine = Arc::clone(&hands) as Arc<dyn Machine>;
        let events = EventTriggers::new(&homelab);
        let scheduling =
            Scheduling::new(launch.clone(), triggers::timed(&mut homelab), machine, ears.bell.clone())
                .unwrap();
        let world =
            Self { hands, runs, scheduling, launch, homelab, triggers: events, journal, spawner, ids };
        world.triggers.begin(&world.launch).unwrap();
        world
    }

    /// What is wrong with a homelab.
    pub(crate) fn problems(text: &str) -> String {
        let problems = read(&Self::new("").runs, text).1.map(|_| ()).unwrap_err();
        problems.iter().map(|problem| format!("{problem:?}")).collect()
    }

    /// Looks and lets runs work until nothing is left to do for now.
    pub(crate) fn go_on(&self) {
        for _ in 0..100 {
            let pause = self.scheduling.round();
            self.triggers.serve(&self.launch);
            self.launch.admission.end_overdue(&self.runs).unwrap();
            let mut worked = self.runs.fire_due().unwrap() > 0;
            while self.spawner.run(0) {
                worked = true;
            }
            if !worked && !pause.is_zero() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Time passes, in steps of at most ten seconds while hob works.
    pub(crate) fn pass(&self, text: &str) {
        self.pass_by(text, "10s");
    }

    /// The same in other steps.
    pub(crate) fn pass_by(&self, text: &str, step: &str) {
        let (mut left, step) = (micros(text), micros(step));
        while left > 0 {
            let now = left.min(step);
            self.hands.pass(now);
            left -= now;
            self.go_on();
        }
    }

    /// The process dies, of what nobody waited for `keep` commits reach the disk; `down` passes, and another process
    /// serves `text`.
    pub(crate) fn crash(self, keep: usize, down: &str, text: &str) -> Self {
        self.spawner.clear();
        let journal = Arc::new(self.journal.crash(keep));
        self.hands.pass(micros(down));
        let world = Self::over(journal, self.hands, self.ids, text, None);
        world.go_on();
        world
    }

    pub(crate) fn command(&self, name: &str, command: ScheduleCommand) -> Json {
        let done = self.scheduling.command(name, command).unwrap_or_else(|problem| panic!("{problem}"));
        self.go_on();
        done
    }

    pub(crate) fn schedule(&self, name: &str) -> Json {
        let all = self.scheduling.list();
        all.as_array().unwrap().iter().find(|it| it["name"] == name).cloned().unwrap()
    }

    /// The runs of a schedule, oldest first: the nominal time that the script was given, and the state.
    pub(crate) fn runs_of(&self, name: &str) -> Vec<(String, RunStatus)> {
        let filter = RunFilter { name: Some(name.to_owned()), ..RunFilter::default() };
        let mut rows = self.runs.journal().runs(&filter).unwrap();
        rows.reverse();
        let nominal = |run: RunId| {
            let started = self.runs.records(run).unwrap().started.unwrap();
            let nominal: Timestamp = started.input.get("nominal").unwrap().as_str().unwrap().parse().unwrap();
            nominal.strftime("%d %H:%M:%S").to_string()
        };
        rows.iter().map(|row| (nominal(row.run), row.status)).collect()
    }

    /// The same, as one text: `02 12:01:00 succeeded, …`
    pub(crate) fn story(&self, name: &str) -> String {
        let runs = self.runs_of(name);
        runs.iter().map(|(at, status)| format!("{at} {status}")).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn run_id(&self, name: &str, status: RunStatus) -> RunId {
        let filter = RunFilter { name: Some(name.to_owned()), status: vec![status], ..RunFilter::default() };
        self.runs.journal().runs(&filter).unwrap()[0].run
    }

    /// Lets the oldest run of a schedule that waits for the signal `go` end.
    pub(crate) fn release(&self, name: &str) {
        let filter = RunFilter {
            name: Some(name.to_owned()),
            status: vec![RunStatus::Waiting],
            ..RunFilter::default()
        };
        let rows = self.runs.journal().runs(&filter).unwrap();
        self.runs.signal(rows.last().unwrap().run, "go", hob_model::Value::Unit).unwrap();
        self.go_on();
    }

    pub(crate) fn events(&self, name: &str) -> Vec<EventRow> {
        let mut all = self.runs.journal().events(0, usize::MAX).unwrap();
        all.retain(|event| event.name == name);
        all
    }

    pub(crate) fn fields(&self, event: &str, field: &str) -> Vec<Json> {
        self.events(event).iter().map(|event| event.payload.get(field).unwrap().to_json().unwrap()).collect()
    }
}
