//! The operations that prove backups, and that copy them.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What is proved; joined with the rest of `backup`.
#[primitive(name = "backup")]
mod operations {
    use std::time::Duration;

    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Options, PathText, SecretText};
    use rustic_core::repofile::SnapshotFile;
    use rustic_core::{CheckOptions, CheckResults, ReadSubsetOption, Repository};

    use crate::drill::{Drill, Proof};
    use crate::lock::Use;
    use crate::repository::{Access, Place, Session, Wanted, choose, shown};

    /// The most findings of one check that are told.
    const FINDINGS_MAX: usize = 1000;

    /// Options of `backup::check`.
    #[derive(Debug, Options)]
    struct CheckOptionsGiven {
        /// The password of the repository.
        password: Option<SecretText>,
        /// How much of the content is read: `"none"`, `"all"`, a share such as `"5%"`, or a part such as `"3/12"`.
        #[option(default = "String::from(\"none\")")]
        read: String,
        /// How long to wait for a program that has the repository for itself.
        #[option(default = "Duration::from_secs(60)")]
        wait: Duration,
    }

    /// Checks that a repository holds all that its snapshots refer to.
    ///
    /// It gives `snapshots` (how many) and `warnings`, an array of texts.
    ///
    /// Class `observe`: it only reads, but for a lock as long as it takes.
    ///
    /// Fails with `failed` when something is missing or damaged, with `e.details.errors`.
    ///
    /// ```rhai
    /// backup::init("nas", #{ password: "correct horse" });
    /// backup::stream("nas", "a.txt", ["echo", "1"], #{ password: "correct horse" });
    /// backup::check("nas", #{ password: "correct horse", read: "all" }).snapshots == 1
    /// ```
    #[operation(observe, returns = "map")]
    fn check(cx: &Ctx, from: Place, options: CheckOptionsGiven) -> Result<Value, OpError> {
        let mut rules = CheckOptions::default();
        if options.read != "none" {
            rules.read_data = true;
            rules.read_data_subset = options.read.parse::<ReadSubsetOption>().map_err(|_| {
                OpError::invalid(format!("`read`: \"{}\" is no part of a repository", options.read))
                    .hint("write \"none\", \"all\", \"5%\" or \"3/12\"")
            })?;
        }
        let access = Access { password: options.password, wait: options.wait };
        let session = Session::open(cx, &from, &access, Use::Reading, "checking")?;
        let snapshots = session.snapshots()?.len();
        let warnings = findings(&session, session.repo.check(rules))?;
        Ok(Value::map([("snapshots", Value::from(snapshots)), ("warnings", Value::from(warnings))]))
    }

    /// The warnings of a check.
    fn findings(
        session: &Session,
        results: rustic_core::RusticResult<CheckResults>,
    ) -> Result<Vec<String>, OpError> {
        let results = results.map_err(|error| session.explain(&error))?;
        session.watch.check()?;
        let broken = results.is_ok().is_err();
        let mut warnings = Vec::new();
        let mut errors = Vec::new();
        for (level, finding) in results.0.iter().take(FINDINGS_MAX) {
            // The type of the levels is not exported, their names are.
            let list = if format!("{level:?}") == "Error" { &mut errors } else { &mut warnings };
            list.push(finding.to_string());
        }
        if !broken {
            return Ok(warnings);
        }
        let first = errors.first().cloned().unwrap_or_default();
        Err(OpError::failed(format!("{} is damaged: {first}", session.location))
            .hint("restore what is left; a copy elsewhere may be whole; `restic repair` rebuilds what can be rebuilt")
            .detail("errors", errors)
            .detail("warnings", warnings))
    }

    /// Options of `backup::verify`.
    #[derive(Debug, Options)]
    struct VerifyOptions {
        /// The password of the repository.
        password: Option<SecretText>,
        /// Which snapshot: an id, its beginning, or `"latest"`.
        #[option(default = "String::from(\"latest\")")]
        snapshot: String,
        /// With `"latest"` only those with all these tags.
        tags: Option<Vec<String>>,
        /// With `"latest"` only those of this machine.
        host: Option<String>,
        /// A part of it: a path of the snapshot.
        #[option(default = "String::from(\"/\")")]
        path: String,
        /// Where it is restored to, and removed from afterwards. It takes the space of what is restored.
        #[option(default = "PathText(String::from(\"/var/tmp\"))")]
        scratch: PathText,
        /// Whether databases of SQLite that are found are checked.
        #[option(default = "true")]
        sqlite: bool,
        /// A program that proves it, as an array: it is started where it was restored, and ends with 0 if all is well.
        command: Option<Vec<String>>,
        /// How long to wait for a program that has the repository for itself.
        #[option(default = "Duration::from_secs(60)")]
        wait: Duration,
    }

    /// Restores a snapshot into a scratch directory, and proves what came back: a drill.
    ///
    /// Each file is read again and compared with the hashes of the snapshot, each SQLite database passes its integrity check,
    /// and `command` ends with 0.
    ///
    /// It gives `snapshot`, `time`, `files`, `bytes`, `sqlite` (how many databases) and `command` (whether one was run).
    ///
    /// Class `ensure`: what is restored is removed again. A call that a crash cut off removes what it left, and is done again.
    ///
    /// A dry run looks which snapshot it would be.
    ///
    /// Fails as `backup::restore`, and with `failed` when a proof fails.
    ///
    /// ```rhai
    /// files::write("app/config.toml", "port = 1", #{ mkdir: true });
    /// backup::init("nas", #{ password: "correct horse" });
    /// backup::snapshot("nas", ["app"], #{ password: "correct horse" });
    /// let it = backup::verify("nas", #{ password: "correct horse", scratch: ".", command: ["test", "-d", "."] });
    /// it.files == 1 && it.command
    /// ```
    #[operation(ensure, returns = "map", model = model_verify)]
    fn verify(cx: &Ctx, from: Place, options: VerifyOptions) -> Result<Value, OpError> {
        cx.permit(&format!("files.write:{}", cx.resolve(&options.scratch.0).display()))?;
        let (session, chosen) = choice(cx, &from, &options)?;
        if let Some(program) = options.command.iter().flatten().next() {
            cx.permit(&format!("process:{}", program.rsplit('/').next().unwrap_or(program)))?;
        }
        let repo = session.indexed(Repository::to_indexed)?;
        let proof = Proof { sqlite: options.sqlite, command: options.command };
        let drill = Drill { session: &session, repo: &repo, scratch: cx.resolve(&options.scratch.0), proof };
        drill.run(&chosen, &options.path)
    }

    fn model_verify(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let from: Place = args.next("from")?;
        let (_, chosen) = choice(cx, &from, &args.options()?)?;
        Ok(shown(&chosen))
    }

    fn choice(cx: &Ctx, from: &Place, options: &VerifyOptions) -> Result<(Session, SnapshotFile), OpError> {
        let access = Access { password: options.password.clone(), wait: options.wait };
        let session = Session::open(cx, from, &access, Use::Reading, "verifying")?;
        let tags = options.tags.clone().unwrap_or_default();
        let wanted = Wanted { tags, host: options.host.clone(), path: None };
        let chosen = choose(&session.snapshots()?, &options.snapshot, &wanted, cx.now())?;
        Ok((session, chosen))
    }

    /// Options of `backup::copy`.
    #[derive(Debug, Options)]
    struct CopyOptions {
        /// The password of the repositories that have none of their own.
        password: Option<SecretText>,
        /// Only those with all these tags.
        tags: Option<Vec<String>>,
        /// Only those of this machine.
        host: Option<String>,
        /// Only those of this path.
        path: Option<String>,
        /// How long to wait for a program that has a repository for itself.
        #[option(default = "Duration::from_secs(60)")]
        wait: Duration,
    }

    /// Copies snapshots to another repository, which has keys of its own.
    ///
    /// The copies are checked before they count: all that they refer to is there.
    ///
    /// It gives `copied` and `present` (those that were there already), arrays of snapshots.
    ///
    /// Class `ensure`: what is there is not copied again. A call that a crash cut off is done again, and what was sent before
    /// is not sent again.
    ///
    /// A dry run tells what would be copied.
    ///
    /// Fails as `backup::snapshot`, and with `failed` when the source lacks something.
    ///
    /// ```rhai
    /// backup::init("nas", #{ password: "correct horse" });
    /// backup::init("away", #{ password: "battery staple" });
    /// backup::stream("nas", "a.txt", ["echo", "1"], #{ password: "correct horse" });
    /// let away = #{ repository: "away", password: "battery staple" };
    /// let it = backup::copy("nas", away, #{ password: "correct horse" });
    /// it.copied.len() == 1 && backup::copy("nas", away, #{ password: "correct horse" }).copied == []
    /// ```
    #[operation(ensure, returns = "map", model = model_copy)]
    fn copy(cx: &Ctx, from: Place, to: Place, options: CopyOptions) -> Result<Value, OpError> {
        let (source, target) = both(cx, &from, &to, &options, Use::Shared)?;
        let (wanted, present) = missing(&source, &target, options)?;
        if !wanted.is_empty() {
            let (repo, into) =
                (source.indexed(Repository::to_indexed)?, target.indexed(Repository::to_indexed_ids)?);
            target.watch.withhold(true);
            repo.copy(&into, &wanted).map_err(|error| either(&source, &target, &error))?;
            target.watch.check()?;
            let trees = wanted.iter().map(|it| it.tree).collect();
            let again = target.indexed(Ok)?;
            findings(&target, again.check_with_trees(CheckOptions::default(), trees))?;
            target.watch.withhold(false);
            let copies = wanted.iter().cloned().map(|mut copy| {
                copy.original = copy.original.or(Some(copy.id));
                (copy.parent, copy.parents) = (None, Vec::new());
                copy
            });
            target.repo.save_snapshots(copies.collect()).map_err(|error| target.explain(&error))?;
        }
        Ok(copied(&wanted, &present))
    }

    fn model_copy(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (from, to): (Place, Place) = (args.next("from")?, args.next("to")?);
        let options: CopyOptions = args.options()?;
        let (source, target) = both(cx, &from, &to, &options, Use::Reading)?;
        let (wanted, present) = missing(&source, &target, options)?;
        Ok(copied(&wanted, &present))
    }

    fn copied(wanted: &[SnapshotFile], present: &[SnapshotFile]) -> Value {
        let shown = |all: &[SnapshotFile]| Value::Array(all.iter().map(shown).collect());
        Value::map([("copied", shown(wanted)), ("present", shown(present))])
    }

    fn both(
        cx: &Ctx,
        from: &Place,
        to: &Place,
        options: &CopyOptions,
        wanted: Use,
    ) -> Result<(Session, Session), OpError> {
        let access = Access { password: options.password.clone(), wait: options.wait };
        let source = Session::open(cx, from, &access, Use::Reading, "copying from")?;
        let target = Session::open(cx, to, &access, wanted, "copying to")?;
        if source.location == target.location {
            return Err(OpError::invalid(format!("{} is both source and target", source.location)));
        }
        Ok((source, target))
    }

    /// The error of what goes on between two repositories.
    fn either(source: &Session, target: &Session, error: &rustic_core::RusticError) -> OpError {
        if source.watch.has_failed() { source.explain(error) } else { target.explain(error) }
    }

    /// The snapshots that the target lacks, and those that it has.
    fn missing(
        source: &Session,
        target: &Session,
        options: CopyOptions,
    ) -> Result<(Vec<SnapshotFile>, Vec<SnapshotFile>), OpError> {
        let (tags, host, path) = (options.tags.unwrap_or_default(), options.host, options.path);
        let wanted = Wanted { tags, host, path };
        let there = target.snapshots()?;
        let is_there = |it: &SnapshotFile| {
            let origin = it.original.unwrap_or(it.id);
            there.iter().any(|other| other.id == origin || other.original == Some(origin))
        };
        let of_source = source.snapshots()?.into_iter().filter(|it| wanted.fits(it));
        let (present, missing) = of_source.partition(is_there);
        Ok((missing, present))
    }
}
