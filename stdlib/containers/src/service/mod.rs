//! Containers as services of a homelab.
//!
//! | module | holds |
//! |---|---|
//! | `kind` | how they are declared: [`Containers`] |
//! | `supervisor` | who runs them: starting, stopping, looking |
//! | `survey` | comparing what runs with what is declared |
//! | `images` | which image they are made from |
//! | `lives` | learning how they end |
//! | `place` | where they are reached |
//! | `beside` | a second one, which takes the place of the first |
//! | `output` | what they write |
//! | `gates` | whether they are ready |

mod beside;
mod gates;
mod images;
mod kind;
mod lives;
mod networks;
mod output;
mod place;
mod supervisor;
mod survey;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hob_model::{OpError, Value};
use hob_planner::declaration::Kind;
use hob_primitive::{Ctx, OptionMap, Ports};
use hob_supervisor::{ServiceKind, Supervisor};

use crate::options::{ComposeSpec, Spec};
use crate::port::ContainersPort;

/// The label with the name of the service that a container is.
pub const LABEL_SERVICE: &str = "hob.service";

/// The label with the state directory of the hob that a container belongs to.
pub const LABEL_STATE: &str = "hob.state";

/// The label with the digest of the declaration that a container was made for.
pub const LABEL_SPEC: &str = "hob.spec";

/// Containers, offered to services.
pub struct Containers {
    port: Arc<dyn ContainersPort>,
}

impl Containers {
    /// Of the engines that `port` finds.
    #[must_use]
    pub fn new(port: Arc<dyn ContainersPort>) -> Self {
        Self { port }
    }
}

impl ServiceKind for Containers {
    fn kind(&self) -> &dyn Kind {
        &kind::ContainerKind
    }

    fn open(&self, state: &Path) -> Arc<dyn Supervisor> {
        Arc::new(supervisor::ContainerSupervisor::new(Arc::clone(&self.port), state))
    }
}

/// The container that fields of a service describe.
fn spec_of(fields: &BTreeMap<String, Value>) -> Result<Spec, OpError> {
    OptionMap::new(fields.clone()).read::<ComposeSpec>().map(|it| it.0)
}

/// A context for what services share with operations.
fn context(port: Option<&Arc<dyn ContainersPort>>, key: &str) -> Ctx {
    let mut ports = Ports::default();
    if let Some(port) = port {
        ports.insert::<dyn ContainersPort>(Arc::clone(port));
    }
    Ctx::outside(ports, key)
}
