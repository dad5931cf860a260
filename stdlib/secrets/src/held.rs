//! Which value of a secret a service was handed: digests, in memory beside the values themselves, so that a rotation knows
//! who still has the old one, also when nobody keeps the service just now.
//!
//! A line for each secret: what stands for its place, and the digest of its value.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::vault::Place;

/// The name of the file in a generation.
pub(crate) const FILE: &str = ".held";
/// The longest such file that is read, in bytes.
pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;

/// The values that a service was handed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held(BTreeMap<String, String>);

impl Held {
    /// It was handed this value of the secret at a place, whose file is named without links.
    pub(crate) fn add(&mut self, place: &Place, value: &[u8]) {
        self.0.insert(id(place), digest(value));
    }

    /// The digest of the value that it was handed of the secret at a place.
    pub(crate) fn digest_of(&self, place: &Place) -> Option<&str> {
        self.0.get(&id(place)).map(String::as_str)
    }

    pub(crate) fn text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, (id, digest)| {
            let _ = writeln!(text, "{id} {digest}");
            text
        })
    }

    /// What [`Held::text`] wrote. The part of it that is left when it was broken off counts: nobody was handed that
    /// generation yet.
    pub(crate) fn parse(text: &str) -> Self {
        let pair = |line: &str| line.split_once(' ').map(|(id, digest)| (id.to_owned(), digest.to_owned()));
        Self(text.lines().filter_map(pair).collect())
    }
}

/// Stands for a secret: its file and key, wherever it is called what.
fn id(place: &Place) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(place.file.as_os_str().as_bytes());
    hasher.update(b"\0");
    hasher.update(place.key.as_deref().unwrap_or_default().as_bytes());
    hasher.finalize().to_hex().to_string()
}

fn digest(value: &[u8]) -> String {
    blake3::hash(value).to_hex().to_string()
}

/// A service that was handed a secret and is kept by hob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub service: String,
    /// Where in memory its files are.
    pub directory: PathBuf,
    /// The digests of the values that it may have: of two while it is about to switch.
    digests: Vec<String>,
}

impl Holder {
    pub(crate) fn new(directory: &Path, digests: Vec<String>) -> Self {
        let service = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { service, directory: directory.to_path_buf(), digests }
    }

    /// Whether it may have another value than this.
    #[must_use]
    pub fn has_other_than(&self, value: &[u8]) -> bool {
        let current = digest(value);
        self.digests.iter().any(|digest| *digest != current)
    }
}
