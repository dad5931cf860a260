//! What exists: what the journal knows, and what really runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use hob_journal::Journal;
use hob_model::{Code, Diagnostic, Digest, OpError, Value};
use hob_planner::declaration::{Body, PROCESS, successor};
use hob_planner::{Homelab, Observed, Outdated, Service, ServiceState};
use hob_primitive::Ports;
use hob_supervisor::live::Live;
use hob_supervisor::secrets::Delivery;
use hob_supervisor::{
    Declared, Graphics, Images, Instance, LogFrom, LogPosition, Running, ServiceKind, Spec, Standing,
    Supervisor, Supervisors,
};

use super::cards::Given;
use super::image;
use super::native::service_facts;
use super::start::REPLICA_OF;

/// Those who run services for a state directory, told what the journal knows to run. Connects to nothing yet.
///
/// # Errors
/// When the state directory cannot be used.
pub fn open_supervisors(
    journal: &dyn Journal,
    ports: &Ports,
    state: &Path,
) -> Result<Supervisors, Diagnostic> {
    let facts = service_facts(journal).map_err(|error| hob_runs::journal_diagnostic(&error))?;
    let processes = facts.iter().filter(|(_, fact)| kind_of(fact) == PROCESS);
    let known = processes.filter_map(|(name, fact)| running_of(name, fact));
    let live = Live::open(state, environment(), known).map_err(|error| problem(&error))?;
    let all = Supervisors::new(Arc::new(live));
    let kinds = ports.all::<dyn ServiceKind>();
    let all = kinds.iter().fold(all, |all, kind| all.with(kind.kind().name(), kind.open(state)));
    for (name, fact) in &facts {
        let body = fact.get("fields").and_then(Body::recorded);
        if let (Some(body), Ok(supervisor)) = (body, all.of(kind_of(fact))) {
            supervisor.introduce(&Spec::new(name, body));
        }
    }
    Ok(all.delivering(ports.get::<dyn Delivery>(), state).with_graphics(ports.get::<dyn Graphics>()))
}

/// Has those who run the services of a homelab know which these are.
pub(super) fn introduce(supervisors: &Supervisors, homelab: &Homelab) {
    for service in &homelab.services {
        if let Ok(supervisor) = supervisors.of(service.body.kind()) {
            supervisor.introduce(&Spec::from(service));
        }
    }
}

fn problem(error: &OpError) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(Code::StateUnusable, error.to_string());
    diagnostic.hint.clone_from(&error.hint);
    diagnostic
}

/// What the journal says of a service that was started; see [`super::start`].
fn running_of(name: &str, fact: &Value) -> Option<Running> {
    let text = |key: &str| fact.get(key).and_then(Value::as_str);
    Some(Running {
        name: name.to_owned(),
        instance: Instance(text("instance")?.to_owned()),
        pid: None,
        key: text("key")?.to_owned(),
        digest: text("digest").and_then(Digest::parse),
        started: text("started")?.parse().ok()?,
    })
}

/// The kind of a service that the journal knows.
pub(super) fn kind_of(fact: &Value) -> &str {
    fact.get("kind").and_then(Value::as_str).unwrap_or(PROCESS)
}

/// The name that a replica was declared by; nothing of what is none.
fn replica_of(fact: &Value) -> Option<&str> {
    fact.get(REPLICA_OF).and_then(Value::as_str)
}

/// The environment that hob itself was started with; services get only its base.
fn environment() -> Vec<(String, String)> {
    std::env::vars().collect()
}

/// What exists, for a plan of `homelab`.
///
/// # Errors
/// When the journal cannot be read, or what runs cannot be listed.
pub fn observe(
    journal: &dyn Journal,
    ports: &Ports,
    state: &Path,
    homelab: &Homelab,
) -> Result<Vec<Observed>, Diagnostic> {
    seen(journal, &open_supervisors(journal, ports, state)?, homelab)
}

