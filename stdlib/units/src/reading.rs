//! The operations that look.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// Looks at the units of systemd and acts on them: services, timers, targets and their like.
///
/// A unit is named in full, `nginx.service`; a text without a dot names a service. Every operation takes
/// `user: true` for the manager of the user hob runs as.
#[primitive(name = "units")]
mod operations {
    use hob_model::{OpError, Value};
    use hob_primitive::{Choice, Ctx, Options};

    use crate::job::{ScopeOptions, Target};
    use crate::name::{AnyOf, Patterns, UnitName, UnitNames, kind_of};
    use crate::port::Row;
    use crate::problem::ERROR_LOG_LINES;
    use crate::status::{Listed, status as status_value, system, timer_value};

    /// How many lines of the log a status may show.
    const STATUS_LINES_MAX: u32 = 1000;

    /// How deep dependencies are followed.
    const DEPTH_MAX: u32 = 32;

    /// How many units a list of dependencies may have.
    const DEPENDENCIES_MAX: usize = 10_000;

    /// Options of `units::list`.
    #[derive(Debug, Options)]
    struct ListOptions {
        /// Only units in this state, or one of these: `"active"`, `"failed"`, `"running"`, `"not-found"`, ….
        state: Option<AnyOf>,
        /// Only units of this type, or one of these: `"service"`, `"timer"`, ….
        r#type: Option<AnyOf>,
        /// Whether loaded units that are inactive are shown too; a `state` asks for them by itself.
        #[option(default = "false")]
        all: bool,
        /// Whether the user's own manager is meant instead of the machine's.
        #[option(default = "false")]
        user: bool,
    }

    /// Lists loaded units whose names match a pattern, or one of an array of patterns.
    ///
    /// Patterns have `*`, `?` and `[…]` as those of `systemctl list-units`; without one all are listed. Each unit has
    /// `name`, `type`, `description`, `load`, `active`, `sub` and `job` (what is about to be done, or `()`). They come
    /// sorted by name. As with `systemctl`, inactive ones are left out unless `all` or `state` asks for them.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `invalid` when a pattern or a type is none, and `unavailable` without a manager.
    ///
    /// ```rhai,no_run
    /// units::list("*", #{ type: "service", state: "active" }).map(|unit| unit.name)
    /// ```
    ///
    /// ```rhai,no_run
    /// units::list("*luxnix*", #{ all: true })
    /// ```
    #[operation(observe, permission = "units.list", returns = "array", timeout = "30s")]
    async fn list(cx: Ctx, pattern: Option<Patterns>, options: ListOptions) -> Result<Value, OpError> {
        let types = options.r#type.unwrap_or_default();
        if let Some(unknown) = types.0.iter().find(|kind| !crate::name::TYPES.contains(&kind.as_str())) {
            return Err(OpError::invalid(format!("option `type`: there are no units of type \"{unknown}\""))
                .hint(format!("types are {}", crate::name::TYPES.join(", "))));
        }
        let states = options.state.unwrap_or_default();
        let target = Target::of(&cx, options.user)?;
        let rows = target.port.rows(target.scope).await.map_err(|fault| target.plain(fault))?;
        let shown = |row: &Row| {
            let alive = row.active != "inactive" || row.job.is_some();
            pattern.as_ref().is_none_or(|pattern| pattern.matches(&row.name))
                && types.admits(&[kind_of(&row.name)])
                && states.admits(&[&row.active, &row.sub, &row.load])
                && (options.all || !states.0.is_empty() || alive)
        };
        Ok(listed(rows.into_iter().filter(shown).collect()))
    }

    fn listed(mut rows: Vec<Row>) -> Value {
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Value::Array(rows.into_iter().map(|row| Listed::from(row).into()).collect())
    }

    /// Lists the units that failed.
    ///
    /// As `units::list("*", #{ state: "failed" })`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai,no_run
    /// for unit in units::failed() { log::error(`${unit.name} failed`); }
    /// ```
    #[operation(observe, permission = "units.list", returns = "array", timeout = "30s")]
    async fn failed(cx: Ctx, options: ScopeOptions) -> Result<Value, OpError> {
        let target = Target::of(&cx, options.user)?;
        let rows = target.port.rows(target.scope).await.map_err(|fault| target.plain(fault))?;
        Ok(listed(rows.into_iter().filter(|row| row.active == "failed").collect()))
    }

