//! What fires schedules.
//!
//! Next fire times are computed from the expression and the claimed slots at each look, never chained: a schedule
//! cannot die silently, whatever a run of it does. When each schedule is to be looked at next is kept in memory alone,
//! and the audit compares it with the expression every minute.
//!
//! | module | holds |
//! |---|---|
//! | `ahead` | slots of many schedules at one instant, made ready before it |
//! | `look` | one look at one schedule: which slots are due, and what becomes of them |
//! | `limits` | timeouts and deadlines |
//! | `memory` | what is remembered of a schedule over restarts |
//! | `command` | what people do: list, run, pause, resume, backfill |
//! | `watch` | steps of the clock, suspension of the machine, and the audit |

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_engine::Bundle;
use hob_journal::{Ticket, Write};
use hob_model::{OnDoubt, RunEntry, RunId, RunStarted, RunStatus, Timestamp, Value};
use hob_planner::declaration::RunPolicy;
use hob_runs::{Begin, Claimed, Firing, Listener, NewRun, Ready, RunError, Runs};
use hob_scheduler::Schedule;

use crate::admission::Admission;
use crate::clock::Machine;

mod ahead;
mod command;
mod families;
mod limits;
mod look;
mod memory;
mod watch;

pub use command::{Backfill, ScheduleCommand};
use look::Look;
use watch::Watch;

/// How long it sleeps at most before it looks at the clocks again: one that jumps is noticed by then.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How often the journal is looked after.
const MAINTAIN_EVERY: Duration = Duration::from_secs(3600);
/// Due schedules from which on the live runs of all are read at once, and no more those of each; and from which on their
/// slots are made ready before.
const MANY_DUE: usize = 32;
/// Slots that are claimed with one wait for the disk.
const CLAIMED_MAX: usize = 10_000;
/// The pause before the thread goes on after a panic.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// Something that fires at times.
pub struct Timed {
    /// When, and what holds for its slots; its name names its slots.
    pub schedule: Schedule,
    /// What it runs.
    pub target: Arc<Target>,
}

/// What fires, for all that have it in common.
pub struct Target {
    /// The workflow to run; without one, the function of the schedule.
    pub workflow: Option<Box<str>>,
    /// Whether several schedules start runs of the workflow: what one of them begins bears on the others.
    pub shared: bool,
    /// What its runs may do.
    pub policy: Arc<RunPolicy>,
}

impl Timed {
    /// The declaration to run: kind and name.
    fn target(&self) -> (&'static str, &str) {
        match &self.target.workflow {
            Some(workflow) => ("workflow", workflow),
            None => ("schedule", &self.schedule.name),
        }
    }
}

/// What declared runs are started with.
#[derive(Clone)]
pub struct Launch {
    /// All runs.
    pub runs: Runs,
    /// The adopted homelab.
    pub bundle: Arc<Bundle>,
    /// Its directory.
    pub directory: String,
    /// Which runs of its workflows may go on.
    pub admission: Arc<Admission>,
    /// Has timeouts looked at.
    pub bell: Arc<ScheduleBell>,
}

impl Launch {
    /// Starts a run of a workflow, now or when its turn comes, with what becomes durable beside its first entry.
    ///
    /// # Errors
    /// When the journal cannot take it.
    pub fn start(&self, new: NewRun, beside: Vec<Write>) -> Result<Ticket, RunError> {
        let (run, name) = (new.id, new.started.name.clone());
        let begin = Begin { queue: self.admission.ask(&name, run), beside };
        let started = self.runs.start_as(new, begin);
        self.started(&name, run, started.is_ok());
        started
    }

    /// Starts a run of a workflow, now or when its turn comes, for a slot that can be claimed once: `false` when it was
    /// claimed before.
    ///
    /// # Errors
    /// When the journal cannot take it.
    pub fn start_slot(&self, schedule: String, nominal: Timestamp, new: NewRun) -> Result<bool, RunError> {
        let (run, name) = (new.id, new.started.name.clone());
        let begin = Begin { queue: self.admission.ask(&name, run), beside: vec![] };
        let started = self.runs.start_slot(Firing { schedule, nominal, new, begin });
        self.started(&name, run, matches!(started, Ok(true)));
        started
    }

    fn started(&self, workflow: &str, run: RunId, started: bool) {
        if !started {
            self.admission.withdraw(run);
        }
        self.admission.go_on(&self.runs);
        if self.admission.has_timeout(workflow) {
            self.bell.ring();
        }
    }

    /// A run of a declaration.
    #[must_use]
    pub fn new_run(
        &self,
        kind: &str,
        name: &str,
        policy: &RunPolicy,
        input: Value,
        trigger: String,
    ) -> NewRun {
        let started = started(kind, name, policy, input, self.directory.clone(), trigger);
        NewRun { id: self.runs.new_id(), started, bundle: Arc::clone(&self.bundle) }
    }
}

