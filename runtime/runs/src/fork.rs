//! Forking: a new run that shares the past of another one up to a position.

use std::cell::OnceCell;
use std::collections::HashSet;

use hob_journal::{Commit, Write};
use hob_model::position::Leaf;
use hob_model::{EffectClass, Entry, EntryKind, Payload, Position, RunId, RunOwner, Value};

use crate::error::RunError;
use crate::manager::Runs;

/// How the trigger of a fork begins; the run that it was forked from follows.
const FORKED: &str = "fork:";

/// What a fork changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fork {
    /// Where it leaves the old run: the first position that is not shared. `None` shares nothing.
    pub at: Option<Position>,
    /// Values for effects and steps, instead of what was recorded.
    pub set: Vec<(Position, Value)>,
    /// Another input.
    pub input: Option<Value>,
}

impl Fork {
    /// A new run with the same script and input that shares nothing.
    #[must_use]
    pub fn from_start() -> Self {
        Self::default()
    }
}

impl Runs {
    /// Makes a new run from `run`. Shared entries keep the keys of the old one; what stands structurally before the
    /// position is kept, and of sibling branches only those that had ended.
    ///
    /// # Errors
    /// When there is no such run or position.
    pub fn fork(&self, run: RunId, fork: &Fork, owner: RunOwner) -> Result<RunId, RunError> {
        let past = Past::of(self, run)?;
        let entries = &past.entries;
        let Some(EntryKind::Started(started)) = entries.first().map(|entry| entry.kind.clone()) else {
            return Err(RunError::NotFound(run.to_string()));
        };
        may_be_shared(run, entries, fork)?;
        let mut started = started;
        started.bundle = self.row(run)?.bundle;
        started.trigger = format!("{FORKED}{run}");
        started.owner = owner;
        started.parent = None;
        if let Some(input) = &fork.input {
            started.input = input.clone();
        }
        let mut kinds: Vec<EntryKind> = vec![EntryKind::Started(started)];
        kinds.extend(shared(&past, fork));
        let mut writes = Vec::new();
        for (position, value) in &fork.set {
            let (payload, blob) = Payload::of(value);
            if let (Payload::Blob(digest, _), Some(bytes)) = (&payload, blob) {
                writes.push(Write::Blob(*digest, bytes));
            }
            kinds.push(EntryKind::Overridden { position: position.clone(), value: payload });
        }
        let (id, at) = (self.new_id(), self.now());
        writes.extend((0..).zip(kinds).map(|(seq, kind)| Write::Entry(id, Entry { seq, at, kind })));
        let ticket = self.journal().submit(Commit { writes });
        self.journal().wait(ticket)?;
        self.schedule(id);
        Ok(id)
    }
}

/// Refuses places that were not recorded, or that belong to the end of the old run.
fn may_be_shared(run: RunId, entries: &[Entry], fork: &Fork) -> Result<(), RunError> {
    let known = |position: &Position| {
        entries.iter().any(|e| e.kind.position().is_some_and(|p| p.is_part_of(position)))
    };
    let undone = compensations(entries);
    for position in fork.at.iter().chain(fork.set.iter().map(|(position, _)| position)) {
        let wanted = if undone.iter().any(|undo| position.is_within(undo)) {
            "a new run could share, as compensations belong to the end of this one"
        } else if known(position) {
            continue;
        } else {
            "was recorded"
        };
        return Err(RunError::Position { run, position: position.to_string(), wanted });
    }
    Ok(())
}

/// The branches of compensations: they belong to the end of the old run, and the new one has its own end.
fn compensations(entries: &[Entry]) -> Vec<Position> {
    entries.iter().filter_map(|entry| undo_branch(&entry.kind)).collect()
}

