//! Starting a service: intent, process, gate.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hob_journal::Write;
use hob_model::{OpError, Position, Value};
use hob_planner::declaration::{Gate, Hook};
use hob_planner::{Exit, Service, ServiceState};
use hob_supervisor::{Look, NotReady, Running, Spec, Supervisor, await_ready};

use super::around::{self, Unfinished};
use super::cards::{self, Given};
use super::native::{NativeRun, service_fact};
use super::table::{Care, Prepared};
use super::{Inner, borrow, event, image, look, mounts, secrets, tell, unload};

/// How long to wait for an answer of a port that nobody should serve.
const PORT_LOOK: Duration = Duration::from_millis(200);

/// Where the journal keeps by which name a replica was declared.
pub(super) const REPLICA_OF: &str = "replica_of";

/// Who runs a service.
pub(super) fn supervisor_of<'i>(
    inner: &'i Inner,
    service: &Service,
) -> Result<&'i Arc<dyn Supervisor>, OpError> {
    inner.supervisors.of(service.body.kind())
}

/// What the journal keeps of a started service, so that the next hob finds it and a plan can compare.
pub(super) fn fact_of(service: &Service, running: &Running, given: &Given) -> Write {
    fact_with(
        service,
        [
            ("instance", Value::from(running.instance.to_string())),
            ("key", Value::from(running.key.as_str())),
            ("started", Value::from(running.started.to_string())),
            ("given", given.value()),
        ],
    )
}

fn fact_with<const N: usize>(service: &Service, more: [(&str, Value); N]) -> Write {
    let declared = [
        ("fields", service.fields()),
        ("kind", Value::from(service.body.kind())),
        ("digest", Value::from(service.digest().to_string())),
    ];
    let replica = service.replica.iter().map(|it| (REPLICA_OF, Value::from(it.of.as_str())));
    let value = Value::map(declared.into_iter().chain(more).chain(replica));
    Write::Fact { key: service_fact(&service.name), value: Some(value) }
}

/// What the journal keeps of a service that has done its work.
fn completed_fact(service: &Service) -> Write {
    fact_with(service, [("completed", Value::from(true))])
}

/// Takes over what runs as declared: it is watched on, and its gate is looked at again. What shares the network of a life
/// that has ended is stopped instead.
pub(super) fn adopt(inner: &Arc<Inner>) {
    let kinds: BTreeSet<&str> = inner.homelab.services.iter().map(|it| it.body.kind()).collect();
    let mut all = Vec::new();
    for kind in kinds {
        match inner.supervisors.of(kind).and_then(|supervisor| supervisor.observe()) {
            Ok(found) => all.extend(found.into_iter().map(|running| (kind, running))),
            // They are found when they are to be started, and somebody answers again.
            Err(error) => tracing::warn!(kind, %error, "what runs cannot be seen"),
        }
    }
    for (kind, running) in &all {
        let declared = inner.homelab.service(&running.name).filter(|it| it.body.kind() == *kind);
        let Some(service) = declared.cloned() else { continue };
        if borrow::is_astray(inner, &service, running, &all) {
            borrow::note_astray(inner, running);
            continue;
        }
        let running = running.clone();
        around::note_owed(inner, &service, Some(&running));
        let fact = inner.runs.journal().fact(&service_fact(&running.name)).ok().flatten();
        let card = fact.as_ref().and_then(|fact| Given::recorded(fact).card);
        tracing::info!(service = running.name, instance = %running.instance, "adopted");
        inner.update(&running.name.clone(), |entry| {
            entry.busy = true;
            entry.state = ServiceState::Starting;
            entry.running = Some(running.clone());
            entry.share.card = card;
        });
        unload::resume(inner, &service, &running);
        let inner_of_thread = Arc::clone(inner);
        in_thread(inner, &service.name.clone(), move || attend(&inner_of_thread, &service, running));
    }
    for service in &inner.homelab.services {
        if !all.iter().any(|(_, running)| running.name == service.name) {
            around::note_owed(inner, service, None);
        }
        let fact = inner.runs.journal().fact(&service_fact(&service.name)).ok().flatten();
        let digest = service.digest().to_string();
        let done = fact.is_some_and(|fact| {
            fact.get("completed") == Some(&Value::Bool(true))
                && fact.get("digest").and_then(Value::as_str) == Some(&digest)
        });
        if done && service.ready.gate == Gate::Completed {
            inner.update(&service.name, |entry| entry.state = ServiceState::Completed);
        }
    }
}

