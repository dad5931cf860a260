//! Making containers, and making them be as declared.

use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, ContainerInspectResponse};
use hob_model::{OpError, Value};
use hob_primitive::{Ctx, Probe, Progress};

use crate::body::{self, LABEL_EFFECT};
use crate::compare;
use crate::options::{PullPolicy, Spec};
use crate::port::{ContainersPort, Engine, EngineError, Filters};
use crate::problem::{Subject, error, explain, listed, too_late};
use crate::secrets::{self, Handed};
use crate::transfer;
use crate::view;

/// What a container is called while its successor is tried.
const SUFFIX_OLD: &str = ".hob-old";

/// How long one who asks what became of a restart waits before another look.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How often one looks again at a container that runs as before: the request may not have begun.
const LOOKS_WHILE_IT_RUNS: u32 = 5;

/// How often one looks again at a container that does not run: it may be between its stop and its start.
const LOOKS_WHILE_IT_RESTS: u32 = 30;

/// The engine that `socket`, or convention, says.
pub(crate) async fn engine(cx: &Ctx, socket: Option<&str>) -> Result<Arc<dyn Engine>, OpError> {
    let port = cx.port::<dyn ContainersPort>()?;
    let found = port.engine(socket, cx.env_all()).await;
    found.map_err(|cause| error(socket.unwrap_or("its usual sockets"), Subject::Engine, &cause))
}

/// The container, or `None` when there is none of that name.
pub(crate) async fn find(
    engine: &dyn Engine,
    name: &str,
) -> Result<Option<ContainerInspectResponse>, OpError> {
    match engine.inspect(name).await {
        Ok(found) if is_meant(&found, name) => Ok(Some(found)),
        Ok(_) => Ok(None),
        Err(cause) if cause.is_absent() => Ok(None),
        Err(cause) => Err(error(&engine.address(), Subject::Container(name), &cause)),
    }
}

/// How many digits of an id stand for it: as many as engines show.
const ID_DIGITS_MIN: usize = 12;

/// Whether a container has this name, or this is its id. Where there is none of a name, engines look for an id that begins
/// with it: `db` is any container whose id happens to.
fn is_meant(found: &ContainerInspectResponse, name: &str) -> bool {
    let has_name = found.name.as_deref().is_none_or(|its| its.trim_start_matches('/') == name);
    has_name || name.len() >= ID_DIGITS_MIN
}

/// The container that the effect with this key made, if it did.
pub(crate) async fn made_by(
    engine: &dyn Engine,
    key: &str,
) -> Result<Option<ContainerInspectResponse>, OpError> {
    let filters = Filters::from([("label".to_owned(), vec![format!("{LABEL_EFFECT}={key}")])]);
    let listed = listed(engine, true, &filters).await;
    let listed = listed.map_err(|cause| error(&engine.address(), Subject::Engine, &cause))?;
    match listed.into_iter().find_map(|container| container.id) {
        Some(id) => find(engine, &id).await,
        None => Ok(None),
    }
}

/// Whether it runs.
pub(crate) fn is_running(found: &ContainerInspectResponse) -> bool {
    found.state.as_ref().and_then(|state| state.running).unwrap_or_default()
}

/// Its id.
pub(crate) fn id(found: &ContainerInspectResponse) -> String {
    found.id.clone().unwrap_or_default()
}

/// Makes a container that carries the key of this effect, or adopts the one that carries it already.
pub(crate) async fn create(cx: &Ctx, name: &str, spec: &Spec) -> Result<Value, OpError> {
    let engine = engine(cx, spec.socket.as_deref()).await?;
    let start = spec.start.unwrap_or(false);
    let handed = Handed::of(cx, name, spec)?;
    let (id, warm) = match made_by(&*engine, cx.key()).await? {
        Some(found) => (id(&found), is_running(&found)),
        None => {
            let mut body = prepare(cx, &*engine, spec).await?;
            handed.add_to(&mut body)?;
            (make(&*engine, name, spec, body).await?, false)
        }
    };
    if start && !warm {
        started_or_removed(&*engine, name, &id).await?;
    }
    handed.settle();
    Ok(created(&id, name))
}

/// The value of `containers::create`.
pub(crate) fn created(id: &str, name: &str) -> Value {
    Value::map([("id", Value::from(id)), ("name", Value::from(name))])
}

