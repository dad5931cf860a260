//! The adapter for Docker and Podman, over bollard.

#![allow(clippy::disallowed_methods)] // the adapter: it looks whether a socket is there

mod answers;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bollard::errors::Error;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::query_parameters as query;
use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker, models};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;

use self::answers::{amount, async_stream, build_step, bytes, chunk, removed, seconds};
use crate::podman;
use crate::port::{
    BuildRequest, Chunk, ContainersPort, Engine, EngineError, Fault, Filters, Input, ListTells, LogQuery,
    Login, PortFuture, PortStream, Step,
};
use crate::raw;
use crate::sockets::{self, Address};

/// How long bollard waits for an answer. Whoever calls has a timeout of its own, so that this one never strikes first.
const ANSWER_SECONDS_MAX: u64 = 24 * 60 * 60;

/// How many engines are remembered with the version that was agreed on.
const ENGINES_MAX: usize = 16;

/// An engine that was reached.
#[derive(Clone)]
struct Known {
    /// A client that speaks a version which both know.
    docker: Docker,
    /// The version of Podman, where it is Podman.
    podman: Option<String>,
}

/// The engines of this machine.
pub struct Live {
    known: Arc<Mutex<HashMap<String, Known>>>,
    env: Vec<(String, String)>,
}

impl Live {
    /// Connects to nothing yet. `env` says where engines are for runs whose own environment does not.
    #[must_use]
    pub fn new(env: Vec<(String, String)>) -> Self {
        Self { known: Arc::default(), env }
    }
}

impl ContainersPort for Live {
    fn engine(&self, socket: Option<&str>, env: &[(String, String)]) -> PortFuture<Arc<dyn Engine>> {
        let tried = match socket {
            Some(socket) => vec![socket.to_owned()],
            None => sockets::candidates(&[env, &self.env].concat(), rustix::process::geteuid().as_raw()),
        };
        let known = Arc::clone(&self.known);
        Box::pin(async move {
            let named = tried.len() == 1;
            for text in &tried {
                let address = sockets::parse(text).map_err(|said| EngineError::new(Fault::Other, said))?;
                if let Address::Unix(path) = &address
                    && !named
                    && !Path::new(path).exists()
                {
                    continue;
                }
                let Known { docker, podman } = connect(&known, text, &address).await?;
                let engine = LiveEngine { docker, podman, address, shown: text.clone() };
                return Ok(Arc::new(engine) as Arc<dyn Engine>);
            }
            Err(EngineError::new(Fault::NoSocket, format!("none of {} is there", tried.join(", "))))
        })
    }
}

/// Connects and agrees on a version, once per engine.
async fn connect(
    known: &Mutex<HashMap<String, Known>>,
    text: &str,
    address: &Address,
) -> Result<Known, EngineError> {
    const NO_PANIC: &str = "no code panics while holding this lock";
    let found = known.lock().expect(NO_PANIC).get(text).cloned();
    if let Some(found) = found {
        return Ok(found);
    }
    let ping = raw::ping(address).await?;
    let spoken = ping.api.as_deref().and_then(client_version);
    let version = spoken.filter(|spoken| spoken < API_DEFAULT_VERSION).unwrap_or(*API_DEFAULT_VERSION);
    let docker = match address {
        Address::Unix(path) => Docker::connect_with_unix(path, ANSWER_SECONDS_MAX, &version),
        Address::Tcp(host) => Docker::connect_with_http(host, ANSWER_SECONDS_MAX, &version),
    };
    let found = Known { docker: docker.map_err(problem)?, podman: ping.podman };
    let mut known = known.lock().expect(NO_PANIC);
    if known.len() >= ENGINES_MAX {
        known.clear();
    }
    known.insert(text.to_owned(), found.clone());
    Ok(found)
}

/// `1.41`
fn client_version(text: &str) -> Option<ClientVersion> {
    let (major, minor) = text.split_once('.')?;
    Some(ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? })
}

