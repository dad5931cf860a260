//! Rolling updates: the new one gets ready and settles beside the old one, which stops only when the new one takes its place.
//!
//! Until then nothing is changed about the service: whatever goes wrong, the new one is removed. It is recorded as what it is
//! called meanwhile, so that a hob that comes back after a crash removes it as what nobody declares.

use std::sync::Arc;
use std::time::Duration;

use hob_journal::{Commit, Write};
use hob_model::{Diagnostic, ErrorKind, OpError, Position, Value};
use hob_planner::declaration::{Gate, Hook, successor};
use hob_planner::{Exit, Service, ServiceState};
use hob_supervisor::{Look, NotReady, Running, Spec, Supervisor, await_ready};
use serde_json::Value as Json;

use super::cards::Given;
use super::hold::Holder;
use super::image::{Rejected, State, Trial, rolled_back, settle_of};
use super::native::{NativeRun, service_fact};
use super::start::{ended, fact_of, supervisor_of, told, watch, with_hint};
use super::table::Care;
use super::update::{failed, with_trial};
use super::{Inner, Keeper, around, event, mounts, secrets, tell};

/// How long one waits for an end before one looks whether hob itself ends.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long the last look at a gate may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the new one does not take the place of the old one.
enum Refused {
    /// It did not do well.
    Bad(String),
    /// Something else came between.
    Other(String),
}

impl Refused {
    /// What is not there, or in the way, says nothing of an image.
    fn of_start(error: &OpError) -> Self {
        let why = with_hint(error);
        match error.kind {
            ErrorKind::Failed | ErrorKind::Invalid => Self::Bad(why),
            _ => Self::Other(why),
        }
    }
}

/// A rolling update that is under way.
struct Roll<'r> {
    inner: &'r Arc<Inner>,
    run: &'r NativeRun,
    service: &'r Service,
    trial: &'r Trial,
    /// Who asked for it, and may hold the service.
    by: Option<Holder>,
    /// The new one.
    spec: Spec,
}

impl Keeper {
    /// Whether an update of the service is to be rolling: one that is not ready now loses nothing by a plain one.
    pub(super) fn rolls(&self, service: &Service) -> bool {
        let is_ready = self.inner.table().state(&service.name) == ServiceState::Ready;
        is_ready && service.update.as_ref().is_some_and(|update| update.rolling)
    }

    /// Tries a new image beside the old one; what came of it.
    ///
    /// # Errors
    /// When something came between, and the image is as good as before.
    pub(super) fn roll(
        &self,
        run: &NativeRun,
        (service, trial): (&Service, &Trial),
        by: Option<Holder>,
    ) -> Result<Json, Diagnostic> {
        let inner = &self.inner;
        inner.update(&service.name, |entry| entry.image.beside = true);
        let spec = Spec { image: Some(trial.to.clone()), beside: true, ..Spec::from(service) };
        let roll = Roll { inner, run, service, trial, by, spec };
        let done = roll.prove().and_then(|()| roll.promote());
        let refused = done.err();
        if refused.is_some() {
            roll.give_up();
        }
        inner.update(&service.name, |entry| entry.image.beside = false);
        match refused {
            None => Ok(with_trial(self.told(service, "updated", None), trial)),
            Some(Refused::Bad(why)) => {
                roll.reject(&why);
                Ok(with_trial(self.told(service, "rolled_back", Some(&why)), trial))
            }
            Some(Refused::Other(why)) => Err(failed(service, &why)),
        }
    }
}

