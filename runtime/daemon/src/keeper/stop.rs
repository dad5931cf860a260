//! Stopping services, in the reverse of the order they start in.

use std::sync::Arc;

use hob_journal::Write;
use hob_model::{Diagnostic, OpError, Position, RunEnd, Value};
use hob_planner::declaration::{PROCESS, STOP_TIMEOUT};
use hob_planner::{Action, Change, Node, Plan, ServiceState};
use hob_supervisor::{Stopped, Supervisor};

use super::native::{NativeRun, service_fact};
use super::observe::kind_of;
use super::table::Prepared;
use super::{Inner, around, borrow, event, tell};

/// Stops what the plan says must not run as it does: what is changed, what is not declared any more. Leaves out what cannot
/// be claimed; what is, is marked as busy.
pub(super) fn obsolete(
    inner: &Arc<Inner>,
    plan: &Plan,
    claim: impl Fn(&Change) -> bool,
) -> Result<(), Diagnostic> {
    let stops =
        |action: Action| matches!(action, Action::Recreate | Action::Restart | Action::Stop | Action::Remove);
    let changes: Vec<_> = plan.changes.iter().filter(|it| stops(it.action) && claim(it)).collect();
    if changes.is_empty() {
        return Ok(());
    }
    let run = NativeRun::begin(&inner.runs, "apply", "person").map_err(|error| {
        for change in &changes {
            inner.update(&change.resource.name, |entry| entry.busy = false);
        }
        error.diagnostic()
    })?;
    for change in changes.iter().rev() {
        tracing::info!(
            service = change.resource.name,
            action = change.action.as_str(),
            cause = change.cause,
            "stopping"
        );
        let after = match change.action {
            Action::Remove => After::Forget,
            Action::Recreate => After::Remake,
            _ => After::Keep,
        };
        if let Err(error) = one(inner, &run, &change.resource.name, after) {
            tracing::error!(service = change.resource.name, %error, "it cannot be stopped");
        }
        borrow::note_borrowers(inner, &change.resource.name);
        inner.update(&change.resource.name, |entry| {
            entry.busy = false;
            // Whoever changed it may have removed its image, too.
            if entry.kind != PROCESS {
                entry.prepared = Prepared::Unknown;
            }
        });
    }
    run.end(RunEnd::Succeeded(Value::Unit));
    Ok(())
}

/// Stops the services that `which` names, dependents first; gives the names of those that ran.
pub(super) fn all(inner: &Arc<Inner>, cause: &str, which: impl Fn(&str) -> bool) -> Vec<String> {
    let order = inner.homelab.services_in_order().rev().filter(|it| which(&it.name));
    let order: Vec<String> = order.map(|it| it.name.clone()).collect();
    in_order(inner, &order, cause)
}

/// A service after what needs it: the order in which they stop.
pub(super) fn order_with_dependents(inner: &Inner, name: &str) -> Vec<String> {
    let dependents = inner.homelab.graph.dependents(&Node::Service(name.to_owned()));
    // A later tier waits for this service at boot; only what needs it stops with it.
    let stops = |other: &str| other == name || (dependents.contains(other) && needs(inner, other, name));
    let order = inner.homelab.services_in_order().rev().filter(|it| stops(&it.name));
    order.map(|it| it.name.clone()).collect()
}

/// Whether `other` needs `name`, itself or over others.
pub(super) fn needs(inner: &Inner, other: &str, name: &str) -> bool {
    let mut todo = vec![other.to_owned()];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(at) = todo.pop() {
        if !seen.insert(at.clone()) {
            continue;
        }
        let Some(service) = inner.homelab.service(&at) else { continue };
        if service.needs.iter().any(|need| need == name) {
            return true;
        }
        todo.extend(service.needs.iter().cloned());
    }
    false
}

/// Stops these services, in this order; gives the names of those that ran.
pub(super) fn in_order(inner: &Inner, order: &[String], cause: &str) -> Vec<String> {
    let running: Vec<String> = order.iter().filter(|name| mark(inner, name)).cloned().collect();
    if running.is_empty() {
        return running;
    }
    let run = match NativeRun::begin(&inner.runs, "stop", cause) {
        Ok(run) => run,
        Err(error) => {
            tracing::error!(%error, "services cannot be stopped: nothing acts without a journal");
            running.iter().for_each(|name| inner.update(name, |entry| entry.busy = false));
            return Vec::new();
        }
    };
    for name in &running {
        if let Err(error) = one(inner, &run, name, After::Keep) {
            tracing::error!(service = name, %error, "it cannot be stopped");
        }
    }
    run.end(RunEnd::Succeeded(Value::Unit));
    running
}

