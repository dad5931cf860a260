//! Proves that a snapshot can be restored, by restoring it.
#![allow(clippy::disallowed_methods)] // This is the adapter to the scratch directory.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hob_model::{Digest, OpError, Value};
use hob_primitive::Room;
use rusqlite::{Connection, OpenFlags};
use rustic_core::repofile::SnapshotFile;
use rustic_core::{IndexedFullStatus, Repository};

use crate::repository::Session;
use crate::source::command::{Line, Output};
use crate::target::{Filter, Manner, Target, plan};

/// How a file begins that is a database of SQLite (<https://www.sqlite.org/fileformat.html>).
const SQLITE: &[u8] = b"SQLite format 3\0";

/// How the names of scratch directories begin.
const SCRATCH: &str = "hob-verify-";

/// The most databases that one drill checks.
const DATABASES_MAX: u64 = 10_000;

/// What proves a restored snapshot, beside its hashes.
pub(crate) struct Proof {
    pub(crate) sqlite: bool,
    pub(crate) command: Option<Vec<String>>,
}

/// One drill.
pub(crate) struct Drill<'a> {
    pub(crate) session: &'a Session,
    pub(crate) repo: &'a Repository<IndexedFullStatus>,
    /// Where scratch directories are made.
    pub(crate) scratch: PathBuf,
    pub(crate) proof: Proof,
}

/// A directory that goes with its owner.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays, the next drill of the same effect removes.
        let _ = remove(&self.0);
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Drill<'_> {
    /// Restores, proves and removes.
    ///
    /// # Errors
    /// `failed` when a proof fails; those of a restore.
    pub(crate) fn run(&self, snapshot: &SnapshotFile, at: &str) -> Result<Value, OpError> {
        let key = Digest::of(self.session.watch.cx().key().as_bytes()).short();
        let root = self.scratch.join(format!("{SCRATCH}{key}"));
        remove(&root).map_err(|error| OpError::io(&error, root.display()))?;
        let scratch = Scratch(root.clone());
        make_private(&root)?;
        let manner = Manner { thorough: false, delete: false, verify: true, owners: false };
        let target = Target { session: self.session, repo: self.repo, root, manner };
        let planned = plan(&target, snapshot, at, &Filter::default())?;
        let restored = target.carry_out(&planned)?;
        let databases = if self.proof.sqlite { self.check_databases(&scratch.0)? } else { 0 };
        if let Some(command) = &self.proof.command {
            self.check_by(command, &scratch.0)?;
        }
        let fact = |key: &str| restored.get(key).cloned().unwrap_or_default();
        Ok(Value::map([
            ("repository", Value::from(self.session.location.to_string())),
            ("snapshot", Value::from(snapshot.id.to_hex().as_str())),
            ("time", Value::from(snapshot.time.timestamp().to_string())),
            ("files", fact("files")),
            ("bytes", fact("bytes")),
            ("sqlite", Value::from(databases)),
            ("command", Value::from(self.proof.command.is_some())),
        ]))
    }

    /// Checks each database of SQLite below `root`; how many there are.
    fn check_databases(&self, root: &Path) -> Result<u64, OpError> {
        let mut found = 0;
        let mut directories = vec![root.to_owned()];
        while let Some(directory) = directories.pop() {
            let failed = |error: io::Error| OpError::io(&error, directory.display());
            for entry in fs::read_dir(&directory).map_err(failed)? {
                self.session.watch.check()?;
                let entry = entry.map_err(failed)?;
                let kind = entry.file_type().map_err(failed)?;
                if kind.is_dir() {
                    directories.push(entry.path());
                } else if kind.is_file() && is_database(&entry.path()) && found < DATABASES_MAX {
                    check_database(&entry.path(), entry.path().strip_prefix(root).unwrap_or(Path::new("")))?;
                    found += 1;
                }
            }
        }
        Ok(found)
    }

    fn check_by(&self, command: &[String], root: &Path) -> Result<(), OpError> {
        if command.is_empty() {
            return Err(OpError::invalid("`command` is empty"));
        }
        let (words, cwd) = (command.to_vec(), root.to_owned());
        let line = Line { words, env: Vec::new(), user: None, cwd, room: Room::Host };
        let done = io::copy(&mut Output::start(&line, &self.session.watch)?, &mut io::sink());
        self.session.watch.check()?;
        done.map(drop).map_err(|error| OpError::failed(error.to_string()))
    }
}

/// Nobody else reads what is restored for a proof.
fn make_private(root: &Path) -> Result<(), OpError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(root);
    made.map_err(|error| OpError::io(&error, root.display()))
}

fn is_database(path: &Path) -> bool {
    let mut begin = [0; SQLITE.len()];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && begin == *SQLITE
}

fn check_database(path: &Path, told_as: &Path) -> Result<(), OpError> {
    let checked = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .and_then(|open| open.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0)));
    let reason = match checked {
        Ok(text) if text == "ok" => return Ok(()),
        Ok(text) => text,
        Err(error) => error.to_string(),
    };
    Err(OpError::failed(format!("the database {} is damaged: {reason}", told_as.display())).hint(
        "it was copied while it was written to, or was damaged before: back it up by a dump of its own, with `backup::stream`",
    ))
}
