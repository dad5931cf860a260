//! New files that appear whole or not at all.
//!
//! Content goes into a temporary file of the same directory, which gets its mode and owner, is synced, and takes the
//! place of the old one in one step; then the directory is synced. A crash leaves the old file, or the new one, and at
//! most the temporary one, which the next attempt of the same effect removes: its name comes from the effect's key.

use std::io;
use std::path::{Component, Path, PathBuf};

use hob_model::{Digest, OpError};
use hob_primitive::{Ctx, Mode, NameOrId};

use crate::port::{FilesPort, Kind, Meta, Sink};
use crate::problem::{fault, fault_making, is_absent};

/// The permission bits of a new file, less the umask.
pub(crate) const FILE_MODE: u32 = 0o666;

/// The permission bits of a new directory, less the umask.
pub(crate) const DIR_MODE: u32 = 0o777;

/// The permission bits of a file while nobody but its owner may see it.
const PRIVATE_MODE: u32 = 0o600;

/// How many symbolic links are followed; Linux itself stops there.
const LINKS_MAX: usize = 40;

/// The most bytes of a file's own name that its temporary file repeats; a name may have 255.
const STEM_BYTES_MAX: usize = 200;

/// Mode and owner that a call asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

impl Attributes {
    /// Looks up the names.
    pub(crate) fn read(
        port: &dyn FilesPort,
        mode: Option<Mode>,
        owner: Option<&NameOrId>,
        group: Option<&NameOrId>,
    ) -> Result<Self, OpError> {
        let find =
            |what: &str, who: Option<&NameOrId>, look: &dyn Fn(&str) -> io::Result<Option<u32>>| match who {
                None => Ok(None),
                Some(NameOrId::Id(id)) => Ok(Some(*id)),
                Some(NameOrId::Name(name)) => match look(name) {
                    Ok(Some(id)) => Ok(Some(id)),
                    Ok(None) => Err(OpError::invalid(format!("there is no {what} `{name}`"))),
                    Err(error) => Err(OpError::io(&error, format!("the {what} `{name}`"))),
                },
            };
        Ok(Self {
            mode: mode.map(|Mode(bits)| bits),
            uid: find("user", owner, &|name| port.user_id(name))?,
            gid: find("group", group, &|name| port.group_id(name))?,
        })
    }

    /// Whether a file has them already.
    pub(crate) fn hold(&self, meta: &Meta) -> bool {
        self.mode.is_none_or(|mode| mode == meta.mode)
            && self.uid.is_none_or(|uid| uid == meta.uid)
            && self.gid.is_none_or(|gid| gid == meta.gid)
    }

    /// Sets them where they differ; whether any did.
    pub(crate) fn apply(&self, port: &dyn FilesPort, path: &Path) -> Result<bool, OpError> {
        let meta = port.stat(path, false).map_err(|error| fault(&error, path))?;
        if self.hold(&meta) {
            return Ok(false);
        }
        if self.uid.is_some_and(|uid| uid != meta.uid) || self.gid.is_some_and(|gid| gid != meta.gid) {
            port.set_owner(path, self.uid, self.gid)
                .map_err(|error| fault(&error, path).hint("only root may give files away"))?;
        }
        // After the owner, because a change of owner clears some bits.
        if let (Some(mode), false) = (self.mode, meta.kind == Kind::Symlink) {
            port.set_mode(path, mode).map_err(|error| fault(&error, path))?;
        }
        Ok(true)
    }
}

/// The name that `path` has while it is not yet whole.
pub(crate) fn temporary(cx: &Ctx, path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut end = name.len().min(STEM_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let mark = Digest::of(cx.key().as_bytes()).short();
    path.with_file_name(format!(".{}.hob-{mark}", &name[..end]))
}

/// Removes what it names unless told to keep it.
pub(crate) struct Temporary<'a> {
    port: &'a dyn FilesPort,
    pub(crate) path: PathBuf,
    kept: bool,
}

impl<'a> Temporary<'a> {
    /// For `path`; what an earlier attempt left there is removed.
    pub(crate) fn new(cx: &Ctx, port: &'a dyn FilesPort, path: &Path) -> Result<Self, OpError> {
        let it = Self { port, path: temporary(cx, path), kept: false };
        it.clear().map_err(|error| fault(&error, &it.path))?;
        Ok(it)
    }

    fn clear(&self) -> io::Result<()> {
        let cleared = match self.port.stat(&self.path, false) {
            Ok(meta) if meta.kind == Kind::Directory => self.port.remove_tree(&self.path),
            Ok(_) => self.port.remove_file(&self.path),
            Err(error) => Err(error),
        };
        cleared.or_else(|error| if is_absent(&error) { Ok(()) } else { Err(error) })
    }

