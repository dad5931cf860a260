//! `.sops.yaml`: who new files are encrypted for.

use std::collections::HashSet;

use regex::RegexBuilder;
use serde_json::{Map, Value as Json};

use super::Policy;
use super::lint::Finding;
use super::metadata::foreign_in;
use super::rules::Selection;
use crate::age::check_recipient;
use crate::error::{Error, Kind, Result};

/// Its name; it applies to its directory and those below.
pub const CONFIG_FILE: &str = ".sops.yaml";
/// The largest one, in bytes.
const CONFIG_BYTES_MAX: usize = 1024 * 1024;
/// The most rules.
const RULES_MAX: usize = 10_000;
/// How deep key groups may be merged from others.
const MERGE_DEPTH_MAX: usize = 8;
/// How large a compiled regular expression may be, in bytes.
const REGEX_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a creation rule may say, beside the rules of what is encrypted.
const RULE_KEYS: [&str; 16] = [
    "path_regex",
    "age",
    "key_groups",
    "shamir_threshold",
    "mac_only_encrypted",
    "pgp",
    "kms",
    "gcp_kms",
    "hckms",
    "azure_keyvault",
    "hc_vault_transit_uri",
    "aws_profile",
    "filename_regex",
    "gcp_kms_resource_id",
    "role",
    "context",
];

/// The rules of a `.sops.yaml`.
pub struct Config {
    rules: Vec<Map<String, Json>>,
    /// What stands under `keys`, where people give names to recipients.
    listed: Vec<String>,
}

