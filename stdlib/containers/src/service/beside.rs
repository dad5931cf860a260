//! A second container of a service, which gets ready beside the first and takes its place then.
//!
//! It carries the name of the successor as its label for good: labels of a container cannot be changed. Its own name says
//! whether it has taken the place.

use std::time::Duration;

use bollard::models::ContainerCreateBody;
use hob_model::OpError;
use hob_planner::declaration::successor;
use hob_supervisor::{Running, Spec};

use super::supervisor::{ContainerSupervisor, declared};
use crate::life::{existing, id, told};

/// Has a container not be reached by the names of its service.
pub(super) fn hide(body: &mut ContainerCreateBody) {
    let endpoints = body.networking_config.as_mut().and_then(|config| config.endpoints_config.as_mut());
    endpoints.into_iter().flat_map(|all| all.values_mut()).for_each(|endpoint| endpoint.aliases = None);
}

/// The service that a container of hob is, by its label and its name: what the label says, or what it has taken the place
/// of.
pub(super) fn service_of<'c>(labelled: Option<&'c str>, name: &'c str) -> &'c str {
    match labelled {
        Some(labelled) if labelled != successor(name) => labelled,
        Some(_) => name,
        None => "",
    }
}

impl ContainerSupervisor {
    /// See [`hob_supervisor::Supervisor::promote`]. The old one is reached by the name of the service until it stops, so that
    /// somebody is at every moment.
    pub(super) async fn promote_now(&self, spec: &Spec, timeout: Duration) -> Result<Running, OpError> {
        let engine = &*self.engine().await?;
        let (name, next) = (spec.name.as_str(), successor(&spec.name));
        let found = self.ours(engine, &next).await?;
        let new = found.map(|found| id(&found)).ok_or_else(|| {
            OpError::not_found(format!("there is no container {next} to take the place of {name}"))
        })?;
        let body = crate::body::body(&self.cx(""), &declared(&spec.body)?, None)?;
        let endpoints = body.networking_config.and_then(|config| config.endpoints_config);
        for (network, endpoint) in endpoints.into_iter().flatten() {
            told(engine, &next, engine.network_rejoin(&network, &new, endpoint).await)?;
        }
        self.stop_now(name, timeout).await?;
        if let Some(old) = self.ours(engine, name).await? {
            told(engine, name, engine.remove(&id(&old), true, false).await)?;
        }
        told(engine, &next, engine.rename(&new, name).await)?;
        let found = existing(engine, &new).await?;
        self.forget(&next);
        Ok(self.running(engine, &found).await)
    }
}