/// What a failure of bollard says about what happened.
fn problem(error: Error) -> EngineError {
    let message = error.to_string();
    match error {
        Error::SocketNotFoundError(path) => EngineError::new(Fault::NoSocket, format!("{path} is not there")),
        Error::DockerResponseServerError { status_code, message } => {
            EngineError::new(Fault::Status(status_code), message)
        }
        Error::DockerStreamError { error } => EngineError::new(Fault::Other, error),
        Error::IOError { err } => EngineError::new(Fault::Lost, err.to_string()),
        Error::HyperResponseError { err } => EngineError::new(Fault::Lost, err.to_string()),
        Error::HyperLegacyError { err } if err.is_connect() => {
            let io = io_cause(&err);
            let fault = match io.as_ref().map(|(kind, _)| *kind) {
                Some(io::ErrorKind::PermissionDenied) => Fault::NoPermission,
                Some(io::ErrorKind::NotFound) => Fault::NoSocket,
                _ => Fault::Refused,
            };
            EngineError::new(fault, io.map_or(message, |(_, text)| text))
        }
        Error::HyperLegacyError { .. } => EngineError::new(Fault::Lost, message),
        _ => EngineError::new(Fault::Other, message),
    }
}

fn io_cause(error: &(dyn std::error::Error + 'static)) -> Option<(io::ErrorKind, String)> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some((io.kind(), io.to_string()));
        }
        cause = error.source();
    }
    None
}

/// How many steps of a build wait for being told.
const STEPS_MAX: usize = 64;

struct LiveEngine {
    docker: Docker,
    podman: Option<String>,
    address: Address,
    /// The address as it was written.
    shown: String,
}

impl LiveEngine {
    fn call<T, F>(&self, request: impl FnOnce(Docker) -> F) -> PortFuture<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        Box::pin(request(self.docker.clone()).map(|result| result.map_err(problem)))
    }
}

impl LiveEngine {
    /// A request whose answer bollard may refuse, see [`raw`].
    fn get<T: DeserializeOwned + Send + 'static>(&self, path: &str) -> PortFuture<T> {
        let version = self.docker.client_version();
        let path = format!("/v{}.{}/{path}", version.major_version, version.minor_version);
        let address = self.address.clone();
        Box::pin(async move {
            let json = raw::get(&address, path).await?;
            serde_json::from_value(json).map_err(|error| raw::unreadable(&error))
        })
    }

    fn create_as_docker_does(&self, name: &str, body: models::ContainerCreateBody) -> PortFuture<String> {
        let options = query::CreateContainerOptions { name: Some(name.to_owned()), ..Default::default() };
        self.call(move |docker| async move {
            docker.create_container(Some(options), body).await.map(|created| created.id)
        })
    }
}

/// The version of Podman's own API, where the engine is Podman.
fn podman_api(version: &models::SystemVersion) -> Option<String> {
    let engine = version.components.iter().flatten().find(|part| part.name.contains("Podman"))?;
    let details = engine.details.as_ref()?;
    details.get("APIVersion").cloned()
}

async fn create_as_podman_does(
    address: &Address,
    api: &str,
    name: &str,
    body: &models::ContainerCreateBody,
) -> Result<String, EngineError> {
    const BAD_REQUEST: u16 = 400;
    let refused = |said| EngineError::new(Fault::Status(BAD_REQUEST), said);
    let specification = podman::specification(name, body).map_err(refused)?;
    let made = raw::post(address, &format!("/v{api}/libpod/containers/create"), &specification).await?;
    let id = made.get("Id").and_then(serde_json::Value::as_str).map(str::to_owned);
    id.ok_or_else(|| EngineError::new(Fault::Other, "its answer has no id"))
}

/// A call of bollard with copies of the borrowed arguments.
macro_rules! call {
    ($engine:ident, $($copy:ident),*; |$docker:ident| $request:expr) => {{
        $(let $copy = $copy.to_owned();)*
        $engine.call(move |$docker| async move { $request.await })
    }};
}

