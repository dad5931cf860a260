//! Retention: what may go, goes in small transactions, so that runs go on meanwhile.

use std::collections::BTreeSet;

use hob_model::{Digest, RunId, RunStatus, Timestamp, Value, Wait};
use rusqlite::{Connection, OptionalExtension, params};

use super::error::Outcome;
use super::reader::{self, digest_of, run_of};
use super::{SqliteJournal, int};
use crate::journal::JournalError;
use crate::project::to_micros;

/// How many things are removed in one transaction.
const BATCH: usize = 256;

/// How many pages are given back to the file system at a time: 4 MiB.
const VACUUM_PAGES: u32 = 1_024;

/// What is kept; each limit that is set removes what is beyond it. Nothing set keeps all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrunePolicy {
    /// Runs that ended before this time go.
    pub ended_before: Option<Timestamp>,
    /// So many ended runs stay, the last ended first.
    pub runs_max: Option<u64>,
    /// Ended runs stay while they sum up to no more bytes, the last ended first: their entries and the blobs
    /// that they use. A blob that several runs use counts for each of them.
    pub bytes_max: Option<u64>,
    /// Events recorded before this time go.
    pub events_before: Option<Timestamp>,
    /// So many events stay, the newest first.
    pub events_max: Option<u64>,
}

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Runs, with their entries and signals.
    pub runs: u64,
    /// Events.
    pub events: u64,
    /// Bundles that neither a run nor a fact names.
    pub bundles: u64,
    /// Blobs that no run, bundle or fact names.
    pub blobs: u64,
    /// By how many bytes the database became smaller.
    pub bytes: u64,
}

impl SqliteJournal {
    /// Removes what `policy` does not keep, then what nothing refers to any more, and gives the space back.
    ///
    /// These stay whatever the policy says: runs that have not ended; the parent of a run that has not; a run
    /// whose end another one waits for; the last slot of each schedule (and no pruned slot can be claimed
    /// again); the newest event, and the events that an open wait may still look at.
    ///
    /// # Errors
    /// When it cannot be read or written. What was removed by then stays removed.
    pub fn prune(&self, policy: &PrunePolicy) -> Result<Pruned, JournalError> {
        let mut pruned = Pruned::default();
        let surplus = self.shared.read(|conn| surplus(conn, policy))?;
        for runs in surplus.chunks(BATCH) {
            pruned.runs += self.shared.exclusively(|it| it.change(|conn| remove_runs(conn, runs)))?;
        }
        loop {
            let removed = self.shared.exclusively(|it| it.change(|conn| remove_events(conn, policy)))?;
            pruned.events += removed;
            if removed == 0 {
                break;
            }
        }
        // Looked for beside the writer: mostly there is none, and all facts are read for it.
        if !self.shared.read(unused_bundles)?.is_empty() {
            pruned.bundles = self.shared.exclusively(|it| it.change(remove_bundles))?;
        }
        let unused = self.shared.read(unused_blobs)?;
        for blobs in unused.chunks(BATCH) {
            pruned.blobs += self.shared.exclusively(|it| it.change(|conn| remove_blobs(conn, blobs)))?;
        }
        loop {
            let bytes = self.shared.exclusively(|it| vacuum(it.connection()))?;
            pruned.bytes += bytes;
            if bytes == 0 {
                return Ok(pruned);
            }
        }
    }
}

