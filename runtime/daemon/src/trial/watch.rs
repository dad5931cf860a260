//! Tests of alerts: what they find in numbers and events that the test tells, on a clock of its own that goes on by a second; and
//! what people are told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use hob_alerts::{Board, Message, Severity};
use hob_engine::{Bundle, History, Host, Judge, Numbers};
use hob_journal::EventRow;
use hob_model::{Diagnostic, Timestamp, Value, duration, pattern};
use hob_planner::declaration::{Alert, Looks};
use hob_primitive::{Family, MetricKind};

use super::Subject;
use crate::alerts::command::state_of;
use crate::alerts::event;
use crate::alerts::judge::Rules;

/// The longest time that a test looks at.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// The most steps of a test.
const STEPS_MAX: usize = 1_000;
/// The most families and labels that tests name.
const NAMES_MAX: usize = 10_000;
/// How often one looks whether something has to be told.
const TICK: Duration = Duration::from_secs(1);

/// What a test tells its alerts.
#[derive(Debug)]
pub(super) struct Watch {
    /// Names of alerts, with `*` for any characters.
    alerts: Vec<String>,
    steps: Vec<Step>,
}

/// What is so from a time on.
#[derive(Debug)]
struct Step {
    at: Duration,
    /// As the test wrote it.
    told: String,
    /// By their names; what is not measured any more is none.
    numbers: Vec<(&'static str, Option<Family>)>,
    /// Sources that cannot be measured.
    down: Option<Vec<String>>,
    events: Vec<(String, Value)>,
}

/// Reads `alerts` and `steps`; none where the test is about a run.
pub(super) fn read(options: &mut BTreeMap<String, Value>, problems: &mut Vec<String>) -> Option<Watch> {
    let (alerts, steps) = (options.remove("alerts"), options.remove("steps"));
    if alerts.is_none() && steps.is_none() {
        return None;
    }
    let alerts = match alerts {
        Some(Value::String(one)) => vec![one.to_string()],
        Some(Value::Array(all)) => all.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect(),
        _ => vec![],
    };
    if alerts.is_empty() {
        problems.push("`alerts`: expected the name of an alert, or an array of names".to_owned());
    }
    let steps = match steps {
        Some(Value::Array(steps)) if (1..=STEPS_MAX).contains(&steps.len()) => steps,
        _ => {
            problems.push(format!("`steps`: expected an array of 1 to {STEPS_MAX} maps with `at`"));
            vec![]
        }
    };
    let mut read = Vec::<Step>::new();
    for (index, step) in steps.into_iter().enumerate() {
        match read_step(step) {
            Ok(step) if read.last().is_some_and(|last| last.at > step.at) => {
                problems.push(format!("`steps[{index}]`: {} comes before the step above it", step.told));
            }
            Ok(step) => read.push(step),
            Err(why) => problems.push(format!("`steps[{index}]`: {why}")),
        }
    }
    Some(Watch { alerts, steps: read })
}

fn read_step(step: Value) -> Result<Step, String> {
    let Value::Map(mut step) = step else { return Err("expected a map with `at`".to_owned()) };
    let told = step.remove("at").and_then(|it| it.as_str().map(str::to_owned));
    let told = told.ok_or("expected `at`, the time since the beginning: \"5m\"")?;
    let at = duration::parse(&told).map_err(|error| format!("`at`: {error}"))?;
    if at > LONGEST {
        return Err(format!("`at`: a test looks at {} at most", duration::format(LONGEST)));
    }
    let numbers = match step.remove("numbers") {
        None => vec![],
        Some(Value::Map(families)) => {
            families.into_iter().map(|(name, value)| numbers(&name, value)).collect::<Result<_, _>>()?
        }
        Some(_) => return Err("`numbers`: expected a map of names".to_owned()),
    };
    let down = match step.remove("down") {
        None => None,
        Some(Value::Array(down)) => {
            Some(down.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect())
        }
        Some(_) => return Err("`down`: expected an array of sources".to_owned()),
    };
    let events = step.remove("events").map_or(Some(vec![]), super::read_events);
    let events = events.ok_or("`events`: expected an array of maps with `name` and `payload`")?;
    match step.into_keys().next() {
        Some(other) => Err(format!("there is no option `{other}`; there are at, numbers, down and events")),
        None => Ok(Step { at, told, numbers, down, events }),
    }
}

fn numbers(name: &str, value: Value) -> Result<(&'static str, Option<Family>), String> {
    let family = if value == Value::Unit { None } else { Some(family(name, value)?) };
    Ok((lasting(name)?, family))
}

/// A family: one number, or an array of maps with labels and `value`.
fn family(name: &str, value: Value) -> Result<Family, String> {
    let kind = if name.ends_with("_total") { MetricKind::Counter } else { MetricKind::Gauge };
    let mut family = Family { kind, ..Family::gauge(lasting(name)?, "") };
    let Value::Array(samples) = value else {
        let number =
            number(&value).ok_or_else(|| format!("`{name}`: expected a number, or an array of maps"))?;
        return Ok(family.one(number));
    };
    for sample in samples {
        let value = sample.get("value").and_then(number);
        let (Value::Map(labels), Some(value)) = (&sample, value) else {
            return Err(format!("`{name}`: expected maps of labels and a `value`"));
        };
        let labels = labels.iter().filter(|(label, _)| *label != "value").map(|(label, value)| {
            let text = value.as_str().ok_or_else(|| format!("`{name}`: the label `{label}` is a text"))?;
            Ok((lasting(label)?, text.to_owned()))
        });
        family.push(labels.collect::<Result<_, String>>()?, value);
    }
    Ok(family)
}

#[allow(clippy::cast_precision_loss)] // as scripts do it
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(value) => Some(*value),
        other => other.as_int().map(|value| value as f64),
    }
}

