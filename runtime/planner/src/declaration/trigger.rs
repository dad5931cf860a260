//! What starts a workflow.

use hob_model::{Code, Value};
use hob_scheduler::When;
use jiff::tz::TimeZoneDatabase;

use super::options::{ITEMS_MAX, Options, text};
use super::{Raw, Respond, Trigger, Webhook};

/// The methods of requests that may start a workflow.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// What stands under `on`.
const EXPECTED: &str =
    "a trigger such as webhook(\"POST /path\") or event(\"name\"), or an array of triggers";

/// Reads the option `on`: a trigger or an array of triggers.
pub(super) fn read_all(options: &mut Options<'_>, zones: &TimeZoneDatabase) -> Vec<Trigger> {
    match options.take("on") {
        None => Vec::new(),
        Some(Value::Array(items)) if items.len() <= ITEMS_MAX => {
            items.iter().filter_map(|item| read(options, item, zones)).collect()
        }
        Some(one) => read(options, &one, zones).into_iter().collect(),
    }
}

fn read(options: &mut Options<'_>, value: &Value, zones: &TimeZoneDatabase) -> Option<Trigger> {
    let Some(kind) = value.get("trigger").and_then(Value::as_str) else {
        options.wrong("on", EXPECTED, value);
        return None;
    };
    let of = value.get("of").and_then(text).unwrap_or_default();
    if !["webhook", "event"].contains(&kind)
        && matches!(value.get("options"), Some(Value::Map(map)) if !map.is_empty())
    {
        let message = format!("`on`: options of {kind}(…) are not supported by this version of hob");
        options.report(Code::BadDeclaration, message);
        return None;
    }
    match kind {
        "cron" | "every" | "at" => {
            let found = When::from_value(&when_text(value), zones);
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

fn webhook(options: &mut Options<'_>, of: &str, value: &Value) -> Option<Webhook> {
    let mut found = Vec::new();
    let raw = Raw { options: value.get("options").cloned().unwrap_or_default(), ..options.as_raw("on") };
    let mut inner = Options::open(&raw, &["secret", "respond"], &mut found);
    let secret = inner.text("secret");
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
    Some(Webhook { method, path, secret, respond: respond.unwrap_or_default() })
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