/// Starts a service on a thread of its own; it was marked as starting before.
pub(super) fn in_background(inner: &Arc<Inner>, name: &str, attempt: u64) {
    let Some(service) = inner.homelab.service(name).cloned() else { return };
    let inner_of_thread = Arc::clone(inner);
    in_thread(inner, name, move || start(&inner_of_thread, &service, attempt));
}

pub(super) fn in_thread(inner: &Arc<Inner>, name: &str, work: impl FnOnce() + Send + 'static) {
    let spawned = std::thread::Builder::new().name(format!("hob-start-{name}")).spawn(work);
    if let Err(error) = spawned {
        inner.update(name, |entry| {
            entry.busy = false;
            entry.calling = false;
            entry.state = ServiceState::Failed;
            entry.note = format!("no thread can be started: {error}");
        });
    }
}

fn start(inner: &Arc<Inner>, service: &Service, attempt: u64) {
    let began = inner.supervisors.now();
    let started = match around::before_start(inner, service, attempt) {
        Ok(()) => called(inner, service),
        Err(Unfinished::Failed(why)) => Err(OpError::failed(why)),
        // Whoever gave it up says what becomes of it.
        Err(Unfinished::GivenUp | Unfinished::Ended(_)) => return,
    };
    if started.is_err() {
        around::not_started(inner, service);
    }
    let now = inner.supervisors.now();
    inner.update(&service.name, |entry| {
        entry.times.called(began, now);
        entry.calling = false;
        entry.image.started();
        entry.owes = started.is_ok() && service.hooks.has(Hook::AfterStop);
        service.body.kind().clone_into(&mut entry.kind);
        entry.running = started.as_ref().ok().cloned();
    });
    match started {
        Ok(running) => attend(inner, service, running),
        Err(error) => ended(inner, service, Exit::Unknown, &with_hint(&error)),
    }
}

/// The call that starts a service.
fn called(inner: &Inner, service: &Service) -> Result<Running, OpError> {
    let position = Position::root().step(&service.name, 1).effect(1);
    NativeRun::begin(&inner.runs, "start", &format!("service:{}", service.name))
        .map_err(|error| OpError::unavailable(error.to_string()))
        .and_then(|run| {
            let args = Value::Array(vec![Value::from(service.name.as_str())]);
            run.only_effect(&position, "services::start", &args, |key| {
                let supervisor = supervisor_of(inner, service)?;
                let mut spec = image::spec(inner, service);
                mounts::guard(inner, service)?;
                let given = cards::handed(inner, service)?;
                spec.devices.clone_from(&given.devices);
                check_port(&**supervisor, service, &spec)?;
                spec.delivered = secrets::handed(&inner.supervisors, &inner.homelab, service)?;
                let started = supervisor.start(&spec, key)?;
                secrets::settled(&inner.supervisors, service);
                let told = Value::map([
                    ("instance", Value::from(started.running.instance.to_string())),
                    ("adopted", Value::from(started.adopted)),
                ]);
                let mut writes = vec![fact_of(service, &started.running, &given)];
                writes.extend(around::owed_by(service, &started.running));
                Ok((started.running, told, writes))
            })
        })
}

