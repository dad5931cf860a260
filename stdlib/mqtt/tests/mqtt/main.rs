//! `mqtt` through its operation and its source: the same cases against a broker in memory and a real mosquitto, and what
//! only a network has.
#![allow(clippy::unwrap_used)] // these modules are tests, helpers included
#![allow(clippy::disallowed_methods)] // they start a broker

mod cases;
mod network;
mod topics;
mod world;
