//! What a supervisor reports.

use std::fmt;

use hob_model::{Digest, Value};

use crate::plan::FieldChange;

/// The state of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ServiceState {
    /// It does not run.
    Stopped,
    /// It runs and is not ready yet.
    Starting,
    /// It runs and is ready.
    Ready,
    /// It runs and is no longer ready.
    Degraded,
    /// It ended, or did not become ready, and is not started again by itself.
    Failed,
    /// It does not run because something that it needs does not.
    Blocked,
    /// It has done its work and ended well.
    Completed,
    /// Nobody has looked.
    #[default]
    Unknown,
}

impl ServiceState {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::Stopped,
        Self::Starting,
        Self::Ready,
        Self::Degraded,
        Self::Failed,
        Self::Blocked,
        Self::Completed,
        Self::Unknown,
    ];

    /// The name that people and programs see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
            Self::Completed => "completed",
            Self::Unknown => "unknown",
        }
    }

    /// Reads [`ServiceState::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether its program runs.
    #[must_use]
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Starting | Self::Ready | Self::Degraded)
    }

    /// Whether what waits for it may go on.
    #[must_use]
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Completed)
    }
}

impl fmt::Display for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A service that exists: one that hob has started and not removed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Its name.
    pub name: String,
    /// What it is: `process`, or the name of a kind.
    pub kind: String,
    /// What it does now.
    pub state: ServiceState,
    /// Whether it is held: no plan touches it.
    pub held: bool,
    /// The digest of what runs, [`crate::Service::digest`], which the process itself carries; `None` when unknown.
    pub digest: Option<Digest>,
    /// What it was started and last updated with, [`crate::Service::fields`]; `()` when unknown.
    pub fields: Value,
    /// What really runs in another way than it was started with: somebody changed it.
    pub drift: Vec<FieldChange>,
    /// The name of its image stands for another one on this machine than it is made from, and that one was not rejected.
    pub outdated: Option<Outdated>,
}

/// Two images by their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    /// What it is made from.
    pub used: String,
    /// What its name stands for.
    pub named: String,
}
