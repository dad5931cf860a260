//! Which image a service is made from, and which one its name stands for.

use bollard::models::{ContainerCreateBody, ContainerInspectResponse};
use hob_model::OpError;
use hob_supervisor::{Images, Spec};

use crate::port::Engine;
use crate::problem::{Subject, error};
use crate::transfer::tagged;

/// The id alone: Docker writes how it was computed before it, Podman does not.
fn bare(id: &str) -> String {
    id.trim_start_matches("sha256:").to_owned()
}

/// Has a container made from the image that is asked for by its id, if one is.
pub(super) fn pin(body: &mut ContainerCreateBody, spec: &Spec) {
    if let Some(image) = &spec.image {
        body.image = Some(image.clone());
    }
}

/// Whether a container was made from the image that is asked for by its id, if one is.
pub(super) fn fits(found: &ContainerInspectResponse, spec: &Spec) -> bool {
    let used = found.image.as_deref().map(bare);
    spec.image.as_deref().is_none_or(|image| used == Some(bare(image)))
}

/// What a container was made from, and what `name` stands for.
pub(super) async fn of(
    engine: &dyn Engine,
    found: Option<&ContainerInspectResponse>,
    name: &str,
) -> Result<Images, OpError> {
    let named = match engine.image(&tagged(name)).await {
        Ok(image) => image.id.as_deref().map(bare),
        Err(cause) if cause.is_absent() => None,
        Err(cause) => return Err(error(&engine.address(), Subject::Image(name), &cause)),
    };
    Ok(Images { used: found.and_then(|found| found.image.as_deref()).map(bare), named })
}
