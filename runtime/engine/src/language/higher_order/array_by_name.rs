//! The deprecated forms of Rhai's array functions that take the name of a function.

use rhai::{Array, Dynamic, FnPtr, FuncRegistration, Module, NativeCallContext};

use super::array::functions as by_pointer;
use super::{Outcome, int, start_index};

/// Adds them to `module`.
pub(crate) fn register(module: &mut Module) {
    let named = |name: &str| FuncRegistration::new(name);
    /// Adds one that hands on to the function of the same name that takes a pointer.
    macro_rules! by_name {
        ($rhai:literal, $target:ident $(, $arg:ident: $type:ty)*) => {
            named($rhai).set_into_module(
                module,
                |ctx: NativeCallContext<'_>, array: &mut Array, name: &str $(, $arg: $type)*| {
                    by_pointer::$target(ctx, array, FnPtr::new(name)? $(, $arg)*)
                },
            );
        };
    }
    by_name!("map", map);
    by_name!("filter", filter);
    by_name!("some", some);
    by_name!("all", all);
    by_name!("dedup", dedup);
    by_name!("reduce", reduce);
    by_name!("reduce", reduce_from, initial: Dynamic);
    by_name!("reduce_rev", reduce_rev);
    by_name!("reduce_rev", reduce_rev_from, initial: Dynamic);
    by_name!("sort", sort);
    by_name!("drain", drain);
    by_name!("retain", retain);
    named("index_of").set_into_module(module, |ctx: NativeCallContext<'_>, array: &mut Array, text: &str| {
        position_of(&ctx, array, text, 0)
    });
    named("index_of").set_into_module(
        module,
        |ctx: NativeCallContext<'_>, array: &mut Array, text: &str, start: i64| {
            position_of(&ctx, array, text, start)
        },
    );
}

/// The index of the first item from `start` that equals `text`, or -1.
fn position_of(ctx: &NativeCallContext<'_>, array: &mut Array, text: &str, start: i64) -> Outcome<i64> {
    let start = start_index(start, array.len());
    for (index, item) in array.iter_mut().enumerate().skip(start) {
        if !item.is_string() && !item.is_char() {
            continue;
        }
        let same = ctx.call_native_fn_raw(rhai::OP_EQUALS, true, &mut [item, &mut text.into()])?;
        if same.as_bool().unwrap_or(false) {
            return Ok(int(index));
        }
    }
    Ok(-1)
}
