//! `fail(message)` and `error(e)`.

use hob_model::{OpError, Value};
use rhai::{Dynamic, FuncRegistration, ImmutableString, Module, NativeCallContext};

use crate::convert::{RhaiResult, to_dynamic, to_rhai_error, to_value};

fn fail(ctx: NativeCallContext<'_>, message: ImmutableString) -> RhaiResult {
    Err(to_rhai_error(&OpError::failed(message.as_str()), ctx.call_position()))
}

/// Anything caught, as an error map: maps of operations stay as they are, a text becomes the message, and the map that
/// Rhai makes of its own errors gives its text.
fn error(caught: Dynamic) -> Dynamic {
    let value = to_value(&caught).unwrap_or_else(|_| Value::from(caught.type_name()));
    let error = OpError::from_value(&value).unwrap_or_else(|| {
        let message = match &value {
            Value::String(text) => text.clone(),
            Value::Map(map) => match map.get("message").or_else(|| map.get("error")) {
                Some(Value::String(text)) => text.clone(),
                _ => crate::request::call_text("", std::slice::from_ref(&value)),
            },
            other => crate::request::call_text("", std::slice::from_ref(other)),
        };
        OpError::failed(message).detail("value", value)
    });
    to_dynamic(error.to_value())
}

pub(super) fn install(module: &mut Module) {
    FuncRegistration::new("fail").set_into_module(module, fail);
    FuncRegistration::new("error").set_into_module(module, error);
}
