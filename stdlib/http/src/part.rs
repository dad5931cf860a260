//! The disk of a download: a part file that becomes the target in one step.
#![allow(clippy::disallowed_methods)] // this is the adapter for the disk

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hob_model::OpError;
use hob_primitive::Mode;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use crate::options::hex;

/// How much is read at once for a checksum.
const CHUNK_BYTES: usize = 256 << 10;

/// The longest note beside a part file that is believed.
const NOTE_BYTES_MAX: u64 = 64 << 10;

/// What identifies the version that a part belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    /// The SHA-256 of the address: addresses may hold secrets.
    pub(crate) source: String,
    /// A strong `ETag`, or `Last-Modified`: what `If-Range` takes.
    pub(crate) validator: String,
}

/// A part file, locked against other downloads. Unless it is to be kept, it goes when this does.
pub(crate) struct Part {
    file: tokio::fs::File,
    path: PathBuf,
    note_path: PathBuf,
    target: PathBuf,
    keep: bool,
    done: bool,
}

impl Part {
    /// Opens or makes the part file of `target`.
    pub(crate) fn open(target: &Path, keep: bool) -> Result<Self, OpError> {
        let named = target.parent().zip(target.file_name());
        let (parent, name) =
            named.ok_or_else(|| OpError::invalid(format!("{} is no file", target.display())))?;
        if target.is_dir() {
            return Err(
                OpError::invalid(format!("{} is a directory", target.display())).hint("name the file in it")
            );
        }
        let path = parent.join(format!(".{}.hob-part", name.to_string_lossy()));
        // A link that somebody else put there is not followed.
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let opened = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(no_follow)
            .open(&path);
        let file = opened.map_err(|error| {
            let it = OpError::io(&error, path.display()).nothing_happened();
            match error.kind() {
                ErrorKind::NotFound => it.hint(format!("make the directory {} first", parent.display())),
                _ => it,
            }
        })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(taken(target)),
            Err(fs::TryLockError::Error(error)) => return Err(OpError::io(&error, path.display())),
        }
        // Another download may have made this very file its target between opening and locking.
        let inode = |metadata: std::io::Result<fs::Metadata>| metadata.ok().map(|it| (it.dev(), it.ino()));
        if inode(file.metadata()) != inode(fs::symlink_metadata(&path)) {
            return Err(taken(target));
        }
        let note_path = path.with_extension("hob-part.note");
        Ok(Self { file: file.into(), path, note_path, target: target.to_owned(), keep, done: false })
    }

    /// How much is there of the version that `source` had, and what identifies it; `None` when nothing can be used.
    pub(crate) async fn resumable(&self, source: &str) -> Option<(u64, Note)> {
        let length = self.file.metadata().await.ok()?.len();
        let mut text = String::new();
        fs::File::open(&self.note_path).ok()?.take(NOTE_BYTES_MAX).read_to_string(&mut text).ok()?;
        let (noted, validator) = text.trim_end().split_once('\n')?;
        let note = Note { source: noted.to_owned(), validator: validator.to_owned() };
        (length > 0 && noted == source && !validator.is_empty()).then_some((length, note))
    }

    /// Empties the part and notes which version comes now.
    pub(crate) async fn restart(&mut self, note: &Note) -> Result<(), OpError> {
        // The note goes first: old bytes with a new note would be taken for the new version.
        remove_if_there(&self.note_path).map_err(|error| OpError::io(&error, self.note_path.display()))?;
        self.file.set_len(0).await.map_err(|error| self.refused(&error))?;
        self.file.rewind().await.map_err(|error| self.refused(&error))?;
        if !note.validator.is_empty() {
            let text = format!("{}\n{}\n", note.source, note.validator);
            fs::write(&self.note_path, text)
                .map_err(|error| OpError::io(&error, self.note_path.display()))?;
        }
        Ok(())
    }

    /// Goes to the end of what is there.
    pub(crate) async fn append(&mut self) -> Result<(), OpError> {
        let moved = self.file.seek(std::io::SeekFrom::End(0)).await;
        moved.map(drop).map_err(|error| self.refused(&error))
    }

    /// Writes what arrived.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), OpError> {
        self.file.write_all(bytes).await.map_err(|error| self.refused(&error))
    }

    /// Waits until all is handed to the system.
    pub(crate) async fn settle(&mut self) -> Result<(), OpError> {
        self.file.flush().await.map_err(|error| self.refused(&error))
    }

    /// The SHA-256 of the whole file, read back.
    pub(crate) async fn checksum(&self) -> Result<String, OpError> {
        sha256_of(&self.path).await
    }

    /// Makes it the target: on disk first, then by one rename.
    pub(crate) async fn finish(mut self, mode: Option<Mode>) -> Result<(), OpError> {
        if let Some(Mode(bits)) = mode {
            let set = self.file.set_permissions(fs::Permissions::from_mode(bits)).await;
            set.map_err(|error| self.refused(&error))?;
        }
        self.file.sync_all().await.map_err(|error| self.refused(&error))?;
        fs::rename(&self.path, &self.target).map_err(|error| OpError::io(&error, self.target.display()))?;
        self.done = true;
        // Without a note the next download starts anew, so a failure here loses nothing.
        let _ = remove_if_there(&self.note_path);
        let parent = self.target.parent().unwrap_or(Path::new("/"));
        fs::File::open(parent)
            .and_then(|dir| dir.sync_all())
            .map_err(|error| OpError::io(&error, parent.display()))
    }

    /// Takes it away when this is dropped.
    pub(crate) fn discard(&mut self) {
        self.keep = false;
    }

    fn refused(&self, error: &std::io::Error) -> OpError {
        OpError::io(error, self.path.display())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.done && !self.keep {
            // The lock is still held here. What cannot be removed is emptied by the next download.
            let _ = remove_if_there(&self.note_path);
            let _ = remove_if_there(&self.path);
        }
    }
}

fn taken(target: &Path) -> OpError {
    OpError::conflict(format!("another download writes {}", target.display()))
        .retryable(true)
        .nothing_happened()
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Sets the mode of a file that is right already.
pub(crate) fn set_mode(path: &Path, mode: Option<Mode>) -> Result<(), OpError> {
    match mode {
        None => Ok(()),
        Some(Mode(bits)) => fs::set_permissions(path, fs::Permissions::from_mode(bits))
            .map_err(|error| OpError::io(&error, path.display())),
    }
}

/// The length of a regular file, `None` when there is none.
pub(crate) fn length_of(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
}

/// The SHA-256 of a file, in lower-case hexadecimal.
pub(crate) async fn sha256_of(path: &Path) -> Result<String, OpError> {
    let path = path.to_owned();
    let hashed = tokio::task::spawn_blocking(move || {
        let read = || {
            let (mut file, mut digest, mut chunk) =
                (fs::File::open(&path)?, Sha256::new(), vec![0; CHUNK_BYTES]);
            loop {
                match file.read(&mut chunk)? {
                    0 => return Ok(hex(&digest.finalize())),
                    count => digest.update(&chunk[..count]),
                }
            }
        };
        read().map_err(|error: std::io::Error| OpError::io(&error, path.display()))
    });
    hashed.await.unwrap_or_else(|_| Err(OpError::cancelled("the checksum was given up")))
}
