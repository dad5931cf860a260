//! Updating services: fetch, compare, try, and keep or roll back.

use std::sync::Arc;
use std::time::Duration;

use hob_model::{Code, Diagnostic, EffectClass, OpError, Position, RunEnd, RunId, Timestamp, Value};
use hob_planner::Service;
use hob_primitive::{Patience, ServiceRequest};
use hob_supervisor::{Images, Spec};
use serde_json::{Value as Json, json};

use super::hold::Holder;
use super::image::{Rejected, State, Trial, short};
use super::native::NativeRun;
use super::start::{in_thread, supervisor_of, with_hint};
use super::table::{Entry, Table};
use super::{Inner, Keeper, asked, event, hooks, replicas, stop, tell};

/// How long a run that waits sleeps at most before it looks whether it is to go on waiting.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Who asks for an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// A person, who may want what was rejected once to be tried again.
    Person,
    /// The times that are declared.
    Time,
    /// A run, which may hold the service.
    Run(RunId),
}

impl Asked {
    fn trigger(self, service: &Service) -> String {
        match self {
            Self::Person => "person".to_owned(),
            Self::Time => format!("update:{}", service.name),
            Self::Run(run) => format!("run:{run}"),
        }
    }

    /// Who may hold the service, and updates it all the same.
    fn holder(self) -> Option<Holder> {
        match self {
            Self::Run(run) => Some(Holder::Run(run)),
            Self::Person | Self::Time => None,
        }
    }
}

/// What is to be done about the images of a service.
enum Found {
    /// It is made from what its name stands for.
    Current,
    /// There is a newer one, which did not do well.
    Rejected(Rejected),
    /// There is a newer one.
    Newer(Trial),
}

impl Keeper {
    /// Updates a service; blocks until the new image has done well or was rolled back. With `dry_run` the new image is only
    /// fetched.
    ///
    /// # Errors
    /// When the service is held or has no image, another update of it is under way, the image cannot be fetched, or the
    /// function that runs before the update fails: then nothing was stopped.
    pub fn update(&self, name: &str, dry_run: bool) -> Result<Json, Diagnostic> {
        let several = replicas::of(&self.inner.homelab, name);
        if !several.is_empty() {
            return self.ask(name, &ServiceRequest::Update { dry_run });
        }
        let service = asked::find(&self.inner, name).map_err(|error| asked::problem(&error))?;
        self.update_as(service, dry_run, Asked::Person)
    }

    /// As [`Keeper::update`], for a run; an image that was rolled back is not tried again.
    ///
    /// # Errors
    /// As [`Keeper::update`]; when `patience` is at its end the update goes on.
    pub(super) fn update_for(
        &self,
        run: RunId,
        service: &Service,
        dry_run: bool,
        patience: Patience<'_>,
    ) -> Result<Json, OpError> {
        let (keeper, updated, name) = (self.clone(), service.clone(), &service.name);
        let (tell, told) = std::sync::mpsc::channel();
        let work = move || drop(tell.send(keeper.update_as(&updated, dry_run, Asked::Run(run))));
        let thread = std::thread::Builder::new().name(format!("hob-update-{name}")).spawn(work);
        thread.map_err(|error| OpError::unavailable(format!("no thread can be started: {error}")))?;
        let mut waited = Duration::ZERO;
        loop {
            if let Ok(done) = told.recv_timeout(LOOK_AGAIN) {
                return done.map_err(|error| match error.code {
                    Code::ServiceHeld => OpError::conflict(error.message).nothing_happened(),
                    _ => OpError::failed(error.message),
                });
            }
            waited += LOOK_AGAIN;
            if patience.cancel.is_cancelled() {
                return Err(OpError::cancelled(format!("told to stop; the update of `{name}` goes on")));
            }
            if patience.timeout.is_some_and(|limit| waited >= limit) {
                return Err(OpError::timeout(format!("the update of `{name}` still goes on")));
            }
        }
    }

    fn update_as(&self, service: &Service, dry_run: bool, asked: Asked) -> Result<Json, Diagnostic> {
        self.claim(service, asked.holder())?;
        let run = NativeRun::begin(&self.inner.runs, "update", &asked.trigger(service));
        let result = run.map_err(|error| error.diagnostic()).and_then(|run| {
            let result = self.update_in(&run, service, dry_run, asked);
            run.end(match &result {
                Ok(told) => RunEnd::Succeeded(Value::from_json(told.clone()).unwrap_or_default()),
                Err(error) => RunEnd::Failed(OpError::failed(error.message.clone())),
            });
            result
        });
        self.inner.update(&service.name, |entry| entry.image.busy = false);
        result
    }

