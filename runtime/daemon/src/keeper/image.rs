//! Which image a service is made from, where that is not simply the one that its name stands for.
//!
//! An update is a trial of a new image: it is a fact of the journal from before the old one stops until the new one has run
//! well for a while. Whatever ends the service meanwhile ends the trial, and the service is made from the old image again.
//! So it makes no difference whether the same hob sees that, or one that comes back after a crash.

use std::sync::Arc;
use std::time::Duration;

use hob_journal::{Commit, Write};
use hob_model::{Diagnostic, OpError, Value};
use hob_planner::declaration::UPDATE_SETTLE;
use hob_planner::{Service, ServiceState};
use hob_supervisor::{Images, Spec};

use super::start::{in_thread, supervisor_of};
use super::table::{Prepared, Table};
use super::{Inner, event, tell};

/// What stands before the name of a service in the key of its fact.
pub(super) const PREFIX: &str = "image/";

/// How many characters of an image's id people see, as engines show them.
const ID_CHARS: usize = 12;

/// What is known about the image of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// It is made from this one, whatever its name stands for.
    pub(super) pin: Option<String>,
    /// The update that is under way.
    pub(super) trial: Option<Trial>,
    /// The one that did not do well.
    pub(super) rejected: Option<Rejected>,
    /// Its name stands for a newer one, which was not rejected.
    pub(super) newer: bool,
    /// Somebody updates it now.
    pub(super) busy: bool,
    /// Its time has come, and somebody is about to update it.
    pub(super) queued: bool,
    /// A new one gets ready beside it.
    pub(super) beside: bool,
    /// When a registry was last asked by itself.
    pub(super) asked: Option<hob_model::Timestamp>,
}

/// An update that has not proved itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(super) from: String,
    pub(super) to: String,
    /// Whether the new image was started: until then, it is the old one that is ready or ends.
    pub(super) begun: bool,
}

/// An image that was rolled back from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(super) image: String,
    pub(super) reason: String,
}

/// The id as people see it.
pub(super) fn short(id: &str) -> String {
    id.chars().take(ID_CHARS).collect()
}

/// What is to run of a service.
pub(super) fn spec(inner: &Inner, service: &Service) -> Spec {
    let image = inner.table().services.get(&service.name).and_then(|entry| entry.image.pin.clone());
    Spec { image, ..Spec::from(service) }
}

/// Takes in what is recorded. What was recorded of another name of an image does not hold for this one.
pub(super) fn load(inner: &Inner) -> Result<(), Diagnostic> {
    let facts = inner.runs.journal().facts(PREFIX).map_err(|error| hob_runs::journal_diagnostic(&error))?;
    for (key, value) in facts {
        let Some(service) = key.strip_prefix(PREFIX).and_then(|name| inner.homelab.service(name)) else {
            continue;
        };
        if value.get("name").and_then(Value::as_str) == service.body.image() {
            inner.update(&service.name, |entry| entry.image = State::from_fact(&value));
        }
    }
    Ok(())
}

impl State {
    /// Takes in what a look has found.
    pub(super) fn seen(&mut self, images: &Images) {
        let rejected = self.rejected.as_ref().map(|it| it.image.as_str());
        self.newer = images.differ() && images.named.as_deref() != rejected;
    }

    fn from_fact(value: &Value) -> Self {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let trial = value
            .get("trial")
            .and_then(|it| Some(Trial { from: text(it, "from")?, to: text(it, "to")?, begun: true }));
        let rejected = value
            .get("rejected")
            .and_then(|it| Some(Rejected { image: text(it, "image")?, reason: text(it, "reason")? }));
        Self { pin: text(value, "pin"), trial, rejected, ..Self::default() }
    }

    /// The service was started, from whichever image it is to be.
    pub(super) fn started(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.begun = true;
        }
    }

    /// Whether an update has still to prove itself.
    pub(super) fn is_on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// Whether somebody updates it, or a new image has still to prove itself.
    pub(super) fn is_under_way(&self) -> bool {
        self.busy || self.queued || self.beside || self.trial.is_some()
    }

    /// Whether it is to be made from one image, whatever its name stands for, and is made from another one.
    pub(super) fn is_other(&self, images: &Images) -> bool {
        let pin = self.pin.as_ref().filter(|_| !self.is_under_way());
        pin.zip(images.used.as_ref()).is_some_and(|(pin, used)| pin != used)
    }

    /// Whether a new one gets ready beside it.
    pub(super) fn is_beside(&self) -> bool {
        self.beside
    }

    /// What `hob status` says of updates: nothing where all is well.
    pub(super) fn told(&self) -> Option<&'static str> {
        match self {
            Self { trial: Some(_), .. } | Self { beside: true, .. } => Some("trial"),
            Self { rejected: Some(_), newer: false, .. } => Some("rolled_back"),
            Self { newer: true, .. } => Some("available"),
            _ => None,
        }
    }

    /// What the journal keeps; nothing where its name says all.
    pub(super) fn fact(&self, service: &Service) -> Write {
        let trial = self.trial.as_ref().map(|it| {
            Value::map([("from", Value::from(it.from.as_str())), ("to", Value::from(it.to.as_str()))])
        });
        let rejected = self.rejected.as_ref().map(|it| {
            Value::map([
                ("image", Value::from(it.image.as_str())),
                ("reason", Value::from(it.reason.as_str())),
            ])
        });
        let says_more = self.pin.is_some() || trial.is_some() || rejected.is_some();
        let value = says_more.then(|| {
            Value::map([
                ("name", Value::from(service.body.image())),
                ("pin", Value::from(self.pin.clone())),
                ("trial", trial.unwrap_or_default()),
                ("rejected", rejected.unwrap_or_default()),
            ])
        });
        Write::Fact { key: format!("{PREFIX}{}", service.name), value }
    }
}

