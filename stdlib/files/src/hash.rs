//! Digests of files.

use std::io::Read;
use std::path::Path;

use hob_model::OpError;
use hob_primitive::Choice;
use sha2::Digest as _;

use crate::problem::{Watch, fault};

/// How much is read at a time.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// The algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub(crate) enum Algorithm {
    Blake3,
    Sha256,
    Sha512,
}

/// Reads to the end in chunks.
pub(crate) fn chunks(
    source: &mut dyn Read,
    path: &Path,
    watch: &mut Watch,
    each: &mut dyn FnMut(&[u8]) -> Result<(), OpError>,
) -> Result<(), OpError> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                each(&buffer[..count])?;
                watch.bytes(count as u64)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(fault(&error, path)),
        }
    }
}

/// The digest in hexadecimal.
pub(crate) fn digest(
    source: &mut dyn Read,
    path: &Path,
    algorithm: Algorithm,
    watch: &mut Watch,
) -> Result<String, OpError> {
    let mut blake3 = blake3::Hasher::new();
    let mut sha256 = sha2::Sha256::new();
    let mut sha512 = sha2::Sha512::new();
    chunks(source, path, watch, &mut |chunk| {
        match algorithm {
            Algorithm::Blake3 => drop(blake3.update(chunk)),
            Algorithm::Sha256 => sha256.update(chunk),
            Algorithm::Sha512 => sha512.update(chunk),
        }
        Ok(())
    })?;
    Ok(match algorithm {
        Algorithm::Blake3 => blake3.finalize().to_hex().to_string(),
        Algorithm::Sha256 => format!("{:x}", sha256.finalize()),
        Algorithm::Sha512 => format!("{:x}", sha512.finalize()),
    })
}
