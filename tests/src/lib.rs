//! What the tests of the binary stand on: a place of its own for each test, the world as a witness, texts without
//! what differs from one run to the next.
//!
//! Nothing here knows how hob is built: a test gives it commands and requests, and looks at what comes back and at
//! what has happened outside.

#![allow(clippy::disallowed_methods)] // tests look at the real world: files, processes, sockets and the clock

pub mod client;
pub mod counter;
pub mod home;
pub mod process;
pub mod terminal;
pub mod text;

use std::time::{Duration, Instant};

/// How long anything may take before a test says that it does not happen.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// The shortest pause between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// The longest.
const LOOK_INTERVAL_MAX: Duration = Duration::from_millis(250);

/// Looks until there is something, and gives it.
///
/// # Panics
/// When there is nothing after [`DEADLINE`].
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, look).unwrap_or_else(|| panic!("not seen within {DEADLINE:?}: {what}"))
}

/// Looks until there is something or the time is over. A look that costs much, as one that starts a program, leaves most of
/// the machine to what is looked for, and to the tests beside this one.
pub fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let looked = Instant::now();
        if let Some(found) = look() {
            return Some(found);
        }
        if begun.elapsed() >= limit {
            return None;
        }
        std::thread::sleep((looked.elapsed() * 3).clamp(LOOK_INTERVAL, LOOK_INTERVAL_MAX));
    }
}

/// Whether the larger counts are wanted (`tests/run --long`).
#[must_use]
pub fn long() -> bool {
    std::env::var("HOB_LONG").is_ok_and(|value| !value.is_empty() && value != "0")
}
