//! Who runs services that are containers.
//!
//! A container has the name of its service, and carries as labels which service of which hob it is, the effect that started
//! it, and the digest of what it was made for. So a hob that comes back finds it; and one of that name without these labels
//! belongs to somebody else, and is left alone.
#![allow(clippy::disallowed_methods)] // It takes a real clock, and asks the kernel for name spaces.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bollard::models::{ContainerInspectResponse, ContainerSummary};
use futures_util::StreamExt;
use hob_model::{Digest, ErrorKind, OpError};
use hob_planner::Exit;
use hob_planner::declaration::{Body, GPU_DEVICE, Gate, ReloadSignal, successor};
use hob_primitive::Ctx;
use hob_supervisor::secrets::SECRETS_INSIDE;
use hob_supervisor::{
    Declared, Images, Instance, LogChunk, LogFrom, LogPosition, Look, OnChange, OnExit, Running,
    Spec as ServiceSpec, Standing, Started, Stopped, Supervisor,
};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use super::gates;
use super::kind::KIND;
use super::lives::{Watched, exit_of, instance};
use super::networks::Networks;
use super::output::Written;
use super::place::{Place, place};
use super::{LABEL_SERVICE, LABEL_SPEC, LABEL_STATE, beside, context, images, output, spec_of};
use crate::body::LABEL_EFFECT;
use crate::compare;
use crate::life::{self, find, id, is_running, told};
use crate::options::{PullPolicy, Spec};
use crate::port::{ContainersPort, Engine, Filters};
use crate::problem::{Subject, error, listed};
use crate::transfer;

/// How many containers are looked at, at one time.
pub(super) const LOOKS_AT_ONCE: usize = 8;

/// How many of the last lines are counted before a container is started again: more are not written in a second.
const MARK_LINES: usize = 10_000;

/// Runs containers.
pub(super) struct ContainerSupervisor {
    port: Arc<dyn ContainersPort>,
    state: String,
    runtime: OnceLock<Runtime>,
    lives: Arc<Watched>,
    /// Where services that run are reached, by their names.
    places: Mutex<BTreeMap<String, Place>>,
    /// Where the output of the present life of a container begins that lived before.
    begun: Mutex<BTreeMap<String, LogPosition>>,
    /// The output of the containers that run.
    current: Mutex<BTreeMap<String, Written>>,
    networks: Networks,
    images: images::Here,
    log_driver: OnceCell<String>,
    origin: Instant,
}

impl ContainerSupervisor {
    pub(super) fn new(port: Arc<dyn ContainersPort>, state: &Path) -> Self {
        let state = state.canonicalize().unwrap_or_else(|_| state.to_owned());
        Self {
            lives: Arc::new(Watched::new(Arc::clone(&port))),
            port,
            state: state.to_string_lossy().into_owned(),
            runtime: OnceLock::new(),
            places: Mutex::default(),
            begun: Mutex::default(),
            current: Mutex::default(),
            networks: Networks::default(),
            images: images::Here::default(),
            log_driver: OnceCell::new(),
            origin: Instant::now(),
        }
    }

