//! Secrets that a container is handed.

use bollard::models::ContainerCreateBody;
use hob_supervisor::secrets::{Delivered, SECRETS_INSIDE, Variable};

/// Adds secrets to what is asked for: beside the declaration, so that no label tells of them.
pub(super) fn hand_over(body: &mut ContainerCreateBody, delivered: &Delivered) {
    let text = |it: &Variable| format!("{}={}", it.name, String::from_utf8_lossy(&it.value));
    if !delivered.env.is_empty() {
        body.env.get_or_insert_default().extend(delivered.env.iter().map(text));
    }
    if let Some(directory) = &delivered.directory {
        let bind = format!("{}:{SECRETS_INSIDE}:ro", directory.display());
        body.host_config.get_or_insert_default().binds.get_or_insert_default().push(bind);
    }
}
