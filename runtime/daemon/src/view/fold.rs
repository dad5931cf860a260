//! The entries of a run, folded into one view per position.

use std::collections::HashMap;

use bytes::Bytes;
use hob_model::position::Leaf;
use hob_model::{
    BranchEnd, Digest, EffectClass, Entry, EntryKind, EntryStatus, ErrorKind, OpError, Payload, Position,
    Resolution, Source, Timestamp, Value, Wait,
};
use serde_json::{Value as Json, json};

use super::{error_json, source_json, value_json};

/// What stands at one position of a run: an effect, a control, a step or a branch.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectView {
    /// The number of its first entry.
    pub seq: u64,
    /// Where.
    pub position: Position,
    /// The full name of the operation: `files::write`, `sleep`, `step`, `branch`.
    pub operation: String,
    /// Its class; `pure` for steps and branches, which only group.
    pub class: EffectClass,
    /// Where it stands.
    pub status: EntryStatus,
    /// The arguments, as an array.
    pub args: Option<Payload>,
    /// What came of it.
    pub result: Option<Payload>,
    /// Why it failed.
    pub error: Option<OpError>,
    /// What it waits for.
    pub wait: Option<Wait>,
    /// Its idempotency key; empty where there is none.
    pub key: String,
    /// The line of the script.
    pub source: Source,
    /// When its first entry was recorded.
    pub begun: Timestamp,
    /// When its last entry was recorded.
    pub updated: Timestamp,
}

impl EffectView {
    /// `seq position primitive operation class status result error source`, and `args begun updated`; `key` where it
    /// has one; `wait` while it waits. `blob` fetches large values.
    pub(super) fn json(&self, blob: &mut impl FnMut(Digest) -> Option<Bytes>) -> Json {
        let (primitive, operation) = hob_model::effect::split_operation(&self.operation);
        let mut payload = |payload: &Option<Payload>| match payload {
            None => Json::Null,
            Some(Payload::Inline(bytes)) => decoded(bytes),
            Some(Payload::Blob(digest, _)) => match blob(*digest) {
                Some(bytes) => decoded(&bytes),
                None => json!({ "missing_blob": digest.to_string() }),
            },
        };
        let mut view = json!({
            "seq": self.seq,
            "position": self.position.as_str(),
            "primitive": primitive,
            "operation": operation,
            "class": self.class.as_str(),
            "status": self.status.as_str(),
            "result": payload(&self.result),
            "error": self.error.as_ref().map_or(Json::Null, error_json),
            "source": source_json(&self.source),
            "args": payload(&self.args),
            "begun": self.begun.to_string(),
            "updated": self.updated.to_string(),
            "duration_ms": self.duration_ms(),
        });
        if !self.key.is_empty() {
            view["key"] = Json::String(self.key.clone());
        }
        if let (EntryStatus::Pending, Some(wait)) = (self.status, &self.wait) {
            let due = wait.due().map(|due| due.to_string());
            let what = match wait {
                Wait::Approval { prompt, .. } => prompt.clone(),
                other => other.key(),
            };
            view["wait"] = json!({ "for": wait.kind(), "what": what, "due": due });
        }
        view
    }

    /// From its first entry to its last; none while its outcome is to come.
    fn duration_ms(&self) -> Option<f64> {
        let micros = self.updated.duration_since(self.begun).as_micros();
        (self.status != EntryStatus::Pending).then_some(micros as f64 / 1e3)
    }

    fn settle(&mut self, status: EntryStatus) -> &mut Self {
        self.status = status;
        self.result = None;
        self.error = None;
        self
    }

    fn succeed(&mut self, value: Payload) {
        self.settle(EntryStatus::Succeeded).result = Some(value);
    }

    fn fail(&mut self, error: OpError) {
        let cancelled = error.kind == ErrorKind::Cancelled;
        let status = if cancelled { EntryStatus::Cancelled } else { EntryStatus::Failed };
        self.settle(status).error = Some(error);
    }
}

/// The views of all positions, in the order in which they began.
#[must_use]
pub fn effects(entries: &[Entry]) -> Vec<EffectView> {
    let mut fold = Fold::default();
    for entry in entries {
        if let Some(position) = entry.kind.position() {
            fold.apply(entry, position);
        }
    }
    fold.views
}

#[derive(Default)]
struct Fold {
    views: Vec<EffectView>,
    by_position: HashMap<Position, usize>,
}

impl Fold {
    /// The view at a position, made when it is missing.
    fn at(&mut self, entry: &Entry, position: &Position) -> &mut EffectView {
        let next = self.views.len();
        let index = *self.by_position.entry(position.clone()).or_insert(next);
        if index == next {
            self.views.push(EffectView {
                seq: entry.seq,
                position: position.clone(),
                operation: String::new(),
                class: EffectClass::Pure,
                status: EntryStatus::Pending,
                args: None,
                result: None,
                error: None,
                wait: None,
                key: String::new(),
                source: Source::default(),
                begun: entry.at,
                updated: entry.at,
            });
        }
        let view = &mut self.views[index];
        view.updated = entry.at;
        view
    }