/// The image that was rolled back from, as the fact of a service has it.
pub(super) fn rejected_of(fact: &Value) -> Option<&str> {
    fact.get("rejected")?.get("image")?.as_str()
}

/// Gives up updates whose old image still runs: hob ended before it stopped it. Where the new one runs, or nothing does,
/// the trial goes on.
pub(super) fn give_up_unbegun(inner: &Inner) {
    for service in &inner.homelab.services {
        let state = inner.table().services.get(&service.name).map(|entry| entry.image.clone());
        let Some(mut state) = state.filter(|state| state.trial.is_some()) else { continue };
        let Some(trial) = state.trial.take() else { continue };
        let supervisor = supervisor_of(inner, service);
        let runs = supervisor.and_then(|it| Ok(it.observe()?.iter().any(|it| it.name == service.name)));
        let used = images(inner, service).ok().and_then(|images| images.used);
        if runs.is_ok_and(|runs| runs) && used.as_deref() == Some(trial.from.as_str()) {
            tracing::info!(service = service.name, "an update that had not begun is given up");
            state.pin = None;
            inner.runs.journal().submit(Commit::one(state.fact(service)));
            inner.update(&service.name, |entry| entry.image = state);
        }
    }
}

/// The images of a service, as its supervisor sees them.
pub(super) fn images(inner: &Inner, service: &Service) -> Result<Images, OpError> {
    supervisor_of(inner, service)?.images(&Spec::from(service))
}

/// Ends the trial of a new image that did not do well: the service is made from the old one again. Whether there was a
/// trial; then it is started again by itself.
pub(super) fn roll_back(inner: &Arc<Inner>, service: &Service, why: &str) -> bool {
    let mut state = None;
    inner.update(&service.name, |entry| {
        let Some(trial) = entry.image.trial.take_if(|trial| trial.begun) else { return };
        // Nobody starts it before the journal has it.
        entry.busy = true;
        entry.running = None;
        entry.ready_since = None;
        entry.astray = None;
        entry.image.pin = Some(trial.from);
        entry.image.newer = false;
        entry.image.rejected = Some(Rejected { image: trial.to, reason: why.to_owned() });
        state = Some(entry.image.clone());
    });
    let Some(state) = state else { return false };
    let note = rolled_back(state.rejected.as_ref().map_or("", |it| &it.image), why);
    tracing::warn!(service = service.name, "{note}");
    let (inner_of_thread, service) = (Arc::clone(inner), service.clone());
    // Who tells of an end must not be held up by the disk.
    in_thread(inner, &service.name.clone(), move || {
        let inner = inner_of_thread;
        let writes = vec![state.fact(&service), event(&inner, &service.name, "rolled_back", &note)];
        let ticket = tell(&inner, writes);
        if let Err(error) = inner.runs.journal().wait(ticket) {
            tracing::error!(service = service.name, %error, "the roll-back cannot be recorded");
        }
        inner.update(&service.name, |entry| {
            entry.busy = false;
            entry.failures = 0;
            entry.retry_at = None;
            entry.state = ServiceState::Stopped;
            entry.prepared = Prepared::Done;
            entry.note = note;
        });
    });
    true
}

/// What people read of an image that did not do well.
pub(super) fn rolled_back(image: &str, why: &str) -> String {
    format!("the image {} was rolled back: {why}", short(image))
}

/// How long a new image has to run well.
pub(super) fn settle_of(service: &Service) -> Duration {
    service.update.as_ref().map_or(UPDATE_SETTLE, |update| update.settle)
}

/// Accepts new images that have done well for long enough. Gives when the next one will have.
pub(super) fn settle(inner: &Inner, table: &mut Table, now: Duration) -> Option<Duration> {
    let mut next: Option<Duration> = None;
    for service in &inner.homelab.services {
        let Some(entry) = table.services.get_mut(&service.name) else { continue };
        if !entry.image.trial.as_ref().is_some_and(|trial| trial.begun) || entry.busy {
            continue;
        }
        let settled = match entry.state {
            ServiceState::Completed => true,
            ServiceState::Ready => {
                let at = entry.ready_since.unwrap_or(now) + settle_of(service);
                next = if at > now { Some(next.map_or(at, |it| it.min(at))) } else { next };
                at <= now
            }
            _ => false,
        };
        if settled {
            entry.image = State { busy: entry.image.busy, asked: entry.image.asked, ..State::default() };
            let writes = vec![entry.image.fact(service), event(inner, &service.name, "updated", "")];
            tell(inner, writes);
        }
    }
    next
}
