//! The mount guard: a service starts only when its files are where it would look for them.
//!
//! A directory whose file system is not mounted is an empty directory: what starts there finds no data, makes new, and fills
//! the disk beneath. So a service waits for the file systems that hold its files, and fails when they do not come.

use std::sync::{Arc, Weak};
use std::time::Duration;

use hob_journal::{Commit, Write};
use hob_model::{OpError, Value};
use hob_planner::declaration::Mount;
use hob_planner::{MountState, Service, ServiceState};
use serde_json::{Value as Json, json};

use super::Inner;
use super::table::Table;

/// How long a file system may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

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
        mount.state(&mounted, device.as_deref())
    };
    Ok(mounts.map(|mount| (mount, state(mount))).collect())
}

fn mounts_of<'i>(inner: &'i Inner, service: &'i Service) -> impl Iterator<Item = &'i Mount> {
    inner.homelab.mounts.iter().filter(|mount| service.mounts.contains(&mount.name))
}

/// The file system that a service lacks, and what is there instead.
fn missing<'i>(inner: &'i Inner, service: &'i Service) -> Option<(&'i Mount, String)> {
    let states = states(inner, mounts_of(inner, service)).ok()?;
    states.into_iter().find_map(|(mount, state)| match state {
        MountState::Missing(why) => Some((mount, why)),
        MountState::There | MountState::Automatic => None,
    })
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

/// Why what a service stands on is not mounted. Where something is mounted when somebody comes there, it is by now.
fn mounted(inner: &Inner, service: &Service) -> Result<(), OpError> {
    let mut found = states(inner, mounts_of(inner, service))?;
    let automatic = found.iter().filter(|(_, state)| *state == MountState::Automatic);
    let automatic: Vec<&Mount> = automatic.map(|(mount, _)| *mount).collect();
    for mount in &automatic {
        inner.file_systems.is_directory(&mount.path, PATIENCE)?;
    }
    if !automatic.is_empty() {
        found = states(inner, mounts_of(inner, service))?;
    }
    for (mount, state) in found {
        let why = match state {
            MountState::There => continue,
            MountState::Automatic => format!("nothing gets mounted at {}", mount.path.display()),
            MountState::Missing(why) => why,
        };
        return Err(OpError::unavailable(format!("mount `{}` is missing: {why}", mount.name))
            .hint("it starts as soon as that is mounted")
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
    let spawned = std::thread::Builder::new().name("hob-mounts".into()).spawn(move || {
        let alive = |weak: &Weak<Inner>| weak.upgrade().filter(|inner| !inner.table().closing);
        while alive(&weak).is_some() {
            let changed = changes.wait(LOOK_AGAIN);
            if let Some(inner) = alive(&weak).filter(|_| changed) {
                let now = self::known(&inner);
                tell(&inner, &known, &now);
                encourage(&inner, &now);
                known = now;
            }
        }
    });
    spawned.map(drop).map_err(|error| OpError::unavailable(format!("no thread can be started: {error}")))
}

/// What is missing now, by the order of the declarations; empty texts for what is not.
fn known(inner: &Inner) -> Vec<String> {
    let states = states(inner, inner.homelab.mounts.iter()).unwrap_or_default();
    states.into_iter().map(|(_, state)| note(state)).collect()
}

fn note(state: MountState) -> String {
    match state {
        MountState::Missing(why) => why,
        MountState::There | MountState::Automatic => String::new(),
    }
}

/// Emits `mount.ready` and `mount.missing` for what came and went.
fn tell(inner: &Inner, known: &[String], now: &[String]) {
    for ((mount, before), after) in inner.homelab.mounts.iter().zip(known).zip(now) {
        if before.is_empty() == after.is_empty() {
            continue;
        }
        let what = if after.is_empty() { "ready" } else { "missing" };
        tracing::info!(mount = mount.name, what, "mounts changed");
        inner.runs.journal().submit(Commit::one(Write::Event {
            name: format!("mount.{what}"),
            payload: Value::map([
                ("mount", Value::from(mount.name.as_str())),
                ("path", Value::from(mount.path.to_string_lossy().into_owned())),
                ("note", Value::from(after.as_str())),
            ]),
            origin: format!("mount:{}", mount.name),
            at: inner.runs.now(),
        }));
    }
}

/// Services that failed for want of a file system which is there now are tried again at once.
fn encourage(inner: &Inner, known: &[String]) {
    let now = inner.supervisors.now();
    let mounts = || inner.homelab.mounts.iter().zip(known);
    for service in inner.homelab.services.iter().filter(|it| !it.mounts.is_empty()) {
        let there = mounts().all(|(mount, why)| why.is_empty() || !service.mounts.contains(&mount.name));
        inner.update(&service.name, |entry| {
            if there && entry.unmounted_until.is_some() && entry.retry_at.is_some() {
                entry.retry_at = Some(now);
                entry.failures = 0;
            }
        });
    }
}

/// The declared mounts as `hob status --json` prints them.
pub(super) fn view(inner: &Inner) -> Vec<Json> {
    let states = states(inner, inner.homelab.mounts.iter()).unwrap_or_default();
    let view = |(mount, state): (&Mount, MountState)| {
        let name = match &state {
            MountState::There => "ready",
            MountState::Automatic => "automatic",
            MountState::Missing(_) => "missing",
        };
        json!({ "name": mount.name, "path": mount.path, "state": name, "note": note(state) })
    };
    states.into_iter().map(view).collect()
}
