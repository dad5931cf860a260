//! Alerts: what is looked for, and whom it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hob_alerts::{Escalation, GROUP_WAIT, Inhibition, Labels, Rule, Severity};
use hob_model::{Code, Diagnostic, Source, Value, names};

use super::channel::DEFAULT_CHANNEL;
use super::options::{Options, texts};
use super::{Declaration, Homelab, Raw, Surroundings, Trigger, bad, trigger};

/// How often a rule is asked unless it says otherwise.
const EVERY: Duration = Duration::from_secs(30);
/// Rules are asked this often at most.
const EVERY_MIN: Duration = Duration::from_secs(1);
/// After how long people are told again of what goes on, unless the alert says otherwise.
const REPEAT: Duration = Duration::from_secs(4 * 3600);
/// The shortest time after which they are.
const REPEAT_MIN: Duration = Duration::from_secs(60);
/// After how long something heard counts as resolved, unless the alert says otherwise.
const RESOLVE_AFTER: Duration = Duration::from_secs(3600);
/// The group of an alert that names none.
const GROUP: &str = "homelab";

/// The option that holds the function.
pub const WHEN: &str = "when";

const OPTIONS: [&str; 16] = [
    "every",
    "on",
    "resolve_on",
    "by",
    "when",
    "lasting",
    "severity",
    "group",
    "group_wait",
    "labels",
    "summary",
    "notify",
    "inhibit",
    "repeat",
    "escalate",
    "resolve_after",
];

/// What is looked for, and whom it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// What becomes of what it finds.
    pub rule: Rule,
    /// How it finds something.
    pub looks: Looks,
    /// Where it was declared.
    pub source: Source,
}

/// How an alert finds something.
#[derive(Clone, Debug, PartialEq)]
pub enum Looks {
    /// Its function is asked so often.
    Every(Duration),
    /// Events tell it.
    On(Heard),
}

/// The events that an alert hears.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// What it fires for: patterns of names with filters of payloads.
    pub on: Vec<(String, Value)>,
    /// What resolves it.
    pub resolve_on: Vec<(String, Value)>,
    /// The fields of the payload that tell one thing from another.
    pub by: Vec<String>,
    /// Whether a function decides.
    pub when: bool,
}

