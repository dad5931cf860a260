//! One simulated history: a script, a machine that fails, and everything that is done until all runs have ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use hob_engine::{Bundle, Turns};
use hob_journal::{Journal, Write};
use hob_model::{OnDoubt, RunEntry, RunId, RunOwner, RunStarted, Value};
use hob_primitive::{Clock, Ports, Registry};
use hob_runs::{NewRun, NoListener, Parts, Runs};

use super::disk::{Disk, FaultJournal};
use super::script::{self, Script};
use super::sim::{Fault, Sim, State};
use super::turns::SeededTurns;
use super::witness::Witness;
use super::world::{TurnPerformer, World, api};
use super::{Sabotage, Tally, checks, outside};

/// Steps after which a simulation must have come to its end.
const STEPS_MAX: u32 = 3_000;
/// Moments before the first fault, and between two of them, at most.
const FAULT_MOMENTS_MAX: u64 = 60;

/// Who starts the runs of a simulation.
const TRIGGER: &str = "simulator";

/// What a seed decides beforehand.
#[derive(Clone)]
pub(super) struct Plan {
    /// Whether anything goes wrong at all.
    pub(super) faulty: bool,
    /// Only such faults, and such decisions of people, as must not change what the run comes to.
    pub(super) tame: bool,
    pub(super) faults: u32,
    pub(super) sqlite: bool,
    pub(super) owner: RunOwner,
    pub(super) on_doubt: OnDoubt,
    pub(super) runs: u32,
    pub(super) signals: Vec<String>,
    pub(super) sabotage: Option<Sabotage>,
}

/// What a simulation leaves behind.
pub(super) struct Past {
    pub(super) script: Arc<Script>,
    pub(super) plan: Plan,
    pub(super) sim: Arc<Sim>,
    pub(super) runs: Runs,
    pub(super) tally: Tally,
}

thread_local! {
    /// Operations cost little to call and much to describe.
    static REGISTRY: Arc<Registry> =
        Arc::new(Registry::new(vec![api::primitive()]).expect("the simulator's operations are well described"));
}

pub(super) fn plan(seed: u64, sabotage: Option<Sabotage>, sqlite: bool) -> (Plan, Arc<Script>) {
    let mut rng = Rng::with_seed(seed);
    let tame = rng.u8(..5) < 3;
    let script = script::generate(&mut rng, tame);
    let policies = [OnDoubt::Ask, OnDoubt::Ask, OnDoubt::Retry, OnDoubt::Skip, OnDoubt::Fail];
    let policy = if tame { OnDoubt::Ask } else { *rng.choice(&policies).expect("not empty") };
    let plan = Plan {
        faulty: true,
        tame,
        faults: rng.u32(..6),
        sqlite,
        owner: if rng.u8(..8) == 0 { RunOwner::Foreground } else { RunOwner::Daemon },
        on_doubt: policy,
        runs: if rng.u8(..6) == 0 { 2 } else { 1 },
        signals: script.signals.clone(),
        sabotage,
    };
    (plan, Arc::new(script))
}

/// Carries a plan out to its end.
pub(super) fn simulate(
    seed: u64,
    plan: Plan,
    script: &Arc<Script>,
    told: bool,
) -> Result<Past, (String, Vec<String>)> {
    let mut witness = Witness::default();
    witness.story = told.then(Vec::new);
    let state = State::new(seed ^ 0x5eed, witness, plan.clone());
    let sim = Sim::new(state, SeededTurns::new(seed));
    let disk = Arc::new(if plan.sqlite { Disk::sqlite() } else { Disk::memory() });
    let mut history =
        History { sim, disk, script: Arc::clone(script), plan, left: 0, tally: Tally::default() };
    history.left = history.plan.faults;
    let runs = history.live();
    let sim = Arc::clone(&history.sim);
    let runs = runs.and_then(|runs| history.judge(&runs).map(|()| runs));
    // The process and what it holds refer to each other.
    sim.lock().runs = None;
    match runs {
        Ok(runs) => {
            let History { sim, script, plan, tally, .. } = history;
            Ok(Past { script, plan, sim, runs, tally })
        }
        Err(rule) => {
            let story = sim.lock().witness.story.take().unwrap_or_default();
            Err((rule, story))
        }
    }
}

struct History {
    sim: Arc<Sim>,
    disk: Arc<Disk>,
    script: Arc<Script>,
    plan: Plan,
    /// Faults to come.
    left: u32,
    tally: Tally,
}

