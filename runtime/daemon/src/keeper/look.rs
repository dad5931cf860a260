//! Looking at all that runs now and then, as a plan does: a newer image may be here by now, and somebody may have changed a
//! service by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hob_supervisor::Standing;

use super::Inner;
use super::native::service_facts;
use super::observe::survey;
use super::table::Table;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How old what was seen may be when somebody asks for it.
const FRESH: Duration = Duration::from_secs(2);

/// Somebody asks what runs: what was seen is seen anew, for who asks again.
pub(super) fn asked(inner: &Inner) {
    let now = inner.supervisors.now();
    let mut table = inner.table();
    if table.look_at.is_some_and(|at| at > now && at - now <= LOOK_EVERY.saturating_sub(FRESH)) {
        table.look_at = Some(now);
        inner.changed.notify_all();
    }
}

/// Looks on a thread of its own where it is time to, and not while services start: that takes an engine from them.
pub(super) fn when_due(inner: &Arc<Inner>, table: &mut Table, now: Duration) {
    if table.look_at.is_none_or(|at| at > now) || table.is_moving() {
        return;
    }
    table.look_at = None;
    let inner_of_thread = Arc::clone(inner);
    let spawned = std::thread::Builder::new().name("hob-look".into()).spawn(move || {
        look(&inner_of_thread);
        inner_of_thread.table().look_at = Some(inner_of_thread.supervisors.now() + LOOK_EVERY);
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread can be started");
        table.look_at = Some(now + LOOK_EVERY);
    }
}

fn look(inner: &Inner) {
    let facts = match service_facts(&**inner.runs.journal()) {
        Ok(facts) => facts,
        Err(error) => return tracing::warn!(%error, "what runs cannot be compared"),
    };
    let (running, unseen) = survey(&inner.supervisors, &inner.homelab, &facts);
    for error in unseen {
        tracing::warn!(%error, "what runs cannot be seen");
    }
    let running: BTreeMap<(&str, &str), &Standing> =
        running.iter().map(|(kind, it)| ((kind.as_str(), it.name.as_str()), it)).collect();
    for service in &inner.homelab.services {
        let standing = running.get(&(service.body.kind(), service.name.as_str()));
        let as_started = standing.filter(|it| it.digest == Some(service.digest()));
        let changed = as_started.and_then(|it| it.drift.as_ref().ok()).into_iter().flatten();
        let changed: Vec<String> = changed.map(|it| it.field.clone()).collect();
        // Nothing to decide changes by it, so nobody is woken.
        if let Some(entry) = inner.table().services.get_mut(&service.name) {
            entry.image.seen(&standing.map(|it| it.images.clone()).unwrap_or_default());
            entry.changed = if entry.busy { Vec::new() } else { changed };
        }
    }
}
