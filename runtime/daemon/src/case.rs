//! A recorded run as a file: to be kept as a test of the homelab, or brought into another journal.
//!
//! `{ "hob_run": 1, "run", "name", "entries": [{ …, "record" }], "blobs": { DIGEST: BASE64 }, "bundle" }`. What people
//! read in `entries` is `hob journal export`'s; what counts is `record`, the entry as the journal stores it, in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hob_engine::Bundle;
use hob_journal::codec::{decode_entry, encode_entry};
use hob_journal::{Commit, Journal, Write};
use hob_model::{Code, Diagnostic, Digest, Entry, EntryKind, RunEnd, RunId};
use hob_primitive::Registry;
use serde_json::{Map, Value as Json, json};

use crate::sent;

/// The version of the format.
const VERSION: u64 = 1;
/// The largest file, in bytes.
pub const CASE_BYTES_MAX: u64 = 256 << 20;
/// The most entries of a run that is kept as a file.
const ENTRIES_MAX: usize = 1_000_000;

/// A recorded run.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its id.
    pub run: RunId,
    /// What it was called.
    pub name: String,
    entries: Vec<Entry>,
    blobs: Vec<(Digest, Bytes)>,
    sources: Map<String, Json>,
}

fn refused(what: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::error(Code::Usage, format!("this is no recorded run: {what}"))
        .hint("`hob runs export RUN` writes one")
}

fn unreadable(error: hob_journal::JournalError) -> Diagnostic {
    hob_runs::journal_diagnostic(&error)
}

/// The file of a run.
///
/// # Errors
/// When there is no such run, it has no script, or it is too long.
pub fn export(journal: &dyn Journal, run: RunId) -> Result<Json, Diagnostic> {
    let row = journal.run(run).map_err(unreadable)?;
    let row = row.ok_or_else(|| hob_runs::RunError::NotFound(run.to_string()).diagnostic())?;
    let Some(digest) = row.bundle else {
        return Err(Diagnostic::error(Code::Usage, format!("run {run} has no script to replay")));
    };
    if row.entries > ENTRIES_MAX as u64 {
        let text = format!("run {run} has {} entries; a file holds up to {ENTRIES_MAX}", row.entries);
        return Err(Diagnostic::error(Code::Usage, text));
    }
    let bundle =
        Bundle::load(journal, digest).map_err(|error| Diagnostic::error(Code::JournalCorrupt, error))?;
    let (mut blobs, mut entries) = (Map::new(), Vec::new());
    for entry in journal.entries(run, 0, ENTRIES_MAX).map_err(unreadable)? {
        let mut digests = Vec::new();
        hob_journal::project::visit_uses(&entry.kind, |digest| digests.push(digest));
        for digest in digests {
            // The bundle is among what an entry refers to, and stands for itself.
            if let Some(bytes) = journal.blob(digest).map_err(unreadable)? {
                blobs.insert(digest.to_string(), STANDARD.encode(bytes).into());
            }
        }
        let mut record = Vec::new();
        encode_entry(run, &entry, &mut record);
        let mut shown = hob_journal::json::entry(run, &entry, |digest| journal.blob(digest).ok().flatten());
        shown["record"] = STANDARD.encode(record).into();
        entries.push(shown);
    }
    Ok(json!({
        "hob_run": VERSION, "run": run.to_string(), "name": row.name,
        "entries": entries, "blobs": blobs, "bundle": sent::to_json(&bundle),
    }))
}

impl Case {
    /// Reads what [`export`] gave.
    ///
    /// # Errors
    /// When it is something else, damaged, or of a newer version.
    pub fn read(json: &Json) -> Result<Self, Diagnostic> {
        match json["hob_run"].as_u64() {
            Some(VERSION) => {}
            Some(version) => return Err(refused(format!("version {version} is newer than {VERSION}"))),
            None => return Err(refused("`hob_run` is missing")),
        }
        let run = json["run"].as_str().and_then(RunId::parse).ok_or_else(|| refused("`run` is no id"))?;
        let bytes = |text: &Json| text.as_str().and_then(|text| STANDARD.decode(text).ok());
        let records = json["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
        let entries = (0..).zip(records).map(|(seq, entry)| {
            let record =
                bytes(&entry["record"]).ok_or_else(|| refused(format!("entry {seq} has no record")))?;
            decode_entry(run, seq, &record).map_err(|error| refused(format!("entry {seq}: {error}")))
        });
        let entries: Vec<Entry> = entries.collect::<Result<_, _>>()?;
        if !matches!(entries.first().map(|entry| &entry.kind), Some(EntryKind::Started(_))) {
            return Err(refused("it does not begin with the start of a run"));
        }
        let blobs = json["blobs"].as_object().into_iter().flatten().map(|(digest, text)| {
            let content = bytes(text).map(Bytes::from);
            let digest = Digest::parse(digest);
            match (digest, content) {
                (Some(digest), Some(content)) if Digest::of(&content) == digest => Ok((digest, content)),
                _ => Err(refused("one of its `blobs` is damaged")),
            }
        });
        Ok(Self {
            run,
            name: json["name"].as_str().unwrap_or_default().to_owned(),
            entries,
            blobs: blobs.collect::<Result<_, _>>()?,
            sources: json["bundle"].as_object().cloned().unwrap_or_default(),
        })
    }

    /// How the recorded run ended, if it had.
    #[must_use]
    pub fn end(&self) -> Option<&RunEnd> {
        self.entries.iter().rev().find_map(|entry| match &entry.kind {
            EntryKind::Ended { end, .. } => Some(end),
            _ => None,
        })
    }

    /// What puts the run, without its sources, into a journal.
    #[must_use]
    pub fn commit(&self) -> Commit {
        let blobs = self.blobs.iter().map(|(digest, bytes)| Write::Blob(*digest, bytes.clone()));
        blobs.chain(self.entries.iter().map(|entry| Write::Entry(self.run, entry.clone()))).collect()
    }

    /// Puts an ended run, with its sources, into a journal.
    ///
    /// # Errors
    /// When it is there already, has not ended, or its sources are damaged.
    pub fn import(&self, journal: &dyn Journal, registry: &Registry) -> Result<(), Diagnostic> {
        let run = self.run;
        if journal.run(run).map_err(unreadable)?.is_some() {
            return Err(Diagnostic::error(Code::WrongRunState, format!("run {run} is in this journal")));
        }
        if self.end().is_none() {
            let text = format!("run {run} had not ended; what it would still do belongs to where it is");
            return Err(Diagnostic::error(Code::WrongRunState, text).hint("export it when it has ended"));
        }
        let bundle = sent::read(&self.sources, registry).map_err(sent::in_one)?;
        let pinned = self.entries.iter().find_map(|entry| match &entry.kind {
            EntryKind::Started(started) => started.bundle,
            _ => None,
        });
        if pinned != Some(bundle.digest()) {
            return Err(refused("its sources are not those that it ran"));
        }
        let mut writes = bundle.writes();
        writes.extend(self.commit().writes);
        journal.wait(journal.submit(Commit { writes })).map_err(unreadable)
    }
}
