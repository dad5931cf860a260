//! The manager: which runs are evaluated now, and how a run starts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use hob_engine::{Bundle, Host, Observer, Performer, Records, RunCx, Turns};
use hob_journal::{Commit, Journal, RunRow, Ticket, Write};
use hob_model::{
    Digest, Entry, EntryKind, OpError, Position, RunEnd, RunEntry, RunId, RunStarted, RunStatus, Timestamp,
    Value, Wait,
};
use hob_primitive::{Clock, Ports, Progress, Registry};

use crate::error::RunError;
use crate::threads::Spawner;

/// Bundles that stay compiled in memory; the oldest unused are dropped beyond it.
pub(crate) const BUNDLES_CACHED_MAX: usize = 64;

/// Runs that were just started and whose beginning is kept in memory for their first pass; more read it again.
const FRESH_RUNS_MAX: usize = 10_000;

/// The fact that names the bundle of the adopted homelab.
pub const ADOPTED_BUNDLE: &str = "homelab/bundle";

/// Hears what happens to runs; implemented by the terminal, the daemon and tests.
pub trait Listener: Send + Sync {
    /// A run came to another state; with its end when it ended.
    fn changed(&self, _run: RunId, _status: RunStatus, _end: Option<&RunEnd>) {}
    /// A script ended with an error: the problem with its places, for people.
    fn failed(&self, _run: RunId, _diagnostic: &hob_model::Diagnostic) {}
    /// A time to wake at was added: [`Runs::next_due`] may be earlier now.
    fn timer(&self) {}
    /// Something was put on the event bus.
    fn emitted(&self) {}
    /// A line of the log.
    fn log(&self, _run: RunId, _level: &str, _message: &str) {}
    /// How far a long effect is.
    fn progress(&self, _run: RunId, _operation: &str, _progress: Progress) {}
    /// What a dry run would have done.
    fn dry(&self, _run: RunId, _text: &str, _modelled: bool) {}
}

/// A listener that hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoListener;

impl Listener for NoListener {}

/// A run to be started.
pub struct NewRun {
    /// Its id; make one with [`Runs::new_id`].
    pub id: RunId,
    /// All that it is started with; the bundle's digest is filled in.
    pub started: RunStarted,
    /// The sources it is pinned to.
    pub bundle: Arc<Bundle>,
}

pub(crate) struct Active {
    /// Tells this stay among the active runs from an earlier one of the same run.
    pub(crate) number: u64,
    /// None until the pass has loaded its records.
    pub(crate) cx: Option<Arc<RunCx>>,
    /// What a run that was just started was started with, so that its first pass need not read what was just written.
    pub(crate) fresh: Option<(Records, Arc<Bundle>)>,
    /// How often others appended to the run while it had no `cx`: a pass that loaded its records before loads again.
    pub(crate) outside: u64,
    /// Asked for while the pass was under way: one more pass follows.
    pub(crate) again: bool,
    pub(crate) cancels: u32,
}

/// A run that became active and is to be evaluated.
#[must_use]
pub(crate) struct TakenUp {
    run: RunId,
    number: u64,
}

/// Whether work that one thread does for all is to be done once more after this time.
pub(crate) type Again = bool;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) active: HashMap<RunId, Active>,
    /// Runs that must not go on: restored and not released.
    pub(crate) held: std::collections::HashSet<RunId>,
    /// Runs that wait their turn (see [`crate::turns`]).
    pub(crate) turns: std::collections::HashSet<RunId>,
    /// The runs that this process serves; `None` when it serves all, as a daemon does.
    pub(crate) own: Option<std::collections::HashSet<RunId>>,
    /// The newest event that waits were compared with.
    pub(crate) event_cursor: u64,
    /// Nothing new begins.
    pub(crate) closing: bool,
    /// Runs that go on all the same.
    spared: std::collections::HashSet<RunId>,
    /// Somebody compares new events with waits now; whoever comes meanwhile has it done once more.
    pub(crate) comparing: Option<Again>,
    /// Waits of a clock that was put back, each with the time at which it ends all the same (see [`crate::clock`]).
    pub(crate) shortened: Vec<(Timestamp, RunId, Position)>,
    /// The number of the last [`Active`].
    numbered: u64,
    bundles: Vec<Arc<Bundle>>,
}

impl State {
    pub(crate) fn serves(&self, run: RunId) -> bool {
        self.own.as_ref().is_none_or(|own| own.contains(&run))
    }

