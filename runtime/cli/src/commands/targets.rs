//! A target of systemd for each tier: what `hob install --targets` writes, and what has them become active.
#![allow(clippy::disallowed_methods)] // It looks for unit files.

use std::path::{Path, PathBuf};

use hob_planner::Tier;
use hob_planner::declaration::OnFailure;
use serde_json::Value as Json;

use super::install::{MARK, UNIT, is_ours, unit_dir};

/// What the names of targets begin with.
const PREFIX: &str = "hob-tier-";

/// What they end with.
const SUFFIX: &str = ".target";

/// The most files of the directory that are looked through.
const FILES_MAX: usize = 1_000;

/// The name of a tier's target: all that names of tiers may hold can stand in the name of a unit.
fn name(tier: &str) -> String {
    format!("{PREFIX}{tier}{SUFFIX}")
}

/// The target of a tier: the file, and what stands in it. It is hob that starts it, when the tier is ready; it is active no
/// longer than hob, and never before the tiers that its own comes after, unless those may fail.
pub(super) fn of(dir: &Path, tier: &Tier, all: &[Tier]) -> (PathBuf, String) {
    let mut text = format!(
        "{MARK}\n[Unit]\nDescription=Services of the tier {}\nBindsTo={UNIT}\nAfter={UNIT}\n",
        tier.name
    );
    for earlier in all.iter().filter(|it| tier.after.contains(&it.name)) {
        let target = name(&earlier.name);
        text.push_str(&format!("After={target}\n"));
        if earlier.on_failure == OnFailure::Stop {
            text.push_str(&format!("Requisite={target}\n"));
        }
    }
    (dir.join(name(&tier.name)), text)
}

/// The targets that `hob install` wrote.
pub(super) fn written(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().take(FILES_MAX);
    let is_target = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(PREFIX) && name.ends_with(SUFFIX) && is_ours(path).unwrap_or_default()
    };
    entries.map(|entry| entry.path()).filter(is_target).collect()
}

/// The targets of the tiers that are ready, as `hob status` says, in the order of the tiers; none without files for them.
pub(super) fn ready(status: &Json) -> Vec<String> {
    let Ok(dir) = unit_dir(rustix::process::geteuid().is_root()) else { return Vec::new() };
    let tiers = status["tiers"].as_array().into_iter().flatten();
    let ready = tiers.filter(|tier| matches!(tier["state"].as_str(), Some("ready" | "completed")));
    let targets = ready.filter_map(|tier| tier["name"].as_str()).map(name);
    targets.filter(|target| is_ours(&dir.join(target)).unwrap_or_default()).collect()
}
