//! What stands between the library and the files of a repository.
//!
//! The library goes on after errors that must end a backup, and knows neither time limits nor cancels. The guard sees all that
//! it reads and writes: after a write that failed nothing more is written, no snapshot least of all; and a snapshot is withheld
//! until its source is known to be whole.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hob_model::OpError;
use hob_primitive::{Ctx, Progress};
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};
use sha2::{Digest as _, Sha256};

use crate::port::{Area, Backups, Store};

/// How many bytes go by between two reports of progress.
const REPORT_BYTES: u64 = 8 << 20;

/// Ends a long operation, and remembers why.
pub(crate) struct Watch {
    cx: Ctx,
    backups: Arc<dyn Backups>,
    begun: Duration,
    message: String,
    /// Why nothing more is written.
    ended: Mutex<Option<OpError>>,
    /// The last error of the repository's files, which the library wraps in words of its own.
    last: Mutex<Option<OpError>>,
    withholds: AtomicBool,
    /// The snapshots that were written.
    written: Mutex<Vec<String>>,
    done: Mutex<(u64, u64)>,
}

impl Watch {
    pub(crate) fn new(cx: &Ctx, backups: &Arc<dyn Backups>, message: String) -> Self {
        Self {
            cx: cx.clone(),
            begun: backups.elapsed(),
            backups: Arc::clone(backups),
            message,
            ended: Mutex::default(),
            last: Mutex::default(),
            withholds: AtomicBool::default(),
            written: Mutex::default(),
            done: Mutex::default(),
        }
    }

    pub(crate) fn cx(&self) -> &Ctx {
        &self.cx
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// `cancelled`, `timeout`, or what ended it before.
    pub(crate) fn check(&self) -> Result<(), OpError> {
        if let Some(error) = &*self.ended.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(error.clone());
        }
        if self.cx.cancel().is_cancelled() {
            return Err(OpError::cancelled(format!("{}: cancelled", self.message)));
        }
        let spent = self.backups.elapsed().saturating_sub(self.begun);
        if self.cx.timeout().is_some_and(|timeout| spent >= timeout) {
            return Err(OpError::timeout(format!("{}: its time is over", self.message)).hint(
                "what is in the repository already is not sent again; `timeout` sets how long it may take",
            ));
        }
        Ok(())
    }

    /// Has nothing more written, for the first reason that is given.
    pub(crate) fn end(&self, error: OpError) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// Keeps snapshots from being written, or no longer.
    pub(crate) fn withhold(&self, withholds: bool) {
        self.withholds.store(withholds, Ordering::SeqCst);
    }

    /// The ids of the snapshots that were written since this was asked last.
    pub(crate) fn take_written(&self) -> Vec<String> {
        std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says how many bytes were read from the source or restored.
    pub(crate) fn advance(&self, bytes: u64) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.0 += bytes;
        if done.0 - done.1 >= REPORT_BYTES {
            done.1 = done.0;
            let message = self.message.clone();
            self.cx.progress(Progress { message, done: done.0, total: None, bytes: true });
        }
    }

    /// The error of the library, as scripts see it: what it came from, where that is known.
    pub(crate) fn explain(&self, error: &RusticError) -> OpError {
        if let Err(ended) = self.check() {
            return ended;
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).take();
        last.unwrap_or_else(|| crate::explain::explain(error))
    }

    /// Whether the files of the repository failed last.
    pub(crate) fn has_failed(&self) -> bool {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn note<T>(&self, result: Result<T, OpError>) -> RusticResult<T> {
        result.map_err(|error| {
            let told = RusticError::new(ErrorKind::Backend, error.message.clone());
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            told
        })
    }
}

/// The files of a repository, as the library reaches them.
pub(crate) struct Guard {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) location: String,
}

fn area(kind: FileType) -> Area {
    match kind {
        FileType::Config => Area::Config,
        FileType::Key => Area::Keys,
        FileType::Snapshot => Area::Snapshots,
        FileType::Index => Area::Index,
        FileType::Pack => Area::Data,
    }
}

/// Whether the name of a file is the hash of its content.
fn is_intact(name: &str, content: &[u8]) -> bool {
    let hash = Sha256::digest(content);
    name.len() == 2 * hash.len()
        && name.as_bytes().chunks(2).zip(hash).all(|(text, byte)| text == format!("{byte:02x}").as_bytes())
}

impl ReadBackend for Guard {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let listed = self.watch.note(self.watch.check().and_then(|()| self.store.list(area(kind))))?;
        if kind == FileType::Config {
            // It has no id: the library wants one all the same.
            return Ok(listed.iter().map(|(_, size)| (Id::default(), small(*size))).collect());
        }
        let of_name = |(name, size): &(String, u64)| Some((name.parse().ok()?, small(*size)));
        Ok(listed.iter().filter_map(of_name).collect())
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        let name = id.to_hex();
        let read = || {
            self.watch.check()?;
            let content = self.store.read(area(kind), name.as_str(), None)?;
            // Packs are proved by whoever reads them whole, which is `check` alone, with a message of its own.
            if matches!(kind, FileType::Config | FileType::Pack) || is_intact(name.as_str(), &content) {
                return Ok(content);
            }
            Err(OpError::failed(format!("{}/{} of {} is damaged", area(kind).as_str(), name.as_str(), self.location))
                .hint("its content is not what its name says: the disk may fail; `backup::check` tells what is left"))
        };
        self.watch.note(read())
    }

    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        _cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        let range = u64::from(offset)..u64::from(offset) + u64::from(length);
        let read = |()| self.store.read(area(kind), id.to_hex().as_str(), Some(range));
        self.watch.note(self.watch.check().and_then(read))
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        format!("{}/{}", area(kind).as_str(), id.to_hex().as_str())
    }
}

/// The size of a file; those of a repository stay far below 4 GiB.
fn small(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

impl WriteBackend for Guard {
    fn create(&self) -> RusticResult<()> {
        self.watch.note(self.watch.check().and_then(|()| self.store.create()))
    }

    fn write_bytes(&self, kind: FileType, id: &Id, _cacheable: bool, content: BytesList) -> RusticResult<()> {
        let name = id.to_hex();
        let write = || {
            self.watch.check()?;
            if kind == FileType::Snapshot && self.watch.withholds.load(Ordering::SeqCst) {
                return Ok(());
            }
            self.store.write(area(kind), name.as_str(), content.slice())?;
            if kind == FileType::Snapshot {
                let mut written = self.watch.written.lock().unwrap_or_else(PoisonError::into_inner);
                written.push(name.as_str().to_owned());
            }
            Ok(())
        };
        let written: Result<(), OpError> = write();
        if let Err(error) = &written {
            self.watch.end(error.clone());
        }
        self.watch.note(written)
    }

    fn remove(&self, kind: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        let remove = |()| self.store.remove(area(kind), id.to_hex().as_str());
        self.watch.note(self.watch.check().and_then(remove))
    }
}
