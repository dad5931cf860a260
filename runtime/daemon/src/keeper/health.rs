//! Looking after services that are ready.

use std::sync::Arc;
use std::time::Duration;

use hob_planner::declaration::Health;
use hob_planner::{Exit, Service, ServiceState};
use hob_supervisor::{Look, Spec};

use super::start::{ended, in_thread, supervisor_of};
use super::table::Table;
use super::{Inner, event, stop, tell};

/// Looks that are under way at one time.
const AT_ONCE: usize = 4;

/// The services that are to be looked at now, marked so.
pub(super) fn due(inner: &Inner, table: &mut Table, now: Duration) -> Vec<String> {
    let looking = table.services.values().filter(|entry| entry.care.looking).count();
    let mut due = Vec::new();
    for service in &inner.homelab.services {
        let Some(health) = &service.health else { continue };
        let Some(entry) = table.services.get_mut(&service.name) else { continue };
        if !matches!(entry.state, ServiceState::Ready | ServiceState::Degraded)
            || entry.care.looking
            || entry.busy
        {
            continue;
        }
        // Its gate has just held: the first look is an interval later.
        let next = *entry.care.next.get_or_insert(now + health.interval);
        if next <= now && looking + due.len() < AT_ONCE {
            entry.care.looking = true;
            due.push(service.name.clone());
        }
    }
    due
}

/// When the next look is due, after `now`: the end of another look has those that wait for it begin.
pub(super) fn next(table: &Table, now: Duration) -> Option<Duration> {
    let cared = table.services.values().filter(|it| !it.care.looking && it.state.is_alive());
    cared.filter_map(|it| it.care.next).filter(|at| *at > now).min()
}

/// Looks at a service on a thread of its own; it was marked before.
pub(super) fn in_background(inner: &Arc<Inner>, name: &str) {
    let Some(service) = inner.homelab.service(name).cloned() else { return };
    let inner_of_thread = Arc::clone(inner);
    in_thread(inner, name, move || look(&inner_of_thread, &service));
}

fn look(inner: &Arc<Inner>, service: &Service) {
    let Some(health) = &service.health else { return };
    let spec = Spec::from(service);
    let found = supervisor_of(inner, service).and_then(|it| it.look(&spec, &health.gate, health.timeout));
    let problem = match found {
        Ok(Look::Passed) => None,
        Ok(Look::NotYet(why)) => Some(why),
        Err(error) => Some(error.to_string()),
    };
    let now = inner.supervisors.now();
    let (mut before, mut after) = (ServiceState::Unknown, ServiceState::Unknown);
    let (mut is_current, mut on_trial) = (false, false);
    inner.update(&service.name, |entry| {
        entry.care.looking = false;
        entry.care.next = Some(now + health.interval);
        before = entry.state;
        is_current = !entry.busy && matches!(before, ServiceState::Ready | ServiceState::Degraded);
        if !is_current {
            return;
        }
        match &problem {
            None => {
                entry.care.failures = 0;
                entry.state = ServiceState::Ready;
                entry.note.clear();
            }
            Some(why) => {
                entry.care.failures += 1;
                if entry.care.failures >= health.retries {
                    entry.state = ServiceState::Degraded;
                    entry.note = format!("unhealthy: {why}");
                }
            }
        }
        after = entry.state;
        on_trial = entry.image.is_on_trial();
    });
    if !is_current || (before == after && after != ServiceState::Degraded) {
        return;
    }
    let what = if after == ServiceState::Degraded { "unhealthy" } else { "healthy" };
    if before != after {
        let note = problem.clone().unwrap_or_default();
        tell(inner, vec![event(inner, &service.name, what, &note)]);
    }
    // A new image that is not healthy is rolled back, whatever becomes of one that was proved.
    if after == ServiceState::Degraded && (health.restart || on_trial) {
        restart(inner, service, health, &problem.unwrap_or_default());
    }
}

/// Ends what is not healthy; it starts again as any service that ended does.
fn restart(inner: &Arc<Inner>, service: &Service, health: &Health, why: &str) {
    let mut free = false;
    inner.update(&service.name, |entry| {
        free = entry.wanted && !entry.is_held() && !entry.busy;
        entry.busy |= free;
    });
    if !free {
        return;
    }
    let cause = format!("{} looks in a row failed: {why}", health.retries);
    if stop::alone(inner, &service.name, &cause, stop::After::StayBusy) {
        ended(inner, service, Exit::Unknown, &format!("unhealthy: {why}"));
    }
}
