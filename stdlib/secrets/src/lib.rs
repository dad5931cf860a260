//! Secrets at rest: age files, SOPS files and agenix directories, read, verified, written and re-keyed.
//!
//! Bytes come in and bytes go out; only [`live`] touches a disk. What is decrypted lives in
//! buffers that are wiped when they are dropped; no error holds any of it; nothing is given back before all of it has
//! been verified.

pub mod age;
pub mod agenix;
mod error;
pub mod live;
pub mod sops;

use zeroize::Zeroizing;

pub use error::{Error, Kind, Result};

/// The largest encrypted file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The largest decrypted file, in bytes.
pub const PLAIN_BYTES_MAX: usize = 48 * 1024 * 1024;
/// How much of a text from outside an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 48;

/// Decrypted bytes; wiped when dropped.
pub type Plain = Zeroizing<Vec<u8>>;

pub(crate) fn too_large(what: &str, bytes_max: usize) -> Error {
    Error::new(Kind::TooLarge, format!("{what} is larger than {bytes_max} bytes"))
}

/// The beginning of a text, for errors.
pub(crate) fn shortened(text: &str) -> String {
    let mut chars = text.chars();
    let mut shown: String =
        chars.by_ref().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}
