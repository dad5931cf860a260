//! What follows from the entries of a run: its row, its open waits and the blobs it uses.
//!
//! These are pure functions. Both adapters use them as entries are written, and a rebuild uses them on all
//! entries from the first, so that what is derived cannot differ.

use hob_model::{
    BranchEnd, Digest, Entry, EntryKind, Payload, Position, Resolution, RunId, RunStatus, Timestamp, Wait,
};

use crate::journal::{Commit, JournalError, Write};
use crate::row::RunRow;

/// Lets `entry` follow the entries that `row` stands for; `None` stands for none.
///
/// A run that has ended stays so until it is reopened, whatever else arrives.
///
/// # Errors
/// [`JournalError::Order`] when the number does not follow, or anything but the first entry is a `Started`.
pub fn advance(row: &mut Option<RunRow>, run: RunId, entry: &Entry) -> Result<(), JournalError> {
    check_order(run, row.as_ref().map_or(0, |row| row.entries), entry)?;
    match row {
        Some(row) => follow(row, entry),
        None => *row = begin(run, entry),
    }
    Ok(())
}

/// Whether `entry` may be number `expected` of `run`.
///
/// # Errors
/// As [`advance`].
pub fn check_order(run: RunId, expected: u64, entry: &Entry) -> Result<(), JournalError> {
    let starts = matches!(entry.kind, EntryKind::Started(_));
    if entry.seq == expected && starts == (expected == 0) {
        return Ok(());
    }
    Err(JournalError::Order { run, found: entry.seq, last: expected.checked_sub(1) })
}

/// Whether each entry of `commit` follows the last one of its run; `next` tells the number that a run's next
/// entry must have.
///
/// # Errors
/// As [`advance`], or what `next` failed with.
pub(crate) fn check_commit<E: From<JournalError>>(
    commit: &Commit,
    mut next: impl FnMut(RunId) -> Result<u64, E>,
) -> Result<(), E> {
    let mut seen: Vec<(RunId, u64)> = Vec::new();
    for write in &commit.writes {
        let Write::Entry(run, entry) = write else { continue };
        let known = seen.iter().position(|(id, _)| id == run);
        let known = match known {
            Some(known) => known,
            None => {
                seen.push((*run, next(*run)?));
                seen.len() - 1
            }
        };
        check_order(*run, seen[known].1, entry)?;
        seen[known].1 += 1;
    }
    Ok(())
}

fn begin(run: RunId, entry: &Entry) -> Option<RunRow> {
    let EntryKind::Started(started) = &entry.kind else {
        return None;
    };
    let at = to_micros(entry.at);
    Some(RunRow {
        run,
        name: started.name.clone(),
        kind: started.entry.kind().to_owned(),
        status: RunStatus::Queued,
        owner: started.owner,
        created: from_micros(at),
        updated: from_micros(at),
        bundle: started.bundle,
        parent: started.parent.as_ref().map(|(parent, _)| *parent),
        attempt: 1,
        entries: 1,
        end: None,
    })
}

fn follow(row: &mut RunRow, entry: &Entry) {
    row.entries += 1;
    row.updated = from_micros(to_micros(entry.at));
    let status = match &entry.kind {
        EntryKind::Log { .. } => row.status,
        // The end of a wait is a fact; a run that was parked by a person's business stays parked.
        EntryKind::Outcome { .. } if matches!(row.status, RunStatus::Paused | RunStatus::Interrupted) => {
            row.status
        }
        EntryKind::Suspended { status } => *status,
        EntryKind::Paused { .. } => RunStatus::Paused,
        EntryKind::Interrupted => RunStatus::Interrupted,
        EntryKind::Ended { end, .. } => {
            row.end = Some(end.clone());
            row.status = end.status();
            return;
        }
        EntryKind::Reopened { attempt, .. } => {
            row.end = None;
            row.attempt = *attempt;
            row.status = RunStatus::Running;
            return;
        }
        EntryKind::Migrated { bundle } => {
            row.bundle = Some(*bundle);
            RunStatus::Running
        }
        EntryKind::Started(_)
        | EntryKind::Captured { .. }
        | EntryKind::Intent { .. }
        | EntryKind::Outcome { .. }
        | EntryKind::Wait { .. }
        | EntryKind::Withdrawn { .. }
        | EntryKind::Abandoned { .. }
        | EntryKind::Compensation { .. }
        | EntryKind::BranchEnded { .. }
        | EntryKind::StepEnded { .. }
        | EntryKind::Doubt { .. }
        | EntryKind::Resolved { .. }
        | EntryKind::Overridden { .. }
        | EntryKind::CancelRequested { .. }
        | EntryKind::Resumed => RunStatus::Running,
    };
    if !row.status.ended() {
        row.status = status;
    }
}

