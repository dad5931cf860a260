//! `emit`, and what a run knows about itself.

use hob_journal::Write;
use hob_model::Value;
use rhai::{Dynamic, FuncRegistration, ImmutableString, Module, NativeCallContext};

use super::recorded::{Control, misuse};
use crate::branch::branch_of;
use crate::convert::{RhaiResult, to_value};

/// Puts an event on the bus: it is recorded in one commit with the outcome, so it is there exactly once.
fn emit(ctx: NativeCallContext<'_>, name: ImmutableString, payload: Dynamic) -> RhaiResult {
    let payload = to_value(&payload).map_err(|error| misuse(&ctx, "emit", error))?;
    hob_model::event::check(&name, &payload).map_err(|error| misuse(&ctx, "emit", error))?;
    let control =
        Control::enter(&ctx, "emit", Value::Array(vec![Value::from(name.as_str()), payload.clone()]))?;
    if let Some(outcome) = control.outcome() {
        return control.finish(&ctx, outcome);
    }
    control.check_end()?;
    let run = &control.branch.run;
    let event =
        Write::Event { name: name.to_string(), payload, origin: format!("run:{}", run.id), at: run.now() };
    let beside = if run.mode == crate::run_cx::Mode::Dry {
        run.host.observer.dry(run.id, &format!("emit(\"{name}\")"), true);
        vec![]
    } else {
        vec![event]
    };
    control.record_outcome(&Ok(Value::Unit), beside);
    run.host.observer.emitted();
    Ok(Dynamic::UNIT)
}

pub(super) fn install(module: &mut Module) {
    FuncRegistration::new("emit").set_into_module(module, emit);
    FuncRegistration::new("emit")
        .set_into_module(module, |ctx: NativeCallContext<'_>, name: ImmutableString| {
            emit(ctx, name, Dynamic::UNIT)
        });
    FuncRegistration::new("run_id").set_into_module(module, |ctx: NativeCallContext<'_>| -> RhaiResult {
        Ok(branch_of(&ctx, "run_id")?.run.id.to_string().into())
    });
    FuncRegistration::new("attempt").set_into_module(module, |ctx: NativeCallContext<'_>| -> RhaiResult {
        Ok(i64::from(branch_of(&ctx, "attempt")?.run.attempt).into())
    });
}
