//! The operations that look.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// Reads, writes and moves files so that nobody ever sees half of one.
///
/// Paths are relative to the directory in which the run was started. What is written appears whole, at once and for
/// good: a crash leaves the old content or the new one.
#[primitive(name = "files")]
mod operations {
    use std::io::Read;
    use std::path::Path;

    use hob_model::{OpError, Value};
    use hob_primitive::{Choice, Ctx, Mode, Options, PathText, Size};

    use crate::glob::Pattern;
    use crate::hash::{self, Algorithm};
    use crate::port::{FilesPort, Kind, Meta};
    use crate::problem::{Watch, fault, is_absent};
    use crate::walk::{ENTRIES_MAX, Walk};

    /// How much `read` takes in unless the call says otherwise: what is read is journaled.
    const READ_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

    /// The most that a call may ask to read.
    const READ_BYTES_MAX: u64 = 1024 * 1024 * 1024;

    /// How many entries `list` and `glob` give unless the call says otherwise: they are journaled.
    const LISTED_DEFAULT: usize = 100_000;

    /// Options of `files::read`.
    #[derive(Debug, Options)]
    struct ReadOptions {
        /// Whether the content is given as a blob; otherwise it is a text and has to be UTF-8.
        #[option(default = "false")]
        binary: bool,
        /// The largest file that is read.
        #[option(default = "Size(READ_BYTES_DEFAULT)")]
        limit: Size,
    }

