//! `secrets::rotate`: the steps of the command, taken by a run.

use std::sync::Arc;

use hob_model::{ErrorKind, OpError, Secret, Value};
use hob_primitive::{Ctx, Patience, Probe, ServiceRequest, Services};
use zeroize::Zeroizing;

use super::{Rotation, Sealing, Stage, generate};
use crate::age::{self, NoPassphrases, Passphrases};
use crate::error::Error;
use crate::vault::{LiveVault, Place, op_error};
use crate::{LiveDelivery, agenix, live};

/// What the new value is.
pub(crate) enum NewValue {
    /// So many letters and digits.
    Made(usize),
    /// This.
    Given(Secret),
}

impl NewValue {
    fn text(&self, cx: &Ctx) -> Result<Zeroizing<String>, OpError> {
        match self {
            Self::Made(chars) => generate(*chars).map_err(|error| OpError::invalid(error.message)),
            Self::Given(secret) => cx.open_text(secret),
        }
    }
}

/// The version that is current, for the intent.
pub(crate) fn note(cx: &Ctx, name: &str) -> Result<Value, OpError> {
    let version = cx.vault()?.version(&cx.secrets_place(), name)?;
    Ok(Value::from(version))
}

/// Whether the rotation is finished: another version is current, and no old one is kept.
pub(crate) fn probe(cx: &Ctx, name: &str) -> Result<Probe, OpError> {
    let rotation = Rotation::of(find(cx, name)?);
    let stage = rotation.stage().map_err(|error| op_error(error, name))?;
    let is_finished = stage == Stage::None && note(cx, name)? != *cx.noted();
    Ok(if is_finished { Probe::Done(rotated(cx, name, users(cx, name)?)?) } else { Probe::NotDone })
}

/// What a dry run goes on with.
pub(crate) fn modelled(cx: &Ctx, name: &str) -> Result<Value, OpError> {
    find(cx, name)?;
    rotated(cx, name, users(cx, name)?)
}

/// Gives a secret a new value, or goes on with a rotation that is under way.
pub(crate) fn rotate(cx: &Ctx, name: &str, value: &NewValue) -> Result<Value, OpError> {
    let failed = |error: Error| op_error(error, name);
    let place = find(cx, name)?;
    let rotation = Rotation::of(place.clone());
    let stage = rotation.stage().map_err(failed)?;
    if stage != Stage::Stored {
        let value = value.text(cx)?;
        if stage == Stage::None {
            rotation.keep().map_err(failed)?;
        }
        store(cx, name, &rotation, &place, &value)?;
    }
    let users = users(cx, name)?;
    let patience = Patience { timeout: cx.timeout(), cancel: cx.cancel() };
    for service in &users {
        let services = cx.port::<dyn Services>()?;
        services.ask(cx.run(), service, &ServiceRequest::Renew, patience).map_err(|error| {
            error.hint(format!(
                "the old value is kept: mend `{service}` and rotate `{name}` again, or go back with `hob secrets rotate {name} --undo`"
            ))
        })?;
    }
    let vault = cx.port::<LiveVault>()?;
    let delivery = LiveDelivery::new(Arc::clone(&vault));
    super::all_have_it(&delivery, &vault, &cx.secrets_place(), name)?;
    rotation.finish().map_err(failed)?;
    rotated(cx, name, users)
}

fn find(cx: &Ctx, name: &str) -> Result<Place, OpError> {
    cx.port::<LiveVault>()?.find(&cx.secrets_place(), name)
}

fn rotated(cx: &Ctx, name: &str, services: Vec<String>) -> Result<Value, OpError> {
    let version = note(cx, name)?;
    Ok(Value::map([("name", Value::from(name)), ("version", version), ("services", Value::from(services))]))
}

/// Those who must switch; nobody where this process keeps no services, which take the new value when they start.
fn users(cx: &Ctx, name: &str) -> Result<Vec<String>, OpError> {
    match cx.port::<dyn Services>()?.users_of(name) {
        Err(error) if error.kind == ErrorKind::Unavailable => Ok(Vec::new()),
        users => users,
    }
}

fn store(cx: &Ctx, name: &str, rotation: &Rotation, place: &Place, value: &str) -> Result<(), OpError> {
    let failed = |error: Error| op_error(error, name);
    if place.is_sops() {
        let now = cx.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let vault = cx.port::<LiveVault>()?;
        return vault
            .with_identities(|keyring| rotation.store(value, &Sealing::Sops { keyring, now: &now }))
            .map_err(failed);
    }
    let rule = agenix::rule_of(&place.file).map_err(failed)?.ok_or_else(|| {
        OpError::invalid(format!("secret `{name}`: an age file does not tell for whom it is encrypted")).hint(
            format!(
                "write a {} beside it, or use `hob secrets rotate {name} --recipient age1…`",
                agenix::RULES_FILE
            ),
        )
    })?;
    let armor = rule.armor || age::is_armored(&live::read(&place.file).map_err(failed)?);
    let nobody: Arc<dyn Passphrases> = Arc::new(NoPassphrases);
    rotation
        .store(value, &Sealing::Age { recipients: &rule.recipients, armor, passphrases: &nobody })
        .map_err(failed)
}
