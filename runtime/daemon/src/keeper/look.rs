//! Looking at all that runs now and then, as a plan does: a newer image may be here by now, and somebody may have changed a
//! service by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hob_planner::Service;
use hob_supervisor::{Instance, Standing};

use super::drift::News;
use super::native::service_facts;
use super::observe::survey;
use super::table::{Entry, Table};
use super::{Inner, event, tell};

/// How often it is looked where nobody tells of a change.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How old what was seen may be when somebody asks for it, and how long after a look another one follows that is to confirm
/// it.
const FRESH: Duration = Duration::from_secs(2);

/// The field under which it is told that something runs as something else than is declared.
const DECLARATION: &str = "declaration";

/// When all that runs is looked at, on the supervisor's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Looks {
    /// When to look next; `None` while somebody does.
    next: Option<Duration>,
    /// When the last look ended.
    last: Duration,
    /// Whether somebody asked for a look while there was one.
    again: bool,
}

impl Looks {
    /// The first look is at once.
    pub(super) fn new() -> Self {
        Self { next: Some(Duration::ZERO), ..Self::default() }
    }

    /// Has the next look follow the last one by no more than [`FRESH`]; whether somebody is to be woken for it.
    pub(super) fn hurry(&mut self, now: Duration) -> bool {
        let soon = self.last + FRESH;
        match &mut self.next {
            Some(next) => {
                let is_sooner = soon < *next;
                *next = soon.min(*next);
                is_sooner || *next <= now
            }
            None => {
                self.again = true;
                false
            }
        }
    }

    fn ended(&mut self, now: Duration, is_open: bool) {
        self.last = now;
        self.next = Some(now + if self.again || is_open { FRESH } else { LOOK_EVERY });
        self.again = false;
    }
}

/// Somebody asks what runs, or tells that it was changed: it is looked at anew.
pub(super) fn soon(inner: &Inner) {
    let now = inner.supervisors.now();
    if inner.table().looks.hurry(now) {
        inner.changed.notify_all();
    }
}

/// When to look next, after `now`; what moves is not looked at before it has come to rest, and tells of that.
pub(super) fn next(table: &Table, now: Duration) -> Option<Duration> {
    table.looks.next.filter(|at| *at > now)
}

/// Looks on a thread of its own where it is time to, and not while services start: that takes an engine from them.
pub(super) fn when_due(inner: &Arc<Inner>, table: &mut Table, now: Duration) {
    if table.looks.next.is_none_or(|at| at > now) || table.is_moving() {
        return;
    }
    table.looks.next = None;
    let inner_of_thread = Arc::clone(inner);
    let spawned = std::thread::Builder::new().name("hob-look".into()).spawn(move || {
        let inner = inner_of_thread;
        look(&inner);
        let mut table = inner.table();
        let is_open = table.services.values().any(|entry| entry.drift.is_open());
        table.looks.ended(inner.supervisors.now(), is_open);
        drop(table);
        inner.changed.notify_all();
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread can be started");
        table.looks.ended(now, false);
    }
}

fn life(entry: &Entry) -> Option<Instance> {
    entry.running.as_ref().map(|running| running.instance.clone())
}

fn look(inner: &Inner) {
    let facts = match service_facts(&**inner.runs.journal()) {
        Ok(facts) => facts,
        Err(error) => return tracing::warn!(%error, "what runs cannot be compared"),
    };
    let lives: BTreeMap<String, Option<Instance>> =
        inner.table().services.iter().map(|(name, entry)| (name.clone(), life(entry))).collect();
    let (running, unseen) = survey(&inner.supervisors, &inner.homelab, &facts);
    for error in unseen {
        tracing::warn!(%error, "what runs cannot be seen");
    }
    let running: BTreeMap<(&str, &str), &Standing> =
        running.iter().map(|(kind, it)| ((kind.as_str(), it.name.as_str()), it)).collect();
    let now = inner.supervisors.now();
    for service in &inner.homelab.services {
        let standing = running.get(&(service.body.kind(), service.name.as_str()));
        let mut table = inner.table();
        let Some(entry) = table.services.get_mut(&service.name) else { continue };
        entry.image.seen(&standing.map(|it| it.images.clone()).unwrap_or_default());
        // What was seen of a life that is over says nothing of the next one.
        if entry.busy || lives.get(&service.name) != Some(&life(entry)) {
            continue;
        }
        let changed = standing.map(|it| changed(service, entry, it)).unwrap_or_default();
        let news = entry.drift.seen(changed, now);
        drop(table);
        let (what, note) = match news {
            Some(News::Changed(fields)) => ("changed", fields),
            Some(News::Repaired(fields)) => ("repaired", fields),
            None => continue,
        };
        tell(inner, vec![event(inner, &service.name, what, &note)]);
    }
}

/// In which fields a service that runs is not what is declared.
fn changed(service: &Service, entry: &Entry, standing: &Standing) -> Vec<String> {
    if standing.digest != Some(service.digest()) {
        return vec![DECLARATION.to_owned()];
    }
    let drift = standing.drift.as_ref().ok().into_iter().flatten();
    let mut fields: Vec<String> = drift.map(|it| it.field.clone()).collect();
    if entry.image.is_other(&standing.images) {
        fields.push("image".to_owned());
    }
    fields
}
