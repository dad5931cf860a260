//! Functions of maps that take a callback: it is called with the key, the value being `this`, or with key and value.

use rhai::plugin::*;
use rhai::{EvalAltResult, FnPtr, Map, NativeCallContext};

use super::is_yes;
use crate::language::Callback;

/// Where the value comes in among the arguments of a callback.
const VALUE_AT: usize = 1;
/// How many arguments a callback is offered: key and value.
const OFFERED: usize = 2;

/// Takes out the entries that `keep` says no to, all answers being asked before the first is taken.
fn partition(
    ctx: &NativeCallContext<'_>,
    map: &mut Map,
    filter: &FnPtr,
    keep: impl Fn(bool) -> bool,
) -> Result<Map, Box<EvalAltResult>> {
    let callback = Callback::on_items(ctx, filter, VALUE_AT, OFFERED);
    let mut taken = Vec::new();
    for (key, value) in map.iter_mut() {
        if !keep(is_yes(callback.call_on(value, VALUE_AT, &[key.clone().into()])?)) {
            taken.push(key.clone());
        }
    }
    Ok(taken.into_iter().filter_map(|key| map.remove_entry(&key)).collect())
}

#[export_module]
#[allow(clippy::unwrap_used)] // in what the attribute generates, where the types are known
pub(crate) mod functions {
    /// A map with the same keys and what `mapper` makes of each value.
    ///
    /// ```rhai
    /// #{ a: 1, b: 2 }.map(|key, value| value * 10) == #{ a: 10, b: 20 }
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub(crate) fn map(
        ctx: NativeCallContext<'_>,
        map: &mut Map,
        mapper: FnPtr,
    ) -> Result<Map, Box<EvalAltResult>> {
        let callback = Callback::on_items(&ctx, &mapper, VALUE_AT, OFFERED);
        map.iter_mut()
            .map(|(key, value)| {
                Ok((key.clone(), callback.call_on(value, VALUE_AT, &[key.clone().into()])?.flatten()))
            })
            .collect()
    }

    /// The entries that `filter` says `true` to.
    ///
    /// ```rhai
    /// #{ a: 1, b: 2 }.filter(|key, value| value > 1) == #{ b: 2 }
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub(crate) fn filter(
        ctx: NativeCallContext<'_>,
        map: &mut Map,
        filter: FnPtr,
    ) -> Result<Map, Box<EvalAltResult>> {
        let callback = Callback::on_items(&ctx, &filter, VALUE_AT, OFFERED);
        let mut result = Map::new();
        for (key, value) in map.iter_mut() {
            if is_yes(callback.call_on(value, VALUE_AT, &[key.clone().into()])?) {
                result.insert(key.clone(), value.clone());
            }
        }
        Ok(result)
    }

    /// Takes out and gives the entries that `filter` says `true` to.
    #[rhai_fn(return_raw)]
    pub(crate) fn drain(
        ctx: NativeCallContext<'_>,
        map: &mut Map,
        filter: FnPtr,
    ) -> Result<Map, Box<EvalAltResult>> {
        partition(&ctx, map, &filter, |yes| !yes)
    }

    /// Keeps the entries that `filter` says `true` to and gives the others.
    #[rhai_fn(return_raw)]
    pub(crate) fn retain(
        ctx: NativeCallContext<'_>,
        map: &mut Map,
        filter: FnPtr,
    ) -> Result<Map, Box<EvalAltResult>> {
        partition(&ctx, map, &filter, |yes| yes)
    }
}
