//! The machine that is simulated: its one clock, its moments, and when it fails.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use hob_engine::Turns;
use hob_model::{Position, RunId, Timestamp};
use hob_primitive::Clock;
use hob_runs::Runs;

use super::Sabotage;
use super::outside;
use super::turns::SeededTurns;
use super::witness::Witness;

/// Jobs within jobs: how many runs are evaluated on top of each other on one stack.
const NESTED_JOBS_MAX: u32 = 2;

thread_local! {
    /// The moment at which the branch on this thread was last told that it may act; 0 for never.
    static CLEARED: Cell<u64> = const { Cell::new(0) };
}

/// What happens to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The process dies, at once.
    Crash,
    /// No write succeeds any more.
    DiskFull,
    /// It is asked to stop.
    Close,
}

/// Where a moment lies: crashes are placed before and after each of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Submit,
    Sync,
    Act,
}

/// What the threads of one simulation share.
pub(super) struct Sim {
    pub(super) state: Mutex<State>,
    dead: AtomicBool,
    pub(super) turns: SeededTurns,
    clock: AtomicI64,
    nested: AtomicU32,
    pub(super) spawner: hob_runs::InlineSpawner,
}

/// What they share under the lock; the engine is never called while it is held.
pub(super) struct State {
    pub(super) rng: Rng,
    pub(super) witness: Witness,
    /// Counted over the whole simulation.
    pub(super) moment: u64,
    /// The next fault, and at which moment.
    pub(super) fault: Option<(u64, Fault)>,
    /// The fault that came.
    pub(super) struck: Option<Fault>,
    /// The running process.
    pub(super) runs: Option<Runs>,
    /// The moment at which the journal stopped.
    pub(super) stopped: Option<u64>,
    /// Failures of each effect since it last succeeded.
    pub(super) failures: HashMap<(RunId, Position), u32>,
    pub(super) plan: super::history::Plan,
    /// People's interventions so far.
    pub(super) interventions: u32,
}

impl State {
    /// The state in which a simulation begins.
    pub(super) fn new(seed: u64, witness: Witness, plan: super::history::Plan) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            witness,
            moment: 1,
            fault: None,
            struck: None,
            runs: None,
            stopped: None,
            failures: HashMap::new(),
            plan,
            interventions: 0,
        }
    }
}

impl Sim {
    pub(super) fn new(state: State, turns: SeededTurns) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(state),
            dead: AtomicBool::new(false),
            turns,
            clock: AtomicI64::new(1_800_000_000_000_000),
            nested: AtomicU32::new(0),
            spawner: hob_runs::InlineSpawner::default(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the process has died: what its threads still do reaches nothing.
    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// A new process.
    pub(super) fn revive(&self) {
        self.dead.store(false, Ordering::SeqCst);
    }

    /// Ends the process here.
    pub(super) fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    pub(super) fn move_clock(&self, to: Timestamp) {
        self.clock.fetch_max(to.as_microsecond(), Ordering::SeqCst);
    }

    /// The clock is set, backwards, too: as when a machine comes up without a battery.
    pub(super) fn shift_clock(&self, micros: i64) {
        self.clock.fetch_add(micros, Ordering::SeqCst);
    }

    /// One moment goes by. A fault that is due strikes; gives it the first time.
    pub(super) fn moment(&self, place: Place) -> Option<Fault> {
        if self.is_dead() {
            return None;
        }
        let mut state = self.lock();
        state.moment += 1;
        if state.witness.violation.is_some() {
            drop(state);
            self.die();
            return None;
        }
        let due = state.fault.filter(|(at, _)| *at <= state.moment)?;
        state.fault = None;
        state.struck = Some(due.1);
        state.witness.tell(|| format!("FAULT {:?} at {place:?}", due.1));
        drop(state);
        if due.1 == Fault::Crash {
            self.die();
        }
        Some(due.1)
    }

    /// A place where other threads, other runs and the world outside may come in between.
    pub(super) fn breathe(self: &Arc<Self>) {
        let chance = self.lock().rng.u8(..16);
        if chance < 6 {
            self.turns.pass();
        } else if chance < 8 && !self.is_dead() {
            self.come_in_between();
        }
    }

    /// Something from outside happens on this thread, as if on another one.
    fn come_in_between(self: &Arc<Self>) {
        if self.nested.load(Ordering::SeqCst) >= NESTED_JOBS_MAX {
            return;
        }
        self.nested.fetch_add(1, Ordering::SeqCst);
        let cleared = CLEARED.get();
        outside::one(self, true);
        CLEARED.set(cleared);
        self.nested.fetch_sub(1, Ordering::SeqCst);
    }

    /// The branch on this thread was just told that it may go on.
    pub(super) fn clear(&self) {
        CLEARED.set(self.lock().moment);
    }

    /// When that was, for the effect that begins now.
    pub(super) fn cleared(&self) -> u64 {
        match CLEARED.replace(0) {
            0 => self.lock().moment,
            at => at,
        }
    }

    pub(super) fn sabotage(&self) -> Option<Sabotage> {
        self.lock().plan.sabotage
    }
}

impl Clock for Sim {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.clock.load(Ordering::SeqCst)).expect("simulations are short")
    }
}
