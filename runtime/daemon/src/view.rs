//! Runs, entries, events and problems as the JSON that the API answers and `--json` prints.
//!
//! Pure functions from rows and entries, so that a command that opens the journal itself says the same as the API.

use bytes::Bytes;
use hob_journal::{EventRow, RunRow};
use hob_model::{
    Code, Diagnostic, Digest, Entry, EntryKind, EntryStatus, Level, OpError, RunEnd, Source, Span, Value,
};
use hob_primitive::{Family, Sample};
use serde_json::{Value as Json, json};

mod fold;

pub use fold::{EffectView, effects};

/// A run in lists: `run name kind status created updated attempt`, and `parent` where it has one.
#[must_use]
pub fn run_view(row: &RunRow) -> Json {
    let mut view = json!({
        "run": row.run.to_string(),
        "name": row.name,
        "kind": row.kind,
        "status": row.status.as_str(),
        "created": row.created.to_string(),
        "updated": row.updated.to_string(),
        "attempt": row.attempt,
    });
    if let Some(parent) = row.parent {
        view["parent"] = Json::String(parent.to_string());
    }
    view
}

/// As [`run_view`], with `output` and `error` (null where there is none), and the `successor` of a run that carried on.
#[must_use]
pub fn run_summary(row: &RunRow) -> Json {
    let mut view = run_view(row);
    let (output, error) = match &row.end {
        Some(RunEnd::Succeeded(value)) => (value_json(value), Json::Null),
        Some(RunEnd::Failed(error)) => (Json::Null, error_json(error)),
        Some(RunEnd::Cancelled | RunEnd::Carried(_)) | None => (Json::Null, Json::Null),
    };
    view["output"] = output;
    view["error"] = error;
    if let Some(RunEnd::Carried(successor)) = &row.end {
        view["successor"] = Json::String(successor.to_string());
    }
    view
}

/// Numbers of one name: `name help kind samples`, each sample with its `labels` and its `value`.
#[must_use]
pub fn family_view(family: &Family) -> Json {
    let sample = |it: &Sample| {
        let labels: Json = it.labels.iter().map(|(label, value)| (*label, value.as_str())).collect();
        json!({ "labels": labels, "value": it.value })
    };
    json!({
        "name": family.name,
        "help": family.help,
        "kind": family.kind.as_str(),
        "samples": family.samples.iter().map(sample).collect::<Json>(),
    })
}

/// Everything about a run: [`run_summary`], what it was started with, its `entries` (see [`effects`]) and its `logs`.
///
/// `blob` fetches large values; one that is not there is shown as `{"missing_blob": DIGEST}`.
#[must_use]
pub fn run_detail(row: &RunRow, entries: &[Entry], mut blob: impl FnMut(Digest) -> Option<Bytes>) -> Json {
    let mut view = run_summary(row);
    if let Some(EntryKind::Started(started)) = entries.first().map(|entry| &entry.kind) {
        view["input"] = value_json(&started.input);
        view["trigger"] = Json::String(started.trigger.clone());
        view["cwd"] = Json::String(started.cwd.clone());
        view["tags"] = started.tags.as_slice().into();
        if let Some(until) = &started.until {
            view["until"] = Json::String(until.clone());
        }
    }
    let paused = entries.iter().rev().find_map(|entry| match &entry.kind {
        EntryKind::Paused { position, message } => Some((position, message)),
        _ => None,
    });
    if let (hob_model::RunStatus::Paused, Some((position, message))) = (row.status, paused) {
        view["paused"] = json!({ "position": position.as_str(), "message": message });
    }
    view["entries"] = effects(entries).iter().map(|effect| effect.json(&mut blob)).collect();
    view["logs"] = entries.iter().filter_map(log_view).collect();
    view
}

/// Adds `living` to each effect in doubt of [`run_detail`]: the ids of processes that it started and that live.
/// `living` finds them by the effect's key.
pub fn name_living(detail: &mut Json, living: impl Fn(&str) -> Vec<u32>) {
    for entry in detail["entries"].as_array_mut().into_iter().flatten() {
        if entry["status"] == EntryStatus::InDoubt.as_str() {
            entry["living"] = entry["key"].as_str().map(&living).unwrap_or_default().into();
        }
    }
}

/// A line of a run's log: `seq at level message branch source`; `None` for entries that are no line.
#[must_use]
pub fn log_view(entry: &Entry) -> Option<Json> {
    match &entry.kind {
        EntryKind::Log { branch, level, message, source, .. } => Some(json!({
            "seq": entry.seq,
            "at": entry.at.to_string(),
            "level": level,
            "message": message,
            "branch": branch.as_str(),
            "source": source_json(source),
        })),
        _ => None,
    }
}

/// An event of the bus: `id name payload origin at`.
#[must_use]
pub fn event_view(row: &EventRow) -> Json {
    json!({
        "id": row.id,
        "name": row.name,
        "payload": value_json(&row.payload),
        "origin": row.origin,
        "at": row.at.to_string(),
    })
}

/// A value as JSON. NaN and infinities have no JSON form: a value that holds one says so instead.
#[must_use]
pub fn value_json(value: &Value) -> Json {
    value.to_json().unwrap_or_else(|error| json!({ "not_json": error.to_string() }))
}

/// An error of an operation as JSON, with the fields that a script sees.
#[must_use]
pub fn error_json(error: &OpError) -> Json {
    value_json(&error.to_value())
}

/// `file:line:column`; null when the line is not known.
fn source_json(source: &Source) -> Json {
    if source.line == 0 { Json::Null } else { Json::String(source.to_string()) }
}

/// A problem as JSON: `code level message hint notes spans`.
#[must_use]
pub fn problem_json(problem: &Diagnostic) -> Json {
    let span = |span: &Span| {
        json!({
            "file": &*span.source.file,
            "line": span.source.line,
            "column": span.source.column,
            "len": span.len,
            "label": span.label,
        })
    };
    json!({
        "code": problem.code.as_str(),
        "level": problem.level.to_string(),
        "message": problem.message,
        "hint": problem.hint,
        "notes": problem.notes,
        "spans": problem.spans.iter().map(span).collect::<Json>(),
    })
}

/// Reads [`problem_json`]; `None` when it is something else.
#[must_use]
pub fn problem_of(json: &Json) -> Option<Diagnostic> {
    let text = |json: &Json, key: &str| json.get(key).and_then(Json::as_str).map(str::to_owned);
    let number = |json: &Json, key: &str| {
        json.get(key).and_then(Json::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
    };
    let list = |key: &str| json.get(key).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut problem = Diagnostic::error(Code::parse(&text(json, "code")?)?, text(json, "message")?);
    problem.level = match text(json, "level").as_deref() {
        Some("note") => Level::Note,
        Some("warning") => Level::Warning,
        _ => Level::Error,
    };
    problem.hint = text(json, "hint");
    problem.notes = list("notes").iter().filter_map(Json::as_str).map(str::to_owned).collect();
    problem.spans = list("spans")
        .iter()
        .map(|span| Span {
            source: Source {
                file: text(span, "file").unwrap_or_default().into(),
                line: number(span, "line"),
                column: number(span, "column"),
            },
            len: number(span, "len").max(1),
            label: text(span, "label").unwrap_or_default(),
        })
        .collect();
    Some(problem)
}
