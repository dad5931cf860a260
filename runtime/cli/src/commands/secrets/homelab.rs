//! The secrets of a homelab by name: which there are, who uses them, and a new value for one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hob_model::{Code, Diagnostic, OpError};
use hob_planner::Homelab;
use hob_primitive::Vault;
use hob_std_secrets::rotate::{self, Rotation, Sealing, Stage};
use hob_std_secrets::vault::Listed;
use hob_std_secrets::{LiveDelivery, LiveVault, shared};
use hob_terminal::{Cell, Column, Table};
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use super::args::{HomelabArgs, KeyArgs, RotateArgs};
use super::{failure, keys, target};
use crate::commands::homelab::declared;
use crate::commands::remote::client;
use crate::context::{Context, Exit, Failure, Outcome, absolute};
use crate::loader;

/// The secrets of a directory, and the homelab in it, if there is one.
pub(super) struct Place {
    directory: PathBuf,
    homelab: Option<Homelab>,
    vault: std::sync::Arc<LiveVault>,
}

impl Place {
    pub(super) fn open(context: &Context, args: &HomelabArgs) -> Result<Self, Failure> {
        let there = args.homelab.is_file() || args.homelab.join("homelab.rhai").is_file();
        let homelab = match there {
            true => Some(declared(context, &loader::load_homelab(&args.homelab)?)?),
            false => None,
        };
        let directory = homelab.as_ref().map_or_else(|| absolute(&args.homelab), |it| it.directory.clone());
        let vault = shared();
        if let Some(homelab) = homelab.as_ref().filter(|it| !it.secrets.is_empty()) {
            vault.declare(&directory, &homelab.secrets);
        }
        Ok(Self { directory, homelab, vault })
    }

    /// Fails while a service has another value of a secret than the current one.
    fn all_have_it(&self, name: &str, keys: &KeyArgs, was_it: &str) -> Result<(), Failure> {
        let vault = LiveVault::with_keyring(keys::keyring(keys)?);
        if let Some(homelab) = self.homelab.as_ref().filter(|it| !it.secrets.is_empty()) {
            vault.declare(&self.directory, &homelab.secrets);
        }
        let delivery = LiveDelivery::new(shared());
        rotate::all_have_it(&delivery, &vault, &self.directory, name).map_err(|error| {
            let problem = Diagnostic::error(Code::ServiceFailed, error.message).note(was_it.to_owned());
            problem.maybe_hint(error.hint).into()
        })
    }

    /// Where they are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// All of them, none open.
    pub(super) fn list(&self) -> Result<Vec<Listed>, Failure> {
        self.vault.list(&self.directory).map_err(refused)
    }

    /// The services that use secrets, by the name of the secret, in the order in which they start.
    pub(super) fn consumers(&self) -> BTreeMap<String, Vec<String>> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let Some(homelab) = &self.homelab else { return all };
        for service in homelab.services_in_order() {
            for name in service.body.secrets().iter().flat_map(|it| it.names()) {
                let services = all.entry(name.to_owned()).or_default();
                if !services.contains(&service.name) {
                    services.push(service.name.clone());
                }
            }
        }
        all
    }
}

fn refused(error: OpError) -> Failure {
    let code = match error.kind {
        hob_model::ErrorKind::NotFound => Code::UnknownName,
        hob_model::ErrorKind::Denied => Code::SecretLocked,
        _ => Code::SecretFile,
    };
    Diagnostic::error(code, error.message).maybe_hint(error.hint).into()
}

/// `hob secrets list`
pub(super) fn list(context: &Context, args: &HomelabArgs) -> Outcome {
    let place = Place::open(context, args)?;
    let consumers = place.consumers();
    let listed = place.list()?;
    let users = |name: &str| consumers.get(name).cloned().unwrap_or_default();
    let missing = consumers.keys().filter(|name| !listed.iter().any(|one| one.name == **name));
    let shown = |file: &Path| file.strip_prefix(&place.directory).unwrap_or(file).display().to_string();
    if context.global.json {
        let all = listed.iter().map(|one| {
            json!({ "name": one.name, "version": one.version, "file": shown(&one.place.file), "consumers": users(&one.name) })
        });
        let missing = missing
            .map(|name| json!({ "name": name, "version": null, "file": null, "consumers": users(name) }));
        context.print_json(&all.chain(missing).collect::<Vec<Json>>().into());
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["SECRET", "VERSION", "FILE", "USED BY"].map(Column::new));
    for one in &listed {
        let cells =
            [one.name.clone(), one.version.clone(), shown(&one.place.file), users(&one.name).join(", ")];
        table.row(cells.map(Cell::from));
    }
    for name in missing {
        table.row(
            [name.clone(), "-".to_owned(), "missing".to_owned(), users(name).join(", ")].map(Cell::from),
        );
    }
    context.print_line(table.render(context.out).trim_end());
    Ok(Exit::Done)
}

