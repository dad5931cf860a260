//! Makes a snapshot in one repository.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hob_model::{Digest, OpError, Value};
use hob_primitive::Ctx;
use jiff::tz::TimeZone;
use rustic_core::repofile::{Metadata, SnapshotFile};
use rustic_core::{BackupOptions, IndexedIds, ReadSource, Repository, SnapshotOptions};

use crate::life::Life;
use crate::lock::Use;
use crate::port::Backups;
use crate::read::ReadBack;
use crate::repository::{Access, INCOMPLETE, Place, Session};
use crate::source::Report;
use crate::source::command::{Line, Output, Single};
use crate::source::exclude::Excludes;
use crate::source::walk::{self, Trees};

/// How the tag begins that says which effect made a snapshot.
const EFFECT_TAG: &str = "hob-";

/// The most tags of a snapshot.
const TAGS_MAX: usize = 100;

/// What is the same in all repositories of one call.
pub(crate) struct Order {
    pub(crate) access: Access,
    pub(crate) tags: Vec<String>,
    pub(crate) host: Option<String>,
    /// Whether a snapshot that lacks what could not be read is as good as another.
    pub(crate) tolerant: bool,
    /// What must go on until the snapshot is written.
    pub(crate) life: Option<Life>,
    pub(crate) source: Source,
}

/// What is backed up.
pub(crate) enum Source {
    /// Trees of files, as [`crate::source::walk::roots`] gives them.
    Trees { roots: Vec<PathBuf>, excludes: Excludes },
    /// What a program writes, under this path.
    Program { path: PathBuf, line: Line },
}

/// The tag that a snapshot of this effect has: by it a call that a crash cut off finds what it made.
pub(crate) fn effect_tag(cx: &Ctx) -> String {
    format!("{EFFECT_TAG}{}", Digest::of(cx.key().as_bytes()).short())
}

/// Refuses tags that repositories cannot keep.
///
/// # Errors
/// `invalid`, with the tag.
pub(crate) fn check_tags(tags: &[String]) -> Result<(), OpError> {
    if tags.len() > TAGS_MAX {
        return Err(OpError::invalid(format!("more than {TAGS_MAX} tags")));
    }
    let bad = |tag: &&String| tag.trim().is_empty() || tag.contains([',', '\0', '\n']);
    match tags.iter().find(bad) {
        Some(tag) => Err(OpError::invalid(format!("`{tag}` is no tag"))
            .hint("a tag is not empty and has no comma, which restic separates tags with")),
        None => Ok(()),
    }
}

impl Order {
    /// Looks whether there is what is to be backed up.
    ///
    /// # Errors
    /// `not_found` when a path is not there.
    pub(crate) fn look(&self) -> Result<(), OpError> {
        match &self.source {
            Source::Trees { roots, .. } => walk::look(roots),
            Source::Program { .. } => Ok(()),
        }
    }

    /// The snapshot that this very effect made in a repository before, where it did.
    pub(crate) fn made(&self, cx: &Ctx, place: &Place) -> Result<Option<Value>, OpError> {
        let session = Session::open(cx, place, &self.access, Use::Reading, "looking at")?;
        self.adopt(cx, &session)
    }

    fn adopt(&self, cx: &Ctx, session: &Session) -> Result<Option<Value>, OpError> {
        let tag = effect_tag(cx);
        let made = session.snapshots()?.into_iter().rfind(|it| it.tags.contains(&tag));
        let Some(made) = made.filter(|it| self.tolerant || !it.tags.contains(INCOMPLETE)) else {
            return Ok(None);
        };
        Ok(Some(told(session, &made, &Report::default())))
    }

    /// Makes a snapshot.
    ///
    /// # Errors
    /// Those of [`Session::open`], what ended the source, and `failed` when the snapshot lacks something.
    pub(crate) fn take(&self, cx: &Ctx, place: &Place) -> Result<Value, OpError> {
        let session = Session::open(cx, place, &self.access, Use::Shared, "backing up to")?;
        if let Some(made) = self.adopt(cx, &session)? {
            return Ok(made);
        }
        self.life.iter().try_for_each(|life| life.check(cx))?;
        session.watch.withhold(true);
        let report = Report::default();
        let mut snapshot = match &self.source {
            Source::Trees { roots, excludes } => {
                let (watch, notes) = (Arc::clone(&session.watch), report.clone());
                let trees = Trees::new(roots.clone(), excludes.clone(), notes, watch);
                let repo = session.indexed(Repository::to_indexed_ids)?;
                self.archive(cx, &session, &repo, &trees, roots)?
            }
            Source::Program { path, line } => self.archive_program(cx, &session, path, line)?,
        };
        session.watch.check()?;
        self.life.iter().try_for_each(|life| life.check(cx))?;
        let lacks = report.lacks();
        if lacks.is_some() {
            snapshot.tags.add(INCOMPLETE.to_owned());
        }
        session.watch.withhold(false);
        let saved = session.repo.save_snapshots(vec![snapshot.clone()]);
        saved.map_err(|error| session.explain(&error))?;
        let id = session.watch.take_written().pop().and_then(|id| id.parse::<rustic_core::Id>().ok());
        snapshot.id = id.unwrap_or_default().into();
        let told = told(&session, &snapshot, &report);
        match lacks.filter(|_| !self.tolerant) {
            Some((count, first)) => {
                let text =
                    format!("{}: the snapshot lacks {count} entries, such as {first}", session.location);
                Err(OpError::failed(text)
                    .hint(
                        "it is kept, with the tag `incomplete`; leave out what cannot be read with `exclude`",
                    )
                    .detail("snapshot", told))
            }
            None => Ok(told),
        }
    }

