//! Lines that are shown at login: a file such as pam_motd(8) shows, and the journal's memory of it.
#![allow(clippy::disallowed_methods)] // the file is this module's whole business

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hob_journal::{Commit, EventRow, Journal, Write};
use hob_model::Value;

/// The fact with the lines, and up to which event they go.
const LINES: &str = "notices/login";
/// How many are kept: the latest.
const LINES_MAX: usize = 20;

/// The file.
pub(super) struct Login {
    path: PathBuf,
}

impl Login {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the lines, or removes the file where there are none. A file that cannot be written keeps nothing from going
    /// on.
    pub(super) fn write(&self, lines: &[String]) {
        if let Err(error) = self.try_write(lines)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.path.display(), "the lines for logins cannot be written");
        }
    }

    fn try_write(&self, lines: &[String]) -> std::io::Result<()> {
        if lines.is_empty() {
            return std::fs::remove_file(&self.path);
        }
        if let Some(parent) = self.path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        // Written beside its place and moved there: whoever logs in sees all of it or nothing. The name begins with a dot,
        // which pam_motd passes over.
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let beside = self.path.with_file_name(format!(".{name}.new"));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(&beside)?;
        writeln!(file, "hob: this wants your attention (`hob notify clear` once you have seen it)")?;
        for line in lines {
            writeln!(file, "  {line}")?;
        }
        file.sync_all()?;
        std::fs::rename(&beside, &self.path)
    }
}

/// The lines that are remembered.
pub(super) fn recall(journal: &dyn Journal) -> Vec<String> {
    let fact = journal.fact(LINES).ok().flatten().unwrap_or_default();
    match fact.get("lines") {
        Some(Value::Array(lines)) => lines.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Remembers a line about an event, once; all of them then.
pub(super) fn keep(journal: &dyn Journal, event: &EventRow, line: &str) -> Vec<String> {
    let fact = journal.fact(LINES).ok().flatten().unwrap_or_default();
    let upto = fact.get("upto").and_then(Value::as_int).and_then(|id| u64::try_from(id).ok()).unwrap_or(0);
    let mut lines = recall(journal);
    if event.id <= upto {
        return lines;
    }
    let at = event.at.to_string();
    lines.push(format!("{} {line}", at.get(..19).unwrap_or(&at)));
    lines.drain(..lines.len().saturating_sub(LINES_MAX));
    record(journal, &lines, event.id);
    lines
}

/// Forgets all lines.
pub(super) fn forget(journal: &dyn Journal) {
    let last = journal.last_event().unwrap_or(0);
    record(journal, &[], last);
}

fn record(journal: &dyn Journal, lines: &[String], upto: u64) {
    let value = Value::map([("lines", Value::from(lines.to_vec())), ("upto", Value::from(upto))]);
    journal.submit(Commit::one(Write::Fact { key: LINES.to_owned(), value: Some(value) }));
}
