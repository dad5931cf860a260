//! A schedule: when, and what holds for its slots.

use std::collections::HashSet;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use hob_model::{Code, Diagnostic, Value};
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::expr::When;
use crate::local_time::{Gap, LocalTime, OverlapHour};

/// The names of the options, as scripts write them.
pub const OPTIONS: [&str; 11] = [
    "timezone",
    "gap",
    "overlap_hour",
    "catch_up",
    "window",
    "overlap",
    "jitter",
    "timeout",
    "deadline",
    "conflicts",
    "paused",
];

/// How many conflict keys one schedule may name.
pub const CONFLICTS_MAX: usize = 64;

/// Which missed slots fire late: after downtime, suspension, or a clock put forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CatchUp {
    /// None of them.
    None,
    /// The latest alone.
    #[default]
    Last,
    /// Each, oldest first.
    All,
}

/// What becomes of a slot while an earlier run of the same schedule goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overlap {
    /// It does not run.
    #[default]
    Skip,
    /// It waits its turn.
    Queue,
    /// It waits its turn, unless another one already waits.
    QueueOne,
    /// The earlier run is cancelled first.
    CancelOther,
    /// It runs beside the earlier run.
    Allow,
}

/// By when a slot must have succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// This long after its nominal time.
    After(Duration),
    /// At the first such time of the schedule's clock after its nominal time.
    By(Time),
}

/// When something runs, and what holds for its slots. The defaults suit a homelab: a daily job is neither
/// lost to a clock change nor doubled by one, catches up once after downtime, and never overlaps itself.
///
/// There may be 100,000 of them. Each is 32 bytes; its name is that of its declaration, and what it has in common with others
/// is kept once for all of them, see [`Common`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Its name, unique in its homelab; the jitter follows from it.
    pub name: Arc<str>,
    /// When its slots are.
    pub when: Arc<When>,
    /// See [`Rules`], whose fields are read and set as if they were its own.
    rules: Arc<Rules>,
}

/// What holds for the slots of a schedule, whenever they are: most schedules of a homelab have the same rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Option `timezone`, by default that of the homelab; `gap` and `overlap_hour`.
    pub local_time: LocalTime,
    /// Option `catch_up`, by default `last`.
    pub catch_up: CatchUp,
    /// Option `window`: a slot missed by more than this is not caught up; by default, age does not matter.
    pub window: Option<Duration>,
    /// Option `overlap`, by default `skip`.
    pub overlap: Overlap,
    /// Option `jitter`, by default none: slots fire up to this much late, always by the same amount.
    pub jitter: Duration,
    /// Option `timeout`: a run is ended after this.
    pub timeout: Option<Duration>,
    /// Option `deadline`: a duration after the nominal time, or a time of day.
    pub deadline: Option<Deadline>,
    /// Option `conflicts`: what never runs together with others that name the same key; sorted.
    pub conflicts: Vec<String>,
    /// Option `paused`: no slot fires.
    pub paused: bool,
}

const _: () = assert!(size_of::<Schedule>() == 32);

/// What schedules that are read one after the other have in common.
#[derive(Debug, Default)]
pub struct Common {
    whens: HashSet<Arc<When>>,
    /// Those of the schedule before.
    rules: Option<Arc<Rules>>,
}

impl Common {
    /// Has the schedule keep what an earlier one keeps already.
    pub fn share(&mut self, schedule: &mut Schedule) {
        match self.whens.get(&schedule.when) {
            Some(known) => schedule.when = Arc::clone(known),
            None => drop(self.whens.insert(Arc::clone(&schedule.when))),
        }
        match &self.rules {
            Some(known) if *known == schedule.rules => schedule.rules = Arc::clone(known),
            _ => self.rules = Some(Arc::clone(&schedule.rules)),
        }
    }
}

impl Schedule {
    /// A schedule with all options as they are by default.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, when: When, zone: TimeZone) -> Self {
        Self {
            name: name.into(),
            when: Arc::new(when),
            rules: Arc::new(Rules {
                local_time: LocalTime::of(zone),
                catch_up: CatchUp::default(),
                window: None,
                overlap: Overlap::default(),
                jitter: Duration::ZERO,
                timeout: None,
                deadline: None,
                conflicts: Vec::new(),
                paused: false,
            }),
        }
    }

    /// Reads what a script declared: `when` as [`When::from_value`] takes it, and an option map or `()`.
    ///
    /// `zone` is the zone of the homelab; further zones are looked up in `zones`. Keys of `other_options` are
    /// the caller's and passed over. All mistakes are reported at once; none of the diagnostics has a place.
    #[must_use]
    pub fn declare(
        name: impl Into<Arc<str>>,
        when: &Value,
        options: &Value,
        other_options: &[&str],
        zone: &TimeZone,
        zones: &TimeZoneDatabase,
    ) -> (Option<Self>, Vec<Diagnostic>) {
        let name = name.into();
        let mut reader = OptionReader { schedule: &name, diagnostics: Vec::new() };
        let when = match When::from_value(when, zones) {
            Ok(when) => Some(when),
            Err(error) => {
                reader.diagnostics.push(error.diagnostic(when.as_str().unwrap_or_default()));
                None
            }
        };
        // Options are read even where `when` is wrong: all mistakes are reported at once.
        let placeholder = When::AnyOf(Vec::new());
        let readable = when.is_some();
        let mut schedule = Self::new(Arc::clone(&name), when.unwrap_or(placeholder), zone.clone());
        match options {
            Value::Unit => {}
            Value::Map(map) => {
                for (key, value) in map {
                    if !other_options.contains(&key.as_str()) {
                        reader.read(&mut schedule, key, value, other_options, zones);
                    }
                }
            }
            other => reader.wrong("options", "a map", other),
        }
        (readable.then_some(schedule).filter(|_| reader.diagnostics.is_empty()), reader.diagnostics)
    }

    /// The nominal time of the first slot after `after`, paused or not.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.when.next(after, &self.local_time)
    }
}

