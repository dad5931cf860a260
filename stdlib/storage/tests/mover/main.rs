//! Moving between real file systems, with crashes at every step: no file is lost, cut off, doubled or overwritten.
//!
//! `HOB_LONG=1` crashes more often.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::print_stderr, clippy::disallowed_methods)] // tests of real files

mod crashes;
mod live;
mod others;
mod power;
mod rules;
mod strict;
mod tree;
mod volatile;
mod weather;

/// Whether the larger counts are wanted.
fn is_long() -> bool {
    std::env::var("HOB_LONG").is_ok_and(|value| !value.is_empty() && value != "0")
}
