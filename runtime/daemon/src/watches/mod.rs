//! Files that start workflows: `watch("/mnt/hot/*.mkv", #{ settle: "10s" })`.
//!
//! A file starts a workflow once it is whole: unchanged for the time to settle, and not open for writing. Which contents
//! did is recorded with the start of the run, so each does once, over crashes and restarts; what came while hob was down
//! does when it is up again. What is there when a pattern is declared for the first time is left alone.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use hob_journal::{Commit, Write};
use hob_model::{Digest, Timestamp, Value};
use hob_planner::Homelab;
use hob_planner::declaration::{RunPolicy, Trigger};
use hob_runs::RunError;

use crate::clock::Machine;
use crate::schedules::Launch;

pub mod live;
mod settle;

pub use settle::{Seen, Settling, Signature};

/// Matches of one pattern that are looked at; more are told of once.
pub const MATCHES_MAX: usize = 10_000;
/// How often files are looked at without a hint.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How often a file is looked at that somebody writes to.
const IN_USE_AGAIN: Duration = Duration::from_secs(1);

/// Before the workflow and the path, the name of the fact that a content has started it.
const KNOWN: &str = "watch/";
/// Before the workflow and the digest of a pattern, the name of the fact that it was declared.
const DECLARED: &str = "watched/";

/// A pattern of paths, taken apart.
pub struct Glob {
    /// The directory from which on there are wildcards.
    pub base: PathBuf,
    /// How deep a match can be below it.
    pub depth_max: usize,
    matcher: GlobMatcher,
    asks_hidden: bool,
}

impl Glob {
    /// An absolute pattern; `None` where it is none, which the declaration has told.
    #[must_use]
    pub fn new(pattern: &str) -> Option<Self> {
        let matcher = GlobBuilder::new(pattern)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .ok()?
            .compile_matcher();
        let is_wild = |part: &str| part.contains(['*', '?', '[', '{', '\\']);
        let parts: Vec<&str> = pattern.split('/').collect();
        let fixed = parts.iter().take_while(|part| !is_wild(part)).count().min(parts.len() - 1);
        let wild = &parts[fixed..];
        let unbounded = wild.iter().any(|part| part.contains("**") || part.contains('{'));
        let base = Path::new("/").join(parts[..fixed].join("/").trim_start_matches('/'));
        Some(Self {
            base,
            depth_max: if unbounded { usize::MAX } else { wild.len() },
            matcher,
            asks_hidden: wild.iter().any(|part| part.starts_with('.')),
        })
    }

    /// Whether a path matches. Hidden files do where the pattern asks for them: many programs write to one first.
    #[must_use]
    pub fn matches(&self, path: &Path) -> bool {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        (self.asks_hidden || !hidden) && self.matcher.is_match(path)
    }
}

/// What a look at the files of a pattern finds.
#[derive(Debug, Default)]
pub struct Scan {
    /// The matches.
    pub files: Vec<Seen>,
    /// There are more than are looked at.
    pub more: bool,
    /// The file system did not answer: what is there is not known.
    pub unanswered: bool,
}

/// The port to the files.
pub trait Files: Send + Sync {
    /// The files that match.
    fn scan(&self, glob: &Glob) -> Scan;
    /// Which of these files, by device and inode, are open for writing.
    fn written_to(&self, inodes: &HashSet<(u64, u64)>) -> HashSet<(u64, u64)>;
    /// Waits until files may have changed, or for `pause`; `false` once it is over.
    fn wait(&self, pause: Duration) -> bool;
    /// Ends the waiting.
    fn stop(&self);
}

/// One pattern of one workflow.
struct Watched {
    workflow: String,
    policy: RunPolicy,
    pattern: String,
    glob: Glob,
    settle: Duration,
}

/// Where a pattern stands.
#[derive(Default)]
struct State {
    settling: Settling,
    told_more: bool,
    /// Under this name it is noted as declared, once it is known what is there: that starts nothing.
    new: Option<String>,
}

