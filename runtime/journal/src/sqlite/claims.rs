//! Slots that are claimed together: first one record for all of them, then the tables.
//!
//! The claim of one slot changes eight trees on disk. Many schedules are due at the same instant, and none of their runs may
//! begin before its claim is durable; so the claims of that instant become durable as one record. The tables follow in the
//! next transaction, before anything else is written and before anything is read; after a crash, when the journal is
//! opened. Whether a slot is free and its run new is known before it is recorded, so the tables can always follow.

use std::collections::{HashMap, HashSet};

use hob_model::{Entry, RunId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::error::{Fault, Outcome};
use super::projector::Projector;
use super::queue::Job;
use super::writer::insert_entry;
use crate::codec;
use crate::journal::{JournalError, Slot, Ticket, Write};
use crate::project::to_micros;

/// Claims in one commit from which on they are recorded together.
pub(super) const TOGETHER_MIN: usize = 32;

/// Slots that are known to be free before they are claimed; of more it is found out when they are.
const EXPECTED_MAX: usize = 10_000;

/// What the writer knows of claims beside the tables.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Durable, and not in the tables yet.
    recorded: Vec<Job>,
    /// For each schedule a slot that is free and a run that is new.
    expected: HashMap<String, (Timestamp, RunId)>,
}

impl Claims {
    /// Whether the tables lack something that is claimed.
    pub(super) fn are_recorded(&self) -> bool {
        !self.recorded.is_empty()
    }

    /// Keeps what was recorded, to have the tables follow with [`Claims::fold`].
    pub(super) fn keep(&mut self, recorded: impl Iterator<Item = Job>) {
        self.recorded.extend(recorded);
    }

    /// Nothing is known to be free any more.
    pub(super) fn forget(&mut self) {
        self.expected.clear();
    }

    /// A slot of the schedule is claimed.
    pub(super) fn claimed(&mut self, schedule: &str) {
        self.expected.remove(schedule);
    }

    /// Finds out now which of `slots` are free, for their claims.
    pub(super) fn expect(
        &mut self,
        conn: &Connection,
        projector: &mut Projector,
        slots: &[Slot],
    ) -> Outcome<()> {
        if self.expected.len() + slots.len() > EXPECTED_MAX {
            self.forget();
        }
        for slot in slots.iter().take(EXPECTED_MAX) {
            if is_free(conn, slot)? && projector.next(conn, slot.run)? == 0 {
                self.expected.insert(slot.schedule.clone(), (slot.nominal, slot.run));
            }
        }
        Ok(())
    }

    /// Has the tables follow what is recorded, in the caller's transaction.
    pub(super) fn fold(&mut self, conn: &Connection, projector: &mut Projector) -> Outcome<()> {
        if self.recorded.is_empty() {
            return Ok(());
        }
        let recorded = std::mem::take(&mut self.recorded);
        let claims = recorded.iter().filter_map(|job| {
            let (slot, entry) = claim_of(job)?;
            Some((slot, entry, job.bodies().next()?))
        });
        fold(conn, projector, claims.collect())?;
        clear(conn)
    }
}

/// The slot and the first entry of a claim that brings nothing else.
fn claim_of(job: &Job) -> Option<(&Slot, &Entry)> {
    match (&job.slot, &job.commit.writes[..]) {
        (Some(slot), [Write::Entry(run, entry)])
            if *run == slot.run && entry.seq == 0 && job.refused.is_none() =>
        {
            Some((slot, entry))
        }
        _ => None,
    }
}

/// The claims of one commit that are recorded together.
#[derive(Debug, Default)]
pub(super) struct Together<'a> {
    /// There are enough of them.
    applies: bool,
    slots: HashSet<(&'a str, Timestamp)>,
    runs: HashSet<RunId>,
    recorded: Vec<&'a Job>,
}

impl<'a> Together<'a> {
    /// Nothing is recorded together where there are few.
    pub(super) fn of(jobs: &[Job]) -> Self {
        let claims = jobs.iter().filter(|job| claim_of(job).is_some()).count();
        if claims < TOGETHER_MIN {
            return Self::default();
        }
        Self {
            applies: true,
            slots: HashSet::with_capacity(claims),
            runs: HashSet::with_capacity(claims),
            recorded: Vec::with_capacity(claims),
        }
    }

    /// Whether `job` is one of them.
    pub(super) fn takes(&self, job: &Job) -> bool {
        self.applies && claim_of(job).is_some()
    }

    /// Whether another one of them has the slot of `job`.
    pub(super) fn has_slot_of(&self, job: &Job) -> bool {
        job.slot.as_ref().is_some_and(|slot| self.slots.contains(&(&slot.schedule, slot.nominal)))
    }

