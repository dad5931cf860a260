//! What an I/O error means to a person, and when to stop.

use std::io;
use std::path::Path;

use hob_model::{ErrorKind, OpError, Timestamp};
use hob_primitive::{Ctx, Progress};
use rustix::io::Errno;

use crate::port::{FilesPort, Meta};

/// The error of a call on `path`.
pub(crate) fn fault(error: &io::Error, path: &Path) -> OpError {
    let mut it = OpError::io(error, path.display());
    let (wrong, hint) = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::LOOP) => (true, "its symbolic links form a loop"),
        Some(Errno::NAMETOOLONG) => (true, "a name may have 255 bytes, a path 4096"),
        Some(Errno::XDEV) => (true, "it is on another file system: use files::copy, then files::remove"),
        Some(Errno::DQUOT) => (false, "the quota is used up: free some space and try again"),
        Some(Errno::TXTBSY) => (false, "a program runs from it"),
        Some(Errno::MFILE | Errno::NFILE) => (false, "too many files are open"),
        Some(Errno::IO) => (false, "the disk does not answer as it should: look at the kernel's log"),
        Some(Errno::STALE) => (false, "the network file system went away: mount it again"),
        _ => return it,
    };
    if wrong {
        it.kind = ErrorKind::Invalid;
    }
    it.hint(hint)
}

/// The error of a call that makes `path`; a missing parent is named, with its cure.
pub(crate) fn fault_making(error: &io::Error, path: &Path) -> OpError {
    let it = fault(error, path);
    match (error.kind(), path.parent()) {
        (io::ErrorKind::NotFound, Some(parent)) => {
            OpError::not_found(format!("{}: there is no directory {}", path.display(), parent.display()))
                .hint("`mkdir: true` makes it")
        }
        _ => it,
    }
}

/// Whether there is nothing at a path.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The error of a name that is taken.
pub(crate) fn in_the_way(path: &Path) -> OpError {
    OpError::conflict(format!("{} is there already", path.display()))
}

/// What a dry run sees at `path`: nothing where an effect that it left out would have made something.
pub(crate) fn seen(port: &dyn FilesPort, path: &Path, follow: bool) -> Result<Option<Meta>, OpError> {
    match port.stat(path, follow) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(fault(&error, path)),
    }
}

/// Says when a blocking operation has to stop, and tells how far it is.
pub(crate) struct Watch {
    cx: Ctx,
    message: String,
    until: Option<Timestamp>,
    done: u64,
    told: u64,
    total: Option<u64>,
}

/// How many bytes go by between two reports of progress.
const REPORT_BYTES: u64 = 8 * 1024 * 1024;

impl Watch {
    /// One for an operation that begins now.
    pub(crate) fn new(cx: &Ctx, message: String, total: Option<u64>) -> Self {
        let until = cx.timeout().and_then(|timeout| cx.now().checked_add(timeout).ok());
        Self { cx: cx.clone(), message, until, done: 0, told: 0, total }
    }

    /// Whether there is a reason to stop.
    pub(crate) fn check(&self) -> Result<(), OpError> {
        if self.cx.cancel().is_cancelled() {
            return Err(OpError::cancelled(format!("{}: cancelled", self.message)));
        }
        if self.until.is_some_and(|until| self.cx.now() >= until) {
            return Err(OpError::timeout(format!("{}: its time is over", self.message))
                .hint("`timeout` sets how long it may take"));
        }
        Ok(())
    }

    /// Counts bytes, reports now and then, and checks.
    pub(crate) fn bytes(&mut self, count: u64) -> Result<(), OpError> {
        self.done += count;
        if self.done - self.told >= REPORT_BYTES {
            self.told = self.done;
            self.cx.progress(Progress {
                message: self.message.clone(),
                done: self.done,
                total: self.total,
                bytes: true,
            });
        }
        self.check()
    }

    /// How many bytes were counted.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }
}
