//! A container engine in memory, with faults on demand.
//!
//! Its containers know a few programs (`sleep`, `echo`, `cat`, `sh -c` with simple commands) and run them at
//! once. It passes the same cases as Podman does, which is why it may be trusted.

mod faults;
mod shell;
mod world;

use std::sync::{Arc, Mutex, MutexGuard};

use bollard::models;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};

pub use self::faults::{Faults, Strikes};
use self::world::{World, refused};
use crate::port::{
    BuildRequest, Channel, Chunk, ContainersPort, Engine, EngineError, Fault, Filters, Input, ListTells,
    LogQuery, Login, PortFuture, PortStream, Step,
};

/// The image that is there from the start.
pub const IMAGE: &str = "localhost/busybox:test";

#[derive(Debug, Default)]
struct Shared {
    world: Mutex<World>,
    faults: Faults,
}

/// The engine. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Fake(Arc<Shared>);

const NO_PANIC: &str = "no code panics while holding this lock";

impl Fake {
    /// An engine with nothing but [`IMAGE`].
    #[must_use]
    pub fn new() -> Self {
        let it = Self::default();
        let id = format!("sha256:{}", it.world().fresh_id());
        it.world().images.insert(IMAGE.to_owned(), id);
        it
    }

    /// The faults that it is to have.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// Makes an image one that can be pulled; with `login`, only with that user and password.
    pub fn publish(&self, image: &str, login: Option<(&str, &str)>) {
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        self.world().registry.insert(image.to_owned(), login);
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().expect(NO_PANIC)
    }

    fn act<T>(
        &self,
        method: &'static str,
        act: impl FnOnce(&mut World) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.faults().around(method, || act(&mut self.world()))
    }

    fn ready<T: Send + 'static>(
        &self,
        method: &'static str,
        act: impl FnOnce(&mut World) -> Result<T, EngineError>,
    ) -> PortFuture<T> {
        Box::pin(std::future::ready(self.act(method, act)))
    }

    fn items<T: Send + 'static>(
        &self,
        method: &'static str,
        act: impl FnOnce(&mut World) -> Result<Vec<T>, EngineError>,
    ) -> PortStream<T> {
        match self.act(method, act) {
            Ok(items) => Box::pin(stream::iter(items.into_iter().map(Ok))),
            Err(cause) => Box::pin(stream::once(std::future::ready(Err(cause)))),
        }
    }
}

impl ContainersPort for Fake {
    fn engine(&self, _: Option<&str>, _: &[(String, String)]) -> PortFuture<Arc<dyn Engine>> {
        let engine: Arc<dyn Engine> = Arc::new(self.clone());
        Box::pin(std::future::ready(self.faults().around("engine", || Ok(engine))))
    }
}

fn step(text: impl Into<String>) -> Step {
    Step { text: text.into(), ..Step::default() }
}

impl Engine for Fake {
    fn address(&self) -> String {
        "memory".to_owned()
    }

    fn version(&self) -> PortFuture<models::SystemVersion> {
        self.ready("version", |_| Ok(models::SystemVersion::default()))
    }

    fn log_driver(&self) -> PortFuture<String> {
        self.ready("log_driver", |_| Ok("json-file".to_owned()))
    }

    fn list_tells(&self) -> ListTells {
        ListTells::All
    }

    fn list(&self, all: bool, filters: Filters) -> PortFuture<Vec<models::ContainerSummary>> {
        self.ready("list", |world| {
            let shown = world.containers.values().map(world::summarised).filter(|one| {
                let state = one.state.map(|state| state.to_string()).unwrap_or_default();
                let labels = one.labels.clone().unwrap_or_default();
                let labelled = |text: &String| match text.split_once('=') {
                    Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
                    None => labels.contains_key(text),
                };
                (all || state == "running")
                    && filters.get("label").is_none_or(|wanted| wanted.iter().all(labelled))
                    && filters.get("status").is_none_or(|wanted| wanted.contains(&state))
            });
            Ok(shown.collect())
        })
    }

