//! A playbook to be started: from a file, from an expression, or sent by another process.

use std::sync::Arc;

use hob_engine::{Bundle, Loader};
use hob_model::{Code, Diagnostic, OnDoubt, RunEntry, RunId, RunOwner, RunStarted, Value};
use hob_primitive::Registry;
use hob_runs::{NewRun, RunError, Runs};
use serde_json::{Value as Json, json};

/// A script with all that its run is started with.
pub struct Playbook {
    /// What people call it.
    pub name: String,
    /// The sources.
    pub bundle: Arc<Bundle>,
    /// The constant `input`.
    pub input: Value,
    /// Who goes on with it.
    pub owner: RunOwner,
    /// Where relative paths start.
    pub cwd: String,
    /// The variables handed over.
    pub env: Vec<(String, String)>,
    /// Permissions that narrow it.
    pub allow: Vec<String>,
    /// Permissions taken away.
    pub deny: Vec<String>,
    /// Whether it may do more than compute.
    pub trusted: bool,
    /// What to do with effects in doubt.
    pub on_doubt: OnDoubt,
}

/// Why a request to start a playbook is refused.
fn malformed(what: &str) -> Diagnostic {
    Diagnostic::error(Code::Usage, format!("the request to start a playbook is malformed: {what}"))
}

impl Playbook {
    /// The form in which it is sent to the process that holds the state directory.
    ///
    /// # Errors
    /// When the input has no JSON form.
    pub fn to_json(&self) -> Result<Json, Diagnostic> {
        let input = self.input.to_json().map_err(|error| malformed(&error.to_string()))?;
        let files: serde_json::Map<String, Json> =
            self.bundle.files().map(|(path, text)| (path.to_owned(), Json::from(&**text))).collect();
        let record = &self.bundle.record;
        Ok(json!({
            "name": self.name, "input": input, "owner": self.owner.as_str(), "cwd": self.cwd, "env": self.env,
            "allow": self.allow, "deny": self.deny, "trusted": self.trusted, "on_doubt": self.on_doubt.as_str(),
            "root": record.root, "origin": record.origin, "host": record.host, "files": files,
        }))
    }

    /// Reads [`Playbook::to_json`]. Only the socket, whose peer is the owner of the state, may send one.
    ///
    /// # Errors
    /// When a field is missing or wrong, or a source does not parse.
    pub fn from_json(json: &Json, registry: &Registry) -> Result<Self, Diagnostic> {
        let text = |key: &str| {
            json.get(key)
                .and_then(Json::as_str)
                .map(str::to_owned)
                .ok_or_else(|| malformed(&format!("`{key}` is missing")))
        };
        let list = |key: &str| -> Vec<String> {
            let items = json.get(key).and_then(Json::as_array).into_iter().flatten();
            items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        let files =
            json.get("files").and_then(Json::as_object).ok_or_else(|| malformed("`files` is missing"))?;
        let bundle =
            Bundle::collect(&text("root")?, &text("origin")?, &text("host")?, &Sent(files), registry)
                .map_err(|mut problems| problems.pop().unwrap_or_else(|| malformed("no sources")))?;
        let env = json.get("env").and_then(Json::as_array).into_iter().flatten();
        let pair = |item: &Json| Some((item.get(0)?.as_str()?.to_owned(), item.get(1)?.as_str()?.to_owned()));
        Ok(Self {
            name: text("name")?,
            bundle: Arc::new(bundle),
            input: Value::from_json(json.get("input").cloned().unwrap_or_default())
                .map_err(|e| malformed(&e.to_string()))?,
            owner: RunOwner::parse(&text("owner")?).ok_or_else(|| malformed("`owner`"))?,
            cwd: text("cwd")?,
            env: env.filter_map(pair).collect(),
            allow: list("allow"),
            deny: list("deny"),
            trusted: json.get("trusted").and_then(Json::as_bool).unwrap_or(false),
            on_doubt: OnDoubt::parse(&text("on_doubt")?).ok_or_else(|| malformed("`on_doubt`"))?,
        })
    }

    fn new_run(&self, id: RunId) -> NewRun {
        let started = RunStarted {
            name: self.name.clone(),
            entry: RunEntry::Playbook(self.bundle.record.root.clone()),
            bundle: None,
            input: self.input.clone(),
            owner: self.owner,
            parent: None,
            cwd: self.cwd.clone(),
            env: self.env.clone(),
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            trusted: self.trusted,
            on_doubt: self.on_doubt,
            trigger: "person".to_owned(),
        };
        NewRun { id, started, bundle: Arc::clone(&self.bundle) }
    }

    /// Starts it with this id.
    ///
    /// # Errors
    /// When the journal cannot take it.
    pub fn start(&self, runs: &Runs, id: RunId) -> Result<(), RunError> {
        runs.start(self.new_run(id)).map(drop)
    }

    /// Records it without evaluating it: whoever serves the state directory next begins.
    ///
    /// # Errors
    /// When the journal cannot take it.
    pub fn record(&self, runs: &Runs) -> Result<RunId, RunError> {
        let id = runs.new_id();
        runs.record(&self.new_run(id))?;
        Ok(id)
    }
}

/// Sources that were sent along.
struct Sent<'a>(&'a serde_json::Map<String, Json>);

impl Loader for Sent<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let text = self.0.get(path).and_then(Json::as_str).ok_or("it was not sent along")?;
        Ok(text.as_bytes().to_vec())
    }
}
