//! Processes of this machine (Linux 5.3 or later).
//!
//! Three things keep a service from running twice, each for what the others miss:
//! - **what the caller journaled** (pid, start time, boot) finds a process whatever it did to its environment;
//! - **the environment** (`HOB_STATE`, `HOB_SERVICE`, `HOB_EFFECT`) finds one that was started in the moment before a
//!   crash, and what it started itself;
//! - **a lock on a file**, which processes inherit and the kernel releases with the last of them, tells that there is
//!   one still to be found, also between fork and exec.
//!
//! What leaves its session, clears its environment and closes all its files is beyond reach.
#![allow(clippy::disallowed_methods)] // This is the adapter: what it does is I/O, and waiting takes a real clock.

mod account;
mod end;
mod identity;
mod logs;
mod look;
mod raw;
mod scan;
mod spawn;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hob_model::OpError;
use hob_planner::Exit;
use hob_planner::declaration::{Gate, Process, ReloadSignal};

use crate::life::{Life, lock};
use crate::port::{
    Instance, LogChunk, LogFrom, Look, OnExit, Running, Spec, Started, Stopped, Supervisor, conflict,
    not_running,
};
use identity::{Leader, ProcessId};
pub use logs::{LOG_AGE_MAX, LOG_BYTES_MAX, LOG_FILES_MAX, LOG_KEPT_BYTES};
use scan::Found;
use watch::Watches;

/// What a service finds in `PATH` when hob itself has none.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of hob's own environment that services get.
const BASE_VARIABLES: [&str; 5] = ["PATH", "HOME", "USER", "LANG", "TZ"];

/// How long what an earlier run of a service left behind may take to end before it gets SIGKILL.
const LEFTOVER_GRACE: Duration = Duration::from_secs(5);

/// How often a start looks for what an earlier run left behind, since it may have children meanwhile.
const LEFTOVER_PASSES_MAX: usize = 5;

/// How long a start waits for a process that holds the service's lock to show who it is.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// The pause between looks for it.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The folder of the state directory that holds what belongs to services.
const SERVICES_DIR: &str = "services";

/// Supervises processes of this machine.
pub struct Live {
    /// Canonical, so that it is the same for every hob of this state directory.
    state: PathBuf,
    base: BTreeMap<String, String>,
    services: Mutex<BTreeMap<String, Arc<Service>>>,
    watches: Watches,
    origin: Instant,
}

/// What is known of one service.
#[derive(Default)]
struct Service {
    /// Held by who starts or stops it.
    acting: Mutex<()>,
    /// The process that was last known to lead it; it may have ended.
    leader: Mutex<Option<Leader>>,
}

impl Live {
    /// The supervisor of the state directory `state`, which exists.
    ///
    /// Services get `PATH`, `HOME`, `USER`, `LANG` and `TZ` of `environ` and nothing else of it. `known` is what the
    /// caller has journaled as running.
    ///
    /// # Errors
    /// When the state directory cannot be used.
    pub fn open(
        state: &Path,
        environ: impl IntoIterator<Item = (String, String)>,
        known: impl IntoIterator<Item = Running>,
    ) -> Result<Self, OpError> {
        let state = state.canonicalize().map_err(|error| OpError::io(&error, state.display()))?;
        let base = base_of(environ);
        let service = |leader: Leader| {
            (
                leader.name.clone(),
                Arc::new(Service { leader: Mutex::new(Some(leader)), ..Service::default() }),
            )
        };
        Ok(Self {
            state,
            base,
            services: Mutex::new(known.into_iter().filter_map(Leader::recorded).map(service).collect()),
            watches: Watches::default(),
            origin: Instant::now(),
        })
    }

    fn service(&self, name: &str) -> Arc<Service> {
        Arc::clone(lock(&self.services).entry(name.to_owned()).or_default())
    }

    /// The folder of a service.
    fn dir(&self, name: &str) -> PathBuf {
        self.state.join(SERVICES_DIR).join(name)
    }

