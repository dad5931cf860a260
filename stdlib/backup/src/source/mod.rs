//! What is backed up: trees of files, and what programs write.
//!
//! The library passes over what it cannot read, with a line in its log. So all that is read goes through here, where it is
//! noted: a backup that lacks something says so.

pub(crate) mod command;
pub(crate) mod exclude;
pub(crate) mod node;
pub(crate) mod walk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hob_model::Value;

/// The most paths of one list of a result.
const NAMED_MAX: usize = 1000;

/// The most paths that are named for one reason to leave things out.
const EXAMPLES_MAX: usize = 5;

/// What was left out for one reason.
#[derive(Debug, Default)]
struct Left {
    entries: u64,
    examples: Vec<PathBuf>,
}

/// What is known of a source afterwards.
#[derive(Debug, Default)]
struct Notes {
    unread: Vec<(PathBuf, String)>,
    unread_entries: u64,
    changed: Vec<PathBuf>,
    vanished: u64,
    left: BTreeMap<String, Left>,
}

/// Takes notes while a source is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report(Arc<Mutex<Notes>>);

impl Report {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is there and cannot be read: the backup lacks it.
    fn unread(&self, path: &Path, reason: impl Into<String>) {
        let mut notes = self.notes();
        notes.unread_entries += 1;
        if notes.unread.len() < NAMED_MAX {
            notes.unread.push((path.to_owned(), reason.into()));
        }
    }

    /// It changed while it was read.
    fn changed(&self, path: &Path) {
        let mut notes = self.notes();
        if notes.changed.len() < NAMED_MAX {
            notes.changed.push(path.to_owned());
        }
    }

    /// It was gone before it was read, as files come and go.
    fn vanished(&self) {
        self.notes().vanished += 1;
    }

    /// It is left out on purpose.
    fn excluded(&self, path: &Path, reason: &str) {
        let mut notes = self.notes();
        let left = notes.left.entry(reason.to_owned()).or_default();
        left.entries += 1;
        if left.examples.len() < EXAMPLES_MAX {
            left.examples.push(path.to_owned());
        }
    }

    /// How many things the backup lacks, and the first of them.
    pub(crate) fn lacks(&self) -> Option<(u64, String)> {
        let notes = self.notes();
        let (path, reason) = notes.unread.first()?;
        Some((notes.unread_entries, format!("{}: {reason}", path.display())))
    }

    /// What a result says of it.
    pub(crate) fn told(&self) -> Vec<(&'static str, Value)> {
        let notes = self.notes();
        let text = |path: &PathBuf| Value::from(path.to_string_lossy().into_owned());
        let unread = notes.unread.iter().map(|(path, reason)| {
            Value::map([("path", text(path)), ("reason", Value::from(reason.as_str()))])
        });
        let excluded = notes.left.iter().map(|(reason, left)| {
            Value::map([
                ("reason", Value::from(reason.as_str())),
                ("entries", Value::from(left.entries)),
                ("examples", Value::Array(left.examples.iter().map(text).collect())),
            ])
        });
        vec![
            ("unread", Value::Array(unread.collect())),
            ("changed", Value::Array(notes.changed.iter().map(text).collect())),
            ("vanished", Value::from(notes.vanished)),
            ("excluded", Value::Array(excluded.collect())),
        ]
    }
}
