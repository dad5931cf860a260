//! The operations on unit files and on the links that make units start.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What changes files; joined with the rest of `units`.
#[primitive(name = "units")]
mod operations {
    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, IntoValue, Options};

    use crate::job::Target;
    use crate::name::{NAME_BYTES_MAX, UnitName};
    use crate::port::{FaultKind, Link, UnitFile, Verb};

    /// The longest unit file, 1 MiB.
    pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;

    /// Options of what makes or removes links.
    #[derive(Debug, Options)]
    struct LinkOptions {
        /// Whether the unit is started, or stopped, at once too.
        #[option(default = "false")]
        now: bool,
        /// Whether it holds until the next reboot only.
        #[option(default = "false")]
        runtime: bool,
        /// Whether the user's own manager is meant instead of the machine's.
        #[option(default = "false")]
        user: bool,
    }

    /// What became of the links of a unit.
    #[derive(IntoValue)]
    struct Linked {
        unit: String,
        changed: bool,
        enabled: Option<String>,
        active: String,
    }

    async fn link(cx: &Ctx, link: Link, unit: UnitName, options: LinkOptions) -> Result<Value, OpError> {
        let target = Target::of(cx, options.user)?;
        if matches!(link, Link::Enable | Link::Disable) {
            target.facts(&unit).await?;
        }
        let name = unit.as_str();
        let mut changed = match target.port.link(target.scope, link, name, options.runtime).await {
            Ok(changed) => changed,
            Err(fault) => return Err(target.explain(name, fault).await),
        };
        if changed {
            target.port.daemon_reload(target.scope).await.map_err(|fault| target.plain(fault))?;
        }
        let mut facts = target.port.facts(target.scope, name).await.map_err(|fault| target.plain(fault))?;
        let verb = match link {
            Link::Enable => Verb::Start,
            Link::Disable | Link::Mask => Verb::Stop,
            Link::Unmask => return Ok(linked(&unit, changed, facts.enabled, facts.active)),
        };
        if options.now && (facts.active == "active") != (verb == Verb::Start) {
            facts = target.job(cx, verb, &unit).await?;
            changed = true;
        }
        Ok(linked(&unit, changed, facts.enabled, facts.active))
    }

    fn linked(unit: &UnitName, changed: bool, enabled: Option<String>, active: String) -> Value {
        Linked { unit: unit.to_string(), changed, enabled, active }.into()
    }

    fn modelled(mut args: Args, enabled: &str, active: &str) -> Result<Value, OpError> {
        let unit: UnitName = args.next("unit")?;
        Ok(linked(&unit, true, Some(enabled.to_owned()), active.to_owned()))
    }

    /// Makes a unit start with the machine, as `[Install]` in its file says.
    ///
    /// The result has `unit`, `changed`, `enabled` (the state that `systemctl is-enabled` shows) and `active`. With
    /// `now: true` it is started as well.
    ///
    /// Class `ensure`: links that are there stay.
    ///
    /// Fails with `not_found`, naming the nearest; `conflict` when it is masked; `denied`.
    ///
    /// ```rhai,no_run
    /// units::enable("postgresql", #{ now: true }).enabled == "enabled"
    /// ```
    #[operation(ensure, permission = "units.enable:{unit.full}", returns = "map", grace = "5s", model = model_enable)]
    async fn enable(cx: Ctx, unit: UnitName, options: LinkOptions) -> Result<Value, OpError> {
        link(&cx, Link::Enable, unit, options).await
    }

    fn model_enable(_: &Ctx, args: Args) -> Result<Value, OpError> {
        modelled(args, "enabled", "active")
    }

    /// Keeps a unit from starting with the machine.
    ///
    /// The result is that of `units::enable`. With `now: true` it is stopped as well.
    ///
    /// Class `ensure`: links that are gone stay so.
    ///
    /// Fails with `not_found`, naming the nearest; `denied`.
    ///
    /// ```rhai,no_run
    /// units::disable("bluetooth", #{ now: true }).active == "inactive"
    /// ```
    #[operation(ensure, permission = "units.disable:{unit.full}", returns = "map", grace = "5s", model = model_disable)]
    async fn disable(cx: Ctx, unit: UnitName, options: LinkOptions) -> Result<Value, OpError> {
        link(&cx, Link::Disable, unit, options).await
    }

    fn model_disable(_: &Ctx, args: Args) -> Result<Value, OpError> {
        modelled(args, "disabled", "inactive")
    }

    /// Makes it impossible to start a unit, by hand or by another unit.
    ///
    /// The result is that of `units::enable`. A unit that runs goes on unless `now: true`. A name without a file can be
    /// masked too.
    ///
    /// Class `ensure`: masked twice is masked.
    ///
    /// Fails with `conflict` when the administrator's own file of that name is in the way; `denied`.
    ///
    /// ```rhai,no_run
    /// units::mask("bluetooth", #{ now: true }).enabled == "masked"
    /// ```
    #[operation(ensure, permission = "units.mask:{unit.full}", returns = "map", grace = "5s", model = model_mask)]
    async fn mask(cx: Ctx, unit: UnitName, options: LinkOptions) -> Result<Value, OpError> {
        link(&cx, Link::Mask, unit, options).await
    }

    fn model_mask(_: &Ctx, args: Args) -> Result<Value, OpError> {
        modelled(args, "masked", "inactive")
    }

    /// Undoes `units::mask`.
    ///
    /// The result is that of `units::enable`. `now` means nothing here.
    ///
    /// Class `ensure`: what is not masked stays so.
    ///
    /// Fails with `denied`.
    ///
    /// ```rhai,no_run
    /// units::unmask("bluetooth").changed
    /// ```
    #[operation(ensure, permission = "units.unmask:{unit.full}", returns = "map", grace = "5s", model = model_disable)]
    async fn unmask(cx: Ctx, unit: UnitName, options: LinkOptions) -> Result<Value, OpError> {
        link(&cx, Link::Unmask, unit, options).await
    }

    /// Options of `units::write_unit`.
    #[derive(Debug, Options)]
    struct WriteOptions {
        /// Writes a drop-in of this name instead of the unit's own file: `UNIT.d/NAME.conf`.
        drop_in: Option<String>,
        /// Whether the text is tried with `systemd-analyze verify` first, and refused when that complains.
        #[option(default = "true")]
        verify: bool,
        /// Whether it is gone after the next reboot.
        #[option(default = "false")]
        runtime: bool,
        /// Whether the user's own manager is meant instead of the machine's.
        #[option(default = "false")]
        user: bool,
    }

    /// Options of `units::remove_unit`.
    #[derive(Debug, Options)]
    struct RemoveOptions {
        /// Removes the drop-in of this name instead of the unit's own file.
        drop_in: Option<String>,
        /// Whether it is the one that would be gone after the next reboot.
        #[option(default = "false")]
        runtime: bool,
        /// Whether the user's own manager is meant instead of the machine's.
        #[option(default = "false")]
        user: bool,
    }

    /// Options of `units::verify`.
    #[derive(Debug, Options)]
    struct VerifyOptions {
        /// Reads the text as a drop-in of this name.
        drop_in: Option<String>,
        /// Whether the user's own manager is meant instead of the machine's.
        #[option(default = "false")]
        user: bool,
    }

    fn unit_file(unit: &UnitName, drop_in: Option<String>, runtime: bool) -> Result<UnitFile, OpError> {
        let drop_in = match drop_in {
            Some(name) => {
                let stem = name.strip_suffix(".conf").unwrap_or(&name).to_owned();
                let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
                if stem.is_empty()
                    || stem.starts_with('.')
                    || stem.len() > NAME_BYTES_MAX
                    || !stem.chars().all(plain)
                {
                    return Err(OpError::invalid(format!(
                        "option `drop_in`: \"{name}\" is no name of a file"
                    ))
                    .hint("write for example \"10-limits\""));
                }
                Some(stem)
            }
            None => None,
        };
        Ok(UnitFile { unit: unit.to_string(), drop_in, runtime })
    }

    fn checked(text: &str) -> Result<(), OpError> {
        if text.len() > FILE_BYTES_MAX || text.contains('\0') {
            return Err(OpError::invalid(format!(
                "a unit file has at most {FILE_BYTES_MAX} bytes, and no NUL character"
            )));
        }
        Ok(())
    }

    fn unsound(file: &UnitFile, problems: Vec<String>) -> OpError {
        let first = problems.first().cloned().unwrap_or_default();
        OpError::invalid(format!("the file of {} has errors: {first}", file.unit))
            .hint("e.details.problems has all that `systemd-analyze verify` says; nothing was written")
            .detail("unit", file.unit.as_str())
            .detail("problems", problems)
    }

    /// Writes a unit file, or a drop-in for one, and lets the manager read it.
    ///
    /// The text is tried with `systemd-analyze verify` first. It then takes its place whole, in
    /// `/etc/systemd/system` (or `/run/systemd/system`, or the user's own). The result has `unit`, `path` and
    /// `changed`. The unit is not started, and one that runs goes on as it was started.
    ///
    /// Class `ensure`: a file that has this text already is left alone.
    ///
    /// Fails with `invalid` when `systemd-analyze verify` complains, with all of it in `e.details.problems`; nothing is
    /// written then. `conflict` when the unit is masked; `denied`; `unavailable` when the disk is full: the old file
    /// is untouched then.
    ///
    /// ```rhai,no_run
    /// units::write_unit("hello", "[Service]\nType=oneshot\nExecStart=/usr/bin/echo hello\n");
    /// units::write_unit("nginx", "[Service]\nMemoryMax=512M\n", #{ drop_in: "10-limits" }).changed
    /// ```
    #[operation(ensure, permission = "units.write_unit:{unit.full}", returns = "map", timeout = "2m", model = model_write)]
    async fn write_unit(
        cx: Ctx,
        unit: UnitName,
        text: String,
        options: WriteOptions,
    ) -> Result<Value, OpError> {
        checked(&text)?;
        let file = unit_file(&unit, options.drop_in, options.runtime)?;
        let target = Target::of(&cx, options.user)?;
        let scope = target.scope;
        let present = target.port.unit_file(scope, &file).await.map_err(|fault| target.plain(fault))?;
        let (path, changed) = match present {
            Some(content) if content.text == text => (content.path, false),
            _ => {
                if options.verify {
                    let problems = target.port.verify(scope, &file, &text).await;
                    let problems = problems.map_err(|fault| target.plain(fault))?;
                    if !problems.is_empty() {
                        return Err(unsound(&file, problems));
                    }
                }
                match target.port.write(scope, &file, &text).await {
                    Ok(path) => (path, true),
                    Err(fault) => return Err(target.explain(unit.as_str(), fault).await),
                }
            }
        };
        // Also when the text was there: a crash may have come between it and the reading of it.
        let stale = !changed && target.port.facts(scope, unit.as_str()).await.is_ok_and(|it| it.needs_reload);
        if changed || stale {
            target.port.daemon_reload(scope).await.map_err(|fault| target.plain(fault))?;
        }
        Ok(written(&unit, path, changed))
    }

    fn written(unit: &UnitName, path: String, changed: bool) -> Value {
        Value::map([
            ("unit", Value::from(unit.as_str())),
            ("path", Value::from(path)),
            ("changed", Value::from(changed)),
        ])
    }

    fn model_write(_: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let unit: UnitName = args.next("unit")?;
        checked(&args.next::<String>("text")?)?;
        let options: WriteOptions = args.options()?;
        let file = unit_file(&unit, options.drop_in, options.runtime)?;
        let name = match file.drop_in {
            Some(drop_in) => format!("{unit}.d/{drop_in}.conf"),
            None => unit.to_string(),
        };
        Ok(written(&unit, name, true))
    }

    /// Removes a unit file, or a drop-in, that is in the administrator's directory; gives whether it was there.
    ///
    /// A unit is stopped and disabled before, so that nothing of it is left; one whose file came with a package keeps
    /// that, and what is removed is only the file that stood before it. For a drop-in nothing is stopped.
    ///
    /// Class `ensure`: what is gone stays gone.
    ///
    /// Fails with `conflict` when it is a link, such as that of a masked unit; `denied`.
    ///
    /// ```rhai,no_run
    /// units::remove_unit("hello") && !units::remove_unit("hello")
    /// ```
    #[operation(ensure, permission = "units.remove_unit:{unit.full}", returns = "bool", grace = "5s", model = model_remove)]
    async fn remove_unit(cx: Ctx, unit: UnitName, options: RemoveOptions) -> Result<bool, OpError> {
        let file = unit_file(&unit, options.drop_in, options.runtime)?;
        let target = Target::of(&cx, options.user)?;
        let scope = target.scope;
        let present = target.port.unit_file(scope, &file).await;
        if present.map_err(|fault| target.plain(fault))?.is_none() {
            return Ok(false);
        }
        if file.drop_in.is_none() {
            let stopping = target.port.job(scope, Verb::Stop, unit.as_str());
            match target.wait(&cx, unit.as_str(), "stop", stopping).await {
                Ok(_) => {}
                // It never was loaded, or cannot be.
                Err(error) if error.kind == hob_model::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            let disabled = target.port.link(scope, Link::Disable, unit.as_str(), file.runtime).await;
            match disabled {
                Err(fault) if fault.kind != FaultKind::NoSuchUnit => return Err(target.plain(fault)),
                _ => {}
            }
        }
        let removed = target.port.remove(scope, &file).await.map_err(|fault| target.plain(fault))?;
        target.port.daemon_reload(scope).await.map_err(|fault| target.plain(fault))?;
        Ok(removed)
    }

    fn model_remove(_: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let unit: UnitName = args.next("unit")?;
        let options: RemoveOptions = args.options()?;
        unit_file(&unit, options.drop_in, options.runtime)?;
        Ok(Value::Bool(true))
    }

    /// Tries the text of a unit file with `systemd-analyze verify`; gives what is wrong with it, an empty array for
    /// nothing.
    ///
    /// Class `observe`: nothing is written where systemd looks.
    ///
    /// Fails with `unavailable` when there is no `systemd-analyze`.
    ///
    /// ```rhai,no_run
    /// units::verify("hello", "[Service]\nExecStart=/usr/bin/true\n").is_empty()
    /// ```
    #[operation(observe, permission = "units.verify", returns = "array", timeout = "1m")]
    async fn verify(cx: Ctx, unit: UnitName, text: String, options: VerifyOptions) -> Result<Value, OpError> {
        checked(&text)?;
        let file = unit_file(&unit, options.drop_in, false)?;
        let target = Target::of(&cx, options.user)?;
        let problems = target.port.verify(target.scope, &file, &text).await;
        Ok(problems.map_err(|fault| target.plain(fault))?.into())
    }
}
