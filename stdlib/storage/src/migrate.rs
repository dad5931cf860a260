//! The operation that moves files from one tier to another.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What moves; joined with the rest of `storage`.
#[primitive(name = "storage")]
mod operations {
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::time::Duration;

    use hob_model::{Digest, OpError, Value};
    use hob_primitive::{Args, Ctx, Options, PathText, Size};

    use crate::measure::{Done, Movers};
    use crate::mover::batch::BATCH_BYTES;
    use crate::mover::select::{self, Found, Rules, Selection};
    use crate::mover::walk::walk;
    use crate::mover::{Moved, Mover, Skipped, manifest, place};
    use crate::tier::{IoPriority, Kind, Tier, Tiers};
    use crate::watch::Watch;
    use crate::{NAMED_MAX, PATIENCE, at_priority, now, reasons, roots};

    /// How far below `high` moving goes on, unless `low` says otherwise; in per cent.
    const HYSTERESIS_PERCENT: f64 = 10.0;

    /// Options of `storage::migrate`.
    #[derive(Debug, Options)]
    struct MigrateOptions {
        /// The directory from which on paths are kept: `"/mnt/hot"` moves `/mnt/hot/tv/x` to `TO/tv/x`. Without it `from`,
        /// or the directory of the file that it is.
        relative_to: Option<PathText>,
        /// Only what fits one of these patterns: `"*.mkv"` at any depth, `"tv/**"` or `"/tv"` from `relative_to` on.
        include: Option<Vec<String>>,
        /// Nothing that fits one of these patterns.
        exclude: Option<Vec<String>>,
        /// Only files that did not change for so long.
        age: Option<Duration>,
        /// Files that changed within this time are still growing, and stay.
        #[option(default = "Duration::from_secs(60)")]
        settle: Duration,
        /// Only files of this size and more.
        min_size: Option<Size>,
        /// Files and directories that are in use, such as what a torrent client still seeds.
        busy: Option<Vec<PathText>>,
        /// Moves only once the source is this full, in per cent, and then until it is down to `low`.
        high: Option<f64>,
        /// How full the source is afterwards, in per cent. Without it 10 less than `high`.
        low: Option<f64>,
        /// The most bytes that one call moves.
        max_bytes: Option<Size>,
        /// The most names that one call moves.
        max_files: Option<u64>,
        /// The most bytes a second.
        rate: Option<Size>,
        /// How eagerly disks serve it.
        #[option(default = "IoPriority::Low")]
        io_priority: IoPriority,
        /// What stays free in the target.
        #[option(default = "Size(1 << 30)")]
        reserve: Size,
        /// Whether files stay that the target cannot keep with owner, mode, times and all attributes.
        #[option(default = "true")]
        exact: bool,
        /// Whether directories below `from` that moving left empty are removed.
        #[option(default = "false")]
        prune: bool,
        /// Where something must be mounted, or nothing is moved.
        mounted: Option<Vec<PathText>>,
    }

    /// Moves files to another file system, such as from a fast disk to a large one, and loses none on the way.
    ///
    /// A directory's content goes to the same place below `to`, a file into `to`. All names of a file (hard links) move
    /// together; holes, owner, mode, access control lists, attributes and times to the nanosecond are kept. Each copy is
    /// synced, read again from the disk and compared before it gets its name, which must be free; only then, and if it did
    /// not change and nobody has it open, the original is removed. What stays is told with the reason. The target
    /// remembers hashes in `.hob-mover/manifest`, which `storage::scrub` compares.
    ///
    /// It gives `files` and `bytes`, `moved` and `skipped` (`path`, `reason`) with up to 1000 paths each,
    /// `skipped_files`, `not_due` and `stopped`, which says why it ended before all was moved.
    ///
    /// Class `ensure`: what is moved is no longer there to be moved. A call that a crash ended in the middle is done again,
    /// finishes or undoes what was under way, and tells the whole result, with what was moved before the crash.
    ///
    /// A dry run looks, and tells what would be moved.
    ///
    /// While another call moves to the same target, it waits for its turn.
    ///
    /// Fails with `not_found` when there is no such source, and with `unavailable` when either file system is gone.
    ///
    /// ```rhai
    /// files::mkdir("cold");
    /// files::write("hot/tv/pilot.mkv", "film", #{ mkdir: true });
    /// let done = storage::migrate("hot", "cold", #{ settle: "0s", include: ["*.mkv"], reserve: "1M" });
    /// done.files == 1 && files::read("cold/tv/pilot.mkv") == "film" && !files::exists("hot/tv/pilot.mkv")
    /// ```
    #[operation(ensure, permission = "files.write:{from} files.write:{to}", returns = "map", model = model_migrate)]
    fn migrate(cx: &Ctx, from: PathText, to: PathText, options: MigrateOptions) -> Result<Value, OpError> {
        let tiers = cx.port::<dyn Tiers>()?;
        let job = Job::new(cx, &tiers, &from, &to, options)?;
        let begun = tiers.elapsed();
        let mut done = None;
        let ended = at_priority(&*tiers, job.options.io_priority, || job.run(cx, &tiers, &mut done));
        if let Ok(movers) = cx.port::<Movers>() {
            let roots = [&job.source, &job.target].map(|it| it.path().to_string_lossy().into_owned());
            movers.note(roots.into(), cx.now(), tiers.elapsed().saturating_sub(begun), done);
        }
        ended
    }

