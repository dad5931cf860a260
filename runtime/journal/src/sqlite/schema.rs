//! The tables, and how the database is opened.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::Synchronous;
use super::error::{Fault, Outcome};
use crate::codec::FORMAT;
use crate::journal::JournalError;

/// Marks the database as hob's (`PRAGMA application_id`): `hob!` in ASCII.
const APPLICATION_ID: u32 = 0x686f_6221;

/// How long a connection waits for another one. Only opening and checkpoints ever take turns.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many prepared statements a connection keeps; more than there are.
const STATEMENTS_MAX: usize = 64;

/// Pages in the write-ahead log before they are moved into the database: 16 MiB. The log is then used again
/// from its begin, and a sync that does not make a file longer is cheaper.
const CHECKPOINT_PAGES: u32 = 4_000;

/// How long the log stays after a large transaction made it longer.
const LOG_BYTES_MAX: u32 = 64 << 20;

/// Memory for pages, in KiB: of the connection that writes, and of each one that reads.
const WRITER_CACHE_KIB: u32 = 4_096;
const READER_CACHE_KIB: u32 = 1_024;

/// `entries` is the journal; `signals`, `events`, `slots`, `facts`, `blobs` and `bundles` are stored as
/// given; `runs`, `waits` and `uses` are derived from the entries and can be rebuilt. Times are microseconds
/// since 1970.
const TABLES: &str = "
CREATE TABLE entries (run BLOB NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (run, seq)) STRICT, WITHOUT ROWID;

CREATE TABLE runs (run BLOB NOT NULL PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL,
    owner TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL, bundle BLOB, parent BLOB,
    attempt INTEGER NOT NULL, entries INTEGER NOT NULL, ended_by INTEGER, bytes INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE INDEX runs_by_status ON runs (status, run);
CREATE INDEX runs_by_name ON runs (name, run);
CREATE INDEX runs_in_foreground ON runs (status, run) WHERE owner = 'foreground';
CREATE INDEX runs_by_parent ON runs (parent, run) WHERE parent IS NOT NULL;

CREATE TABLE waits (run BLOB NOT NULL, position TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, due INTEGER,
    wait BLOB NOT NULL, PRIMARY KEY (run, position)) STRICT, WITHOUT ROWID;
CREATE INDEX waits_by_due ON waits (due, run, position) WHERE due IS NOT NULL;
CREATE INDEX waits_by_key ON waits (kind, key, run, position);

CREATE TABLE signals (id INTEGER PRIMARY KEY AUTOINCREMENT, run BLOB NOT NULL, name TEXT NOT NULL,
    payload BLOB NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE INDEX signals_by_run ON signals (run, id);

CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, payload BLOB NOT NULL,
    origin TEXT NOT NULL, at INTEGER NOT NULL) STRICT;

CREATE TABLE slots (schedule TEXT NOT NULL, nominal INTEGER NOT NULL, run BLOB NOT NULL,
    PRIMARY KEY (schedule, nominal)) STRICT, WITHOUT ROWID;
CREATE INDEX slots_by_run ON slots (run);
-- Up to this time the slots of a schedule may have been pruned: none of them can be claimed any more.
CREATE TABLE slot_floors (schedule TEXT NOT NULL PRIMARY KEY, nominal INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE facts (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE blobs (digest BLOB NOT NULL UNIQUE, bytes BLOB NOT NULL) STRICT;
CREATE TABLE bundles (digest BLOB NOT NULL PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE bundle_files (blob BLOB NOT NULL, bundle BLOB NOT NULL, PRIMARY KEY (blob, bundle))
    STRICT, WITHOUT ROWID;
-- Which blobs and bundles the entries of a run refer to.
CREATE TABLE uses (run BLOB NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (run, digest)) STRICT, WITHOUT ROWID;
CREATE INDEX uses_by_digest ON uses (digest, run);

-- Counts commits that hold nothing and are there to have earlier ones synced.
CREATE TABLE syncs (count INTEGER NOT NULL) STRICT;
INSERT INTO syncs VALUES (0);
";

/// Slots that were claimed together and are not in `slots`, `entries` and what follows from these yet: see
/// [`super::claims`]. Formats before 4 have none.
const CLAIMS: &str = "CREATE TABLE IF NOT EXISTS claims (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;";

/// Opens the database for writing; an empty file becomes an empty journal.
pub(super) fn open_writer(path: &Path, synchronous: Synchronous) -> Outcome<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    set_up(&conn, WRITER_CACHE_KIB)?;
    if is_empty(&conn)? {
        create(&conn)?;
    }
    check_format(&conn, path)?;
    if pragma_u32(&conn, "user_version")? < FORMAT {
        // Each format reads those before it; only an older hob must not take what is written from now on for its own.
        conn.execute_batch(&format!("BEGIN; {CLAIMS} PRAGMA user_version = {FORMAT}; COMMIT;"))?;
    }
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let cause = format!("the file system allows no write-ahead log (mode `{mode}`); use a local one");
        return Err(JournalError::Unusable { path: path.display().to_string(), cause }.into());
    }
    conn.execute_batch(&format!(
        "PRAGMA synchronous = {}; PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
            PRAGMA journal_size_limit = {LOG_BYTES_MAX};",
        synchronous.word()
    ))?;
    Ok(conn)
}

/// Opens the database for reading beside a writer.
fn open_reader(path: &Path) -> Outcome<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    set_up(&conn, READER_CACHE_KIB)?;
    Ok(conn)
}

/// Opens a database for reading; `immutable` when nobody writes it and nothing can be created beside it.
pub(super) fn open_for_reading(path: &Path, immutable: bool) -> Outcome<Connection> {
    if immutable { open_immutable(path) } else { open_reader(path) }
}

/// Opens a database that nobody writes and that cannot be written: nothing is created beside it.
fn open_immutable(path: &Path) -> Outcome<Connection> {
    let escaped = path.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let conn = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)?;
    set_up(&conn, READER_CACHE_KIB)?;
    Ok(conn)
}

fn set_up(conn: &Connection, cache_kib: u32) -> Outcome<()> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Otherwise a statement that a partial index may fit is parsed again for each value that is bound to it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.execute_batch(&format!("PRAGMA cache_size = -{cache_kib}; PRAGMA temp_store = MEMORY;"))?;
    Ok(())
}

fn pragma_u32(conn: &Connection, name: &str) -> Outcome<u32> {
    Ok(conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0).map(|v| v as u32))?)
}

fn is_empty(conn: &Connection) -> Outcome<bool> {
    let nothing: bool = conn.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(nothing && pragma_u32(conn, "application_id")? == 0)
}

/// In one transaction, so that a crash leaves an empty file or a whole journal.
fn create(conn: &Connection) -> Outcome<()> {
    conn.execute_batch(
        "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;",
    )?;
    conn.execute_batch(&format!(
        "BEGIN EXCLUSIVE; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; {TABLES} {CLAIMS} COMMIT;"
    ))?;
    Ok(())
}

/// Whether the database is a journal that this binary knows.
pub(super) fn check_format(conn: &Connection, path: &Path) -> Outcome<()> {
    let id = pragma_u32(conn, "application_id")?;
    if id != APPLICATION_ID {
        let what = format!("{} is a database, but not a journal of hob", path.display());
        return Err(Fault::Journal(JournalError::Corrupt(what)));
    }
    match pragma_u32(conn, "user_version")? {
        found if found > FORMAT => Err(JournalError::TooNew { found, known: FORMAT }.into()),
        0 => Err(JournalError::Corrupt(format!("{} has no format number", path.display())).into()),
        _ => Ok(()),
    }
}