    /// The process that leads a service, if one lives; remembers it.
    fn leader(&self, name: &str, all: &[Found]) -> Option<Leader> {
        let service = self.service(name);
        let mut known = lock(&service.leader);
        if let Some(leader) = known.as_ref().filter(|it| scan::is_alive(&it.process)) {
            return Some(leader.clone());
        }
        // Whoever carries the key of a leader that has ended was started by it, and leads nothing.
        let ended = known.as_ref().map(|it| it.key.as_str());
        let leaders = all.iter().filter(|it| it.leads_session()).filter_map(|it| it.mark.as_ref());
        let candidates = leaders.filter(|it| it.name == name && ended != Some(it.key.as_str()));
        let found = candidates.min_by_key(|it| (it.process.start_ticks, it.process.pid))?;
        *known = Some(found.clone());
        known.clone()
    }

    /// The process that was last known to lead a service, ended or not.
    fn last_leader(&self, name: &str) -> Option<ProcessId> {
        lock(&self.service(name).leader).as_ref().map(|it| it.process.clone())
    }

    /// The lock of a service, once no process of it is left; or the process that turned up meanwhile.
    ///
    /// What an ended leader left behind is ended first, but only what was seen together with its absence: a leader that
    /// comes about after the look may have children already.
    fn claim(&self, name: &str) -> Result<Claim, OpError> {
        let mut deadline = Instant::now() + LOCK_WAIT;
        let mut passes_left = LEFTOVER_PASSES_MAX;
        loop {
            let all = scan::snapshot(&self.state)?;
            if let Some(running) = self.leader(name, &all) {
                return Ok(Claim::Runs(running));
            }
            let ended = self.last_leader(name);
            let members = end::Members { state: &self.state, service: name, leader: ended.as_ref() };
            let leftovers = members.among(all);
            if !leftovers.is_empty() && passes_left > 0 {
                end::end_found(&leftovers, LEFTOVER_GRACE)?;
                passes_left -= 1;
                deadline = Instant::now() + LOCK_WAIT;
                continue;
            }
            if let Some(file) = spawn::try_lock(&self.dir(name))? {
                return Ok(Claim::Free(file));
            }
            if Instant::now() > deadline {
                let holders = scan::holders(&spawn::lock_path(&self.dir(name)))?;
                return Err(held_by_strangers(name, &holders));
            }
            std::thread::sleep(LOCK_PAUSE);
        }
    }

    fn watch(&self, process: &ProcessId) -> Arc<Life> {
        self.watches.get_or_adopt(process)
    }
}

/// Whether a service may be started.
enum Claim {
    /// Nothing of it runs; holding the file keeps it so.
    Free(std::fs::File),
    /// It runs.
    Runs(Leader),
}

impl Supervisor for Live {
    fn start(&self, spec: &Spec, key: &str) -> Result<Started, OpError> {
        let process = process_of(spec)?;
        let service = self.service(&spec.name);
        let _acting = lock(&service.acting);
        let lock_file = match self.claim(&spec.name)? {
            Claim::Runs(leader) if leader.key == key => {
                self.watch(&leader.process);
                return Ok(Started { running: leader.into(), adopted: true });
            }
            Claim::Runs(leader) => return Err(conflict(&leader.into())),
            Claim::Free(file) => file,
        };
        let dir = self.dir(&spec.name);
        let output = logs::begin(&dir)?;
        let marks = spawn::Marks { state: &self.state, key };
        let start = || spawn::spawn(spec, process, &marks, &self.base, output, lock_file);
        let leader = self.watches.spawn(start)?;
        *lock(&service.leader) = Some(leader.clone());
        Ok(Started { running: leader.into(), adopted: false })
    }

