//! The mount guard: a service starts only when its files are where it would look for them.
//!
//! A directory whose file system is not mounted is an empty directory: what starts there finds no data, makes new, and fills
//! the disk beneath. So a service waits for the file systems that hold its files, and fails when they do not come.

use std::sync::{Arc, Weak};
use std::time::Duration;

use hob_model::{OpError, Value};
use hob_planner::declaration::Mount;
use hob_planner::{MountState, Service, ServiceState};
use serde_json::{Value as Json, json};

use super::table::Table;
use super::{Inner, answers};

/// How long the file system of a dataset may take to answer that is on no declared mount.
const PATIENCE: Duration = hob_planner::declaration::MOUNT_PATIENCE;

/// Why services are stopped that stand on what is gone.
const GONE: &str = "the file system that it stands on is gone, and another one is in its place";

/// How long the one who watches sleeps at most before it looks whether it is still needed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How each of these stands; nobody is asked where there are none.
fn states<'m>(
    inner: &Inner,
    mounts: impl Iterator<Item = &'m Mount>,
) -> Result<Vec<(&'m Mount, MountState)>, OpError> {
    let mut mounts = mounts.peekable();
    if mounts.peek().is_none() {
        return Ok(Vec::new());
    }
    let mounted = inner.file_systems.mounted()?;
    let state = |mount: &Mount| {
        let device = mount.device.as_deref().map(|device| inner.file_systems.device(device));
        match mount.state(&mounted, device.as_deref()) {
            MountState::There => inner.answers.state(mount),
            other => other,
        }
    };
    Ok(mounts.map(|mount| (mount, state(mount))).collect())
}

fn mounts_of<'i>(inner: &'i Inner, service: &'i Service) -> impl Iterator<Item = &'i Mount> {
    inner.homelab.mounts.iter().filter(|mount| service.mounts.contains(&mount.name))
}

/// The file system that a service lacks, and what is there instead.
fn missing<'i>(inner: &'i Inner, service: &'i Service) -> Option<(&'i Mount, String)> {
    let states = states(inner, mounts_of(inner, service)).ok()?;
    states.into_iter().find_map(|(mount, state)| Some((mount, state.problem()?.to_owned())))
}

/// Whether a service still waits for a file system; one that has waited for too long starts, and [`guard`] refuses.
pub(super) fn waits(inner: &Inner, table: &mut Table, name: &str, now: Duration) -> bool {
    let Some(service) = inner.homelab.service(name) else { return false };
    let missing = missing(inner, service);
    let Some(entry) = table.services.get_mut(name) else { return false };
    let Some((mount, why)) = missing else {
        entry.unmounted_until = None;
        return false;
    };
    let until = *entry.unmounted_until.get_or_insert(now + mount.timeout);
    if now < until {
        entry.note = format!("waits for mount `{}`: {why}", mount.name);
    }
    now < until
}

/// When the next service has waited for too long.
pub(super) fn next(table: &Table, now: Duration) -> Option<Duration> {
    let waiting = table.services.values().filter(|entry| entry.state == ServiceState::Stopped);
    waiting.filter_map(|entry| entry.unmounted_until).filter(|until| *until > now).min()
}

/// Refuses a service whose files are not where it would look for them, and remembers that it lacks them.
pub(super) fn guard(inner: &Inner, service: &Service) -> Result<(), OpError> {
    let checked = mounted(inner, service).and_then(|()| filled(inner, service));
    checked.inspect_err(|_| note_lack(inner, service))
}

/// As [`guard`], for what comes before the start itself: a function may make the directories of datasets, and must not make them
/// below a mount point where nothing is mounted.
pub(super) fn guard_mounts(inner: &Inner, service: &Service) -> Result<(), OpError> {
    mounted(inner, service).inspect_err(|_| note_lack(inner, service))
}

fn note_lack(inner: &Inner, service: &Service) {
    let now = inner.supervisors.now();
    inner.update(&service.name, |entry| entry.unmounted_until = Some(now));
}

/// Why what a service stands on is not mounted, or does not answer. Where something is mounted when somebody comes there, it
/// is by now.
fn mounted(inner: &Inner, service: &Service) -> Result<(), OpError> {
    for (mount, state) in states(inner, mounts_of(inner, service))? {
        if state == MountState::Automatic {
            inner.file_systems.is_directory(&mount.path, mount.patience)?;
        }
    }
    // What answered a while ago need not answer now.
    answers::ask_now(inner, mounts_of(inner, service))?;
    for (mount, state) in states(inner, mounts_of(inner, service))? {
        let state = match state {
            MountState::There => continue,
            MountState::Automatic => {
                MountState::Missing(format!("nothing gets mounted at {}", mount.path.display()))
            }
            other => other,
        };
        let (how, why) = (state.as_str(), state.problem().unwrap_or_default());
        let comes = if how == "missing" { "is mounted" } else { "answers" };
        return Err(OpError::unavailable(format!("mount `{}` is {how}: {why}", mount.name))
            .hint(format!("it starts as soon as that {comes}"))
            .nothing_happened());
    }
    Ok(())
}

