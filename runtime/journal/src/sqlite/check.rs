//! Looking for damage.

use std::collections::BTreeSet;
use std::fmt;

use hob_model::{Digest, Entry, RunId};
use rusqlite::{Connection, params};

use super::SqliteJournal;
use super::error::{Fault, Outcome};
use super::reader::{self, decode, digest_of, run_of, value_of};
use crate::codec;
use crate::journal::JournalError;
use crate::project::{self, WaitChange};
use crate::row::{RunRow, WaitRow};

/// How many findings are listed; one damaged page makes many.
const FINDINGS_MAX: usize = 1_000;

/// Something that is not as hob wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where: `entry 3 of run …`, `blob …`.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl SqliteJournal {
    /// Reads everything and lists what is damaged: pages, gaps in the numbers of entries, entries that cannot
    /// be decoded, blobs with other content, references to what is not there, and derived tables that do not
    /// follow from the entries (which a rebuild repairs). An empty list means that all is well. Writing goes
    /// on meanwhile; one moment is looked at.
    ///
    /// # Errors
    /// When the journal is so damaged that it cannot be read at all.
    pub fn check(&self) -> Result<Vec<Finding>, JournalError> {
        self.shared.read(|conn| {
            let snapshot = conn.unchecked_transaction()?;
            let mut check = Check { conn, findings: Vec::new() };
            let checked = check.all();
            match checked {
                Err(Fault::Sql(error))
                    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt) =>
                {
                    check.find("the database", error);
                }
                other => other?,
            }
            let findings = check.findings;
            snapshot.finish()?;
            Ok(findings)
        })
    }
}

struct Check<'a> {
    conn: &'a Connection,
    findings: Vec<Finding>,
}

/// A run as its entries tell it.
struct Told {
    run: RunId,
    row: Option<RunRow>,
    waits: Vec<WaitRow>,
    uses: BTreeSet<Digest>,
    /// Whether an entry could not be used, so that what follows from the entries is unknown.
    broken: bool,
}

