//! The few functions of Rhai's language core that tell nothing of the process.

use rhai::plugin::*;
use rhai::{Dynamic, EvalAltResult};

#[export_module]
#[allow(clippy::unwrap_used)] // in what the attribute generates, where the types are known
pub(super) mod functions {
    /// Ends the script with `()`.
    ///
    /// ```rhai
    /// exit();
    /// ```
    #[rhai_fn(name = "exit", volatile, return_raw)]
    pub(crate) fn exit() -> Result<Dynamic, Box<EvalAltResult>> {
        Err(EvalAltResult::Exit(Dynamic::UNIT, Position::NONE).into())
    }

    /// Ends the script with a value.
    ///
    /// ```rhai
    /// exit(42);
    /// ```
    #[rhai_fn(name = "exit", volatile, return_raw)]
    pub(crate) fn exit_with(value: Dynamic) -> Result<Dynamic, Box<EvalAltResult>> {
        Err(EvalAltResult::Exit(value, Position::NONE).into())
    }

    /// Takes the value out of a variable and leaves `()`, without copying.
    ///
    /// ```rhai
    /// let list = [1, 2, 3];
    /// let moved = take(list);     // list is now ()
    /// ```
    #[rhai_fn(name = "take", return_raw)]
    pub(crate) fn take(value: &mut Dynamic) -> Result<Dynamic, Box<EvalAltResult>> {
        if value.is_read_only() {
            let what = "take".to_owned();
            return Err(EvalAltResult::ErrorNonPureMethodCallOnConstant(what, Position::NONE).into());
        }
        Ok(std::mem::take(value))
    }
}
