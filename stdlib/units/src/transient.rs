//! Services and timers without unit files.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What runs commands; joined with the rest of `units`.
#[primitive(name = "units")]
mod operations {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use hob_model::secret::is_credential;
    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, FromValue, Mismatch, Options, PathText, Probe, SecretTexts};

    use crate::job::Target;
    use crate::name::{AnyOf, UnitName};
    use crate::properties;
    use crate::transient_unit::{self as unit, Plan};

    /// How many of the last lines of its log the result of `units::run` shows unless the call says otherwise.
    const LINES: u32 = 10;

    /// The most lines of the log that a result may show.
    const LINES_MAX: u32 = 1000;

    /// How many variables a command may be given.
    const VARIABLES_MAX: usize = 1000;

    /// A command, an array of program and arguments, or a text that is split as a shell splits it.
    #[derive(Clone, Debug)]
    pub(crate) struct Command(Vec<String>);

    impl FromValue for Command {
        const KIND: &'static str = "string or array";
        fn from_value(value: Value) -> Result<Self, Mismatch> {
            let refused = |message| Mismatch {
                message,
                hint: Some("write [\"program\", \"argument\", …] or \"program argument …\"".to_owned()),
            };
            properties::command(value).map(Self).map_err(refused)
        }
    }

    /// Options of `units::run`.
    #[derive(Debug, Options)]
    pub(crate) struct RunOptions {
        /// The name of the unit; without one it is made from the key of the effect: `hob-….service`.
        name: Option<UnitName>,
        /// Its description; without one the command.
        description: Option<String>,
        /// Variables for it. It does not see hob's own environment. Everybody may ask systemd for them: secrets are for
        /// `credentials`.
        env: Option<BTreeMap<String, String>>,
        /// Secrets, as files of these names in `$CREDENTIALS_DIRECTORY` that it alone may read: `#{ db: secret("postgres") }`.
        credentials: Option<SecretTexts>,
        /// The directory it works in.
        cwd: Option<PathText>,
        /// Further properties by their names in unit files: `#{ MemoryMax: "512M", User: "nobody" }`.
        properties: Option<BTreeMap<String, Value>>,
        /// Whether the end of the command is waited for, and its failure is one of the call. Without it the call ends
        /// when the command was started. A timer is never waited for.
        #[option(default = "true")]
        wait: bool,
        /// How many of the last lines of its log the result shows, when it was waited for.
        #[option(default = "LINES")]
        lines: u32,
        /// Makes a timer: when it fires, as `OnCalendar=` has it; an array for several.
        on_calendar: Option<AnyOf>,
        /// Makes a timer: so long after now.
        on_active: Option<Duration>,
        /// Makes a timer: so long after the machine was started.
        on_boot: Option<Duration>,
        /// Makes a timer: so long after the command was last started.
        on_unit_active: Option<Duration>,
        /// Makes a timer: so long after the command last ended.
        on_unit_inactive: Option<Duration>,
        /// For timers: how far the time may be missed, for the sake of fewer wake-ups. systemd's default is a minute.
        accuracy: Option<Duration>,
        /// For timers: adds a random delay up to this.
        random_delay: Option<Duration>,
        /// For timers with `on_calendar`: whether what was missed while the machine was off is made up for.
        #[option(default = "false")]
        persistent: bool,
        /// For timers: whether the machine is woken up for it.
        #[option(default = "false")]
        wake: bool,
        /// Whether the user's own manager is meant instead of the machine's.
        #[option(default = "false")]
        user: bool,
    }

    /// Runs a command as a transient service, or makes a transient timer for it; as `systemd-run` does.
    ///
    /// The command is started by systemd with what unit files offer: limits, users, sandboxes, in `properties`. It goes
    /// on when hob ends. The result has `unit`, `timer` (or `()`), `invocation_id`, `active`, `sub`, `result`,
    /// `exit_code`, `main_pid` and `log` (the last lines). Of what unit files offer, what is not known here goes
    /// into a file, with `units::write_unit`.
    ///
    /// A command that has ended stays visible as a unit for an hour, so that a crash of hob loses nothing; a
    /// later `units::run` clears those away that are older. A failed one shows in `units::failed` until then.
    ///
    /// Class `keyed`: the unit is named after the key of the effect, or carries it in its environment (`HOB_EFFECT`).
    /// After a crash a unit with that key is adopted, and waited for; if there is none, and nothing can have cleared
    /// it away, it never was made. After a restart of the machine a person is asked.
    ///
    /// Fails with `failed` when the command does, or could not be started, with `e.details.exit_code`, `result` and
    /// `log`; `conflict` when a unit of that name is active; `invalid` for unknown properties; `timeout` and `cancelled`:
    /// the command is stopped then; `denied`.
    ///
    /// ```rhai,no_run
    /// units::run(["/usr/bin/rsync", "-a", "/srv/", "/mnt/backup/"], #{
    ///     properties: #{ MemoryMax: "1G", CPUQuota: "50%", Nice: 10 }, timeout: "2h" }).exit_code == 0
    /// ```
    ///
    /// ```rhai,no_run
    /// units::run(["sh", "-c", "restic backup --password-file \"$CREDENTIALS_DIRECTORY/repo\" /srv"], #{
    ///     credentials: #{ repo: secret("restic") } });
    /// ```
    ///
    /// ```rhai,no_run
    /// units::run("fstrim --all", #{ name: "trim", on_calendar: "Sun 03:00" }).timer == "trim.timer"
    /// ```
    #[operation(keyed, permission = "units.run:{cmd.program}", returns = "map", grace = "15s", model = model_run,
        intent = async note, probe = async probe)]
    async fn run(cx: Ctx, cmd: Command, options: RunOptions) -> Result<Value, OpError> {
        let user = options.user;
        let plan = plan(&cx, cmd, options)?;
        unit::run(&cx, &Target::of(&cx, user)?, plan).await
    }

    async fn note(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (cmd, options): (Command, RunOptions) = (args.next("cmd")?, args.options()?);
        let user = options.user;
        plan(cx, cmd, options)?;
        unit::note(cx, &Target::of(cx, user)?).await
    }

    async fn probe(cx: &Ctx, mut args: Args) -> Result<Probe, OpError> {
        let (cmd, options): (Command, RunOptions) = (args.next("cmd")?, args.options()?);
        let user = options.user;
        let plan = plan(cx, cmd, options)?;
        unit::probe(cx, &Target::of(cx, user)?, plan).await
    }

    fn model_run(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (cmd, options): (Command, RunOptions) = (args.next("cmd")?, args.options()?);
        Ok(unit::modelled(&plan(cx, cmd, options)?))
    }

    /// What is to be made, from what the script says.
    fn plan(cx: &Ctx, Command(command): Command, options: RunOptions) -> Result<Plan, OpError> {
        if options.lines > LINES_MAX {
            return Err(OpError::invalid(format!("option `lines`: more than {LINES_MAX}")));
        }
        let service = match options.name {
            Some(name) if name.kind() == "service" => name.to_string(),
            Some(name) => {
                return Err(OpError::invalid(format!("option `name`: {name} is no service"))
                    .hint("the timer gets the same name, with .timer"));
            }
            None => unit::name_for(cx.key()),
        };
        let env = options.env.unwrap_or_default();
        let unfit = |name: &&String| name.is_empty() || name.contains(['=', '\0', '\n']);
        if let Some(name) = env.keys().find(unfit) {
            return Err(OpError::invalid(format!("option `env`: {name:?} cannot be the name of a variable")));
        }
        if env.len() > VARIABLES_MAX || env.values().any(|value| value.contains('\0')) {
            return Err(OpError::invalid(format!(
                "option `env`: at most {VARIABLES_MAX} variables, without NUL characters"
            )));
        }
        let credentials = options.credentials.unwrap_or_default();
        if let Some(name) = credentials.keys().find(|name| !is_credential(name)) {
            let message = format!("option `credentials`: {name:?} cannot be the name of one");
            return Err(OpError::invalid(message).hint("it has letters, digits, `-`, `_` and `.`"));
        }
        let calendar = options.on_calendar.unwrap_or_default().0;
        let monotonic = [
            ("OnActiveSec", options.on_active),
            ("OnBootSec", options.on_boot),
            ("OnUnitActiveSec", options.on_unit_active),
            ("OnUnitInactiveSec", options.on_unit_inactive),
        ];
        let spans = monotonic.into_iter().filter_map(|(key, span)| Some((key.to_owned(), span?)));
        Ok(Plan {
            description: options.description.unwrap_or_else(|| format!("hob: {}", command.join(" "))),
            service,
            command,
            env,
            credentials: credentials.into_iter().map(|(name, secret)| (name, secret.0)).collect(),
            cwd: options.cwd.map(|path| cx.resolve(&path.0).display().to_string()),
            properties: properties::read(options.properties.unwrap_or_default())?,
            wait: options.wait,
            lines: options.lines,
            calendar,
            monotonic: spans.collect(),
            accuracy: options.accuracy,
            random_delay: options.random_delay,
            persistent: options.persistent,
            wake: options.wake,
        })
    }
}
