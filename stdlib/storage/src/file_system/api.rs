//! The operations on what file systems know of themselves.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What asks file systems; joined with the rest of `storage`.
#[primitive(name = "storage")]
mod operations {
    use std::path::Path;

    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Options, PathText};

    use crate::file_system::{Device, Snapshot, Wanted, World};

    /// Options of `storage::snapshot`.
    #[derive(Debug, Options)]
    struct SnapshotOptions {
        /// Whether nothing in the snapshot can be changed.
        #[option(default = "true")]
        read_only: bool,
    }

    /// Makes a snapshot of a btrfs subvolume or of a ZFS dataset.
    ///
    /// A snapshot shares all blocks with what it was made of, takes no time, and is no backup. It gives `path`, `uuid` and
    /// `changed`. `to` is the snapshot itself:
    ///
    /// - on btrfs `path` is a subvolume and `to` any free place on the same file system, whose directory is there already:
    ///   `/srv/.snapshots/photos-2026-01-31`;
    /// - on ZFS `path` is where a dataset is mounted, and `to` where ZFS shows that snapshot of it, as in
    ///   `/srv/photos/.zfs/snapshot/2026-01-31`. It is always read-only, and `uuid` is its `guid`.
    ///
    /// Class `ensure`: a snapshot of `path` that is at `to` stays as it is, so that a call after a crash makes no second one.
    /// Name each after its time.
    ///
    /// A dry run tells whether it would be made.
    ///
    /// Fails with `invalid` where the path is on another file system, no subvolume or no dataset, or where `to` cannot be, with
    /// `not_found` where there is no `btrfs` or `zfs` (the packages btrfs-progs and zfsutils-linux), and with `conflict` when
    /// something else is at `to`.
    ///
    /// ```rhai,no_run
    /// let day = time::format(time::now(), "%F");
    /// storage::snapshot("/srv/photos", `/srv/.snapshots/photos-${day}`).path
    /// ```
    #[operation(ensure, permission = "files.read:{path} files.write:{to}", returns = "map", timeout = "2m", model = model_snapshot)]
    fn snapshot(cx: &Ctx, path: PathText, to: PathText, options: SnapshotOptions) -> Result<Value, OpError> {
        let (path, to) = (cx.resolve(&path.0), cx.resolve(&to.0));
        let wanted = Wanted { path: &path, to: &to, read_only: options.read_only };
        let world = World::new(cx)?;
        let snapshots = world.snapshots(&path)?;
        if let Some(there) = snapshots.present(&world, &wanted)? {
            return Ok(made(&to, there.uuid, false));
        }
        let uuid = snapshots.make(&world, &wanted)?;
        Ok(made(&to, uuid, true))
    }

    fn model_snapshot(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (path, to): (PathText, PathText) = (args.next("path")?, args.next("to")?);
        let options: SnapshotOptions = args.options()?;
        let (path, to) = (cx.resolve(&path.0), cx.resolve(&to.0));
        let wanted = Wanted { path: &path, to: &to, read_only: options.read_only };
        let world = World::new(cx)?;
        let there = world.snapshots(&path)?.present(&world, &wanted)?;
        let is_new = there.is_none();
        Ok(made(&to, there.and_then(|it| it.uuid), is_new))
    }

    fn made(at: &Path, uuid: Option<String>, changed: bool) -> Value {
        Value::map([("path", text(at)), ("uuid", Value::from(uuid)), ("changed", Value::Bool(changed))])
    }

    fn text(path: &Path) -> Value {
        Value::from(path.to_string_lossy().into_owned())
    }

    /// Options of `storage::snapshots`.
    #[derive(Debug, Options)]
    struct SnapshotsOptions {
        /// Only those that are seen below this directory.
        below: Option<PathText>,
    }

    /// Lists the snapshots of a btrfs subvolume or of a ZFS dataset, oldest first.
    ///
    /// Each has `path`, `created`, `uuid` and `read_only`. On btrfs these are all subvolumes that were made of this one and that
    /// some mount shows; `path` is where it is seen: in the mount that holds `below`, where that shows it.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `invalid` where the path is on another file system, no subvolume or no dataset, and with `not_found` where
    /// there is no `btrfs` or `zfs` (the packages btrfs-progs and zfsutils-linux).
    ///
    /// ```rhai,no_run
    /// // The last seven stay.
    /// let all = storage::snapshots("/srv/photos", #{ below: "/srv/.snapshots" });
    /// for old in all.extract(0, max(0, all.len() - 7)) { storage::remove_snapshot(old.path) }
    /// ```
    #[operation(observe, permission = "files.read:{path}", returns = "array", timeout = "2m")]
    fn snapshots(cx: &Ctx, path: PathText, options: SnapshotsOptions) -> Result<Value, OpError> {
        let path = cx.resolve(&path.0);
        let below = options.below.map(|it| cx.resolve(&it.0));
        let world = World::new(cx)?;
        let near = below.as_deref().unwrap_or(&path);
        let mut all = world.snapshots(&path)?.of(&world, &path, near)?;
        all.retain(|it| below.as_ref().is_none_or(|below| it.path.starts_with(below)));
        all.sort_by(|a, b| (a.generation, &a.path).cmp(&(b.generation, &b.path)));
        let told = |it: Snapshot| {
            Value::map([
                ("path", text(&it.path)),
                ("created", Value::from(it.created.map(|it| it.to_string()))),
                ("uuid", Value::from(it.uuid)),
                ("read_only", Value::Bool(it.read_only)),
            ])
        };
        Ok(Value::Array(all.into_iter().map(told).collect()))
    }

    /// Options of `storage::remove_snapshot`.
    #[derive(Debug, Options)]
    struct RemoveOptions {
        /// Whether one goes that can be written to.
        #[option(default = "false")]
        writable: bool,
    }

    /// Lets go of a snapshot of btrfs or ZFS; gives `changed`.
    ///
    /// What it alone holds is lost; what it was made of stays as it is.
    ///
    /// Class `ensure`: one that is gone is no error, and `changed` is `false`.
    ///
    /// A dry run tells whether it would go.
    ///
    /// Fails with `conflict` where something else is: a directory, a subvolume that was made of no other, a whole dataset; or a
    /// snapshot that can be written to, because what was restored from a snapshot is one, unless `writable` says so. With
    /// `failed` where something keeps it: a subvolume in it, a clone, a hold. With `invalid` on other file systems.
    ///
    /// ```rhai,no_run
    /// storage::remove_snapshot("/srv/.snapshots/photos-2026-01-31").changed
    /// ```
    #[operation(ensure, permission = "files.write:{path}", returns = "map", timeout = "2m", model = model_remove)]
    fn remove_snapshot(cx: &Ctx, path: PathText, options: RemoveOptions) -> Result<Value, OpError> {
        let path = cx.resolve(&path.0);
        let world = World::new(cx)?;
        let changed = removable(&world, &path, &options)?;
        if changed {
            world.snapshots(&path)?.remove(&world, &path)?;
        }
        Ok(Value::map([("changed", Value::Bool(changed))]))
    }

    fn model_remove(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let path: PathText = args.next("path")?;
        let options: RemoveOptions = args.options()?;
        let changed = removable(&World::new(cx)?, &cx.resolve(&path.0), &options)?;
        Ok(Value::map([("changed", Value::Bool(changed))]))
    }

    /// Whether there is a snapshot that may go.
    fn removable(world: &World, path: &Path, options: &RemoveOptions) -> Result<bool, OpError> {
        let Some(there) = world.snapshots(path)?.at(world, path)? else { return Ok(false) };
        if !there.read_only && !options.writable {
            let text = format!("{} is a snapshot that can be written to: it may be in use", path.display());
            return Err(OpError::conflict(text)
                .hint("`writable: true` removes it all the same")
                .nothing_happened());
        }
        Ok(true)
    }

    /// Tells whether a file system has counted errors.
    ///
    /// It gives `type`, `mount`, `healthy`, and `devices`, an array with `device`, `errors`, the sum, and `counts`, each by its
    /// name:
    ///
    /// - for btrfs errors of reading, writing, flushing, damaged blocks and old ones, since they were last set back;
    /// - for ext4 what the kernel counted since the file system was last repaired;
    /// - for ZFS errors of reading, writing and of checksums since `zpool clear`, of the pool, of its groups and of its disks,
    ///   each with its `state`. The result has `pool`, its `state` and `data_errors`, the number of damaged files, which is `()`
    ///   where ZFS does not tell. Numbers of more than four digits are rounded, as `zpool status` rounds them. It is `healthy`
    ///   when the pool and all disks are online, nothing was counted, and no file is damaged.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `invalid` for other file systems, and with `not_found` where there is no `btrfs` or `zpool` (the packages
    /// btrfs-progs and zfsutils-linux).
    ///
    /// ```rhai,no_run
    /// if !storage::health("/srv").healthy { log::error("the file system of /srv counted errors") }
    /// ```
    #[operation(observe, permission = "files.read:{path}", returns = "map", timeout = "2m")]
    fn health(cx: &Ctx, path: PathText) -> Result<Value, OpError> {
        let path = cx.resolve(&path.0);
        let world = World::new(cx)?;
        let (holder, known) = world.known(&path)?;
        let health = known.health(&world, holder)?;
        let device = |it: &Device| {
            let counts = it.counts.iter().map(|(name, count)| (name.clone(), Value::Int(*count)));
            let mut map = vec![
                ("device", Value::from(it.name.as_str())),
                ("errors", Value::Int(it.errors())),
                ("counts", Value::Map(counts.collect())),
            ];
            map.extend(it.state.as_deref().map(|state| ("state", Value::from(state))));
            Value::map(map)
        };
        let healthy = health.sound && health.devices.iter().all(|it| it.errors() == 0);
        let mut map = vec![
            ("type", Value::from(holder.fs_type.as_str())),
            ("mount", text(&holder.path)),
            ("healthy", Value::Bool(healthy)),
            ("devices", Value::Array(health.devices.iter().map(device).collect())),
        ];
        map.extend(health.more);
        Ok(Value::map(map))
    }
}
