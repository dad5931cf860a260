//! Holds: the word of a person or of a run that a service is not to be touched. They are facts of the journal, and outlive
//! hob; that of a run ends with the run.

use std::fmt;
use std::time::Duration;

use hob_journal::{Commit, Journal, JournalError, Write};
use hob_model::{Diagnostic, OpError, RunId, Timestamp, Value};

use super::Inner;
use super::table::{Entry, Table};

const PREFIX: &str = "hold/";

/// Who holds a service, or asks for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A person; all persons are one.
    Person,
    /// A run.
    Run(RunId),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person => f.write_str("a person"),
            Self::Run(run) => write!(f, "the run {run}"),
        }
    }
}

/// A word that a service is not to be touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) by: Holder,
    /// Until when; without one until it is released, or its run ends.
    pub(crate) until: Option<Timestamp>,
    pub(crate) reason: String,
}

impl Hold {
    /// For people: who holds it, and why.
    pub(crate) fn told(&self) -> String {
        let who = match self.by {
            Holder::Person => "held".to_owned(),
            Holder::Run(_) => format!("held by {}", self.by),
        };
        if self.reason.is_empty() { who } else { format!("{who}: {}", self.reason) }
    }
}

fn key_of(name: &str, by: Holder) -> String {
    match by {
        Holder::Person => format!("{PREFIX}{name}"),
        Holder::Run(run) => format!("{PREFIX}{name}/{run}"),
    }
}

/// The recorded holds, each with the name of its service.
pub(super) fn recorded(journal: &dyn Journal) -> Result<Vec<(String, Hold)>, JournalError> {
    let read = |(key, value): (String, Value)| {
        let rest = key.strip_prefix(PREFIX)?;
        let (name, by) = match rest.split_once('/') {
            Some((name, run)) => (name, Holder::Run(RunId::parse(run)?)),
            None => (rest, Holder::Person),
        };
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let until = text("until").and_then(|text| text.parse().ok());
        let reason = text("reason").unwrap_or_default().to_owned();
        Some((name.to_owned(), Hold { by, until, reason }))
    };
    Ok(journal.facts(PREFIX)?.into_iter().filter_map(read).collect())
}

/// Takes in the recorded holds. Those of runs that ended while nobody looked end now.
pub(super) fn load(inner: &Inner) -> Result<(), Diagnostic> {
    for (name, hold) in
        recorded(&**inner.runs.journal()).map_err(|error| hob_runs::journal_diagnostic(&error))?
    {
        let over = match hold.by {
            Holder::Person => false,
            Holder::Run(run) => inner.runs.row(run).map_or(true, |row| row.status.ended()),
        };
        if over {
            inner.runs.journal().submit(Commit::one(fact(&name, hold.by, None)));
        } else {
            inner.update(&name, |entry| entry.holds.push(hold));
        }
    }
    Ok(())
}

/// Records a hold, durably. Whoever holds a service already holds it as said last.
pub(super) fn set(
    inner: &Inner,
    name: &str,
    by: Holder,
    (duration, reason): (Option<Duration>, &str),
) -> Result<(), OpError> {
    let until = duration
        .map(|duration| inner.runs.now().checked_add(duration))
        .transpose()
        .map_err(|_| OpError::invalid("that is past the end of the calendar"))?;
    let value = Value::map([
        ("until", Value::from(until.map(|until| until.to_string()))),
        ("reason", Value::from(reason)),
    ]);
    write(inner, vec![fact(name, by, Some(value))])?;
    inner.update(name, |entry| {
        entry.holds.retain(|hold| hold.by != by);
        entry.holds.push(Hold { by, until, reason: reason.to_owned() });
    });
    Ok(())
}

/// Ends the holds of `by`, durably; a person ends those of all.
pub(super) fn clear(inner: &Inner, name: &str, by: Holder) -> Result<(), OpError> {
    let ends = |hold: &Hold| by == Holder::Person || hold.by == by;
    let holds: Vec<Hold> =
        inner.table().services.get(name).map_or_else(Vec::new, |entry| entry.holds.clone());
    let ended: Vec<Holder> = holds.iter().filter(|hold| ends(hold)).map(|hold| hold.by).collect();
    write(inner, ended.iter().map(|by| fact(name, *by, None)).collect())?;
    inner.update(name, |entry| entry.holds.retain(|hold| !ends(hold)));
    give_back(&mut inner.table(), &ended);
    inner.changed.notify_all();
    Ok(())
}

/// Ends what a run held: it has ended.
pub(super) fn run_ended(inner: &Inner, run: RunId) {
    let by = Holder::Run(run);
    let mut table = inner.table();
    let mut writes = Vec::new();
    for (name, entry) in &mut table.services {
        if entry.holds.iter().any(|hold| hold.by == by) {
            entry.holds.retain(|hold| hold.by != by);
            writes.push(fact(name, by, None));
        }
    }
    give_back(&mut table, &[by]);
    drop(table);
    if !writes.is_empty() {
        inner.runs.journal().submit(Commit { writes });
        inner.changed.notify_all();
    }
}

/// Ends holds whose time is over.
pub(super) fn expire(inner: &Inner, table: &mut Table) {
    let now = inner.runs.now();
    let is_over = |hold: &Hold| hold.until.is_some_and(|until| until <= now);
    let (mut writes, mut ended) = (Vec::new(), Vec::new());
    for (name, entry) in &mut table.services {
        for hold in entry.holds.extract_if(.., |hold| is_over(hold)) {
            writes.push(fact(name, hold.by, None));
            ended.push(hold.by);
        }
    }
    if !writes.is_empty() {
        give_back(table, &ended);
        inner.runs.journal().submit(Commit { writes });
    }
}

/// What runs stopped of what they held comes back when they do not hold it any more.
fn give_back(table: &mut Table, ended: &[Holder]) {
    let over = |entry: &Entry, run: RunId| {
        let by = Holder::Run(run);
        ended.contains(&by) && entry.holds.iter().all(|hold| hold.by != by)
    };
    table.stale = true;
    for entry in table.services.values_mut() {
        if entry.stopped_by.is_some_and(|run| over(entry, run)) {
            entry.stopped_by = None;
            entry.want();
        }
    }
}

fn fact(name: &str, by: Holder, value: Option<Value>) -> Write {
    Write::Fact { key: key_of(name, by), value }
}

/// Records this, durably.
pub(super) fn write(inner: &Inner, writes: Vec<Write>) -> Result<(), OpError> {
    let journal = inner.runs.journal();
    let ticket = journal.submit(Commit { writes });
    journal.wait(ticket).map_err(|error| OpError::unavailable(error.to_string()))
}