    fn inspect(&self, id: &str) -> PortFuture<models::ContainerInspectResponse> {
        self.ready("inspect", |world| world.find(id).map(|found| world::inspected(found)))
    }

    fn create(&self, name: &str, body: models::ContainerCreateBody) -> PortFuture<String> {
        self.ready("create", |world| world.create(name, body))
    }

    fn start(&self, id: &str) -> PortFuture<()> {
        self.ready("start", |world| world.start(id))
    }

    fn stop(&self, id: &str, _: Option<i32>) -> PortFuture<()> {
        self.ready("stop", |world| world.stop(id, 0))
    }

    fn restart(&self, id: &str, _: Option<i32>) -> PortFuture<()> {
        self.ready("restart", |world| world.stop(id, 0).and_then(|()| world.start(id)))
    }

    fn kill(&self, id: &str, signal: &str) -> PortFuture<()> {
        self.ready("kill", |world| match signal.trim_start_matches("SIG") {
            "KILL" => world.stop(id, 137),
            _ => world.find(id).map(|_| ()),
        })
    }

    fn remove(&self, id: &str, force: bool, _: bool) -> PortFuture<()> {
        self.ready("remove", |world| world.remove(id, force))
    }

    fn rename(&self, id: &str, name: &str) -> PortFuture<()> {
        self.ready("rename", |world| {
            if world.containers.values().any(|one| one.name == name) {
                return refused(409, format!("the container name \"{name}\" is already in use"));
            }
            name.clone_into(&mut world.find(id)?.name);
            Ok(())
        })
    }