/// What the new run takes over of the old one.
fn shared(past: &Past, fork: &Fork) -> Vec<EntryKind> {
    let Some(at) = &fork.at else { return Vec::new() };
    let entries = &past.entries;
    let undone = compensations(entries);
    let undoes = |position: &Position| undone.iter().any(|undo| position.is_within(undo));
    let overridden = |position: &Position| fork.set.iter().any(|(set, _)| position.is_part_of(set));
    let ended: Vec<&Position> = entries
        .iter()
        .filter_map(|entry| match &entry.kind {
            EntryKind::BranchEnded { position, .. } => Some(position),
            _ => None,
        })
        .collect();
    let earlier = |place: &Position, other: &Position| past.came_before(place, other);
    // A wait is shared with its end, which does not say what was waited for; without one it is the old run's.
    let waited: HashSet<&Position> = entries
        .iter()
        .filter_map(|entry| match &entry.kind {
            EntryKind::Outcome { position, .. } => Some(position),
            _ => None,
        })
        .collect();
    let fact = |kind: &EntryKind| match kind {
        _ if kind.position().is_some_and(undoes) => false,
        EntryKind::Wait { position, .. } => waited.contains(position),
        // With another value in it, it may end in another way.
        EntryKind::BranchEnded { position, .. } | EntryKind::StepEnded { position, .. }
            if fork.set.iter().any(|(set, _)| set.is_within(position)) =>
        {
            false
        }
        other => is_fact(other),
    };
    let kept = entries.iter().skip(1).map(|entry| &entry.kind).filter(|kind| {
        let place = kind.position().or(log_branch(kind));
        fact(kind) && place.is_some_and(|place| precedes(place, at, &ended, &earlier) && !overridden(place))
    });
    kept.cloned().collect()
}

/// What is recorded of a run, and of those that it was forked from.
struct Past<'r> {
    runs: &'r Runs,
    entries: Vec<Entry>,
    /// Read when it is first asked for: most runs are forks of nothing.
    origin: OnceCell<Option<Box<Self>>>,
}

impl<'r> Past<'r> {
    /// That of a run; without entries where there is no such run.
    fn of(runs: &'r Runs, run: RunId) -> Result<Self, RunError> {
        let mut entries = runs.journal().entries(run, 0, usize::MAX)?;
        drop_voided(&mut entries);
        Ok(Self { runs, entries, origin: OnceCell::new() })
    }

    /// That of the run that it was forked from, while it is kept.
    fn origin(&self) -> Option<&Self> {
        let read = || {
            let origin = Self::of(self.runs, forked_from(&self.entries)?).ok()?;
            (!origin.entries.is_empty()).then(|| Box::new(origin))
        };
        self.origin.get_or_init(read).as_deref()
    }

    /// Whether the run came to `place` before it came to `other`.
    ///
    /// Values that a fork gave stand behind what it shared, wherever their calls stood. So of a place that shared nothing but
    /// was given a value, and one that was shared, the run that it was forked from tells.
    fn came_before(&self, place: &Position, other: &Position) -> bool {
        let entries = &self.entries;
        let is_given = |entry: &Entry| matches!(entry.kind, EntryKind::Overridden { .. });
        let shared_until = entries.iter().find(|entry| is_given(entry)).map_or(0, |entry| entry.seq);
        let first = |place: &Position, given: bool| {
            let is_there = |it: &Entry| it.kind.position().is_some_and(|at| at.is_within(place));
            entries.iter().find(|it| is_there(it) && is_given(it) == given).map(|it| it.seq)
        };
        let is_shared = |place: &Position| first(place, false).is_some_and(|seq| seq < shared_until);
        let only_given = |place: &Position| first(place, true).is_some() && !is_shared(place);
        if ((only_given(place) && is_shared(other)) || (is_shared(place) && only_given(other)))
            && let Some(origin) = self.origin()
        {
            return origin.came_before(place, other);
        }
        match (first(place, false), first(other, false)) {
            (Some(place), Some(other)) => place < other,
            // There is nothing but given values, which go along.
            (None, _) => true,
            // What came after the value was given came before the call that takes it; of the rest nobody knows.
            (Some(place), None) => first(other, true).is_some_and(|given| given < place),
        }
    }
}

/// The run that one was forked from, as its first entry tells.
fn forked_from(entries: &[Entry]) -> Option<RunId> {
    match &entries.first()?.kind {
        EntryKind::Started(started) => RunId::parse(started.trigger.strip_prefix(FORKED)?),
        _ => None,
    }
}

