//! Steps that are done once: each is a run that begins when the services it needs are ready, and a marker in the journal
//! that is written when that run has succeeded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hob_journal::{Commit, RunFilter, RunRow, Write};
use hob_model::{Code, Diagnostic, RunEnd, RunId, Timestamp, Value};
use hob_planner::declaration::Setup;
use serde_json::{Value as Json, json};

use super::table::Table;
use super::{Inner, Keeper, hooks};
use crate::schedules::Launch;

/// What stands before the name of a step in the key of its marker.
const PREFIX: &str = "setup/";

/// The kind of the runs of steps, and of the functions that check them.
const KIND: &str = "setup";
const KIND_CHECK: &str = "setup.check";

/// Where the steps of this process stand, by name; those that nobody has looked at are not there.
#[derive(Default)]
pub(crate) struct Steps(Mutex<BTreeMap<String, Step>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Somebody looks after it.
    Running,
    /// Its marker is there.
    Done,
    /// It failed, and is not tried again by itself.
    Failed(String),
}

impl Steps {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Step>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the journal keeps of a step.
enum Marker {
    Done,
    /// What was done before this does not count.
    Reset(Timestamp),
    Absent,
}

fn problem(error: &hob_journal::JournalError) -> Diagnostic {
    hob_runs::journal_diagnostic(error)
}

fn marker(inner: &Inner, name: &str) -> Result<Marker, Diagnostic> {
    let fact = inner.runs.journal().fact(&format!("{PREFIX}{name}")).map_err(|error| problem(&error))?;
    let Some(fact) = fact else { return Ok(Marker::Absent) };
    let reset = fact.get("reset").and_then(Value::as_str).and_then(|text| text.parse().ok());
    Ok(reset.map_or(Marker::Done, Marker::Reset))
}

fn write(inner: &Inner, name: &str, value: Value) -> Result<(), Diagnostic> {
    let journal = inner.runs.journal();
    let fact = Write::Fact { key: format!("{PREFIX}{name}"), value: Some(value) };
    journal.wait(journal.submit(Commit::one(fact))).map_err(|error| problem(&error))
}

fn done(inner: &Inner, run: RunId) -> Value {
    Value::map([("done", Value::from(inner.runs.now().to_string())), ("run", Value::from(run.to_string()))])
}

/// The newest run of a step that counts.
fn newest(inner: &Inner, name: &str, after: Option<Timestamp>) -> Result<Option<RunRow>, Diagnostic> {
    let filter = RunFilter {
        name: Some(name.to_owned()),
        kind: Some(KIND.to_owned()),
        limit: Some(1),
        ..RunFilter::default()
    };
    let rows = inner.runs.journal().runs(&filter).map_err(|error| problem(&error))?;
    Ok(rows.into_iter().find(|row| after.is_none_or(|after| row.created > after)))
}

/// Has steps begin whose services are ready, each on a thread of its own.
pub(super) fn begin_due(inner: &Arc<Inner>, table: &Table) {
    let Some(launch) = inner.launch.get() else { return };
    for setup in &inner.homelab.setups {
        if !setup.needs.iter().all(|need| table.state(need).is_ready()) {
            continue;
        }
        let mut steps = inner.steps.lock();
        if steps.contains_key(&setup.name) {
            continue;
        }
        steps.insert(setup.name.clone(), Step::Running);
        drop(steps);
        let (inner_of_thread, launch, setup) = (Arc::clone(inner), launch.clone(), setup.clone());
        let name = setup.name.clone();
        let work = move || {
            let inner = inner_of_thread;
            let step = match perform(&inner, &launch, &setup) {
                Ok(()) => Step::Done,
                Err(error) => {
                    tracing::warn!(setup = setup.name, %error, "a step of the set-up failed");
                    Step::Failed(error.message)
                }
            };
            inner.steps.lock().insert(setup.name.clone(), step);
            inner.changed.notify_all();
        };
        if let Err(error) = std::thread::Builder::new().name(format!("hob-setup-{name}")).spawn(work) {
            inner.steps.lock().insert(name, Step::Failed(format!("no thread can be started: {error}")));
        }
    }
}

/// Brings a step to its end: nothing where its marker is there and does not lie.
fn perform(inner: &Inner, launch: &Launch, setup: &Setup) -> Result<(), Diagnostic> {
    let mut after = None;
    match marker(inner, &setup.name)? {
        Marker::Done if !setup.check || holds(inner, launch, setup)? => return Ok(()),
        Marker::Done => {
            tracing::warn!(setup = setup.name, "it is not done any more, says its check: it is done again");
            after = Some(reset(inner, &setup.name)?);
        }
        Marker::Reset(at) => after = Some(at),
        Marker::Absent => {}
    }
    // An earlier process may have ended between the end of the run and the marker, or in the middle of the run.
    if let Some(row) = newest(inner, &setup.name, after)? {
        let end = match row.end {
            Some(end) => Some(end),
            None => Some(hooks::await_end(inner, row.run)?),
        };
        if matches!(end, Some(RunEnd::Succeeded(_))) {
            return write(inner, &setup.name, done(inner, row.run));
        }
    }
    hooks::run(inner, launch, &function(setup, KIND))?;
    match newest(inner, &setup.name, after)? {
        Some(row) => write(inner, &setup.name, done(inner, row.run)),
        None => Err(Diagnostic::error(Code::StateUnusable, "the journal lost the run of the step")),
    }
}

fn function<'s>(setup: &'s Setup, kind: &'s str) -> hooks::Function<'s> {
    let input = Value::map([("setup", Value::from(setup.name.as_str()))]);
    let trigger = format!("setup:{}", setup.name);
    hooks::Function { kind, name: &setup.name, policy: &setup.policy, input, trigger }
}

/// Whether a step is still done, as its function says.
fn holds(inner: &Inner, launch: &Launch, setup: &Setup) -> Result<bool, Diagnostic> {
    match hooks::run(inner, launch, &function(setup, KIND_CHECK))? {
        Value::Bool(holds) => Ok(holds),
        other => {
            let message =
                format!("the check of `{}` gave {} and not true or false", setup.name, other.type_name());
            Err(Diagnostic::error(Code::ScriptFailed, message))
        }
    }
}

fn reset(inner: &Inner, name: &str) -> Result<Timestamp, Diagnostic> {
    let now = inner.runs.now();
    write(inner, name, Value::map([("reset", Value::from(now.to_string()))]))?;
    Ok(now)
}

impl Keeper {
    /// What `hob setup list --json` prints.
    #[must_use]
    pub fn setups(&self) -> Json {
        let inner = &self.inner;
        let told = |setup: &Setup| {
            let step = inner.steps.lock().get(&setup.name).cloned();
            let run = newest(inner, &setup.name, None).ok().flatten();
            let is_done = matches!(marker(inner, &setup.name), Ok(Marker::Done));
            let (state, note) = match step {
                Some(Step::Running) => ("running", String::new()),
                Some(Step::Failed(why)) => ("failed", why),
                _ if is_done => ("done", String::new()),
                _ => ("waiting", format!("needs {}", setup.needs.join(", "))),
            };
            let at = run.as_ref().map(|row| row.updated.to_string());
            json!({ "name": setup.name, "state": state, "at": at, "run": run.map(|row| row.run.to_string()), "note": note })
        };
        inner.homelab.setups.iter().map(told).collect()
    }

    /// Forgets that a step was done, so that it is done again.
    ///
    /// # Errors
    /// When there is none of this name, or it is being done.
    pub fn reset_setup(&self, name: &str) -> Result<Json, Diagnostic> {
        let inner = &self.inner;
        if !inner.homelab.setups.iter().any(|setup| setup.name == name) {
            let near =
                hob_model::names::nearest(name, inner.homelab.setups.iter().map(|it| it.name.as_str()));
            let error = Diagnostic::error(Code::UnknownName, format!("there is no setup `{name}`"));
            return Err(near.map_or(error.clone(), |near| error.hint(format!("did you mean `{near}`?"))));
        }
        if inner.steps.lock().get(name) == Some(&Step::Running) {
            let message = format!("`{name}` is being done: cancel its run first");
            return Err(Diagnostic::error(Code::ServiceFailed, message));
        }
        reset(inner, name)?;
        inner.steps.lock().remove(name);
        inner.changed.notify_all();
        Ok(json!({ "name": name, "state": "waiting", "at": null, "run": null, "note": "" }))
    }
}