/// All patterns of a homelab.
pub struct Watches {
    launch: Launch,
    watched: Vec<Watched>,
    states: Mutex<Vec<State>>,
    /// The contents that have started a workflow: their facts' names and signatures.
    known: Mutex<HashMap<String, String>>,
    files: Arc<dyn Files>,
    machine: Arc<dyn Machine>,
}

impl Watches {
    /// Those of a homelab.
    #[must_use]
    pub fn new(launch: Launch, homelab: &Homelab, files: Arc<dyn Files>, machine: Arc<dyn Machine>) -> Self {
        let triggers = homelab.workflows.iter().flat_map(|it| it.triggers.iter().map(move |on| (it, on)));
        let watched: Vec<Watched> = triggers
            .filter_map(|(workflow, trigger)| {
                let Trigger::Watch(watch) = trigger else { return None };
                Some(Watched {
                    workflow: workflow.name.clone(),
                    policy: workflow.policy.clone(),
                    pattern: watch.pattern.clone(),
                    glob: Glob::new(&watch.pattern)?,
                    settle: watch.settle,
                })
            })
            .collect();
        let states = Mutex::new(watched.iter().map(|_| State::default()).collect());
        Self { launch, watched, states, known: Mutex::default(), files, machine }
    }

    /// Whether a homelab has any.
    #[must_use]
    pub fn wanted(homelab: &Homelab) -> bool {
        let mut triggers = homelab.workflows.iter().flat_map(|workflow| &workflow.triggers);
        triggers.any(|trigger| matches!(trigger, Trigger::Watch(_)))
    }

    /// Recalls which contents have started a workflow, and takes what is there for known where a pattern is new.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub fn begin(&self) -> Result<(), RunError> {
        let (journal, now) = (self.launch.runs.journal(), self.launch.runs.now());
        let mut known = HashMap::new();
        for (key, value) in journal.facts(KNOWN)? {
            known.extend(value.as_str().map(|signature| (key, signature.to_owned())));
        }
        let mut declared: HashSet<String> =
            journal.facts(DECLARED)?.into_iter().map(|(key, _)| key).collect();
        let mut writes = Vec::new();
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        for (watched, state) in self.watched.iter().zip(states.iter_mut()) {
            let digest = Digest::of(watched.pattern.as_bytes());
            let key = format!("{DECLARED}{}/{digest}", watched.workflow);
            if !declared.remove(&key) {
                state.new = Some(key);
                writes.extend(watched.take_for_known(
                    state,
                    &self.files.scan(&watched.glob),
                    &mut known,
                    now,
                ));
            }
        }
        // A pattern that is declared no more begins anew when it is declared again.
        writes.extend(declared.into_iter().map(|key| Write::Fact { key, value: None }));
        if !writes.is_empty() {
            journal.wait(journal.submit(Commit { writes }))?;
        }
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    /// Serves until it is stopped.
    pub fn serve(&self) {
        loop {
            let pause = self.round();
            if !self.files.wait(pause) {
                return;
            }
        }
    }

    /// Has [`Watches::serve`] return.
    pub fn stop(&self) {
        self.files.stop();
    }

    /// Looks at all patterns; how long nothing is to be done afterwards unless files change.
    pub fn round(&self) -> Duration {
        let now = self.machine.clocks().monotonic;
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pause = LOOK_AGAIN;
        for (watched, state) in self.watched.iter().zip(states.iter_mut()) {
            match self.look(watched, state, now) {
                Ok(again) => pause = pause.min(again),
                Err(error) => {
                    tracing::error!(workflow = watched.workflow, %error, "files cannot start it now");
                    pause = pause.min(IN_USE_AGAIN);
                }
            }
        }
        pause
    }

