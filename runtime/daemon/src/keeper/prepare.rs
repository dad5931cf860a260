//! Fetching what services need before they can start, ahead of their turn.

use std::sync::Arc;

use hob_model::{EffectClass, OpError, Position, RunEnd, Value};
use hob_planner::{Exit, Service};

use super::native::NativeRun;
use super::start::{ended, in_thread, supervisor_of, with_hint};
use super::table::Prepared;
use super::{Inner, event, image, tell};

/// What is fetched at one time: more would share the same line.
pub(super) const AT_ONCE: usize = 3;

/// Fetches what a service needs on a thread of its own; it was marked as being prepared before.
pub(super) fn in_background(inner: &Arc<Inner>, name: &str) {
    let Some(service) = inner.homelab.service(name).cloned() else { return };
    let inner_of_thread = Arc::clone(inner);
    in_thread(inner, name, move || prepare(&inner_of_thread, &service));
}

fn prepare(inner: &Arc<Inner>, service: &Service) {
    let prepared =
        supervisor_of(inner, service).and_then(|supervisor| supervisor.prepare(&image::spec(inner, service)));
    if !matches!(prepared, Ok(false)) {
        record(inner, service, &prepared);
    }
    match prepared {
        Ok(changed) => {
            if changed {
                tell(inner, vec![event(inner, &service.name, "prepared", "")]);
            }
            let now = inner.supervisors.now();
            inner.update(&service.name, |entry| {
                entry.prepared = Prepared::Done;
                entry.times.fetch_ended.get_or_insert(now);
            });
        }
        Err(error) => ended(inner, service, Exit::Unknown, &with_hint(&error)),
    }
}

/// Records what was fetched, or why not. It is of the class `ensure`: fetching again changes nothing.
fn record(inner: &Inner, service: &Service, prepared: &Result<bool, OpError>) {
    let trigger = format!("service:{}", service.name);
    let position = Position::root().step(&service.name, 1).effect(1);
    let recorded = NativeRun::begin(&inner.runs, "prepare", &trigger).and_then(|run| {
        let result = prepared.clone().map(Value::from);
        run.outcome(&position, "services::prepare", EffectClass::Ensure, result)?;
        run.end(match prepared {
            Ok(_) => RunEnd::Succeeded(Value::Unit),
            Err(error) => RunEnd::Failed(error.clone()),
        });
        Ok(())
    });
    if let Err(error) = recorded {
        tracing::warn!(service = service.name, %error, "what was fetched cannot be recorded");
    }
}
