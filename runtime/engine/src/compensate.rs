//! What runs when a run fails or is cancelled (`undo`), or always at its end (`finally`).

use std::sync::Arc;

use hob_model::{BranchEnd, Payload, Position, Value};
use rhai::{Dynamic, Engine, FnPtr, NativeCallContext};

use crate::branch::{BranchCx, BranchHandle, within};
use crate::convert::{to_dynamic, to_value};
use crate::latch::{Latch, on_fresh_flag};
use crate::run_cx::{RunCx, lock};

/// A closure kept beyond the call that handed it over, with the context that it needs: imports, private functions.
#[derive(Clone)]
pub struct Closure {
    /// The closure.
    pub function: FnPtr,
    #[allow(deprecated)] // Rhai's word for "volatile": it is the only way to keep a call context.
    context: Arc<rhai::NativeCallContextStore>,
}

#[allow(deprecated)]
impl Closure {
    /// Keeps `function` as it can be called at this place.
    #[must_use]
    pub fn capture(ctx: &NativeCallContext<'_>, function: FnPtr) -> Self {
        let mut context = ctx.store_data();
        // It names the run or the declaration that keeps this closure, and neither would ever be freed.
        context.global.tag = Dynamic::UNIT;
        Self { function, context: Arc::new(context) }
    }

    /// As [`Closure::capture`], with what it captured as it is now: a loop that declares changes its variable, and each
    /// declaration keeps its own.
    pub(crate) fn declared(ctx: &NativeCallContext<'_>, function: &FnPtr) -> Self {
        Self::capture(ctx, crate::convert::deep_copy_fn(function))
    }

    /// Has it keep the context of `other` where that is the same: of the same place, with the same imports and functions.
    pub(crate) fn share_context(&mut self, other: &Self) {
        let (mine, its) = (&self.context, &other.context);
        let place = |it: &rhai::NativeCallContextStore| {
            (it.pos, it.global.level, it.global.scope_level, it.global.always_search_scope)
        };
        let imports = |it: &rhai::NativeCallContextStore| -> Vec<(String, *const rhai::Module)> {
            it.global
                .iter_imports()
                .map(|(name, module)| (name.to_owned(), std::ptr::from_ref(module)))
                .collect()
        };
        let constants = |it: &rhai::NativeCallContextStore| it.global.constants.as_ref().map(Arc::as_ptr);
        let functions = |it: &rhai::NativeCallContextStore| -> Vec<*const rhai::Module> {
            it.global.lib.iter().map(Arc::as_ptr).collect()
        };
        if place(mine) == place(its)
            && (&mine.fn_name, &mine.source) == (&its.fn_name, &its.source)
            && mine.global.source == its.global.source
            && constants(mine) == constants(its)
            && functions(mine) == functions(its)
            && imports(mine) == imports(its)
        {
            self.context = Arc::clone(&other.context);
        }
    }

    /// Whether it is certain that both are the same function in the same context, and captured nothing.
    pub(crate) fn is_surely(&self, other: &Self) -> bool {
        let is_bare = |function: &FnPtr| function.is_anonymous() && !function.is_curried();
        Arc::ptr_eq(&self.context, &other.context)
            && is_bare(&self.function)
            && is_bare(&other.function)
            && self.function.fn_name() == other.function.fn_name()
    }

    /// Calls it in `engine`, as a part of the evaluation with `tag`, with copies of what it captured.
    ///
    /// # Errors
    /// Whatever the closure ends with.
    pub fn call(&self, engine: &Engine, tag: Dynamic, args: &[Dynamic]) -> crate::convert::RhaiResult {
        let mut context = rhai::NativeCallContextStore::clone(&self.context);
        context.global.tag = tag;
        let function = crate::convert::deep_copy_fn(&self.function);
        crate::language::call_flexible(&context.create_context(engine), &function, args)
    }
}

/// A registered `undo` or `finally`.
pub struct Compensation {
    /// Where it was registered.
    pub position: Position,
    /// The number of the entry that registered it: the order in which compensations run, backwards.
    pub seq: u64,
    /// What to call.
    pub closure: Closure,
    /// For an effect's own undo: its outcome.
    pub argument: Option<Value>,
    /// Whether it runs on success, too.
    pub always: bool,
}

/// Whether all compensations came to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compensated {
    /// They did; how many there were.
    Done(usize),
    /// One of them waits, paused or met a stopped journal.
    Halted,
}

/// Runs what was registered, last first: all of it after a failure, only `finally` after success.
pub(crate) fn run_all(run: &Arc<RunCx>, engine: &Engine, failed: bool) -> (Compensated, Option<Arc<Latch>>) {
    let mut registered: Vec<Compensation> = std::mem::take(&mut *lock(&run.compensations));
    registered.sort_by_key(|compensation| std::cmp::Reverse(compensation.seq));
    let mut count = 0;
    for compensation in registered.iter().filter(|compensation| failed || compensation.always) {
        count += 1;
        let position = undo_position(&compensation.position);
        if lock(&run.records).ended.contains_key(position.as_str()) {
            continue;
        }
        let latch = Latch::shielded();
        let branch = BranchCx::open(run, position.clone(), Arc::clone(&latch), false);
        let tag = Dynamic::from(BranchHandle(Arc::clone(&branch)));
        let args: Vec<Dynamic> = compensation.argument.iter().cloned().map(to_dynamic).collect();
        let result = on_fresh_flag(|| within(&branch, || compensation.closure.call(engine, tag, &args)));
        if latch.get().is_some() {
            return (Compensated::Halted, Some(latch));
        }
        let end = match result
            .map_err(|error| crate::diagnose::error_value(&error))
            .and_then(|value| to_value(&value))
        {
            Ok(value) => BranchEnd::Value(RunCx::payload(&value).0),
            Err(error) => BranchEnd::Error(error),
        };
        if let BranchEnd::Error(error) = &end {
            run.host.observer.log(
                run.id,
                "error",
                &format!("the compensation at {position} failed: {error}"),
            );
        }
        run.append(vec![run.branch_ended(position, without_blob(end), false)], vec![]);
    }
    (Compensated::Done(count), None)
}

/// Where the effects of a compensation stand.
fn undo_position(registered: &Position) -> Position {
    match registered.leaf() {
        Some(hob_model::position::Leaf::Effect(n)) => registered.parent().branch(n, "undo"),
        _ => registered.branch(1, "undo"),
    }
}

/// The value of a compensation is for people: a large one is not worth a blob.
fn without_blob(end: BranchEnd) -> BranchEnd {
    match end {
        BranchEnd::Value(Payload::Blob(..)) => BranchEnd::Value(RunCx::payload(&Value::Unit).0),
        other => other,
    }
}
