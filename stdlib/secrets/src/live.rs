//! What is on disk: identities in their usual places, and files that are read and written whole.

#![allow(clippy::disallowed_methods)] // This is the adapter: what it does is I/O.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use zeroize::Zeroizing;

use crate::age::{IDENTITY_FILE_BYTES_MAX, Keyring, Passphrases};
use crate::error::{Error, Kind, Result};
use crate::{FILE_BYTES_MAX, Plain};

/// What only its owner may read and write.
const PRIVATE_MODE: u32 = 0o600;
/// The bits of a mode that are permissions.
const PERMISSION_BITS: u32 = 0o7777;
/// What others may not do with a private key.
const OTHERS_BITS: u32 = 0o077;
/// The names of directories that [`Desk`] makes, before the process id.
const DESK_PREFIX: &str = "hob-edit-";
/// The kinds of file systems that live in memory (`statfs(2)`): tmpfs and ramfs.
const MEMORY_FILE_SYSTEMS: [u64; 2] = [0x0102_1994, 0x8584_58f6];
/// The most files of one directory.
const ENTRIES_MAX: usize = 100_000;
/// What version control keeps in the directory at the top of a repository.
const KEPT_BY_VERSION_CONTROL: [&str; 4] = [".git", ".hg", ".jj", ".svn"];
/// The most leftovers that are looked at.
const LEFTOVERS_MAX: usize = 10_000;

/// Where to look for identities.
pub struct Places<'a> {
    /// The environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The caller's home directory.
    pub home: Option<PathBuf>,
    /// Where `/etc` lies: `/`, but in tests.
    pub root: PathBuf,
}

impl Places<'_> {
    /// The identities of these files and no others.
    ///
    /// # Errors
    /// When one cannot be read or holds something else.
    pub fn named(files: &[PathBuf], passphrases: &Arc<dyn Passphrases>) -> Result<Keyring> {
        let mut keyring = Keyring::new(Arc::clone(passphrases));
        for file in files {
            let text = read_at_most(file, IDENTITY_FILE_BYTES_MAX)?;
            keyring.add(&text, &file.display().to_string())?;
        }
        Ok(keyring)
    }

    /// The identities in the usual places, the first that are there first: `SOPS_AGE_KEY`, the files that
    /// `SOPS_AGE_KEY_FILE` and `SOPS_AGE_SSH_PRIVATE_KEY_FILE` name, the systemd credential `age-identity`, the key file
    /// of `sops`, the SSH keys of the user and, where they may be read, those of the host.
    ///
    /// What is there and cannot be used is told when no identity opens a file.
    #[must_use]
    pub fn usual(&self, passphrases: &Arc<dyn Passphrases>) -> Keyring {
        let mut keyring = Keyring::new(Arc::clone(passphrases));
        match (self.variable)("SOPS_AGE_KEY") {
            Some(keys) => {
                // Several may stand on one line.
                let keys = Zeroizing::new(keys);
                let lines = Zeroizing::new(keys.split_whitespace().collect::<Vec<_>>().join("\n"));
                let added = keyring.add(lines.as_bytes(), "SOPS_AGE_KEY");
                note(&mut keyring, added);
            }
            None => keyring.looked("SOPS_AGE_KEY"),
        }
        for name in ["SOPS_AGE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_FILE"] {
            match (self.variable)(name) {
                // It was named, so that its absence is a mistake and no place where nothing was found.
                Some(file) if !Path::new(&file).exists() => {
                    keyring.problem(format!("{name} names {file}, which does not exist"))
                }
                Some(file) => self.look(&mut keyring, Path::new(&file)),
                None => keyring.looked(name),
            }
        }
        if let Some(directory) = (self.variable)("CREDENTIALS_DIRECTORY") {
            self.look(&mut keyring, &Path::new(&directory).join("age-identity"));
        }
        let config = (self.variable)("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        if let Some(config) = config.or_else(|| self.home.as_ref().map(|home| home.join(".config"))) {
            self.look(&mut keyring, &config.join("sops/age/keys.txt"));
        }
        if let Some(home) = &self.home {
            self.look(&mut keyring, &home.join(".ssh/id_ed25519"));
            self.look(&mut keyring, &home.join(".ssh/id_rsa"));
        }
        self.look(&mut keyring, &self.root.join("etc/ssh/ssh_host_ed25519_key"));
        self.look(&mut keyring, &self.root.join("etc/ssh/ssh_host_rsa_key"));
        keyring
    }

    fn look(&self, keyring: &mut Keyring, file: &Path) {
        match fs::metadata(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => keyring.looked(file.display().to_string()),
            // The host's keys belong to root: that another user cannot read them is as it should be.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                keyring.looked(format!("{} (not readable)", file.display()));
            }
            _ => match read_at_most(file, IDENTITY_FILE_BYTES_MAX) {
                Ok(text) => {
                    let added = keyring.add(&text, &file.display().to_string());
                    note(keyring, added);
                }
                Err(_) => keyring.looked(format!("{} (not readable)", file.display())),
            },
        }
    }
}

