//! Starting a service: intent, process, gate.

use std::sync::Arc;

use hob_journal::{Commit, Write};
use hob_model::{Code, Diagnostic, OpError, Position, RunEnd, Value};
use hob_planner::declaration::Gate;
use hob_planner::{Exit, Service, ServiceState};
use hob_supervisor::{NotReady, Running, Spec, await_ready};

use super::native::{NativeRun, service_fact};
use super::{Inner, event};

fn spec_of(service: &Service) -> Spec {
    Spec { name: service.name.clone(), process: service.process.clone() }
}

/// What the journal keeps of a started service, so that the next hob finds it and a plan can compare.
fn fact_of(service: &Service, running: &Running) -> Write {
    let value = Value::map([
        ("fields", service.fields()),
        ("process", Value::from(running.process.to_string())),
        ("key", Value::from(running.key.as_str())),
        ("digest", Value::from(service.digest().to_string())),
        ("started", Value::from(running.started.to_string())),
    ]);
    Write::Fact { key: service_fact(&service.name), value: Some(value) }
}

/// What the journal keeps of a service that has done its work.
fn completed_fact(service: &Service) -> Write {
    let value = Value::map([
        ("fields", service.fields()),
        ("digest", Value::from(service.digest().to_string())),
        ("completed", Value::from(true)),
    ]);
    Write::Fact { key: service_fact(&service.name), value: Some(value) }
}

/// Takes over what runs as declared: it is watched on, and its gate is looked at again.
pub(super) fn adopt(inner: &Arc<Inner>) -> Result<(), Diagnostic> {
    let running = inner
        .supervisor
        .observe()
        .map_err(|error| Diagnostic::error(Code::StateUnusable, error.to_string()))?;
    for running in running {
        let Some(service) = inner.homelab.service(&running.name).cloned() else { continue };
        tracing::info!(service = running.name, pid = running.process.pid, "adopted");
        inner.update(&running.name.clone(), |entry| {
            entry.busy = true;
            entry.state = ServiceState::Starting;
            entry.running = Some(running.clone());
        });
        let inner_of_thread = Arc::clone(inner);
        in_thread(inner, &service.name.clone(), move || attend(&inner_of_thread, &service, running));
    }
    for service in &inner.homelab.services {
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
    Ok(())
}

/// Starts a service on a thread of its own; it was marked as starting before.
pub(super) fn in_background(inner: &Arc<Inner>, name: &str) {
    let Some(service) = inner.homelab.service(name).cloned() else { return };
    let inner_of_thread = Arc::clone(inner);
    in_thread(inner, name, move || start(&inner_of_thread, &service));
}

fn in_thread(inner: &Arc<Inner>, name: &str, work: impl FnOnce() + Send + 'static) {
    let spawned = std::thread::Builder::new().name(format!("hob-start-{name}")).spawn(work);
    if let Err(error) = spawned {
        inner.update(name, |entry| {
            entry.busy = false;
            entry.state = ServiceState::Failed;
            entry.note = format!("no thread can be started: {error}");
        });
    }
}

fn start(inner: &Arc<Inner>, service: &Service) {
    let position = Position::root().step(&service.name, 1).effect(1);
    let started = NativeRun::begin(&inner.runs, "start", &format!("service:{}", service.name))
        .map_err(|error| OpError::unavailable(error.to_string()))
        .and_then(|run| {
            let args = Value::Array(vec![Value::from(service.name.as_str())]);
            let result = run.effect(&position, "services::start", &args, |key| {
                let started = inner.supervisor.start(&spec_of(service), key)?;
                let told = Value::map([
                    ("process", Value::from(started.running.process.to_string())),
                    ("adopted", Value::from(started.adopted)),
                ]);
                let writes = vec![fact_of(service, &started.running)];
                Ok((started.running, told, writes))
            });
            run.end(match &result {
                Ok(_) => RunEnd::Succeeded(Value::Unit),
                Err(error) => RunEnd::Failed(error.clone()),
            });
            result
        });
    match started {
        Ok(running) => {
            inner.update(&service.name, |entry| entry.running = Some(running.clone()));
            attend(inner, service, running);
        }
        Err(error) => ended(inner, service, Exit::Unknown, &error.to_string()),
    }
}

/// Watches a process, and waits for the service's gate.
fn attend(inner: &Arc<Inner>, service: &Service, running: Running) {
    let ready = await_ready(&*inner.supervisor, &running, &spec_of(service), &service.ready, &inner.cancel);
    match ready {
        Ok(()) if service.ready.gate == Gate::Completed => completed(inner, service),
        Ok(()) => {
            let now = inner.supervisor.now();
            inner.update(&service.name, |entry| {
                entry.busy = false;
                entry.state = ServiceState::Ready;
                entry.ready_since = Some(now);
                entry.note.clear();
            });
            inner.runs.journal().submit(Commit::one(event(inner, &service.name, "ready", "")));
            watch(inner, service, &running);
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
            if let Err(error) = inner.supervisor.stop(&service.name, service.stop_timeout) {
                tracing::warn!(service = service.name, %error, "it cannot be stopped");
            }
            ended(inner, service, Exit::Unknown, &note);
        }
    }
}

fn told(what: &str, last_lines: &[String]) -> String {
    match last_lines.last() {
        Some(line) if !line.is_empty() => format!("{what}; last line: {line}"),
        _ => what.to_owned(),
    }
}

fn completed(inner: &Inner, service: &Service) {
    inner.runs.journal().submit(Commit {
        writes: vec![completed_fact(service), event(inner, &service.name, "completed", "")],
    });
    inner.update(&service.name, |entry| {
        entry.busy = false;
        entry.running = None;
        entry.failures = 0;
        entry.state = ServiceState::Completed;
        entry.note.clear();
    });
}

/// Has the end of a ready service noticed at once.
fn watch(inner: &Arc<Inner>, service: &Service, running: &Running) {
    let (weak, service, process) = (Arc::downgrade(inner), service.clone(), running.process.clone());
    inner.supervisor.on_exit(
        &running.process,
        Box::new(move |exit| {
            let Some(inner) = weak.upgrade() else { return };
            let current = {
                let table = inner.table();
                let entry = table.services.get(&service.name);
                entry.is_some_and(|entry| {
                    !entry.busy && entry.running.as_ref().is_some_and(|it| it.process == process)
                })
            };
            // Whoever stops it has said so, and takes care of the rest.
            if current {
                ended(&inner, &service, exit, &format!("it {exit}"));
            }
        }),
    );
}

/// A service ended although nobody stopped it: it is started again if its policy says so.
fn ended(inner: &Inner, service: &Service, exit: Exit, note: &str) {
    let mut known = None;
    let now = inner.supervisor.now();
    inner.update(&service.name, |entry| {
        entry.busy = false;
        entry.running = None;
        entry.ready_since = None;
        let pause = service.restart.after(exit, entry.failures);
        entry.failures = entry.failures.saturating_add(1);
        match pause {
            Some(pause) if entry.wanted => {
                entry.state = ServiceState::Stopped;
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
    });
    let what = if known == Some(ServiceState::Completed) { "completed" } else { "failed" };
    inner.runs.journal().submit(Commit::one(event(inner, &service.name, what, note)));
}
