//! The kinds of services that there are, and those who run them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hob_model::OpError;
use hob_planner::declaration::{Kind, PROCESS};

use crate::graphics::Graphics;
use crate::port::Supervisor;
use crate::secrets::Delivery;

/// What a primitive offers to services: a kind of thing that they can be.
pub trait ServiceKind: Send + Sync {
    /// How it is declared.
    fn kind(&self) -> &dyn Kind;

    /// Who runs services of this kind for the state directory `state`. Connects to nothing yet.
    fn open(&self, state: &Path) -> Arc<dyn Supervisor>;
}

/// Those who run services, by the kind of these.
#[derive(Clone)]
pub struct Supervisors {
    kinds: BTreeMap<String, Arc<dyn Supervisor>>,
    delivery: Option<Arc<dyn Delivery>>,
    graphics: Option<Arc<dyn Graphics>>,
    state: PathBuf,
}

impl Supervisors {
    /// With one for processes.
    #[must_use]
    pub fn new(processes: Arc<dyn Supervisor>) -> Self {
        Self {
            kinds: BTreeMap::from([(PROCESS.to_owned(), processes)]),
            delivery: None,
            graphics: None,
            state: PathBuf::new(),
        }
    }

    /// With one for services of `kind`, too.
    #[must_use]
    pub fn with(mut self, kind: &str, supervisor: Arc<dyn Supervisor>) -> Self {
        self.kinds.insert(kind.to_owned(), supervisor);
        self
    }

    /// With those who deliver secrets, for services of the state directory `state`.
    #[must_use]
    pub fn delivering(mut self, delivery: Option<Arc<dyn Delivery>>, state: &Path) -> Self {
        self.delivery = delivery;
        state.clone_into(&mut self.state);
        self
    }

    /// With those who know the graphics cards.
    #[must_use]
    pub fn with_graphics(mut self, graphics: Option<Arc<dyn Graphics>>) -> Self {
        self.graphics = graphics;
        self
    }

    /// Those who know the graphics cards.
    #[must_use]
    pub fn graphics(&self) -> Option<&Arc<dyn Graphics>> {
        self.graphics.as_ref()
    }

    /// The state directory that the services belong to.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Those who deliver secrets.
    #[must_use]
    pub fn delivery(&self) -> Option<&Arc<dyn Delivery>> {
        self.delivery.as_ref()
    }

    /// Who runs services of `kind`.
    ///
    /// # Errors
    /// When this hob knows no such kind.
    pub fn of(&self, kind: &str) -> Result<&Arc<dyn Supervisor>, OpError> {
        self.kinds.get(kind).ok_or_else(|| {
            OpError::invalid(format!("this hob knows no services of the kind `{kind}`"))
                .hint("they were started by another version of hob")
                .nothing_happened()
        })
    }

    /// A clock that never steps.
    #[must_use]
    pub fn now(&self) -> std::time::Duration {
        self.kinds.get(PROCESS).map(|supervisor| supervisor.now()).unwrap_or_default()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Supervisor>> {
        self.kinds.values()
    }
}
