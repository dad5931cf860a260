//! The operations on SQLite.
#![allow(clippy::disallowed_methods)] // It opens files, and pauses while others write.

pub(crate) use operations::primitive;

use std::path::Path;
use std::time::Duration;

use hob_model::OpError;
use hob_primitive::{Ctx, Progress, primitive};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::file;

/// How many pages are copied before others may write.
const PAGES: i32 = 1024;

/// How long others may keep the file locked before it is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// How long others may keep the file locked at all: so many pauses, half a minute.
const PAUSES_MAX: u32 = 600;

fn failed(path: &Path, error: &rusqlite::Error) -> OpError {
    let text = format!("{}: {error}", path.display());
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => {
            OpError::invalid(text).hint("it is no database of SQLite, or encrypted")
        }
        Some(rusqlite::ErrorCode::CannotOpen) => OpError::not_found(text),
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            OpError::unavailable(text).hint("a program keeps it locked: try again")
        }
        Some(rusqlite::ErrorCode::DiskFull) => {
            OpError::unavailable(text).hint("the disk is full: free some space and try again")
        }
        Some(rusqlite::ErrorCode::PermissionDenied | rusqlite::ErrorCode::ReadOnly) => OpError::denied(text),
        _ => OpError::failed(text),
    }
}

fn open(path: &Path) -> Result<Connection, OpError> {
    if !file::exists(path) {
        return Err(OpError::not_found(format!("there is no file {}", path.display())));
    }
    // What is in its log is part of it, and reading that takes the right to write.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(|error| failed(path, &error))
}

/// Copies a database that others use.
fn copy(cx: &Ctx, from: &Path, to: &Path) -> Result<(), OpError> {
    let source = open(from)?;
    file::write(to, |_| {
        let part = file::unfinished(to);
        let mut made = Connection::open(&part).map_err(|error| failed(&part, &error))?;
        let backup = Backup::new(&source, &mut made).map_err(|error| failed(from, &error))?;
        let mut waited = 0;
        loop {
            if cx.cancel().is_cancelled() {
                return Err(OpError::cancelled(format!("copying {} was cancelled", from.display())));
            }
            match backup.step(PAGES).map_err(|error| failed(from, &error))? {
                StepResult::Done => break,
                StepResult::More => waited = 0,
                _ if waited == PAUSES_MAX => {
                    return Err(OpError::unavailable(format!("{} stays locked", from.display()))
                        .hint("a program keeps it locked: try again, or stop it"));
                }
                _ => {
                    waited += 1;
                    let _ = cx.cancel().wait_timeout(PAUSE);
                }
            }
            let progress = backup.progress();
            let count = |pages: i32| u64::try_from(pages).unwrap_or_default();
            let (done, total) =
                (count(progress.pagecount - progress.remaining), Some(count(progress.pagecount)));
            cx.progress(Progress {
                message: format!("copying {}", from.display()),
                done,
                total,
                bytes: false,
            });
        }
        drop(backup);
        // One file: what it is read by later may find no place for a log.
        made.pragma_update(None, "journal_mode", "DELETE").map_err(|error| failed(&part, &error))?;
        whole(&made, &part)?;
        drop(made);
        file::sync(&part)
    })
}

/// Whether a database is whole, by its own check.
fn whole(open: &Connection, path: &Path) -> Result<(), OpError> {
    let told = open.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    match told {
        Ok(told) if told == "ok" => Ok(()),
        Ok(told) => Err(OpError::failed(format!("{} is damaged: {told}", path.display()))
            .hint("restore it from a backup; `sqlite3 FILE .recover` saves what is left")),
        Err(error) => Err(failed(path, &error)),
    }
}

/// SQLite: copies of databases that are in use, and whether they are whole.
#[primitive(name = "databases::sqlite")]
mod operations {
    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, PathText};

    /// Copies a database while programs use it, checks the copy, and gives its path.
    ///
    /// The copy is as of one moment, in one file. A plain copy of the file is not: what is in its log is missing then.
    ///
    /// Class `ensure`: it is copied again, and takes its place as a whole, over what was there.
    ///
    /// Fails with `not_found` when there is no such file, `invalid` when it is no database, `failed` when it is damaged, and
    /// `unavailable` when it stays locked or the disk is full.
    ///
    /// ```rhai,no_run
    /// backup::snapshot("nas", [databases::sqlite::backup("/srv/vaultwarden/db.sqlite3", "dumps/vaultwarden.db")]);
    /// ```
    #[operation(ensure, permission = "files.read:{from} files.write:{to}", timeout = "6h", returns = "string", model = model_backup)]
    fn backup(cx: &Ctx, from: PathText, to: PathText) -> Result<Value, OpError> {
        let (from, to) = (cx.resolve(&from.0), cx.resolve(&to.0));
        super::copy(cx, &from, &to)?;
        Ok(Value::from(to.to_string_lossy().into_owned()))
    }

    fn model_backup(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (from, to): (PathText, PathText) = (args.next("from")?, args.next("to")?);
        super::open(&cx.resolve(&from.0))?;
        Ok(Value::from(cx.resolve(&to.0).to_string_lossy().into_owned()))
    }

    /// Looks whether a database is whole; gives `true`.
    ///
    /// Class `observe`: it only reads.
    ///
    /// Fails with `failed` when it is damaged, saying how, and as [`backup`].
    ///
    /// ```rhai,no_run
    /// databases::sqlite::check("/srv/vaultwarden/db.sqlite3")
    /// ```
    #[operation(observe, permission = "files.read:{path}", timeout = "1h", returns = "bool")]
    fn check(cx: &Ctx, path: PathText) -> Result<Value, OpError> {
        let path = cx.resolve(&path.0);
        super::whole(&super::open(&path)?, &path)?;
        Ok(Value::Bool(true))
    }
}
