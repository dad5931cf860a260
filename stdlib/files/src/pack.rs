//! Making archives.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use globset::{Glob, GlobSet, GlobSetBuilder};
use hob_model::{OpError, Timestamp};
use hob_primitive::Ctx;
use zip::write::SimpleFileOptions;

use crate::archives::{Format, Sources};
use crate::hash::CHUNK_BYTES;
use crate::port::{FilesPort, Kind, Meta, Sink};
use crate::problem::{Watch, fault};
use crate::walk::{Found, Walk};

/// How hard zstd compresses by default: its own default.
const ZSTD_LEVEL_DEFAULT: u32 = 3;

/// How hard gzip and zip compress by default.
const DEFLATE_LEVEL_DEFAULT: u32 = 6;

/// Something that is packed.
pub(crate) struct Item {
    source: PathBuf,
    name: PathBuf,
    meta: Meta,
}

impl Item {
    /// How much content it has.
    pub(crate) fn bytes(&self) -> u64 {
        if self.meta.kind == Kind::File { self.meta.size } else { 0 }
    }
}

/// How it is packed.
pub(crate) struct Packing<'a> {
    pub(crate) port: &'a dyn FilesPort,
    pub(crate) watch: Watch,
    pub(crate) level: Option<u32>,
    /// Paths that are left out: the archive itself.
    pub(crate) without: Vec<PathBuf>,
}

impl Packing<'_> {
    /// What is to be packed, in the order of the names.
    pub(crate) fn collect(&self, cx: &Ctx, from: &Sources, exclude: &[String]) -> Result<Vec<Item>, OpError> {
        let exclude = patterns(exclude)?;
        let mut items = Vec::new();
        match from {
            Sources::One(path) => {
                let path = cx.resolve(path);
                let meta = self.port.stat(&path, true).map_err(|error| fault(&error, &path))?;
                match meta.kind {
                    Kind::Directory => self.below(&path, Path::new(""), &mut items)?,
                    _ => items.push(self.named(path, meta)?),
                }
            }
            Sources::Many(paths) => {
                for path in paths {
                    let path = cx.resolve(path);
                    let meta = self.port.stat(&path, false).map_err(|error| fault(&error, &path))?;
                    let item = self.named(path.clone(), meta)?;
                    let name = item.name.clone();
                    let is_dir = item.meta.kind == Kind::Directory;
                    items.push(item);
                    if is_dir {
                        self.below(&path, &name, &mut items)?;
                    }
                }
            }
        }
        items.retain(|item| !self.without.contains(&item.source) && !is_excluded(&exclude, &item.name));
        items.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = items.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(OpError::invalid(format!("two entries would be called {}", pair[0].name.display()))
                .hint("pack the directory above them, or rename one"));
        }
        match items.iter().find(|item| item.meta.kind == Kind::Special) {
            Some(item) => {
                Err(OpError::invalid(format!("{} is a pipe, a socket or a device", item.source.display()))
                    .hint("leave it out with `exclude`"))
            }
            None => Ok(items),
        }
    }

    fn named(&self, path: PathBuf, meta: Meta) -> Result<Item, OpError> {
        let name = path.file_name().map(PathBuf::from);
        let name = name.ok_or_else(|| OpError::invalid(format!("{} has no name", path.display())))?;
        Ok(Item { source: path, name, meta })
    }

    fn below(&self, root: &Path, name: &Path, items: &mut Vec<Item>) -> Result<(), OpError> {
        let found = Walk::default().collect(self.port, root, &self.watch)?;
        let item = |Found { relative, meta }: Found| Item {
            source: root.join(&relative),
            name: name.join(&relative),
            meta,
        };
        items.extend(found.into_iter().map(item));
        Ok(())
    }

    fn level(&self, max: u32, default: u32) -> Result<u32, OpError> {
        match self.level.unwrap_or(default) {
            level if (1..=max).contains(&level) => Ok(level),
            level => Err(OpError::invalid(format!("option `level`: {level} is not between 1 and {max}"))),
        }
    }

    fn link(&self, item: &Item) -> Result<PathBuf, OpError> {
        self.port.read_link(&item.source).map_err(|error| fault(&error, &item.source))
    }
}

fn patterns(texts: &[String]) -> Result<GlobSet, OpError> {
    let wrong = |error: globset::Error| OpError::invalid(format!("option `exclude`: {error}"));
    let mut set = GlobSetBuilder::new();
    for text in texts {
        set.add(Glob::new(text).map_err(wrong)?);
    }
    set.build().map_err(wrong)
}

/// Whether a name is left out, or something above it.
fn is_excluded(exclude: &GlobSet, name: &Path) -> bool {
    name.ancestors().any(|part| exclude.is_match(part))
}

/// Writes the archive that is to be at `to`.
pub(crate) fn write(
    packing: &mut Packing<'_>,
    format: Format,
    items: &[Item],
    to: &Path,
    sink: &mut dyn Sink,
) -> Result<(), OpError> {
    let failed = |error: io::Error| fault(&error, to);
    match format {
        Format::Tar => drop(write_tar(packing, items, to, sink)?),
        Format::TarGz => {
            let level = packing.level(9, DEFLATE_LEVEL_DEFAULT)?;
            let encoder = flate2::write::GzEncoder::new(sink, flate2::Compression::new(level));
            write_tar(packing, items, to, encoder)?.finish().map_err(failed)?;
        }
        Format::TarZst => {
            let level = packing.level(19, ZSTD_LEVEL_DEFAULT)?;
            let level = i32::try_from(level).expect("levels are at most 19");
            let encoder = zstd::Encoder::new(sink, level).map_err(failed)?;
            write_tar(packing, items, to, encoder)?.finish().map_err(failed)?;
        }
        Format::Zip => write_zip(packing, items, to, sink)?,
    }
    Ok(())
}

