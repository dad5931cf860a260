//! What people and runs ask of single services.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use hob_model::{Code, Diagnostic, ErrorKind, OpError, RunId, Value};
use hob_planner::{Service, ServiceState};
use hob_primitive::{Patience, ServiceRequest, Services};
use serde_json::{Value as Json, json};

use super::hold::{self, Holder};
use super::{Inner, Keeper, around, renew, replicas, stop};

/// How long one who waits for a service sleeps at most before it looks whether it is to go on waiting.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Carries out what `by` asks of a service, and blocks until it has come to rest.
///
/// # Errors
/// When there is no such service, somebody else holds it, it did not come to the state that was asked for, or `patience` is
/// at its end.
pub(super) fn carry_out(
    inner: &Arc<Inner>,
    by: Holder,
    name: &str,
    request: &ServiceRequest,
    patience: Patience<'_>,
) -> Result<Json, OpError> {
    let several = replicas::of(&inner.homelab, name);
    if !several.is_empty() {
        return replicas::ask_each(inner, by, (name, &several), request, patience);
    }
    let service = find(inner, name)?;
    if let Holder::Run(run) = by {
        around::refuse_own(inner, run, name, request)?;
    }
    match request {
        ServiceRequest::Start => {
            free_for(inner, by, &[name.to_owned()])?;
            want(inner, name);
            settle(inner, name, patience)?;
        }
        ServiceRequest::Stop => {
            let with = stop::order_with_dependents(inner, name);
            free_for(inner, by, &with)?;
            let ran = stop::in_order(inner, &with, &format!("stopped by {by}"));
            note_stopped(inner, by, name, &ran);
            if let Some(why) = still_there(inner, &with) {
                return Err(why);
            }
            if matches!(by, Holder::Run(_)) {
                return Ok(json!(ran.iter().rev().collect::<Vec<_>>()));
            }
        }
        ServiceRequest::Restart => restart(inner, by, name, patience)?,
        ServiceRequest::Update { dry_run } => {
            let keeper = Keeper::of(inner);
            return match by {
                Holder::Run(run) => keeper.update_for(run, service, *dry_run, patience),
                Holder::Person => keeper.update(name, *dry_run).map_err(|it| OpError::failed(it.message)),
            };
        }
        ServiceRequest::Renew => renew::carry_out(inner, by, service, patience)?,
        ServiceRequest::WaitReady => settle(inner, name, patience)?,
        ServiceRequest::Hold { duration, reason } => hold::set(inner, name, by, (*duration, reason))?,
        ServiceRequest::Release => hold::clear(inner, name, by)?,
    }
    Ok(inner.table().view(service))
}

/// Stops a service with what needs it, and starts them again, in order.
///
/// # Errors
/// When somebody else holds one of them, or the service does not get ready.
pub(super) fn restart(
    inner: &Arc<Inner>,
    by: Holder,
    name: &str,
    patience: Patience<'_>,
) -> Result<(), OpError> {
    let with = stop::order_with_dependents(inner, name);
    free_for(inner, by, &with)?;
    stop_to_start(inner, name, &with, &format!("restarted by {by}"));
    settle(inner, name, patience)
}

pub(super) fn find<'i>(inner: &'i Inner, name: &str) -> Result<&'i Service, OpError> {
    inner.homelab.service(name).ok_or_else(|| unknown(inner, name))
}

