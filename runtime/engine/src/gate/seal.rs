//! What comes back from the world, without the values of secrets: a server echoes a header, a file was written before.

use hob_model::{OpError, Value};
use hob_primitive::{Probe, Vault};

use crate::host::Host;

/// An outcome as it is recorded and given to the script: a secret in it is a reference again.
pub(super) fn outcome(host: &Host, result: Result<Value, OpError>) -> Result<Value, OpError> {
    let Some(vault) = host.ports.get::<dyn Vault>() else { return result };
    match result {
        Ok(value) => Ok(vault.seal(value)),
        Err(error) => Err(failure(&*vault, error)),
    }
}

/// As [`outcome`], for what a probe found.
pub(super) fn probe(host: &Host, result: Result<Probe, OpError>) -> Result<Probe, OpError> {
    let Some(vault) = host.ports.get::<dyn Vault>() else { return result };
    match result {
        Ok(Probe::Done(value)) => Ok(Probe::Done(vault.seal(value))),
        Ok(Probe::Failed(error)) => Ok(Probe::Failed(failure(&*vault, error))),
        Ok(Probe::Unknown(why)) => Ok(Probe::Unknown(vault.conceal(&why).unwrap_or(why))),
        Ok(Probe::NotDone) => Ok(Probe::NotDone),
        Err(error) => Err(failure(&*vault, error)),
    }
}

/// An error is read by people and never opened again: it has the names of secrets in the place of their values.
fn failure(vault: &dyn Vault, mut error: OpError) -> OpError {
    let conceal = |text: &mut String| {
        if let Some(concealed) = vault.conceal(text) {
            *text = concealed;
        }
    };
    conceal(&mut error.message);
    if let Some(hint) = &mut error.hint {
        conceal(hint);
    }
    error.details = shown(vault.seal(error.details));
    error
}

/// The value with secrets as people see them.
fn shown(value: Value) -> Value {
    match value {
        Value::Secret(secret) => Value::from(secret.to_string()),
        Value::Array(items) => Value::Array(items.into_iter().map(shown).collect()),
        Value::Map(items) => Value::Map(items.into_iter().map(|(key, item)| (key, shown(item))).collect()),
        other => other,
    }
}
