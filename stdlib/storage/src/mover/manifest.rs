//! What was moved, with hashes, so that it can be read again years later and compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hob_model::OpError;
use serde::{Deserialize, Serialize};

use super::{intent, place};
use crate::tier::{Source, Tier, Time};

/// How much is read at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// The most bytes of one manifest that are read.
const BYTES_MAX: u64 = 1 << 30;

/// A line of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its path from the root of the tier; `%` and two digits stand for a byte that is no plain letter.
    pub path: String,
    /// The BLAKE3 hash of its content, in hexadecimal.
    pub hash: String,
    /// Its size in bytes.
    pub size: u64,
    /// When its content last changed.
    pub modified: Time,
    /// When it was moved: RFC 3339.
    pub moved: String,
}

/// Where the manifest of an effect is.
pub(crate) fn at(mark: &str) -> PathBuf {
    Path::new(place::MANIFESTS).join(format!("{mark}.jsonl"))
}

/// Lines as they are written; the first is empty, and ends what a crash may have left of an earlier one.
#[must_use]
pub(crate) fn lines(all: &[Line]) -> String {
    let text = |line| serde_json::to_string(line).expect("texts and numbers can be written") + "\n";
    std::iter::once("\n".to_owned()).chain(all.iter().map(text)).collect()
}

/// All of a file, if it is not larger than `bytes_max`.
///
/// # Errors
/// As reading does.
pub(crate) fn content(source: &dyn Source, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let (mut all, mut chunk) = (Vec::new(), vec![0; CHUNK_BYTES]);
    loop {
        match source.read_at(&mut chunk, all.len() as u64)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&chunk[..count]),
        }
        if all.len() as u64 > bytes_max {
            return Err(std::io::Error::other(format!("it has more than {bytes_max} bytes")));
        }
    }
}

/// What one manifest tells, the last line of each path.
///
/// # Errors
/// When it cannot be read.
pub fn read(tier: &dyn Tier, at: &Path) -> Result<BTreeMap<PathBuf, Line>, OpError> {
    let content = tier.open(at).and_then(|source| content(&*source, BYTES_MAX));
    let content = match content {
        Ok(content) => content,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(OpError::io(&error, tier.path().join(at).display())),
    };
    // A line that a crash tore off stands for a file whose intent is still there: it is written again.
    let whole =
        content.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
    Ok(whole.map(|line| (intent::path(&line.path), line)).collect())
}

/// What all manifests of a tier tell; where several know a path, the one that was moved last.
///
/// # Errors
/// When there are none, or they cannot be read.
pub fn read_all(tier: &dyn Tier) -> Result<BTreeMap<PathBuf, Line>, OpError> {
    let dir = Path::new(place::MANIFESTS);
    let names = tier.list(dir).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            OpError::not_found(format!("{} has no manifest: nothing was moved there", tier.path().display()))
        }
        _ => OpError::io(&error, tier.path().join(dir).display()),
    })?;
    let mut all: BTreeMap<PathBuf, Line> = BTreeMap::new();
    for name in names {
        for (path, line) in read(tier, &dir.join(name))? {
            if all.get(&path).is_none_or(|known| known.moved <= line.moved) {
                all.insert(path, line);
            }
        }
    }
    Ok(all)
}

/// How many bytes the files of a manifest hold, those with several names counted once.
#[must_use]
pub(crate) fn bytes(lines: &BTreeMap<PathBuf, Line>) -> u64 {
    let files: BTreeMap<(&str, Time), u64> =
        lines.values().map(|line| ((line.hash.as_str(), line.modified), line.size)).collect();
    files.values().sum()
}
