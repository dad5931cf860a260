//! The one connection that writes.

use hob_model::{Entry, RunId};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, params};

use super::claims::{self, Claims, Together};
use super::error::{Fault, Outcome};
use super::projector::{self, Projector};
use super::queue::Job;
use super::{Synchronous, int};
use crate::journal::{JournalError, Slot, Ticket, Write};
use crate::project::{check_commit, to_micros};
use crate::row::BundleRecord;

/// How far a transaction must have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Readers see it. The next durable transaction, or the flusher's, makes it durable too: the log is one
    /// file, and a sync covers all of it.
    Visible,
    /// It survives a power cut.
    Durable,
}

#[derive(Debug)]
pub(super) struct Writer {
    conn: Connection,
    projector: Projector,
    claims: Claims,
    /// What stands for [`Level::Durable`]; less than `Full` only in tests.
    synchronous: Synchronous,
    /// What the connection is set to.
    set_to: Synchronous,
}

/// What became of a group of jobs.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The last of them that was committed.
    pub(super) last: Option<Ticket>,
    /// Why the one after it was refused.
    pub(super) refused: Option<JournalError>,
    /// The claims among them whose slots were taken, in order.
    pub(super) taken: Vec<Ticket>,
}

impl Writer {
    pub(super) fn new(conn: Connection, synchronous: Synchronous) -> Self {
        let (projector, claims) = (Projector::default(), Claims::default());
        Self { conn, projector, claims, synchronous, set_to: synchronous }
    }

    /// Writes `jobs` in one transaction. `unsynced`: earlier ones are visible and not durable yet, and become
    /// so now if `level` says so.
    pub(super) fn write(&mut self, jobs: Vec<Job>, level: Level, unsynced: bool) -> Outcome<Written> {
        self.set_level(level)?;
        let (written, recorded) = self.transaction(|it| {
            it.claims.fold(&it.conn, &mut it.projector)?;
            if unsynced && level == Level::Durable {
                // A transaction that changes nothing syncs nothing, and whether `jobs` change anything is not
                // known.
                it.conn.prepare_cached("UPDATE syncs SET count = count + 1")?.execute([])?;
            }
            let mut written = Written::default();
            let mut together = Together::of(&jobs);
            for job in &jobs {
                match it.apply_checked(job, &mut together)? {
                    Err(refused) => {
                        written.refused = Some(refused);
                        break;
                    }
                    Ok(true) => {}
                    Ok(false) => written.taken.push(job.ticket),
                }
                written.last = Some(job.ticket);
            }
            it.projector.store(&it.conn)?;
            Ok((written, together.record(&it.conn)?))
        })?;
        self.claims.keep(jobs.into_iter().filter(|job| recorded.binary_search(&job.ticket).is_ok()));
        Ok(written)
    }

    /// Whether something is claimed that the tables lack; the next [`Writer::write`] has them follow.
    pub(super) fn is_behind(&self) -> bool {
        self.claims.are_recorded()
    }

    /// Finds out now what claims of these slots need to know.
    pub(super) fn expect(&mut self, slots: &[Slot]) -> Outcome<()> {
        self.claims.expect(&self.conn, &mut self.projector, slots)
    }