impl Roll<'_> {
    fn supervisor(&self) -> Result<&dyn Supervisor, OpError> {
        supervisor_of(self.inner, self.service).map(|supervisor| &**supervisor)
    }

    fn position(&self, effect: u32) -> Position {
        Position::root().step(&self.service.name, 1).effect(effect)
    }

    fn args(&self) -> Value {
        let all = [&self.service.name, &self.trial.from, &self.trial.to];
        Value::Array(all.map(|it| it.as_str().into()).into())
    }

    /// Starts the new one, and sees it get ready and settle.
    fn prove(&self) -> Result<(), Refused> {
        let (service, next) = (self.service, self.spec.known_as());
        mounts::guard_mounts(self.inner, service).map_err(|error| Refused::of_start(&error))?;
        around::beside(self.inner, service, Hook::BeforeStart).map_err(Refused::Other)?;
        // Whoever comes back after a crash finds it by this, whether or not it was started.
        let known = Value::map([
            ("fields", service.fields()),
            ("kind", Value::from(service.body.kind())),
            ("digest", Value::from(service.digest().to_string())),
        ]);
        let fact = Write::Fact { key: service_fact(&next), value: Some(known) };
        self.inner.runs.journal().submit(Commit::one(fact));
        let started = self.run.effect(&self.position(2), "services::start", &self.args(), |key| {
            mounts::guard(self.inner, service)?;
            let delivered = secrets::handed(&self.inner.supervisors, &self.inner.homelab, service)?;
            let spec = Spec { delivered, ..self.spec.clone() };
            Ok((self.supervisor()?.start(&spec, key)?.running, Value::Unit, Vec::new()))
        });
        let running = started.map_err(|error| Refused::of_start(&error))?;
        let supervisor = self.supervisor().map_err(|error| Refused::Other(error.message))?;
        let cancel = &self.inner.cancel;
        match await_ready(supervisor, &running, &self.spec, &service.ready, cancel, &|_| {}) {
            Ok(()) => {}
            Err(NotReady::Cancelled) => return Err(Refused::Other("hob ends".to_owned())),
            Err(not_ready) => {
                let lines = match &not_ready {
                    NotReady::Ended { last_lines, .. } | NotReady::TimedOut { last_lines, .. } => {
                        &last_lines[..]
                    }
                    NotReady::Cancelled | NotReady::Unknown(_) => &[],
                };
                return Err(Refused::Bad(told(&not_ready.to_string(), lines)));
            }
        }
        around::beside(self.inner, service, Hook::AfterStart).map_err(Refused::Bad)?;
        self.settle(supervisor, &running)
    }

    /// It must go on for a while, and be well then.
    fn settle(&self, supervisor: &dyn Supervisor, running: &Running) -> Result<(), Refused> {
        let until = supervisor.now() + settle_of(self.service);
        loop {
            let left = until.saturating_sub(supervisor.now());
            if let Some(exit) = supervisor.wait_exit(&running.instance, left.min(LOOK_AGAIN)) {
                return Err(Refused::Bad(format!("it {exit}")));
            }
            if self.inner.cancel.is_cancelled() {
                return Err(Refused::Other("hob ends".to_owned()));
            }
            if left.is_zero() {
                break;
            }
        }
        let health = self.service.health.as_ref().map(|health| (&health.gate, health.timeout));
        for (gate, timeout) in [(&self.service.ready.gate, LOOK_TIMEOUT)].into_iter().chain(health) {
            self.look(supervisor, gate, timeout)?;
        }
        Ok(())
    }

    fn look(&self, supervisor: &dyn Supervisor, gate: &Gate, timeout: Duration) -> Result<(), Refused> {
        match supervisor.look(&self.spec, gate, timeout) {
            Ok(Look::Passed) => Ok(()),
            Ok(Look::NotYet(why)) => Err(Refused::Bad(format!("it is not ready any more: {why}"))),
            Err(error) => Err(Refused::Other(with_hint(&error))),
        }
    }

    /// Puts the new one in the place of the old one.
    fn promote(&self) -> Result<(), Refused> {
        self.claim_service()?;
        let (inner, service) = (self.inner, self.service);
        let accepted = State { busy: true, beside: true, ..State::default() };
        if let Ok(supervisor) = self.supervisor() {
            around::before_stop(inner, service, supervisor);
        }
        let done = self.run.effect(&self.position(3), "services::update", &self.args(), |_| {
            let running = self.supervisor()?.promote(&Spec::from(service), service.stop_timeout)?;
            let writes = vec![
                fact_of(service, &running, &Given::default()),
                Write::Fact { key: service_fact(&successor(&service.name)), value: None },
                accepted.fact(service),
                event(inner, &service.name, "updated", ""),
            ];
            Ok((running, Value::Unit, writes))
        });
        match done {
            Ok(running) => {
                around::after_stop(inner, service, true);
                around::note_owed(inner, service, Some(&running));
                let now = inner.supervisors.now();
                inner.update(&service.name, |entry| {
                    entry.busy = false;
                    entry.state = ServiceState::Ready;
                    entry.running = Some(running.clone());
                    entry.ready_since = Some(now);
                    entry.care = Care::default();
                    entry.image = State { asked: entry.image.asked, ..accepted };
                    entry.note.clear();
                });
                if let Ok(supervisor) = self.supervisor() {
                    watch(inner, supervisor, service, &running);
                }
                Ok(())
            }
            Err(error) => {
                // The old one may have stopped: it is started again behind its gate, as after any end.
                let why = with_hint(&error);
                ended(inner, service, Exit::Unknown, &why);
                Err(Refused::Other(why))
            }
        }
    }

    /// Has nobody else start or stop the service; nothing is done to one that somebody holds or does not want any more.
    fn claim_service(&self) -> Result<(), Refused> {
        let (inner, name) = (self.inner, &self.service.name);
        let mut table = inner.table();
        loop {
            let closing = table.closing;
            let Some(entry) = table.services.get_mut(name) else {
                return Err(Refused::Other("it is gone".to_owned()));
            };
            let held = entry.holds.iter().find(|hold| Some(hold.by) != self.by);
            if closing || !entry.wanted || held.is_some() {
                let why = held.map_or_else(|| "it is not to run any more".to_owned(), |hold| hold.told());
                return Err(Refused::Other(why));
            }
            if !entry.busy {
                entry.busy = true;
                return Ok(());
            }
            table = inner.changed.wait(table).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Removes the new one. Where that fails, the next hob does it.
    fn give_up(&self) {
        let next = self.spec.known_as();
        let done = self.run.effect(&self.position(4), "services::stop", &self.args(), |_| {
            let supervisor = self.supervisor()?;
            supervisor.stop(&next, self.service.stop_timeout)?;
            supervisor.remove(&next)?;
            Ok(((), Value::Unit, vec![Write::Fact { key: service_fact(&next), value: None }]))
        });
        if let Err(error) = done {
            tracing::error!(service = next, %error, "it cannot be removed");
        }
    }

    /// Keeps to the old image until the registry has another one.
    fn reject(&self, why: &str) {
        let (inner, service) = (self.inner, self.service);
        let mut writes = Vec::new();
        inner.update(&service.name, |entry| {
            entry.image.pin = Some(self.trial.from.clone());
            entry.image.newer = false;
            entry.image.rejected = Some(Rejected { image: self.trial.to.clone(), reason: why.to_owned() });
            writes.push(entry.image.fact(service));
        });
        let note = rolled_back(&self.trial.to, why);
        tracing::warn!(service = service.name, "{note}");
        writes.push(event(inner, &service.name, "rolled_back", &note));
        let ticket = tell(inner, writes);
        if let Err(error) = inner.runs.journal().wait(ticket) {
            tracing::error!(service = service.name, %error, "the roll-back cannot be recorded");
        }
    }
}
