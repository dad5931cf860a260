//! Which image a service is made from, and which one its name stands for.

use std::collections::BTreeMap;

use bollard::models::{ContainerCreateBody, ContainerInspectResponse};
use hob_model::{OpError, Value};
use hob_planner::plan::FieldChange;
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
    Ok(Images { used: found.and_then(used), named })
}

/// The id of what a container was made from.
pub(super) fn used(found: &ContainerInspectResponse) -> Option<String> {
    found.image.as_deref().map(bare)
}

/// Ids of images, by their names.
pub(super) type Names = BTreeMap<String, String>;

/// What the names of all images here stand for, asked for at once. Docker shortens names of its own registry: those are not
/// found by their full names.
pub(super) async fn names(engine: &dyn Engine) -> Result<Names, OpError> {
    let images = engine.images().await;
    let images = images.map_err(|cause| error(&engine.address(), Subject::Engine, &cause))?;
    let named = images.into_iter().flat_map(|image| {
        let id = bare(&image.id);
        image.repo_tags.into_iter().map(move |name| (name, id.clone()))
    });
    Ok(named.collect())
}

/// The difference where a container was made from another name than is declared: by somebody who gave it hob's labels, too.
/// One that was made from an id, or whose engine writes the name in full, is none.
pub(super) fn drift(found: &ContainerInspectResponse, declared: &str) -> Option<FieldChange> {
    let made_from = found.config.as_ref()?.image.as_deref()?;
    let (made, wanted) = (tagged(made_from), tagged(declared));
    let is_id = found.image.as_deref().is_some_and(|id| bare(id).starts_with(&bare(made_from)));
    let is_same =
        made == wanted || made.ends_with(&format!("/{wanted}")) || wanted.ends_with(&format!("/{made}"));
    (!is_id && !is_same).then(|| FieldChange {
        field: "image".to_owned(),
        from: Value::from(made_from),
        to: Value::from(declared),
    })
}