    /// Reads a file and gives its content as a text, or as a blob with `binary: true`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `not_found`, and with `invalid` for a directory, a file larger than `limit` (64 MiB) and, without
    /// `binary: true`, one that is no UTF-8.
    ///
    /// ```rhai
    /// files::write("greeting.txt", "moin\n");
    /// files::read("greeting.txt") == "moin\n"
    /// ```
    #[operation(observe, permission = "files.read:{path}", returns = "string or blob")]
    fn read(cx: &Ctx, path: PathText, options: ReadOptions) -> Result<Value, OpError> {
        let path = cx.resolve(&path.0);
        let port = cx.port::<dyn FilesPort>()?;
        let Size(limit) = options.limit;
        if limit > READ_BYTES_MAX {
            return Err(OpError::invalid(format!("option `limit`: more than {READ_BYTES_MAX} bytes")));
        }
        let meta = readable(&*port, &path)?;
        let too_large = || {
            OpError::invalid(format!("{} is larger than {}", path.display(), hob_model::size::format(limit)))
                .hint("raise `limit`, or leave the content where it is: copy, hash, archive, a program")
        };
        if meta.size > limit {
            return Err(too_large());
        }
        let source = port.open(&path).map_err(|error| fault(&error, &path))?;
        let mut bytes = Vec::with_capacity(usize::try_from(meta.size).unwrap_or_default());
        let mut watch = Watch::new(cx, format!("reading {}", path.display()), Some(meta.size));
        // One more than the limit shows a file that is larger than it says, as those of /proc are.
        hash::chunks(&mut source.take(limit + 1), &path, &mut watch, &mut |chunk| {
            bytes.extend_from_slice(chunk);
            Ok(())
        })?;
        if bytes.len() as u64 > limit {
            return Err(too_large());
        }
        if options.binary {
            return Ok(Value::Blob(bytes));
        }
        String::from_utf8(bytes).map(Value::String).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            OpError::invalid(format!("{} is no text: byte {at} is not UTF-8", path.display()))
                .hint("`binary: true` reads it as a blob")
        })
    }

    /// A file that can be read to its end.
    fn readable(port: &dyn FilesPort, path: &Path) -> Result<Meta, OpError> {
        let meta = port.stat(path, true).map_err(|error| fault(&error, path))?;
        match meta.kind {
            Kind::File => Ok(meta),
            Kind::Directory => Err(OpError::invalid(format!("{} is a directory", path.display()))
                .hint("files::list shows what is in it")),
            Kind::Symlink | Kind::Special => {
                Err(OpError::invalid(format!("{} is a pipe, a socket or a device", path.display())).hint(
                    "use a program that reads as much of it as it needs: process::run([\"head\", \"-c\", …])",
                ))
            }
        }
    }

    /// Tells whether there is anything at a path.
    ///
    /// A symbolic link to nowhere is not there. Class `observe`: it only looks.
    ///
    /// Fails with `denied` when a directory above it may not be entered.
    ///
    /// ```rhai
    /// !files::exists("absent") && files::exists(".")
    /// ```
    #[operation(observe, permission = "files.read:{path}", returns = "bool")]
    fn exists(cx: &Ctx, path: PathText) -> Result<bool, OpError> {
        let path = cx.resolve(&path.0);
        match cx.port::<dyn FilesPort>()?.stat(&path, true) {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(fault(&error, &path)),
        }
    }

    /// Options of `files::stat`.
    #[derive(Debug, Options)]
    struct StatOptions {
        /// Whether a symbolic link is followed.
        #[option(default = "true")]
        follow: bool,
    }

    /// Gives what is known about a file without opening it.
    ///
    /// `path`, `kind` (`file`, `directory`, `symlink`, `special`), `size`, `mode` (`"0644"`), `owner`, `group` (names,
    /// or numbers without one), `uid`, `gid`, `modified` (RFC 3339), `links`, `device`, `inode`, and with
    /// `follow: false` the `target` of a link.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai
    /// files::write("key", "k", #{ mode: "0600" });
    /// let it = files::stat("key");
    /// it.kind == "file" && it.size == 1 && it.mode == "0600"
    /// ```
    #[operation(observe, permission = "files.read:{path}", returns = "map")]
    fn stat(cx: &Ctx, path: PathText, options: StatOptions) -> Result<Value, OpError> {
        let path = cx.resolve(&path.0);
        let port = cx.port::<dyn FilesPort>()?;
        let meta = port.stat(&path, options.follow).map_err(|error| fault(&error, &path))?;
        let target = match meta.kind {
            Kind::Symlink => Some(port.read_link(&path).map_err(|error| fault(&error, &path))?),
            _ => None,
        };
        Ok(Value::map([
            ("path", Value::from(path.to_string_lossy().into_owned())),
            ("kind", Value::from(meta.kind.as_str())),
            ("size", Value::from(meta.size)),
            ("mode", Value::from(Mode(meta.mode).to_string())),
            ("owner", Value::from(port.user_name(meta.uid).unwrap_or_else(|| meta.uid.to_string()))),
            ("group", Value::from(port.group_name(meta.gid).unwrap_or_else(|| meta.gid.to_string()))),
            ("uid", Value::from(meta.uid)),
            ("gid", Value::from(meta.gid)),
            ("modified", Value::from(meta.modified.to_string())),
            ("links", Value::from(meta.links)),
            ("device", Value::from(meta.device)),
            ("inode", Value::from(meta.inode)),
            ("target", Value::from(target.map(|target| target.to_string_lossy().into_owned()))),
        ]))
    }

    /// The kinds that `list` and `glob` can be limited to.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
    enum Only {
        File,
        Directory,
        Symlink,
    }

    impl Only {
        fn admits(only: Option<Self>, kind: Kind) -> bool {
            only.is_none_or(|only| only.as_str() == kind.as_str())
        }
    }

    /// Options of `files::list`.
    #[derive(Debug, Options)]
    struct ListOptions {
        /// Whether directories are entered; links are not followed.
        #[option(default = "false")]
        recursive: bool,
        /// Only this kind.
        kind: Option<Only>,
        /// The most entries that are given; more are an error.
        #[option(default = "LISTED_DEFAULT")]
        limit: usize,
    }

    /// Lists what is in a directory, in the order of the names.
    ///
    /// Each entry has `name` (with `recursive`, the path from the directory), `path`, `kind`, `size` and `modified`.
    /// Bytes of a name that are no UTF-8 are shown as `�`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai
    /// files::write("d/b", "", #{ mkdir: true });
    /// files::write("d/sub/a", "12", #{ mkdir: true });
    /// files::list("d").map(|e| e.name) == ["b", "sub"]
    ///     && files::list("d", #{ recursive: true, kind: "file" }).map(|e| e.name) == ["b", "sub/a"]
    /// ```
    #[operation(observe, permission = "files.read:{path}", returns = "array")]
    fn list(cx: &Ctx, path: PathText, options: ListOptions) -> Result<Value, OpError> {
        let path = cx.resolve(&path.0);
        let port = cx.port::<dyn FilesPort>()?;
        let watch = Watch::new(cx, format!("listing {}", path.display()), None);
        let walk = Walk {
            entries_max: listed_max(options.limit)?,
            depth_max: if options.recursive { Walk::default().depth_max } else { 1 },
            ..Walk::default()
        };
        let found = walk.collect(&*port, &path, &watch)?;
        let wanted = found.into_iter().filter(|it| Only::admits(options.kind, it.meta.kind));
        let entries = wanted.map(|it| {
            Value::map([
                ("name", Value::from(it.relative.to_string_lossy().into_owned())),
                ("path", Value::from(path.join(&it.relative).to_string_lossy().into_owned())),
                ("kind", Value::from(it.meta.kind.as_str())),
                ("size", Value::from(it.meta.size)),
                ("modified", Value::from(it.meta.modified.to_string())),
            ])
        });
        Ok(Value::Array(entries.collect()))
    }

    fn listed_max(limit: usize) -> Result<usize, OpError> {
        match limit <= ENTRIES_MAX {
            true => Ok(limit),
            false => Err(OpError::invalid(format!("option `limit`: more than {ENTRIES_MAX}"))),
        }
    }

    /// Options of `files::glob`.
    #[derive(Debug, Options)]
    struct GlobOptions {
        /// Whether names with a leading dot are found where the pattern does not ask for them.
        #[option(default = "false")]
        hidden: bool,
        /// Only this kind.
        kind: Option<Only>,
        /// The most paths that are given; more are an error.
        #[option(default = "LISTED_DEFAULT")]
        limit: usize,
    }

    /// Gives the paths that match a pattern, in the order of the names.
    ///
    /// `*` and `?` stay within a name, `**` crosses directories, `[a-z]` and `{mkv,mp4}` choose, `\` escapes. The paths
    /// are relative when the pattern is. A pattern that matches nothing gives an empty array.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai
    /// for name in ["a.mkv", "b.mp4", "c.txt", "deep/d.mkv"] { files::write(name, "", #{ mkdir: true }); }
    /// files::glob("*.{mkv,mp4}") == ["a.mkv", "b.mp4"] && files::glob("**/*.mkv") == ["a.mkv", "deep/d.mkv"]
    /// ```
    #[operation(observe, permission = "files.read:{pattern}", returns = "array")]
    fn glob(cx: &Ctx, pattern: PathText, options: GlobOptions) -> Result<Vec<String>, OpError> {
        let absolute = cx.resolve(&pattern.0);
        let limit = listed_max(options.limit)?;
        let port = cx.port::<dyn FilesPort>()?;
        let watch = Watch::new(cx, format!("looking for {}", pattern.0), None);
        let found = Pattern::new(&absolute, options.hidden)?.find(&*port, &watch)?;
        let wanted = found.into_iter().filter(|(_, kind)| Only::admits(options.kind, *kind));
        let is_relative = Path::new(&pattern.0).is_relative();
        let shown = wanted.map(|(path, _)| match path.strip_prefix(cx.cwd()) {
            Ok(relative) if is_relative => relative.to_string_lossy().into_owned(),
            _ => path.to_string_lossy().into_owned(),
        });
        let paths: Vec<String> = shown.collect();
        match paths.len() <= limit {
            true => Ok(paths),
            false => Err(OpError::invalid(format!(
                "{} matches {} paths, more than {limit}",
                pattern.0,
                paths.len()
            ))
            .hint("narrow the pattern or raise `limit`")),
        }
    }

    /// Options of `files::hash`.
    #[derive(Debug, Options)]
    struct HashOptions {
        /// `blake3`, `sha256` or `sha512`.
        #[option(default = "Algorithm::Blake3")]
        algorithm: Algorithm,
    }

    /// Gives the digest of a file's content in hexadecimal.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai
    /// files::write("abc", "abc");
    /// files::hash("abc", #{ algorithm: "sha256" })
    ///     == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    /// ```
    #[operation(observe, permission = "files.read:{path}", returns = "string")]
    fn hash(cx: &Ctx, path: PathText, options: HashOptions) -> Result<String, OpError> {
        let path = cx.resolve(&path.0);
        let port = cx.port::<dyn FilesPort>()?;
        let meta = readable(&*port, &path)?;
        let mut source = port.open(&path).map_err(|error| fault(&error, &path))?;
        let mut watch = Watch::new(cx, format!("hashing {}", path.display()), Some(meta.size));
        hash::digest(&mut source, &path, options.algorithm, &mut watch)
    }

    /// Gives the text that a template makes of variables.
    ///
    /// The template is a file in the language of Jinja2. A variable that is not defined is an error, so that a typing
    /// mistake does not end in a configuration. It may include others of its own directory.
    ///
    /// Class `observe`: it reads the template.
    ///
    /// ```rhai
    /// files::write("site.j2", "{% for h in hosts %}{{ h }} {% endfor %}{{ port }}\n");
    /// files::render("site.j2", #{ hosts: ["a", "b"], port: 80 }) == "a b 80\n"
    /// ```
    #[operation(observe, permission = "files.read:{template}", returns = "string")]
    fn render(cx: &Ctx, template: PathText, variables: Value) -> Result<String, OpError> {
        crate::render::file(&cx.port::<dyn FilesPort>()?, &cx.resolve(&template.0), &variables)
    }
}
