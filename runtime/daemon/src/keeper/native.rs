//! The journal of a native body: what apply and reconciling do is recorded as a run, like all else.

use hob_journal::{Commit, Journal, RunFilter, Ticket, Write};
use hob_model::{
    EffectClass, Entry, EntryKind, OpError, Payload, Position, RunEnd, RunEntry, RunId, RunStarted,
    RunStatus, Source, Value,
};
use hob_runs::{RunError, Runs};
use std::sync::Mutex;

/// A native run that is under way. It may be used from several threads.
pub(super) struct NativeRun {
    runs: Runs,
    id: RunId,
    /// The number of the next entry; held while one is submitted, so that numbers and order agree.
    next: Mutex<u64>,
}

fn payload(value: &Value, writes: &mut Vec<Write>) -> Payload {
    let (payload, blob) = Payload::of(value);
    if let (Payload::Blob(digest, _), Some(bytes)) = (&payload, blob) {
        writes.push(Write::Blob(*digest, bytes));
    }
    payload
}

impl NativeRun {
    /// Begins a run of the body `name` (`apply`, `keep`). It is durable with what it does first.
    ///
    /// # Errors
    /// When the journal cannot take it.
    pub(super) fn begin(runs: &Runs, name: &str, trigger: &str) -> Result<Self, RunError> {
        runs.journal().may_act()?;
        let id = runs.new_id();
        let started = RunStarted {
            trigger: trigger.to_owned(),
            ..RunStarted::trusted(name, RunEntry::Native(name.to_owned()))
        };
        let run = Self { runs: runs.clone(), id, next: Mutex::new(0) };
        run.submit(vec![EntryKind::Started(started)], vec![]);
        Ok(run)
    }

    fn submit(&self, kinds: Vec<EntryKind>, beside: Vec<Write>) -> Ticket {
        let at = self.runs.now();
        // The end of a run is an event as well.
        let is_event = beside.iter().any(|write| matches!(write, Write::Event { .. }))
            || kinds.iter().any(|kind| matches!(kind, EntryKind::Ended { .. }));
        let mut next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let entries = kinds.into_iter().map(|kind| {
            let seq = *next;
            *next += 1;
            Write::Entry(self.id, Entry { seq, at, kind })
        });
        let writes: Vec<Write> = beside.into_iter().chain(entries).collect();
        let ticket = self.runs.journal().submit(Commit { writes });
        drop(next);
        if is_event {
            self.runs.events_changed_soon();
        }
        ticket
    }

    /// Waits until it is on disk, and all before it.
    fn append(&self, kinds: Vec<EntryKind>, beside: Vec<Write>) -> Result<(), RunError> {
        Ok(self.runs.journal().wait(self.submit(kinds, beside))?)
    }

    /// The key of the effect at a position.
    #[must_use]
    pub(super) fn key(&self, position: &Position) -> String {
        self.id.effect_key(position)
    }

    /// Carries out a `keyed` effect: its intent is durable before `act` is called with the key, its outcome after it,
    /// in one commit with the writes that `act` gives.
    ///
    /// # Errors
    /// What `act` failed with, or that the journal cannot be written; then nothing was done.
    pub(super) fn effect<T>(
        &self,
        position: &Position,
        operation: &str,
        args: &Value,
        act: impl FnOnce(&str) -> Result<(T, Value, Vec<Write>), OpError>,
    ) -> Result<T, OpError> {
        self.carry_out(position, operation, args, act, |_| None)
    }

    /// As [`NativeRun::effect`], of the only effect of a run, which ends with it in the commit of its outcome.
    ///
    /// # Errors
    /// As there.
    pub(super) fn only_effect<T>(
        self,
        position: &Position,
        operation: &str,
        args: &Value,
        act: impl FnOnce(&str) -> Result<(T, Value, Vec<Write>), OpError>,
    ) -> Result<T, OpError> {
        self.carry_out(position, operation, args, act, |error| {
            Some(ended(error.map_or(RunEnd::Succeeded(Value::Unit), |error| RunEnd::Failed(error.clone()))))
        })
    }

