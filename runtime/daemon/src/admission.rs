//! Admission: how many runs of workflows go on at one time, which of those that wait begins next, and how long each may
//! take.
//!
//! It holds for what triggers and people start. A run that another one invokes begins at once, as that one waits for it;
//! slots of schedules keep their own order (`overlap`, `conflicts`). A run that waits is recorded, durably, and begins
//! when one that goes on has ended or awaits a person's decision.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hob_journal::{RunFilter, RunRow};
use hob_model::{RunEnd, RunId, RunStatus, Timestamp, Value, duration};
use hob_planner::Homelab;
use hob_planner::declaration::WorkLimits;
use hob_runs::{RunError, Runs};

use crate::overdue::Overdue;

/// Runs that wait their turn beyond which no more work is taken from outside.
pub const QUEUED_RUNS_MAX: usize = 10_000;

/// Before the name of a workflow, the queue in which its runs wait.
const QUEUE: &str = "workflow/";

/// Who may go on.
#[derive(Default)]
pub struct Admission {
    limits: BTreeMap<String, WorkLimits>,
    runs_max: Option<usize>,
    state: Mutex<State>,
    overdue: Mutex<HashMap<String, Overdue>>,
}

/// The runs of limited workflows.
#[derive(Default)]
struct State {
    working: HashMap<RunId, String>,
    /// In doubt or paused: others go on meanwhile.
    parked: HashMap<RunId, String>,
    /// By workflow, oldest first.
    waiting: BTreeMap<String, BTreeSet<RunId>>,
}

impl State {
    fn waits(&self) -> usize {
        self.waiting.values().map(BTreeSet::len).sum()
    }

    /// Forgets a run; the workflow that it went on for.
    fn forget(&mut self, run: RunId) -> Option<String> {
        self.waiting.values_mut().for_each(|waiting| _ = waiting.remove(&run));
        self.waiting.retain(|_, waiting| !waiting.is_empty());
        let parked = self.parked.remove(&run);
        self.working.remove(&run).or(parked)
    }
}

fn parked(status: RunStatus) -> bool {
    matches!(status, RunStatus::InDoubt | RunStatus::Paused | RunStatus::Interrupted)
}

fn live(name: &str) -> RunFilter {
    let (name, kind) = (Some(name.to_owned()), Some("workflow".to_owned()));
    RunFilter { status: RunStatus::live(), name, kind, ..RunFilter::default() }
}