/// What an entry does to the open waits of its run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WaitChange<'a> {
    /// Nothing.
    Nothing,
    /// A branch waits at this position.
    Opens(&'a Position, &'a Wait),
    /// The wait at this position, if one is open, is over.
    Closes(&'a Position),
    /// All waits of the run are over.
    ClosesAll,
}

/// What `kind` does to the open waits of its run.
#[must_use]
pub fn wait_change(kind: &EntryKind) -> WaitChange<'_> {
    match kind {
        EntryKind::Wait { position, wait, .. } => WaitChange::Opens(position, wait),
        EntryKind::Outcome { position, .. }
        | EntryKind::Withdrawn { position }
        | EntryKind::Abandoned { position }
        | EntryKind::Resolved { position, .. } => WaitChange::Closes(position),
        EntryKind::Ended { .. } => WaitChange::ClosesAll,
        _ => WaitChange::Nothing,
    }
}

/// Calls `visit` with each blob and each bundle that an entry refers to.
pub fn visit_uses(kind: &EntryKind, mut visit: impl FnMut(Digest)) {
    let mut payload = |payload: &Payload| {
        if let Payload::Blob(digest, _) = payload {
            visit(*digest);
        }
    };
    match kind {
        EntryKind::Started(started) => started.bundle.into_iter().for_each(visit),
        EntryKind::Migrated { bundle } => visit(*bundle),
        EntryKind::Intent { args, noted, .. } => {
            payload(args);
            payload(noted);
        }
        EntryKind::Outcome { args, result, .. } => {
            args.iter().for_each(&mut payload);
            result.iter().for_each(payload);
        }
        EntryKind::Wait { args, .. } => payload(args),
        EntryKind::BranchEnded { end: BranchEnd::Value(value), .. } => payload(value),
        EntryKind::StepEnded { result, .. } => result.iter().for_each(payload),
        EntryKind::Resolved { resolution: Resolution::Result(value), .. } => payload(value),
        EntryKind::Overridden { value, .. } => payload(value),
        _ => {}
    }
}

/// A time in whole microseconds, as the projections keep it; anything finer is cut off.
#[must_use]
pub fn to_micros(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond().div_euclid(1_000)).expect("years -9999 to 9999 fit")
}

/// The time of [`to_micros`]; what no calendar reaches becomes its first or last moment.
#[must_use]
pub fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// When a clock ends `wait`, in whole microseconds and never too early.
#[must_use]
pub fn due_micros(wait: &Wait) -> Option<i64> {
    let nanos = wait.due()?.as_nanosecond();
    Some(i64::try_from(nanos.div_euclid(1_000) + i128::from(nanos.rem_euclid(1_000) > 0)).expect("years fit"))
}

/// The ids that start with `prefix` (hexadecimal digits, dashes anywhere): the first and last possible one.
#[must_use]
pub fn prefix_range(prefix: &str) -> Option<(RunId, RunId)> {
    const DIGITS: usize = 32;
    let digits: String = prefix.chars().filter(|c| *c != '-').collect();
    if digits.len() > DIGITS || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let bound = |fill: &str| RunId::parse(&format!("{digits}{}", fill.repeat(DIGITS - digits.len())));
    Some((bound("0")?, bound("f")?))
}