    fn archive<S: IndexedIds, R>(
        &self,
        cx: &Ctx,
        session: &Session,
        repo: &Repository<S>,
        source: &R,
        paths: &[PathBuf],
    ) -> Result<SnapshotFile, OpError>
    where
        R: ReadSource + 'static,
        R::Open: Send,
        R::Iter: Send,
    {
        let owner = cx.port::<dyn Backups>()?.owner();
        let mut options = SnapshotOptions::default();
        options.host = Some(self.host.clone().unwrap_or(owner.hostname));
        options.time = Some(cx.now().to_zoned(TimeZone::system()));
        // Otherwise the library records how hob was started.
        options.command = Some("hob".to_owned());
        let made = options.to_snapshot().and_then(|mut snapshot| {
            snapshot.program_version = concat!("hob ", env!("CARGO_PKG_VERSION")).to_owned();
            (snapshot.username, snapshot.uid, snapshot.gid) = (owner.username, owner.uid, owner.gid);
            let tags: BTreeSet<String> = self.tags.iter().cloned().chain([effect_tag(cx)]).collect();
            tags.into_iter().for_each(|tag| snapshot.tags.add(tag));
            let mut options = BackupOptions::default();
            options.no_scan = true;
            repo.archive(&options, source, snapshot, paths)
        });
        made.map_err(|error| session.explain(&error))
    }

    /// Puts what a program writes into the repository, reads it back, and only then describes it: restic restores a file with
    /// as many bytes as its entry says, and how many come is known at the end.
    fn archive_program(
        &self,
        cx: &Ctx,
        session: &Session,
        path: &Path,
        line: &Line,
    ) -> Result<SnapshotFile, OpError> {
        let output = Output::start(line, &session.watch)?;
        let now = Some(cx.now());
        let mut meta =
            Metadata { mode: Some(0o600), mtime: now, atime: now, ctime: now, ..Metadata::default() };
        let source = Single::new(path, meta.clone(), output);
        let paths = [path.to_owned()];
        let repo = session.indexed(Repository::to_indexed_ids)?;
        let first = self.archive(cx, session, &repo, &source, &paths)?;
        session.watch.check()?;
        let repo = Arc::new(session.indexed(Repository::to_indexed)?);
        let text = path.to_str().expect("it was made of a text");
        let node = repo.node_from_snapshot_and_path(&first, text).map_err(|error| session.explain(&error))?;
        let content = node.content.unwrap_or_default();
        for id in &content {
            let entry = repo.get_index_entry(id).map_err(|error| session.explain(&error))?;
            meta.size += u64::from(entry.data_length());
        }
        let back = ReadBack::new(&repo, content, &session.watch);
        let mut second = self.archive(cx, session, &*repo, &Single::new(path, meta, back), &paths)?;
        // What was added, the first pass added.
        second.summary = first.summary;
        Ok(second)
    }
}

/// What a result says of a snapshot.
fn told(session: &Session, snapshot: &SnapshotFile, report: &Report) -> Value {
    let summary = snapshot.summary.clone().unwrap_or_default();
    let mut facts = vec![
        ("repository", Value::from(session.location.to_string())),
        ("snapshot", Value::from(snapshot.id.to_hex().as_str())),
        ("time", Value::from(snapshot.time.timestamp().to_string())),
        ("complete", Value::from(!snapshot.tags.contains(INCOMPLETE))),
        ("files", Value::from(summary.total_files_processed)),
        ("files_new", Value::from(summary.files_new)),
        ("files_changed", Value::from(summary.files_changed)),
        ("bytes", Value::from(summary.total_bytes_processed)),
        ("bytes_added", Value::from(summary.data_added_packed)),
    ];
    facts.extend(report.told());
    Value::map(facts)
}
