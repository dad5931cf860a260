//! `response.json()`: the one method of what `http` gives.

use hob_model::{OpError, Value};
use rhai::{Dynamic, FuncRegistration, Map, Module, NativeCallContext};

use super::recorded::misuse;
use crate::convert::{RhaiResult, to_dynamic};

/// The body of a response, read as JSON. Pure: the response itself is what was journaled.
fn json(ctx: NativeCallContext<'_>, response: Map) -> RhaiResult {
    let read = || {
        let body = response.get("body").cloned().unwrap_or(Dynamic::UNIT);
        let text = match body.into_immutable_string() {
            Ok(text) => text.to_string(),
            Err(kind) => {
                let error = OpError::invalid(format!("the body is no text but {kind}"));
                return Err(error.hint("`json()` is for responses of `http` with a text body"));
            }
        };
        let parsed: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
            let beginning: String = text.chars().take(60).collect();
            OpError::invalid(format!("the body is no JSON: {error}")).detail("body", beginning)
        })?;
        Value::from_json(parsed).map_err(|error| OpError::invalid(error.to_string()))
    };
    read().map(to_dynamic).map_err(|error| misuse(&ctx, "json", error))
}

pub(super) fn install(module: &mut Module) {
    FuncRegistration::new("json").set_into_module(module, json);
}