/// What a run of a declaration is started with, in the homelab's directory.
pub(crate) fn started(
    kind: &str,
    name: &str,
    policy: &RunPolicy,
    input: Value,
    cwd: String,
    trigger: String,
) -> RunStarted {
    RunStarted {
        input,
        cwd,
        allow: policy.allow.clone().unwrap_or_default(),
        deny: policy.deny.clone(),
        trusted: policy.allow.is_none(),
        on_doubt: policy.on_doubt.unwrap_or(OnDoubt::Ask),
        trigger,
        tags: policy.tags.clone(),
        ..RunStarted::trusted(name, RunEntry::Declared { kind: kind.to_owned(), name: name.to_owned() })
    }
}

/// Says that a run ended, so that slots that wait for it may go on.
#[derive(Default)]
pub struct ScheduleBell {
    stale: Mutex<bool>,
    changed: Condvar,
    stopping: AtomicBool,
    /// A run ended since the last round.
    ended: AtomicBool,
    /// A slot waits for the end of a run, or may come to as all are looked at now.
    awaits_ends: AtomicBool,
}

impl ScheduleBell {
    /// Look again.
    pub fn ring(&self) {
        if let Ok(mut stale) = self.stale.lock() {
            *stale = true;
        }
        self.changed.notify_all();
    }

    /// A run ended. Schedules are looked at again if one waits for that, and not at each end of any run.
    pub fn run_ended(&self) {
        self.ended.store(true, Ordering::SeqCst);
        if self.awaits_ends.load(Ordering::SeqCst) {
            self.ring();
        }
    }

    /// The thread ends.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.ring();
    }

    /// Sleeps until `pause` has passed or it rings.
    fn sleep(&self, pause: Duration) {
        let Ok(stale) = self.stale.lock() else { return };
        if let Ok((mut stale, _)) = self.changed.wait_timeout_while(stale, pause, |stale| !*stale) {
            *stale = false;
        }
    }
}

impl Listener for ScheduleBell {
    fn changed(&self, _: RunId, status: RunStatus, _: Option<&hob_model::RunEnd>) {
        if status.ended() {
            self.run_ended();
        }
    }
}

/// Slots that are due, on their way to their runs.
#[derive(Default)]
struct Firings {
    all: Vec<Ready>,
    /// For each of `all`, at the same place, the number of its schedule.
    of: Vec<usize>,
    /// By the kind of what schedules run, which of that had live runs when the round began, where all were read at once.
    busy: HashMap<&'static str, HashSet<String>>,
}

impl Firings {
    /// Whether it is known, without a further look, that the schedule has no live run.
    fn knows_idle(&self, timed: &Timed) -> bool {
        let (kind, name) = timed.target();
        self.busy.get(kind).is_some_and(|busy| !busy.contains(name))
    }
}

/// All that fires at times, and where each of it stands.
pub struct Scheduling {
    launch: Launch,
    timed: Vec<Timed>,
    /// For each of `timed`, at the same place.
    looks: Mutex<Vec<Look>>,
    /// The places of `timed` in the order of their names.
    by_name: Box<[u32]>,
    machine: Arc<dyn Machine>,
    watch: Mutex<Watch>,
    bell: Arc<ScheduleBell>,
}

