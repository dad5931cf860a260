//! The operations on archives.

pub(crate) use operations::primitive;

use std::path::Path;

use hob_model::{OpError, Value};
use hob_primitive::{FromValue, Mismatch, primitive};

/// What an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Tar,
    TarGz,
    TarZst,
    Zip,
}

/// The ends of file names, and what they mean.
const SUFFIXES: [(&str, Format); 6] = [
    (".tar", Format::Tar),
    (".tar.gz", Format::TarGz),
    (".tgz", Format::TarGz),
    (".tar.zst", Format::TarZst),
    (".tzst", Format::TarZst),
    (".zip", Format::Zip),
];

impl FromValue for Format {
    const KIND: &'static str = "string";
    const CHOICES: &'static [&'static str] = &["tar", "tar.gz", "tar.zst", "zip"];
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let text = String::from_value(value)?;
        let found = SUFFIXES.iter().find(|(suffix, _)| suffix[1..] == text);
        found.map(|(_, format)| *format).ok_or_else(|| Mismatch::choice(&text, Self::CHOICES))
    }
}

impl Format {
    /// The format that is asked for, or the one that the name says.
    fn of(asked: Option<Self>, path: &Path) -> Result<Self, OpError> {
        let name = path.to_string_lossy().to_lowercase();
        let by_name = SUFFIXES.iter().find(|(suffix, _)| name.ends_with(suffix)).map(|(_, format)| *format);
        asked.or(by_name).ok_or_else(|| {
            OpError::invalid(format!("{} does not say what kind of archive it is", path.display()))
                .hint("name it .tar, .tar.gz, .tar.zst or .zip, or give `format`")
        })
    }
}

/// One path, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sources {
    One(String),
    Many(Vec<String>),
}

impl FromValue for Sources {
    const KIND: &'static str = "string or array";
    const IS_PATH: bool = true;
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        use hob_primitive::PathText;
        match value {
            Value::Array(_) => {
                let paths = Vec::<PathText>::from_value(value)?;
                Ok(Self::Many(paths.into_iter().map(|path| path.0).collect()))
            }
            other => PathText::from_value(other).map(|path| Self::One(path.0)),
        }
    }
}

/// What packs and unpacks; joined with the rest of `files`.
#[primitive(name = "files")]
mod operations {
    use hob_model::{ErrorKind, OpError, Value};
    use hob_primitive::{Args, Ctx, Mode, Options, PathText, Size};

    use std::path::Path;

    use super::{Format, Sources};
    use crate::atomic::{self, Attributes};
    use crate::pack::{self, Packing};
    use crate::port::FilesPort;
    use crate::problem::{Watch, fault};
    use crate::unpack::{self, EXTRACTED_BYTES_DEFAULT};

    /// Options of `files::archive`.
    #[derive(Debug, Options)]
    struct ArchiveOptions {
        /// `tar`, `tar.gz`, `tar.zst` or `zip`; without it what the name says.
        format: Option<Format>,
        /// How hard to compress: 1 to 9, for `tar.zst` to 19. Without it the format's own middle.
        level: Option<u32>,
        /// Patterns of names in the archive that are left out: `["*.tmp", "cache/**"]`.
        exclude: Option<Vec<String>>,
        /// The permission bits of the archive.
        mode: Option<Mode>,
        /// Whether missing directories above it are made.
        #[option(default = "false")]
        mkdir: bool,
    }

    /// Packs a directory, a file or several of them into an archive; gives `path`, `entries` and `bytes`.
    ///
    /// Of a directory what is in it is packed, under its path from there; of an array each item under its own name. The
    /// entries stand in the order of their names, with mode, time and (tar) numbers of the owner; links are packed as
    /// links. The archive appears whole. One that would hold itself leaves itself out.
    ///
    /// Class `ensure`: packing again makes the same archive.
    ///
    /// A dry run counts what is there to be packed: `bytes` is what it has before it is compressed.
    ///
    /// Fails with `invalid` for pipes, sockets and devices, and with `conflict` when a file shrinks while it is read.
    ///
    /// ```rhai
    /// files::write("src/a.txt", "1", #{ mkdir: true });
    /// files::archive("src", "out.tar.zst").entries == 1
    /// ```
    #[operation(ensure, permission = "files.read:{from} files.write:{to}", returns = "map", model = model_archive)]
    fn archive(cx: &Ctx, from: Sources, to: PathText, options: ArchiveOptions) -> Result<Value, OpError> {
        let port = cx.port::<dyn FilesPort>()?;
        let to = atomic::through_links(&*port, &cx.resolve(&to.0))?;
        let format = Format::of(options.format, &to)?;
        let wanted = Attributes { mode: options.mode.map(|Mode(bits)| bits), ..Attributes::default() };
        let mut packing = packing(cx, &*port, &to, &options);
        let items = packing.collect(cx, &from, options.exclude.as_deref().unwrap_or_default())?;
        atomic::make_parent(&*port, &to, options.mkdir)?;
        atomic::replace(cx, &*port, &to, &wanted, &mut |sink| {
            pack::write(&mut packing, format, &items, &to, sink)
        })?;
        let size = port.stat(&to, true).map_err(|error| fault(&error, &to))?.size;
        Ok(moved(&to, items.len() as u64, size))
    }

