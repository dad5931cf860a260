//! Unpacking archives that somebody else made.
//!
//! Nothing in an archive is believed: names stay below the target, nothing is written through a link, links stay
//! below the target too, and what comes out is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use hob_model::{OpError, Timestamp};
use hob_primitive::Ctx;

use crate::archives::Format;
use crate::atomic::{self, DIR_MODE, Temporary};
use crate::hash;
use crate::port::{FilesPort, Kind, Source};
use crate::problem::{Watch, fault, fault_making, is_absent};
use crate::walk::{DEPTH_MAX, ENTRIES_MAX, Found, Walk};

/// How many bytes may come out of an archive unless the call says otherwise.
pub(crate) const EXTRACTED_BYTES_DEFAULT: u64 = 16 * 1024 * 1024 * 1024;

/// The longest name of an entry or target of a link.
const NAME_BYTES_MAX: usize = 4096;

/// The permission bits that are taken over.
const MODE_KEPT: u32 = 0o777;

/// The mask and the value that mark a symbolic link in the mode of a zip entry: `S_IFMT` and `S_IFLNK`.
const ZIP_LINK: (u32, u32) = (0o170_000, 0o120_000);

/// What may come out.
pub(crate) struct Limits {
    pub(crate) bytes_max: u64,
    pub(crate) strip: usize,
}

/// Unpacks; gives how many entries and bytes came out.
pub(crate) fn extract(
    cx: &Ctx,
    port: &dyn FilesPort,
    (from, format): (&Path, Format),
    (to, replace): (&Path, bool),
    limits: &Limits,
) -> Result<(usize, u64), OpError> {
    let target = match port.stat(to, false) {
        Ok(meta) if meta.kind == Kind::Directory => Some(meta),
        Ok(_) => return Err(OpError::conflict(format!("{} is there and is no directory", to.display()))),
        Err(error) if is_absent(&error) => None,
        Err(error) => return Err(fault(&error, to)),
    };
    let source = port.open(from).map_err(|error| fault(&error, from))?;
    let temporary = Temporary::new(cx, port, to)?;
    port.create_dir(&temporary.path, DIR_MODE).map_err(|error| fault_making(&error, to))?;
    let mut unpacking = Unpacking {
        port,
        from,
        root: temporary.path.clone(),
        limits,
        watch: Watch::new(cx, format!("unpacking {}", from.display()), None),
        entries: 0,
        directories: BTreeMap::new(),
    };
    match format {
        Format::Tar => unpacking.tar(source)?,
        Format::TarGz => unpacking.tar(flate2::read::MultiGzDecoder::new(source))?,
        Format::TarZst => {
            let decoder = zstd::Decoder::new(source).map_err(|error| fault(&error, from))?;
            unpacking.tar(decoder)?;
        }
        Format::Zip => unpacking.zip(source)?,
    }
    let counts = (unpacking.entries, unpacking.watch.done());
    port.sync_all(&temporary.path).map_err(|error| fault(&error, to))?;
    match target {
        None => {
            unpacking.finish_directories(&temporary.path, &|_| true)?;
            temporary.commit(to, false)?;
        }
        Some(_) => {
            let made = merge(port, &temporary.path, to, replace, &unpacking.watch)?;
            unpacking.finish_directories(to, &|relative| made.contains(relative))?;
            drop(temporary);
            port.sync_all(to).map_err(|error| fault(&error, to))?;
        }
    }
    Ok(counts)
}

