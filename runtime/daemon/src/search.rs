//! Finding runs by what they were given, did and came to.

use hob_journal::{Journal, JournalError, RunFilter, RunRow};

use crate::view::run_detail;

/// Runs that one search looks into.
pub const SEARCHED_RUNS_MAX: usize = 10_000;
/// Rows that are read at one time.
const RUNS_AT_ONCE: usize = 500;
/// Entries of one run that are looked into: what happens often in a run is found among them.
const ENTRIES_MAX: usize = 10_000;

/// What a search came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The runs, newest first.
    pub found: Vec<RunRow>,
    /// Where it stopped for the number of runs that it looked into; a search with `before` goes on from there.
    pub stopped_at: Option<hob_model::RunId>,
}

/// The newest runs that `filter` lets through and that have `text` in their name, trigger, input, output, error, calls or
/// log, in whatever case.
///
/// # Errors
/// When the journal cannot be read.
pub fn runs(journal: &dyn Journal, filter: RunFilter, text: &str) -> Result<Found, JournalError> {
    let (text, limit) = (text.to_lowercase(), filter.limit.unwrap_or(usize::MAX));
    let mut page = RunFilter { limit: Some(RUNS_AT_ONCE), ..filter };
    let (mut result, mut searched) = (Found::default(), 0);
    loop {
        let rows = journal.runs(&page)?;
        for row in &rows {
            if searched == SEARCHED_RUNS_MAX {
                result.stopped_at = page.before;
                return Ok(result);
            }
            searched += 1;
            page.before = Some(row.run);
            if holds(journal, row, &text)? {
                result.found.push(row.clone());
                if result.found.len() >= limit {
                    return Ok(result);
                }
            }
        }
        if rows.len() < RUNS_AT_ONCE {
            return Ok(result);
        }
    }
}

fn holds(journal: &dyn Journal, row: &RunRow, text: &str) -> Result<bool, JournalError> {
    let entries = journal.entries(row.run, 0, ENTRIES_MAX)?;
    // Large values are not fetched: their blobs may be hundreds of MiB.
    let detail = run_detail(row, &entries, |_| None);
    Ok(detail.to_string().to_lowercase().contains(text))
}
