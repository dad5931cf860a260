//! The MAC of a file, and what is known of values that were encrypted before.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;

use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::cipher::{self, DataKey};
use super::document::Visit;
use super::metadata::Metadata;
use super::value::{Type, Value};
use crate::error::{Error, Result};

/// What the hash begins with when it covers encrypted values alone, so that the two kinds of MAC never agree.
const ONLY_ENCRYPTED: &str = "sops";

/// SHA-512 over the plain bytes of all values in the order of the file, without separators and without comments.
pub(super) struct Mac {
    hash: Sha512,
    only_encrypted: bool,
}

impl Mac {
    pub(super) fn new(metadata: &Metadata) -> Self {
        let mut hash = Sha512::new();
        if metadata.mac_only_encrypted {
            hash.update(Sha256::digest(ONLY_ENCRYPTED));
        }
        Self { hash, only_encrypted: metadata.mac_only_encrypted }
    }

    /// Takes the next value. The `sops` command writes a comment of a list as an item of type `comment`.
    pub(super) fn take(&mut self, visit: &Visit<'_>, value: &Value) {
        if value.kind != Type::Comment && (visit.encrypted || !self.only_encrypted) {
            self.hash.update(&*value.mac_bytes());
        }
    }

    fn text(self) -> String {
        self.hash.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02X}");
            text
        })
    }

    /// The encrypted MAC, as it stands in the metadata.
    pub(super) fn seal(self, last_modified: &str, key: &DataKey) -> String {
        cipher::seal(&Value::text(self.text()), key, last_modified)
    }

    /// Whether the metadata holds this MAC.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn verify(self, metadata: &Metadata, key: &DataKey) -> Result<()> {
        let stored = cipher::open(&metadata.mac, key, &metadata.last_modified)
            .map_err(|_| Error::tampered("the MAC of the file, or the time beside it, was changed"))?;
        if bool::from(stored.plain.ct_eq(self.text().as_bytes())) {
            return Ok(());
        }
        Err(Error::tampered("the file was changed by hand: its values do not fit its MAC"))
    }
}

/// The encrypted forms of values, by place and value. Neither is stored: the key is a keyed hash of both.
#[derive(Default, Clone)]
pub(super) struct Written(HashMap<[u8; 32], VecDeque<String>>);

impl Written {
    fn digest(path: &str, value: &Value, key: &DataKey) -> [u8; 32] {
        let mut hash = blake3::Hasher::new_keyed(key.bytes());
        hash.update(&(path.len() as u64).to_le_bytes());
        hash.update(path.as_bytes());
        // Older writers took each number of a JSON file for a float.
        let kind = if value.kind == Type::Int { Type::Float } else { value.kind };
        hash.update(kind.name().as_bytes());
        hash.update(b"\0");
        hash.update(&value.plain);
        *hash.finalize().as_bytes()
    }

    pub(super) fn note(&mut self, path: &str, value: &Value, key: &DataKey, encrypted: &str) {
        self.0.entry(Self::digest(path, value, key)).or_default().push_back(encrypted.to_owned());
    }

    /// The encrypted form that this value had at this place. Values that stand there several times keep theirs, each.
    pub(super) fn take(&mut self, path: &str, value: &Value, key: &DataKey) -> Option<String> {
        self.0.get_mut(&Self::digest(path, value, key))?.pop_front()
    }
}
