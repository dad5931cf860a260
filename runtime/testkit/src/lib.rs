//! What tests of several crates share.

pub mod call;

pub use call::{Harness, TestClock};
