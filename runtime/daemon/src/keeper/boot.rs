//! A boot as it goes on, and what is kept of it.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hob_journal::{Commit, Journal, Write};
use hob_model::{Code, Diagnostic, Timestamp, Value};
use hob_planner::{Boot, ServiceState};
use serde_json::{Value as Json, json};

use super::table::{Entry, Prepared};
use super::{Inner, Keeper};

/// The fact that keeps the last boot: a [`Boot`] as JSON.
const BOOT_FACT: &str = "boot/last";

/// How often what is waited for is looked at while services start.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// When a service first did what a boot consists of, on the supervisor's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(super) fetch_began: Option<Duration>,
    pub(super) fetch_ended: Option<Duration>,
    call: Option<Duration>,
    called: Option<Duration>,
    pub(super) settled: Option<Duration>,
}

impl Times {
    /// The call that started it.
    pub(super) fn called(&mut self, from: Duration, to: Duration) {
        self.call.get_or_insert(from);
        self.called.get_or_insert(to);
    }
}

/// What a service failed with counts for a boot, though it is tried further.
fn state_of(entry: &Entry) -> ServiceState {
    match entry.state {
        ServiceState::Stopped | ServiceState::Starting if entry.failures > 0 => ServiceState::Failed,
        state => state,
    }
}

/// Keeps what came of a boot, unless nothing was started: then the one before tells more.
pub(super) fn record(inner: &Inner, began: Timestamp, origin: Duration) {
    let table = inner.table();
    if table.services.values().all(|entry| entry.times.call.is_none()) {
        return;
    }
    let state = |name: &str| table.services.get(name).map_or(ServiceState::Unknown, state_of);
    let mut boot = Boot::new(&inner.homelab, state);
    let since = |at: Duration| u64::try_from(at.saturating_sub(origin).as_millis()).unwrap_or(u64::MAX);
    for service in &mut boot.services {
        let Some(entry) = table.services.get(&service.name) else { continue };
        let times = entry.times;
        service.note.clone_from(&entry.note);
        service.fetch = times.fetch_began.zip(times.fetch_ended).map(|(from, to)| (since(from), since(to)));
        (service.call, service.called) = (times.call.map(since), times.called.map(since));
        service.settled = times.settled.map(since);
    }
    drop(table);
    boot.began = began.to_string();
    boot.took = since(inner.supervisors.now());
    let value = serde_json::to_value(&boot).ok().and_then(|json| Value::from_json(json).ok());
    inner.runs.journal().submit(Commit::one(Write::Fact { key: BOOT_FACT.to_owned(), value }));
}

/// The last boot that was recorded.
///
/// # Errors
/// When the journal, or the record in it, cannot be read.
pub fn last_boot(journal: &dyn Journal) -> Result<Option<Boot>, Diagnostic> {
    let fact = journal.fact(BOOT_FACT).map_err(|error| hob_runs::journal_diagnostic(&error))?;
    let Some(fact) = fact else { return Ok(None) };
    let boot = fact.to_json().map_err(|error| error.to_string());
    let boot = boot.and_then(|json| serde_json::from_value(json).map_err(|error| error.to_string()));
    boot.map(Some).map_err(|error| {
        Diagnostic::error(Code::StateUnusable, format!("the record of the last boot cannot be read: {error}"))
            .hint("the next boot is recorded anew")
    })
}

/// What `hob boot explain --json` prints.
#[must_use]
pub fn explained(boot: &Boot) -> Json {
    json!({
        "began": boot.began, "took_ms": boot.took, "services": boot.services, "blocked": boot.blocked,
        "critical_path": boot.critical_path(), "failures": boot.roots(),
    })
}

/// A service as those see it who watch a boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// What it does.
    pub state: ServiceState,
    /// Whether what it needs is being fetched.
    pub fetching: bool,
    /// Why it is in this state, or what its gate still waits for.
    pub note: String,
}

impl Keeper {
    /// Does `work`, which has services started; meanwhile `show` is told of all of them whenever something may have changed,
    /// and once more at the end.
    pub fn watched<T>(&self, show: &mut (dyn FnMut(&[Seen]) + Send), work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| self.follow(show, &done));
            let result = work();
            done.store(true, Ordering::SeqCst);
            self.inner.changed.notify_all();
            result
        })
    }

    fn follow(&self, show: &mut (dyn FnMut(&[Seen]) + Send), done: &AtomicBool) {
        loop {
            let ended = done.load(Ordering::SeqCst);
            let seen: Vec<Seen> = self.inner.table().services.iter().map(seen).collect();
            show(&seen);
            if ended {
                return;
            }
            let waited = self.inner.changed.wait_timeout(self.inner.table(), LOOK_EVERY);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }
}

fn seen((name, entry): (&String, &Entry)) -> Seen {
    Seen {
        name: name.clone(),
        state: state_of(entry),
        fetching: entry.prepared == Prepared::UnderWay,
        note: entry.note.clone(),
    }
}
