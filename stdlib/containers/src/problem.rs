//! What a script is told when an engine does not do what it was asked.

use bollard::models::ContainerSummary;
use hob_model::names::nearest;
use hob_model::{ErrorKind, OpError};

use crate::port::{Engine, EngineError, Fault, Filters};

/// What was asked of the engine, for messages and near names.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A container.
    Container(&'a str),
    /// An image.
    Image(&'a str),
    /// A network.
    Network(&'a str),
    /// A volume.
    Volume(&'a str),
    /// The engine as a whole.
    Engine,
}

impl Subject<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Container(_) => "container",
            Self::Image(_) => "image",
            Self::Network(_) => "network",
            Self::Volume(_) => "volume",
            Self::Engine => "engine",
        }
    }

    fn name(self) -> Option<String> {
        match self {
            Self::Container(name) | Self::Image(name) | Self::Network(name) | Self::Volume(name) => {
                Some(name.to_owned())
            }
            Self::Engine => None,
        }
    }
}

/// Words in an engine's message, the kind of error that they mean, and what to do about it. The engines give 500 for
/// most of what goes wrong, so that only their words tell; the first that fit are taken.
const PHRASES: &[(&[&str], ErrorKind, &str)] = &[
    (
        &["address already in use", "port is already allocated", "ports are not available"],
        ErrorKind::Conflict,
        "another program or container has that port: choose another in `ports`, or stop what has it \
         (ss -ltnp shows it)",
    ),
    (
        &[
            "no basic auth",
            "authentication required",
            "unauthorized",
            "invalid username/password",
            "denied: ",
        ],
        ErrorKind::Denied,
        "give the registry's credentials in `auth: #{ username, password }`; they may be wrong, or the image private",
    ),
    (
        &[
            "no such host",
            "network is unreachable",
            "i/o timeout",
            "connection refused",
            "tls handshake timeout",
        ],
        ErrorKind::Unavailable,
        "the registry cannot be reached: look at the network and the name of the image",
    ),
    (
        &["server gave http response to https"],
        ErrorKind::Invalid,
        "the registry speaks no TLS: name it as insecure in the engine's configuration",
    ),
    (
        &["manifest unknown", "name unknown", "not found: manifest"],
        ErrorKind::NotFound,
        "the registry has no such image or tag",
    ),
    (
        &["short-name", "did not resolve to an alias"],
        ErrorKind::Invalid,
        "write the image's full name: docker.io/library/nginx:1.27",
    ),
    (
        &["can only create exec sessions on running", "is not running", "container state improper"],
        ErrorKind::Conflict,
        "start it first: containers::start",
    ),
    (
        &["executable file not found", "no such file or directory"],
        ErrorKind::NotFound,
        "there is no such program or file in the container or on the host",
    ),
    (
        &["is already in use", "already exists"],
        ErrorKind::Conflict,
        "choose another name, remove what has it, or use `ensure`, which changes what is there",
    ),
    (
        &[
            "is in use by",
            "has active endpoints",
            "image is in use",
            "image is being used",
            "volume is being used",
            "volume is in use",
            "being used by",
            "has associated containers",
        ],
        ErrorKind::Conflict,
        "remove the containers that use it first",
    ),
    (&["no space left on device"], ErrorKind::Unavailable, "the disk is full: free some space and try again"),
    (
        &["permission denied", "operation not permitted"],
        ErrorKind::Denied,
        "the engine, or a rootless one's user, may not do this",
    ),
    (
        &["could not select device driver \"cdi\"", "cdi device injection failed", "invalid cdi"],
        ErrorKind::Invalid,
        "this engine takes no CDI names: Docker does from 28.2 (from 25.0 with the feature `cdi`), Podman does; or name \
         the devices by path",
    ),
    (
        &["unresolvable cdi devices", "no such device", "error gathering device information"],
        ErrorKind::NotFound,
        "the device is not there: look at `devices`, and for CDI names at /etc/cdi",
    ),
];

/// The error of a request about `subject`.
pub fn error(engine: &str, subject: Subject<'_>, error: &EngineError) -> OpError {
    let said = error.message.trim().trim_end_matches('.');
    match error.fault {
        Fault::NoSocket => OpError::unavailable(format!("no container engine: {said}"))
            .hint(
                "start it (systemctl enable --now podman.socket, or docker), or name its socket in `socket`",
            )
            .nothing_happened(),
        Fault::NoPermission => {
            OpError::denied(format!("the container engine at {engine} may not be used: {said}"))
                .hint("run hob as the owner of the socket, or add its user to the socket's group")
                .nothing_happened()
        }
        Fault::Refused => {
            OpError::unavailable(format!("the container engine at {engine} does not answer: {said}"))
                .hint("its socket is there, but nobody listens: systemctl restart podman.socket, or docker")
                .nothing_happened()
        }
        Fault::Lost => {
            OpError::unavailable(format!("the connection to the container engine at {engine} broke: {said}"))
                .hint("it was restarted or died in the middle of the call")
        }
        Fault::Status(_) | Fault::Other => answered(subject, error, said),
    }
}

