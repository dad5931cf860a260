//! What the journal knows about a run, arranged by branch so that a replay finds each record at once.

use std::collections::{HashMap, HashSet};

use hob_model::position::Leaf;
use hob_model::{
    BranchEnd, EffectClass, Entry, EntryKind, OpError, Payload, Position, Resolution, RunStarted, Source,
    Wait,
};

/// What is known about one effect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The number of its first entry.
    pub seq: u64,
    /// The full name of the operation.
    pub operation: String,
    /// The encoded arguments.
    pub args: Option<Payload>,
    /// The class in force for this call.
    pub class: Option<EffectClass>,
    /// The line of the script.
    pub source: Source,
    /// The key and the note of its intent.
    pub intent: Option<(String, Payload)>,
    /// What came of it.
    pub outcome: Option<Result<Payload, OpError>>,
    /// What it waits for.
    pub wait: Option<Wait>,
    /// Whether it is in doubt.
    pub doubt: bool,
    /// How the doubt was settled.
    pub resolution: Option<Resolution>,
    /// Whether it registered a compensation.
    pub compensates: bool,
    /// Whether its branch was cancelled while its outcome was unknown.
    pub abandoned: bool,
    /// From which attempt of the run on it counts as not done; 0 for never.
    pub reopened: u32,
}

impl Record {
    /// Whether it was begun and nobody knows, or said, what came of it.
    pub(crate) fn is_unknown(&self) -> bool {
        let settled = self.resolution.as_ref().is_some_and(|it| *it != Resolution::Retry);
        // `runs retry` reopens a failure that is known, until asking the world again puts it in doubt.
        let asked = self.reopened == 0 || self.doubt;
        self.intent.is_some() && self.outcome.is_none() && !self.abandoned && !settled && asked
    }
}

/// The records of one branch.
#[derive(Clone, Debug, Default)]
pub struct BranchLog {
    /// By the number of the effect, from 1 at index 0.
    effects: Vec<Option<Record>>,
    /// How many log lines were recorded.
    pub logs: u32,
}

impl BranchLog {
    /// The record of the n-th effect.
    #[must_use]
    pub fn effect(&self, n: u32) -> Option<&Record> {
        self.effects.get(n as usize - 1)?.as_ref()
    }

    /// The record of the n-th effect, made when it is missing.
    pub fn effect_mut(&mut self, n: u32) -> &mut Record {
        let at = n as usize - 1;
        if self.effects.len() <= at {
            self.effects.resize_with(at + 1, || None);
        }
        self.effects[at].get_or_insert_with(Record::default)
    }

    /// The number of the last recorded effect; 0 for none.
    #[must_use]
    pub fn last(&self) -> u32 {
        u32::try_from(self.effects.len()).unwrap_or(u32::MAX)
    }

    /// Whether nothing is recorded of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.effects.iter().all(Option::is_none) && self.logs == 0
    }

    /// All records with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Record)> {
        (1_u32..).zip(&self.effects).filter_map(|(n, record)| Some((n, record.as_ref()?)))
    }
}

/// How a recorded branch ended.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedBranch {
    /// How.
    pub end: BranchEnd,
    /// Whether it registered compensations.
    pub compensates: bool,
}

/// All that the journal knows about a run.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// The first entry.
    pub started: Option<RunStarted>,
    /// By the text of the branch's position.
    branches: HashMap<String, BranchLog>,
    /// Where groups of branches were opened: they leave no record of their own until they end.
    groups: HashSet<String>,
    /// Ended branches, by the text of their position.
    pub ended: HashMap<String, EndedBranch>,
    /// Ended steps, by the text of their position.
    pub steps: HashMap<String, Result<Payload, OpError>>,
    /// Values that a fork gave, by the text of the position.
    pub overridden: HashMap<String, Payload>,
    /// What the run's closure captured: of which bundle, and a digest of the values.
    pub captured: Option<(hob_model::Digest, hob_model::Digest)>,
    /// Whether a cancel was asked for.
    pub cancelled: bool,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The number of the next entry.
    pub next_seq: u64,
}

