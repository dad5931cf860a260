//! Functions of services, around their starts and stops and for their memory: each is a run as any other, pinned to its bundle.
//!
//! What a service still owes to its functions is a fact of the journal, beside the start that it comes from: so a hob that
//! comes back after a crash goes on with the run that was under way, and neither leaves one out nor does one twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use hob_journal::{Commit, Write};
use hob_model::{OpError, RunEnd, RunId, Value};
use hob_planner::declaration::{Gate, Hook, RunPolicy};
use hob_planner::progress::progress;
use hob_planner::{Exit, Node, Service, ServiceState};
use hob_primitive::ServiceRequest;
use hob_runs::Begin;
use hob_supervisor::{Running, Supervisor};

use super::hooks::{Until, Waited, await_within};
use super::start::{in_thread, with_hint};
use super::table::{Entry, Table};
use super::{CALLS_AT_ONCE, Inner, event, mounts, stop, tell};
use crate::schedules::Launch;

/// What stands before the name of a service and of a function in the key of what it owes.
const PREFIX: &str = "hook/";

/// How long a run that was told to end has for it, before the effect that it is at is ended, too; and for that.
const END_GRACE: Duration = Duration::from_secs(5);

/// How many runs that started each other are followed back.
const PARENTS_MAX: usize = 32;

/// The functions of services that run now.
#[derive(Default)]
pub(crate) struct Around {
    /// How they are started; without it they are left out.
    pub(super) launch: OnceLock<Launch>,
    running: Mutex<BTreeMap<String, (Hook, RunId)>>,
}

