//! What the keeper knows about each service.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_model::RunId;
use hob_planner::{Homelab, Progress, Service, ServiceState};
use hob_supervisor::Running;
use serde_json::{Value as Json, json};

use super::hold::Hold;

/// What is known about one service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) state: ServiceState,
    /// For people: why it is in this state.
    pub(crate) note: String,
    pub(crate) running: Option<Running>,
    /// What runs is of this kind; it may be declared as another one by now.
    pub(crate) kind: String,
    /// Whether it should run; a person may have stopped it.
    pub(crate) wanted: bool,
    /// Whether it is being stopped only to be started again.
    pub(crate) returns: bool,
    /// Whether nothing that it waits for stands in the way, as was decided last.
    pub(crate) startable: bool,
    /// Whether a holder wants it to start.
    pub(crate) asked: bool,
    pub(crate) holds: Vec<Hold>,
    /// The run that stopped it under a hold.
    pub(crate) stopped_by: Option<RunId>,
    /// Endings since it was last ready for long.
    pub(crate) failures: u32,
    /// When it may start again, on the supervisor's clock.
    pub(crate) retry_at: Option<Duration>,
    /// Since when it has been ready, on the supervisor's clock.
    pub(crate) ready_since: Option<Duration>,
    /// Whether a thread starts or stops it now.
    pub(crate) busy: bool,
    /// Whether the call that starts it is under way.
    pub(crate) calling: bool,
    /// How often it was begun to start or to stop: who started it before has nothing to say any more.
    pub(crate) attempt: u64,
    /// Whether it owes what comes after its end.
    pub(crate) owes: bool,
    /// Whether what it needs to start is there.
    pub(crate) prepared: Prepared,
    pub(crate) care: Care,
    /// Which image it is made from.
    pub(crate) image: super::image::State,
    /// What it did in the boot.
    pub(crate) times: super::boot::Times,
    /// Until when it waits for what it stands on, on the supervisor's clock; in the past where that did not come.
    pub(crate) unmounted_until: Option<Duration>,
    /// Why it must be stopped: what it stands on, a network or a file system, is gone.
    pub(crate) astray: Option<&'static str>,
    /// What it has of the graphics cards.
    pub(crate) share: super::cards::Share,
    /// What somebody has changed of what runs.
    pub(crate) drift: super::drift::Drift,
}

/// How far a service is with what it needs to start: its image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Prepared {
    #[default]
    Unknown,
    UnderWay,
    Done,
}

/// How a ready service is being looked after.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Care {
    /// When to look next, on the supervisor's clock; never looked when absent.
    pub(crate) next: Option<Duration>,
    /// Looks in a row that failed.
    pub(crate) failures: u32,
    /// Whether somebody looks now.
    pub(crate) looking: bool,
}

impl Entry {
    /// For people: its state, and why.
    pub(crate) fn told(&self) -> String {
        if self.note.is_empty() { self.state.to_string() } else { format!("{}: {}", self.state, self.note) }
    }

    /// Whether nobody but a holder may touch it.
    pub(crate) fn is_held(&self) -> bool {
        !self.holds.is_empty()
    }

    /// Whether it may be started, as far as holds are concerned.
    fn is_free(&self) -> bool {
        self.asked || !self.is_held()
    }

    /// Whether it starts, stops, or is about to. What waits for others moves only when these do; what failed and is tried
    /// again later is at rest.
    fn is_moving(&self) -> bool {
        let begins =
            self.startable && self.wanted && self.is_free() && self.failures == 0 && !self.share.waits;
        let leaves = self.astray.is_some() && !self.is_held();
        let starts = begins || self.state == ServiceState::Starting;
        self.busy || self.returns || leaves || starts || self.pays_now()
    }

    /// Whether it has ended, and what comes after that is still to be done.
    pub(super) fn pays_now(&self) -> bool {
        let ended = self.running.is_none() && !self.state.is_alive() && self.state != ServiceState::Unknown;
        self.owes && ended && !self.busy
    }