fn note(keyring: &mut Keyring, added: Result<()>) {
    if let Err(error) = added {
        keyring.problem(error.message);
    }
}

/// Whether others than its owner may read or write a private key.
#[must_use]
pub fn is_open_to_others(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.mode() & OTHERS_BITS != 0)
}

/// The content of a file, into memory that is wiped.
///
/// # Errors
/// When it cannot be read, is no file, or is larger than [`FILE_BYTES_MAX`].
pub fn read(file: &Path) -> Result<Plain> {
    read_at_most(file, FILE_BYTES_MAX)
}

/// The content of standard input, as [`read`].
///
/// # Errors
/// When it cannot be read, or is longer than 1 MiB.
pub fn read_input() -> Result<Plain> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(IDENTITY_FILE_BYTES_MAX + 1));
    let read = io::stdin().lock().take(IDENTITY_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::new(Kind::Io, format!("standard input cannot be read: {}", plain(&error))))?;
    if bytes.len() > IDENTITY_FILE_BYTES_MAX {
        return Err(crate::too_large("standard input", IDENTITY_FILE_BYTES_MAX));
    }
    Ok(bytes)
}

/// As [`read`], for a smaller limit.
///
/// # Errors
/// When it cannot be read, is no file, or is larger than `bytes_max`.
pub fn read_at_most(file: &Path, bytes_max: usize) -> Result<Plain> {
    let shown = file.display();
    let failed =
        |error: &io::Error| Error::new(Kind::Io, format!("{shown} cannot be read: {}", plain(error)));
    let opened = File::open(file).map_err(|error| failed(&error))?;
    let meta = opened.metadata().map_err(|error| failed(&error))?;
    if meta.is_dir() {
        return Err(Error::new(Kind::Io, format!("{shown} is a directory")));
    }
    let size = usize::try_from(meta.len()).unwrap_or(usize::MAX);
    if size > bytes_max {
        return Err(crate::too_large(&shown.to_string(), bytes_max));
    }
    // Sized once: a buffer that grows would leave its old memory behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    opened.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.len() > bytes_max {
        return Err(crate::too_large(&shown.to_string(), bytes_max));
    }
    Ok(bytes)
}

/// Replaces a file as a whole, or makes it. A new one may be read and written by its owner alone; one that is there
/// keeps its mode, unless `private` narrows it. After a crash it is the old or the new one, wholly.
///
/// # Errors
/// When the file system refuses; then the file is as it was.
pub fn write(file: &Path, content: &[u8], private: bool) -> Result<()> {
    write_with_mode(file, content, private.then_some(PRIVATE_MODE))
}

/// As [`write()`], with this mode, if one is given.
///
/// # Errors
/// As [`write()`].
pub fn write_with_mode(file: &Path, content: &[u8], mode: Option<u32>) -> Result<()> {
    // A link stays, and what it leads to changes.
    let file = &fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf());
    let failed = |error: io::Error| {
        Error::new(Kind::Io, format!("{} cannot be written: {}", file.display(), plain(&error)))
    };
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let kept = fs::metadata(file).ok().filter(|meta| meta.is_file());
    let mode = match (&kept, mode) {
        (_, Some(mode)) => mode,
        (Some(meta), None) => meta.mode() & PERMISSION_BITS,
        (None, None) => PRIVATE_MODE,
    };
    let mut new = tempfile::Builder::new().prefix(".hob-").tempfile_in(directory).map_err(failed)?;
    new.write_all(content).map_err(failed)?;
    new.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    if let Some(meta) = &kept {
        // Only root may give a file away; for others it is theirs already, or they get a copy of their own.
        let owned = std::os::unix::fs::fchown(new.as_file(), Some(meta.uid()), Some(meta.gid()));
        owned
            .or_else(|error| if error.kind() == ErrorKind::PermissionDenied { Ok(()) } else { Err(error) })
            .map_err(failed)?;
    }
    new.as_file().sync_all().map_err(failed)?;
    new.persist(file).map_err(|error| failed(error.error))?;
    // The name is durable when its directory is.
    let directory = rustix::fs::openat(CWD, directory, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    directory.and_then(|directory| rustix::fs::fsync(&directory)).map_err(|error| failed(error.into()))
}