/// Moves all that is below `from` to its place below `to`, after it was seen that it can be; gives the directories
/// that were made.
fn merge(
    port: &dyn FilesPort,
    from: &Path,
    to: &Path,
    replace: bool,
    watch: &Watch,
) -> Result<BTreeSet<PathBuf>, OpError> {
    let found = Walk::default().collect(port, from, watch)?;
    let mut moves: Vec<&Found> = Vec::new();
    let mut missing: Vec<&Found> = Vec::new();
    for it in &found {
        let place = to.join(&it.relative);
        let in_the_way = || OpError::conflict(format!("{} is in the way", place.display()));
        let is_dir = it.meta.kind == Kind::Directory;
        // Below a directory that is missing, all is.
        match port.stat(&place, false) {
            Ok(there) => match (is_dir, there.kind == Kind::Directory) {
                (true, true) => {}
                (false, false) if replace => moves.push(it),
                (false, false) => return Err(in_the_way().hint("`replace: true` replaces it")),
                _ => return Err(in_the_way().hint("remove it, or unpack elsewhere")),
            },
            Err(error) if is_absent(&error) && is_dir => missing.push(it),
            Err(error) if is_absent(&error) => moves.push(it),
            Err(error) => return Err(fault(&error, &place)),
        }
    }
    for it in &missing {
        let place = to.join(&it.relative);
        port.create_dir(&place, DIR_MODE).map_err(|error| fault(&error, &place))?;
    }
    for it in moves {
        let place = to.join(&it.relative);
        port.rename(&from.join(&it.relative), &place, true).map_err(|error| fault(&error, &place))?;
    }
    Ok(missing.into_iter().map(|it| it.relative.clone()).collect())
}

struct Unpacking<'a> {
    port: &'a dyn FilesPort,
    from: &'a Path,
    root: PathBuf,
    limits: &'a Limits,
    watch: Watch,
    entries: usize,
    /// Mode and time of the directories below the root, set when they are full.
    directories: BTreeMap<PathBuf, (u32, Timestamp)>,
}

