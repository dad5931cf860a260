//! The operations on what file systems know of themselves: snapshots, and errors that they counted.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What asks file systems; joined with the rest of `storage`.
#[primitive(name = "storage")]
mod operations {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use hob_model::{ErrorKind, OpError, Value};
    use hob_planner::Mounted;
    use hob_primitive::{Args, Ctx, Options, PathText};
    use serde_json::Value as Json;

    use crate::tier::Tiers;
    use crate::tools::{Answer, Tools};

    /// What knows btrfs.
    const BTRFS: &str = "btrfs";

    /// How long it may take.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Options of `storage::snapshot`.
    #[derive(Debug, Options)]
    struct SnapshotOptions {
        /// Whether nothing in the snapshot can be changed.
        #[option(default = "true")]
        read_only: bool,
    }

    /// Makes a snapshot of a btrfs subvolume at a new place on the same file system.
    ///
    /// A snapshot shares all blocks with what it was made of, takes no time, and is no backup. `to` is the snapshot itself:
    /// `/srv/.snapshots/photos-2026-01-31`; the directory above it is there already. It gives `path`, `uuid` and `changed`.
    ///
    /// Class `ensure`: a snapshot of this subvolume that is at `to` stays as it is, so that a call after a crash makes no
    /// second one. Name each after its time.
    ///
    /// A dry run tells whether it would be made.
    ///
    /// Fails with `invalid` where the path is not on btrfs or no subvolume, with `not_found` where there is no `btrfs` (the
    /// package btrfs-progs), and with `conflict` when something else is at `to`.
    ///
    /// ```rhai,no_run
    /// let day = time::format(time::now(), "%F");
    /// storage::snapshot("/srv/photos", `/srv/.snapshots/photos-${day}`).path
    /// ```
    #[operation(ensure, permission = "files.read:{path} files.write:{to}", returns = "map", timeout = "2m", model = model_snapshot)]
    fn snapshot(cx: &Ctx, path: PathText, to: PathText, options: SnapshotOptions) -> Result<Value, OpError> {
        let (path, to) = (cx.resolve(&path.0), cx.resolve(&to.0));
        let (tiers, tools) = (cx.port::<dyn Tiers>()?, cx.port::<dyn Tools>()?);
        if let Some(uuid) = present(&*tiers, &*tools, &path, &to)? {
            return Ok(made(&to, Some(&uuid), false));
        }
        let (from, at) = (path.to_string_lossy(), to.to_string_lossy());
        let mut args = vec!["subvolume", "snapshot"];
        args.extend(options.read_only.then_some("-r"));
        args.extend([&*from, &*at]);
        run(&*tools, &args)?.done(BTRFS)?;
        let uuid = subvolume(&*tools, &to)?.uuid;
        Ok(made(&to, uuid.as_deref(), true))
    }

    fn model_snapshot(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (path, to): (PathText, PathText) = (args.next("path")?, args.next("to")?);
        let (path, to) = (cx.resolve(&path.0), cx.resolve(&to.0));
        let (tiers, tools) = (cx.port::<dyn Tiers>()?, cx.port::<dyn Tools>()?);
        let uuid = present(&*tiers, &*tools, &path, &to)?;
        Ok(made(&to, uuid.as_deref(), uuid.is_none()))
    }

    fn made(at: &Path, uuid: Option<&str>, changed: bool) -> Value {
        Value::map([
            ("path", Value::from(at.to_string_lossy().into_owned())),
            ("uuid", Value::from(uuid.map(str::to_owned))),
            ("changed", Value::Bool(changed)),
        ])
    }

    /// The snapshot of this subvolume that is at `to` already.
    fn present(
        tiers: &dyn Tiers,
        tools: &dyn Tools,
        path: &Path,
        to: &Path,
    ) -> Result<Option<String>, OpError> {
        must_be_btrfs(tiers, path)?;
        let own = subvolume(tools, path)?;
        // What a place is that has nothing, its parent answers for.
        if tiers.is_directory(to, crate::PATIENCE).is_ok_and(|it| it) {
            let there = subvolume(tools, to).ok().filter(|it| it.parent.is_some() && it.parent == own.uuid);
            let there = there.and_then(|it| it.uuid);
            return there.map(Some).ok_or_else(|| {
                OpError::conflict(format!("{} is there and no snapshot of {}", to.display(), path.display()))
                    .hint("name each snapshot after its time")
                    .nothing_happened()
            });
        }
        Ok(None)
    }

    /// A subvolume as `btrfs subvolume show` tells of it.
    struct Subvolume {
        uuid: Option<String>,
        parent: Option<String>,
    }