/// A private directory in memory, with one file to be edited. It is removed when it is dropped; what a process left
/// that was killed is removed by the next one.
pub struct Desk {
    directory: tempfile::TempDir,
    file: PathBuf,
}

impl Desk {
    /// Lays `content` out under the name of `like`, in the first of `directories` that lies in memory.
    ///
    /// # Errors
    /// When none does: a plain text is not written to a disk.
    pub fn lay_out(content: &[u8], like: &Path, directories: &[PathBuf]) -> Result<Self> {
        let place = directories.iter().find(|place| lies_in_memory(place)).ok_or_else(|| {
            Error::new(
                Kind::Io,
                "there is no directory in memory to edit in, and a plain text is not written to disk",
            )
            .hint("mount a tmpfs at /dev/shm, or set XDG_RUNTIME_DIR to a directory on one")
        })?;
        sweep(place);
        let failed =
            |error: io::Error| Error::new(Kind::Io, format!("{}: {}", place.display(), plain(&error)));
        let mut builder = tempfile::Builder::new();
        let prefix = format!("{DESK_PREFIX}{}-", std::process::id());
        let builder = builder.prefix(&prefix).permissions(Permissions::from_mode(0o700));
        let directory = builder.tempdir_in(place).map_err(failed)?;
        let file = directory.path().join(like.file_name().unwrap_or("secret".as_ref()));
        let mut options = fs::OpenOptions::new();
        let mut opened =
            options.write(true).create_new(true).mode(PRIVATE_MODE).open(&file).map_err(failed)?;
        opened.write_all(content).map_err(failed)?;
        Ok(Self { directory, file })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What stands in it now.
    ///
    /// # Errors
    /// As [`read`].
    pub fn content(&self) -> Result<Plain> {
        read(&self.file)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // Memory that the file system frees is not cleared at once: overwrite it first.
        if let Ok(length) = fs::metadata(&self.file).map(|meta| meta.len())
            && let Ok(mut file) = fs::OpenOptions::new().write(true).open(&self.file)
        {
            let length = usize::try_from(length).unwrap_or(0).min(FILE_BYTES_MAX);
            let _ = file.write_all(&vec![0; length]);
        }
        let _ = fs::remove_dir_all(self.directory.path());
    }
}

/// Whether a directory lies in memory: on a tmpfs or a ramfs.
#[must_use]
pub fn lies_in_memory(directory: &Path) -> bool {
    rustix::fs::statfs(directory).is_ok_and(|stat| {
        u64::try_from(stat.f_type).is_ok_and(|kind| MEMORY_FILE_SYSTEMS.contains(&(kind & 0xffff_ffff)))
    })
}

/// Removes what processes left behind that were killed: directories of this user whose process is no more.
fn sweep(place: &Path) {
    let own = rustix::process::geteuid().as_raw();
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries.flatten().take(LEFTOVERS_MAX) {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix(DESK_PREFIX))
            .and_then(|rest| rest.split_once('-'));
        let Some((process, _)) =
            process.filter(|(process, _)| process.bytes().all(|byte| byte.is_ascii_digit()))
        else {
            continue;
        };
        let ours = entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == own);
        if ours && !Path::new("/proc").join(process).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The directories that usually lie in memory.
#[must_use]
pub fn memory_directories(runtime: Option<PathBuf>) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = runtime.into_iter().collect();
    places.push(PathBuf::from("/run/user").join(rustix::process::geteuid().as_raw().to_string()));
    places.push(PathBuf::from("/dev/shm"));
    places
}

