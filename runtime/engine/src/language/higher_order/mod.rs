//! Rhai's functions of arrays and maps that take a callback, so that a durable run can wait, fail and be cancelled
//! inside of one.
//!
//! They have the names, overloads and results of Rhai's own, which they shadow, with these differences:
//!
//! - An error of the callback ends the function at once and is handed on as it is: what a script cannot catch (the
//!   end of an evaluation that waits) stays so. Rhai wraps or drops it.
//! - `sort`, `dedup`, `drain` and `retain` call the callback first and change the array after: an error leaves it as
//!   it was.
//! - A callback may take fewer parameters than it is offered.
//! - A comparer that gives neither a number nor a bool is an error; Rhai orders by the types' numbers then, which are
//!   not the same in each build.
//! - `index_of("text")` looks for the text. Rhai's deprecated form calls a function of that name, if there is one.

pub(super) mod array;
pub(super) mod array_by_name;
pub(super) mod map;
mod sort;

use rhai::{Dynamic, EvalAltResult};

/// What an evaluation gives.
type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// What a predicate says: anything but `true` is a no, as in Rhai.
fn is_yes(answer: Dynamic) -> bool {
    answer.as_bool().unwrap_or(false)
}

/// An index or a length as scripts see it.
fn int(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// The index that `start` means: from the end when negative, and 0 when that is before the first item.
fn start_index(start: i64, len: usize) -> usize {
    match usize::try_from(start) {
        Ok(index) => index,
        Err(_) => len.saturating_sub(usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX)),
    }
}