impl Config {
    /// Reads it.
    ///
    /// # Errors
    /// When it is no YAML, or its rules are none.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > CONFIG_BYTES_MAX {
            return Err(crate::too_large(CONFIG_FILE, CONFIG_BYTES_MAX));
        }
        let parsed: Json = serde_norway::from_str(text).map_err(|error| {
            let mut problem = Error::rules(format!("{CONFIG_FILE} is no YAML: {error}"));
            problem.place = error.location().map(|place| (place.line(), place.column()));
            problem
        })?;
        let rules = parsed.get("creation_rules").and_then(Json::as_array).ok_or_else(|| {
            Error::rules(format!("{CONFIG_FILE} has no list `creation_rules`"))
                .hint("creation_rules:\n  - age: age1…")
        })?;
        if rules.len() > RULES_MAX {
            return Err(Error::new(Kind::TooLarge, format!("{CONFIG_FILE} has more than {RULES_MAX} rules")));
        }
        let rules = rules.iter().enumerate().map(|(at, rule)| {
            let rule = rule.as_object().ok_or_else(|| Error::rules(format!("rule {} is no map", at + 1)))?;
            // A misspelt rule would leave in plain what should be encrypted.
            let known = |key: &str| RULE_KEYS.contains(&key) || Selection::names().any(|name| name == key);
            match rule.keys().find(|key| !known(key)) {
                Some(key) => Err(Error::rules(format!(
                    "rule {} of {CONFIG_FILE} has the unknown key `{}`",
                    at + 1,
                    crate::shortened(key)
                ))),
                None => Ok(rule.clone()),
            }
        });
        let mut listed = Vec::new();
        texts(parsed.get("keys"), &mut listed);
        Ok(Self { rules: rules.collect::<Result<_>>()?, listed })
    }

    /// The policy for a file; `path` is relative to the directory of the `.sops.yaml`, with `/` between its parts.
    ///
    /// # Errors
    /// When no rule matches, or the one that does is wrong or out of scope.
    pub fn policy(&self, path: &str) -> Result<Policy> {
        let at = self.rule_of(path)?.ok_or_else(|| {
            Error::rules(format!("no rule of {CONFIG_FILE} matches `{path}`"))
                .hint("add a rule with a path_regex that does, or one without, which matches everything")
        })?;
        self.policy_of(at)
    }

    fn policy_of(&self, at: usize) -> Result<Policy> {
        policy(&self.rules[at]).map_err(|error| Error {
            message: format!("rule {} of {CONFIG_FILE}: {}", at + 1, error.message),
            ..error
        })
    }

    /// The first rule that matches a path.
    fn rule_of(&self, path: &str) -> Result<Option<usize>> {
        for (at, rule) in self.rules.iter().enumerate() {
            let matches = match rule.get("path_regex") {
                None | Some(Json::Null) => true,
                Some(Json::String(pattern)) if pattern.is_empty() => true,
                Some(Json::String(pattern)) => {
                    let regex = RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build();
                    let regex = regex.map_err(|error| {
                        Error::rules(format!(
                            "path_regex of rule {} is no regular expression: {}",
                            at + 1,
                            crate::age::one_line(&error.to_string())
                        ))
                    })?;
                    regex.is_match(path)
                }
                Some(_) => return Err(Error::rules(format!("path_regex of rule {} is no text", at + 1))),
            };
            if matches {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// What no file needs: rules that count for none of the encrypted files, and recipients that only such rules name, or
    /// none. `paths` are all files, as for [`Self::policy`]; `is_encrypted` is asked for as few of them as possible.
    ///
    /// # Errors
    /// When a rule is wrong or out of scope.
    pub fn unused<'a>(
        &self,
        paths: impl IntoIterator<Item = &'a str>,
        is_encrypted: impl Fn(&str) -> bool,
    ) -> Result<Vec<Finding>> {
        let mut used = vec![false; self.rules.len()];
        for path in paths {
            if let Some(at) = self.rule_of(path)? {
                used[at] = used[at] || is_encrypted(path);
            }
        }
        let mut findings = Vec::new();
        let (mut needed, mut named) = (HashSet::new(), Vec::new());
        for (at, used) in used.into_iter().enumerate() {
            let recipients = self.policy_of(at)?.groups.into_iter().flatten();
            if used {
                needed.extend(recipients);
                continue;
            }
            let pattern = self.rules[at].get("path_regex").and_then(Json::as_str);
            let pattern = pattern.map(|it| format!(" (path_regex `{}`)", crate::shortened(it)));
            let message =
                format!("rule {}{} counts for no encrypted file", at + 1, pattern.unwrap_or_default());
            findings.push(Finding::note(message));
            named.extend(recipients);
        }
        let listed = self.listed.iter().filter(|text| check_recipient(text).is_ok()).cloned();
        let mut told = HashSet::new();
        for recipient in named.into_iter().chain(listed) {
            if !needed.contains(&recipient) && told.insert(recipient.clone()) {
                findings.push(Finding::note(format!("no encrypted file needs the recipient {recipient}")));
            }
        }
        Ok(findings)
    }
}

/// All texts in lists and maps.
fn texts(value: Option<&Json>, out: &mut Vec<String>) {
    match value {
        Some(Json::String(text)) => out.push(text.clone()),
        Some(Json::Array(items)) => items.iter().for_each(|item| texts(Some(item), out)),
        Some(Json::Object(items)) => items.values().for_each(|item| texts(Some(item), out)),
        _ => {}
    }
}

fn policy(rule: &Map<String, Json>) -> Result<Policy> {
    in_scope(rule)?;
    let groups = match rule.get("key_groups") {
        Some(Json::Array(groups)) if !groups.is_empty() => {
            groups.iter().map(|group| merged(group, 0)).collect::<Result<_>>()?
        }
        None | Some(Json::Null | Json::Array(_)) => vec![recipients(rule.get("age"))?],
        Some(_) => return Err(Error::rules("key_groups is no list")),
    };
    if let Some(at) = groups.iter().position(Vec::is_empty) {
        return Err(Error::rules(format!("key group {} has no age recipient", at + 1)));
    }
    groups.iter().flatten().try_for_each(|recipient| check_recipient(recipient))?;
    let threshold = match rule.get("shamir_threshold") {
        None | Some(Json::Null) => None,
        Some(number) => {
            let number = number.as_u64().and_then(|number| usize::try_from(number).ok());
            Some(number.ok_or_else(|| Error::rules("shamir_threshold is no number"))?)
                .filter(|&number| number > 0)
        }
    };
    let mac_only_encrypted = match rule.get("mac_only_encrypted") {
        None | Some(Json::Null) => false,
        Some(only) => {
            only.as_bool().ok_or_else(|| Error::rules("mac_only_encrypted is neither true nor false"))?
        }
    };
    Ok(Policy { groups, threshold, selection: Selection::from_map(rule)?, mac_only_encrypted })
}

fn in_scope(map: &Map<String, Json>) -> Result<()> {
    match foreign_in(map) {
        None => Ok(()),
        Some(kind) => {
            Err(Error::unsupported(format!("it names keys of {kind}, which are out of hob's scope"))
                .hint("use age recipients: age1…, ssh-ed25519 … or ssh-rsa …"))
        }
    }
}

/// A key group, with those that it is merged from before its own.
fn merged(group: &Json, depth: usize) -> Result<Vec<String>> {
    let group = group.as_object().ok_or_else(|| Error::rules("a key group is no map"))?;
    if depth > MERGE_DEPTH_MAX {
        return Err(Error::new(
            Kind::TooLarge,
            format!("key groups are merged more than {MERGE_DEPTH_MAX} deep"),
        ));
    }
    in_scope(group)?;
    let mut all = Vec::new();
    for inner in group.get("merge").and_then(Json::as_array).into_iter().flatten() {
        all.extend(merged(inner, depth + 1)?);
    }
    all.extend(recipients(group.get("age"))?);
    let mut seen = HashSet::new();
    all.retain(|recipient| seen.insert(recipient.clone()));
    Ok(all)
}

/// A list of recipients, or a text with commas between them.
fn recipients(value: Option<&Json>) -> Result<Vec<String>> {
    let split = |text: &str| -> Vec<String> {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    match value {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::String(text)) => Ok(split(text)),
        Some(Json::Array(list)) => {
            let texts =
                list.iter().map(|item| item.as_str().ok_or_else(|| Error::rules("a recipient is no text")));
            Ok(texts.collect::<Result<Vec<_>>>()?.into_iter().flat_map(split).collect())
        }
        Some(_) => Err(Error::rules("age is neither a text nor a list of texts")),
    }
}
