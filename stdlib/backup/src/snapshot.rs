//! The operations that make repositories and snapshots, and list them.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// Backups in the format of restic: encrypted, deduplicated, and verified by restoring them.
///
/// A repository is a text, or a map with its password: `#{ repository: "rest:https://nas.lan/house", password:
/// secrets::get("restic"), user: "house", secret: secrets::get("nas") }`. As a text it is a path, `rest:URL`, `s3:URL` or
/// `rclone:REMOTE:PATH`, as restic writes it. For S3 `user` is the access key and `secret` the secret key, with `region`
/// beside them where the address does not tell it.
#[primitive(name = "backup")]
mod operations {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Options, PathText, Probe, SecretText, SecretTexts, Size};

    use rustic_core::repofile::SnapshotFile;

    use crate::life::Life;
    use crate::lock::Use;
    use crate::repository::{self, Access, Place, Places, Session, Wanted};
    use crate::source::command::Command;
    use crate::source::exclude::Excludes;
    use crate::source::walk;
    use crate::take::{self, Order, Source};

    /// Options of `backup::init`.
    #[derive(Debug, Options)]
    struct InitOptions {
        /// The password of the repository.
        password: Option<SecretText>,
        /// Whether nothing shall ever be removed from it.
        #[option(default = "false")]
        append_only: bool,
    }

    /// Makes a repository where there is none.
    ///
    /// It gives `repository`, `id` and `created`. Whoever loses the password loses the backups: keep it where the backups
    /// are not.
    ///
    /// Class `ensure`: a repository that is there and that the password opens is left as it is. A call that a crash cut off
    /// left no repository, or a whole one.
    ///
    /// Fails with `denied` when there is one with another password.
    ///
    /// ```rhai
    /// let made = backup::init("nas", #{ password: "correct horse" });
    /// made.created && !backup::init("nas", #{ password: "correct horse" }).created
    /// ```
    #[operation(ensure, returns = "map")]
    fn init(cx: &Ctx, to: Place, options: InitOptions) -> Result<Value, OpError> {
        let access = Access { password: options.password, wait: Duration::ZERO };
        repository::init(cx, &to, &access, options.append_only)
    }

    /// Options of `backup::snapshot`.
    #[derive(Debug, Options)]
    struct SnapshotOptions {
        /// The password of the repositories that have none of their own.
        password: Option<SecretText>,
        /// Tags of the snapshot.
        tags: Option<Vec<String>>,
        /// The name of the machine; that of this one unless it is given.
        host: Option<String>,
        /// What is left out: `"*.tmp"` at any depth, `"app/cache"` from a path that is backed up on, `"/var/cache"`.
        exclude: Option<Vec<String>>,
        /// Names of files that say of their directory that its content is left out: `".nobackup"`.
        exclude_if_present: Option<Vec<String>>,
        /// Whether directories are left out that mark themselves as caches, by `CACHEDIR.TAG`.
        #[option(default = "true")]
        exclude_caches: bool,
        /// Files larger than this are left out.
        exclude_larger_than: Option<Size>,
        /// Whether what is mounted below the paths stays out.
        #[option(default = "false")]
        one_file_system: bool,
        /// Whether what cannot be read is only told: the snapshot counts as whole.
        #[option(default = "false")]
        tolerant: bool,
        /// What the source holds still as long as, `#{ boot, service, instance }`: once that ends, no snapshot is written.
        life: Option<Life>,
        /// How long to wait for a program that has a repository for itself.
        #[option(default = "Duration::from_secs(60)")]
        wait: Duration,
    }

    /// Backs up files and directories, to one repository or to several.
    ///
    /// It gives an array with a map for each repository: `repository`, `snapshot` (its id), `time`, `complete`, `files`,
    /// `files_new`, `files_changed`, `bytes`, `bytes_added` (what the repository grew by), `unread`, `changed` (while they
    /// were read), `vanished`, and `excluded`, which says for each rule how much it left out, with examples.
    ///
    /// A repository that fails does not stop the others: the error comes when all were tried, with `done` and `failed` in
    /// `e.details`. A snapshot that lacks what could not be read is kept with the tag `incomplete`, and the call fails.
    ///
    /// Class `keyed`: a snapshot has a tag that says which effect made it. After a crash, repositories that have it are done,
    /// and the others get theirs; what was sent before the crash is not sent again. Until a snapshot is written, last of all,
    /// nothing refers to what came before it, and `backup::prune` removes what a crash left behind.
    ///
    /// A dry run looks whether the paths are there.
    ///
    /// Fails with `not_found` when a path or a repository is not there, `denied` for a wrong password, `conflict` when another
    /// program has the repository for itself, and `unavailable` when it is full or cannot be reached.
    ///
    /// ```rhai
    /// files::write("app/config.toml", "port = 1", #{ mkdir: true });
    /// files::write("app/cache/page", "…", #{ mkdir: true });
    /// backup::init("nas", #{ password: "correct horse" });
    /// let it = backup::snapshot("nas", ["app"], #{ password: "correct horse", exclude: ["cache"] })[0];
    /// it.complete && it.files == 1 && it.excluded[0].reason == "the pattern `cache`"
    /// ```
    #[operation(keyed, returns = "array", probe = probe_snapshot, model = model_snapshot)]
    fn snapshot(
        cx: &Ctx,
        to: Places,
        paths: Vec<PathText>,
        options: SnapshotOptions,
    ) -> Result<Value, OpError> {
        let order = order(cx, &paths, options)?;
        order.look()?;
        everywhere(cx, &to, &order)
    }

    fn probe_snapshot(cx: &Ctx, mut args: Args) -> Result<Probe, OpError> {
        let (to, paths): (Places, Vec<PathText>) = (args.next("to")?, args.next("paths")?);
        made_everywhere(cx, &to, &order(cx, &paths, args.options()?)?)
    }

    fn model_snapshot(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (_, paths): (Places, Vec<PathText>) = (args.next("to")?, args.next("paths")?);
        order(cx, &paths, args.options()?)?.look()?;
        Ok(Value::Array(Vec::new()))
    }

    fn order(cx: &Ctx, paths: &[PathText], options: SnapshotOptions) -> Result<Order, OpError> {
        if paths.is_empty() {
            return Err(OpError::invalid("there is nothing to back up: `paths` is empty"));
        }
        let tags = options.tags.unwrap_or_default();
        take::check_tags(&tags)?;
        let excludes = Excludes::new(
            options.exclude.as_deref().unwrap_or_default(),
            options.exclude_if_present.unwrap_or_default(),
            options.exclude_caches,
            options.exclude_larger_than,
            options.one_file_system,
        )?;
        let paths: Vec<PathBuf> = paths.iter().map(|path| cx.resolve(&path.0)).collect();
        for path in &paths {
            cx.permit(&format!("files.read:{}", path.display()))?;
        }
        let roots = walk::roots(paths);
        Ok(Order {
            access: Access { password: options.password, wait: options.wait },
            tags,
            host: options.host,
            tolerant: options.tolerant,
            life: options.life,
            source: Source::Trees { roots, excludes },
        })
    }

    /// Options of `backup::stream`.
    #[derive(Debug, Options)]
    struct StreamOptions {
        /// The password of the repositories that have none of their own.
        password: Option<SecretText>,
        /// Tags of the snapshot.
        tags: Option<Vec<String>>,
        /// The name of the machine; that of this one unless it is given.
        host: Option<String>,
        /// Variables of the program.
        env: Option<SecretTexts>,
        /// As of `backup::snapshot`.
        life: Option<Life>,
        /// How long to wait for a program that has a repository for itself.
        #[option(default = "Duration::from_secs(60)")]
        wait: Duration,
    }

    /// Backs up what a program writes, such as a dump of a database, without a file in between.
    ///
    /// `name` is the file in the snapshot: `"postgres.dump"`. `command` is an array of program and arguments, or a map of
    /// `command`, `env`, `user` and `service` or `container`, whose program runs there: `databases::postgres::stream` and its
    /// like give such maps. It is run once for each repository. The snapshot is written only when the program ended with 0 and what it wrote was read back from
    /// the repository.
    ///
    /// It gives what `backup::snapshot` gives.
    ///
    /// Class `keyed`: as `backup::snapshot`. The program may run again after a crash: it reads, and changes nothing.
    ///
    /// A dry run starts nothing.
    ///
    /// Fails as `backup::snapshot`, and with `failed` when the program does, with the end of what it complained about.
    ///
    /// ```rhai
    /// backup::init("nas", #{ password: "correct horse" });
    /// backup::stream("nas", "numbers.txt", ["seq", "1000"], #{ password: "correct horse", tags: ["dump"] });
    /// let dump = backup::dump("nas", "latest", "/numbers.txt", #{ password: "correct horse" });
    /// dump.as_string().starts_with("1\n2\n3\n")
    /// ```
    #[operation(keyed, returns = "array", probe = probe_stream, model = model_stream)]
    fn stream(
        cx: &Ctx,
        to: Places,
        name: String,
        command: Command,
        options: StreamOptions,
    ) -> Result<Value, OpError> {
        everywhere(cx, &to, &stream_order(cx, &name, command, options)?)
    }

    fn probe_stream(cx: &Ctx, mut args: Args) -> Result<Probe, OpError> {
        let (to, name, command): (Places, String, Command) =
            (args.next("to")?, args.next("name")?, args.next("command")?);
        made_everywhere(cx, &to, &stream_order(cx, &name, command, args.options()?)?)
    }

    fn model_stream(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (_, name, command): (Places, String, Command) =
            (args.next("to")?, args.next("name")?, args.next("command")?);
        stream_order(cx, &name, command, args.options()?)?;
        Ok(Value::Array(Vec::new()))
    }

    fn stream_order(
        cx: &Ctx,
        name: &str,
        command: Command,
        options: StreamOptions,
    ) -> Result<Order, OpError> {
        let path = Path::new("/").join(name.trim_start_matches('/'));
        if path.file_name().is_none()
            || name.contains('\0')
            || path.components().any(|it| it.as_os_str() == "..")
        {
            return Err(
                OpError::invalid(format!("`{name}` is no name of a file")).hint("such as \"postgres.dump\"")
            );
        }
        let tags = options.tags.unwrap_or_default();
        take::check_tags(&tags)?;
        let _program = command.permitted(cx)?;
        let mut line = command.line(cx)?;
        line.env.extend(options.env.unwrap_or_default().into_iter().map(|(name, value)| (name, value.0)));
        Ok(Order {
            access: Access { password: options.password, wait: options.wait },
            tags,
            host: options.host,
            tolerant: false,
            life: options.life,
            source: Source::Program { path, line },
        })
    }

    /// Goes to all repositories, whatever becomes of one of them.
    fn everywhere(cx: &Ctx, to: &Places, order: &Order) -> Result<Value, OpError> {
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for place in &to.0 {
            match order.take(cx, place) {
                Ok(told) => done.push(told),
                Err(error) => failed.push(error),
            }
        }
        let Some(first) = failed.first().cloned() else { return Ok(Value::Array(done)) };
        if to.0.len() == 1 {
            return Err(first);
        }
        let text = format!("{} of {} repositories failed: {}", failed.len(), to.0.len(), first.message);
        let told = failed.iter().map(OpError::to_value).collect();
        let mut error = OpError::new(first.kind, text).maybe_hint(first.hint.clone());
        error.retryable = failed.iter().all(|error| error.retryable);
        error.nothing_happened = done.is_empty() && failed.iter().all(|error| error.nothing_happened);
        Err(error.detail("done", Value::Array(done)).detail("failed", Value::Array(told)))
    }

    fn made_everywhere(cx: &Ctx, to: &Places, order: &Order) -> Result<Probe, OpError> {
        let mut done = Vec::new();
        for place in &to.0 {
            match order.made(cx, place)? {
                Some(told) => done.push(told),
                // What is there is found again by the call that follows.
                None => return Ok(Probe::NotDone),
            }
        }
        Ok(Probe::Done(Value::Array(done)))
    }

    /// Options of `backup::snapshots`.
    #[derive(Debug, Options)]
    struct ListOptions {
        /// The password of the repository.
        password: Option<SecretText>,
        /// Only those with all these tags.
        tags: Option<Vec<String>>,
        /// Only those of this machine.
        host: Option<String>,
        /// Only those of this path.
        path: Option<String>,
    }

    /// Lists the snapshots of a repository, oldest first.
    ///
    /// Each has `id`, `time`, `host`, `user`, `paths`, `tags`, `complete`, `files`, `bytes`, `program`, and `ahead` where it is
    /// from the future, of a clock that was wrong; `files` and `bytes` are `()` where the program that made it did not note
    /// them.
    ///
    /// Class `observe`: it only reads.
    ///
    /// Fails as `backup::snapshot`.
    ///
    /// ```rhai
    /// backup::init("nas", #{ password: "correct horse" });
    /// backup::snapshots("nas", #{ password: "correct horse" }) == []
    /// ```
    #[operation(observe, returns = "array")]
    fn snapshots(cx: &Ctx, from: Place, options: ListOptions) -> Result<Value, OpError> {
        let access = Access { password: options.password, wait: Duration::ZERO };
        let session = Session::open(cx, &from, &access, Use::Reading, "looking at")?;
        let (tags, host, path) = (options.tags.unwrap_or_default(), options.host, options.path);
        let wanted = Wanted { tags, host, path };
        let all = session.snapshots()?;
        let with_ahead = |it: &SnapshotFile| {
            let mut told = repository::shown(it);
            if let Value::Map(facts) = &mut told {
                facts.insert("ahead".to_owned(), Value::Bool(repository::is_ahead(it, cx.now())));
            }
            told
        };
        Ok(Value::Array(all.iter().filter(|it| wanted.fits(it)).map(with_ahead).collect()))
    }
}
