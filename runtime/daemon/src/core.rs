//! The core of a hob that serves: the adopted homelab, its services, schedules and triggers.

mod hub;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use hob_engine::Bundle;
use hob_journal::{Commit, RunFilter, Write};
use hob_model::{Code, Diagnostic, RunId, RunStatus, Timestamp, Value};
use hob_planner::Homelab;
use hob_runs::{ADOPTED_BUNDLE, Listener, RunError};
use serde_json::{Value as Json, json};

use crate::admission::Admission;
use crate::alerts::Alerts;
use crate::backups::Backups;
use crate::bus::EventTriggers;
use crate::clock::ThisMachine;
use crate::hub::Hub;
use crate::keeper::Keeper;
use crate::metrics::Numbers;
use crate::node::Node;
use crate::notices::Notices;
use crate::notices::links::Links;
use crate::schedules::{Launch, ScheduleBell, Scheduling};
use crate::sources::Listening;
use crate::triggers;
use crate::watches::Watches;
use crate::watches::live::LiveFiles;

/// How long effects under way may take to come to their outcome when the process ends.
const LEAVE_GRACE: Duration = Duration::from_secs(10);
/// Live runs that are shown in the status.
const WAITING_SHOWN: usize = 50;

/// The core of a hob that serves.
pub struct Core {
    node: Node,
    homelab: Homelab,
    launch: Launch,
    scheduling: Arc<Scheduling>,
    triggers: EventTriggers,
    keeper: Keeper,
    notices: Arc<Notices>,
    /// None where the homelab declares no alerts.
    alerts: Option<Alerts>,
    backups: Backups,
    numbers: OnceLock<Arc<Numbers>>,
    links: Arc<Links>,
    ready: AtomicBool,
    /// How often schedules were looked at.
    rounds: AtomicU64,
    serving: OnceLock<JoinHandle<()>>,
    listening: Mutex<Option<Listening>>,
    watches: OnceLock<Arc<Watches>>,
    living: fn(&str) -> Vec<u32>,
    maintain: Box<dyn Fn() + Send + Sync>,
}

/// What a core is made of.
pub struct CoreParts {
    /// The process's runs.
    pub node: Node,
    /// Hears what happens to runs; it was among the node's listeners.
    pub ears: Arc<CoreEars>,
    /// The homelab's sources.
    pub bundle: Arc<Bundle>,
    /// What they declare.
    pub homelab: Homelab,
    /// Its directory, absolute.
    pub directory: PathBuf,
    /// The state directory.
    pub state: PathBuf,
    /// The file with the lines that are shown at login.
    pub login: PathBuf,
    /// Finds living processes by the key of the effect that started them.
    pub living: fn(&str) -> Vec<u32>,
    /// How many runs of its workflows go on at one time, all together; as many as come when absent.
    pub runs_max: Option<usize>,
    /// Looks after the journal: called when serving begins, and every hour from then on.
    pub maintain: Box<dyn Fn() + Send + Sync>,
}

/// Hears what happens to runs, and tells the core once there is one.
#[derive(Default)]
pub struct CoreEars(OnceLock<Weak<Core>>);

impl CoreEars {
    fn with(&self, hear: impl FnOnce(&Core)) {
        if let Some(core) = self.0.get().and_then(Weak::upgrade) {
            hear(&core);
        }
    }
}

impl Listener for CoreEars {
    fn changed(&self, run: RunId, status: RunStatus, end: Option<&hob_model::RunEnd>) {
        self.with(|core| core.notices.run_changed(status));
        self.with(|core| core.launch.admission.changed(&core.launch.runs, run, status, end));
        if status.ended() {
            self.with(|core| {
                core.keeper.run_ended(run, end);
                core.backups.run_ended(&core.node.runs, run, end);
                core.scheduling.bell().run_ended();
                core.triggers.run_ended(&core.launch);
            });
        }
    }

    fn emitted(&self) {
        self.with(|core| core.triggers.serve(&core.launch));
        self.with(|core| core.notices.ring());
        self.with(|core| core.alerts.iter().for_each(Alerts::emitted));
    }
}