impl Check<'_> {
    fn find(&mut self, place: impl fmt::Display, problem: impl fmt::Display) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { place: place.to_string(), problem: problem.to_string() });
        }
    }

    fn all(&mut self) -> Outcome<()> {
        self.pages()?;
        self.entries()?;
        self.references()?;
        self.blobs()?;
        self.bundles()?;
        self.values()
    }

    fn pages(&mut self) -> Outcome<()> {
        let mut query = self.conn.prepare(&format!("PRAGMA integrity_check({FINDINGS_MAX})"))?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let said: String = row.get(0)?;
            if said != "ok" {
                self.find("the database", said);
            }
        }
        Ok(())
    }

    fn entries(&mut self) -> Outcome<()> {
        let mut query = self.conn.prepare("SELECT run, seq, body FROM entries ORDER BY run, seq")?;
        let mut rows = query.query([])?;
        let mut told: Option<Told> = None;
        while let Some(row) = rows.next()? {
            let run = run_of(row, 0)?;
            if told.as_ref().is_none_or(|it| it.run != run) {
                self.compare(told.take())?;
                told = Some(Told { run, row: None, waits: Vec::new(), uses: BTreeSet::new(), broken: false });
            }
            let body = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
            if let Some(told) = told.as_mut().filter(|it| !it.broken)
                && let Err(problem) = decode(run, row.get(1)?, body).and_then(|entry| told.hear(&entry))
            {
                told.broken = true;
                self.find(format_args!("entry {} of run {run}", row.get::<_, i64>(1)?), message(problem));
            }
        }
        self.compare(told)
    }

    fn compare(&mut self, told: Option<Told>) -> Outcome<()> {
        let Some(told) = told.filter(|it| !it.broken) else {
            return Ok(());
        };
        const CURE: &str = "does not follow from the entries; `hob journal rebuild` makes it anew";
        match reader::run(self.conn, told.run) {
            Ok(row) if row == told.row => {}
            Ok(_) => self.find(format_args!("the row of run {}", told.run), CURE),
            Err(problem) => self.find(format_args!("the row of run {}", told.run), message(problem)),
        }
        if reader::waits(self.conn, None, Some(told.run), usize::MAX).ok().as_ref() != Some(&told.waits) {
            self.find(format_args!("the waits of run {}", told.run), CURE);
        }
        let mut query = self.conn.prepare_cached("SELECT digest FROM uses WHERE run = ?1")?;
        let uses = query.query_map([told.run.0.as_bytes()], |row| digest_of(row, 0))?;
        if uses.collect::<Result<BTreeSet<_>, _>>()? != told.uses {
            self.find(format_args!("the uses of run {}", told.run), CURE);
        }
        Ok(())
    }

    /// Reports each row of `sql`, a name in hexadecimal digits.
    fn each(&mut self, sql: &str, place: &str, problem: &str) -> Outcome<()> {
        let mut query = self.conn.prepare(sql)?;
        let mut rows = query.query(params![])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            self.find(format_args!("{place} {}", name.to_lowercase()), problem);
        }
        Ok(())
    }

    fn references(&mut self) -> Outcome<()> {
        self.each(
            "SELECT DISTINCT hex(run) FROM uses WHERE digest NOT IN (SELECT digest FROM blobs)
                AND digest NOT IN (SELECT digest FROM bundles)",
            "run",
            "it refers to a blob or bundle that is not there",
        )?;
        self.each(
            "SELECT DISTINCT hex(bundle) FROM bundle_files WHERE blob NOT IN (SELECT digest FROM blobs)",
            "bundle",
            "one of its files is not there",
        )?;
        for table in ["runs", "waits", "uses"] {
            self.each(
                &format!(
                    "SELECT DISTINCT hex(run) FROM {table} WHERE run NOT IN (SELECT run FROM entries WHERE seq = 0)"
                ),
                table,
                "there are no entries of this run; `hob journal rebuild` repairs it",
            )?;
        }
        Ok(())
    }

    fn blobs(&mut self) -> Outcome<()> {
        let mut query = self.conn.prepare("SELECT digest, bytes FROM blobs")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let digest = digest_of(row, 0)?;
            if Digest::of(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?) != digest {
                self.find(format_args!("blob {digest}"), "it has other content than its address says");
            }
        }
        Ok(())
    }

    fn bundles(&mut self) -> Outcome<()> {
        let mut query = self.conn.prepare("SELECT digest, body FROM bundles")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let digest = digest_of(row, 0)?;
            match codec::decode_bundle(digest, row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?) {
                Ok(bundle) if bundle.computed_digest() == digest => {}
                Ok(_) => {
                    self.find(format_args!("bundle {digest}"), "it has other content than its address says")
                }
                Err(problem) => self.find(format_args!("bundle {digest}"), problem),
            }
        }
        Ok(())
    }

    /// The values beside the entries.
    fn values(&mut self) -> Outcome<()> {
        for (what, sql) in [
            ("signal", "SELECT id, payload FROM signals"),
            ("event", "SELECT id, payload FROM events"),
            ("fact", "SELECT key, value FROM facts"),
        ] {
            let mut query = self.conn.prepare(sql)?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                if let Err(problem) = value_of(row, 1, what) {
                    let name: rusqlite::types::Value = row.get(0)?;
                    self.find(format_args!("{what} {name:?}"), message(problem));
                }
            }
        }
        Ok(())
    }
}

impl Told {
    fn hear(&mut self, entry: &Entry) -> Outcome<()> {
        project::advance(&mut self.row, self.run, entry)?;
        match project::wait_change(&entry.kind) {
            WaitChange::Nothing => {}
            WaitChange::ClosesAll => self.waits.clear(),
            WaitChange::Closes(position) => self.waits.retain(|it| it.position != *position),
            WaitChange::Opens(position, wait) => {
                self.waits.retain(|it| it.position != *position);
                let at = self.waits.partition_point(|it| it.position < *position);
                let row = WaitRow { run: self.run, position: position.clone(), wait: wait.clone() };
                self.waits.insert(at, row);
            }
        }
        project::visit_uses(&entry.kind, |digest| {
            self.uses.insert(digest);
        });
        Ok(())
    }
}

fn message(fault: Fault) -> String {
    match fault {
        Fault::Sql(error) => error.to_string(),
        Fault::Journal(error) => error.to_string(),
    }
}