/// Tells an error of reading, which knows its file, from one of writing the archive.
fn either(problem: Option<OpError>, written: io::Result<()>, to: &Path) -> Result<(), OpError> {
    match (problem, written) {
        (Some(problem), _) => Err(problem),
        (None, Err(error)) => Err(fault(&error, to)),
        (None, Ok(())) => Ok(()),
    }
}

fn write_tar<W: Write>(packing: &mut Packing<'_>, items: &[Item], to: &Path, out: W) -> Result<W, OpError> {
    let mut builder = tar::Builder::new(out);
    for item in items {
        packing.watch.check()?;
        let mut header = tar::Header::new_gnu();
        header.set_mode(item.meta.mode);
        header.set_uid(u64::from(item.meta.uid));
        header.set_gid(u64::from(item.meta.gid));
        header.set_mtime(u64::try_from(item.meta.modified.as_second()).unwrap_or_default());
        header.set_size(0);
        let (written, problem) = match item.meta.kind {
            Kind::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                // With a slash at the end, as tar has it, so that readers of names alone see what it is.
                let name = format!("{}/", item.name.to_string_lossy());
                (builder.append_data(&mut header, name, io::empty()), None)
            }
            Kind::Symlink => {
                header.set_entry_type(tar::EntryType::Symlink);
                (builder.append_link(&mut header, &item.name, packing.link(item)?), None)
            }
            Kind::File | Kind::Special => {
                header.set_size(item.meta.size);
                let mut reader = Whole::open(packing, item)?;
                (builder.append_data(&mut header, &item.name, &mut reader), reader.problem)
            }
        };
        either(problem, written, to)?;
    }
    builder.into_inner().map_err(|error| fault(&error, to))
}

fn write_zip(
    packing: &mut Packing<'_>,
    items: &[Item],
    to: &Path,
    sink: &mut dyn Sink,
) -> Result<(), OpError> {
    let level = packing.level(9, DEFLATE_LEVEL_DEFAULT)?;
    let mut zip = zip::ZipWriter::new(sink);
    for item in items {
        packing.watch.check()?;
        let name = item.name.to_str().ok_or_else(|| {
            OpError::invalid(format!("{}: a zip archive takes names in UTF-8 only", item.source.display()))
                .hint("use a tar archive")
        })?;
        let options = SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .compression_level(Some(i64::from(level)))
            .unix_permissions(item.meta.mode)
            .last_modified_time(zip_time(item.meta.modified))
            .large_file(item.meta.size >= u64::from(u32::MAX));
        let (written, problem) = match item.meta.kind {
            Kind::Directory => (zip.add_directory(name, options), None),
            Kind::Symlink => (zip.add_symlink(name, packing.link(item)?.to_string_lossy(), options), None),
            Kind::File | Kind::Special => {
                let mut reader = Whole::open(packing, item)?;
                let started = zip.start_file(name, options);
                let copied = started.and_then(|()| Ok(io::copy(&mut reader, &mut zip).map(drop)?));
                (copied, reader.problem)
            }
        };
        either(problem, written.map_err(io::Error::from), to)?;
    }
    let finished = zip.finish().map(drop).map_err(io::Error::from);
    either(None, finished, to)
}

/// Zip knows the years 1980 to 2107, in steps of two seconds, and no zones: UTC is written.
fn zip_time(modified: Timestamp) -> zip::DateTime {
    let utc = jiff::tz::TimeZone::UTC.to_datetime(modified);
    let part = |number: i8| u8::try_from(number).unwrap_or_default();
    let year = u16::try_from(utc.year()).unwrap_or_default();
    zip::DateTime::from_date_and_time(
        year,
        part(utc.month()),
        part(utc.day()),
        part(utc.hour()),
        part(utc.minute()),
        part(utc.second()),
    )
    .unwrap_or_default()
}

/// Reads just as much as the file had when it was looked at, and keeps the error that names the file.
struct Whole<'a> {
    source: io::Take<Box<dyn crate::port::Source>>,
    path: &'a Path,
    watch: &'a mut Watch,
    problem: Option<OpError>,
}

impl<'a> Whole<'a> {
    fn open(packing: &'a mut Packing<'_>, item: &'a Item) -> Result<Self, OpError> {
        let source = packing.port.open(&item.source).map_err(|error| fault(&error, &item.source))?;
        Ok(Self {
            source: source.take(item.meta.size),
            path: &item.source,
            watch: &mut packing.watch,
            problem: None,
        })
    }
}

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(CHUNK_BYTES);
        let read = match self.source.read(&mut buffer[..most]) {
            Ok(0) if self.source.limit() > 0 => {
                Err(OpError::conflict(format!("{} became shorter while it was read", self.path.display())))
            }
            Ok(count) => self.watch.bytes(count as u64).map(|()| count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => Err(fault(&error, self.path)),
        };
        read.map_err(|problem| {
            self.problem = Some(problem);
            io::ErrorKind::Other.into()
        })
    }
}
