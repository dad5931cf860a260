//! Holds: a person's word that a service is not to be touched. They are facts of the journal, and outlive hob.

use std::time::Duration;

use hob_journal::{Commit, Write};
use hob_model::{Code, Diagnostic, Value};

use super::Inner;
use super::table::{Hold, Table};

const PREFIX: &str = "hold/";

fn problem(error: &hob_journal::JournalError) -> Diagnostic {
    hob_runs::journal_diagnostic(error)
}

/// Takes in the recorded holds.
pub(super) fn load(inner: &Inner) -> Result<(), Diagnostic> {
    for (key, value) in inner.runs.journal().facts(PREFIX).map_err(|error| problem(&error))? {
        let name = key.strip_prefix(PREFIX).unwrap_or(&key).to_owned();
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let hold = Hold {
            until: text("until").and_then(|text| text.parse().ok()),
            reason: text("reason").unwrap_or_default().to_owned(),
        };
        inner.update(&name, |entry| entry.hold = Some(hold));
    }
    Ok(())
}

/// Records a hold, durably.
pub(super) fn set(
    inner: &Inner,
    name: &str,
    duration: Option<Duration>,
    reason: &str,
) -> Result<(), Diagnostic> {
    let until = duration
        .map(|duration| inner.runs.now().checked_add(duration))
        .transpose()
        .map_err(|_| Diagnostic::error(Code::Usage, "that is past the end of the calendar"))?;
    let value = Value::map([
        ("until", Value::from(until.map(|until| until.to_string()))),
        ("reason", Value::from(reason)),
    ]);
    write(inner, name, Some(value))?;
    inner.update(name, |entry| entry.hold = Some(Hold { until, reason: reason.to_owned() }));
    Ok(())
}

/// Ends a hold, durably.
pub(super) fn clear(inner: &Inner, name: &str) -> Result<(), Diagnostic> {
    write(inner, name, None)?;
    inner.update(name, |entry| entry.hold = None);
    Ok(())
}

/// Ends holds whose time is over.
pub(super) fn expire(inner: &Inner, table: &mut Table) {
    let now = inner.runs.now();
    for (name, entry) in &mut table.services {
        if entry.hold.as_ref().is_some_and(|hold| hold.until.is_some_and(|until| until <= now)) {
            entry.hold = None;
            inner
                .runs
                .journal()
                .submit(Commit::one(Write::Fact { key: format!("{PREFIX}{name}"), value: None }));
        }
    }
}

fn write(inner: &Inner, name: &str, value: Option<Value>) -> Result<(), Diagnostic> {
    let journal = inner.runs.journal();
    let ticket = journal.submit(Commit::one(Write::Fact { key: format!("{PREFIX}{name}"), value }));
    journal.wait(ticket).map_err(|error| problem(&error))
}
