//! Functions have no text.
//!
//! The name of a closure is made by Rhai, tells nobody anything, and need not be the same in another build of hob: a
//! script that puts it into a file or a call's arguments would not replay. Rhai itself swallows the error of a
//! `to_string` inside of `${…}` and of arrays, so the attempt is noted beside the error, and [`interruption`] ends the
//! evaluation at the next operation, before anything could act on the text.

use std::cell::Cell;

use rhai::plugin::*;
use rhai::{Array, Dynamic, EvalAltResult, FnPtr, ImmutableString, Map};

/// The token of the termination that a function as text ends in.
pub const FUNCTION_AS_TEXT: &str = "a function has no text";

thread_local! {
    static NOTED: Cell<bool> = const { Cell::new(false) };
}

/// Why the evaluation on this thread must end, if it must: what `on_progress` returns.
#[must_use]
pub fn interruption() -> Option<Dynamic> {
    NOTED.take().then(|| FUNCTION_AS_TEXT.into())
}

/// Forgets what another evaluation on this thread left behind.
pub(super) fn forget() {
    NOTED.set(false);
}

fn refuse<T>() -> Result<T, Box<EvalAltResult>> {
    NOTED.set(true);
    Err(EvalAltResult::ErrorTerminated(FUNCTION_AS_TEXT.into(), Position::NONE).into())
}

fn holds_function(value: &Dynamic) -> bool {
    if let Some(items) = value.read_lock::<Array>() {
        return items.iter().any(holds_function);
    }
    if let Some(map) = value.read_lock::<Map>() {
        return map.values().any(holds_function);
    }
    value.is::<FnPtr>()
}

#[export_module]
#[allow(clippy::unwrap_used)] // in what the attribute generates, where the types are known
pub(super) mod functions {
    /// Refused: a function has no text.
    #[rhai_fn(
        name = "to_string",
        name = "to_debug",
        name = "print",
        name = "debug",
        name = "name",
        get = "name",
        pure,
        return_raw
    )]
    pub(crate) fn text_of_function(function: &mut FnPtr) -> Result<ImmutableString, Box<EvalAltResult>> {
        let _ = function;
        refuse()
    }

    /// The text that a blob holds; what is no UTF-8 is replaced.
    #[rhai_fn(name = "as_string")]
    pub(crate) fn as_string(blob: rhai::Blob) -> ImmutableString {
        crate::secret::escaped(String::from_utf8_lossy(&blob).into_owned()).into()
    }

    /// The map as JSON text; refused when it holds a function.
    #[rhai_fn(name = "to_json", pure, return_raw)]
    pub(crate) fn to_json(
        context: NativeCallContext<'_>,
        map: &mut Map,
    ) -> Result<ImmutableString, Box<EvalAltResult>> {
        if map.values().any(holds_function) {
            return refuse();
        }
        let value = crate::convert::to_value(&Dynamic::from_map(map.clone()))
            .and_then(|value| match value.has_secret() {
                true => Err(hob_model::OpError::invalid("a secret has no JSON text")
                    .hint("pass the map itself: `http::post(url, #{ json: map })` opens secrets in it")),
                false => value.to_json().map_err(|error| hob_model::OpError::invalid(error.to_string())),
            })
            .map_err(|error| crate::convert::to_rhai_error(&error, context.call_position()))?;
        Ok(value.to_string().into())
    }
}