impl Engine for LiveEngine {
    fn address(&self) -> String {
        self.shown.clone()
    }

    fn version(&self) -> PortFuture<models::SystemVersion> {
        call!(self,; |docker| docker.version())
    }

    fn log_driver(&self) -> PortFuture<String> {
        if self.podman.is_some() {
            // It does not tell, and takes long not to.
            return Box::pin(std::future::ready(Ok(String::new())));
        }
        call!(self,; |docker| async move { docker.info().await.map(|info| info.logging_driver.unwrap_or_default()) })
    }

    fn list_tells(&self) -> ListTells {
        self.podman.as_deref().map_or(ListTells::Less, podman::list_tells)
    }

    fn list(&self, all: bool, filters: Filters) -> PortFuture<Vec<models::ContainerSummary>> {
        let filters = serde_json::to_string(&filters).expect("a map of texts has a JSON form");
        let filters = utf8_percent_encode(&filters, NON_ALPHANUMERIC);
        self.get(&format!("containers/json?all={all}&filters={filters}"))
    }

    fn inspect(&self, id: &str) -> PortFuture<models::ContainerInspectResponse> {
        self.get(&format!("containers/{id}/json"))
    }

    fn create(&self, name: &str, body: models::ContainerCreateBody) -> PortFuture<String> {
        let plainly = self.create_as_docker_does(name, body.clone());
        if self.podman.is_none() || podman::cdi_names(&body).is_empty() {
            return plainly;
        }
        let (docker, address, name) = (self.docker.clone(), self.address.clone(), name.to_owned());
        Box::pin(async move {
            let version = docker.version().await.map_err(problem)?;
            match podman_api(&version) {
                Some(api) => create_as_podman_does(&address, &api, &name, &body).await,
                None => plainly.await,
            }
        })
    }

    fn start(&self, id: &str) -> PortFuture<()> {
        call!(self, id; |docker| docker.start_container(&id, None::<query::StartContainerOptions>))
    }

    fn stop(&self, id: &str, seconds: Option<i32>) -> PortFuture<()> {
        let options = query::StopContainerOptions { signal: None, t: seconds };
        call!(self, id; |docker| docker.stop_container(&id, Some(options)))
    }

    fn restart(&self, id: &str, seconds: Option<i32>) -> PortFuture<()> {
        let options = query::RestartContainerOptions { signal: None, t: seconds };
        call!(self, id; |docker| docker.restart_container(&id, Some(options)))
    }

    fn kill(&self, id: &str, signal: &str) -> PortFuture<()> {
        let options = query::KillContainerOptions { signal: signal.to_owned() };
        call!(self, id; |docker| docker.kill_container(&id, Some(options)))
    }

    fn remove(&self, id: &str, force: bool, volumes: bool) -> PortFuture<()> {
        let options = query::RemoveContainerOptions { v: volumes, force, link: false };
        call!(self, id; |docker| docker.remove_container(&id, Some(options)))
    }

    fn rename(&self, id: &str, name: &str) -> PortFuture<()> {
        let options = query::RenameContainerOptions { name: name.to_owned() };
        call!(self, id; |docker| docker.rename_container(&id, options))
    }

    fn logs(&self, id: &str, wanted: LogQuery) -> PortStream<Chunk> {
        let options = query::LogsOptions {
            follow: wanted.follow,
            stdout: true,
            stderr: true,
            timestamps: true,
            since: wanted.since.map_or(0, seconds),
            until: wanted.until.map_or(0, seconds),
            tail: wanted.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
        };
        let (docker, id) = (self.docker.clone(), id.to_owned());
        Box::pin(async_stream(move || {
            docker.logs(&id, Some(options)).map(|chunk| chunk.map(self::chunk).map_err(problem)).boxed()
        }))
    }

