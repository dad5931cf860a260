//! Reading: each function is one statement on any connection.

use bytes::Bytes;
use hob_model::{Digest, Entry, EntryKind, Position, RunId, RunOwner, RunStatus, Timestamp, Value};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use uuid::Uuid;

use super::error::{Fault, Outcome};
use super::int;
use crate::codec;
use crate::journal::{JournalError, Slot};
use crate::project::{self, from_micros, to_micros};
use crate::row::{BundleRecord, EventRow, RunFilter, RunRow, SignalRow, WaitRow};

/// The columns of a run that [`row_of_columns`] reads, and the entry that ended it.
const RUN_COLUMNS: &str =
    "SELECT r.run, r.name, r.kind, r.status, r.owner, r.created, r.updated, r.bundle, r.parent,
    r.attempt, r.entries, r.ended_by, e.body
    FROM runs r LEFT JOIN entries e ON e.run = r.run AND e.seq = r.ended_by";

fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn corrupt(what: impl Into<String>) -> Fault {
    Fault::Journal(JournalError::Corrupt(what.into()))
}

pub(super) fn run_of(row: &Row<'_>, column: usize) -> rusqlite::Result<RunId> {
    row.get(column).map(|bytes| RunId(Uuid::from_bytes(bytes)))
}

pub(super) fn digest_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    row.get(column).map(Digest)
}

/// Decodes the body of entry `seq` of `run`.
pub(super) fn decode(run: RunId, seq: i64, body: &[u8]) -> Outcome<Entry> {
    codec::decode_entry(run, seq.cast_unsigned(), body)
        .map_err(|error| Fault::damaged(format_args!("entry {seq} of run {run}"), &error))
}

/// A run without its end.
pub(super) fn row_of_columns(row: &Row<'_>) -> Outcome<RunRow> {
    let run = run_of(row, 0)?;
    let (status, owner): (String, String) = (row.get(3)?, row.get(4)?);
    Ok(RunRow {
        run,
        name: row.get(1)?,
        kind: row.get(2)?,
        status: RunStatus::parse(&status)
            .ok_or_else(|| corrupt(format!("run {run} has the unknown status `{status}`")))?,
        owner: RunOwner::parse(&owner)
            .ok_or_else(|| corrupt(format!("run {run} has the unknown owner `{owner}`")))?,
        created: from_micros(row.get(5)?),
        updated: from_micros(row.get(6)?),
        bundle: row.get::<_, Option<[u8; 32]>>(7)?.map(Digest),
        parent: row.get::<_, Option<[u8; 16]>>(8)?.map(|bytes| RunId(Uuid::from_bytes(bytes))),
        attempt: row.get(9)?,
        entries: row.get::<_, i64>(10)?.cast_unsigned(),
        end: None,
    })
}

fn row_with_end(row: &Row<'_>) -> Outcome<RunRow> {
    let mut it = row_of_columns(row)?;
    if let Some(seq) = row.get::<_, Option<i64>>(11)? {
        let body = row
            .get_ref(12)?
            .as_blob()
            .map_err(|_| corrupt(format!("entry {seq} of run {} is missing", it.run)))?;
        match decode(it.run, seq, body)?.kind {
            EntryKind::Ended { end, .. } => it.end = Some(end),
            _ => return Err(corrupt(format!("entry {seq} of run {} is not its end", it.run))),
        }
    }
    Ok(it)
}

pub(super) fn run(conn: &Connection, run: RunId) -> Outcome<Option<RunRow>> {
    let mut query = conn.prepare_cached(&format!("{RUN_COLUMNS} WHERE r.run = ?1"))?;
    query.query_row([run.0.as_bytes()], |row| Ok(row_with_end(row))).optional()?.transpose()
}