/// Stops one service, which was marked as busy, as a run of its own; whether it stopped. It stays wanted.
pub(super) fn alone(inner: &Inner, name: &str, cause: &str, after: After) -> bool {
    let run = match NativeRun::begin(&inner.runs, "stop", cause) {
        Ok(run) => run,
        Err(error) => {
            tracing::error!(service = name, %error, "it cannot be stopped: nothing acts without a journal");
            inner.update(name, |entry| entry.busy = false);
            return false;
        }
    };
    let stopped = one(inner, &run, name, after);
    if let Err(error) = &stopped {
        tracing::error!(service = name, %error, "it cannot be stopped");
    }
    run.end(RunEnd::Succeeded(Value::Unit));
    stopped.is_ok()
}

/// Marks a service as being stopped; whether there is anything to stop.
fn mark(inner: &Inner, name: &str) -> bool {
    let mut ran = false;
    inner.update(name, |entry| {
        ran = entry.running.is_some() || entry.state.is_alive();
        entry.wanted = false;
        entry.retry_at = None;
        entry.busy = ran;
        if !ran && entry.state != ServiceState::Completed {
            entry.state = ServiceState::Stopped;
        }
    });
    ran
}

/// What becomes of a service that was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It stays known, so that a plan knows it exists.
    Keep,
    /// As [`After::Keep`], and it stays busy: whoever stopped it says what becomes of it.
    StayBusy,
    /// As [`After::StayBusy`], and what is left of it is removed: nobody is to take that for what is declared.
    Remake,
    /// It is removed and forgotten; its data stay.
    Forget,
}

/// Who runs what exists of a service, which may be declared as another kind by now.
fn supervisor_of<'i>(inner: &'i Inner, name: &str) -> Result<&'i Arc<dyn Supervisor>, OpError> {
    let fact = inner.runs.journal().fact(&service_fact(name));
    let fact = fact.map_err(|error| OpError::unavailable(error.to_string()).nothing_happened())?;
    let running =
        inner.table().services.get(name).filter(|it| it.running.is_some()).map(|it| it.kind.clone());
    let kind = running.or_else(|| fact.as_ref().map(|fact| kind_of(fact).to_owned()));
    let declared = || inner.homelab.service(name).map_or(PROCESS, |it| it.body.kind()).to_owned();
    inner.supervisors.of(&kind.unwrap_or_else(declared))
}

/// Stops one service.
pub(super) fn one(inner: &Inner, run: &NativeRun, name: &str, after: After) -> Result<(), OpError> {
    let declared = inner.homelab.service(name);
    let timeout = declared.map_or(STOP_TIMEOUT, |service| service.stop_timeout);
    inner.update(name, |entry| entry.attempt += 1);
    around::abandon(inner, name);
    if let (Some(service), Ok(supervisor)) = (declared, supervisor_of(inner, name)) {
        around::before_stop(inner, service, &**supervisor);
    }
    let mut ran = false;
    let position = Position::root().step(name, 1).effect(1);
    let args = Value::Array(vec![Value::from(name)]);
    let result = run.effect(&position, "services::stop", &args, |_| {
        let supervisor = supervisor_of(inner, name)?;
        let stopped = supervisor.stop(name, timeout)?;
        ran = stopped != Stopped::NotRunning;
        super::secrets::removed(&inner.supervisors, name);
        let mut writes = vec![event(inner, name, "stopped", "")];
        if matches!(after, After::Remake | After::Forget) {
            supervisor.remove(name)?;
        }
        if after == After::Forget {
            writes.push(Write::Fact { key: service_fact(name), value: None });
            writes.extend(around::forgotten(name));
        }
        Ok(((), Value::from(format!("{stopped:?}")), writes))
    });
    if let Some(service) = declared.filter(|_| result.is_ok()) {
        around::after_stop(inner, service, ran);
    }
    inner.update(name, |entry| {
        entry.busy = result.is_ok() && matches!(after, After::StayBusy | After::Remake);
        entry.running = None;
        entry.astray = None;
        entry.ready_since = None;
        match &result {
            Ok(()) => {
                entry.state = ServiceState::Stopped;
                entry.note.clear();
            }
            Err(error) => {
                entry.state = ServiceState::Unknown;
                entry.note = error.to_string();
            }
        }
    });
    if result.is_err() {
        tell(inner, vec![event(inner, name, "failed", "it cannot be stopped")]);
    }
    result
}
