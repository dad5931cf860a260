//! What is on disk about a batch that is under way: lines of JSON, the first about the batch, one for each file before it is
//! copied, one for each after its copy was verified.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use serde::{Deserialize, Serialize};

use super::select::Group;
use crate::tier::Time;

/// The version of the format.
const VERSION: u32 = 1;

/// The most bytes of an intent that are read: some hundred thousand long names.
pub(crate) const BYTES_MAX: u64 = 256 << 20;

/// What is written as `%` and two digits: other bytes than those of ASCII are as well, so that no path is lost.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// A path as text that keeps each of its bytes.
#[must_use]
pub fn text(path: &Path) -> String {
    percent_encode(path.as_os_str().as_bytes(), ESCAPED).to_string()
}

/// The path of such a text.
#[must_use]
pub fn path(text: &str) -> PathBuf {
    OsString::from_vec(percent_decode_str(text).collect()).into()
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    version: u32,
    source: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Batch(Header),
    Move { number: usize, names: Vec<String>, inode: u64, size: u64, modified: Time },
    Verified { number: usize, hash: String },
}

/// A file as an intent describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its number in the batch.
    pub number: usize,
    /// Its names, the same in both tiers.
    pub names: Vec<PathBuf>,
    /// Its number in the source.
    pub inode: u64,
    /// Its size in bytes.
    pub size: u64,
    /// When its content last changed.
    pub modified: Time,
    /// The hash of its content, once its copy was verified.
    pub hash: Option<String>,
}

/// A batch as its intent describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The root of the source.
    pub source: PathBuf,
    /// Its files.
    pub files: Vec<Planned>,
}

/// The lines that are written before anything else happens.
#[must_use]
pub fn begin(source: &Path, groups: &[Group]) -> String {
    let header = Line::Batch(Header { version: VERSION, source: text(source) });
    let plan = groups.iter().enumerate().map(|(number, group)| Line::Move {
        number,
        names: group.names.iter().map(|name| text(name)).collect(),
        inode: group.meta.inode,
        size: group.meta.size,
        modified: group.meta.modified,
    });
    lines(std::iter::once(header).chain(plan))
}

/// The lines that are written when copies were verified, by number and hash.
#[must_use]
pub fn verified<'h>(copies: impl Iterator<Item = (usize, &'h str)>) -> String {
    lines(copies.map(|(number, hash)| Line::Verified { number, hash: hash.to_owned() }))
}

fn lines(all: impl Iterator<Item = Line>) -> String {
    let line = |line| serde_json::to_string(&line).expect("texts and numbers can be written") + "\n";
    all.map(line).collect()
}

/// Reads an intent as far as it is whole; `None` where not even its beginning is, so that nothing was done.
///
/// # Errors
/// When another version of hob wrote it.
pub fn parse(content: &[u8]) -> Result<Option<Batch>, String> {
    let mut batch: Option<Batch> = None;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        // A line that a crash tore off was never synced, nor were those behind it.
        let Ok(line) = serde_json::from_slice::<Line>(line) else { break };
        match (line, &mut batch) {
            (Line::Batch(header), None) if header.version == VERSION => {
                batch = Some(Batch { source: path(&header.source), files: Vec::new() });
            }
            (Line::Batch(header), None) => {
                return Err(format!("it is of version {}, and this hob knows {VERSION}", header.version));
            }
            (Line::Move { number, names, inode, size, modified }, Some(batch)) if !names.is_empty() => {
                let names = names.iter().map(|name| path(name)).collect();
                batch.files.push(Planned { number, names, inode, size, modified, hash: None });
            }
            (Line::Verified { number, hash }, Some(batch)) => {
                if let Some(file) = batch.files.iter_mut().find(|file| file.number == number) {
                    file.hash = Some(hash);
                }
            }
            _ => break,
        }
    }
    Ok(batch)
}