/// The scripts and configurations of a homelab that are texts of at most [`FILE_BYTES_MAX`] bytes: files directly in it.
///
/// # Errors
/// When the directory cannot be read.
pub fn texts(directory: &Path) -> Result<Vec<PathBuf>> {
    const ENDINGS: [&str; 8] = ["rhai", "toml", "yaml", "yml", "json", "env", "ini", "conf"];
    let all = entries(directory)?.into_iter().filter(|(_, is_directory)| !is_directory);
    let is_text = |file: &PathBuf| {
        file.extension().and_then(|it| it.to_str()).is_some_and(|ending| ENDINGS.contains(&ending))
    };
    Ok(all.map(|(file, _)| file).filter(is_text).collect())
}

/// What tells whether a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What a file looks like now.
///
/// # Errors
/// When it is not there, or cannot be looked at.
pub fn stamp(file: &Path) -> Result<Stamp> {
    let meta = fs::metadata(file).map_err(|error| {
        Error::new(Kind::Io, format!("{} cannot be read: {}", file.display(), plain(&error)))
    })?;
    Ok(Stamp {
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
    })
}

/// Whether there is a file.
#[must_use]
pub fn is_file(file: &Path) -> bool {
    file.is_file()
}

/// What a directory holds, and whether that is a directory; in order of names.
///
/// # Errors
/// When it cannot be read.
pub fn entries(directory: &Path) -> Result<Vec<(PathBuf, bool)>> {
    let failed = |error: io::Error| {
        Error::new(Kind::Io, format!("{} cannot be read: {}", directory.display(), plain(&error)))
    };
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_directory = path.is_dir();
        all.push((path, is_directory));
        if all.len() > ENTRIES_MAX {
            let message = format!("{} holds more than {ENTRIES_MAX} files", directory.display());
            return Err(Error::new(Kind::TooLarge, message));
        }
    }
    all.sort();
    Ok(all)
}

/// All files below a directory, but for what version control keeps and what symbolic links lead to.
///
/// # Errors
/// When a directory cannot be read, or there are too many.
pub fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut left = vec![directory.to_path_buf()];
    while let Some(directory) = left.pop() {
        for (path, is_directory) in entries(&directory)? {
            let is_kept =
                path.file_name().is_some_and(|name| KEPT_BY_VERSION_CONTROL.iter().any(|it| name == *it));
            match is_directory {
                true if !is_kept && !path.is_symlink() => left.push(path),
                false if path.is_file() => files.push(path),
                _ => {}
            }
        }
        if files.len() + left.len() > ENTRIES_MAX {
            let message = format!("there are more than {ENTRIES_MAX} files below {}", directory.display());
            return Err(Error::new(Kind::TooLarge, message));
        }
    }
    files.sort();
    Ok(files)
}

/// Where the version of a file is kept that was current before the last rotation.
#[must_use]
pub fn previous(file: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_stem().unwrap_or_default());
    name.push(".previous");
    if let Some(ending) = file.extension() {
        name.push(".");
        name.push(ending);
    }
    file.with_file_name(name)
}

/// Removes a file, for good when this returns.
///
/// # Errors
/// When it is there and the file system refuses.
pub fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::new(Kind::Io, format!("{} cannot be removed: {}", file.display(), plain(&error))))
        }
        _ => Ok(()),
    }
}

/// The nearest file of this name in the directory of `file` or above.
#[must_use]
pub fn above(file: &Path, name: &str) -> Option<PathBuf> {
    let absolute = std::path::absolute(file).ok()?;
    absolute.ancestors().skip(1).map(|directory| directory.join(name)).find(|candidate| candidate.is_file())
}

/// The top of the repository in which a directory lies.
#[must_use]
pub fn repository(directory: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(directory).ok()?;
    let is_top = |it: &&Path| KEPT_BY_VERSION_CONTROL.iter().any(|name| it.join(name).exists());
    absolute.ancestors().find(is_top).map(Path::to_path_buf)
}

/// Makes a directory and those above it.
///
/// # Errors
/// When the file system refuses.
pub fn make_directory(directory: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
    made.map_err(|error| {
        Error::new(Kind::Io, format!("{} cannot be made: {}", directory.display(), plain(&error)))
    })
}

/// An error of the system without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
