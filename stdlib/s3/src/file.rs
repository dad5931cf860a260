//! Files on their way to a bucket and back.
#![allow(clippy::disallowed_methods)] // This is the disk at the near end: what it does is I/O.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hob_model::{Digest as Hash, OpError};
use hob_primitive::{Ctx, Progress};
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use crate::port::{Bucket, Object, Source};

/// How much is read from a file at a time to hash it.
const READ_BYTES: usize = 1 << 20;

/// How much of an object is fetched at a time. It is in memory until it is written.
const FETCH_BYTES: u64 = 16 << 20;

/// The note beside an object that says what its content is.
pub(crate) const SHA256: &str = "sha256";

/// Says how far a transfer is, and when it has to end.
struct Gauge<'a> {
    cx: &'a Ctx,
    message: String,
    done: u64,
    total: u64,
}

impl<'a> Gauge<'a> {
    fn new(cx: &'a Ctx, message: String, total: u64) -> Self {
        Self { cx, message, done: 0, total }
    }

    fn advance(&mut self, bytes: u64) -> Result<(), OpError> {
        go_on(self.cx)?;
        self.done += bytes;
        let (message, total) = (self.message.clone(), Some(self.total));
        self.cx.progress(Progress { message, done: self.done.min(self.total), total, bytes: true });
        Ok(())
    }
}

fn go_on(cx: &Ctx) -> Result<(), OpError> {
    if cx.cancel().is_cancelled() { Err(OpError::cancelled("cancelled")) } else { Ok(()) }
}

/// A file that is to be an object.
pub(crate) struct Sent<'a> {
    path: PathBuf,
    file: File,
    meta: Metadata,
    pub(crate) sha256: String,
    gauge: Gauge<'a>,
}

impl<'a> Sent<'a> {
    /// Opens a file and hashes it.
    ///
    /// # Errors
    /// `not_found`, `denied`, or `invalid` for what is no file.
    pub(crate) fn open(cx: &'a Ctx, path: &Path) -> Result<Self, OpError> {
        // Not to wait for the other end of a pipe.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("flags of the kernel are small");
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let file = file.map_err(|error| at(path, &error))?;
        let meta = file.metadata().map_err(|error| at(path, &error))?;
        if !meta.is_file() {
            return Err(OpError::invalid(format!("{} is no file", path.display()))
                .hint("objects are files; archive a directory first, with `files::archive`"));
        }
        let gauge = Gauge::new(cx, format!("sending {}", path.display()), meta.len());
        let mut sent = Self { path: path.to_owned(), file, meta, sha256: String::new(), gauge };
        sent.sha256 = sent.hash()?;
        Ok(sent)
    }

    fn hash(&self) -> Result<String, OpError> {
        let (mut hasher, mut buffer, mut offset) = (Sha256::new(), vec![0; READ_BYTES], 0);
        loop {
            go_on(self.gauge.cx)?;
            match self.file.read_at(&mut buffer, offset).map_err(|error| at(&self.path, &error))? {
                0 => return Ok(hex(hasher)),
                read => {
                    hasher.update(&buffer[..read]);
                    offset += read as u64;
                }
            }
        }
    }

    /// Whether this is the content of an object already.
    pub(crate) fn is(&self, object: &Object) -> bool {
        object.bytes == self.meta.len() && noted(object) == Some(self.sha256.as_str())
    }

    fn changed(&self) -> OpError {
        OpError::conflict(format!("{} was written to while it was read", self.path.display()))
            .hint("send a copy or a snapshot of what is in use")
            .retryable(true)
    }
}

impl Source for Sent<'_> {
    fn bytes(&self) -> u64 {
        self.meta.len()
    }

    fn read(&mut self, range: Range<u64>) -> Result<Bytes, OpError> {
        let length = usize::try_from(range.end - range.start).expect("parts fit into memory");
        let mut buffer = vec![0; length];
        self.file.read_exact_at(&mut buffer, range.start).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.changed(),
            _ => at(&self.path, &error),
        })?;
        // After the last part: what was sent is what was hashed.
        if range.end == self.meta.len() {
            let now = self.file.metadata().map_err(|error| at(&self.path, &error))?;
            let same =
                |one: &Metadata| (one.len(), one.mtime(), one.mtime_nsec(), one.ctime(), one.ctime_nsec());
            if same(&now) != same(&self.meta) {
                return Err(self.changed());
            }
        }
        self.gauge.advance(length as u64)?;
        Ok(buffer.into())
    }
}

/// What a note beside an object says of its content.
pub(crate) fn noted(object: &Object) -> Option<&str> {
    object.metadata.iter().find(|(name, _)| name == SHA256).map(|(_, value)| value.as_str())
}

/// Makes the file at `path` be an object: whole, checked where a note says what it is, and in one step. Its SHA-256.
///
/// # Errors
/// When it cannot be fetched or written, or is not what it was when it was written.
pub(crate) fn fetch(
    cx: &Ctx,
    from: &dyn Bucket,
    object: &Object,
    path: &Path,
    mode: u32,
) -> Result<String, OpError> {
    let part = part_of(path, cx.key());
    let written = write_part(cx, from, object, &part, mode).and_then(|hash| {
        if noted(object).is_some_and(|noted| noted != hash) {
            return Err(OpError::failed(format!("{}: the content is not what was written", object.key))
                .hint("it was damaged on the server or on its way; nothing was kept"));
        }
        std::fs::rename(&part, path).map_err(|error| at(path, &error))?;
        sync_directory(path).map_err(|error| at(path, &error))?;
        Ok(hash)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written
}

/// Where a file grows: beside its place, and the same one when a call is made again.
fn part_of(path: &Path, key: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let short: String = name.chars().take(60).collect();
    path.with_file_name(format!(".{short}.{}.part", &Hash::of(key.as_bytes()).to_string()[..12]))
}

fn write_part(
    cx: &Ctx,
    from: &dyn Bucket,
    object: &Object,
    part: &Path,
    mode: u32,
) -> Result<String, OpError> {
    let fail = |error: &io::Error| at(part, error);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(part);
    let file = file.as_mut().map_err(|error| fail(error))?;
    let (mut hasher, mut offset) = (Sha256::new(), 0);
    let mut gauge = Gauge::new(cx, format!("fetching {}", object.key), object.bytes);
    while offset < object.bytes {
        let end = object.bytes.min(offset + FETCH_BYTES);
        let content = from.get(&object.key, Some(offset..end), Some(&object.etag))?;
        hasher.update(&content);
        file.write_all(&content).map_err(|error| fail(&error))?;
        gauge.advance(end - offset)?;
        offset = end;
    }
    file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(|error| fail(&error))?;
    file.sync_all().map_err(|error| fail(&error))?;
    Ok(hex(hasher))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

pub(crate) fn sha256(content: &[u8]) -> String {
    hex(Sha256::new_with_prefix(content))
}

fn hex(hasher: Sha256) -> String {
    format!("{:x}", hasher.finalize())
}

/// The error of the file at `path`.
fn at(path: &Path, error: &io::Error) -> OpError {
    OpError::io(error, path.display())
}
