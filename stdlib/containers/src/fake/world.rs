//! What the fake engine knows: containers, images, networks and volumes.

use std::collections::{BTreeMap, HashMap};

use bollard::models;
use jiff::Timestamp;

use super::shell::{self, Ran};
use crate::port::{EngineError, Fault};
use crate::view::NEVER;

/// Begins at 2026-01-02T03:04:05Z and is a second later at each look.
const EPOCH_SECONDS: i64 = 1_767_323_045;

/// The exit code of a program that was killed.
const KILLED: i64 = 137;

/// A container.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) image_id: String,
    pub(super) created: String,
    pub(super) body: models::ContainerCreateBody,
    /// Its command with what the image says.
    pub(super) command: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) started: Option<String>,
    pub(super) finished: Option<String>,
    pub(super) running: bool,
    pub(super) code: i64,
    /// Time, whether to standard error, line.
    pub(super) log: Vec<(String, bool, String)>,
}

/// A program that was started in a container.
#[derive(Debug, Default)]
pub(super) struct Exec {
    pub(super) ran: Ran,
    pub(super) cmd: String,
    pub(super) env: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) containers: BTreeMap<String, Container>,
    /// Names with ids.
    pub(super) images: BTreeMap<String, String>,
    pub(super) networks: BTreeMap<String, models::NetworkCreateRequest>,
    pub(super) volumes: BTreeMap<String, models::Volume>,
    pub(super) execs: HashMap<String, Exec>,
    /// What a registry has: names, and the user and password it wants.
    pub(super) registry: BTreeMap<String, Option<(String, String)>>,
    ticks: i64,
    ids: u64,
}

pub(super) fn refused<T>(status: u16, message: impl Into<String>) -> Result<T, EngineError> {
    Err(EngineError::new(Fault::Status(status), message))
}

impl World {
    pub(super) fn now(&mut self) -> String {
        self.ticks += 1;
        Timestamp::from_second(EPOCH_SECONDS + self.ticks)
            .map_or_else(|_| NEVER.to_owned(), |at| at.to_string())
    }

    pub(super) fn fresh_id(&mut self) -> String {
        self.ids += 1;
        blake3::hash(&self.ids.to_le_bytes()).to_hex().to_string()
    }

    pub(super) fn add_exec(&mut self, exec: Exec) -> String {
        let id = self.fresh_id();
        self.execs.insert(id.clone(), exec);
        id
    }

    /// Ends the programs whose environment has this variable; gives the exec that did so.
    pub(super) fn end_execs(&mut self, mark: &str) -> String {
        for exec in self.execs.values_mut().filter(|exec| exec.env.iter().any(|pair| pair == mark)) {
            exec.ran.code.get_or_insert(KILLED);
        }
        self.add_exec(Exec { ran: Ran { output: Vec::new(), code: Some(0) }, ..Exec::default() })
    }

    pub(super) fn find(&mut self, name: &str) -> Result<&mut Container, EngineError> {
        let fits = |one: &&mut Container| {
            one.name == name || one.id == name || (name.len() >= 12 && one.id.starts_with(name))
        };
        match self.containers.values_mut().find(fits) {
            Some(found) => Ok(found),
            None => refused(404, format!("no container with name or ID \"{name}\" found: no such container")),
        }
    }

    pub(super) fn image_id(&self, name: &str) -> Result<String, EngineError> {
        let by_id = || self.images.values().find(|id| *id == name);
        match self.images.get(name).or_else(by_id) {
            Some(id) => Ok(id.clone()),
            None => refused(404, format!("{name}: image not known: no such image")),
        }
    }

    pub(super) fn create(
        &mut self,
        name: &str,
        body: models::ContainerCreateBody,
    ) -> Result<String, EngineError> {
        let image = body.image.clone().unwrap_or_default();
        let image_id = self.image_id(&image)?;
        if self.containers.values().any(|one| one.name == name) {
            return refused(409, format!("the container name \"{name}\" is already in use"));
        }
        let networks = body.networking_config.as_ref().and_then(|config| config.endpoints_config.as_ref());
        if let Some(missing) =
            networks.into_iter().flatten().find(|(name, _)| !self.networks.contains_key(*name))
        {
            return refused(404, format!("network {} not found: no such network", missing.0));
        }
        let mut env = vec!["FROM_IMAGE=yes".to_owned()];
        env.extend(body.env.iter().flatten().cloned());
        let command: Vec<String> =
            body.entrypoint.iter().flatten().chain(body.cmd.iter().flatten()).cloned().collect();
        let command = if command.is_empty() { vec!["sh".to_owned()] } else { command };
        let (id, created) = (self.fresh_id(), self.now());
        let container = Container {
            id: id.clone(),
            name: name.to_owned(),
            image_id,
            created,
            body,
            command,
            env,
            started: None,
            finished: None,
            running: false,
            code: 0,
            log: Vec::new(),
        };
        self.containers.insert(id.clone(), container);
        Ok(id)
    }

