//! What starts a workflow.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_model::{Code, Value};
use hob_scheduler::When;

use super::options::{ITEMS_MAX, Options, text};
use super::{Rate, Raw, Respond, Surroundings, Trigger, Watch, Webhook};

/// What a workflow hears from outside, as the primitive that listens understands it.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// The name of the trigger: `mqtt`.
    pub kind: &'static str,
    /// The name of the event that tells of it: `mqtt.message`.
    pub event: &'static str,
    /// What is to be heard.
    pub of: String,
    /// Where, and how.
    pub options: BTreeMap<String, Value>,
}

impl Subscription {
    /// The event that tells of it, and what its payload holds.
    #[must_use]
    pub fn event(&self) -> (String, Value) {
        let broker = self.options.get("broker").map(|broker| ("broker", broker.clone()));
        let filter = Value::map([("of", Value::from(self.of.as_str()))].into_iter().chain(broker));
        (self.event.to_owned(), filter)
    }
}

/// The methods of requests that may start a workflow.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// How long a file must not have changed, unless it is told otherwise.
const SETTLE: Duration = Duration::from_secs(10);

/// What stands under `on`.
const EXPECTED: &str =
    "a trigger such as webhook(\"POST /path\") or event(\"name\"), or an array of triggers";

/// Reads the option `key`, usually `on`: a trigger or an array of triggers.
pub(super) fn read_all(
    options: &mut Options<'_>,
    key: &str,
    surroundings: &Surroundings<'_>,
) -> Vec<Trigger> {
    match options.take(key) {
        None => Vec::new(),
        Some(Value::Array(items)) if items.len() <= ITEMS_MAX => {
            items.iter().filter_map(|item| read(options, item, surroundings)).collect()
        }
        Some(one) => read(options, &one, surroundings).into_iter().collect(),
    }
}

fn read(options: &mut Options<'_>, value: &Value, surroundings: &Surroundings<'_>) -> Option<Trigger> {
    let Some(kind) = value.get("trigger").and_then(Value::as_str) else {
        options.wrong("on", EXPECTED, value);
        return None;
    };
    let of = value.get("of").and_then(text).unwrap_or_default();
    if !["webhook", "event", "watch", "mqtt"].contains(&kind)
        && matches!(value.get("options"), Some(Value::Map(map)) if !map.is_empty())
    {
        let message = format!("`on`: options of {kind}(…) are not supported by this version of hob");
        options.report(Code::BadDeclaration, message);
        return None;
    }
    match kind {
        "cron" | "every" | "at" => {
            let found = When::from_value(&when_text(value), surroundings.zones);
            let wrong = |error: hob_scheduler::WhenError| options.adopt([error.diagnostic(&of)]);
            found.map(Trigger::Time).map_err(wrong).ok()
        }
        "event" if is_event_pattern(&of) => {
            let filter = value.get("options").cloned().unwrap_or_default();
            Some(Trigger::Event { pattern: of, filter })
        }
        "event" => {
            options.wrong("on: event", "a name such as \"unit.failed\" or \"unit.*\"", &Value::String(of));
            None
        }
        "webhook" => webhook(options, &of, value).map(Trigger::Webhook),
        "watch" => watch(options, &of, value, surroundings).map(Trigger::Watch),
        "mqtt" => {
            let options = match value.get("options") {
                Some(Value::Map(map)) => map.clone(),
                _ => BTreeMap::new(),
            };
            Some(Trigger::Subscription(Subscription { kind: "mqtt", event: "mqtt.message", of, options }))
        }
        "ups" => {
            let options = BTreeMap::new();
            Some(Trigger::Subscription(Subscription { kind: "ups", event: "ups.changed", of, options }))
        }
        "manual" => Some(Trigger::Manual),
        other => {
            options.report(
                Code::BadDeclaration,
                format!("`on`: {other}(…) is not supported by this version of hob"),
            );
            None
        }
    }
}