    /// Lists the targets that are active: how far the machine has come.
    ///
    /// As `units::list("*", #{ type: "target" })`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai,no_run
    /// units::targets().some(|target| target.name == "multi-user.target")
    /// ```
    #[operation(observe, permission = "units.list", returns = "array", timeout = "30s")]
    async fn targets(cx: Ctx, options: ScopeOptions) -> Result<Value, OpError> {
        let target = Target::of(&cx, options.user)?;
        let rows = target.port.rows(target.scope).await.map_err(|fault| target.plain(fault))?;
        let active = |row: &Row| kind_of(&row.name) == "target" && row.active == "active";
        Ok(listed(rows.into_iter().filter(active).collect()))
    }

    /// Options of `units::status`.
    #[derive(Debug, Options)]
    struct StatusOptions {
        /// How many of the last lines of the log are shown.
        #[option(default = "ERROR_LOG_LINES")]
        lines: u32,
        /// Whether the user's own manager is meant instead of the machine's.
        #[option(default = "false")]
        user: bool,
    }

    /// Tells the state of one unit, of an array of units, or of the whole system.
    ///
    /// A unit has `name`, `type`, `description`, `load`, `load_error`, `active`, `sub`, `result`, `exit_code`,
    /// `main_pid`, `memory_bytes`, `tasks`, `restarts`, `since` (RFC 3339), `invocation_id`, `path`, `drop_ins`,
    /// `enabled`, `needs_reload`, `log` (the last lines), and a timer `timer`. What does not apply is `()`. In an
    /// array units that do not exist have the `load` state `"not-found"`; asked for alone they are an error.
    ///
    /// Without a unit: `state` (`running`, `degraded`, `starting`, …), `version`, `units`, `jobs`, `failed` (names) and
    /// `since`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `not_found`, naming the nearest unit that exists.
    ///
    /// ```rhai,no_run
    /// units::status().state == "running" && units::status("nginx").active == "active"
    /// ```
    ///
    /// ```rhai,no_run
    /// units::status(["traefik", "podman", "postgresql", "redis"]).map(|unit| `${unit.name}: ${unit.sub}`)
    /// ```
    #[operation(observe, permission = "units.status:{unit.full}", returns = "map or array", timeout = "30s")]
    async fn status(cx: Ctx, unit: Option<UnitNames>, options: StatusOptions) -> Result<Value, OpError> {
        if options.lines > STATUS_LINES_MAX {
            return Err(OpError::invalid(format!("option `lines`: more than {STATUS_LINES_MAX}"))
                .hint("units::logs gives more"));
        }
        let target = Target::of(&cx, options.user)?;
        match unit {
            None => {
                let manager = target.port.manager(target.scope).await.map_err(|fault| target.plain(fault))?;
                let rows = target.port.rows(target.scope).await.map_err(|fault| target.plain(fault))?;
                let failed = rows.into_iter().filter(|row| row.active == "failed").map(|row| row.name);
                Ok(system(manager, failed.collect()))
            }
            Some(UnitNames::One(unit)) => {
                let facts = target.facts(&unit).await?;
                let log = target.last_lines(&facts.name, options.lines).await;
                Ok(status_value(facts, log))
            }
            Some(UnitNames::Many(units)) => {
                let mut all = Vec::with_capacity(units.len());
                for unit in units {
                    let facts = target.port.facts(target.scope, unit.as_str()).await;
                    let facts = facts.map_err(|fault| target.plain(fault))?;
                    let log = target.last_lines(&facts.name, options.lines).await;
                    all.push(status_value(facts, log));
                }
                Ok(Value::Array(all))
            }
        }
    }

    /// Gives the text of a unit's files: its own, and its drop-ins, each with `path` and `text`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `not_found`, naming the nearest unit that exists.
    ///
    /// ```rhai,no_run
    /// units::cat("ssh")[0].text.contains("ExecStart=")
    /// ```
    #[operation(observe, permission = "units.cat:{unit.full}", returns = "array", timeout = "30s")]
    async fn cat(cx: Ctx, unit: UnitName, options: ScopeOptions) -> Result<Value, OpError> {
        let target = Target::of(&cx, options.user)?;
        let facts = target.facts(&unit).await?;
        let mut files = Vec::new();
        for path in facts.path.into_iter().chain(facts.drop_ins) {
            let text = target.port.read(&path).await.map_err(|fault| target.plain(fault))?;
            files.push(Value::map([("path", Value::from(path)), ("text", Value::from(text))]));
        }
        Ok(Value::Array(files))
    }

    /// Which dependencies.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
    enum Direction {
        /// What it pulls in.
        Forward,
        /// What pulls it in.
        Reverse,
        /// What is started after it.
        Before,
        /// What it is started after.
        After,
    }

