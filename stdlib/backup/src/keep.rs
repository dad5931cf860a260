//! The operations that let go of old snapshots.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What is kept; joined with the rest of `backup`.
#[primitive(name = "backup")]
mod operations {
    use std::collections::HashSet;
    use std::time::Duration;

    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Options, SecretText};
    use jiff::tz::TimeZone;
    use jiff::{Span, Zoned};
    use rustic_core::repofile::{SnapshotFile, SnapshotId};
    use rustic_core::{ForgetGroups, Grouped, KeepOptions, PruneOptions, SnapshotGroupCriterion, StringList};

    use crate::lock::Use;
    use crate::repository::{AHEAD, Access, INCOMPLETE, Place, Session, Wanted, shown};

    /// How long packs that nothing refers to stay, unless told otherwise.
    const GRACE: Duration = Duration::from_secs(23 * 3600);

    /// The most snapshots of one rule.
    const KEEP_MAX: u32 = 100_000;

    /// Options of `backup::forget`.
    #[derive(Debug, Options)]
    struct ForgetOptions {
        /// The password of the repository.
        password: Option<SecretText>,
        /// The last so many are kept.
        keep_last: Option<u32>,
        /// The last of each hour, of so many hours with a snapshot.
        keep_hourly: Option<u32>,
        /// The last of each day, of so many days with a snapshot.
        keep_daily: Option<u32>,
        /// The last of each week, of so many weeks with a snapshot.
        keep_weekly: Option<u32>,
        /// The last of each month, of so many months with a snapshot.
        keep_monthly: Option<u32>,
        /// The last of each year, of so many years with a snapshot.
        keep_yearly: Option<u32>,
        /// All that are so much older than the last one, and younger.
        keep_within: Option<Duration>,
        /// All with one of these tags.
        keep_tags: Option<Vec<String>>,
        /// Only snapshots with all these tags are looked at.
        tags: Option<Vec<String>>,
        /// Only snapshots of this machine are looked at.
        host: Option<String>,
        /// Only snapshots of this path are looked at.
        path: Option<String>,
        /// Whether space is freed at once, as `backup::prune` does.
        #[option(default = "false")]
        prune: bool,
        /// How long to wait for other programs.
        #[option(default = "Duration::from_secs(60)")]
        wait: Duration,
    }

    /// Removes snapshots that no rule keeps.
    ///
    /// Rules hold for each machine and set of paths by itself. Incomplete snapshots count for no rule, and go once there is a
    /// newer complete one; those from the future, of a clock that was wrong, count for none until their time has come. Space
    /// is freed by `backup::prune`.
    ///
    /// It gives `kept` and `removed`, arrays of snapshots as `backup::snapshots` gives them, and `pruned`, which is what
    /// `backup::prune` gives or `()`.
    ///
    /// Class `ensure`: what is removed is not there to be removed again, and the same rules keep the same snapshots.
    ///
    /// A dry run tells what would be removed.
    ///
    /// Fails with `invalid` without a rule, `denied` when the repository only appends, and `conflict` while other programs
    /// use it.
    ///
    /// ```rhai
    /// backup::init("nas", #{ password: "correct horse" });
    /// backup::stream("nas", "a.txt", ["echo", "1"], #{ password: "correct horse" });
    /// backup::stream("nas", "a.txt", ["echo", "2"], #{ password: "correct horse" });
    /// let it = backup::forget("nas", #{ password: "correct horse", keep_last: 1 });
    /// it.kept.len() == 1 && it.removed.len() == 1
    /// ```
    #[operation(ensure, returns = "map", model = model_forget)]
    fn forget(cx: &Ctx, from: Place, options: ForgetOptions) -> Result<Value, OpError> {
        let (keep, now) = (policy(&options)?, cx.now().to_zoned(TimeZone::system()));
        let access = Access { password: options.password.clone(), wait: options.wait };
        let session = Session::open(cx, &from, &access, Use::Alone, "forgetting in")?;
        let (kept, removed) = sort_out(&session, options, &keep, &now)?;
        let ids: Vec<SnapshotId> = removed.iter().map(|it| it.1).collect();
        if !ids.is_empty() {
            session.repo.delete_snapshots(&ids).map_err(|error| session.explain(&error))?;
        }
        let pruned = if keep.prunes { free(&session, GRACE)? } else { Value::Unit };
        Ok(told(kept, removed, pruned))
    }

    fn model_forget(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let from: Place = args.next("from")?;
        let options: ForgetOptions = args.options()?;
        let (keep, now) = (policy(&options)?, cx.now().to_zoned(TimeZone::system()));
        let access = Access { password: options.password.clone(), wait: options.wait };
        let session = Session::open(cx, &from, &access, Use::Reading, "looking at")?;
        let (kept, removed) = sort_out(&session, options, &keep, &now)?;
        Ok(told(kept, removed, Value::Unit))
    }

    /// A snapshot as scripts see it, with its id.
    type Told = (Value, SnapshotId);

    fn told(kept: Vec<Told>, removed: Vec<Told>, pruned: Value) -> Value {
        let values = |all: Vec<Told>| Value::Array(all.into_iter().map(|it| it.0).collect());
        Value::map([("kept", values(kept)), ("removed", values(removed)), ("pruned", pruned)])
    }

    /// What is kept.
    struct Policy {
        rules: KeepOptions,
        prunes: bool,
    }

    fn policy(options: &ForgetOptions) -> Result<Policy, OpError> {
        let mut rules = KeepOptions::default();
        let counts = [
            (&mut rules.keep_last, options.keep_last),
            (&mut rules.keep_hourly, options.keep_hourly),
            (&mut rules.keep_daily, options.keep_daily),
            (&mut rules.keep_weekly, options.keep_weekly),
            (&mut rules.keep_monthly, options.keep_monthly),
            (&mut rules.keep_yearly, options.keep_yearly),
        ];
        let mut keeps = false;
        for (rule, count) in counts {
            if count.is_some_and(|count| count > KEEP_MAX) {
                return Err(OpError::invalid(format!("a rule keeps at most {KEEP_MAX} snapshots")));
            }
            *rule = count.and_then(|count| i32::try_from(count).ok());
            keeps |= count.is_some_and(|count| count > 0);
        }
        if let Some(within) = options.keep_within {
            let seconds = i64::try_from(within.as_secs()).ok();
            let span = seconds.and_then(|seconds| Span::new().try_seconds(seconds).ok());
            rules.keep_within = Some(span.ok_or_else(|| OpError::invalid("`keep_within` is too long"))?);
            keeps = true;
        }
        if let Some(tags) = options.keep_tags.as_ref().filter(|tags| !tags.is_empty()) {
            let lists = tags.iter().map(|tag| tag.parse::<StringList>());
            let lists = lists.collect::<Result<_, _>>();
            rules.keep_tags = lists.map_err(|_| OpError::invalid("`keep_tags` are no tags"))?;
            keeps = true;
        }
        if !keeps {
            return Err(OpError::invalid("no rule keeps anything: all snapshots would be removed")
                .hint("such as `keep_daily: 7, keep_weekly: 4, keep_monthly: 12`"));
        }
        Ok(Policy { rules, prunes: options.prune })
    }

    /// The snapshots that are kept, and those that are not, oldest first.
    fn sort_out(
        session: &Session,
        options: ForgetOptions,
        keep: &Policy,
        now: &Zoned,
    ) -> Result<(Vec<Told>, Vec<Told>), OpError> {
        let (tags, host, path) = (options.tags.unwrap_or_default(), options.host, options.path);
        let wanted = Wanted { tags, host, path };
        let mut all = session.snapshots()?;
        all.retain(|it| wanted.fits(it));
        let groups = Grouped::from_items(all.clone(), SnapshotGroupCriterion::default());
        let mut gone: HashSet<SnapshotId> = HashSet::new();
        let mut whole = Grouped { criterion: groups.criterion, groups: Vec::new() };
        let ahead = now.checked_add(AHEAD).unwrap_or_else(|_| now.clone());
        for mut group in groups.groups {
            // Of a clock that was wrong: they would take the places of those that come now.
            group.items.retain(|it| it.time <= ahead);
            let is_whole = |it: &SnapshotFile| !it.tags.contains(INCOMPLETE);
            let last = group.items.iter().filter(|it| is_whole(it)).map(|it| it.time.clone()).max();
            let superseded =
                |it: &&SnapshotFile| !is_whole(it) && last.as_ref().is_some_and(|last| it.time < *last);
            gone.extend(group.items.iter().filter(superseded).map(|it| it.id));
            group.items.retain(is_whole);
            whole.groups.push(group);
        }
        let sorted = ForgetGroups::from_grouped_snapshots_with_retention(whole, &keep.rules, now);
        gone.extend(sorted.map_err(|error| session.explain(&error))?.into_forget_ids());
        let (removed, kept): (Vec<_>, Vec<_>) = all.iter().partition(|it| gone.contains(&it.id));
        let told = |all: Vec<&SnapshotFile>| all.into_iter().map(|it| (shown(it), it.id)).collect();
        Ok((told(kept), told(removed)))
    }

    /// Options of `backup::prune`.
    #[derive(Debug, Options)]
    struct PruneOptionsGiven {
        /// The password of the repository.
        password: Option<SecretText>,
        /// How long packs that nothing refers to stay: a program that does not lock may still refer to them.
        #[option(default = "GRACE")]
        grace: Duration,
        /// How long to wait for other programs.
        #[option(default = "Duration::from_secs(60)")]
        wait: Duration,
    }

    /// Frees the space of what no snapshot refers to.
    ///
    /// Packs are first marked, and removed by the first call after `grace`; partly used ones are written anew.
    ///
    /// It gives `removed_packs`, `removed_bytes`, `marked_packs`, `repacked_packs` and `kept_bytes`.
    ///
    /// Class `ensure`: what is freed is not there to be freed again. At each moment the index tells where all is that a
    /// snapshot refers to; a call that a crash cut off is done again.
    ///
    /// A dry run tells what would be done.
    ///
    /// Fails with `conflict` while other programs use the repository (stale locks of restic are removed, by its own rule),
    /// and `denied` when the repository only appends.
    ///
    /// ```rhai
    /// backup::init("nas", #{ password: "correct horse" });
    /// backup::prune("nas", #{ password: "correct horse" }).removed_packs == 0
    /// ```
    #[operation(ensure, returns = "map", model = model_prune)]
    fn prune(cx: &Ctx, from: Place, options: PruneOptionsGiven) -> Result<Value, OpError> {
        let access = Access { password: options.password, wait: options.wait };
        let session = Session::open(cx, &from, &access, Use::Alone, "pruning")?;
        free(&session, options.grace)
    }

    fn model_prune(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let from: Place = args.next("from")?;
        let options: PruneOptionsGiven = args.options()?;
        let access = Access { password: options.password, wait: options.wait };
        let session = Session::open(cx, &from, &access, Use::Reading, "looking at")?;
        let plan = session.repo.prune_plan(&rules(options.grace)?);
        Ok(freed(&plan.map_err(|error| session.explain(&error))?.stats))
    }

    fn rules(grace: Duration) -> Result<PruneOptions, OpError> {
        let mut rules = PruneOptions::default();
        let seconds = i64::try_from(grace.as_secs()).ok();
        let span = seconds.and_then(|seconds| Span::new().try_seconds(seconds).ok());
        rules.keep_delete = span.ok_or_else(|| OpError::invalid("`grace` is too long"))?;
        rules.instant_delete = grace.is_zero();
        Ok(rules)
    }

    fn free(session: &Session, grace: Duration) -> Result<Value, OpError> {
        if session.repo.config().append_only == Some(true) {
            return Err(OpError::denied(format!(
                "{} only appends: nothing is removed from it",
                session.location
            ))
            .hint("forget and prune with a repository that allows it"));
        }
        let rules = rules(grace)?;
        let plan = session.repo.prune_plan(&rules).map_err(|error| session.explain(&error))?;
        let told = freed(&plan.stats);
        session.repo.prune(&rules, plan).map_err(|error| session.explain(&error))?;
        Ok(told)
    }

    fn freed(stats: &rustic_core::PruneStats) -> Value {
        let sizes = stats.size_sum();
        Value::map([
            ("removed_packs", Value::from(stats.packs_to_delete.remove + stats.packs_unref)),
            ("removed_bytes", Value::from(stats.size_to_delete.remove + stats.size_unref)),
            ("marked_packs", Value::from(stats.packs.unused + stats.packs.repack)),
            ("repacked_packs", Value::from(stats.packs.repack)),
            ("kept_bytes", Value::from(sizes.total_after_prune())),
        ])
    }
}
