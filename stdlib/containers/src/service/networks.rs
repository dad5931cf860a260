//! The networks of services.

use std::collections::BTreeSet;

use bollard::models::NetworkCreateRequest;
use hob_model::OpError;

use super::LABEL_STATE;
use crate::options::Spec;
use crate::port::Engine;
use crate::problem::{Subject, error};

/// Makes the networks be there that a container is to be in; they carry the state directory of the hob that made them.
///
/// # Errors
/// When the engine refuses.
pub(super) async fn make(engine: &dyn Engine, spec: &Spec, state: &str) -> Result<(), OpError> {
    if spec.networks.0.is_empty() {
        return Ok(());
    }
    let wanted: BTreeSet<&String> = spec.networks.0.keys().collect();
    let listed = engine.networks().await;
    let listed = listed.map_err(|cause| error(&engine.address(), Subject::Engine, &cause))?;
    let there: BTreeSet<&String> = listed.iter().filter_map(|network| network.name.as_ref()).collect();
    for name in wanted.difference(&there) {
        let labels = [(LABEL_STATE.to_owned(), state.to_owned())];
        let request =
            NetworkCreateRequest { name: (*name).clone(), labels: Some(labels.into()), ..Default::default() };
        match engine.network_create(request).await {
            Ok(_) => {}
            // Another service was quicker.
            Err(cause) if cause.message.contains("already") => {}
            Err(cause) => return Err(error(&engine.address(), Subject::Network(name), &cause)),
        }
    }
    Ok(())
}
