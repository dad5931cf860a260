//! Copies of the whole journal, and coming back from one.

use std::path::Path;

use hob_model::{RunId, Value};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, params};

use super::error::{Fault, Outcome, from_io};
use super::files::{self, DATABASE, Hold};
use super::reader::run_of;
use super::{SqliteJournal, claims, schema};
use crate::codec;
use crate::journal::{HELD_PREFIX, JournalError};

/// A copy has this name until it is whole.
const PARTIAL: &str = "journal.db.partial";

impl SqliteJournal {
    /// Copies the journal as it is at one moment into `to_dir`, which must not hold one; writing goes on
    /// meanwhile.
    ///
    /// # Errors
    /// When the directory cannot be written, or holds a journal already.
    pub fn backup(&self, to_dir: &Path) -> Result<(), JournalError> {
        files::create_dir(to_dir)?;
        refuse_existing(to_dir)?;
        self.shared.read(|conn| Ok(copy(conn, to_dir, |_| Ok(()))?))?;
        Ok(())
    }
}

/// Brings the backup in `from_dir` into the state directory `to_dir`, which must not hold a journal. Runs
/// that have not ended come up held (see [`crate::Journal::held`]); returns how many these are.
///
/// # Errors
/// When the backup is missing or damaged, or `to_dir` is in use or cannot be written.
pub fn restore(from_dir: &Path, to_dir: &Path) -> Result<usize, JournalError> {
    let _hold = Hold::take(to_dir)?;
    refuse_existing(to_dir)?;
    let path = from_dir.join(DATABASE);
    if let Err(error) = std::fs::metadata(&path) {
        return Err(from_io(&error, &path));
    }
    let open = || {
        let source = schema::open_for_reading(&path, files::is_immutable(from_dir))?;
        schema::check_format(&source, &path)?;
        let said: String = source.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if said == "ok" {
            Ok(source)
        } else {
            Err(JournalError::Corrupt(format!("the backup: {said}")).into())
        }
    };
    let source = open().map_err(|e: Fault| e.at(&path))?;
    copy(&source, to_dir, hold_live_runs)
}

fn refuse_existing(dir: &Path) -> Result<(), JournalError> {
    let path = dir.join(DATABASE);
    if !path.exists() {
        return Ok(());
    }
    let cause = "it holds a journal already; choose an empty directory".to_owned();
    Err(JournalError::Unusable { path: dir.display().to_string(), cause })
}

/// Copies `source` into `dir`, lets `finish` change the copy, and gives it its name when it is durable.
fn copy<T>(
    source: &Connection,
    dir: &Path,
    finish: impl FnOnce(&Connection) -> Outcome<T>,
) -> Result<T, JournalError> {
    let partial = dir.join(PARTIAL);
    let fail = |error: &std::io::Error| from_io(error, &partial);
    if partial.exists() {
        std::fs::remove_file(&partial).map_err(|e| fail(&e))?;
    }
    files::create_file(&partial)?;
    let write = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut target = Connection::open_with_flags(&partial, flags)?;
        // All pages in one step: a journal that is written meanwhile would make smaller steps begin again.
        while Backup::new(source, &mut target)?.step(-1)? != StepResult::Done {}
        target.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;")?;
        let done = finish(&target)?;
        target.close().map_err(|(_, error)| error)?;
        Ok(done)
    };
    let done = write().map_err(|e: Fault| e.at(&partial))?;
    std::fs::File::open(&partial).and_then(|it| it.sync_all()).map_err(|e| fail(&e))?;
    std::fs::rename(&partial, dir.join(DATABASE)).map_err(|e| fail(&e))?;
    files::sync_dir(dir)?;
    Ok(done)
}

fn hold_live_runs(conn: &Connection) -> Outcome<usize> {
    let transaction = conn.unchecked_transaction()?;
    claims::recover(conn)?;
    let mut query =
        conn.prepare("SELECT run FROM runs WHERE status NOT IN ('succeeded', 'failed', 'cancelled')")?;
    let live: Vec<RunId> = query.query_map([], |row| run_of(row, 0))?.collect::<Result<_, _>>()?;
    let mut held = Vec::new();
    codec::encode_value(&Value::Bool(true), &mut held);
    for run in &live {
        conn.prepare_cached("INSERT OR REPLACE INTO facts (key, value) VALUES (?1, ?2)")?
            .execute(params![format!("{HELD_PREFIX}{run}"), held])?;
    }
    transaction.commit()?;
    Ok(live.len())
}
