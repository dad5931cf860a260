//! The derived tables: runs, waits and uses.
//!
//! Rows of runs are kept in memory while their runs are busy and written once per transaction, however many
//! entries it has.

use std::collections::HashMap;

use hob_model::{Entry, EntryKind, RunId, RunStatus};
use rusqlite::{Connection, OptionalExtension, params};

use super::error::Outcome;
use super::int;
use super::reader::{decode, row_of_columns, run_of};
use crate::codec;
use crate::project::{self, WaitChange};
use crate::row::RunRow;

/// How many busy runs are remembered between transactions.
const RUNS_REMEMBERED_MAX: usize = 16_384;

/// A run as far as its entries were folded.
#[derive(Debug, Default)]
struct Folded {
    /// `None` before the first entry. Its `end` is not kept: the row in the database names the entry that has
    /// it.
    row: Option<RunRow>,
    /// The entry that ended the run.
    ended_by: Option<u64>,
    /// The sum of its stored entries.
    bytes: u64,
    open_waits: u64,
    /// The status in the database; `None` when the run has no row there.
    stored: Option<RunStatus>,
    touched: bool,
}

#[derive(Debug, Default)]
pub(super) struct Projector {
    runs: HashMap<RunId, Folded>,
    touched: Vec<RunId>,
    buffer: Vec<u8>,
}

impl Projector {
    /// The number that the next entry of `run` must have.
    pub(super) fn next(&mut self, conn: &Connection, run: RunId) -> Outcome<u64> {
        Ok(folded(&mut self.runs, conn, run)?.row.as_ref().map_or(0, |row| row.entries))
    }

    /// Lets the derived tables follow an entry that takes `stored_bytes`.
    pub(super) fn follow(
        &mut self,
        conn: &Connection,
        run: RunId,
        entry: &Entry,
        stored_bytes: usize,
    ) -> Outcome<()> {
        let folded = folded(&mut self.runs, conn, run)?;
        project::advance(&mut folded.row, run, entry)?;
        folded.bytes += stored_bytes as u64;
        match entry.kind {
            EntryKind::Ended { .. } => folded.ended_by = Some(entry.seq),
            EntryKind::Reopened { .. } => folded.ended_by = None,
            _ => {}
        }
        if let Some(row) = &mut folded.row {
            row.end = None;
        }
        if !std::mem::replace(&mut folded.touched, true) {
            self.touched.push(run);
        }
        let change = project::wait_change(&entry.kind);
        let opens = matches!(change, WaitChange::Opens(..));
        if opens || folded.open_waits > 0 {
            let gone = change_waits(conn, run, change, &mut self.buffer)?;
            folded.open_waits = folded.open_waits + u64::from(opens) - gone;
        }
        store_uses(conn, run, &entry.kind)
    }

    /// Writes the rows of all runs that were touched since the last time.
    pub(super) fn store(&mut self, conn: &Connection) -> Outcome<()> {
        for run in self.touched.drain(..) {
            let Some(folded) = self.runs.get_mut(&run) else {
                continue;
            };
            let Some(row) = &folded.row else { continue };
            match folded.stored {
                None => insert(conn, row, folded)?,
                Some(status) => update(conn, row, folded, status != row.status)?,
            }
            folded.stored = Some(row.status);
            folded.touched = false;
            if row.status.ended() {
                self.runs.remove(&run);
            }
        }
        if self.runs.len() > RUNS_REMEMBERED_MAX {
            self.runs.clear();
        }
        Ok(())
    }

    /// Forgets everything: the transaction was rolled back, or the tables were changed by others.
    pub(super) fn forget(&mut self) {
        self.runs.clear();
        self.touched.clear();
    }
}

fn folded<'a>(
    runs: &'a mut HashMap<RunId, Folded>,
    conn: &Connection,
    run: RunId,
) -> Outcome<&'a mut Folded> {
    use std::collections::hash_map::Entry::{Occupied, Vacant};
    Ok(match runs.entry(run) {
        Occupied(known) => known.into_mut(),
        Vacant(place) => place.insert(load(conn, run)?),
    })
}

fn store_uses(conn: &Connection, run: RunId, kind: &EntryKind) -> Outcome<()> {
    let mut stored = Ok(0);
    project::visit_uses(kind, |digest| {
        if stored.is_ok() {
            stored = conn
                .prepare_cached("INSERT OR IGNORE INTO uses (run, digest) VALUES (?1, ?2)")
                .and_then(|mut it| it.execute(params![run.0.as_bytes(), digest.0]));
        }
    });
    stored?;
    Ok(())
}

