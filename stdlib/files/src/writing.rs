//! The operations that change the content of one file.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What writes; joined with the rest of `files`.
#[primitive(name = "files")]
mod operations {
    use std::io::{Read, SeekFrom};
    use std::path::Path;

    use hob_model::{OpError, Timestamp, Value};
    use hob_primitive::{Args, Ctx, Mode, NameOrId, Options, PathText, Probe, SecretContent, SecretValue};

    use zeroize::Zeroizing;

    use crate::atomic::{self, Attributes, FILE_MODE};
    use crate::port::FilesPort;
    use crate::problem::{fault, fault_making, is_absent, seen};

    /// How far behind its offset an append is looked for, when others wrote meanwhile.
    const PROBE_BYTES_MAX: u64 = 64 * 1024 * 1024;

    /// Options of what makes a file anew.
    #[derive(Debug, Options)]
    struct WriteOptions {
        /// Its permission bits: `"0640"`. Without it those of the file that is replaced, or what the umask leaves.
        mode: Option<Mode>,
        /// Its owner, by name or number; without it that of the file that is replaced.
        owner: Option<NameOrId>,
        /// Its group, by name or number; without it that of the file that is replaced.
        group: Option<NameOrId>,
        /// Whether missing directories above it are made.
        #[option(default = "false")]
        mkdir: bool,
    }

    /// Writes a file: whole, at once and for good.
    ///
    /// The content goes into a temporary file beside it, which then takes its place; both are on the disk when the call
    /// returns. A link stays a link: the file it points to is written. Other hard links keep the old content. The
    /// result has `path`, `changed` (false when content, mode and owner were as asked already; nothing is written
    /// then) and `bytes`. The content may be a secret, or a text with secrets in it: give it a `mode`.
    ///
    /// Class `ensure`: writing the same again changes nothing.
    ///
    /// A dry run looks whether the file has that content, mode and owner already, and gives the same map.
    ///
    /// Fails with `not_found` when the directory is missing (`mkdir: true` makes it), `invalid` when there is a
    /// directory or a device, `denied`, and `unavailable` when the disk is full; the old file is untouched then.
    ///
    /// ```rhai
    /// files::write("etc/app.conf", "port = 80\n", #{ mkdir: true, mode: "0640" }).changed
    ///     && !files::write("etc/app.conf", "port = 80\n").changed
    /// ```
    #[operation(ensure, permission = "files.write:{path}", returns = "map", model = model_write)]
    fn write(
        cx: &Ctx,
        path: PathText,
        content: SecretContent,
        options: WriteOptions,
    ) -> Result<Value, OpError> {
        write_content(cx, &path, &cx.open(&content.0)?, &options)
    }

    /// Writes the text that a template makes of variables, as `files::write` does.
    ///
    /// See `files::render` for templates. Variables may be secrets: they are open while the template is filled.
    ///
    /// Class `ensure`: the same template and variables make the same file.
    ///
    /// A dry run renders the template too; where it is not there yet, the result has 0 `bytes`.
    ///
    /// ```rhai
    /// files::write("app.j2", "port = {{ port }}\n");
    /// files::template("app.j2", "app.conf", #{ port: 80 }, #{ mode: "0644" });
    /// files::read("app.conf") == "port = 80\n"
    /// ```
    #[operation(ensure, permission = "files.read:{template} files.write:{path}", returns = "map", model = model_template)]
    fn template(
        cx: &Ctx,
        template: PathText,
        path: PathText,
        variables: SecretValue,
        options: WriteOptions,
    ) -> Result<Value, OpError> {
        let port = cx.port::<dyn FilesPort>()?;
        let variables = cx.open_value(&variables.0)?;
        let text = Zeroizing::new(crate::render::file(&port, &cx.resolve(&template.0), &variables)?);
        write_content(cx, &path, text.as_bytes(), &options)
    }

    fn write_content(
        cx: &Ctx,
        path: &PathText,
        content: &[u8],
        options: &WriteOptions,
    ) -> Result<Value, OpError> {
        let port = cx.port::<dyn FilesPort>()?;
        let path = atomic::through_links(&*port, &cx.resolve(&path.0))?;
        let wanted = Attributes::read(&*port, options.mode, options.owner.as_ref(), options.group.as_ref())?;
        atomic::make_parent(&*port, &path, options.mkdir)?;
        let changed = if holds(&*port, &path, content)? {
            wanted.apply(&*port, &path)?
        } else {
            atomic::replace(cx, &*port, &path, &wanted, &mut |sink| {
                sink.write_all(content).map_err(|error| fault(&error, &path))
            })?;
            true
        };
        Ok(written(&path, changed, content.len()))
    }

    fn written(path: &Path, changed: bool, bytes: usize) -> Value {
        Value::map([
            ("path", Value::from(path.to_string_lossy().into_owned())),
            ("changed", Value::from(changed)),
            ("bytes", Value::from(bytes)),
        ])
    }

    fn model_write(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (path, content): (PathText, SecretContent) = (args.next("path")?, args.next("content")?);
        pretend(cx, &path, Some(&cx.open(&content.0)?), &args.options()?)
    }

