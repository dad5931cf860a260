//! What tests of several crates share.

pub mod call;
pub mod scripts;
pub mod simulator;

pub use call::{Harness, TestClock};
pub use scripts::{Scripts, on_script_stack};
