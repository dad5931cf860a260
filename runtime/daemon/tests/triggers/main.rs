//! Schedules and triggers with a clock that is moved by hand, over crashes and restarts: through the homelab's text, the
//! journal and what people do.

// A test fails by panicking.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)] // tests look at the real world

mod admission;
mod events;
mod files;
mod flows;
mod policies;
mod slots;
mod trial;
mod watched;
mod world;
