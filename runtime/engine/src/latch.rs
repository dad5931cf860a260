//! The latch of a branch: once set, nothing of that branch happens any more.
//!
//! Ending an evaluation by an error that scripts cannot catch is only the fast way out, and not a sure one. The
//! latch is: the gate looks at it before each call, the evaluator between operations, and whatever an evaluation
//! returns after it is set is thrown away.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use hob_model::Value;

/// Why a branch stopped before its end.
#[derive(Clone, Debug, PartialEq)]
pub enum Halt {
    /// It waits; its record says for what.
    Suspended,
    /// It, its group or its run was cancelled.
    Cancelled,
    /// A replayed call differs from its record.
    Paused,
    /// The journal can no longer be written.
    Stopped,
    /// `carry`: the run ends and its successor starts with this state.
    Carried {
        /// The successor's input.
        state: Value,
        /// Whether the successor keeps the bundle.
        pin: bool,
    },
    /// The step after which the run was to end has ended with this value.
    Reached(Value),
    /// The process is about to end: the run goes on when hob starts again.
    Left,
    /// A verifying replay came to the end of the records.
    EndOfRecord,
}

thread_local! {
    /// Whether the branch that this thread evaluates is latched: what the evaluator looks at between operations.
    static THREAD_LATCHED: Cell<bool> = const { Cell::new(false) };
}

/// The latch of one branch, shared by the steps inside of it.
#[derive(Debug, Default)]
pub struct Latch {
    halt: OnceLock<Halt>,
    cancelled: AtomicBool,
    /// The latch of the branch that this one was opened in.
    parent: Option<Arc<Latch>>,
    /// Compensations go on although their run is cancelled.
    pub(crate) shielded: bool,
}

impl Latch {
    /// A latch for a branch inside the branch of `parent`.
    #[must_use]
    pub fn inside(parent: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self { parent: Some(Arc::clone(parent)), shielded: parent.shielded, ..Self::default() })
    }

    /// A latch for a compensation.
    #[must_use]
    pub fn shielded() -> Arc<Self> {
        Arc::new(Self { shielded: true, ..Self::default() })
    }

    /// Sets it, on the thread that evaluates the branch. The first reason stays.
    pub fn set(&self, halt: Halt) {
        let _ = self.halt.set(halt);
        THREAD_LATCHED.set(true);
    }

    /// Why it is set.
    #[must_use]
    pub fn get(&self) -> Option<&Halt> {
        self.halt.get()
    }

    /// Asks the branch to end at its next unrecorded call.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
    }

    /// Whether the branch, or one around it, was asked to end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
            || self.parent.as_ref().is_some_and(|parent| parent.is_cancelled())
    }
}

/// Whether the branch that this thread evaluates is latched.
#[must_use]
pub fn thread_latched() -> bool {
    THREAD_LATCHED.get()
}

/// Runs `evaluate` as another branch of this thread, with a flag of its own.
pub(crate) fn on_fresh_flag<T>(evaluate: impl FnOnce() -> T) -> T {
    let outer = THREAD_LATCHED.replace(false);
    let result = evaluate();
    THREAD_LATCHED.set(outer);
    result
}