pub(super) fn runs(conn: &Connection, filter: &RunFilter) -> Outcome<Vec<RunRow>> {
    let mut sql = format!("{RUN_COLUMNS} WHERE 1");
    let mut values = Vec::new();
    if !filter.status.is_empty() {
        let marks = vec!["?"; filter.status.len()].join(", ");
        sql.push_str(&format!(" AND r.status IN ({marks})"));
        values.extend(filter.status.iter().map(|status| SqlValue::Text(status.as_str().into())));
    }
    if let Some(owner) = filter.owner {
        // Written out, not bound: only so is the partial index of the foreground considered.
        sql.push_str(&format!(" AND r.owner = '{}'", owner.as_str()));
    }
    for (column, text) in [("name", &filter.name), ("kind", &filter.kind)] {
        if let Some(text) = text {
            sql.push_str(&format!(" AND r.{column} = ?"));
            values.push(SqlValue::Text(text.clone()));
        }
    }
    let times =
        [("created >=", filter.since), ("created <", filter.until), ("updated >=", filter.updated_since)];
    for (test, time) in times {
        if let Some(time) = time {
            sql.push_str(&format!(" AND r.{test} ?"));
            values.push(SqlValue::Integer(to_micros(time)));
        }
    }
    if let Some(before) = filter.before {
        sql.push_str(" AND r.run < ?");
        values.push(SqlValue::Blob(before.0.into_bytes().to_vec()));
    }
    sql.push_str(" ORDER BY r.run DESC LIMIT ?");
    values.push(SqlValue::Integer(limit(filter.limit.unwrap_or(usize::MAX))));
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map(params_from_iter(values), |row| Ok(row_with_end(row)))?;
    rows.map(|row| row?).collect()
}

/// Entries that are missing are damage and never an end: a replay of half a run would act again.
pub(super) fn entries(conn: &Connection, run: RunId, from: u64, count: usize) -> Outcome<Vec<Entry>> {
    let snapshot = conn.unchecked_transaction()?;
    let known: Option<i64> = conn
        .prepare_cached("SELECT entries FROM runs WHERE run = ?1")?
        .query_row([run.0.as_bytes()], |row| row.get(0))
        .optional()?;
    let known = match known {
        Some(known) => known.cast_unsigned(),
        None if has_entries(conn, run)? => {
            return Err(corrupt(format!(
                "run {run} has entries but no row; `hob journal rebuild` makes it anew"
            )));
        }
        None => 0,
    };
    let end = known.min(from.saturating_add(count as u64));
    let mut entries = Vec::new();
    if from < end {
        let mut query = conn.prepare_cached(
            "SELECT seq, body FROM entries WHERE run = ?1 AND seq >= ?2 AND seq < ?3 ORDER BY seq",
        )?;
        let mut rows = query.query(params![run.0.as_bytes(), int(from), int(end)])?;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            entries.push(decode(run, row.get(0)?, body)?);
        }
    }
    let expected = from..end;
    if !entries.iter().map(|entry| entry.seq).eq(expected.clone()) {
        return Err(corrupt(format!("of run {run}, some of the entries {expected:?} are missing")));
    }
    snapshot.finish()?;
    Ok(entries)
}

fn has_entries(conn: &Connection, run: RunId) -> Outcome<bool> {
    let mut query = conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM entries WHERE run = ?1)")?;
    Ok(query.query_row([run.0.as_bytes()], |row| row.get(0))?)
}