    /// Whether nothing more happens to it by itself.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.busy
            && !self.returns
            && (self.state.is_ready()
                || self.share.waits
                || matches!(self.state, ServiceState::Failed | ServiceState::Blocked))
    }

    /// Whether it runs, or will.
    pub(crate) fn is_to_run(&self) -> bool {
        self.wanted || self.returns
    }

    /// It should run; `false` when that was so already and nothing stands in the way.
    pub(crate) fn want(&mut self) -> bool {
        let idle = !self.wanted || matches!(self.state, ServiceState::Failed | ServiceState::Completed);
        if idle || self.retry_at.is_some() {
            self.wanted = true;
            self.failures = 0;
            self.retry_at = None;
            if !self.state.is_alive() {
                self.state = ServiceState::Stopped;
                self.note.clear();
            }
        }
        idle
    }
}

/// What is known about all services.
pub(crate) struct Table {
    pub(crate) services: BTreeMap<String, Entry>,
    pub(crate) closing: bool,
    /// Whether something changed since it was decided last what may start.
    pub(crate) stale: bool,
    /// When output was last rotated, on the supervisor's clock.
    pub(crate) rotated: Duration,
    pub(crate) looks: super::look::Looks,
    pub(crate) cards: super::cards::Cards,
}

impl Table {
    pub(crate) fn of(homelab: &Homelab) -> Self {
        let entry = |service: &Service| Entry {
            state: ServiceState::Stopped,
            kind: service.body.kind().to_owned(),
            wanted: true,
            prepared: if service.body.process().is_some() { Prepared::Done } else { Prepared::Unknown },
            ..Entry::default()
        };
        let services =
            homelab.services.iter().map(|service| (service.name.clone(), entry(service))).collect();
        Self {
            services,
            closing: false,
            stale: true,
            rotated: Duration::ZERO,
            looks: super::look::Looks::new(),
            cards: super::cards::Cards::default(),
        }
    }

    pub(crate) fn state(&self, name: &str) -> ServiceState {
        self.services.get(name).map_or(ServiceState::Unknown, |entry| entry.state)
    }

    /// The state of a service for those who wait for it: one that is being stopped to be made anew is not ready any more.
    pub(crate) fn state_for_others(&self, name: &str) -> ServiceState {
        let leaves = self.services.get(name).is_some_and(|entry| entry.drift.is_stopping());
        if leaves { ServiceState::Starting } else { self.state(name) }
    }

    /// How a service stands to the graphics cards; of one that is not there, nothing is kept.
    pub(super) fn share(&mut self, name: &str) -> &mut super::cards::Share {
        &mut self.services.entry(name.to_owned()).or_default().share
    }

    /// Whether a service waits until another one goes, for who knows how long: its tier does not wait for it.
    pub(crate) fn is_put_off(&self, name: &str) -> bool {
        self.services.get(name).is_some_and(|entry| entry.share.waits)
    }

    /// Whether the service may start now, as far as it alone is concerned.
    pub(crate) fn may_start(&self, name: &str, now: Duration) -> bool {
        self.services.get(name).is_some_and(|entry| {
            let free = entry.wanted && entry.is_free() && !entry.busy && !entry.pays_now();
            free && entry.prepared == Prepared::Done && entry.retry_at.is_none_or(|at| at <= now)
        })
    }

    /// Marks a service as being started, with the call for it unless something comes before; which attempt it is.
    pub(crate) fn begin_start(&mut self, name: &str, calls: bool) -> u64 {
        self.services.get_mut(name).map_or(0, |entry| {
            entry.attempt += 1;
            entry.busy = true;
            entry.calling = calls;
            entry.retry_at = None;
            entry.state = ServiceState::Starting;
            entry.astray = None;
            entry.asked = false;
            entry.note.clear();
            entry.drift.started();
            entry.share.started();
            entry.attempt
        })
    }

    /// How many calls that start something are under way.
    pub(crate) fn calling(&self) -> usize {
        self.services.values().filter(|entry| entry.calling).count()
    }

