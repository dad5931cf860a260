//! `hob secrets lint`: what is questionable.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hob_std_secrets::age::{self, Keyring};
use hob_std_secrets::sops::{self, Finding};
use hob_std_secrets::{Kind as Mistake, live};
use hob_terminal::Role;

use super::args::{HomelabArgs, KeyArgs, KindArgs};
use super::homelab::Place;
use super::{failure, keys, rules, target};
use crate::context::{Context, Exit, Failure, Outcome};

/// `hob secrets lint FILE…`
pub(super) fn lint(context: &Context, files: &[PathBuf], kind: &KindArgs, keys: &KeyArgs) -> Outcome {
    let keyring = keys::keyring(keys)?;
    let mut all: Vec<(PathBuf, Finding)> = Vec::new();
    for key in keys.identity.iter().filter(|key| live::is_open_to_others(key)) {
        all.push((
            key.clone(),
            Finding::mistake("others than its owner may read this private key; `chmod 600` mends that"),
        ));
    }
    for file in files {
        if target::is_rules(file) {
            for (path, rule) in target::agenix(file)?.into_iter().filter(|(path, _)| path.exists()) {
                let found = age_file(&path, &super::read(&path)?, Some(&rule.recipients), &keyring, false);
                all.extend(found.into_iter().map(|finding| (path.clone(), finding)));
            }
        }
        if target::is_rules(file) || target::is_config(file) {
            all.extend(rules::unused(file)?);
            continue;
        }
        let found = one(file, kind, &keyring, false)?;
        all.extend(found.into_iter().map(|finding| (file.clone(), finding)));
    }
    report(context, &all);
    let serious = all.iter().any(|(_, finding)| finding.serious);
    Ok(if serious { Exit::Failed } else { Exit::Done })
}

/// `hob secrets lint`: the secrets of a homelab, what uses them, and what else in its directory looks like one.
pub(super) fn homelab(context: &Context, args: &HomelabArgs, kind: &KindArgs, keys: &KeyArgs) -> Outcome {
    let keyring = keys::keyring(keys)?;
    let place = Place::open(context, args)?;
    let listed = place.list()?;
    let mut all: Vec<(PathBuf, Finding)> = Vec::new();
    let consumers = place.consumers();
    let files: BTreeSet<&Path> = listed.iter().map(|one| one.place.file.as_path()).collect();
    for rules in rules::beside(place.directory(), files.iter().copied()) {
        all.extend(rules::unused_in(place.directory(), &rules)?);
    }
    for file in files {
        let used = listed.iter().any(|one| one.place.file == file && consumers.contains_key(&one.name));
        let found = one(file, kind, &keyring, used)?;
        all.extend(found.into_iter().map(|finding| (file.to_path_buf(), finding)));
        if live::is_file(&live::previous(file)) {
            let message =
                "a rotation is under way: `hob secrets rotate` finishes it, or takes it back with --undo";
            all.push((file.to_path_buf(), Finding::note(message)));
        }
    }
    for (name, users) in &consumers {
        if !listed.iter().any(|one| one.name == *name) {
            let message = format!("`{}` uses the secret `{name}`, which is not there", users.join("`, `"));
            all.push((place.directory().to_path_buf(), Finding::mistake(message)));
        }
    }
    for file in live::texts(place.directory()).map_err(|error| failure(error, None))? {
        let content = super::read(&file)?;
        for (line, what) in hob_std_secrets::lookalikes(&String::from_utf8_lossy(&content)) {
            let message = format!("line {line}: {what} looks like a secret and is not encrypted");
            all.push((file.clone(), Finding::mistake(message)));
        }
    }
    for file in hob_std_secrets::deliver::open_to_others() {
        all.push((file, Finding::mistake("others may read this secret, which was laid out for a service")));
    }
    report(context, &all);
    let serious = all.iter().any(|(_, finding)| finding.serious);
    Ok(if serious { Exit::Failed } else { Exit::Done })
}