/// The name of a number or label: programs know theirs from the beginning, and those of tests live as long as the process does.
fn lasting(name: &str) -> Result<&'static str, String> {
    static NAMES: LazyLock<Mutex<BTreeSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return Ok(known);
    }
    if names.len() == NAMES_MAX {
        return Err(format!("tests name up to {NAMES_MAX} numbers and labels"));
    }
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(name);
    Ok(name)
}

/// A test of alerts under way.
struct Play<'p> {
    alerts: Vec<Alert>,
    bundle: &'p Arc<Bundle>,
    begin: Timestamp,
    board: Board,
    history: Arc<History>,
    families: BTreeMap<&'static str, Family>,
    down: Vec<String>,
    told: Vec<Value>,
    events: Vec<Value>,
}

/// Plays a test; what its function is given, or why it cannot be played.
pub(super) fn play(
    watch: &Watch,
    begin: Timestamp,
    host: &Host,
    subject: &Subject<'_>,
) -> Result<Result<Value, String>, Diagnostic> {
    let all = &subject.homelab.alerts;
    let missing =
        watch.alerts.iter().find(|name| !all.iter().any(|it| pattern::wildcard(name, &it.rule.name)));
    if let Some(name) = missing {
        let near = hob_model::names::nearest(name, all.iter().map(|it| &*it.rule.name));
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Ok(Err(format!("the homelab has no alert `{name}`{near}")));
    }
    let is_meant = |it: &&Alert| watch.alerts.iter().any(|name| pattern::wildcard(name, &it.rule.name));
    let alerts: Vec<Alert> = all.iter().filter(is_meant).cloned().collect();
    let mut play = Play {
        board: Board::new(alerts.iter().map(|it| it.rule.clone()).collect()),
        alerts,
        bundle: subject.bundle,
        begin,
        history: Arc::default(),
        families: BTreeMap::new(),
        down: vec![],
        told: vec![],
        events: vec![],
    };
    play.steps(&watch.steps, host).map(Ok)
}

