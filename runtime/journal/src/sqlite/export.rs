//! The journal as JSON lines, for people and other programs.

use std::io::Write;

use hob_model::RunId;

use super::SqliteJournal;
use super::error::Fault;
use super::reader::{self, decode, run_of};
use crate::journal::JournalError;
use crate::json;

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The output cannot be written.
    #[error("the export cannot be written: {0}")]
    Output(std::io::Error),
}

impl SqliteJournal {
    /// Writes the entries of one run, or of all, one JSON object on each line: see [`json::entry`]. Returns
    /// how many lines there are. One moment is written, whatever happens meanwhile.
    ///
    /// # Errors
    /// When the journal cannot be read or `out` not be written; what was written by then is whole lines but
    /// the last.
    pub fn export(&self, run: Option<RunId>, out: &mut dyn Write) -> Result<u64, ExportError> {
        let mut output = Ok(());
        let lines = self.shared.read(|conn| {
            let snapshot = conn.unchecked_transaction()?;
            let mut query = conn.prepare(
                "SELECT run, seq, body FROM entries WHERE ?1 IS NULL OR run = ?1 ORDER BY run, seq",
            )?;
            let mut rows = query.query([run.map(|run| run.0.into_bytes())])?;
            let mut lines = 0;
            while let Some(row) = rows.next()? {
                let run = run_of(row, 0)?;
                let body = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
                let entry = decode(run, row.get(1)?, body)?;
                let mut fault = None;
                let line = json::entry(run, &entry, |digest| {
                    reader::blob(conn, digest).unwrap_or_else(|error| {
                        fault = Some(error);
                        None
                    })
                });
                if let Some(fault) = fault {
                    return Err::<u64, Fault>(fault);
                }
                output = writeln!(out, "{line}");
                if output.is_err() {
                    break;
                }
                lines += 1;
            }
            drop(rows);
            drop(query);
            snapshot.finish()?;
            Ok(lines)
        })?;
        output.map_err(ExportError::Output)?;
        Ok(lines)
    }
}
