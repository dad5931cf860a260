//! The simulator: the real engine, random scripts, and a machine that fails at random.
//!
//! A seed decides everything: the script, the order in which branches go on, what the world answers, when people
//! intervene, and at which write, sync or effect the machine dies, its disk is full or it is asked to stop. The same
//! seed gives the same history.
//!
//! ```text
//! seed ─▶ script ─▶ engine ─▶ FaultJournal ─▶ memory or SQLite
//!    │                 │            │
//!    ├─▶ turns         └─▶ World ───┴─▶ Witness: judges every entry and every effect by the rules
//!    └─▶ faults, people, time
//! ```
//!
//! The witness keeps its own account of every run and shares no code with the engine. It knows these rules:
//!
//! - no run is lost, no durable entry either, and nothing appears that nobody wrote;
//! - a completed effect is not done again; a `once` effect is done again only when a person or a policy said so;
//!   a `keyed` one happens once; a `once` effect whose outcome is unknown is in doubt before anything else happens;
//! - before an effect acts, its intent and all earlier outcomes of its branch are durable;
//! - nothing happens past a latch: beyond a wait, a doubt, a branch that has not ended, a cancel, an end;
//! - waits and effects of cancelled branches are given up on record, a suspended run has something to wake it;
//! - compensations run backwards, once, and all of them;
//! - with faults that must not matter, a run ends with the value, and with the effects, of a run without faults;
//! - each journal replays on itself; a changed record is found out; what is derived equals a fresh fold.

mod checks;
mod disk;
mod history;
mod model;
mod outside;
mod places;
mod script;
mod sim;
mod turns;
mod witness;
mod world;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// One in so many histories that a fault must not change is compared with one without faults.
const COMPARED_EVERY: u64 = 2;
/// One in so many histories has a record changed afterwards.
const DAMAGED_EVERY: u64 = 8;

/// A lie that the simulated parts tell, to show that the rules find it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The journal says that it is durable before it is.
    SkipSync,
    /// Some outcomes cannot be read back.
    ForgetOutcomes,
    /// Intents cannot be read back.
    ForgetIntents,
    /// An effect reaches the world twice.
    ActTwice,
    /// What was synced is lost by a crash.
    LoseSynced,
    /// Nobody is woken when the time has come.
    LoseWakeups,
}

/// What to simulate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// Over SQLite in a temporary directory instead of memory.
    pub sqlite: bool,
    /// A lie.
    pub sabotage: Option<Sabotage>,
    /// Whether a failure tells its whole story.
    pub told: bool,
}

/// What was simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Histories.
    pub histories: u64,
    /// Runs in them, with children, forks and successors.
    pub runs: u64,
    /// Effects that reached the world.
    pub acts: u64,
    /// Times that the machine failed and came up again.
    pub restarts: u64,
    /// Live runs that were replayed after a restart.
    pub replays: u64,
    /// Histories that were compared with one without faults.
    pub compared: u64,
    /// Histories with a changed record, which was found out.
    pub damaged: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.runs += other.runs;
        self.acts += other.acts;
        self.restarts += other.restarts;
        self.replays += other.replays;
        self.compared += other.compared;
        self.damaged += other.damaged;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} histories: {} runs, {} effects, {} restarts, {} replays, {} compared with a faultless one, {} damaged",
            self.histories, self.runs, self.acts, self.restarts, self.replays, self.compared, self.damaged
        )
    }
}

/// A rule that was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that breaks it again.
    pub seed: u64,
    /// Whether it was over SQLite.
    pub sqlite: bool,
    /// Which rule, and where.
    pub rule: String,
    /// The script.
    pub script: String,
    /// What happened, line by line, when it was to be told.
    pub story: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.rule)?;
        writeln!(f, "--- script\n{}---", self.script)?;
        for line in &self.story {
            writeln!(f, "{line}")?;
        }
        let sqlite = if self.sqlite { " --sqlite" } else { "" };
        write!(
            f,
            "again: cargo run --release -p hob-testkit --example simulate -- --seed {} --count 1 --verbose{sqlite}",
            self.seed
        )
    }
}

/// Simulates the history of one seed. The calling thread needs a stack of [`hob_engine::SCRIPT_STACK_BYTES`].
///
/// # Errors
/// The first rule that was broken.
pub fn simulate(seed: u64, setup: &Setup) -> Result<Tally, Box<Failure>> {
    history_of(seed, setup).map(|(tally, _)| tally)
}

/// As [`simulate`], with what happened, line by line.
///
/// # Errors
/// The first rule that was broken; it has the story with it.
pub fn tell(seed: u64, setup: &Setup) -> Result<(Tally, Vec<String>), Box<Failure>> {
    history_of(seed, &Setup { told: true, ..*setup })
}

fn history_of(seed: u64, setup: &Setup) -> Result<(Tally, Vec<String>), Box<Failure>> {
    let (plan, script) = history::plan(seed, setup.sabotage, setup.sqlite);
    let failure = |rule: String, story: Vec<String>| {
        Box::new(Failure { seed, sqlite: setup.sqlite, rule, script: script.text.clone(), story })
    };
    let past = history::simulate(seed, plan.clone(), &script, setup.told)
        .map_err(|(rule, story)| failure(rule, story))?;
    let mut tally = Tally { histories: 1, ..past.tally };
    let mut judged = checks::replay(&past);
    if judged.is_ok() && plan.tame && script.deterministic && seed.is_multiple_of(COMPARED_EVERY) {
        let calm = history::Plan { faulty: false, faults: 0, sqlite: false, sabotage: None, ..plan };
        let without = history::simulate(seed, calm, &script, false)
            .map_err(|(rule, story)| failure(format!("without any fault: {rule}"), story))?;
        judged = checks::same(&past, &without);
        tally.compared = 1;
    }
    if judged.is_ok() && seed.is_multiple_of(DAMAGED_EVERY) {
        judged = checks::damage(&past, seed).map(|damaged| tally.damaged = u64::from(damaged));
    }
    let story = past.sim.lock().witness.story.take().unwrap_or_default();
    match judged {
        Ok(()) => Ok((tally, story)),
        Err(rule) => Err(failure(rule, story)),
    }
}

/// Simulates the histories of `count` seeds from `first` on, on `threads` threads; `progress` hears how many are done.
///
/// # Errors
/// One of the failures, if there are any.
///
/// # Panics
/// When no thread can be had.
pub fn simulate_many(
    first: u64,
    count: u64,
    threads: usize,
    setup: &Setup,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Tally, Box<Failure>> {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let found = Mutex::new((Tally::default(), None::<Box<Failure>>));
    let work = || {
        let mut tally = Tally::default();
        while !stop.load(Ordering::Relaxed) {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                break;
            }
            progress(n);
            match simulate(first.wrapping_add(n), setup) {
                Ok(one) => tally.add(&one),
                Err(failure) => {
                    stop.store(true, Ordering::Relaxed);
                    found.lock().unwrap_or_else(PoisonError::into_inner).1.get_or_insert(failure);
                }
            }
        }
        found.lock().unwrap_or_else(PoisonError::into_inner).0.add(&tally);
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let builder = std::thread::Builder::new().stack_size(hob_engine::SCRIPT_STACK_BYTES);
            builder.spawn_scoped(scope, work).expect("the machine has a thread for the simulation");
        }
    });
    let (tally, failure) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    failure.map_or(Ok(tally), Err)
}