impl Scheduling {
    /// Everything in `timed`, with what is remembered of it.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn new(
        launch: Launch,
        timed: Vec<Timed>,
        machine: Arc<dyn Machine>,
        bell: Arc<ScheduleBell>,
    ) -> Result<Self, RunError> {
        let looks = memory::recall(&launch, &timed)?;
        let places = u32::try_from(timed.len()).expect("there are fewer than declarations");
        let mut by_name: Box<[u32]> = (0..places).collect();
        by_name.sort_unstable_by_key(|at| &timed[*at as usize].schedule.name);
        let watch = Mutex::default();
        Ok(Self { launch, timed, looks: Mutex::new(looks), by_name, machine, watch, bell })
    }

    /// The place of the schedule of this name.
    fn place_of(&self, name: &str) -> Option<usize> {
        let of = |at: &u32| &*self.timed[*at as usize].schedule.name;
        let found = self.by_name.binary_search_by(|at| of(at).cmp(name)).ok()?;
        Some(self.by_name[found] as usize)
    }

    /// The bell that has it look again.
    #[must_use]
    pub fn bell(&self) -> &Arc<ScheduleBell> {
        &self.bell
    }

    fn looks(&self) -> MutexGuard<'_, Vec<Look>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fires schedules until the bell says stop; calls `maintain` now and then, and `beside` after each round and when that
    /// said that it is to be called again. A panic is a bug of hob, and must not be the end of all schedules: it goes on.
    pub fn serve(&self, maintain: &dyn Fn(), beside: &dyn Fn() -> Option<Timestamp>) {
        let mut maintained: Option<Timestamp> = None;
        while !self.bell.stopping.load(Ordering::SeqCst) {
            let now = self.launch.runs.now();
            let maintains =
                maintained.is_none_or(|last| now.duration_since(last).unsigned_abs() >= MAINTAIN_EVERY);
            if maintains {
                maintained = Some(now);
                maintain();
            }
            let round = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.round()));
            let pause = round.unwrap_or_else(|_| {
                tracing::error!("looking at schedules panicked; it is tried again");
                // What was found and not claimed is found again.
                self.looks().iter_mut().for_each(|look| {
                    look.forget();
                    look.wake = Some(now);
                });
                AFTER_PANIC
            });
            if maintains {
                // The first round, too, reads what all have claimed.
                self.launch.runs.journal().rest();
            }
            let again = beside().map_or(pause, |at| self.until(at));
            self.bell.sleep(pause.min(again));
        }
    }

    /// Looks at all schedules that are to be looked at now; how long nothing is to be done afterwards.
    pub fn round(&self) -> Duration {
        let runs = &self.launch.runs;
        let now = runs.now();
        let moved = self.watch_clock(now);
        if self.awaits_clock(now) {
            return watch::CLOCK_AGAIN;
        }
        // Before anything is read: an end that comes after the reading rings.
        self.bell.awaits_ends.store(true, Ordering::SeqCst);
        let ended = self.bell.ended.swap(false, Ordering::SeqCst);
        let (mut wake, mut awaits_ends) = (None, false);
        let mut looks = self.looks();
        let mut firings = Firings::default();
        if looks.iter().filter(|look| moved || look.is_due(now, ended)).count() >= MANY_DUE {
            // Where that fails, each is looked up by itself, and says so.
            let busy = |kind| Some((kind, self.busy(kind).ok()??));
            firings.busy = ["schedule", "workflow"].into_iter().filter_map(busy).collect();
        }
        for at in 0..looks.len() {
            if moved {
                looks[at].give_up_ahead();
            }
            if moved || looks[at].is_due(now, ended) {
                self.look_or_later(at, &mut looks[at], now, &mut firings);
                looks[at].rest(now);
            }
            if firings.all.len() >= CLAIMED_MAX {
                self.fire(&mut firings, &mut looks, now);
            }
            wake = [wake, looks[at].wake].into_iter().flatten().min();
            awaits_ends |= looks[at].awaits_ends;
        }
        self.fire(&mut firings, &mut looks, now);
        drop(looks);
        self.bell.awaits_ends.store(awaits_ends, Ordering::SeqCst);
        self.audit(now);
        runs.events_changed();
        let wake = wake.map(|wake| self.make_ready(wake, now));
        wake.map_or(LOOK_AGAIN, |wake| self.until(wake)).min(LOOK_AGAIN)
    }

    /// How long it is from now to `at`; nothing where that has passed.
    fn until(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.launch.runs.now())).unwrap_or_default()
    }

    /// Looks at one schedule; where that fails, once more soon.
    fn look_or_later(&self, at: usize, look: &mut Look, now: Timestamp, firings: &mut Firings) {
        let timed = &self.timed[at];
        if let Err(error) = self.look_at(timed, look, now, firings) {
            tracing::error!(schedule = %timed.schedule.name, %error, "the schedule cannot be served now");
            look.forget();
            look.wake = now.checked_add(LOOK_AGAIN).ok();
        }
        firings.of.resize(firings.all.len(), at);
    }

    /// Claims slots that were found, and has their runs evaluated: none of them before all are claimed, as they would take
    /// the processors from it.
    fn fire(&self, firings: &mut Firings, looks: &mut [Look], now: Timestamp) {
        let (all, of) = (std::mem::take(&mut firings.all), std::mem::take(&mut firings.of));
        if all.is_empty() {
            return;
        }
        match self.claim(all) {
            Ok(claimed) => claimed.into_iter().for_each(|claimed| self.launch.runs.begin_claimed(claimed)),
            Err(error) => {
                tracing::error!(slots = of.len(), %error, "slots that are due cannot be claimed now");
                for at in of {
                    looks[at].forget();
                    looks[at].wake = now.checked_add(LOOK_AGAIN).ok();
                }
            }
        }
    }

    /// Claims slots. A run whose slot was claimed before gives up its room among those of its workflow.
    fn claim(&self, slots: Vec<Ready>) -> Result<Vec<Claimed>, RunError> {
        let ids: Vec<RunId> = slots.iter().map(|ready| ready.slot().run).collect();
        let claimed = self.launch.runs.claim_slots(slots);
        let is_claimed = |at: usize| claimed.as_ref().is_ok_and(|claimed| claimed[at].is_some());
        for (at, id) in ids.into_iter().enumerate() {
            if !is_claimed(at) {
                self.launch.admission.withdraw(id);
            }
        }
        Ok(claimed?.into_iter().flatten().collect())
    }
}
