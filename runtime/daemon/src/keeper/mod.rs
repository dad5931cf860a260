//! The keeper: brings services to their declared state and keeps them there, through the same gates on up, boot,
//! restart, crash and update.
//!
//! One thread decides, from the states of all services ([`hob_planner::progress()`]), what may start now; each start and
//! stop has a thread of its own. Whatever changes a state wakes the deciding thread.

mod answers;
mod apply;
mod around;
mod asked;
mod boot;
mod borrow;
mod cards;
mod drift;
mod families;
mod health;
mod hold;
mod hooks;
mod image;
mod leases;
mod look;
mod mounts;
mod native;
mod observe;
mod prepare;
mod renew;
mod replicas;
mod rolling;
mod secrets;
mod setup;
mod start;
mod stop;
mod table;
mod unload;
mod update;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use hob_model::{Code, Diagnostic, RunEnd, RunId, Value};
use hob_planner::declaration::Hook;
use hob_planner::progress::progress_without;
use hob_planner::progress::tier_state;
use hob_planner::{Goal, Homelab, Node, Plan};
use hob_primitive::{Cancel, Patience, ServiceRequest};
use hob_runs::Runs;
use hob_supervisor::{FileSystems, Supervisors};
use serde_json::{Value as Json, json};

pub use asked::KeptServices;
pub use boot::{Seen, explained, last_boot};
pub use cards::misfits;
pub use observe::{Logs, observe, open_supervisors};

use crate::schedules::Launch;
use hold::Holder;
use table::{Entry, Table};

/// Calls that start something at one time: more only wait for each other in the engine. How many services get ready at one
/// time is for tiers to say.
pub const CALLS_AT_ONCE: usize = 4;
/// How long it sleeps at most before it looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// A service that stayed ready for so long has got over its failures.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);

pub(crate) struct Inner {
    pub(crate) runs: Runs,
    pub(crate) homelab: Homelab,
    pub(crate) supervisors: Supervisors,
    file_systems: FileSystems,
    /// Whether those that are mounted answer.
    answers: answers::Answers,
    table: Mutex<Table>,
    /// Held by who brings all services up or down.
    applying: Mutex<()>,
    pub(crate) changed: Condvar,
    /// How often the deciding thread looked around.
    beats: AtomicU64,
    /// Where the steps stand that are done once.
    steps: setup::Steps,
    /// Runs of functions that somebody here waits for.
    hooks: hooks::Hooks,
    /// Those of functions around starts and stops.
    around: around::Around,
    /// How runs of functions are started; not where a homelab is only applied.
    launch: OnceLock<Launch>,
    /// Ends waiting for gates when the process ends.
    pub(crate) cancel: Cancel,
}

/// The keeper of a homelab's services. Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    inner: Arc<Inner>,
    thread: Arc<OnceLock<Mutex<Option<JoinHandle<()>>>>>,
}

impl Inner {
    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes what is known about a service, and wakes the deciding thread.
    pub(crate) fn update(&self, name: &str, change: impl FnOnce(&mut Entry)) {
        let mut table = self.table();
        if let Some(entry) = table.services.get_mut(name) {
            change(entry);
            table.stale = true;
        }
        drop(table);
        self.changed.notify_all();
    }
}

impl Keeper {
    /// A keeper of `homelab`, whose processes belong to the state directory `state`. Nothing acts before
    /// [`Keeper::begin`] or [`Keeper::apply`].
    ///
    /// # Errors
    /// When the state directory cannot be used, or what runs cannot be seen.
    pub fn new(runs: Runs, homelab: Homelab, state: &Path) -> Result<Self, Diagnostic> {
        let supervisors = open_supervisors(&**runs.journal(), &runs.host().ports, state)?;
        Ok(Self::over(runs, homelab, supervisors))
    }

    /// As [`Keeper::new`], over any supervisors.
    #[must_use]
    pub fn over(runs: Runs, homelab: Homelab, supervisors: Supervisors) -> Self {
        let table = Table::of(&homelab);
        let inner = Inner {
            runs,
            homelab,
            supervisors,
            file_systems: FileSystems::default(),
            answers: answers::Answers::default(),
            table: Mutex::new(table),
            applying: Mutex::default(),
            changed: Condvar::new(),
            beats: AtomicU64::new(0),
            steps: setup::Steps::default(),
            hooks: hooks::Hooks::default(),
            around: around::Around::default(),
            launch: OnceLock::new(),
            cancel: Cancel::default(),
        };
        Self { inner: Arc::new(inner), thread: Arc::default() }
    }

    /// The keeper of what is known already.
    fn of(inner: &Arc<Inner>) -> Self {
        Self { inner: Arc::clone(inner), thread: Arc::default() }
    }

    /// Says how runs of functions that services declare are started: without it they are left out.
    pub fn launch_with(&self, launch: Launch) {
        self.launch_around_with(launch.clone());
        let _ = self.inner.launch.set(launch);
    }

    /// As [`Keeper::launch_with`], of those around starts and stops alone.
    pub fn launch_around_with(&self, launch: Launch) {
        let _ = self.inner.around.launch.set(launch);
    }