    pub(super) fn start(&mut self, name: &str) -> Result<(), EngineError> {
        let now = self.now();
        let starting = self.find(name)?.clone();
        if starting.running {
            return Ok(());
        }
        for port in host_ports(&starting) {
            let other = self.containers.values().find(|one| one.running && host_ports(one).contains(&port));
            if other.is_some() {
                return refused(
                    500,
                    format!(
                        "cannot listen on the TCP port: listen tcp4 :{port}: bind: address already in use"
                    ),
                );
            }
        }
        let Some(ran) = shell::run(&starting.command, &starting.env, "") else {
            let program = starting.command.first().cloned().unwrap_or_default();
            return refused(400, format!("runc: exec: \"{program}\": executable file not found in $PATH"));
        };
        let found = self.find(name)?;
        found.started = Some(now.clone());
        found.running = ran.code.is_none();
        found.code = ran.code.unwrap_or_default();
        found.finished = ran.code.map(|_| now.clone());
        let lines = ran
            .output
            .into_iter()
            .flat_map(|(error, text)| text.lines().map(|line| (error, line.to_owned())).collect::<Vec<_>>());
        found.log.extend(lines.map(|(error, line)| (now.clone(), error, line)));
        Ok(())
    }

    pub(super) fn stop(&mut self, name: &str, code: i64) -> Result<(), EngineError> {
        let now = self.now();
        let found = self.find(name)?;
        if found.running {
            (found.running, found.code, found.finished) = (false, code, Some(now));
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str, force: bool) -> Result<(), EngineError> {
        let found = self.find(name)?;
        if found.running && !force {
            return refused(409, "container is running: container state improper");
        }
        let id = found.id.clone();
        self.containers.remove(&id);
        Ok(())
    }
}

/// The ports of the host that it wants.
fn host_ports(container: &Container) -> Vec<String> {
    let bindings = container.body.host_config.as_ref().and_then(|host| host.port_bindings.as_ref());
    let all = bindings.into_iter().flatten().flat_map(|(_, bindings)| bindings.iter().flatten());
    all.filter_map(|binding| binding.host_port.clone()).filter(|port| !port.is_empty()).collect()
}

fn state(container: &Container) -> &'static str {
    match (container.running, &container.started) {
        (true, _) => "running",
        (false, Some(_)) => "exited",
        (false, None) => "created",
    }
}

pub(super) fn inspected(it: &Container) -> models::ContainerInspectResponse {
    let never = || NEVER.to_owned();
    let networks = it.body.networking_config.clone().and_then(|config| config.endpoints_config);
    let mut host = it.body.host_config.clone().unwrap_or_default();
    host.network_mode.get_or_insert_with(|| "bridge".to_owned());
    let (path, args) = it
        .command
        .split_first()
        .map_or((None, None), |(path, args)| (Some(path.clone()), Some(args.to_vec())));
    models::ContainerInspectResponse {
        id: Some(it.id.clone()),
        name: Some(format!("/{}", it.name)),
        created: Some(it.created.clone()),
        image: Some(it.image_id.clone()),
        path,
        args,
        state: Some(models::ContainerState {
            status: state(it).parse().ok(),
            running: Some(it.running),
            exit_code: Some(it.code),
            pid: Some(i64::from(it.running)),
            started_at: Some(it.started.clone().unwrap_or_else(never)),
            finished_at: Some(it.finished.clone().unwrap_or_else(never)),
            ..Default::default()
        }),
        config: Some(models::ContainerConfig {
            image: it.body.image.clone(),
            env: Some(it.env.clone()),
            cmd: it.body.cmd.clone(),
            entrypoint: it.body.entrypoint.clone(),
            labels: it.body.labels.clone(),
            user: it.body.user.clone(),
            working_dir: it.body.working_dir.clone(),
            hostname: it.body.hostname.clone(),
            tty: it.body.tty,
            open_stdin: it.body.open_stdin,
            stop_timeout: it.body.stop_timeout,
            healthcheck: it.body.healthcheck.clone(),
            ..Default::default()
        }),
        network_settings: Some(models::NetworkSettings {
            ports: host.port_bindings.clone(),
            networks,
            ..Default::default()
        }),
        host_config: Some(host),
        ..Default::default()
    }
}

pub(super) fn summarised(it: &Container) -> models::ContainerSummary {
    models::ContainerSummary {
        id: Some(it.id.clone()),
        names: Some(vec![format!("/{}", it.name)]),
        image: it.body.image.clone(),
        image_id: Some(it.image_id.clone()),
        command: Some(it.command.join(" ")),
        state: state(it).parse().ok(),
        labels: it.body.labels.clone(),
        network_settings: Some(models::ContainerSummaryNetworkSettings {
            networks: it.body.networking_config.clone().and_then(|config| config.endpoints_config),
        }),
        ..Default::default()
    }
}