    fn stats(&self, id: &str) -> PortFuture<models::ContainerStatsResponse> {
        // Not `one_shot`: the share of the processor needs two samples.
        let options = query::StatsOptions { stream: false, one_shot: false };
        let id = id.to_owned();
        self.call(move |docker| async move {
            docker.stats(&id, Some(options)).try_next().await.map(Option::unwrap_or_default)
        })
    }

    fn exec(&self, id: &str, config: models::ExecConfig) -> PortFuture<String> {
        let id = id.to_owned();
        self.call(move |docker| async move { docker.create_exec(&id, config).await.map(|exec| exec.id) })
    }

    fn exec_start(&self, exec: &str, stdin: Option<Input>) -> PortStream<Chunk> {
        let (docker, exec) = (self.docker.clone(), exec.to_owned());
        let attached = async move {
            let started = docker.start_exec(&exec, None::<StartExecOptions>).await.map_err(problem)?;
            let StartExecResults::Attached { output, mut input } = started else {
                return Err(EngineError::new(Fault::Other, "the engine did not attach to the program"));
            };
            // Beside its output, or the two of us wait for each other when both pipes are full.
            let writing = async move {
                let mut stdin = stdin.unwrap_or_else(|| stream::empty().boxed());
                while let Some(bytes) = stdin.next().await {
                    input.write_all(&bytes).await?;
                }
                input.shutdown().await
            };
            // A program that does not read its input closes it: that is its right.
            let writing = stream::once(writing).filter_map(|_| std::future::ready(None)).boxed();
            Ok(stream::select(writing, output.map(|part| part.map(chunk).map_err(problem))))
        };
        Box::pin(stream::once(attached).try_flatten())
    }

    fn exec_code(&self, exec: &str) -> PortFuture<Option<i64>> {
        let exec = exec.to_owned();
        self.call(move |docker| async move { docker.inspect_exec(&exec).await.map(|state| state.exit_code) })
    }

    fn prune(&self, filters: Filters) -> PortFuture<(Vec<String>, u64)> {
        let options = query::PruneContainersOptions { filters: Some(filters) };
        self.call(move |docker| async move {
            let pruned = docker.prune_containers(Some(options)).await?;
            Ok((pruned.containers_deleted.unwrap_or_default(), bytes(pruned.space_reclaimed)))
        })
    }

    fn images(&self) -> PortFuture<Vec<models::ImageSummary>> {
        call!(self,; |docker| docker.list_images(None::<query::ListImagesOptions>))
    }

    fn image(&self, name: &str) -> PortFuture<models::ImageInspect> {
        call!(self, name; |docker| docker.inspect_image(&name))
    }

    fn pull(&self, name: &str, login: Option<Login>, platform: Option<&str>) -> PortStream<Step> {
        let options = query::CreateImageOptions {
            from_image: Some(name.to_owned()),
            platform: platform.unwrap_or_default().to_owned(),
            ..Default::default()
        };
        let login = login.map(|login| bollard::auth::DockerCredentials {
            username: Some(login.user),
            password: Some(login.password),
            serveraddress: Some(login.server),
            ..Default::default()
        });
        let steps = self.docker.create_image(Some(options), None, login);
        Box::pin(steps.map(|step| {
            let step = step.map_err(problem)?;
            let bytes = amount(step.progress_detail);
            Ok(Step { id: step.id, text: step.status.unwrap_or_default(), bytes, image: None })
        }))
    }