impl History {
    /// From the first start until nothing is left to do.
    fn live(&mut self) -> Result<Runs, String> {
        let mut runs = self.boot();
        self.start(&runs);
        for _ in 0..STEPS_MAX {
            self.violation()?;
            if self.is_down() {
                runs = self.reboot()?;
                continue;
            }
            if !outside::one(&self.sim, false) && !self.is_down() {
                // Who was not promised a run yet asks again.
                if !self.start(&runs) {
                    return Ok(runs);
                }
            }
        }
        Err(format!("it goes on after {STEPS_MAX} steps"))
    }

    fn violation(&self) -> Result<(), String> {
        self.sim.lock().witness.violation.clone().map_or(Ok(()), Err)
    }

    /// Whether the process has ended, or has nothing to live for.
    fn is_down(&self) -> bool {
        let closing = self.sim.lock().struck == Some(Fault::Close);
        self.sim.is_dead() || self.disk.journal().may_act().is_err() || closing
    }

    /// A process over what the disk has.
    fn boot(&mut self) -> Runs {
        let sim = &self.sim;
        let mut ports = Ports::default();
        ports.insert::<World>(Arc::new(World(Arc::clone(sim))));
        let entropy = Arc::clone(sim);
        let runs = Runs::new(Parts {
            journal: Arc::new(FaultJournal { sim: Arc::clone(sim), disk: Arc::clone(&self.disk) }),
            registry: REGISTRY.with(Arc::clone),
            ports: Arc::new(ports),
            clock: Arc::clone(sim) as Arc<dyn Clock>,
            performer: Arc::new(TurnPerformer(Arc::clone(sim))),
            spawner: Arc::new(sim.spawner.clone()),
            listener: Arc::new(NoListener),
            turns: Some(Arc::new(sim.turns.clone()) as Arc<dyn Turns>),
            entropy: Box::new(move || {
                let mut bytes = [0; 10];
                bytes[2..].copy_from_slice(&entropy.lock().rng.u64(..).to_be_bytes());
                bytes
            }),
            dry: false,
        });
        let mut state = sim.lock();
        state.runs = Some(runs.clone());
        state.struck = None;
        if self.left > 0 && self.plan.faulty {
            self.left -= 1;
            let at = state.moment + state.rng.u64(1..=FAULT_MOMENTS_MAX);
            let fault = match state.rng.u8(..8) {
                0 if !self.plan.sqlite => Fault::DiskFull,
                1 => Fault::Close,
                _ => Fault::Crash,
            };
            state.fault = Some((at, fault));
        }
        drop(state);
        runs
    }

    /// What was running is gone; a new process finds the disk.
    fn reboot(&mut self) -> Result<Runs, String> {
        self.tally.restarts += 1;
        let (fault, runs) = {
            let mut state = self.sim.lock();
            (state.struck.unwrap_or(Fault::Crash), state.runs.take())
        };
        if let Some(runs) = runs {
            if fault == Fault::Close && !self.sim.is_dead() {
                runs.close();
                while self.sim.spawner.run(0) {}
                drop(runs.journal().flush());
            }
            self.violation()?;
            self.sim.die();
            runs.close();
        }
        self.sim.spawner.clear();
        let mut rng = self.sim.lock().rng.fork();
        self.disk = Arc::new(self.disk.after(&mut rng, fault, self.plan.sabotage)?);
        if !self.plan.tame && rng.u8(..4) == 0 {
            self.sim.shift_clock(-90_000_000);
        }
        {
            let mut state = self.sim.lock();
            state.fault = None;
            state.stopped = None;
            state.witness.tell(|| "RESTART".to_owned());
            state.witness.restart(self.disk.journal());
        }
        self.violation()?;
        self.sim.revive();
        let runs = self.boot();
        if rng.u8(..8) == 0 {
            self.replays(&runs)?;
        }
        // It may die while it recovers; the loop sees to that.
        drop(runs.recover(true));
        Ok(runs)
    }

    /// Every live run replays without a difference on what is recorded.
    fn replays(&mut self, runs: &Runs) -> Result<(), String> {
        let sabotaged = self.plan.sabotage.is_some();
        for (run, found) in runs.check_live().unwrap_or_default() {
            self.tally.replays += 1;
            let overridden = self.sim.lock().witness.runs.get(&run).is_some_and(|run| run.overridden);
            if found != hob_runs::Migration::Fits && !sabotaged && !overridden {
                return Err(format!("run {run} does not replay after a restart: {found:?}"));
            }
        }
        Ok(())
    }