/// The ended runs that `policy` does not keep, the longest ended first.
fn surplus(conn: &Connection, policy: &PrunePolicy) -> Outcome<Vec<RunId>> {
    let mut query = conn.prepare(&format!(
        "SELECT run, updated, bytes + coalesce((SELECT sum(length(b.bytes)) FROM uses u JOIN blobs b
            ON b.digest = u.digest WHERE u.run = runs.run), 0)
        FROM runs WHERE status IN ({}) ORDER BY updated DESC, run DESC",
        ended_words()
    ))?;
    let mut rows = query.query([])?;
    let (mut runs, mut bytes) = (0, 0);
    let mut surplus = Vec::new();
    while let Some(row) = rows.next()? {
        runs += 1;
        bytes += row.get::<_, i64>(2)?.cast_unsigned();
        let updated: i64 = row.get(1)?;
        let goes = policy.ended_before.is_some_and(|before| updated < to_micros(before))
            || policy.runs_max.is_some_and(|max| runs > max)
            || policy.bytes_max.is_some_and(|max| bytes > max);
        if goes {
            surplus.push(run_of(row, 0)?);
        }
    }
    surplus.reverse();
    Ok(surplus)
}

fn ended_words() -> String {
    let ended = RunStatus::ALL.iter().filter(|status| status.ended());
    ended.map(|status| format!("'{status}'")).collect::<Vec<_>>().join(", ")
}

/// Removes those of `runs` that may go; asked again here, since something may have happened since they were
/// listed.
fn remove_runs(conn: &Connection, runs: &[RunId]) -> Outcome<u64> {
    let mut removed = 0;
    let mut needed = conn.prepare_cached(&format!(
        "SELECT EXISTS (SELECT 1 FROM runs WHERE run = ?1 AND status NOT IN ({ended}))
            OR EXISTS (SELECT 1 FROM runs WHERE parent = ?1 AND status NOT IN ({ended}))
            OR EXISTS (SELECT 1 FROM waits WHERE kind = ?2 AND key = ?3)",
        ended = ended_words()
    ))?;
    for run in runs {
        let bytes = run.0.as_bytes();
        let wait = Wait::Run(*run);
        if needed.query_row(params![bytes, wait.kind(), wait.key()], |row| row.get(0))? {
            continue;
        }
        for table in ["entries", "uses", "waits", "signals", "runs"] {
            conn.prepare_cached(&format!("DELETE FROM {table} WHERE run = ?1"))?.execute([bytes])?;
        }
        remove_slots(conn, *run)?;
        removed += 1;
    }
    Ok(removed)
}

