//! The operation that removes what nobody needs any more.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What removes; joined with the rest of `storage`.
#[primitive(name = "storage")]
mod operations {
    use std::collections::BTreeSet;
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::time::Duration;

    use hob_model::{Digest, OpError, Timestamp, Value};
    use hob_primitive::{Args, Ctx, Options, PathText, Size};

    use crate::due::{Due, Policy};
    use crate::mover::Gauge;
    use crate::mover::select::patterns;
    use crate::mover::walk::walk;
    use crate::tier::{Kind, Tier, Tiers};
    use crate::watch::Watch;
    use crate::{now, reasons, roots};

    /// Where what was removed stays for a while.
    const TRASH: &str = ".hob-trash";

    /// The most files that one call removes, unless it says otherwise.
    const FILES_MAX: u64 = 10_000;

    /// Options of `storage::cleanup`.
    #[derive(Debug, Options)]
    struct CleanupOptions {
        /// Only what fits one of these patterns: `"*.log"` at any depth, `"/cache"` from the directory on.
        include: Option<Vec<String>>,
        /// Nothing that fits one of these patterns.
        exclude: Option<Vec<String>>,
        /// Removes files that did not change for so long.
        age: Option<Duration>,
        /// Removes all but so many of the newest.
        keep: Option<u64>,
        /// Removes the oldest until all together are not larger than this.
        max_size: Option<Size>,
        /// Removes the oldest until so much of the file system is free.
        free: Option<Size>,
        /// How long what was removed lies in the trash of the directory, `.hob-trash`; `"0s"` removes for good.
        #[option(default = "Duration::from_secs(7 * 24 * 60 * 60)")]
        trash: Duration,
        /// The most files that one call removes.
        #[option(default = "FILES_MAX")]
        max_files: u64,
        /// The most bytes that one call removes.
        max_bytes: Option<Size>,
        /// Where something must be mounted, or nothing is removed.
        mounted: Option<Vec<PathText>>,
    }

    /// Removes files by age, count, size and free space, into a trash first.
    ///
    /// At least one of `age`, `keep`, `max_size` and `free` is given; what any of them names goes, the oldest first. Files
    /// that somebody has open stay, links and directories as well. What lies in the trash for longer than `trash` is removed
    /// for good, by the next call.
    ///
    /// It gives `files` and `bytes`, `removed` (`path`, `reason`, up to 1000), `purged`, the files that left the trash, and
    /// `stopped`, which says when `max_files` or `max_bytes` ended it early.
    ///
    /// Class `ensure`: what is removed is not there to be removed again. After a crash the limits count anew.
    ///
    /// A dry run looks, and tells what would be removed.
    ///
    /// Fails with `invalid` when no rule is given, or `free` with a trash, which frees nothing.
    ///
    /// ```rhai
    /// files::write("tmp/a", "1", #{ mkdir: true });
    /// let done = storage::cleanup("tmp", #{ keep: 0 });
    /// done.files == 1 && !files::exists("tmp/a") && files::glob("tmp/.hob-trash/*/a").len() == 1
    /// ```
    #[operation(ensure, permission = "files.write:{path}", returns = "map", model = model_cleanup)]
    fn cleanup(cx: &Ctx, path: PathText, options: CleanupOptions) -> Result<Value, OpError> {
        let tiers = cx.port::<dyn Tiers>()?;
        let mut cleaning = Cleaning::new(cx, &tiers, &path, options)?;
        let (due, stopped) = cleaning.due(cx, &tiers)?;
        let purged = cleaning.purge(cx.now())?;
        let trash = cleaning.trash(cx);
        let mut removed = Vec::new();
        for file in due {
            cleaning.watch.check()?;
            if cleaning.remove(&file.path, trash.as_deref())? {
                removed.push(file);
            }
        }
        cleaning.sync()?;
        Ok(result(&removed, purged, stopped))
    }

    fn model_cleanup(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let path: PathText = args.next("path")?;
        let tiers = cx.port::<dyn Tiers>()?;
        let mut cleaning = Cleaning::new(cx, &tiers, &path, args.options()?)?;
        let (due, stopped) = cleaning.due(cx, &tiers)?;
        Ok(result(&due, 0, stopped))
    }

    fn result(removed: &[Due], purged: u64, stopped: Option<&str>) -> Value {
        Value::map([
            ("files", Value::from(removed.len())),
            ("bytes", Value::from(removed.iter().map(|it| it.bytes).sum::<u64>())),
            ("removed", reasons(removed.iter().map(|it| (&*it.path, it.reason)))),
            ("purged", Value::from(purged)),
            ("stopped", Value::from(stopped.map(str::to_owned))),
        ])
    }

    /// One call, with its directory opened.
    struct Cleaning {
        tier: Box<dyn Tier>,
        policy: Policy,
        trash: Duration,
        watch: Watch,
        /// The directories that are to be synced.
        changed: BTreeSet<PathBuf>,
    }