    /// How often the deciding thread looked around.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.inner.beats.load(Ordering::Relaxed)
    }

    /// Brings all services up, in order, and keeps them so until [`Keeper::end`]. Returns when each is ready, failed
    /// or blocked.
    ///
    /// # Errors
    /// When the journal cannot be written or what runs cannot be seen. A service that fails is no error here.
    pub fn begin(&self) -> Result<(), Diagnostic> {
        let (began, origin) = (self.inner.runs.now(), self.inner.supervisors.now());
        let plan = self.prepare()?;
        for supervisor in self.inner.supervisors.all() {
            let weak = Arc::downgrade(&self.inner);
            supervisor.on_change(Box::new(move || weak.upgrade().iter().for_each(|inner| look::soon(inner))));
        }
        mounts::watch(&self.inner).map_err(|error| asked::problem(&error))?;
        let keeper = self.clone();
        let thread =
            std::thread::Builder::new().name("hob-keeper".into()).spawn(move || keep(&keeper)).map_err(
                |error| Diagnostic::error(Code::StateUnusable, format!("no thread can be started: {error}")),
            )?;
        let _ = self.thread.set(Mutex::new(Some(thread)));
        self.wait_settled();
        // One that was broken off says nothing of how long boots take.
        if !self.inner.table().closing {
            boot::record(&self.inner, began, origin);
            renew::planned(&self.inner, &plan);
        }
        Ok(())
    }

    /// Makes the plan from what is observed, stops what must stop, and takes over what runs as declared.
    fn prepare(&self) -> Result<Plan, Diagnostic> {
        let inner = &self.inner;
        native::settle_previous(&inner.runs).map_err(|error| error.diagnostic())?;
        hold::load(inner)?;
        leases::load(inner)?;
        image::load(inner)?;
        let (observed, unseen) = observe::with(&**inner.runs.journal(), &inner.supervisors, &inner.homelab)?;
        for error in unseen {
            tracing::warn!(%error, "what runs cannot be seen");
        }
        let plan = Plan::new(&inner.homelab, &observed, Goal::Up);
        stop::obsolete(inner, &plan, |_| true)?;
        image::give_up_unbegun(inner);
        start::adopt(inner);
        Ok(plan)
    }

    /// Blocks until nothing starts or waits any more.
    fn wait_settled(&self) {
        let inner = &self.inner;
        let mut table = inner.table();
        while !table.closing && table.is_moving() {
            table = inner.changed.wait(table).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Starts nothing any more, and waits for no gate: a [`Keeper::begin`] that goes on returns.
    pub fn break_off(&self) {
        self.inner.table().closing = true;
        self.inner.cancel.cancel();
        self.inner.changed.notify_all();
    }

    /// Ends keeping: services stop, in reverse order, or go on; each may say otherwise for itself.
    pub fn end(&self, stop_services: bool) {
        self.break_off();
        let thread = self.thread.get().and_then(|thread| thread.lock().ok()?.take());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        // What gets ready beside a service is removed by who started it.
        let mut table = self.inner.table();
        while table.services.values().any(|entry| entry.image.is_beside()) {
            table = self.inner.changed.wait(table).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        drop(table);
        let homelab = &self.inner.homelab;
        let stops =
            |name: &str| homelab.service(name).and_then(|it| it.stop_on_exit).unwrap_or(stop_services);
        stop::all(&self.inner, "exit", stops);
    }

    /// What `hob status --json` prints of tiers and services.
    #[must_use]
    pub fn status(&self) -> Json {
        look::soon(&self.inner);
        let table = self.inner.table();
        let homelab = &self.inner.homelab;
        let state = |name: &str| table.state(name);
        let tiers: Vec<Json> = homelab
            .tiers
            .iter()
            .map(
                |tier| json!({ "name": tier.name, "state": tier_state(homelab, &tier.name, state).as_str() }),
            )
            .collect();
        let services: Vec<Json> = homelab.services.iter().map(|service| table.view(service)).collect();
        json!({ "tiers": tiers, "services": services, "mounts": mounts::view(&self.inner) })
    }

    /// A service, or all replicas that the name stands for, as `GET /services/{service}` tells it.
    #[must_use]
    pub fn service_status(&self, name: &str) -> Option<Json> {
        look::soon(&self.inner);
        replicas::status(&self.inner, name)
    }

    /// Who holds what of the graphics cards, as `hob gpu --json` prints it; `null` where no service uses one.
    #[must_use]
    pub fn graphics(&self) -> Json {
        cards::view(&self.inner)
    }

    /// What is not as declared, as `hob plan --json` prints it, with the `basis` by which [`Keeper::bring_up`] knows it.
    ///
    /// # Errors
    /// When the journal cannot be read, or what runs cannot be seen.
    pub fn plan(&self) -> Result<Json, Diagnostic> {
        let inner = &self.inner;
        let observed = observe::seen(&**inner.runs.journal(), &inner.supervisors, &inner.homelab)?;
        let plan = Plan::new(&inner.homelab, &observed, Goal::Up);
        let mut told = plan.to_json();
        told["basis"] = plan.basis.to_string().into();
        Ok(told)
    }

    /// Carries out what a person asks of a service; blocks until it has come to rest.
    ///
    /// # Errors
    /// When there is no such service, a run holds it, or it did not come to the state that was asked for.
    pub fn ask(&self, name: &str, request: &ServiceRequest) -> Result<Json, Diagnostic> {
        let patience = Patience { timeout: None, cancel: &self.inner.cancel };
        asked::carry_out(&self.inner, Holder::Person, name, request, patience)
            .map_err(|error| asked::problem(&error))
    }

    /// Has runs that ask for services get these.
    pub fn serve(&self, services: &KeptServices) {
        services.serve(&self.inner);
    }

    /// A run has ended: what it held ends with it, and who waits for it is told.
    pub fn run_ended(&self, run: RunId, end: Option<&RunEnd>) {
        hold::run_ended(&self.inner, run);
        leases::run_ended(&self.inner, run);
        end.into_iter().for_each(|end| self.inner.hooks.run_ended(run, end));
    }
}

/// Decides what may start now, until the process ends.
fn keep(keeper: &Keeper) {
    let inner = &keeper.inner;
    let mut table = inner.table();
    while !table.closing {
        inner.beats.fetch_add(1, Ordering::Relaxed);
        let now = inner.supervisors.now();
        hold::expire(inner, &mut table);
        table.recover(now, RECOVERED_AFTER);
        table.rearm(now);
        let state = |name: &str| table.state_for_others(name);
        let decided = progress_without(&inner.homelab, state, |name| table.is_put_off(name));
        table.take_in(&decided);
        let mut free = decided.start;
        free.retain(|name| {
            let free = table.may_start(name, now) && !borrow::is_left(&inner.homelab, &table, name);
            free && !mounts::waits(inner, &mut table, name, now)
        });
        for name in cards::admitted(inner, &mut table, free, now) {
            if table.calling() < CALLS_AT_ONCE {
                let hooks = inner.homelab.service(&name).map(|it| &it.hooks);
                let calls = !hooks.is_some_and(|hooks| hooks.has(Hook::BeforeStart));
                let attempt = table.begin_start(&name, calls);
                start::in_background(inner, &name, attempt);
            }
        }
        let order = inner.homelab.graph.order().map(Node::name);
        for name in table.begin_preparing(order, now, prepare::AT_ONCE) {
            prepare::in_background(inner, &name);
        }
        begin_due(keeper, &mut table, now);
        setup::begin_due(inner, &table);
        look::when_due(inner, &mut table, now);
        let settled = image::settle(inner, &mut table, now);
        let next = [
            table.next_retry(now),
            health::next(&table, now),
            mounts::next(&table, now),
            drift::next(&table, now),
            look::next(&table, now),
            unload::next(inner, &table, now),
            settled,
        ];
        let next = next.into_iter().flatten().min();
        let pause = next.map_or(LOOK_AGAIN, |at| at.saturating_sub(now)).min(LOOK_AGAIN);
        inner.changed.notify_all();
        let waited = inner.changed.wait_timeout(table, pause.max(Duration::from_millis(1)));
        table = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        // Files are rotated now and then, with the lock free.
        if inner.supervisors.now().saturating_sub(table.rotated) > LOOK_AGAIN {
            table.rotated = inner.supervisors.now();
            drop(table);
            rotate_logs(inner);
            table = inner.table();
        }
    }
}

/// Begins what is due beside the starts.
fn begin_due(keeper: &Keeper, table: &mut Table, now: Duration) {
    let inner = &keeper.inner;
    for name in around::due(table) {
        around::in_background(inner, &name);
    }
    for (name, cause) in borrow::due(table) {
        borrow::in_background(inner, &name, cause);
    }
    for name in health::due(inner, table, now) {
        health::in_background(inner, &name);
    }
    for name in drift::due(inner, table, now) {
        drift::in_background(inner, &name);
    }
    for name in update::due(inner, table, inner.runs.now()) {
        keeper.update_in_background(&name);
    }
}

fn rotate_logs(inner: &Inner) {
    for supervisor in inner.supervisors.all() {
        if let Err(error) = supervisor.rotate_logs() {
            tracing::warn!(%error, "output of services cannot be rotated");
        }
    }
}

/// Records what became of services, and has those told who wait for its events.
pub(crate) fn tell(inner: &Inner, writes: Vec<hob_journal::Write>) -> hob_journal::Ticket {
    let ticket = inner.runs.journal().submit(hob_journal::Commit { writes });
    inner.runs.events_changed_soon();
    ticket
}

/// An event about a service, for [`tell`].
pub(crate) fn event(inner: &Inner, name: &str, what: &str, note: &str) -> hob_journal::Write {
    hob_journal::Write::Event {
        name: format!("service.{what}"),
        payload: Value::map([("service", Value::from(name)), ("note", Value::from(note))]),
        origin: format!("service:{name}"),
        at: inner.runs.now(),
    }
}