/// Why the datasets of a service are not where it would look for them.
fn filled(inner: &Inner, service: &Service) -> Result<(), OpError> {
    let used = inner.homelab.datasets.iter().filter(|it| service.datasets.contains(&it.name));
    for dataset in used {
        if !inner.file_systems.is_directory(&dataset.path, PATIENCE)? {
            let path = dataset.path.display();
            return Err(OpError::not_found(format!(
                "dataset `{}` is missing: there is no directory {path}",
                dataset.name
            ))
            .hint("create it if it is new; hob does not, because data that is elsewhere would look lost")
            .nothing_happened());
        }
    }
    Ok(())
}

/// Watches what is mounted as long as the keeper lives.
pub(super) fn watch(inner: &Arc<Inner>) -> Result<(), OpError> {
    if inner.homelab.mounts.is_empty() {
        return Ok(());
    }
    let mut changes = inner.file_systems.watch()?;
    let weak = Arc::downgrade(inner);
    let mut known = known(inner);
    answers::ask_due(inner, true);
    let spawned = std::thread::Builder::new().name("hob-mounts".into()).spawn(move || {
        let alive = |weak: &Weak<Inner>| weak.upgrade().filter(|inner| !inner.table().closing);
        while alive(&weak).is_some() {
            let changed = changes.wait(LOOK_AGAIN);
            let Some(inner) = alive(&weak) else { continue };
            answers::ask_due(&inner, changed);
            if inner.answers.take_news() || changed {
                let now = self::known(&inner);
                tell(&inner, &known, &now);
                encourage(&inner, &now);
                known = now;
            }
            restart_astray(&inner);
        }
    });
    spawned.map(drop).map_err(|error| OpError::unavailable(format!("no thread can be started: {error}")))
}

/// How all stand now, by the order of the declarations.
fn known(inner: &Inner) -> Vec<MountState> {
    let states = states(inner, inner.homelab.mounts.iter()).unwrap_or_default();
    states.into_iter().map(|(_, state)| state).collect()
}

/// Emits `mount.ready` and `mount.missing` for what came and went, and for what must be mounted anew.
fn tell(inner: &Inner, known: &[MountState], now: &[MountState]) {
    for ((mount, before), after) in inner.homelab.mounts.iter().zip(known).zip(now) {
        let is_there = after.problem().is_none();
        let is_news = |state: &MountState| (state.problem().is_none(), matches!(state, MountState::Stale(_)));
        // One that is stale and taken away is missing still.
        if is_news(before) == is_news(after) || (!is_there && matches!(before, MountState::Stale(_))) {
            continue;
        }
        let what = if is_there { "ready" } else { "missing" };
        tracing::info!(mount = mount.name, what, state = after.as_str(), "mounts changed");
        let payload = Value::map([
            ("mount", Value::from(mount.name.as_str())),
            ("path", Value::from(mount.path.to_string_lossy().into_owned())),
            ("state", Value::from(after.as_str())),
            ("note", Value::from(after.problem().unwrap_or_default())),
        ]);
        // Somebody may be there to mount it: that is not to wait for the next commit of others.
        let told = inner.runs.emit(&format!("mount.{what}"), payload, &format!("mount:{}", mount.name));
        if let Err(error) = told {
            tracing::warn!(mount = mount.name, %error, "that it is {what} cannot be told");
        }
    }
}

/// Services that failed for want of a file system which is there now are tried again at once.
fn encourage(inner: &Inner, known: &[MountState]) {
    let now = inner.supervisors.now();
    let mounts = || inner.homelab.mounts.iter().zip(known);
    for service in inner.homelab.services.iter().filter(|it| !it.mounts.is_empty()) {
        let there =
            mounts().all(|(mount, state)| state.problem().is_none() || !service.mounts.contains(&mount.name));
        inner.update(&service.name, |entry| {
            if there && entry.unmounted_until.is_some() && entry.retry_at.is_some() {
                entry.retry_at = Some(now);
                entry.failures = 0;
            }
        });
    }
}

/// Services that run on a file system which is gone, while another one is in its place, start anew.
fn restart_astray(inner: &Inner) {
    for (name, life) in inner.answers.take_astray() {
        inner.update(&name, |entry| {
            let is_it = entry.running.as_ref().is_some_and(|running| running.instance == life);
            entry.astray = entry.astray.or(is_it.then_some(GONE));
        });
    }
}

/// The declared mounts as `hob status --json` prints them.
pub(super) fn view(inner: &Inner) -> Vec<Json> {
    let states = states(inner, inner.homelab.mounts.iter()).unwrap_or_default();
    let view = |(mount, state): (&Mount, MountState)| {
        let note = state.problem().unwrap_or_default();
        json!({ "name": mount.name, "path": mount.path, "state": state.as_str(), "note": note })
    };
    states.into_iter().map(view).collect()
}