/// The request that makes a container: with the one whose network is shared, which must be there.
pub(crate) async fn described(
    cx: &Ctx,
    engine: &dyn Engine,
    spec: &Spec,
) -> Result<ContainerCreateBody, OpError> {
    let shared = match spec.network_mode.as_deref().and_then(body::shared_with) {
        Some(other) => match find(engine, other).await? {
            Some(found) => Some(id(&found)),
            None => {
                let absent = EngineError::new(crate::port::Fault::Status(404), "no such container");
                return Err(explain(engine, Subject::Container(other), absent).await);
            }
        },
        None => None,
    };
    body::body(cx, spec, shared.as_deref())
}

/// As [`described`], and fetches the image if that is wanted.
pub(crate) async fn prepare(
    cx: &Ctx,
    engine: &dyn Engine,
    spec: &Spec,
) -> Result<ContainerCreateBody, OpError> {
    // What is wrong with the options is said before anything is fetched.
    let body = described(cx, engine, spec).await?;
    let image = &spec.image.0;
    let here = match engine.image(image).await {
        Ok(_) => true,
        Err(cause) if cause.is_absent() => false,
        Err(cause) => return Err(error(&engine.address(), Subject::Image(image), &cause)),
    };
    match (spec.pull_policy, here) {
        (PullPolicy::Never, false) => {
            let absent = EngineError::new(crate::port::Fault::Status(404), "no such image");
            return Err(explain(engine, Subject::Image(image), absent).await);
        }
        (PullPolicy::Always, _) | (PullPolicy::Missing, false) => {
            transfer::pull(cx, engine, image, spec.auth.as_ref(), spec.platform.as_deref()).await?;
        }
        (PullPolicy::Never | PullPolicy::Missing, true) => {}
    }
    Ok(body)
}

pub(crate) async fn make(
    engine: &dyn Engine,
    name: &str,
    spec: &Spec,
    body: ContainerCreateBody,
) -> Result<String, OpError> {
    let limited = compare::has_limits(&body).then(|| body.clone());
    let id = match engine.create(name, body).await {
        Ok(id) => id,
        Err(cause) if cause.is_absent() => {
            return Err(explain(engine, Subject::Image(&spec.image.0), cause).await);
        }
        Err(cause) => return Err(error(&engine.address(), Subject::Container(name), &cause)),
    };
    // A limit that does not hold is worse than none.
    let Some(body) = limited else { return Ok(id) };
    let made = told(engine, name, engine.inspect(&id).await).map_err(too_late)?;
    let passed_over = compare::limits_passed_over(&body, &made).join(", ");
    if passed_over.is_empty() {
        return Ok(id);
    }
    let problem = OpError::invalid(format!("the engine passes over these limits of {name}: {passed_over}"))
        .hint(
            "an engine without root needs control groups v2 for limits; leave them out, or use one with root",
        );
    Err(removed_after(engine, &id, problem).await)
}

/// Starts a container that was just made; one that does not start is removed again.
pub(crate) async fn started_or_removed(engine: &dyn Engine, name: &str, id: &str) -> Result<(), OpError> {
    let Err(cause) = engine.start(id).await else { return Ok(()) };
    let problem = error(&engine.address(), Subject::Container(name), &cause);
    Err(removed_after(engine, id, too_late(problem)).await)
}

/// Removes a container that cannot be as it was declared; gives the problem, and says if it is still there.
async fn removed_after(engine: &dyn Engine, id: &str, problem: OpError) -> OpError {
    match engine.remove(id, true, true).await {
        Ok(()) => problem,
        Err(left) if left.is_absent() => problem,
        Err(left) => too_late(problem).detail("left", id).detail("not_removed", left.message),
    }
}

/// What `containers::ensure` found and did.
struct Ensured {
    id: String,
    changed: bool,
    recreated: bool,
    because: Vec<String>,
}

impl From<Ensured> for Value {
    fn from(it: Ensured) -> Self {
        Self::map([
            ("id", Self::from(it.id)),
            ("changed", Self::from(it.changed)),
            ("recreated", Self::from(it.recreated)),
            ("because", Self::from(it.because)),
        ])
    }
}

