//! Services that share the network of another one.
//!
//! When the other one ends, its network goes with it, and who shares it hangs in a network without a way out while it
//! seems to run. So it is stopped, and started again when the other one is ready: never in between, and never in another
//! network.

use std::sync::Arc;

use hob_planner::{Homelab, Service, ServiceState};
use hob_supervisor::Running;

use super::start::in_thread;
use super::table::Table;
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

/// Notes that a service hangs in a network that is gone.
pub(super) fn note_astray(inner: &Inner, running: &Running) {
    inner.update(&running.name, |entry| {
        entry.state = ServiceState::Degraded;
        CAUSE.clone_into(&mut entry.note);
        entry.running = Some(running.clone());
        entry.astray = Some(CAUSE);
    });
}

/// Notes that those who share the network of `lender`, which has ended, hang in a network that is gone.
pub(super) fn note_borrowers(inner: &Inner, lender: &str) {
    for borrower in inner.homelab.services.iter().filter(|it| it.via.as_deref() == Some(lender)) {
        // One that is being started may have got into that network already.
        inner.update(&borrower.name, |entry| {
            entry.astray = (entry.running.is_some() || entry.calling).then_some(CAUSE);
        });
    }
}

/// The services that are to be stopped now because what they stand on is gone, with what that is, marked so. They stay wanted.
pub(super) fn due(table: &mut Table) -> Vec<(String, &'static str)> {
    let mut due = Vec::new();
    for (name, entry) in &mut table.services {
        // One that waits for its gate is kept busy by that.
        let free = !entry.busy || (entry.state == ServiceState::Starting && !entry.calling);
        if let Some(cause) = entry.astray
            && free
            && !entry.is_held()
        {
            entry.astray = None;
            entry.busy = true;
            due.push((name.clone(), cause));
        }
    }
    due
}

/// Whether somebody is still in the network of the last life of `lender`, or about to get into one: until they are stopped
/// there is no new one, in which they would be before it leads anywhere safe.
pub(super) fn is_left(homelab: &Homelab, table: &Table, lender: &str) -> bool {
    let borrowers = homelab.services.iter().filter(|it| it.via.as_deref() == Some(lender));
    borrowers.filter_map(|it| table.services.get(&it.name)).any(|entry| {
        let leaves = entry.astray.is_some() && !entry.is_held();
        leaves || entry.calling || (entry.busy && entry.running.is_some())
    })
}

/// Stops such a service on a thread of its own; it was marked before.
pub(super) fn in_background(inner: &Arc<Inner>, name: &str, cause: &'static str) {
    let (inner_of_thread, name_of_thread) = (Arc::clone(inner), name.to_owned());
    in_thread(inner, name, move || {
        stop::alone(&inner_of_thread, &name_of_thread, cause, stop::After::Keep);
    });
}