    fn carry_out<T>(
        &self,
        position: &Position,
        operation: &str,
        args: &Value,
        act: impl FnOnce(&str) -> Result<(T, Value, Vec<Write>), OpError>,
        then: impl Fn(Option<&OpError>) -> Option<EntryKind>,
    ) -> Result<T, OpError> {
        let key = self.key(position);
        let mut beside = vec![];
        let intent = EntryKind::Intent {
            position: position.clone(),
            operation: operation.to_owned(),
            class: EffectClass::Keyed,
            args: payload(args, &mut beside),
            key: key.clone(),
            noted: payload(&Value::Unit, &mut vec![]),
            source: Source::default(),
        };
        let unwritten = |error: RunError| OpError::unavailable(error.to_string()).nothing_happened();
        self.append(vec![intent], beside).map_err(unwritten)?;
        let (result, kept, mut writes) = match act(&key) {
            Ok((kept, value, writes)) => (Ok(value), Ok(kept), writes),
            Err(error) => (Err(error.clone()), Err(error), vec![]),
        };
        let end = then(kept.as_ref().err());
        let outcome = EntryKind::Outcome {
            position: position.clone(),
            operation: operation.to_owned(),
            class: EffectClass::Keyed,
            args: None,
            result: result.map(|value| payload(&value, &mut writes)),
            source: Source::default(),
        };
        self.append([outcome].into_iter().chain(end).collect(), writes).map_err(unwritten)?;
        kept
    }

    /// Records what came of an effect that needs no intent.
    ///
    /// # Errors
    /// When the journal cannot take it.
    pub(super) fn outcome(
        &self,
        position: &Position,
        operation: &str,
        class: EffectClass,
        result: Result<Value, OpError>,
    ) -> Result<(), RunError> {
        let mut beside = vec![];
        let outcome = EntryKind::Outcome {
            position: position.clone(),
            operation: operation.to_owned(),
            class,
            args: Some(payload(&Value::Array(vec![]), &mut beside)),
            result: result.map(|value| payload(&value, &mut beside)),
            source: Source::default(),
        };
        self.append(vec![outcome], beside)
    }

    /// Ends the run.
    pub(super) fn end(self, end: RunEnd) {
        if let Err(error) = self.append(vec![ended(end)], vec![]) {
            tracing::error!(run = %self.id, %error, "the end of a native run cannot be recorded");
        }
    }
}

fn ended(end: RunEnd) -> EntryKind {
    EntryKind::Ended { end, failed_at: None, compensated: false }
}

/// Ends native runs that a previous process left: a native run is not replayed. Whether its open effects happened is
/// seen in the world, which a new plan is made from.
///
/// # Errors
/// When the journal cannot be read or written.
pub(super) fn settle_previous(runs: &Runs) -> Result<usize, RunError> {
    let filter = RunFilter { status: vec![RunStatus::Queued, RunStatus::Running], ..RunFilter::default() };
    let left: Vec<_> = runs.journal().runs(&filter)?.into_iter().filter(|row| row.bundle.is_none()).collect();
    for row in &left {
        let entries = runs.journal().entries(row.run, 0, usize::MAX)?;
        let open = open_intents(&entries).into_iter().map(|position| EntryKind::Abandoned { position });
        let error = OpError::failed(
            "superseded: hob ended before it did, and a new plan is made from what is observed",
        );
        let end = ended(RunEnd::Failed(error));
        let at = runs.now();
        let writes = (row.entries..)
            .zip(open.chain([end]))
            .map(|(seq, kind)| Write::Entry(row.run, Entry { seq, at, kind }));
        runs.journal().submit(writes.collect());
    }
    runs.journal().flush()?;
    Ok(left.len())
}

fn open_intents(entries: &[Entry]) -> Vec<Position> {
    let mut open: Vec<Position> = Vec::new();
    for entry in entries {
        match &entry.kind {
            EntryKind::Intent { position, .. } => open.push(position.clone()),
            EntryKind::Outcome { position, .. } => open.retain(|known| known != position),
            _ => {}
        }
    }
    open
}

/// The fact that keeps what is known about a service.
#[must_use]
pub(super) fn service_fact(name: &str) -> String {
    format!("service/{name}")
}

/// The facts about services: by name.
///
/// # Errors
/// When the journal cannot be read.
pub(super) fn service_facts(
    journal: &dyn Journal,
) -> Result<Vec<(String, Value)>, hob_journal::JournalError> {
    let facts = journal.facts("service/")?;
    Ok(facts
        .into_iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("service/")?.to_owned(), value)))
        .collect())
}
