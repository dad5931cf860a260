//! `step(name, fn)`: a named group of effects.

use hob_model::{EntryKind, OpError, Payload, Position, Value};
use rhai::{Dynamic, FnPtr, FuncRegistration, ImmutableString, Module, NativeCallContext};

use super::recorded::{Thrown, misuse};
use crate::branch::{BranchCx, BranchHandle, branch_of, source_of, within};
use crate::convert::{RhaiResult, to_dynamic, to_value};
use crate::latch::Halt;
use crate::run_cx::{Mode, RunCx, lock};

/// Calls `f` in this call's context, as a part of `branch`.
pub(super) fn call_in(
    ctx: &NativeCallContext<'_>,
    branch: &std::sync::Arc<BranchCx>,
    f: &FnPtr,
    args: &[Dynamic],
) -> RhaiResult {
    let mut global = ctx.global_runtime_state().clone();
    global.tag = Dynamic::from(BranchHandle(std::sync::Arc::clone(branch)));
    let inner = NativeCallContext::new_with_all_fields(
        ctx.engine(),
        ctx.fn_name(),
        ctx.fn_source(),
        &global,
        ctx.call_position(),
    );
    within(branch, || crate::language::call_flexible(&inner, f, args))
}

/// The body is evaluated again on replay, since it may have changed captured variables; its effects come from the
/// journal, and its value is compared.
fn step(ctx: NativeCallContext<'_>, name: ImmutableString, body: FnPtr) -> RhaiResult {
    if name.is_empty() {
        return Err(misuse(&ctx, "step", OpError::invalid("a step needs a name")));
    }
    crate::secret::refuse_in(&Value::from(name.as_str()), "the name of a step")
        .map_err(|error| misuse(&ctx, "step", error))?;
    let outer = branch_of(&ctx, "step")?;
    outer.check()?;
    let position = outer.next_step(&name);
    let source = source_of(&ctx);
    outer.check_aim(&position, &source)?;
    let (recorded, overridden) = {
        let records = lock(&outer.run.records);
        (records.steps.get(position.as_str()).cloned(), records.overridden.get(position.as_str()).cloned())
    };
    if let Some(payload) = overridden {
        return outer.run.load(&payload).map(to_dynamic).map_err(|error| misuse(&ctx, "step", error));
    }
    let inner = outer.open_step(position.clone());
    let result = call_in(&ctx, &inner, &body, &[]);
    inner.close();
    if inner.compensates() {
        outer.mark_compensates();
    }
    outer.check()?;
    let (stored, returned) = store(&inner, result);
    let reached = is_last(&outer, &name).then(|| returned.as_ref().ok().cloned()).flatten();
    let returned = match recorded {
        Some(recorded)
            if recorded.is_ok() != stored.is_ok() || recorded.as_ref().ok() != stored.as_ref().ok() =>
        {
            let message =
                format!("the step `{name}` gave {recorded:?} when it was recorded and gives {stored:?} now");
            return Err(outer.differ(&position, message));
        }
        Some(_) => returned,
        None if outer.run.mode == Mode::Verify => returned,
        None => {
            let result = stored;
            lock(&outer.run.records).steps.insert(position.as_str().to_owned(), result.clone());
            outer.run.append(vec![EntryKind::StepEnded { position, result, source }], vec![]);
            returned
        }
    };
    match reached {
        Some(value) => Err(outer.halt(Halt::Reached(to_value(&value).unwrap_or(Value::Unit)))),
        None => returned,
    }
}

/// Whether the run is to end after this step. In a graph the graph ends there, and what is in a branch ends that branch alone.
fn is_last(outer: &BranchCx, name: &str) -> bool {
    let run = &outer.run;
    run.started.until.as_deref() == Some(name) && outer.position == Position::root()
}

/// What is recorded of a step's result, and what the script gets. A value that cannot be written down counts as `()`:
/// the step is evaluated again on replay anyway.
fn store(inner: &BranchCx, result: RhaiResult) -> (Result<Payload, OpError>, RhaiResult) {
    match result {
        Ok(value) => {
            let recorded = to_value(&value).unwrap_or(Value::Unit);
            let (payload, blob) = RunCx::payload(&recorded);
            if let Some(blob) = blob {
                inner.run.append(vec![], vec![blob]);
            }
            (Ok(payload), Ok(value))
        }
        Err(error) => (Err(crate::diagnose::error_value(&error)), Err::<Dynamic, Thrown>(error)),
    }
}

pub(super) fn install(module: &mut Module) {
    FuncRegistration::new("step").set_into_module(module, step);
}
