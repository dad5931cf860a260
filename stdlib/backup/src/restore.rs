//! The operations that bring back what snapshots hold.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What comes back; joined with the rest of `backup`.
#[primitive(name = "backup")]
mod operations {
    use std::time::Duration;

    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Options, PathText, SecretText};
    use rustic_core::Repository;
    use rustic_core::repofile::SnapshotFile;

    use crate::lock::Use;
    use crate::repository::{Access, Place, Session, Wanted, choose};
    use crate::target::{Filter, Manner, Target, plan};

    /// The largest file that `backup::dump` gives, in bytes.
    const DUMP_BYTES_MAX: u64 = 16 << 20;

    /// Options of `backup::restore`.
    #[derive(Debug, Options)]
    struct RestoreOptions {
        /// The password of the repository.
        password: Option<SecretText>,
        /// What is restored: a path of the snapshot. The content of a directory comes to lie in `to`, and a file under its
        /// name.
        #[option(default = "String::from(\"/\")")]
        path: String,
        /// Only what fits: `"*.conf"` at any depth, `"nginx/**"` from `path` on. All in a directory that fits, too.
        include: Option<Vec<String>>,
        /// Nothing that fits.
        exclude: Option<Vec<String>>,
        /// With `snapshot: "latest"` only those with all these tags.
        tags: Option<Vec<String>>,
        /// With `snapshot: "latest"` only those of this machine.
        host: Option<String>,
        /// Whether it is only told what would change.
        #[option(default = "false")]
        plan: bool,
        /// Whether what the snapshot does not have is removed from `to`.
        #[option(default = "false")]
        delete: bool,
        /// Whether files of the same size and time are read and compared, too.
        #[option(default = "false")]
        thorough: bool,
        /// Whether all that was written is read again and compared with the hashes of the snapshot.
        #[option(default = "true")]
        verify: bool,
        /// Whether owners and groups are set, by number. Otherwise only where hob runs as root.
        owners: Option<bool>,
        /// How long to wait for a program that has the repository for itself.
        #[option(default = "Duration::from_secs(60)")]
        wait: Duration,
    }

    /// Restores a snapshot, or a part of one: whole, partial, a single file, in place or elsewhere.
    ///
    /// `snapshot` is an id, its beginning, or `"latest"`, which is the last complete one. With `to: "/"` all comes back where it
    /// was. Each file takes its place at once, with content, mode, owner, times, attributes, holes and hard links.
    ///
    /// It gives `snapshot`, `created`, `replaced`, `unchanged`, `removed`, `files`, `bytes`, `paths` (`create`, `replace` and
    /// `remove`, up to 1000 each), `kept_not` (attributes that the file system does not take) and `planned`.
    ///
    /// Class `ensure`: what is there as it was stays. A call that a crash cut off is done again.
    ///
    /// A dry run is as `plan: true`.
    ///
    /// Fails with `not_found` when there is no such snapshot or path, `unavailable` when the disk is too small, and with
    /// `failed` when some of it could not be restored, with `e.details.failed`; the rest is restored then.
    ///
    /// ```rhai
    /// files::write("app/config.toml", "port = 1", #{ mkdir: true });
    /// backup::init("nas", #{ password: "correct horse" });
    /// backup::snapshot("nas", ["app"], #{ password: "correct horse" });
    /// let path = backup::snapshots("nas", #{ password: "correct horse" })[0].paths[0];
    /// files::write("app/config.toml", "port = 2222");
    /// let plan = backup::restore("nas", "latest", "app", #{ password: "correct horse", path: path, plan: true });
    /// backup::restore("nas", "latest", "app", #{ password: "correct horse", path: path });
    /// plan.paths.replace == ["config.toml"] && files::read("app/config.toml") == "port = 1"
    /// ```
    #[operation(ensure, permission = "backup.restore files.write:{to}", returns = "map", model = model_restore)]
    fn restore(
        cx: &Ctx,
        from: Place,
        snapshot: String,
        to: PathText,
        options: RestoreOptions,
    ) -> Result<Value, OpError> {
        bring_back(cx, &from, &snapshot, &to, &options)
    }

    fn model_restore(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (from, snapshot, to): (Place, String, PathText) =
            (args.next("from")?, args.next("snapshot")?, args.next("to")?);
        let options: RestoreOptions = args.options()?;
        bring_back(cx, &from, &snapshot, &to, &RestoreOptions { plan: true, ..options })
    }

    fn bring_back(
        cx: &Ctx,
        from: &Place,
        snapshot: &str,
        to: &PathText,
        options: &RestoreOptions,
    ) -> Result<Value, OpError> {
        let filter = Filter::new(options.include.as_deref(), options.exclude.as_deref().unwrap_or_default())?;
        let (session, chosen) =
            open(cx, from, options.password.clone(), options.wait, snapshot, &options.tags, &options.host)?;
        let repo = session.indexed(Repository::to_indexed)?;
        let manner = Manner {
            thorough: options.thorough,
            delete: options.delete,
            verify: options.verify,
            owners: options.owners.unwrap_or_else(|| rustix::process::geteuid().is_root()),
        };
        let target = Target { session: &session, repo: &repo, root: cx.resolve(&to.0), manner };
        let planned = plan(&target, &chosen, &options.path, &filter)?;
        let mut told = if options.plan { planned.told_dry() } else { target.carry_out(&planned)? };
        if let Value::Map(facts) = &mut told {
            facts.insert("snapshot".to_owned(), Value::from(chosen.id.to_hex().as_str()));
        }
        Ok(told)
    }

    fn open(
        cx: &Ctx,
        from: &Place,
        password: Option<SecretText>,
        wait: Duration,
        snapshot: &str,
        tags: &Option<Vec<String>>,
        host: &Option<String>,
    ) -> Result<(Session, SnapshotFile), OpError> {
        let session = Session::open(cx, from, &Access { password, wait }, Use::Reading, "restoring from")?;
        let wanted = Wanted { tags: tags.clone().unwrap_or_default(), host: host.clone(), path: None };
        let chosen = choose(&session.snapshots()?, snapshot, &wanted, cx.now())?;
        Ok((session, chosen))
    }

    /// Options of `backup::dump`.
    #[derive(Debug, Options)]
    struct DumpOptions {
        /// The password of the repository.
        password: Option<SecretText>,
        /// With `snapshot: "latest"` only those with all these tags.
        tags: Option<Vec<String>>,
        /// With `snapshot: "latest"` only those of this machine.
        host: Option<String>,
    }

    /// Gives the content of one file of a snapshot, up to 16 MiB, as a blob.
    ///
    /// Class `observe`: it only reads.
    ///
    /// Fails with `not_found` when the snapshot has no such file, and `invalid` when it is larger: restore it then.
    ///
    /// ```rhai
    /// backup::init("nas", #{ password: "correct horse" });
    /// backup::stream("nas", "hello.txt", ["echo", "hello"], #{ password: "correct horse" });
    /// backup::dump("nas", "latest", "/hello.txt", #{ password: "correct horse" }).as_string() == "hello\n"
    /// ```
    #[operation(observe, returns = "blob")]
    fn dump(
        cx: &Ctx,
        from: Place,
        snapshot: String,
        path: String,
        options: DumpOptions,
    ) -> Result<Value, OpError> {
        let (session, chosen) =
            open(cx, &from, options.password, Duration::ZERO, &snapshot, &options.tags, &options.host)?;
        let repo = session.indexed(Repository::to_indexed)?;
        let node = repo.node_from_snapshot_and_path(&chosen, &path);
        let node = node.ok().filter(rustic_core::repofile::Node::is_file);
        let node = node.ok_or_else(|| OpError::not_found(format!("the snapshot has no file {path}")))?;
        let mut bytes = 0;
        for id in node.content.iter().flatten() {
            let entry = repo.get_index_entry(id).map_err(|error| session.explain(&error))?;
            bytes += u64::from(entry.data_length());
        }
        if bytes > DUMP_BYTES_MAX {
            return Err(OpError::invalid(format!("{path} has {bytes} bytes, and a script takes 16 MiB"))
                .hint(format!("restore it: backup::restore(from, snapshot, to, #{{ path: \"{path}\" }})")));
        }
        let mut content = Vec::new();
        repo.dump(&node, &mut content).map_err(|error| session.explain(&error))?;
        Ok(Value::Blob(content))
    }
}
