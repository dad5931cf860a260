//! What must hold when a simulation is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hob_journal::{RunFilter, project};
use hob_model::{Entry, EntryKind, Payload, Position, RunEnd, RunId, Value};
use hob_runs::{Migration, Runs};

use super::disk::Disk;
use super::history::{Past, Plan, copy_of};
use super::sim::Sim;

/// No run is lost: each came to its end.
pub(super) fn all_ended(runs: &Runs) -> Result<(), String> {
    let rows = runs.journal().runs(&RunFilter::default()).map_err(|error| error.to_string())?;
    let open = rows.iter().find(|row| row.end.is_none());
    match open {
        Some(row) => {
            Err(format!("run {} is lost: it is {} and nothing would ever move it", row.run, row.status))
        }
        None => Ok(()),
    }
}

/// What the journal derives equals a fresh fold of its entries.
pub(super) fn derived(disk: &Disk) -> Result<(), String> {
    let journal = disk.journal();
    if let Some(problem) = disk.problems().into_iter().next() {
        return Err(format!("the journal's check says: {problem}"));
    }
    for row in journal.runs(&RunFilter::default()).map_err(|error| error.to_string())? {
        let mut fold = None;
        let mut waits = BTreeMap::new();
        for entry in journal.entries(row.run, 0, usize::MAX).map_err(|error| error.to_string())? {
            project::advance(&mut fold, row.run, &entry).map_err(|error| error.to_string())?;
            match project::wait_change(&entry.kind) {
                project::WaitChange::Opens(at, wait) => drop(waits.insert(at.clone(), wait.clone())),
                project::WaitChange::Closes(at) => drop(waits.remove(at)),
                project::WaitChange::ClosesAll => waits.clear(),
                project::WaitChange::Nothing => {}
            }
        }
        if fold.as_ref() != Some(&row) {
            return Err(format!("the row of {} is not the fold of its entries", row.run));
        }
        let open = journal.waits(None, Some(row.run), usize::MAX).map_err(|error| error.to_string())?;
        if open.len() != waits.len() || open.iter().any(|wait| waits.get(&wait.position) != Some(&wait.wait))
        {
            return Err(format!("the open waits of {} do not follow from its entries", row.run));
        }
    }
    Ok(())
}

/// Each run replays on its own records without a difference.
pub(super) fn replay(past: &Past) -> Result<(), String> {
    for row in past.runs.journal().runs(&RunFilter::default()).map_err(|error| error.to_string())? {
        let overridden = past.sim.lock().witness.runs.get(&row.run).is_some_and(|run| run.overridden);
        match past.runs.verify(row.run, None) {
            Ok(Migration::Fits) => {}
            Ok(Migration::Differs(_)) if overridden => {}
            Ok(Migration::Differs(difference)) => {
                return Err(format!("run {} does not replay: {difference:?}", row.run));
            }
            Err(error) => return Err(format!("run {} cannot be replayed: {error}", row.run)),
        }
    }
    Ok(())
}

/// How the runs of a simulation ended and what they did, by names that do not depend on ids.
type Outcome = (BTreeMap<String, String>, BTreeSet<(String, Position, String)>);

/// Names of runs that are the same in each simulation of a script. Forks have none.
fn names(sim: &Sim) -> BTreeMap<RunId, String> {
    let state = sim.lock();
    let runs = &state.witness.runs;
    let mut names = BTreeMap::new();
    // A parent is older than what it starts, and an id as old as its time.
    for _ in 0..runs.len() {
        for (run, model) in runs {
            let Some(started) = &model.started else { continue };
            let name = if let Some(from) = started.trigger.strip_prefix("carry:") {
                RunId::parse(from).and_then(|from| names.get(&from)).map(|name: &String| format!("{name}+"))
            } else if started.trigger.starts_with("fork:") {
                None
            } else if let Some((parent, at)) = &started.parent {
                names.get(parent).map(|name| format!("{name}/{at}"))
            } else {
                Some(started.name.clone())
            };
            if let Some(name) = name {
                names.insert(*run, name);
            }
        }
    }
    names
}

