//! Secrets on their way to services: the port that delivers them, and what a supervisor is handed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hob_model::OpError;
use hob_planner::declaration::SecretUse;
use hob_primitive::{Ctx, Opened};

/// Where a container finds the files with its secrets.
pub const SECRETS_INSIDE: &str = "/run/hob-secrets";

/// The link, in the directory of a service, to the generation of files that a start finds.
pub const CURRENT: &str = "current";

/// What a service is handed beside its declaration. Its values are in no digest, label or difference.
#[derive(Clone, Default, PartialEq)]
pub struct Delivered {
    /// Variables for its environment.
    pub env: Vec<Variable>,
    /// The directory, in memory, with the generations of the files; nothing where there are none.
    pub directory: Option<PathBuf>,
}

/// A variable for a service.
#[derive(Clone, PartialEq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Opened,
    /// Whether the value is a secret itself, and not the path of a file.
    pub is_secret: bool,
}

impl Delivered {
    /// Whether a secret itself is in the environment.
    #[must_use]
    pub fn has_secret_variable(&self) -> bool {
        self.env.iter().any(|variable| variable.is_secret)
    }
}

impl fmt::Debug for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delivered({} variables)", self.env.len())
    }
}

/// Who gets secrets, and which.
#[derive(Clone, Copy, Debug)]
pub struct Consumer<'a> {
    /// The directory of the homelab.
    pub place: &'a Path,
    /// Where the homelab says that its secrets are; nothing where it does not.
    pub sources: &'a [PathBuf],
    /// The state directory.
    pub state: &'a Path,
    /// The name of the service.
    pub service: &'a str,
    /// Whom the service runs as; hob's own user when absent.
    pub user: Option<&'a str>,
    /// Where it sees the files; where they are when absent.
    pub inside: Option<&'a str>,
    /// What it uses.
    pub uses: &'a [SecretUse],
    /// Whether hob keeps it, and so hands it new values by itself: a rotation waits for it.
    pub kept: bool,
}

/// Those who deliver secrets: into files in memory, one generation after the other.
pub trait Delivery: Send + Sync {
    /// Lays the current values out as a new generation, and makes it the one that a start finds. The generation before
    /// stays until [`Delivery::settle`].
    ///
    /// # Errors
    /// When a secret cannot be opened, or there is no directory in memory; then the generation before stays current.
    fn deliver(&self, consumer: &Consumer<'_>) -> Result<Delivered, OpError>;

    /// Removes all generations but the current one: the service runs with it.
    fn settle(&self, state: &Path, service: &str);

    /// Removes all that a service was handed.
    fn remove(&self, state: &Path, service: &str);

    /// The secrets whose current value is another one than was delivered, also where a delivery was not settled: the service
    /// may know of the generation before only. None where nothing was delivered, or where they cannot be opened.
    fn stale(&self, consumer: &Consumer<'_>) -> Vec<String>;
}

/// What an operation hands to something that it makes or starts: as services are handed secrets, and beside all that an
/// inspection shows.
pub struct Handing {
    delivery: Arc<dyn Delivery>,
    kind: &'static Path,
    name: String,
    place: PathBuf,
    uses: Vec<SecretUse>,
}

impl Handing {
    /// To what is called `name` among those of a kind; `None` where nothing is to be handed over.
    ///
    /// # Errors
    /// When the run may not open one of the secrets (`secrets.get:NAME`), or this binary was put together without secrets.
    pub fn of(
        cx: &Ctx,
        kind: &'static str,
        name: &str,
        uses: Vec<SecretUse>,
    ) -> Result<Option<Self>, OpError> {
        if uses.is_empty() {
            return Ok(None);
        }
        for secret in uses.iter().flat_map(SecretUse::names) {
            cx.permit(&format!("secrets.get:{secret}"))?;
        }
        let (delivery, place) = (cx.port::<dyn Delivery>()?, cx.secrets_place());
        Ok(Some(Self { delivery, kind: Path::new(kind), name: name.to_owned(), place, uses }))
    }

    fn consumer(&self) -> Consumer<'_> {
        Consumer {
            place: &self.place,
            sources: &[],
            state: self.kind,
            service: &self.name,
            user: None,
            inside: None,
            uses: &self.uses,
            // The run that made it hands it a new value when it runs again.
            kept: false,
        }
    }

    /// As [`Delivery::deliver`].
    ///
    /// # Errors
    /// As there; nothing happened.
    pub fn deliver(&self) -> Result<Delivered, OpError> {
        self.delivery.deliver(&self.consumer()).map_err(OpError::nothing_happened)
    }

    /// As [`Delivery::stale`].
    #[must_use]
    pub fn stale(&self) -> Vec<String> {
        self.delivery.stale(&self.consumer())
    }

    /// As [`Delivery::settle`].
    pub fn settle(&self) {
        self.delivery.settle(self.kind, &self.name);
    }

    /// As [`Delivery::remove`].
    pub fn remove(&self) {
        self.delivery.remove(self.kind, &self.name);
    }

    /// Removes what was handed to something that is gone, if anything was.
    pub fn forget(cx: &Ctx, kind: &'static str, name: &str) {
        if let Ok(delivery) = cx.port::<dyn Delivery>() {
            delivery.remove(Path::new(kind), name);
        }
    }
}
