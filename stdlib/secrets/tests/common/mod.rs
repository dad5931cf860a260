//! What the tests share: fixtures and the keys that open them.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // tests read their fixtures
#![allow(dead_code)] // each test binary uses its part

pub(crate) mod trees;

use std::path::PathBuf;
use std::sync::Arc;

use hob_std_secrets::age::{Keyring, NoPassphrases};

/// A time to write files with.
pub(crate) const NOW: &str = "2026-11-21T06:00:00Z";

/// Where a fixture lies.
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A file of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The keys of these files.
pub(crate) fn keyring(files: &[&str]) -> Keyring {
    let mut keyring = Keyring::new(Arc::new(NoPassphrases));
    for file in files {
        keyring.add(&fixture(file), file).unwrap();
    }
    keyring
}

/// The recipient of a file that `age-keygen` wrote.
pub(crate) fn recipient(file: &str) -> String {
    let text = String::from_utf8(fixture(file)).unwrap();
    text.lines().find_map(|line| line.split_once("public key: ")).unwrap().1.to_owned()
}

/// Whether the tests run with larger counts.
pub(crate) fn long() -> bool {
    std::env::var("HOB_LONG").is_ok_and(|value| !value.is_empty() && value != "0")
}
