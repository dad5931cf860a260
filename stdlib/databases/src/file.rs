//! Dumps as files: whole, or not there.
#![allow(clippy::disallowed_methods)] // This is the adapter: what it does is I/O.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hob_model::OpError;

/// How the names of files end that are not whole yet.
const UNFINISHED: &str = ".hob-part";

fn failed(path: &Path) -> impl Fn(io::Error) -> OpError + '_ {
    move |error| OpError::io(&error, path.display())
}

/// A path beside another for what is not whole yet.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

/// Makes a directory that nobody else reads, with those above it.
pub(crate) fn make_directory(path: &Path) -> Result<(), OpError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))
}

/// Writes a file that nobody else reads: durable, and whole or as it was before.
pub(crate) fn write(path: &Path, from: impl FnOnce(&mut File) -> Result<(), OpError>) -> Result<(), OpError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    make_directory(directory)?;
    let part = unfinished(path);
    let done = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let file = file.as_mut().map_err(|error| OpError::io(error, part.display()))?;
        from(file)?;
        file.sync_all().map_err(failed(&part))
    })();
    done.and_then(|()| settle(&part, path)).inspect_err(|_| {
        let _ = fs::remove_file(&part);
    })
}

/// Has what is whole take its place.
fn settle(part: &Path, path: &Path) -> Result<(), OpError> {
    fs::rename(part, path).map_err(failed(path))?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory).and_then(|it| it.sync_all()).map_err(failed(directory))
}

/// Writes all of a reader.
pub(crate) fn copy(from: &mut impl Read, to: &mut File, path: &Path) -> Result<(), OpError> {
    let mut part = vec![0; 256 << 10];
    loop {
        let read = from.read(&mut part).map_err(|error| OpError::failed(error.to_string()))?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&part[..read]).map_err(failed(path))?;
    }
}

/// A file to be read, and how it begins.
pub(crate) fn open(path: &Path) -> Result<(File, Vec<u8>), OpError> {
    const HEAD: u64 = 16;
    let mut head = Vec::new();
    File::open(path).and_then(|it| it.take(HEAD).read_to_end(&mut head)).map_err(failed(path))?;
    Ok((File::open(path).map_err(failed(path))?, head))
}

/// Whether there is such a file.
pub(crate) fn exists(path: &Path) -> bool {
    path.exists()
}

/// Makes what was written to a file durable.
pub(crate) fn sync(path: &Path) -> Result<(), OpError> {
    File::open(path).and_then(|it| it.sync_all()).map_err(failed(path))
}
