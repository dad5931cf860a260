//! Functions of arrays that take a callback: it is called with the item and its index, or with the item as `this`.

use rhai::plugin::*;
use rhai::{Array, Dynamic, EvalAltResult, FnPtr, NativeCallContext};

use super::sort::sort as sort_with;
use super::{int, is_yes, start_index};
use crate::language::Callback;

/// How many arguments a callback is offered: item and index.
const OFFERED: usize = 2;

/// Calls `each` with the answer of `function` about each item from `start`, until it breaks off with a result.
fn visit<T>(
    ctx: &NativeCallContext<'_>,
    array: &mut Array,
    function: &FnPtr,
    start: usize,
    mut each: impl FnMut(usize, &Dynamic, Dynamic) -> Option<T>,
) -> Result<Option<T>, Box<EvalAltResult>> {
    let callback = Callback::on_items(ctx, function, 0, OFFERED);
    for (index, item) in array.iter_mut().enumerate().skip(start) {
        let answer = callback.call_on(item, 0, &[int(index).into()])?;
        if let Some(result) = each(index, item, answer) {
            return Ok(Some(result));
        }
    }
    Ok(None)
}

/// Folds the items that `indices` name, in that order.
fn fold(
    ctx: &NativeCallContext<'_>,
    array: &mut Array,
    reducer: &FnPtr,
    initial: Dynamic,
    indices: impl Iterator<Item = usize>,
) -> Result<Dynamic, Box<EvalAltResult>> {
    let callback = Callback::on_items(ctx, reducer, 1, 1 + OFFERED);
    let mut result = initial;
    for index in indices {
        result = callback.call_on(&mut array[index], 1, &[result, int(index).into()])?;
    }
    Ok(result)
}

/// Takes out the items that `keep` says no to, all answers being asked before the first is taken.
fn partition(
    ctx: &NativeCallContext<'_>,
    array: &mut Array,
    filter: &FnPtr,
    keep: impl Fn(bool) -> bool,
) -> Result<Array, Box<EvalAltResult>> {
    let mut kept = Vec::with_capacity(array.len());
    visit(ctx, array, filter, 0, |_, _, answer| {
        kept.push(keep(is_yes(answer)));
        None::<()>
    })?;
    let mut kept = kept.into_iter();
    let (stay, go) = std::mem::take(array).into_iter().partition(|_| kept.next().unwrap_or(true));
    *array = stay;
    Ok(go)
}

#[export_module]
#[allow(clippy::unwrap_used)] // in what the attribute generates, where the types are known
pub(crate) mod functions {
    /// Calls `function` for each item, which is its `this` and may be changed; a parameter gets the index.
    ///
    /// ```rhai
    /// let list = [1, 2, 3];
    /// list.for_each(|index| this += index);      // [1, 3, 5]
    /// ```
    #[rhai_fn(return_raw)]
    pub(crate) fn for_each(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        function: FnPtr,
    ) -> Result<(), Box<EvalAltResult>> {
        let callback = Callback::on_items(&ctx, &function, 0, 1);
        for (index, item) in array.iter_mut().enumerate() {
            let _ = callback.call_bound(item, &[int(index).into()])?;
        }
        Ok(())
    }

    /// What `mapper` makes of each item.
    ///
    /// ```rhai
    /// [1, 2, 3].map(|item, index| item * 10 + index) == [10, 21, 32]
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub(crate) fn map(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        mapper: FnPtr,
    ) -> Result<Array, Box<EvalAltResult>> {
        let mut result = Array::with_capacity(array.len());
        visit(&ctx, array, &mapper, 0, |_, _, answer| {
            result.push(answer.flatten());
            None::<()>
        })?;
        Ok(result)
    }

    /// The items that `filter` says `true` to.
    ///
    /// ```rhai
    /// [1, 2, 3].filter(|item| item > 1) == [2, 3]
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub(crate) fn filter(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        filter: FnPtr,
    ) -> Result<Array, Box<EvalAltResult>> {
        let mut result = Array::new();
        visit(&ctx, array, &filter, 0, |_, item, answer| {
            if is_yes(answer) {
                result.push(item.clone());
            }
            None::<()>
        })?;
        Ok(result)
    }

    /// The index of the first item that `filter` says `true` to, or -1.
    #[rhai_fn(return_raw, pure)]
    pub(crate) fn index_of(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        filter: FnPtr,
    ) -> Result<i64, Box<EvalAltResult>> {
        index_of_from(ctx, array, filter, 0)
    }

    /// The index of the first item from `start` that `filter` says `true` to, or -1.
    #[rhai_fn(name = "index_of", return_raw, pure)]
    pub(crate) fn index_of_from(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        filter: FnPtr,
        start: i64,
    ) -> Result<i64, Box<EvalAltResult>> {
        let start = start_index(start, array.len());
        let found =
            visit(&ctx, array, &filter, start, |index, _, answer| is_yes(answer).then_some(int(index)))?;
        Ok(found.unwrap_or(-1))
    }

    /// The first item that `filter` says `true` to, or `()`.
    #[rhai_fn(return_raw, pure)]
    pub(crate) fn find(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        filter: FnPtr,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        find_from(ctx, array, filter, 0)
    }

    /// The first item from `start` that `filter` says `true` to, or `()`.
    #[rhai_fn(name = "find", return_raw, pure)]
    pub(crate) fn find_from(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        filter: FnPtr,
        start: i64,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        let start = start_index(start, array.len());
        let found =
            visit(&ctx, array, &filter, start, |_, item, answer| is_yes(answer).then(|| item.clone()))?;
        Ok(found.unwrap_or_default())
    }