    /// Puts it where it belongs, for good.
    pub(crate) fn commit(mut self, path: &Path, replace: bool) -> Result<(), OpError> {
        self.port.rename(&self.path, path, replace).map_err(|error| match error.kind() {
            io::ErrorKind::IsADirectory => is_a_directory(path),
            _ => fault(&error, path),
        })?;
        self.kept = true;
        sync_parent(self.port, path)
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.kept {
            drop(self.clear()); // the error that brought us here is the one to tell
        }
    }
}

pub(crate) fn sync_parent(port: &dyn FilesPort, path: &Path) -> Result<(), OpError> {
    match path.parent() {
        Some(parent) => port.sync_dir(parent).map_err(|error| fault(&error, parent)),
        None => Ok(()),
    }
}

/// Makes `path` anew with what `fill` writes.
///
/// Without a wanted mode or owner, those of the file that it replaces are kept.
pub(crate) fn replace(
    cx: &Ctx,
    port: &dyn FilesPort,
    path: &Path,
    wanted: &Attributes,
    fill: &mut dyn FnMut(&mut dyn Sink) -> Result<(), OpError>,
) -> Result<(), OpError> {
    let old = existing_file(port, path)?;
    let temporary = Temporary::new(cx, port, path)?;
    // A new file without a wanted mode gets what the umask leaves; every other is closed until it has its own.
    let mode = if old.is_none() && wanted.mode.is_none() { FILE_MODE } else { PRIVATE_MODE };
    let mut sink = port.create(&temporary.path, mode).map_err(|error| fault_making(&error, path))?;
    fill(&mut *sink)?;
    if let Some(old) = &old {
        // Who is not root cannot keep another's file that other's; replacing it is what was asked for.
        let kept = Attributes {
            mode: None,
            uid: wanted.uid.is_none().then_some(old.uid),
            gid: wanted.gid.is_none().then_some(old.gid),
        };
        drop(kept.apply(port, &temporary.path));
    }
    let mode = wanted.mode.or(old.map(|old| old.mode));
    Attributes { mode, ..wanted.clone() }.apply(port, &temporary.path)?;
    sink.sync().map_err(|error| fault(&error, path))?;
    drop(sink);
    temporary.commit(path, true)
}

/// The file at `path`, if there is one; anything else that is there is refused.
pub(crate) fn existing_file(port: &dyn FilesPort, path: &Path) -> Result<Option<Meta>, OpError> {
    match port.stat(path, false) {
        Ok(meta) => match meta.kind {
            Kind::File => Ok(Some(meta)),
            Kind::Directory => Err(is_a_directory(path)),
            Kind::Symlink | Kind::Special => {
                Err(OpError::invalid(format!("{} is a pipe, a socket, a device or a link", path.display()))
                    .hint("remove it first if a file is to take its place"))
            }
        },
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(fault(&error, path)),
    }
}

pub(crate) fn is_a_directory(path: &Path) -> OpError {
    OpError::invalid(format!("{} is a directory", path.display())).hint("name the file in it")
}

/// Where writing to `path` ends up: a link stays a link, and the file it points to is written.
pub(crate) fn through_links(port: &dyn FilesPort, path: &Path) -> Result<PathBuf, OpError> {
    let mut at = path.to_path_buf();
    for _ in 0..LINKS_MAX {
        match port.stat(&at, false) {
            Ok(meta) if meta.kind == Kind::Symlink => {
                let target = port.read_link(&at).map_err(|error| fault(&error, &at))?;
                at = at.parent().unwrap_or(Path::new("/")).join(target);
            }
            _ => return Ok(at),
        }
    }
    Err(OpError::invalid(format!("{}: its symbolic links form a loop", path.display())))
}

/// Makes `path` and the directories above it that are missing; whether any was.
pub(crate) fn make_dirs(port: &dyn FilesPort, path: &Path) -> Result<bool, OpError> {
    let mut missing = Vec::new();
    let mut at = Some(path);
    while let Some(dir) = at {
        match port.stat(dir, true) {
            Ok(meta) if meta.kind == Kind::Directory => break,
            Ok(_) => {
                return Err(OpError::conflict(format!("{} is there and is no directory", dir.display())));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(dir),
            Err(error) => return Err(fault(&error, dir)),
        }
        at = dir.parent();
    }
    for dir in missing.iter().rev().filter(|dir| dir.components().next_back() != Some(Component::ParentDir)) {
        match port.create_dir(dir, DIR_MODE) {
            Ok(()) => sync_parent(port, dir)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {} // somebody was quicker
            Err(error) => return Err(fault(&error, dir)),
        }
    }
    Ok(!missing.is_empty())
}

/// Makes the directory that `path` is to be in, where that is wanted.
pub(crate) fn make_parent(port: &dyn FilesPort, path: &Path, wanted: bool) -> Result<(), OpError> {
    if let (true, Some(parent)) = (wanted, path.parent()) {
        make_dirs(port, parent)?;
    }
    Ok(())
}