    /// Whether the process ends, and the run is left to the next one.
    pub(crate) fn leaves(&self, run: RunId) -> bool {
        self.closing && !self.spared.contains(&run)
    }
}

pub(crate) struct Inner {
    pub(crate) host: Arc<Host>,
    pub(crate) listener: Arc<dyn Listener>,
    pub(crate) spawner: Arc<dyn Spawner>,
    pub(crate) state: Mutex<State>,
    entropy: Box<dyn Fn() -> [u8; 10] + Send + Sync>,
    pub(crate) dry: bool,
}

/// All runs of one process over one journal. Cheap to clone.
#[derive(Clone)]
pub struct Runs(pub(crate) Arc<Inner>);

/// All runs of a process, as long as it has them: for what they themselves hold.
#[derive(Clone)]
pub struct WeakRuns(Weak<Inner>);

impl WeakRuns {
    /// The runs, while they are there.
    #[must_use]
    pub fn upgrade(&self) -> Option<Runs> {
        self.0.upgrade().map(Runs)
    }
}

/// What [`Runs`] is made of.
pub struct Parts {
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// The operations.
    pub registry: Arc<Registry>,
    /// The adapters.
    pub ports: Arc<Ports>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Carries out effects.
    pub performer: Arc<dyn Performer>,
    /// Gives threads.
    pub spawner: Arc<dyn Spawner>,
    /// Hears what happens.
    pub listener: Arc<dyn Listener>,
    /// Orders the threads of branches; `None` lets all go on.
    pub turns: Option<Arc<dyn Turns>>,
    /// Ten random bytes for each new id.
    pub entropy: Box<dyn Fn() -> [u8; 10] + Send + Sync>,
    /// Whether nothing acts.
    pub dry: bool,
}

/// The engine's view of the manager.
struct Ears(Weak<Inner>);

impl Ears {
    fn with(&self, hear: impl FnOnce(&Runs)) {
        if let Some(inner) = self.0.upgrade() {
            hear(&Runs(inner));
        }
    }
}

impl Observer for Ears {
    fn waiting(&self, run: RunId, position: &Position, wait: &Wait) {
        self.with(|runs| runs.waiting(run, position, wait));
    }
    fn emitted(&self) {
        self.with(Runs::events_changed);
    }
    fn workflow(&self, parent: &RunStarted, name: &str, input: Value) -> Result<RunStarted, OpError> {
        let mut result = Err(OpError::unavailable("hob is stopping"));
        self.with(|runs| result = runs.workflow_of(parent, name, input));
        result
    }
    fn log(&self, run: RunId, level: &str, message: &str) {
        self.with(|runs| runs.0.listener.log(run, level, message));
    }
    fn progress(&self, run: RunId, operation: &str, progress: Progress) {
        self.with(|runs| runs.0.listener.progress(run, operation, progress));
    }
    fn dry(&self, run: RunId, text: &str, modelled: bool) {
        self.with(|runs| runs.0.listener.dry(run, text, modelled));
    }
}