    /// Has nobody else update the service meanwhile.
    fn claim(&self, service: &Service, by: Option<Holder>) -> Result<(), Diagnostic> {
        let refused = |message: String| Err(Diagnostic::error(Code::ServiceFailed, message));
        let name = &service.name;
        if service.body.image().is_none() {
            return refused(format!("`{name}` is a {} and has no image to update", service.body.kind()));
        }
        // What depends on it stops with it.
        let with = stop::order_with_dependents(&self.inner, name);
        let mut table = self.inner.table();
        let is_held = |entry: &Entry| entry.holds.iter().any(|hold| Some(hold.by) != by);
        let held = with.iter().find(|name| table.services.get(*name).is_some_and(is_held));
        if let Some(held) = held {
            let error =
                Diagnostic::error(Code::ServiceHeld, format!("`{name}` is not updated: `{held}` is held"));
            return Err(error.hint(format!("`hob release {held}` ends each hold of it")));
        }
        match table.services.get_mut(name) {
            Some(entry) if entry.image.busy || entry.image.trial.is_some() => {
                drop(table);
                refused(format!("`{name}` is being updated already"))
            }
            entry => {
                entry.into_iter().for_each(|entry| entry.image.busy = true);
                Ok(())
            }
        }
    }

    fn update_in(
        &self,
        run: &NativeRun,
        service: &Service,
        dry_run: bool,
        asked: Asked,
    ) -> Result<Json, Diagnostic> {
        let position = Position::root().step(&service.name, 1);
        let looked = self.look(service);
        let recorded = looked.as_ref().map(|_| Value::Unit).map_err(Clone::clone);
        run.outcome(&position.effect(1), "services::refresh", EffectClass::Ensure, recorded)
            .map_err(|error| error.diagnostic())?;
        let looked = looked.map_err(|error| failed(service, &with_hint(&error)))?;
        let trial = match self.found(service, looked, asked) {
            Found::Current => return Ok(self.told(service, "current", None)),
            Found::Rejected(rejected) => return Ok(self.told(service, "rejected", Some(&rejected.reason))),
            Found::Newer(trial) => trial,
        };
        self.inner.update(&service.name, |entry| entry.image.newer = true);
        if dry_run {
            return Ok(with_trial(self.told(service, "available", None), &trial));
        }
        self.hook(service, "before", &trial)?;
        if self.rolls(service) {
            let told = self.roll(run, (service, &trial), asked.holder())?;
            return Ok(if told["result"] == "updated" { self.after(service, &trial, told) } else { told });
        }
        self.begin_trial(run, &position.effect(2), service, &trial)?;
        let with = stop::order_with_dependents(&self.inner, &service.name);
        asked::stop_to_start(&self.inner, &service.name, &with, "updated");
        let done = self.await_trial(service);
        if done == "updated" {
            return Ok(self.after(service, &trial, with_trial(self.told(service, done, None), &trial)));
        }
        let reason = self.state(service).rejected.map(|it| it.reason);
        Ok(with_trial(self.told(service, done, reason.as_deref()), &trial))
    }

    /// Runs the function after an update; what is told of it has its failure too.
    fn after(&self, service: &Service, trial: &Trial, mut told: Json) -> Json {
        if let Err(error) = self.hook(service, "after", trial) {
            tracing::warn!(service = service.name, %error, "the function after the update failed");
            told["note"] = error.message.into();
        }
        told
    }

    fn state(&self, service: &Service) -> State {
        self.inner.table().services.get(&service.name).map(|entry| entry.image.clone()).unwrap_or_default()
    }

    fn look(&self, service: &Service) -> Result<Images, OpError> {
        let supervisor = supervisor_of(&self.inner, service)?;
        supervisor.refresh(&Spec::from(service))?;
        supervisor.images(&Spec::from(service))
    }

    fn found(&self, service: &Service, images: Images, asked: Asked) -> Found {
        let (Some(from), Some(to)) = (images.used, images.named) else { return Found::Current };
        if from == to {
            return Found::Current;
        }
        match self.state(service).rejected.filter(|it| it.image == to && asked != Asked::Person) {
            Some(rejected) => Found::Rejected(rejected),
            None => Found::Newer(Trial { from, to, begun: false }),
        }
    }

    /// Makes the trial durable before anything is stopped.
    fn begin_trial(
        &self,
        run: &NativeRun,
        position: &Position,
        service: &Service,
        trial: &Trial,
    ) -> Result<(), Diagnostic> {
        let mut state = self.state(service);
        state.pin = Some(trial.to.clone());
        state.rejected = None;
        state.trial = Some(trial.clone());
        let args = Value::Array([&service.name, &trial.from, &trial.to].map(|it| it.as_str().into()).into());
        let fact = state.fact(service);
        run.effect(position, "services::update", &args, |_| Ok(((), Value::Unit, vec![fact])))
            .map_err(|error| Diagnostic::error(Code::ServiceFailed, error.to_string()))?;
        self.inner.update(&service.name, |entry| entry.image = state);
        Ok(())
    }

