//! Schedules and triggers with a clock that is moved by hand, over crashes and restarts: through the homelab's text, the
//! journal and what people do.

// A test fails by panicking.
#![allow(clippy::unwrap_used)]

mod events;
mod policies;
mod slots;
mod watched;
mod world;