    fn model_migrate(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (from, to): (PathText, PathText) = (args.next("from")?, args.next("to")?);
        let tiers = cx.port::<dyn Tiers>()?;
        let job = Job::new(cx, &tiers, &from, &to, args.options()?)?;
        let mut watch = job.watch(cx, &tiers);
        let (selection, stopped) = job.select(cx, &tiers, false, &mut watch)?;
        let moved = Moved {
            bytes: selection.groups.iter().map(|group| group.meta.size).sum(),
            names: selection.groups.into_iter().flat_map(|group| group.names).collect(),
            ..Moved::default()
        };
        Ok(result(moved, &selection.skipped, selection.not_due, stopped))
    }

    /// One call, with its tiers opened.
    struct Job {
        source: Box<dyn Tier>,
        target: Box<dyn Tier>,
        /// Where to look, from the root of the source.
        start: PathBuf,
        rules: Rules,
        options: MigrateOptions,
    }

    impl Job {
        fn new(
            cx: &Ctx,
            tiers: &Arc<dyn Tiers>,
            from: &PathText,
            to: &PathText,
            options: MigrateOptions,
        ) -> Result<Self, OpError> {
            let (from, to) = (cx.resolve(&from.0), cx.resolve(&to.0));
            for place in options.mounted.iter().flatten() {
                roots::must_be_mounted(&**tiers, &cx.resolve(&place.0))?;
            }
            let root = match &options.relative_to {
                Some(root) => cx.resolve(&root.0),
                None if tiers.is_directory(&from, PATIENCE)? => from.clone(),
                None => from.parent().unwrap_or(Path::new("/")).to_owned(),
            };
            let start = from.strip_prefix(&root).map(Path::to_owned).map_err(|_| {
                OpError::invalid(format!("{} is not below {}", from.display(), root.display()))
                    .hint("`relative_to` names a directory above what is moved")
            })?;
            if to.starts_with(&from) || root.starts_with(&to) {
                return Err(OpError::invalid(format!(
                    "{} and {} lie in one another",
                    from.display(),
                    to.display()
                ))
                .hint("the tiers are two directories beside each other"));
            }
            let (source, target) = (roots::open(&**tiers, &root)?, roots::open(&**tiers, &to)?);
            let busy = options.busy.iter().flatten().map(|path| cx.resolve(&path.0));
            let rules = Rules {
                include: select::patterns(options.include.as_deref().unwrap_or_default())?,
                exclude: select::patterns(options.exclude.as_deref().unwrap_or_default())?,
                age: options.age.unwrap_or_default(),
                settle: options.settle,
                bytes_min: options.min_size.map_or(0, |size| size.0),
                busy: busy.filter_map(|path| path.strip_prefix(&root).ok().map(Path::to_owned)).collect(),
            };
            check_marks(options.high, options.low)?;
            Ok(Self { source, target, start, rules, options })
        }

        fn watch(&self, cx: &Ctx, tiers: &Arc<dyn Tiers>) -> Watch {
            let message = format!("moving to {}", self.target.path().display());
            Watch::new(cx, tiers, message, self.options.rate.map_or(0, |rate| rate.0))
        }

        fn run(&self, cx: &Ctx, tiers: &Arc<dyn Tiers>, done: &mut Option<Done>) -> Result<Value, OpError> {
            let mut watch = self.watch(cx, tiers);
            let below = self.start.parent().unwrap_or(Path::new("")).to_owned();
            let mut mover = Mover {
                source: &*self.source,
                target: &*self.target,
                mark: Digest::of(cx.key().as_bytes()).short(),
                now: cx.now().to_string(),
                all_attributes: self.options.exact,
                reserve_bytes: self.options.reserve.0,
                prune: self.options.prune,
                below,
                batch_bytes: BATCH_BYTES,
                gauge: &mut watch,
            };
            let _session = mover.begin()?;
            let finished = mover.recover()?;
            let earlier = manifest::read(&*self.target, &manifest::at(&mover.mark))?;
            let selected = self.select(cx, tiers, true, mover.gauge);
            let (selection, stopped) = match selected {
                // What this very call was to move, it had moved before a crash.
                Err(error) if error.kind == hob_model::ErrorKind::NotFound && !earlier.is_empty() => {
                    (Selection::default(), None)
                }
                other => other?,
            };
            let mut enough = || self.is_low();
            let mut moved = mover.run(&selection.groups, &mut enough)?;
            self.end_draining()?;
            let mut skipped = finished.skipped.clone();
            skipped.extend(selection.skipped);
            skipped.append(&mut moved.skipped);
            *done = Some(Done::of([&finished, &moved].into_iter(), &skipped));
            let again: Vec<PathBuf> = earlier.keys().cloned().collect();
            moved.bytes += manifest::bytes(&earlier);
            moved.names.splice(0..0, again);
            Ok(result(moved, &skipped, selection.not_due, stopped))
        }