    fn model_template(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (template, path): (PathText, PathText) = (args.next("template")?, args.next("path")?);
        let variables: SecretValue = args.next("variables")?;
        let variables = cx.open_value(&variables.0)?;
        let port = cx.port::<dyn FilesPort>()?;
        let template = cx.resolve(&template.0);
        let text = match seen(&*port, &template, true)? {
            Some(_) => Some(Zeroizing::new(crate::render::file(&port, &template, &variables)?)),
            None => None,
        };
        pretend(cx, &path, text.as_ref().map(|text| text.as_bytes()), &args.options()?)
    }

    /// What `write_content` would give; `None` for content that is not known.
    fn pretend(
        cx: &Ctx,
        path: &PathText,
        content: Option<&[u8]>,
        options: &WriteOptions,
    ) -> Result<Value, OpError> {
        let port = cx.port::<dyn FilesPort>()?;
        let path = atomic::through_links(&*port, &cx.resolve(&path.0))?;
        let wanted = Attributes::read(&*port, options.mode, options.owner.as_ref(), options.group.as_ref())?;
        let old = atomic::existing_file(&*port, &path)?;
        let same = match content {
            Some(content) => holds(&*port, &path, content)? && old.is_some_and(|old| wanted.hold(&old)),
            None => false,
        };
        Ok(written(&path, !same, content.map_or(0, <[u8]>::len)))
    }

    /// Whether there is a file with just this content.
    fn holds(port: &dyn FilesPort, path: &Path, content: &[u8]) -> Result<bool, OpError> {
        match atomic::existing_file(port, path)? {
            Some(meta) if meta.size == content.len() as u64 => {}
            _ => return Ok(false),
        }
        // A file that may be replaced but not read is replaced.
        let Ok(mut source) = port.open(path) else {
            return Ok(false);
        };
        let mut old = Vec::with_capacity(content.len());
        let read = source.by_ref().take(content.len() as u64 + 1).read_to_end(&mut old);
        Ok(read.is_ok() && old == content)
    }

    /// Options of `files::append`.
    #[derive(Debug, Options)]
    struct AppendOptions {
        /// The permission bits of a file that is made by this call.
        mode: Option<Mode>,
        /// Whether missing directories above it are made.
        #[option(default = "false")]
        mkdir: bool,
    }

    /// Appends to a file, which is made if it is not there; gives its new size.
    ///
    /// Class `keyed`: the intent notes the size of the file, so that after a crash it can be seen whether the content
    /// stands there; what a crash tore off is completed. Two writers that append the very same bytes at the same time
    /// cannot be told apart.
    ///
    /// Fails as `files::write`; a write that fails half-way, on a full disk, is taken back.
    ///
    /// A dry run gives the size that the file would have.
    ///
    /// ```rhai
    /// files::append("log", "one\n");
    /// files::append("log", "two\n");
    /// files::read("log") == "one\ntwo\n"
    /// ```
    #[operation(keyed, permission = "files.write:{path}", returns = "int", model = model_append, intent = note_end, probe = probe_append)]
    fn append(
        cx: &Ctx,
        path: PathText,
        content: SecretContent,
        options: AppendOptions,
    ) -> Result<u64, OpError> {
        let content = cx.open(&content.0)?;
        let port = cx.port::<dyn FilesPort>()?;
        let path = atomic::through_links(&*port, &cx.resolve(&path.0))?;
        atomic::make_parent(&*port, &path, options.mkdir)?;
        let is_new = atomic::existing_file(&*port, &path)?.is_none();
        let rest = match torn(cx, &*port, &path, &content)? {
            Some(there) => &content[there..],
            None => &content[..],
        };
        let mode = options.mode.map_or(FILE_MODE, |Mode(bits)| bits);
        port.append(&path, rest, mode).map_err(|error| fault_making(&error, &path))?;
        if is_new {
            let wanted = Attributes { mode: options.mode.map(|Mode(bits)| bits), ..Attributes::default() };
            wanted.apply(&*port, &path)?;
            atomic::sync_parent(&*port, &path)?;
        }
        Ok(port.stat(&path, true).map_err(|error| fault(&error, &path))?.size)
    }

    fn model_append(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (path, content): (PathText, SecretContent) = (args.next("path")?, args.next("content")?);
        let content = cx.open(&content.0)?;
        let _: AppendOptions = args.options()?;
        let port = cx.port::<dyn FilesPort>()?;
        let path = atomic::through_links(&*port, &cx.resolve(&path.0))?;
        let size = atomic::existing_file(&*port, &path)?.map_or(0, |meta| meta.size);
        Ok(Value::from(size + content.len() as u64))
    }

