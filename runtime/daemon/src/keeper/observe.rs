//! What exists: what the journal knows, and what really runs.

use std::path::Path;
use std::sync::Arc;

use hob_journal::Journal;
use hob_model::{Code, Diagnostic, Value};
use hob_planner::{Observed, ServiceState};
use hob_supervisor::live::Live;
use hob_supervisor::{LogFrom, LogPosition, ProcessId, Running, Supervisor};

use super::native::service_facts;

/// The supervisor of a state directory, told what the journal knows to run.
///
/// # Errors
/// When the state directory cannot be used.
pub fn open_supervisor(journal: &dyn Journal, state: &Path) -> Result<Arc<dyn Supervisor>, Diagnostic> {
    let facts = service_facts(journal).map_err(|error| hob_runs::journal_diagnostic(&error))?;
    let known = facts.iter().filter_map(|(name, fact)| running_of(name, fact));
    let live = Live::open(state, environment(), known).map_err(|error| {
        let mut diagnostic = Diagnostic::error(Code::StateUnusable, error.to_string());
        diagnostic.hint.clone_from(&error.hint);
        diagnostic
    })?;
    Ok(Arc::new(live))
}

/// What the journal says of a process that was started; see [`super::start`].
fn running_of(name: &str, fact: &Value) -> Option<Running> {
    let text = |key: &str| fact.get(key).and_then(Value::as_str);
    Some(Running {
        name: name.to_owned(),
        process: ProcessId::parse(text("process")?)?,
        key: text("key")?.to_owned(),
        digest: text("digest").and_then(hob_model::Digest::parse),
        started: text("started")?.parse().ok()?,
    })
}

/// The environment that hob itself was started with; services get only its base.
fn environment() -> Vec<(String, String)> {
    std::env::vars().collect()
}

/// What exists, for a plan.
///
/// # Errors
/// When the journal cannot be read, or processes cannot be listed.
pub fn observe(journal: &dyn Journal, state: &Path) -> Result<Vec<Observed>, Diagnostic> {
    with(journal, &*open_supervisor(journal, state)?)
}

/// As [`observe`], with a supervisor.
pub(super) fn with(journal: &dyn Journal, supervisor: &dyn Supervisor) -> Result<Vec<Observed>, Diagnostic> {
    let facts = service_facts(journal).map_err(|error| hob_runs::journal_diagnostic(&error))?;
    let held = journal.facts("hold/").map_err(|error| hob_runs::journal_diagnostic(&error))?;
    let is_held = |name: &str| held.iter().any(|(key, _)| key.strip_prefix("hold/") == Some(name));
    let running =
        supervisor.observe().map_err(|error| Diagnostic::error(Code::StateUnusable, error.to_string()))?;
    let mut observed: Vec<Observed> = Vec::new();
    for process in &running {
        let fact = facts.iter().find(|(name, _)| *name == process.name).map(|(_, fact)| fact);
        observed.push(Observed {
            name: process.name.clone(),
            state: ServiceState::Ready,
            held: is_held(&process.name),
            digest: process.digest,
            fields: fact.and_then(|fact| fact.get("fields")).cloned().unwrap_or(Value::Unit),
        });
    }
    for (name, fact) in &facts {
        if running.iter().any(|process| process.name == *name) {
            continue;
        }
        let completed = fact.get("completed") == Some(&Value::Bool(true));
        observed.push(Observed {
            name: name.clone(),
            state: if completed { ServiceState::Completed } else { ServiceState::Stopped },
            held: is_held(name),
            digest: fact.get("digest").and_then(Value::as_str).and_then(hob_model::Digest::parse),
            fields: fact.get("fields").cloned().unwrap_or(Value::Unit),
        });
    }
    observed.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(observed)
}

/// The output of services, for `hob logs`.
pub struct Logs {
    supervisor: Arc<dyn Supervisor>,
    name: String,
    at: LogPosition,
}

impl Logs {
    /// The output of the service `name`; `None` when the journal knows none of this name.
    ///
    /// # Errors
    /// When the state directory cannot be used.
    pub fn open(journal: &dyn Journal, state: &Path, name: &str) -> Result<Option<Self>, Diagnostic> {
        let facts = service_facts(journal).map_err(|error| hob_runs::journal_diagnostic(&error))?;
        if !facts.iter().any(|(known, _)| known == name) {
            return Ok(None);
        }
        let supervisor = open_supervisor(journal, state)?;
        Ok(Some(Self { supervisor, name: name.to_owned(), at: LogPosition::default() }))
    }

    fn read(&mut self, mut from: LogFrom) -> Result<Vec<String>, Diagnostic> {
        let mut lines = Vec::new();
        loop {
            let chunk = self
                .supervisor
                .read_log(&self.name, from)
                .map_err(|error| Diagnostic::error(Code::StateUnusable, error.to_string()))?;
            lines.extend(chunk.lines);
            self.at = chunk.next;
            if !chunk.more {
                return Ok(lines);
            }
            from = LogFrom::Position(self.at);
        }
    }

    /// The last lines.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn last(&mut self, lines: usize) -> Result<Vec<String>, Diagnostic> {
        self.read(LogFrom::Tail { lines })
    }

    /// What was written since the last look.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn more(&mut self) -> Result<Vec<String>, Diagnostic> {
        self.read(LogFrom::Position(self.at))
    }
}