    /// Starts the runs that are not there; whether there were any.
    fn start(&mut self, runs: &Runs) -> bool {
        let wanted = |n: &u32| {
            let (name, state) = (format!("main{n}"), self.sim.lock());
            let mut started = state.witness.runs.values().filter_map(|run| run.started.as_ref());
            !started.any(|started| started.trigger == TRIGGER && started.name == name)
        };
        let missing: Vec<u32> = (0..self.plan.runs).filter(wanted).collect();
        let file = if self.script.homelab { "homelab.rhai" } else { "sim.rhai" };
        let bundle = Arc::new(Bundle::of_text(file, &self.script.text, "/", "sim"));
        let entry = if self.script.homelab {
            RunEntry::Declared { kind: "workflow".to_owned(), name: "main".to_owned() }
        } else {
            RunEntry::Playbook(file.to_owned())
        };
        for n in &missing {
            let started = RunStarted {
                input: Value::Map(BTreeMap::from([("n".to_owned(), Value::Int(0))])),
                owner: self.plan.owner,
                on_doubt: self.plan.on_doubt,
                trigger: TRIGGER.to_owned(),
                ..RunStarted::trusted(format!("main{n}"), entry.clone())
            };
            let ticket = runs.start(NewRun { id: runs.new_id(), started, bundle: Arc::clone(&bundle) });
            if self.sim.lock().rng.bool()
                && let Ok(ticket) = ticket
            {
                drop(runs.journal().wait(ticket));
            }
        }
        !missing.is_empty()
    }

    /// What must hold now that everything is over.
    fn judge(&mut self, runs: &Runs) -> Result<(), String> {
        self.violation()?;
        checks::all_ended(runs)?;
        checks::derived(&self.disk)?;
        self.violation()?;
        let state = self.sim.lock();
        self.tally.runs += state.witness.runs.len() as u64;
        self.tally.acts += state.witness.acts.len() as u64;
        drop(state);
        Ok(())
    }
}

/// The writes that store `run` again, each entry changed by `change`; `None` ends it.
pub(super) fn copy_of(
    journal: &dyn Journal,
    run: RunId,
    mut change: impl FnMut(hob_model::Entry) -> Option<hob_model::Entry>,
) -> Vec<Write> {
    let bundles = journal.run(run).ok().flatten().and_then(|row| row.bundle);
    let record = bundles.and_then(|digest| journal.bundle(digest).ok().flatten());
    let mut writes = Vec::new();
    for (_, digest) in record.iter().flat_map(|record| &record.files) {
        if let Ok(Some(bytes)) = journal.blob(*digest) {
            writes.push(Write::Blob(*digest, bytes));
        }
    }
    writes.extend(record.map(Write::Bundle));
    let entries = journal.entries(run, 0, usize::MAX).unwrap_or_default();
    writes.extend(entries.into_iter().map_while(&mut change).map(|entry| Write::Entry(run, entry)));
    writes
}

/// Evaluates `run` from `disk`, whose records were changed: it must pause, and nothing may reach the world.
pub(super) fn expect_pause(
    plan: &Plan,
    script: &Arc<Script>,
    disk: Arc<Disk>,
    run: RunId,
) -> Result<(), String> {
    let state = State::new(1, Witness::default(), plan.clone());
    let sim = Sim::new(state, SeededTurns::new(1));
    sim.lock().witness.restart(disk.journal());
    let (plan, script) = (plan.clone(), Arc::clone(script));
    let mut history = History { sim, disk, script, plan, left: 0, tally: Tally::default() };
    let runs = history.boot();
    drop(runs.recover(true));
    if history.plan.owner == RunOwner::Foreground {
        drop(runs.resume(run));
    }
    while history.sim.spawner.run(0) {}
    let acts = history.sim.lock().witness.acts.len();
    history.sim.lock().runs = None;
    let status = runs.row(run).map_err(|error| error.to_string())?.status;
    match (status, acts) {
        (hob_model::RunStatus::Paused, 0) => Ok(()),
        _ => Err(format!("a changed record of {run} was not found out: it is {status} after {acts} effects")),
    }
}
