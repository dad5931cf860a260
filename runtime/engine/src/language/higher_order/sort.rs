//! Sorting with a comparer that may fail.

use std::cmp::Ordering;

use hob_model::OpError;
use rhai::{Array, Dynamic, NativeCallContext};

use super::Outcome;
use crate::convert::to_rhai_error;
use crate::language::Callback;

/// Sorts with `comparer`, stably, asking it about `n log n` pairs and nothing more after its first error.
///
/// # Errors
/// Those of the comparer, and an invalid argument when it gives neither a number nor a bool. The array is as it was.
pub(super) fn sort(
    ctx: &NativeCallContext<'_>,
    array: &mut Array,
    comparer: &Callback<'_, '_>,
) -> Outcome<()> {
    let order = merge_sort(array.len(), |left, right| {
        let answer = comparer.call(&[array[left].clone(), array[right].clone()])?;
        ordering(ctx, &answer)
    })?;
    let mut items: Vec<Dynamic> = std::mem::take(array);
    array.extend(order.into_iter().map(|index| std::mem::take(&mut items[index])));
    Ok(())
}

fn ordering(ctx: &NativeCallContext<'_>, answer: &Dynamic) -> Outcome<Ordering> {
    if let Ok(number) = answer.as_int() {
        return Ok(number.cmp(&0));
    }
    match answer.as_bool() {
        Ok(true) => Ok(Ordering::Less),
        Ok(false) => Ok(Ordering::Greater),
        Err(type_name) => {
            let error = OpError::invalid(format!(
                "the comparer of `{}` gave a value of type {type_name}",
                ctx.fn_name()
            ))
            .hint("give a negative number, zero or a positive one, or `true` when the first comes first");
            Err(to_rhai_error(&error, ctx.call_position()))
        }
    }
}

/// The order of the indices `0..len`. Asks only whether a later item comes before an earlier one, so that equal items
/// keep their order also with comparers that answer `true` and `false`.
fn merge_sort<E>(
    len: usize,
    mut compare: impl FnMut(usize, usize) -> Result<Ordering, E>,
) -> Result<Vec<usize>, E> {
    let mut order: Vec<usize> = (0..len).collect();
    let mut width = 1;
    while width < len {
        let mut merged = Vec::with_capacity(len);
        for pair in order.chunks(2 * width) {
            let (mut left, mut right) = pair.split_at(width.min(pair.len()));
            while let ([first, left_rest @ ..], [second, right_rest @ ..]) = (left, right) {
                if compare(*second, *first)? == Ordering::Less {
                    merged.push(*second);
                    right = right_rest;
                } else {
                    merged.push(*first);
                    left = left_rest;
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        order = merged;
        width *= 2;
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::merge_sort;

    proptest::proptest! {
        #[test]
        fn it_sorts_as_the_standard_library_does(keys: Vec<u8>) {
            let order = merge_sort(keys.len(), |a, b| Ok::<_, ()>(keys[a].cmp(&keys[b]))).unwrap();
            let mut expected: Vec<usize> = (0..keys.len()).collect();
            expected.sort_by_key(|index| keys[*index]);
            proptest::prop_assert_eq!(order, expected);
        }

        #[test]
        fn it_ends_for_comparers_without_an_order(answers: Vec<bool>, len in 0_usize..64) {
            let mut answers = answers.into_iter().cycle();
            let order = merge_sort(len, |_, _| {
                Ok::<_, ()>(if answers.next() == Some(true) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater })
            });
            let mut order = order.unwrap();
            order.sort_unstable();
            proptest::prop_assert_eq!(order, (0..len).collect::<Vec<_>>());
        }
    }
}