/// Reads `alert(name, #{ every | on, when, … })`.
pub(super) fn read(
    raw: &Raw,
    surroundings: &Surroundings<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Alert> {
    let mut rest = raw.clone();
    rest.closures.retain(|path| path != WHEN);
    let has_function = rest.closures.len() < raw.closures.len();
    let mut options = Options::open(&rest, &OPTIONS, diagnostics);
    if let Some(other) = options.take(WHEN).filter(|_| !has_function) {
        options.wrong(WHEN, "a function that tells whether it is so: `|now| …`", &other);
        return None;
    }
    let heard = options.peek("on").is_some();
    let looks = if heard {
        on_events(&mut options, has_function, surroundings)
    } else {
        at_times(&mut options, has_function)
    };
    let rule = rule(&raw.name, &mut options, heard);
    looks.map(|looks| Alert { rule, looks, source: raw.source.clone() })
}

fn at_times(options: &mut Options<'_>, has_function: bool) -> Option<Looks> {
    for key in ["resolve_on", "by", "resolve_after"] {
        if options.take(key).is_some() {
            options.report(Code::BadDeclaration, format!("`{key}` belongs to an alert with `on`"));
        }
    }
    if !has_function {
        let hint = "write #{ when: |now| now.value(\"hob_host_load\", #{ window: \"5m\" }) > 8.0 }";
        options.report_with(Code::BadDeclaration, "it has no function `when`, and no `on`", hint);
        return None;
    }
    let every = options.duration("every").unwrap_or(EVERY);
    if every < EVERY_MIN {
        options.report(Code::BadDeclaration, "`every`: it is asked once a second at most");
        return None;
    }
    Some(Looks::Every(every))
}

fn on_events(
    options: &mut Options<'_>,
    has_function: bool,
    surroundings: &Surroundings<'_>,
) -> Option<Looks> {
    for key in ["every", "lasting"] {
        if options.take(key).is_some() {
            options.report(Code::BadDeclaration, format!("`{key}` does not go with `on`"));
        }
    }
    let on = events(options, "on", surroundings)?;
    let resolve_on = events(options, "resolve_on", surroundings)?;
    let by = options.texts("by").unwrap_or_default();
    Some(Looks::On(Heard { on, resolve_on, by, when: has_function }))
}

fn events(
    options: &mut Options<'_>,
    key: &str,
    surroundings: &Surroundings<'_>,
) -> Option<Vec<(String, Value)>> {
    let triggers = trigger::read_all(options, key, surroundings);
    let event = |trigger| match trigger {
        Trigger::Event { pattern, filter } => Some((pattern, filter)),
        _ => None,
    };
    let events: Option<Vec<_>> = triggers.into_iter().map(event).collect();
    if events.is_none() {
        let message = format!("`{key}`: an alert hears events alone: event(\"run.failed\")");
        options.report(Code::BadDeclaration, message);
    }
    events
}

fn rule(name: &str, options: &mut Options<'_>, heard: bool) -> Rule {
    let severities = Severity::ALL.map(|it| (it.as_str(), it));
    let resolve_after = options.duration("resolve_after").unwrap_or(RESOLVE_AFTER);
    Rule {
        name: name.to_owned(),
        severity: options.choice("severity", &severities).unwrap_or_default(),
        group: options.text("group").filter(|it| !it.is_empty()).unwrap_or_else(|| GROUP.to_owned()),
        group_wait: options.duration("group_wait").unwrap_or(GROUP_WAIT),
        labels: options.read("labels", "a map of texts and numbers", labels).unwrap_or_default(),
        summary: options.text("summary").unwrap_or_default(),
        lasting: options.duration("lasting").unwrap_or_default(),
        repeat: repeat(options),
        notify: options.texts("notify").unwrap_or_else(|| vec![DEFAULT_CHANNEL.to_owned()]),
        escalate: escalate(options),
        inhibit: inhibit(options),
        resolve_after: heard.then_some(resolve_after),
    }
}

fn labels(value: &Value) -> Option<Labels> {
    let Value::Map(fields) = value else { return None };
    fields.iter().map(|(key, value)| Some((key.clone(), hob_alerts::rule::label(value)?))).collect()
}

/// After how long people are told again: never with `false`.
fn repeat(options: &mut Options<'_>) -> Option<Duration> {
    if options.peek("repeat") == Some(Value::Bool(false)) {
        options.take("repeat");
        return None;
    }
    let repeat = options.duration("repeat").unwrap_or(REPEAT);
    if repeat < REPEAT_MIN {
        options
            .report(Code::BadDeclaration, "`repeat`: people are told again after a minute at the earliest");
    }
    Some(repeat)
}

/// `#{ after: "30m", notify: "pager" }`
fn escalate(options: &mut Options<'_>) -> Option<Escalation> {
    let given = options.take("escalate")?;
    let mut found = Vec::new();
    let raw = Raw { options: given, ..options.as_raw("escalate") };
    let mut inner = Options::open(&raw, &["after", "notify"], &mut found);
    let (after, notify) = (inner.duration("after"), inner.texts("notify"));
    if found.is_empty() && (after.is_none() || notify.as_ref().is_none_or(Vec::is_empty)) {
        let hint = "write #{ after: \"30m\", notify: \"pager\" }";
        options.report_with(Code::BadDeclaration, "`escalate`: it says after how long, and to whom", hint);
    }
    options.adopt(found);
    Some(Escalation { after: after?, notify: notify? })
}

/// Names of alerts, or `#{ alerts: […], equal: ["host"] }`.
fn inhibit(options: &mut Options<'_>) -> Inhibition {
    let Some(Value::Map(fields)) = options.peek("inhibit") else {
        let alerts = options.texts("inhibit").unwrap_or_default();
        return Inhibition { alerts, equal: vec![] };
    };
    options.take("inhibit");
    let mut found = Vec::new();
    let raw = Raw { options: Value::Map(fields), ..options.as_raw("inhibit") };
    let mut inner = Options::open(&raw, &["alerts", "equal"], &mut found);
    let alerts = inner.texts("alerts").unwrap_or_default();
    let equal = inner.read("equal", "an array of labels", texts).unwrap_or_default();
    options.adopt(found);
    Inhibition { alerts, equal }
}

/// The channels that alerts name are declared. One that was refused for another mistake counts as declared.
pub(super) fn check<D: Declaration>(declared: &[D], homelab: &Homelab, diagnostics: &mut Vec<Diagnostic>) {
    let named = |kind: &'static str| -> BTreeSet<&str> {
        declared.iter().filter(|raw| raw.kind() == kind).map(D::name).collect()
    };
    let (channels, alerts) = (named("channel"), named("alert"));
    for Alert { rule, source, .. } in &homelab.alerts {
        let others = rule.escalate.iter().flat_map(|it| &it.notify).map(|it| ("escalate", it));
        for (key, channel) in rule.notify.iter().map(|it| ("notify", it)).chain(others) {
            if channel != DEFAULT_CHANNEL && !channels.contains(&**channel) {
                let what = format!("alert `{}`: `{key}`: there is no channel `{channel}`", rule.name);
                diagnostics.push(missing(source, what, channel, &channels, "channel(name, #{ url: … })"));
            }
        }
        for other in rule.inhibit.alerts.iter().filter(|it| !it.contains('*')) {
            if !alerts.contains(&**other) {
                let what = format!("alert `{}`: `inhibit`: there is no alert `{other}`", rule.name);
                diagnostics.push(missing(source, what, other, &alerts, "alert(name, #{ … })"));
            }
        }
    }
}

fn missing(source: &Source, what: String, name: &str, known: &BTreeSet<&str>, form: &str) -> Diagnostic {
    let missing = bad(source, what);
    match names::nearest(name, known.iter().copied()) {
        Some(near) => missing.hint(format!("did you mean `{near}`?")),
        None => missing.hint(format!("declare it with `{form}`")),
    }
}

/// The fields of an event's payload that tell one thing from another, as labels.
#[must_use]
pub fn labels_by(by: &[String], payload: &Value) -> BTreeMap<String, String> {
    let label = |key: &String| Some((key.clone(), hob_alerts::rule::label(payload.get(key)?)?));
    by.iter().filter_map(label).collect()
}