fn log_branch(kind: &EntryKind) -> Option<&Position> {
    match kind {
        EntryKind::Log { branch, .. } => Some(branch),
        _ => None,
    }
}

/// Leaves out what `runs retry` voided: the failure it reopened, and the ends of what stood around it.
fn drop_voided(entries: &mut Vec<Entry>) {
    let reopened: Vec<(u64, Position)> = entries
        .iter()
        .filter_map(|entry| match &entry.kind {
            EntryKind::Reopened { position, .. } => Some((entry.seq, position.clone())),
            _ => None,
        })
        .collect();
    let void = |kind: &EntryKind, again: &Position| match kind {
        EntryKind::Outcome { position, .. } => again.is_part_of(position),
        // The failure is known; only a key is left to be asked about.
        EntryKind::Intent { position, class, .. } => position == again && *class != EffectClass::Keyed,
        EntryKind::Resolved { position, .. } => position == again,
        EntryKind::BranchEnded { position, .. } | EntryKind::StepEnded { position, .. } => {
            again.is_within(position)
        }
        _ => false,
    };
    entries.retain(|entry| !reopened.iter().any(|(seq, again)| entry.seq < *seq && void(&entry.kind, again)));
}

/// The branch in which the compensation runs that an entry registers.
fn undo_branch(kind: &EntryKind) -> Option<Position> {
    let EntryKind::Compensation { position, .. } = kind else {
        return None;
    };
    match position.leaf() {
        Some(Leaf::Effect(n)) => Some(position.parent().branch(n, "undo")),
        _ => None,
    }
}

/// Whether an entry tells of the world, rather than of the life of the old run.
fn is_fact(kind: &EntryKind) -> bool {
    matches!(
        kind,
        EntryKind::Intent { .. }
            | EntryKind::Outcome { .. }
            | EntryKind::Compensation { .. }
            | EntryKind::BranchEnded { .. }
            | EntryKind::StepEnded { .. }
            | EntryKind::Resolved { .. }
            | EntryKind::Abandoned { .. }
            | EntryKind::Overridden { .. }
            | EntryKind::Log { .. }
    )
}

/// Whether `position` stands before `at` in the structure of the run. Steps have no number of their own: they stand
/// where the run came to them, which `earlier` tells.
fn precedes(
    position: &Position,
    at: &Position,
    ended: &[&Position],
    earlier: &dyn Fn(&Position, &Position) -> bool,
) -> bool {
    if position.is_within(at) || at.is_within(position) {
        return false;
    }
    let ours: Vec<&str> = position.as_str().split('/').collect();
    let theirs: Vec<&str> = at.as_str().split('/').collect();
    let Some(differs) = ours.iter().zip(&theirs).position(|(a, b)| a != b) else {
        return ours.len() <= theirs.len();
    };
    let (a, b) = (leaf(ours[differs]), leaf(theirs[differs]));
    match (a, b) {
        (Some(Leaf::Effect(a) | Leaf::Branch(a, _)), Some(Leaf::Effect(b) | Leaf::Branch(b, _)))
            if a != b =>
        {
            a < b
        }
        (Some(Leaf::Branch(..)), Some(Leaf::Branch(..))) => {
            let branch = Position::trusted(&ours[..=differs].join("/"));
            ended.iter().any(|ended| **ended == branch)
        }
        // A group and its branches: none of it stands when one of them does not.
        (Some(Leaf::Effect(_)), Some(Leaf::Branch(..))) | (Some(Leaf::Branch(..)), Some(Leaf::Effect(_))) => {
            false
        }
        // A step and a numbered effect are not ordered by name, but by when they were come to.
        _ => {
            let place = |segments: &[&str]| Position::trusted(&segments[..=differs].join("/"));
            earlier(&place(&ours), &place(&theirs))
        }
    }
}

fn leaf(segment: &str) -> Option<Leaf> {
    Position::trusted(segment).leaf()
}
