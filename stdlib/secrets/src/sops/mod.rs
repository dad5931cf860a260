//! SOPS files: YAML, JSON, dotenv, INI and binary.
//!
//! A file is read for the places of its values and is then changed in place: decrypting replaces each encrypted value
//! by its plain form and takes the metadata out, encrypting does the reverse. Order, comments and whatever is not
//! encrypted stay as they are.
//!
//! The format has no specification of its own; what it is was taken from the `sops` command's behaviour and is checked
//! against files that it wrote (`tests/fixtures`).

mod cipher;
mod config;
mod document;
mod dotenv;
mod file;
mod ini;
mod json;
mod keys;
mod lint;
mod mac;
mod metadata;
mod rules;
mod set;
mod shamir;
mod time;
mod value;
mod yaml;

use serde_json::{Map, Value as Json};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use document::{Document, Leaf};
use value::{Type, Value};

pub use config::{CONFIG_FILE, Config};
pub use file::{Opened, open, seal};
pub(crate) use json::quoted as json_text;
pub use lint::{Finding, lint};
pub use rules::Selection;

/// The version that files written here name: that of the `sops` command whose format they are in.
const VERSION: &str = "3.10.2";
/// The key under which a binary file has its content.
const BINARY_KEY: &str = "data";

/// A format that SOPS writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML, also several documents in a file.
    Yaml,
    /// JSON.
    Json,
    /// `NAME=value` lines.
    Dotenv,
    /// Sections of `key = value` lines.
    Ini,
    /// Anything, as one value in JSON.
    Binary,
}

impl Format {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Self); 5] = [
        ("yaml", Self::Yaml),
        ("json", Self::Json),
        ("dotenv", Self::Dotenv),
        ("ini", Self::Ini),
        ("binary", Self::Binary),
    ];

    /// The format of a file of this name, as the `sops` command chooses it.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        match name.rsplit('.').next().map(str::to_ascii_lowercase).as_deref() {
            Some("yaml" | "yml") => Self::Yaml,
            Some("json") => Self::Json,
            Some("env") => Self::Dotenv,
            Some("ini") => Self::Ini,
            _ => Self::Binary,
        }
    }

    fn parse(self, text: &str) -> Result<Document> {
        match self {
            Self::Yaml => yaml::parse(text),
            Self::Json | Self::Binary => json::parse(text),
            Self::Dotenv => dotenv::parse(text),
            Self::Ini => ini::parse(text),
        }
    }

    /// How a decrypted value is written.
    fn write(self, value: &Value, leaf: &Leaf) -> Option<Zeroizing<String>> {
        if value.kind == Type::Comment {
            let text = value.as_str()?;
            let one_line = self == Self::Ini || !text.contains(['\n', '\r']);
            return one_line.then(|| Zeroizing::new(text.to_owned()));
        }
        match self {
            Self::Yaml => yaml::write(value, leaf.spot),
            Self::Json | Self::Binary => json::write(value),
            Self::Dotenv => dotenv::write(value),
            Self::Ini => ini::write(value),
        }
    }

    /// How an encrypted value is written.
    fn write_encrypted(self, text: &str, leaf: &Leaf) -> String {
        match self {
            _ if leaf.value.kind == Type::Comment => text.to_owned(),
            Self::Yaml => yaml::write_encrypted(text, leaf.spot),
            Self::Json | Self::Binary => format!("\"{text}\""),
            Self::Dotenv | Self::Ini => text.to_owned(),
        }
    }

    fn insert_metadata(self, text: &str, metadata: &Map<String, Json>) -> Result<String> {
        Ok(match self {
            Self::Yaml => yaml::insert_metadata(text, metadata)?,
            Self::Json | Self::Binary => json::insert_metadata(text, metadata)?,
            Self::Dotenv => dotenv::insert_metadata(text, metadata),
            Self::Ini => ini::insert_metadata(text, metadata),
        })
    }
}

/// For whom and how a file is encrypted.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The recipients: one group, or several of which each holds a share of the key.
    pub groups: Vec<Vec<String>>,
    /// How many groups it takes; all of them where nothing is said.
    pub threshold: Option<usize>,
    /// Which values are encrypted.
    pub selection: Selection,
    /// Whether the MAC covers encrypted values alone.
    pub mac_only_encrypted: bool,
}

/// The recipients that a file says it is encrypted for, without opening it.
///
/// # Errors
/// When it is malformed, or not encrypted.
pub(crate) fn recipients_of(file: &std::path::Path, bytes: &[u8]) -> Result<Vec<String>> {
    let format = Format::of_name(&file.to_string_lossy());
    let document = format.parse(text_of(bytes)?.1)?;
    let map = document.metadata.as_ref().ok_or_else(|| Error::rules("the file is not encrypted"))?;
    Ok(metadata::Metadata::read(map)?.recipients().map(str::to_owned).collect())
}

/// Whether a value of a file is an encrypted one.
pub(crate) fn is_encrypted(text: &str) -> bool {
    cipher::is_encrypted(text)
}

/// The tree of an encrypted file as it stands there, without its metadata: keys in plain, values encrypted. Nothing for a
/// file that is not encrypted.
///
/// # Errors
/// When it is malformed.
pub(crate) fn tree(bytes: &[u8], format: Format) -> Result<Option<Json>> {
    let document = format.parse(text_of(bytes)?.1)?;
    if document.metadata.is_none() {
        return Ok(None);
    }
    let mut roots: Vec<Json> =
        document.roots.iter().map(|root| Json::Object(document::to_json(root))).collect();
    Ok(Some(if roots.len() == 1 { roots.remove(0) } else { Json::Array(roots) }))
}

/// Whether this is a SOPS file: it has the metadata of one.
#[must_use]
pub fn is_sops(bytes: &[u8], format: Format) -> bool {
    has_metadata(bytes, format).unwrap_or(false)
}

/// As [`is_sops`], where a file that cannot be read as one or the other is an error.
///
/// # Errors
/// When it is malformed.
pub fn has_metadata(bytes: &[u8], format: Format) -> Result<bool> {
    let (_, text) = text_of(bytes)?;
    Ok(format.parse(text)?.metadata.is_some())
}

/// The text without a byte order mark, and whether there was one.
fn text_of(bytes: &[u8]) -> Result<(bool, &str)> {
    if bytes.len() > crate::FILE_BYTES_MAX {
        return Err(crate::too_large("the file", crate::FILE_BYTES_MAX));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Error::malformed(format!("the file is no UTF-8 text: byte {} is wrong", error.valid_up_to()))
    })?;
    Ok(text.strip_prefix('\u{feff}').map_or((false, text), |text| (true, text)))
}