fn unknown(inner: &Inner, name: &str) -> OpError {
    let near = hob_model::names::nearest(name, inner.homelab.services.iter().map(|it| it.name.as_str()));
    let error = OpError::not_found(format!("there is no service `{name}`"));
    match near {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}

/// Refuses when somebody else holds one of these.
pub(super) fn free_for(inner: &Inner, by: Holder, names: &[String]) -> Result<(), OpError> {
    let table = inner.table();
    let held = names.iter().find_map(|name| {
        let hold = table.services.get(name)?.holds.iter().find(|hold| hold.by != by)?;
        Some((name, hold))
    });
    let Some((name, hold)) = held else { return Ok(()) };
    Err(OpError::conflict(format!("`{name}` is {}", hold.told()))
        .hint(format!("`hob release {name}` ends each hold of it")))
}

/// Somebody wants the service, and so what it needs. One that they hold themselves starts all the same.
pub(super) fn want(inner: &Inner, name: &str) {
    inner.update(name, |entry| entry.asked = !entry.holds.is_empty());
    let mut todo = vec![name.to_owned()];
    while let Some(name) = todo.pop() {
        let Some(service) = inner.homelab.service(&name) else { continue };
        let mut renewed = false;
        inner.update(&name, |entry| {
            entry.stopped_by = None;
            renewed = entry.want();
        });
        if renewed {
            todo.extend(service.needs.iter().cloned());
        }
    }
}

/// Stops the services `with`, `name` after what needs it, and wants those that were to run again, and `name` in any case.
pub(super) fn stop_to_start(inner: &Inner, name: &str, with: &[String], cause: &str) {
    let returns = |it: &str| {
        let mut returns = false;
        inner.update(it, |entry| {
            returns = entry.is_to_run() || entry.running.is_some() || it == name;
            entry.returns = returns;
        });
        returns
    };
    let back: Vec<&String> = with.iter().filter(|it| returns(it)).collect();
    stop::in_order(inner, with, cause);
    for it in back {
        want(inner, it);
        inner.update(it, |entry| entry.returns = false);
    }
}

/// Remembers that a run stopped these under its hold on `name`: they come back when that ends.
fn note_stopped(inner: &Inner, by: Holder, name: &str, stopped: &[String]) {
    let Holder::Run(run) = by else { return };
    let mut table = inner.table();
    if !table.services.get(name).is_some_and(|entry| entry.holds.iter().any(|hold| hold.by == by)) {
        return;
    }
    for name in stopped {
        if let Some(entry) = table.services.get_mut(name) {
            entry.stopped_by = Some(run);
        }
    }
}

/// Why one of these could not be stopped.
pub(super) fn still_there(inner: &Inner, names: &[String]) -> Option<OpError> {
    let table = inner.table();
    names.iter().find_map(|name| {
        let entry = table.services.get(name)?;
        let left = entry.state == ServiceState::Unknown || entry.state.is_alive();
        left.then(|| OpError::failed(format!("`{name}` cannot be stopped: {}", entry.note)))
    })
}

/// Blocks until the service has come to rest; fails when it is not ready then.
#[allow(clippy::disallowed_methods)] // patience is measured in real time
pub(super) fn settle(inner: &Inner, name: &str, patience: Patience<'_>) -> Result<(), OpError> {
    let begun = Instant::now();
    let mut table = inner.table();
    while let Some(entry) = table.services.get(name) {
        if table.closing || entry.is_at_rest() && !table.stale || !table.is_moving() {
            break;
        }
        if patience.cancel.is_cancelled() {
            return Err(OpError::cancelled(format!("told to stop; `{name}` is {}", entry.state)));
        }
        if patience.timeout.is_some_and(|limit| begun.elapsed() >= limit) {
            return Err(OpError::timeout(format!("`{name}` is still {}", entry.told())));
        }
        let waited = inner.changed.wait_timeout(table, LOOK_AGAIN);
        table = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
    }
    match table.services.get(name) {
        Some(entry) if !entry.state.is_ready() => {
            Err(OpError::failed(format!("`{name}` is {}", entry.told()))
                .hint(format!("`hob logs {name}` shows what it wrote")))
        }
        _ => Ok(()),
    }
}

/// The services that runs see: those of the keeper, once there is one.
#[derive(Default)]
pub struct KeptServices(OnceLock<Weak<Inner>>);

impl KeptServices {
    /// From now on it is about the services of this keeper.
    pub(super) fn serve(&self, inner: &Arc<Inner>) {
        let _ = self.0.set(Arc::downgrade(inner));
    }

    pub(super) fn inner(&self) -> Result<Arc<Inner>, OpError> {
        self.0.get().and_then(Weak::upgrade).ok_or_else(|| {
            OpError::unavailable("this process keeps no services")
                .hint("`hob up` does; while it serves, `hob run` runs there")
                .retryable(false)
                .nothing_happened()
        })
    }
}

/// The problem as people see it.
pub(super) fn problem(error: &OpError) -> Diagnostic {
    let code = match error.kind {
        ErrorKind::NotFound => Code::UnknownName,
        ErrorKind::Conflict => Code::ServiceHeld,
        ErrorKind::Invalid => Code::Usage,
        ErrorKind::Unavailable => Code::JournalStopped,
        _ => Code::ServiceFailed,
    };
    Diagnostic::error(code, &error.message).maybe_hint(error.hint.clone())
}

fn value(json: Json) -> Result<Value, OpError> {
    Value::from_json(json).map_err(|error| OpError::failed(error.to_string()))
}

impl Services for KeptServices {
    fn list(&self) -> Result<Vec<Value>, OpError> {
        let inner = self.inner()?;
        let table = inner.table();
        let services = inner.homelab.services.iter();
        services.map(|it| value(table.view(it))).collect()
    }

    fn status(&self, name: &str) -> Result<Value, OpError> {
        let inner = self.inner()?;
        replicas::status(&inner, name).map_or_else(|| Err(unknown(&inner, name)), value)
    }

    fn stops_with(&self, name: &str) -> Result<Vec<String>, OpError> {
        let inner = self.inner()?;
        let several = replicas::of(&inner.homelab, name);
        if several.is_empty() {
            find(&inner, name)?;
        }
        let each = several.iter().map(|it| it.name.as_str()).chain(several.is_empty().then_some(name));
        let with: BTreeSet<String> =
            each.flat_map(|name| stop::order_with_dependents(&inner, name)).collect();
        let order = inner.homelab.services_in_order().map(|it| it.name.clone());
        let mut names: Vec<String> = order.filter(|name| with.contains(name)).collect();
        let table = inner.table();
        names.retain(|name| table.state(name).is_alive());
        Ok(names)
    }

    fn users_of(&self, secret: &str) -> Result<Vec<String>, OpError> {
        let inner = self.inner()?;
        let uses = |service: &&Service| service.body.secrets().iter().any(|it| it.names().contains(&secret));
        Ok(inner.homelab.services_in_order().filter(uses).map(|service| service.name.clone()).collect())
    }

    fn ask(
        &self,
        run: &str,
        name: &str,
        request: &ServiceRequest,
        patience: Patience<'_>,
    ) -> Result<Value, OpError> {
        let inner = self.inner()?;
        let run = RunId::parse(run).ok_or_else(|| OpError::invalid(format!("`{run}` is no run")))?;
        value(carry_out(&inner, Holder::Run(run), name, request, patience)?)
    }
}
