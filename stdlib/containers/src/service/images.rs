//! Which image a service is made from, and which one its name stands for.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bollard::models::{ContainerCreateBody, ContainerInspectResponse};
use hob_model::{OpError, Value};
use hob_planner::plan::FieldChange;
use hob_supervisor::{Images, Spec};

use crate::port::Engine;
use crate::problem::{Subject, error};
use crate::transfer::tagged;

/// The id alone: Docker writes how it was computed before it, Podman does not.
pub(super) fn bare(id: &str) -> String {
    id.trim_start_matches("sha256:").to_owned()
}

/// Has a container made from the image that is asked for by its id, if one is.
pub(super) fn pin(body: &mut ContainerCreateBody, spec: &Spec) {
    if let Some(image) = &spec.image {
        body.image = Some(image.clone());
    }
}

/// Whether a container was made from the image that is asked for by its id, if one is, else from the declared name.
pub(super) fn fits(found: &ContainerInspectResponse, spec: &Spec, declared: &str) -> bool {
    let used = found.image.as_deref().map(bare);
    match spec.image.as_deref() {
        Some(image) => used == Some(bare(image)),
        None => drift(found, declared).is_none(),
    }
}

/// What a container was made from, and what `name` stands for.
pub(super) async fn of(
    engine: &dyn Engine,
    found: Option<&ContainerInspectResponse>,
    name: &str,
) -> Result<Images, OpError> {
    Ok(Images { used: found.and_then(used), named: named(engine, name).await? })
}

/// The id of what a name stands for, if it is here.
pub(super) async fn named(engine: &dyn Engine, name: &str) -> Result<Option<String>, OpError> {
    match engine.image(&tagged(name)).await {
        Ok(image) => Ok(image.id.as_deref().map(bare)),
        Err(cause) if cause.is_absent() => Ok(None),
        Err(cause) => Err(error(&engine.address(), Subject::Image(name), &cause)),
    }
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

/// The names of images that are known to be here: a boot asks for each of its services.
#[derive(Default)]
pub(super) struct Here(Mutex<Option<Names>>);

impl Here {
    fn names(&self) -> MutexGuard<'_, Option<Names>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets them: a container could not be made, and one may have been removed.
    pub(super) fn forget(&self) {
        *self.names() = None;
    }

    /// Whether there is an image of this name, or with this id.
    pub(super) async fn has(&self, engine: &dyn Engine, image: &str) -> bool {
        let known = |names: &Names| names.contains_key(&tagged(image));
        let listed = self.names().as_ref().map(known);
        let listed = match listed {
            Some(listed) => listed,
            None => match names(engine).await {
                Ok(names) => {
                    let listed = known(&names);
                    *self.names() = Some(names);
                    listed
                }
                Err(_) => false,
            },
        };
        listed || engine.image(image).await.is_ok()
    }
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
