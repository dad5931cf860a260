//! What somebody has changed of services that run, past hob: it is told, and made as declared again behind the same gates.
//!
//! Two looks in a row must find the same: whoever is in the midst of something is let finish, and one look may have met a
//! service between two lives. A service whose gate others have passed is stopped alone, as if it had crashed, and starts when
//! what it needs is ready. Who changes it again each time is another controller: the pauses between repairs grow, so that
//! neither makes the other go on for ever.

use std::sync::Arc;
use std::time::Duration;

use hob_planner::plan::FILE_DRIFT;
use hob_planner::restart::OnDrift;
use hob_planner::{Exit, Restart, Service, ServiceState};

use super::start::in_thread;
use super::table::{Entry, Prepared, Table};
use super::{Inner, borrow, stop};

/// Services that are stopped for a repair at one time.
const AT_ONCE: usize = 4;

/// What is known of what somebody has changed of a service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drift {
    /// The fields that differ, as the last look found them.
    fields: Vec<String>,
    /// Whether the look before found the same.
    confirmed: bool,
    /// What becomes of it, for people.
    fate: String,
    /// Repairs since it was last left as declared for long.
    repairs: u32,
    /// When the last of them began, on the supervisor's clock.
    repaired_at: Duration,
    /// What is being repaired, until a look finds it as declared.
    repairing: Option<String>,
    /// Whether it is being stopped for that.
    stopping: bool,
    /// When it may be repaired again, where nothing else stands in the way.
    retry_at: Option<Duration>,
}

/// What a look has to tell of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Somebody has changed these fields.
    Changed(String),
    /// These fields are as declared again.
    Repaired(String),
}

impl Drift {
    /// Takes in what a look has found.
    pub(super) fn seen(&mut self, fields: Vec<String>, now: Duration) -> Option<News> {
        let confirmed = !fields.is_empty() && fields == self.fields;
        let is_new = confirmed && !self.confirmed;
        self.confirmed = confirmed;
        self.fields = fields;
        if is_new {
            return Some(News::Changed(self.fields.join(", ")));
        }
        if !self.fields.is_empty() {
            return None;
        }
        self.fate.clear();
        self.retry_at = None;
        if now.saturating_sub(self.repaired_at) > self.pause() * 2 {
            self.repairs = 0;
        }
        self.repairing.take().map(News::Repaired)
    }

    /// It is being started: whatever was changed of its last life is gone with that.
    pub(super) fn started(&mut self) {
        self.fields.clear();
        self.confirmed = false;
        self.fate.clear();
        self.retry_at = None;
    }

    /// Whether it is being stopped, to be made as declared.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether another look should follow soon.
    pub(super) fn is_open(&self) -> bool {
        self.repairing.is_some() || (!self.fields.is_empty() && !self.confirmed)
    }

    /// The fields that somebody has changed.
    pub(super) fn fields(&self) -> &[String] {
        &self.fields
    }

    /// For people: what was changed, and what becomes of it; nothing where all is as declared.
    pub(super) fn told(&self) -> Option<String> {
        let fate = if self.is_its_owners() { "; it holds when it is restarted" } else { &self.fate };
        let what = || format!("changed by hand: {}{fate}", self.fields.join(", "));
        (!self.fields.is_empty()).then(what)
    }

    /// Whether only files were changed that are their owner's: when these are to hold is for the owner to say.
    fn is_its_owners(&self) -> bool {
        let is_file = |field: &String| field.split('.').next() == Some(FILE_DRIFT);
        !self.fields.is_empty() && self.fields.iter().all(is_file)
    }

    /// How long after the last repair there is another.
    fn pause(&self) -> Duration {
        let again = |repairs| Restart::OF_REPAIRS.after(Exit::Unknown, repairs);
        self.repairs.checked_sub(1).and_then(again).unwrap_or_default()
    }
}

/// The services that are to be made as declared again now, marked as busy; before what needs them.
pub(super) fn due(inner: &Inner, table: &mut Table, now: Duration) -> Vec<String> {
    let mut due: Vec<String> = Vec::new();
    let stopping = table.services.values().filter(|entry| entry.drift.is_stopping()).count();
    for service in inner.homelab.services_in_order().filter(|it| it.drift == OnDrift::Repair) {
        let is_free = table.services.get(&service.name).is_some_and(may_be_repaired);
        if !is_free || stopping + due.len() >= AT_ONCE || waits(table, service) {
            continue;
        }
        let held = held_with(inner, table, service);
        let Some(entry) = table.services.get_mut(&service.name) else { continue };
        let drift = &mut entry.drift;
        let at = drift.repaired_at + drift.pause();
        drift.retry_at = None;
        drift.fate = match held {
            Some(name) => format!("; left so, since `{name}` is held"),
            None if at > now => {
                drift.retry_at = Some(at);
                let pause = hob_model::duration::format(drift.pause());
                format!("; made as declared {} times in a row, not again before {pause}", drift.repairs)
            }
            None => {
                drift.repairs = drift.repairs.saturating_add(1);
                drift.repaired_at = now;
                drift.repairing = Some(drift.fields.join(", "));
                drift.stopping = true;
                entry.busy = true;
                due.push(service.name.clone());
                continue;
            }
        };
    }
    if !due.is_empty() {
        // What came of it is told when it was seen.
        table.looks.hurry(now);
    }
    due
}

