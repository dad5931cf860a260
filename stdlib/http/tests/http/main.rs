//! `http` through its operations: the same cases against scripted servers and against real ones on loopback, and what
//! only a network has.
#![allow(clippy::unwrap_used)] // these modules are tests, helpers included
#![allow(clippy::disallowed_methods)] // they look at the disk

mod downloads;
mod models;
mod network;
mod requests;
mod server;
mod world;
