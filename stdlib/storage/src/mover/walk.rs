//! All files below a directory of a tier.

use std::io;
use std::path::{Path, PathBuf};

use hob_model::OpError;

use super::select::Found;
use super::{Gauge, Skipped, Why, place};
use crate::tier::{Kind, Tier};

/// The most entries that one call looks at.
const ENTRIES_MAX: usize = 1_000_000;

/// How deep directories may nest.
const DEPTH_MAX: usize = 256;

/// What is below `at`, and what could not be looked at; a directory comes before what is in it. The mover's own is only seen
/// where `at` is in it.
///
/// # Errors
/// When `at` itself cannot be read, there is too much, or the gauge ends it.
pub fn walk(
    tier: &dyn Tier,
    at: &Path,
    gauge: &mut dyn Gauge,
) -> Result<(Vec<Found>, Vec<Skipped>), OpError> {
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    let device = tier.identity().0;
    let mut pending = vec![(at.to_owned(), 0)];
    while let Some((dir, depth)) = pending.pop() {
        gauge.check()?;
        let mut names = match tier.list(&dir) {
            Ok(names) => names,
            Err(error) if depth == 0 => return Err(OpError::io(&error, tier.path().join(&dir).display())),
            Err(error) => {
                skipped.push(Skipped { path: dir, why: Why::Unread, reason: unread(&error) });
                continue;
            }
        };
        names.sort_unstable();
        for name in names {
            let path: PathBuf = dir.join(name);
            if place::is_own(&path) && !place::is_own(at) {
                continue;
            }
            let meta = match tier.stat(&path) {
                Ok(meta) => meta,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // it went away meanwhile
                Err(error) => {
                    skipped.push(Skipped { path, why: Why::Unread, reason: unread(&error) });
                    continue;
                }
            };
            if found.len() >= ENTRIES_MAX {
                let text = format!("{} holds more than {ENTRIES_MAX} entries", tier.path().display());
                return Err(OpError::invalid(text).hint("take a directory further down"));
            }
            if meta.kind == Kind::Directory {
                if meta.device != device {
                    let reason = "another file system is mounted there".to_owned();
                    skipped.push(Skipped { path, why: Why::NoFile, reason });
                    continue;
                }
                if depth + 1 > DEPTH_MAX {
                    skipped.push(Skipped {
                        path,
                        why: Why::Unread,
                        reason: format!("more than {DEPTH_MAX} directories deep"),
                    });
                    continue;
                }
                pending.push((path.clone(), depth + 1));
            }
            found.push(Found { path, meta });
        }
    }
    Ok((found, skipped))
}

fn unread(error: &io::Error) -> String {
    format!("it cannot be read: {error}")
}
