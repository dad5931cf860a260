//! Entries as JSON, for people and other programs. Nothing reads it back.

use bytes::Bytes;
use hob_model::{
    BranchEnd, Digest, Entry, EntryKind, OpError, Payload, Position, Resolution, RunEnd, RunEntry, RunId,
    RunStarted, Source, Value, Wait,
};
use serde_json::{Map, Value as Json, json};

/// One entry: `run`, `seq`, `at`, `kind`, and the fields of its kind under the names of [`EntryKind`]. Values
/// stand where the entry has them, also those that `blob` has to fetch; one that is not there is
/// `{"missing_blob": DIGEST}`.
#[must_use]
pub fn entry(run: RunId, entry: &Entry, blob: impl FnMut(Digest) -> Option<Bytes>) -> Json {
    let mut line = Line { fields: Map::new(), blob };
    line.text("run", run);
    line.put("seq", entry.seq.into());
    line.text("at", entry.at);
    line.kind(&entry.kind);
    Json::Object(line.fields)
}

struct Line<B> {
    fields: Map<String, Json>,
    blob: B,
}

impl<B: FnMut(Digest) -> Option<Bytes>> Line<B> {
    fn put(&mut self, name: &str, value: Json) {
        self.fields.insert(name.to_owned(), value);
    }

    fn text(&mut self, name: &str, value: impl ToString) {
        self.put(name, Json::String(value.to_string()));
    }

    fn payload(&mut self, name: &str, payload: &Payload) {
        let json = match payload {
            Payload::Inline(bytes) => decoded(bytes),
            Payload::Blob(digest, _) => match (self.blob)(*digest) {
                Some(bytes) => decoded(&bytes),
                None => json!({ "missing_blob": digest.to_string() }),
            },
        };
        self.put(name, json);
    }

    fn result(&mut self, result: &Result<Payload, OpError>) {
        match result {
            Ok(payload) => self.payload("value", payload),
            Err(error) => self.put("error", error_json(error)),
        }
    }

    fn source(&mut self, source: &Source) {
        if source.line > 0 {
            self.text("source", source);
        }
    }

    fn at(&mut self, kind: &str, position: &Position) {
        self.text("kind", kind);
        self.text("position", position);
    }

    fn kind(&mut self, kind: &EntryKind) {
        match kind {
            EntryKind::Started(started) => self.started(started),
            EntryKind::Intent { position, operation, class, args, key, noted, source } => {
                self.at("intent", position);
                self.text("operation", operation);
                self.text("class", class);
                self.payload("args", args);
                self.text("key", key);
                self.payload("noted", noted);
                self.source(source);
            }
            EntryKind::Outcome { position, operation, class, args, result, source } => {
                self.at("outcome", position);
                self.text("operation", operation);
                self.text("class", class);
                if let Some(args) = args {
                    self.payload("args", args);
                }
                self.result(result);
                self.source(source);
            }
            EntryKind::Wait { position, operation, args, wait, source } => {
                self.at("wait", position);
                self.text("operation", operation);
                self.payload("args", args);
                self.put("wait", wait_json(wait));
                self.source(source);
            }
            EntryKind::BranchEnded { position, end, compensates } => {
                self.at("branch_ended", position);
                match end {
                    BranchEnd::Value(value) => self.payload("value", value),
                    BranchEnd::Error(error) => self.put("error", error_json(error)),
                    BranchEnd::Cancelled => self.put("cancelled", true.into()),
                }
                self.put("compensates", (*compensates).into());
            }
            EntryKind::StepEnded { position, result, source } => {
                self.at("step_ended", position);
                self.result(result);
                self.source(source);
            }
            EntryKind::Log { branch, number, level, message, source } => {
                self.text("kind", "log");
                self.text("branch", branch);
                self.put("number", (*number).into());
                self.text("level", level);
                self.text("message", message);
                self.source(source);
            }
            EntryKind::Ended { end, failed_at, compensated } => {
                self.text("kind", "ended");
                self.end(end);
                if let Some(position) = failed_at {
                    self.text("failed_at", position);
                }
                self.put("compensated", (*compensated).into());
            }
            other => self.small(other),
        }
    }