/// As [`observe`], with supervisors.
pub(super) fn seen(
    journal: &dyn Journal,
    supervisors: &Supervisors,
    homelab: &Homelab,
) -> Result<Vec<Observed>, Diagnostic> {
    let (mut observed, unseen) = with(journal, supervisors, homelab)?;
    // What a rolling update has get ready is nobody's to plan. What a crash left of one, hob removes when it begins.
    observed.retain(|it| !homelab.services.iter().any(|service| successor(&service.name) == it.name));
    unseen.first().map_or(Ok(observed), |error| Err(problem(error)))
}

/// The kinds of services that are declared, or that the journal knows: nobody else is asked.
pub(super) fn kinds_in_use(homelab: &Homelab, facts: &[(String, Value)]) -> BTreeSet<String> {
    let declared = homelab.services.iter().map(|service| service.body.kind());
    declared.chain(facts.iter().map(|(_, fact)| kind_of(fact))).map(str::to_owned).collect()
}

/// As [`seen`], also with what gets ready beside a service; and why some could not say what runs.
pub(super) fn with(
    journal: &dyn Journal,
    supervisors: &Supervisors,
    homelab: &Homelab,
) -> Result<(Vec<Observed>, Vec<OpError>), Diagnostic> {
    let facts = service_facts(journal).map_err(|error| hob_runs::journal_diagnostic(&error))?;
    let held = super::hold::recorded(journal).map_err(|error| hob_runs::journal_diagnostic(&error))?;
    let is_held = |name: &str| held.iter().any(|(held, _)| held == name);
    let facts_of_images =
        journal.facts(image::PREFIX).map_err(|error| hob_runs::journal_diagnostic(&error))?;
    let rejected: Vec<&str> =
        facts_of_images.iter().filter_map(|(_, fact)| image::rejected_of(fact)).collect();
    introduce(supervisors, homelab);
    let (running, mut unseen) = survey(supervisors, homelab, &facts);
    let mut observed: Vec<Observed> = Vec::new();
    for (kind, standing) in &running {
        let fact = facts.iter().find(|(name, _)| *name == standing.name).map(|(_, fact)| fact);
        let declared = homelab.service(&standing.name).filter(|it| it.body.kind() == *kind);
        let is_as_started = declared.is_some_and(|service| standing.digest == Some(service.digest()));
        let mut drift = standing.drift.clone().unwrap_or_else(|error| {
            unseen.push(error);
            Vec::new()
        });
        drift.retain(|_| is_as_started);
        if let Some(service) = declared {
            drift.extend(super::secrets::drift(supervisors, homelab, service));
        }
        observed.push(Observed {
            name: standing.name.clone(),
            kind: kind.clone(),
            state: ServiceState::Ready,
            held: is_held(&standing.name),
            digest: standing.digest,
            fields: fact.and_then(|fact| fact.get("fields")).cloned().unwrap_or(Value::Unit),
            drift,
            outdated: declared.and_then(|service| outdated(service, &standing.images, &rejected)),
        });
    }
    for (name, fact) in &facts {
        if running.iter().any(|(_, running)| running.name == *name) {
            continue;
        }
        let completed = fact.get("completed") == Some(&Value::Bool(true));
        observed.push(Observed {
            name: name.clone(),
            kind: kind_of(fact).to_owned(),
            state: if completed { ServiceState::Completed } else { ServiceState::Stopped },
            held: is_held(name),
            digest: fact.get("digest").and_then(Value::as_str).and_then(Digest::parse),
            fields: fact.get("fields").cloned().unwrap_or(Value::Unit),
            drift: Vec::new(),
            outdated: None,
        });
    }
    observed.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((observed, unseen))
}

