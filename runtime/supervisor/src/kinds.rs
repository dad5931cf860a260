//! The kinds of services that there are, and those who run them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hob_model::OpError;
use hob_planner::declaration::{Kind, PROCESS};

use crate::port::Supervisor;

/// What a primitive offers to services: a kind of thing that they can be.
pub trait ServiceKind: Send + Sync {
    /// How it is declared.
    fn kind(&self) -> &dyn Kind;

    /// Who runs services of this kind for the state directory `state`. Connects to nothing yet.
    fn open(&self, state: &Path) -> Arc<dyn Supervisor>;
}

/// Those who run services, by the kind of these.
#[derive(Clone)]
pub struct Supervisors(BTreeMap<String, Arc<dyn Supervisor>>);

impl Supervisors {
    /// With one for processes.
    #[must_use]
    pub fn new(processes: Arc<dyn Supervisor>) -> Self {
        Self(BTreeMap::from([(PROCESS.to_owned(), processes)]))
    }

    /// With one for services of `kind`, too.
    #[must_use]
    pub fn with(mut self, kind: &str, supervisor: Arc<dyn Supervisor>) -> Self {
        self.0.insert(kind.to_owned(), supervisor);
        self
    }

    /// Who runs services of `kind`.
    ///
    /// # Errors
    /// When this hob knows no such kind.
    pub fn of(&self, kind: &str) -> Result<&Arc<dyn Supervisor>, OpError> {
        self.0.get(kind).ok_or_else(|| {
            OpError::invalid(format!("this hob knows no services of the kind `{kind}`"))
                .hint("they were started by another version of hob")
                .nothing_happened()
        })
    }

    /// A clock that never steps.
    #[must_use]
    pub fn now(&self) -> std::time::Duration {
        self.0.get(PROCESS).map(|supervisor| supervisor.now()).unwrap_or_default()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Supervisor>> {
        self.0.values()
    }
}