    /// The services for which somebody has to fetch what they need, in the order of `order`; no more than `at_once` are
    /// under way then.
    pub(crate) fn begin_preparing<'n>(
        &mut self,
        order: impl Iterator<Item = &'n str>,
        now: Duration,
        at_once: usize,
    ) -> Vec<String> {
        let under_way = self.services.values().filter(|it| it.prepared == Prepared::UnderWay).count();
        let mut begun = Vec::new();
        for name in order {
            let Some(entry) = self.services.get_mut(name) else { continue };
            let due = entry.prepared == Prepared::Unknown && entry.retry_at.is_none_or(|at| at <= now);
            let idle = entry.wanted && entry.is_free() && !entry.busy && !entry.state.is_alive();
            if due && idle && under_way + begun.len() < at_once {
                entry.prepared = Prepared::UnderWay;
                entry.times.fetch_began.get_or_insert(now);
                begun.push(name.to_owned());
            }
        }
        begun
    }

    /// Whether something starts, stops, or may still start without a person.
    pub(crate) fn is_moving(&self) -> bool {
        self.stale || self.services.values().any(Entry::is_moving)
    }

    /// What failed and is to be tried again now does not count as failed any more.
    pub(crate) fn rearm(&mut self, now: Duration) {
        for entry in self.services.values_mut().filter(|entry| entry.wanted && entry.is_free()) {
            if entry.state == ServiceState::Failed && entry.retry_at.is_some_and(|at| at <= now) {
                entry.state = ServiceState::Stopped;
            }
        }
    }

    /// When the next service may be tried again, after `now`: what holds up one whose time has come tells of its end.
    pub(crate) fn next_retry(&self, now: Duration) -> Option<Duration> {
        let wanted = self.services.values().filter(|entry| entry.wanted);
        wanted.filter_map(|entry| entry.retry_at).filter(|at| *at > now).min()
    }

    /// Forgets the failures of services that have been ready for long.
    pub(crate) fn recover(&mut self, now: Duration, after: Duration) {
        for entry in self.services.values_mut() {
            if entry.failures > 0 && entry.ready_since.is_some_and(|since| now.saturating_sub(since) >= after)
            {
                entry.failures = 0;
            }
        }
    }

    /// Takes in what was decided: which services may start, what others wait for, and which are blocked by what.
    pub(crate) fn take_in(&mut self, progress: &Progress) {
        self.stale = false;
        for (name, entry) in &mut self.services {
            entry.startable = progress.start.contains(name);
            if let Some(roots) = progress.blocked.get(name) {
                entry.state = ServiceState::Blocked;
                let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
                entry.note = format!("needs {}, which failed", roots.join(", "));
            } else if entry.state == ServiceState::Blocked {
                entry.state = ServiceState::Stopped;
                entry.note.clear();
            }
            if let Some(nodes) = progress.waiting.get(name).filter(|_| entry.wanted && entry.failures == 0) {
                let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
                entry.note = format!("waits for {}", nodes.join(", "));
            }
        }
    }

    /// One service as `hob status --json` prints it.
    pub(crate) fn view(&self, service: &Service) -> Json {
        let (name, tier) = (service.name.as_str(), service.tier.as_deref());
        let entry = self.services.get(name).cloned().unwrap_or_default();
        let held: Vec<String> = entry.holds.iter().map(Hold::told).collect();
        let told = entry.drift.told().or_else(|| entry.share.memory.told());
        let note = match (held.is_empty(), told.filter(|_| entry.note.is_empty())) {
            (false, _) => held.join("; "),
            (true, Some(changed)) => changed,
            (true, None) => entry.note.clone(),
        };
        json!({
            "name": name, "tier": tier, "kind": entry.kind, "state": entry.state.as_str(),
            "ready": entry.state.is_ready(), "held": entry.is_held(), "note": note,
            "pid": entry.running.as_ref().and_then(|running| running.pid),
            "instance": entry.running.as_ref().map(|running| running.instance.to_string()),
            "changed": entry.drift.fields(), "failures": entry.failures, "image": service.body.image(), "update": entry.image.told(),
        })
    }
}