impl Admission {
    /// That of a homelab, with at most `runs_max` runs of all its workflows together.
    #[must_use]
    pub fn new(homelab: &Homelab, runs_max: Option<usize>) -> Self {
        let limits = homelab.workflows.iter().map(|workflow| (workflow.name.clone(), workflow.limits));
        Self { limits: limits.collect(), runs_max, ..Self::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a run of the workflow may have to wait its turn.
    #[must_use]
    pub fn is_limited(&self, workflow: &str) -> bool {
        self.runs_max.is_some() || self.limits.get(workflow).is_some_and(|it| it.concurrency.is_some())
    }

    fn has_room(&self, state: &State, workflow: &str) -> bool {
        let of = || state.working.values().filter(|of| *of == workflow).count();
        let concurrency = self.limits.get(workflow).and_then(|it| it.concurrency);
        self.runs_max.is_none_or(|max| state.working.len() < max) && concurrency.is_none_or(|max| of() < max)
    }

    /// Finds what goes on and what waits, and lets begin what may.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub fn recall(&self, runs: &Runs) -> Result<(), RunError> {
        let queued: HashMap<RunId, String> = runs.queues()?.into_iter().collect();
        let mut state = State::default();
        for name in self.limits.keys().filter(|name| self.is_limited(name)) {
            for RunRow { run, status, parent, .. } in runs.journal().runs(&live(name))? {
                match status {
                    _ if parent.is_some() || queued.contains_key(&run) => {}
                    status if parked(status) => drop(state.parked.insert(run, name.clone())),
                    _ => drop(state.working.insert(run, name.clone())),
                }
            }
        }
        // Also those of workflows that have no limit any more, or are gone.
        for (run, queue) in queued {
            if let Some(name) = queue.strip_prefix(QUEUE) {
                state.waiting.entry(name.to_owned()).or_default().insert(run);
            }
        }
        *self.state() = state;
        self.go_on(runs);
        Ok(())
    }

    /// The queue in which a run that is about to be started waits; none when it may begin at once. To be followed by
    /// [`Admission::go_on`] once it is started, or [`Admission::withdraw`].
    #[must_use]
    pub fn ask(&self, workflow: &str, run: RunId) -> Option<String> {
        if !self.is_limited(workflow) {
            return None;
        }
        let mut state = self.state();
        if !state.waiting.contains_key(workflow) && self.has_room(&state, workflow) {
            state.working.insert(run, workflow.to_owned());
            return None;
        }
        state.waiting.entry(workflow.to_owned()).or_default().insert(run);
        Some(format!("{QUEUE}{workflow}"))
    }

    /// A run that was asked for was not started.
    pub fn withdraw(&self, run: RunId) {
        self.state().forget(run);
    }

    /// A run came to another state.
    pub fn changed(&self, runs: &Runs, run: RunId, status: RunStatus, end: Option<&RunEnd>) {
        let mut state = self.state();
        if status == RunStatus::Running {
            if let Some(name) = state.parked.remove(&run) {
                state.working.insert(run, name);
            }
            return;
        }
        if !status.ended() && !parked(status) {
            return;
        }
        let Some(name) = state.forget(run) else { return };
        match end {
            Some(RunEnd::Carried(successor)) => drop(state.working.insert(*successor, name)),
            None if parked(status) => drop(state.parked.insert(run, name)),
            _ => {}
        }
        drop(state);
        self.go_on(runs);
    }

    /// Lets begin what waits and has room, by priority and age.
    pub fn go_on(&self, runs: &Runs) {
        loop {
            let mut state = self.state();
            let candidates = state.waiting.iter().filter(|(name, _)| self.has_room(&state, name));
            // Who is not recorded yet comes when it is.
            let first = candidates.filter_map(|(name, waiting)| {
                let run = waiting.iter().find(|run| runs.waits_turn(**run))?;
                let priority = self.limits.get(name).map_or(0, |it| it.priority);
                Some((std::cmp::Reverse(priority), *run, name.clone()))
            });
            let Some((_, run, name)) = first.min() else { return };
            state.forget(run);
            state.working.insert(run, name);
            drop(state);
            if let Err(error) = runs.take_turn(run) {
                tracing::error!(%run, %error, "a run whose turn it is cannot begin");
                return;
            }
        }
    }

    /// How many runs of a workflow wait.
    #[must_use]
    pub fn waiting(&self, workflow: &str) -> usize {
        self.state().waiting.get(workflow).map_or(0, BTreeSet::len)
    }

    /// Why no more is taken, if so.
    #[must_use]
    pub fn full(&self) -> Option<String> {
        let waits = self.state().waits();
        (waits >= QUEUED_RUNS_MAX).then(|| format!("{waits} runs wait their turn"))
    }

    /// Ends runs of workflows that went on for longer than their timeout; when to look again.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn end_overdue(&self, runs: &Runs) -> Result<Option<Timestamp>, RunError> {
        let now = runs.now();
        let mut next = None;
        for (name, limits) in &self.limits {
            let Some(timeout) = limits.timeout else { continue };
            let rows = runs.journal().runs(&live(name))?;
            let goes_on =
                |row: &&RunRow| !parked(row.status) && !runs.waits_turn(row.run) && !runs.is_held(row.run);
            let mut all = self.overdue.lock().unwrap_or_else(PoisonError::into_inner);
            let overdue = all.entry(name.clone()).or_default();
            let again = overdue.end(runs, rows.iter().filter(goes_on), timeout, now, |run| {
                let fields = [
                    ("run", Value::from(run.to_string())),
                    ("name", Value::from(name.as_str())),
                    ("timeout", Value::from(duration::format(timeout))),
                ];
                if let Err(error) = runs.emit("run.timeout", Value::map(fields), "hob") {
                    tracing::error!(%run, %error, "an event cannot be recorded");
                }
            })?;
            next = [next, again].into_iter().flatten().min();
        }
        Ok(next)
    }

    /// Whether runs of the workflow have a timeout.
    #[must_use]
    pub fn has_timeout(&self, workflow: &str) -> bool {
        self.limits.get(workflow).is_some_and(|it| it.timeout.is_some())
    }
}