/// Makes the container of this name be as declared.
pub(crate) async fn ensure(cx: &Ctx, name: &str, spec: &Spec) -> Result<Value, OpError> {
    let engine = engine(cx, spec.socket.as_deref()).await?;
    let engine = &*engine;
    let start = spec.start.unwrap_or(true);
    let handed = Handed::of(cx, name, spec)?;
    let mut body = prepare(cx, engine, spec).await?;
    let old = format!("{name}{SUFFIX_OLD}");
    let mut found = find(engine, name).await?;
    if found.is_none() && find(engine, &old).await?.is_some() {
        // A crash came between renaming the old one and making the new one.
        told(engine, name, engine.rename(&old, name).await)?;
        found = find(engine, name).await?;
    }
    let Some(found) = found else {
        handed.add_to(&mut body)?;
        let id = make(engine, name, spec, body).await?;
        if start {
            started_or_removed(engine, name, &id).await?;
        }
        handed.settle();
        let because = vec!["it did not exist".to_owned()];
        return Ok(Ensured { id, changed: true, recreated: false, because }.into());
    };
    let mut because = differences(engine, spec, &body, &found).await?;
    because.extend(handed.changes());
    if !because.is_empty() {
        cx.progress(Progress { message: format!("recreating {name}"), ..Progress::default() });
        handed.add_to(&mut body)?;
        let id = replace(engine, name, spec, body, &found, start).await?;
        handed.settle();
        return Ok(Ensured { id, changed: true, recreated: true, because }.into());
    }
    let mut ensured = Ensured { id: self::id(&found), changed: false, recreated: false, because };
    if start && !is_running(&found) {
        handed.lay_out()?;
        let state = found.state.and_then(|state| state.status).map_or_else(String::new, |s| s.to_string());
        start_in_place_of(engine, name, &ensured.id, &old).await?;
        ensured.changed = true;
        ensured.because = vec![format!("it was {state}")];
    }
    handed.settle();
    // A crash came between starting the new one and removing the old one, or it was still depended on.
    remove_if_free(engine, &old).await?;
    Ok(ensured.into())
}

/// Starts a container. Where a crash left its predecessor beside it, that one is stopped before, and put back when the
/// new one does not start.
async fn start_in_place_of(engine: &dyn Engine, name: &str, id: &str, old: &str) -> Result<(), OpError> {
    let Some(left) = find(engine, old).await? else {
        return told(engine, name, engine.start(id).await);
    };
    let (old_id, ran) = (self::id(&left), is_running(&left));
    if ran {
        told(engine, name, engine.stop(&old_id, None).await)?;
    }
    match started_or_removed(engine, name, id).await {
        Ok(()) => Ok(()),
        Err(problem) => Err(put_back(engine, name, &old_id, true, problem).await),
    }
}

/// Why `found` is not as declared; empty when it is.
async fn differences(
    engine: &dyn Engine,
    spec: &Spec,
    body: &ContainerCreateBody,
    found: &ContainerInspectResponse,
) -> Result<Vec<String>, OpError> {
    let mut because = compare::differences(body, found);
    let image = &spec.image.0;
    let has = found.config.as_ref().and_then(|config| config.image.clone()).unwrap_or_default();
    let wanted = engine.image(image).await;
    let wanted = wanted.map_err(|cause| error(&engine.address(), Subject::Image(image), &cause))?;
    let bare =
        |id: &Option<String>| id.as_deref().unwrap_or_default().trim_start_matches("sha256:").to_owned();
    if bare(&wanted.id) != bare(&found.image) {
        because.insert(
            0,
            match has == *image {
                true => format!("image: {image} is a newer one now"),
                false => format!("image: {has} → {image}"),
            },
        );
    }
    Ok(because)
}

/// Puts a new container in the place of `found`. When the new one does not start, the old one is put back.
async fn replace(
    engine: &dyn Engine,
    name: &str,
    spec: &Spec,
    body: ContainerCreateBody,
    found: &ContainerInspectResponse,
    start: bool,
) -> Result<String, OpError> {
    let (old_id, old) = (id(found), format!("{name}{SUFFIX_OLD}"));
    let ran = is_running(found);
    if !remove_if_free(engine, &old).await? {
        return Err(OpError::conflict(format!("containers still share the network of {old}"))
            .hint(format!("they hang in a network that is gone: ensure them too, then {name} again"))
            .nothing_happened());
    }
    told(engine, name, engine.rename(&old_id, &old).await)?;
    let made = make(engine, name, spec, body).await.map_err(too_late);
    let made = match made {
        Ok(id) if start => {
            // Two cannot have the same ports and addresses.
            let stopped = match ran {
                true => told(engine, name, engine.stop(&old_id, None).await).map_err(too_late),
                false => Ok(()),
            };
            match stopped {
                Ok(()) => started_or_removed(engine, name, &id).await.map(|()| id),
                Err(problem) => {
                    drop(engine.remove(&id, true, true).await);
                    Err(problem)
                }
            }
        }
        other => other,
    };
    match made {
        Ok(id) => {
            remove_if_free(engine, &old_id).await.map_err(too_late)?;
            Ok(id)
        }
        Err(problem) => Err(put_back(engine, name, &old_id, ran, problem).await),
    }
}

