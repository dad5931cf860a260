//! What exists, for completion: looked up beside the prompt, which never waits for long.

#![allow(clippy::disallowed_methods)] // the rim: how old names are, and threads that look them up

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hob_check::complete::Named;
use hob_daemon::client::Client;
use hob_repl::Live;
use serde_json::Value as Json;

use super::observe;

/// How long what was found is taken to be so.
const NAMES_AGE_MAX: Duration = Duration::from_secs(5);
/// How long the prompt waits for what is being looked up.
const PROMPT_WAIT_MAX: Duration = Duration::from_millis(100);
/// The most names of a kind.
const NAMES_MAX: usize = 1_000;
/// How many runs are offered, the newest.
const RUNS_MAX: usize = 50;

/// What is known of a kind.
#[derive(Default)]
struct Kept {
    names: Vec<Named>,
    found: Option<Instant>,
    /// Whether somebody looks at the moment: one at a time.
    is_sought: bool,
}

#[derive(Default)]
struct Shared {
    kinds: Mutex<BTreeMap<String, Kept>>,
    found: Condvar,
}

impl Shared {
    fn kinds(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names of services, schedules, workflows and runs come from the hob that serves the state directory, those of other
/// things from their primitive's `list`.
pub(super) struct Names {
    shared: Arc<Shared>,
    socket: PathBuf,
}

impl Names {
    /// Those of the state directory with this socket; nothing is looked up yet.
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { shared: Arc::default(), socket }
    }
}

impl Live for Names {
    fn prepare(&self, kind: &str) {
        let mut kinds = self.shared.kinds();
        if !kinds.contains_key(kind) && !is_kind(kind) {
            return;
        }
        let kept = kinds.entry(kind.to_owned()).or_default();
        if kept.is_sought || kept.found.is_some_and(|at| at.elapsed() < NAMES_AGE_MAX) {
            return;
        }
        let (shared, socket, kind) = (Arc::clone(&self.shared), self.socket.clone(), kind.to_owned());
        let look = move || {
            let names = look_up(&kind, socket);
            let mut kinds = shared.kinds();
            kinds.insert(kind, Kept { names, found: Some(Instant::now()), is_sought: false });
            shared.found.notify_all();
        };
        kept.is_sought = std::thread::Builder::new().name("names".to_owned()).spawn(look).is_ok();
    }

    fn names(&self, kind: &str) -> Vec<Named> {
        self.prepare(kind);
        let begun = Instant::now();
        let mut kinds = self.shared.kinds();
        // What is known and old is better than nothing: only those who know nothing wait.
        while kinds.get(kind).is_some_and(|kept| kept.is_sought && kept.found.is_none()) {
            let Some(left) = PROMPT_WAIT_MAX.checked_sub(begun.elapsed()) else { break };
            kinds = self.shared.found.wait_timeout(kinds, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        kinds.get(kind).map(|kept| kept.names.clone()).unwrap_or_default()
    }
}

/// Whether there can be names of this kind.
fn is_kind(kind: &str) -> bool {
    matches!(kind, "services" | "schedules" | "workflows" | "runs") || observe::lists(kind)
}

fn look_up(kind: &str, socket: PathBuf) -> Vec<Named> {
    let mut names = match kind {
        "services" | "schedules" | "workflows" => of_status(kind, &Client::new(socket)).unwrap_or_default(),
        "runs" => of_runs(&Client::new(socket)).unwrap_or_default(),
        kind => observe::names(kind),
    };
    names.truncate(NAMES_MAX);
    names
}

/// The names below `kind` of what `hob status` shows, with what else is told of them.
fn of_status(kind: &str, client: &Client) -> Option<Vec<Named>> {
    let status = client.get("/api/v1/status").ok()?;
    let about: &[&str] = match kind {
        "services" => &["kind", "state"],
        "schedules" => &["next"],
        _ => &["on"],
    };
    Some(status[kind].as_array()?.iter().filter_map(|item| named(item, "name", about)).collect())
}

fn of_runs(client: &Client) -> Option<Vec<Named>> {
    let runs = client.get(&format!("/api/v1/runs?limit={RUNS_MAX}")).ok()?;
    Some(runs.as_array()?.iter().filter_map(|run| named(run, "run", &["name", "status"])).collect())
}

fn named(item: &Json, key: &str, about: &[&str]) -> Option<Named> {
    let about: Vec<&str> = about.iter().filter_map(|key| item[*key].as_str()).collect();
    Some(Named { name: item[key].as_str()?.to_owned(), about: about.join(", ") })
}