    fn subvolume(tools: &dyn Tools, path: &Path) -> Result<Subvolume, OpError> {
        let answer = run(tools, &["subvolume", "show", &path.to_string_lossy()])?;
        if answer.status != Some(0) {
            let said = answer.stderr.trim().to_owned();
            return Err(OpError::invalid(format!("{} is no subvolume of btrfs: {said}", path.display()))
                .hint("`btrfs subvolume create` makes one; move the data into it")
                .nothing_happened());
        }
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        let field = |key: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(key))?.trim().to_owned();
            (line != "-").then_some(line)
        };
        Ok(Subvolume { uuid: field("UUID:"), parent: field("Parent UUID:") })
    }

    /// Tells whether a file system has counted errors.
    ///
    /// It gives `type`, `mount`, `healthy`, and `devices`, an array with `device`, `errors`, the sum, and `counts`, each by its
    /// name. For btrfs these are errors of reading, writing, flushing, damaged blocks and old ones, since they were last set
    /// back; for ext4 what the kernel counted since the file system was last repaired.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `invalid` for other file systems, and with `not_found` where there is no `btrfs` (the package btrfs-progs).
    ///
    /// ```rhai,no_run
    /// if !storage::health("/srv").healthy { log::error("the file system of /srv counted errors") }
    /// ```
    #[operation(observe, permission = "files.read:{path}", returns = "map", timeout = "2m")]
    fn health(cx: &Ctx, path: PathText) -> Result<Value, OpError> {
        let path = cx.resolve(&path.0);
        let (tiers, tools) = (cx.port::<dyn Tiers>()?, cx.port::<dyn Tools>()?);
        let holder = holder(&*tiers, &path)?;
        let devices = match holder.fs_type.as_str() {
            "btrfs" => {
                let at = holder.path.to_string_lossy().into_owned();
                let answer = run(&*tools, &["--format", "json", "device", "stats", &at])?.done(BTRFS)?;
                counted(&answer.json(BTRFS)?)
            }
            "ext4" => {
                let errors = tiers.ext4_errors(&holder.device).ok_or_else(|| unsupported(&path, &holder))?;
                vec![(holder.device.clone(), vec![("errors".to_owned(), errors)])]
            }
            _ => return Err(unsupported(&path, &holder)),
        };
        let sum = |counts: &[(String, i64)]| counts.iter().map(|(_, count)| count).sum::<i64>();
        let healthy = devices.iter().all(|(_, counts)| sum(counts) == 0);
        let device = |(device, counts): &(String, Vec<(String, i64)>)| {
            let each = counts.iter().map(|(name, count)| (name.clone(), Value::Int(*count)));
            Value::map([
                ("device", Value::from(device.as_str())),
                ("errors", Value::Int(sum(counts))),
                ("counts", Value::Map(each.collect())),
            ])
        };
        Ok(Value::map([
            ("type", Value::from(holder.fs_type.as_str())),
            ("mount", Value::from(holder.path.to_string_lossy().into_owned())),
            ("healthy", Value::Bool(healthy)),
            ("devices", Value::Array(devices.iter().map(device).collect())),
        ]))
    }

    fn counted(told: &Json) -> Vec<(String, Vec<(String, i64)>)> {
        let devices = told["device-stats"].as_array().map_or(&[][..], Vec::as_slice);
        let counts = |device: &Json| {
            let number = |value: &Json| value.as_i64().or_else(|| value.as_str()?.parse().ok());
            let fields = device.as_object().into_iter().flatten();
            let errors = fields.filter(|(name, _)| name.ends_with("_errs"));
            errors.filter_map(|(name, value)| Some((name.clone(), number(value)?))).collect()
        };
        devices.iter().map(|it| (it["device"].as_str().unwrap_or("?").to_owned(), counts(it))).collect()
    }

    /// The file system that holds a path.
    fn holder(tiers: &dyn Tiers, path: &Path) -> Result<Mounted, OpError> {
        let mounted = tiers.mounted()?;
        let holding = mounted.into_iter().filter(|it| path.starts_with(&it.path));
        // The last of those that are furthest down hides the others.
        let holder = holding.max_by_key(|it| it.path.components().count());
        holder.ok_or_else(|| {
            OpError::not_found(format!("no file system holds {}", PathBuf::from(path).display()))
        })
    }

    fn must_be_btrfs(tiers: &dyn Tiers, path: &Path) -> Result<(), OpError> {
        let holder = holder(tiers, path)?;
        if holder.fs_type != "btrfs" {
            return Err(unsupported(path, &holder));
        }
        Ok(())
    }

    fn unsupported(path: &Path, holder: &Mounted) -> OpError {
        OpError::invalid(format!("{} is on {}, of which hob knows nothing here", path.display(), holder.fs_type))
            .hint("it makes snapshots of btrfs, and reads errors of btrfs and ext4; for others process::run starts their own tools")
            .nothing_happened()
    }

    fn run(tools: &dyn Tools, args: &[&str]) -> Result<Answer, OpError> {
        tools.run(BTRFS, args, PATIENCE).map_err(|error| match error.kind {
            ErrorKind::NotFound => error.hint("install btrfs-progs"),
            _ => error,
        })
    }
}
