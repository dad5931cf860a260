//! The operations that start and stop.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What acts by jobs; joined with the rest of `units`.
#[primitive(name = "units")]
mod operations {
    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Probe};

    use crate::job::{Outcome, ScopeOptions, Target, modelled};
    use crate::name::UnitName;
    use crate::port::{Facts, FaultKind, Verb};

    /// Starts a unit and waits until it is up.
    ///
    /// What "up" means says its type: a service of `Type=notify` when it says so, a oneshot when it has ended. The
    /// result has `unit`, `changed` (false when it was active already), `active`, `sub`, `invocation_id`, and
    /// `skipped` when a condition in its file kept it from starting.
    ///
    /// Class `ensure`: a unit that is active stays as it is.
    ///
    /// Fails with `failed` when it does not come up, with `e.details.log`, `result` and `exit_code`; `conflict` when it
    /// is masked; `invalid` when its file has errors, with what `systemd-analyze verify` says in
    /// `e.details.problems`; `not_found`, naming the nearest; `cancelled` when another job took its place; `denied`.
    ///
    /// ```rhai,no_run
    /// units::start("postgresql").active == "active"
    /// ```
    #[operation(ensure, permission = "units.start:{unit.full}", returns = "map", grace = "5s", model = model_start)]
    async fn start(cx: Ctx, unit: UnitName, options: ScopeOptions) -> Result<Value, OpError> {
        let target = Target::of(&cx, options.user)?;
        let before = target.facts(&unit).await?;
        if before.active == "active" && !before.has_job {
            return Ok(Outcome::new(before, false, Verb::Start).into());
        }
        let after = target.job(&cx, Verb::Start, &unit).await?;
        Ok(Outcome::new(after, true, Verb::Start).into())
    }

    fn model_start(_: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let unit: UnitName = args.next("unit")?;
        Ok(modelled(unit.to_string(), "active", "running"))
    }

    /// Stops a unit and waits until it is down.
    ///
    /// The result is that of `units::start`.
    ///
    /// Class `ensure`: a unit that is down stays down.
    ///
    /// Fails with `not_found`, naming the nearest; `cancelled` when another job took its place; `denied`.
    ///
    /// ```rhai,no_run
    /// units::stop("postgresql").active == "inactive"
    /// ```
    #[operation(ensure, permission = "units.stop:{unit.full}", returns = "map", grace = "5s", model = model_stop)]
    async fn stop(cx: Ctx, unit: UnitName, options: ScopeOptions) -> Result<Value, OpError> {
        let target = Target::of(&cx, options.user)?;
        let before = target.facts(&unit).await?;
        if is_down(&before) && !before.has_job {
            return Ok(Outcome::new(before, false, Verb::Stop).into());
        }
        target
            .wait(&cx, unit.as_str(), "stop", target.port.job(target.scope, Verb::Stop, unit.as_str()))
            .await?;
        // One without a file is gone when it is down.
        let after = target.port.facts(target.scope, unit.as_str()).await;
        let after = after.map_err(|fault| target.plain(fault))?;
        if !is_down(&after) {
            return Err(target.job_error(unit.as_str(), "stop", "canceled").await);
        }
        Ok(Outcome::new(after, true, Verb::Stop).into())
    }

    fn is_down(facts: &Facts) -> bool {
        matches!(facts.active.as_str(), "inactive" | "failed")
    }

    fn model_stop(_: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let unit: UnitName = args.next("unit")?;
        Ok(modelled(unit.to_string(), "inactive", "dead"))
    }

    /// Restarts a unit and waits until it is up again; one that is down is started.
    ///
    /// The result is that of `units::start`.
    ///
    /// Class `keyed`: systemd gives each activation an id of its own (`InvocationID`). The intent notes the present
    /// one; after a crash another one says that the restart happened, and a job that is still under way is waited for.
    ///
    /// Fails as `units::start`.
    ///
    /// ```rhai,no_run
    /// let before = units::status("nginx").invocation_id;
    /// units::restart("nginx").invocation_id != before
    /// ```
    #[operation(keyed, permission = "units.restart:{unit.full}", returns = "map", grace = "5s", model = model_start,
        intent = async note_invocation, probe = async probe_restart)]
    async fn restart(cx: Ctx, unit: UnitName, options: ScopeOptions) -> Result<Value, OpError> {
        let target = Target::of(&cx, options.user)?;
        let after = target.job(&cx, Verb::Restart, &unit).await?;
        Ok(Outcome::new(after, true, Verb::Restart).into())
    }

    /// Restarts a unit if it is active, and leaves it alone otherwise.
    ///
    /// The result is that of `units::start`; `changed` says whether it was restarted.
    ///
    /// Class `keyed`: as `units::restart`. One that the intent found inactive has nothing to be restarted.
    ///
    /// Fails as `units::start`.
    ///
    /// ```rhai,no_run
    /// if !units::try_restart("nginx").changed { log::info("nginx is not running"); }
    /// ```
    #[operation(keyed, permission = "units.try_restart:{unit.full}", returns = "map", grace = "5s", model = model_start,
        intent = async note_invocation, probe = async probe_try_restart)]
    async fn try_restart(cx: Ctx, unit: UnitName, options: ScopeOptions) -> Result<Value, OpError> {
        let target = Target::of(&cx, options.user)?;
        if noted_down(&cx) {
            let facts = target.facts(&unit).await?;
            return Ok(Outcome::new(facts, false, Verb::TryRestart).into());
        }
        let after = target.job(&cx, Verb::TryRestart, &unit).await?;
        let changed = Some(after.invocation.as_deref().unwrap_or_default()) != noted(&cx, "invocation");
        Ok(Outcome::new(after, changed, Verb::TryRestart).into())
    }

    fn noted<'a>(cx: &'a Ctx, key: &str) -> Option<&'a str> {
        cx.noted().get(key).and_then(Value::as_str)
    }

    fn noted_down(cx: &Ctx) -> bool {
        matches!(noted(cx, "active"), Some("inactive" | "failed"))
    }

    /// Which activation is the present one; empty for a unit that never was active.
    async fn note_invocation(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let unit: UnitName = args.next("unit")?;
        let options: ScopeOptions = args.options()?;
        let facts = Target::of(cx, options.user)?.facts(&unit).await?;
        Ok(Value::map([
            ("invocation", Value::from(facts.invocation.unwrap_or_default())),
            ("active", Value::from(facts.active)),
        ]))
    }

    async fn probe_restart(cx: &Ctx, args: Args) -> Result<Probe, OpError> {
        probe(cx, args, Verb::Restart).await
    }

    async fn probe_try_restart(cx: &Ctx, args: Args) -> Result<Probe, OpError> {
        probe(cx, args, Verb::TryRestart).await
    }

    /// Whether another activation than the noted one is there, once no job is under way any more.
    async fn probe(cx: &Ctx, mut args: Args, verb: Verb) -> Result<Probe, OpError> {
        let unit: UnitName = args.next("unit")?;
        let options: ScopeOptions = args.options()?;
        let target = Target::of(cx, options.user)?;
        let settled = target.port.settle(target.scope, unit.as_str());
        target.wait(cx, unit.as_str(), verb.as_str(), settled).await?;
        let facts = target.facts(&unit).await?;
        if verb == Verb::TryRestart && noted_down(cx) {
            return Ok(Probe::Done(Outcome::new(facts, false, verb).into()));
        }
        if noted(cx, "invocation") == Some(facts.invocation.as_deref().unwrap_or_default()) {
            return Ok(Probe::NotDone);
        }
        if facts.active == "failed" {
            let error = target.job_error(unit.as_str(), verb.as_str(), "failed").await;
            return Ok(Probe::Failed(error));
        }
        Ok(Probe::Done(Outcome::new(facts, true, verb).into()))
    }

    /// Lets a unit read its configuration again, and waits until it has.
    ///
    /// The result is that of `units::start`.
    ///
    /// Class `ensure`: read twice, the configuration is the same.
    ///
    /// Fails with `invalid` when its file does not say how (`ExecReload=`), `conflict` when it is not running, else as
    /// `units::start`.
    ///
    /// ```rhai,no_run
    /// units::reload("nginx").active == "active"
    /// ```
    #[operation(ensure, permission = "units.reload:{unit.full}", returns = "map", grace = "5s", model = model_start)]
    async fn reload(cx: Ctx, unit: UnitName, options: ScopeOptions) -> Result<Value, OpError> {
        let target = Target::of(&cx, options.user)?;
        let before = target.facts(&unit).await?;
        if is_down(&before) && !before.has_job {
            return Err(target.job_error(unit.as_str(), "reload", "skipped").await);
        }
        let after = target.job(&cx, Verb::Reload, &unit).await?;
        Ok(Outcome::new(after, true, Verb::Reload).into())
    }

    /// Forgets that a unit failed, or that any did when none is named; gives which were failed.
    ///
    /// Its counter of starts is set back too, so that one that was restarted too often may start again.
    ///
    /// Class `ensure`: forgotten twice is forgotten.
    ///
    /// Fails with `not_found`, naming the nearest; `denied`.
    ///
    /// ```rhai,no_run
    /// units::reset_failed("nginx");
    /// !units::failed().some(|unit| unit.name == "nginx.service")
    /// ```
    #[operation(ensure, permission = "units.reset_failed:{unit.full}", returns = "array", timeout = "30s", model = model_reset)]
    async fn reset_failed(cx: Ctx, unit: Option<UnitName>, options: ScopeOptions) -> Result<Value, OpError> {
        let target = Target::of(&cx, options.user)?;
        let failed: Vec<String> = match &unit {
            Some(unit) => {
                let facts = target.facts(unit).await?;
                (facts.active == "failed").then_some(facts.name).into_iter().collect()
            }
            None => {
                let rows = target.port.rows(target.scope).await.map_err(|fault| target.plain(fault))?;
                rows.into_iter().filter(|row| row.active == "failed").map(|row| row.name).collect()
            }
        };
        let name = unit.as_ref().map(UnitName::as_str);
        match target.port.reset_failed(target.scope, name).await {
            // One that did not fail need not even be loaded.
            Err(fault) if fault.kind != FaultKind::NoSuchUnit => {
                Err(target.explain(name.unwrap_or_default(), fault).await)
            }
            _ => Ok(failed.into()),
        }
    }

    fn model_reset(_: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let unit: Option<UnitName> = args.next("unit")?;
        Ok(unit.map(|unit| unit.to_string()).into_iter().collect::<Vec<_>>().into())
    }

    /// Lets the manager read all unit files again.
    ///
    /// What this primitive writes is read by itself; this is for files that came another way.
    ///
    /// Class `ensure`: read twice, they are the same.
    ///
    /// ```rhai,no_run
    /// units::daemon_reload();
    /// ```
    #[operation(ensure, permission = "units.daemon_reload", returns = "()", timeout = "2m")]
    async fn daemon_reload(cx: Ctx, options: ScopeOptions) -> Result<(), OpError> {
        let target = Target::of(&cx, options.user)?;
        target.port.daemon_reload(target.scope).await.map_err(|fault| target.plain(fault))
    }
}
