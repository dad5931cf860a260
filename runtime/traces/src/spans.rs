//! From the entries of a run to spans: pure.

use std::collections::HashSet;
use std::time::SystemTime;

use hob_daemon::view::{EffectView, effects};
use hob_journal::RunRow;
use hob_model::{Digest, Entry, EntryKind, EntryStatus, Position, RunEnd, RunId, Timestamp};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// The most spans of one run: what it did first.
pub const SPANS_MAX: usize = 5_000;

/// The span of a run that began another one: the run at the root of all, the parent, and where in it.
#[derive(Clone, Debug)]
pub struct Ancestry {
    /// The run that nobody began; its id is that of the trace.
    pub root: RunId,
    /// The run that began this one, and the position of the call; none for the root.
    pub parent: Option<(RunId, Position)>,
}

/// The spans of a run that has ended: its own first, then those of what it did, in the order in which it began.
#[must_use]
pub fn spans(row: &RunRow, entries: &[Entry], of: &Ancestry) -> Vec<SpanData> {
    let effects = effects(entries);
    let trace = TraceId::from_bytes(*of.root.0.as_bytes());
    let parent = of.parent.as_ref().map(|(run, position)| id(*run, position));
    let mut all = vec![of_run(row, entries, trace, parent, effects.len())];
    let known: HashSet<&Position> = effects.iter().map(|it| &it.position).collect();
    for effect in effects.iter().take(SPANS_MAX - 1) {
        let mut above = effect.position.parent();
        while above != Position::root() && !known.contains(&above) {
            above = above.parent();
        }
        all.push(of_effect(row.run, effect, trace, id(row.run, &above)));
    }
    all
}

/// The id of the span at a position of a run; that of the run itself at its root.
fn id(run: RunId, position: &Position) -> SpanId {
    let digest = Digest::of(format!("{run}/{}", position.as_str()).as_bytes()).to_string();
    SpanId::from_hex(&digest[..16]).unwrap_or(SpanId::INVALID)
}

fn of_run(
    row: &RunRow,
    entries: &[Entry],
    trace: TraceId,
    parent: Option<SpanId>,
    effects: usize,
) -> SpanData {
    let mut attributes = vec![
        KeyValue::new("hob.run", row.run.to_string()),
        KeyValue::new("hob.run.kind", row.kind.clone()),
        KeyValue::new("hob.run.status", row.status.as_str()),
        KeyValue::new("hob.run.attempt", i64::from(row.attempt)),
        KeyValue::new("hob.run.effects", i64::try_from(effects).unwrap_or(i64::MAX)),
    ];
    if let Some(EntryKind::Started(started)) = entries.first().map(|entry| &entry.kind) {
        attributes.push(KeyValue::new("hob.run.trigger", started.trigger.clone()));
    }
    let status = match &row.end {
        Some(RunEnd::Failed(error)) => Status::error(format!("{}: {}", error.kind, error.operation)),
        Some(RunEnd::Succeeded(_)) => Status::Ok,
        _ => Status::Unset,
    };
    SpanData {
        parent_span_id: parent.unwrap_or(SpanId::INVALID),
        status,
        attributes,
        ..span(trace, id(row.run, &Position::root()), row.name.clone(), (row.created, row.updated))
    }
}

fn of_effect(run: RunId, effect: &EffectView, trace: TraceId, parent: SpanId) -> SpanData {
    let mut attributes = vec![
        KeyValue::new("hob.position", effect.position.as_str().to_owned()),
        KeyValue::new("hob.class", effect.class.as_str()),
        KeyValue::new("hob.status", effect.status.as_str()),
        KeyValue::new("code.file.path", effect.source.file.to_string()),
        KeyValue::new("code.line.number", i64::from(effect.source.line)),
    ];
    let status = match (effect.status, &effect.error) {
        (EntryStatus::Succeeded, _) => Status::Ok,
        (_, Some(error)) => {
            attributes.push(KeyValue::new("error.type", error.kind.as_str()));
            Status::error(error.kind.as_str())
        }
        _ => Status::Unset,
    };
    let times = (effect.begun, effect.updated);
    SpanData {
        parent_span_id: parent,
        status,
        attributes,
        ..span(trace, id(run, &effect.position), effect.operation.clone(), times)
    }
}

fn span(trace: TraceId, id: SpanId, name: String, (begun, ended): (Timestamp, Timestamp)) -> SpanData {
    SpanData {
        span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: name.into(),
        start_time: SystemTime::from(begun),
        end_time: SystemTime::from(ended),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("hob").build(),
    }
}