/// With the entries that follow, in order.
impl Extend<Entry> for Records {
    fn extend<T: IntoIterator<Item = Entry>>(&mut self, entries: T) {
        for entry in entries {
            self.next_seq = entry.seq + 1;
            self.apply(entry.seq, entry.kind);
        }
    }
}

impl Records {
    /// The records that `entries`, in order, leave.
    #[must_use]
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut records = Self { attempt: 1, ..Self::default() };
        records.extend(entries);
        records
    }

    /// Takes the log of a branch out, for its evaluation.
    pub fn take(&mut self, branch: &Position) -> BranchLog {
        self.branches.remove(branch.as_str()).unwrap_or_default()
    }

    /// Puts the log of a branch back, for a later evaluation. One without records is not known after a restart, and so not
    /// before it.
    pub fn put_back(&mut self, branch: &Position, log: BranchLog) {
        if !log.is_empty() {
            self.branches.insert(branch.as_str().to_owned(), log);
        }
    }

    /// The logs of all branches, with the text of their position.
    pub fn branches(&self) -> impl Iterator<Item = (&str, &BranchLog)> {
        self.branches.iter().map(|(position, log)| (position.as_str(), log))
    }

    /// Whether anything is recorded inside the branch or step at `position`.
    #[must_use]
    pub fn knows(&self, position: &Position) -> bool {
        // A branch may have nothing of its own but a group of branches inside of it.
        let inside = |text: &String| Position::trusted(text).is_within(position);
        self.branches.keys().any(inside) || self.ended.keys().any(inside) || self.steps.keys().any(inside)
    }

    /// The record at a position, made when it is missing; none for branches and steps.
    fn record_mut(&mut self, position: &Position, seq: u64) -> Option<&mut Record> {
        let Some(Leaf::Effect(n)) = position.leaf() else {
            return None;
        };
        let text = position.as_str();
        let branch = text.rfind('/').map_or("", |at| &text[..at]);
        if !self.branches.contains_key(branch) {
            self.branches.insert(branch.to_owned(), BranchLog::default());
        }
        let record = self.branches.get_mut(branch).expect("it was inserted above").effect_mut(n);
        if record.operation.is_empty() && record.seq == 0 {
            record.seq = seq;
        }
        Some(record)
    }

    /// Whether the call at `position` opened branches when it was recorded.
    #[must_use]
    pub fn is_group(&self, position: &Position) -> bool {
        self.groups.contains(position.as_str())
    }

    /// Notes the groups around a position.
    fn note_groups(&mut self, position: &Position) {
        let mut around = position.clone();
        while !around.as_str().is_empty() {
            if let Some(Leaf::Branch(n, label)) = around.leaf()
                && label != "undo"
                && !self.groups.insert(around.parent().effect(n).as_str().to_owned())
            {
                return;
            }
            around = around.parent();
        }
    }

    /// Adds what one entry says.
    pub fn apply(&mut self, seq: u64, kind: EntryKind) {
        if let Some(position) = kind.position().filter(|position| position.as_str().contains('.')) {
            self.note_groups(position);
        }
        match kind {
            EntryKind::Started(started) => self.started = Some(started),
            EntryKind::Captured { bundle, values } => self.captured = Some((bundle, values)),
            EntryKind::CancelRequested { .. } => self.cancelled = true,
            EntryKind::BranchEnded { position, end, compensates } => {
                self.ended.insert(position.as_str().to_owned(), EndedBranch { end, compensates });
            }
            EntryKind::StepEnded { position, result, .. } => {
                self.steps.insert(position.as_str().to_owned(), result);
            }
            EntryKind::Overridden { position, value } => {
                self.overridden.insert(position.as_str().to_owned(), value);
            }
            EntryKind::Log { branch, number, .. } => {
                let log = self.branches.entry(branch.as_str().to_owned()).or_default();
                log.logs = log.logs.max(number);
            }
            EntryKind::Reopened { position, attempt } => self.reopen(&position, attempt),
            EntryKind::Suspended { .. }
            | EntryKind::Resumed
            | EntryKind::Interrupted
            | EntryKind::Migrated { .. }
            | EntryKind::Paused { .. }
            | EntryKind::Ended { .. } => {}
            effect => self.apply_effect(seq, effect),
        }
    }

    fn apply_effect(&mut self, seq: u64, kind: EntryKind) {
        let Some(position) = kind.position().cloned() else {
            return;
        };
        let Some(record) = self.record_mut(&position, seq) else {
            return;
        };
        match kind {
            EntryKind::Intent { operation, class, args, key, noted, source, .. } => {
                record.operation = operation;
                record.class = Some(class);
                record.args = Some(args);
                record.source = source;
                record.intent = Some((key, noted));
                record.outcome = None;
                record.resolution = None;
                record.doubt = false;
                record.reopened = 0;
            }
            EntryKind::Outcome { operation, class, args, result, source, .. } => {
                // After an intent or a wait, those say what was called and where.
                if args.is_some() || record.operation.is_empty() {
                    record.operation = operation;
                    record.source = source;
                    record.class = Some(class);
                    record.args = args;
                }
                record.outcome = Some(result);
                record.wait = None;
                record.doubt = false;
            }
            EntryKind::Wait { operation, args, wait, source, .. } => {
                record.operation = operation;
                record.class = Some(EffectClass::Observe);
                record.args = Some(args);
                record.source = source;
                record.wait = Some(wait);
            }
            EntryKind::Compensation { operation, source, .. } => {
                record.compensates = true;
                if record.operation.is_empty() {
                    record.operation = operation;
                    record.source = source;
                }
            }
            EntryKind::Withdrawn { .. } => record.wait = None,
            EntryKind::Abandoned { .. } => record.abandoned = true,
            EntryKind::Doubt { .. } => record.doubt = true,
            EntryKind::Resolved { resolution, .. } => {
                record.doubt = false;
                record.resolution = Some(resolution);
            }
            _ => {}
        }
    }

    /// The end of a wait, while the run is evaluated.
    pub(crate) fn fulfil(&mut self, position: &Position, result: Result<Payload, OpError>) {
        if let Some(record) = self.record_mut(position, 0) {
            record.wait = None;
            record.outcome = Some(result);
        }
    }

    /// What a cancelled branch leaves behind, given up once: its open waits are withdrawn, effects without an outcome
    /// abandoned.
    pub(crate) fn give_up(&mut self, branch: &Position) -> Vec<EntryKind> {
        let mut entries = Vec::new();
        for (text, log) in &mut self.branches {
            let inner = Position::trusted(text);
            if !inner.is_within(branch) {
                continue;
            }
            for (n, record) in (1_u32..).zip(&mut log.effects) {
                let Some(record) = record.as_mut().filter(|record| record.outcome.is_none()) else {
                    continue;
                };
                let position = inner.effect(n);
                if record.wait.take().is_some() {
                    entries.push(EntryKind::Withdrawn { position });
                } else if record.is_unknown() {
                    record.abandoned = true;
                    entries.push(EntryKind::Abandoned { position });
                }
            }
        }
        entries.sort_by_key(|entry| entry.position().map(|p| p.as_str().to_owned()));
        entries
    }

    /// `runs retry`: the failure at `position` is to be done again, and what it led to no longer stands.
    fn reopen(&mut self, position: &Position, attempt: u32) {
        self.attempt = attempt;
        if let Some(record) = self.record_mut(position, 0) {
            record.outcome = None;
            record.reopened = attempt;
        }
        // The ends of the branches and steps around it were consequences of the failure.
        let inside = |around: &String| position.is_within(&Position::trusted(around));
        self.ended.retain(|around, _| !inside(around));
        self.steps.retain(|around, _| !inside(around));
        let mut around = position.parent();
        while !around.as_str().is_empty() {
            if let Some(Leaf::Branch(n, _)) = around.leaf() {
                // A race or a parallel that had ended by this failure goes on.
                let group = around.parent().effect(n);
                if let Some(record) = self.record_mut(&group, 0) {
                    record.outcome = None;
                }
            }
            around = around.parent();
        }
    }
}
