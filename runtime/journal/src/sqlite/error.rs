//! What the store's errors mean to people.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::codec::CodecError;
use crate::journal::JournalError;

/// An error on its way out of the adapter; where it leaves, the path is added.
#[derive(Debug)]
pub(super) enum Fault {
    /// From the database.
    Sql(rusqlite::Error),
    /// Already in the journal's words.
    Journal(JournalError),
}

pub(super) type Outcome<T> = Result<T, Fault>;

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<JournalError> for Fault {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl Fault {
    /// A record that cannot be read.
    pub(super) fn damaged(what: impl std::fmt::Display, error: &CodecError) -> Self {
        Self::Journal(JournalError::Corrupt(format!("{what}: {error}")))
    }

    /// The error of the journal in `path`.
    pub(super) fn at(self, path: &Path) -> JournalError {
        match self {
            Self::Journal(error) => error,
            Self::Sql(error) => from_sql(&error, path),
        }
    }
}

fn from_sql(error: &rusqlite::Error, path: &Path) -> JournalError {
    let cause = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            return JournalError::Corrupt(format!("{} is not a database", path.display()));
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            return JournalError::Corrupt(format!("{}: {error}", path.display()));
        }
        Some(ErrorCode::DiskFull) => "no space left on device; free some, then start hob again".to_owned(),
        Some(ErrorCode::ReadOnly) => "it is read-only; make it writable for this user".to_owned(),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            format!("{error}; check that the directory exists and belongs to this user")
        }
        Some(ErrorCode::SystemIoFailure) => format!("{error}; check the disk and the system's log"),
        _ => error.to_string(),
    };
    JournalError::Unusable { path: path.display().to_string(), cause }
}

/// The error of a system call on `path`.
pub(super) fn from_io(error: &std::io::Error, path: &Path) -> JournalError {
    use std::io::ErrorKind;
    let cure = match error.kind() {
        ErrorKind::PermissionDenied => "; run as the user that owns it, or choose another state directory",
        ErrorKind::ReadOnlyFilesystem => "; make it writable, or choose another state directory",
        ErrorKind::StorageFull => "; free some, then start hob again",
        _ => "",
    };
    JournalError::Unusable { path: path.display().to_string(), cause: format!("{error}{cure}") }
}
