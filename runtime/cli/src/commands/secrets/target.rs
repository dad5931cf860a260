//! What a file is, and for whom the rules say that it is encrypted.

use std::path::{Path, PathBuf};

use hob_std_secrets::agenix::{self, RULES_FILE, Rule};
use hob_std_secrets::sops::{self, CONFIG_FILE, Config, Format, Policy};
use hob_std_secrets::{age, live};

use super::args::{Kind, RecipientArgs};
use super::{failure, failure_of};
use crate::context::{Failure, absolute};

/// What an encrypted file is: as it was said, or by its content and name. Nothing stands for an age file.
pub(super) fn kind_of(file: &Path, content: &[u8], said: Option<Kind>) -> Option<Format> {
    match said {
        Some(kind) => kind.format(),
        None if age::is_age(content) => None,
        None => kind_by_name(file),
    }
}

/// What a file of this name will be.
pub(super) fn kind_by_name(file: &Path) -> Option<Format> {
    let name = file.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    if name.ends_with(".age") { None } else { Some(Format::of_name(&name)) }
}

/// Whether a file is the rules of agenix and no secret.
pub(super) fn is_rules(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == RULES_FILE)
}

/// Whether a file is the rules of SOPS and no secret.
pub(super) fn is_config(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == CONFIG_FILE)
}

/// The recipients that options name.
pub(super) fn named(args: &RecipientArgs) -> Result<Vec<String>, Failure> {
    let mut all = args.recipient.clone();
    for file in &args.recipients_file {
        let content = live::read(file).map_err(|error| failure(error, None))?;
        let text = std::str::from_utf8(&content)
            .map_err(|_| Failure::usage(format!("{} is no text", file.display())))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        all.extend(lines.map(str::to_owned));
    }
    for recipient in &all {
        age::check_recipient(recipient).map_err(|error| failure(error, None))?;
    }
    Ok(all)
}

/// For whom and how a SOPS file is encrypted.
pub(super) fn policy(file: &Path, recipients: &RecipientArgs) -> Result<Policy, Failure> {
    let named = named(recipients)?;
    let rules = rules_of(file)?;
    match (named.is_empty(), rules) {
        (true, Some(policy)) => Ok(policy),
        (true, None) => Err(Failure::usage(format!(
            "nobody is named to encrypt {} for: give --recipient age1…, or write a {CONFIG_FILE} beside it",
            file.display()
        ))),
        // Options say for whom; what is encrypted is still what the rules say.
        (false, rules) => Ok(Policy { groups: vec![named], threshold: None, ..rules.unwrap_or_default() }),
    }
}

/// What the nearest `.sops.yaml` says of a file; nothing when there is none.
pub(super) fn rules_of(file: &Path) -> Result<Option<Policy>, Failure> {
    let Some(found) = live::above(file, CONFIG_FILE) else { return Ok(None) };
    let config = config(&found)?;
    let file = absolute(file);
    let relative = found.parent().and_then(|directory| file.strip_prefix(directory).ok()).unwrap_or(&file);
    config.policy(&relative.to_string_lossy()).map(Some).map_err(|error| failure(error, Some(&found)))
}

/// A `.sops.yaml`.
pub(super) fn config(file: &Path) -> Result<Config, Failure> {
    let content = live::read(file).map_err(|error| failure(error, None))?;
    Config::parse(&String::from_utf8_lossy(&content)).map_err(|error| failure(error, Some(file)))
}

/// A `secrets.nix`, with its directory.
pub(super) fn agenix(rules: &Path) -> Result<Vec<(PathBuf, Rule)>, Failure> {
    let content = live::read(rules).map_err(|error| failure(error, None))?;
    let text = std::str::from_utf8(&content)
        .map_err(|_| Failure::usage(format!("{} is no text", rules.display())))?;
    let parsed = agenix::parse(text).map_err(|error| failure_of(error, rules, text))?;
    let directory = rules.parent().unwrap_or(Path::new("")).to_path_buf();
    Ok(parsed.into_iter().map(|rule| (directory.join(&rule.file), rule)).collect())
}

/// For whom an age file is encrypted: those who are named, or those whom the nearest `secrets.nix` names.
pub(super) fn age_rule(file: &Path, recipients: &RecipientArgs) -> Result<Option<Rule>, Failure> {
    let named = named(recipients)?;
    if !named.is_empty() {
        return Ok(Some(Rule { file: file.display().to_string(), recipients: named, armor: false }));
    }
    let Some(rules) = live::above(file, RULES_FILE) else { return Ok(None) };
    let file = absolute(file);
    let found = agenix(&rules)?.into_iter().find(|(path, _)| absolute(path) == file);
    found.map(|(_, rule)| Some(rule)).ok_or_else(|| {
        Failure::usage(format!(
            "{} names no rule for {}; add one, or give --recipient age1…",
            rules.display(),
            file.display()
        ))
    })
}

/// An age file needs somebody to encrypt for: it does not say itself for whom it is.
pub(super) fn needs_recipients(file: &Path) -> Failure {
    Failure::usage(format!(
        "nobody is named to encrypt {} for, and an age file does not tell: give --recipient age1…, or write a {RULES_FILE} beside it",
        file.display()
    ))
}

/// Whether a plain file was given where an encrypted one belongs. One that cannot be read as either is not called plain.
pub(super) fn is_plain(content: &[u8], format: Option<Format>) -> bool {
    format.map_or_else(|| !age::is_age(content), |format| sops::has_metadata(content, format) == Ok(false))
}
