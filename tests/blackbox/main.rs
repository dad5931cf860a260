//! Tests of the binary from outside: commands, requests and signals go in; exit codes, texts, files and requests to
//! others come out.
//!
//! `tests/run --long` (`HOB_LONG=1`) runs them with larger counts.

#![allow(clippy::disallowed_methods)] // tests look at the real world

mod kill;
mod quickstart;

use hob_tests::home::Home;

/// A place of its own, for the binary of this build.
fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_hob"))
}
