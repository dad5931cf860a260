//! Real servers for tests: a container engine with its registry, a systemd with its bus, an MQTT broker, a server of
//! power supplies, each in a temporary directory of its own, started once per test binary and gone with it; and disks, whose power can be cut.
//!
//! A test that is killed cannot tidy up; whoever starts a server next removes what an earlier one left, and recognises
//! it by its marker.

#![allow(clippy::disallowed_methods)] // it starts real programs and lays out their files

mod cut;
pub mod disk;
pub mod engine;
mod listening;
pub mod marker;
pub mod mosquitto;
pub mod nut;
pub mod postgres;
pub mod systemd;
pub mod zfs;

/// Starts a server for a test, or says on standard error why the test is skipped. In CI (`CI=true`) nothing is skipped.
///
/// # Panics
/// When the server does not come up, or in CI when something is missing for it.
pub fn started<T>(
    name: &str,
    missing: Option<String>,
    start: impl FnOnce() -> std::io::Result<T>,
) -> Option<T> {
    if let Some(missing) = missing {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{name} needs {missing}");
        skipped(&format!("{name} needs {missing}"));
        return None;
    }
    Some(start().unwrap_or_else(|error| panic!("{name}: {error}")))
}

#[allow(clippy::print_stderr)] // tests say so when they are skipped
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