impl Play<'_> {
    /// Goes from second to second; what was seen at each step, and what was told and raised in between.
    fn steps(&mut self, steps: &[Step], host: &Host) -> Result<Value, Diagnostic> {
        let declared = hob_engine::declarations(host, self.bundle)?;
        let judge = Judge::new(host, self.bundle);
        let alerts = self.alerts.clone();
        let rules = Rules { alerts: &alerts, declared: &declared, judge: &judge };
        let mut seen = Vec::new();
        let mut todo = steps.iter().peekable();
        let mut passed = Duration::ZERO;
        while todo.peek().is_some() {
            let mut due = Vec::new();
            while let Some(step) = todo.next_if(|it| it.at <= passed) {
                self.take(step);
                due.push(step);
            }
            let events = due.iter().flat_map(|step| &step.events);
            self.tick(rules, passed, events);
            seen.extend(due.into_iter().map(|step| self.state(step)));
            passed += TICK;
        }
        Ok(Value::map([
            ("steps", Value::Array(seen)),
            ("told", Value::Array(std::mem::take(&mut self.told))),
            ("events", Value::Array(std::mem::take(&mut self.events))),
        ]))
    }

    /// From now on it is so.
    fn take(&mut self, step: &Step) {
        for (name, family) in &step.numbers {
            match family {
                Some(family) => drop(self.families.insert(name, family.clone())),
                None => drop(self.families.remove(name)),
            }
        }
        if let Some(down) = &step.down {
            self.down.clone_from(down);
        }
    }

    /// One second: what is due is asked, and what is to be told is told.
    fn tick<'e>(
        &mut self,
        rules: Rules<'_>,
        passed: Duration,
        events: impl Iterator<Item = &'e (String, Value)>,
    ) {
        let now = hob_scheduler::slots::later(self.begin, passed);
        let families = || self.families.values().cloned().collect();
        let numbers = Numbers::new(now, families(), self.down.clone(), &self.history);
        for (at, alert) in rules.alerts.iter().enumerate() {
            // As with a hob that has just started, the first look comes when its time has passed once.
            if let Looks::Every(every) = alert.looks
                && !passed.is_zero()
                && passed.as_secs().is_multiple_of(every.as_secs().max(1))
            {
                rules.ask(at, None, &numbers).enter(&mut self.board, at, now);
            }
        }
        for (id, (name, payload)) in (1..).zip(events) {
            let row = EventRow {
                id,
                name: name.clone(),
                payload: payload.clone(),
                origin: "test".to_owned(),
                at: now,
            };
            for (at, alert) in rules.alerts.iter().enumerate() {
                if let Looks::On(heard) = &alert.looks {
                    rules.hear(at, heard, &row, || numbers.clone()).enter(&mut self.board, at, now);
                }
            }
        }
        self.board.pass(now);
        let messages = self.board.tell(now);
        let (_, news) = self.board.take();
        let at = || Value::from(duration::format(passed));
        self.events.extend(news.iter().map(event).map(|(name, payload)| {
            Value::map([("at", at()), ("name", Value::from(name)), ("payload", payload)])
        }));
        self.told.extend(messages.iter().map(|message| message_value(message, at())));
    }

    /// What the alerts are like at a step.
    fn state(&self, step: &Step) -> Value {
        let mut states = BTreeMap::new();
        let mut found = Vec::new();
        for (rule, health, instances) in self.board.all() {
            states.insert(rule.name.clone(), Value::from(state_of(health, instances.values())));
            found.extend(instances.iter().map(|(labels, instance)| {
                let labels = labels.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
                Value::map([
                    ("alert", Value::from(rule.name.as_str())),
                    ("state", instance.state.as_str().into()),
                    ("labels", Value::map(labels)),
                    ("summary", instance.summary.as_str().into()),
                    ("value", instance.value.map_or(Value::Unit, Value::Float)),
                ])
            }));
        }
        let at = Value::from(step.told.as_str());
        Value::map([("at", at), ("alerts", Value::Map(states)), ("found", Value::Array(found))])
    }
}

fn message_value(message: &Message, at: Value) -> Value {
    Value::map([
        ("at", at),
        ("channel", Value::from(message.channel.as_str())),
        ("group", message.group.as_str().into()),
        ("severity", message.severity.map(Severity::as_str).into()),
        ("title", message.title.as_str().into()),
        ("body", message.body.as_str().into()),
    ])
}