    fn packing<'a>(cx: &Ctx, port: &'a dyn FilesPort, to: &Path, options: &ArchiveOptions) -> Packing<'a> {
        Packing {
            port,
            watch: Watch::new(cx, format!("packing {}", to.display()), None),
            level: options.level,
            without: vec![to.to_path_buf(), atomic::temporary(cx, to)],
        }
    }

    fn moved(to: &Path, entries: u64, bytes: u64) -> Value {
        Value::map([
            ("path", Value::from(to.to_string_lossy().into_owned())),
            ("entries", Value::from(entries)),
            ("bytes", Value::from(bytes)),
        ])
    }

    fn model_archive(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (from, to): (Sources, PathText) = (args.next("from")?, args.next("to")?);
        let options: ArchiveOptions = args.options()?;
        let port = cx.port::<dyn FilesPort>()?;
        let to = atomic::through_links(&*port, &cx.resolve(&to.0))?;
        Format::of(options.format, &to)?;
        let packing = packing(cx, &*port, &to, &options);
        match packing.collect(cx, &from, options.exclude.as_deref().unwrap_or_default()) {
            Ok(items) => Ok(moved(&to, items.len() as u64, items.iter().map(pack::Item::bytes).sum())),
            // An earlier call of the dry run would have made it.
            Err(error) if error.kind == ErrorKind::NotFound => Ok(moved(&to, 0, 0)),
            Err(error) => Err(error),
        }
    }

    /// Options of `files::extract`.
    #[derive(Debug, Options)]
    struct ExtractOptions {
        /// `tar`, `tar.gz`, `tar.zst` or `zip`; without it what the name says.
        format: Option<Format>,
        /// How many leading parts of each name are dropped.
        #[option(default = "0")]
        strip: usize,
        /// Whether files that are there already are replaced.
        #[option(default = "true")]
        replace: bool,
        /// How many bytes may come out; an archive can be much larger than it looks.
        #[option(default = "Size(EXTRACTED_BYTES_DEFAULT)")]
        limit: Size,
        /// Whether missing directories above the target are made.
        #[option(default = "false")]
        mkdir: bool,
    }

    /// Unpacks an archive into a directory; gives `path`, `entries` and `bytes`.
    ///
    /// All of it is first unpacked beside the target and then put in its place, so that a damaged archive or a full disk
    /// leaves the target as it was. Into a directory that is there the files are moved one by one, after it was seen that
    /// none of them is in the way. Permission bits and times are kept; set-user-id bits and owners are not.
    ///
    /// Class `ensure`: unpacking again makes the same files.
    ///
    /// A dry run does not open the archive: `entries` and `bytes` are 0.
    ///
    /// Fails with `invalid` when an entry or a link leads out of the target, is absolute, or is a device, when the
    /// archive is damaged, or when more than `limit` (16 GiB) or a million entries come out; with `conflict` when a
    /// directory is where a file is to be, or a file is there and `replace` is false.
    ///
    /// ```rhai
    /// files::write("src/a.txt", "1", #{ mkdir: true });
    /// files::archive("src", "out.zip");
    /// files::extract("out.zip", "copy").entries == 1 && files::read("copy/a.txt") == "1"
    /// ```
    #[operation(ensure, permission = "files.read:{from} files.write:{to}", returns = "map", model = model_extract)]
    fn extract(cx: &Ctx, from: PathText, to: PathText, options: ExtractOptions) -> Result<Value, OpError> {
        let port = cx.port::<dyn FilesPort>()?;
        let (from, to) = (cx.resolve(&from.0), atomic::through_links(&*port, &cx.resolve(&to.0))?);
        let format = Format::of(options.format, &from)?;
        let Size(bytes_max) = options.limit;
        atomic::make_parent(&*port, &to, options.mkdir)?;
        let limits = unpack::Limits { bytes_max, strip: options.strip };
        let (entries, bytes) = unpack::extract(cx, &*port, (&from, format), (&to, options.replace), &limits)?;
        Ok(moved(&to, entries as u64, bytes))
    }

    fn model_extract(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (from, to): (PathText, PathText) = (args.next("from")?, args.next("to")?);
        let options: ExtractOptions = args.options()?;
        let port = cx.port::<dyn FilesPort>()?;
        Format::of(options.format, &cx.resolve(&from.0))?;
        Ok(moved(&atomic::through_links(&*port, &cx.resolve(&to.0))?, 0, 0))
    }
}
