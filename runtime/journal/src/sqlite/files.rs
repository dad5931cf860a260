//! The state directory: who may see it, and who holds it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::from_io;
use crate::journal::JournalError;

/// The database within the state directory.
pub(super) const DATABASE: &str = "journal.db";

/// The file whose lock stands for the whole state directory.
const LOCK: &str = "state.lock";

/// Only the owner may look: the journal holds what scripts read and write.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// How much of the lock's file is read to name its holder.
const HOLDER_BYTES_MAX: u64 = 256;

/// The state directory, held by this process for as long as this lives. The kernel lets go of it when the
/// process ends, however it ends.
#[derive(Debug)]
pub(super) struct Hold {
    _file: File,
}

impl Hold {
    /// Takes `dir`, creating it when it is missing.
    pub(super) fn take(dir: &Path) -> Result<Self, JournalError> {
        create_dir(dir)?;
        let path = dir.join(LOCK);
        let fail = |error: &std::io::Error| from_io(error, dir);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let mut file = options.open(&path).map_err(|e| fail(&e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(JournalError::Locked {
                    path: dir.display().to_string(),
                    holder: holder(&mut file),
                });
            }
            Err(error) => return Err(fail(&error.into())),
        }
        let name = format!("`{}` (process {})\n", command(), std::process::id());
        let written =
            file.rewind().and_then(|()| file.set_len(0)).and_then(|()| file.write_all(name.as_bytes()));
        written.map_err(|e| fail(&e))?;
        Ok(Self { _file: file })
    }
}

/// The program and its command, without arguments: these may hold secrets.
fn command() -> String {
    let mut args = std::env::args();
    let program = args.next().unwrap_or_default();
    let program =
        Path::new(&program).file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
    match args.next() {
        Some(command) if command.chars().all(|c| c.is_ascii_alphanumeric()) => format!("{program} {command}"),
        _ => program,
    }
}

fn holder(file: &mut File) -> String {
    let mut text = Vec::new();
    // Without a name it is still known that somebody holds it.
    let _ = file.take(HOLDER_BYTES_MAX).read_to_end(&mut text);
    match String::from_utf8_lossy(&text).trim() {
        "" => "another process".to_owned(),
        name => name.to_owned(),
    }
}

/// Creates `dir` for its owner alone, and its parents as the system would.
pub(super) fn create_dir(dir: &Path) -> Result<(), JournalError> {
    let fail = |error: &std::io::Error| from_io(error, dir);
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|e| fail(&e))?;
    }
    match DirBuilder::new().mode(DIRECTORY_MODE).create(dir) {
        Ok(()) => sync_dir(dir.parent().unwrap_or(dir)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(fail(&error)),
    }
}

/// Creates an empty file for its owner alone, durably, unless there is one. Files that the database adds
/// beside it take over its mode.
pub(super) fn create_file(path: &Path) -> Result<(), JournalError> {
    match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path) {
        Ok(_) => sync_dir(path.parent().unwrap_or(path)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(from_io(&error, path)),
    }
}

/// Makes the names in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|it| it.sync_all()).map_err(|e| from_io(&e, dir))
}

/// Whether `dir` cannot be written and holds no log that would have to be read, so that the database alone is
/// the whole journal and stays as it is.
pub(super) fn is_immutable(dir: &Path) -> bool {
    let writable = rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok();
    let log = std::fs::metadata(dir.join(format!("{DATABASE}-wal"))).map_or(0, |it| it.len());
    !writable && log == 0
}