pub(super) fn runs_by_prefix(conn: &Connection, prefix: &str, count: usize) -> Outcome<Vec<RunId>> {
    let Some((first, last)) = project::prefix_range(prefix) else {
        return Ok(Vec::new());
    };
    let mut query =
        conn.prepare_cached("SELECT run FROM runs WHERE run BETWEEN ?1 AND ?2 ORDER BY run LIMIT ?3")?;
    let rows = query
        .query_map(params![first.0.as_bytes(), last.0.as_bytes(), limit(count)], |row| run_of(row, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn blob(conn: &Connection, digest: Digest) -> Outcome<Option<Bytes>> {
    let mut query = conn.prepare_cached("SELECT bytes FROM blobs WHERE digest = ?1")?;
    let found: Option<Vec<u8>> = query.query_row([digest.0], |row| row.get(0)).optional()?;
    match found {
        Some(bytes) if Digest::of(&bytes) != digest => {
            Err(corrupt(format!("the blob {} has other content", digest.short())))
        }
        found => Ok(found.map(Bytes::from)),
    }
}

pub(super) fn bundle(conn: &Connection, digest: Digest) -> Outcome<Option<BundleRecord>> {
    let mut query = conn.prepare_cached("SELECT body FROM bundles WHERE digest = ?1")?;
    let found: Option<Vec<u8>> = query.query_row([digest.0], |row| row.get(0)).optional()?;
    let decode = |body: Vec<u8>| {
        codec::decode_bundle(digest, &body)
            .map_err(|error| Fault::damaged(format_args!("bundle {}", digest.short()), &error))
    };
    found.map(decode).transpose()
}

fn wait_row(row: &Row<'_>) -> Outcome<WaitRow> {
    let run = run_of(row, 0)?;
    let position = Position::trusted(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?);
    let wait = codec::decode_wait(row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?)
        .map_err(|error| Fault::damaged(format_args!("the wait {position} of run {run}"), &error))?;
    Ok(WaitRow { run, position, wait })
}

fn wait_rows(conn: &Connection, condition: &str, params: impl rusqlite::Params) -> Outcome<Vec<WaitRow>> {
    let mut query =
        conn.prepare_cached(&format!("SELECT run, position, wait FROM waits WHERE {condition}"))?;
    let rows = query.query_map(params, |row| Ok(wait_row(row)))?;
    rows.map(|row| row?).collect()
}

pub(super) fn due(conn: &Connection, now: Timestamp, count: usize) -> Outcome<Vec<WaitRow>> {
    wait_rows(conn, "due <= ?1 ORDER BY due, run, position LIMIT ?2", params![to_micros(now), limit(count)])
}

pub(super) fn next_due(conn: &Connection) -> Outcome<Option<Timestamp>> {
    let mut query = conn.prepare_cached("SELECT min(due) FROM waits WHERE due IS NOT NULL")?;
    let due: Option<i64> = query.query_row([], |row| row.get(0))?;
    Ok(due.map(from_micros))
}

pub(super) fn waits(
    conn: &Connection,
    kind: Option<&str>,
    run: Option<RunId>,
    count: usize,
) -> Outcome<Vec<WaitRow>> {
    let count = limit(count);
    const ORDER: &str = "ORDER BY run, position LIMIT ?1";
    match (kind, run.map(|run| run.0.into_bytes())) {
        (None, None) => wait_rows(conn, &format!("1 {ORDER}"), [count]),
        (Some(kind), None) => wait_rows(conn, &format!("kind = ?2 {ORDER}"), params![count, kind]),
        (None, Some(run)) => wait_rows(conn, &format!("run = ?2 {ORDER}"), params![count, run]),
        (Some(kind), Some(run)) => {
            wait_rows(conn, &format!("kind = ?2 AND run = ?3 {ORDER}"), params![count, kind, run])
        }
    }
}

pub(super) fn waits_for(conn: &Connection, kind: &str, key: &str, count: usize) -> Outcome<Vec<WaitRow>> {
    wait_rows(
        conn,
        "kind = ?1 AND key = ?2 ORDER BY run, position LIMIT ?3",
        params![kind, key, limit(count)],
    )
}

pub(super) fn wait_at(conn: &Connection, run: RunId, position: &Position) -> Outcome<Option<WaitRow>> {
    Ok(wait_rows(conn, "run = ?1 AND position = ?2", params![run.0.as_bytes(), position.as_str()])?.pop())
}

pub(super) fn value_of(row: &Row<'_>, column: usize, what: &str) -> Outcome<Value> {
    let bytes = row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?;
    codec::decode_value(bytes).map_err(|error| Fault::damaged(what, &error))
}

pub(super) fn signals(conn: &Connection, run: RunId) -> Outcome<Vec<SignalRow>> {
    let mut query =
        conn.prepare_cached("SELECT id, name, payload, at FROM signals WHERE run = ?1 ORDER BY id")?;
    let mut rows = query.query([run.0.as_bytes()])?;
    let mut signals = Vec::new();
    while let Some(row) = rows.next()? {
        signals.push(SignalRow {
            id: row.get::<_, i64>(0)?.cast_unsigned(),
            run,
            name: row.get(1)?,
            payload: value_of(row, 2, "a signal")?,
            at: from_micros(row.get(3)?),
        });
    }
    Ok(signals)
}

pub(super) fn events(conn: &Connection, after: u64, count: usize) -> Outcome<Vec<EventRow>> {
    let Ok(after) = i64::try_from(after) else {
        return Ok(Vec::new());
    };
    let mut query = conn.prepare_cached(
        "SELECT id, name, payload, origin, at FROM events WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    event_rows(query.query(params![after, limit(count)])?)
}

pub(super) fn events_named(
    conn: &Connection,
    names: &[&str],
    after: u64,
    count: usize,
) -> Outcome<(Vec<EventRow>, u64)> {
    let Ok(from) = i64::try_from(after) else {
        return Ok((Vec::new(), after));
    };
    // Taken first: what comes in between is looked at the next time.
    let last = last_event(conn)?.max(after);
    let marks = vec!["?"; names.len()].join(", ");
    let mut query = conn.prepare_cached(&format!(
        "SELECT id, name, payload, origin, at FROM events
         WHERE id > ? AND id <= ? AND name IN ({marks}) ORDER BY id LIMIT ?"
    ))?;
    let (until, count_max) = (i64::try_from(last).unwrap_or(i64::MAX), limit(count));
    let mut values: Vec<&dyn rusqlite::ToSql> = vec![&from, &until];
    values.extend(names.iter().map(|name| name as &dyn rusqlite::ToSql));
    values.push(&count_max);
    let found = event_rows(query.query(values.as_slice())?)?;
    let seen = found.last().filter(|_| found.len() == count).map_or(last, |event| event.id);
    Ok((found, seen))
}

fn event_rows(mut rows: rusqlite::Rows<'_>) -> Outcome<Vec<EventRow>> {
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(EventRow {
            id: row.get::<_, i64>(0)?.cast_unsigned(),
            name: row.get(1)?,
            payload: value_of(row, 2, "an event")?,
            origin: row.get(3)?,
            at: from_micros(row.get(4)?),
        });
    }
    Ok(events)
}

pub(super) fn last_event(conn: &Connection) -> Outcome<u64> {
    let mut query = conn.prepare_cached("SELECT coalesce(max(id), 0) FROM events")?;
    Ok(query.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
}

/// The highest number that an event ever had, also when it was pruned since.
pub(super) fn last_event_ever(conn: &Connection) -> Outcome<u64> {
    let found = conn
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'events'", [], |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(found.unwrap_or(0).cast_unsigned())
}

pub(super) fn slots(conn: &Connection, schedule: &str, count: usize) -> Outcome<Vec<Slot>> {
    let mut query = conn.prepare_cached(
        "SELECT nominal, run FROM slots WHERE schedule = ?1 ORDER BY nominal DESC LIMIT ?2",
    )?;
    let rows = query.query_map(params![schedule, limit(count)], |row| {
        Ok(Slot { schedule: schedule.to_owned(), nominal: from_micros(row.get(0)?), run: run_of(row, 1)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn fact(conn: &Connection, key: &str) -> Outcome<Option<Value>> {
    let mut query = conn.prepare_cached("SELECT value FROM facts WHERE key = ?1")?;
    query.query_row([key], |row| Ok(value_of(row, 0, key))).optional()?.transpose()
}

pub(super) fn facts(conn: &Connection, prefix: &str) -> Outcome<Vec<(String, Value)>> {
    let mut facts = Vec::new();
    visit_facts(conn, prefix, |key, value| facts.push((key, value)))?;
    Ok(facts)
}

/// Shows the facts one after the other: there may be one for each of 100,000 schedules.
pub(super) fn visit_facts(
    conn: &Connection,
    prefix: &str,
    mut visit: impl FnMut(String, Value),
) -> Outcome<()> {
    let mut query = conn.prepare_cached("SELECT key, value FROM facts WHERE key >= ?1 ORDER BY key")?;
    let mut rows = query.query([prefix])?;
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        if !key.starts_with(prefix) {
            break;
        }
        let value = value_of(row, 1, &key)?;
        visit(key, value);
    }
    Ok(())
}
