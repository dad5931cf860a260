//! `ups` through its operations and its source: the same cases against a server in memory and a real `upsd`, and what only a
//! network has.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // tests, helpers included: they start a server

mod cases;
mod network;
mod world;