    /// Claims the slot of `job`; `false` when it is taken. The inner error says why it must not be claimed for its run.
    pub(super) fn claim(
        &mut self,
        conn: &Connection,
        projector: &mut Projector,
        known: &mut Claims,
        job: &'a Job,
    ) -> Outcome<Result<bool, JournalError>> {
        let Some(slot) = job.slot.as_ref().filter(|_| !self.has_slot_of(job)) else {
            return Ok(Ok(false));
        };
        if known.expected.remove(&slot.schedule) != Some((slot.nominal, slot.run)) {
            if !is_free(conn, slot)? {
                return Ok(Ok(false));
            }
            if let Some(last) = projector.next(conn, slot.run)?.checked_sub(1) {
                return Ok(Err(JournalError::Order { run: slot.run, found: 0, last: Some(last) }));
            }
        }
        if !self.runs.insert(slot.run) {
            return Ok(Err(JournalError::Order { run: slot.run, found: 0, last: Some(0) }));
        }
        self.slots.insert((&slot.schedule, slot.nominal));
        self.recorded.push(job);
        Ok(Ok(true))
    }

    /// Records them, in the caller's transaction; the tickets of those that were, ascending.
    pub(super) fn record(self, conn: &Connection) -> Outcome<Vec<Ticket>> {
        let claims = self.recorded.iter().filter_map(|job| Some((job.slot.as_ref()?, job.bodies().next()?)));
        let claims: Vec<(&Slot, &[u8])> = claims.collect();
        if !claims.is_empty() {
            let mut body = Vec::new();
            codec::encode_claims(claims.into_iter(), &mut body);
            conn.prepare_cached("INSERT INTO claims (body) VALUES (?1)")?.execute([body])?;
        }
        Ok(self.recorded.iter().map(|job| job.ticket).collect())
    }
}

/// Has the tables follow what a process recorded and did not come to, in the caller's transaction.
pub(super) fn recover(conn: &Connection) -> Outcome<()> {
    let exists = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'claims'";
    if conn.query_row(exists, [], |_| Ok(())).optional()?.is_none() {
        return Ok(());
    }
    let mut query = conn.prepare("SELECT id, body FROM claims ORDER BY id")?;
    let recorded = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let recorded: Vec<(i64, Vec<u8>)> = recorded.collect::<Result<_, _>>()?;
    for (id, body) in recorded {
        let claims = codec::decode_claims(&body)
            .map_err(|error| Fault::damaged(format_args!("claims {id}"), &error))?;
        let mut bodies = Vec::with_capacity(claims.len());
        for (slot, entry) in &claims {
            let mut body = Vec::new();
            codec::encode_entry(slot.run, entry, &mut body);
            bodies.push(body);
        }
        let claims = claims.iter().zip(&bodies).map(|((slot, entry), body)| (slot, entry, &body[..]));
        fold(conn, &mut Projector::default(), claims.collect())?;
    }
    clear(conn)
}

fn fold(
    conn: &Connection,
    projector: &mut Projector,
    mut claims: Vec<(&Slot, &Entry, &[u8])>,
) -> Outcome<()> {
    // Table by table and in the order of their keys: what is written one after the other lies on the same pages.
    claims.sort_unstable_by_key(|(slot, ..)| (&slot.schedule, slot.nominal));
    for (slot, ..) in &claims {
        if !insert_slot(conn, slot)? {
            let what = format!("the slot {} of schedule `{}` was claimed twice", slot.nominal, slot.schedule);
            return Err(Fault::Journal(JournalError::Corrupt(what)));
        }
    }
    claims.sort_unstable_by_key(|(slot, ..)| slot.run);
    for (slot, entry, body) in &claims {
        insert_entry(conn, slot.run, entry, body)?;
        projector.follow(conn, slot.run, entry, body.len())?;
    }
    projector.store(conn)
}

/// All that is recorded is in the tables.
fn clear(conn: &Connection) -> Outcome<()> {
    conn.prepare_cached("DELETE FROM claims")?.execute([])?;
    Ok(())
}

/// Whether nobody claimed the slot, as far as the tables tell.
fn is_free(conn: &Connection, slot: &Slot) -> Outcome<bool> {
    let mut query = conn.prepare_cached(
        "SELECT NOT EXISTS (SELECT 1 FROM slots WHERE schedule = ?1 AND nominal = ?2)
            AND NOT EXISTS (SELECT 1 FROM slot_floors WHERE schedule = ?1 AND nominal >= ?2)",
    )?;
    Ok(query.query_row(params![slot.schedule, to_micros(slot.nominal)], |row| row.get(0))?)
}

/// Claims one slot in the tables; `false` when it is taken.
pub(super) fn insert_slot(conn: &Connection, slot: &Slot) -> Outcome<bool> {
    let added = conn
        .prepare_cached(
            "INSERT OR IGNORE INTO slots (schedule, nominal, run) SELECT ?1, ?2, ?3 WHERE NOT EXISTS
                (SELECT 1 FROM slot_floors WHERE schedule = ?1 AND nominal >= ?2)",
        )?
        .execute(params![slot.schedule, to_micros(slot.nominal), slot.run.0.as_bytes()])?;
    Ok(added == 1)
}
