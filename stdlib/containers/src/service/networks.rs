//! The networks of services.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bollard::models::NetworkCreateRequest;
use hob_model::OpError;

use super::LABEL_STATE;
use crate::options::Spec;
use crate::port::Engine;
use crate::problem::{Subject, error};

/// The networks that are known to be there.
#[derive(Default)]
pub(super) struct Networks(Mutex<BTreeSet<String>>);

impl Networks {
    fn known(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets them all: a container could not be made, and one may have been removed.
    pub(super) fn forget(&self) {
        self.known().clear();
    }

    /// Makes the networks be there that a container is to be in; they carry the state directory of the hob that made them.
    ///
    /// # Errors
    /// When the engine refuses.
    pub(super) async fn make(&self, engine: &dyn Engine, spec: &Spec, state: &str) -> Result<(), OpError> {
        if spec.networks.0.keys().all(|name| self.known().contains(name)) {
            return Ok(());
        }
        let listed = engine.networks().await;
        let listed = listed.map_err(|cause| error(&engine.address(), Subject::Engine, &cause))?;
        let there: BTreeSet<String> = listed.into_iter().filter_map(|network| network.name).collect();
        for name in spec.networks.0.keys().filter(|name| !there.contains(*name)) {
            let labels = [(LABEL_STATE.to_owned(), state.to_owned())];
            let request = NetworkCreateRequest {
                name: name.clone(),
                labels: Some(labels.into()),
                ..Default::default()
            };
            match engine.network_create(request).await {
                Ok(_) => {}
                // Another service was quicker.
                Err(cause) if cause.message.contains("already") => {}
                Err(cause) => return Err(error(&engine.address(), Subject::Network(name), &cause)),
            }
        }
        self.known().extend(spec.networks.0.keys().cloned());
        Ok(())
    }
}