    /// A thread that talks to the engine; there is none before somebody asks.
    fn runtime(&self) -> &Runtime {
        self.runtime.get_or_init(|| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let built = builder.worker_threads(1).thread_name("hob-containers").enable_all().build();
            built.expect("a machine that gives no thread runs no containers")
        })
    }

    fn block<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime().block_on(future)
    }

    pub(super) fn cx(&self, key: &str) -> Ctx {
        context(Some(&self.port), key)
    }

    pub(super) async fn engine(&self) -> Result<Arc<dyn Engine>, OpError> {
        life::engine(&self.cx(""), None).await
    }

    fn is_ours(&self, found: &ContainerInspectResponse, name: &str) -> bool {
        let is_named = label(found, LABEL_SERVICE).is_some_and(|its| its == name || its == successor(name));
        label(found, LABEL_STATE) == Some(&self.state) && is_named
    }

    /// The container of a service, whether it runs or not.
    pub(super) async fn ours(
        &self,
        engine: &dyn Engine,
        name: &str,
    ) -> Result<Option<ContainerInspectResponse>, OpError> {
        match find(engine, name).await? {
            Some(found) if !self.is_ours(&found, name) => Err(OpError::conflict(format!(
                "there is a container {name} already, which this hob did not make"
            ))
            .hint(format!("remove or rename it ({}), or give the service another name", id(&found)))
            .nothing_happened()),
            found => Ok(found),
        }
    }

    async fn start_now(&self, spec: &ServiceSpec, key: &str) -> Result<Started, OpError> {
        let engine = &*self.engine().await?;
        let (name, digest) = (&*spec.known_as(), spec.body.digest());
        let declared = described(spec)?;
        let mut left = self.ours(engine, name).await?;
        if let Some(found) = left.take_if(|found| is_running(found)) {
            if label(&found, LABEL_SPEC) != Some(&digest.to_string()) {
                return Err(OpError::conflict(format!(
                    "container {name} runs as something else than is declared"
                ))
                .hint("stop it first")
                .nothing_happened());
            }
            if label(&found, LABEL_EFFECT) == Some(key) {
                return Ok(Started { running: self.running(engine, &found).await, adopted: true });
            }
            // Somebody else began this life, past the gates; and where its output begins nobody knows: engines stamp
            // lines by the second.
            told(engine, name, engine.stop(&id(&found), None).await)?;
            left = self.ours(engine, name).await?;
        }
        self.networks.make(engine, &declared, &self.state).await?;
        let cx = self.cx(key);
        let mut body = match declared.pull_policy {
            // It was fetched ahead; one that was removed since is fetched again after the engine has missed it.
            PullPolicy::Missing => life::described(&cx, engine, &declared).await?,
            PullPolicy::Always | PullPolicy::Never => life::prepare(&cx, engine, &declared).await?,
        };
        images::pin(&mut body, spec);
        if spec.beside {
            beside::hide(&mut body);
        }
        let labels = body.labels.get_or_insert_default();
        for (label, value) in
            [(LABEL_SERVICE, name), (LABEL_STATE, &self.state), (LABEL_SPEC, &digest.to_string())]
        {
            labels.insert(label.to_owned(), value.to_owned());
        }
        if let Some(found) = left {
            // The same one goes on, with what it wrote; the network of another one may be a new one since.
            let is_same = label(&found, LABEL_SPEC) == Some(&digest.to_string());
            // A variable of a container cannot be changed.
            let keeps = !spec.delivered.has_secret_variable();
            if is_same
                && keeps
                && images::fits(&found, spec, &declared.image.0)
                && compare::differences(&body, &found).is_empty()
            {
                output::drop_old(&found);
                self.mark_output(engine, name, &id(&found)).await?;
                told(engine, name, engine.start(&id(&found)).await)?;
                let found = life::existing(engine, name).await?;
                return Ok(Started { running: self.running(engine, &found).await, adopted: false });
            }
            told(engine, name, engine.remove(&id(&found), true, false).await)?;
        }
        lock(&self.begun).remove(name);
        crate::secrets::hand_to_service(&mut body, &spec.delivered);
        output::bounded(&mut body, self.log_driver(engine).await?);
        let made = life::make(engine, name, &declared, body).await?;
        life::started_or_removed(engine, name, &made).await?;
        let found = life::existing(engine, &made).await?;
        Ok(Started { running: self.running(engine, &found).await, adopted: false })
    }

    /// Where the output of containers goes; asked for once.
    async fn log_driver(&self, engine: &dyn Engine) -> Result<&str, OpError> {
        let asked = self.log_driver.get_or_try_init(|| engine.log_driver()).await;
        asked.map(String::as_str).map_err(|cause| error(&engine.address(), Subject::Engine, &cause))
    }

    /// A container that runs, as its supervisor tells of it; remembers where it is reached.
    pub(super) async fn running(&self, engine: &dyn Engine, found: &ContainerInspectResponse) -> Running {
        let named = found.name.as_deref().unwrap_or_default().trim_start_matches('/');
        let name = beside::service_of(label(found, LABEL_SERVICE), named).to_owned();
        let place = place(engine, found).await;
        lock(&self.places).insert(name.clone(), place);
        let state = found.state.as_ref();
        let started = state.and_then(|state| state.started_at.as_deref()).and_then(|text| text.parse().ok());
        let started = started.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        lock(&self.current).insert(name.clone(), Written::of(found));
        Running {
            name,
            instance: instance(found),
            pid: state
                .and_then(|state| state.pid)
                .and_then(|pid| u32::try_from(pid).ok())
                .filter(|pid| *pid > 0),
            key: label(found, LABEL_EFFECT).unwrap_or_default().to_owned(),
            digest: label(found, LABEL_SPEC).and_then(Digest::parse),
            started,
        }
    }

    pub(super) async fn stop_now(&self, name: &str, timeout: Duration) -> Result<Stopped, OpError> {
        let engine = &*self.engine().await?;
        let found = match self.ours(engine, name).await? {
            None => self.named_back(engine, name).await?,
            found => found,
        };
        let Some(found) = found.filter(is_running) else { return Ok(Stopped::NotRunning) };
        lock(&self.current).remove(name);
        let seconds = i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX);
        let begun = Instant::now();
        told(engine, name, engine.stop(&id(&found), Some(seconds)).await)?;
        let after = find(engine, &id(&found)).await?;
        let exit = exit_of(after.and_then(|it| it.state).and_then(|state| state.exit_code));
        self.lives.end(&instance(&found), exit);
        let was_killed = exit == Exit::Signal(9) && begun.elapsed() >= timeout;
        Ok(if was_killed { Stopped::Killed(exit) } else { Stopped::Terminated(exit) })
    }

    /// A container of the service that runs under another name, which somebody gave it: it has that of the service again.
    async fn named_back(
        &self,
        engine: &dyn Engine,
        name: &str,
    ) -> Result<Option<ContainerInspectResponse>, OpError> {
        for listed in self.listed(engine).await? {
            let labelled = listed.labels.as_ref().and_then(|labels| labels.get(LABEL_SERVICE));
            let Some(id) = listed.id.filter(|_| labelled.is_some_and(|it| it == name)) else { continue };
            told(engine, name, engine.rename(&id, name).await)?;
            return find(engine, &id).await;
        }
        Ok(None)
    }

    async fn observe_now(&self) -> Result<Vec<Running>, OpError> {
        let engine = &*self.engine().await?;
        let ids = self.listed(engine).await?.into_iter().filter_map(|container| container.id);
        let found = futures_util::stream::iter(ids)
            .map(|id| async move { find(engine, &id).await })
            .buffer_unordered(LOOKS_AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let mut all = Vec::new();
        for found in found {
            if let Some(found) = found?.filter(is_running) {
                all.push(self.running(engine, &found).await);
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The containers of this hob that run, as the engine lists them.
    pub(super) async fn listed(&self, engine: &dyn Engine) -> Result<Vec<ContainerSummary>, OpError> {
        let filters = Filters::from([("label".to_owned(), vec![format!("{LABEL_STATE}={}", self.state)])]);
        let listed = listed(engine, false, &filters).await;
        listed.map_err(|cause| error(&engine.address(), Subject::Engine, &cause))
    }

    /// Forgets where a name was reached, and where its output began.
    pub(super) fn forget(&self, name: &str) {
        lock(&self.places).remove(name);
        lock(&self.begun).remove(name);
        lock(&self.current).remove(name);
    }

    fn place_of(&self, name: &str) -> Place {
        lock(&self.places).get(name).cloned().unwrap_or_default()
    }

    /// Remembers what a container wrote before it is started again: a gate must not take it for what it writes now.
    async fn mark_output(&self, engine: &dyn Engine, name: &str, id: &str) -> Result<(), OpError> {
        let before = LogFrom::Tail { lines: MARK_LINES };
        let next = output::read(engine, name, id, LogPosition::default(), before).await?.next;
        lock(&self.begun).insert(name.to_owned(), next);
        Ok(())
    }

    async fn read_log_now(&self, name: &str, from: LogFrom) -> Result<LogChunk, OpError> {
        let engine = &*self.engine().await?;
        let begun =
            |second: i64| lock(&self.begun).get(name).copied().unwrap_or_else(|| output::position(second));
        // Gates look often: what was started here is known by its id, and its engine is asked when there is more.
        let known = lock(&self.current).get(name).cloned();
        if let Some(known) = known {
            let now = known.stamp();
            if let Some(nothing) = known.nothing_since(&from, now) {
                return Ok(nothing);
            }
            match output::read(engine, name, &known.id, begun(known.first_second), from.clone()).await {
                Err(error) if error.kind == ErrorKind::NotFound => drop(lock(&self.current).remove(name)),
                read => {
                    let mut current = lock(&self.current);
                    let known = current.get_mut(name).filter(|it| it.id == known.id);
                    return read.inspect(|chunk| known.into_iter().for_each(|it| it.note(chunk, now)));
                }
            };
        }
        let Some(found) = self.ours(engine, name).await? else { return Ok(LogChunk::default()) };
        output::read(engine, name, &id(&found), begun(output::first_second(&found)), from).await
    }
}

impl Drop for ContainerSupervisor {
    fn drop(&mut self) {
        // It may be dropped where no thread may wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The container that a service is.
pub(super) fn declared(body: &Body) -> Result<Spec, OpError> {
    match body {
        Body::Kept(kept) if kept.kind == KIND => spec_of(&kept.fields),
        other => Err(OpError::invalid(format!("a {} is no container", other.kind()))),
    }
}

/// The container that a service is, with the devices that it gets.
pub(super) fn described(spec: &ServiceSpec) -> Result<Spec, OpError> {
    let mut described = declared(&spec.body)?;
    described.devices.stand_for(GPU_DEVICE, &spec.devices)?;
    Ok(described)
}

pub(super) fn label<'f>(found: &'f ContainerInspectResponse, name: &str) -> Option<&'f str> {
    found.config.as_ref()?.labels.as_ref()?.get(name).map(String::as_str)
}

/// Locks a mutex whose data is whole at every moment, so that a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The network name space of a process.
fn network_of(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

impl Supervisor for ContainerSupervisor {
    fn secrets_inside(&self) -> Option<&'static str> {
        Some(SECRETS_INSIDE)
    }

    fn prepare(&self, spec: &ServiceSpec) -> Result<bool, OpError> {
        let declared = declared(&spec.body)?;
        self.block(async {
            let engine = &*self.engine().await?;
            if self.images.has(engine, spec.image.as_ref().unwrap_or(&declared.image.0)).await {
                return Ok(false);
            }
            let (auth, platform) = (declared.auth.as_ref(), declared.platform.as_deref());
            transfer::pull(&self.cx(""), engine, &declared.image.0, auth, platform).await
        })
    }

    fn refresh(&self, spec: &ServiceSpec) -> Result<(), OpError> {
        let declared = declared(&spec.body)?;
        self.block(async {
            let (engine, cx) = (self.engine().await?, self.cx(""));
            let (auth, platform) = (declared.auth.as_ref(), declared.platform.as_deref());
            transfer::pull(&cx, &*engine, &declared.image.0, auth, platform).await.map(drop)
        })
    }

    fn images(&self, spec: &ServiceSpec) -> Result<Images, OpError> {
        let declared = declared(&spec.body)?;
        self.block(async {
            let engine = &*self.engine().await?;
            let found = self.ours(engine, &spec.name).await?;
            images::of(engine, found.as_ref(), &declared.image.0).await
        })
    }

    fn start(&self, spec: &ServiceSpec, key: &str) -> Result<Started, OpError> {
        // What was there may have been removed.
        self.block(self.start_now(spec, key)).inspect_err(|_| {
            self.networks.forget();
            self.images.forget();
        })
    }

    fn stop(&self, name: &str, timeout: Duration) -> Result<Stopped, OpError> {
        self.block(self.stop_now(name, timeout))
    }

    fn signal(&self, name: &str, signal: ReloadSignal) -> Result<(), OpError> {
        self.block(async {
            let engine = &*self.engine().await?;
            let found = self.ours(engine, name).await?.filter(is_running);
            let found = found.ok_or_else(|| {
                OpError::not_found(format!("container {name} does not run")).nothing_happened()
            })?;
            told(engine, name, engine.kill(&id(&found), signal.as_str()).await)
        })
    }

    fn remove(&self, name: &str) -> Result<(), OpError> {
        self.block(async {
            let engine = &*self.engine().await?;
            let Some(found) = self.ours(engine, name).await? else { return Ok(()) };
            told(engine, name, engine.remove(&id(&found), true, false).await)
        })
    }

    fn promote(&self, spec: &ServiceSpec, timeout: Duration) -> Result<Running, OpError> {
        self.block(self.promote_now(spec, timeout))
    }

    fn observe(&self) -> Result<Vec<Running>, OpError> {
        self.block(self.observe_now())
    }

    fn survey(&self, declared: &[Declared]) -> Result<Vec<Standing>, OpError> {
        self.block(self.survey_now(declared))
    }

    fn shares_network(&self, running: &Running, lender: &Running) -> Result<bool, OpError> {
        let of = |running: &Running| running.pid.and_then(network_of);
        match (of(running), of(lender)) {
            (Some(one), Some(other)) => Ok(one == other),
            _ => Err(OpError::unavailable(format!(
                "the network of {} cannot be compared with that of {}",
                running.name, lender.name
            ))),
        }
    }

    fn wait_exit(&self, instance: &Instance, timeout: Duration) -> Option<Exit> {
        self.lives.of(self.runtime().handle(), instance).wait(timeout)
    }

    fn on_exit(&self, instance: &Instance, then: OnExit) {
        self.lives.of(self.runtime().handle(), instance).on_exit(then);
    }

    fn on_change(&self, then: OnChange) {
        self.lives.on_change(then);
    }

    fn read_log(&self, name: &str, from: LogFrom) -> Result<LogChunk, OpError> {
        self.block(self.read_log_now(name, from))
    }

    fn rotate_logs(&self) -> Result<(), OpError> {
        let files: Vec<PathBuf> =
            lock(&self.current).values().filter_map(|it| it.lines().map(Path::to_owned)).collect();
        for (file, oldest) in files.iter().filter_map(|file| Some((file, output::oldest()?))) {
            match output::drop_idle(file, oldest) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    let file = file.display();
                    return Err(OpError::failed(format!("{file} cannot be shortened: {error}")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn look(&self, spec: &ServiceSpec, gate: &Gate, timeout: Duration) -> Result<Look, OpError> {
        if let Some(look) = gates::look_at_port(&self.place_of(&spec.known_as()), gate, timeout) {
            return Ok(look);
        }
        self.block(async {
            gates::look_inside(&*self.engine().await?, &spec.known_as(), gate, timeout).await
        })
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}
