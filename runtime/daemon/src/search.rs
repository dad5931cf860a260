//! Finding runs by what they were given, did and came to.

use hob_journal::{Journal, JournalError, RunFilter, RunRow};
use hob_model::EntryKind;

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

/// What is looked for beside what a [`RunFilter`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// A text in the name, trigger, input, output, error, calls or log of a run, in whatever case.
    pub text: Option<String>,
    /// Tags, each of which a run must have.
    pub tags: Vec<String>,
}

/// The newest runs that `filter` lets through and that have what is wanted.
///
/// # Errors
/// When the journal cannot be read.
pub fn runs(journal: &dyn Journal, filter: RunFilter, wanted: &Wanted) -> Result<Found, JournalError> {
    if *wanted == Wanted::default() {
        return Ok(Found { found: journal.runs(&filter)?, stopped_at: None });
    }
    let wanted = Wanted { text: wanted.text.as_ref().map(|text| text.to_lowercase()), ..wanted.clone() };
    let limit = filter.limit.unwrap_or(usize::MAX);
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
            if has(journal, row, &wanted)? {
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

fn has(journal: &dyn Journal, row: &RunRow, wanted: &Wanted) -> Result<bool, JournalError> {
    // The tags are in the first entry, and most runs end here.
    let entries = journal.entries(row.run, 0, if wanted.text.is_some() { ENTRIES_MAX } else { 1 })?;
    let has_tag = |tag: &String| match entries.first().map(|entry| &entry.kind) {
        Some(EntryKind::Started(started)) => started.tags.contains(tag),
        _ => false,
    };
    let has_text = |text: &String| {
        // Large values are not fetched: their blobs may be hundreds of MiB.
        run_detail(row, &entries, |_| None).to_string().to_lowercase().contains(text)
    };
    Ok(wanted.tags.iter().all(has_tag) && wanted.text.as_ref().is_none_or(has_text))
}