impl Core {
    /// Adopts the homelab. Nothing acts before [`Core::begin`].
    ///
    /// # Errors
    /// When the journal cannot be written, or the services cannot be looked at.
    pub fn new(mut parts: CoreParts) -> Result<Arc<Self>, Diagnostic> {
        let runs = parts.node.runs.clone();
        let mut writes = parts.bundle.writes();
        let digest = parts.bundle.digest().to_string();
        writes.push(Write::Fact { key: ADOPTED_BUNDLE.to_owned(), value: Some(Value::from(digest)) });
        runs.journal().submit(Commit { writes });
        runs.journal().flush().map_err(|error| hob_runs::journal_diagnostic(&error))?;
        let (machine, bell) = (Arc::new(ThisMachine), Arc::new(ScheduleBell::default()));
        let launch = Launch {
            admission: Arc::new(Admission::new(&parts.homelab, parts.runs_max)),
            bell: Arc::clone(&bell),
            runs: runs.clone(),
            bundle: parts.bundle,
            directory: parts.directory.to_string_lossy().into_owned(),
        };
        let events = EventTriggers::new(&parts.homelab);
        let backups = Backups::of(&parts.homelab);
        let timed = triggers::timed(&mut parts.homelab);
        let scheduling = Scheduling::new(launch.clone(), timed, machine, bell);
        let scheduling = Arc::new(scheduling.map_err(|error| error.diagnostic())?);
        let keeper = Keeper::new(runs, parts.homelab.clone(), &parts.state)?;
        keeper.launch_with(launch.clone());
        let clock = Arc::clone(&launch.runs.host().clock);
        let links = Arc::new(Links::new(&parts.state, clock)?);
        let channels = Arc::clone(&parts.node.channels);
        channels.serve(&launch.runs, &parts.homelab, Arc::clone(&links));
        let alerts = Alerts::new(
            launch.runs.clone(),
            &parts.homelab,
            &launch.bundle,
            Arc::clone(&channels),
            &parts.node.core,
        )?;
        let notices = Notices::new(launch.runs.clone(), channels, launch.directory.clone(), parts.login);
        let core = Arc::new(Self {
            keeper,
            notices: Arc::new(notices),
            alerts,
            backups,
            numbers: OnceLock::new(),
            links,
            scheduling,
            triggers: events,
            node: parts.node,
            homelab: parts.homelab,
            launch,
            ready: AtomicBool::new(false),
            rounds: AtomicU64::new(0),
            serving: OnceLock::new(),
            listening: Mutex::default(),
            watches: OnceLock::new(),
            living: parts.living,
            maintain: parts.maintain,
        });
        let hub: Arc<dyn Hub> = Arc::clone(&core) as Arc<dyn Hub>;
        let _ = core.numbers.set(Arc::new(Numbers::new(&hub)));
        core.keeper.serve(&core.node.services);
        let _ = parts.ears.0.set(Arc::downgrade(&core));
        Ok(core)
    }

