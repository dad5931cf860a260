//! Directories of agenix: age files, and beside them a `secrets.nix` that says for whom each is encrypted.

mod nix;

use crate::age::{RECIPIENTS_MAX, check_recipient};
use crate::error::{Error, Kind, Result};
use nix::{Nix, Position};

/// The name of the file with the rules.
pub const RULES_FILE: &str = "secrets.nix";
/// The most rules.
const RULES_MAX: usize = 10_000;

/// For whom one file is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The file, relative to the directory of `secrets.nix`.
    pub file: String,
    /// The recipients, each once, in the order of `secrets.nix`.
    pub recipients: Vec<String>,
    /// Whether it is armored.
    pub armor: bool,
}

/// Reads a `secrets.nix`: the part of Nix that only names things. What has to be computed is refused with its place.
///
/// # Errors
/// When it is no Nix, computes something, or is no set of rules.
pub fn parse(text: &str) -> Result<Vec<Rule>> {
    let (Nix::Set(rules), _) = nix::evaluate(text)?.value else {
        return Err(Error::rules(format!("{RULES_FILE} is no set of rules"))
            .hint("it is `{ \"secret.age\".publicKeys = [ \"age1…\" ]; }`"));
    };
    if rules.len() > RULES_MAX {
        return Err(Error::new(Kind::TooLarge, format!("{RULES_FILE} has more than {RULES_MAX} rules")));
    }
    rules.into_iter().map(|(file, (rule, at))| read(text, file, rule, at)).collect()
}

/// What a `secrets.nix` gives a name to and no rule needs, such as the key of a host that is gone; with lines and columns.
///
/// # Errors
/// As for [`parse`].
pub fn unused(text: &str) -> Result<Vec<(String, (usize, usize))>> {
    let unused = nix::evaluate(text)?.unused.into_iter();
    Ok(unused.map(|(name, at)| (name, crate::error::place(text, at))).collect())
}

fn read(text: &str, file: String, rule: Nix, at: Position) -> Result<Rule> {
    let wrong = |what: &str, at: Position| {
        Error::rules(format!("the rule for `{}`: {what}", crate::shortened(&file))).at(text, at)
    };
    // A rule for a file outside of the directory would let it write anywhere.
    let inside = !file.is_empty()
        && !file.starts_with('/')
        && file.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !inside {
        return Err(wrong("it names no file below this directory", at));
    }
    let Nix::Set(mut rule) = rule else { return Err(wrong("it is no set with `publicKeys`", at)) };
    let Some((keys, keys_at)) = rule.remove("publicKeys") else {
        return Err(wrong("it has no `publicKeys`", at));
    };
    let Nix::List(keys) = keys else { return Err(wrong("`publicKeys` is no list", keys_at)) };
    let mut recipients: Vec<String> = Vec::new();
    for (key, key_at) in keys {
        let Nix::Text(key) = key else { return Err(wrong("a public key is no text", key_at)) };
        let key = without_comment(&key);
        check_recipient(&key).map_err(|error| Error { place: None, ..error }.at(text, key_at))?;
        if !recipients.contains(&key) {
            recipients.push(key);
        }
    }
    if recipients.is_empty() || recipients.len() > RECIPIENTS_MAX {
        return Err(wrong(
            &format!("it has {} public keys; it takes 1 to {RECIPIENTS_MAX}", recipients.len()),
            keys_at,
        ));
    }
    let armor = match rule.remove("armor") {
        None => false,
        Some((Nix::Bool(armor), _)) => armor,
        Some((_, at)) => return Err(wrong("`armor` is neither true nor false", at)),
    };
    match rule.pop_first() {
        None => Ok(Rule { file, recipients, armor }),
        Some((name, (_, at))) => Err(wrong(&format!("`{}` is not known", crate::shortened(&name)), at)),
    }
}

/// An SSH public key without the name of its owner.
fn without_comment(key: &str) -> String {
    let mut parts = key.split_whitespace();
    match (parts.next(), parts.next()) {
        (Some(kind), Some(body)) if kind.contains('-') => format!("{kind} {body}"),
        _ => key.trim().to_owned(),
    }
}

/// What the nearest `secrets.nix` above an age file says of it; nothing where there is none, or none for it.
///
/// # Errors
/// When it cannot be read, or has what is not understood.
pub fn rule_of(file: &std::path::Path) -> crate::Result<Option<Rule>> {
    let Some(rules) = crate::live::above(file, RULES_FILE) else { return Ok(None) };
    let parsed = parse(&String::from_utf8_lossy(&crate::live::read(&rules)?))?;
    let directory = rules.parent().unwrap_or(&rules);
    Ok(parsed.into_iter().find(|rule| directory.join(&rule.file) == file))
}