    impl Direction {
        /// The properties of units that say so, as `systemctl list-dependencies` reads them.
        fn properties(self) -> &'static [&'static str] {
            match self {
                Self::Forward => &["Requires", "Requisite", "Wants", "ConsistsOf", "BindsTo", "Upholds"],
                Self::Reverse => &["RequiredBy", "RequisiteOf", "WantedBy", "PartOf", "BoundBy", "UpheldBy"],
                Self::Before => &["Before"],
                Self::After => &["After"],
            }
        }
    }

    /// Options of `units::dependencies`.
    #[derive(Debug, Options)]
    struct DependencyOptions {
        /// `"forward"`: what it pulls in; `"reverse"`: what pulls it in; `"before"` and `"after"`: the order.
        #[option(default = "Direction::Forward")]
        direction: Direction,
        /// How many steps are followed.
        #[option(default = "1")]
        depth: u32,
        /// Whether the user's own manager is meant instead of the machine's.
        #[option(default = "false")]
        user: bool,
    }

    /// Lists the units that a unit depends on, each with `name`, `depth` and `of` (which one depends on it).
    ///
    /// A unit that is reached in several ways is listed once, where it is nearest.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `not_found`, naming the nearest unit that exists.
    ///
    /// ```rhai,no_run
    /// units::dependencies("multi-user.target", #{ depth: 2 }).some(|unit| unit.name == "ssh.service")
    /// ```
    #[operation(observe, permission = "units.dependencies:{unit.full}", returns = "array", timeout = "30s")]
    async fn dependencies(cx: Ctx, unit: UnitName, options: DependencyOptions) -> Result<Value, OpError> {
        if !(1..=DEPTH_MAX).contains(&options.depth) {
            return Err(OpError::invalid(format!("option `depth`: expected 1 to {DEPTH_MAX}")));
        }
        let target = Target::of(&cx, options.user)?;
        let facts = target.facts(&unit).await?;
        let mut seen = std::collections::BTreeSet::from([facts.name.clone()]);
        let (mut level, mut found) = (vec![facts.name], Vec::new());
        for depth in 1..=options.depth {
            let mut next = Vec::new();
            for of in &level {
                for property in options.direction.properties() {
                    let names = target.port.related(target.scope, of, property).await;
                    for name in names.map_err(|fault| target.plain(fault))? {
                        if seen.len() >= DEPENDENCIES_MAX {
                            return Err(OpError::failed(format!(
                                "more than {DEPENDENCIES_MAX} dependencies"
                            ))
                            .hint("ask for a smaller depth"));
                        }
                        if seen.insert(name.clone()) {
                            next.push((name, of.clone()));
                        }
                    }
                }
            }
            next.sort();
            found.extend(next.iter().map(|(name, of)| {
                Value::map([
                    ("name", Value::from(name.as_str())),
                    ("depth", Value::from(depth)),
                    ("of", Value::from(of.as_str())),
                ])
            }));
            level = next.into_iter().map(|(name, _)| name).collect();
        }
        Ok(Value::Array(found))
    }

    /// Lists the timers that are loaded, those that fire next first.
    ///
    /// Each has `name`, `active`, `unit` (what it starts), `next` and `last` (RFC 3339, or `()`) and `when` (as its
    /// file writes it). Timers without a unit file are made with `units::run`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai,no_run
    /// units::timers().map(|timer| `${timer.unit} at ${timer.next}`)
    /// ```
    #[operation(observe, permission = "units.list", returns = "array", timeout = "30s")]
    async fn timers(cx: Ctx, options: ScopeOptions) -> Result<Value, OpError> {
        let target = Target::of(&cx, options.user)?;
        let rows = target.port.rows(target.scope).await.map_err(|fault| target.plain(fault))?;
        let mut timers = Vec::new();
        for row in rows.into_iter().filter(|row| kind_of(&row.name) == "timer" && row.load == "loaded") {
            let facts = target.port.facts(target.scope, &row.name).await;
            let facts = facts.map_err(|fault| target.plain(fault))?;
            if let Some(timer) = facts.timer {
                timers.push((timer.next.is_none(), timer.next, facts.name, facts.active, timer));
            }
        }
        timers.sort_by(|a, b| (a.0, a.1, &a.2).cmp(&(b.0, b.1, &b.2)));
        let values = timers.into_iter().map(|(_, _, name, active, timer)| timer_value(&name, &active, timer));
        Ok(Value::Array(values.collect()))
    }
}
