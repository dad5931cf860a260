//! One branch of a run: the root, a branch of `parallel` or `race`, a step, a compensation.
//!
//! A branch counts its effects itself, so that the order in which branches finish never matters. It travels in the
//! evaluation's tag, and so is known to each call, also inside functions, modules and closures.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use hob_model::{EntryKind, OpError, Position, Source};
use rhai::{Dynamic, EvalAltResult, NativeCallContext};

use crate::latch::{Halt, Latch};
use crate::progress::effect_reached;
use crate::records::{BranchLog, Record};
use crate::run_cx::{Difference, Mode, RunCx, lock};

/// What a branch counts while it is evaluated.
#[derive(Debug, Default)]
struct Counters {
    effects: u32,
    logs: u32,
    steps: HashMap<String, u32>,
    log: BranchLog,
    /// Whether it registered compensations.
    compensates: bool,
    /// The newest event when the previous effect ended.
    event_mark: u64,
}

/// One branch of a run while it is evaluated.
pub struct BranchCx {
    /// The run.
    pub run: Arc<RunCx>,
    /// Its place; the root for the root branch.
    pub position: Position,
    /// Says that it is over; shared with the steps inside of it.
    pub(crate) latch: Arc<Latch>,
    /// Whether records are kept for another evaluation of this branch in this process.
    retain: bool,
    counters: Mutex<Counters>,
}

thread_local! {
    /// The branch that this thread evaluates: for what Rhai calls without a context.
    static CURRENT: RefCell<Option<Arc<BranchCx>>> = const { RefCell::new(None) };
}

/// Evaluates something as a part of `branch`, on this thread.
pub(crate) fn within<T>(branch: &Arc<BranchCx>, evaluate: impl FnOnce() -> T) -> T {
    effect_reached();
    let outer = CURRENT.replace(Some(Arc::clone(branch)));
    let result = evaluate();
    CURRENT.set(outer);
    result
}

/// The branch that this thread evaluates.
pub(crate) fn current() -> Option<Arc<BranchCx>> {
    CURRENT.with_borrow(Option::clone)
}

/// The tag of an evaluation that belongs to a branch.
#[derive(Clone)]
pub struct BranchHandle(pub Arc<BranchCx>);

/// The tag of an evaluation that declares: nothing may act or observe.
#[derive(Clone)]
pub struct DeclaringHandle(pub Arc<crate::declare::Declaring>);

impl BranchCx {
    /// The root branch of `run`.
    #[must_use]
    pub fn root(run: &Arc<RunCx>) -> Arc<Self> {
        Self::open(run, Position::root(), Arc::new(Latch::default()), false)
    }

    /// A branch at `position`, with the records of it.
    #[must_use]
    pub(crate) fn open(run: &Arc<RunCx>, position: Position, latch: Arc<Latch>, retain: bool) -> Arc<Self> {
        let log = lock(&run.records).take(&position);
        let event_mark = run.host.journal.last_event().unwrap_or(0);
        let counters = Counters { log, event_mark, ..Counters::default() };
        Arc::new(Self { run: Arc::clone(run), position, latch, retain, counters: Mutex::new(counters) })
    }

    /// A step inside this branch: numbers of its own, the same latch.
    pub(crate) fn open_step(&self, position: Position) -> Arc<Self> {
        Self::open(&self.run, position, Arc::clone(&self.latch), self.retain)
    }

    /// Ends an evaluation of this branch: its records go back, for another one.
    pub(crate) fn close(&self) {
        if self.retain {
            let log = std::mem::take(&mut lock(&self.counters).log);
            lock(&self.run.records).put_back(&self.position, log);
        }
    }

    /// The number of the next effect, and its position.
    pub(crate) fn next_effect(&self) -> (u32, Position) {
        effect_reached();
        let mut counters = lock(&self.counters);
        counters.effects += 1;
        (counters.effects, self.position.effect(counters.effects))
    }

    /// The position of the next step called `name`.
    pub(crate) fn next_step(&self, name: &str) -> Position {
        effect_reached();
        let mut counters = lock(&self.counters);
        let count = counters.steps.entry(name.to_owned()).or_insert(0);
        *count += 1;
        self.position.step(name, *count)
    }

    /// The number of the next log line, when it was not recorded before.
    pub(crate) fn next_log(&self) -> Option<u32> {
        let mut counters = lock(&self.counters);
        counters.logs += 1;
        (counters.logs > counters.log.logs).then_some(counters.logs)
    }

    /// The record of the n-th effect, if there is one.
    pub(crate) fn record(&self, n: u32) -> Option<Record> {
        let mut counters = lock(&self.counters);
        if self.retain || counters.log.effect(n).is_none() {
            counters.log.effect(n).cloned()
        } else {
            // The root is evaluated once per load, so its records can be moved out.
            Some(std::mem::take(counters.log.effect_mut(n)))
        }
    }

    /// Keeps what was just recorded live, for another evaluation of this branch in this process.
    pub(crate) fn keep(&self, n: u32, change: impl FnOnce(&mut Record)) {
        if self.retain {
            change(lock(&self.counters).log.effect_mut(n));
        }
    }