    /// The kinds with few fields.
    fn small(&mut self, kind: &EntryKind) {
        match kind {
            EntryKind::Withdrawn { position } => self.at("withdrawn", position),
            EntryKind::Abandoned { position } => self.at("abandoned", position),
            EntryKind::Compensation { position, operation, always, source } => {
                self.at("compensation", position);
                self.put("operation", operation.as_str().into());
                self.put("always", (*always).into());
                self.source(source);
            }
            EntryKind::Doubt { position } => self.at("doubt", position),
            EntryKind::Resolved { position, resolution, by } => {
                self.at("resolved", position);
                match resolution {
                    Resolution::Retry => self.text("resolution", "retry"),
                    Resolution::Skip => self.text("resolution", "skip"),
                    Resolution::Fail => self.text("resolution", "fail"),
                    Resolution::Result(value) => {
                        self.text("resolution", "result");
                        self.payload("value", value);
                    }
                }
                self.text("by", by);
            }
            EntryKind::Reopened { position, attempt } => {
                self.at("reopened", position);
                self.put("attempt", (*attempt).into());
            }
            EntryKind::Overridden { position, value } => {
                self.at("overridden", position);
                self.payload("value", value);
            }
            EntryKind::Paused { position, message } => {
                self.at("paused", position);
                self.text("message", message);
            }
            EntryKind::CancelRequested { reason } => {
                self.text("kind", "cancel_requested");
                self.text("reason", reason);
            }
            EntryKind::Suspended { status } => {
                self.text("kind", "suspended");
                self.text("status", status);
            }
            EntryKind::Migrated { bundle } => {
                self.text("kind", "migrated");
                self.text("bundle", bundle);
            }
            EntryKind::Captured { bundle, values } => {
                self.text("kind", "captured");
                self.text("bundle", bundle);
                self.text("values", values);
            }
            EntryKind::Resumed => self.text("kind", "resumed"),
            EntryKind::Interrupted => self.text("kind", "interrupted"),
            EntryKind::Started(_)
            | EntryKind::Intent { .. }
            | EntryKind::Outcome { .. }
            | EntryKind::Wait { .. }
            | EntryKind::BranchEnded { .. }
            | EntryKind::StepEnded { .. }
            | EntryKind::Log { .. }
            | EntryKind::Ended { .. } => unreachable!("these have many fields and were handled before"),
        }
    }

    fn started(&mut self, it: &RunStarted) {
        self.text("kind", "started");
        self.text("name", &it.name);
        let entry = match &it.entry {
            RunEntry::Playbook(path) => json!({ "playbook": path }),
            RunEntry::Declared { kind, name } => json!({ "kind": kind, "name": name }),
            RunEntry::Native(name) => json!({ "native": name }),
        };
        self.put("entry", entry);
        if let Some(bundle) = it.bundle {
            self.text("bundle", bundle);
        }
        self.put("input", value_json(&it.input));
        self.text("owner", it.owner);
        if let Some((run, position)) = &it.parent {
            self.put("parent", json!({ "run": run.to_string(), "position": position.as_str() }));
        }
        self.text("cwd", &it.cwd);
        self.put(
            "env",
            it.env.iter().map(|(name, value)| (name.clone(), Json::from(value.as_str()))).collect(),
        );
        self.put("allow", json!(it.allow));
        self.put("deny", json!(it.deny));
        self.put("trusted", it.trusted.into());
        self.text("on_doubt", it.on_doubt.as_str());
        self.text("trigger", &it.trigger);
    }

    fn end(&mut self, end: &RunEnd) {
        self.text("status", end.status());
        match end {
            RunEnd::Succeeded(value) => self.put("value", value_json(value)),
            RunEnd::Failed(error) => self.put("error", error_json(error)),
            RunEnd::Cancelled => {}
            RunEnd::Carried(successor) => self.text("successor", successor),
        }
    }
}

fn decoded(bytes: &[u8]) -> Json {
    match Value::decode(bytes) {
        Ok(value) => value_json(&value),
        Err(error) => json!({ "undecodable": error.to_string() }),
    }
}

/// NaN and infinities have no JSON form; a value that holds one says so instead.
fn value_json(value: &Value) -> Json {
    value.to_json().unwrap_or_else(|error| json!({ "not_json": error.to_string() }))
}

fn error_json(error: &OpError) -> Json {
    value_json(&error.to_value())
}

fn wait_json(wait: &Wait) -> Json {
    let mut json = json!({ "for": wait.kind() });
    let mut put = |name: &str, value: Json| json[name] = value;
    if let Some(due) = wait.due() {
        put("due", due.to_string().into());
    }
    match wait {
        Wait::Until(_) => {}
        Wait::Signal { name, .. } => put("name", name.as_str().into()),
        Wait::Event { pattern, filter, after, .. } => {
            put("pattern", pattern.as_str().into());
            put("filter", value_json(filter));
            put("after", (*after).into());
        }
        Wait::Approval { prompt, .. } => put("prompt", prompt.as_str().into()),
        Wait::Run(run) => put("run", run.to_string().into()),
    }
    json
}
