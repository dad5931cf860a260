//! What services write: a file for each start, which the service itself appends to, so that it goes on without hob.
//!
//! A file that grows too large loses its oldest part in place: its blocks are given back and read as a hole, while
//! the service goes on writing and every position in it stays what it was. No line is lost in between, as happens
//! where a file is copied and cut.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hob_model::OpError;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::spawn::FILE_MODE;
use crate::port::{LogChunk, LogFrom, LogPosition};

/// How much the file of one start may take on disk before its oldest part is dropped.
pub const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How much of it is kept then.
pub const LOG_KEPT_BYTES: u64 = 8 * 1024 * 1024;

/// How many starts keep their file, the present one included.
pub const LOG_FILES_MAX: usize = 4;

/// How long the file of an earlier start is kept after it was last written to.
pub const LOG_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How much is read at a time; a longer line comes in parts.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// Holes begin and end at multiples of this: the largest block of the common file systems.
const BLOCK_BYTES: u64 = 64 * 1024;

/// The size of the unit in which `st_blocks` counts, whatever the block of the file system.
const STAT_BLOCK_BYTES: u64 = 512;

/// The file of the `age`-th start before the present one.
fn path(dir: &Path, age: usize) -> PathBuf {
    match age {
        0 => dir.join("output.log"),
        age => dir.join(format!("output.{age}.log")),
    }
}

/// The file for a start; those of earlier ones move on by one. Nothing writes to any of them.
pub(super) fn begin(dir: &Path) -> Result<File, OpError> {
    let failed = |error: io::Error| OpError::io(&error, path(dir, 0).display()).nothing_happened();
    for age in (0..LOG_FILES_MAX - 1).rev() {
        match std::fs::rename(path(dir, age), path(dir, age + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(FILE_MODE).open(path(dir, 0)).map_err(failed)
}

/// Reads what a service wrote.
pub(super) fn read(dir: &Path, from: LogFrom) -> Result<LogChunk, OpError> {
    let found = match from {
        LogFrom::Start => read_from(dir, 0, 0),
        LogFrom::Tail { lines } => tail(dir, lines),
        LogFrom::Position(at) => continue_at(dir, at),
    };
    found.map_err(|error| OpError::io(&error, path(dir, 0).display()))
}

fn open(dir: &Path, age: usize) -> io::Result<Option<File>> {
    match File::open(path(dir, age)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn continue_at(dir: &Path, at: LogPosition) -> io::Result<LogChunk> {
    for age in 0..LOG_FILES_MAX {
        let Some(file) = open(dir, age)? else { break };
        let meta = file.metadata()?;
        if meta.ino() != at.file {
            continue;
        }
        // A file that was cut where no holes can be made begins anew.
        let offset = if at.offset > meta.len() { 0 } else { at.offset };
        return match age {
            // The start is over and its file was read to the end: the next one's begins.
            1.. if offset == meta.len() => read_from(dir, age - 1, 0),
            _ => read_from(dir, age, offset),
        };
    }
    read_from(dir, 0, 0)
}

/// Whole lines from `offset` on; of a start that is over, also the last one without an end.
fn read_from(dir: &Path, age: usize, offset: u64) -> io::Result<LogChunk> {
    let Some(mut file) = open(dir, age)? else {
        return Ok(LogChunk::default());
    };
    let inode = file.metadata()?.ino();
    let begin = skip_hole(&mut file, offset)?;
    let mut bytes = Vec::new();
    (&mut file).take(CHUNK_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    let is_full = bytes.len() == CHUNK_BYTES_MAX;
    let end = match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(at) if age == 0 || is_full => at + 1,
        None if age == 0 && !is_full => 0,
        _ => bytes.len(),
    };
    bytes.truncate(end);
    let next = LogPosition { file: inode, offset: begin + end as u64 };
    Ok(LogChunk { lines: lines(&bytes), next, more: is_full || age > 0 })
}

/// The last `count` lines, over as many starts as it takes.
fn tail(dir: &Path, count: usize) -> io::Result<LogChunk> {
    let mut chunk = LogChunk::default();
    for age in 0..LOG_FILES_MAX {
        let Some(mut file) = open(dir, age)? else { break };
        let meta = file.metadata()?;
        let begin = meta.len().saturating_sub(CHUNK_BYTES_MAX as u64);
        let begin = skip_hole(&mut file, begin)?;
        let mut bytes = Vec::new();
        (&mut file).take(CHUNK_BYTES_MAX as u64).read_to_end(&mut bytes)?;
        if age == 0 {
            chunk.next = LogPosition { file: meta.ino(), offset: begin + bytes.len() as u64 };
        }
        let mut earlier = lines(&bytes);
        if begin > 0 && !earlier.is_empty() {
            earlier.remove(0); // most likely the rest of a line
        }
        earlier.append(&mut chunk.lines);
        chunk.lines = earlier;
        if chunk.lines.len() >= count {
            break;
        }
    }
    let surplus = chunk.lines.len().saturating_sub(count);
    chunk.lines.drain(..surplus);
    Ok(chunk)
}

/// Goes to `offset`, or to the end of the hole that it lies in.
fn skip_hole(file: &mut File, offset: u64) -> io::Result<u64> {
    let at = match rustix::fs::seek(&*file, rustix::fs::SeekFrom::Data(offset)) {
        Ok(at) => at,
        // Nothing but a hole, or nothing at all, follows.
        Err(Errno::NXIO) => offset.max(file.metadata()?.len()),
        Err(_) => offset,
    };
    file.seek(SeekFrom::Start(at))
}

fn lines(bytes: &[u8]) -> Vec<String> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let line = |line: &[u8]| String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
    bytes.split(|byte| *byte == b'\n').map(line).collect()
}

/// Shortens the files of all services that are too large, and removes those of earlier starts that are too old.
pub(super) fn rotate_all(services: &Path) -> Result<(), OpError> {
    let dirs = match std::fs::read_dir(services) {
        Ok(dirs) => dirs,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(OpError::io(&error, services.display())),
    };
    let mut first_error = None;
    for dir in dirs.flatten() {
        let file = path(&dir.path(), 0);
        match rotate(&file) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => first_error = first_error.or(Some(OpError::io(&error, file.display()))),
        }
        for age in (1..LOG_FILES_MAX).rev() {
            let file = path(&dir.path(), age);
            match remove_if_old(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    first_error = first_error.or(Some(OpError::io(&error, file.display())));
                }
                _ => {}
            }
        }
    }
    first_error.map_or(Ok(()), Err)
}

fn remove_if_old(path: &Path) -> io::Result<()> {
    // A clock that was set back makes a file young, and none old.
    let written = std::fs::metadata(path)?.modified()?;
    let is_old = written.elapsed().is_ok_and(|age| age > LOG_AGE_MAX);
    if is_old { std::fs::remove_file(path) } else { Ok(()) }
}

fn rotate(path: &Path) -> io::Result<()> {
    let meta = std::fs::metadata(path)?;
    if meta.blocks() * STAT_BLOCK_BYTES <= LOG_BYTES_MAX {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).open(path)?;
    let hole = meta.len().saturating_sub(LOG_KEPT_BYTES) / BLOCK_BYTES * BLOCK_BYTES;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(&file, flags, 0, hole) {
        Ok(()) => Ok(()),
        // Such a file system keeps no more than what comes from now on.
        Err(Errno::OPNOTSUPP) => file.set_len(0),
        Err(error) => Err(error.into()),
    }
}
