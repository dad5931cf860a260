//! The language: Rhai, made deterministic, strict and the same everywhere.
//!
//! [`factory::new_engine`] gives an engine with Rhai's standard functions and these differences:
//!
//! | in Rhai | in hob |
//! |---|---|
//! | `timestamp`, `elapsed`, … | absent: time is an effect, `time::now()` |
//! | `sleep(seconds)` blocks the thread | absent: a pause is durable, and its length a text, `sleep("10s")` |
//! | `eval` | disabled: what a script can reach is known before it runs |
//! | `parse_json`, `get_fn_metadata_list`, `back_trace`, `tag` | absent: they tell of the process, or have a primitive (`json::parse`) |
//! | a closure as text (`to_string`, `print`, `${…}`, `to_json`, `f.name`) | ends the script: the name of a closure means nothing outside of its process |
//! | `trim replace make_upper make_lower crop truncate pad remove` on a text | give the new text and leave the old one alone |
//! | `map filter sort …` wrap or drop the errors of their callback | hand them on at once, call nothing after them, and leave the array as it was where they change it |
//! | a callback that takes fewer parameters than it is offered is "not found" | is fine; one that takes more is told how many there are |
//! | `public default match debug spawn with shared new …` are reserved | are plain names ([`words`]) |
//! | reading a missing property gives `()`, an unknown variable fails when reached | both are errors; `m.get("k") ?? default` is the tolerant form |
//! | limits differ between debug and release builds | [`Limits`], the same in both |
//!
//! Rhai weighs an array or a map with all that is nested in it at each call that could change it, so that filling one
//! costs the square of its length: 10,000 items take 0.07 s, 40,000 a second. That is the price of a limit on memory.

mod basics;
pub mod callback;
pub mod factory;
pub mod higher_order;
pub mod strings;
pub mod text;
pub mod words;

pub use callback::{Callback, call_flexible};
pub use factory::{Limits, init, new_engine};
pub use text::interruption;

#[cfg(test)]
mod tests;