/// The text that the scheduler reads, of what `every`, `at` and `cron` return; anything else unchanged.
pub(super) fn when_text(value: &Value) -> Value {
    let part = |key| value.get(key).and_then(Value::as_str);
    match (value, part("trigger"), part("of")) {
        (Value::Array(items), ..) => Value::Array(items.iter().map(when_text).collect()),
        (_, Some("cron"), Some(of)) => Value::from(of),
        (_, Some(name @ ("every" | "at")), Some(of)) => Value::from(format!("{name}(\"{of}\")")),
        _ => value.clone(),
    }
}

fn is_event_pattern(text: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || "._-*:/".contains(c);
    !text.is_empty() && text.chars().all(fits)
}

fn watch(
    options: &mut Options<'_>,
    of: &str,
    value: &Value,
    surroundings: &Surroundings<'_>,
) -> Option<Watch> {
    let mut found = Vec::new();
    let raw = Raw { options: value.get("options").cloned().unwrap_or_default(), ..options.as_raw("on") };
    let settle = Options::open(&raw, &["settle"], &mut found).duration("settle").unwrap_or(SETTLE);
    options.adopt(found);
    let pattern = surroundings.directory.join(of).to_string_lossy().into_owned();
    let parsed = globset::GlobBuilder::new(&pattern).literal_separator(true).backslash_escape(true).build();
    let why = match parsed {
        _ if of.is_empty() || of.ends_with('/') => "it names no files".to_owned(),
        Ok(_) => return Some(Watch { pattern, settle }),
        Err(error) => error.kind().to_string(),
    };
    let message = format!("`on: watch`: `{of}` is no pattern of paths: {why}");
    options.report_with(Code::BadDeclaration, message, "write it as in watch(\"/mnt/hot/**/*.mkv\")");
    None
}

fn webhook(options: &mut Options<'_>, of: &str, value: &Value) -> Option<Webhook> {
    let mut found = Vec::new();
    let raw = Raw { options: value.get("options").cloned().unwrap_or_default(), ..options.as_raw("on") };
    let mut inner = Options::open(&raw, &["secret", "respond", "rate", "max_body"], &mut found);
    let secret = inner.text("secret").filter(|secret| !secret.is_empty() || empty_secret(&mut inner));
    let rate = inner.read("rate", "so many in a time, such as \"60/1m\"", rate);
    let body_bytes_max = inner.read("max_body", "a size such as \"1M\"", |value| {
        hob_model::size::parse(value.as_str()?).ok().filter(|bytes| *bytes > 0)
    });
    let respond = inner.choice("respond", &[("accepted", Respond::Accepted), ("last", Respond::Last)]);
    options.adopt(found);
    let parsed = of.split_once(' ').and_then(|(method, path)| {
        let (method, path) = (method.to_uppercase(), path.trim());
        (METHODS.contains(&method.as_str()) && is_hook_path(path)).then(|| (method, path.to_owned()))
    });
    let Some((method, path)) = parsed else {
        options.wrong(
            "on: webhook",
            "a method and a path such as \"POST /media/:kind\"",
            &Value::String(of.to_owned()),
        );
        return None;
    };
    Some(Webhook { method, path, secret, respond: respond.unwrap_or_default(), rate, body_bytes_max })
}

/// Reports a secret that everybody knows.
fn empty_secret(options: &mut Options<'_>) -> bool {
    options.report(Code::BadDeclaration, "`secret`: an empty text keeps nobody out");
    false
}

/// `60/1m`: a count and a duration.
fn rate(value: &Value) -> Option<Rate> {
    let (count, per) = value.as_str()?.split_once('/')?;
    let (count, per) = (count.trim().parse().ok()?, hob_model::duration::parse(per.trim()).ok()?);
    (count > 0 && !per.is_zero()).then_some(Rate { count, per })
}

/// Segments of unreserved characters (RFC 3986), or `:name`; none is empty, `.` or `..`, which routers rewrite.
fn is_hook_path(path: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let is_segment = |segment: &str| {
        let name = segment.strip_prefix(':').unwrap_or(segment);
        !name.is_empty() && name != "." && name != ".." && name.chars().all(is_plain)
    };
    path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_segment))
}
