//! The operations that make, move and remove names.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What changes names; joined with the rest of `files`.
#[primitive(name = "files")]
mod operations {
    use std::io;
    use std::path::Path;

    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Mode, NameOrId, Options, PathText, Probe};

    use crate::atomic::{self, Attributes, Temporary};
    use crate::port::{FilesPort, Kind, Meta};
    use crate::problem::{Watch, fault, fault_making, in_the_way, is_absent, seen};
    use crate::walk::Walk;

    /// Options of `files::mkdir`.
    #[derive(Debug, Options)]
    struct MkdirOptions {
        /// Its permission bits: `"0750"`.
        mode: Option<Mode>,
        /// Its owner, by name or number.
        owner: Option<NameOrId>,
        /// Its group, by name or number.
        group: Option<NameOrId>,
    }

    /// Makes a directory and the ones above it that are missing; gives whether anything was changed.
    ///
    /// Mode and owner are those of the last one only, also when it is there already.
    ///
    /// Class `ensure`: a directory that is there is left there. A dry run looks whether it is.
    ///
    /// Fails with `conflict` when there is something else.
    ///
    /// ```rhai
    /// files::mkdir("srv/data", #{ mode: "0750" }) && !files::mkdir("srv/data")
    /// ```
    #[operation(ensure, permission = "files.write:{path}", returns = "bool", model = model_mkdir)]
    fn mkdir(cx: &Ctx, path: PathText, options: MkdirOptions) -> Result<bool, OpError> {
        let path = cx.resolve(&path.0);
        let port = cx.port::<dyn FilesPort>()?;
        let wanted = Attributes::read(&*port, options.mode, options.owner.as_ref(), options.group.as_ref())?;
        let made = atomic::make_dirs(&*port, &path)?;
        let target = atomic::through_links(&*port, &path)?;
        let set = wanted.apply(&*port, &target)?;
        Ok(made || set)
    }

    fn model_mkdir(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let path: PathText = args.next("path")?;
        let options: MkdirOptions = args.options()?;
        let path = cx.resolve(&path.0);
        let port = cx.port::<dyn FilesPort>()?;
        let wanted = Attributes::read(&*port, options.mode, options.owner.as_ref(), options.group.as_ref())?;
        match seen(&*port, &path, true)? {
            Some(meta) if meta.kind == Kind::Directory => Ok(Value::from(!wanted.hold(&meta))),
            Some(_) => Err(in_the_way(&path)),
            None => Ok(Value::from(true)),
        }
    }

    /// Options of `files::rename`.
    #[derive(Debug, Options)]
    struct RenameOptions {
        /// Whether a file that has the new name is replaced.
        #[option(default = "true")]
        replace: bool,
        /// Whether missing directories above the new name are made.
        #[option(default = "false")]
        mkdir: bool,
    }

    /// Gives a file or a directory another name on the same file system.
    ///
    /// Class `keyed`: the intent notes which file had the old name, so that after a crash it can be seen which name it
    /// has.
    ///
    /// Fails with `not_found`, with `conflict` when the new name is taken and `replace` is false, and with `invalid`
    /// across file systems, where `files::copy` and `files::remove` do it.
    ///
    /// ```rhai
    /// files::write("old", "1");
    /// files::rename("old", "new");
    /// !files::exists("old") && files::read("new") == "1"
    /// ```
    #[operation(keyed, permission = "files.write:{from} files.write:{to}", returns = "()", model = model_rename, intent = note_inode, probe = probe_rename)]
    fn rename(cx: &Ctx, from: PathText, to: PathText, options: RenameOptions) -> Result<(), OpError> {
        let (from, to) = (cx.resolve(&from.0), cx.resolve(&to.0));
        let port = cx.port::<dyn FilesPort>()?;
        port.stat(&from, false).map_err(|error| fault(&error, &from))?;
        atomic::make_parent(&*port, &to, options.mkdir)?;
        port.rename(&from, &to, options.replace).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => {
                in_the_way(&to).hint("remove it, or `replace: true` where it is a file")
            }
            io::ErrorKind::InvalidInput => {
                OpError::invalid(format!("{} is inside {}", to.display(), from.display()))
            }
            _ => fault_making(&error, &to),
        })?;
        atomic::sync_parent(&*port, &to)?;
        atomic::sync_parent(&*port, &from)
    }

    fn model_rename(_: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let _: (PathText, PathText) = (args.next("from")?, args.next("to")?);
        let _: RenameOptions = args.options()?;
        Ok(Value::Unit)
    }

    fn identity(port: &dyn FilesPort, path: &Path) -> Result<Option<String>, OpError> {
        match port.stat(path, false) {
            Ok(meta) => Ok(Some(format!("{}:{}", meta.device, meta.inode))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(fault(&error, path)),
        }
    }

    fn note_inode(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let from: PathText = args.next("from")?;
        Ok(identity(&*cx.port::<dyn FilesPort>()?, &cx.resolve(&from.0))?.into())
    }

    fn probe_rename(cx: &Ctx, mut args: Args) -> Result<Probe, OpError> {
        let (from, to): (PathText, PathText) = (args.next("from")?, args.next("to")?);
        let (from, to) = (cx.resolve(&from.0), cx.resolve(&to.0));
        let port = cx.port::<dyn FilesPort>()?;
        let Some(noted) = cx.noted().as_str() else {
            return Ok(Probe::NotDone); // there was nothing to rename, so it fails again
        };
        let is_it = |path: &Path| identity(&*port, path).map(|found| found.as_deref() == Some(noted));
        Ok(match (is_it(&from)?, is_it(&to)?) {
            (false, true) => Probe::Done(Value::Unit),
            (true, _) => Probe::NotDone,
            (false, false) => Probe::Unknown(format!(
                "the file is neither at {} nor at {} any more",
                from.display(),
                to.display()
            )),
        })
    }

    /// Options of `files::remove`.
    #[derive(Debug, Options)]
    struct RemoveOptions {
        /// Whether a directory is removed with all that is in it.
        #[option(default = "false")]
        recursive: bool,
    }

    /// Removes a file, a link or an empty directory; gives whether there was one.
    ///
    /// `recursive: true` takes a directory with all that is in it. Links are removed, not followed. A directory on which
    /// another file system is mounted, or which holds one, is refused.
    ///
    /// Class `ensure`: what is not there needs no removing. A dry run looks whether it is there.
    ///
    /// ```rhai
    /// files::write("d/x", "1", #{ mkdir: true });
    /// files::remove("d", #{ recursive: true }) && !files::remove("d")
    /// ```
    #[operation(ensure, permission = "files.write:{path}", returns = "bool", model = model_remove)]
    fn remove(cx: &Ctx, path: PathText, options: RemoveOptions) -> Result<bool, OpError> {
        let path = cx.resolve(&path.0);
        let port = cx.port::<dyn FilesPort>()?;
        let meta = match port.stat(&path, false) {
            Ok(meta) => meta,
            Err(error) if is_absent(&error) => return Ok(false),
            Err(error) => return Err(fault(&error, &path)),
        };
        let removed = match meta.kind {
            Kind::Directory if options.recursive => {
                refuse_mounts(cx, &*port, &path, &meta)?;
                port.remove_tree(&path)
            }
            Kind::Directory => port.remove_dir(&path),
            _ => port.remove_file(&path),
        };
        removed.map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty => OpError::conflict(format!("{} is not empty", path.display()))
                .hint("`recursive: true` removes it with all that is in it"),
            _ => fault(&error, &path),
        })?;
        atomic::sync_parent(&*port, &path)?;
        Ok(true)
    }

    fn model_remove(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let path: PathText = args.next("path")?;
        let _: RemoveOptions = args.options()?;
        let there = seen(&*cx.port::<dyn FilesPort>()?, &cx.resolve(&path.0), false)?;
        Ok(Value::from(there.is_some()))
    }

    /// A mounted disk below what is to be removed is a mistake more often than a wish.
    fn refuse_mounts(cx: &Ctx, port: &dyn FilesPort, path: &Path, meta: &Meta) -> Result<(), OpError> {
        let refuse = |at: &Path| {
            OpError::invalid(format!("another file system is mounted at {}", at.display()))
                .hint("unmount it first if it is really to go")
        };
        let Some(parent) = path.parent() else {
            return Err(OpError::invalid("the root directory is not removed"));
        };
        let above = port.stat(parent, true).map_err(|error| fault(&error, parent))?;
        if above.device != meta.device {
            return Err(refuse(path));
        }
        let watch = Watch::new(cx, format!("removing {}", path.display()), None);
        let found = Walk::default().collect(port, path, &watch)?;
        match found.iter().find(|it| it.meta.device != meta.device) {
            Some(other) => Err(refuse(&path.join(&other.relative))),
            None => Ok(()),
        }
    }

    /// Options of `files::chmod`.
    #[derive(Debug, Options)]
    struct ChmodOptions {
        /// Whether all that is in a directory is changed too; links are left alone.
        #[option(default = "false")]
        recursive: bool,
        /// With `recursive`, the bits of directories; without it `mode`, with `x` added wherever there is an `r`.
        directories: Option<Mode>,
    }

    /// Sets the permission bits of a file; gives whether any changed.
    ///
    /// Class `ensure`: bits that are set stay set. A dry run looks whether they are.
    ///
    /// ```rhai
    /// files::write("d/script", "", #{ mkdir: true });
    /// files::chmod("d/script", "0755") && !files::chmod("d/script", "0755")
    /// ```
    #[operation(ensure, permission = "files.write:{path}", returns = "bool", model = model_chmod)]
    fn chmod(cx: &Ctx, path: PathText, mode: Mode, options: ChmodOptions) -> Result<bool, OpError> {
        change(cx, &path, options.recursive, &bits(mode, &options))
    }

    fn model_chmod(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (path, mode): (PathText, Mode) = (args.next("path")?, args.next("mode")?);
        let options: ChmodOptions = args.options()?;
        would_change(cx, &path, options.recursive, &bits(mode, &options)).map(Value::from)
    }

    /// The bits that something is to have, by its kind and whether all that is in a directory is changed.
    fn bits(mode: Mode, options: &ChmodOptions) -> impl Fn(Kind, bool) -> Attributes + use<> {
        let Mode(bits) = mode;
        let directories = options.directories.map_or(bits | (bits & 0o444) >> 2, |Mode(bits)| bits);
        move |kind, recursive| Attributes {
            mode: match kind {
                Kind::Symlink => None,
                Kind::Directory if recursive => Some(directories),
                _ => Some(bits),
            },
            ..Attributes::default()
        }
    }

    /// Options of `files::chown`.
    #[derive(Debug, Options)]
    struct ChownOptions {
        /// The new owner, by name or number.
        owner: Option<NameOrId>,
        /// The new group, by name or number.
        group: Option<NameOrId>,
        /// Whether all that is in a directory is changed too; of links the link itself.
        #[option(default = "false")]
        recursive: bool,
    }

    /// Sets owner and group of a file; gives whether any changed.
    ///
    /// Class `ensure`: who owns a file goes on owning it. A dry run looks whether they do.
    ///
    /// ```rhai
    /// files::write("mine", "");
    /// let it = files::stat("mine");
    /// !files::chown("mine", #{ owner: it.uid, group: it.gid })
    /// ```
    #[operation(ensure, permission = "files.write:{path}", returns = "bool", model = model_chown)]
    fn chown(cx: &Ctx, path: PathText, options: ChownOptions) -> Result<bool, OpError> {
        let wanted = owners(cx, &options)?;
        change(cx, &path, options.recursive, &|_, _| wanted.clone())
    }

    fn model_chown(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let path: PathText = args.next("path")?;
        let options: ChownOptions = args.options()?;
        let wanted = owners(cx, &options)?;
        would_change(cx, &path, options.recursive, &|_, _| wanted.clone()).map(Value::from)
    }

    fn owners(cx: &Ctx, options: &ChownOptions) -> Result<Attributes, OpError> {
        if options.owner.is_none() && options.group.is_none() {
            return Err(OpError::invalid("neither `owner` nor `group` is given"));
        }
        let port = cx.port::<dyn FilesPort>()?;
        Attributes::read(&*port, None, options.owner.as_ref(), options.group.as_ref())
    }

    /// Applies attributes to a path, and to all below it where that is wanted.
    fn change(
        cx: &Ctx,
        path: &PathText,
        recursive: bool,
        wanted: &dyn Fn(Kind, bool) -> Attributes,
    ) -> Result<bool, OpError> {
        let port = cx.port::<dyn FilesPort>()?;
        let path = atomic::through_links(&*port, &cx.resolve(&path.0))?;
        let meta = port.stat(&path, false).map_err(|error| fault(&error, &path))?;
        let mut changed = wanted(meta.kind, recursive).apply(&*port, &path)?;
        if recursive && meta.kind == Kind::Directory {
            let watch = Watch::new(cx, format!("changing {}", path.display()), None);
            for it in Walk::default().collect(&*port, &path, &watch)? {
                changed |= wanted(it.meta.kind, true).apply(&*port, &path.join(&it.relative))?;
                watch.check()?;
            }
        }
        Ok(changed)
    }

    /// Whether `change` would change anything.
    fn would_change(
        cx: &Ctx,
        path: &PathText,
        recursive: bool,
        wanted: &dyn Fn(Kind, bool) -> Attributes,
    ) -> Result<bool, OpError> {
        let port = cx.port::<dyn FilesPort>()?;
        let path = atomic::through_links(&*port, &cx.resolve(&path.0))?;
        let Some(meta) = seen(&*port, &path, false)? else {
            return Ok(true);
        };
        if !wanted(meta.kind, recursive).hold(&meta) {
            return Ok(true);
        }
        if !recursive || meta.kind != Kind::Directory {
            return Ok(false);
        }
        let watch = Watch::new(cx, format!("looking at {}", path.display()), None);
        let found = Walk::default().collect(&*port, &path, &watch)?;
        Ok(found.iter().any(|it| !wanted(it.meta.kind, true).hold(&it.meta)))
    }

    /// Options of `files::symlink`.
    #[derive(Debug, Options)]
    struct SymlinkOptions {
        /// Whether a link or a file that has the name is replaced; a directory never is.
        #[option(default = "true")]
        replace: bool,
        /// Whether missing directories above it are made.
        #[option(default = "false")]
        mkdir: bool,
    }

    /// Makes a symbolic link at `path` that points to `target`; gives whether anything was changed.
    ///
    /// An old link is replaced in one step, so that there is one at every moment. `target` is written into the link as
    /// it is given; a relative one counts from the link's directory.
    ///
    /// Class `ensure`: a link that points there already is left. A dry run looks whether it does.
    ///
    /// ```rhai
    /// files::write("v2/app", "new", #{ mkdir: true });
    /// files::symlink("v2", "current") && files::read("current/app") == "new" && !files::symlink("v2", "current")
    /// ```
    #[operation(ensure, permission = "files.write:{path}", returns = "bool", model = model_symlink)]
    fn symlink(cx: &Ctx, target: String, path: PathText, options: SymlinkOptions) -> Result<bool, OpError> {
        let path = cx.resolve(&path.0);
        let port = cx.port::<dyn FilesPort>()?;
        if points_to(&*port, &path, &target)? {
            return Ok(false);
        }
        atomic::make_parent(&*port, &path, options.mkdir)?;
        let temporary = Temporary::new(cx, &*port, &path)?;
        let made = port.symlink(Path::new(&target), &temporary.path);
        made.map_err(|error| fault_making(&error, &path))?;
        temporary.commit(&path, options.replace)?;
        Ok(true)
    }

    /// Whether there is a link at `path` that points to `target`.
    fn points_to(port: &dyn FilesPort, path: &Path, target: &str) -> Result<bool, OpError> {
        if target.is_empty() || target.contains('\0') {
            return Err(OpError::invalid("the target of a link is not empty and has no NUL character"));
        }
        match seen(port, path, false)? {
            Some(meta) if meta.kind == Kind::Symlink => {
                let there = port.read_link(path).map_err(|error| fault(&error, path))?;
                Ok(there == Path::new(target))
            }
            Some(meta) if meta.kind == Kind::Directory => Err(in_the_way(path)),
            _ => Ok(false),
        }
    }

    fn model_symlink(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (target, path): (String, PathText) = (args.next("target")?, args.next("path")?);
        let _: SymlinkOptions = args.options()?;
        let there = points_to(&*cx.port::<dyn FilesPort>()?, &cx.resolve(&path.0), &target)?;
        Ok(Value::from(!there))
    }
}
