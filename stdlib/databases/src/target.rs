//! Which server, as scripts name it.

use hob_model::{OpError, Secret, Value};
use hob_primitive::{Ctx, FromValue, Mismatch, Nested, Options, Room, SecretText};

/// How a server is written.
#[derive(Clone, Debug, Options)]
struct TargetOptions {
    /// The service of the homelab that it is: its programs run in its container, or on this machine.
    service: Option<String>,
    /// The container that it is.
    container: Option<String>,
    /// Its name or address, or the directory of its socket.
    host: Option<String>,
    /// Its port.
    port: Option<u16>,
    /// The user of the database.
    user: Option<String>,
    /// The password of that user.
    password: Option<SecretText>,
    /// The user of the system whom the programs run as.
    run_as: Option<String>,
}

/// A server.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    service: Option<String>,
    container: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    run_as: Option<String>,
}

impl FromValue for Target {
    const KIND: &'static str = "map";
    const TAKES_SECRETS: bool = true;

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let it: TargetOptions = Nested::read(value)?;
        let named = [&it.service, &it.container].into_iter().flatten().count();
        if named > 1 || (it.host.is_none() && named == 0) {
            return Err(Mismatch {
                message: "it does not say which server".to_owned(),
                hint: Some(
                    "give one of #{ service: \"postgres\" }, #{ container: \"…\" } and #{ host: \"…\", user: \"…\" }"
                        .to_owned(),
                ),
            });
        }
        let password = it.password.map(|it| it.0);
        let (service, container, run_as) = (it.service, it.container, it.run_as);
        Ok(Self { service, container, host: it.host, port: it.port, user: it.user, password, run_as })
    }
}

impl Target {
    /// What people call it.
    pub(crate) fn told(&self) -> String {
        let named = self.service.as_ref().or(self.container.as_ref());
        match (named, &self.host, self.port) {
            (Some(name), ..) => name.clone(),
            (None, Some(host), Some(port)) if !host.starts_with('/') => format!("{host}:{port}"),
            (None, host, _) => host.clone().unwrap_or_default(),
        }
    }

    /// A name for files.
    pub(crate) fn file_name(&self) -> String {
        self.told()
            .chars()
            .map(|it| if it.is_alphanumeric() || "-_.".contains(it) { it } else { '_' })
            .collect()
    }

    /// Where its programs run.
    pub(crate) fn room(&self, cx: &Ctx) -> Result<Room, OpError> {
        match (&self.container, &self.service) {
            (Some(container), _) => Ok(Room::Container(container.clone())),
            (None, Some(service)) => Room::of_service(cx, service),
            (None, None) => Ok(Room::Host),
        }
    }

    /// Whom its programs run as: a server of this machine knows its own user by its socket, without a password.
    pub(crate) fn run_as(&self, room: &Room, its_own: &str) -> Option<String> {
        let by_socket = *room == Room::Host
            && self.password.is_none()
            && self.host.as_deref().is_none_or(|host| host.starts_with('/'))
            && rustix::process::geteuid().is_root();
        self.run_as.clone().or_else(|| by_socket.then(|| its_own.to_owned()))
    }

    /// The parts of a description of a program there, for `backup::stream`.
    pub(crate) fn described(&self) -> Vec<(&'static str, Value)> {
        let named = [("service", &self.service), ("container", &self.container)];
        named.into_iter().filter_map(|(key, name)| Some((key, Value::from(name.clone()?)))).collect()
    }
}