    fn apply(&mut self, entry: &Entry, position: &Position) {
        match &entry.kind {
            EntryKind::Reopened { .. } => self.reopen(position),
            // It tells of the run's life; what was recorded at the position stands.
            EntryKind::Paused { .. } => {}
            EntryKind::Intent { operation, class, args, key, source, .. } => {
                let view = self.at(entry, position).settle(EntryStatus::Pending);
                view.operation.clone_from(operation);
                view.class = *class;
                view.args = Some(args.clone());
                view.key.clone_from(key);
                view.source = source.clone();
            }
            EntryKind::Wait { operation, args, wait, source, .. } => {
                let view = self.at(entry, position).settle(EntryStatus::Pending);
                view.operation.clone_from(operation);
                view.class = EffectClass::Observe;
                view.args = Some(args.clone());
                view.wait = Some(wait.clone());
                view.source = source.clone();
            }
            EntryKind::Outcome { operation, class, args, result, source, .. } => {
                let view = self.at(entry, position);
                // After an intent or a wait, those say what was called and where.
                if args.is_some() || view.operation.is_empty() {
                    view.operation.clone_from(operation);
                    view.class = *class;
                    view.args.clone_from(args);
                    view.source = source.clone();
                }
                match result {
                    Ok(value) => view.succeed(value.clone()),
                    Err(error) => view.fail(error.clone()),
                }
            }
            _ => self.apply_rest(entry, position),
        }
    }

    fn apply_rest(&mut self, entry: &Entry, position: &Position) {
        let view = self.at(entry, position);
        match &entry.kind {
            EntryKind::Withdrawn { .. } => drop(view.settle(EntryStatus::Cancelled)),
            EntryKind::Abandoned { .. } => drop(view.settle(EntryStatus::Abandoned)),
            EntryKind::Doubt { .. } => drop(view.settle(EntryStatus::InDoubt)),
            EntryKind::Compensation { operation, source, .. } if view.operation.is_empty() => {
                view.operation.clone_from(operation);
                view.class = EffectClass::Observe;
                view.source = source.clone();
                // A registration is all that these two themselves do.
                if matches!(operation.as_str(), "undo" | "finally") {
                    view.succeed(unit());
                }
            }
            EntryKind::StepEnded { result, source, .. } => {
                "step".clone_into(&mut view.operation);
                view.source = source.clone();
                match result {
                    Ok(value) => view.succeed(value.clone()),
                    Err(error) => view.fail(error.clone()),
                }
            }
            EntryKind::BranchEnded { end, .. } => {
                "branch".clone_into(&mut view.operation);
                match end {
                    BranchEnd::Value(value) => view.succeed(value.clone()),
                    BranchEnd::Error(error) => view.fail(error.clone()),
                    BranchEnd::Cancelled => drop(view.settle(EntryStatus::Cancelled)),
                }
            }
            EntryKind::Overridden { value, .. } => {
                "override".clone_into(&mut view.operation);
                view.succeed(value.clone());
            }
            EntryKind::Resolved { resolution, .. } => match resolution {
                Resolution::Retry => drop(view.settle(EntryStatus::Pending)),
                Resolution::Skip => view.settle(EntryStatus::Skipped).result = Some(unit()),
                Resolution::Result(value) => view.succeed(value.clone()),
                Resolution::Fail => {
                    let mut error = OpError::failed("its outcome is unknown, and `on_doubt` says fail");
                    error.operation.clone_from(&view.operation);
                    error.position = Some(position.clone());
                    view.fail(error.retryable(false));
                }
            },
            _ => {}
        }
    }

    /// `runs retry`: the failure is to be done again, and the ends of what stands around it no longer count.
    fn reopen(&mut self, position: &Position) {
        let mut around = position.clone();
        while !around.as_str().is_empty() {
            self.pend(&around);
            if let Some(Leaf::Branch(n, _)) = around.leaf() {
                self.pend(&around.parent().effect(n));
            }
            around = around.parent();
        }
    }

    fn pend(&mut self, position: &Position) {
        if let Some(index) = self.by_position.get(position) {
            self.views[*index].settle(EntryStatus::Pending);
        }
    }
}

fn unit() -> Payload {
    Payload::of(&Value::Unit).0
}

fn decoded(bytes: &[u8]) -> Json {
    match Value::decode(bytes) {
        Ok(value) => value_json(&value),
        Err(error) => json!({ "undecodable": error.to_string() }),
    }
}
