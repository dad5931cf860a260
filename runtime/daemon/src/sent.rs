//! Sources that one process sends to another: `{ root, origin, host, files: { PATH: TEXT } }`.
//!
//! A playbook that the process with the state directory is to run, and the sources that a run is to be moved to, both
//! travel so.

use std::collections::BTreeMap;

use hob_engine::{Bundle, Loader};
use hob_model::{Code, Diagnostic};
use hob_primitive::Registry;
use serde_json::{Map, Value as Json, json};

/// Problems that are told in one answer.
const PROBLEMS_MAX: usize = 20;

/// The fields that stand for a bundle.
#[must_use]
pub fn to_json(bundle: &Bundle) -> Map<String, Json> {
    let files: Map<String, Json> =
        bundle.files().map(|(path, text)| (path.to_owned(), Json::from(&**text))).collect();
    let record = &bundle.record;
    let fields = [
        ("root", json!(record.root)),
        ("origin", json!(record.origin)),
        ("host", json!(record.host)),
        ("files", Json::Object(files)),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Reads [`to_json`]; other fields are somebody else's.
///
/// # Errors
/// Every field that is missing or wrong; then every problem of the sources.
pub fn read(json: &Map<String, Json>, registry: &Registry) -> Result<Bundle, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut text = |key: &str| text(json, key, &mut problems);
    let (root, origin, host) = (text("root"), text("origin"), text("host"));
    let sent = Sent::read(json, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    Bundle::collect(&root, &origin, &host, &sent, registry)
}

/// The text at `key`; empty, and a problem, when there is none.
pub(crate) fn text(json: &Map<String, Json>, key: &str, problems: &mut Vec<Diagnostic>) -> String {
    match json.get(key).map(Json::as_str) {
        Some(Some(text)) => return text.to_owned(),
        Some(None) => problems.push(malformed(&format!("`{key}` is no text"))),
        None => problems.push(malformed(&format!("`{key}` is missing"))),
    }
    String::new()
}

pub(crate) fn malformed(what: &str) -> Diagnostic {
    Diagnostic::error(Code::Usage, format!("what was sent is malformed: {what}"))
}

/// All problems as one: the first, and what else there is as its notes.
pub(crate) fn in_one(problems: Vec<Diagnostic>) -> Diagnostic {
    let more = problems.len().saturating_sub(PROBLEMS_MAX);
    let mut problems = problems.into_iter();
    let first = problems.next().unwrap_or_else(|| malformed("there are no sources"));
    let told = problems.take(PROBLEMS_MAX - 1).fold(first, |first, next| first.note(next.to_string()));
    if more > 0 { told.note(format!("and {more} more problems")) } else { told }
}

/// The files that came along.
struct Sent(BTreeMap<String, String>);

impl Sent {
    fn read(json: &Map<String, Json>, problems: &mut Vec<Diagnostic>) -> Self {
        let Some(files) = json.get("files").and_then(Json::as_object) else {
            problems.push(malformed("`files` is missing, a map of texts"));
            return Self(BTreeMap::new());
        };
        let mut sent = BTreeMap::new();
        for (path, text) in files {
            match text.as_str() {
                Some(text) => drop(sent.insert(path.clone(), text.to_owned())),
                None => problems.push(malformed(&format!("the file `{path}` is no text"))),
            }
        }
        Self(sent)
    }
}

impl Loader for Sent {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let text = self.0.get(path).ok_or("it was not sent along")?;
        Ok(text.as_bytes().to_vec())
    }

    fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }
}