    /// Blocks until the new image was accepted or rolled back, or nobody wants the service any more.
    fn await_trial(&self, service: &Service) -> &'static str {
        let inner = &self.inner;
        let mut table = inner.table();
        loop {
            let Some(entry) = table.services.get(&service.name) else { return "unknown" };
            if entry.image.trial.is_none() {
                let rolled_back = entry.image.rejected.is_some();
                if !rolled_back {
                    return "updated";
                }
                // The old one is on its way back.
                if !table.stale && !table.is_moving() {
                    return "rolled_back";
                }
            } else if !entry.wanted {
                return "stopped";
            }
            if table.closing {
                return "unknown";
            }
            table = inner.changed.wait(table).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Runs the function before or after an update, if there is one.
    fn hook(&self, service: &Service, hook: &str, trial: &Trial) -> Result<(), Diagnostic> {
        let Some(update) = &service.update else { return Ok(()) };
        if !(if hook == "before" { update.before } else { update.after }) {
            return Ok(());
        }
        let Some(launch) = self.inner.launch.get() else { return Ok(()) };
        let input = Value::map([
            ("service", Value::from(service.name.as_str())),
            ("image", Value::from(service.body.image())),
            ("from", Value::from(trial.from.as_str())),
            ("to", Value::from(trial.to.as_str())),
        ]);
        let function = hooks::Function {
            kind: &format!("service.update.{hook}"),
            name: service.declared(),
            policy: &update.policy,
            input,
            trigger: format!("update:{}", service.name),
        };
        hooks::run(&self.inner, launch, &function).map(drop)
    }

    pub(super) fn told(&self, service: &Service, result: &str, note: Option<&str>) -> Json {
        let state = self.inner.table().state(&service.name);
        json!({
            "service": service.name, "image": service.body.image(), "result": result,
            "state": state.as_str(), "note": note.unwrap_or_default(),
        })
    }

    /// Updates a service on a thread of its own, since its time has come; it was marked before.
    pub(super) fn update_in_background(&self, name: &str) {
        let Some(service) = self.inner.homelab.service(name).cloned() else { return };
        let keeper = self.clone();
        in_thread(&self.inner, name, move || {
            let told = keeper.update_as(&service, false, Asked::Time);
            if let Err(error) = &told {
                tracing::warn!(service = service.name, %error, "it was not updated");
                let failed = event(&keeper.inner, &service.name, "update_failed", &error.message);
                tell(&keeper.inner, vec![failed]);
            }
            keeper.inner.update(&service.name, |entry| entry.image.queued = false);
        });
    }
}

/// The refusal to update a service.
pub(super) fn failed(service: &Service, why: &str) -> Diagnostic {
    Diagnostic::error(Code::ServiceFailed, format!("`{}` is not updated: {why}", service.name))
}

pub(super) fn with_trial(mut told: Json, trial: &Trial) -> Json {
    told["from"] = short(&trial.from).into();
    told["to"] = short(&trial.to).into();
    told
}

/// The services whose time to be updated has come, marked so that it comes once.
pub(super) fn due(inner: &Arc<Inner>, table: &mut Table, now: Timestamp) -> Vec<String> {
    let mut due = Vec::new();
    for service in &inner.homelab.services {
        let Some(schedule) = service.update.as_ref().and_then(|update| update.schedule.as_ref()) else {
            continue;
        };
        // Of several that were declared as one, no two are down at one time.
        let of_it = replicas::of(&inner.homelab, service.declared());
        let others = of_it.iter().filter(|it| it.name != service.name);
        let mut others = others.filter_map(|it| table.services.get(&it.name));
        if others.any(|other| other.image.is_under_way() || !other.state.is_ready()) {
            continue;
        }
        let Some(entry) = table.services.get_mut(&service.name) else { continue };
        // What does not run yet is not in need of something newer.
        if entry.is_held() || entry.image.busy || !entry.state.is_ready() {
            continue;
        }
        let earliest = schedule.window.and_then(|window| now.checked_sub(window).ok());
        let after = [earliest, entry.image.asked].into_iter().flatten().max().unwrap_or(now);
        if schedule.next(after).is_some_and(|at| at <= now) {
            entry.image.asked = Some(now);
            entry.image.queued = true;
            due.push(service.name.clone());
        }
    }
    due
}
