//! Services and their secrets: what they are handed when they start, and what has changed since.

use hob_model::{OpError, Value};
use hob_planner::plan::{FieldChange, SECRET_DRIFT};
use hob_planner::{Homelab, Service};
use hob_supervisor::Supervisors;
use hob_supervisor::secrets::{Consumer, Delivered};

fn consumer<'a>(supervisors: &'a Supervisors, homelab: &'a Homelab, service: &'a Service) -> Consumer<'a> {
    Consumer {
        place: &homelab.directory,
        sources: &homelab.secrets,
        state: supervisors.state(),
        service: &service.name,
        user: service.body.process().and_then(|process| process.user.as_deref()),
        inside: supervisors.of(service.body.kind()).ok().and_then(|it| it.secrets_inside()),
        uses: service.body.secrets(),
        kept: true,
    }
}

/// What a service is handed beside its declaration when it starts.
pub(super) fn handed(
    supervisors: &Supervisors,
    homelab: &Homelab,
    service: &Service,
) -> Result<Delivered, OpError> {
    if service.body.secrets().is_empty() {
        return Ok(Delivered::default());
    }
    let delivery = supervisors.delivery().ok_or_else(|| {
        OpError::unavailable("this hob was put together without secrets").retryable(false).nothing_happened()
    })?;
    delivery.deliver(&consumer(supervisors, homelab, service)).map_err(OpError::nothing_happened)
}

/// The service runs with what it was handed: earlier generations may go.
pub(super) fn settled(supervisors: &Supervisors, service: &Service) {
    if let Some(delivery) = supervisors.delivery().filter(|_| !service.body.secrets().is_empty()) {
        delivery.settle(supervisors.state(), &service.name);
    }
}

/// The service has ended, and what it was handed goes too: each start is handed it anew.
pub(super) fn removed(supervisors: &Supervisors, name: &str) {
    if let Some(delivery) = supervisors.delivery() {
        delivery.remove(supervisors.state(), name);
    }
}

/// The secrets that have changed since they were handed to the service that runs.
pub(super) fn stale(supervisors: &Supervisors, homelab: &Homelab, service: &Service) -> Vec<String> {
    match supervisors.delivery().filter(|_| !service.body.secrets().is_empty()) {
        Some(delivery) => delivery.stale(&consumer(supervisors, homelab, service)),
        None => Vec::new(),
    }
}

/// As [`stale`], as a plan shows it.
pub(super) fn drift(supervisors: &Supervisors, homelab: &Homelab, service: &Service) -> Vec<FieldChange> {
    let changed = stale(supervisors, homelab, service).into_iter();
    let field = |name: String| FieldChange {
        field: format!("{SECRET_DRIFT}.{name}"),
        from: Value::from("the old value"),
        to: Value::from("the new value"),
    };
    changed.map(field).collect()
}
