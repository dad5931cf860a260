//! What the evaluator asks between operations: whether to end.

use std::cell::Cell;

use rhai::Dynamic;

use crate::branch::current;
use crate::latch::{Halt, thread_latched};

/// Pure code that goes on for so many operations without an effect is cut by a cancel.
pub const CANCEL_CHECK_OPERATIONS: u64 = 65_536;

/// The most operations of one thread without an effect: about half a minute of pure computing. Who needs more has a
/// program for it; what goes on longer is a loop without an end, and nobody may be there to cancel it.
pub const OPERATIONS_WITHOUT_EFFECT_MAX: u64 = if cfg!(test) { 1_000_000 } else { 1_000_000_000 };

/// The token of the termination that a loop without an end comes to.
pub(crate) const NO_EFFECT: &str = "too many operations without an effect";

/// How far this thread is since its last effect.
#[derive(Clone, Copy, Default)]
struct Since {
    /// Operations since the last look around.
    operations: u64,
    /// Looks since the last effect.
    looks: u64,
    /// Whether the branch was cancelled at the last look.
    was_cancelled: bool,
}

thread_local! {
    static SINCE: Cell<Since> = const { Cell::new(Since { operations: 0, looks: 0, was_cancelled: false }) };
}

/// The evaluation on this thread begins, or has come to an effect.
pub(crate) fn effect_reached() {
    SINCE.set(Since::default());
}

/// Why to end, if the evaluation must.
pub(crate) fn on_progress(_: u64) -> Option<Dynamic> {
    if thread_latched() {
        return Some(Dynamic::UNIT);
    }
    if let Some(token) = crate::language::interruption() {
        return Some(token);
    }
    let since = SINCE.get();
    if since.operations < CANCEL_CHECK_OPERATIONS {
        SINCE.set(Since { operations: since.operations + 1, ..since });
        return None;
    }
    let branch = current();
    let cancelled = branch.as_ref().is_some_and(|branch| branch.must_end());
    let looks = since.looks + 1;
    SINCE.set(Since { operations: 0, looks, was_cancelled: cancelled });
    // Pure code that saw two looks go by without coming to an effect is cut.
    if cancelled && since.was_cancelled {
        if let Some(branch) = branch {
            branch.latch.set(Halt::Cancelled);
        }
        return Some(Dynamic::UNIT);
    }
    (looks >= OPERATIONS_WITHOUT_EFFECT_MAX / CANCEL_CHECK_OPERATIONS).then(|| NO_EFFECT.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_without_an_end_ends() {
        effect_reached();
        let mut engine = rhai::Engine::new();
        engine.set_max_operations(0).on_progress(on_progress);
        let error = engine.run("loop { try { loop {} } catch {} }").unwrap_err();
        assert!(matches!(&*error, rhai::EvalAltResult::ErrorTerminated(token, _)
            if token.clone().into_string().is_ok_and(|text| text == NO_EFFECT)));
    }

    #[test]
    fn an_effect_begins_the_count_anew() {
        effect_reached();
        let mut engine = rhai::Engine::new();
        engine.register_fn("act", effect_reached).on_progress(on_progress);
        engine.run("for i in 0..20 { for j in 0..100_000 {} act(); }").unwrap();
    }
}
