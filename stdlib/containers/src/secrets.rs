//! Secrets that containers are handed: beside what is declared, so that no label or digest tells their values.

use std::collections::BTreeMap;
use std::path::Path;

use bollard::models::ContainerCreateBody;
use hob_model::{OpError, Secret};
use hob_planner::declaration::{SecretUse, SecretValue};
use hob_primitive::Ctx;
use hob_supervisor::secrets::{CURRENT, Delivered, Handing, SECRETS_INSIDE, Variable};

use crate::body::SECRETS_DIR;
use crate::options::Spec;

/// Whose secrets they are, where an operation makes the container.
const KIND: &str = "containers";

fn variable(it: &Variable) -> String {
    format!("{}={}", it.name, String::from_utf8_lossy(&it.value))
}

fn bind(body: &mut ContainerCreateBody, source: &Path, target: &str) {
    let bind = format!("{}:{target}:ro", source.display());
    body.host_config.get_or_insert_default().binds.get_or_insert_default().push(bind);
}

/// Adds what a service is handed to what is asked for.
pub(crate) fn hand_to_service(body: &mut ContainerCreateBody, delivered: &Delivered) {
    if !delivered.env.is_empty() {
        body.env.get_or_insert_default().extend(delivered.env.iter().map(variable));
    }
    if let Some(directory) = &delivered.directory {
        bind(body, directory, SECRETS_INSIDE);
    }
}

/// The secrets of a container as its label has them; nothing where there are none.
pub(crate) fn named(spec: &Spec) -> Option<String> {
    let text = |(name, secret): (&String, &Secret)| (name.clone(), secret.to_string());
    let named: BTreeMap<String, String> =
        spec.environment.secrets.iter().chain(&spec.secrets.secrets).map(text).collect();
    let json = || serde_json::to_string(&named).expect("a map of texts has a JSON form");
    (!named.is_empty()).then(json)
}

/// The secrets of a container that an operation makes.
pub(crate) struct Handed(Option<Handing>);

impl Handed {
    /// Of the container of this name.
    ///
    /// # Errors
    /// When the run may not open one of them.
    pub(crate) fn of(cx: &Ctx, name: &str, spec: &Spec) -> Result<Self, OpError> {
        // The user of an image may be a name that this machine does not know; a number means the same everywhere.
        let user = spec.user.as_deref().and_then(|user| user.split(':').next());
        let owner = user.filter(|user| {
            rustix::process::geteuid().is_root() && user.bytes().all(|byte| byte.is_ascii_digit())
        });
        let variables = spec.environment.secrets.iter().map(|(name, secret)| SecretUse {
            variable: name.clone(),
            what: SecretValue::Text(secret.clone()),
        });
        let files = spec.secrets.secrets.iter().map(|(name, secret)| SecretUse {
            variable: name.clone(),
            what: SecretValue::File {
                name: name.clone(),
                content: Some(secret.clone()),
                owner: owner.map(str::to_owned),
            },
        });
        for variable in spec.environment.secrets.keys() {
            tracing::warn!(
                container = name,
                variable,
                "whoever may inspect the container can read this secret: many programs read a file instead (`secrets`)"
            );
        }
        Handing::of(cx, KIND, name, variables.chain(files).collect()).map(Self)
    }

    /// Lays them out, and adds them to what is asked for.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub(crate) fn add_to(&self, body: &mut ContainerCreateBody) -> Result<(), OpError> {
        let Some(handing) = &self.0 else { return Ok(()) };
        let delivered = handing.deliver()?;
        for it in &delivered.env {
            if it.is_secret {
                body.env.get_or_insert_default().push(variable(it));
            } else if let Some(directory) = &delivered.directory {
                bind(body, &directory.join(CURRENT).join(&it.name), &format!("{SECRETS_DIR}/{}", it.name));
            }
        }
        Ok(())
    }

    /// Lays them out for a container that is there and starts again: a start of the machine has emptied its memory.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub(crate) fn lay_out(&self) -> Result<(), OpError> {
        self.0.as_ref().map_or(Ok(()), |handing| handing.deliver().map(drop))
    }

    /// Why the container has to be made anew for them, in words.
    pub(crate) fn changes(&self) -> Vec<String> {
        let stale = self.0.as_ref().map(Handing::stale).unwrap_or_default();
        stale.into_iter().map(|name| format!("secret {name} has another value")).collect()
    }

    /// The container has what was laid out last.
    pub(crate) fn settle(&self) {
        if let Some(handing) = &self.0 {
            handing.settle();
        }
    }
}

/// Removes what a container was handed that is gone.
pub(crate) fn forget(cx: &Ctx, name: &str) {
    Handing::forget(cx, KIND, name);
}