/// Whether two looks found it changed, and nobody else does something about it.
fn may_be_repaired(entry: &Entry) -> bool {
    let rests = matches!(entry.state, ServiceState::Ready | ServiceState::Degraded | ServiceState::Failed);
    entry.drift.confirmed
        && !entry.drift.is_its_owners()
        && rests
        && entry.wanted
        && !entry.busy
        && !entry.image.is_under_way()
}

/// Whether something that it needs is not ready, or is about to be repaired itself.
fn waits(table: &Table, service: &Service) -> bool {
    service.needs.iter().any(|need| !table.state_for_others(need).is_ready())
}

/// It, or what needs it, that somebody holds: what is held is not to lose what it stands on either.
fn held_with(inner: &Inner, table: &Table, service: &Service) -> Option<String> {
    let is_held = |name: &String| table.services.get(name).is_some_and(Entry::is_held);
    stop::order_with_dependents(inner, &service.name).into_iter().rev().find(is_held)
}

/// When the next service may be repaired again, after `now`.
pub(super) fn next(table: &Table, now: Duration) -> Option<Duration> {
    table.services.values().filter_map(|entry| entry.drift.retry_at).filter(|at| *at > now).min()
}

/// Has a service, which was marked before, start as declared, on a thread of its own.
pub(super) fn in_background(inner: &Arc<Inner>, name: &str) {
    let (inner_of_thread, name_of_thread) = (Arc::clone(inner), name.to_owned());
    in_thread(inner, name, move || repair(&inner_of_thread, &name_of_thread));
}

fn repair(inner: &Inner, name: &str) {
    let told = inner.table().services.get(name).and_then(|entry| entry.drift.told()).unwrap_or_default();
    tracing::warn!(service = name, "{told}");
    let stopped = stop::alone(inner, name, &told, stop::After::Remake);
    if stopped {
        borrow::note_borrowers(inner, name);
    }
    inner.update(name, |entry| {
        entry.drift.stopping = false;
        if !stopped {
            return;
        }
        entry.busy = false;
        entry.failures = 0;
        entry.retry_at = None;
        // Whoever changed it may have removed its image, too.
        if entry.prepared == Prepared::Done && entry.kind != hob_planner::declaration::PROCESS {
            entry.prepared = Prepared::Unknown;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: &str) -> Vec<String> {
        [name].into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn what_two_looks_find_is_told_once() {
        let mut drift = Drift::default();
        let changed = |name: &str| Some(News::Changed(name.to_owned()));
        for (found, news, open) in [
            ("image", None, true),
            ("", None, false),
            ("image", None, true),
            ("labels", None, true),
            ("labels", changed("labels"), false),
            ("labels", None, false),
            ("image", None, true),
            ("image", changed("image"), false),
        ] {
            assert_eq!(drift.seen(fields(found), Duration::ZERO), news, "{found}");
            assert_eq!(drift.is_open(), open, "{found}");
        }
        drift.repairing = Some("image".to_owned());
        drift.started();
        assert!(drift.is_open());
        assert_eq!(drift.seen(fields(""), Duration::ZERO), Some(News::Repaired("image".to_owned())));
        assert_eq!(drift.seen(fields(""), Duration::ZERO), None);
    }

    #[test]
    fn repairs_that_do_not_last_get_rare() {
        let seconds = |repairs| Drift { repairs, ..Drift::default() }.pause().as_secs();
        let pauses: Vec<u64> = (0..10).map(seconds).collect();
        assert_eq!(pauses, [0, 30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
        let mut drift = Drift { repairs: 3, repaired_at: Duration::from_secs(100), ..Drift::default() };
        drift.seen(Vec::new(), Duration::from_secs(100 + 240));
        assert_eq!(drift.repairs, 3);
        drift.seen(Vec::new(), Duration::from_secs(100 + 241));
        assert_eq!(drift.repairs, 0, "it was left as declared for long");
    }
}