    impl Cleaning {
        fn new(
            cx: &Ctx,
            tiers: &Arc<dyn Tiers>,
            path: &PathText,
            options: CleanupOptions,
        ) -> Result<Self, OpError> {
            if options.age.is_none()
                && options.keep.is_none()
                && options.max_size.is_none()
                && options.free.is_none()
            {
                return Err(OpError::invalid("no rule says what is to go")
                    .hint("give at least one of `age`, `keep`, `max_size` and `free`"));
            }
            if options.free.is_some() && !options.trash.is_zero() {
                return Err(OpError::invalid("what lies in the trash frees nothing")
                    .hint("`free` goes with `trash: \"0s\"`"));
            }
            for place in options.mounted.iter().flatten() {
                roots::must_be_mounted(&**tiers, &cx.resolve(&place.0))?;
            }
            let tier = roots::open(&**tiers, &cx.resolve(&path.0))?;
            let policy = Policy {
                include: patterns(options.include.as_deref().unwrap_or_default())?,
                exclude: patterns(options.exclude.as_deref().unwrap_or_default())?,
                age: options.age,
                keep: options.keep,
                bytes_max: options.max_size.map(|it| it.0),
                bytes_free: options.free.map(|it| it.0),
                removed_max: options.max_files,
                removed_bytes_max: options.max_bytes.map_or(u64::MAX, |it| it.0),
            };
            let watch = Watch::new(cx, tiers, format!("cleaning up {}", tier.path().display()), 0);
            Ok(Self { tier, policy, trash: options.trash, watch, changed: BTreeSet::new() })
        }

        fn due(
            &mut self,
            cx: &Ctx,
            tiers: &Arc<dyn Tiers>,
        ) -> Result<(Vec<Due>, Option<&'static str>), OpError> {
            let (mut found, _) = walk(&*self.tier, Path::new(""), &mut self.watch)?;
            let open = tiers.open_files();
            found.retain(|it| {
                it.meta.kind == Kind::File
                    && !it.path.starts_with(TRASH)
                    && !open.contains(&(it.meta.device, it.meta.inode))
            });
            let space = self.tier.space().map_err(|error| self.fault(Path::new(""), &error))?;
            Ok(self.policy.due(found, space.bytes_available, now(cx)))
        }

        /// Where this call puts what it removes, with the time in its name; nothing when it removes for good.
        fn trash(&self, cx: &Ctx) -> Option<PathBuf> {
            let mark = Digest::of(cx.key().as_bytes()).short();
            (!self.trash.is_zero()).then(|| Path::new(TRASH).join(format!("{}-{mark}", cx.now().as_second())))
        }

        /// Removes one file; `false` when somebody else did.
        fn remove(&mut self, at: &Path, trash: Option<&Path>) -> Result<bool, OpError> {
            let removed = match trash {
                None => self.tier.remove(at),
                Some(trash) => {
                    let place = trash.join(at);
                    self.make_dirs(place.parent().unwrap_or(trash))?;
                    self.tier.rename(at, &place)
                }
            };
            match removed {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(self.fault(at, &error)),
            }
            self.changed.extend(at.parent().map(Path::to_owned));
            Ok(true)
        }

        fn make_dirs(&mut self, dir: &Path) -> Result<(), OpError> {
            let above: Vec<&Path> = dir.ancestors().filter(|it| !it.as_os_str().is_empty()).collect();
            for dir in above.into_iter().rev() {
                if self.changed.contains(dir) {
                    continue;
                }
                match self.tier.make_private_dir(dir) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(self.fault(dir, &error));
                    }
                    _ => self
                        .changed
                        .extend([Some(dir), dir.parent()].into_iter().flatten().map(Path::to_owned)),
                }
            }
            Ok(())
        }

        /// Empties the trash of what lies there for too long; gives how many files that were.
        fn purge(&mut self, now: Timestamp) -> Result<u64, OpError> {
            let names = match self.tier.list(Path::new(TRASH)) {
                Ok(names) => names,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
                Err(error) => return Err(self.fault(Path::new(TRASH), &error)),
            };
            let mut purged = 0;
            for name in names {
                let since = name.to_str().and_then(|it| it.split_once('-')?.0.parse::<i64>().ok());
                let lifetime = i64::try_from(self.trash.as_secs()).unwrap_or(i64::MAX);
                // What has another name was put there by somebody else.
                if since.is_some_and(|since| now.as_second().saturating_sub(since) >= lifetime) {
                    purged += self.empty(&Path::new(TRASH).join(name))?;
                }
            }
            Ok(purged)
        }

        /// Removes a directory with all in it; gives how many files that were.
        fn empty(&mut self, dir: &Path) -> Result<u64, OpError> {
            let (found, _) = walk(&*self.tier, dir, &mut self.watch)?;
            let mut files = 0;
            for it in found.iter().filter(|it| it.meta.kind != Kind::Directory) {
                self.watch.check()?;
                self.tier.remove(&it.path).map_err(|error| self.fault(&it.path, &error))?;
                files += 1;
            }
            let mut dirs: Vec<&Path> = found
                .iter()
                .filter(|it| it.meta.kind == Kind::Directory)
                .map(|it| &*it.path)
                .chain([dir])
                .collect();
            dirs.sort_unstable();
            for dir in dirs.into_iter().rev() {
                self.tier.remove_dir(dir).map_err(|error| self.fault(dir, &error))?;
            }
            Ok(files)
        }

        fn sync(&self) -> Result<(), OpError> {
            if self.changed.is_empty() {
                return Ok(());
            }
            self.tier.sync_all().map_err(|error| self.fault(Path::new(""), &error))
        }

        fn fault(&self, at: &Path, error: &io::Error) -> OpError {
            OpError::io(error, self.tier.path().join(at).display())
        }
    }
}
