//! `gpu` through its operations: the same cases against cards in memory and against NVML, which here is a stand-in for
//! NVIDIA's library whose cards a file describes; and against the cards of this machine where it has some.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // tests, helpers included

mod cases;
mod kernel;
mod machine;
mod world;