/// Removes the slots of a run that went, and those without a run before them, but for the last of each
/// schedule.
fn remove_slots(conn: &Connection, run: RunId) -> Outcome<()> {
    let mut query = conn.prepare_cached(
        "SELECT schedule, nominal FROM slots s WHERE run = ?1
            AND nominal < (SELECT max(nominal) FROM slots WHERE schedule = s.schedule)",
    )?;
    let rows = query.query_map([run.0.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let slots: Vec<(String, i64)> = rows.collect::<Result<_, _>>()?;
    for (schedule, nominal) in slots {
        conn.prepare_cached(
            "INSERT INTO slot_floors (schedule, nominal) VALUES (?1, ?2)
                ON CONFLICT (schedule) DO UPDATE SET nominal = max(nominal, excluded.nominal)",
        )?
        .execute(params![schedule, nominal])?;
        conn.prepare_cached(
            "DELETE FROM slots WHERE schedule = ?1 AND nominal <= ?2 AND run NOT IN (SELECT run FROM runs)",
        )?
        .execute(params![schedule, nominal])?;
    }
    Ok(())
}

/// Removes some of the events that may go, the oldest first.
fn remove_events(conn: &Connection, policy: &PrunePolicy) -> Outcome<u64> {
    let newest = reader::last_event(conn)?;
    let mut last = newest.saturating_sub(1);
    for wait in reader::waits(conn, Some("event"), None, usize::MAX)? {
        if let Wait::Event { after, .. } = wait.wait {
            last = last.min(after);
        }
    }
    let beyond = policy.events_max.map_or(0, |max| newest.saturating_sub(max));
    let before = policy.events_before.map_or(i64::MIN, to_micros);
    let removed = conn
        .prepare_cached(
            "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id <= ?1 AND (id <= ?2 OR at < ?3)
                ORDER BY id LIMIT ?4)",
        )?
        .execute(params![int(last), int(beyond), before, int(BATCH as u64)])?;
    Ok(removed as u64)
}

/// Those of `digests` that no fact names, as text or as bytes: what facts address stays.
fn named_by_no_fact(conn: &Connection, digests: &[Digest]) -> Outcome<BTreeSet<Digest>> {
    fn visit(value: &Value, unnamed: &mut BTreeSet<Digest>) {
        let named = match value {
            Value::String(text) => Digest::parse(text),
            Value::Blob(bytes) => <[u8; 32]>::try_from(&bytes[..]).ok().map(Digest),
            _ => None,
        };
        if let Some(named) = named {
            unnamed.remove(&named);
        }
        match value {
            Value::Array(items) => items.iter().for_each(|item| visit(item, unnamed)),
            Value::Map(items) => items.values().for_each(|item| visit(item, unnamed)),
            _ => {}
        }
    }
    let mut unnamed: BTreeSet<Digest> = digests.iter().copied().collect();
    if !unnamed.is_empty() {
        reader::visit_facts(conn, "", |_, value| visit(&value, &mut unnamed))?;
    }
    Ok(unnamed)
}

/// The bundles that nothing refers to.
fn unused_bundles(conn: &Connection) -> Outcome<BTreeSet<Digest>> {
    let mut query =
        conn.prepare("SELECT digest FROM bundles WHERE digest NOT IN (SELECT digest FROM uses)")?;
    let unused = query.query_map([], |row| digest_of(row, 0))?.collect::<Result<Vec<_>, _>>()?;
    named_by_no_fact(conn, &unused)
}

fn remove_bundles(conn: &Connection) -> Outcome<u64> {
    let mut removed = 0;
    for digest in unused_bundles(conn)? {
        conn.prepare_cached("DELETE FROM bundles WHERE digest = ?1")?.execute([digest.0])?;
        conn.prepare_cached("DELETE FROM bundle_files WHERE bundle = ?1")?.execute([digest.0])?;
        removed += 1;
    }
    Ok(removed)
}

const UNUSED: &str = "NOT EXISTS (SELECT 1 FROM uses WHERE uses.digest = blobs.digest)
    AND NOT EXISTS (SELECT 1 FROM bundle_files WHERE bundle_files.blob = blobs.digest)";

fn unused_blobs(conn: &Connection) -> Outcome<Vec<Digest>> {
    let mut query = conn.prepare(&format!("SELECT digest FROM blobs WHERE {UNUSED}"))?;
    Ok(query.query_map([], |row| digest_of(row, 0))?.collect::<Result<_, _>>()?)
}

/// Removes those of `blobs` that nothing uses now either.
fn remove_blobs(conn: &Connection, blobs: &[Digest]) -> Outcome<u64> {
    let mut delete = conn.prepare_cached(&format!("DELETE FROM blobs WHERE digest = ?1 AND {UNUSED}"))?;
    let mut removed = 0;
    for digest in named_by_no_fact(conn, blobs)? {
        removed += delete.execute([digest.0])? as u64;
    }
    Ok(removed)
}

/// Gives some free pages back; returns by how much the database became smaller.
fn vacuum(conn: &Connection) -> Outcome<u64> {
    let number = |sql: &str| -> Outcome<u64> {
        let found: Option<i64> = conn.query_row(sql, [], |row| row.get(0)).optional()?;
        Ok(found.unwrap_or(0).cast_unsigned())
    };
    let before = number("PRAGMA page_count")?;
    let mut query = conn.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
    let mut rows = query.query([])?;
    while rows.next()?.is_some() {}
    let pages = before.saturating_sub(number("PRAGMA page_count")?);
    if pages == 0 && before > 0 {
        // The last round: what became smaller in the log becomes smaller in the file.
        number("PRAGMA wal_checkpoint(PASSIVE)")?;
    }
    Ok(pages * number("PRAGMA page_size")?)
}