impl Runs {
    /// A manager over these parts. Nothing starts by itself: see [`Runs::recover`].
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new_cyclic(|weak| {
            let mut host =
                Host::new(parts.journal, parts.registry, parts.ports, parts.clock, parts.performer)
                    .observed_by(Arc::new(Ears(Weak::clone(weak))));
            if let Some(turns) = parts.turns {
                host = host.in_turns(turns);
            }
            Inner {
                host: Arc::new(host),
                listener: parts.listener,
                spawner: parts.spawner,
                state: Mutex::default(),
                entropy: parts.entropy,
                dry: parts.dry,
            }
        }))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The same, without keeping them.
    #[must_use]
    pub fn downgrade(&self) -> WeakRuns {
        WeakRuns(Arc::downgrade(&self.0))
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.0.host.journal
    }

    /// The host that evaluations use.
    #[must_use]
    pub fn host(&self) -> &Arc<Host> {
        &self.0.host
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.host.clock.now()
    }

    /// A new id.
    #[must_use]
    pub fn new_id(&self) -> RunId {
        self.new_id_at(self.now())
    }

    /// The id of a run that is to begin at `at`: ids are ordered by time.
    #[must_use]
    pub fn new_id_at(&self, at: Timestamp) -> RunId {
        RunId::new(at, (self.0.entropy)())
    }

    pub(crate) fn first_entry(&self, new: &NewRun) -> Entry {
        let mut started = new.started.clone();
        started.bundle = Some(new.bundle.digest());
        Entry { seq: 0, at: self.now(), kind: EntryKind::Started(started) }
    }

    pub(crate) fn first_writes(&self, new: &NewRun, entry: Entry) -> Vec<Write> {
        let mut writes = self.unknown(&new.bundle).unwrap_or_default();
        writes.push(Write::Entry(new.id, entry));
        writes
    }

    /// What the journal is to be given of a bundle before the first run that begins with it.
    pub(crate) fn unknown(&self, bundle: &Arc<Bundle>) -> Option<Vec<Write>> {
        (!self.knows(bundle)).then(|| bundle.writes())
    }

    /// Whether the journal has the bundle, because this process put or found it there.
    fn knows(&self, bundle: &Arc<Bundle>) -> bool {
        let mut state = self.state();
        if state.bundles.iter().any(|known| known.digest() == bundle.digest()) {
            return true;
        }
        remember(&mut state.bundles, Arc::clone(bundle));
        false
    }

    /// The bundle with this digest, compiled at most once per process.
    ///
    /// # Errors
    /// When the journal lacks it.
    pub fn bundle(&self, digest: Digest) -> Result<Arc<Bundle>, RunError> {
        if let Some(known) = self.state().bundles.iter().find(|bundle| bundle.digest() == digest) {
            return Ok(Arc::clone(known));
        }
        let bundle = Arc::new(Bundle::load(&**self.journal(), digest).map_err(RunError::Bundle)?);
        remember(&mut self.state().bundles, Arc::clone(&bundle));
        Ok(bundle)
    }

    /// Starts a run: it is recorded, and evaluated soon. The ticket says when it is durable.
    ///
    /// # Errors
    /// When the journal has stopped or its disk has no room for new work.
    pub fn start(&self, new: NewRun) -> Result<Ticket, RunError> {
        self.journal().may_act()?;
        let entry = self.first_entry(&new);
        let ticket = self.journal().submit(Commit { writes: self.first_writes(&new, entry.clone()) });
        self.0.listener.changed(new.id, RunStatus::Queued, None);
        self.admit(new.id, Some((Records::of(vec![entry]), new.bundle)));
        Ok(ticket)
    }

    /// Records a run, durably, and leaves its evaluation to the next process that serves this journal.
    ///
    /// # Errors
    /// As [`Runs::start`].
    pub fn record(&self, new: &NewRun) -> Result<(), RunError> {
        self.journal().may_act()?;
        let ticket = self.journal().submit(Commit { writes: self.first_writes(new, self.first_entry(new)) });
        Ok(self.journal().wait(ticket)?)
    }

    /// Has the run evaluated, on a thread of its own; a run that is being evaluated is evaluated once more after it.
    pub(crate) fn schedule(&self, run: RunId) {
        self.admit(run, None);
    }

    /// As [`Runs::schedule`]; `fresh` is all that the journal has of the run.
    pub(crate) fn admit(&self, run: RunId, fresh: Option<(Records, Arc<Bundle>)>) {
        let taken_up = self.take_up(&mut self.state(), run, fresh);
        self.set_out(taken_up);
    }

    /// Makes a run an active one, unless it is one already; its evaluation, for [`Runs::set_out`]. What wakes a run takes
    /// it up in the same turn of the lock: in between, nobody would go on with it.
    #[must_use]
    pub(crate) fn take_up(
        &self,
        state: &mut State,
        run: RunId,
        fresh: Option<(Records, Arc<Bundle>)>,
    ) -> Option<TakenUp> {
        if state.leaves(run) || state.held.contains(&run) || state.turns.contains(&run) {
            return None;
        }
        if let Some(own) = &mut state.own {
            own.insert(run);
        }
        if let Some(active) = state.active.get_mut(&run) {
            active.again = true;
            return None;
        }
        state.numbered += 1;
        let number = state.numbered;
        let fresh = fresh.filter(|_| state.active.len() < FRESH_RUNS_MAX);
        state.active.insert(run, Active { number, cx: None, fresh, outside: 0, again: false, cancels: 0 });
        Some(TakenUp { run, number })
    }

    /// Has runs evaluated that were taken up. Not under the lock: a spawner may evaluate at once.
    pub(crate) fn set_out(&self, taken_up: impl IntoIterator<Item = TakenUp>) {
        for TakenUp { run, number } in taken_up {
            let runs = self.clone();
            self.0.spawner.spawn(Box::new(move || runs.drive(run, number)));
        }
    }

    /// Makes a run one that this process serves: somebody asked for it here.
    pub(crate) fn adopt(&self, run: RunId) {
        if let Some(own) = &mut self.state().own {
            own.insert(run);
        }
    }

    /// Whether this process goes on with the run when something wakes it. What wakes a run that nobody serves is
    /// recorded, and the run is left to the process that will.
    pub(crate) fn serves(&self, run: RunId) -> bool {
        self.state().serves(run)
    }

    /// How the workflow `name` starts as a child of `parent`: from the same bundle.
    fn workflow_of(&self, parent: &RunStarted, name: &str, input: Value) -> Result<RunStarted, OpError> {
        let unknown = |hint: &str| OpError::not_found(format!("there is no workflow `{name}`")).hint(hint);
        let digest = parent.bundle.ok_or_else(|| unknown("this run has no sources"))?;
        let bundle = self.bundle(digest).map_err(|error| OpError::failed(error.to_string()))?;
        if matches!(parent.entry, RunEntry::Playbook(_)) {
            return Err(unknown("a playbook declares no workflows; invoke it from a homelab's workflow"));
        }
        let declared =
            hob_engine::declarations(&self.0.host, &bundle).map_err(|d| OpError::failed(d.message))?;
        let Some(found) = declared.find("workflow", name) else {
            let workflows = declared.iter().filter(|d| d.kind == "workflow");
            let near = hob_model::names::nearest(name, workflows.map(|d| &*d.name));
            return Err(unknown(&near.map_or_else(
                || "the homelab declares none with this name".to_owned(),
                |n| format!("did you mean `{n}`?"),
            )));
        };
        let tags = match found.options().get("tags") {
            Some(Value::Array(tags)) => tags.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => vec![],
        };
        Ok(RunStarted {
            name: name.to_owned(),
            entry: RunEntry::Declared { kind: "workflow".to_owned(), name: name.to_owned() },
            input,
            trigger: "invoke".to_owned(),
            tags,
            until: None,
            ..parent.clone()
        })
    }

    /// The row of a run.
    ///
    /// # Errors
    /// When there is none.
    pub fn row(&self, run: RunId) -> Result<RunRow, RunError> {
        self.journal().run(run)?.ok_or_else(|| RunError::NotFound(run.to_string()))
    }

    /// The run whose id starts with `prefix`.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn find(&self, prefix: &str) -> Result<RunId, RunError> {
        if let Some(run) = RunId::parse(prefix) {
            return self.row(run).map(|row| row.run);
        }
        let found = self.journal().runs_by_prefix(prefix, 6)?;
        match found.as_slice() {
            [] => Err(RunError::NotFound(prefix.to_owned())),
            [run] => Ok(*run),
            _ => Err(RunError::Ambiguous { prefix: prefix.to_owned(), found }),
        }
    }

    /// Whether the run is evaluated, or about to be.
    #[must_use]
    pub fn is_active(&self, run: RunId) -> bool {
        self.state().active.contains_key(&run)
    }

    /// Whether the run was restored from a backup and not released since: nothing goes on with it.
    #[must_use]
    pub fn is_held(&self, run: RunId) -> bool {
        self.state().held.contains(&run)
    }

    /// How many runs are evaluated, or about to be.
    #[must_use]
    pub fn active(&self) -> usize {
        self.state().active.len()
    }

    /// Lets nothing new begin and tells effects under way to stop: the process ends. What was recorded stands, and
    /// the runs go on from there.
    pub fn close(&self) {
        let mut state = self.state();
        state.closing = true;
        for (_, active) in state.active.iter().filter(|(run, _)| state.leaves(**run)) {
            if let Some(cx) = &active.cx {
                cx.leave();
            }
        }
    }

    /// Has a run go on also while the process ends, which waits for it: what is to happen before a service stops. Say so
    /// before it is started.
    pub fn spare(&self, run: RunId) {
        self.state().spared.insert(run);
    }

    /// The end of [`Runs::spare`].
    pub fn spare_no_more(&self, run: RunId) {
        self.state().spared.remove(&run);
    }

    /// Goes on with a run that somebody here waits for, also where the process takes over none by itself.
    pub fn go_on(&self, run: RunId) {
        self.schedule(run);
    }
}

fn remember(bundles: &mut Vec<Arc<Bundle>>, bundle: Arc<Bundle>) {
    if bundles.len() >= BUNDLES_CACHED_MAX {
        bundles.remove(0);
    }
    bundles.push(bundle);
}