    /// Records that a cancelled branch gives up its n-th effect: withdrawn when it waits, abandoned when its outcome
    /// is unknown.
    pub(crate) fn give_up(&self, n: u32, entry: EntryKind) {
        if self.run.mode == Mode::Verify {
            return;
        }
        // Ends of waits are delivered under this lock; what was delivered is not withdrawn.
        let inbox = lock(&self.run.coordination);
        let position = self.position.effect(n);
        if matches!(entry, EntryKind::Withdrawn { .. })
            && !matches!(self.run.host.journal.wait_at(self.run.id, &position), Ok(Some(_)))
        {
            return;
        }
        self.keep(n, |record| {
            record.wait = None;
            record.abandoned |= record.intent.is_some();
        });
        self.run.append(vec![entry], vec![]);
        drop(inbox);
    }

    /// As [`BranchCx::keep`], for log lines.
    pub(crate) fn keep_log(&self, number: u32) {
        lock(&self.counters).log.logs = number;
    }

    /// Records that compensations were registered here.
    pub(crate) fn mark_compensates(&self) {
        lock(&self.counters).compensates = true;
    }

    /// Whether compensations were registered here.
    pub(crate) fn compensates(&self) -> bool {
        lock(&self.counters).compensates
    }

    /// The newest event when the previous effect of this branch ended.
    pub(crate) fn event_mark(&self) -> u64 {
        lock(&self.counters).event_mark
    }

    /// An effect ended: later events count for the next `wait_for`.
    pub(crate) fn mark_event(&self) {
        lock(&self.counters).event_mark = self.run.host.journal.last_event().unwrap_or(0);
    }

    /// The first recorded effect that the evaluation, which has ended, did not come to.
    pub(crate) fn unreached(&self) -> Option<(u32, Record)> {
        let counters = lock(&self.counters);
        let next = counters.effects + 1;
        (next..=counters.log.last()).find_map(|n| Some((n, counters.log.effect(n)?.clone())))
    }

    /// Whether the branch must end at this unrecorded call.
    pub(crate) fn must_end(&self) -> bool {
        let run_cancelled = self.run.is_cancelled() && !self.latch.shielded;
        run_cancelled || self.latch.is_cancelled() || self.run.is_killed()
    }

    /// Why nothing new may begin in this branch.
    pub(crate) fn barrier(&self) -> Option<Halt> {
        if self.run.mode == Mode::Verify {
            // A branch that its group had ended ends where it did then; the replay goes on.
            Some(if self.latch.is_cancelled() { Halt::Cancelled } else { Halt::EndOfRecord })
        } else if self.run.stopped().is_some() {
            Some(Halt::Stopped)
        } else if self.run.is_leaving() {
            Some(Halt::Left)
        } else if self.must_end() {
            Some(Halt::Cancelled)
        } else {
            None
        }
    }

    /// Ends a verifying pass at the position it was aimed at.
    pub(crate) fn check_aim(&self, position: &Position, source: &Source) -> Result<(), Box<EvalAltResult>> {
        if self.run.mode == Mode::Verify {
            crate::inspect::calling(source);
        }
        if self.run.hits(position) { Err(self.halt(Halt::EndOfRecord)) } else { Ok(()) }
    }

    /// Sets the latch and gives the error that ends the evaluation.
    pub(crate) fn halt(&self, halt: Halt) -> Box<EvalAltResult> {
        if halt == Halt::EndOfRecord {
            crate::inspect::mark();
        }
        self.latch.set(halt);
        terminated()
    }

    /// The error that ends the evaluation, when the latch is set.
    pub(crate) fn check(&self) -> Result<(), Box<EvalAltResult>> {
        if self.latch.get().is_some() { Err(terminated()) } else { Ok(()) }
    }

    /// Records that a replayed call differs, and ends the evaluation.
    pub(crate) fn differ(&self, position: &Position, message: String) -> Box<EvalAltResult> {
        self.run.differ(Difference { position: position.clone(), message });
        self.halt(Halt::Paused)
    }

    /// The place of a call in the scripts.
    pub(crate) fn source_of(&self, ctx: &NativeCallContext<'_>) -> Source {
        source_of(ctx)
    }
}

/// The place of a call in the scripts.
pub(crate) fn source_of(ctx: &NativeCallContext<'_>) -> Source {
    let at = ctx.call_position();
    let number = |n: Option<usize>| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    Source {
        file: ctx.call_source().unwrap_or_default().into(),
        line: number(at.line()),
        column: number(at.position()),
    }
}

/// The error that scripts cannot catch.
pub(crate) fn terminated() -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorTerminated(Dynamic::UNIT, rhai::Position::NONE))
}

/// The branch that a call belongs to.
///
/// # Errors
/// In a declaration, or while a module is evaluated: nothing acts or observes there.
pub(crate) fn branch_of(
    ctx: &NativeCallContext<'_>,
    what: &str,
) -> Result<Arc<BranchCx>, Box<EvalAltResult>> {
    if let Some(handle) = ctx.tag().and_then(|tag| tag.read_lock::<BranchHandle>()) {
        return Ok(Arc::clone(&handle.0));
    }
    let error =
        OpError::denied(format!("`{what}` cannot be called here: declarations and modules only describe"))
            .hint("call it inside a workflow, a schedule, a function that one of them calls, or a playbook")
            .detail("not_here", what)
            .retryable(false);
    Err(crate::convert::to_rhai_error(&error, ctx.call_position()))
}
