//! `fail(message)` and `error(e)`.

use hob_model::OpError;
use rhai::{Dynamic, FuncRegistration, ImmutableString, Module, NativeCallContext};

use crate::convert::{RhaiResult, to_dynamic, to_rhai_error};

fn fail(ctx: NativeCallContext<'_>, message: ImmutableString) -> RhaiResult {
    Err(to_rhai_error(&OpError::failed(crate::secret::shown(&message)), ctx.call_position()))
}

/// Anything caught, as an error map: maps of operations stay as they are, a text becomes the message, and the map that
/// Rhai makes of its own errors is put in plain words.
fn error(caught: Dynamic) -> Dynamic {
    to_dynamic(crate::diagnose::caught_value(&caught).to_value())
}

pub(super) fn install(module: &mut Module) {
    FuncRegistration::new("fail").set_into_module(module, fail);
    FuncRegistration::new("error").set_into_module(module, error);
}
