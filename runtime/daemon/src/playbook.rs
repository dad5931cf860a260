//! A playbook to be started: from a file, from an expression, or sent by another process.

use std::sync::Arc;

use hob_engine::Bundle;
use hob_model::{Diagnostic, OnDoubt, RunEntry, RunId, RunOwner, RunStarted, Value};
use hob_primitive::Registry;
use hob_runs::{NewRun, RunError, Runs};
use serde_json::{Map, Value as Json, json};

use crate::sent;

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

impl Playbook {
    /// The form in which it is sent to the process that holds the state directory.
    ///
    /// # Errors
    /// When the input has no JSON form.
    pub fn to_json(&self) -> Result<Json, Diagnostic> {
        let input = self.input.to_json().map_err(|error| sent::malformed(&error.to_string()))?;
        let mut json = json!({
            "name": self.name, "input": input, "owner": self.owner.as_str(), "cwd": self.cwd, "env": self.env,
            "allow": self.allow, "deny": self.deny, "trusted": self.trusted, "on_doubt": self.on_doubt.as_str(),
        });
        if let Json::Object(fields) = &mut json {
            fields.extend(sent::to_json(&self.bundle));
        }
        Ok(json)
    }

    /// Reads [`Playbook::to_json`]. Only the socket, whose peer is the owner of the state, may send one.
    ///
    /// # Errors
    /// Everything that is missing or wrong: the first as the problem, the others as its notes.
    pub fn from_json(json: &Json, registry: &Registry) -> Result<Self, Diagnostic> {
        let Json::Object(json) = json else {
            return Err(sent::malformed("a playbook is a map"));
        };
        let mut fields = Fields { json, problems: vec![] };
        let text = |item: &Json| item.as_str().map(str::to_owned);
        let pair = |item: &Json| match item.as_array().map(Vec::as_slice) {
            Some([name, value]) => Some((text(name)?, text(value)?)),
            _ => None,
        };
        let (name, cwd, input) = (fields.text("name"), fields.text("cwd"), fields.value("input"));
        let owner = fields.word("owner", RunOwner::parse);
        let on_doubt = fields.word("on_doubt", OnDoubt::parse);
        let env = fields.list("env", "pair of a name and a text", pair);
        let (allow, deny) = (fields.list("allow", "text", text), fields.list("deny", "text", text));
        let trusted = fields.flag("trusted");
        let bundle = sent::read(json, registry).map_err(|found| fields.problems.extend(found)).ok();
        match (bundle, owner, on_doubt) {
            (Some(bundle), Some(owner), Some(on_doubt)) if fields.problems.is_empty() => {
                let bundle = Arc::new(bundle);
                Ok(Self { name, bundle, input, owner, cwd, env, allow, deny, trusted, on_doubt })
            }
            _ => Err(sent::in_one(fields.problems)),
        }
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
            tags: vec![],
            until: None,
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

/// The fields of a request while they are read; what is wrong is kept, so that all of it is told.
struct Fields<'a> {
    json: &'a Map<String, Json>,
    problems: Vec<Diagnostic>,
}

impl Fields<'_> {
    fn wrong<T>(&mut self, what: &str) -> Option<T> {
        self.problems.push(sent::malformed(what));
        None
    }

    fn text(&mut self, key: &str) -> String {
        sent::text(self.json, key, &mut self.problems)
    }

    /// A text that is one of a few words.
    fn word<T>(&mut self, key: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(key);
        match parse(&text) {
            None if !text.is_empty() => self.wrong(&format!("`{key}` does not know `{text}`")),
            parsed => parsed,
        }
    }

    /// What each item of the array at `key` stands for; an absent one is empty.
    fn list<T>(&mut self, key: &str, what: &str, read: impl Fn(&Json) -> Option<T>) -> Vec<T> {
        match self.json.get(key) {
            None | Some(Json::Null) => vec![],
            Some(Json::Array(items)) => {
                let read = items.iter().enumerate().map(|(at, item)| (at, read(item)));
                let read: Vec<_> = read.collect();
                let read = read.into_iter().filter_map(|(at, item)| {
                    item.or_else(|| self.wrong(&format!("item {} of `{key}` is no {what}", at + 1)))
                });
                read.collect()
            }
            Some(_) => self.wrong(&format!("`{key}` is no array")).unwrap_or_default(),
        }
    }

    fn flag(&mut self, key: &str) -> bool {
        match self.json.get(key) {
            None => false,
            Some(Json::Bool(flag)) => *flag,
            Some(_) => self.wrong(&format!("`{key}` is neither true nor false")).unwrap_or_default(),
        }
    }

    fn value(&mut self, key: &str) -> Value {
        match Value::from_json(self.json.get(key).cloned().unwrap_or_default()) {
            Ok(value) => value,
            Err(error) => self.wrong(&format!("`{key}`: {error}")).unwrap_or_default(),
        }
    }
}