    fn logs(&self, id: &str, query: LogQuery) -> PortStream<Chunk> {
        self.items("logs", |world| {
            let log = world.find(id)?.log.clone();
            let skip = query
                .tail
                .map_or(0, |tail| log.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX)));
            let chunk = |(at, error, line): (String, bool, String)| Chunk {
                stream: if error { Channel::Stderr } else { Channel::Stdout },
                bytes: Bytes::from(format!("{at} {line}\n")),
            };
            Ok(log.into_iter().skip(skip).map(chunk).collect())
        })
    }

    fn stats(&self, id: &str) -> PortFuture<models::ContainerStatsResponse> {
        self.ready("stats", |world| {
            world.find(id)?;
            let memory = models::ContainerMemoryStats {
                usage: Some(1 << 20),
                limit: Some(1 << 30),
                ..Default::default()
            };
            let pids = models::ContainerPidsStats { current: Some(1), ..Default::default() };
            Ok(models::ContainerStatsResponse {
                memory_stats: Some(memory),
                pids_stats: Some(pids),
                ..Default::default()
            })
        })
    }

    fn exec(&self, id: &str, config: models::ExecConfig) -> PortFuture<String> {
        self.ready("exec", |world| {
            let found = world.find(id)?.clone();
            if !found.running {
                return refused(
                    409,
                    "can only create exec sessions on running containers: container state improper",
                );
            }
            let cmd = config.cmd.unwrap_or_default();
            if let [_, _, script, _, mark] = &cmd[..]
                && script == crate::run::END_SCRIPT
            {
                return Ok(world.end_execs(mark));
            }
            let env = [found.env, config.env.unwrap_or_default()].concat();
            let ran = shell::run(&cmd, &env, "").unwrap_or_else(|| {
                let program = cmd.first().cloned().unwrap_or_default();
                let says = format!("exec: \"{program}\": executable file not found in $PATH\n");
                shell::Ran { output: vec![(true, says)], code: Some(127) }
            });
            Ok(world.add_exec(world::Exec { ran, cmd: cmd.join(" "), env }))
        })
    }

    fn exec_start(&self, exec: &str, stdin: Option<Input>) -> PortStream<Chunk> {
        // In memory it is there at once.
        let stdin = stdin.map(|it| it.collect::<Vec<_>>().now_or_never().unwrap_or_default().concat());
        let goes_on = self.world().execs.get(exec).is_some_and(|exec| exec.ran.code.is_none());
        let written = self.items("exec_start", |world| {
            let Some(exec) = world.execs.get(exec) else {
                return refused(404, "no such exec session");
            };
            let output = match (exec.cmd.as_str(), stdin) {
                ("cat", Some(bytes)) => vec![(false, String::from_utf8_lossy(&bytes).into_owned())],
                _ => exec.ran.output.clone(),
            };
            let chunk = |(error, text): (bool, String)| Chunk {
                stream: if error { Channel::Stderr } else { Channel::Stdout },
                bytes: Bytes::from(text),
            };
            Ok(output.into_iter().map(chunk).collect())
        });
        if goes_on { written.chain(stream::pending()).boxed() } else { written }
    }

    fn exec_code(&self, exec: &str) -> PortFuture<Option<i64>> {
        self.ready("exec_code", |world| Ok(world.execs.get(exec).and_then(|exec| exec.ran.code)))
    }

    fn prune(&self, _: Filters) -> PortFuture<(Vec<String>, u64)> {
        self.ready("prune", |world| {
            let still: Vec<String> =
                world.containers.values().filter(|one| !one.running).map(|one| one.id.clone()).collect();
            world.containers.retain(|id, _| !still.contains(id));
            Ok((still, 0))
        })
    }

    fn images(&self) -> PortFuture<Vec<models::ImageSummary>> {
        self.ready("images", |world| {
            let image = |(name, id): (&String, &String)| models::ImageSummary {
                id: id.clone(),
                repo_tags: vec![name.clone()],
                ..Default::default()
            };
            Ok(world.images.iter().map(image).collect())
        })
    }

    fn image(&self, name: &str) -> PortFuture<models::ImageInspect> {
        self.ready("image", |world| {
            let id = world.image_id(name)?;
            Ok(models::ImageInspect { id: Some(id), ..Default::default() })
        })
    }

    fn pull(&self, name: &str, login: Option<Login>, _: Option<&str>) -> PortStream<Step> {
        self.items("pull", |world| {
            let Some(wanted) = world.registry.get(name) else {
                return Err(EngineError::new(
                    Fault::Other,
                    format!("initializing source {name}: manifest unknown"),
                ));
            };
            if let Some((user, password)) = wanted
                && !login.is_some_and(|login| login.user == *user && login.password == *password)
            {
                return Err(EngineError::new(Fault::Other, "authentication required"));
            }
            if !world.images.contains_key(name) {
                let id = format!("sha256:{}", world.fresh_id());
                world.images.insert(name.to_owned(), id);
            }
            let bytes = Some((10, 10));
            Ok(vec![Step {
                id: Some("layer".to_owned()),
                text: "Download complete".to_owned(),
                bytes,
                image: None,
            }])
        })
    }

    fn build(&self, request: BuildRequest, _: Bytes) -> PortStream<Step> {
        self.items("build", |world| {
            let id = format!("sha256:{}", world.fresh_id());
            world.images.insert(request.tag.clone(), id);
            Ok(vec![step("STEP 1/1: FROM scratch\n"), step(format!("Successfully tagged {}\n", request.tag))])
        })
    }

    fn load(&self, archive: PortStream<Bytes>) -> PortStream<Step> {
        let it = self.clone();
        let loaded = async move {
            let read: Vec<Bytes> = archive.try_collect().await?;
            it.act("load", |world| {
                let id = format!("sha256:{}", blake3::hash(&read.concat()).to_hex());
                world.images.insert("localhost/loaded:latest".to_owned(), id);
                Ok(step("Loaded image: localhost/loaded:latest\n"))
            })
        };
        stream::once(loaded).boxed()
    }

    fn image_remove(&self, name: &str, force: bool) -> PortFuture<Vec<String>> {
        self.ready("image_remove", |world| {
            let id = world.image_id(name)?;
            if !force && world.containers.values().any(|one| one.image_id == id) {
                return refused(409, "image used by a container: image is in use by a container");
            }
            world.images.retain(|known, other| known != name && *other != id);
            Ok(vec![id])
        })
    }

    fn images_prune(&self, all: bool) -> PortFuture<(Vec<String>, u64)> {
        self.ready("images_prune", |world| {
            let used: Vec<String> = world.containers.values().map(|one| one.image_id.clone()).collect();
            let free: Vec<String> =
                world.images.values().filter(|id| all && !used.contains(id)).cloned().collect();
            world.images.retain(|_, id| !free.contains(id));
            Ok((free, 0))
        })
    }

    fn networks(&self) -> PortFuture<Vec<models::Network>> {
        self.ready("networks", |world| {
            let shown = world.networks.values().map(|request| models::Network {
                id: Some(request.name.clone()),
                name: Some(request.name.clone()),
                driver: request.driver.clone().or(Some("bridge".to_owned())),
                internal: request.internal,
                ipam: request.ipam.clone(),
                labels: request.labels.clone(),
                ..Default::default()
            });
            Ok(shown.collect())
        })
    }

    fn network_create(&self, request: models::NetworkCreateRequest) -> PortFuture<String> {
        self.ready("network_create", |world| {
            let name = request.name.clone();
            if world.networks.contains_key(&name) {
                return refused(409, format!("network name {name} already used: network already exists"));
            }
            world.networks.insert(name.clone(), request);
            Ok(name)
        })
    }

    fn network_rejoin(&self, network: &str, id: &str, settings: models::EndpointSettings) -> PortFuture<()> {
        self.ready("network_rejoin", |world| {
            let joined = world.find(id)?.body.networking_config.as_mut();
            let joined = joined.and_then(|config| config.endpoints_config.as_mut());
            match joined.and_then(|all| all.get_mut(network)) {
                Some(endpoint) => *endpoint = settings,
                None => return refused(404, format!("container {id} is not connected to network {network}")),
            }
            Ok(())
        })
    }

    fn network_remove(&self, name: &str) -> PortFuture<()> {
        self.ready("network_remove", |world| {
            let joined = |one: &world::Container| {
                let config = one.body.networking_config.as_ref();
                config
                    .and_then(|config| config.endpoints_config.as_ref())
                    .is_some_and(|all| all.contains_key(name))
            };
            if world.containers.values().any(joined) {
                return refused(
                    409,
                    format!("network {name} has associated containers: network is being used"),
                );
            }
            match world.networks.remove(name) {
                Some(_) => Ok(()),
                None => refused(404, format!("unable to find network {name}: network not found")),
            }
        })
    }

    fn volumes(&self) -> PortFuture<Vec<models::Volume>> {
        self.ready("volumes", |world| Ok(world.volumes.values().cloned().collect()))
    }

    fn volume_create(&self, request: models::VolumeCreateRequest) -> PortFuture<models::Volume> {
        self.ready("volume_create", |world| {
            let name = request.name.unwrap_or_default();
            let volume = models::Volume {
                mountpoint: format!("/volumes/{name}"),
                name: name.clone(),
                driver: request.driver.unwrap_or_else(|| "local".to_owned()),
                labels: request.labels.unwrap_or_default(),
                options: request.driver_opts.unwrap_or_default(),
                ..Default::default()
            };
            world.volumes.insert(name, volume.clone());
            Ok(volume)
        })
    }

    fn volume_remove(&self, name: &str) -> PortFuture<()> {
        self.ready("volume_remove", |world| match world.volumes.remove(name) {
            Some(_) => Ok(()),
            None => refused(404, format!("no volume with name \"{name}\" found: no such volume")),
        })
    }

    fn events(&self) -> PortStream<models::EventMessage> {
        self.items("events", |_| Ok(Vec::new()))
    }
}