fn answered(subject: Subject<'_>, error: &EngineError, said: &str) -> OpError {
    let what = match subject.name() {
        Some(name) => format!("{} {name}: {said}", subject.kind()),
        None => said.to_owned(),
    };
    let lower = said.to_lowercase();
    let phrase = PHRASES.iter().find(|(words, ..)| words.iter().any(|word| lower.contains(word)));
    let by_status = match error.fault {
        Fault::Status(404) => Some(ErrorKind::NotFound),
        Fault::Status(401 | 403) => Some(ErrorKind::Denied),
        Fault::Status(409) => Some(ErrorKind::Conflict),
        Fault::Status(400) => Some(ErrorKind::Invalid),
        Fault::Status(503) => Some(ErrorKind::Unavailable),
        _ => None,
    };
    let it = match (by_status, phrase) {
        // Docker forbids what is in use.
        (Some(ErrorKind::Denied), Some((_, kind, hint))) => OpError::new(*kind, what).hint(*hint),
        (Some(kind), Some((_, _, hint))) => OpError::new(kind, what).hint(*hint),
        (Some(kind), None) => OpError::new(kind, what),
        (None, Some((_, kind, hint))) => OpError::new(*kind, what).hint(*hint),
        (None, None) => OpError::failed(what),
    };
    // A refusal of the engine is not mended by asking again; a registry that is away may come back.
    let again = it.kind == ErrorKind::Unavailable;
    let it = it.retryable(again);
    match error.fault {
        Fault::Status(status) => it.detail("status", i64::from(status)),
        _ => it,
    }
}

/// The error of a request that came after one that acted: an engine that is gone by now does not mean that nothing
/// happened.
pub(crate) fn too_late(mut error: OpError) -> OpError {
    error.nothing_happened = false;
    error
}

/// As [`error`], and where the engine does not know the name: which ones are near.
pub async fn explain(engine: &dyn Engine, subject: Subject<'_>, cause: EngineError) -> OpError {
    let it = error(&engine.address(), subject, &cause);
    let Some(name) = subject.name().filter(|_| cause.is_absent()) else {
        return it;
    };
    // "no such image" may also come from a request about a container.
    let image = cause.message.to_lowercase().contains("image");
    if image && matches!(subject, Subject::Container(_)) {
        return it;
    }
    let known = known(engine, subject).await.unwrap_or_default();
    let missing = OpError::not_found(format!("there is no {} {name}", subject.kind())).nothing_happened();
    let count = known.len();
    match nearest(&name, known.iter().map(String::as_str)) {
        Some(near) => missing.hint(format!("did you mean {near}?")),
        None if count == 0 => missing.hint(format!("the engine has no {}s", subject.kind())),
        None => missing.hint(format!(
            "see containers::{}",
            match subject {
                Subject::Image(_) => "images::list()",
                Subject::Network(_) => "networks::list()",
                Subject::Volume(_) => "volumes::list()",
                Subject::Container(_) | Subject::Engine => "list()",
            }
        )),
    }
}

async fn known(engine: &dyn Engine, subject: Subject<'_>) -> Result<Vec<String>, EngineError> {
    Ok(match subject {
        Subject::Container(_) => {
            let listed = listed(engine, true, &Filters::new()).await?;
            let names = listed.into_iter().flat_map(|container| container.names.unwrap_or_default());
            names.map(|name| name.trim_start_matches('/').to_owned()).collect()
        }
        Subject::Image(_) => engine.images().await?.into_iter().flat_map(|image| image.repo_tags).collect(),
        Subject::Network(_) => {
            engine.networks().await?.into_iter().filter_map(|network| network.name).collect()
        }
        Subject::Volume(_) => engine.volumes().await?.into_iter().map(|volume| volume.name).collect(),
        Subject::Engine => Vec::new(),
    })
}

/// How often a list is asked for while containers vanish from it.
const LIST_TRIES_MAX: u32 = 10;

/// The containers that `filters` fit. Podman refuses a list when a container goes away while it makes it.
pub async fn listed(
    engine: &dyn Engine,
    all: bool,
    filters: &Filters,
) -> Result<Vec<ContainerSummary>, EngineError> {
    let mut tries = 1;
    loop {
        match engine.list(all, filters.clone()).await {
            Err(cause)
                if tries < LIST_TRIES_MAX && cause.message.to_lowercase().contains("no such container") =>
            {
                tries += 1;
            }
            other => return other,
        }
    }
}
