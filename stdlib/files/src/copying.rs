//! The operation that copies.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What copies; joined with the rest of `files`.
#[primitive(name = "files")]
mod operations {
    use std::io;
    use std::path::Path;

    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Options, PathText};

    use crate::atomic::{self, Temporary};
    use crate::port::{FilesPort, Kind, Meta};
    use crate::problem::{Watch, fault, fault_making, in_the_way, is_absent, seen};
    use crate::walk::Walk;

    /// Options of `files::copy`.
    #[derive(Debug, Options)]
    struct CopyOptions {
        /// Whether a directory is copied with all that is in it.
        #[option(default = "false")]
        recursive: bool,
        /// Whether files that are there already are replaced.
        #[option(default = "true")]
        replace: bool,
        /// Whether missing directories above the copy are made.
        #[option(default = "false")]
        mkdir: bool,
    }

    /// Copies a file, or a directory with `recursive: true`; gives `files` and `bytes`.
    ///
    /// Mode, times and, for root, owners are kept; links are copied as links; what the target has beside is left. Each
    /// file appears whole. Blocks are shared where the file system can.
    ///
    /// Class `ensure`: copying again makes the same copy.
    ///
    /// A dry run counts what would be copied, and nothing where the original is not there yet.
    ///
    /// Fails with `conflict` when a file is there and `replace` is false, or a directory is in the way.
    ///
    /// ```rhai
    /// files::write("a/x", "1", #{ mkdir: true });
    /// files::copy("a", "b", #{ recursive: true }).files == 1 && files::read("b/x") == "1"
    /// ```
    #[operation(ensure, permission = "files.read:{from} files.write:{to}", returns = "map", model = model_copy)]
    fn copy(cx: &Ctx, from: PathText, to: PathText, options: CopyOptions) -> Result<Value, OpError> {
        let (from, to) = (cx.resolve(&from.0), cx.resolve(&to.0));
        let port = cx.port::<dyn FilesPort>()?;
        let meta = port.stat(&from, true).map_err(|error| fault(&error, &from))?;
        atomic::make_parent(&*port, &to, options.mkdir)?;
        let watch = Watch::new(cx, format!("copying {}", from.display()), None);
        let mut copying = Copying { cx, port: &*port, replace: options.replace, watch, files: 0 };
        match meta.kind {
            Kind::Directory if !options.recursive => return Err(needs_recursive(&from)),
            Kind::Directory => copying.directory(&from, &to, &meta)?,
            _ => copying.entry(&from, &to, &meta)?,
        }
        Ok(copied(copying.files, copying.watch.done()))
    }

    fn copied(files: u64, bytes: u64) -> Value {
        Value::map([("files", Value::from(files)), ("bytes", Value::from(bytes))])
    }

    fn needs_recursive(path: &Path) -> OpError {
        OpError::invalid(format!("{} is a directory", path.display()))
            .hint("`recursive: true` copies it with all that is in it")
    }

    fn model_copy(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (from, _to): (PathText, PathText) = (args.next("from")?, args.next("to")?);
        let options: CopyOptions = args.options()?;
        let from = cx.resolve(&from.0);
        let port = cx.port::<dyn FilesPort>()?;
        let Some(meta) = seen(&*port, &from, true)? else {
            return Ok(copied(0, 0));
        };
        if meta.kind != Kind::Directory {
            return Ok(copied(1, meta.size));
        }
        if !options.recursive {
            return Err(needs_recursive(&from));
        }
        let watch = Watch::new(cx, format!("counting {}", from.display()), None);
        let found = Walk::default().collect(&*port, &from, &watch)?;
        let files = found.iter().filter(|it| it.meta.kind != Kind::Directory).count();
        let sizes = found.iter().filter(|it| it.meta.kind == Kind::File).map(|it| it.meta.size);
        Ok(copied(files as u64, sizes.sum()))
    }

    struct Copying<'a> {
        cx: &'a Ctx,
        port: &'a dyn FilesPort,
        replace: bool,
        watch: Watch,
        files: u64,
    }

    impl Copying<'_> {
        fn directory(&mut self, from: &Path, to: &Path, meta: &Meta) -> Result<(), OpError> {
            if to.starts_with(from) {
                return Err(OpError::invalid(format!("{} is inside {}", to.display(), from.display()))
                    .hint("copy to a place outside"));
            }
            let found = Walk::default().collect(self.port, from, &self.watch)?;
            let mut directories = vec![(to.to_path_buf(), meta.clone())];
            self.make_dir(to)?;
            for it in found {
                let (source, target) = (from.join(&it.relative), to.join(&it.relative));
                if it.meta.kind == Kind::Directory {
                    self.make_dir(&target)?;
                    directories.push((target, it.meta));
                } else {
                    self.entry(&source, &target, &it.meta)?;
                }
            }
            // Last and from the inside out: filling a directory changes its time, and it may not be ours to write.
            for (path, meta) in directories.iter().rev() {
                self.keep(path, meta)?;
                self.port.sync_dir(path).map_err(|error| fault(&error, path))?;
            }
            atomic::sync_parent(self.port, to)
        }

        fn make_dir(&self, path: &Path) -> Result<(), OpError> {
            match self.port.create_dir(path, atomic::DIR_MODE) {
                Ok(()) => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    match self.port.stat(path, false) {
                        Ok(meta) if meta.kind == Kind::Directory => Ok(()),
                        _ => Err(in_the_way(path)),
                    }
                }
                Err(error) => Err(fault_making(&error, path)),
            }
        }

        /// A file or a link.
        fn entry(&mut self, from: &Path, to: &Path, meta: &Meta) -> Result<(), OpError> {
            match self.port.stat(to, false) {
                Ok(there) if there.kind == Kind::Directory => return Err(in_the_way(to)),
                Ok(_) if !self.replace => return Err(in_the_way(to).hint("`replace: true` replaces it")),
                _ => {}
            }
            let temporary = Temporary::new(self.cx, self.port, to)?;
            match meta.kind {
                Kind::File => self.content(from, &temporary.path)?,
                Kind::Symlink => {
                    let target = self.port.read_link(from).map_err(|error| fault(&error, from))?;
                    let made = self.port.symlink(&target, &temporary.path);
                    made.map_err(|error| fault_making(&error, to))?;
                }
                Kind::Directory | Kind::Special => {
                    return Err(OpError::invalid(format!(
                        "{} is a pipe, a socket or a device",
                        from.display()
                    ))
                    .hint("leave it out: copy what is beside it"));
                }
            }
            self.keep(&temporary.path, meta)?;
            self.files += 1;
            temporary.commit(to, self.replace)
        }

        fn content(&mut self, from: &Path, to: &Path) -> Result<(), OpError> {
            let mut stop = Ok(());
            let watch = &mut self.watch;
            let copied = self.port.copy(from, to, &mut |bytes| {
                stop = watch.bytes(bytes);
                stop.is_ok()
            });
            stop?;
            copied.map_err(|error| match is_absent(&error) {
                true => fault_making(&error, to),
                false => fault(&error, to),
            })
        }

        /// Mode, owner and time of the original; who is not root cannot keep the owner.
        fn keep(&self, path: &Path, meta: &Meta) -> Result<(), OpError> {
            drop(self.port.set_owner(path, Some(meta.uid), Some(meta.gid)));
            if meta.kind != Kind::Symlink {
                self.port.set_mode(path, meta.mode).map_err(|error| fault(&error, path))?;
            }
            self.port.set_modified(path, meta.modified).map_err(|error| fault(&error, path))
        }
    }
}
