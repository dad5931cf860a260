//! What events are for people.

use hob_journal::EventRow;
use hob_model::Value;

use crate::alerts::{ALERT_BROKEN, ALERT_FIRING};

/// The longest line at login, in characters.
const LINE_CHARS_MAX: usize = 200;

/// Something that wants attention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    /// The thing it is about, by which it is told once in a while; empty where each is told.
    pub(super) about: String,
    title: String,
    body: String,
    priority: &'static str,
    tag: &'static str,
}

impl Notice {
    /// The message, as `notify::send` takes it.
    pub(super) fn message(&self) -> Value {
        let Self { title, body, priority, tag, .. } = self;
        message(title, body, priority, tag)
    }

    /// One line of it.
    pub(super) fn line(&self) -> String {
        let first = self.body.lines().next().unwrap_or_default();
        let line = if first.is_empty() { self.title.clone() } else { format!("{}: {first}", self.title) };
        let clean = line.chars().filter(|c| !c.is_control());
        clean.take(LINE_CHARS_MAX).collect()
    }
}

fn message(title: &str, body: &str, priority: &str, tag: &str) -> Value {
    Value::map([
        ("title", Value::from(title)),
        ("body", body.into()),
        ("priority", priority.into()),
        ("tags", Value::Array(vec![tag.into()])),
    ])
}

/// What an event says is wrong; `None` for one that says nothing of the kind.
pub(super) fn notice(event: &EventRow) -> Option<Notice> {
    let text = |key: &str| event.payload.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, run) = (text("name"), text("run"));
    let kind = text("kind");
    let what = if kind.is_empty() { "run".to_owned() } else { kind };
    Some(match event.name.as_str() {
        "run.failed" => {
            let error = event.payload.get("error");
            let of = |key: &str| {
                error.and_then(|error| error.get(key)).and_then(Value::as_str).unwrap_or_default()
            };
            let mut body = of("message").to_owned();
            if !of("hint").is_empty() {
                body = format!("{body}\n{}", of("hint"));
            }
            let title = format!("{what} {name} failed");
            let body = format!("{body}\nhob runs show {run}").trim_start().to_owned();
            Notice { about: name, title, body, priority: "high", tag: "warning" }
        }
        "run.in_doubt" => Notice {
            about: String::new(),
            title: format!("{what} {name} waits for a decision"),
            body: format!("Nobody knows whether one of its effects happened.\nhob runs show {run}"),
            priority: "high",
            tag: "warning",
        },
        "run.paused" => Notice {
            about: String::new(),
            title: format!("{what} {name} is paused"),
            body: format!("Its record does not fit its script.\nhob runs show {run}"),
            priority: "high",
            tag: "warning",
        },
        "schedule.missed" => {
            let name = text("schedule");
            let reason = text("reason");
            let body = format!("{reason}\nhob schedule list").trim_start().to_owned();
            Notice {
                title: format!("schedule {name} was missed"),
                about: name,
                body,
                priority: "high",
                tag: "warning",
            }
        }
        "service.down" => {
            let name = text("service");
            let body = format!("{}\nhob logs {name}", text("note")).trim_start().to_owned();
            let title = format!("service {name} cannot be kept");
            Notice { about: name, title, body, priority: "urgent", tag: "rotating_light" }
        }
        ALERT_FIRING if event.payload.get("muted") == Some(&Value::Bool(false)) => {
            let (alert, severity) = (text("alert"), text("severity"));
            let body = format!("{}\nhob alerts list", text("summary")).trim_start().to_owned();
            let title = format!("{severity}: alert {alert}");
            Notice { about: alert, title, body, priority: "high", tag: "warning" }
        }
        ALERT_BROKEN => {
            let alert = text("alert");
            let body = format!("{}\nhob alerts list", text("error"));
            let title = format!("alert {alert} cannot be judged");
            Notice { about: alert, title, body, priority: "high", tag: "warning" }
        }
        _ => return None,
    })
}

/// The message about an approval that is wanted.
pub(super) fn approval(event: &EventRow) -> Value {
    let text = |key: &str| event.payload.get(key).and_then(Value::as_str).unwrap_or_default();
    let title = format!("{} asks", text("name"));
    let mut message = message(&title, text("prompt"), "high", "question");
    if let Value::Map(fields) = &mut message {
        let (run, position) = (Value::from(text("run")), Value::from(text("position")));
        fields.insert("approve".to_owned(), Value::map([("run", run), ("position", position)]));
    }
    message
}

#[cfg(test)]
mod tests {
    use hob_model::Timestamp;

    use super::*;

    fn event(name: &str, payload: Value) -> EventRow {
        EventRow { id: 1, name: name.to_owned(), payload, origin: String::new(), at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn lines_are_short_and_clean() {
        let error = Value::map([
            ("message", Value::from("it\u{1b}[31m broke\nand more")),
            ("hint", "mend it".into()),
        ]);
        let fields =
            [("name", "nightly".into()), ("kind", "schedule".into()), ("run", "r1".into()), ("error", error)];
        let failed = notice(&event("run.failed", Value::map(fields))).unwrap();
        assert_eq!(failed.line(), "schedule nightly failed: it[31m broke");
        assert_eq!(failed.body, "it\u{1b}[31m broke\nand more\nmend it\nhob runs show r1");
        let long = Value::map([("service", Value::from("x")), ("note", "n".repeat(1000).into())]);
        assert_eq!(notice(&event("service.down", long)).unwrap().line().chars().count(), LINE_CHARS_MAX);
        assert_eq!(notice(&event("run.succeeded", Value::Unit)), None);
    }
}