    fn look(&self, watched: &Watched, state: &mut State, now: Duration) -> Result<Duration, RunError> {
        let scan = self.files.scan(&watched.glob);
        if scan.more && !std::mem::replace(&mut state.told_more, true) {
            self.tell_more(watched)?;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if scan.unanswered {
            return Ok(LOOK_AGAIN);
        }
        let (journal, at) = (self.launch.runs.journal(), self.launch.runs.now());
        let writes = watched.take_for_known(state, &scan, &mut known, at);
        if !writes.is_empty() {
            journal.wait(journal.submit(Commit { writes }))?;
        }
        let is_known = |seen: &Seen| known.get(&watched.key(seen)) == Some(&seen.signature.text());
        let (whole, again) = state.settling.look(scan.files, is_known, watched.settle, now);
        let mut pause = again.map_or(LOOK_AGAIN, |again| again.saturating_sub(now));
        if whole.is_empty() {
            return Ok(pause);
        }
        let inodes = whole.iter().map(|seen| seen.signature.inode).collect();
        let in_use = self.files.written_to(&inodes);
        for seen in whole {
            if in_use.contains(&seen.signature.inode) {
                pause = pause.min(IN_USE_AGAIN);
                continue;
            }
            self.start(watched, &seen)?;
            known.insert(watched.key(&seen), seen.signature.text());
        }
        Ok(pause)
    }

    fn tell_more(&self, watched: &Watched) -> Result<(), RunError> {
        let fields = [
            ("workflow", Value::from(watched.workflow.as_str())),
            ("pattern", Value::from(watched.pattern.as_str())),
            ("limit", Value::from(u64::try_from(MATCHES_MAX).unwrap_or(u64::MAX))),
        ];
        self.launch.runs.emit("file.too_many", Value::map(fields), "watch")
    }

    /// Starts the workflow, in one commit with the record that this content did.
    fn start(&self, watched: &Watched, seen: &Seen) -> Result<(), RunError> {
        let runs = &self.launch.runs;
        let path = seen.path.to_string_lossy().into_owned();
        let modified = seen.signature.modified.div_euclid(1_000);
        let modified = i64::try_from(modified).ok().and_then(|it| Timestamp::from_microsecond(it).ok());
        let name = seen.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let input = Value::map([
            ("path", Value::from(path.as_str())),
            ("name", Value::from(name)),
            ("size", Value::from(seen.signature.size)),
            ("modified", Value::from(modified.map(|at| at.to_string()))),
        ]);
        let event = Write::Event {
            name: "file.settled".to_owned(),
            payload: input.clone(),
            origin: format!("watch:{}", watched.workflow),
            at: runs.now(),
        };
        let fact = Write::Fact { key: watched.key(seen), value: Some(Value::from(seen.signature.text())) };
        let trigger = format!("watch:{path}");
        let new = self.launch.new_run("workflow", &watched.workflow, &watched.policy, input, trigger);
        self.launch.start(new, vec![fact, event])?;
        runs.events_changed();
        Ok(())
    }
}

impl Watched {
    /// The fact that a content has started this workflow.
    fn key(&self, seen: &Seen) -> String {
        format!("{KNOWN}{}{}", self.workflow, seen.path.to_string_lossy())
    }

    /// Takes what is there for known where the pattern is new and its file system answers: what is to be written.
    fn take_for_known(
        &self,
        state: &mut State,
        scan: &Scan,
        known: &mut HashMap<String, String>,
        now: Timestamp,
    ) -> Vec<Write> {
        let Some(declared) = state.new.take_if(|_| !scan.unanswered) else { return Vec::new() };
        let mut writes = vec![Write::Fact { key: declared, value: Some(Value::from(now.to_string())) }];
        for seen in &scan.files {
            let (key, signature) = (self.key(seen), seen.signature.text());
            writes.push(Write::Fact { key: key.clone(), value: Some(Value::from(signature.as_str())) });
            known.insert(key, signature);
        }
        writes
    }
}
