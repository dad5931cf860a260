//! Services in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hob_model::{OpError, Value};
use hob_primitive::{Patience, ServiceRequest, Services};

/// A service in memory.
#[derive(Clone, Debug, Default)]
struct Service {
    needs: Vec<String>,
    life: u64,
    runs: bool,
    fails: bool,
    newer: bool,
    holder: Option<String>,
}

/// Services that only say that they run.
#[derive(Debug, Default)]
pub struct FakeServices(Mutex<BTreeMap<String, Service>>);

impl FakeServices {
    /// Declares a service, which runs.
    #[must_use]
    pub fn with(self, name: &str, needs: &[&str]) -> Self {
        let needs = needs.iter().map(|&need| need.to_owned()).collect();
        self.known().insert(name.to_owned(), Service { needs, life: 1, runs: true, ..Service::default() });
        self
    }

    /// From now on a service does not get ready; or it does again.
    pub fn fail(&self, name: &str, fails: bool) {
        if let Some(service) = self.known().get_mut(name) {
            service.fails = fails;
        }
    }

    /// From now on there is a newer image of a service.
    pub fn publish(&self, name: &str) {
        if let Some(service) = self.known().get_mut(name) {
            service.newer = true;
        }
    }

    /// Has a service end and begin a new life.
    pub fn restart(&self, name: &str) {
        if let Some(service) = self.known().get_mut(name) {
            service.life += 1;
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Service>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn view(name: &str, service: &Service) -> Value {
    let state = match (service.runs, service.fails) {
        (true, _) => "ready",
        (false, true) => "failed",
        (false, false) => "stopped",
    };
    let instance = if service.runs { Value::from(format!("life {}", service.life)) } else { Value::Unit };
    Value::map([
        ("name", Value::from(name)),
        ("tier", Value::Unit),
        ("kind", Value::from("fake")),
        ("state", Value::from(state)),
        ("ready", Value::Bool(service.runs)),
        ("held", Value::Bool(service.holder.is_some())),
        ("note", Value::from("")),
        ("instance", instance),
    ])
}

fn dependents(all: &BTreeMap<String, Service>, name: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    let mut at = 0;
    while let Some(needed) = names.get(at).cloned() {
        let more = all.iter().filter(|(other, it)| it.needs.contains(&needed) && !names.contains(other));
        let more: Vec<String> = more.map(|(other, _)| other.clone()).collect();
        names.extend(more);
        at += 1;
    }
    names.retain(|name| all[name].runs);
    names
}

fn start(all: &mut BTreeMap<String, Service>, name: &str) -> Result<(), OpError> {
    for need in all[name].needs.clone() {
        start(all, &need)?;
    }
    let Some(service) = all.get_mut(name) else { return Ok(()) };
    if service.fails {
        return Err(OpError::failed(format!("`{name}` is failed: told to fail")));
    }
    service.life += u64::from(!service.runs);
    service.runs = true;
    Ok(())
}

/// Tries the newer image of a service, if there is one: one that fails is rolled back.
fn update(name: &str, service: &mut Service, dry_run: bool) -> Value {
    let result = match (service.newer, dry_run, service.fails) {
        (false, ..) => "current",
        (true, true, _) => "available",
        (true, false, true) => "rolled_back",
        (true, false, false) => "updated",
    };
    if service.newer && !dry_run {
        (service.life, service.newer) = (service.life + 1, false);
    }
    Value::map([
        ("service", Value::from(name)),
        ("image", Value::from("fake")),
        ("result", Value::from(result)),
        ("state", Value::from("ready")),
        ("note", Value::from("")),
    ])
}

fn unknown(name: &str) -> OpError {
    OpError::not_found(format!("there is no service `{name}`"))
}

impl Services for FakeServices {
    fn list(&self) -> Result<Vec<Value>, OpError> {
        Ok(self.known().iter().map(|(name, service)| view(name, service)).collect())
    }

    fn status(&self, name: &str) -> Result<Value, OpError> {
        let all = self.known();
        all.get(name).map(|service| view(name, service)).ok_or_else(|| unknown(name))
    }

    fn stops_with(&self, name: &str) -> Result<Vec<String>, OpError> {
        let all = self.known();
        if !all.contains_key(name) {
            return Err(unknown(name));
        }
        Ok(dependents(&all, name))
    }

    /// None of them uses any.
    fn users_of(&self, _secret: &str) -> Result<Vec<String>, OpError> {
        Ok(Vec::new())
    }

    fn ask(
        &self,
        run: &str,
        name: &str,
        request: &ServiceRequest,
        patience: Patience<'_>,
    ) -> Result<Value, OpError> {
        let with = self.stops_with(name)?;
        if patience.cancel.is_cancelled() {
            return Err(OpError::cancelled("told to stop"));
        }
        let mut all = self.known();
        let foreign = all[name].holder.as_ref().is_some_and(|holder| holder != run);
        let acts = matches!(
            request,
            ServiceRequest::Start
                | ServiceRequest::Stop
                | ServiceRequest::Restart
                | ServiceRequest::Renew
                | ServiceRequest::Update { .. }
        );
        if foreign && acts {
            return Err(OpError::conflict(format!("`{name}` is held")));
        }
        match request {
            ServiceRequest::Start => start(&mut all, name)?,
            ServiceRequest::Stop => {
                for name in &with {
                    all.entry(name.clone()).and_modify(|service| service.runs = false);
                }
                return Ok(Value::Array(with.into_iter().map(Value::from).collect()));
            }
            ServiceRequest::Restart | ServiceRequest::Renew => {
                for name in &with {
                    all.entry(name.clone()).and_modify(|service| service.runs = false);
                }
                for name in with.iter().map(String::as_str).chain([name]) {
                    start(&mut all, name)?;
                }
            }
            ServiceRequest::Update { dry_run } => {
                let service = all.get_mut(name).ok_or_else(|| unknown(name))?;
                return Ok(update(name, service, *dry_run));
            }
            ServiceRequest::WaitReady if !all[name].runs => {
                return Err(OpError::failed(format!("`{name}` is stopped")));
            }
            ServiceRequest::WaitReady => {}
            ServiceRequest::Hold { .. } => {
                all.entry(name.to_owned()).and_modify(|it| it.holder = Some(run.to_owned()));
            }
            ServiceRequest::Release if !foreign => {
                all.entry(name.to_owned()).and_modify(|it| it.holder = None);
            }
            ServiceRequest::Release => {}
        }
        Ok(view(name, &all[name]))
    }
}
