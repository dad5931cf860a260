//! The operations that read the journal.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What reads the journal; joined with the rest of `units`.
#[primitive(name = "units")]
mod operations {
    use std::time::Duration;

    use hob_model::{OpError, Timestamp, Value, duration};
    use hob_primitive::{Choice, Ctx, FromValue, Mismatch, Options};

    use crate::job::Target;
    use crate::journal::{ENTRIES_MAX, JournalEntry, JournalQuery};
    use crate::name::UnitName;

    /// How many entries are given unless the call says otherwise.
    const LINES: u32 = 100;

    /// How long entries may be waited for.
    const FOLLOW_MAX: Duration = Duration::from_secs(24 * 3600);

    /// The longest pattern for messages.
    const PATTERN_CHARS_MAX: usize = 1000;

    /// A time, or a span before now.
    #[derive(Clone, Copy, Debug)]
    enum Moment {
        At(Timestamp),
        Ago(Duration),
    }

    impl FromValue for Moment {
        const KIND: &'static str = "string";
        fn from_value(value: Value) -> Result<Self, Mismatch> {
            let Value::String(text) = value else { return Err(Mismatch::of::<Self>(&value)) };
            if let Ok(span) = duration::parse(&text) {
                return Ok(Self::Ago(span));
            }
            text.parse().map(Self::At).map_err(|_| Mismatch {
                message: format!("\"{text}\" is no time"),
                hint: Some("write \"2026-01-02T03:04:05Z\", or \"2h\" for two hours ago".to_owned()),
            })
        }
    }

    impl Moment {
        fn resolve(self, cx: &Ctx) -> Result<Timestamp, OpError> {
            match self {
                Self::At(at) => Ok(at),
                Self::Ago(span) => cx
                    .now()
                    .checked_sub(span)
                    .map_err(|_| OpError::invalid("option `since`: that is before all time")),
            }
        }
    }

    /// How urgent, most urgent first (syslog(3)).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
    enum Priority {
        /// The system is unusable.
        Emerg,
        /// Action must be taken at once.
        Alert,
        /// Critical.
        Crit,
        /// Errors.
        Err,
        /// Warnings.
        Warning,
        /// Normal but significant.
        Notice,
        /// Information.
        Info,
        /// For those who look for a mistake.
        Debug,
    }

    /// Options of `units::logs` and `units::journal`.
    #[derive(Debug, Options)]
    struct LogOptions {
        /// How many entries, the newest of them.
        #[option(default = "LINES")]
        lines: u32,
        /// From this time on (RFC 3339), or so long ago: `"2h"`.
        since: Option<Moment>,
        /// Up to this time, or until so long ago.
        until: Option<Moment>,
        /// At least this urgent.
        priority: Option<Priority>,
        /// Only messages that match this regular expression.
        grep: Option<String>,
        /// Goes on for so long, or until as many as `lines` new entries have come: what is given are these, without
        /// those that were there before.
        follow: Option<Duration>,
        /// Whether a unit of the user's own manager is meant.
        #[option(default = "false")]
        user: bool,
    }

    async fn entries(
        cx: &Ctx,
        unit: Option<UnitName>,
        options: LogOptions,
    ) -> Result<Vec<JournalEntry>, OpError> {
        let LogOptions { lines, since, until, priority, grep, follow, user } = options;
        if !(1..=ENTRIES_MAX).contains(&lines) {
            return Err(OpError::invalid(format!("option `lines`: expected 1 to {ENTRIES_MAX}")));
        }
        if follow.is_some_and(|span| span > FOLLOW_MAX) {
            let most = duration::format(FOLLOW_MAX);
            return Err(OpError::invalid(format!("option `follow`: longer than {most}"))
                .hint("wait_for(\"unit.*\") waits for as long as it takes"));
        }
        if let Some(pattern) = &grep {
            if pattern.chars().count() > PATTERN_CHARS_MAX {
                return Err(OpError::invalid(format!("option `grep`: longer than {PATTERN_CHARS_MAX}")));
            }
            regex::Regex::new(pattern)
                .map_err(|error| OpError::invalid(format!("option `grep`: {error}")))?;
        }
        let query = JournalQuery {
            unit: unit.as_ref().map(ToString::to_string),
            since: since.map(|at| at.resolve(cx)).transpose()?,
            until: until.map(|at| at.resolve(cx)).transpose()?,
            priority: priority.map(|it| it as u8),
            lines,
            grep,
        };
        let target = Target::of(cx, user)?;
        let reading = target.port.journal(target.scope, query, follow);
        let cancelled = || OpError::cancelled("cancelled while entries were waited for");
        let found = tokio::select! {
            found = reading => found.map_err(|fault| target.plain(fault))?,
            () = cx.cancel().cancelled() => return Err(cancelled()),
        };
        // Nothing is no answer for a unit that does not exist. One that is gone may have left entries.
        if let (true, Some(unit)) = (found.is_empty(), &unit) {
            let facts = target.port.facts(target.scope, unit.as_str()).await;
            if facts.is_ok_and(|facts| facts.load == "not-found" && facts.active == "inactive") {
                return Err(target.no_such(unit.as_str()).await);
            }
        }
        Ok(found)
    }

    /// Gives the last lines of a unit's log as one text.
    ///
    /// Each line has the time (UTC), who wrote it with its process id, and the message, as `journalctl` prints them.
    /// What systemd itself says about the unit is among them. Without a unit it is the log of the machine.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `not_found` when there are no entries and no such unit; `unavailable` without `journalctl`.
    ///
    /// ```rhai,no_run
    /// units::logs("nginx", #{ lines: 20, since: "1h", priority: "warning" })
    /// ```
    #[operation(observe, permission = "units.logs:{unit.full}", returns = "string")]
    async fn logs(cx: Ctx, unit: Option<UnitName>, options: LogOptions) -> Result<String, OpError> {
        let lines: Vec<String> = entries(&cx, unit, options).await?.iter().map(JournalEntry::line).collect();
        Ok(lines.join("\n"))
    }

    /// Gives entries of the journal, oldest first.
    ///
    /// Each has `time` (RFC 3339), `message`, `priority` (`"err"`, `"warning"`, …), `identifier`, `pid`, `unit` and
    /// `invocation_id`. With `follow` those that come from now on.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails as `units::logs`.
    ///
    /// ```rhai,no_run
    /// units::journal("ssh", #{ grep: "Failed password", since: "1d" }).len() < 100
    /// ```
    ///
    /// ```rhai,no_run
    /// units::journal("postgresql", #{ follow: "1m", grep: "ready to accept", lines: 1 }).len() == 1
    /// ```
    #[operation(observe, permission = "units.logs:{unit.full}", returns = "array")]
    async fn journal(cx: Ctx, unit: Option<UnitName>, options: LogOptions) -> Result<Value, OpError> {
        let entries = entries(&cx, unit, options).await?;
        Ok(Value::Array(entries.into_iter().map(Value::from).collect()))
    }
}