    fn build(&self, request: BuildRequest, context: Bytes) -> PortStream<Step> {
        let options = query::BuildImageOptions {
            dockerfile: request.dockerfile,
            t: Some(request.tag),
            buildargs: Some(request.args.into_iter().collect()),
            labels: Some(request.labels.into_iter().collect()),
            target: request.target.unwrap_or_default(),
            nocache: request.no_cache,
            pull: request.pull.then(|| "1".to_owned()),
            rm: true,
            forcerm: true,
            ..Default::default()
        };
        let docker = self.docker.clone();
        // Its stream borrows the client, so that it lives in a task, which ends with whoever reads from it.
        let (sender, mut receiver) = tokio::sync::mpsc::channel(STEPS_MAX);
        Box::pin(async_stream(move || {
            tokio::spawn(async move {
                let mut steps = docker.build_image(options, None, Some(bollard::body_full(context)));
                let pass_on = async {
                    while let Some(step) = steps.next().await {
                        let step = step.map_err(problem).map(build_step);
                        if sender.send(step).await.is_err() {
                            break;
                        }
                    }
                };
                tokio::select! {
                    () = pass_on => {}
                    () = sender.closed() => {}
                }
            });
            stream::poll_fn(move |task| receiver.poll_recv(task)).boxed()
        }))
    }

    fn load(&self, archive: PortStream<Bytes>) -> PortStream<Step> {
        let archive = archive.map_err(|error| io::Error::other(error.message));
        let steps = self.docker.import_image_stream(query::ImportImageOptions::default(), archive, None);
        Box::pin(steps.map(|step| Ok(build_step(step.map_err(problem)?))))
    }

    fn image_remove(&self, name: &str, force: bool) -> PortFuture<Vec<String>> {
        let options = query::RemoveImageOptions { force, ..Default::default() };
        let name = name.to_owned();
        self.call(
            move |docker| async move { docker.remove_image(&name, Some(options), None).await.map(removed) },
        )
    }

    fn images_prune(&self, all: bool) -> PortFuture<(Vec<String>, u64)> {
        let filters = HashMap::from([("dangling".to_owned(), vec![(!all).to_string()])]);
        self.call(move |docker| async move {
            let options = query::PruneImagesOptions { filters: Some(filters) };
            let pruned = docker.prune_images(Some(options)).await?;
            Ok((removed(pruned.images_deleted.unwrap_or_default()), bytes(pruned.space_reclaimed)))
        })
    }

    fn networks(&self) -> PortFuture<Vec<models::Network>> {
        call!(self,; |docker| docker.list_networks(None::<query::ListNetworksOptions>))
    }

    fn network_create(&self, request: models::NetworkCreateRequest) -> PortFuture<String> {
        self.call(move |docker| async move { docker.create_network(request).await.map(|made| made.id) })
    }

    fn network_rejoin(&self, network: &str, id: &str, settings: models::EndpointSettings) -> PortFuture<()> {
        let (network, id) = (network.to_owned(), id.to_owned());
        self.call(move |docker| async move {
            let leave = models::NetworkDisconnectRequest { container: id.clone(), force: None };
            docker.disconnect_network(&network, leave).await?;
            let join = models::NetworkConnectRequest { container: id, endpoint_config: Some(settings) };
            docker.connect_network(&network, join).await
        })
    }

    fn network_remove(&self, name: &str) -> PortFuture<()> {
        call!(self, name; |docker| docker.remove_network(&name))
    }

    fn volumes(&self) -> PortFuture<Vec<models::Volume>> {
        self.call(move |docker| async move {
            let listed = docker.list_volumes(None::<query::ListVolumesOptions>).await?;
            Ok(listed.volumes.unwrap_or_default())
        })
    }

    fn volume_create(&self, request: models::VolumeCreateRequest) -> PortFuture<models::Volume> {
        call!(self,; |docker| docker.create_volume(request))
    }

    fn volume_remove(&self, name: &str) -> PortFuture<()> {
        let options = query::RemoveVolumeOptions { force: false };
        call!(self, name; |docker| docker.remove_volume(&name, Some(options)))
    }

    fn events(&self) -> PortStream<models::EventMessage> {
        let filters =
            HashMap::from([("type".to_owned(), vec!["container".to_owned(), "network".to_owned()])]);
        let options = query::EventsOptions { filters: Some(filters), ..Default::default() };
        let docker = self.docker.clone();
        Box::pin(async_stream(move || docker.events(Some(options)).map_err(problem).boxed()))
    }
}
