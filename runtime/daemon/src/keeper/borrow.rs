//! Services that share the network of another one.
//!
//! When the other one ends, its network goes with it, and who shares it hangs in a network without a way out while it
//! seems to run. So it is stopped, and started again when the other one is ready: never in between, and never in another
//! network.

use std::sync::Arc;

use hob_planner::{Service, ServiceState};
use hob_supervisor::Running;

use super::start::in_thread;
use super::{Inner, stop};

/// Why they are stopped.
const CAUSE: &str = "the network that it shares is gone";

/// Whether a service runs in another network than the present one of the service it names.
pub(super) fn is_astray(
    inner: &Inner,
    service: &Service,
    running: &Running,
    all: &[(&str, Running)],
) -> bool {
    let Some(via) = &service.via else { return false };
    let lender = all.iter().find(|(kind, it)| *kind == service.body.kind() && it.name == *via);
    let Some((kind, lender)) = lender else { return true };
    let shares = inner.supervisors.of(kind).and_then(|supervisor| supervisor.shares_network(running, lender));
    shares.map_or_else(
        |error| {
            tracing::warn!(service = service.name, %error, "its network cannot be told");
            true
        },
        |shares| !shares,
    )
}

/// Stops what [`is_astray`], before anything else begins.
pub(super) fn stop_astray(inner: &Arc<Inner>, service: &Service, running: &Running) {
    tracing::info!(service = service.name, "its network is not that of {:?} any more", service.via);
    inner.update(&service.name, |entry| {
        entry.busy = true;
        entry.running = Some(running.clone());
    });
    stop::alone(inner, &service.name, CAUSE);
}

/// Stops those who share the network of `lender`, which has ended, in the background. They stay wanted.
pub(super) fn stop_borrowers(inner: &Arc<Inner>, lender: &str) {
    let borrowers = inner.homelab.services.iter().filter(|it| it.via.as_deref() == Some(lender));
    for borrower in borrowers {
        let mut ran = false;
        inner.update(&borrower.name, |entry| {
            // One that starts this moment finds no network, and is started again.
            ran = entry.running.is_some() && (!entry.busy || entry.state == ServiceState::Starting);
            entry.busy |= ran;
        });
        if ran {
            let (inner_of_thread, name) = (Arc::clone(inner), borrower.name.clone());
            in_thread(inner, &borrower.name, move || {
                stop::alone(&inner_of_thread, &name, CAUSE);
            });
        }
    }
}