fn load(conn: &Connection, run: RunId) -> Outcome<Folded> {
    let mut query = conn.prepare_cached(
        "SELECT run, name, kind, status, owner, created, updated, bundle, parent, attempt, entries, ended_by, bytes,
            (SELECT count(*) FROM waits WHERE waits.run = runs.run) FROM runs WHERE run = ?1",
    )?;
    let found = query
        .query_row([run.0.as_bytes()], |columns| {
            Ok((
                row_of_columns(columns),
                columns.get::<_, Option<i64>>(11)?,
                columns.get(12)?,
                columns.get(13)?,
            ))
        })
        .optional()?;
    let Some((row, ended_by, bytes, open_waits)) = found else {
        return Ok(Folded::default());
    };
    let (row, bytes, open_waits): (RunRow, i64, i64) = (row?, bytes, open_waits);
    Ok(Folded {
        stored: Some(row.status),
        row: Some(row),
        ended_by: ended_by.map(i64::cast_unsigned),
        bytes: bytes.cast_unsigned(),
        open_waits: open_waits.cast_unsigned(),
        touched: false,
    })
}

fn insert(conn: &Connection, row: &RunRow, folded: &Folded) -> Outcome<()> {
    let mut statement = conn.prepare_cached(
        "INSERT INTO runs (run, name, kind, status, owner, created, updated, bundle, parent, attempt, entries,
            ended_by, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    statement.execute(params![
        row.run.0.as_bytes(),
        row.name,
        row.kind,
        row.status.as_str(),
        row.owner.as_str(),
        project::to_micros(row.created),
        project::to_micros(row.updated),
        row.bundle.map(|it| it.0),
        row.parent.map(|it| it.0.into_bytes()),
        row.attempt,
        int(row.entries),
        folded.ended_by.map(int),
        int(folded.bytes),
    ])?;
    Ok(())
}

/// The index of states is only touched when the status is another: that is one page less to write and sync.
fn update(conn: &Connection, row: &RunRow, folded: &Folded, status: bool) -> Outcome<()> {
    let mut statement = conn.prepare_cached(
        "UPDATE runs SET updated = ?2, bundle = ?3, attempt = ?4, entries = ?5, ended_by = ?6, bytes = ?7
            WHERE run = ?1",
    )?;
    statement.execute(params![
        row.run.0.as_bytes(),
        project::to_micros(row.updated),
        row.bundle.map(|it| it.0),
        row.attempt,
        int(row.entries),
        folded.ended_by.map(int),
        int(folded.bytes),
    ])?;
    if status {
        let mut statement = conn.prepare_cached("UPDATE runs SET status = ?2 WHERE run = ?1")?;
        statement.execute(params![row.run.0.as_bytes(), row.status.as_str()])?;
    }
    Ok(())
}

/// Returns how many open waits are gone (or replaced).
fn change_waits(conn: &Connection, run: RunId, change: WaitChange<'_>, buffer: &mut Vec<u8>) -> Outcome<u64> {
    let run = run.0.as_bytes();
    let gone = match change {
        WaitChange::Nothing => 0,
        WaitChange::Closes(position) => conn
            .prepare_cached("DELETE FROM waits WHERE run = ?1 AND position = ?2")?
            .execute(params![run, position.as_str()])?,
        WaitChange::ClosesAll => conn.prepare_cached("DELETE FROM waits WHERE run = ?1")?.execute([run])?,
        WaitChange::Opens(position, wait) => {
            buffer.clear();
            codec::encode_wait(wait, buffer);
            let gone = conn
                .prepare_cached("DELETE FROM waits WHERE run = ?1 AND position = ?2")?
                .execute(params![run, position.as_str()])?;
            conn.prepare_cached(
                "INSERT INTO waits (run, position, kind, key, due, wait) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                run,
                position.as_str(),
                wait.kind(),
                wait.key(),
                project::due_micros(wait),
                &buffer[..]
            ])?;
            gone
        }
    };
    Ok(gone as u64)
}

/// Makes the derived tables anew from the entries, within the caller's transaction.
pub(super) fn rebuild(conn: &Connection) -> Outcome<()> {
    conn.execute_batch("DELETE FROM runs; DELETE FROM waits; DELETE FROM uses;")?;
    let mut projector = Projector::default();
    let mut query = conn.prepare("SELECT run, seq, body FROM entries ORDER BY run, seq")?;
    let mut rows = query.query([])?;
    let mut current = None;
    while let Some(row) = rows.next()? {
        let run = run_of(row, 0)?;
        if current != Some(run) {
            projector.store(conn)?;
            projector.forget();
            current = Some(run);
        }
        let body = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        let entry = decode(run, row.get(1)?, body)?;
        projector.follow(conn, run, &entry, body.len())?;
    }
    projector.store(conn)
}