        /// What is to be moved now, and why not all that is due.
        fn select(
            &self,
            cx: &Ctx,
            tiers: &Arc<dyn Tiers>,
            acts: bool,
            gauge: &mut dyn crate::mover::Gauge,
        ) -> Result<(Selection, Option<String>), OpError> {
            let (found, unread) = self.look(gauge)?;
            let mut selection = self.rules.select(&found, &tiers.open_files(), now(cx));
            selection.skipped.extend(unread);
            let due = selection.groups.len();
            let mut stopped = None;
            if let Some((high, low)) = self.marks() {
                let space = self.source.space().map_err(|error| self.unread(&error))?;
                let used = space.percent_used();
                if used >= high || self.is_draining() {
                    if acts {
                        self.begin_draining()?;
                    }
                    selection.groups = select::enough(selection.groups, select::surplus(&space, low));
                    stopped =
                        Some(format!("the source was {used:.1} % full, and goes down to `low`, {low} %"));
                } else {
                    selection.groups.clear();
                    stopped = Some(format!("the source is {used:.1} % full: less than `high`, {high} %"));
                }
            }
            let before = selection.groups.len();
            let (names_max, bytes_max) = (
                self.options.max_files.unwrap_or(u64::MAX),
                self.options.max_bytes.map_or(u64::MAX, |it| it.0),
            );
            selection.groups = select::within(selection.groups, names_max, bytes_max);
            if selection.groups.len() < before {
                stopped = Some("`max_files` or `max_bytes` was reached".to_owned());
            }
            let all = selection.groups.len() == due;
            Ok((selection, stopped.filter(|_| !all)))
        }

        fn look(&self, gauge: &mut dyn crate::mover::Gauge) -> Result<(Vec<Found>, Vec<Skipped>), OpError> {
            let meta = self.source.stat(&self.start).map_err(|error| self.unread(&error))?;
            if meta.kind != Kind::Directory {
                return Ok((vec![Found { path: self.start.clone(), meta }], Vec::new()));
            }
            let (found, unread) = walk(&*self.source, &self.start, gauge)?;
            let target = self.target.identity();
            if found.iter().any(|it| (it.meta.device, it.meta.inode) == target) {
                return Err(OpError::invalid("the target lies in the source, by another path")
                    .hint("the tiers are two directories beside each other"));
            }
            Ok((found, unread))
        }

        fn unread(&self, error: &io::Error) -> OpError {
            OpError::io(error, self.source.path().join(&self.start).display())
        }

        fn marks(&self) -> Option<(f64, f64)> {
            let high = self.options.high?;
            Some((high, self.options.low.unwrap_or((high - HYSTERESIS_PERCENT).max(0.0))))
        }

        fn is_low(&self) -> bool {
            let Some((_, low)) = self.marks() else { return false };
            self.source.space().is_ok_and(|space| space.percent_used() <= low)
        }

        /// Where it stands that the source is on its way from `high` to `low`, also for the next call.
        fn draining(&self) -> PathBuf {
            let source = Digest::of(self.source.path().as_os_str().as_encoded_bytes());
            Path::new(place::DRAINING).join(source.short())
        }

        fn is_draining(&self) -> bool {
            self.target.stat(&self.draining()).is_ok()
        }

        fn begin_draining(&self) -> Result<(), OpError> {
            let at = self.draining();
            self.target
                .append(&at, &[])
                .map_err(|error| OpError::io(&error, self.target.path().join(&at).display()))
        }

        fn end_draining(&self) -> Result<(), OpError> {
            let at = self.draining();
            if self.marks().is_some() && self.is_low() && self.is_draining() {
                let removed = self.target.remove(&at);
                removed.map_err(|error| OpError::io(&error, self.target.path().join(&at).display()))?;
            }
            Ok(())
        }
    }

    fn check_marks(high: Option<f64>, low: Option<f64>) -> Result<(), OpError> {
        let percent = |mark: Option<f64>| mark.is_none_or(|it| (0.0..=100.0).contains(&it));
        if !percent(high) || !percent(low) {
            return Err(OpError::invalid("`high` and `low` are per cents from 0 to 100"));
        }
        match (high, low) {
            (None, Some(_)) => {
                Err(OpError::invalid("`low` says where moving ends that `high` begins: `high` is missing"))
            }
            (Some(high), Some(low)) if low >= high => Err(OpError::invalid("`low` is not below `high`")),
            _ => Ok(()),
        }
    }

    fn result(moved: Moved, skipped: &[Skipped], not_due: u64, stopped: Option<String>) -> Value {
        let text = |path: &Path| Value::from(path.to_string_lossy().into_owned());
        Value::map([
            ("files", Value::from(moved.names.len())),
            ("bytes", Value::from(moved.bytes)),
            ("moved", Value::Array(moved.names.iter().take(NAMED_MAX).map(|path| text(path)).collect())),
            ("skipped", reasons(skipped.iter().map(|it| (&*it.path, it.reason.as_str())))),
            ("skipped_files", Value::from(skipped.len())),
            ("not_due", Value::from(not_due)),
            ("stopped", Value::from(stopped)),
        ])
    }
}
