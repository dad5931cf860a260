//! What a service is: a process that hob runs itself, or something that a primitive keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hob_model::{Digest, OpError, Value};

use super::Gate;
use super::gpu::GPU_DEVICE;
use super::secret::{self, SecretUse};

/// The kind of a service that is a process.
pub const PROCESS: &str = "process";

/// What a service is. A change of it takes a new instance; a change of anything else of a service is only noted.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A program that hob starts and watches itself.
    Process(Process),
    /// Something that a primitive keeps: a container, a unit.
    Kept(Kept),
}

/// A program and its surroundings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
    /// Variables beside the few that every service gets.
    pub env: BTreeMap<String, String>,
    /// Whom it runs as: a name or a number of the user database; whom hob runs as when absent.
    pub user: Option<String>,
    /// Its working directory, absolute.
    pub workdir: PathBuf,
    /// The variables that are secrets.
    pub secrets: Vec<SecretUse>,
}

/// Something that a primitive keeps, in the primitive's own words.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// [`Kind::name`]
    pub kind: String,
    /// What makes it what it is, as [`Kind::read`] gave it.
    pub fields: BTreeMap<String, Value>,
    /// The variables that are secrets.
    pub secrets: Vec<SecretUse>,
}

impl Body {
    /// `process`, or the name of the [`Kind`].
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Process(_) => PROCESS,
            Self::Kept(kept) => &kept.kind,
        }
    }

    /// The name of its image, where it is made from one.
    #[must_use]
    pub fn image(&self) -> Option<&str> {
        match self {
            Self::Process(_) => None,
            Self::Kept(kept) => kept.fields.get("image")?.as_str(),
        }
    }

    /// Whether it is handed the devices of a graphics card when it starts.
    #[must_use]
    pub fn takes_gpu(&self) -> bool {
        let Self::Kept(kept) = self else { return false };
        let Some(Value::Array(devices)) = kept.fields.get("devices") else { return false };
        let stands =
            |it: &Value| it.as_str().and_then(|it| it.split_once('=')).is_some_and(|it| it.0 == GPU_DEVICE);
        devices.iter().any(stands)
    }

    /// The program, where it is one.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        match self {
            Self::Process(process) => Some(process),
            Self::Kept(_) => None,
        }
    }

    /// What makes it what it is, as plans show it.
    #[must_use]
    pub fn fields(&self) -> BTreeMap<String, Value> {
        let mut fields = match self {
            Self::Process(process) => process.fields(),
            Self::Kept(kept) => kept.fields.clone(),
        };
        fields.extend(secret::fields(self.secrets()));
        fields
    }

    /// The secrets that it uses.
    #[must_use]
    pub fn secrets(&self) -> &[SecretUse] {
        match self {
            Self::Process(process) => &process.secrets,
            Self::Kept(kept) => &kept.secrets,
        }
    }

    /// What a running one carries, so that it tells what it was started with.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut fields = self.fields();
        if let Self::Kept(kept) = self {
            fields.insert("kind".to_owned(), Value::from(kept.kind.as_str()));
        }
        Digest::of(&Value::Map(fields).encode())
    }
}

impl Process {
    fn fields(&self) -> BTreeMap<String, Value> {
        let env = self.env.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        BTreeMap::from([
            ("command".to_owned(), Value::from(self.command.clone())),
            ("env".to_owned(), Value::Map(env.collect())),
            ("user".to_owned(), Value::from(self.user.clone())),
            ("workdir".to_owned(), Value::from(self.workdir.to_string_lossy().into_owned())),
        ])
    }
}

/// A kind of thing that services can be, beside processes. Primitives provide them.
pub trait Kind: Send + Sync {
    /// What it is called: `container`.
    fn name(&self) -> &'static str;

    /// The option that makes a service one of this kind: `image`.
    fn option(&self) -> &'static str;

    /// All options that it reads, [`Kind::option`] included, beside those that every service has.
    fn options(&self) -> BTreeSet<&'static str>;

    /// Whether it can be looked at through such a gate.
    fn has_gate(&self, gate: &Gate) -> bool;

    /// The gate of one that names none and has no port.
    fn gate(&self) -> Gate {
        Gate::Alive
    }

    /// Whether services of this kind can share the network of another one of it.
    fn shares_network(&self) -> bool {
        false
    }

    /// Whether a signal can be sent to services of this kind: [`super::Service::reload`].
    fn takes_signals(&self) -> bool {
        false
    }

    /// Whether services of this kind are made from an image, of which a registry may have a newer one. Their field `image`
    /// names it.
    fn has_updates(&self) -> bool {
        false
    }

    /// What one with these fields takes of this machine's network. A kind that says nothing listens there like any program.
    fn listens(&self, fields: &BTreeMap<String, Value>) -> Listens {
        let _ = fields;
        Listens::default()
    }

    /// Why no second one with these fields can run beside the first, in words that go on after `since`; nothing where one
    /// can, so that an update may be rolling.
    fn alone(&self, fields: &BTreeMap<String, Value>) -> Option<String> {
        let _ = fields;
        Some(format!("there is one {} of this name", self.name()))
    }

    /// What makes it what it is. The same declaration gives the same fields.
    ///
    /// # Errors
    /// All mistakes at once.
    fn read(&self, asked: &Asked<'_>) -> Result<BTreeMap<String, Value>, Vec<OpError>>;

    /// The directories and files of this machine that one with these fields works with, absolute.
    fn paths(&self, fields: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        let _ = fields;
        Vec::new()
    }

    /// What is allowed and unwise about fields that it read, in sentences that go on after `service …:`.
    fn warnings(&self, fields: &BTreeMap<String, Value>) -> Vec<String> {
        let _ = fields;
        Vec::new()
    }
}

/// What a service takes of this machine's network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listens {
    /// Whether it has a network of its own: then the port that it is declared with is none of this machine.
    pub apart: bool,
    /// The ports of this machine that lead to it, beside the one that it is declared with.
    pub published: Vec<Published>,
}

/// A port of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The address; `None` for all.
    pub address: Option<IpAddr>,
    /// The number.
    pub port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// What a [`Kind`] reads.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The name of the homelab.
    pub homelab: &'a str,
    /// The name of the service.
    pub name: &'a str,
    /// Those of [`Kind::options`] that were given.
    pub options: BTreeMap<String, Value>,
    /// The service whose network it shares.
    pub via: Option<&'a str>,
    /// What stands for the devices of the graphics card that it uses: [`super::GPU_DEVICE`] and which one. A kind without devices
    /// of its own passes it over.
    pub device: Option<String>,
    /// How long it may take to end.
    pub stop_timeout: Duration,
    /// Where relative paths start.
    pub directory: &'a Path,
}
