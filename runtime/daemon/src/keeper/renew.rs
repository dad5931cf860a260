//! Services whose secrets have other values by now: they read them again where they can, and are started anew where they
//! cannot, behind their gates either way.

use std::sync::Arc;

use hob_model::{OpError, Position, RunEnd, Value};
use hob_planner::declaration::ReloadSignal;
use hob_planner::plan::SECRET_DRIFT;
use hob_planner::{Action, Plan, Service, ServiceState};
use hob_primitive::{Cancel, Patience};
use hob_supervisor::{Running, Spec, await_ready};

use super::hold::Holder;
use super::native::NativeRun;
use super::start::{supervisor_of, watch};
use super::{Inner, asked, event, secrets, tell};

/// Has a service take the values that its secrets have now; nothing where it has them, or is not to run.
///
/// # Errors
/// When somebody else holds it, or it does not get ready with them.
pub(super) fn carry_out(
    inner: &Arc<Inner>,
    by: Holder,
    service: &Service,
    patience: Patience<'_>,
) -> Result<(), OpError> {
    let look = || {
        let table = inner.table();
        let entry = table.services.get(&service.name);
        entry.map_or((false, false), |entry| (entry.is_to_run(), entry.state.is_ready()))
    };
    if !look().0 {
        // One that ended by itself before it was told to stop may have left what it was handed.
        if has_ended(inner, &service.name) {
            secrets::removed(&inner.supervisors, &service.name);
        }
        return Ok(());
    }
    // One that is being started, perhaps with what it needs, has not come to rest yet.
    let _ = asked::settle(inner, &service.name, patience);
    let (is_wanted, is_ready) = look();
    let is_stale = || !secrets::stale(&inner.supervisors, &inner.homelab, service).is_empty();
    // One that should be ready and is not may be so because of its secrets.
    if !is_wanted || (is_ready && !is_stale()) {
        return Ok(());
    }
    asked::free_for(inner, by, std::slice::from_ref(&service.name))?;
    if let Some(signal) = service.reload.filter(|_| is_ready) {
        let Some(running) = claim(inner, &service.name) else {
            if patience.cancel.is_cancelled() || inner.table().closing {
                return Err(OpError::cancelled(format!(
                    "`{}` does not read its secrets again",
                    service.name
                )));
            }
            // Somebody else was quicker; when that is done, there may be nothing left to do.
            return carry_out(inner, by, service, patience);
        };
        match reload(inner, service, (&running, signal), patience.cancel) {
            Ok(()) => return Ok(()),
            // Nobody waits for it any more, which is no reason to start it anew: who comes next has it read them again.
            Err(error) if patience.cancel.is_cancelled() => return Err(error),
            Err(error) => tracing::warn!(service = service.name, %error, "it is started anew instead"),
        }
    }
    asked::restart(inner, by, &service.name, patience)
}

/// Whether nothing runs of a service that is not to run.
fn has_ended(inner: &Inner, name: &str) -> bool {
    let table = inner.table();
    let ended = |entry: &super::table::Entry| !entry.busy && entry.running.is_none();
    table.services.get(name).is_some_and(|entry| ended(entry) && entry.state == ServiceState::Stopped)
}

/// Has the services of a plan that read new values while they run do so, in the order in which they start.
pub(super) fn planned(inner: &Arc<Inner>, plan: &Plan) {
    let has_old = |change: &hob_planner::Change| {
        change.action == Action::Update && change.diff.iter().any(|it| it.field.starts_with(SECRET_DRIFT))
    };
    let patience = Patience { timeout: None, cancel: &inner.cancel };
    for change in plan.changes.iter().filter(|change| has_old(change)) {
        let Some(service) = inner.homelab.service(&change.resource.name) else { continue };
        if let Err(error) = carry_out(inner, Holder::Person, service, patience) {
            tracing::error!(service = service.name, %error, "it does not take the new value of a secret");
        }
    }
}

/// The life of a service that is ready, which is nobody else's from now on.
fn claim(inner: &Inner, name: &str) -> Option<Running> {
    let mut running = None;
    inner.update(name, |entry| {
        running = entry.running.clone().filter(|_| !entry.busy && entry.state.is_ready());
        entry.busy |= running.is_some();
    });
    running
}

/// Lays the new values out and tells a service that is claimed to read them; its gate must hold after it.
fn reload(
    inner: &Arc<Inner>,
    service: &Service,
    (running, signal): (&Running, ReloadSignal),
    cancel: &Cancel,
) -> Result<(), OpError> {
    let run = NativeRun::begin(&inner.runs, "reload", &format!("service:{}", service.name));
    let reloaded = run.map_err(|error| OpError::unavailable(error.to_string())).and_then(|run| {
        let reloaded = signalled(inner, service, signal, &run).and_then(|()| {
            let supervisor = &**supervisor_of(inner, service)?;
            let spec = Spec::from(service);
            await_ready(supervisor, running, &spec, &service.ready, cancel, &|_| {})
                .map_err(|not_ready| OpError::failed(not_ready.to_string()))
        });
        run.end(match &reloaded {
            Ok(()) => RunEnd::Succeeded(Value::Unit),
            Err(error) => RunEnd::Failed(error.clone()),
        });
        reloaded
    });
    if reloaded.is_ok() {
        // Before others may look whether it has the new ones.
        secrets::settled(&inner.supervisors, service);
    }
    inner.update(&service.name, |entry| entry.busy = false);
    reloaded?;
    tell(inner, vec![event(inner, &service.name, "reloaded", "")]);
    // One that ended while it was busy was not noticed.
    watch(inner, &**supervisor_of(inner, service)?, service, running);
    Ok(())
}

/// The effect: it may be done twice, since who reads the same values again has them.
fn signalled(inner: &Inner, service: &Service, signal: ReloadSignal, run: &NativeRun) -> Result<(), OpError> {
    let position = Position::root().step(&service.name, 1).effect(1);
    let args = Value::Array(vec![Value::from(service.name.as_str()), Value::from(signal.as_str())]);
    run.effect(&position, "services::reload", &args, |_| {
        secrets::handed(&inner.supervisors, &inner.homelab, service)?;
        supervisor_of(inner, service)?.signal(&service.name, signal)?;
        Ok(((), Value::Unit, Vec::new()))
    })
}
