//! `carry`: the run ends, its successor starts with the state, in one commit.

use hob_model::Value;
use rhai::{Dynamic, FuncRegistration, Map, Module, NativeCallContext};

use super::recorded::{Control, misuse};
use crate::convert::{RhaiResult, to_value};
use crate::latch::Halt;

fn carry(ctx: NativeCallContext<'_>, state: Dynamic, options: Map) -> RhaiResult {
    let state = to_value(&state).map_err(|error| misuse(&ctx, "carry", error))?;
    let pin = options.get("pin").is_some_and(|pin| pin.as_bool().unwrap_or(false));
    let control = Control::enter(&ctx, "carry", Value::Array(vec![state.clone(), Value::Bool(pin)]))?;
    control.check_end()?;
    Err(control.branch.halt(Halt::Carried { state, pin }))
}

pub(super) fn install(module: &mut Module) {
    FuncRegistration::new("carry").set_into_module(module, carry);
    FuncRegistration::new("carry")
        .set_into_module(module, |ctx: NativeCallContext<'_>, state: Dynamic| carry(ctx, state, Map::new()));
}