/// `hob secrets rotate`
pub(super) fn rotate(context: &Context, args: &RotateArgs) -> Outcome {
    let place = Place::open(context, &args.homelab)?;
    let found = place.vault.find(&place.directory, &args.name).map_err(refused)?;
    let file = found.file.clone();
    let failed = |error| failure(error, Some(&file));
    let rotation = Rotation::of(found);
    if args.undo {
        rotation.undo().map_err(failed)?;
        context.say(&format!("{}: the old value is back", args.name));
        roll_out(context, &place, &args.name)?;
        place.all_have_it(&args.name, &args.keys, "the old value is back, and is the current one")?;
        return Ok(Exit::Done);
    }
    let stage = rotation.stage().map_err(failed)?;
    if stage == Stage::Stored {
        context.say(&format!("{}: going on with the rotation that is under way", args.name));
    } else {
        let value = match &args.value_file {
            Some(file) => new_value(file)?,
            None => rotate::generate(args.length).map_err(failed)?,
        };
        if stage == Stage::None {
            rotation.keep().map_err(failed)?;
        }
        store(&rotation, &file, &value, args)?;
        context.say(&format!("{}: a new value is stored", args.name));
    }
    roll_out(context, &place, &args.name)?;
    let kept = format!("the old value is kept: `hob secrets rotate {}` goes on, --undo goes back", args.name);
    place.all_have_it(&args.name, &args.keys, &kept)?;
    rotation.finish().map_err(failed)?;
    Ok(Exit::Done)
}

/// The new value in a file, without the end of its only line.
fn new_value(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let content = super::read(file)?;
    let text = std::str::from_utf8(&content)
        .map_err(|_| Failure::usage(format!("{} is no text", file.display())))?;
    Ok(Zeroizing::new(text.strip_suffix('\n').unwrap_or(text).to_owned()))
}

fn store(rotation: &Rotation, file: &Path, value: &str, args: &RotateArgs) -> Result<(), Failure> {
    let failed = |error| failure(error, Some(file));
    if target::kind_by_name(file).is_some() {
        let keyring = keys::keyring(&args.keys)?;
        return rotation
            .store(value, &Sealing::Sops { keyring: &keyring, now: &super::now() })
            .map_err(failed);
    }
    let rule = target::age_rule(file, &args.recipients)?.ok_or_else(|| target::needs_recipients(file))?;
    let passphrases = keys::passphrases(&args.keys.passphrases)?;
    let armor = rule.armor || hob_std_secrets::age::is_armored(&super::read(file)?);
    let sealing = Sealing::Age { recipients: &rule.recipients, armor, passphrases: &passphrases };
    rotation.store(value, &sealing).map_err(failed)
}

/// Has every service that uses the secret take the current value, in the order in which they start; each must get ready
/// before the next is touched. Without a hob that serves, they take it when they start.
fn roll_out(context: &Context, place: &Place, name: &str) -> Outcome {
    let client = client(context).without_limit();
    if client.get("/api/v1/status").is_err() {
        context.say("no `hob up` serves here: services take the new value when they start");
        return Ok(Exit::Done);
    }
    for service in place.consumers().remove(name).unwrap_or_default() {
        client.post(&format!("/api/v1/services/{service}/renew"), &json!({})).map_err(|problem| {
            let mut failure = Failure::from(problem);
            let hint = format!(
                "the old value is kept: mend `{service}` and say `hob secrets rotate {name}` again, or go back with --undo"
            );
            failure.diagnostics.iter_mut().for_each(|it| it.hint = Some(hint.clone()));
            failure
        })?;
        context.say(&format!("{service} has the new value and is ready"));
    }
    Ok(Exit::Done)
}