impl Deref for Schedule {
    type Target = Rules;

    fn deref(&self) -> &Rules {
        &self.rules
    }
}

impl DerefMut for Schedule {
    fn deref_mut(&mut self) -> &mut Rules {
        Arc::make_mut(&mut self.rules)
    }
}

struct OptionReader<'s> {
    schedule: &'s str,
    diagnostics: Vec<Diagnostic>,
}

impl OptionReader<'_> {
    fn read(
        &mut self,
        schedule: &mut Schedule,
        key: &str,
        value: &Value,
        others: &[&str],
        zones: &TimeZoneDatabase,
    ) {
        match key {
            "timezone" => {
                if let Some(zone) = self.zone(value, zones) {
                    schedule.local_time.zone = zone;
                }
            }
            "gap" => {
                let choices = [("run_after", Gap::RunAfter), ("skip", Gap::Skip)];
                schedule.local_time.gap = self.choice(key, value, &choices);
            }
            "overlap_hour" => {
                let choices = [("first", OverlapHour::First), ("both", OverlapHour::Both)];
                schedule.local_time.overlap_hour = self.choice(key, value, &choices);
            }
            "catch_up" => {
                let choices = [("none", CatchUp::None), ("last", CatchUp::Last), ("all", CatchUp::All)];
                schedule.catch_up = self.choice(key, value, &choices).unwrap_or_default();
            }
            "overlap" => {
                let choices = [
                    ("skip", Overlap::Skip),
                    ("queue", Overlap::Queue),
                    ("queue_one", Overlap::QueueOne),
                    ("cancel_other", Overlap::CancelOther),
                    ("allow", Overlap::Allow),
                ];
                schedule.overlap = self.choice(key, value, &choices).unwrap_or_default();
            }
            "window" => schedule.window = self.duration(key, value),
            "jitter" => schedule.jitter = self.duration(key, value).unwrap_or_default(),
            "timeout" => schedule.timeout = self.duration(key, value),
            "deadline" => schedule.deadline = self.deadline(value),
            "conflicts" => schedule.conflicts = self.conflicts(value),
            "paused" => match value {
                Value::Bool(paused) => schedule.paused = *paused,
                other => self.wrong(key, "true or false", other),
            },
            _ => self.unknown(key, others),
        }
    }

    fn report(&mut self, message: String, hint: Option<String>) {
        let message = format!("schedule `{}`: {message}", self.schedule);
        let diagnostic = Diagnostic::error(Code::UnknownOption, message);
        self.diagnostics.push(diagnostic.maybe_hint(hint));
    }

    fn unknown(&mut self, key: &str, others: &[&str]) {
        let allowed: Vec<_> = OPTIONS.iter().chain(others).copied().collect();
        let hint = match hob_model::names::nearest(key, allowed.iter().copied()) {
            Some(nearest) => format!("did you mean `{nearest}`? The options are: {}", allowed.join(", ")),
            None => format!("the options are: {}", allowed.join(", ")),
        };
        self.report(format!("there is no option `{key}`"), Some(hint));
    }

    fn wrong(&mut self, key: &str, expected: &str, found: &Value) {
        let found = match found {
            Value::String(text) => format!("\"{}\"", crate::error::shorten(text)),
            other => other.type_name().to_owned(),
        };
        self.report(format!("`{key}`: expected {expected}, found {found}"), None);
    }

    fn choice<T: Copy>(&mut self, key: &str, value: &Value, choices: &[(&str, T)]) -> Option<T> {
        let found = choices.iter().find(|(name, _)| value.as_str() == Some(name));
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            self.wrong(key, &format!("one of {}", names.join(", ")), value);
        }
        found.map(|(_, choice)| *choice)
    }

    fn duration(&mut self, key: &str, value: &Value) -> Option<Duration> {
        let Some(text) = value.as_str() else {
            self.wrong(key, "a duration such as \"2h\"", value);
            return None;
        };
        hob_model::duration::parse(text).map_err(|error| self.report(format!("`{key}`: {error}"), None)).ok()
    }

    fn zone(&mut self, value: &Value, zones: &TimeZoneDatabase) -> Option<TimeZone> {
        let Some(name) = value.as_str() else {
            self.wrong("timezone", "the name of a time zone such as \"Europe/Berlin\"", value);
            return None;
        };
        if let Ok(zone) = zones.get(name) {
            return Some(zone);
        }
        let names: Vec<_> = zones.available().map(|name| name.as_str().to_owned()).collect();
        let nearest = hob_model::names::nearest(name, names.iter().map(String::as_str));
        let message = format!("`timezone`: there is no time zone `{}`", crate::error::shorten(name));
        self.report(message, nearest.map(|nearest| format!("did you mean `{nearest}`?")));
        None
    }

    fn deadline(&mut self, value: &Value) -> Option<Deadline> {
        let text = value.as_str().unwrap_or_default();
        if text.contains(':') {
            let time = text.parse().map(Deadline::By).ok();
            if time.is_none() {
                self.wrong("deadline", "a duration such as \"2h\" or a time of day such as \"06:00\"", value);
            }
            return time;
        }
        self.duration("deadline", value).map(Deadline::After)
    }

    fn conflicts(&mut self, value: &Value) -> Vec<String> {
        let keys = match value {
            Value::Array(items) if items.len() <= CONFLICTS_MAX => {
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
            }
            _ => None,
        };
        let Some(mut keys) = keys else {
            self.wrong("conflicts", &format!("an array of at most {CONFLICTS_MAX} texts"), value);
            return Vec::new();
        };
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}