/// What runs, of each kind that is in use, and why some could not be seen. Those who run them are asked all at one time.
pub(super) fn survey(
    supervisors: &Supervisors,
    homelab: &Homelab,
    facts: &[(String, Value)],
) -> (Vec<(String, Standing)>, Vec<OpError>) {
    let recorded: BTreeMap<&str, &Value> = facts.iter().map(|(name, fact)| (name.as_str(), fact)).collect();
    let kinds = kinds_in_use(homelab, facts);
    let ask = |kind: &str| {
        let services = homelab.services.iter().filter(|service| service.body.kind() == kind);
        let declared: Vec<Declared> = services
            .map(|service| {
                let fact = recorded.get(service.name.as_str());
                let instance = fact.and_then(|fact| fact.get("instance")?.as_str());
                let devices = fact.map(|fact| Given::recorded(fact).devices).unwrap_or_default();
                Declared {
                    spec: Spec { devices, ..Spec::from(service) },
                    recorded: instance.map(|text| Instance(text.to_owned())),
                }
            })
            .collect();
        supervisors.of(kind)?.survey(&declared)
    };
    let answers: Vec<(&String, Result<Vec<Standing>, OpError>)> = std::thread::scope(|scope| {
        let asked: Vec<_> = kinds.iter().map(|kind| (kind, scope.spawn(|| ask(kind)))).collect();
        let lost = || Err(OpError::failed("looking at what runs came to no end"));
        asked.into_iter().map(|(kind, answer)| (kind, answer.join().unwrap_or_else(|_| lost()))).collect()
    });
    let (mut running, mut unseen) = (Vec::new(), Vec::new());
    for (kind, answer) in answers {
        match answer {
            Ok(found) => running.extend(found.into_iter().map(|it| (kind.clone(), it))),
            Err(error) => unseen.push(error),
        }
    }
    (running, unseen)
}

/// The images of a service, where its name stands for another one than it is made from, and not for one that was
/// rejected.
fn outdated(service: &Service, images: &Images, rejected: &[&str]) -> Option<Outdated> {
    service.body.image()?;
    let (used, named) = images.differ().then(|| images.used.clone().zip(images.named.clone())).flatten()?;
    (!rejected.contains(&named.as_str())).then_some(Outdated { used, named })
}

/// The output of services, for `hob logs`.
pub struct Logs {
    supervisor: Arc<dyn Supervisor>,
    name: String,
    at: LogPosition,
}

impl Logs {
    /// The output of the service `name`, or of each of the replicas that it stands for; none when the journal knows none of
    /// this name.
    ///
    /// # Errors
    /// When the state directory cannot be used.
    pub fn open(
        journal: &dyn Journal,
        ports: &Ports,
        state: &Path,
        name: &str,
    ) -> Result<Vec<Self>, Diagnostic> {
        let mut facts = service_facts(journal).map_err(|error| hob_runs::journal_diagnostic(&error))?;
        facts.retain(|(known, fact)| known == name || replica_of(fact) == Some(name));
        if facts.is_empty() {
            return Ok(Vec::new());
        }
        let supervisors = open_supervisors(journal, ports, state)?;
        let open = |(name, fact): (String, Value)| {
            let supervisor = Arc::clone(supervisors.of(kind_of(&fact)).map_err(|error| problem(&error))?);
            Ok(Self { supervisor, name, at: LogPosition::default() })
        };
        facts.into_iter().map(open).collect()
    }

    /// The service whose output it is.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.name
    }

    fn read(&mut self, mut from: LogFrom) -> Result<Vec<String>, Diagnostic> {
        let mut lines = Vec::new();
        loop {
            let chunk = self.supervisor.read_log(&self.name, from).map_err(|error| problem(&error))?;
            lines.extend(chunk.lines.into_iter().map(hob_primitive::filtered));
            self.at = chunk.next;
            if !chunk.more {
                return Ok(lines);
            }
            from = LogFrom::Position(self.at);
        }
    }

    /// The last lines.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn last(&mut self, lines: usize) -> Result<Vec<String>, Diagnostic> {
        self.read(LogFrom::Tail { lines })
    }

    /// What was written since the last look.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn more(&mut self) -> Result<Vec<String>, Diagnostic> {
        self.read(LogFrom::Position(self.at))
    }
}