fn outcome(past: &Past) -> Outcome {
    let names = names(&past.sim);
    let state = past.sim.lock();
    let ends = names
        .iter()
        .filter_map(|(run, name)| {
            let end = match state.witness.runs[run].end.as_ref()? {
                RunEnd::Carried(_) => "carried".to_owned(),
                RunEnd::Failed(error) => format!("failed: {}", error.message),
                other => format!("{other:?}"),
            };
            Some((name.clone(), end))
        })
        .collect();
    let acts = state.witness.acts.iter();
    let acts =
        acts.filter_map(|act| Some((names.get(&act.run)?.clone(), act.position.clone(), act.label.clone())));
    (ends, acts.collect())
}

/// Faults that must not change anything did not: the same ends and the same effects as without them.
pub(super) fn same(with: &Past, without: &Past) -> Result<(), String> {
    let (with, without) = (outcome(with), outcome(without));
    if with.0 != without.0 {
        return Err(format!("ended otherwise than without faults: {:?} instead of {:?}", with.0, without.0));
    }
    if let Some(extra) = with.1.difference(&without.1).next() {
        return Err(format!("an effect that does not happen without faults: {extra:?}"));
    }
    if let Some(missing) = without.1.difference(&with.1).next() {
        return Err(format!("an effect that happens only without faults: {missing:?}"));
    }
    Ok(())
}

/// Whether a record stands in the root branch, which every replay passes.
fn is_passed(position: &Position) -> bool {
    !position.as_str().contains('/')
}

/// A record whose arguments were changed on disk is found out: the run pauses and does nothing. `false` when the
/// run has no record to be changed.
pub(super) fn damage(past: &Past, seed: u64) -> Result<bool, String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let journal = past.runs.journal();
    let Some(row) = journal.runs(&RunFilter::default()).unwrap_or_default().into_iter().next_back() else {
        return Ok(false);
    };
    let entries = journal.entries(row.run, 0, usize::MAX).unwrap_or_default();
    let forked =
        matches!(&entries[0].kind, EntryKind::Started(started) if started.trigger.starts_with("fork:"));
    let cancels = entries
        .iter()
        .any(|entry| matches!(entry.kind, EntryKind::CancelRequested { .. } | EntryKind::Reopened { .. }));
    // What was done again has a newer record.
    let last: BTreeMap<_, u64> = entries
        .iter()
        .filter(|entry| has_args(entry))
        .map(|entry| (entry.kind.position(), entry.seq))
        .collect();
    let fits: Vec<u64> = last.into_values().collect();
    let Some(damaged) = rng.choice(&fits).copied().filter(|_| !cancels && !forked) else { return Ok(false) };
    let mut writes = copy_of(&**journal, row.run, |entry| {
        let ends = matches!(entry.kind, EntryKind::Ended { .. });
        (!ends).then(|| if entry.seq == damaged { altered(entry) } else { entry })
    });
    let disk = Arc::new(Disk::memory());
    if rng.bool() {
        // What a crash left earlier: the records end somewhere after the damage.
        let extra = rng.usize(..writes.len());
        let keep = writes.len() - extra;
        let at = writes
            .iter()
            .position(|write| matches!(write, hob_journal::Write::Entry(_, entry) if entry.seq == damaged));
        writes.truncate(keep.max(at.map_or(usize::MAX, |at| at + 1)));
    }
    let parked = |write: &hob_journal::Write| {
        matches!(write, hob_journal::Write::Entry(_, Entry { kind: EntryKind::Suspended { .. }, .. }))
    };
    // A run that waits is not looked at before something wakes it.
    while writes.last().is_some_and(parked) {
        writes.pop();
    }
    disk.journal().submit(writes.into_iter().collect());
    let _ = disk.journal().flush();
    let plan = Plan { faulty: false, ..past.plan.clone() };
    super::history::expect_pause(&plan, &past.script, disk, row.run).map(|()| true)
}

fn has_args(entry: &Entry) -> bool {
    match &entry.kind {
        EntryKind::Intent { position, .. } | EntryKind::Wait { position, .. } => is_passed(position),
        EntryKind::Outcome { position, args: Some(_), .. } => is_passed(position),
        _ => false,
    }
}

fn altered(mut entry: Entry) -> Entry {
    let other = Payload::of(&Value::Array(vec![Value::from("something else")])).0;
    match &mut entry.kind {
        EntryKind::Intent { args, .. } | EntryKind::Wait { args, .. } => *args = other,
        EntryKind::Outcome { args, .. } => *args = Some(other),
        _ => {}
    }
    entry
}