    /// Goes on with what the previous process left, brings services up, and serves schedules and triggers.
    ///
    /// # Errors
    /// When the journal cannot be read, or there is no thread to be had. A service that fails is no error here: it is
    /// told in the status, and the rest goes on.
    pub fn begin(self: &Arc<Self>) -> Result<(), Diagnostic> {
        // What is found in doubt is told, too.
        self.notices.begin().map_err(|error| error.diagnostic())?;
        self.alerts.iter().try_for_each(Alerts::begin).map_err(|error| error.diagnostic())?;
        let recovered = self.node.recover(true).map_err(|error| error.diagnostic())?;
        tracing::info!(?recovered, "runs of the previous process");
        self.launch.admission.recall(&self.node.runs).map_err(|error| error.diagnostic())?;
        self.backups.recall(&self.node.runs).map_err(|error| error.diagnostic())?;
        self.keeper.begin()?;
        let core = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name("hob-schedules".into())
            .spawn(move || core.scheduling.serve(&*core.maintain, &|| core.after_round()))
            .map_err(no_thread)?;
        let _ = self.serving.set(thread);
        self.triggers.begin(&self.launch).map_err(|error| error.diagnostic())?;
        self.watch_files()?;
        let notices = Arc::clone(&self.notices);
        let thread = std::thread::Builder::new().name("hob-notices".into());
        thread.spawn(move || notices.serve()).map_err(no_thread)?;
        self.watch_alerts()?;
        let listening =
            Listening::begin(&self.node.core, &self.node.runs, &self.homelab, &self.launch.bundle);
        *self.listening.lock().unwrap_or_else(PoisonError::into_inner) = Some(listening);
        self.ready.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// What is looked after beside the schedules; when to come again.
    fn after_round(&self) -> Option<Timestamp> {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        self.triggers.go_on(&self.launch);
        self.launch.admission.go_on(&self.launch.runs);
        let looked = self.launch.admission.end_overdue(&self.launch.runs);
        looked.unwrap_or_else(|error| {
            tracing::error!(%error, "the timeouts of workflows cannot be looked at now");
            None
        })
    }

    /// Looks for files that start workflows, on a thread of its own, if any do.
    fn watch_files(&self) -> Result<(), Diagnostic> {
        if !Watches::wanted(&self.homelab) {
            return Ok(());
        }
        let unusable = |error: std::io::Error| {
            Diagnostic::error(Code::StateUnusable, format!("files cannot be watched: {error}"))
        };
        let files = Arc::new(LiveFiles::new().map_err(unusable)?);
        let watches = Watches::new(self.launch.clone(), &self.homelab, files, Arc::new(ThisMachine));
        let watches = Arc::new(watches);
        watches.begin().map_err(|error| error.diagnostic())?;
        let serving = Arc::clone(&watches);
        std::thread::Builder::new()
            .name("hob-watches".into())
            .spawn(move || serving.serve())
            .map_err(unusable)?;
        let _ = self.watches.set(watches);
        Ok(())
    }

    /// Looks after alerts, on a thread of its own, if there are any.
    fn watch_alerts(self: &Arc<Self>) -> Result<(), Diagnostic> {
        if self.alerts.is_none() {
            return Ok(());
        }
        let core = Arc::clone(self);
        let serve = move || {
            let Some(numbers) = core.numbers.get() else { return };
            let measure = |now| core.node.core.runtime().block_on(numbers.at(now));
            core.alerts.iter().for_each(|alerts| alerts.serve(&measure));
        };
        let thread = std::thread::Builder::new().name("hob-alerts".into());
        let started = thread.stack_size(hob_engine::SCRIPT_STACK_BYTES).spawn(serve);
        started.map(drop).map_err(no_thread)
    }

    fn with_alerts<T>(&self, act: impl FnOnce(&Alerts) -> Result<T, Diagnostic>) -> Result<T, Diagnostic> {
        let alerts = self.alerts.as_ref();
        alerts
            .map_or_else(|| Err(Diagnostic::error(Code::UnknownName, "the homelab declares no alerts")), act)
    }

    /// Ends: nothing new begins, effects under way come to their outcome, and services stop in reverse order or go on.
    pub fn end(&self, stop_services: bool) {
        self.ready.store(false, Ordering::SeqCst);
        self.scheduling.bell().stop();
        self.notices.stop();
        self.alerts.iter().for_each(Alerts::stop);
        self.watches.get().into_iter().for_each(|watches| watches.stop());
        drop(self.listening.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.node.close(LEAVE_GRACE);
        self.keeper.end(stop_services);
        let _ = self.node.runs.journal().flush();
    }

    /// Says where people reach this hob: links in messages lead there from now on.
    pub fn serve_links_at(&self, base: &str) {
        self.links.serve_at(base);
    }

    /// How often the loops of this process went round, the one of services and the one of schedules: who works counts on.
    #[must_use]
    pub fn beats(&self) -> [u64; 2] {
        [self.keeper.beats(), self.rounds.load(Ordering::Relaxed)]
    }

    /// The keeper of the services.
    #[must_use]
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    fn live(&self, filter: RunFilter) -> Result<Vec<hob_journal::RunRow>, RunError> {
        Ok(self.node.runs.journal().runs(&filter)?)
    }

    fn workflows_json(&self) -> Vec<Json> {
        let live = |name: &str| {
            let filter = RunFilter {
                status: vec![
                    RunStatus::Queued,
                    RunStatus::Running,
                    RunStatus::Waiting,
                    RunStatus::InDoubt,
                    RunStatus::Paused,
                ],
                name: Some(name.to_owned()),
                kind: Some("workflow".to_owned()),
                ..RunFilter::default()
            };
            self.live(filter).map_or(0, |rows| rows.len())
        };
        let on = |workflow: &hob_planner::declaration::Workflow| {
            workflow.triggers.iter().map(triggers::describe).collect::<Vec<_>>().join(", ")
        };
        self.homelab
            .workflows
            .iter()
            .map(|workflow| {
                let queued = self.launch.admission.waiting(&workflow.name);
                let (on, live) = (on(workflow), live(&workflow.name));
                json!({ "name": workflow.name, "on": on, "live": live, "queued": queued })
            })
            .collect()
    }

    fn waiting_json(&self) -> Vec<Json> {
        let filter = RunFilter {
            status: vec![RunStatus::Waiting, RunStatus::InDoubt, RunStatus::Paused, RunStatus::Interrupted],
            limit: Some(WAITING_SHOWN),
            ..RunFilter::default()
        };
        let waits = |run: RunId| {
            let waits = self.node.runs.journal().waits(None, Some(run), 3).unwrap_or_default();
            let texts: Vec<String> = waits.iter().map(|row| describe_wait(&row.wait)).collect();
            texts.join(", ")
        };
        let rows = self.live(filter).unwrap_or_default();
        rows.iter()
            .map(|row| {
                let what =
                    if row.status == RunStatus::Waiting { waits(row.run) } else { row.status.to_string() };
                json!({ "run": row.run.to_string(), "name": row.name, "for": what })
            })
            .collect()
    }
}

fn no_thread(error: std::io::Error) -> Diagnostic {
    Diagnostic::error(Code::StateUnusable, format!("no thread can be started: {error}"))
}

fn describe_wait(wait: &hob_model::Wait) -> String {
    match wait {
        hob_model::Wait::Until(at) => format!("until {at}"),
        other => format!("{} {}", other.kind(), other.key()).trim_end().to_owned(),
    }
}

/// The directory of a homelab's bundle.
#[must_use]
pub fn directory_of(bundle: &Bundle) -> &Path {
    Path::new(&bundle.record.origin)
}