    /// The first thing that `mapper` makes of an item and that is not `()`.
    #[rhai_fn(return_raw, pure)]
    pub(crate) fn find_map(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        mapper: FnPtr,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        find_map_from(ctx, array, mapper, 0)
    }

    /// The first thing that `mapper` makes of an item from `start` and that is not `()`.
    #[rhai_fn(name = "find_map", return_raw, pure)]
    pub(crate) fn find_map_from(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        mapper: FnPtr,
        start: i64,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        let start = start_index(start, array.len());
        let found = visit(&ctx, array, &mapper, start, |_, _, answer| (!answer.is_unit()).then_some(answer))?;
        Ok(found.unwrap_or_default())
    }

    /// Whether `filter` says `true` to an item.
    #[rhai_fn(return_raw, pure)]
    pub(crate) fn some(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        filter: FnPtr,
    ) -> Result<bool, Box<EvalAltResult>> {
        Ok(visit(&ctx, array, &filter, 0, |_, _, answer| is_yes(answer).then_some(()))?.is_some())
    }

    /// Whether `filter` says `true` to all items.
    #[rhai_fn(return_raw, pure)]
    pub(crate) fn all(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        filter: FnPtr,
    ) -> Result<bool, Box<EvalAltResult>> {
        Ok(visit(&ctx, array, &filter, 0, |_, _, answer| (!is_yes(answer)).then_some(()))?.is_none())
    }

    /// Removes items that `same` says are the same as the one before them.
    #[rhai_fn(return_raw)]
    pub(crate) fn dedup(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        same: FnPtr,
    ) -> Result<(), Box<EvalAltResult>> {
        let callback = Callback::new(&ctx, &same, OFFERED);
        let mut kept: Vec<usize> = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let again = match kept.last() {
                Some(last) => is_yes(callback.call(&[array[*last].clone(), item.clone()])?),
                None => false,
            };
            if !again {
                kept.push(index);
            }
        }
        let mut kept = kept.into_iter().peekable();
        let items = std::mem::take(array).into_iter().enumerate();
        array.extend(items.filter(|(index, _)| kept.next_if_eq(index).is_some()).map(|(_, item)| item));
        Ok(())
    }

    /// What `reducer` makes of `()` and the first item, of that and the second, and so on.
    ///
    /// ```rhai
    /// [1, 2, 3].reduce(|sum, item, index| (sum ?? 0) + item) == 6
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub(crate) fn reduce(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        reducer: FnPtr,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        reduce_from(ctx, array, reducer, Dynamic::UNIT)
    }

    /// What `reducer` makes of `initial` and the first item, of that and the second, and so on.
    #[rhai_fn(name = "reduce", return_raw, pure)]
    pub(crate) fn reduce_from(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        reducer: FnPtr,
        initial: Dynamic,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        let indices = 0..array.len();
        fold(&ctx, array, &reducer, initial, indices)
    }

    /// As `reduce`, from the last item to the first.
    #[rhai_fn(return_raw, pure)]
    pub(crate) fn reduce_rev(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        reducer: FnPtr,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        reduce_rev_from(ctx, array, reducer, Dynamic::UNIT)
    }

    /// As `reduce`, from the last item to the first.
    #[rhai_fn(name = "reduce_rev", return_raw, pure)]
    pub(crate) fn reduce_rev_from(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        reducer: FnPtr,
        initial: Dynamic,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        let indices = (0..array.len()).rev();
        fold(&ctx, array, &reducer, initial, indices)
    }

    /// What `mapper` makes of the items of both arrays that stand at the same place.
    ///
    /// ```rhai
    /// [1, 2].zip([10, 20], |a, b| a + b) == [11, 22]
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub(crate) fn zip(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        other: Array,
        mapper: FnPtr,
    ) -> Result<Array, Box<EvalAltResult>> {
        let callback = Callback::on_items(&ctx, &mapper, 1, 1 + OFFERED);
        let pairs = array.iter().zip(other).enumerate();
        pairs
            .map(|(index, (one, other))| {
                Ok(callback.call(&[one.clone(), other, int(index).into()])?.flatten())
            })
            .collect()
    }

    /// Sorts the array: `comparer` gives a negative number when its first argument comes first, zero when both are
    /// equal, else a positive one; or a bool that says whether the first comes first.
    ///
    /// ```rhai
    /// let list = [3, 1, 2];
    /// list.sort(|a, b| b - a);        // [3, 2, 1]
    /// ```
    #[rhai_fn(name = "sort", name = "sort_by", return_raw)]
    pub(crate) fn sort(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        comparer: FnPtr,
    ) -> Result<(), Box<EvalAltResult>> {
        sort_with(&ctx, array, &Callback::new(&ctx, &comparer, OFFERED))
    }

    /// A sorted copy of the array; see `sort`.
    #[rhai_fn(name = "order", name = "order_by", return_raw)]
    pub(crate) fn order(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        comparer: FnPtr,
    ) -> Result<Array, Box<EvalAltResult>> {
        let mut copy = array.clone();
        sort_with(&ctx, &mut copy, &Callback::new(&ctx, &comparer, OFFERED))?;
        Ok(copy)
    }

    /// Takes out and gives the items that `filter` says `true` to.
    #[rhai_fn(return_raw)]
    pub(crate) fn drain(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        filter: FnPtr,
    ) -> Result<Array, Box<EvalAltResult>> {
        partition(&ctx, array, &filter, |yes| !yes)
    }

    /// Keeps the items that `filter` says `true` to and gives the others.
    #[rhai_fn(return_raw)]
    pub(crate) fn retain(
        ctx: NativeCallContext<'_>,
        array: &mut Array,
        filter: FnPtr,
    ) -> Result<Array, Box<EvalAltResult>> {
        partition(&ctx, array, &filter, |yes| yes)
    }
}