impl Around {
    fn running(&self) -> MutexGuard<'_, BTreeMap<String, (Hook, RunId)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a function did not do what it is for.
#[derive(Debug)]
pub(super) enum Unfinished {
    /// It failed, or took too long: what people read of it.
    Failed(String),
    /// What it was for has come to an end by itself.
    Ended(Exit),
    /// Nobody waits for it any more: somebody stops the service, or hob ends.
    GivenUp,
}

fn key(name: &str, hook: Hook) -> String {
    format!("{PREFIX}{name}/{}", hook.as_str())
}

pub(super) fn fact(name: &str, hook: Hook, instance: Option<&str>, run: Option<RunId>) -> Write {
    let value = Value::map([
        ("instance", Value::from(instance)),
        ("run", Value::from(run.map(|run| run.to_string()))),
    ]);
    Write::Fact { key: key(name, hook), value: Some(value) }
}

pub(super) fn paid(name: &str, hook: Hook) -> Write {
    Write::Fact { key: key(name, hook), value: None }
}

/// What is known of a function: for which life of the service it is to run, and the run that was begun.
struct Owed {
    instance: Option<String>,
    run: Option<RunId>,
}

fn owed(inner: &Inner, name: &str, hook: Hook) -> Option<Owed> {
    let fact = inner.runs.journal().fact(&key(name, hook)).ok().flatten()?;
    let text = |key: &str| fact.get(key).and_then(Value::as_str);
    Some(Owed { instance: text("instance").map(str::to_owned), run: text("run").and_then(RunId::parse) })
}

/// What a life of a service owes that begins now.
pub(super) fn owed_by(service: &Service, running: &Running) -> Vec<Write> {
    let instance = running.instance.to_string();
    let of_life = [Hook::AfterStart, Hook::AfterStop].into_iter().filter(|hook| service.hooks.has(*hook));
    let owed = of_life.map(|hook| fact(&service.name, hook, Some(&instance), None));
    // What an earlier life gave back is nothing of this one.
    let over = [Hook::BeforeStart].into_iter().chain(Hook::MEMORY).filter(|hook| service.hooks.has(*hook));
    owed.chain(over.map(|hook| paid(&service.name, hook))).collect()
}

/// Nothing is owed by what is not declared any more.
pub(super) fn forgotten(name: &str) -> impl Iterator<Item = Write> {
    Hook::AROUND.into_iter().chain(Hook::MEMORY).map(|hook| paid(name, hook))
}

/// A start that came to nothing begins from the beginning.
pub(super) fn not_started(inner: &Inner, service: &Service) {
    if service.hooks.has(Hook::BeforeStart) {
        inner.runs.journal().submit(Commit::one(paid(&service.name, Hook::BeforeStart)));
    }
}

/// Whether a function is owed to this life of a service, or what it did goes on to count.
pub(super) fn is_owed(inner: &Inner, name: &str, hook: Hook, instance: &str) -> bool {
    owed(inner, name, hook).is_some_and(|it| it.instance.as_deref() == Some(instance))
}

/// Runs a function and waits for its end; goes on with the run of it that is under way.
pub(super) fn perform(
    inner: &Inner,
    service: &Service,
    hook: Hook,
    instance: Option<&str>,
    given_up: &dyn Fn() -> bool,
) -> Result<(), Unfinished> {
    let Some(launch) = inner.around.launch.get().filter(|_| service.hooks.has(hook)) else { return Ok(()) };
    let name = &service.name;
    let known = owed(inner, name, hook).filter(|it| it.instance.as_deref() == instance).and_then(|it| it.run);
    let known = known.and_then(|run| inner.runs.row(run).ok());
    let under_way = match known {
        // Only hob itself can have ended between the end of the run and what it was for.
        Some(row) if matches!(row.end, Some(RunEnd::Succeeded(_))) && hook != Hook::BeforeStop => {
            return Ok(());
        }
        Some(row) if row.end.is_none() => Some(row.run),
        _ => None,
    };
    let id = match under_way {
        Some(id) => {
            if hook.is_of_stop() {
                inner.runs.spare(id);
            }
            inner.runs.go_on(id);
            id
        }
        None => begin(inner, launch, service, hook, instance).map_err(Unfinished::Failed)?,
    };
    inner.around.running().insert(name.clone(), (hook, id));
    let until = Until {
        limit: Some(inner.supervisors.now() + service.hooks.limit(hook)),
        given_up,
        // What must come before or after a stop holds up the end of hob itself.
        past_end: hook.is_of_stop(),
    };
    let came = end_of(inner, service, hook, id, &until);
    inner.around.running().remove(name);
    inner.runs.spare_no_more(id);
    came
}

fn begin(
    inner: &Inner,
    launch: &Launch,
    service: &Service,
    hook: Hook,
    instance: Option<&str>,
) -> Result<RunId, String> {
    let name = &service.name;
    let input = Value::map([
        ("service", Value::from(name.as_str())),
        ("hook", Value::from(hook.as_str())),
        ("kind", Value::from(service.body.kind())),
        ("image", Value::from(service.body.image())),
        ("instance", Value::from(instance)),
        ("replica", Value::from(service.replica.as_ref().map(|it| it.number))),
    ]);
    let (kind, policy) = (hook.kind(), RunPolicy::default());
    let mut new = launch.new_run(&kind, service.declared(), &policy, input, format!("service:{name}"));
    new.started.name.clone_from(name);
    let id = new.id;
    if hook.is_of_stop() {
        inner.runs.spare(id);
    }
    let begin = Begin { queue: None, beside: vec![fact(name, hook, instance, Some(id))] };
    let begun = launch.runs.start_as(new, begin);
    begun
        .map(|_| id)
        .map_err(|error| format!("`{}` cannot run: {}", hook.as_str(), error.diagnostic().message))
}

fn end_of(
    inner: &Inner,
    service: &Service,
    hook: Hook,
    id: RunId,
    until: &Until<'_>,
) -> Result<(), Unfinished> {
    let failed = |why: String| {
        Err(Unfinished::Failed(format!("`{}` {why}; `hob runs show {id}` shows it", hook.as_str())))
    };
    match await_within(inner, id, until) {
        Ok(Waited::End(RunEnd::Succeeded(_))) => Ok(()),
        Ok(Waited::End(RunEnd::Failed(error))) => failed(format!("failed: {error}")),
        Ok(Waited::End(RunEnd::Cancelled)) => failed("was cancelled".to_owned()),
        Ok(Waited::End(RunEnd::Carried(_))) => {
            failed("went on as another run, which nobody waits for".to_owned())
        }
        Ok(Waited::TimeUp) => {
            cut(inner, id, "its time is up");
            let limit = hob_model::duration::format(service.hooks.limit(hook));
            failed(format!("did not end within {limit}"))
        }
        Ok(Waited::GivenUp) => {
            cut(inner, id, "the service is not to start any more");
            Err(Unfinished::GivenUp)
        }
        Ok(Waited::HobEnds) => Err(Unfinished::GivenUp),
        Err(error) => failed(format!("cannot be followed: {}", error.message)),
    }
}

/// Ends a run: its compensations run. One that does not end is left behind.
fn cut(inner: &Inner, id: RunId, why: &str) {
    for _ in 0..2 {
        if inner.runs.cancel(id, why).is_err() {
            return;
        }
        let until =
            Until { limit: Some(inner.supervisors.now() + END_GRACE), given_up: &|| false, past_end: true };
        if matches!(await_within(inner, id, &until), Ok(Waited::End(_))) {
            return;
        }
    }
    tracing::warn!(run = %id, "it was told to end and does not");
}

/// Whether a start that began as this attempt goes on.
pub(super) fn goes_on(inner: &Inner, name: &str, attempt: u64) -> bool {
    let table = inner.table();
    table.services.get(name).is_some_and(|entry| entry.wanted && entry.attempt == attempt)
}

/// What comes before the call that starts a service. When it has succeeded, the call is this thread's to make.
pub(super) fn before_start(inner: &Inner, service: &Service, attempt: u64) -> Result<(), Unfinished> {
    if !service.hooks.has(Hook::BeforeStart) {
        return Ok(());
    }
    let name = &service.name;
    mounts::guard_mounts(inner, service).map_err(|error| Unfinished::Failed(with_hint(&error)))?;
    inner.update(name, |entry| "before_start runs".clone_into(&mut entry.note));
    let done = perform(inner, service, Hook::BeforeStart, None, &|| !goes_on(inner, name, attempt));
    match done {
        _ if !goes_on(inner, name, attempt) => Err(Unfinished::GivenUp),
        Ok(()) if claim_call(inner, service, attempt) => Ok(()),
        Ok(()) => Err(Unfinished::GivenUp),
        Err(Unfinished::GivenUp) => {
            if inner.cancel.is_cancelled() {
                leave(inner, name, attempt);
            }
            Err(Unfinished::GivenUp)
        }
        Err(other) => Err(other),
    }
}

/// A start of this attempt is left, and nobody else has said what becomes of the service.
fn leave(inner: &Inner, name: &str, attempt: u64) {
    inner.update(name, |entry| {
        if entry.wanted && entry.attempt == attempt {
            entry.busy = false;
            entry.state = ServiceState::Stopped;
            entry.note.clear();
        }
    });
}

/// Takes the turn to start a service, if what it needs is still ready: it may have ended meanwhile.
fn claim_call(inner: &Inner, service: &Service, attempt: u64) -> bool {
    let name = &service.name;
    let mut table = inner.table();
    loop {
        let is_mine = |entry: &Entry| entry.wanted && entry.attempt == attempt;
        if !table.services.get(name).is_some_and(is_mine) {
            return false;
        }
        if table.closing || !is_free(inner, &table, service) {
            let closing = table.closing;
            drop(table);
            if !closing {
                not_started(inner, service);
            }
            leave(inner, name, attempt);
            return false;
        }
        if table.calling() < CALLS_AT_ONCE {
            if let Some(entry) = table.services.get_mut(name) {
                entry.calling = true;
                entry.note.clear();
            }
            return true;
        }
        table = inner.changed.wait(table).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Whether all that a service waits for is ready. That its tier has as many starting as it may counts it itself.
fn is_free(inner: &Inner, table: &Table, service: &Service) -> bool {
    let state =
        |name: &str| if name == service.name { ServiceState::Stopped } else { table.state_for_others(name) };
    let decided = progress(&inner.homelab, state);
    let own_tier = |node: &Node| matches!(node, Node::Tier(tier) if service.tier.as_ref() == Some(tier));
    let waits = decided.waiting.get(&service.name).is_some_and(|nodes| !nodes.iter().all(own_tier));
    !waits && !decided.blocked.contains_key(&service.name)
}

/// What comes between the gate of a service and its being ready, if this life of it still owes that.
pub(super) fn after_start(
    inner: &Inner,
    service: &Service,
    supervisor: &dyn Supervisor,
    running: &Running,
    attempt: u64,
) -> Result<(), Unfinished> {
    let (name, instance) = (&service.name, running.instance.to_string());
    let is_due = service.hooks.has(Hook::AfterStart) && is_owed(inner, name, Hook::AfterStart, &instance);
    if !is_due {
        return Ok(());
    }
    inner.update(name, |entry| "after_start runs".clone_into(&mut entry.note));
    // One that has done its work has ended already.
    let ended = || match service.ready.gate {
        Gate::Completed => None,
        _ => supervisor.wait_exit(&running.instance, Duration::ZERO),
    };
    let given_up = || !goes_on(inner, name, attempt) || ended().is_some();
    let done = perform(inner, service, Hook::AfterStart, Some(&instance), &given_up);
    let done = match (done, ended()) {
        _ if !goes_on(inner, name, attempt) => return Err(Unfinished::GivenUp),
        (Err(Unfinished::GivenUp), Some(exit)) => Err(Unfinished::Ended(exit)),
        (done, _) => done,
    };
    if !matches!(done, Err(Unfinished::GivenUp)) {
        inner.runs.journal().submit(Commit::one(paid(name, Hook::AfterStart)));
    }
    done
}

/// Has functions that no stop waits for end: the service is being stopped.
pub(super) fn abandon(inner: &Inner, name: &str) {
    let running = inner.around.running().get(name).copied();
    if let Some((hook, id)) = running.filter(|(hook, _)| !hook.is_of_stop()) {
        tracing::info!(
            service = name,
            hook = hook.as_str(),
            "it is ended, since the service is being stopped"
        );
        cut(inner, id, "the service is being stopped");
    }
}

/// What comes before a stop of what runs. Nothing that goes wrong here keeps a service from being stopped.
pub(super) fn before_stop(inner: &Inner, service: &Service, supervisor: &dyn Supervisor) {
    if !service.hooks.has(Hook::BeforeStop) {
        return;
    }
    let running = supervisor.observe().ok().into_iter().flatten().find(|it| it.name == service.name);
    let Some(running) = running else { return };
    inner.update(&service.name, |entry| "before_stop runs".clone_into(&mut entry.note));
    let instance = running.instance.to_string();
    let ended = || supervisor.wait_exit(&running.instance, Duration::ZERO).is_some();
    let done = perform(inner, service, Hook::BeforeStop, Some(&instance), &ended);
    settle(inner, service, Hook::BeforeStop, done);
}

/// What comes after a stop, where something ran, or ended while nobody looked.
pub(super) fn after_stop(inner: &Inner, service: &Service, ran: bool) {
    let owed = owed(inner, &service.name, Hook::AfterStop);
    if !service.hooks.has(Hook::AfterStop) || (!ran && owed.is_none()) {
        return;
    }
    inner.update(&service.name, |entry| "after_stop runs".clone_into(&mut entry.note));
    let instance = owed.and_then(|it| it.instance);
    let done = perform(inner, service, Hook::AfterStop, instance.as_deref(), &|| false);
    settle(inner, service, Hook::AfterStop, done);
    inner.update(&service.name, |entry| entry.owes = false);
}

/// Tells what came of a function whose failure holds up nothing.
pub(super) fn settle(inner: &Inner, service: &Service, hook: Hook, done: Result<(), Unfinished>) {
    let mut writes = vec![paid(&service.name, hook)];
    if let Err(Unfinished::Failed(why)) = done {
        tracing::warn!(service = service.name, "{why}");
        writes.push(event(inner, &service.name, "hook_failed", &why));
    }
    tell(inner, writes);
}

/// A function of a rolling update, in which two lives of a service are there: none of them owes anything.
pub(super) fn beside(inner: &Inner, service: &Service, hook: Hook) -> Result<(), String> {
    let done = perform(inner, service, hook, None, &|| false);
    inner.runs.journal().submit(Commit::one(paid(&service.name, hook)));
    match done {
        Ok(()) => Ok(()),
        Err(Unfinished::Failed(why)) => Err(why),
        Err(Unfinished::Ended(_) | Unfinished::GivenUp) => Err("hob ends".to_owned()),
    }
}

/// Notes what is owed by what was found: the life that runs, or one that ended while nobody looked.
pub(super) fn note_owed(inner: &Inner, service: &Service, running: Option<&Running>) {
    if !service.hooks.has(Hook::AfterStop) {
        return;
    }
    let known = owed(inner, &service.name, Hook::AfterStop);
    let instance = running.map(|running| running.instance.to_string());
    if let Some(instance) =
        instance.as_deref().filter(|it| known.as_ref().and_then(|it| it.instance.as_deref()) != Some(*it))
    {
        let owed = fact(&service.name, Hook::AfterStop, Some(instance), None);
        inner.runs.journal().submit(Commit::one(owed));
    }
    inner.update(&service.name, |entry| entry.owes = running.is_some() || known.is_some());
}

/// The services that have ended and owe what comes after it, marked as busy.
pub(super) fn due(table: &mut Table) -> Vec<String> {
    let due = table.services.iter_mut().filter(|(_, entry)| entry.pays_now());
    due.map(|(name, entry)| {
        entry.busy = true;
        name.clone()
    })
    .collect()
}

/// Does what comes after the end of a service on a thread of its own; it was marked before.
pub(super) fn in_background(inner: &Arc<Inner>, name: &str) {
    let Some(service) = inner.homelab.service(name).cloned() else { return };
    let inner_of_thread = Arc::clone(inner);
    in_thread(inner, name, move || {
        let note = inner_of_thread.table().services.get(&service.name).map(|entry| entry.note.clone());
        after_stop(&inner_of_thread, &service, true);
        inner_of_thread.update(&service.name, |entry| {
            entry.busy = false;
            entry.note = note.unwrap_or_default();
        });
    });
}

/// Refuses what a function of a service asks for that waits for its own end.
pub(super) fn refuse_own(
    inner: &Inner,
    run: RunId,
    name: &str,
    request: &ServiceRequest,
) -> Result<(), OpError> {
    let Some((own, hook)) = owner(inner, run) else { return Ok(()) };
    let (verb, waits) = match request {
        ServiceRequest::Hold { .. } | ServiceRequest::Release => return Ok(()),
        ServiceRequest::Start => ("starts", stop::needs(inner, name, &own)),
        ServiceRequest::WaitReady => ("gets ready", stop::needs(inner, name, &own)),
        ServiceRequest::Stop => ("is stopped", false),
        ServiceRequest::Restart => ("is restarted", false),
        ServiceRequest::Update { .. } => ("is updated", false),
        ServiceRequest::Renew => ("takes new secrets", false),
    };
    if name != own && !waits && !stop::order_with_dependents(inner, name).contains(&own) {
        return Ok(());
    }
    let message =
        format!("before `{name}` {verb}, `{}` of `{own}` must have ended, and this is it", hook.as_str());
    Err(OpError::conflict(message)
        .hint("leave it out: a function of a service does what belongs to its start or stop, and no more")
        .retryable(false)
        .nothing_happened())
}

/// The service of whose functions this run is one, or was started by one.
fn owner(inner: &Inner, run: RunId) -> Option<(String, Hook)> {
    let mut at = run;
    for _ in 0..PARENTS_MAX {
        let running = inner.around.running();
        let found =
            running.iter().find(|(_, (_, id))| *id == at).map(|(name, (hook, _))| (name.clone(), *hook));
        drop(running);
        if found.is_some() {
            return found;
        }
        at = inner.runs.row(at).ok()?.parent?;
    }
    None
}