    /// Changes the tables by other means than [`Writer::write`], durably and in one transaction.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&Connection) -> Outcome<T>) -> Outcome<T> {
        self.set_level(Level::Durable)?;
        self.projector.forget();
        self.claims.forget();
        self.transaction(|it| change(&it.conn))
    }

    /// Runs `body` in a transaction of its own.
    fn transaction<T>(&mut self, body: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        let result = self.begin().and_then(|()| body(self)).and_then(|done| {
            self.conn.prepare_cached("COMMIT")?.execute([])?;
            Ok(done)
        });
        if result.is_err() {
            self.projector.forget();
            // The database may have rolled back by itself.
            if !self.conn.is_autocommit() {
                let _ = self.conn.execute_batch("ROLLBACK");
            }
        }
        result
    }

    fn begin(&self) -> Outcome<()> {
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(())
    }

    fn set_level(&mut self, level: Level) -> Outcome<()> {
        let wanted = match level {
            Level::Durable => self.synchronous,
            Level::Visible => self.synchronous.min(Synchronous::Normal),
        };
        if wanted != self.set_to {
            self.conn.execute_batch(&format!("PRAGMA synchronous = {}", wanted.word()))?;
            self.set_to = wanted;
        }
        Ok(())
    }

    /// The connection, for what is no transaction.
    pub(super) fn connection(&self) -> &Connection {
        &self.conn
    }

    /// Makes the derived tables anew.
    pub(super) fn rebuild(&mut self) -> Outcome<()> {
        self.change(projector::rebuild)
    }

    /// After a failure nothing is written any more, also not when the connection is closed.
    pub(super) fn stop(&mut self) {
        // If this fails too, closing moves committed pages at worst.
        let _ = self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }

    /// Writes one job; `false` when its slot is taken and nothing of it was written. The inner error says why it must not be
    /// written.
    fn apply_checked<'a>(
        &mut self,
        job: &'a Job,
        together: &mut Together<'a>,
    ) -> Outcome<Result<bool, JournalError>> {
        if together.takes(job) {
            return together.claim(&self.conn, &mut self.projector, &mut self.claims, job);
        }
        if let Err(refused) = self.check(job)? {
            return Ok(Err(refused));
        }
        if let Some(slot) = &job.slot {
            self.claims.claimed(&slot.schedule);
            if together.has_slot_of(job) || !claims::insert_slot(&self.conn, slot)? {
                return Ok(Ok(false));
            }
        }
        self.apply_commit(job)?;
        Ok(Ok(true))
    }

    /// The inner error says why `job` must not be written.
    fn check(&mut self, job: &Job) -> Outcome<Result<(), JournalError>> {
        if let Some(refused) = &job.refused {
            return Ok(Err(refused.clone()));
        }
        let (conn, projector) = (&self.conn, &mut self.projector);
        match check_commit(&job.commit, |run| projector.next(conn, run)) {
            Ok(()) => Ok(Ok(())),
            Err(Fault::Journal(refused @ JournalError::Order { .. })) => Ok(Err(refused)),
            Err(error) => Err(error),
        }
    }

    fn apply_commit(&mut self, job: &Job) -> Outcome<()> {
        let mut bodies = job.bodies();
        let mut body =
            || bodies.next().expect("each write that has a body was encoded when it was submitted");
        let mut event = job.events_after;
        let conn = &self.conn;
        for write in &job.commit.writes {
            match write {
                Write::Entry(run, entry) => {
                    let body = body();
                    insert_entry(conn, *run, entry, body)?;
                    self.projector.follow(conn, *run, entry, body.len())?;
                }
                Write::Blob(digest, bytes) => {
                    conn.prepare_cached("INSERT OR IGNORE INTO blobs (digest, bytes) VALUES (?1, ?2)")?
                        .execute(params![digest.0, &bytes[..]])?;
                }
                Write::Bundle(bundle) => insert_bundle(conn, bundle, body())?,
                Write::Signal { run, name, at, .. } => {
                    conn.prepare_cached(
                        "INSERT INTO signals (run, name, payload, at) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![run.0.as_bytes(), name, body(), to_micros(*at)])?;
                }
                Write::SignalTaken { id } => {
                    conn.prepare_cached("DELETE FROM signals WHERE id = ?1")?.execute([int(*id)])?;
                }
                Write::SignalsMoved { from, to } => {
                    conn.prepare_cached("UPDATE signals SET run = ?2 WHERE run = ?1")?
                        .execute(params![from.0.as_bytes(), to.0.as_bytes()])?;
                }
                Write::Event { name, origin, at, .. } => {
                    event += 1;
                    conn.prepare_cached(
                        "INSERT INTO events (id, name, payload, origin, at) VALUES (?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute(params![
                        int(event),
                        name,
                        body(),
                        origin,
                        to_micros(*at)
                    ])?;
                }
                Write::Fact { key, value: Some(_) } => {
                    conn.prepare_cached("INSERT OR REPLACE INTO facts (key, value) VALUES (?1, ?2)")?
                        .execute(params![key, body()])?;
                }
                Write::Fact { key, value: None } => {
                    conn.prepare_cached("DELETE FROM facts WHERE key = ?1")?.execute([key])?;
                }
            }
        }
        Ok(())
    }
}

pub(super) fn insert_entry(conn: &Connection, run: RunId, entry: &Entry, body: &[u8]) -> Outcome<()> {
    conn.prepare_cached("INSERT INTO entries (run, seq, body) VALUES (?1, ?2, ?3)")?.execute(params![
        run.0.as_bytes(),
        int(entry.seq),
        body
    ])?;
    Ok(())
}

fn insert_bundle(conn: &Connection, bundle: &BundleRecord, body: &[u8]) -> Outcome<()> {
    let added = conn
        .prepare_cached("INSERT OR IGNORE INTO bundles (digest, body) VALUES (?1, ?2)")?
        .execute(params![bundle.digest.0, body])?;
    if added == 0 {
        return Ok(());
    }
    let mut statement =
        conn.prepare_cached("INSERT OR IGNORE INTO bundle_files (blob, bundle) VALUES (?1, ?2)")?;
    for (_, blob) in &bundle.files {
        statement.execute(params![blob.0, bundle.digest.0])?;
    }
    Ok(())
}
