//! The keeper over services that exist only in memory: what it does, and what it leaves alone.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test, which waits for threads

mod apply;
mod drift;
mod restarts;
mod world;