fn report(context: &Context, all: &[(PathBuf, Finding)]) {
    if context.global.json {
        let list: Vec<_> = (all.iter())
            .map(|(file, finding)| {
                let level = if finding.serious { "error" } else { "note" };
                serde_json::json!({ "file": file.display().to_string(), "level": level, "message": finding.message })
            })
            .collect();
        context.print_json(&list.into());
        return;
    }
    for (file, finding) in all {
        let (role, level) = if finding.serious { (Role::Error, "error") } else { (Role::Muted, "note") };
        let level = context.out.paint(role, level);
        context.print_line(&format!("{}: {level}: {}", file.display(), finding.message));
    }
    if all.is_empty() {
        context.say("nothing questionable");
    }
}

/// That no identity here opens a file: a mistake where this host must.
fn locked(message: &str, must_open: bool) -> Finding {
    match must_open {
        true => Finding::mistake(format!("this host cannot open it and has to: {message}")),
        false => Finding::note(format!("not verified: {message}")),
    }
}

/// One file; services here use it, or not.
fn one(file: &Path, kind: &KindArgs, keyring: &Keyring, used: bool) -> Result<Vec<Finding>, Failure> {
    let content = super::read(file)?;
    let Some(format) = target::kind_of(file, &content, kind.kind) else {
        let rule = target::age_rule(file, &Default::default());
        let recipients = rule.ok().flatten().map(|rule| rule.recipients);
        return Ok(age_file(file, &content, recipients.as_deref(), keyring, used));
    };
    let mut findings = sops::lint(&content, format).map_err(|error| failure(error, Some(file)))?;
    let not_encrypted = !sops::is_sops(&content, format);
    if not_encrypted {
        return Ok(findings);
    }
    match sops::open(&content, format, keyring) {
        Err(error) if error.kind == Mistake::NoIdentity => {
            findings.push(locked(&error.message, used));
        }
        Err(error) => findings.push(Finding::mistake(error.message)),
        Ok(opened) => findings.extend(compared(file, &opened)?),
    }
    Ok(findings)
}

/// Recipients that are not those of the rules.
fn compared(file: &Path, opened: &sops::Opened) -> Result<Vec<Finding>, Failure> {
    let Some(policy) = target::rules_of(file)? else { return Ok(Vec::new()) };
    let wanted: Vec<&str> = policy.groups.iter().flatten().map(String::as_str).collect();
    let found: Vec<&str> = opened.recipients().collect();
    let strangers = found.iter().filter(|recipient| !wanted.contains(recipient));
    let missing = wanted.iter().filter(|recipient| !found.contains(recipient));
    let strangers =
        strangers.map(|recipient| format!("{recipient} can open it and is not named by the rules"));
    let missing = missing.map(|recipient| format!("{recipient} is named by the rules and cannot open it"));
    Ok(strangers
        .chain(missing)
        .map(|message| Finding::mistake(format!("{message}; `hob secrets rekey` mends that")))
        .collect())
}

fn age_file(
    file: &Path,
    content: &[u8],
    recipients: Option<&[String]>,
    keyring: &Keyring,
    used: bool,
) -> Vec<Finding> {
    if !age::is_age(content) {
        return vec![Finding::mistake("this is no age file: it is not encrypted")];
    }
    let mut findings = Vec::new();
    match age::open(content, keyring) {
        Ok(_) => {}
        Err(error) if error.kind == Mistake::NoIdentity => {
            // A host that the rules name must be able to open it.
            let named =
                recipients.unwrap_or_default().iter().any(|recipient| keyring.publics().contains(recipient));
            findings.push(locked(&error.message, named || used));
        }
        Err(error) => findings.push(Finding::mistake(error.message)),
    }
    if recipients.is_none() && live::above(file, hob_std_secrets::agenix::RULES_FILE).is_some() {
        findings.push(Finding::note("no rule of secrets.nix names this file"));
    }
    findings
}