/// A program whose port answers before it runs would count as ready by the word of another one.
fn check_port(supervisor: &dyn Supervisor, service: &Service, spec: &Spec) -> Result<(), OpError> {
    let Some(port) = service.port.filter(|_| service.body.process().is_some()) else { return Ok(()) };
    match supervisor.look(spec, &Gate::Tcp { port }, PORT_LOOK) {
        Ok(Look::Passed) => Err(OpError::conflict(format!("another program has taken port {port}"))
            .hint(format!("`ss -ltnp sport = :{port}` shows which"))),
        _ => Ok(()),
    }
}

pub(super) fn with_hint(error: &OpError) -> String {
    match &error.hint {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}

/// Watches a life of a service, and waits for the service's gate.
fn attend(inner: &Arc<Inner>, service: &Service, running: Running) {
    let supervisor = match supervisor_of(inner, service) {
        Ok(supervisor) => &**supervisor,
        Err(error) => return ended(inner, service, Exit::Unknown, &error.to_string()),
    };
    let waits = |why: &str| {
        // Nothing to decide changes by it, so nobody is woken.
        if let Some(entry) = inner.table().services.get_mut(&service.name).filter(|entry| entry.note != why) {
            why.clone_into(&mut entry.note);
        }
    };
    let spec = Spec::from(service);
    let attempt = inner.table().services.get(&service.name).map_or(0, |entry| entry.attempt);
    let seen = await_ready(supervisor, &running, &spec, &service.ready, &inner.cancel, &waits);
    // Whoever stops it meanwhile says what becomes of it.
    if is_being_stopped(inner, &service.name) {
        return;
    }
    let after = match &seen {
        Ok(()) => around::after_start(inner, service, supervisor, &running, attempt),
        Err(_) => Ok(()),
    };
    let is_given_up =
        matches!(after, Err(Unfinished::GivenUp)) && !around::goes_on(inner, &service.name, attempt);
    if is_given_up || is_being_stopped(inner, &service.name) {
        return;
    }
    let seen = match after {
        Ok(()) => seen,
        Err(Unfinished::GivenUp) => Err(NotReady::Cancelled),
        Err(Unfinished::Ended(exit)) => Err(NotReady::Ended { exit, last_lines: Vec::new() }),
        Err(Unfinished::Failed(why)) => Err(NotReady::Unknown(OpError::failed(why))),
    };
    match seen {
        Ok(()) if service.ready.gate == Gate::Completed => completed(inner, service),
        Ok(()) => {
            let now = inner.supervisors.now();
            inner.update(&service.name, |entry| {
                entry.busy = false;
                entry.care = Care::default();
                entry.state = ServiceState::Ready;
                entry.ready_since = Some(now);
                entry.times.settled.get_or_insert(now);
                entry.note.clear();
            });
            tell(inner, vec![event(inner, &service.name, "ready", "")]);
            encourage(inner, &service.name, now);
            watch(inner, supervisor, service, &running);
        }
        Err(NotReady::Ended { exit, last_lines }) => {
            ended(inner, service, exit, &told(&format!("it {exit}"), &last_lines))
        }
        Err(NotReady::Cancelled) => inner.update(&service.name, |entry| entry.busy = false),
        Err(not_ready @ (NotReady::TimedOut { .. } | NotReady::Unknown(_))) => {
            let lines = match &not_ready {
                NotReady::TimedOut { last_lines, .. } => last_lines.clone(),
                _ => vec![],
            };
            let note = told(&not_ready.to_string(), &lines);
            // What runs without getting ready must not be taken for what works.
            if let Err(error) = supervisor.stop(&service.name, service.stop_timeout) {
                tracing::warn!(service = service.name, %error, "it cannot be stopped");
            }
            ended(inner, service, Exit::Unknown, &note);
        }
    }
}

/// Whether somebody stops a service, or has just done so.
fn is_being_stopped(inner: &Inner, name: &str) -> bool {
    let table = inner.table();
    let entry = table.services.get(name);
    entry.is_some_and(|entry| !entry.wanted && (entry.busy || entry.state == ServiceState::Stopped))
}

/// What needs `name` may have failed because of it: now that it is ready, that is tried again at once.
fn encourage(inner: &Inner, name: &str, now: Duration) {
    for dependent in inner.homelab.services.iter().filter(|it| it.needs.iter().any(|need| need == name)) {
        inner.update(&dependent.name, |entry| {
            if entry.retry_at.is_some() {
                entry.retry_at = Some(now);
                entry.failures = 0;
            }
        });
    }
}

/// What came of a start, with the last line that was written.
pub(super) fn told(what: &str, last_lines: &[String]) -> String {
    match last_lines.last() {
        Some(line) if !line.is_empty() => format!("{what}; last line: {line}"),
        _ => what.to_owned(),
    }
}

fn completed(inner: &Inner, service: &Service) {
    tell(inner, vec![completed_fact(service), event(inner, &service.name, "completed", "")]);
    let now = inner.supervisors.now();
    inner.update(&service.name, |entry| {
        entry.times.settled.get_or_insert(now);
        entry.busy = false;
        entry.running = None;
        entry.failures = 0;
        entry.state = ServiceState::Completed;
        entry.note.clear();
    });
}

/// Has the end of a ready service noticed at once.
pub(super) fn watch(inner: &Arc<Inner>, supervisor: &dyn Supervisor, service: &Service, running: &Running) {
    let (weak, service, instance) = (Arc::downgrade(inner), service.clone(), running.instance.clone());
    supervisor.on_exit(
        &running.instance,
        Box::new(move |exit| {
            let Some(inner) = weak.upgrade() else { return };
            let current = {
                let table = inner.table();
                let entry = table.services.get(&service.name);
                entry.is_some_and(|entry| {
                    !entry.busy && entry.running.as_ref().is_some_and(|it| it.instance == instance)
                })
            };
            // Whoever stops it has said so, and takes care of the rest.
            if current {
                ended(&inner, &service, exit, &format!("it {exit}"));
            }
        }),
    );
}

/// Failures in a row after which a service that is started again and again cannot be kept.
const DOWN_FAILURES: u32 = 5;

/// A service ended although nobody stopped it: it is started again if its policy says so.
pub(super) fn ended(inner: &Arc<Inner>, service: &Service, exit: Exit, note: &str) {
    if image::roll_back(inner, service, note) {
        return borrow::note_borrowers(inner, &service.name);
    }
    let (mut known, mut is_down) = (None, false);
    let now = inner.supervisors.now();
    inner.update(&service.name, |entry| {
        entry.busy = false;
        entry.running = None;
        entry.astray = None;
        entry.ready_since = None;
        // What was there may be gone: an image that was removed is fetched again.
        if service.body.process().is_none() {
            entry.prepared = Prepared::Unknown;
        }
        entry.times.settled.get_or_insert(now);
        let pause = service.restart.after(exit, entry.failures);
        entry.failures = entry.failures.saturating_add(1);
        match pause {
            Some(pause) if entry.wanted => {
                // Until it is tried again it has failed, for all that need it.
                entry.state = ServiceState::Failed;
                entry.retry_at = Some(now + pause);
                entry.note = format!("{note}; again in {}", hob_model::duration::format(pause));
            }
            _ if exit.is_success() => {
                entry.state = ServiceState::Completed;
                note.clone_into(&mut entry.note);
            }
            _ => {
                entry.state = ServiceState::Failed;
                note.clone_into(&mut entry.note);
            }
        }
        known = Some(entry.state);
        // Told once: when it is given up, or when it has failed often in a row.
        is_down = entry.wanted
            && entry.state == ServiceState::Failed
            && (entry.retry_at.is_none() || entry.failures == DOWN_FAILURES);
    });
    let what = if known == Some(ServiceState::Completed) { "completed" } else { "failed" };
    // Whoever ended it may have put something else in its place.
    look::soon(inner);
    let mut writes = vec![event(inner, &service.name, what, note)];
    if is_down {
        writes.push(event(inner, &service.name, "down", note));
    }
    tell(inner, writes);
    borrow::note_borrowers(inner, &service.name);
}