async fn put_back(engine: &dyn Engine, name: &str, old_id: &str, ran: bool, problem: OpError) -> OpError {
    let renamed = engine.rename(old_id, name).await;
    let started = if ran { engine.start(old_id).await } else { Ok(()) };
    match (renamed, started) {
        (Ok(()), Ok(())) => problem.detail("kept", "the container is as it was before"),
        (renamed, started) => {
            let why = renamed.err().or(started.err()).map(|cause| cause.message).unwrap_or_default();
            problem.detail("not_put_back", format!("{old_id}: {why}"))
        }
    }
}

/// Removes the container of this name, and what it was handed; whether there was one.
pub(crate) async fn remove(
    cx: &Ctx,
    engine: &dyn Engine,
    name: &str,
    force: bool,
    volumes: bool,
) -> Result<bool, OpError> {
    let found = find(engine, name).await?;
    if !force && found.as_ref().is_some_and(is_running) {
        let running = OpError::conflict(format!("container {name} is running")).nothing_happened();
        return Err(running.hint("stop it first, or give `force: true`"));
    }
    let was_there = match found {
        None => false,
        Some(found) => match engine.remove(&id(&found), force, volumes).await {
            Err(cause) if cause.is_absent() => false,
            other => told(engine, name, other).map(|()| true)?,
        },
    };
    secrets::forget(cx, name);
    Ok(was_there)
}

/// Removes a predecessor; `false` when it must stay. Podman keeps what other containers share a network with, until they
/// have been made anew too.
async fn remove_if_free(engine: &dyn Engine, old: &str) -> Result<bool, OpError> {
    match engine.remove(old, true, false).await {
        Err(cause) if cause.is_absent() => Ok(true),
        Err(cause) if cause.message.contains("dependent containers") => Ok(false),
        Err(cause) => Err(error(&engine.address(), Subject::Container(old), &cause)),
        Ok(()) => Ok(true),
    }
}

/// The result of a request about a container, as a script sees it.
pub(crate) fn told<T>(engine: &dyn Engine, name: &str, result: Result<T, EngineError>) -> Result<T, OpError> {
    result.map_err(|cause| error(&engine.address(), Subject::Container(name), &cause))
}

/// The container, which must be there.
pub(crate) async fn existing(engine: &dyn Engine, name: &str) -> Result<ContainerInspectResponse, OpError> {
    match engine.inspect(name).await {
        Ok(found) => Ok(found),
        Err(cause) => Err(explain(engine, Subject::Container(name), cause).await),
    }
}

/// When it was started last; empty when it never was.
fn started_at(found: &ContainerInspectResponse) -> &str {
    let time = found.state.as_ref().and_then(|state| state.started_at.as_deref());
    time.filter(|time| *time != view::NEVER).unwrap_or_default()
}

/// Whether it was ever started.
pub(crate) fn was_started(found: &ContainerInspectResponse) -> bool {
    !started_at(found).is_empty()
}

/// What tells one start of a container from every other: its id, and when that was.
pub(crate) fn start_note(found: &ContainerInspectResponse) -> Value {
    Value::map([("id", Value::from(id(found))), ("started_at", Value::from(started_at(found)))])
}

/// Whether a restart happened that a process asked for which is gone. The engine may still be at it: what is about to happen
/// must not be asked for again, so that it is looked several times.
pub(crate) async fn what_became_of_restart(
    engine: &dyn Engine,
    name: &str,
    noted: &Value,
) -> Result<Probe, OpError> {
    for looks in 0_u32.. {
        let Some(found) = find(engine, name).await? else {
            return Ok(Probe::Unknown(format!("there is no container {name} any more")));
        };
        let runs = is_running(&found);
        if runs && start_note(&found) != *noted {
            return Ok(Probe::Done(restarted(&found)));
        }
        if looks >= if runs { LOOKS_WHILE_IT_RUNS } else { LOOKS_WHILE_IT_RESTS } {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(Probe::NotDone)
}

/// The value of `containers::restart`.
pub(crate) fn restarted(found: &ContainerInspectResponse) -> Value {
    Value::map([("started_at", Value::from(started_at(found)))])
}

/// What a dry run takes `containers::ensure` for.
pub(crate) fn modelled() -> Value {
    Ensured { id: String::new(), changed: true, recreated: false, because: Vec::new() }.into()
}

/// What `get` gives.
pub(crate) async fn get(engine: &dyn Engine, name: &str) -> Result<Value, OpError> {
    match engine.inspect(name).await {
        Ok(found) => Ok(view::details(&found)),
        Err(cause) => Err(explain(engine, Subject::Container(name), cause).await),
    }
}