impl Unpacking<'_> {
    fn refuse(&self, name: &Path, why: &str) -> OpError {
        OpError::invalid(format!("{}: the entry {} {why}", self.from.display(), name.display()))
            .hint("the archive was made by mistake or with ill intent; nothing was unpacked")
    }

    fn damaged(&self, error: &dyn std::fmt::Display) -> OpError {
        OpError::invalid(format!("{} is damaged or no such archive: {error}", self.from.display()))
    }

    fn tar(&mut self, reader: impl Read) -> Result<(), OpError> {
        // The limit holds for the stream too, since a header can announce a name of any length.
        let stream_bytes_max =
            self.limits.bytes_max.saturating_add(ENTRIES_MAX as u64 * NAME_BYTES_MAX as u64);
        let mut archive = tar::Archive::new(reader.take(stream_bytes_max));
        let entries = archive.entries().map_err(|error| self.damaged(&error))?;
        for entry in entries {
            let mut entry = entry.map_err(|error| self.damaged(&error))?;
            let header = entry.header();
            let kind = header.entry_type();
            if kind == tar::EntryType::XGlobalHeader {
                continue;
            }
            let raw = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
            let mode = header.mode().map_err(|error| self.damaged(&error))?;
            let seconds = header.mtime().map_err(|error| self.damaged(&error))?;
            let modified = time_of(seconds);
            let link = entry.link_name_bytes().map(|bytes| PathBuf::from(OsStr::from_bytes(&bytes)));
            let Some(name) = self.begin(&raw)? else {
                continue;
            };
            match (kind, link) {
                (tar::EntryType::Directory, _) => self.directory(&name, mode, modified)?,
                (tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse, _) => {
                    self.file(&name, mode, modified, &mut entry)?;
                }
                (tar::EntryType::Symlink, Some(target)) => self.symlink(&name, &target, modified)?,
                (tar::EntryType::Link, Some(target)) => self.hard_link(&name, &target)?,
                _ => {
                    return Err(self.refuse(&raw, "is a device or something else that files are not made of"));
                }
            }
        }
        Ok(())
    }

    fn zip(&mut self, source: Box<dyn Source>) -> Result<(), OpError> {
        let mut archive = zip::ZipArchive::new(source).map_err(|error| self.damaged(&error))?;
        for at in 0..archive.len() {
            let mut entry = archive.by_index(at).map_err(|error| self.damaged(&error))?;
            let raw = PathBuf::from(OsStr::from_bytes(entry.name_raw()));
            let modified = entry.last_modified().and_then(zip_time).unwrap_or(Timestamp::UNIX_EPOCH);
            let mode = entry.unix_mode();
            let is_dir = entry.is_dir();
            let Some(name) = self.begin(&raw)? else {
                continue;
            };
            let (mask, is_link) = ZIP_LINK;
            match mode {
                _ if is_dir => self.directory(&name, mode.unwrap_or(DIR_MODE), modified)?,
                Some(mode) if mode & mask == is_link => {
                    let mut target = Vec::new();
                    let read = entry.by_ref().take(NAME_BYTES_MAX as u64 + 1).read_to_end(&mut target);
                    read.map_err(|error| self.damaged(&error))?;
                    self.symlink(&name, Path::new(OsStr::from_bytes(&target)), modified)?;
                }
                _ => self.file(&name, mode.unwrap_or(atomic::FILE_MODE), modified, &mut entry)?,
            }
        }
        Ok(())
    }

    /// Counts an entry and gives its name below the root; `None` for one that strips to nothing.
    fn begin(&mut self, raw: &Path) -> Result<Option<PathBuf>, OpError> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(OpError::invalid(format!(
                "{} holds more than {ENTRIES_MAX} entries",
                self.from.display()
            )));
        }
        self.watch.check()?;
        let name = self.name(raw)?;
        if name.as_os_str().is_empty() {
            self.entries -= 1;
            return Ok(None);
        }
        self.make_parents(&name)?;
        Ok(Some(name))
    }

    fn name(&self, raw: &Path) -> Result<PathBuf, OpError> {
        let bytes = raw.as_os_str().as_bytes();
        if bytes.len() > NAME_BYTES_MAX || bytes.contains(&0) {
            return Err(self.refuse(Path::new("(…)"), "has a name that is too long or no name"));
        }
        let mut parts = Vec::new();
        for part in raw.components() {
            match part {
                Component::Normal(part) => parts.push(part),
                Component::CurDir => {}
                Component::RootDir | Component::Prefix(_) => {
                    return Err(self.refuse(raw, "has an absolute name"));
                }
                Component::ParentDir => return Err(self.refuse(raw, "leads out of the target")),
            }
        }
        if parts.len() > DEPTH_MAX {
            return Err(self.refuse(raw, "nests too deep"));
        }
        Ok(parts.into_iter().skip(self.limits.strip).collect())
    }

    /// Makes the directories above an entry; anything else that stands there, a link above all, is refused.
    fn make_parents(&self, name: &Path) -> Result<(), OpError> {
        let above: Vec<&Path> =
            name.ancestors().skip(1).filter(|part| !part.as_os_str().is_empty()).collect();
        for part in above.into_iter().rev() {
            let path = self.root.join(part);
            match self.port.stat(&path, false) {
                Ok(meta) if meta.kind == Kind::Directory => {}
                Ok(_) => return Err(self.refuse(name, "lies below a link or a file")),
                Err(error) if is_absent(&error) => {
                    self.port.create_dir(&path, DIR_MODE).map_err(|error| fault(&error, &path))?;
                }
                Err(error) => return Err(fault(&error, &path)),
            }
        }
        Ok(())
    }

    /// Where an entry goes; an earlier one of the same name makes room, as the later one counts.
    fn place(&self, name: &Path) -> Result<PathBuf, OpError> {
        let path = self.root.join(name);
        match self.port.stat(&path, false) {
            Ok(meta) if meta.kind == Kind::Directory => {
                Err(self.refuse(name, "is a directory and then is none"))
            }
            Ok(_) => {
                self.port.remove_file(&path).map(|()| path.clone()).map_err(|error| fault(&error, &path))
            }
            Err(error) if is_absent(&error) => Ok(path),
            Err(error) => Err(fault(&error, &path)),
        }
    }

    fn directory(&mut self, name: &Path, mode: u32, modified: Timestamp) -> Result<(), OpError> {
        let path = self.root.join(name);
        match self.port.stat(&path, false) {
            Ok(meta) if meta.kind == Kind::Directory => {}
            Ok(_) => return Err(self.refuse(name, "is a directory and a file")),
            Err(error) if is_absent(&error) => {
                self.port.create_dir(&path, DIR_MODE).map_err(|error| fault(&error, &path))?;
            }
            Err(error) => return Err(fault(&error, &path)),
        }
        self.directories.insert(name.to_path_buf(), (mode, modified));
        Ok(())
    }

    fn file(
        &mut self,
        name: &Path,
        mode: u32,
        modified: Timestamp,
        content: &mut dyn Read,
    ) -> Result<(), OpError> {
        let path = self.place(name)?;
        let mut sink =
            self.port.create(&path, MODE_KEPT & atomic::FILE_MODE).map_err(|error| fault(&error, &path))?;
        let (from, bytes_max) = (self.from, self.limits.bytes_max);
        let mut room = bytes_max.saturating_sub(self.watch.done());
        let mut content = Damaged { content, problem: None };
        let copied = hash::chunks(&mut content, from, &mut self.watch, &mut |chunk| {
            room = room.checked_sub(chunk.len() as u64).ok_or_else(|| {
                OpError::invalid(format!("{} holds more than {bytes_max} bytes", from.display()))
                    .hint("raise `limit` if it is to be trusted")
            })?;
            sink.write_all(chunk).map_err(|error| fault(&error, &path))
        });
        if let Some(problem) = content.problem {
            return Err(self.damaged(&problem));
        }
        copied?;
        sink.flush().map_err(|error| fault(&error, &path))?;
        drop(sink);
        self.port.set_mode(&path, mode & MODE_KEPT).map_err(|error| fault(&error, &path))?;
        self.port.set_modified(&path, modified).map_err(|error| fault(&error, &path))
    }

    /// A link may climb only from its own directory and not above the root, and then only descend. As every directory
    /// that it lies in is a real one and every link on its way obeys the same rule, none leads out.
    fn symlink(&mut self, name: &Path, target: &Path, modified: Timestamp) -> Result<(), OpError> {
        let bytes = target.as_os_str().as_bytes();
        if bytes.is_empty() || bytes.len() > NAME_BYTES_MAX || bytes.contains(&0) {
            return Err(self.refuse(name, "is a link with a target that is none"));
        }
        let mut room = name.components().count().saturating_sub(1);
        let mut descends = false;
        for part in target.components() {
            match part {
                Component::ParentDir if !descends && room > 0 => room -= 1,
                Component::Normal(_) => descends = true,
                Component::CurDir => {}
                _ => {
                    return Err(
                        self.refuse(name, &format!("is a link out of the target, to {}", target.display()))
                    );
                }
            }
        }
        let path = self.place(name)?;
        self.port.symlink(target, &path).map_err(|error| fault(&error, &path))?;
        self.port.set_modified(&path, modified).map_err(|error| fault(&error, &path))
    }

    /// A second name for a file that was unpacked before.
    fn hard_link(&mut self, name: &Path, target: &Path) -> Result<(), OpError> {
        let original = self.name(target)?;
        self.make_parents(&original)?;
        let source = self.root.join(&original);
        match self.port.stat(&source, false) {
            Ok(meta) if meta.kind == Kind::File && original != *name => {}
            _ => return Err(self.refuse(name, "is a second name for a file that is not in the archive")),
        }
        let path = self.place(name)?;
        self.port.hard_link(&source, &path).map_err(|error| fault(&error, &path))
    }

    /// Gives those directories below `root` that are `wanted` their mode and time, from the inside out.
    fn finish_directories(&self, root: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<(), OpError> {
        for (relative, (mode, modified)) in self.directories.iter().rev().filter(|(path, _)| wanted(path)) {
            let path = root.join(relative);
            self.port.set_mode(&path, mode & MODE_KEPT).map_err(|error| fault(&error, &path))?;
            self.port.set_modified(&path, *modified).map_err(|error| fault(&error, &path))?;
        }
        Ok(())
    }
}

/// Keeps apart what is wrong with the archive from what is wrong with the disk.
struct Damaged<'a> {
    content: &'a mut dyn Read,
    problem: Option<String>,
}

impl Read for Damaged<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.content.read(buffer).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.problem = Some(error.to_string());
            }
        })
    }
}

fn time_of(seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).ok();
    seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn zip_time(time: zip::DateTime) -> Option<Timestamp> {
    let part = |number: u8| i8::try_from(number).ok();
    let date = jiff::civil::DateTime::new(
        i16::try_from(time.year()).ok()?,
        part(time.month())?,
        part(time.day())?,
        part(time.hour())?,
        part(time.minute())?,
        part(time.second())?,
        0,
    );
    jiff::tz::TimeZone::UTC.to_timestamp(date.ok()?).ok()
}
