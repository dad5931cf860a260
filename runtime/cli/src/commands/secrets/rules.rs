//! `hob secrets lint` of `.sops.yaml` and `secrets.nix`: rules without a file, and recipients that nobody needs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hob_std_secrets::agenix::{self, RULES_FILE};
use hob_std_secrets::live;
use hob_std_secrets::sops::{self, CONFIG_FILE, Finding, Format};

use super::{failure, target};
use crate::context::{Failure, absolute};

/// The largest file that is looked at for whether rules count for it, in bytes: below a homelab lies what services write.
const LOOKED_AT_BYTES_MAX: usize = 4 << 20;

/// The files with rules that count in a homelab: in its directory, beside its secrets, and above both, where they are found
/// as `sops` finds them.
pub(super) fn beside<'a>(directory: &Path, files: impl Iterator<Item = &'a Path>) -> BTreeSet<PathBuf> {
    let places: Vec<PathBuf> = files.map(Path::to_path_buf).chain([directory.join(CONFIG_FILE)]).collect();
    let above = |name| places.iter().filter_map(move |file| live::above(file, name));
    above(CONFIG_FILE).chain(above(RULES_FILE)).collect()
}

/// As [`unused`], for rules that count in the homelab of `directory`. What lies above it may be for others too, whose files
/// are looked at only where one repository holds all of them.
pub(super) fn unused_in(directory: &Path, rules: &Path) -> Result<Vec<(PathBuf, Finding)>, Failure> {
    let rules_at = rules.parent().unwrap_or(rules);
    let is_own = rules.starts_with(directory)
        || live::repository(directory).is_some_and(|it| rules_at.starts_with(it));
    if is_own || target::is_rules(rules) {
        return unused(rules);
    }
    target::config(rules)?;
    let message = "it lies above the homelab and in no repository with it: whether all its rules are needed was not looked at";
    Ok(vec![(rules.to_path_buf(), Finding::note(message))])
}

/// What nobody needs in a file with rules, whichever it is.
pub(super) fn unused(rules: &Path) -> Result<Vec<(PathBuf, Finding)>, Failure> {
    match target::is_rules(rules) {
        true => unused_of_agenix(rules),
        false => unused_of_sops(rules),
    }
}

fn unused_of_agenix(rules: &Path) -> Result<Vec<(PathBuf, Finding)>, Failure> {
    let missing = target::agenix(rules)?.into_iter().map(|(path, _)| path).filter(|path| !path.exists());
    let mut all: Vec<_> =
        missing.map(|path| (path, Finding::note("there is a rule for this file, and no file"))).collect();
    let text = String::from_utf8_lossy(&super::read(rules)?).into_owned();
    let names = agenix::unused(&text).map_err(|error| failure(error, Some(rules)))?;
    all.extend(names.into_iter().map(|(name, (line, _))| {
        (rules.to_path_buf(), Finding::note(format!("line {line}: no rule needs `{name}`")))
    }));
    Ok(all)
}

fn unused_of_sops(rules: &Path) -> Result<Vec<(PathBuf, Finding)>, Failure> {
    let failed = |error| failure(error, Some(rules));
    let config = target::config(rules)?;
    let place = absolute(rules);
    let directory = place.parent().unwrap_or(&place);
    let below = match live::files_below(directory) {
        Ok(files) => files,
        // Such as a directory of a service that only it may enter: the rest of the lint does not depend on it.
        Err(error) => {
            let message = format!("which rules count was not looked at: {}", error.message);
            return Ok(vec![(rules.to_path_buf(), Finding::note(message))]);
        }
    };
    let relative = |file: &PathBuf| Some(file.strip_prefix(directory).ok()?.to_str()?.to_owned());
    let paths: Vec<String> = below.iter().filter_map(relative).collect();
    // What cannot be read now is none of the files that the rules are for.
    let is_encrypted = |path: &str| {
        let content = live::read_at_most(&directory.join(path), LOOKED_AT_BYTES_MAX);
        content.is_ok_and(|content| sops::is_sops(&content, Format::of_name(path)))
    };
    let findings = config.unused(paths.iter().map(String::as_str), is_encrypted).map_err(failed)?;
    Ok(findings.into_iter().map(|finding| (rules.to_path_buf(), finding)).collect())
}