    fn stop(&self, name: &str, timeout: Duration) -> Result<Stopped, OpError> {
        let service = self.service(name);
        let _acting = lock(&service.acting);
        let all = scan::snapshot(&self.state)?;
        let _ = self.leader(name, &all); // for who is known as it afterwards
        let leader = self.last_leader(name);
        let members = end::Members { state: &self.state, service: name, leader: leader.as_ref() };
        if members.among(all).is_empty() {
            return Ok(Stopped::NotRunning);
        }
        // Watched before it ends, so that how it ends is known.
        let watch = leader.as_ref().map(|process| self.watch(process));
        let killed = end::end(&members, timeout)?;
        let exit = watch.and_then(|watch| watch.wait(end::KILL_WAIT)).unwrap_or(Exit::Unknown);
        Ok(if killed { Stopped::Killed(exit) } else { Stopped::Terminated(exit) })
    }

    fn signal(&self, name: &str, signal: ReloadSignal) -> Result<(), OpError> {
        let service = self.service(name);
        let _acting = lock(&service.acting);
        let leader = self.leader(name, &scan::snapshot(&self.state)?).ok_or_else(|| not_running(name))?;
        end::reload(&leader.process, signal)
    }

    fn observe(&self) -> Result<Vec<Running>, OpError> {
        let all = scan::snapshot(&self.state)?;
        let known: Vec<String> = lock(&self.services).keys().cloned().collect();
        let mut names: Vec<String> =
            all.iter().filter_map(|it| Some(it.mark.as_ref()?.name.clone())).chain(known).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names.into_iter().filter_map(|name| self.leader(&name, &all)).map(Running::from).collect())
    }

    fn wait_exit(&self, instance: &Instance, timeout: Duration) -> Option<Exit> {
        match ProcessId::parse(&instance.0) {
            Some(process) => self.watch(&process).wait(timeout),
            None => Some(Exit::Unknown),
        }
    }

    fn on_exit(&self, instance: &Instance, then: OnExit) {
        match ProcessId::parse(&instance.0) {
            Some(process) => self.watch(&process).on_exit(then),
            None => then(Exit::Unknown),
        }
    }

    fn read_log(&self, name: &str, from: LogFrom) -> Result<LogChunk, OpError> {
        logs::read(&self.dir(name), from)
    }

    fn rotate_logs(&self) -> Result<(), OpError> {
        logs::rotate_all(&self.state.join(SERVICES_DIR))
    }

    fn look(&self, spec: &Spec, gate: &Gate, timeout: Duration) -> Result<Look, OpError> {
        look::look(process_of(spec)?, gate, &self.base, timeout)
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

fn held_by_strangers(name: &str, holders: &[u32]) -> OpError {
    let pids: Vec<String> = holders.iter().map(u32::to_string).collect();
    let who = match pids.is_empty() {
        true => "a process that hob cannot see".to_owned(),
        false => format!("process {}", pids.join(", ")),
    };
    OpError::conflict(format!("something that service `{name}` started earlier still runs: {who}"))
        .hint("hob cannot tell whether it is the service itself, and starts nothing twice: end it first")
        .nothing_happened()
}

/// The process that a service is.
fn process_of(spec: &Spec) -> Result<&Process, OpError> {
    let wrong =
        || OpError::invalid(format!("service `{}` is a {} and no process", spec.name, spec.body.kind()));
    spec.body.process().ok_or_else(wrong)
}

/// The surroundings that services get of hob's own.
fn base_of(environ: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let kept = environ.into_iter().filter(|(name, _)| BASE_VARIABLES.contains(&name.as_str()));
    let mut base: BTreeMap<String, String> = kept.collect();
    base.entry("PATH".to_owned()).or_insert_with(|| PATH_DEFAULT.to_owned());
    base
}

/// Looks once through the gate `exec` for a service that gives a command no surroundings of its own: it runs on this
/// machine, as whom hob runs as, in `/`, for at most `timeout`.
///
/// # Errors
/// When the command cannot be watched.
pub fn run_check(command: &[String], timeout: Duration) -> Result<Look, OpError> {
    let process = Process { workdir: "/".into(), ..Process::default() };
    look::exec(&process, command, &base_of(std::env::vars()), Instant::now() + timeout)
}