    /// How much of the content a crash left at the end of the file.
    ///
    /// Only what an earlier process began is completed: this one takes back what it could not finish, so what it finds
    /// behind the noted end is somebody else's.
    fn torn(cx: &Ctx, port: &dyn FilesPort, path: &Path, content: &[u8]) -> Result<Option<usize>, OpError> {
        let Some((offset, instance)) = noted(cx) else {
            return Ok(None);
        };
        if instance == port.instance() {
            return Ok(None);
        }
        let tail = read_from(port, path, offset, content.len() as u64)?;
        Ok((!tail.is_empty() && tail.len() < content.len() && content.starts_with(&tail))
            .then_some(tail.len()))
    }

    fn note_end(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let path: PathText = args.next("path")?;
        let port = cx.port::<dyn FilesPort>()?;
        let path = atomic::through_links(&*port, &cx.resolve(&path.0))?;
        let size = atomic::existing_file(&*port, &path)?.map_or(0, |meta| meta.size);
        Ok(Value::map([("offset", Value::from(size)), ("instance", Value::from(port.instance()))]))
    }

    fn noted(cx: &Ctx) -> Option<(u64, &str)> {
        let offset = cx.noted().get("offset").and_then(Value::as_int)?;
        let instance = cx.noted().get("instance").and_then(Value::as_str)?;
        Some((u64::try_from(offset).ok()?, instance))
    }

    fn probe_append(cx: &Ctx, mut args: Args) -> Result<Probe, OpError> {
        let (path, content): (PathText, SecretContent) = (args.next("path")?, args.next("content")?);
        let content = cx.open(&content.0)?;
        let port = cx.port::<dyn FilesPort>()?;
        let path = atomic::through_links(&*port, &cx.resolve(&path.0))?;
        let Some((offset, _)) = noted(cx) else {
            return Ok(Probe::Unknown("nothing was noted before it".to_owned()));
        };
        let size = atomic::existing_file(&*port, &path)?.map_or(0, |meta| meta.size);
        if size < offset {
            let said = format!(
                "{} had {offset} bytes and now has {size}: somebody cut or replaced it",
                path.display()
            );
            return Ok(Probe::Unknown(said));
        }
        let tail = read_from(&*port, &path, offset, PROBE_BYTES_MAX)?;
        let content = &content[..];
        let stands =
            tail.starts_with(content) || tail.windows(content.len().max(1)).any(|window| window == content);
        Ok(match stands {
            true => Probe::Done(Value::from(size)),
            false if size - offset > PROBE_BYTES_MAX => {
                Probe::Unknown(format!("{} grew by more than is looked through", path.display()))
            }
            false => Probe::NotDone,
        })
    }

    fn read_from(port: &dyn FilesPort, path: &Path, offset: u64, bytes_max: u64) -> Result<Vec<u8>, OpError> {
        let mut tail = Vec::new();
        let read = port.open(path).and_then(|mut source| {
            source.seek(SeekFrom::Start(offset))?;
            source.take(bytes_max).read_to_end(&mut tail)
        });
        match read {
            Ok(_) => Ok(tail),
            Err(error) if is_absent(&error) => Ok(tail),
            Err(error) => Err(fault(&error, path)),
        }
    }

    /// Options of `files::touch`.
    #[derive(Debug, Options)]
    struct TouchOptions {
        /// The time of its last change: RFC 3339. Without it now.
        modified: Option<String>,
        /// Whether missing directories above it are made.
        #[option(default = "false")]
        mkdir: bool,
    }

    /// Sets the time of a file's last change, and makes an empty file if there is none.
    ///
    /// Class `ensure`: done again it sets the time again, and never touches the content.
    ///
    /// A dry run checks the time that is given.
    ///
    /// ```rhai
    /// files::touch("marker", #{ modified: "2026-01-01T00:00:00Z" });
    /// files::stat("marker").modified == "2026-01-01T00:00:00Z"
    /// ```
    #[operation(ensure, permission = "files.write:{path}", returns = "()", model = model_touch)]
    fn touch(cx: &Ctx, path: PathText, options: TouchOptions) -> Result<(), OpError> {
        let port = cx.port::<dyn FilesPort>()?;
        let path = atomic::through_links(&*port, &cx.resolve(&path.0))?;
        let modified = modified(cx, &options)?;
        atomic::make_parent(&*port, &path, options.mkdir)?;
        match port.stat(&path, true) {
            Ok(_) => {}
            Err(error) if is_absent(&error) => {
                port.append(&path, &[], FILE_MODE).map_err(|error| fault_making(&error, &path))?;
                atomic::sync_parent(&*port, &path)?;
            }
            Err(error) => return Err(fault(&error, &path)),
        }
        port.set_modified(&path, modified).map_err(|error| fault(&error, &path))
    }

    fn modified(cx: &Ctx, options: &TouchOptions) -> Result<Timestamp, OpError> {
        let Some(text) = &options.modified else {
            return Ok(cx.now());
        };
        text.parse().map_err(|_| {
            OpError::invalid(format!("option `modified`: \"{text}\" is no time"))
                .hint("write RFC 3339: \"2026-01-01T00:00:00Z\"")
        })
    }

    fn model_touch(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let _: PathText = args.next("path")?;
        modified(cx, &args.options()?)?;
        Ok(Value::Unit)
    }
}
